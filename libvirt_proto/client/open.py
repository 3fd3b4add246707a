"""Open a connection: URI → transport → authentication → connect_open."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

from ..capture import address
from ..capture.address import Address
from ..errors import reason
from ..link import Link, StreamLink, UnixLink
from ..rpc.reported import LibvirtError
from . import ssh, tls
from .authentication import authenticate
from .connection import IN_FLIGHT, Connection
from .credentials import Credentials, Prompt, from_file
from .errors import ConnectError, ConnectionLost
from .uri import TCP_PORT, ConnectionUri, parse, unix_socket

if TYPE_CHECKING:
    from ..registry import Registry

#: VIR_CONNECT_RO.
_READ_ONLY: Final = 1
#: Bytes of a process's standard error that become part of an error.
_ERROR_SIZE: Final = 2000
#: Seconds for the reply to connect_close; a daemon that is stopped must not hold up its clients.
_CLOSING: Final = 5.0
#: Seconds for its standard error after its output has ended.
_PATIENCE: Final = 1.0


@asynccontextmanager
async def connect(
    uri: str,
    *,
    auth: Credentials | Prompt | None = None,
    readonly: bool = False,
    keepalive: tuple[float, int] | None = None,
    in_flight: int = IN_FLIGHT,
    timeout: float | None = None,
    registry: Registry | None = None,
    open: bool = True,
) -> AsyncGenerator[Connection]:
    """Connect to a daemon for the time of an `async with`.

    `uri` is libvirt's (`qemu:///system`, `test+tcp://host/default`, `qemu+tls://host/system`,
    `qemu+ssh://root@host/system`, `qemu+ext:///system?command=PROGRAM`, which **runs a program**), or that of
    a daemon with its own program (`admin:///system`, `lock:///system`, `log:///system`). `auth` is for SASL:
    credentials, or an asynchronous function of host and user that returns them; by default they come from
    libvirt's auth.conf. `keepalive` is the interval of pings in seconds, and how many may go unanswered.
    `in_flight` is the maximum number of calls that the daemon has at a time; others wait. `timeout` is for
    each call, in seconds. Without `open`, no procedure is called before the first call of the caller;
    authentication is then up to the caller, too.

    Raises ConnectError with the remedy, and LibvirtError if the daemon cannot open the URI.
    """
    parsed = parse(uri)
    link = await _link(parsed, readonly)
    connection = Connection(
        link, registry=registry, keepalive=keepalive, in_flight=in_flight, timeout=timeout
    )
    try:
        if open:
            await _open(connection, parsed, auth, readonly)
        yield connection
        if open and connection.is_open:
            await _close(connection, parsed)
    except ConnectionLost as error:
        if isinstance(link, ProcessLink) and (text := await link.failure()):
            raise ConnectionLost(error.cause, f"{error}: {text}") from None
        raise
    finally:
        await connection.close()


async def _open(
    connection: Connection, uri: ConnectionUri, auth: Credentials | Prompt | None, readonly: bool
) -> None:
    async def ask(host: str, user: str) -> Credentials:
        if isinstance(auth, Credentials):
            return auth
        if (found := from_file(host, user, uri.parameters.get("authfile"))) is not None:
            return found
        if auth is not None:
            return await auth(host, user)
        raise ConnectError(
            "the server asks for a user and a password: put them into libvirt's auth.conf, or use authfile="
        )

    flags = _READ_ONLY if readonly else 0
    match uri.program:
        case "remote":
            encrypted = uri.transport != "tcp"
            await authenticate(connection, uri.host, uri.user, encrypted=encrypted, ask=ask)
            await connection.call_value("remote.connect_open", {"name": uri.name, "flags": flags})
        case "admin":
            await connection.call_value("admin.connect_open", {"flags": 0})


async def _close(connection: Connection, uri: ConnectionUri) -> None:
    """Close as libvirt does. The daemon may end the connection before its reply arrives."""
    if uri.program in ("remote", "admin"):
        with suppress(ConnectionLost, LibvirtError, TimeoutError):
            await connection.call(f"{uri.program}.connect_close", timeout=_CLOSING)


async def _link(uri: ConnectionUri, readonly: bool) -> Link:
    try:
        match uri.transport:
            case "unix":
                return await _unix(unix_socket(uri, readonly))
            case "tcp":
                connected = await address.connect(Address("tcp", uri.host, uri.port or TCP_PORT))
                return StreamLink(*await asyncio.open_connection(sock=connected))
            case "tls":
                return StreamLink(*await tls.connect(uri))
            case "ssh":
                return await _process(ssh.command(uri, readonly))
            case "ext":
                if "command" not in uri.parameters:
                    raise ConnectError("the transport ext needs ?command=PROGRAM")
                return await _process([uri.parameters["command"], uri.name])
    except OSError as error:
        why = reason(error)
        if isinstance(error, ConnectionError) and error.errno is not None:
            why = os.strerror(error.errno).lower()  # asyncio has its own words
        raise ConnectError(f"cannot connect to {uri.host or uri.transport}: {why}") from None


async def _unix(path: str) -> UnixLink:
    try:
        return UnixLink(await address.connect(Address("unix", path)))
    except OSError as error:
        hint = "; is the user in the group libvirt?" if isinstance(error, PermissionError) else ""
        raise ConnectError(f"cannot connect to {path}: {reason(error)}{hint}") from None


async def _process(command: list[str]) -> ProcessLink:
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        raise ConnectError(f"cannot run {command[0]}: {reason(error)}") from None
    return ProcessLink(process)


class ProcessLink(StreamLink):
    """The standard input and output of a process, which is ended with the connection."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        super().__init__(process.stdout, process.stdin)
        self._process = process
        self._errors = asyncio.create_task(self._read_errors(process.stderr))
        self._text = b""

    async def _read_errors(self, stderr: asyncio.StreamReader) -> None:
        """Keep the end of the standard error, and let the process write as much as it likes."""
        while block := await stderr.read(_ERROR_SIZE):
            self._text = (self._text + block)[-_ERROR_SIZE:]

    async def failure(self) -> str:
        """Return what the process wrote to standard error."""
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._errors), _PATIENCE)
        return " ".join(self._text.decode(errors="replace").split())

    def abort(self) -> None:
        """Close the pipes, and end the process."""
        super().abort()
        if self._process.returncode is None:
            self._process.terminate()

    async def wait_closed(self) -> None:
        """Wait until the process has ended."""
        try:
            await asyncio.wait_for(self._process.wait(), _PATIENCE)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        self._errors.cancel()
