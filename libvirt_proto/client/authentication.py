"""Authentication of a connection, before connect_open (src/remote/remote_driver.c)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from ..rpc.reported import LibvirtError
from . import sasl
from .errors import ConnectError

if TYPE_CHECKING:
    from .connection import Connection
    from .credentials import Credentials, Prompt

_NONE, _SASL, _POLKIT = 0, 1, 2
#: Messages of a SASL authentication; SCRAM needs three.
_MAX_STEPS: Final = 10


async def authenticate(connection: Connection, host: str, user: str, *, encrypted: bool, ask: Prompt) -> None:
    """Authenticate as the server demands. `encrypted` is whether others cannot read the connection.

    Raises ConnectError with the remedy if it is refused or not supported.
    """
    offered = (await connection.call_value("remote.auth_list")).types
    if not offered or _NONE in offered:
        return
    if _POLKIT in offered:
        await _polkit(connection)
    elif _SASL in offered:
        await _sasl(connection, host, user, encrypted, ask)
    else:
        raise ConnectError(f"the server asks for an unknown authentication: {', '.join(map(str, offered))}")


async def _polkit(connection: Connection) -> None:
    try:
        await connection.call_value("remote.auth_polkit")
    except LibvirtError as error:
        raise ConnectError(
            f"polkit refused access ({error}): run as root, join the group libvirt, or use --readonly"
        ) from None


async def _sasl(connection: Connection, host: str, user: str, encrypted: bool, ask: Prompt) -> None:
    try:
        mechanisms = (await connection.call_value("remote.auth_sasl_init")).mechlist
    except LibvirtError as error:
        raise ConnectError(
            f"the server refused SASL ({error}): over plain TCP it may require the encryption of GSSAPI;"
            " use TLS or ssh"
        ) from None
    name = sasl.choose(str(mechanisms).split(","), encrypted=encrypted)
    credentials: Credentials = await ask(host, user)
    mechanism = sasl.mechanism(name, credentials.user, credentials.password)
    try:
        reply = await _step(connection, "start", mechanism.first(), name)
        for _ in range(_MAX_STEPS):
            if reply.complete and mechanism.complete:
                return
            # A salt takes many hashes: others may work meanwhile.
            answer = await asyncio.to_thread(mechanism.next, _data(reply))
            if reply.complete:
                break
            reply = await _step(connection, "step", answer)
    except LibvirtError as error:
        raise ConnectError(f"the server refused the user or the password ({error})") from None
    if not (reply.complete and mechanism.complete):
        raise ConnectError(f"the server did not complete {name}")


async def _step(connection: Connection, step: str, data: bytes, mechanism: str | None = None) -> Any:
    args: dict[str, Any] = {} if mechanism is None else {"mech": mechanism}
    # Each byte is a char, which XDR has not: libvirt sends an int.
    args |= {"nil": 0 if data else 1, "data": _chars(data)}
    return await connection.call_value(f"remote.auth_sasl_{step}", args)


def _chars(data: bytes) -> list[int]:
    return [byte - 256 if byte > 127 else byte for byte in data]


def _data(reply: Any) -> bytes:
    chars: Sequence[int] = reply.data
    return bytes(char & 0xFF for char in chars)
