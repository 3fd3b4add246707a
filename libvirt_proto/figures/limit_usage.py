"""Lengths of lists, strings and messages, next to their limits.

The sender or the receiver refuses a length above its limit.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from ..codec.lengths import LengthWalks, Walk
from ..codec.type_table import TypeTable
from ..codec.types import Bound
from ..errors import OverLimit, ProtocolError
from ..rpc.limits import longest_frame, most_descriptors
from ..rpc.wire import MAX_FDS, MAX_FRAME, MIN_FRAME
from .results import Closeness, Where

if TYPE_CHECKING:
    from ..events import Captured
    from ..registry import Registry
    from ..routine import RoutineExchanges

#: Bytes of payloads that are known, with those of the objects around each, and the longest of them.
_MAX_KNOWN: Final = 8 * 1024 * 1024
_ENTRY: Final = 128
_MAX_KNOWN_SIZE: Final = 4096
_NONE: Final[frozenset[bytes]] = frozenset()
_INDEX: Final = re.compile(r"\[\d+\]")


class LimitUsage:
    """The longest value of each place that has a limit, over all messages."""

    def __init__(self, registry: Registry, where: Callable[[Captured], Where]) -> None:
        self._registry = registry
        self._where = where
        self._places: dict[str, _Place] = {}
        self._visitors: dict[TypeTable, _Walks] = {}
        #: By the type of a payload.
        self._walks: dict[str, Walk | None] = {}
        #: The last payloads of routine exchanges, by their type, and their size.
        self._known: dict[str, set[bytes]] = {}
        self._known_size = 0
        #: The message that is being added.
        self._captured: Captured
        self._message = self._place("message", "message", longest_frame(registry) or MAX_FRAME)
        self._fds = self._place("descriptors", "descriptors", most_descriptors(registry) or MAX_FDS)

    def add(self, captured: Captured) -> None:
        """Add a message; `where` is called if something in it is the longest so far."""
        self._captured, message = captured, captured.message
        if message.length > self._message.threshold:
            self._message.report(message.length)
        if message.fds is not None and message.fds > self._fds.threshold:
            self._fds.report(message.fds)
        name, payload = message.payload_type, message.payload
        if payload is None or name is None:
            return
        if name not in self._walks:
            self._walks[name] = self._walk(name)
        walk = self._walks[name]
        if message.error is not None:
            self._over(name, message.error)
        elif walk is not None:
            walk(payload)

    def add_routine(self, exchanges: RoutineExchanges) -> None:
        """Add messages. Equal payloads of a kind are looked at once."""
        longest = max(*exchanges.call_lengths, *exchanges.reply_lengths)
        above = longest > self._message.threshold
        kinds, frames, known = exchanges.kinds, exchanges.frames, self._known
        for row in exchanges.rows:
            place, between = row[3], row[3] + row[6]
            type_ = kinds[row[10]].payload_type
            if above or (
                type_ is not None and frames[place + MIN_FRAME : between] not in known.get(type_, _NONE)
            ):
                self._note(type_, frames[place + MIN_FRAME : between])
                self.add(exchanges.call(row))
            type_ = kinds[row[11]].payload_type
            payload = frames[between + MIN_FRAME : between + row[7]]
            if above or (type_ is not None and payload not in known.get(type_, _NONE)):
                self._note(type_, payload)
                self.add(exchanges.reply(row))

    def _note(self, type_: str | None, payload: bytes) -> None:
        """Note a payload of a type."""
        if type_ is None or len(payload) > _MAX_KNOWN_SIZE:
            return
        self._known_size += len(payload) + _ENTRY
        if self._known_size > _MAX_KNOWN:
            self._known.clear()
            self._known_size = len(payload) + _ENTRY
        self._known.setdefault(type_, set()).add(payload)

    def _walk(self, name: str) -> Walk | None:
        type_ = self._registry.type(name)
        visitor = self._visitors.setdefault(type_.types, _Walks(type_.types, self._place))
        return visitor.visit(type_.reference, type_.reference, name)

    def nearest(self, count: int) -> list[Closeness]:
        """Return the places that came nearest to their limits."""
        found = [
            place.closeness() for place in self._places.values() if place.threshold > 0 and place.limit > 0
        ]
        found.sort(key=lambda c: (-c.fraction, -c.longest, c.path))
        return found[:count]

    def _over(self, type_: str, error: ProtocolError) -> None:
        """Note the length that is over its limit, if a payload breaks off there."""
        place = self._places.get(_INDEX.sub("[]", f"{type_}.{error.path}" if error.path else type_))
        if isinstance(error, OverLimit) and place is not None and error.actual > place.threshold:
            place.report(error.actual)

    def _place(self, what: str, path: str, limit: int) -> _Place:
        if path not in self._places:
            self._places[path] = _Place(what, path, limit, lambda: self._where(self._captured))
        return self._places[path]


class _Walks(LengthWalks):
    """Functions that keep the longest value of each place."""

    def __init__(self, types: TypeTable, place: Callable[[str, str, int], _Place]) -> None:
        super().__init__(types, types)
        self._place = place

    def place(self, what: str, path: str, limit: Bound) -> _Place:
        return self._place(what, path, limit.value)


class _Place:
    """A place with a limit. `threshold` is the longest value so far."""

    def __init__(self, what: str, path: str, limit: int, where: Callable[[], Where]) -> None:
        self.what = what
        self.path = path
        self.limit = limit
        self.threshold = 0
        self._message: Where | None = None
        self._where = where

    def report(self, length: int) -> None:
        self.threshold, self._message = length, self._where()

    def closeness(self) -> Closeness:
        assert self._message is not None
        fraction = self.threshold / self.limit
        return Closeness(self.what, self.path, self.threshold, self.limit, fraction, self._message)
