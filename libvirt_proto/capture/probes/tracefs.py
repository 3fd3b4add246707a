"""tracefs: where it is, what a Plan does in it, and how all of it goes away again.

A group of events and an instance are named after the process that made them and the time at which it began,
so that what a killed one left behind is known. An instance of which someone reads cannot be removed, which
is the kernel's own lock. Sources: the kernel's ftrace and uprobetracer documents.
"""

from __future__ import annotations

import errno
import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from .errors import TraceError
from .loaded import threads
from .plan import Plan, Step

MOUNT_POINT: Final = Path("/sys/kernel/tracing")
PREFIX: Final = "libvirt_proto"
_OURS: Final = re.compile(rf"{PREFIX}_(\d+)_(\d+)")
_DEFINED: Final = re.compile(rf"^p:({PREFIX}_\d+_\d+)/(\w+) ", re.MULTILINE)
#: How often removing is tried while the kernel is still busy with an event, and seconds in between.
_TRIES: Final = 50
_PAUSE: Final = 0.02


def find() -> Path | None:
    """Where tracefs is mounted, if it is."""
    with suppress(OSError):
        for line in Path("/proc/mounts").read_text(errors="replace").splitlines():
            fields = line.split()
            if len(fields) > 2 and fields[2] == "tracefs" and "\\" not in fields[1]:
                return Path(fields[1])
    return None


def mount() -> Path:
    """Mount it where it belongs. Raises TraceError."""
    try:
        done = subprocess.run(  # noqa: S603 - nothing of it comes from outside
            ["mount", "-t", "tracefs", "tracefs", str(MOUNT_POINT)],  # noqa: S607 - where it is differs
            capture_output=True,
            text=True,
            errors="replace",
        )
    except OSError as error:
        raise TraceError(f"tracefs is not mounted, and mount cannot be run: {error.strerror}.") from None
    if done.returncode:
        said = " ".join(done.stderr.split()) or "mount fails"
        raise TraceError(
            f"tracefs cannot be mounted at {MOUNT_POINT} ({said}): is the kernel built with tracing"
            " (CONFIG_FTRACE), and may this system (a container?) use it?"
        )
    return MOUNT_POINT


def own_group() -> str:
    """The name of this process's group and instance."""
    pid = os.getpid()
    return f"{PREFIX}_{pid}_{_began(pid)}"


def _began(pid: int) -> int | None:
    """When a process began, in ticks since the system did; None if there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    return int(stat.rpartition(")")[2].split()[19])


@contextmanager
def armed(root: Path, plan: Plan) -> Iterator[Path]:
    """Does what is planned, and gives the instance's folder; at the end nothing of it is left. Raises
    TraceError."""
    if not (root / "uprobe_events").exists():
        raise TraceError("this kernel has no uprobe events (CONFIG_UPROBE_EVENTS); another kernel is needed.")
    try:
        for step in plan.steps():
            _do(root, step)
        instance = root / "instances" / plan.group
        _add_threads(instance, plan.pids)
        yield instance
    finally:
        _remove(root, plan.group)


def remove_leftovers(root: Path) -> list[str]:
    """Remove the groups and instances of processes that are no more; their names."""
    found = {match[1] for match in _DEFINED.finditer(_read(root / "uprobe_events"))}
    with suppress(OSError):
        found.update(os.listdir(root / "instances"))
    dead = []
    for name in sorted(found):
        match = _OURS.fullmatch(name)
        if match and _began(int(match[1])) != int(match[2]) and _remove(root, name):
            dead.append(name)
    return dead


def _do(root: Path, step: Step) -> None:
    path = root / step.path
    try:
        if step.text is None:
            path.mkdir()
        else:
            _write(path, step.text, append=step.append)
    except FileNotFoundError:
        # The events that tell of threads are not in every kernel: without them /proc has to do.
        if "/events/task/" not in step.path and "/events/sched/" not in step.path:
            raise TraceError(f"{path} is not there: this kernel's tracing is too old, or lacks it.") from None
    except OSError as error:
        what = f"{step.text!r} for " if step.text else ""
        hint = ""
        if error.errno in (errno.EPERM, errno.EACCES):
            hint = " (kernel lockdown and containers forbid it)"
        raise TraceError(f"the kernel does not take {what}{path}: {error.strerror}{hint}.") from None


def _add_threads(instance: Path, pids: tuple[int, ...]) -> None:
    """Those that began before the ones that made them were listed."""
    path = instance / "set_event_pid"
    while pids:
        known = set(map(int, path.read_text().split()))
        new = [str(thread) for pid in pids for thread in threads(pid) if thread not in known]
        if not new:
            return
        _write(path, " ".join(new), append=True)


def _write(path: Path, text: str, *, append: bool = False) -> None:
    """One write(2), for each is one command. An open file that is to be appended to must not be sought in."""
    file = os.open(path, os.O_WRONLY | (os.O_APPEND if append else os.O_TRUNC))
    try:
        os.write(file, text.encode(errors="surrogateescape"))
    finally:
        os.close(file)


def _remove(root: Path, group: str) -> bool:
    """Remove an instance and then its events; False if someone reads it. Nothing of it need be there."""
    instance = root / "instances" / group
    for _ in range(_TRIES):
        try:
            instance.rmdir()
        except FileNotFoundError:
            break
        except OSError as error:
            if error.errno != errno.EBUSY:
                return False
            time.sleep(_PAUSE)
        else:
            break
    else:
        return False
    events = [m[2] for m in _DEFINED.finditer(_read(root / "uprobe_events")) if m[1] == group]
    return sum(not _delete(root, f"{group}/{event}") for event in events) == 0


def _delete(root: Path, event: str) -> bool:
    for _ in range(_TRIES):
        try:
            _write(root / "uprobe_events", f"-:{event}", append=True)
        except FileNotFoundError:
            return True
        except OSError as error:
            if error.errno != errno.EBUSY:
                return False
            time.sleep(_PAUSE)
        else:
            return True
    return False


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
