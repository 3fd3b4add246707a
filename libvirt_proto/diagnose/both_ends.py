"""Calls that were recorded at both ends: in one recording (a trace has both), or in two.

Program, version, procedure, serial and the lengths of call and reply are the same at both ends. The times at
the daemon's end lie within those at the client's; between recordings, equal addresses are enough, since their
clocks may differ.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Sequence
from heapq import heappush, heappushpop
from operator import lt
from typing import TYPE_CHECKING, Final, NamedTuple

from ..bounded import BoundedDict
from ..events import Connection

if TYPE_CHECKING:
    from ..routine import RoutineExchanges
    from ..session import Exchange
    from .detector import Recording

#: Maximum number of calls that wait for their other end, of these with the same numbers, of pairs of
#: connections, and of the calls that each keeps.
_MAX_CALLS: Final = 32_768
_MAX_ALIKE: Final = 4
_MAX_PAIRS: Final = 4_096
_MAX_KEPT: Final = 20
#: Times of logs are in milliseconds.
_TOLERANCE_NS: Final = 2 * 10**6
#: Calls that show that two connections are the two ends of one, and their part of the connection with fewer.
_MIN_CALLS: Final = 3
_MOST: Final = 0.8
#: The address of an object in libvirt's log or trace.
_OBJECT: Final = re.compile(r"@0x[0-9a-f]+")

#: Program, version, procedure, serial, length of the call, length of the reply; for the calls of one
#: recording, its identity before these.
_AnyKey = tuple[int, ...]


class End(NamedTuple):
    """A connection of a recording."""

    recording: Recording
    connection: Connection


class _Seen(NamedTuple):
    """A call at one end. Not the message: its payload may be large."""

    recording: Recording
    connection: Connection
    n: int
    call_ns: int
    reply_ns: int

    @property
    def end(self) -> End:
        return End(self.recording, self.connection)

    @property
    def latency_ns(self) -> int:
        return self.reply_ns - self.call_ns


class _Rows:
    """Routine exchanges of a connection, without their messages."""

    __slots__ = ("_connection", "_kinds", "_recording", "_rows")

    def __init__(self, recording: Recording, exchanges: RoutineExchanges) -> None:
        self._recording = recording
        self._connection = exchanges.connection
        self._kinds = exchanges.kinds
        self._rows = exchanges.rows

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[tuple[_AnyKey, _Seen]]:
        for row in self._rows:
            key = (*self._kinds[row[10]].number, row[8], row[6], row[7])
            yield key, _Seen(self._recording, self._connection, row[0], row[4], row[5])


class Split(NamedTuple):
    """A call at both ends: the time outside of the daemon's, and the numbers of the call."""

    outside_ns: int
    inside_ns: int
    outer_n: int
    inner_n: int


class Pair:
    """The two ends of a connection, with the sums of the times of their common calls.

    `before_ns` is the time from the client's call to the daemon's, `after_ns` that from the daemon's reply to
    the client's; both are meaningless if the clocks differ, that is unless `nested`.
    """

    def __init__(self, outer: End, inner: End) -> None:
        self.outer = outer
        self.inner = inner
        self.count = 0
        self.outer_ns = self.inner_ns = 0
        self.before_ns = self.after_ns = 0
        self.nested = True
        #: Calls with the longest time outside of the daemon.
        self.longest: list[Split] = []

    def add(self, outer: _Seen, inner: _Seen) -> None:
        """Add a call."""
        self.count += 1
        self.outer_ns += outer.latency_ns
        self.inner_ns += inner.latency_ns
        self.before_ns += inner.call_ns - outer.call_ns
        self.after_ns += outer.reply_ns - inner.reply_ns
        self.nested = self.nested and _within(inner, outer)
        outside = outer.latency_ns - inner.latency_ns
        split = Split(outside, inner.latency_ns, outer.n, inner.n)
        if len(self.longest) < _MAX_KEPT:
            heappush(self.longest, split)
        else:
            heappushpop(self.longest, split)

    @property
    def outside_ns(self) -> int:
        """The time of all calls that the daemon did not spend."""
        return self.outer_ns - self.inner_ns


