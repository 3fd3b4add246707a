"""STATE_CHANGE_LOCK: calls that failed because another one held the job of their domain.

A domain has one job at a time, one more for its guest agent, and an asynchronous one (migration, snapshot,
…) that excludes most others. A call waits 30 s for it, and then fails with VIR_ERR_OPERATION_TIMEOUT and the
name of the dispatcher that holds it (virdomainjob.c).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from ..bounded import BoundedDict
from ..events import Captured, LogLine
from ..routine import RoutineExchanges
from ..rpc.message import Header
from ..rpc.reported import LibvirtError
from ..session import Exchange
from ..text import amount, clock, duration
from .calls import Call, waiting_calls
from .detector import MAX_NUMBERS, Detector, Recording, Sample
from .dispatchers import Dispatchers
from .findings import Evidence, Finding
from .guest_agent import ping_advice
from .monitor_commands import process_advice
from .peers import Peer
from .settings import quoted_domain
from .worker_jobs import READING, WorkerJob, WorkerJobs, may_last

#: VIR_ERR_OPERATION_FAILED: too many calls wait (max_queued in qemu.conf); VIR_ERR_OPERATION_TIMEOUT.
_CODES: Final = (9, 68)
#: The text of the error, and the holder in it, which a translation keeps.
_LOCK: Final = "state change lock"
_HOLDER: Final = re.compile(r"\b(?P<kind>monitor|agent)=(?P<name>\w{1,80})|\(held by (?P<only>\w{1,80})\)")
_QUEUE: Final = "max_queued"
#: Locks (a domain and a holder), refusals that wait for the next line, and calls that began a job.
_MAX_LOCKS: Final = 256
_MAX_REFUSALS: Final = 256
_MAX_STARTERS: Final = 256
#: Time between a call and the begin of its job.
_DISPATCH_NS: Final = 10**9
#: Searches for the call of one holder, and of all in a recording.
_ATTEMPTS: Final = 3
_MAX_SEARCHES: Final = 500
#: Names of calls in a text, and recent failures that are compared with another one.
_LISTED: Final = 3
_RECENT: Final = 8


class _Refused(NamedTuple):
    """The content of a line about a refused job: the domain, the kind of the job that it waited for, the
    thread and the dispatcher that hold it ("" if unknown), the name of an asynchronous job, and the seconds
    since it began."""

    line: LogLine
    domain: str
    kind: str
    thread: str
    holder: str
    asynchronous: str
    held_s: int


class _Lock:
    """A lock of a domain, "" if unknown, held by a dispatcher, "" if unknown. `kind` is `monitor`, `agent` or
    `asynchronous`; `asynchronous` the name of such a job."""

    def __init__(self, domain: str, holder: str) -> None:
        self.domain = domain
        self.holder = holder
        self.kind = "monitor"
        self.asynchronous = ""
        #: The holder's thread, if the log names it.
        self.thread = ""
        self.limit = False
        self.failures = 0
        self.sample = Sample()
        self.lines: list[LogLine] = []
        self.names: list[str] = []
        self.recent: list[Call] = []
        #: The longest time that a failed call waited, and that the log states for the holder.
        self.waited_ns = 0
        self.held_s = 0
        self.call: Call | None = None
        self.job: WorkerJob | None = None

    @property
    def may_search(self) -> bool:
        """True if its holder's call is unknown, and was not searched for at the first failures."""
        return self.call is None and self.failures <= _ATTEMPTS

    def count(self, name: str, waited_ns: int | None) -> None:
        """Count a failed call."""
        self.failures += 1
        if name and name not in self.names and len(self.names) <= _LISTED:
            self.names.append(name)
        self.waited_ns = max(self.waited_ns, waited_ns or 0)


