"""A queue between connections that must not wait and a decoder that may be slow. It drops and counts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Final

from ..events import Chunk, Connection, Direction, Item, Notice, NoticeCode

#: Maximum number of bytes that wait for the decoder.
MAX_WAITING: Final = 64 << 20
#: Memory that a Chunk needs in addition to its data.
_COST: Final = 256


class Feed:
    """A queue between two threads: one adds Items with `notice` and Taps and never blocks, the other reads
    them with `items`.

    If more than `limit` bytes wait, Chunks are dropped: the next Chunk of that direction has their number as
    `lost`, and a Notice `dropped-bytes` gives the number dropped in a row. The end of a connection that the
    decoder knows is never dropped, so that the decoder can forget it.
    """

    def __init__(self, limit: int = MAX_WAITING) -> None:
        self._queue: SimpleQueue[Item | None] = SimpleQueue()
        self._limit = limit
        # Only one thread changes each of these.
        self._put = 0
        self._taken = 0
        self._reported = 0
        #: Total number of dropped bytes.
        self.dropped = 0

    @property
    def waiting(self) -> int:
        """Memory in use by waiting items, in bytes."""
        return self._put - self._taken

    @property
    def full(self) -> bool:
        """True if Chunks are currently dropped."""
        return self.waiting >= self._limit

    def put(self, item: Item) -> None:
        """Add an item unconditionally."""
        if self.dropped != self._reported and not self.full:
            self._report()
        self._put += _cost(item)
        self._queue.put(item)

    def notice(self, notice: Notice) -> None:
        """Add a notice, unless the queue is full."""
        if not self.full:
            self.put(notice)

    def close(self) -> None:
        """End the queue."""
        if self.dropped != self._reported:
            self._report()
        self._queue.put(None)

    def items(self, idle: Callable[[], object] = lambda: None) -> Iterator[Item]:
        """Yield the items until the queue is closed. Call `idle` whenever the queue is empty."""
        while True:
            if self._queue.empty():
                idle()
            item = self._queue.get()
            if item is None:
                return
            self._taken += _cost(item)
            yield item

    def _report(self) -> None:
        count, self._reported = self.dropped - self._reported, self.dropped
        text = (
            f"{count:,} bytes were forwarded but are not shown: they arrived faster than messages can be"
            " shown"
        )
        notice = Notice(NoticeCode.DROPPED_BYTES, text, time_ns=time.time_ns())
        self._put += _cost(notice)
        self._queue.put(notice)


class Tap:
    """The part of a Feed for one connection."""

    def __init__(self, feed: Feed, connection: Connection) -> None:
        self._feed = feed
        self._connection = connection
        self._lost: dict[Direction, int] = {"c2s": 0, "s2c": 0}
        #: The directions that are open as far as the decoder knows.
        self._open: set[Direction] = {"c2s", "s2c"}
        #: Whether the decoder knows the connection.
        self._known = False

    def data(self, direction: Direction, data: bytes) -> None:
        """Add bytes that were received now."""
        feed = self._feed
        if feed.full:
            feed.dropped += len(data)
            self._lost[direction] += len(data)
            return
        lost, self._lost[direction] = self._lost[direction], 0
        self._known = True
        feed.put(Chunk(self._connection, direction, time.time_ns(), data, lost))

    def end(self, direction: Direction) -> None:
        """End a direction."""
        if direction in self._open and (self._known or not self._feed.full):
            self._known = True
            self._open.discard(direction)
            lost = self._lost[direction]
            self._feed.put(Chunk(self._connection, direction, time.time_ns(), b"", lost, end=True))

    def close(self) -> None:
        """End the connection."""
        for direction in sorted(self._open) if self._known else ():
            self.end(direction)


def _cost(item: Item) -> int:
    return _COST + len(item.data) if isinstance(item, Chunk) else _COST
