"""Addresses of servers: `tcp:HOST:PORT`, `tcp:[::1]:PORT`, `unix:PATH`, `unix:@NAME`. Sources: unix(7), and
getaddrinfo(3) for an empty host."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import stat
from typing import Final, Literal

import msgspec

from ..errors import Error

#: Maximum number of connections that the kernel keeps until they are accepted.
_BACKLOG: Final = 1024
#: How long to retry a server with a full backlog, in seconds.
_PATIENCE: Final = 30.0
_PAUSE: Final = 0.02

#: File mode of a unix socket to which only its user can connect (connect(2) requires write permission).
PRIVATE: Final = 0o600

FORMS: Final = "tcp:HOST:PORT, tcp:[::1]:PORT, unix:PATH or unix:@NAME"


class AddressError(Error, ValueError):
    """A text that is not an address, or an address where listening is not possible; the text is a
    sentence."""


class Address(msgspec.Struct, frozen=True):
    """`name` is a host ("" for the local loopback addresses), a path, or `@` and the name of an abstract
    socket. `port` is 0 for unix, and for any free port."""

    transport: Literal["tcp", "unix"]
    name: str
    port: int = 0

    def __str__(self) -> str:
        host = f"[{self.name}]" if ":" in self.name else self.name
        return f"tcp:{host}:{self.port}" if self.transport == "tcp" else f"unix:{self.name}"

    @property
    def path(self) -> bytes:
        """The address of a unix socket as the system expects it."""
        name = os.fsencode(self.name)
        return b"\0" + name[1:] if name.startswith(b"@") else name


def parse(text: str) -> Address:
    """Parse an address. Raises AddressError."""
    transport, _, rest = text.partition(":")
    if transport == "unix" and rest not in ("", "@") and "\0" not in rest:
        return Address("unix", rest)
    if transport == "tcp" and rest.isprintable():
        match = re.fullmatch(r"(?:\[(?P<six>[^\[\]\s]+)\]|(?P<host>[^:\[\]\s]*)):(?P<port>[0-9]{1,5})", rest)
        if match and int(match["port"]) < 1 << 16:
            return Address("tcp", match["six"] or match["host"] or "", int(match["port"]))
    raise AddressError(f"expected {FORMS}, got {text!r}")


def listen(address: Address, mode: int = PRIVATE) -> list[socket.socket]:
    """Return non-blocking listening sockets, one for every address of the host, all with the same port. A
    unix path that is no longer in use is reused. `mode` is the mode of the socket file from its creation; the
    umask of the process is changed meanwhile.

    Raises AddressError for a path that is taken or too long, OSError for errors of the system.
    """
    if address.transport == "unix":
        return [_listen_unix(address, mode)]
    found = socket.getaddrinfo(address.name or None, address.port, type=socket.SOCK_STREAM)
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, place in dict.fromkeys(found):
            one = socket.socket(family, kind, protocol)
            sockets.append(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            port = sockets[0].getsockname()[1] if len(sockets) > 1 else address.port
            one.bind((place[0], port, *place[2:]))
            one.setblocking(False)
            one.listen(_BACKLOG)
    except BaseException:
        for one in sockets:
            one.close()
        raise
    return sockets


def _listen_unix(address: Address, mode: int) -> socket.socket:
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if not address.name.startswith("@"):
            _make_way(address.name)
        umask = os.umask(0o777 & ~mode)
        try:
            one.bind(address.path)
        finally:
            os.umask(umask)
        one.setblocking(False)
        one.listen(_BACKLOG)
    except BaseException:
        one.close()
        raise
    return one


def _make_way(path: str) -> None:
    """Remove a socket without a listener."""
    try:
        is_socket = stat.S_ISSOCK(os.lstat(path).st_mode)
    except FileNotFoundError:
        return
    if not is_socket:
        raise AddressError(f"{path} exists and is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except BlockingIOError:  # its backlog is full
            pass
    raise AddressError(f"{path} is in use: another process listens there")


async def connect(address: Address) -> socket.socket:
    """Return a connected, non-blocking socket; of the addresses of a host, the first that answers. Raises
    OSError."""
    loop = asyncio.get_running_loop()
    if address.transport == "unix":
        return await _connect_unix(address)
    refused: OSError | None = None
    for family, kind, protocol, _, place in await loop.getaddrinfo(
        address.name, address.port, type=socket.SOCK_STREAM
    ):
        one = socket.socket(family, kind, protocol)
        try:
            one.setblocking(False)
            await loop.sock_connect(one, place)
        except OSError as error:
            one.close()
            refused = error
        except BaseException:
            one.close()
            raise
        else:
            return one
    raise refused or OSError("the host has no address")


async def _connect_unix(address: Address) -> socket.socket:
    """Connect to a unix socket. Its connect never waits: with a full backlog it must be retried."""
    loop = asyncio.get_running_loop()
    end = loop.time() + _PATIENCE
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        one.setblocking(False)
        while True:
            try:
                one.connect(address.path)
            except BlockingIOError:
                if loop.time() > end:
                    raise TimeoutError(f"does not accept connections for {_PATIENCE:.0f} s") from None
                await asyncio.sleep(_PAUSE)
            else:
                return one
    except BaseException:
        one.close()
        raise
