"""Which process a thread is of: as it was at the beginning, and as the kernel's events tell from then on.

The events name threads alone, and a short-lived process may have gone when its events are read. Memory is
bounded by the number of threads that the kernel lets be at a time.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Final

from .formats import Value
from .loaded import comm, processes, threads

_CLONE_THREAD: Final = 0x10000


class Process:
    """A process: its id and what it is called."""

    def __init__(self, pid: int, comm: str) -> None:
        self.pid = pid
        self.comm = comm

    def __str__(self) -> str:
        return f"{self.comm}[{self.pid}]"


class Tasks:
    """Begins with what runs now: when the kernel's events are on already, no thread is missed."""

    def __init__(self) -> None:
        self._processes: dict[int, Process] = {}
        for pid in processes():
            process = Process(pid, comm(pid))
            for thread in threads(pid):
                self._processes[thread] = process

    def of(self, thread: int) -> Process:
        """The process of a thread. One of which no event has told (it was lost) is looked for."""
        process = self._processes.get(thread)
        if process is None:
            pid = _process_id(thread)
            process = self._processes.get(pid) or Process(pid, comm(pid))
            self._processes[thread] = self._processes[pid] = process
        return process

    def event(self, name: str, values: dict[str, Value]) -> Process | None:
        """Follow one of the kernel's events about threads; return the process whose memory is gone after it,
        if there is one."""
        thread = _number(values, "pid")
        if name == "task_newtask":
            if _number(values, "clone_flags") & _CLONE_THREAD:
                self._processes[thread] = self.of(_number(values, "common_pid"))
            else:
                self._processes[thread] = Process(thread, _text(values, "comm"))
            return None
        if name == "sched_process_exec":
            # The thread that does it is the only one that remains; it gets the number of the process.
            remaining = self._processes.pop(_number(values, "old_pid"), None) or self.of(thread)
            self._processes[thread] = remaining
            return remaining
        process = self._processes.get(thread)
        if process is None:
            return None
        if name == "task_rename":
            if thread == process.pid:
                process.comm = _text(values, "newcomm")
            return None
        # The first thread may end before others, one of which may then run another program in its place. Old
        # kernels do not report whether a thread is the last one.
        if thread != process.pid:
            del self._processes[thread]
        if not values.get("group_dead", thread == process.pid):
            return None
        self._processes.pop(process.pid, None)
        return process


def _process_id(thread: int) -> int:
    with suppress(OSError, ValueError):
        for line in Path(f"/proc/{thread}/status").read_text(errors="replace").splitlines():
            if line.startswith("Tgid:"):
                return int(line[5:])
    return thread


def _number(values: dict[str, Value], name: str) -> int:
    value = values.get(name, 0)
    return value if isinstance(value, int) else 0


def _text(values: dict[str, Value], name: str) -> str:
    value = values.get(name, b"")
    return value.split(b"\0")[0].decode("utf-8", "backslashreplace") if isinstance(value, bytes) else ""
