"""Records of a trace's events to Items: a message is one Chunk, all else is an event of its connection.

The bytes of a message are believed only if they are what the probe's own arguments say: length word and
header. Then those up to its length are taken, and no others: what is behind belongs to the process. What an
event has no room for is `cut`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Final

from ...limits import MAX_FRAME, MIN_FRAME
from ..chunk import ConnectionEvent, Item, Notice
from ..objects import FIELDS, MESSAGES, ObjectError, Objects, header
from .errors import TraceError
from .formats import Format, FormatError, Value, event_id
from .plan import TASK_EVENTS, Event, Plan, Sides
from .provider import PROBES, Meaning
from .ring import Record, Ring
from .tasks import Process, Tasks

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

    def item(self, item: Item) -> bool:
        """With one side alone, what may be the other's is left out: events that belong to no connection."""
        return self.sides == "both" or not isinstance(item, ConnectionEvent) or item.connection is not None


class Reader:
    """Makes Items of records. `formats` are the layouts of the events, by their names; `offset` is what the
    trace's clock lacks to nanoseconds since the epoch."""

    def __init__(
        self,
        events: dict[str, Event],
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
        self._objects = Objects("probe", lambda pid, address: f"{tasks.of(int(pid))}:{address}")
        #: Files of which it was said that messages cannot be read.
        self._unreadable: set[str] = set()

    def items(self, record: Record) -> Iterator[Item]:
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
                    yield from self._objects.ended(str(ended.pid), time_ns)
                return
            process = self._tasks.of(_number(values["common_pid"]))
            if self._wanted.process(process):
                found = self._message if event.kind in MESSAGES else self._event
                yield from filter(self._wanted.item, found(event, values, time_ns, process))
        except (FormatError, ObjectError) as error:
            yield Notice("bad-event", f"event {name}: {error}", time_ns=time_ns)

    def _message(
        self, event: Event, values: dict[str, Value], time_ns: int, process: Process
    ) -> Iterator[Item]:
        length = _number(values["len"]) & 0xFFFFFFFFFFFFFFFF
        if length == 0:  # libvirt's own dummies; they never reach the wire
            return
        if not MIN_FRAME <= length <= MAX_FRAME:
            raise FormatError(f"it has len={length}, which no message can have")
        data = header(length, {field: _number(values[field]) for field in FIELDS})
        if event.arrays:
            seen = b"".join(_bytes(values[f"p{index}"]) for index in range(event.arrays))
            if seen.startswith(data):
                data = seen[:length]
            elif event.binary not in self._unreadable:
                self._unreadable.add(event.binary)
                text = (
                    f"{event.binary}: the bytes of messages are not where they are expected in this build of"
                    " libvirt: messages have headers alone"
                )
                yield Notice("no-payloads", text, time_ns=time_ns, severity="note")
        client = _text(values["client"], "object")
        yield from self._objects.message(event.kind, time_ns, str(process.pid), client, data, length)

    def _event(
        self, event: Event, values: dict[str, Value], time_ns: int, process: Process
    ) -> Iterator[Item]:
        words = {a.name: _text(values[a.name], a.meaning) for a in PROBES[event.kind]}
        thread = str(values["common_pid"])
        details = (("process", str(process)), ("thread", thread), *words.items())
        yield from self._objects.event(event.kind, time_ns, str(process.pid), words, details)


def live(
    instance: Path,
    plan: Plan,
    wanted: Selection,
    wait: Callable[[float], bool],
    idle: Callable[[], object],
    begin: Callable[[], object],
) -> Generator[Item]:
    """The Items of an armed trace until `wait`, which is given seconds, says that it is to end. `idle` is
    called when what was there is taken, `begin` once when all is ready. Raises TraceError."""
    ring = Ring(instance)
    try:
        reader = Reader(
            {e.name: e for e in plan.events}, _formats(instance, plan), Tasks(), wanted, _offset()
        )
        begin()
        lost, asked, ended = 0, time.monotonic(), False
        while not ended:
            before = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            taken = ring.take(before - _SETTLED)
            for record in taken:
                yield from reader.items(record)
            idle()
            ended = wait(0 if len(taken) > _BUSY else _PAUSE)
            if ended:
                (instance / "events" / plan.group / "enable").write_text("0")
                for record in ring.rest():
                    yield from reader.items(record)
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
    text = f"{count:,} events were lost ({total:,} in all): the buffer was full; --buffer KB makes it larger"
    return Notice("lost-events", text, time_ns=time.time_ns())


def _bytes(value: Value) -> bytes:
    if not isinstance(value, bytes):
        raise FormatError("it has a number where bytes should be")
    return value


def _number(value: Value) -> int:
    if not isinstance(value, int):
        raise FormatError("it has text where a number should be")
    return value


def _text(value: Value, meaning: Meaning) -> str:
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
        case "text":  # a constant: there is none
            return ""
