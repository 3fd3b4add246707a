"""Captures: inputs of every kind as messages, exchanges and statistics, one pass at a time."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Final, Protocol, Self, TypeAlias, cast, runtime_checkable

from .. import registry as registries
from ..capture import stream
from ..capture.lanes import Lanes, Presenting
from ..capture.stop import Stop
from ..errors import CaptureError
from ..events import Captured, Closed, ConnectionEvent, Item, Lines, LogLine, Notice, ProbeEvent, Seen
from ..filters import Filter, Selection, is_of_kinds
from ..native import core
from ..native_kinds import NativeMessages, RoutineMessages
from ..routine import RoutineExchanges
from ..rpc.message import Header, MessageDecoder, Status
from ..session import Exchange, Sessions, is_paired
from .messages import CapturedExchange, CapturedMessage, Context
from .source import Input, Source

if TYPE_CHECKING:
    from pyarrow import RecordBatch

    from ..capture.pairing import PairingLanes
    from ..capture.pcap.recorder import Recorder
    from ..diagnose.diagnoser import Diagnoser
    from ..diagnose.findings import Diagnosis
    from ..figures.results import Statistics
    from ..presenters.native_lines import NativeExchanges
    from ..redact.redactor import What
    from ..registry import Registry
    from ..tables.exchanges import ExchangeTable
    from ..tables.messages import MessageTable

#: Notices that are kept; `notice_counts` counts all.
MAX_NOTICES: Final = 10_000
#: The status of a message with an error; an int compares faster than a member of Status.
_ERROR: Final = int(Status.VIR_NET_ERROR)
_Event: TypeAlias = Captured | ConnectionEvent | ProbeEvent | LogLine | Lines | Closed


class Collector(Protocol):
    """Figures over the messages and events of passes. `diagnoser` gets their notices; None: nobody does."""

    @property
    def diagnoser(self) -> Diagnoser | None:
        """Return the diagnosis that the collector also feeds."""

    def add(self, item: Captured | ConnectionEvent | ProbeEvent | LogLine | Closed, /) -> None:
        """Add a message or an event."""

    def read(self, messages: int, start_ns: int | None, /) -> None:
        """Note the number of messages of the input, before any filter, and when it began."""


@runtime_checkable
class RoutineCollector(Collector, Protocol):
    """Figures that may count routine exchanges without their messages."""

    def takes(self, header: Header, /) -> bool:
        """Return whether exchanges of a procedure may be RoutineExchanges."""

    def routine(self, exchanges: RoutineExchanges, /) -> None:
        """Add routine exchanges."""


class Capture:
    """The messages of one input, as `open` returns it. Iterating gives CapturedMessages.

    `timeline`, `exchanges`, `statistics`, `diagnose` and iteration are passes over the input. Bytes, regular
    files and seekable files can be read again; of every other input, a second pass raises CaptureError. A new
    pass ends the one before. `notices`, `notice_counts` and the counts below are those of the last pass, and
    complete at its end.

    `read_messages` counts messages, `native_messages` those that the native core read, `shown` those that
    passed the filter, `malformed` those whose payload is wrong, `failures` those that report an error or
    abort a stream, `connections` connections with messages.
    `start_ns` is the time of the first message or event, whether it passed the filter or not; it is known
    from then on.
    """

    def __init__(
        self,
        name: str,
        read: Callable[[Lanes | None], Iterator[Seen]],
        registry: Registry,
        *,
        repeatable: bool = False,
        filter: Filter | None = None,
        redact: What | None = None,
        on_notice: Callable[[Notice], object] | None = None,
        stop: Callable[[], object] | None = None,
        close: Callable[[], object] | None = None,
    ) -> None:
        self.name: Final = name
        self.registry: Final = registry
        self.notices: list[Notice] = []
        self.notice_counts: Counter[str] = Counter()
        self.read_messages = self.malformed = self.failures = self.connections = self.native_messages = 0
        self.start_ns: int | None = None
        self._read = read
        self._repeatable = repeatable
        self._filter = filter if filter is not None and filter.active else None
        self._redact = redact
        self._on_notice = on_notice
        self._on_message: Callable[[Captured], object] | None = None
        self._diagnoser: Diagnoser | None = None
        #: Presents what the native core reads, in a pass with lanes.
        self._presenting: Presenting | None = None
        #: Learns the messages of other passes.
        self._native: NativeMessages | None = None
        self._stop = stop
        self._close = close
        self._context = Context(registry, redact)
        self._begun = self._closed = False
        self._pass: Generator[_Event] | None = None
        self._sessions: Sessions | None = None
        self._selection: Selection | None = None
        self._shown = 0
        #: Whether the pass shows every message.
        self._shows_all = False

    @property
    def shown(self) -> int:
        """Number of messages that passed the filter."""
        return self.read_messages if self._shows_all else self._shown

    def __repr__(self) -> str:
        return f"<Capture {self.name!r}>"

    # Passes

    def __iter__(self) -> Iterator[CapturedMessage]:
        return self._messages(self._begin(batches=self._filter is None and self._on_message is None))

    def timeline(self) -> Iterator[Captured | ConnectionEvent | ProbeEvent]:
        """Return an iterator over the messages, without names, and the events between them: of connections,
        and in logs also of the event loop and the QEMU monitor.

        Only what passes the filter is included. Faster than iterating, for callers that look up names
        themselves.
        """
        return cast(Iterator[Captured | ConnectionEvent | ProbeEvent], self._timeline(self._begin()))

    def exchanges(self) -> Iterator[CapturedExchange]:
        """Return an iterator over calls with their replies and streams, in the order of completion.

        An exchange passes the filter if one of its messages does. Calls without a reply come last.
        """
        return self._exchanges(self._begin())

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Return the messages that pass the filter as a stream of record batches (docs/tables.md): pandas,
        polars, DuckDB and pyarrow read it. It is a pass, which ends with the stream.

        Requires pyarrow (`pip install 'libvirt-proto[arrow]'`); raises ImportError without it.
        """
        try:
            from ..tables.arrow import MESSAGES, stream
        except ImportError as error:
            raise ImportError(f"{error}: install libvirt-proto[arrow]", name=error.name) from None
        return stream(MESSAGES, self._batches()).__arrow_c_stream__(requested_schema)

    def unfinished(self) -> Iterator[CapturedExchange]:
        """Return an iterator over the exchanges that were open where a pass was interrupted, once."""
        sessions, self._sessions = self._sessions, None
        return iter(()) if sessions is None else self._shown_exchanges(sessions.finish())

    def statistics(self, top: int = 10) -> Statistics:
        """Return the figures of all messages that pass the filter, and of all others of the same calls; lists
        of extremes have `top` rows."""
        from ..figures.collector import Measure

        collector = Measure(self.registry, top, self._redact, diagnoser=self._new_diagnoser())
        collector.source(self.name)
        self.measure(collector)
        return collector.finish(self.notice_counts)

    def measure(self, collector: Collector) -> None:
        """Add the messages that pass the filter, others of the same calls, and all events, to figures over
        several inputs."""
        rows = None if self._filters or not isinstance(collector, RoutineCollector) else collector
        items = self._begin(whole_calls=True, takes=None if rows is None else rows.takes)
        self._diagnoser = collector.diagnoser
        try:
            counted: Iterator[_Event | RoutineExchanges] = self._selected(items, all_events=True)
            for item in counted:
                assert not isinstance(item, Lines)
                if not isinstance(item, RoutineExchanges):
                    collector.add(item)
                elif rows is not None:
                    rows.routine(item)
            self._check(items)
        finally:
            items.close()  # which counts what was read
            self._diagnoser = None
            collector.read(self.read_messages, self.start_ns)

    def diagnose(self) -> Diagnosis:
        """Return the findings about all messages, whatever the filter: what went wrong, and why
        (docs/diagnose.md)."""
        diagnoser = self._new_diagnoser(always=True)
        assert diagnoser is not None
        diagnoser.source(self.name)
        self.examine(diagnoser)
        return diagnoser.finish()

    def examine(self, diagnoser: Diagnoser) -> None:
        """Add all messages, events and notices to a diagnosis of several inputs."""
        items = self._begin(takes=diagnoser.takes)
        self._diagnoser = diagnoser
        examined: Iterator[_Event | RoutineExchanges] = items
        try:
            for item in examined:
                assert not isinstance(item, Lines)
                if isinstance(item, RoutineExchanges):
                    diagnoser.routine(item)
                else:
                    diagnoser.add(item)
            self._check(items)
        finally:
            items.close()
            self._diagnoser = None

    def _new_diagnoser(self, *, always: bool = False) -> Diagnoser | None:
        """Return a Diagnoser; None with a filter, unless it is wanted `always`."""
        from ..diagnose.diagnoser import Diagnoser

        if self._filter is not None and not always:
            return None
        return Diagnoser(self.registry, redacted=self._redact)

    # Ending

    def stop(self) -> None:
        """End a pass over an input that is followed, after what is there. Safe in signal handlers and other
        threads."""
        if self._stop is not None:
            self._stop()

    def close(self) -> None:
        """End the pass, and close the input unless it is a file that the caller opened."""
        self._end_pass()
        self._closed = True
        if self._close is not None:
            self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def watch(self, on_message: Callable[[Captured], object]) -> None:
        """Call a function with each message that passes the filter, in the passes that follow."""
        self._on_message = on_message

    # The parts of a pass

    def _begin(
        self,
        *,
        whole_calls: bool = False,
        lanes: Lanes | None = None,
        batches: bool = False,
        takes: Callable[[Header], bool] | None = None,
    ) -> Generator[_Event]:
        """Begin a pass. With `batches`, messages that the native core reads stay together, in Lines.
        Exchanges of procedures that `takes` accepts may be RoutineExchanges."""
        if self._closed:
            raise CaptureError(f"{self.name}: the capture is closed")
        if self._begun and not self._repeatable:
            raise CaptureError(
                f"{self.name}: this input can be read only once; give a path to a file, or bytes"
            )
        self._end_pass()
        self._begun = True
        self.notices, self.notice_counts = [], Counter()
        self.read_messages = self.malformed = self.failures = self.connections = self._shown = 0
        self.native_messages = 0
        self._shows_all = False
        self.start_ns = self._sessions = self._presenting = None
        self._selection = None if self._filter is None else Selection(self._filter, whole_calls=whole_calls)
        self._native = None
        if lanes is None and self._redact is None and core() is not None:
            if takes is None:
                self._native = NativeMessages(self.registry)
                lanes = Lanes(self._native)
            else:
                from ..capture.routine import RoutineLanes

                self._native = routine = RoutineMessages(self.registry, takes)
                lanes = RoutineLanes(routine)
        self._pass = self._events(self._read(lanes), batches)
        return self._pass

    @property
    def _filters(self) -> bool:
        """True if each message is looked at."""
        return self._filter is not None or self._on_message is not None

    def _end_pass(self) -> None:
        if self._pass is not None:
            self._pass.close()
            self._pass = None

    def _check(self, items: Generator[_Event]) -> None:
        """Raise CaptureError where another pass has ended this one: it is not complete."""
        if items is not self._pass:
            why = "the capture is closed" if self._closed else "another pass over it has begun"
            raise CaptureError(f"{self.name}: reading cannot continue: {why}")

    def _events(self, seen: Iterator[Seen], batches: bool) -> Generator[_Event]:
        """Count messages, and report notices."""
        count = native = malformed = failures = connections = 0
        connection = start_ns = None
        messages = self._native
        try:
            for item in seen:
                if isinstance(item, Captured):
                    count += 1
                    message = item.message
                    if message.error is not None:
                        malformed += message.malformed
                    if message.header.status == _ERROR:
                        failures += 1
                    if item.connection is not connection:
                        connection = item.connection
                        connections = max(connections, connection.id)
                    if messages is not None:
                        messages.learn(item)
                elif isinstance(item, Lines):
                    count += item.messages
                    native += item.messages
                    failures += item.failures
                    if isinstance(item.data, tuple) and not batches:
                        if item.closed:
                            yield item
                        yield from item.data
                        continue
                elif isinstance(item, Notice):
                    self._notice(item)
                    continue
                if start_ns is None:
                    start_ns = self.start_ns = item.time_ns
                yield item
        finally:
            self.read_messages, self.malformed, self.connections = count, malformed, connections
            self.failures, self.native_messages = failures, native

    def _selected(self, items: Generator[_Event], *, all_events: bool = False) -> Iterator[_Event]:
        """Leave out messages that do not pass the filter, and events, unless all are wanted."""
        if self._selection is None and self._on_message is None:
            self._shows_all = True
            return items
        return self._accepted(items, self._selection or Selection(Filter(self.registry)), all_events)

    def _accepted(self, items: Generator[_Event], selection: Selection, all_events: bool) -> Iterator[_Event]:
        for item in items:
            if selection.start_ns is None:
                selection.start_ns = self.start_ns
            if isinstance(item, (ConnectionEvent, ProbeEvent)):
                if all_events or selection.event(item):
                    yield item
                continue
            if isinstance(item, (LogLine, Lines)):
                self._shown += item.shown if isinstance(item, Lines) else 0
                yield item
                continue
            accepted = selection.feed(item)
            if not accepted and self._presenting is not None and isinstance(item, Captured):
                self._presenting.hide(item)
            yield from map(self._show, accepted)
            if isinstance(item, Closed):
                yield item
        self._check(items)
        yield from map(self._show, selection.finish())

    def _show(self, captured: Captured) -> Captured:
        """Count a message that passes the filter, and tell who watches."""
        self._shown += 1
        if self._on_message is not None:
            self._on_message(captured)
        return captured

    def _notice(self, notice: Notice) -> None:
        if self._diagnoser is not None:
            self._diagnoser.notice(notice)
        self.notice_counts[notice.code] += 1
        if len(self.notices) < MAX_NOTICES:
            self.notices.append(notice)
        if self._on_notice is not None:
            self._on_notice(notice)

    def _messages(self, items: Generator[_Event]) -> Iterator[CapturedMessage]:
        context = self._context
        for item in self._selected(items):
            if isinstance(item, Captured):
                yield CapturedMessage(item, context)
            elif isinstance(item, Lines):
                for captured in cast(tuple[Captured, ...], item.data):
                    if items is not self._pass:
                        break  # the pass was ended
                    yield CapturedMessage(captured, context)
        self._check(items)

    def _lines(self, presenting: Presenting) -> Iterator[Captured | ConnectionEvent | ProbeEvent | Lines]:
        wanted = self._on_message is None and self._redact is None
        if self._filter is not None and not is_of_kinds(self._filter):
            wanted = False
        items = self._begin(lanes=Lanes(presenting) if wanted else None)
        self._presenting = presenting if wanted else None
        return self._timeline(items)

    def _timeline(
        self, items: Generator[_Event]
    ) -> Iterator[Captured | ConnectionEvent | ProbeEvent | Lines]:
        for item in self._selected(items):
            if not isinstance(item, (Closed, LogLine)):
                yield item
        self._check(items)

    def _add_messages(self, table: MessageTable) -> Iterator[None]:
        presenting = table.begin(self.name)
        for item in self.timeline() if presenting is None else self._lines(presenting):
            if isinstance(item, Captured):
                table.add(item)
                if presenting is not None:
                    presenting.learn(item)
            yield

    def _batches(self) -> Iterator[RecordBatch]:
        """Yield the messages of a pass as record batches."""
        from ..tables.messages import MessageTable

        table = MessageTable(self.registry)
        for _ in self._add_messages(table):
            if table.is_full():
                yield table.take()
        if len(table):
            yield table.take()

    def _exchanges(self, items: Generator[_Event]) -> Iterator[CapturedExchange]:
        sessions = self._sessions = Sessions(self.registry)
        for item in items:
            if not isinstance(item, (ConnectionEvent, ProbeEvent, LogLine, Lines)):
                yield from self._shown_exchanges(sessions.feed(item))
        self._check(items)
        yield from self.unfinished()

    def _with_events(
        self, items: Generator[_Event], reach: Callable[[int | None, int | None], object]
    ) -> Iterator[CapturedExchange | Captured | ConnectionEvent]:
        sessions = self._sessions = Sessions(self.registry)
        selection = self._selection or Selection(Filter(self.registry))
        for item in items:
            reach(self.start_ns, item.time_ns)
            selection.start_ns = self.start_ns
            if isinstance(item, ConnectionEvent):
                if selection.event(item):
                    yield item
            elif isinstance(item, Closed):
                yield from self._shown_exchanges(sessions.feed(item))
            elif isinstance(item, Captured):
                yield from self._shown_exchanges(sessions.feed(item))
                if not is_paired(item.message.header) and selection.lone(item):
                    yield self._show(item)
        self._check(items)
        yield from self.unfinished()

    def _exchange_lines(self, presenting: NativeExchanges) -> Iterator[CapturedExchange | bytes]:
        if self._on_message is not None or self._redact is not None:
            return self.exchanges()
        if self._filter is not None and not is_of_kinds(self._filter):
            return self.exchanges()
        from ..capture.pairing import PairingLanes

        sessions = Sessions(self.registry)
        lanes = PairingLanes(presenting, sessions)
        items = self._begin(lanes=lanes)
        self._native = presenting
        return self._paired(items, sessions, lanes, presenting)

    def _paired(
        self,
        items: Generator[_Event],
        sessions: Sessions,
        lanes: PairingLanes,
        presenting: NativeExchanges,
    ) -> Iterator[CapturedExchange | bytes]:
        """Yield exchanges, and the lines of those that the native core has paired."""
        self._sessions = sessions
        for item in items:
            if isinstance(item, (Captured, Closed)):
                for exchange in sessions.feed(item):
                    shown = [*self._shown_exchanges((exchange,))]
                    if not shown:
                        presenting.hide_exchange(exchange)
                    yield from shown
            elif isinstance(item, tuple):
                lanes.take(item)
            elif isinstance(item, Lines):
                sessions.add_closed(item.closed)
                self._shown += item.shown
                yield item.exchanges
        self._check(items)
        yield from self.unfinished()

    def _shown_exchanges(self, exchanges: Iterable[Exchange]) -> Iterator[CapturedExchange]:
        selection, on_message = self._selection, self._on_message
        for exchange in exchanges:
            accepted = [exchange]
            if selection is not None:
                selection.start_ns = self.start_ns
                accepted = selection.exchange(exchange)
            for each in accepted:
                self._shown += each.messages
                if on_message is not None:
                    for part in each.parts:
                        on_message(part)
                yield CapturedExchange(each, self._context)


