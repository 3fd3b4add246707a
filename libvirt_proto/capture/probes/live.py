"""The records of an armed trace as they arrive, and the shared part of all readers."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

from ...events import Notice, NoticeCode
from ..objects import ObjectError
from .formats import FormatError, Value, Values, event_id
from .plan import Sides, UprobeEvent
from .provider import Meaning
from .ring import Buffer, Record
from .tasks import Endings, Process, Tasks

Made = TypeVar("Made")

#: An event gets its time before it enters the buffer; this many nanoseconds later it is there.
_SETTLED: Final = 20_000_000
_END: Final = 1 << 64
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
        formats: Mapping[str, RecordFormat],
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
            process = self._tasks.of(number_of(values["common_pid"]), values)
            if self._wanted.process(process):
                yield from self._fired(event, values, time_ns, process)
        except (FormatError, ObjectError) as error:
            yield Notice(NoticeCode.BAD_EVENT, f"event {name}: {error}", time_ns=time_ns)

    @abstractmethod
    def _fired(
        self, event: UprobeEvent, values: Values, time_ns: int, process: Process
    ) -> Iterator[Made | Notice]:
        """Yield the values of a probe's event. Raises FormatError, ObjectError."""

    def settled(self, time: int) -> Iterator[Made | Notice]:
        """Yield the values that waited for later records. All records before this time were read, on the
        trace's clock."""
        return iter(())

    def _ended(self, process: Process, time_ns: int) -> Iterator[Made | Notice]:
        """Yield the values that follow from the end of a process."""
        return iter(())


class RecordFormat(Protocol):
    """The format of one event. Its records begin with `id`."""

    @property
    def id(self) -> int:
        """The number."""

    def values(self, record: bytes) -> Values:
        """Return the fields of a record. Raises FormatError."""


class Source(NamedTuple):
    """An armed trace: the events and the formats of their records by name, the buffer, and a function after
    which no probe writes to it."""

    events: dict[str, UprobeEvent]
    formats: Mapping[str, RecordFormat]
    buffer: Buffer
    disarm: Callable[[], object]


def live(
    source: Source,
    reader: type[Reader[Made]],
    wanted: Selection,
    wait: Callable[[float], bool],
    idle: Callable[[], object],
    begin: Callable[[], object],
) -> Generator[Made | Notice]:
    """Yield a reader's values of an armed trace until `wait`, which is called with seconds, returns true, or
    all selected processes have ended. `idle` is called after each batch of records, `begin` once when the
    trace is ready."""
    buffer = source.buffer
    with Endings(wanted.pids) as endings:
        made = reader(source.events, source.formats, Tasks(), wanted, _offset())
        begin()
        lost, asked, ended = 0, time.monotonic(), False
        while not ended:
            before = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            taken = buffer.take(before - _SETTLED)
            for record in taken:
                yield from made.items(record)
            yield from made.settled(before - _SETTLED)
            idle()
            stopped = wait(0 if len(taken) > _BUSY else _PAUSE)
            ended = stopped or endings.complete()
            if ended:
                source.disarm()
                for record in buffer.rest():
                    yield from made.items(record)
                yield from made.settled(_END)
            if ended or time.monotonic() - asked > _STATISTICS:
                asked, count = time.monotonic(), buffer.lost()
                if count > lost:
                    yield _lost(count - lost, count)
                    lost = count
        if not stopped:
            yield _processes_ended(wanted.pids)


def _offset() -> int:
    return time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def _lost(count: int, total: int) -> Notice:
    text = (
        f"{count:,} events were lost ({total:,} in total): the buffer was full; enlarge it with --buffer KB,"
        " or leave out other processes with --pid"
    )
    return Notice(NoticeCode.LOST_EVENTS, text, time_ns=time.time_ns(), count=count)


def _processes_ended(pids: tuple[int, ...]) -> Notice:
    names = ", ".join(map(str, pids))
    text = f"process {names} has ended" if len(pids) == 1 else f"processes {names} have ended"
    return Notice(
        NoticeCode.PROCESS_ENDED, f"{text}, and the trace with it", time_ns=time.time_ns(), severity="note"
    )


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
