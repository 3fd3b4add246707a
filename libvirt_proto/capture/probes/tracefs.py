"""tracefs: find and mount it, execute a Plan in it, and remove everything afterwards.

A group of events and an instance are named after the process that created them and its start time, so that
leftovers of a killed process are recognised. An instance with a reader cannot be removed, which is the
kernel's own lock. Sources: the kernel's ftrace and uprobetracer documents.
"""

from __future__ import annotations

import errno
import os
import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from ...errors import reason
from .errors import TraceError
from .formats import Format, FormatError
from .live import Source
from .loaded import Binary, threads
from .plan import TASK_EVENTS, Plan, Step, UprobeEvent
from .ring import TracefsRing

_MOUNTS: Final = Path("/proc/self/mountinfo")
#: PROC_PID_INIT_INO of the kernel's proc_ns.h.
_INITIAL_PID_NAMESPACE: Final = "pid:[4026531836]"
MOUNT_POINT: Final = Path("/sys/kernel/tracing")
PREFIX: Final = "libvirt_proto"
_OURS: Final = re.compile(rf"{PREFIX}_(\d+)_(\d+)")
_DEFINED: Final = re.compile(rf"^p:({PREFIX}_\d+_\d+)/(\w+) ", re.MULTILINE)
#: Number of attempts to remove an event that the kernel is still using, and seconds between them.
_TRIES: Final = 50
_PAUSE: Final = 0.02


class Rejection(NamedTuple):
    """An event that the kernel rejects."""

    event: UprobeEvent
    reason: str


def find() -> Path | None:
    """Return the mount point of tracefs, if it is mounted."""
    with suppress(OSError):
        for device, path in _mounts(_MOUNTS.read_bytes()):
            with suppress(OSError):
                # Another mount may cover it, which has another device.
                if os.stat(path).st_dev == device:
                    return path
    return None


def _mounts(table: bytes) -> Iterator[tuple[int, Path]]:
    """Yield device and mount point of each tracefs in mountinfo. Only spaces separate its fields: users
    choose some of them, in which the kernel escapes spaces, newlines and backslashes, and nothing else."""
    for line in table.split(b"\n"):
        fields = line.split(b" ")
        kind = fields.index(b"-", 6) + 1 if b"-" in fields[6:] else len(fields)
        if fields[kind : kind + 1] == [b"tracefs"] and fields[3] == b"/":
            major, _, minor = fields[2].partition(b":")
            place = re.sub(rb"\\([0-7]{3})", lambda match: bytes([int(match[1], 8)]), fields[4])
            yield os.makedev(int(major), int(minor)), Path(os.fsdecode(place))


def mount() -> Path:
    """Mount tracefs at its usual place. Raises TraceError."""
    try:
        done = subprocess.run(  # noqa: S603 - nothing of it comes from outside
            ["mount", "-t", "tracefs", "tracefs", str(MOUNT_POINT)],  # noqa: S607 - where it is differs
            capture_output=True,
            text=True,
            errors="replace",
        )
    except OSError as error:
        raise TraceError(f"tracefs is not mounted, and mount cannot be run: {reason(error)}") from None
    if done.returncode:
        said = " ".join(done.stderr.split()) or "mount fails"
        raise TraceError(
            f"tracefs cannot be mounted at {MOUNT_POINT} ({said}): is the kernel built with tracing"
            " (CONFIG_FTRACE), and may this system (a container?) use it?"
        )
    return MOUNT_POINT


def own_group() -> str:
    """Return the name of this process's group and instance."""
    pid = os.getpid()
    return f"{PREFIX}_{pid}_{_began(pid)}"


def _began(pid: int) -> int | None:
    """Return the start time of a process, in ticks since boot; None if it does not exist."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    return int(stat.rpartition(")")[2].split()[19])


def check_pid_namespace() -> None:
    """Raise TraceError in a PID namespace: the kernel's events have the process ids of the initial one."""
    with suppress(OSError):
        if os.readlink("/proc/self/ns/pid") != _INITIAL_PID_NAMESPACE:
            raise TraceError(
                "this is a container with its own process ids (a PID namespace), and the kernel reports those"
                " of the host: run this on the host, where it also traces containers"
            )


@contextmanager
def armed(root: Path, plan: Plan) -> Iterator[tuple[Source, list[Rejection]]]:
    """Execute the plan; yield the source of its records, and the events that the kernel rejects. The files of
    the plan must be open. At the end, everything is removed from tracefs. Raises TraceError, also if no
    event is left."""
    if not (root / "uprobe_events").exists():
        raise TraceError("this kernel has no uprobe events (CONFIG_UPROBE_EVENTS); another kernel is needed")
    try:
        for step in plan.preparations():
            _do(root, step)
        defined, rejected = _define(root, plan)
        failed = _enable(root, plan, defined)
        rejected += failed
        if len(failed) == len(defined):
            raise TraceError(nothing_left(rejected))
        instance = root / plan.instance
        _add_threads(instance, plan.pids)
        ring = TracefsRing(instance)
        try:
            disarm = partial(_write, instance / "events" / plan.group / "enable", "0")
            events = {event.name: event for event in plan.events}
            yield Source(events, _formats(instance, plan), ring, disarm), rejected
        finally:
            ring.close()
    finally:
        _remove(root, plan.group, [event.name for _, events in plan.files for event in events])


