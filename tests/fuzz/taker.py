"""Choices from bytes: a fuzzer's bytes become scripts, definitions and values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Taker:
    """Takes bytes from the start; after the end all bytes are zero, so that every input is valid."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._pos = 0

    def __bool__(self) -> bool:
        """Report whether any byte is left."""
        return self._pos < len(self._data)

    def take(self, size: int) -> bytes:
        """Take at most `size` bytes."""
        taken = self._data[self._pos : self._pos + size]
        self._pos += size
        return taken

    def rest(self) -> bytes:
        """Take all remaining bytes."""
        return self.take(len(self._data))

    def number(self, size: int) -> int:
        """Take a number of `size` bytes."""
        return int.from_bytes(self.take(size).ljust(size, b"\0"), "big")

    def below(self, end: int) -> int:
        """Take a number from 0 to `end` - 1, for an `end` of at most 256."""
        return self.number(1) % end

    def choice(self, among: Sequence[T]) -> T:
        """Take one of at most 256 choices."""
        return among[self.below(len(among))]
