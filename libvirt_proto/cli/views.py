"""Views of a Capture as bytes: message by message, exchange by exchange, or figures."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, BinaryIO, ParamSpec, Protocol

from ..events import Captured, ConnectionEvent, Lines, ProbeEvent
from .options import width
from .signals import delayed
from .statistics import rendered

if TYPE_CHECKING:
    from ..access import Accesses
    from ..api.capture import Capture
    from ..api.messages import CapturedExchange
    from ..diagnose.findings import Diagnosis
    from ..presenters.chrome_trace import ChromeTrace
    from ..presenters.clock import Clock, TimeStyle
    from ..presenters.native_lines import NativeLines
    from ..presenters.style import Palette
    from ..redact.redactor import What
    from ..registry import Registry
    from ..session import Exchange
    from ..tables.exchanges import ExchangeTable
    from ..tables.messages import MessageTable

Arguments = ParamSpec("Arguments")


class View(Protocol):
    """A view of one Capture."""

    def take(self, capture: Capture) -> Generator[bytes]:
        """Return what is to be written while the Capture is read."""

    def finish(self, capture: Capture) -> Iterable[bytes]:
        """Return what is to be written at the end, also after an interruption."""


class MessagesView:
    """Message by message, with the events of connections between them; times count from the beginning of the
    Capture."""

    def __init__(
        self,
        format_: str,
        registry: Registry,
        palette: Palette,
        *,
        full: bool,
        acl: bool,
        redact: What | None = None,
        times: TimeStyle = "relative",
    ) -> None:
        from .. import native
        from ..presenters.native_lines import JsonLines, MonitorLines, NativeLines

        accesses = _accesses(registry) if acl else None
        self._native: NativeLines | None = None
        self._clock: Clock | None = None
        self._present: Callable[[Captured], bytes]
        self._event: Callable[[ConnectionEvent | ProbeEvent], bytes]
        if format_ == "pretty":
            from ..presenters import pretty

            text = pretty.PrettyPresenter(
                registry, palette, accesses, full=full, redacted=redact, times=times
            )
            self._clock = text.clock
            self._present, self._event = _encoded(text), _encoded(text.event)
            return
        if format_ == "jsonl":
            from ..jsonlines import presenter as jsonl
            from ..presenters.probe_events import json_line

            objects = jsonl.JsonLinesPresenter(registry, accesses, redact)
            if native.core() is not None and not acl:  # permissions are in no line that can be learned
                self._native = NativeLines(registry, JsonLines(objects))
            self._present = objects.__call__  # calling a method is faster than calling an object
            self._event = lambda event: (
                json_line(event, redact) if isinstance(event, ProbeEvent) else objects.event(event)
            )
        else:
            from ..presenters import monitor

            lines = monitor.MonitorPresenter(registry, palette, accesses, _encoding(), times=times)
            self._clock = lines.clock
            if native.core() is not None and not acl:
                self._native = NativeLines(registry, MonitorLines(lines))
            # A method is called faster than an object.
            self._present, self._event = lines.__call__, lines.event

    def take(self, capture: Capture) -> Generator[bytes]:
        """Return the line or lines of each message and event."""
        from ..api.capture import lines_of

        present, event, native = self._present, self._event, self._native
        items = capture.timeline() if native is None else lines_of(capture, native)
        first = next(items, None)
        if first is None:
            return
        if self._clock is not None:
            self._clock.start_ns = capture.start_ns
        for item in chain((first,), items):
            if isinstance(item, Captured):
                yield present(item)
                if native is not None:
                    native.learn(item)
            else:
                yield item.data if isinstance(item, Lines) else event(item)  # type: ignore[misc]

    def finish(self, capture: Capture) -> Iterable[bytes]:
        """Return nothing."""
        return ()


class ExchangesView:
    """Exchange by exchange; times count from the beginning of the Capture."""

    def __init__(
        self,
        format_: str,
        registry: Registry,
        palette: Palette,
        *,
        full: bool,
        acl: bool,
        redact: What | None = None,
        times: TimeStyle = "relative",
    ) -> None:
        from .. import native
        from ..presenters import exchanges
        from ..presenters.native_lines import JsonExchanges, MonitorExchanges, NativeExchanges

        accesses = _accesses(registry) if acl else None
        self._native: NativeExchanges | None = None
        self._present: Callable[[Exchange], bytes]
        self._clock: Clock | None = None
        is_native = native.core() is not None
        if format_ == "jsonl":
            objects = exchanges.JsonLinesExchangePresenter(registry, accesses, redact)
            if is_native:
                self._native = NativeExchanges(registry, JsonExchanges(objects))
            self._present = objects
            return
        if format_ == "monitor":
            lines = exchanges.MonitorExchangePresenter(registry, palette, accesses, times=times)
            if is_native:
                self._native = NativeExchanges(registry, MonitorExchanges(lines, _encoding()))
            self._clock, self._present = lines.clock, _encoded(lines)
            return
        text = exchanges.PrettyExchangePresenter(
            registry, palette, accesses, full=full, redacted=redact, times=times
        )
        self._clock, self._present = text.clock, _encoded(text)

    def take(self, capture: Capture) -> Generator[bytes]:
        """Return each exchange as it is complete."""
        from ..api.capture import exchange_lines_of

        native = self._native
        yield from self._shown(
            capture, capture.exchanges() if native is None else exchange_lines_of(capture, native)
        )

    def finish(self, capture: Capture) -> Iterable[bytes]:
        """Return the exchanges that an interruption left open."""
        return self._shown(capture, capture.unfinished())

    def _shown(self, capture: Capture, exchanges: Iterable[CapturedExchange | bytes]) -> Iterator[bytes]:
        for each in exchanges:
            if isinstance(each, bytes):
                yield each
                continue
            if self._clock is not None:
                self._clock.start_ns = capture.start_ns
            yield self._present(each.exchange)
            if self._native is not None:
                self._native.learn_exchange(each.exchange)


class TableView:
    """Messages or exchanges of any number of Captures in one table, which is written to a file in the format
    arrow or parquet."""

    def __init__(
        self,
        out: BinaryIO,
        format_: str,
        registry: Registry,
        *,
        exchanges: bool,
        redact: What | None = None,
    ) -> None:
        from ..api import capture
        from ..tables.arrow import EXCHANGES, MESSAGES
        from ..tables.files import TableFile

        self._table: MessageTable | ExchangeTable
        self._add: Callable[..., Iterator[None]]
        if exchanges:
            from ..tables.exchanges import ExchangeTable  # with all types

            self._table, self._add = ExchangeTable(registry), capture.add_exchanges
        else:
            from ..tables.messages import MessageTable

            self._table, self._add = MessageTable(registry), capture.add_messages
        self._file = TableFile(out, format_, EXCHANGES if exchanges else MESSAGES, redact)
        self._ended = False

    def take(self, capture: Capture) -> Generator[bytes]:
        """Write the batches that are complete, and return nothing."""
        for _ in self._add(capture, self._table):
            if self._table.is_full():
                self._write()
        yield from ()

    def finish(self, capture: Capture) -> Iterable[bytes]:
        """Add the exchanges that an interruption left open."""
        for each in capture.unfinished():  # of a pass over exchanges
            self._table.add(each.exchange)  # type: ignore[arg-type]
        return ()

    def end(self) -> None:
        """Write what is left, and the end of the file, once."""
        with delayed():
            if not self._ended:
                self._ended = True
                self._write()
                self._file.end()

    def _write(self) -> None:
        with delayed():  # an interrupted batch would be lost, or damage the file
            if len(self._table):
                self._file.write(self._table.take())


class TimelineView:
    """Exchanges and events in a trace, which other sources of the command share."""

    def __init__(self, trace: ChromeTrace) -> None:
        self._trace = trace

    def take(self, capture: Capture) -> Generator[bytes]:
        """Return the events of each exchange as it is complete, and others between them."""
        from ..api.capture import timeline_of

        trace = self._trace
        trace.source(capture.name)
        for item in timeline_of(capture, trace.reach):
            if isinstance(item, Captured):
                yield trace.message(item)
            elif isinstance(item, ConnectionEvent):
                yield trace.event(item)
            else:
                yield trace.exchange(item.exchange)

    def finish(self, capture: Capture) -> Iterable[bytes]:
        """Return the exchanges that an interruption left open."""
        return (self._trace.exchange(each.exchange) for each in capture.unfinished())


class NoView:
    """Nothing: the messages are only counted, and recorded."""

    def take(self, capture: Capture) -> Generator[bytes]:
        """Read the Capture."""
        for _ in capture.timeline():
            pass
        yield from ()

    def finish(self, capture: Capture) -> Iterable[bytes]:
        """Return nothing."""
        return ()


class FiguresView:
    """Figures at the end, and nothing before."""

    def __init__(
        self,
        name: str,
        format_: str,
        registry: Registry,
        palette: Palette,
        *,
        top: int,
        fit: bool,
        redact: What | None = None,
    ) -> None:
        from ..diagnose.diagnoser import Diagnoser
        from ..figures.collector import Measure

        self._measure = Measure(
            registry,
            top,
            redact,
            decode=None,
            diagnoser=Diagnoser(registry, decode=None, live=True),
        )
        self._measure.source(name)
        self._as_json, self._palette, self._top, self._fit = format_ == "jsonl", palette, top, fit

    def take(self, capture: Capture) -> Generator[bytes]:
        """Count, and return nothing."""
        capture.measure(self._measure)
        yield from ()

    def finish(self, capture: Capture) -> Iterable[bytes]:
        """Return the figures."""
        statistics = self._measure.finish(capture.notice_counts)
        return rendered(
            statistics, as_json=self._as_json, top=self._top, palette=self._palette, fit=self._fit
        )


class DiagnosisView:
    """A diagnosis at the end, and nothing before."""

    def __init__(
        self, name: str, format_: str, registry: Registry, palette: Palette, *, redact: What | None = None
    ) -> None:
        from ..diagnose.diagnoser import Diagnoser

        self._diagnoser = Diagnoser(registry, decode=None, redacted=redact, live=True)
        self._diagnoser.source(name)
        self._format, self._palette = format_, palette

    def take(self, capture: Capture) -> Generator[bytes]:
        """Examine, and return nothing."""
        capture.examine(self._diagnoser)
        yield from ()

    def finish(self, capture: Capture) -> Iterable[bytes]:
        """Return the findings."""
        diagnosis = self._diagnoser.finish()
        return diagnosis_lines(diagnosis, "json" if self._format == "jsonl" else "text", self._palette)


def diagnosis_lines(diagnosis: Diagnosis, format_: str, palette: Palette) -> Iterator[bytes]:
    """Yield the lines of a diagnosis as text, json or github, with their newlines."""
    from ..presenters.diagnosis import DiagnosisText, as_github, as_json

    if format_ == "json":
        yield as_json(diagnosis)
        return
    text = as_github(diagnosis) if format_ == "github" else DiagnosisText(width(), palette)(diagnosis)
    for line in text:
        yield f"{line}\n".encode(_encoding(), "backslashreplace")


def _accesses(registry: Registry) -> Accesses:
    from ..access import Accesses

    return Accesses(registry)


def _encoded(text: Callable[Arguments, str]) -> Callable[Arguments, bytes]:
    """Return a presenter of text as one of bytes, with the newline."""
    encoding = _encoding()

    def encoded(*args: Arguments.args, **named: Arguments.kwargs) -> bytes:
        return (text(*args, **named) + "\n").encode(encoding, "backslashreplace")

    return encoded


def _encoding() -> str:
    """Return the encoding of standard output."""
    return sys.stdout.encoding or "utf-8"
