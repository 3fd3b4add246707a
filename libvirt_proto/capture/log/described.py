"""Messages that debug lines describe: each is shown once, by its own record if the log has that.

The record of a received message precedes its description. That of a sent one follows, so such a description
waits for it among the items that follow.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from typing import Final, NamedTuple

from ...events import Item
from ..objects import Objects

#: Number of records and of descriptions that are remembered, and of items that wait with a description.
_MAX_RECORDS: Final = 65_536
_MAX_WAITING: Final = 32

#: Process, kind of message, and its header.
Key = tuple[str, str, bytes]


class Described(NamedTuple):
    """A message that a line describes; `length` is None if the line lacks it."""

    key: Key
    time_ns: int | None
    data: bytes
    length: int | None


class Descriptions:
    """The records and descriptions of one log."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        #: The last records, until the first description; then those that were not described.
        self._recent: deque[Key] = deque(maxlen=_MAX_RECORDS)
        self._records: Counter[Key] | None = None
        #: Items in order, from the first description that waits.
        self.queue: deque[Item | Described] = deque()
        self._waiting: Counter[Key] = Counter()
        #: Number of messages that have no record.
        self.shown = 0

    def record(self, key: Key) -> None:
        """Note the record of a message."""
        if self._records is None:
            self._recent.append(key)
        elif self._waiting.get(key):
            self._waiting[key] -= 1
            self._drop(key)
        else:
            self._records[key] += 1
            if len(self._records) > _MAX_RECORDS:
                self._records = Counter()

    def describe(self, described: Described) -> Iterator[Item]:
        """Yield the items of a message whose record is absent, unless it may follow."""
        if self.is_recorded(described.key):
            return
        if described.key[1].endswith("_rx"):
            yield from self._show(described)
        else:
            self._waiting[described.key] += 1
            self.queue.append(described)

    def is_recorded(self, key: Key) -> bool:
        """Return whether a record without a description is known; from now on it has one."""
        if self._records is None:
            self._records = Counter(self._recent)
            self._recent.clear()
        count = self._records.get(key)
        if not count:
            return False
        if count > 1:
            self._records[key] = count - 1
        else:
            del self._records[key]
        return True

    def release(self, limit: int = _MAX_WAITING) -> Iterator[Item]:
        """Yield the items up to a description that waits, and those that more than `limit` others follow."""
        queue = self.queue
        while queue and (len(queue) > limit or not isinstance(queue[0], Described)):
            item = queue.popleft()
            if isinstance(item, Described):
                self._waiting[item.key] -= 1
                yield from self._show(item)
            else:
                yield item

    def _drop(self, key: Key) -> None:
        for place, item in enumerate(self.queue):
            if isinstance(item, Described) and item.key == key:
                del self.queue[place]
                return

    def _show(self, described: Described) -> Iterator[Item]:
        process, kind, _ = described.key
        self.shown += 1
        yield from self._objects.message(
            kind, described.time_ns, process, None, described.data, described.length
        )
