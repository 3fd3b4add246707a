"""From connections that must not wait to a decoder that may be slow: a queue that drops, and counts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Final

from ..events import Chunk, Connection, Direction, Item, Notice, NoticeCode

#: Bytes that may wait for the decoder.
MAX_WAITING: Final = 64 << 20
#: What a Chunk costs beside its data.
_COST: Final = 256


class Feed:
    """One thread puts Items in by `notice` and by Taps, and is never held up; another takes them with
    `items`. When more than `limit` bytes wait, Chunks are dropped: the next Chunk of that direction has
    their number as `lost`, and a Notice `dropped-bytes` says how many were dropped in a row. The end of
    a connection that the decoder knows is never dropped, so that it can forget it."""

    def __init__(self, limit: int = MAX_WAITING) -> None:
        self._queue: SimpleQueue[Item | None] = SimpleQueue()
        self._limit = limit
        # Each is changed by one thread alone.
        self._put = 0
        self._taken = 0
        self._reported = 0
        #: Bytes dropped in all.
        self.dropped = 0

    @property
    def waiting(self) -> int:
        """Bytes that wait, with what they cost."""
        return self._put - self._taken

    @property
    def full(self) -> bool:
        """Whether Chunks are dropped now."""
        return self.waiting >= self._limit

    def put(self, item: Item) -> None:
        """Put in, in any case."""
        if self.dropped != self._reported and not self.full:
            self._report()
        self._put += _cost(item)
        self._queue.put(item)

    def notice(self, notice: Notice) -> None:
        """Put in unless nothing more is taken."""
        if not self.full:
            self.put(notice)

    def close(self) -> None:
        """Nothing more will come."""
        if self.dropped != self._reported:
            self._report()
        self._queue.put(None)

    def items(self, idle: Callable[[], object] = lambda: None) -> Iterator[Item]:
        """What was put in, until it is closed; `idle` is called when there is nothing to take for now."""
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
            f"{count:,} bytes were passed on, but are not shown: they came faster than messages can be shown"
        )
        notice = Notice(NoticeCode.DROPPED_BYTES, text, time_ns=time.time_ns())
        self._put += _cost(notice)
        self._queue.put(notice)


class Tap:
    """What one connection puts into a Feed."""

    def __init__(self, feed: Feed, connection: Connection) -> None:
        self._feed = feed
        self._connection = connection
        self._lost: dict[Direction, int] = {"c2s": 0, "s2c": 0}
        #: The directions that have not ended, as far as the decoder knows.
        self._open: set[Direction] = {"c2s", "s2c"}
        #: Whether the decoder has heard of the connection.
        self._known = False

    def data(self, direction: Direction, data: bytes) -> None:
        """Bytes that were received just now."""
        feed = self._feed
        if feed.full:
            feed.dropped += len(data)
            self._lost[direction] += len(data)
            return
        lost, self._lost[direction] = self._lost[direction], 0
        self._known = True
        feed.put(Chunk(self._connection, direction, time.time_ns(), data, lost))

    def end(self, direction: Direction) -> None:
        """No more comes from there."""
        if direction in self._open and (self._known or not self._feed.full):
            self._known = True
            self._open.discard(direction)
            lost = self._lost[direction]
            self._feed.put(Chunk(self._connection, direction, time.time_ns(), b"", lost, end=True))

    def close(self) -> None:
        """The connection is over."""
        for direction in sorted(self._open) if self._known else ():
            self.end(direction)


def _cost(item: Item) -> int:
    return _COST + len(item.data) if isinstance(item, Chunk) else _COST