def open(
    source: Input,
    *,
    release: str | None = None,
    defs: str | os.PathLike[str] | None = None,
    registry: Registry | None = None,
    ports: Iterable[int] = (),
    keylog: str | os.PathLike[str] | None = None,
    follow: bool = False,
    redact: What | None = None,
    filter: Filter | None = None,
    name: str | None = None,
    on_notice: Callable[[Notice], object] | None = None,
) -> Capture:
    """Open a capture, trace, log, raw stream or hex text; the format is detected from the content.

    - `source`: a path, a file in binary mode (standard input is `sys.stdin.buffer`), or bytes; also
      compressed with gzip, bzip2 or xz. A file that the caller opened is read from its position and stays
      open.
    - `release`, `defs`, `registry`: the definitions, at most one of them: a bundled release (`"10.0.0"`), a
      folder of .x files or one such file, or a Registry. Default: the newest release.
    - `ports`: TCP ports of libvirt, in addition to 16509 and 16514.
    - `keylog`: a file with the keys of TLS connections; needs tshark.
    - `follow`: a pass waits at the end of the file for more, until `Capture.stop`.
    - `redact`: `"secrets"` blanks secrets, `"all"` everything but headers, names and lengths.
    - `filter`: only these messages, and exchanges with one of them.
    - `name`: the name of the input in errors. Default: its path, or `bytes`.
    - `on_notice`: called with each Notice as it occurs.

    Raises SourceError for an input or key log that cannot be opened, for a format that is not recognised, and
    for `keylog` without tshark; LookupError for an unknown release; the errors of `registry.load` for `defs`;
    TypeError for arguments of another type; ValueError for options that exclude each other. Damage in the
    input does not raise: it is reported as Notices.
    """
    definitions = _registry(release, defs, registry)
    _check_redact(redact)
    stop = Stop() if follow else None
    opened = Source(source, name=name, ports=ports, keylog=keylog, follow=stop)
    return decode_source(opened, definitions, filter=filter, redact=redact, on_notice=on_notice)


