"""Messages that debug lines describe: each is shown once, by its own record if the log has that.

The record of a received message precedes its debug line. That of a sent one follows, so such a line
waits for it among the items that follow.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from typing import Final, NamedTuple

from ...bounded import BoundedDict
from ...events import Item
from ..objects import Objects

#: Number of records that are remembered, and of items that wait with a debug line.
_MAX_RECORDS: Final = 65_536
_MAX_WAITING: Final = 32

#: Process, kind of message, and its header.
Key = tuple[str, str, bytes]


class DebugMessage(NamedTuple):
    """A message that a debug line describes; `length` is None if the line lacks it."""

    key: Key
    time_ns: int | None
    data: bytes
    length: int | None


class DebugMessages:
    """The records and debug lines of one log."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        #: The last records, until the first debug line; then the number of those without one.
        self._recent: deque[Key] = deque(maxlen=_MAX_RECORDS)
        self._records: BoundedDict[Key, int] | None = None
        #: Items in order, from the first message that waits for its record.
        self.queue: deque[Item | DebugMessage] = deque()
        #: Number of messages that have no record.
        self.shown = 0

    def record(self, key: Key) -> None:
        """Note the record of a message."""
        if self._records is None:
            self._recent.append(key)
        elif not self._drop(key):
            self._records.put(key, self._records.get(key, 0) + 1)

    def add(self, message: DebugMessage) -> Iterator[Item]:
        """Yield the items of a message whose record is absent, unless it may follow."""
        if self.is_recorded(message.key):
            return
        if message.key[1].endswith("_rx"):
            yield from self._show(message)
        else:
            self.queue.append(message)

    def is_recorded(self, key: Key) -> bool:
        """Return whether a record without a debug line is known; from now on it has one."""
        if self._records is None:
            self._records = BoundedDict(_MAX_RECORDS, Counter(self._recent).items())
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
        """Yield the items up to a message that waits, and those that more than `limit` others follow."""
        queue = self.queue
        while queue and (len(queue) > limit or not isinstance(queue[0], DebugMessage)):
            item = queue.popleft()
            if isinstance(item, DebugMessage):
                yield from self._show(item)
            else:
                yield item

    def _drop(self, key: Key) -> bool:
        """Remove the message that waits for a record; return whether there is one."""
        for place, item in enumerate(self.queue):
            if isinstance(item, DebugMessage) and item.key == key:
                del self.queue[place]
                return True
        return False

    def _show(self, message: DebugMessage) -> Iterator[Item]:
        process, kind, _ = message.key
        self.shown += 1
        yield from self._objects.message(kind, message.time_ns, process, None, message.data, message.length)
