"""Forward bytes and descriptors between clients and a server unchanged, and put Chunks of them into a Feed.

Source: unix(7) for SCM_RIGHTS. A read stops after the bytes that descriptors were sent with, and the receiver
gets descriptors with the first byte they were sent with. libvirt sends each descriptor with a separate byte.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from array import array
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from ..errors import reason
from ..events import Connections, Direction, Notice, NoticeCode
from .acceptor import Acceptor
from .address import PRIVATE, Address, connect
from .feed import Feed, Tap

#: Maximum number of bytes that wait for one side before the other side is no longer read.
MAX_BUFFER: Final = 256 << 10
_READ_SIZE: Final = 64 << 10
#: Linux sends at most this many descriptors at once (SCM_MAX_FD).
_DESCRIPTORS_SIZE: Final = socket.CMSG_SPACE(253 * array("i").itemsize)


class Relay:
    """Accepts connections at one address, opens one to another address for each, and forwards between them.
    `mode` is the mode of a unix socket's file."""

    def __init__(self, listen_at: Address, connect_to: Address, feed: Feed, mode: int = PRIVATE) -> None:
        self._listen_at = listen_at
        self._mode = mode
        self._connect_to = connect_to
        self._feed = feed
        self._links: set[_Link] = set()
        self._connecting: set[asyncio.Task[None]] = set()
        self._connections = Connections()
        self._said_descriptors = False

    async def run(self, stop: asyncio.Event, ready: Callable[[Address], object]) -> None:
        """Serve until `stop` is set, then close everything. Call `ready` with the address and its actual port
        as soon as clients can connect.

        Raises AddressError and OSError if it cannot listen.
        """
        acceptor = Acceptor(self._listen_at, self._mode, self._accepted, self._not_accepted)
        try:
            ready(acceptor.address)
            await stop.wait()
        finally:
            acceptor.close()
            await self._close()

    async def _close(self) -> None:
        for task in self._connecting:
            task.cancel()
        await asyncio.gather(*self._connecting, return_exceptions=True)
        for link in list(self._links):
            link.close()

    def _accepted(self, client: socket.socket) -> None:
        task = asyncio.create_task(self._join(client))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    def _not_accepted(self, error: OSError) -> None:
        self._notice(NoticeCode.NOT_ACCEPTED, f"connections have to wait: {_words(error)}")

    async def _join(self, client: socket.socket) -> None:
        """Connect a client to the server."""
        try:
            server = await connect(self._connect_to)
        except OSError as error:
            self._notice(NoticeCode.NOT_CONNECTED, f"no connection to {self._connect_to}: {_words(error)}")
            client.close()
            return
        except BaseException:
            client.close()
            raise
        transport = self._listen_at.transport
        connection = self._connections.new(_peer(client), self._server_name(server), transport)
        link = _Link(client, server, Tap(self._feed, connection), self._descriptors_lost, self._links.discard)
        self._links.add(link)
        link.start()

    def _server_name(self, server: socket.socket) -> str:
        return self._connect_to.name if self._connect_to.transport == "unix" else _peer(server)

    def _descriptors_lost(self, why: str) -> None:
        """Report it once: further cases are of the same kind."""
        if not self._said_descriptors:
            self._said_descriptors = True
            self._notice(NoticeCode.DESCRIPTORS_LOST, f"file descriptors are not forwarded: {why}")

    def _notice(self, code: NoticeCode, text: str) -> None:
        self._feed.notice(Notice(code, text))


class _Link:
    """A client's connection and its counterpart to the server."""

    def __init__(
        self,
        client: socket.socket,
        server: socket.socket,
        tap: Tap,
        descriptors_lost: Callable[[str], None],
        closed: Callable[[_Link], None],
    ) -> None:
        self.tap = tap
        self.descriptors_lost = descriptors_lost
        #: Whether descriptors can be forwarded.
        self.passes = client.family == server.family == socket.AF_UNIX
        self._closed = closed
        self._sockets = (client, server)
        self._pumps = (_Pump(self, client, server, "c2s"), _Pump(self, server, client, "s2c"))

    def start(self) -> None:
        for one in self._sockets:
            if one.family != socket.AF_UNIX:  # messages must not wait for more data
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for pump in self._pumps:
            pump.settle()

    def done(self) -> None:
        """Close the connection if both directions are over."""
        if all(pump.done for pump in self._pumps):
            self.close()

    def close(self, *, reset: bool = False) -> None:
        """Close both sides; with `reset`, as one of them was."""
        for pump in self._pumps:
            pump.stop()
        for one in self._sockets:
            if reset and one.family != socket.AF_UNIX:
                with suppress(OSError):
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            one.close()
        self.tap.close()
        self._closed(self)


