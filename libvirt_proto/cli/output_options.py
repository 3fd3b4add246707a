"""Output options shared by `decode`, `relay` and `trace`: filters, format and destination."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

import click
import msgspec
from msgspec.structs import replace

from . import options
from .filter_options import context, filters
from .output import is_standard_output
from .signals import delayed
from .status import Status
from .views import (
    DiagnosisView,
    ExchangesView,
    FiguresView,
    MessagesView,
    NoView,
    TableView,
    TimelineView,
    View,
)

if TYPE_CHECKING:
    from pathlib import Path

    from ..api.capture import Capture
    from ..compatibility import CompatibilityCheck
    from ..filters import Filter
    from ..metrics.counts import Metrics
    from ..presenters.chrome_trace import ChromeTrace
    from ..presenters.clock import TimeStyle
    from ..presenters.style import Palette
    from ..redact.redactor import What
    from ..registry import Registry

Command = TypeVar("Command", bound=Callable[..., Any])

TRACE = "chrome-trace"
#: Formats whose output is one table of all sources.
TABLES = ("arrow", "parquet")
FORMATS = ("pretty", "monitor", "jsonl", TRACE, *TABLES)


class OutputOptions(msgspec.Struct, frozen=True):
    """The output options of a command. `output` is None for standard output."""

    registry: Registry
    filter: Filter
    format: str
    full: bool
    color: str
    output: Path | None
    exchanges: bool
    acl: bool
    #: The release that messages are checked against.
    as_of: Registry | None = None
    #: Show only figures at the end, for a source of this name.
    figures_of: str | None = None
    #: Show only a diagnosis at the end, of a source of this name.
    diagnosis_of: str | None = None
    #: Number of rows of their tables, and whether these are wider than the terminal.
    top: int = 10
    wide: bool = False
    redact: What | None = None
    times: TimeStyle = "relative"
    #: The document of `chrome-trace`, None for other formats.
    trace: ChromeTrace | None = None
    #: What counts all messages meanwhile, and whether only that is wanted.
    metrics: Metrics | None = None
    silent: bool = False

    @property
    def palette(self) -> Palette:
        """Return the colours of the messages."""
        return options.stdout_palette("never" if self.output and self.color == "auto" else self.color)

    def status(self, *, summary: bool = False) -> Status:
        """Return the Status for standard error; with `summary`, its last line is written even without a
        terminal."""
        talkative = sys.stderr.isatty()
        bar = talkative and not _on_terminal(self.output)
        return Status(options.palette(self.color, sys.stderr), bar=bar, summary=talkative or summary)

    def next_to(self, record: Path | None) -> OutputOptions:
        """Return the options next to a recording: if that is standard output, messages go only to -o. Raises
        click.UsageError for figures that would go nowhere."""
        if not is_standard_output(record) or self.output is not None:
            return self
        if self.figures_of or self.diagnosis_of:
            raise click.UsageError("-w - writes to standard output: give the figures a file with -o")
        from pathlib import Path  # slow to load

        return replace(self, output=Path(os.devnull))

    def view(self) -> View | None:
        """Return the view of the messages of one source; None for a table, whose view `document` yields."""
        if self.silent:
            return NoView()
        if self.format in TABLES:
            from ..tables import files, messages  # noqa: F401 - loaded before the first message

            return None
        if self.diagnosis_of is not None:
            return DiagnosisView(
                self.diagnosis_of, self.format, self.registry, self.palette, redact=self.redact
            )
        if self.figures_of is not None:
            return FiguresView(
                self.figures_of,
                self.format,
                self.registry,
                self.palette,
                top=self.top,
                fit=self.output is None and not self.wide,
                redact=self.redact,
            )
        if self.trace is not None:
            return TimelineView(self.trace)
        make = ExchangesView if self.exchanges else MessagesView
        return make(
            self.format,
            self.registry,
            self.palette,
            full=self.full,
            acl=self.acl,
            redact=self.redact,
            times=self.times,
        )

    def write(
        self,
        capture: Capture,
        out: BinaryIO,
        status: Status,
        *,
        live: bool = False,
        view: View | None = None,
    ) -> None:
        """Write what is shown of a Capture, and close it; with `live`, flush each line. `view` is that of a
        `document`, or one for this Capture."""
        with self.document(out, status, view) as shared:
            view = shared or self.view()
            assert view is not None
            as_of = self._as_of()
            if as_of:
                capture.watch(lambda captured: as_of.add(captured.message))
            if self.metrics is not None:
                from ..api.capture import observe

                observe(capture, self.metrics.add)
            try:
                with closing(view.take(capture)) as lines:
                    if live:
                        for line in lines:
                            out.write(line)
                            out.flush()
                    else:
                        out.writelines(lines)
            finally:  # also after an interrupt: calls without a reply may be what the user waited for
                capture.close()
                if self.metrics is not None:
                    self.metrics.finish()
                for text in view.finish(capture):
                    out.write(text)
                out.flush()
                status.shown += capture.shown
                for notice in as_of.notices() if as_of else ():
                    status.notice(notice)

    @contextmanager
    def document(self, out: BinaryIO, status: Status, view: View | None = None) -> Iterator[View | None]:
        """Write what precedes and follows the output of all sources in the block, also after an interrupt.
        Yield `view`, or the view that all of them share. In a block of the same, do nothing."""
        if self.format in TABLES and view is None and not self.silent:
            with self._table(out) as table:
                yield table
            return
        trace = self.trace
        if trace is None or trace.is_open:
            yield view
            return
        out.write(trace.begin())
        try:
            yield view
        finally:
            out.write(trace.end())
            out.flush()
            for notice in trace.notices():
                status.notice(notice)

    @contextmanager
    def _table(self, out: BinaryIO) -> Iterator[TableView]:
        view = None
        try:
            try:
                with delayed():
                    view = TableView(
                        out, self.format, self.registry, exchanges=self.exchanges, redact=self.redact
                    )
                yield view
            finally:
                if view is not None:
                    view.end()
        finally:
            if view is not None:  # after a signal that arrived before the end
                view.end()

    def _as_of(self) -> CompatibilityCheck | None:
        if self.as_of is None:
            return None
        from ..compatibility import CompatibilityCheck

        return CompatibilityCheck(self.registry, self.as_of)


def live_figures(name: str) -> Callable[[Command], Command]:
    """Add `--stats` and `--diagnose` for a live source called `name`. Goes below `show`, whose parameter it
    changes. (For files there are the commands `stats` and `diagnose`.)"""

    def decorate(command: Command) -> Command:
        @click.option(
            "--stats",
            "figures",
            is_flag=True,
            help="Show only statistics, at the end: tables, or JSON for --format json.",
        )
        @click.option(
            "--diagnose",
            "diagnosis",
            is_flag=True,
            help="Show only findings, at the end: what went wrong, and why.",
        )
        @options.top_figures
        @options.wide
        @wraps(command)
        def with_figures(
            *args: Any, figures: bool, diagnosis: bool, top: int, wide: bool, show: OutputOptions, **rest: Any
        ) -> Any:
            if diagnosis and (figures or show.exchanges or show.filter.active):
                raise click.UsageError("--diagnose cannot be combined with filters, --stats or --exchanges")
            if (figures or diagnosis) and show.format in TABLES:
                option = "--diagnose" if diagnosis else "--stats"
                raise click.UsageError(f"{option} and --format {show.format} exclude each other; use json")
            if figures and show.exchanges:
                raise click.UsageError("--stats and --exchanges exclude each other")
            if figures and show.filter.context:
                raise click.UsageError("--stats and --context exclude each other")
            show = replace(
                show,
                figures_of=name if figures else None,
                diagnosis_of=name if diagnosis else None,
                top=top,
                wide=wide,
            )
            return command(*args, show=show, **rest)

        return with_figures  # type: ignore[return-value]

    return decorate


def show(command: Command) -> Command:
    """Add filters, `--format`, `-o` and related options, as parameter `show`."""

    @click.option(
        "--format",
        "format_",
        type=options.Format(*FORMATS, text="pretty", json="jsonl"),
        metavar="FORMAT",
        help="pretty: with payloads; monitor: a line per message; jsonl (or json): an object per message;"
        " chrome-trace, with --exchanges: a timeline for Perfetto; arrow, parquet: a table."
        " Default: pretty on a terminal, otherwise jsonl.",
    )
    @click.option(
        "--exchanges",
        is_flag=True,
        help="Show each call with reply, stream, outcome and latency.",
    )
    @click.option(
        "--time",
        "times",
        type=click.Choice(("relative", "absolute", "delta", "none")),
        default="relative",
        metavar="HOW",
        help="relative (to the beginning of the input, the default), absolute (UTC), delta (since the line"
        " before), or none.",
    )
    @click.option(
        "--acl",
        is_flag=True,
        help="Show the permissions that each call needs.",
    )
    @options.definitions
    @filters
    @context
    @options.as_of
    @options.redact
    @click.option("--full", is_flag=True, help="pretty: do not shorten errors, strings, bytes and arrays.")
    @options.colour
    @options.output
    @wraps(command)
    def with_show(
        *args: Any,
        format_: str | None,
        filter: Filter,
        times: TimeStyle,
        registry: Registry,
        as_of: str | None,
        full: bool,
        color: str,
        output: Path | None,
        exchanges: bool,
        acl: bool,
        redact: What | None,
        **rest: Any,
    ) -> Any:
        format_ = format_ or ("pretty" if _on_terminal(output) else "jsonl")
        if format_ in TABLES:
            _check_table(format_, output, acl)
        old = None if as_of is None else options.open_registry(as_of)
        trace = None
        if format_ == TRACE:
            _check_trace(exchanges, times)
            trace = _trace(registry, redact, acl=acl, absolute=times == "absolute")
        shown = OutputOptions(
            registry,
            filter,
            format_,
            full,
            color,
            output,
            exchanges,
            acl,
            old,
            redact=redact,
            times=times,
            trace=trace,
        )
        return command(*args, show=shown, **rest)

    return with_show  # type: ignore[return-value]


def _check_table(format_: str, output: Path | None, acl: bool) -> None:
    """Raise click.UsageError for options that a table does not support, and without pyarrow."""
    from importlib.util import find_spec

    if find_spec("pyarrow") is None:
        raise click.UsageError(f"--format {format_} requires pyarrow: pip install 'libvirt-proto[arrow]'")
    if output is None and (format_ == "parquet" or _on_terminal(output)):
        raise click.UsageError(f"--format {format_} requires -o FILE")
    if acl:
        raise click.UsageError(f"--acl and --format {format_} exclude each other; use jsonl")


def _check_trace(exchanges: bool, times: TimeStyle) -> None:
    """Raise click.UsageError for options that a timeline does not support."""
    if not exchanges:
        raise click.UsageError(f"--format {TRACE} shows calls with their replies: add --exchanges")
    if times not in ("relative", "absolute"):
        raise click.UsageError(f"--format {TRACE} requires --time relative or absolute, got {times}")


def _trace(registry: Registry, redact: What | None, *, acl: bool, absolute: bool) -> ChromeTrace:
    from ..access import Accesses
    from ..presenters.chrome_trace import ChromeTrace

    return ChromeTrace(registry, Accesses(registry) if acl else None, redact, absolute=absolute)


def _on_terminal(output: Path | None) -> bool:
    return output is None and sys.stdout.isatty()