def lines_of(
    capture: Capture, presenting: Presenting
) -> Iterator[Captured | ConnectionEvent | ProbeEvent | Lines]:
    """Return the `timeline` of a capture, in which the native core presents what it can: it leaves Lines
    instead of messages."""
    return capture._lines(presenting)


def add_messages(capture: Capture, table: MessageTable) -> Iterator[None]:
    """Add the messages of a capture to a table, a few at each step."""
    return capture._add_messages(table)


def add_exchanges(capture: Capture, table: ExchangeTable) -> Iterator[None]:
    """Add the exchanges of a capture to a table, a few at each step."""
    native = table.begin(capture.name)
    for each in capture.exchanges() if native is None else capture._exchange_lines(native):
        if isinstance(each, bytes):
            table.add_lines(each)
        else:
            table.add(each.exchange)
            if native is not None:
                native.learn_exchange(each.exchange)
        yield


def exchange_lines_of(capture: Capture, presenting: NativeExchanges) -> Iterator[CapturedExchange | bytes]:
    """Return the `exchanges` of a capture, of which the native core presents those that it can: it leaves
    lines."""
    return capture._exchange_lines(presenting)


def timeline_of(
    capture: Capture, reach: Callable[[int | None, int | None], object]
) -> Iterator[CapturedExchange | Captured | ConnectionEvent]:
    """Return the `exchanges` of a capture, and between them its events: of connections, and the messages that
    belong to no exchange. `reach` is called with the beginning of the input and the time of each item."""
    return capture._with_events(capture._begin(), reach)


