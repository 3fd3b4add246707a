"""Choices out of bytes: how the fuzzer's bytes become scripts, definitions and values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Taker:
    """Takes from the front; behind the end everything is zero, so that every input means something."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._pos = 0

    def __bool__(self) -> bool:
        """Whether anything is left."""
        return self._pos < len(self._data)

    def take(self, size: int) -> bytes:
        """At most `size` bytes."""
        taken = self._data[self._pos : self._pos + size]
        self._pos += size
        return taken

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(len(self._data))

    def number(self, size: int) -> int:
        """A number of `size` bytes."""
        return int.from_bytes(self.take(size).ljust(size, b"\0"), "big")

    def below(self, end: int) -> int:
        """A number from 0 to `end` - 1, for an `end` of at most 256."""
        return self.number(1) % end

    def choice(self, among: Sequence[T]) -> T:
        """One of at most 256."""
        return among[self.below(len(among))]
