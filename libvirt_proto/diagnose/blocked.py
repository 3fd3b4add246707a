"""BLOCKED_OBJECT: calls on one object that waited for an earlier one, and ended when it did.

A driver serves the calls that need an object's lock or job one at a time. Those that wait look like slow
ones, but they end together: first the blocking one, and within milliseconds those that it held up. A log has
no objects; there, jobs of worker threads that sent commands to the same QEMU monitor are about the same
domain.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple, TypeVar

from ..bounded import BoundedDict
from ..events import LogLine, ProbeEvent
from ..rpc.message import Header
from ..rpc.objects import NamedObject
from ..session import Exchange
from ..text import amount, clock, duration, listed
from .calls import Call
from .detector import ROUTINE_NS, Detector, Recording, Sample
from .dispatchers import Dispatchers
from .findings import Evidence, Finding
from .monitor_commands import MAX_MONITORS, process_advice
from .peers import Peer
from .worker_jobs import WorkerJob, WorkerJobs, may_last

#: A call takes milliseconds, one that starts a domain a second or two.
_WAIT_NS: Final = 2 * 10**9
#: Calls that are kept: those that end while others wait show a queue instead.
_SLOW_NS: Final = ROUTINE_NS
#: Calls without a reply at the end of a recording may each be slow; after this time they are stuck.
_OPEN_NS: Final = 10 * 10**9
#: After the blocking call ends, the others need some milliseconds each.
_RELEASE_NS: Final = 100 * 10**6
#: Calls of parallel clients that begin at the same time, and take the same time, end together, too.
_APART_NS: Final = 20 * 10**6
#: Objects with calls that took long, and such calls of each; the work at the end is the sum of their squares.
_MAX_OBJECTS: Final = 256
_MAX_CALLS: Final = 64
#: Groups of calls of an object, and calls that evidence lists.
_LISTED: Final = 5


class _Blocked(NamedTuple):
    """Calls on an object that waited for another one: since and until then, None at the end of the
    recording."""

    first: Call
    waiting: list[Call]
    start_ns: int
    end_ns: int | None


class BlockedObjects(Detector):
    """Calls on one object that wait, and are released together."""

    rules = ("BLOCKED_OBJECT",)

    def __init__(self, recording: Recording) -> None:
        super().__init__(recording)
        self._calls: BoundedDict[NamedObject, list[Call]] = BoundedDict(_MAX_OBJECTS)
        self._jobs = WorkerJobs()
        self._dispatchers = Dispatchers(recording.registry)
        #: The jobs that took long, by their domain, or the monitor of an unknown one.
        self._slow_jobs: BoundedDict[tuple[str, str], list[WorkerJob]] = BoundedDict(_MAX_OBJECTS)
        self._domains: BoundedDict[str, str] = BoundedDict(MAX_MONITORS)

    def wants(self, _header: Header) -> bool:
        """Return False: only slow calls matter."""
        return False

    def exchange(self, peer: Peer, exchange: Exchange) -> None:
        """Keep calls that took long, or have no reply."""
        latency_ns = exchange.latency_ns
        if latency_ns is not None and latency_ns < _SLOW_NS:
            return
        call, reply = exchange.call, exchange.reply
        if call is None or call.time_ns is None or (reply is not None and latency_ns is None):
            return
        kept = Call(self.recording, peer, call, reply, exchange.overtaken)
        if kept.object is None:
            return
        calls = self._calls.get(kept.object)
        if calls is None:
            self._calls.put(kept.object, calls := [])
        if len(calls) < _MAX_CALLS and not any(kept.is_copy(each) for each in calls):
            calls.append(kept)

    def line(self, line: LogLine) -> None:
        """Keep worker jobs that took long, and the domain of a monitor."""
        if line.kind == "monitor-entered":
            self._domains.put(line.details.get("monitor", ""), line.details.get("domain", ""))
            return
        job = self._jobs.add(line)
        took = None if job is None else job.duration_ns
        if job is None or took is None or took < _SLOW_NS:
            return
        domain = job.domain or self._domains.get(job.monitor or "") or ""
        key = domain, "" if domain else job.monitor or ""
        jobs = self._slow_jobs.get(key)
        if key == ("", ""):
            return
        if jobs is None:
            self._slow_jobs.put(key, jobs := [])
        if len(jobs) < _MAX_CALLS:
            jobs.append(job)

    def probe(self, event: ProbeEvent) -> None:
        """Note to which monitor a job sends commands."""
        if event.kind == "qemu_monitor_send_msg" and event.thread is not None:
            process = "" if event.pid is None else str(event.pid)
            job = self._jobs.of(process, str(event.thread))
            monitor = event.arguments.get("mon")
            if job is not None and isinstance(monitor, str):
                job.monitor = monitor

    def findings(self) -> Iterator[Finding]:
        """Report a finding per object."""
        # On a busy host the two ends of a connection begin at different times: its other calls show them.
        copies = self.recording.copies
        of_objects = {
            object_: [call for call in calls if call.conn not in copies]
            for object_, calls in self._calls.items()
        }
        ends = sorted(
            call.end_ns for calls in of_objects.values() for call in calls if call.end_ns is not None
        )
        for object_, calls in of_objects.items():
            found = [*_released(calls, ends), *self._open(calls)]
            if found:
                yield self._of(object_, found)
        for (domain, _), jobs in self._slow_jobs.items():
            yield from self._of_jobs(domain, jobs)

    def _open(self, calls: list[Call]) -> Iterator[_Blocked]:
        """Yield the calls that wait at the end of the recording, or of their connections, after the oldest.

        A daemon that answers nothing else may be stopped, which is another rule's.
        """
        end_ns = self.recording.end_ns
        if end_ns is None:
            return
        waits = [
            (call.start_ns, call)
            for call in calls
            if call.reply is None
            and call.start_ns is not None
            and (end_ns if call.closed_ns is None else call.closed_ns) - call.start_ns >= _OPEN_NS
        ]
        waits.sort(key=lambda each: each[0])
        for start_ns, first in waits[:1]:
            until_ns = end_ns if first.closed_ns is None else first.closed_ns
            waiting = [(start, call) for start, call in waits[1:] if start < until_ns]
            if _clients(first, *(call for _, call in waiting)) > 1 and self._heard_after(waiting[0][0]):
                yield _Blocked(first, [call for _, call in waiting], start_ns, None)

    def _heard_after(self, time_ns: int) -> bool:
        """Return whether the daemon sent anything after a time."""
        heard = [
            self.recording.answered_ns,
            *(peer.heard.get("s2c") for peer in self.recording.peers.values()),
        ]
        return any(each is not None and each > time_ns for each in heard)

    def _of(self, object_: NamedObject, found: list[_Blocked]) -> Finding:
        longest = max(found, key=lambda each: (each.end_ns is None, (each.end_ns or 0) - each.start_ns))
        first, what = longest.first, f"{object_.kind.replace('_', ' ')} {object_}"
        waited = amount(len(longest.waiting), "call")
        if longest.end_ns is None:
            lasted = f"since {clock(longest.start_ns)}, which did not end in this recording"
            waited += " wait" if len(longest.waiting) > 1 else " waits"
        else:
            lasted = f"for {duration(longest.end_ns - longest.start_ns)}, and ended when it did"
            waited += " waited"
        more = f"; {amount(len(found) - 1, 'other time', 'other times')} as well" if len(found) > 1 else ""
        return self.finding(
            "BLOCKED_OBJECT",
            f"{waited} for {first.name} on {what}, called by {first.client}, {lasted}{more}.",
            [each for blocked in found[:_LISTED] for each in self._evidence(blocked)],
            subject=str(object_),
            certainty="possible" if longest.end_ns is None and len(longest.waiting) < 2 else "likely",
            severity="note" if may_last(first.name) else None,
            advice=_advice(object_),
        )

    def _evidence(self, blocked: _Blocked) -> Iterator[Evidence]:
        first = blocked.first
        if blocked.end_ns is None:
            ended = "without a reply"
        else:
            ended = f"answered after {duration(blocked.end_ns - blocked.start_ns)}"
        yield self.recording.messages(f"{first.name} of {first.client}, {ended}", first.sample)
        sample = Sample()
        for call in blocked.waiting:
            sample.add(call.call)
            if call.reply is not None:
                sample.add(call.reply)
        names = [f"{call.name} of {call.client}" for call in blocked.waiting]
        yield self.recording.messages(f"waiting: {listed(names, _LISTED)}", sample)

    def _of_jobs(self, domain: str, jobs: list[WorkerJob]) -> Iterator[Finding]:
        """Yield the finding about worker jobs on a domain, "" if it is unknown."""
        done = [
            (job.begin.time_ns, job.end.time_ns, job)
            for job in jobs
            if job.end is not None and job.begin.time_ns is not None and job.end.time_ns is not None
        ]
        own = [end for _, end, _ in done]
        groups = [group for group in _groups(done) if _follow(group, own)]
        if not groups:
            return
        start_ns, end_ns, first = max(groups, key=lambda group: group[0][1] - group[0][0])[0]
        count = max(map(len, groups)) - 1
        lines = [line for group in groups for _, _, job in group for line in (job.begin, job.end) if line]
        names = dict.fromkeys(self._dispatchers.name(job.dispatcher) for _, _, job in groups[0][1:])
        name, what = self._dispatchers.name(first.dispatcher), f"domain {domain}" if domain else "one domain"
        text = f"jobs that ended together, {name} first, then"
        yield self.finding(
            "BLOCKED_OBJECT",
            f"{amount(count, 'job')} on {what} waited for {name} for {duration(end_ns - start_ns)}, and ended"
            " when it did.",
            [self.recording.lines(f"{text} {listed(names, _LISTED)}", lines)],
            subject=domain,
            certainty="likely" if domain else "possible",
            advice=_advice(NamedObject("domain", domain or None)),
        )


#: The begin and the end of a call or a job.
_Timed = TypeVar("_Timed")
_Span = tuple[int, int, _Timed]


def _groups(spans: Iterable[_Span[_Timed]]) -> Iterator[list[_Span[_Timed]]]:
    """Yield the spans that end together, those that end first leading; groups of one are left out."""
    group: list[_Span[_Timed]] = []
    for span in sorted(spans, key=lambda each: (each[1], each[0])):
        if group and span[1] - group[-1][1] > _RELEASE_NS:
            if len(group) > 1:
                yield group
            group = []
        group.append(span)
    if len(group) > 1:
        yield group


def _follow(group: list[_Span[_Timed]], ends: Iterable[int]) -> bool:
    """Return whether the first that ended also began first, and the others waited for it.

    Spans of equal length that began and ended at the same intervals ran next to each other. If another one
    on the object ended meanwhile (`ends` has those of all), the first waited, too, perhaps for a worker.
    """
    (start_ns, end_ns, _), *others = group
    if any(not start_ns <= start <= end_ns - _WAIT_NS for start, _, _ in others):
        return False
    if all(start - start_ns <= max(_APART_NS, 2 * (end - end_ns)) for start, end, _ in others):
        return False
    return not any(start_ns < end < end_ns - _RELEASE_NS for end in ends)


def _clients(*calls: Call) -> int:
    return len({call.conn for call in calls})


def _released(calls: list[Call], ends: list[int]) -> Iterator[_Blocked]:
    """Yield the calls that ended together, after the one that began first. `ends` are those of slow calls
    on all objects, in order: a daemon that was stopped releases most of them at a time."""
    done = [
        (call.start_ns, call.end_ns, call)
        for call in calls
        if call.start_ns is not None and call.end_ns is not None
    ]
    own = [end for _, end, _ in done]
    for group in _groups(done):
        start_ns, end_ns, first = group[0]
        together = bisect_right(ends, group[-1][1] + _RELEASE_NS) - bisect_left(ends, end_ns - _RELEASE_NS)
        # The calls of one connection may wait for its limit instead, unless others overtook them.
        several = first.overtaken > 0 or _clients(*(call for _, _, call in group)) > 1
        if several and together < 2 * len(group) and _follow(group, own):
            yield _Blocked(first, [call for _, _, call in group[1:]], start_ns, end_ns)


def _advice(object_: NamedObject) -> tuple[str, ...]:
    if object_.kind != "domain":
        return ("find out what the first call waits for: storage that does not answer is the usual cause",)
    return (
        "find out what the first call waits for: log_filters="
        '"1:util.threadjob 1:qemu.qemu_monitor" logs what workers do, and the commands of QEMU\'s monitor',
        process_advice(object_.name),
        "let monitoring skip busy domains: VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT, or virsh domstats"
        " --nowait",
    )
