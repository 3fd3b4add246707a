"""Messages of a connection with the descriptors that follow them, without I/O (src/rpc/virnetsocket.c)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from ..errors import BadValue, ProtocolError
from .frame import FrameDecoder, descriptor_count
from .wire import MAX_FRAME


class Outgoing(msgspec.Struct, frozen=True):
    """Bytes to send, with descriptors that follow them on a unix socket, each with one byte of zero."""

    data: bytes
    fds: tuple[int, ...] = ()


class Assembler:
    """Splits the bytes of a connection into frames, and gives each the descriptors that follow it.

    `unix` is True for unix sockets, which can pass descriptors; `max_frame` is the maximum length word.
    `error` is set after bytes that are not a frame, and after a frame whose descriptors are missing. The
    caller may set it, too. Everything later is ignored.
    """

    def __init__(self, *, unix: bool = False, max_frame: int = MAX_FRAME) -> None:
        self._unix = unix
        self._frames = FrameDecoder(fd_bytes=unix, max_frame=max_frame)
        #: A frame that waits for its descriptors, and descriptors that wait for their frame.
        self._partial: bytes | None = None
        self._fds: list[int] = []
        self.error: ProtocolError | None = None

    def feed(self, data: bytes, fds: Sequence[int] = ()) -> Iterator[tuple[bytes, tuple[int, ...]]]:
        """Add bytes, and the descriptors that arrived with them; yield the frames that they complete. If
        the iteration is abandoned at a frame, its descriptors are those of `take_stray`."""
        self._fds += fds
        if self.error is not None:
            return
        for frame in self._frames.feed(data):
            yield from self._complete()
            if self._partial is not None:
                count = descriptor_count(self._partial)
                self.error = BadValue(f"expected {count} descriptors after a message, got {len(self._fds)}")
                return
            self._partial = frame.data
            yield from self._complete()
        yield from self._complete()
        self.error = self.error or self._frames.error

    def take_stray(self) -> list[int]:
        """Return descriptors that belong to no frame; the caller has to close them."""
        return self.take_descriptors() if self._partial is None or self.error is not None else []

    def take_descriptors(self) -> list[int]:
        """Return the descriptors that wait for others of their message; the caller has to close them."""
        fds, self._fds = self._fds, []
        return fds

    def _complete(self) -> Iterator[tuple[bytes, tuple[int, ...]]]:
        """Yield the last frame once its descriptors are there."""
        frame = self._partial
        if frame is None or len(self._fds) < (count := descriptor_count(frame) if self._unix else 0):
            return
        self._partial = None
        yield frame, tuple(self._fds[:count])
        del self._fds[:count]  # only now: an error leaves them to be returned
