"""POLLING, CALL_PER_OBJECT, REPEATED_LOOKUP: clients that make more calls than they need.

Only calls that read are examined. A client that polls makes its calls in rounds and sleeps in between, which
distinguishes it from one that has much to do.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final, TypeVar

from ..bounded import BoundedDict
from ..events import Captured, Closed
from ..routine import RoutineExchanges, Row
from ..text import amount, duration, listed
from .bulk_calls import BULK, CONSTANT, EVENTS, NAME_LISTS, PROGRESS, Bulk
from .detector import Detector, Recording, Sample
from .findings import Finding
from .peers import Peer

if TYPE_CHECKING:
    from ..rpc.message import Header
    from ..session import Exchange

#: Maximum number of connections, of procedures of all of them, and of objects of all these.
_MAX_CLIENTS: Final = 4_096
_MAX_USES: Final = 8_192
_MAX_OBJECTS: Final = 32_768
#: Connections with a result that are kept, and those that evidence lists.
_MAX_RESULTS: Final = 256
_LISTED: Final = 5
#: Characters of an object's name that distinguish it.
_NAME: Final = 128
_MAX_KINDS: Final = 4_096
#: Bytes of payloads whose objects are remembered.
_MAX_NAMED: Final = 2_048

#: A pause of a client that ends a round: longer than the work between two calls.
_PAUSE_NS: Final = 20 * 10**6
#: A rate is steady if this part of the intervals is within a factor of four (two neighbouring powers of two);
#: of random calls, with exponential intervals, less than half is.
_STEADY: Final = 0.8
#: A client sleeps if this part of its time is between rounds.
_SLEEPS: Final = 0.5
#: Rounds and duration that distinguish polling from a person's repeated commands.
_MIN_ROUNDS: Final = 20
_MIN_SPAN_NS: Final = 5 * 10**9
#: Longest interval of polling by what is asked: a state whose change an event announces; anything else, which
#: only a call can tell: four times a second is more than a person reads. Managers refresh once a second.
_STATE_NS: Final = 2 * 10**9
_OTHER_NS: Final = 250 * 10**6

#: Objects that are asked one by one, and round trips that a bulk call saves, if the client does so repeatedly
#: or once for many of them. (A manager asks once for four properties of each domain.)
_MIN_OBJECTS: Final = 3
_MIN_PASSES: Final = 3
_SAVED: Final = 50
_SAVED_ONCE: Final = 30
_MIN_OBJECTS_ONCE: Final = 20

#: Look-ups of the same object on a connection that count, those of all objects together, and their part of
#: the connection's calls. (In virsh's shell each command looks its object up, but who types 40 of them?)
_SAME: Final = 10
_LOOKUPS: Final = 40
_SHARE: Final = 0.25

_READS: Final = re.compile(r"(?:.+_)?(?:get|is|has|num|list|stats|info)(?:_.+)?")


class _Kind:
    """A procedure. If it reads, the bulk call, the kind of object that it looks up, and the longest interval
    of polling, each None if there is none."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.reads = "_lookup_by_" in name or _READS.fullmatch(name) is not None
        self.bulk: Bulk | None = BULK.get(name)
        self.looks_up: str | None = name.partition("_lookup_by_")[0] if "_lookup_by_" in name else None
        self.limit_ns: int | None = None
        if self.looks_up is None:
            stateful = (name in EVENTS or name in CONSTANT) and name not in PROGRESS
            self.limit_ns = _STATE_NS if stateful and "_list_all_" not in name else _OTHER_NS


