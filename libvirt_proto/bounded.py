"""A mapping of limited size, for state that hostile input must not grow."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Self, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class BoundedDict(OrderedDict[Key, Value]):
    """A mapping in order of insertion that `put` keeps to `limit` entries.

    Finding and removing the oldest entry takes constant time. In a dict it does not: a dict keeps the slots
    of removed entries until it is resized, and iteration scans them first.
    """

    __slots__ = ("limit",)

    def __init__(self, limit: int, entries: Iterable[tuple[Key, Value]] = ()) -> None:
        super().__init__(entries)
        self.limit = limit

    @property
    def oldest(self) -> Key:
        """The key that was inserted first; raises StopIteration if there is none."""
        return next(iter(self))

    def put(self, key: Key, value: Value) -> tuple[Key, Value] | None:
        """Insert or replace an entry, and return the oldest one, removed, if there are too many.

        A replaced entry keeps its place. The caller closes and reports what it gets back.
        """
        self[key] = value
        return self.popitem(last=False) if len(self) > self.limit else None

    def copy(self) -> Self:
        """A mapping with the same limit and entries."""
        return type(self)(self.limit, self.items())
