"""Views of the messages of one source: message by message, exchange by exchange, or as statistics."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from ..events import Captured, Closed, ConnectionEvent
from .statistics import rendered

if TYPE_CHECKING:
    from ..access import Accesses
    from ..jsonlines import presenter as jsonl
    from ..presenters import monitor
    from ..presenters.style import Palette
    from ..redact.redactor import What
    from ..registry import Registry
    from ..session import Exchange
    from .filters import Filter
    from .status import Status

T = TypeVar("T")
Item = Captured | ConnectionEvent | Closed


class View(Protocol):
    """The output for one source."""

    def take(self, items: Iterable[Item], status: Status) -> Generator[bytes]:
        """Yield the output that the items complete, and at the end add the number of shown items to
        `status`."""

    def finish(self, status: Status) -> Iterable[bytes]:
        """Yield the output at the end of the source."""


class Messages:
    """Message by message, with the events of connections between them."""

    def __init__(
        self,
        format_: str,
        registry: Registry,
        palette: Palette,
        filter_: Filter,
        *,
        full: bool,
        acl: bool,
        redact: What | None = None,
    ) -> None:
        self._filter = filter_
        self._accepts = filter_ if filter_.active else None
        accesses = _accesses(registry) if acl else None
        self._present: Callable[[Captured], bytes]
        self._event: Callable[[ConnectionEvent], bytes]
        lines: jsonl.JsonLinesPresenter | monitor.MonitorPresenter
        if format_ == "pretty":
            from ..presenters import pretty

            text = pretty.PrettyPresenter(registry, palette, accesses, full=full, redacted=redact)
            self._present, self._event = _encoded(text), _encoded(text.event)
            return
        if format_ == "jsonl":
            from ..jsonlines import presenter as jsonl

            lines = jsonl.JsonLinesPresenter(registry, accesses, redact)
        else:
            from ..presenters import monitor

            lines = monitor.MonitorPresenter(registry, palette, accesses, _encoding())
        self._present, self._event = (
            lines.__call__,
            lines.event,
        )  # calling a method is faster than calling an object

    def take(self, items: Iterable[Item], status: Status) -> Generator[bytes]:
        """Yield the lines of each message and event that passes the filter."""
        accepts, present, shown = self._accepts, self._present, 0
        try:
            for item in items:
                if isinstance(item, Captured):
                    if accepts is None or accepts(item):
                        shown += 1
                        yield present(item)
                elif isinstance(item, ConnectionEvent) and self._filter.of_event(item):
                    yield self._event(item)
        finally:
            status.shown += shown

    def finish(self, status: Status) -> Iterable[bytes]:
        """Yield nothing: no message is held back."""
        return ()


class Exchanges:
    """Exchange by exchange. Times count from the first message of the source."""

    def __init__(
        self,
        format_: str,
        registry: Registry,
        palette: Palette,
        filter_: Filter,
        *,
        full: bool,
        acl: bool,
        redact: What | None = None,
    ) -> None:
        from ..presenters import exchanges
        from ..session import Sessions

        self._filter = filter_
        self._sessions = Sessions(registry)
        self._start: int | None = None
        accesses = _accesses(registry) if acl else None
        self._present: Callable[[Exchange], bytes]
        if format_ == "jsonl":
            self._present = exchanges.Lines(registry, accesses, redact)
            return
        if format_ == "monitor":
            text: exchanges.Monitor | exchanges.Pretty = exchanges.Monitor(registry, palette, accesses)
        else:
            text = exchanges.Pretty(registry, palette, accesses, full=full, redacted=redact)
        self._present = _encoded(lambda exchange: text(exchange, self._start))

    def take(self, items: Iterable[Item], status: Status) -> Generator[bytes]:
        """Yield the exchanges that an item completes."""
        for item in items:
            if isinstance(item, ConnectionEvent):
                continue
            if self._start is None:
                self._start = item.time_ns
            yield from self._show(self._sessions.feed(item), status)

    def finish(self, status: Status) -> Iterable[bytes]:
        """Yield the incomplete exchanges."""
        return self._show(self._sessions.finish(), status)

    def _show(self, done: list[Exchange], status: Status) -> Iterator[bytes]:
        for exchange in done:
            if not self._filter.active or self._filter.exchange(exchange):
                status.shown += exchange.messages
                yield self._present(exchange)


class Figures:
    """Only statistics, at the end, of messages that pass the filter."""

    #: Rows of long tables.
    TOP: Final = 10

    def __init__(
        self,
        name: str,
        format_: str,
        registry: Registry,
        palette: Palette,
        filter_: Filter,
        *,
        fit: bool,
        redact: What | None = None,
    ) -> None:
        from ..figures.collector import Measure

        self._measure = Measure(registry, self.TOP, redact)
        self._measure.source(name)
        self._as_json, self._palette, self._fit = format_ == "jsonl", palette, fit
        self._accepts = filter_ if filter_.active else None

    def take(self, items: Iterable[Item], status: Status) -> Generator[bytes]:
        """Count items."""
        for item in items:
            if isinstance(item, Captured):
                if self._accepts is not None and not self._accepts(item):
                    continue
                status.shown += 1
            self._measure.add(item)
        yield from ()

    def finish(self, status: Status) -> Iterable[bytes]:
        """Yield the statistics."""
        statistics = self._measure.finish(status.notices)
        return rendered(statistics, as_json=self._as_json, top=self.TOP, palette=self._palette, fit=self._fit)


def _accesses(registry: Registry) -> Accesses:
    from ..access import Accesses

    return Accesses(registry)


def _encoded(text: Callable[[T], str]) -> Callable[[T], bytes]:
    """Turn a presenter of text into one of lines in bytes."""
    encoding = _encoding()
    return lambda item: (text(item) + "\n").encode(encoding, "backslashreplace")


def _encoding() -> str:
    """Return the encoding of standard output."""
    return sys.stdout.encoding or "utf-8"