class _Pump:
    """One direction: reads from one socket, and writes to the other."""

    def __init__(
        self, link: _Link, source: socket.socket, target: socket.socket, direction: Direction
    ) -> None:
        self._link = link
        self._source, self._target = source, target
        self._direction = direction
        self._loop = asyncio.get_running_loop()
        #: Bytes read and not yet sent. The descriptors, if any, are sent with the last byte.
        self._buffer = bytearray()
        self._descriptors = array("i")
        self._reading = self._writing = False
        #: Whether the source has ended, and whether it was reset.
        self._ended = self._reset = False
        self.done = False

    def settle(self) -> None:
        """Start and stop reading and writing as the buffer requires, and finish at the end. Descriptors are
        sent before more is read: they are few."""
        read = not self._ended and len(self._buffer) < MAX_BUFFER and not self._descriptors
        if read != self._reading:
            self._reading = read
            if read:
                self._loop.add_reader(self._source, self._read)
            else:
                self._loop.remove_reader(self._source)
        write = bool(self._buffer)
        if write != self._writing:
            self._writing = write
            if write:
                self._loop.add_writer(self._target, self._write)
            else:
                self._loop.remove_writer(self._target)
        if self._ended and not self._buffer and not self.done:
            self._finish()

    def stop(self) -> None:
        """Stop reading and writing, and discard the buffer."""
        self._ended = self.done = True
        self._buffer.clear()
        self._close_descriptors()
        self.settle()

    def _read(self) -> None:
        try:
            data, descriptors = self._receive()
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data, descriptors = b"", array("i")
            self._reset = True
        if not data:
            self._ended = True
            self._link.tap.end(self._direction)
            self.settle()
            return
        seen = data[:-1] if descriptors else data
        if seen:
            self._link.tap.data(self._direction, seen)
        if descriptors and not self._link.passes:
            self._link.descriptors_lost("one side of the relay is not a unix socket")
            _close_all(descriptors)
            descriptors = array("i")
        self._buffer += data
        self._descriptors = descriptors
        if not self._writing:  # otherwise earlier bytes are waiting
            self._write()
        else:
            self.settle()

    def _receive(self) -> tuple[bytes, array[int]]:
        """Return the available bytes, and the descriptors that belong to the last of them."""
        descriptors = array("i")
        if self._source.family != socket.AF_UNIX:
            return self._source.recv(_READ_SIZE), descriptors
        data, ancillary, flags, _ = self._source.recvmsg(
            _READ_SIZE, _DESCRIPTORS_SIZE, socket.MSG_CMSG_CLOEXEC
        )
        for level, kind, content in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                descriptors.frombytes(content[: len(content) - len(content) % descriptors.itemsize])
        if flags & socket.MSG_CTRUNC:
            self._link.descriptors_lost("this process is at its limit of open files")
        return data, descriptors

    def _write(self) -> None:
        try:
            self._send()
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self._broken()
            return
        self.settle()

    def _send(self) -> None:
        """Send everything, or raise BlockingIOError."""
        buffer = self._buffer
        while len(buffer) > bool(self._descriptors):
            with memoryview(buffer) as view:
                sent = self._target.send(view[: len(buffer) - bool(self._descriptors)])
            del buffer[:sent]
        if self._descriptors:
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, self._descriptors)
            self._target.sendmsg([buffer], [rights])
            buffer.clear()
            self._close_descriptors()

    def _finish(self) -> None:
        """End the direction: the source has ended, and everything was sent."""
        self.done = True
        if self._reset:
            self._link.close(reset=True)
            return
        with suppress(OSError):  # the other direction will notice
            self._target.shutdown(socket.SHUT_WR)
        self._link.done()

    def _broken(self) -> None:
        """End only this direction: the target accepts nothing more, but its own data may still be
        readable."""
        self.stop()
        self._link.tap.end(self._direction)
        with suppress(OSError):
            self._source.shutdown(socket.SHUT_RD)
        self._link.done()

    def _close_descriptors(self) -> None:
        _close_all(self._descriptors)
        self._descriptors = array("i")


def _close_all(descriptors: array[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _peer(one: socket.socket) -> str:
    """Return the peer: `address:port`, or the process of a unix socket."""
    if one.family == socket.AF_UNIX:
        pid, _, _ = struct.unpack("3i", one.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return f"unix:pid {pid}" if pid else "unix"
    try:
        host, port = one.getpeername()[:2]
    except OSError:  # already disconnected
        return "?"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _words(error: OSError) -> str:
    text = reason(error)
    return text[:1].lower() + text[1:]
