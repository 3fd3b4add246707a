"""Connected byte streams, with or without descriptors: sockets, TLS, and the pipes of a process."""

from __future__ import annotations

import asyncio
import os
import socket
from array import array
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final, Protocol

#: Maximum number of bytes of one read.
_BLOCK: Final = 1 << 18
#: Bytes that may wait to be sent before `drain` waits.
_HIGH_WATER: Final = 1 << 20
#: Maximum number of descriptors that arrive with one read; the kernel's SCM_MAX_FD.
_MAX_DESCRIPTORS: Final = 253
_INT_SIZE: Final = array("i").itemsize


class Link(Protocol):
    """A connected byte stream."""

    #: Whether it can pass descriptors.
    unix: bool

    async def read(self) -> tuple[bytes, list[int]]:
        """Return bytes, and descriptors that arrived with them and belong to the caller; no bytes at the end.
        Raises OSError."""

    def write(self, data: bytes, fds: Sequence[int] = ()) -> None:
        """Send without waiting; the descriptors, which the caller may close, follow the data. Errors are
        those of `read`."""

    async def drain(self) -> None:
        """Wait until little is left to be sent."""

    def abort(self) -> None:
        """Close the stream; what has not been sent is dropped, and `read` ends."""

    async def wait_closed(self) -> None:
        """Wait until everything that belongs to the stream has ended, after `abort`."""


class StreamLink:
    """TCP, TLS, or a pair of pipes, through asyncio's streams."""

    unix = False

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self) -> tuple[bytes, list[int]]:
        """Return bytes; there are never descriptors."""
        return await self._reader.read(_BLOCK), []

    def write(self, data: bytes, fds: Sequence[int] = ()) -> None:
        """Send without waiting."""
        assert not fds, "the core refuses descriptors here"
        if not self._writer.is_closing():
            self._writer.write(data)

    async def drain(self) -> None:
        """Wait until little is left to be sent."""
        with suppress(OSError):  # the reader reports it
            await self._writer.drain()

    def abort(self) -> None:
        """Close the stream."""
        if not self._writer.is_closing():
            self._writer.transport.abort()

    async def wait_closed(self) -> None:
        """Wait until it is closed."""
        with suppress(OSError):
            await self._writer.wait_closed()


class UnixLink:
    """A unix socket, which passes descriptors: each follows the data of its message with one byte of zero
    (virNetSocketSendFD in src/rpc/virnetsocket.c)."""

    unix = True

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._loop = asyncio.get_running_loop()
        #: Pieces to send, each with a duplicated descriptor or None.
        self._pieces: deque[tuple[memoryview, int | None]] = deque()
        self._left = 0
        self._drained = asyncio.Event()
        self._drained.set()

    async def read(self) -> tuple[bytes, list[int]]:
        """Return bytes and descriptors, which are not inherited by other processes."""
        while True:
            try:
                data, ancillary, _, _ = self._socket.recvmsg(
                    _BLOCK, socket.CMSG_SPACE(_MAX_DESCRIPTORS * _INT_SIZE), socket.MSG_CMSG_CLOEXEC
                )
            except BlockingIOError:
                await self._readable()
            else:
                return data, list(_descriptors(ancillary))

    async def _readable(self) -> None:
        ready = self._loop.create_future()
        self._loop.add_reader(self._socket, _wake, ready)
        try:
            await ready
        finally:
            if self._socket.fileno() >= 0:
                self._loop.remove_reader(self._socket)

    def write(self, data: bytes, fds: Sequence[int] = ()) -> None:
        """Send without waiting."""
        if self._socket.fileno() < 0:
            return
        for piece, fd in ((data, None), *((b"\0", os.dup(fd)) for fd in fds)):
            self._pieces.append((memoryview(piece), fd))
            self._left += len(piece)
        self._send()

    def _send(self) -> None:
        try:
            while self._pieces:
                piece, fd = self._pieces[0]
                ancillary = [] if fd is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [fd]))]
                sent = self._socket.sendmsg([piece], ancillary)
                self._left -= sent
                if fd is not None:
                    os.close(fd)
                if sent < len(piece):
                    self._pieces[0] = (piece[sent:], None)
                else:
                    self._pieces.popleft()
        except BlockingIOError:
            self._loop.add_writer(self._socket, self._send)
        except OSError:  # the reader reports it
            self._drop()
        else:
            self._loop.remove_writer(self._socket)
        if self._left > _HIGH_WATER:
            self._drained.clear()
        else:
            self._drained.set()

    async def drain(self) -> None:
        """Wait until little is left to be sent."""
        await self._drained.wait()

    def _drop(self) -> None:
        for _, fd in self._pieces:
            if fd is not None:
                os.close(fd)
        self._pieces.clear()
        self._left = 0
        self._drained.set()

    def abort(self) -> None:
        """Close the socket."""
        if self._socket.fileno() >= 0:
            self._loop.remove_writer(self._socket)
            self._loop.remove_reader(self._socket)
            self._socket.close()
        self._drop()

    async def wait_closed(self) -> None:
        """Return at once: closing does not wait."""


def _wake(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


def _descriptors(ancillary: Sequence[tuple[int, int, bytes]]) -> Iterator[int]:
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            whole = array("i")
            whole.frombytes(data[: len(data) - len(data) % _INT_SIZE])
            yield from whole
