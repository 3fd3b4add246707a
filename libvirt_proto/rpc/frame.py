"""Frames of a byte stream: bytes in, frames out, without I/O.

A frame is a four-byte big-endian length word that counts itself, a 24-byte header and a payload
(virnetprotocol.x, "RPC wire format").
"""

from __future__ import annotations

import msgspec

from ..errors import FrameError
from .wire import FDS_AT, MAX_FDS, MAX_FRAME, MIN_FRAME, TYPE_AT, TYPES_WITH_FDS, WORD, WORD_SIZE

_word = WORD.unpack_from


class Frame(msgspec.Struct, frozen=True, gc=False):
    """A complete frame. `offset` is the position of its length word in the stream."""

    offset: int
    data: bytes


class FrameDecoder:
    """Splits bytes in pieces of any size into complete frames.

    `fd_bytes` is for streams of unix sockets: there, one zero byte per passed descriptor follows the frame,
    which the length word does not count. `max_frame` is the maximum length word.

    After an invalid length word, `error` is a FrameError with its offset, and `feed` only collects: `resume`
    continues after as many bytes as the caller decides to skip.
    """

    def __init__(self, *, max_frame: int = MAX_FRAME, fd_bytes: bool = False) -> None:
        self._max = max_frame
        self._fd_bytes = fd_bytes
        self._buffer = bytearray()
        self._offset = 0
        self._padding = 0
        self.error: FrameError | None = None

    @property
    def offset(self) -> int:
        """Position in the stream of the first byte that is not part of a frame yet."""
        return self._offset

    @property
    def pending(self) -> bytes:
        """The bytes that wait for the rest of their frame (or, after an error, for `resume`)."""
        return bytes(self._buffer)

    def feed(self, data: bytes) -> list[Frame]:
        """Add bytes; return the frames that they complete."""
        self._buffer += data
        return [] if self.error else self._frames()

    def resume(self, skip: int) -> list[Frame]:
        """Skip `skip` pending bytes, clear the error, and continue."""
        skip = min(skip, len(self._buffer))
        del self._buffer[:skip]
        self._offset += skip
        self._padding = 0
        self.error = None
        return self._frames()

    def _frames(self) -> list[Frame]:
        buffer, frames, pos, size = self._buffer, [], 0, len(self._buffer)
        while True:
            if self._padding:
                step = min(self._padding, size - pos)
                pos += step
                self._padding -= step
            if size - pos < WORD_SIZE:
                break
            (length,) = _word(buffer, pos)
            if not MIN_FRAME <= length <= self._max:
                self.error = FrameError(length, self._max, offset=self._offset + pos)
                break
            if size - pos < length:
                break
            frame = bytes(buffer[pos : pos + length])
            frames.append(Frame(self._offset + pos, frame))
            pos += length
            if self._fd_bytes:
                self._padding = descriptor_count(frame)
        del buffer[:pos]
        self._offset += pos
        return frames


def descriptor_count(frame: bytes) -> int:
    """Return the number of descriptors that follow a frame on a unix socket; 0 for an invalid number."""
    if len(frame) < FDS_AT + WORD_SIZE or _word(frame, TYPE_AT)[0] not in TYPES_WITH_FDS:
        return 0
    count: int = _word(frame, FDS_AT)[0]
    return count if count <= MAX_FDS else 0