class StateChangeLocks(Detector):
    """Failed calls with their holder: its call, or its worker job, in the same recording."""

    rules = ("STATE_CHANGE_LOCK",)

    def __init__(self, recording: Recording) -> None:
        super().__init__(recording)
        self._dispatchers = Dispatchers(recording.registry)
        self._jobs = WorkerJobs()
        self._locks: BoundedDict[tuple[str, str], _Lock] = BoundedDict(_MAX_LOCKS)
        self._refusals: BoundedDict[tuple[str, str | None, int], _Refused] = BoundedDict(_MAX_REFUSALS)
        #: The holders' calls that wait for a reply: connection, program and serial → the call.
        self._held: BoundedDict[tuple[int, int, int], Call] = BoundedDict(_MAX_LOCKS)
        #: The last calls that began an asynchronous job: program and procedure → the call.
        self._starters: BoundedDict[tuple[int, int], Call] = BoundedDict(_MAX_STARTERS)
        self._asynchronous = _asynchronous(recording)
        self._searches = 0

    def exchange(self, peer: Peer, exchange: Exchange) -> None:
        """Look at a failed call, and at the reply of a holder."""
        header = exchange.header
        if self._held:
            held = self._held.pop((exchange.connection.id, header.prog, header.serial), None)
            if held is not None and exchange.reply is not None:
                held.answer(exchange.reply)
        if exchange.outcome != "ok":
            if exchange.reply is not None:
                self._failed(peer, exchange, exchange.reply)
        elif exchange.call is not None and (header.prog, header.proc) in self._asynchronous:
            self._starters.pop((header.prog, header.proc), None)
            self._starters.put(
                (header.prog, header.proc), Call(self.recording, peer, exchange.call, exchange.reply)
            )

    def takes(self, header: Header) -> bool:
        """Return whether a procedure begins no asynchronous job."""
        return (header.prog, header.proc) not in self._asynchronous

    def ready(self, _peer: Peer, _exchanges: RoutineExchanges) -> bool:
        """Return whether no call is known to hold a lock."""
        return not self._held

    def line(self, line: LogLine) -> None:
        """Note jobs, refusals and the errors that follow them."""
        if line.kind == "job-refused":
            refused = _refused(line)
            if refused is not None and (
                evicted := self._refusals.put((line.process, line.thread, line.number), refused)
            ):
                self._refuse(evicted[1], None)
        elif line.kind == "lock-timeout":
            self._timeout(line)
        else:
            self._jobs.add(line)

    def findings(self) -> Iterator[Finding]:
        """Report a finding per domain and holder."""
        for refused in self._refusals.values():
            self._refuse(refused, None)
        for lock in self._locks.values():
            yield self._of(lock)

    def _failed(self, peer: Peer, exchange: Exchange, reply: Captured) -> None:
        """Count a failed call; a capture may begin after it."""
        if getattr(reply.message.payload, "code", None) not in _CODES:
            return
        error = self.recording.error(reply.message)
        stated = None if error is None else _stated(error)
        if stated is None:
            return
        call = Call(self.recording, peer, exchange.call or reply, reply if exchange.call else None)
        kind, holder = _holder(stated)
        lock = self._lock("" if call.object is None else str(call.object), holder)
        if any(call.is_copy(each) for each in lock.recent):
            return
        lock.recent = [*lock.recent[1 - _RECENT :], call]
        lock.kind, lock.limit = kind, lock.limit or "limit" in stated
        lock.count(call.name, exchange.latency_ns)
        lock.sample.add(call.call)
        if call.reply is not None:
            lock.sample.add(call.reply)
        if lock.may_search:
            self._find_call(lock, call.start_ns)

    def _find_call(self, lock: _Lock, before_ns: int | None) -> None:
        """Find the call that holds a lock: the oldest of its procedure on the domain that waits, or the last
        one that began a job. A log does not have the objects of calls; there, it is the only one, or the only
        one that was received just before the holder's job began."""
        found = self._dispatchers.find(lock.holder)
        if found is None or self._searches == _MAX_SEARCHES:
            return
        self._searches += 1
        unknown: list[tuple[Peer, Captured]] = []
        known: list[tuple[Peer, Captured]] = []
        for peer, call in waiting_calls(self.recording, found):
            if before_ns is not None and call.time_ns is not None and call.time_ns > before_ns:
                continue
            subject = self.recording.subject(call.message) if lock.domain else None
            if subject is None:
                unknown.append((peer, call))
            elif str(subject) == lock.domain:
                known.append((peer, call))
        if len(unknown) > 1 and lock.job is not None:
            unknown = [each for each in unknown if _is_dispatched(each[1], lock.job)]
        if known or len(unknown) == 1:
            peer, call = min(known or unknown, key=lambda each: each[1].time_ns or 0)
            header = call.message.header
            lock.call = Call(self.recording, peer, call, None)
            self._held.put((call.connection.id, header.prog, header.serial), lock.call)
            return
        starter = self._starters.get((found.program, found.number))
        if starter is not None and lock.domain in ("", str(starter.object or "")):
            lock.call = starter

    def _timeout(self, line: LogLine) -> None:
        """Count a failed call of which the log has the error, and perhaps the warning before it."""
        kind, holder = _holder(line.details)
        for key, refused in self._refusals.items():
            if key[:2] == (line.process, line.thread) and holder in ("", refused.holder):
                del self._refusals[key]
                self._refuse(refused, line)
                return
        job = self._jobs.of(line.process, line.thread)
        lock = self._lock((job and job.domain) or "", holder)
        lock.kind = kind
        lock.limit = lock.limit or "limit" in line.details
        self._count_line(lock, line, job)

    def _refuse(self, refused: _Refused, line: LogLine | None) -> None:
        """Count a failed call of which the log has the warning, and perhaps the error after it."""
        lock = self._lock(refused.domain, refused.holder)
        lock.kind, lock.asynchronous = refused.kind, refused.asynchronous
        lock.held_s, lock.thread = max(lock.held_s, refused.held_s), refused.thread
        if line is not None:
            lock.limit = lock.limit or "limit" in line.details
        if lock.job is None and refused.thread:
            held = self._jobs.of(refused.line.process, refused.thread)
            if held is not None and refused.holder in ("", held.dispatcher):
                lock.job = held
        job = self._jobs.of(refused.line.process, refused.line.thread)
        self._count_line(lock, refused.line, job, api=refused.line.details.get("api", ""))

    def _count_line(self, lock: _Lock, line: LogLine, job: WorkerJob | None, api: str = "") -> None:
        begin_ns = None if job is None else job.begin.time_ns
        waited = None if begin_ns is None or line.time_ns is None else line.time_ns - begin_ns
        dispatcher = api or ("" if job is None else job.dispatcher)
        lock.count(self._dispatchers.name(dispatcher) if dispatcher else "", waited)
        if len(lock.lines) < MAX_NUMBERS:
            lock.lines.append(line)
        if lock.job is None and lock.holder and not lock.thread and lock.may_search:
            running = [each for each in self._jobs.running() if each.dispatcher == lock.holder]
            others = [each for each in running if each is not job]
            lock.job = others[0] if len(others) == 1 else None
        if lock.may_search:
            self._find_call(lock, line.time_ns)

    def _lock(self, domain: str, holder: str) -> _Lock:
        """Return the lock of a domain; of an unknown one, the only lock with this holder."""
        if not domain:
            found = [lock for lock in self._locks.values() if lock.holder == holder]
            if len(found) == 1:
                return found[0]
        lock = self._locks.get((domain, holder))
        if lock is None:
            lock = _Lock(domain, holder)
            self._locks.put((domain, holder), lock)
        return lock

    def _of(self, lock: _Lock) -> Finding:
        calls = amount(lock.failures, "call") if lock.failures > 1 else "A call"
        about = f" on domain {lock.domain}" if lock.domain else ""
        after = f" after {duration(lock.waited_ns)}" if lock.waited_ns else ""
        name = self._dispatchers.name(lock.holder) if lock.holder else ""
        found = self._dispatchers.find(lock.holder)
        if lock.kind == "monitor" and found is not None and found[:2] in self._asynchronous:
            lock.kind = "asynchronous"
        return self.finding(
            "STATE_CHANGE_LOCK",
            f"{calls}{about} failed{after} because {self._cause(lock, name)}.",
            list(self._evidence(lock, name)),
            subject=" ".join((lock.domain, name)) if lock.domain and name else "",
            advice=_advice(lock),
        )

    def _cause(self, lock: _Lock, name: str) -> str:
        """`domain_block_job_abort, called by 127.0.0.1:40508, held its state change lock for 30.1 s`."""
        who = name or "another call"
        if lock.kind == "asynchronous":
            job = f"a job ({lock.asynchronous})" if lock.asynchronous else "a job"
            who = f"{job} of {name}" if name else job
        if lock.call is not None:
            who += f", called by {lock.call.client},"
        held = "held its" if lock.domain else "held the domain's"
        what = "waited for the guest agent and held its" if lock.kind == "agent" else f"{held} state change"
        queue = ", and too many calls waited for it (max_queued)" if lock.limit else ""
        return f"{who} {what} lock{self._held_since(lock)}{queue}"

    def _held_since(self, lock: _Lock) -> str:
        """Return how long the lock was held, as far as it is known."""
        start_ns = end_ns = None
        if lock.call is not None:
            start_ns, end_ns = lock.call.start_ns, lock.call.end_ns
        elif lock.job is not None:
            start_ns = lock.job.begin.time_ns
            end_ns = None if lock.job.end is None else lock.job.end.time_ns
        if lock.kind == "asynchronous" and lock.held_s:
            return f" for {duration(lock.held_s * 10**9)}"
        if start_ns is not None and end_ns is not None and lock.kind != "asynchronous":
            return f" for {duration(end_ns - start_ns)}"
        if start_ns is not None:
            ended = "" if end_ns is not None else ", and did not end in this recording"
            return f" since {clock(start_ns)}{ended}"
        return f" for {duration(lock.held_s * 10**9)}" if lock.held_s else ""

    def _evidence(self, lock: _Lock, name: str) -> Iterator[Evidence]:
        names = ", ".join(lock.names[:_LISTED]) + (" and others" if len(lock.names) > _LISTED else "")
        text = f"{amount(lock.failures, 'failed call')}" + (f": {names}" if names else "")
        if lock.sample.count:
            yield self.recording.messages(text, lock.sample)
        if lock.lines:
            held = f"its holder is {lock.holder}" if lock.holder else "the log does not name the holder"
            yield self.recording.lines(f"{text}; {held}", lock.lines)
        if lock.call is not None:
            ended = _ended(lock.call.start_ns, lock.call.end_ns, answered=lock.call.reply is not None)
            yield self.recording.messages(f"{name} of {lock.call.client}, {ended}", lock.call.sample)
        if lock.job is not None:
            begin, end = lock.job.begin, lock.job.end
            ended = _ended(begin.time_ns, None if end is None else end.time_ns, answered=end is not None)
            lines = [begin] if end is None else [begin, end]
            yield self.recording.lines(f"{name or 'the job'} in thread {lock.job.thread[1]}, {ended}", lines)


