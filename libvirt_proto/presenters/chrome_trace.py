"""Exchanges and events in the Trace Event Format, which Perfetto, chrome://tracing and the Firefox Profiler
open.

A connection is a *process* of the trace, and in a merge one in each recording. Its *threads* are lanes: the
viewers show complete events (`X`) of a thread only if they are nested, and calls of a connection overlap. A
call gets a lane whose last call ended before it began. One more thread has events and keepalive messages as
instants (`i`). A stream is nested in its call. The two copies of a call in a merge are connected by a flow
(`s`, `f`).

Calls are written as they are complete, in an order that the format permits for these types.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterable, Iterator
from itertools import count
from operator import itemgetter
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import msgspec
from msgspec.structs import replace

from ..access import Access, Accesses
from ..bounded import BoundedDict
from ..events import Captured, Connection, ConnectionEvent, Notice, NoticeCode
from ..jsonlines.presenter import connection_name, utf8
from ..rpc.names import Names
from ..rpc.objects import NamedObject, ObjectFinder
from ..rpc.reported import reported_error
from ..session import Exchange, Outcome, role
from ..text import amount

if TYPE_CHECKING:
    from ..registry import Registry
    from ..rpc.message import Header, Message

#: Maximum number of threads of all connections; beyond it, the oldest connections are forgotten. If these go
#: on, they are new processes.
MAX_THREADS: Final = 1 << 17
#: Maximum number of recordings of a connection: those of a merge, and None for other events.
_RECORDINGS: Final = 3
#: Outcomes of calls that were open when the input, the connection or their place in memory ended.
_OPEN: Final = frozenset(("pending", "unanswered", "given-up"))
#: Names of red and orange in chrome://tracing.
_FAILED, _UNUSUAL = "terrible", "bad"


class _Arguments(msgspec.Struct, omit_defaults=True):
    """The facts about a selected event; the Firefox Profiler shows only `detail`. `messages` and
    `frames` are the numbers of messages and packets, the other keys are those of exchanges as JSON lines."""

    detail: str
    n: int | None = None
    outcome: Outcome | None = None
    serial: int | None = None
    object: NamedObject | None = None
    error: str | None = None
    latency_ns: int | None = None
    overtaken: int | None = None
    bytes_c2s: int | None = None
    bytes_s2c: int | None = None
    end: str | None = None
    messages: tuple[int, ...] = ()
    frames: tuple[int, ...] = ()
    details: dict[str, str] | None = None
    access: Access | None = None


class _TraceEvent(msgspec.Struct, omit_defaults=True, kw_only=True):
    """An event of the format. `ts` and `dur` are microseconds with three decimals; `s` is the scope of an
    instant, and `bp` lets a flow end at the event around it."""

    ph: Literal["M", "X", "i", "s", "f"]
    pid: int
    tid: int
    name: str
    cat: str | None = None
    ts: msgspec.Raw | None = None
    dur: msgspec.Raw | None = None
    id: str | None = None
    s: Literal["t"] | None = None
    bp: Literal["e"] | None = None
    cname: str | None = None
    args: _Arguments | dict[str, str | int] | None = None


class _Span(NamedTuple):
    """An exchange in one recording: its name, None without a merge, and the first and the last moment."""

    recording: str | None
    start_ns: int
    end_ns: int


class _Process:
    """A connection in one recording: `lanes` are pairs of the end of the last call (ns) and the thread, in
    the order of these ends; `events` is the thread of events, None before the first."""

    def __init__(self, pid: int) -> None:
        self.pid: Final = pid
        self.lanes: list[tuple[int, int]] = []
        self.events: int | None = None

    def take_lane(self, start_ns: int) -> int | None:
        """Remove the lane whose last call ended last before a moment; return its thread, None without one."""
        index = bisect_right(self.lanes, start_ns, key=lambda lane: lane[0])
        return self.lanes.pop(index - 1)[1] if index else None


class ChromeTrace:
    """A JSON object with the events of all sources of a command, in parts: `begin`, events, `end`.

    Times count from the first beginning of a source, or with `absolute` from the epoch: most viewers then
    round them to 0.25 µs. What has no time is left out, and counted.
    """

    def __init__(
        self,
        registry: Registry,
        accesses: Accesses | None = None,
        redacted: str | None = None,
        *,
        absolute: bool = False,
    ) -> None:
        self._names = Names(registry)
        self._objects = ObjectFinder(registry)
        self._accesses = accesses
        self._redacted = redacted
        self._absolute = absolute
        self._encode = msgspec.json.Encoder().encode
        #: Numbers of processes, threads and flows. Perfetto needs threads with different numbers.
        self._numbers = count(1)
        #: By number of the source, recording and connection.
        self._processes: BoundedDict[tuple[int, str | None, int], _Process] = BoundedDict(MAX_THREADS)
        self._threads = 0
        self._source, self._source_name = 0, ""
        #: Recordings of the source, and the sort index of its first process and the highest one: the Firefox
        #: Profiler mixes the threads of processes with the same index.
        self._recordings: dict[str | None, int] = {}
        self._base = self._highest = 0
        self._start_ns: int | None = None
        self._now_ns = 0
        self._untimed = 0
        self._separator = b""
        self.is_open = False

    # The document

    def begin(self) -> bytes:
        """Return the beginning of the document."""
        self.is_open = True
        return b'{"displayTimeUnit":"ns","traceEvents":[\n'

    def end(self) -> bytes:
        """Return the end of the document. `start_ns` is a string, because no double holds it."""
        self.is_open = False
        start = None if self._start_ns is None else str(self._start_ns)
        facts = {"generator": "libvirt-proto", "start_ns": start, "redacted": self._redacted}
        known = {name: value for name, value in facts.items() if value is not None}
        return b'\n],"otherData":' + self._encode(known) + b"}\n"

    def notices(self) -> Iterator[Notice]:
        """Yield what a user should know about the whole document."""
        if self._untimed:
            what = amount(self._untimed, "exchange or event has", "exchanges and events have")
            yield Notice(
                NoticeCode.NOT_IN_TIMELINE,
                f"{what} no time and cannot be in a timeline; use --format jsonl for them",
            )

    # Its events

    def source(self, name: str) -> None:
        """Begin with a source; of a path, the name of the file is shown."""
        self._source += 1
        self._source_name = name.rpartition("/")[2]
        self._recordings = {}
        self._base = self._highest + 1

    def reach(self, start_ns: int | None, now_ns: int | None) -> None:
        """Note when the source began, and the moment that it has reached."""
        if self._start_ns is None:
            self._start_ns = start_ns
        self._now_ns = max(self._now_ns, now_ns or 0)

    def exchange(self, exchange: Exchange) -> bytes:
        """Return the events of an exchange."""
        return self._written(self._exchange(exchange))

    def message(self, captured: Captured) -> bytes:
        """Return the events of a message that belongs to no exchange: one for each recording that has it."""
        header, message = captured.message.header, captured.message
        name, subject = self._name(header), self._objects.subject(message, None)
        error = _failure(message)
        arguments = _Arguments(
            _detail(name, subject, error),
            object=subject,
            error=error,
            messages=(captured.n,),
        )
        seen: list[tuple[str | None, int | None]]
        seen = [(each.recording, each.time_ns) for each in captured.sightings]
        return b"".join(
            self._instant(
                captured.connection,
                recording,
                time_ns,
                name,
                role(header),
                replace(arguments, frames=_frames((captured,), recording)),
            )
            for recording, time_ns in seen or [(None, captured.time_ns)]
        )

    def event(self, event: ConnectionEvent) -> bytes:
        """Return the event of a connection that is not a message."""
        name = utf8(event.kind)
        details = {utf8(word): utf8(text) for word, text in event.details}
        arguments = _Arguments(name, details=details)
        return self._instant(event.connection, None, event.time_ns, name, "connection", arguments)

    def _instant(
        self,
        connection: Connection | None,
        recording: str | None,
        time_ns: int | None,
        name: str,
        category: str,
        arguments: _Arguments,
    ) -> bytes:
        if time_ns is None:
            self._untimed += 1
            return b""
        process, events = self._process(connection, recording)
        if process.events is None:
            process.events = next(self._numbers)
            events += self._thread(process, process.events, "events", 0)
        time = self._time(time_ns)
        events.append(
            _TraceEvent(
                ph="i",
                pid=process.pid,
                tid=process.events,
                name=name,
                cat=category,
                ts=time,
                s="t",
                args=arguments,
            )
        )
        return self._written(events)

    def _exchange(self, exchange: Exchange) -> Iterator[_TraceEvent]:
        spans = list(self._spans(exchange))
        if not spans:
            self._untimed += 1
        name, arguments = self._name(exchange.header), self._arguments(exchange)
        colour = _FAILED if exchange.failures else None if exchange.outcome == "ok" else _UNUSUAL
        places: dict[str | None, tuple[int, int]] = {}
        for span in spans:
            process, events = self._process(exchange.connection, span.recording)
            tid = process.take_lane(span.start_ns)
            if tid is None:
                tid, number = next(self._numbers), len(process.lanes) + 1
                events += self._thread(process, tid, f"calls {number}" if number > 1 else "calls", number)
            insort(process.lanes, (span.end_ns, tid))
            places[span.recording] = (process.pid, tid)
            yield from events
            own = replace(arguments, frames=_frames(exchange.parts, span.recording))
            yield self._complete(places[span.recording], name, exchange.outcome, span, colour, own)
            yield from self._stream(exchange, span, places[span.recording])
        if exchange.call is not None and len(exchange.call.sightings) > 1:
            yield from self._flow(exchange.call, places)

    def _spans(self, exchange: Exchange) -> Iterator[_Span]:
        """Yield the exchange in each recording that has a time for it."""
        seen: dict[str | None, list[int]] = {}
        for part in exchange.parts:
            for each in part.sightings:
                if each.time_ns is not None:
                    seen.setdefault(each.recording, []).append(each.time_ns)
        if not exchange.first.sightings and exchange.first_ns is not None:
            seen[None] = [exchange.first_ns, exchange.last_ns or exchange.first_ns]
        for recording, times in seen.items():
            end_ns = max(times)
            if exchange.stream is not None:
                end_ns = max(end_ns, exchange.stream.last_ns or end_ns)
            self._now_ns = max(self._now_ns, end_ns)
            yield _Span(recording, min(times), self._now_ns if exchange.outcome in _OPEN else end_ns)

    def _stream(self, exchange: Exchange, span: _Span, place: tuple[int, int]) -> Iterator[_TraceEvent]:
        stream = exchange.stream
        if stream is None or stream.start_ns is None or stream.last_ns is None:
            return
        start_ns = max(stream.start_ns, span.start_ns)
        inside = _Span(span.recording, start_ns, max(stream.last_ns, start_ns))
        error = _failure(stream.error.message) if stream.error else None
        what = f"{amount(stream.bytes_c2s + stream.bytes_s2c, 'byte')}, {stream.end}"
        arguments = _Arguments(
            f"{what}: {error}" if error else what,
            error=error,
            bytes_c2s=stream.bytes_c2s,
            bytes_s2c=stream.bytes_s2c,
            end=stream.end,
        )
        colour = _FAILED if stream.end == "error" else None
        yield self._complete(place, "stream", "stream", inside, colour, arguments)

    def _flow(self, call: Captured, places: dict[str | None, tuple[int, int]]) -> Iterator[_TraceEvent]:
        """Yield the flow from the recording that has the call first, the client's, to the other one."""
        timed = [(each.time_ns, each.recording) for each in call.sightings if each.time_ns is not None]
        if len({recording for _, recording in timed}) < 2:  # a recording can be merged with itself
            return
        number = f"{next(self._numbers):#x}"
        for (time_ns, recording), phase in zip(sorted(timed, key=itemgetter(0)), ("s", "f"), strict=True):
            pid, tid = places[recording]
            yield _TraceEvent(
                ph=phase,  # type: ignore[arg-type]  # zip widens it
                pid=pid,
                tid=tid,
                name="call",
                cat="flow",
                ts=self._time(time_ns),
                id=number,
                bp="e" if phase == "f" else None,
            )

    def _complete(
        self,
        place: tuple[int, int],
        name: str,
        category: str,
        span: _Span,
        colour: str | None,
        arguments: _Arguments,
    ) -> _TraceEvent:
        pid, tid = place
        return _TraceEvent(
            ph="X",
            pid=pid,
            tid=tid,
            name=name,
            cat=category,
            ts=self._time(span.start_ns),
            dur=_microseconds(span.end_ns - span.start_ns),
            cname=colour,
            args=arguments,
        )

    def _arguments(self, exchange: Exchange) -> _Arguments:
        call, reply, name = exchange.call, exchange.reply, self._name(exchange.header)
        subject = self._objects.subject(call.message if call else None, reply.message if reply else None)
        errors = [error for part in exchange.parts if (error := _failure(part.message)) is not None]
        error = errors[0] if errors else None
        return _Arguments(
            _detail(name, subject, error or (None if exchange.outcome == "ok" else exchange.outcome)),
            n=exchange.n,
            outcome=exchange.outcome,
            serial=exchange.header.serial,
            object=subject,
            error=error,
            latency_ns=exchange.latency_ns,
            overtaken=exchange.overtaken,
            bytes_c2s=exchange.bytes_c2s,
            bytes_s2c=exchange.bytes_s2c,
            messages=tuple(part.n for part in exchange.parts),
            access=self._accesses.of(call) if self._accesses and call else None,
        )

    # Processes and threads

    def _process(
        self, connection: Connection | None, recording: str | None
    ) -> tuple[_Process, list[_TraceEvent]]:
        """Return the process of a connection, and the events that introduce a new one."""
        key = (self._source, recording, connection.id if connection else 0)
        known = self._processes.get(key)
        if known is not None:
            self._processes.move_to_end(key)
            return known, []
        process = self._processes[key] = _Process(next(self._numbers))
        name = connection_name(connection) if connection else "no connection"
        name = f"{name} ({utf8(recording or self._source_name)})"
        place = self._recordings.setdefault(recording, len(self._recordings))
        index = self._base + _RECORDINGS * (connection.id if connection else 0) + place
        self._highest = max(self._highest, index)
        return process, [
            _fact(process.pid, process.pid, "process_name", name=name),
            _fact(process.pid, process.pid, "process_sort_index", sort_index=index),
        ]

    def _thread(self, process: _Process, tid: int, name: str, index: int) -> list[_TraceEvent]:
        """Count a new thread, and return the events that introduce it."""
        self._threads += 1
        while self._threads > MAX_THREADS and len(self._processes) > 1:
            _, dropped = self._processes.popitem(last=False)
            self._threads -= len(dropped.lanes) + (dropped.events is not None)
        return [
            _fact(process.pid, tid, "thread_name", name=name),
            _fact(process.pid, tid, "thread_sort_index", sort_index=index),
        ]

    # Values

    def _name(self, header: Header) -> str:
        program, procedure = self._names.of(header)
        return f"{program or f'{header.prog:#010x}'}.{procedure or header.proc}"

    def _time(self, time_ns: int) -> msgspec.Raw:
        return _microseconds(time_ns - (0 if self._absolute else self._start_ns or 0))

    def _written(self, events: Iterable[_TraceEvent]) -> bytes:
        written: list[bytes] = []
        for event in events:
            written += (self._separator, self._encode(event))
            self._separator = b",\n"
        return b"".join(written)


