"""The process of each thread: from /proc at the start, then from the kernel's events.

The events have only thread ids, and a short-lived process may have ended when its events are read. Memory is
bounded by the kernel's maximum number of threads.
"""

from __future__ import annotations

import os
import select
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Final

from .formats import Value
from .loaded import comm, processes, threads

_CLONE_THREAD: Final = 0x10000


class Process:
    """A process: its id and its name."""

    def __init__(self, pid: int, comm: str) -> None:
        self.pid = pid
        self.comm = comm

    def __str__(self) -> str:
        return f"{self.comm}[{self.pid}]"


class Tasks:
    """The processes of all threads. Starts with those running now; if the kernel's events are already
    enabled, no thread is missed."""

    def __init__(self) -> None:
        self._processes: dict[int, Process] = {}
        for pid in processes():
            process = Process(pid, comm(pid))
            for thread in threads(pid):
                self._processes[thread] = process

    def of(self, thread: int, values: Mapping[str, Value] | None = None) -> Process:
        """Return the process of a thread. A record may give its process and the name of the thread. Otherwise
        a thread without an event (it was lost) is looked up in /proc."""
        if values and (pid := _number(values, "process")):
            process = self._processes.get(pid)
            name = _text(values, "comm")
            if process is None:
                process = self._processes[pid] = Process(pid, name if thread == pid else comm(pid) or name)
            elif thread == pid:
                process.comm = name
            return process
        process = self._processes.get(thread)
        if process is None:
            pid = _process_id(thread)
            process = self._processes.get(pid) or Process(pid, comm(pid))
            self._processes[thread] = self._processes[pid] = process
        return process

    def event(self, name: str, values: Mapping[str, Value]) -> Process | None:
        """Process a kernel event about threads; return the process whose memory it frees, if any. A record
        without the event's own fields is of the current thread."""
        thread = _number(values, "pid") or _number(values, "common_pid")
        if name == "task_newtask":
            if _number(values, "clone_flags") & _CLONE_THREAD:
                self._processes[thread] = self.of(_number(values, "common_pid"))
            else:
                self._processes[thread] = Process(thread, _text(values, "comm"))
            return None
        if name == "sched_process_exec":
            # The calling thread is the only one that remains; it gets the id of the process.
            remaining = self._processes.pop(_number(values, "old_pid"), None) or self.of(thread, values)
            self._processes[thread] = remaining
            return remaining
        process = self._processes.get(thread) or self._processes.get(_number(values, "process"))
        if process is None:
            return None
        if name == "task_rename":
            if thread == process.pid:
                process.comm = _text(values, "newcomm")
            return None
        # The first thread may end before others, one of which may then run another program in its place. Old
        # kernels do not report whether a thread is the last one.
        if thread != process.pid:
            self._processes.pop(thread, None)
        if not values.get("group_dead", thread == process.pid):
            return None
        self._processes.pop(process.pid, None)
        return process


class Endings:
    """Observes whether processes have ended, as a context manager. Old kernels (before Linux 5.3) do not
    report it."""

    def __init__(self, pids: tuple[int, ...]) -> None:
        self._poll = select.poll()
        self._files = ExitStack()
        self._running = set[int]()
        self._ends = bool(pids)
        for pid in pids:
            try:
                file = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
            except OSError:
                self._ends = False
                continue
            self._files.callback(os.close, file)
            self._poll.register(file, select.POLLIN)
            self._running.add(file)

    def complete(self) -> bool:
        """Return whether all processes have ended; False without any."""
        if self._ends:
            for file, _ in self._poll.poll(0):
                self._poll.unregister(file)
                self._running.discard(file)
        return self._ends and not self._running

    def __enter__(self) -> Endings:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._files.close()


def _process_id(thread: int) -> int:
    with suppress(OSError, ValueError):
        for line in Path(f"/proc/{thread}/status").read_text(errors="replace").splitlines():
            if line.startswith("Tgid:"):
                return int(line[5:])
    return thread


def _number(values: Mapping[str, Value], name: str) -> int:
    value = values.get(name, 0)
    return value if isinstance(value, int) else 0


def _text(values: Mapping[str, Value], name: str) -> str:
    value = values.get(name, b"")
    return value.split(b"\0")[0].decode("utf-8", "backslashreplace") if isinstance(value, bytes) else ""