def _is_dispatched(call: Captured, job: WorkerJob) -> bool:
    """Return whether a job may be that of a call: a worker is free at once, unless all are busy."""
    if call.time_ns is None or job.begin.time_ns is None:
        return False
    return 0 <= job.begin.time_ns - call.time_ns <= _DISPATCH_NS


def _ended(start_ns: int | None, end_ns: int | None, *, answered: bool) -> str:
    if not answered:
        return "which did not end in this recording"
    return "which ended" + (
        "" if start_ns is None or end_ns is None else f" after {duration(end_ns - start_ns)}"
    )


def _stated(error: LibvirtError) -> dict[str, str] | None:
    """Return the parts of an error about the lock; None for another error."""
    text = error.message or ""
    found = _HOLDER.search(text)
    if _LOCK not in text and (found is None or "Dispatch" not in found[0]):
        return None
    stated = {"limit": _QUEUE} if _QUEUE in text else {}
    if found is not None:
        stated[found["kind"] or "holder"] = found["name"] or found["only"]
    return stated


def _holder(details: dict[str, str]) -> tuple[str, str]:
    """Return the kind of a lock and the dispatcher that holds it. If two do, the job of the domain decides;
    releases before 6.0.0 do not name the kind."""
    for kind in ("monitor", "agent"):
        if kind in details:
            return kind, details[kind]
    return "monitor", details.get("holder", "")


