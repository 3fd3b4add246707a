"""SLOW_CALLS, SLOW_OBJECT, DAEMON_STALLED: calls that took far longer than usual.

Usual is the median of the procedure in the same recording. Calls that were slow while the daemon stalled, or
because of their object, are evidence of that only.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from functools import lru_cache
from heapq import heappush, heappushpop
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from ..bounded import BoundedDict
from ..events import Captured
from ..routine import RoutineExchanges
from ..rpc.message import Header
from ..text import amount, duration
from .detector import Detector, Recording, Sample
from .findings import Evidence, Finding
from .peers import CallKey, Peer, call_key

if TYPE_CHECKING:
    from ..session import Exchange

#: A call is slow from here on: a person notices half a second. What changes something may work for seconds
#: (starting a domain, writing a volume).
_SLOW_NS: Final = 500 * 10**6
#: The same if only one object is slow, which shows a cause earlier.
_SLOW_OBJECT_NS: Final = 200 * 10**6
_SLOW_CHANGE_NS: Final = 10 * 10**9
#: A slow call takes at least this many times the median.
_FACTOR: Final = 10
#: Calls of a procedure that give a median, and slow calls that are more than an accident.
_MIN_CALLS: Final = 20
_MIN_SLOW: Final = 3
#: Part of the calls on a slow object that are slow, and quick calls on other objects.
_MOSTLY: Final = 2 / 3
_MIN_QUICK: Final = 5

#: A daemon that answers nobody for this long stalled; calls in flight are answered within this time after it,
#: or within this part of the stall, nearly all of them.
_STALL_NS: Final = 10**9
_RELEASE_NS: Final = 250 * 10**6
_RELEASE_PART: Final = 10
_RELEASED: Final = 0.8
#: Connections, or calls of one connection, that have to wait: one may have to wait for its own call.
_MIN_CONNECTIONS: Final = 2
_MIN_WAITING: Final = 3

#: Maximum number of procedures, of slow calls of each, of their objects, of connections with calls in flight,
#: of those that a stall looks at, of calls of a stall, and of stalls.
_MAX_PROCEDURES: Final = 4_096
_MAX_SLOW: Final = 64
_MAX_OBJECTS: Final = 256
_MAX_BUSY: Final = 4_096
_MAX_SEARCHED: Final = 256
_MAX_STALLED: Final = 64
_MAX_STALLS: Final = 64
#: Procedures, objects and stalls that a finding lists.
_LISTED: Final = 5
_NAME: Final = 128

_READS: Final = re.compile(r"(?:.+_)?(?:get|is|has|num|list|lookup|stats|info|supports)(?:_.+)?")
#: Logs have times in milliseconds.
_MS: Final = 10**6
#: Program, version, procedure.
_Number = tuple[int, int, int]


def _number(header: Header) -> _Number:
    return header.prog, header.vers, header.proc


class _Slow(NamedTuple):
    """A slow call, by its latency first."""

    latency_ns: int
    n: int
    start_ns: int
    object: str
    call: Captured


class _OnObject:
    """The calls of a procedure on an object, since its first slow call."""

    __slots__ = ("quick", "quick_ns", "slow")

    def __init__(self) -> None:
        self.slow = self.quick = self.quick_ns = 0


class _Procedure:
    """The latencies of a procedure: counts by size, four to each power of two, and the slowest calls."""

    def __init__(self, name: str, priority: str | None) -> None:
        self.name = name
        self.priority = priority
        reads = _READS.fullmatch(name) is not None
        self.slow_ns = _SLOW_NS if reads else _SLOW_CHANGE_NS
        #: From here on calls are kept, and counted by object.
        self.kept_ns = _SLOW_OBJECT_NS if reads else _SLOW_CHANGE_NS
        #: A connection's first calls may wait until the daemon accepts it, and for authentication.
        self.first = name.startswith("auth_") or name == "connect_open"
        self.count = 0
        self.sizes: Counter[int] = Counter()
        self.slowest: list[_Slow] = []
        #: Objects, once a call was slow.
        self.objects: dict[str, _OnObject] = {}

    @property
    def median_ns(self) -> int | None:
        """The median, rounded down by a fifth at most; None with few calls."""
        if self.count < _MIN_CALLS:
            return None
        below = 0
        for size in sorted(self.sizes):
            below += self.sizes[size]
            if below * 2 >= self.count:
                return _least(size)
        return None

    def usual(self, duration_ns: int) -> bool:
        """Return whether its calls usually take far less than a time. A procedure of high priority never
        waits for a hypervisor (remote_protocol.x)."""
        median = self.median_ns
        if median is not None and not self.first:
            return median * _FACTOR <= duration_ns
        return self.priority == "high" and not self.first


@lru_cache(4096)  # clocks have few different ones
def _size(latency_ns: int) -> int:
    """Return four times the number of bits, plus the two bits after the first."""
    bits = latency_ns.bit_length()
    return bits << 2 | (latency_ns >> (bits - 3) & 3 if bits > 2 else 0)


def _least(size: int) -> int:
    """Return the lowest latency of a size."""
    bits, following = size >> 2, size & 3
    return (4 + following) << (bits - 3) if bits > 2 else (1 << bits) >> 1


def _in_order(calls: Iterable[Captured]) -> list[Captured]:
    return sorted(calls, key=lambda call: call.n)


class _Waiting(NamedTuple):
    """A call in flight while nobody was answered."""

    number: _Number
    serial: int
    conn: int
    object: str | None


class _Stall:
    """A time in which the daemon sent nothing, though calls were in flight, and their replies after it."""

    def __init__(self, start_ns: int, end_ns: int, calls: dict[tuple[int, CallKey], Captured]) -> None:
        self.start_ns = start_ns
        self.end_ns = end_ns
        self.deadline_ns = end_ns + max(_RELEASE_NS, (end_ns - start_ns) // _RELEASE_PART)
        self.calls = calls
        self.count = len(calls)
        self.released: list[_Waiting] = []
        self.sample = Sample(_in_order(calls.values()))

    @property
    def duration_ns(self) -> int:
        """Its duration."""
        return self.end_ns - self.start_ns

    @property
    def once(self) -> list[_Waiting]:
        """The calls; one that a trace has at both ends of its connection is one."""
        return list({(each.number, each.serial, each.object): each for each in self.released}.values())


class Latency(Detector):
    """Slow calls, by procedure and by object, and times in which nobody was answered."""

    rules = ("SLOW_CALLS", "SLOW_OBJECT", "DAEMON_STALLED")

    def __init__(self, recording: Recording) -> None:
        super().__init__(recording)
        self._procedures: BoundedDict[_Number, _Procedure] = BoundedDict(_MAX_PROCEDURES)
        #: Connections that may have calls in flight.
        self._busy: BoundedDict[int, Peer] = BoundedDict(_MAX_BUSY)
        #: The last message of the daemon.
        self._last_ns: int | None = None
        self._stall: _Stall | None = None
        self._stalls: list[_Stall] = []

    def message(self, peer: Peer, captured: Captured) -> None:
        """Look for times without any message of the daemon while calls are in flight."""
        time_ns = captured.time_ns
        if time_ns is None:
            return
        if captured.direction != "s2c":
            if peer.connection.id not in self._busy:
                self._busy.put(peer.connection.id, peer)
            return
        last, self._last_ns = self._last_ns, time_ns
        if self._stall is not None:
            self._release(self._stall, peer, time_ns)
        if last is None or time_ns - last >= _STALL_NS:
            self._consider(last, time_ns, peer)

    def takes(self, _header: Header) -> bool:
        """Return True: only latencies, and times without messages, matter."""
        return True

    def ready(self, peer: Peer, exchanges: RoutineExchanges) -> bool:
        """Return whether the daemon sends messages all the time."""
        last = self._last_ns
        if last is None or self._stall is not None or peer.connection.id in self.recording.copies:
            return False
        if exchanges.end_ns - last < _STALL_NS and exchanges.end_ns - exchanges.start_ns < _STALL_NS:
            return True
        times = (last, *exchanges.replies_ns)
        return all(now - before < _STALL_NS for before, now in pairwise(times))

    def routine(self, peer: Peer, exchanges: RoutineExchanges) -> None:
        """Count latencies."""
        self._last_ns = exchanges.replies_ns[-1]
        if peer.connection.id not in self._busy:
            self._busy.put(peer.connection.id, peer)
        for kind, latencies in exchanges.latencies.items():
            procedure = self._procedure(exchanges.kinds[kind].header)
            procedure.count += len(latencies)
            procedure.sizes.update(map(_size, latencies))
            if procedure.objects and not procedure.first:
                for row in exchanges.rows:
                    if row[10] == kind:
                        self._count_object(procedure, row[5] - row[4], exchanges.call(row))

    def _procedure(self, header: Header) -> _Procedure:
        number = _number(header)
        procedure = self._procedures.get(number)
        if procedure is None:
            name, priority = self.recording.procedure(header), self.recording.priority(header)
            procedure = _Procedure(name, priority)
            self._procedures.put(number, procedure)
        return procedure

    def exchange(self, peer: Peer, exchange: Exchange) -> None:
        """Count a latency."""
        latency, call = exchange.latency_ns, exchange.call
        if latency is None or latency < 0 or call is None or peer.connection.id in self.recording.copies:
            return
        procedure = self._procedure(call.message.header)
        procedure.count += 1
        procedure.sizes[_size(latency)] += 1
        if (latency >= procedure.kept_ns or procedure.objects) and not procedure.first:
            self._count_object(procedure, latency, call)

    def findings(self) -> Iterator[Finding]:
        """Report stalls, then slow objects, and then slow calls that neither explains."""
        if self._stall is not None:
            self._end_stall(self._stall)
        stalls = [stall for stall in self._stalls if self._is_stall(stall)]
        if stalls:
            yield self._of_stalls(stalls)
        slow_objects: dict[str, list[_Procedure]] = defaultdict(list)
        slow_calls: list[tuple[_Procedure, list[_Slow]]] = []
        for procedure in self._procedures.values():
            if not procedure.slowest:
                continue
            name = self._slow_object(procedure)
            if name is not None:
                slow_objects[name].append(procedure)
            calls = [
                slow
                for slow in procedure.slowest
                if slow.latency_ns >= procedure.slow_ns and slow.object != name and not _during(slow, stalls)
            ]
            median = procedure.median_ns
            if median is not None:
                calls = [slow for slow in calls if slow.latency_ns >= median * _FACTOR]
                if len(calls) >= _MIN_SLOW:
                    slow_calls.append((procedure, sorted(calls, reverse=True)))
        yield from (self._of_object(name, procedures) for name, procedures in slow_objects.items())
        if slow_calls:
            yield self._of_calls(slow_calls)

    # Slow calls

    def _count_object(self, procedure: _Procedure, latency: int, call: Captured) -> None:
        """Count a call of a procedure that has slow calls, by its object."""
        subject = self.recording.subject(call.message)
        name = "" if subject is None else str(subject)[:_NAME]
        is_slow = latency >= procedure.kept_ns
        if name not in procedure.objects and len(procedure.objects) < _MAX_OBJECTS:
            procedure.objects[name] = _OnObject()
        if name in procedure.objects:
            procedure.objects[name].slow += is_slow
            procedure.objects[name].quick += not is_slow
            procedure.objects[name].quick_ns += 0 if is_slow else latency
        if is_slow and call.time_ns is not None:
            slow = _Slow(latency, call.n, call.time_ns, name, call)
            if len(procedure.slowest) < _MAX_SLOW:
                heappush(procedure.slowest, slow)
            else:
                heappushpop(procedure.slowest, slow)

    def _slow_object(self, procedure: _Procedure) -> str | None:
        """Return the only object whose calls are slow."""
        slow = [name for name, calls in procedure.objects.items() if calls.slow]
        if len(slow) != 1 or not slow[0]:
            return None
        calls = procedure.objects[slow[0]]
        others = [other for name, other in procedure.objects.items() if name not in ("", slow[0])]
        quick, quick_ns = sum(other.quick for other in others), sum(other.quick_ns for other in others)
        enough = calls.slow >= _MIN_SLOW and calls.slow >= _MOSTLY * (calls.slow + calls.quick)
        if not enough or quick < _MIN_QUICK or quick_ns * _FACTOR > quick * procedure.slowest[0].latency_ns:
            return None
        return slow[0]

    def _of_object(self, name: str, procedures: list[_Procedure]) -> Finding:
        procedures.sort(key=lambda each: -each.objects[name].slow)
        first = procedures[0]
        kind = self.recording.subject(first.slowest[0].call.message)
        what = f"{kind.kind} {name}" if kind is not None else name
        calls = sum(each.objects[name].slow for each in procedures)
        total = calls + sum(each.objects[name].quick for each in procedures)
        others = sum(
            each.quick
            for procedure in procedures
            for other, each in procedure.objects.items()
            if other != name
        )
        quickest = min(slow.latency_ns for each in procedures for slow in each.slowest if slow.object == name)
        return self.finding(
            "SLOW_OBJECT",
            f"Calls on {what} took far longer than on others: {calls:,} of {total:,} took"
            f" {duration(quickest)} or more, and none of {others:,} on other objects did.",
            [self._slow_evidence(each, each.slowest, name) for each in procedures[:_LISTED]],
            subject=what,
            certainty="likely",
            advice=(
                f"look for what {name} depends on: its guest agent, its storage, a job (virsh domjobinfo"
                f" {name}), or a QEMU process that does not answer",
            )
            if kind is not None and kind.kind == "domain"
            else (f"look for what {name} depends on, such as its storage",),
        )

    def _of_calls(self, found: list[tuple[_Procedure, list[_Slow]]]) -> Finding:
        found.sort(key=lambda each: -sum(slow.latency_ns for slow in each[1]))
        procedure, calls = found[0]
        median = procedure.median_ns
        assert median is not None
        others = f"; so did calls of {amount(len(found) - 1, 'other procedure')}" if len(found) > 1 else ""
        return self.finding(
            "SLOW_CALLS",
            f"{len(calls):,} of {amount(procedure.count, 'call')} of {procedure.name} took"
            f" {_range(calls[-1].latency_ns, calls[0].latency_ns)}, where {duration(median, _MS)} is"
            f" usual{others}.",
            [self._slow_evidence(each, slow) for each, slow in found[:_LISTED]],
            subject=procedure.name,
            certainty="certain",
            advice=(
                "see what else the daemon and the host did at these times: libvirt-proto stats lists the"
                ' slowest calls, and log_filters="1:util.threadjob" logs what each worker is doing',
            ),
        )

    def _slow_evidence(self, procedure: _Procedure, slow: list[_Slow], name: str | None = None) -> Evidence:
        calls = sorted((each for each in slow if name in (None, each.object)), key=lambda each: each.n)
        longest = max(each.latency_ns for each in calls)
        median = procedure.median_ns
        text = f"{amount(len(calls), 'slow call')} of {procedure.name}, {duration(longest)} at most"
        if median is not None:
            text += f"; the median of {procedure.count:,} is {duration(median, _MS)}"
        objects = Counter(each.object for each in calls if each.object)
        if name is None and objects:
            text += f"; on {', '.join(each for each, _ in objects.most_common(_LISTED))}"
        return self.recording.messages(text, [each.call for each in calls], exchanges=True)

    # Stalls

    def _consider(self, last: int | None, now: int, peer: Peer) -> None:
        """Begin a stall if calls have waited for long when the daemon sends something again."""
        if self._stall is not None:
            self._end_stall(self._stall)
        calls: dict[tuple[int, CallKey], Captured] = {}
        first = peer.answered
        waiting = [(peer, first)] if first is not None else []
        for busy in self._searched():
            waiting += [(busy, call) for call in islice(busy.waiting.values(), _MIN_WAITING)]
        for each, call in waiting:
            if call.time_ns is not None and now - call.time_ns >= _STALL_NS and len(calls) < _MAX_STALLED:
                calls[each.connection.id, call_key(call.message.header)] = call
        if not calls or len(self._stalls) >= _MAX_STALLS:
            return
        earliest = min(call.time_ns for call in calls.values() if call.time_ns is not None)
        start = earliest if last is None else max(last, earliest)
        if now - start >= _STALL_NS:
            self._stall = _Stall(start, now, calls)
            self._release(self._stall, peer, now)

    def _searched(self) -> list[Peer]:
        """Return the first connections with calls in flight, and forget idle ones on the way."""
        busy: list[Peer] = []
        idle: list[int] = []
        for id_, peer in self._busy.items():
            if peer.waiting:
                busy.append(peer)
            else:
                idle.append(id_)
            if len(busy) >= _MAX_SEARCHED:
                break
        for id_ in idle:
            del self._busy[id_]
        return busy

    def _release(self, stall: _Stall, peer: Peer, now: int) -> None:
        """Note a reply after a stall."""
        if now > stall.deadline_ns:
            self._end_stall(stall)
            return
        if peer.answered is None:
            return
        header = peer.answered.message.header
        call = stall.calls.pop((peer.connection.id, call_key(header)), None)
        if call is not None:
            subject = self.recording.subject(call.message)
            name = None if subject is None else str(subject)[:_NAME]
            stall.released.append(_Waiting(_number(header), header.serial, peer.connection.id, name))

    def _end_stall(self, stall: _Stall) -> None:
        """Keep a stall after which nearly all calls were answered together."""
        self._stall = None
        if len(stall.released) >= _RELEASED * stall.count:
            stall.calls.clear()
            self._stalls.append(stall)

    def _is_stall(self, stall: _Stall) -> bool:
        """Return whether calls that are usually quick, and have nothing in common, all waited."""
        quick = [each for each in stall.once if self._is_quick(each, stall.duration_ns)]
        objects = {each.object for each in quick}
        if len(objects) == 1 and None not in objects:
            return False  # they may have waited for their object
        connections = len({each.conn for each in quick})
        return connections >= _MIN_CONNECTIONS or len(quick) >= _MIN_WAITING

    def _is_quick(self, waiting: _Waiting, duration_ns: int) -> bool:
        procedure = self._procedures.get(waiting.number)
        return procedure is not None and procedure.usual(duration_ns)

    def _of_stalls(self, stalls: list[_Stall]) -> Finding:
        longest = max(stalls, key=lambda stall: stall.duration_ns)
        waited = longest.once
        calls, clients = len(waited), len({each.conn for each in waited})
        more = f" This happened {len(stalls):,} times." if len(stalls) > 1 else ""
        return self.finding(
            "DAEMON_STALLED",
            f"The daemon answered nobody for {duration(longest.duration_ns)}:"
            f" {amount(calls, 'call')} of {amount(clients, 'connection')} waited and were answered together."
            f"{more}",
            [self._stall_evidence(stall) for stall in stalls[:_LISTED]],
            certainty="likely",
            advice=(
                "find out what stopped the process or the host: see journalctl around this time, and whether"
                " the host was suspended or overloaded",
                'log_filters="1:util.threadjob 1:event" logs what the workers and the event loop are doing',
            ),
        )

    def _stall_evidence(self, stall: _Stall) -> Evidence:
        procedures = (self._procedures.get(each.number) for each in stall.released)
        names = Counter(each.name for each in procedures if each is not None)
        listed = ", ".join(name for name, _ in names.most_common(_LISTED))
        return self.recording.messages(
            f"no message of the daemon for {duration(stall.duration_ns)}, while"
            f" {amount(len(stall.released), 'call')} waited: {listed}",
            stall.sample,
        )


def _range(least: int, most: int) -> str:
    one, two = duration(least), duration(most)
    return one if one == two else f"{one} to {two}"


def _during(slow: _Slow, stalls: list[_Stall]) -> bool:
    """Return whether a call waited because of a stall: it began before or in it, and ended after it."""
    end = slow.start_ns + slow.latency_ns
    return any(slow.start_ns <= stall.end_ns <= end for stall in stalls)