class _Client:
    """A connection: the time it sleeps between rounds of calls."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.calls = 0
        self.rounds = 0
        self.idle_ns = 0
        self.first_ns: int | None = None
        self.last_ns: int | None = None
        #: Its procedures by their numbers.
        self.uses: dict[_Number, _Use] = {}
        #: Kinds of objects whose names it has listed by an old call.
        self.listed: set[str] = set()

    def add(self, time_ns: int, latency_ns: int) -> None:
        """Add the time of a call and of its reply."""
        last = self.last_ns
        if last is None:
            self.first_ns = time_ns
        elif time_ns - last >= _PAUSE_NS:
            self.idle_ns += time_ns - last
            self.rounds += 1
        if last is None or time_ns + latency_ns > last:
            self.last_ns = time_ns + latency_ns

    @property
    def sleeps(self) -> bool:
        """True if it sleeps most of the time."""
        if self.first_ns is None or self.last_ns is None:
            return False
        return self.idle_ns >= _SLEEPS * (self.last_ns - self.first_ns)


class _Use:
    """The calls of a procedure by a connection."""

    def __init__(self, kind: _Kind) -> None:
        self.kind = kind
        self.sample = Sample()
        self.total_ns = 0
        # Rounds, and intervals between them by their number of bits.
        self.round = -1
        self.rounds = 0
        self.round_ns: int | None = None
        self.intervals = [0] * 64
        self.sums = [0] * 64
        # Objects by name, and passes over them: a pass ends when one repeats.
        self.named: dict[str, _Object] = {}
        self.passes = 1

    def begin_round(self, number: int, time_ns: int) -> None:
        """Note the first call of a round."""
        if self.round_ns is not None and time_ns > self.round_ns:
            interval = time_ns - self.round_ns
            bits = min(interval.bit_length(), 63)
            self.intervals[bits] += 1
            self.sums[bits] += interval
        self.round, self.round_ns = number, time_ns
        self.rounds += 1

    @property
    def interval_ns(self) -> int | None:
        """The mean interval between rounds if it is steady."""
        best = max(range(63), key=lambda bits: self.intervals[bits] + self.intervals[bits + 1])
        count = self.intervals[best] + self.intervals[best + 1]
        if count < _MIN_ROUNDS - 1 or count < _STEADY * sum(self.intervals):
            return None
        return (self.sums[best] + self.sums[best + 1]) // count

    @property
    def polls(self) -> bool:
        """True if it is repeated at a steady rate for long enough."""
        limit, first, last = self.kind.limit_ns, self.sample.start_ns, self.sample.end_ns
        if limit is None or first is None or last is None or last - first < _MIN_SPAN_NS:
            return False
        interval = self.interval_ns
        return interval is not None and interval <= limit


#: Program, version, procedure.
_Number = tuple[int, int, int]


class _Object:
    """An object that a procedure is called for, by a connection."""

    __slots__ = ("count", "pass_")

    def __init__(self, pass_: int) -> None:
        self.count = 1
        self.pass_ = pass_


class _Polling:
    """A connection that polls."""

    def __init__(self, client: _Client, uses: list[_Use]) -> None:
        self.client = client
        self.uses = sorted(uses, key=lambda use: -use.sample.count)


class _OneByOne:
    """A connection that asks for each object where a bulk call exists."""

    def __init__(self, client: _Client, uses: list[_Use]) -> None:
        self.client = client
        self.uses = sorted(uses, key=lambda use: -use.sample.count)
        self.objects = max(len(use.named) for use in uses)
        self.passes = max(use.passes for use in uses)
        self.calls = sum(use.sample.count for use in uses)
        self.total_ns = sum(use.total_ns for use in uses)

    @property
    def wasteful(self) -> bool:
        """True if a bulk call would save many round trips."""
        saved = self.calls - self.passes
        if self.passes >= _MIN_PASSES:
            return saved >= _SAVED
        return saved >= _SAVED_ONCE and self.objects >= _MIN_OBJECTS_ONCE


class _Lookups:
    """A connection that looks up the same objects again: their names and counts."""

    def __init__(self, client: _Client, uses: list[_Use], objects: dict[str, int]) -> None:
        self.client = client
        self.uses = uses
        self.objects = objects

    @property
    def count(self) -> int:
        """The number of their look-ups."""
        return sum(self.objects.values())


_Result = TypeVar("_Result", _Polling, _OneByOne, _Lookups)


class Chatter(Detector):
    """Calls of clients that a bulk call, an event or a kept handle makes unnecessary."""

    rules = ("POLLING", "CALL_PER_OBJECT", "REPEATED_LOOKUP")

    def __init__(self, recording: Recording) -> None:
        super().__init__(recording)
        self._kinds: BoundedDict[_Number, _Kind] = BoundedDict(_MAX_KINDS)
        self._clients: BoundedDict[int, _Client] = BoundedDict(_MAX_CLIENTS)
        #: The number of uses and objects of all clients; beyond a maximum, further ones are not counted.
        self._use_count = self._object_count = 0
        #: The names of the objects of routine exchanges, by procedure and payloads.
        self._names: BoundedDict[tuple[_Kind, bytes, bytes], str | None] = BoundedDict(_MAX_KINDS)
        self._polling: list[_Polling] = []
        self._one_by_one: list[_OneByOne] = []
        self._lookups: list[_Lookups] = []

    def exchange(self, peer: Peer, exchange: Exchange) -> None:
        """Count an answered call."""
        call, reply = exchange.call, exchange.reply
        if call is None or reply is None:
            return
        id_ = peer.connection.id
        client = self._clients.get(id_) or self._new_client(peer)
        client.calls += 1
        time_ns, latency_ns = call.time_ns, exchange.latency_ns
        if time_ns is not None:
            client.add(time_ns, latency_ns or 0)
        header = call.message.header
        number = (header.prog, header.vers, header.proc)
        kind = self._kinds.get(number) or self._new_kind(header)
        if not kind.reads:
            return
        use = self._use(client, number, kind)
        if use is None:
            return
        use.sample.add(call)
        if latency_ns is not None:
            use.total_ns += latency_ns
        if time_ns is not None and use.round != client.rounds:
            use.begin_round(client.rounds, time_ns)
        if kind.bulk is not None and exchange.outcome == "ok":
            self._count_object(use, call, reply)

    def takes(self, _header: Header) -> bool:
        """Return True: numbers, times and the names of objects matter."""
        return True

    def routine(self, peer: Peer, exchanges: RoutineExchanges) -> None:
        """Count answered calls."""
        client = self._clients.get(peer.connection.id) or self._new_client(peer)
        client.calls += len(exchanges)
        for row in exchanges.rows:
            time_ns, latency_ns = row[4], row[5] - row[4]
            client.add(time_ns, latency_ns)
            of = exchanges.kinds[row[10]]
            kind = self._kinds.get(of.number) or self._new_kind(of.header)
            use = self._use(client, of.number, kind) if kind.reads else None
            if use is None:
                continue
            use.sample.note(row[0], time_ns, peer.connection)
            use.total_ns += latency_ns
            if use.round != client.rounds:
                use.begin_round(client.rounds, time_ns)
            if kind.bulk is not None:
                self._count_name(use, self._name(exchanges, row, kind))

    def _use(self, client: _Client, number: _Number, kind: _Kind) -> _Use | None:
        """Return the calls of a procedure by a client, or None without room."""
        if kind.name in NAME_LISTS:
            client.listed.add(NAME_LISTS[kind.name])
        use = client.uses.get(number)
        if use is None:
            if self._use_count >= _MAX_USES:
                return None
            use = client.uses[number] = _Use(kind)
            self._use_count += 1
        return use

    def _name(self, exchanges: RoutineExchanges, row: Row, kind: _Kind) -> str | None:
        """Return the name of the object of an exchange."""
        named = exchanges.reply_payload(row) if kind.looks_up else exchanges.call_payload(row)
        key = kind, exchanges.call_payload(row), named
        if key not in self._names:
            reply = exchanges.reply(row).message if kind.looks_up else None
            subject = self.recording.subject(exchanges.call(row).message, reply)
            name = None if subject is None else str(subject)[:_NAME]
            if len(key[1]) + len(named) > _MAX_NAMED:
                return name
            self._names.put(key, name)
        return self._names[key]

    def closed(self, peer: Peer, closed: Closed) -> None:
        """Evaluate a connection that has ended."""
        client = self._clients.pop(peer.connection.id, None)
        if client is not None:
            self._evaluate(client)

    def findings(self) -> Iterator[Finding]:
        """Report the clients, those of the same kind together."""
        for client in self._clients.values():
            self._evaluate(client)
        self._clients.clear()
        by_bulk: dict[Bulk, list[_OneByOne]] = defaultdict(list)
        for each in self._once(self._one_by_one):
            bulk = each.uses[0].kind.bulk
            assert bulk is not None
            by_bulk[bulk].append(each)
        yield from (self._of_objects(bulk, found) for bulk, found in by_bulk.items())
        by_procedure: dict[str, list[_Polling]] = defaultdict(list)
        for polling in self._once(self._polling):
            by_procedure[polling.uses[0].kind.name].append(polling)
        yield from map(self._of_polling, by_procedure.values())
        if lookups := self._once(self._lookups):
            yield self._of_lookups(lookups)

    def _once(self, found: list[_Result]) -> list[_Result]:
        """Leave out clients' ends of connections whose daemon's ends are there, too."""
        return [each for each in found if each.client.peer.connection.id not in self.recording.copies]

    def _new_client(self, peer: Peer) -> _Client:
        client = _Client(peer)
        evicted = self._clients.put(peer.connection.id, client)
        if evicted is not None:
            self._evaluate(evicted[1])
        return client

    def _new_kind(self, header: Header) -> _Kind:
        """Return the kind of a procedure."""
        kind = _Kind(self.recording.procedure(header))
        self._kinds.put((header.prog, header.vers, header.proc), kind)
        return kind

    def _count_object(self, use: _Use, call: Captured, reply: Captured) -> None:
        subject = self.recording.subject(call.message, reply.message if use.kind.looks_up else None)
        self._count_name(use, None if subject is None else str(subject)[:_NAME])

    def _count_name(self, use: _Use, name: str | None) -> None:
        if name is None:
            return
        found = use.named.get(name)
        if found is not None:
            found.count += 1
            if found.pass_ == use.passes:
                use.passes += 1
            found.pass_ = use.passes
        elif self._object_count < _MAX_OBJECTS:
            use.named[name] = _Object(use.passes)
            self._object_count += 1

    # Results

    def _evaluate(self, client: _Client) -> None:
        """Keep what is noteworthy about a connection, and forget the rest."""
        uses = list(client.uses.values())
        self._use_count -= len(uses)
        self._object_count -= sum(len(use.named) for use in uses)
        asked: set[_Use] = set()
        by_bulk: dict[Bulk, list[_Use]] = defaultdict(list)
        for use in uses:
            bulk = use.kind.bulk
            if bulk is not None and len(use.named) >= _MIN_OBJECTS and self._needless(client, use):
                by_bulk[bulk].append(use)
        for group in by_bulk.values():
            each = _OneByOne(client, group)
            if each.wasteful:
                asked.update(group)
                if len(self._one_by_one) < _MAX_RESULTS:
                    self._one_by_one.append(each)
        if client.sleeps and (polls := [use for use in uses if use not in asked and use.polls]):
            polling = _Polling(client, polls)
            if len(self._polling) < _MAX_RESULTS:
                self._polling.append(polling)
        repeated = [use for use in uses if use.kind.looks_up and use not in asked]
        self._evaluate_lookups(client, repeated)

    def _needless(self, client: _Client, use: _Use) -> bool:
        """Look-ups of different objects are needless only after a call that lists their names."""
        return use.kind.looks_up is None or use.kind.looks_up in client.listed

    def _evaluate_lookups(self, client: _Client, uses: list[_Use]) -> None:
        counts: Counter[str] = Counter()
        for use in uses:
            counts.update({name: each.count for name, each in use.named.items()})
        repeated = {name: count for name, count in counts.items() if count >= _SAME}
        uses = [use for use in uses if not repeated.keys().isdisjoint(use.named)]
        lookups = _Lookups(client, uses, repeated)
        if lookups.count >= max(_LOOKUPS, _SHARE * client.calls) and len(self._lookups) < _MAX_RESULTS:
            self._lookups.append(lookups)

    # Findings

    def _of_objects(self, bulk: Bulk, found: list[_OneByOne]) -> Finding:
        found.sort(key=lambda each: -each.calls)
        first = found[0]
        calls, passes = sum(each.calls for each in found), sum(each.passes for each in found)
        names = _names(use for each in found for use in each.uses)
        summary = (
            f"{_who(found)} asked for {bulk.what} of {first.objects:,} {bulk.objects} one by one:"
            f" {amount(calls, 'call')} of {names}; {bulk.procedure} returns them in"
            f" {amount(passes, 'call')}."
        )
        evidence = [
            self.recording.messages(self._trips(use, each), use.sample, peer=each.client.peer)
            for each, use in _shown(found)
        ]
        return self.finding(
            "CALL_PER_OBJECT",
            summary,
            evidence,
            subject=bulk.procedure,
            advice=(
                f"call {bulk.function} ({bulk.python} in Python) once instead: it saves"
                f" {amount(calls - passes, 'round trip')}{_took(found, calls - passes, calls)}",
            ),
        )

    def _trips(self, use: _Use, each: _OneByOne) -> str:
        what = f"{amount(use.sample.count, 'call')} of {use.kind.name} for {amount(len(use.named), 'object')}"
        if use.total_ns:
            what += f", {duration(use.total_ns)} of waiting"
        interval = use.interval_ns
        if interval is not None and each.client.sleeps:
            what += f", a round every {duration(interval)}"
        return what

    def _of_polling(self, found: list[_Polling]) -> Finding:
        found.sort(key=lambda each: -each.uses[0].sample.count)
        first = found[0].uses[0]
        interval, span = first.interval_ns, _span(first)
        assert interval is not None
        others = len({use.kind.name for each in found for use in each.uses}) - 1
        more = f", and {amount(others, 'other procedure')} as steadily" if others else ""
        share = first.sample.count / max(1, found[0].client.calls)
        summary = (
            f"{_who(found)} polled {first.kind.name}{' each' if len(found) > 1 else ''}:"
            f" {amount(first.sample.count, 'call')} in {duration(span)}, one round every"
            f" {duration(interval)} ({share:.0%} of the calls of the connection){more}."
        )
        evidence = [
            self.recording.messages(
                f"{amount(use.sample.count, 'call')} of {use.kind.name} in"
                f" {amount(use.rounds, 'round')}, {_per_second(use)}",
                use.sample,
                peer=each.client.peer,
            )
            for each, use in _shown(found)
        ]
        return self.finding(
            "POLLING",
            summary,
            evidence,
            subject=first.kind.name,
            advice=tuple(_instead(use.kind.name, interval) for use in found[0].uses[:1]),
        )

    def _of_lookups(self, found: list[_Lookups]) -> Finding:
        found.sort(key=lambda each: -each.count)
        objects = found[0].objects
        top = sorted(objects, key=lambda name: -objects[name])
        what = listed([f"{name} ({objects[name]:,} times)" for name in top], _LISTED)
        evidence = [
            self.recording.messages(
                f"{amount(use.sample.count, 'look-up')} by {use.kind.name}"
                + (f", {duration(use.total_ns)} of waiting" if use.total_ns else ""),
                use.sample,
                peer=each.client.peer,
            )
            for each, use in _shown(found)
        ]
        total = sum(each.count - len(each.objects) for each in found)
        return self.finding(
            "REPEATED_LOOKUP",
            f"{_who(found)} looked up the same objects again and again: {what}.",
            evidence,
            subject=", ".join(top),
            advice=(
                "keep the handle (virDomainPtr, virDomain in Python) of the first look-up as long as the"
                f" connection is open: it saves {amount(total, 'round trip')}",
            ),
        )


def _shown(found: list[_Result]) -> Iterator[tuple[_Result, _Use]]:
    """Yield what evidence lists: the procedures of one client, or one procedure of each client."""
    for each in found[:_LISTED]:
        for use in each.uses[: _LISTED if len(found) == 1 else 1]:
            yield each, use


def _who(found: list[_Result]) -> str:
    if len(found) == 1:
        return f"The client of connection {found[0].client.peer}"
    return amount(len(found), "client")


def _names(uses: Iterable[_Use]) -> str:
    """Return the names of the procedures, the most frequent first."""
    return listed(dict.fromkeys(use.kind.name for use in uses), _LISTED)


def _took(found: list[_OneByOne], saved: int, calls: int) -> str:
    """Return the waiting time that goes with the saved round trips."""
    total = sum(each.total_ns for each in found)
    return f" and up to {duration(total * saved // max(1, calls))} of waiting" if total else ""


def _span(use: _Use) -> int:
    first, last = use.sample.start_ns, use.sample.end_ns
    return 0 if first is None or last is None else last - first


def _per_second(use: _Use) -> str:
    span = _span(use)
    return f"{use.sample.count * 1e9 / span:.1f} per second" if span else "all at once"


def _instead(name: str, interval_ns: int) -> str:
    """Return the advice for a procedure that is polled."""
    if name in PROGRESS:
        return (
            f"call {name} once a second at most, and register for {EVENTS[name][1]} ({EVENTS[name][0]}),"
            " which announces the end"
        )
    if name in EVENTS:
        function, event = EVENTS[name]
        return f"register for {event} ({function}) and call {name} only after an event"
    if name in CONSTANT:
        return (
            "keep the first result; to test the connection, use virConnectSetKeepAlive and"
            " virConnectIsAlive, which need no calls"
        )
    return f"poll less often than every {duration(interval_ns)}: no event announces what {name} returns"