def _formats(instance: Path, plan: Plan) -> dict[str, Format]:
    names = [*(f"{plan.group}/{event.name}" for event in plan.events), *TASK_EVENTS]
    files = {name.partition("/")[2]: instance / "events" / name / "format" for name in names}
    try:
        return {name: Format(file.read_text()) for name, file in files.items() if file.exists()}
    except FormatError as error:
        raise TraceError(f"the format files of this kernel's events cannot be parsed: {error}") from None


def _define(root: Path, plan: Plan) -> tuple[list[UprobeEvent], list[Rejection]]:
    """Define the events of each file; return those defined, and those that the kernel rejects."""
    defined: list[UprobeEvent] = []
    rejected = []
    known: list[tuple[Binary, list[str]]] = []
    for binary, events in plan.files:
        places = [event.definition for event in events]
        alike = [other for other, its_places in known if its_places == places]
        if any(is_same_file(root, plan.group, binary, other) for other in alike):
            continue
        known.append((binary, places))
        for event in events:
            try:
                _set(root, plan, event, binary)
            except OSError as error:
                rejected.append(Rejection(event, rejection_reason(error)))
            else:
                defined.append(event)
    return defined, rejected


def _set(root: Path, plan: Plan, event: UprobeEvent, binary: Binary) -> None:
    """Define an event, and set its filter. Raises OSError, and then leaves it undefined."""
    define, *conditions = plan.definition(event, binary.kernel_path)
    _write(root / define.path, define.text or "", append=True)
    try:
        for step in conditions:
            _write(root / step.path, step.text or "")
    except OSError:
        _delete(root, f"{plan.group}/{event.name}")
        raise


def is_same_file(root: Path, group: str, one: Binary, other: Binary) -> bool:
    """Compare two open files as the kernel does, which would report everything twice if they are one: the
    overlays of two containers show a file of their image as two. The kernel rejects a second place of an
    event that is the same as the first."""
    events = root / "uprobe_events"
    try:
        _write(events, f"p:{group}/same {one.kernel_path}:0x0", append=True)
        _write(events, f"p:{group}/same {other.kernel_path}:0x0", append=True)
    except FileExistsError:
        return True
    except OSError:
        return False
    finally:
        _delete(root, f"{group}/same")
    return False


def _enable(root: Path, plan: Plan, defined: list[UprobeEvent]) -> list[Rejection]:
    """Enable the defined events; return those that the kernel rejects at this point."""
    *others, last = plan.enabling()
    for step in others:
        _do(root, step)
    if not defined:
        return []
    with suppress(OSError):
        _write(root / last.path, last.text or "")
        return []
    # An event that cannot be enabled does not prevent the others.
    folder = root / plan.instance / "events" / plan.group
    return [
        Rejection(event, reason)
        for event in defined
        if (reason := _enabling_error(folder / event.name / "enable"))
    ]


def _enabling_error(file: Path) -> str:
    """Return the reason why an event cannot be enabled; "" if it can."""
    try:
        if file.read_text().strip() != "1":
            _write(file, "1")
    except OSError as error:
        return rejection_reason(error)
    return ""


def nothing_left(rejected: list[Rejection]) -> str:
    """Return why no event is left."""
    if not rejected:
        return "none of the probes can be used in this trace (list them with --probes)."
    event, reason = rejected[0]
    return f"the kernel rejects all probes, such as {event.kind} of {event.binary}: {reason}."


def rejection_reason(error: OSError) -> str:
    """Return the kernel's reason, with an explanation of a missing permission."""
    hint = " (kernel lockdown and containers forbid it)" if error.errno in (errno.EPERM, errno.EACCES) else ""
    return f"{reason(error)}{hint}"


def remove_leftovers(root: Path) -> list[str]:
    """Remove the groups and instances of processes that have ended, and return their names."""
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
        # Not every kernel has the events about threads: without them, /proc must do.
        if "/events/task/" not in step.path and "/events/sched/" not in step.path:
            raise TraceError(
                f"{path} does not exist: this kernel's tracing is too old, or disabled"
            ) from None
    except OSError as error:
        what = f"{step.text!r} for " if step.text else ""
        raise TraceError(f"the kernel rejects {what}{path}: {rejection_reason(error)}") from None


def _add_threads(instance: Path, pids: tuple[int, ...]) -> None:
    """Add threads that were created before their creators were listed."""
    path = instance / "set_event_pid"
    while pids:
        known = set(map(int, path.read_text().split()))
        new = [str(thread) for pid in pids for thread in threads(pid) if thread not in known]
        if not new:
            return
        _write(path, " ".join(new), append=True)


def _write(path: Path, text: str, *, append: bool = False) -> None:
    """Use one write(2), since each is one command. A file opened for appending must not be seeked."""
    file = os.open(path, os.O_WRONLY | (os.O_APPEND if append else os.O_TRUNC))
    try:
        os.write(file, text.encode(errors="surrogateescape"))
    finally:
        os.close(file)


def _remove(root: Path, group: str, names: Sequence[str] = ()) -> bool:
    """Remove an instance and then its events, whether or not they exist; return False if it has a reader.

    The kernel serves the list of events in pages, without a lock between two reads: while another trace
    removes its own events, a listing may lack some of ours. So known `names` are removed without it, and
    listings are repeated until two in a row have no more of them.
    """
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
    left, removed = list(names), set[str]()
    complete, done = 0, True
    while complete < 2:
        for name in left:
            done = _delete(root, f"{group}/{name}") and done
        removed.update(left)
        listed = (match for match in _DEFINED.finditer(_read(root / "uprobe_events")) if match[1] == group)
        left = [match[2] for match in listed if match[2] not in removed]
        complete = 0 if left else complete + 1
    return done


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
