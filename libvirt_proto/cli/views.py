"""What is made of the messages of one source: they are shown one by one, or exchange by exchange."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from ..events import Captured, Closed, ConnectionEvent
from .statistics import rendered

if TYPE_CHECKING:
    from ..access import Accesses
    from ..filters import Filter
    from ..jsonlines import presenter as jsonl
    from ..presenters import monitor
    from ..presenters.style import Palette
    from ..redact.redactor import What
    from ..registry import Registry
    from ..session import Exchange
    from .status import Status

T = TypeVar("T")
Item = Captured | ConnectionEvent | Closed


class View(Protocol):
    """What is made of one source."""

    def take(self, items: Iterable[Item], status: Status) -> Generator[bytes]:
        """What is to be written of items, after each what it makes complete; what is shown is counted in
        `status` when this ends."""

    def finish(self, status: Status) -> Iterable[bytes]:
        """What is to be written at the end."""


class Messages:
    """Message by message, with what happens to connections in between."""

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
        lines: jsonl.Presenter | monitor.Presenter
        if format_ == "pretty":
            from ..presenters import pretty

            text = pretty.Presenter(registry, palette, accesses, full=full, redacted=redact)
            self._present, self._event = _encoded(text), _encoded(text.event)
            return
        if format_ == "jsonl":
            from ..jsonlines import presenter as jsonl

            lines = jsonl.Presenter(registry, accesses, redact)
        else:
            from ..presenters import monitor

            lines = monitor.Presenter(registry, palette, accesses, _encoding())
        self._present, self._event = lines.__call__, lines.event  # a method is called quicker than an object

    def take(self, items: Iterable[Item], status: Status) -> Generator[bytes]:
        """The line or lines of each message and event that passes the filter."""
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
        """Nothing is kept."""
        return ()


class Exchanges:
    """Exchange by exchange; times count from the first message of the source."""

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
        """The exchanges that are complete with an item."""
        for item in items:
            if isinstance(item, ConnectionEvent):
                continue
            if self._start is None:
                self._start = item.time_ns
            yield from self._show(self._sessions.feed(item), status)

    def finish(self, status: Status) -> Iterable[bytes]:
        """The exchanges that were not."""
        return self._show(self._sessions.finish(), status)

    def _show(self, done: list[Exchange], status: Status) -> Iterator[bytes]:
        for exchange in done:
            if not self._filter.active or self._filter.exchange(exchange):
                status.shown += exchange.messages
                yield self._present(exchange)


class Figures:
    """Nothing but figures of all, at the end; only messages that pass the filter count."""

    #: Rows of the long tables.
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
        """The figures."""
        statistics = self._measure.finish(status.notices)
        return rendered(statistics, as_json=self._as_json, top=self.TOP, palette=self._palette, fit=self._fit)


def _accesses(registry: Registry) -> Accesses:
    from ..access import Accesses

    return Accesses(registry)


def _encoded(text: Callable[[T], str]) -> Callable[[T], bytes]:
    """A presenter of text as one of bytes, with the newline."""
    encoding = _encoding()
    return lambda item: (text(item) + "\n").encode(encoding, "backslashreplace")


def _encoding() -> str:
    """The encoding of text for standard output."""
    return sys.stdout.encoding or "utf-8"
