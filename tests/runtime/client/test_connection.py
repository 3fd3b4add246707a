"""Connections over real sockets to a server in the test, which sends scripted answers."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from libvirt_proto import FrameDecoder, LibvirtError, decode_message, registry
from libvirt_proto.client.connection import Connection
from libvirt_proto.client.core import STREAM_PIECE, KeepaliveTimeout
from libvirt_proto.client.errors import ConnectionLost, EventOverflow
from libvirt_proto.errors import BadValue, FrameError
from libvirt_proto.generated import remote
from libvirt_proto.link import Link, StreamLink, UnixLink
from tests.support.frames import error_payload, frame, word

VERSION = word(0) + word(9000000)
SCREENSHOT = 211
CLOSED = registry.program("remote").procedure("connect_event_connection_closed").number
DOMAIN = remote.RemoteNonnullDomain("vm1", bytes(16), 1)


STREAM_ARGS: dict[str, Any] = {"dom": DOMAIN, "screen": 0, "flags": 0}
GRAPHICS_ARGS: dict[str, Any] = {"dom": DOMAIN, "idx": 0, "flags": 0}


class Server:
    """The other end of a connection."""

    def __init__(self, end: socket.socket) -> None:
        self.socket = end
        self._loop = asyncio.get_running_loop()
        self._frames = FrameDecoder(fd_bytes=True)
        self._waiting: list[bytes] = []

    async def call(self) -> bytes:
        """Return the next frame from the client, b"" at the end."""
        while not self._waiting:
            data = await self._loop.sock_recv(self.socket, 1 << 20)
            if not data:
                return b""
            self._waiting += [each.data for each in self._frames.feed(data)]
        return self._waiting.pop(0)

    async def send(self, data: bytes) -> None:
        await self._loop.sock_sendall(self.socket, data)

    async def answer(self, payload: bytes, **header: int) -> None:
        """Answer the next call."""
        call = decode_message(await self.call()).header
        await self.send(frame(payload, proc=call.proc, type_=1, serial=call.serial, **header))


@asynccontextmanager
async def connected(kind: str = "unix", **options: Any) -> AsyncIterator[tuple[Connection, Server]]:
    """A connection over a pair of sockets."""
    ours, theirs = socket.socketpair()
    for each in (ours, theirs):
        each.setblocking(False)
    link: Link = UnixLink(ours) if kind == "unix" else StreamLink(*await asyncio.open_connection(sock=ours))
    with theirs:
        async with Connection(link, **options) as connection:
            yield connection, Server(theirs)


def run(test: Callable[[Connection, Server], Awaitable[None]], kind: str = "unix", **options: Any) -> None:
    async def main() -> None:
        async with asyncio.timeout(20), connected(kind, **options) as (connection, server):
            await test(connection, server)

    asyncio.run(main())


@pytest.mark.parametrize("kind", ["unix", "stream"])
def test_call(kind: str) -> None:
    async def test(connection: Connection, server: Server) -> None:
        call = asyncio.create_task(connection.remote.connect_get_lib_version())
        await server.answer(VERSION)
        assert await call == remote.RemoteConnectGetLibVersionRet(9000000)

    run(test, kind)


def test_error_of_the_server() -> None:
    async def test(connection: Connection, server: Server) -> None:
        call = asyncio.create_task(connection.remote.domain_lookup_by_name(name="x"))
        await server.answer(error_payload(42, 12, b"none"), status=1)
        with pytest.raises(LibvirtError, match="VIR_ERR_NO_DOMAIN: none"):
            await call
        assert connection.is_open

    run(test)


def test_checks_names() -> None:
    async def test(connection: Connection, server: Server) -> None:
        with pytest.raises(BadValue, match="unknown argument 'nam'"):
            await connection.remote.domain_lookup_by_name(nam="x")
        with pytest.raises(BadValue, match="needs the argument 'name'"):
            await connection.remote.domain_lookup_by_name()
        with pytest.raises(BadValue, match="expected none"):
            await connection.remote.connect_get_lib_version(x=1)
        with pytest.raises(AttributeError, match="domain_lookup_by_name"):
            _ = connection.remote.domain_lookup_by_nam
        with pytest.raises(AttributeError, match="unknown program"):
            _ = connection.remot
        assert "domain_lookup_by_name" in dir(connection.remote)

    run(test)


def test_serves_at_most_in_flight_calls_at_a_time() -> None:
    async def test(connection: Connection, server: Server) -> None:
        calls = [asyncio.create_task(connection.remote.connect_get_lib_version()) for _ in range(500)]
        for _ in calls:
            first = decode_message(await server.call()).header
            # Nothing else is sent: the second slot's call is there, and no third.
            await server.send(frame(VERSION, proc=157, type_=1, serial=first.serial))
        assert len(await asyncio.gather(*calls)) == 500

    run(test, in_flight=1)


def test_never_exceeds_in_flight() -> None:
    async def test(connection: Connection, server: Server) -> None:
        calls = [asyncio.create_task(connection.remote.connect_get_lib_version()) for _ in range(4)]
        serials = [decode_message(await server.call()).header.serial for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(BlockingIOError):
            server.socket.recv(1)
        for serial in (*serials, 3):
            await server.send(frame(VERSION, proc=157, type_=1, serial=serial))
            if serial == serials[0]:
                await server.call()
        await asyncio.gather(*calls)

    run(test, in_flight=3)


def test_cancelled_call_leaves_the_connection_usable() -> None:
    async def test(connection: Connection, server: Server) -> None:
        call = asyncio.create_task(connection.remote.connect_get_lib_version())
        await server.call()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        # It keeps its slot until it is answered, since the daemon is still working on it.
        second = asyncio.create_task(connection.remote.connect_get_lib_version())
        await server.send(frame(VERSION, proc=157, type_=1, serial=0))
        await server.answer(VERSION)
        assert (await second).lib_ver == 9000000

    run(test, in_flight=1)


def test_unknown_event_does_not_answer_a_call_with_its_serial() -> None:
    """Events have serial 1."""

    async def test(connection: Connection, server: Server) -> None:
        calls = [asyncio.create_task(connection.remote.connect_get_lib_version()) for _ in range(2)]
        await server.answer(VERSION)
        await server.send(frame(type_=2, serial=1, proc=9999))
        await server.answer(VERSION)
        assert len(await asyncio.gather(*calls)) == 2

    run(test)


def test_end_of_the_connection_wakes_calls_behind_a_cancelled_one() -> None:
    async def test(connection: Connection, server: Server) -> None:
        first, second = (asyncio.create_task(connection.remote.connect_get_lib_version()) for _ in range(2))
        await server.call()
        first.cancel()
        await asyncio.wait([first])
        server.socket.close()
        with pytest.raises(ConnectionLost):
            await second

    run(test, in_flight=1)


def test_timeout_leaves_the_connection_usable() -> None:
    async def test(connection: Connection, server: Server) -> None:
        with pytest.raises(TimeoutError):
            await connection.call("connect_get_lib_version", timeout=0.01)
        await server.answer(VERSION)
        call = asyncio.create_task(connection.call("connect_get_lib_version"))
        await server.answer(VERSION)
        assert (await call).serial == 1

    run(test)


@pytest.mark.parametrize("kind", ["unix", "stream"])
def test_end_of_the_connection_fails_everything(kind: str) -> None:
    async def test(connection: Connection, server: Server) -> None:
        calls = [asyncio.create_task(connection.remote.connect_get_lib_version()) for _ in range(9)]
        events = connection.events()
        stream = connection.stream("domain_screenshot", dom=DOMAIN, screen=0, flags=0)
        await server.call()
        server.socket.close()
        for call in calls:
            with pytest.raises(ConnectionLost, match=r"closed the connection|connection was lost"):
                await call
        with pytest.raises(ConnectionLost):
            await anext(events)
        with pytest.raises(ConnectionLost):
            async with stream:
                pass
        with pytest.raises(ConnectionLost):
            await connection.remote.connect_get_lib_version()
        with pytest.raises(ConnectionLost):
            await anext(connection.events())
        assert not connection.is_open

    run(test, kind)


def test_violation_of_the_protocol_ends_the_connection() -> None:
    async def test(connection: Connection, server: Server) -> None:
        call = asyncio.create_task(connection.remote.connect_get_lib_version())
        await server.call()
        await server.send(word(3))
        with pytest.raises(ConnectionLost, match="violated the protocol") as lost:
            await call
        assert isinstance(lost.value.cause, FrameError)
        assert await server.call() == b""

    run(test)


def test_silent_server_is_dead() -> None:
    async def test(connection: Connection, server: Server) -> None:
        call = asyncio.create_task(connection.remote.connect_get_lib_version())
        with pytest.raises(ConnectionLost, match="2 pings") as lost:
            await call
        assert isinstance(lost.value.cause, KeepaliveTimeout)

    run(test, keepalive=(0.02, 2))


class TestEvents:
    EVENT = frame(word(2), type_=2, serial=1, proc=CLOSED)

    def test_selected_events(self) -> None:
        async def test(connection: Connection, server: Server) -> None:
            with connection.events("connect_event_connection_closed") as events:
                await server.send(frame(b"", type_=2, serial=1, proc=9999))
                await server.send(self.EVENT)
                event = await anext(events)
                assert (event.procedure.name, event.value.reason) == ("connect_event_connection_closed", 2)

        run(test)

    def test_overflow_raises_after_the_events_that_fit(self) -> None:
        async def test(connection: Connection, server: Server) -> None:
            events = connection.events(limit=2)
            await server.send(self.EVENT * 3)
            assert [(await anext(events)).value.reason for _ in range(2)] == [2, 2]
            with pytest.raises(EventOverflow):
                await anext(events)

        run(test)


class TestStreams:
    async def open(self, server: Server, data: bytes = b"") -> int:
        """Answer the call of a stream, with data in the same write."""
        call = decode_message(await server.call()).header
        await server.send(frame(word(0), proc=SCREENSHOT, type_=1, serial=call.serial) + data)
        return call.serial

    async def read(self, connection: Connection) -> list[object]:
        """Return what a stream receives."""
        async with connection.stream("domain_screenshot", **STREAM_ARGS) as stream:
            return [piece async for piece in stream]

    def piece(self, data: bytes, status: int = 2) -> bytes:
        return frame(data, type_=3, status=status, proc=SCREENSHOT)

    def test_download(self) -> None:
        async def serve(server: Server) -> None:
            await self.open(server, self.piece(b"ab") + self.piece(b"c") + self.piece(b""))
            assert await server.call() == self.piece(b"", 0)
            await server.send(self.piece(b"", 0))

        async def test(connection: Connection, server: Server) -> None:
            serving = asyncio.create_task(serve(server))
            assert await self.read(connection) == [b"ab", b"c"]
            await serving

        run(test)

    def test_leaving_early_aborts(self) -> None:
        async def serve(server: Server) -> None:
            await self.open(server, self.piece(b"ab"))
            assert await server.call() == self.piece(b"", 1)

        async def test(connection: Connection, server: Server) -> None:
            serving = asyncio.create_task(serve(server))
            async with connection.stream("domain_screenshot", **STREAM_ARGS) as stream:
                assert await anext(stream) == b"ab"
            await serving

        run(test)

    def test_error_of_the_server(self) -> None:
        async def test(connection: Connection, server: Server) -> None:
            serving = asyncio.create_task(self.open(server, self.piece(error_payload(38, 0, b"disk"), 1)))
            with pytest.raises(LibvirtError, match="disk"):
                await self.read(connection)
            await serving
            assert connection.is_open

        run(test)

    def test_stream_without_a_reader_is_aborted(self) -> None:
        async def test(connection: Connection, server: Server) -> None:
            call = asyncio.create_task(connection.call("domain_screenshot", STREAM_ARGS))
            await self.open(server)
            await call
            assert await server.call() == self.piece(b"", 1)

        run(test)

    def test_upload(self) -> None:
        volume = remote.RemoteNonnullStorageVol("pool", "vol", "key")
        data = os.urandom(STREAM_PIECE + 1)

        async def serve(server: Server) -> bytes:
            call = decode_message(await server.call()).header
            await server.send(frame(proc=call.proc, type_=1, serial=call.serial))
            received = b""
            while (message := decode_message(await server.call())).header.status == 2:
                received += message.data or b""
            await server.send(frame(proc=call.proc, type_=3, serial=call.serial))
            return received

        async def test(connection: Connection, server: Server) -> None:
            serving = asyncio.create_task(serve(server))
            async with connection.stream(
                "storage_vol_upload", vol=volume, offset=0, length=0, flags=0
            ) as stream:
                await stream.send(data)
            assert await serving == data
            with pytest.raises(BadValue, match="has ended"):
                await stream.send(b"x")

        run(test)


class TestDescriptors:
    def test_in_both_directions(self, tmp_path: Path) -> None:
        async def test(connection: Connection, server: Server) -> None:
            with (tmp_path / "sent").open("wb") as file:
                call = asyncio.create_task(
                    connection.call("domain_open_graphics", GRAPHICS_ARGS, fds=[file.fileno()])
                )
                data = b""
                received: list[int] = []
                while not received:
                    await asyncio.sleep(0)
                    try:
                        piece, fds, _, _ = socket.recv_fds(server.socket, 1 << 16, 8)
                    except BlockingIOError:
                        continue
                    data += piece
                    received += fds
                assert data[28:32] == word(1)
                assert data[-1:] == b"\0"
            with os.fdopen(received[0], "wb") as theirs:
                theirs.write(b"hello")
            assert (tmp_path / "sent").read_bytes() == b"hello"
            with (tmp_path / "sent").open("rb") as file:
                await server.send(frame(word(1), proc=249, type_=5))
                socket.send_fds(server.socket, [b"\0"], [file.fileno()])
            returned = await call
            with os.fdopen(returned.fds[0], "rb") as ours:
                assert ours.read() == b"hello"
            assert not os.get_inheritable(os.dup(server.socket.fileno()))

        run(test)

    def test_unexpected_ones_are_closed(self, tmp_path: Path) -> None:
        async def test(connection: Connection, server: Server) -> None:
            (tmp_path / "file").touch()
            with (tmp_path / "file").open("rb") as file:
                socket.send_fds(server.socket, [b"x"], [file.fileno()] * 3)
            server.socket.shutdown(socket.SHUT_WR)
            while connection.is_open:
                await asyncio.sleep(0)
            links = (os.path.realpath(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd"))
            assert str(tmp_path / "file") not in links

        run(test)
