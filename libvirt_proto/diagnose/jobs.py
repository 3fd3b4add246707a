"""UNFINISHED_JOB: worker jobs that began and did not end, from the debug log.

virthreadjob.c logs both with log_filters="1:util.threadjob".
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final

from ..events import LogLine, ProbeEvent
from ..text import amount, clock, duration, listed
from .calls import waiting_calls
from .detector import MAX_NUMBERS, Detector, Recording
from .dispatchers import Dispatchers
from .findings import Evidence, Finding
from .monitor_commands import Command, Commands, process_advice
from .worker_jobs import WorkerJob, WorkerJobs

#: libvirt's own patience: nothing that a job does except waiting for a monitor or an agent, or moving data,
#: takes longer than the 30 s that a call waits for a state change lock (VIR_JOB_WAIT_TIME).
PATIENCE_NS: Final = 30 * 10**9
#: A job that outlasts a keepalive timeout may be slow; after this time it is stuck.
_STUCK_NS: Final = 10 * 10**9
#: Words in names of procedures that move data, or wait for the end of what they started.
_LENGTHY: Final = frozenset(
    ("migrate", "save", "restore", "dump", "snapshot", "checkpoint", "wipe", "build", "upload", "download")
)
_LENGTHY_VOLUMES: Final = ("storage_vol_create_xml", "storage_vol_resize", "storage_vol_delete")
#: Words in names of procedures that may take long for a large domain or pool; a client that gave up shows
#: that they took too long.
_LARGE: Final = frozenset(("create", "start", "refresh"))
#: Jobs that evidence names, and lines of the log that are kept.
_LISTED: Final = 5
_MAX_LINES: Final = MAX_NUMBERS


class _Stuck:
    """A job without an end, and what shows that it will not end: a line of the log, or a command of the QEMU
    monitor. `until` is the line that ended its daemon."""

    def __init__(self, job: WorkerJob, name: str) -> None:
        self.job = job
        self.name = name
        self.timeout: LogLine | None = None
        self.command: Command | None = None
        self.until: LogLine | None = None


class UnfinishedJobs(Detector):
    """Jobs of worker threads without an end."""

    rules = ("UNFINISHED_JOB",)

    def __init__(self, recording: Recording) -> None:
        super().__init__(recording)
        self._dispatchers = Dispatchers(recording.registry)
        self._jobs = WorkerJobs()
        self._commands = Commands()
        self._timeouts: list[LogLine] = []
        self._ended: list[tuple[WorkerJob, LogLine]] = []

    def line(self, line: LogLine) -> None:
        """Note the begin and the end of a job, a keepalive timeout, and the start of a daemon."""
        if line.kind in ("keepalive-timeout", "keepalive-silence"):
            # The last ones show most about jobs that never end.
            self._timeouts = [*self._timeouts[-_MAX_LINES:], line]
        elif line.kind == "started":
            ended = ((job, line) for job in self._jobs.restarted(line.program))
            self._ended += islice(ended, _MAX_LINES - len(self._ended))
        else:
            self._jobs.add(line)

    def probe(self, event: ProbeEvent) -> None:
        """Note the commands of QEMU monitors."""
        self._commands.add(event)

    def findings(self) -> Iterator[Finding]:
        """Report the jobs without an end as one finding."""
        waiting = {each.thread: each for each in self._commands.unanswered(self.recording.end_ns)}
        stuck = [each for job in self._jobs.running() if (each := self._stuck(job, None, waiting))]
        stuck += [each for job, line in self._ended if (each := self._stuck(job, line, {}))]
        if stuck:
            yield self._of(stuck)

    def _stuck(
        self, job: WorkerJob, until: LogLine | None, waiting: dict[tuple[str, str | None], Command]
    ) -> _Stuck | None:
        """Return a job that does not end; None for one that may merely be long, or began just before the
        end."""
        stuck = _Stuck(job, self._dispatchers.name(job.dispatcher))
        stuck.until = until
        begin = job.begin
        stuck.command = waiting.get(job.thread)
        words = stuck.name.split("_")
        lengthy = stuck.name.startswith(_LENGTHY_VOLUMES) or not _LENGTHY.isdisjoint(words)
        if stuck.command is not None:
            return stuck
        if lengthy:
            return None
        end_number = None if until is None else until.number
        stuck.timeout = next((line for line in self._timeouts if _is_after(line, begin, end_number)), None)
        end_ns = self.recording.end_ns if until is None else until.time_ns
        if stuck.timeout is not None:
            return stuck
        lasts = begin.time_ns is not None and end_ns is not None and end_ns - begin.time_ns >= PATIENCE_NS
        return stuck if lasts and _LARGE.isdisjoint(words) else None

    def _of(self, stuck: list[_Stuck]) -> Finding:
        first = stuck[0]
        for each in stuck:  # what shows most
            if (each.command, each.timeout) != (None, None) and (first.command, first.timeout) == (
                None,
                None,
            ):
                first = each
        begin = first.job.begin
        since = "" if begin.time_ns is None else f" since {clock(begin.time_ns)}"
        if len(stuck) == 1:
            on = f" on domain {first.job.domain}" if first.job.domain else ""
            who = f"A worker of the daemon has been stuck in {first.name}{on}{since}"
        else:
            who = f"{amount(len(stuck), 'worker')} of the daemon have been stuck, one in {first.name}{since}"
        timeouts = [each.timeout for each in stuck if each.timeout is not None]
        evidence = [*self._begins(stuck), *self._calls(stuck)]
        if timeouts:
            lines = list({line.number: line for line in timeouts}.values())[:_MAX_LINES]
            evidence.append(self.recording.lines("a keepalive timeout while the job ran", lines))
        return self.finding(
            "UNFINISHED_JOB",
            f"{who}; {self._then(first)}.",
            evidence,
            subject=first.name,
            severity=None if first.timeout or first.command else "warning",
            certainty="certain" if first.timeout or (first.command and self._commands.received) else "likely",
            advice=_advice(first),
        )

    def _then(self, stuck: _Stuck) -> str:
        """Return what followed, or how long it lasted."""
        begin_ns = stuck.job.begin.time_ns
        if stuck.command is not None:
            waited = duration(stuck.command.waited_ns(self.recording.end_ns))
            return f"QEMU has not answered its command {stuck.command.name} for {waited}"
        if stuck.timeout is not None:
            time_ns = stuck.timeout.time_ns
            after = (
                "" if None in (time_ns, begin_ns) else f" {duration((time_ns or 0) - (begin_ns or 0))} later"
            )
            return f"a connection ended with a keepalive timeout{after}, and the job did not end"
        end_ns = self.recording.end_ns if stuck.until is None else stuck.until.time_ns
        lasted = duration((end_ns or 0) - (begin_ns or 0))
        what = "the log ended" if stuck.until is None else "the daemon was started again"
        return f"the job had not ended when {what} {lasted} later"

    def _begins(self, stuck: list[_Stuck]) -> Iterator[Evidence]:
        """Yield the lines of the jobs' begins, by procedure."""
        names: dict[str, list[WorkerJob]] = {}
        for each in stuck:
            names.setdefault(each.name, []).append(each.job)
        for name, jobs in islice(names.items(), _LISTED):
            threads = listed([*map(_thread, jobs)], _LISTED)
            many = "thread" if len(jobs) == 1 else "threads"
            text = f"{name} began and did not end in {many} {threads}"
            yield self.recording.lines(text, [job.begin for job in jobs])

    def _calls(self, stuck: list[_Stuck]) -> Iterator[Evidence]:
        """Yield the calls that wait for these jobs, if the log has them."""
        for dispatcher in islice(dict.fromkeys(each.job.dispatcher for each in stuck), _LISTED):
            found = self._dispatchers.find(dispatcher)
            for peer, call in islice(waiting_calls(self.recording, found), _LISTED):
                text = f"{peer.client} waits for {self._dispatchers.name(dispatcher)}"
                yield self.recording.messages(text, [call], peer=peer)


def _is_after(line: LogLine, begin: LogLine, end_number: int | None) -> bool:
    """Return whether a line is about the time of a job that had run for seconds; without times, whether it
    follows its begin."""
    if line.number < begin.number or (end_number is not None and line.number > end_number):
        return False
    return line.time_ns is None or begin.time_ns is None or line.time_ns - begin.time_ns >= _STUCK_NS


def _thread(job: WorkerJob) -> str:
    name = job.begin.details.get("name")
    return job.thread[1] + (f" ({name})" if name else "")


def _advice(stuck: _Stuck) -> tuple[str, ...]:
    name = stuck.job.begin.details.get("name", "")
    daemon = name.rpartition("rpc-")[2] if "rpc-" in name else stuck.job.begin.program or "libvirtd"
    return (
        f"see where the thread waits: gdb -p $(pidof {daemon}) -batch -ex 'thread apply all backtrace'",
        *((process_advice(stuck.job.domain),) if stuck.command is not None else ()),
        f"systemctl restart {daemon} frees its workers; domains continue to run",
    )