def _fact(pid: int, tid: int, word: str, /, **args: str | int) -> _TraceEvent:
    return _TraceEvent(ph="M", pid=pid, tid=tid, name=word, args=args)


def _microseconds(ns: int) -> msgspec.Raw:
    """Return a number of microseconds with all three decimals."""
    whole, rest = divmod(abs(ns), 1000)
    return msgspec.Raw(f"{'-' if ns < 0 else ''}{whole}.{rest:03d}".encode())


def _detail(name: str, subject: NamedObject | None, remark: str | None) -> str:
    """Return `remote.domain_lookup_by_name("vm1"): VIR_ERR_NO_DOMAIN: Domain not found`."""
    text = name if subject is None else f'{name}("{subject}")'
    return text if remark is None else f"{text}: {remark}"


def _failure(message: Message) -> str | None:
    """Return the error that a message reports, or the problem of its payload."""
    if message.malformed:
        return f"malformed: {message.error}"
    error = reported_error(message)
    return None if error is None else str(error)


def _frames(parts: Iterable[Captured], recording: str | None) -> tuple[int, ...]:
    """Return the numbers of the packets that complete messages, in one recording of a merge."""
    packets = (
        [part.packet, *(each.packet for each in part.sightings if each.recording == recording)]
        for part in parts
    )
    return tuple(packet for found in packets for packet in found if packet is not None)
