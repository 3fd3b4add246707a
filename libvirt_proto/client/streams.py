"""Streams: data in both directions after a call, with holes (src/rpc/virnetclientstream.c)."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Self

from ..errors import BadValue, Error
from ..session import stream_direction
from .core import STREAM_PIECE, Failed, Finished, Hole, Malformed, Piece

if TYPE_CHECKING:
    from ..definitions.program import Procedure, Program
    from .connection import Connection
    from .core import ClientCore


class Stream:
    """A stream: see `Connection.stream`. An asynchronous iterator of what the server sends: bytes, and a Hole
    for a hole of a sparse stream.

    At the end of `async with`, an upload is finished, and so is a download that was read to its end: the
    server confirms that it has handled everything. After an exception, and before the end of a download, the
    stream is aborted. An error of the server raises LibvirtError at the next use of the stream, at the latest
    there.

    A connection stops reading while one of its streams has more than `connection.UNREAD` unread bytes. Then
    replies wait, too: read a stream while you wait for other calls.
    """

    def __init__(self, connection: Connection, procedure: tuple[Program, Procedure], args: Any) -> None:
        self._connection = connection
        self._procedure = procedure
        self._args = args
        self._serial = -1
        self._uploads = stream_direction(procedure[1]) == "c2s"
        self._waiting: deque[bytes | Hole] = deque()
        self._changed = asyncio.Event()
        self._complete = False  # the server has sent all data
        self._finished = False
        self._error: Error | None = None
        #: Number of bytes that wait for the reader.
        self.unread = 0
        #: The value of the reply to the call that opened it.
        self.reply: Any = None

    async def __aenter__(self) -> Self:
        returned = await self._connection.call(self._procedure, self._args, stream=self)
        self._serial, self.reply = returned.serial, returned.value
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None and (self._complete or self._uploads):
                await self.finish()
        finally:
            self._connection.close_stream(self._serial)
        if kind is None and self._error is not None:
            raise self._error

    # Receiving

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes | Hole:
        while not self._waiting:
            if self._error is not None:
                raise self._error
            if self._complete or self._finished:
                raise StopAsyncIteration
            await self._change()
        piece = self._waiting.popleft()
        if isinstance(piece, bytes):
            self.unread -= len(piece)
            self._connection.check_unread()
        return piece

    def add(self, received: Piece | Hole | Finished | Failed | Malformed) -> None:
        """Add what the server sent."""
        match received:
            case Piece(_, data):
                if data:
                    self._waiting.append(data)
                    self.unread += len(data)
                    self._connection.check_unread()
                else:
                    self._complete = True
            case Hole():
                self._waiting.append(received)
            case Finished():
                self._finished = True
            case Failed(_, error) | Malformed(_, error):
                self.end(error)
        self._changed.set()

    def end(self, error: Error) -> None:
        """End the stream with an error."""
        self._error = self._error or error
        self._changed.set()

    # Sending

    async def send(self, data: bytes) -> None:
        """Send data, in messages of at most STREAM_PIECE bytes. Waits while much is left to be sent."""
        view = memoryview(data)
        for start in range(0, len(view), STREAM_PIECE):
            self._open_core.send_piece(self._serial, bytes(view[start : start + STREAM_PIECE]))
            await self._connection.send()

    async def send_hole(self, length: int) -> None:
        """Send a hole of `length` bytes, in a stream that was opened as sparse."""
        self._open_core.send_hole(self._serial, length)
        await self._connection.send()

    async def finish(self) -> None:
        """End the data, and wait until the server confirms that it has handled all of it."""
        if self._finished:
            return
        self._open_core.finish(self._serial)
        await self._connection.send()
        while not self._finished and self._error is None:
            await self._change()
        if self._error is not None:
            raise self._error

    def abort(self) -> None:
        """Abort the stream: the server drops what it has not handled. Then it ends for the reader, too."""
        self._finished = True
        self._connection.abort_stream(self._serial)
        self._changed.set()

    @property
    def _open_core(self) -> ClientCore:
        """The core, for a message of the stream. Raises what ended it."""
        if self._error is not None:
            raise self._error
        if self._finished:
            raise BadValue("the stream has ended")
        return self._connection.core

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()
