"""The records of an armed trace, as they come, and what all readers of them do alike."""

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

#: An event has its time before it is in the buffer: this much later, in nanoseconds, it surely is.
_SETTLED: Final = 20_000_000
#: Seconds between looking for events, unless there are more than so many, and between asking how many were
#: lost.
_PAUSE: Final = 0.05
_BUSY: Final = 500
_STATISTICS: Final = 1.0


class Selection:
    """Whose events are wanted."""

    def __init__(self, pids: tuple[int, ...], comms: tuple[str, ...], sides: Sides) -> None:
        self.pids: Final = pids
        self._comms = comms
        self.sides: Final = sides

    def process(self, process: Process) -> bool:
        """Whether what a process does is wanted."""
        return (not self.pids or process.pid in self.pids) and (
            not self._comms or process.comm in self._comms
        )


class Reader(ABC, Generic[Made]):
    """Makes values of records. `formats` are the layouts of the events, by their names; `offset` is what the
    trace's clock lacks to nanoseconds since the epoch."""

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
        """What a record says."""
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
        """What an event of a probe's says. Raises FormatError, ObjectError."""

    def _ended(self, process: Process, time_ns: int) -> Iterator[Made | Notice]:
        """What the end of a process means."""
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
    """What a reader makes of an armed trace until `wait`, which is given seconds, says that it is to end.
    `idle` is called when what was there is taken, `begin` once when all is ready. Raises TraceError."""
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
        raise TraceError(
            f"this kernel describes its events in a way that is not understood: {error}."
        ) from None


def _offset() -> int:
    return time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def _lost(count: int, total: int) -> Notice:
    text = (
        f"{count:,} events were lost ({total:,} in all): the buffer was full; --buffer KB makes it larger,"
        " --pid leaves out other processes"
    )
    return Notice(NoticeCode.LOST_EVENTS, text, time_ns=time.time_ns())


def bytes_of(value: Value) -> bytes:
    """A field that has bytes. Raises FormatError."""
    if not isinstance(value, bytes):
        raise FormatError("it has a number where bytes should be")
    return value


def number_of(value: Value) -> int:
    """A field that has a number. Raises FormatError."""
    if not isinstance(value, int):
        raise FormatError("it has text where a number should be")
    return value


def text_of(value: Value, meaning: Meaning) -> str:
    """An argument, as libvirt's log has it."""
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
        case "text" | "line":  # a constant: there is none
            return ""
