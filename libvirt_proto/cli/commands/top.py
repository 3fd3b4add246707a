"""`libvirt-proto top`: procedures, calls in flight and clients, live or from a capture."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

import click
from click.core import ParameterSource
from msgspec.structs import replace

from ...capture.stop import Stop
from ...events import NoticeCode
from ...presenters.top import SORTS, Shown, Sort, TopText
from .. import options
from ..displays import Display, HoldingStatus, OnScreen, Printed
from ..filter_options import filters
from ..inputs import Inputs, live, one_input
from ..output import destination
from ..signals import stopping
from ..tracing import Tracing, failing_in_words, tracing

if TYPE_CHECKING:
    from ...api.capture import Capture
    from ...capture.probes.plan import Probe, Sides
    from ...figures.window import Window
    from ...filters import Filter
    from ...registry import Registry

#: Options of live traces, and of captures.
_OF_TRACES: Final = (
    "libraries", "pids", "comms", "buffer", "print_commands", "list_probes", "client_only", "server_only",
    "method", "limit",
)  # fmt: skip
_OF_FILES: Final = ("ports", "keylog", "input_format", "follow")
#: Seconds between updates of a screen, and of other outputs, and minimum.
_SCREEN_INTERVAL: Final = 1.0
_TEXT_INTERVAL: Final = 10.0
_LEAST_INTERVAL: Final = 0.5
#: Seconds of a window: default, and longest.
_WINDOW: Final = 10
_LONGEST: Final = 3600


def _window(_ctx: click.Context, _option: click.Parameter, text: str | None) -> int | str | None:
    """Parse seconds or `all`."""
    if text is None or text == "all":
        return text
    if not text.isdecimal() or not 1 <= int(text) <= _LONGEST:
        raise click.BadParameter(f"expected 1 to {_LONGEST} (seconds) or all, got {text!r}")
    return int(text)


@click.command()
@one_input
@tracing("rpc")
@click.option("--client-only", is_flag=True, help="Only the client side of connections.")
@click.option("--server-only", is_flag=True, help="Only the daemon side of connections.")
@click.option(
    "--format",
    "format_",
    type=options.Format("text", "json"),
    help="text: a block for each update; json: an object for each update, in a line. Default: a screen on a"
    " terminal, otherwise text.",
)
@click.option(
    "--sort",
    type=click.Choice(SORTS),
    default="rate",
    metavar="KEY",
    help="Order of procedures and clients: rate (default), errors, p50, p99, bytes, in-flight or name.",
)
@click.option(
    "--window",
    "seconds",
    metavar="SECONDS",
    callback=_window,
    help="Figures of the last seconds (default: 10, for a file all), or all.",
)
@click.option(
    "--interval",
    metavar="SECONDS",
    type=click.FloatRange(_LEAST_INTERVAL),
    help="Time between updates (default: 1 for a screen, otherwise 10). For a file: of the capture, with an"
    " update for each interval (default: one at the end).",
)
@click.option("--count", metavar="N", type=click.IntRange(1), help="End after N updates.")
@options.top("Rows of each table in text", 10)
@options.wide
@options.definitions
@filters
@options.colour
@options.output
@click.pass_context
def top(
    ctx: click.Context,
    inputs: Inputs,
    tracing: Tracing,
    client_only: bool,
    server_only: bool,
    format_: str | None,
    sort: Sort,
    seconds: int | str | None,
    interval: float | None,
    count: int | None,
    top: int,
    wide: bool,
    registry: Registry,
    filter: Filter,
    color: str,
    output: Path | None,
) -> None:
    """Show which procedures are called most, how long they take, which calls wait, and who calls.

    Without FILE, the messages are those of running daemons and clients, as in `trace`, which requires root.
    FILE is an input of `decode`: a whole file, one that grows (--follow), or `-` for a pipe.

    It lists procedures, calls in flight and clients (p50 and p99 within 2 %). The line above the tables is
    the most severe finding of `diagnose`. On a screen, h lists the keys; q or Ctrl-C quits.

    \b
    Examples:
      libvirt-proto top
      libvirt-proto top --comm libvirtd --server-only --sort p99
      ssh host tcpdump -i any -U -w - 'tcp port 16509' | libvirt-proto top -
      libvirt-proto top --format json --interval 60 --count 5 >> figures.jsonl
      libvirt-proto top --interval 60 capture.pcap

    The exit status is 1 if the input had errors, or tracing is impossible; on a screen, only for an input
    that cannot be read.
    """
    file = inputs.files[0] if inputs.files else None
    _check(ctx, file)
    sides: Sides = "client" if client_only else "server" if server_only else "both"
    if client_only and server_only:
        raise click.UsageError(
            "--client-only and --server-only exclude each other; the default is both sides"
        )
    whole = file is not None and inputs.follow is None and _is_regular(file)
    if file is not None and not whole:
        inputs = replace(inputs, follow=Stop())
    inputs.check(output)
    on_screen = format_ is None and output is None and _can_draw()
    if seconds is None:
        seconds = _default_window(whole=whole, on_screen=on_screen, interval=interval)
    name = "live" if file is None else "standard input" if file == "-" else file
    shown = Shown(name, sort, seconds=None if seconds == "all" else int(seconds))
    window = _new_window(registry, filter, file, shown.seconds)
    status = HoldingStatus(options.palette(color, sys.stderr))
    palette = options.stdout_palette("never" if output and color == "auto" else color)
    with failing_in_words(), ExitStack() as opened:
        probes = opened.enter_context(tracing.probes()) if file is None else []
        if file is None and tracing.shows(probes, color, sides, wide=wide):
            return
        display: Display
        if on_screen:
            display = OnScreen(
                window, shown, status, palette, interval=interval or _SCREEN_INTERVAL, count=count
            )
            out: BinaryIO = sys.stdout.buffer
        else:
            width = options.width(fit=output is None and not wide)
            text = None if format_ == "json" else TopText(width, palette)
            step = interval if whole else interval or _TEXT_INTERVAL
            display = Printed(window, shown, text, top, live=not whole, interval=step, count=count)
            out = display.out = opened.enter_context(destination(output, None if whole else display))
        if file is None:
            capture = opened.enter_context(
                _trace(tracing, probes, sides, display, out, registry, status, filter)
            )
        else:
            opened.enter_context(stopping(display))
            inputs = inputs if whole else replace(inputs, follow=display)
            capture = opened.enter_context(inputs.open(file, registry, status, filter=filter))
        if not status.problems:
            opened.enter_context(display).show(capture)
    ctx.exit(1 if (status.notices[NoticeCode.UNREADABLE] if on_screen else status.problems) else 0)


@contextmanager
def _trace(
    tracing: Tracing,
    found: list[Probe],
    sides: Sides,
    stop: Display,
    out: BinaryIO,
    registry: Registry,
    status: HoldingStatus,
    filter: Filter,
) -> Iterator[Capture]:
    """Yield a live trace that ends when `stop` is set."""
    from ...capture.probes import live as probes
    from ...capture.probes.rpc_events import RpcReader

    wanted = probes.Selection(tracing.pids, tracing.comms, sides)
    status.source("top")
    with (
        tracing.armed(found, stop, [out], sides) as (source, wait),
        closing(probes.live(source, RpcReader, wanted, wait, out.flush, lambda: None)) as items,
        live(
            "live", items, registry, status, filter=filter, flush=out.flush, recorder=None, redact=None
        ) as capture,
    ):
        yield capture


def _check(ctx: click.Context, file: str | None) -> None:
    """Raise click.UsageError for an option of live traces with FILE, and of files without it."""
    others = _OF_FILES if file is None else _OF_TRACES
    for option in ctx.command.params:
        name = option.name or ""
        if name in others and ctx.get_parameter_source(name) == ParameterSource.COMMANDLINE:
            needs = "requires FILE" if file is None else "is for live traces; it cannot be combined with FILE"
            raise click.UsageError(f"{max(option.opts, key=len)} {needs}")


def _is_regular(file: str) -> bool:
    """Return whether an input is a file that ends."""
    if file != "-":
        return os.path.isfile(file)
    try:
        return sys.stdin is not None and stat.S_ISREG(os.fstat(sys.stdin.fileno()).st_mode)
    except OSError:  # it is closed, or not a real file
        return False


def _can_draw() -> bool:
    """Return whether standard output is a terminal that can move its cursor."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in ("", "dumb")


def _default_window(*, whole: bool, on_screen: bool, interval: float | None) -> int | str:
    """Return the window that suits a source: everything of a whole capture; what is new in each update."""
    if on_screen or interval is None:
        return "all" if whole else _WINDOW
    return min(max(1, round(interval)), _LONGEST)


def _new_window(registry: Registry, filter: Filter, file: str | None, seconds: int | None) -> Window:
    """Return an empty window. A filter rules findings out: calls without their replies would be some."""
    from ...diagnose.diagnoser import Diagnoser
    from ...figures.window import Window

    diagnoser = None
    if not filter.active:
        is_live = file is None
        diagnoser = Diagnoser(registry, decode=None if is_live else ("libvirt-proto", "decode"), live=is_live)
        diagnoser.source(file or "live")
    return Window(registry, diagnoser, longest=seconds or 0)