def observe(capture: Capture, on_item: Callable[[Seen], object]) -> None:
    """Call a function with each item of the passes that follow, whatever the filter. The native core then
    presents nothing: it would leave Lines."""
    read = capture._read

    def observed(_lanes: Lanes | None) -> Iterator[Seen]:
        for item in read(None):
            on_item(item)
            yield item

    capture._read = observed


def decode_source(
    source: Source,
    registry: Registry,
    *,
    filter: Filter | None = None,
    redact: What | None = None,
    on_notice: Callable[[Notice], object] | None = None,
    recorder: Recorder | None = None,
    live: bool = False,
) -> Capture:
    """Return the Capture of an opened Source, whose items are recorded as in `decoded`."""

    def read(lanes: Lanes | None) -> Iterator[Seen]:
        source.lanes = None if recorder is not None or live else lanes
        items = source.items()
        return decoded(items, registry, recorder=recorder, redact=redact, live=live, lanes=source.lanes)

    return Capture(
        source.name,
        read,
        registry,
        repeatable=source.repeatable,
        filter=filter,
        redact=redact,
        on_notice=on_notice,
        stop=source.stop,
        close=source.close,
    )


def decoded(
    items: Iterable[Item],
    registry: Registry,
    *,
    recorder: Recorder | None = None,
    redact: What | None = None,
    live: bool = False,
    lanes: Lanes | None = None,
) -> Iterator[Seen]:
    """Decode items to messages, with events and notices in between. Items are recorded as they were read,
    or, if they are redacted, after that; with `live`, each is flushed."""
    if redact is not None:
        from ..redact.redactor import Redactor, redacted_messages

        redactor = Redactor(registry, redact)
        return redacted_messages(items, redactor, programs=registry.numbers, recorder=recorder, live=live)
    if recorder is not None:
        from ..capture.pcap.recorder import recorded

        items = recorded(items, recorder, live=live)
    decoder = MessageDecoder(registry) if lanes is None else lanes.decoder()
    return stream.messages(items, decoder.decode, programs=registry.numbers, lanes=lanes)


def _registry(
    release: str | None, defs: str | os.PathLike[str] | None, registry: Registry | None
) -> Registry:
    given = {"release": release, "defs": defs, "registry": registry}
    names = [name for name, value in given.items() if value is not None]
    if len(names) > 1:
        raise ValueError(f"{names[0]} and {names[1]} exclude each other")
    if release is not None:
        return registries.release(release)
    if defs is not None:
        return registries.load(defs)
    return registry or registries.default()


def _check_redact(redact: str | None) -> None:
    if redact not in (None, "secrets", "all"):
        raise ValueError(f"expected redact='secrets' or redact='all', got {redact!r}")
