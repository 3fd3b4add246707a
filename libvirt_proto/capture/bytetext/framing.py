"""Tests of bytes: whether they are messages of libvirt, and whether they end within one."""

from __future__ import annotations

from functools import cache
from typing import Final

from ...rpc.plausible import plausible_header
from ...rpc.wire import MAX_FRAME, MIN_FRAME

_HEADER_SIZE: Final = 24
#: A length word for a header that lacks one.
_LENGTH: Final = MIN_FRAME.to_bytes(4, "big")
#: The words of a plausible message, which complete a truncated one.
_EXAMPLE: Final = b"".join(word.to_bytes(4, "big") for word in (MIN_FRAME, 1, 1, 1, 0, 0, 0))
#: A truncated header shows at least its program and version.
_ENOUGH: Final = 12
_VERSION: Final = b"\x00\x00\x00\x01"
#: Evidence of a message, or of a header, of a known program.
CERTAIN: Final = 3
#: Number of places where a message is searched for.
_MAX_SEARCHES: Final = 4096


@cache
def _programs() -> frozenset[int]:
    """Numbers of the libvirt programs."""
    from ...registry import default

    return default().numbers


def begins_message(data: bytes) -> bool:
    """Return whether bytes begin with a plausible message. A header that is truncated must be of libvirt."""
    if len(data) >= MIN_FRAME:
        return plausible_header(data)
    return len(data) >= _ENOUGH and plausible_header(data + _EXAMPLE[len(data) :], programs=_programs())


def begins_header(data: bytes) -> bool:
    """Return whether bytes begin with a header of libvirt without its length word."""
    return len(data) >= _HEADER_SIZE and plausible_header(_LENGTH + data[:_HEADER_SIZE], programs=_programs())


def frames(data: bytes) -> bool:
    """Return whether bytes begin with a message, or with a header."""
    return begins_message(data) or begins_header(data)


def evidence(data: bytes) -> int:
    """Return how much bytes are like messages: 3 if they begin with one of a known program, or with its
    header, 2 if they begin with one of any program, 1 if they contain one, 0."""
    if len(data) < _ENOUGH:
        return 0
    if begins_header(data) or plausible_header(data, programs=_programs()):
        return CERTAIN
    if begins_message(data):
        return 2
    at = data.find(_VERSION, 8)
    for _ in range(_MAX_SEARCHES):
        if at < 0:
            return 0
        if plausible_header(data, at - 8, _programs()):
            return 1
        at = data.find(_VERSION, at + 1)
    return 0


class Position:
    """The position in a sequence of messages that arrive in pieces."""

    def __init__(self) -> None:
        self._head = b""
        #: Number of bytes of the current message that are still to come.
        self._rest = 0
        #: Whether the bytes are messages as far as they are known.
        self._framed = True

    @property
    def within(self) -> bool:
        """True within a message, and after a header without its length word."""
        if not self._framed or self._rest or not self._head:
            return self._framed and self._rest > 0
        if len(self._head) >= _ENOUGH:
            return begins_message(self._head)
        return len(self._head) >= 4 and MIN_FRAME <= int.from_bytes(self._head[:4]) <= MAX_FRAME

    @property
    def complete(self) -> bool:
        """True after whole messages."""
        return self._framed and not self._rest and not self._head

    def feed(self, data: bytes) -> None:
        """Add bytes."""
        pos = 0
        while self._framed and pos < len(data):
            if self._rest:
                step = min(self._rest, len(data) - pos)
                self._rest -= step
                pos += step
                continue
            need = MIN_FRAME - len(self._head)
            self._head += data[pos : pos + need]
            pos += need
            if begins_header(self._head):
                self._rest, self._head = MAX_FRAME, b""
            elif len(self._head) == MIN_FRAME:
                self._framed = plausible_header(self._head)
                self._rest, self._head = max(0, int.from_bytes(self._head[:4]) - MIN_FRAME), b""