class BothEnds:
    """The calls of all recordings of a diagnosis, and those that were seen twice."""

    def __init__(self) -> None:
        self._calls: BoundedDict[_AnyKey, list[_Seen]] = BoundedDict(_MAX_CALLS)
        #: Those of each recording.
        self._own: BoundedDict[_AnyKey, list[_Seen]] = BoundedDict(_MAX_CALLS)
        self.pairs: BoundedDict[tuple[int, int, int, int], Pair] = BoundedDict(_MAX_PAIRS)
        #: The last recording, and whether there was another one before.
        self._last: Recording | None = None
        self._several = False
        #: The only connection so far, and whether there are several; the last calls of it, their number and
        #: serial.
        self._alone: End | None = None
        self._several_ends = False
        self._first: deque[_Rows | list[tuple[_AnyKey, _Seen]]] = deque()
        self._first_count = 0
        self._serial = -1

    def add(self, recording: Recording, exchange: Exchange) -> None:
        """Add an exchange, and find its other end among those before."""
        call, reply = exchange.call, exchange.reply
        if call is None or reply is None or call.time_ns is None or reply.time_ns is None:
            return
        header = call.message.header
        key = (
            header.prog,
            header.vers,
            header.proc,
            header.serial,
            call.message.length,
            reply.message.length,
        )
        seen = _Seen(recording, call.connection, call.n, call.time_ns, reply.time_ns)
        if self._is_alone(recording, call.connection, (header.serial,)):
            self._keep_alone([(key, seen)])
        else:
            self._add(key, seen)

    def add_routine(self, recording: Recording, exchanges: RoutineExchanges) -> None:
        """Add routine exchanges."""
        rows = _Rows(recording, exchanges)
        if self._is_alone(recording, exchanges.connection, exchanges.serials):
            self._keep_alone(rows)
        else:
            for key, seen in rows:
                self._add(key, seen)

    def _is_alone(self, recording: Recording, connection: Connection, serials: Sequence[int]) -> bool:
        """Return whether all calls so far are of one connection, and have ascending serials: each has a key
        of its own, and none has another end."""
        if self._several_ends:
            return False
        if self._alone is None:
            self._alone = End(recording, connection)
        if (
            self._alone.recording is recording
            and self._alone.connection.id == connection.id
            and serials[0] > self._serial
            and all(map(lt, serials, serials[1:]))
        ):
            self._serial = serials[-1]
            return True
        self._several_ends = True
        for each in self._first:
            for key, seen in each:
                self._add(key, seen)
        self._first.clear()
        return False

    def _keep_alone(self, calls: _Rows | list[tuple[_AnyKey, _Seen]]) -> None:
        """Keep calls of the only connection, as many as can have another end."""
        self._first.append(calls)
        self._first_count += len(calls)
        while self._first_count - len(self._first[0]) >= _MAX_CALLS:
            self._first_count -= len(self._first.popleft())

    def _add(self, key: _AnyKey, seen: _Seen) -> None:
        recording = seen.recording
        if recording is not self._last:
            self._several, self._last = self._last is not None, recording
        # A recording of both ends does not depend on others.
        own = self._own.get((id(recording), *key))
        if own is not None and self._find(own, seen, same=True):
            return
        self._keep(self._own, (id(recording), *key), seen)
        known = self._calls.get(key) if self._several else None
        if known is None or not self._find(known, seen, same=False):
            self._keep(self._calls, key, seen)

    def _find(self, known: list[_Seen], seen: _Seen, *, same: bool) -> bool:
        """Find the other end of a call, in the same recording or in another one, and pair them."""
        # Nearly always the calls of one recording do not overlap.
        alike = [
            other
            for other in known
            if (other.recording is seen.recording) is same
            and (other.reply_ns >= seen.call_ns or not same)
            and _same(other, seen)
        ]
        if not alike:
            return False
        other = max(alike, key=lambda each: self._likeness(each, seen))
        known.remove(other)
        self._pair(other, seen)
        return True

    @staticmethod
    def _keep(calls: BoundedDict[_AnyKey, list[_Seen]], key: _AnyKey, seen: _Seen) -> None:
        known = calls.get(key)
        if known is None:
            calls.put(key, [seen])
            return
        known.append(seen)
        if len(known) > _MAX_ALIKE:
            del known[0]

    def _likeness(self, one: _Seen, two: _Seen) -> tuple[int, int]:
        """Return how well a call fits another one: by their connections, and then by their times. Clients
        that do the same at the same time have similar calls."""
        pairs = (self.pairs.get(_ids(one.end, two.end)), self.pairs.get(_ids(two.end, one.end)))
        return sum(pair.count for pair in pairs if pair), -abs(one.latency_ns - two.latency_ns)

    def _pair(self, one: _Seen, two: _Seen) -> None:
        outer, inner = (one, two) if one.latency_ns > two.latency_ns else (two, one)
        ids = _ids(outer.end, inner.end)
        pair = self.pairs.get(ids)
        if pair is None and (pair := self.pairs.get(_ids(inner.end, outer.end))) is not None:
            outer, inner = inner, outer  # most calls before were longer there
        if pair is None:
            pair = Pair(outer.end, inner.end)
            self.pairs.put(ids, pair)
        pair.add(outer, inner)
        recording = outer.end.recording
        if recording is inner.end.recording:
            number = outer.end.connection.id
            (recording.copies.add if is_pair(pair) else recording.copies.discard)(number)


def is_pair(pair: Pair) -> bool:
    """Return whether two connections are the ends of one: they have most of their calls in common."""
    calls = [count for count in map(_calls, (pair.outer, pair.inner)) if count]
    return pair.count >= _MIN_CALLS and pair.count >= _MOST * min(calls, default=0)


def _calls(end: End) -> int:
    """Return the number of calls of a connection; 0 if its recording has ended."""
    peer = end.recording.peers.get(end.connection.id)
    return 0 if peer is None else peer.calls


def _ids(outer: End, inner: End) -> tuple[int, int, int, int]:
    return id(outer.recording), outer.connection.id, id(inner.recording), inner.connection.id


def _same(one: _Seen, two: _Seen) -> bool:
    """Return whether a call may have been seen twice."""
    if one.recording is two.recording:
        if one.connection.id == two.connection.id:
            return False
    elif _addresses(one.connection) == _addresses(two.connection) != ("", ""):
        return True
    return _within(one, two) or _within(two, one)


def _within(inner: _Seen, outer: _Seen) -> bool:
    tolerance = 0 if inner.recording is outer.recording else _TOLERANCE_NS
    return outer.call_ns <= inner.call_ns + tolerance and inner.reply_ns <= outer.reply_ns + tolerance


def _addresses(connection: Connection) -> tuple[str, str]:
    """Return the ports of both ends; empty if one is unknown, as on unix sockets."""
    client, server = (_OBJECT.sub("", end) for end in (connection.client, connection.server))
    return (client, server) if ":" in client and ":" in server else ("", "")
