"""Arm a trace by BPF: a program for each place of a probe, which copies whole messages into a ring buffer.

Programs, probes and buffer exist as long as their descriptors: the kernel removes them however this process
ends. Nothing is written to tracefs. Requires Linux 5.8 (the ring buffer).
"""

from __future__ import annotations

import mmap
import os
import resource
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Final, NamedTuple

from . import bpf_calls, tracefs
from .bpf_calls import Kind
from .bpf_programs import ProgramWriter, RecordLayout
from .bpf_ring import BpfRing
from .errors import TraceError
from .live import Source
from .loaded import Binary
from .plan import Probe, Sides, UprobeEvent, event_of, wanted
from .provider import Subject
from .tracefs import Rejection, rejection_reason

#: The default maximum of bytes of a message, which is whole up to this length.
LIMIT: Final = 1 << 16
#: The ring buffer holds at least this number of the longest messages.
_LONGEST: Final = 4


class BpfError(TraceError):
    """A kernel that does not run the programs of a trace."""


class BpfPlan(NamedTuple):
    """The events of a trace by file, each with its probe, and the bytes of the ring buffer, a power of 2.
    With `pids`, programs leave out other processes."""

    files: tuple[tuple[Binary, tuple[tuple[Probe, UprobeEvent], ...]], ...]
    size: int
    pids: tuple[int, ...]


def plan(
    found: Iterable[Probe],
    buffer: int,
    subject: Subject = "rpc",
    sides: Sides = "both",
    pids: tuple[int, ...] = (),
    limit: int = 0,
) -> BpfPlan:
    """Plan the events of all usable probes of a subject, for one side or both, with at most `limit` bytes of
    a message, and a buffer of at least this many KiB per CPU."""
    files: dict[Binary, list[tuple[Probe, UprobeEvent]]] = {}
    for number, kind, probe in wanted(found, subject, sides):
        has_bytes = probe.carries_bytes or probe.line is not None
        event = event_of(probe, kind, number)._replace(arrays=int(has_bytes), limit=limit)
        files.setdefault(probe.binary, []).append((probe, event))
    size = max((buffer << 10) * (os.cpu_count() or 1), _LONGEST * limit)
    whole = tuple((binary, tuple(events)) for binary, events in files.items())
    return BpfPlan(whole, 1 << (size - 1).bit_length(), pids)


def problem() -> str | None:
    """Return why this kernel does not run the programs of a trace; None if it does. Nothing stays."""
    try:
        with _base(mmap.PAGESIZE, ()):
            return None
    except BpfError as error:
        return str(error)


class _Base(NamedTuple):
    """The maps of all programs, and the layouts of the records of the kernel's own events."""

    type: int
    ring: int
    counter: int
    writer: ProgramWriter
    layouts: dict[str, RecordLayout]


@contextmanager
def _base(size: int, pids: tuple[int, ...]) -> Iterator[_Base]:
    """Create the maps, and attach the programs for the ends of processes. Raises BpfError."""
    with ExitStack() as files:
        try:
            type_ = bpf_calls.uprobe_type()
            ring = _ring(files, size)
            counter = _kept(files, bpf_calls.counter())
            writer = ProgramWriter(os.uname().machine, ring, counter, pids)
            base = _Base(type_, ring, counter, writer, _attach_tasks(files, writer))
        except OSError as error:
            raise BpfError(f"the kernel runs no BPF programs for traces: {rejection_reason(error)}") from None
        yield base


@contextmanager
def armed(plan: BpfPlan) -> Iterator[tuple[Source, list[Rejection]]]:
    """Set the probes of a plan; yield the source of their records, and the events that the kernel rejects.
    The files of the plan must be open. Raises BpfError, also if no event is left."""
    with _base(plan.size, plan.pids) as base, ExitStack() as files, ExitStack() as probes:
        layouts = dict(base.layouts)
        rejected = []
        for binary, events in _distinct(plan.files):
            for probe, event in events:
                code, layout = base.writer.probe(len(layouts) + 1, probe, event)
                place = binary.kernel_path, probe.site.offset, probe.site.semaphore
                try:
                    with _program(Kind.PROBE, code, event.name) as program:
                        _kept(probes, bpf_calls.attach_probe(base.type, *place, program))
                except OSError as error:
                    rejected.append(Rejection(event, rejection_reason(error)))
                else:
                    layouts[event.name] = layout
        events_ = {event.name: event for _, events in plan.files for _, event in events}
        if not events_.keys() & layouts.keys():
            raise BpfError(tracefs.nothing_left(rejected))
        buffer = BpfRing(base.ring, plan.size, base.counter)
        files.callback(buffer.close)
        yield Source(events_, layouts, buffer, probes.close), rejected


def _ring(files: ExitStack, size: int) -> int:
    try:
        return _kept(files, bpf_calls.ring(size))
    except PermissionError:
        # Before Linux 5.11, a limit of this process applies to the memory of maps.
        unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_MEMLOCK, unlimited)
        return _kept(files, bpf_calls.ring(size))


def _attach_tasks(files: ExitStack, writer: ProgramWriter) -> dict[str, RecordLayout]:
    """Attach the programs for threads that end or run another program; return their layouts by name."""
    layouts: dict[str, RecordLayout] = {}
    # Ids begin with 1.
    _attach_task(files, "sched_process_exec", *writer.task(1), layouts)
    try:
        _attach_task(files, "sched_process_exit", *writer.task(2, group_dead=True), layouts)
    except OSError:  # before Linux 6.16 it has one argument
        _attach_task(files, "sched_process_exit", *writer.task(2), layouts)
    return layouts


def _attach_task(
    files: ExitStack, name: str, code: bytes, layout: RecordLayout, layouts: dict[str, RecordLayout]
) -> None:
    with _program(Kind.RAW_TRACEPOINT, code, name) as program:
        _kept(files, bpf_calls.attach_tracepoint(name, program))
    layouts[name] = layout


@contextmanager
def _program(kind: Kind, code: bytes, name: str) -> Iterator[int]:
    """Load a program, which stays as long as it is attached. Raises OSError."""
    program = bpf_calls.load(kind, code, name)
    try:
        yield program
    finally:
        os.close(program)


def _kept(files: ExitStack, descriptor: int) -> int:
    files.callback(os.close, descriptor)
    return descriptor


def _distinct(
    files: Sequence[tuple[Binary, tuple[tuple[Probe, UprobeEvent], ...]]],
) -> Iterator[tuple[Binary, tuple[tuple[Probe, UprobeEvent], ...]]]:
    """Yield each file once: the kernel may know two files as one, and would report everything twice."""
    known: list[tuple[Binary, list[str]]] = []
    for binary, events in files:
        places = [event.definition for _, event in events]
        alike = [other for other, its_places in known if its_places == places]
        root = tracefs.find() if alike else None
        if root is None or not any(
            tracefs.is_same_file(root, tracefs.own_group(), binary, other) for other in alike
        ):
            known.append((binary, places))
            yield binary, events
