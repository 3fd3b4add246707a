"""Jobs of a daemon's worker threads, from the debug lines of virthreadjob.c."""

from __future__ import annotations

from typing import Final

from ..bounded import BoundedDict
from ..events import LogLine

#: Maximum number of threads whose jobs are tracked: far more than max_workers of any daemon.
MAX_THREADS: Final = 4096
#: A process, empty if unknown, and the number of a thread.
Thread = tuple[str, str]


#: Words in names of procedures that begin an asynchronous job of a domain; it may outlast the call.
_ASYNCHRONOUS: Final = frozenset(
    ("migrate", "save", "restore", "dump", "snapshot", "backup", "create", "start", "revert")
)
#: Words in names of procedures that only read.
READING: Final = frozenset(("get", "stats", "list"))


def may_last(procedure: str) -> bool:
    """Return whether a procedure begins an asynchronous job of a domain, which is expected to take long."""
    words = procedure.split("_")
    return words[0] == "domain" and not _ASYNCHRONOUS.isdisjoint(words) and READING.isdisjoint(words)


class WorkerJob:
    """A job, from its begin to its end: None while it runs. `domain` is the one whose job it wanted, and
    `monitor` the one to which it sent a command, None if unknown."""

    __slots__ = ("begin", "dispatcher", "domain", "end", "monitor", "thread")

    def __init__(self, dispatcher: str, thread: Thread, begin: LogLine) -> None:
        #: The function that the worker runs.
        self.dispatcher = dispatcher
        self.thread = thread
        self.begin = begin
        self.end: LogLine | None = None
        self.monitor: str | None = None
        self.domain: str | None = None

    @property
    def duration_ns(self) -> int | None:
        """The time from its begin to its end; None if one of them is unknown."""
        start_ns = self.begin.time_ns
        if self.end is None or start_ns is None or self.end.time_ns is None:
            return None
        return self.end.time_ns - start_ns


class WorkerJobs:
    """The jobs that run. A thread that begins another job has finished the one before it, even if the log
    lacks that line."""

    def __init__(self) -> None:
        self._running: BoundedDict[Thread, WorkerJob] = BoundedDict(MAX_THREADS)

    def add(self, line: LogLine) -> WorkerJob | None:
        """Add a line, and return the job that it begins or ends; None for other lines, and for an end
        without a begin.

        A thread other than a worker "runs" a job with its own name (`udev-event`), possibly forever; only
        dispatchers are jobs of clients.
        """
        if line.kind == "job-wanted":
            wanting = self.of(line.process, line.thread)
            if wanting is not None:
                wanting.domain = line.details.get("domain")
        if line.kind not in ("job-begin", "job-end"):
            return None
        key = line.process, line.details.get("thread", line.thread or "")
        dispatcher = line.details.get("job", "")
        if "Dispatch" not in dispatcher:
            return None
        job = self._running.pop(key, None)
        if line.kind == "job-begin":
            job = WorkerJob(dispatcher, key, line)
            self._running.put(key, job)
        elif job is not None and job.dispatcher == dispatcher:
            job.end = line
        else:
            return None
        return job

    def of(self, process: str, thread: str | None) -> WorkerJob | None:
        """Return the job that a thread runs."""
        return None if thread is None else self._running.get((process, thread))

    def running(self) -> list[WorkerJob]:
        """Return all jobs that run, in the order of their begins."""
        return list(self._running.values())

    def restarted(self, program: str) -> list[WorkerJob]:
        """Forget the jobs of a program that was started again, and return them. Without a name, all lines
        are those of one program."""
        ended = {key: job for key, job in self._running.items() if job.begin.program == program}
        for key in ended:
            del self._running[key]
        return list(ended.values())