def _refused(line: LogLine) -> _Refused | None:
    """Return what a line states; None for a form that no release has.

    `(job, asynchronous job)` and `(owner, asynchronous owner)` before libvirt 4.10.0, and with the agent's
    in between since then; only a job and an owner in libxl.
    """
    details = line.details
    wanted, current, owners = (details.get(name, "").split(", ") for name in ("job", "current", "owners"))
    times = [int(time.strip(" s") or 0) for time in details.get("times", "").split(",")] + [0, 0, 0]
    count = len(current)
    if not 1 <= count <= 3 or len(owners) != count:
        return None
    last = count - 1
    if count == 3 and len(wanted) == 3 and wanted[1] != "none" and current[1] != "none":
        at, kind = 1, "agent"
    elif current[0] in ("none", "async nested") and current[last] != "none":
        at, kind = last, "asynchronous"
    else:
        at, kind = 0, "monitor"
    thread, _, rest = owners[at].partition(" ")
    holder = rest.partition(" ")[0]
    if holder in ("<null>", "(null)"):
        holder = ""
    asynchronous = current[at] if kind == "asynchronous" else ""
    domain = details.get("domain", "")
    return _Refused(line, domain, kind, thread, holder, asynchronous, times[at] if holder or at else times[0])


def _asynchronous(recording: Recording) -> frozenset[tuple[int, int]]:
    """Return the procedures that begin an asynchronous job of a domain."""
    return frozenset(
        (program.number, procedure.number)
        for program in recording.registry.programs()
        for procedure in program.procedures
        if may_last(procedure.name)
    )


def _advice(lock: _Lock) -> tuple[str, ...]:
    quoted = quoted_domain(lock.domain)
    steps: list[str] = []
    if lock.kind == "agent":
        steps += [
            ping_advice(lock.domain),
            f"limit the time that calls wait for it: virsh guest-agent-timeout {quoted} --timeout 5",
        ]
    elif lock.kind == "asynchronous":
        steps += [
            f"see how far the job is: virsh domjobinfo {quoted}",
            f"wait for it, or cancel it: virsh domjobabort {quoted}",
        ]
    elif lock.holder:
        steps.append(process_advice(lock.domain))
    else:
        steps.append('log what each worker of the daemon is doing: log_filters="1:util.threadjob"')
    if lock.limit:
        steps.append("set max_queued = 0 (the default, no limit) in /etc/libvirt/qemu.conf")
    if any(not READING.isdisjoint(name.split("_")) for name in lock.names):
        steps.append(
            "let monitoring skip busy domains: VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT, or virsh domstats"
            " --nowait"
        )
    return tuple(steps)
