"""The records of an armed trace as they arrive, and the shared part of all readers."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Final, Generic, TypeVar

from ...events import Notice, NoticeCode
from ..objects import ObjectError
from .errors import TraceError
from .formats import Format, FormatError, Value, Values, event_id
from .plan import TASK_EVENTS, Plan, Sides, UprobeEvent
from .provider import Meaning
from .ring import Record, Ring
from .tasks import Process, Tasks

Made = TypeVar("Made")

#: An event gets its time before it enters the buffer; this many nanoseconds later it is there.
_SETTLED: Final = 20_000_000
#: Seconds between polls, unless a poll returned more than `_BUSY` events, and between checks for lost events.
_PAUSE: Final = 0.05
_BUSY: Final = 500
_STATISTICS: Final = 1.0


class Selection:
    """The processes and sides whose events are wanted."""

    def __init__(self, pids: tuple[int, ...], comms: tuple[str, ...], sides: Sides) -> None:
        self.pids: Final = pids
        self._comms = comms
        self.sides: Final = sides

    def process(self, process: Process) -> bool:
        """Return whether the events of a process are wanted."""
        return (not self.pids or process.pid in self.pids) and (
            not self._comms or process.comm in self._comms
        )


class Reader(ABC, Generic[Made]):
    """Converts records to values. `formats` are the formats of the events by name; `offset` is added to the
    trace's clock to get nanoseconds since the epoch."""

    def __init__(
        self,
        events: dict[str, UprobeEvent],
        formats: dict[str, Format],
        tasks: Tasks,
        wanted: Selection,
        offset: int,
    ) -> None:
        self._layouts = {format_.id: (name, format_) for name, format_ in formats.items()}
        self._events = events
        self._tasks = tasks
        self._wanted = wanted
        self._offset = offset

    def items(self, record: Record) -> Iterator[Made | Notice]:
        """Yield the values of a record."""
        layout = self._layouts.get(event_id(record.data))
        if layout is None:
            return
        name, format_ = layout
        time_ns = record.time + self._offset
        try:
            values = format_.values(record.data)
            event = self._events.get(name)
            if event is None:
                ended = self._tasks.event(name, values)
                if ended is not None:
                    yield from self._ended(ended, time_ns)
                return
            process = self._tasks.of(number_of(values["common_pid"]))
            if self._wanted.process(process):
                yield from self._fired(event, values, time_ns, process)
        except (FormatError, ObjectError) as error:
            yield Notice(NoticeCode.BAD_EVENT, f"event {name}: {error}", time_ns=time_ns)

    @abstractmethod
    def _fired(
        self, event: UprobeEvent, values: Values, time_ns: int, process: Process
    ) -> Iterator[Made | Notice]:
        """Yield the values of a probe's event. Raises FormatError, ObjectError."""

    def _ended(self, process: Process, time_ns: int) -> Iterator[Made | Notice]:
        """Yield the values that follow from the end of a process."""
        return iter(())


def live(
    instance: Path,
    plan: Plan,
    reader: type[Reader[Made]],
    wanted: Selection,
    wait: Callable[[float], bool],
    idle: Callable[[], object],
    begin: Callable[[], object],
) -> Generator[Made | Notice]:
    """Yield a reader's values of an armed trace until `wait`, which is called with seconds, returns true.
    `idle` is called after each batch of records, `begin` once when the trace is ready. Raises TraceError."""
    ring = Ring(instance)
    try:
        events = {event.name: event for event in plan.events}
        made = reader(events, _formats(instance, plan), Tasks(), wanted, _offset())
        begin()
        lost, asked, ended = 0, time.monotonic(), False
        while not ended:
            before = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            taken = ring.take(before - _SETTLED)
            for record in taken:
                yield from made.items(record)
            idle()
            ended = wait(0 if len(taken) > _BUSY else _PAUSE)
            if ended:
                (instance / "events" / plan.group / "enable").write_text("0")
                for record in ring.rest():
                    yield from made.items(record)
            if ended or time.monotonic() - asked > _STATISTICS:
                asked, count = time.monotonic(), ring.lost()
                if count > lost:
                    yield _lost(count - lost, count)
                    lost = count
    finally:
        ring.close()


def _formats(instance: Path, plan: Plan) -> dict[str, Format]:
    names = [*(f"{plan.group}/{event.name}" for event in plan.events), *TASK_EVENTS]
    files = {name.partition("/")[2]: instance / "events" / name / "format" for name in names}
    try:
        return {name: Format(file.read_text()) for name, file in files.items() if file.exists()}
    except FormatError as error:
        raise TraceError(f"the format files of this kernel's events cannot be parsed: {error}") from None


def _offset() -> int:
    return time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def _lost(count: int, total: int) -> Notice:
    text = (
        f"{count:,} events were lost ({total:,} in total): the buffer was full; enlarge it with --buffer KB,"
        " or leave out other processes with --pid"
    )
    return Notice(NoticeCode.LOST_EVENTS, text, time_ns=time.time_ns(), count=count)


def bytes_of(value: Value) -> bytes:
    """Return a field that has bytes. Raises FormatError."""
    if not isinstance(value, bytes):
        raise FormatError("expected bytes, got a number")
    return value


def number_of(value: Value) -> int:
    """Return a field that has a number. Raises FormatError."""
    if not isinstance(value, int):
        raise FormatError("expected a number, got text")
    return value


def text_of(value: Value, meaning: Meaning) -> str:
    """Return an argument as libvirt's log writes it."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    match meaning:
        case "object":
            return f"{value & 0xFFFFFFFFFFFFFFFF:#x}"
        case "signed":
            low = value & 0xFFFFFFFF
            return str(low - (low >> 31 << 32))
        case "unsigned":
            return str(value & 0xFFFFFFFF)
        case "text" | "line":  # a constant has no text
            return ""
