"""`libvirt-proto trace events` and `trace qemu-monitor`: libvirt's probes other than those for messages."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import closing
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ...capture.stop import Stop
from .. import options
from ..output import destination
from ..status import Status
from ..tracing import Tracing, begin, failing_in_words, tracing

if TYPE_CHECKING:
    from ...events import Notice, ProbeEvent
    from ...presenters.style import Palette
    from ...redact.redactor import What

Command = TypeVar("Command", bound=Callable[..., Any])


def _output(command: Command) -> Command:
    """Add `--format`, `--color`, `--wide` and `-o`; without `--format`, parameter `format_` is None."""

    @click.option(
        "--format",
        "format_",
        type=options.Format("monitor", "jsonl", text="monitor", json="jsonl"),
        help="monitor: one line per event, as in our SystemTap scripts; jsonl: one JSON object per event."
        " Default: monitor on a terminal, otherwise jsonl.",
    )
    @options.colour
    @options.wide
    @options.output
    @wraps(command)
    def with_output(*args: Any, **rest: Any) -> Any:
        return command(*args, **rest)

    return with_output  # type: ignore[return-value]


@click.command()
@tracing("events")
@_output
@click.pass_context
def events(
    ctx: click.Context, tracing: Tracing, format_: str | None, color: str, wide: bool, output: Path | None
) -> None:
    """Show the event loops of running daemons and clients.

    A line has the seconds since the first event, the process, and one of

    \b
      + handle WATCH FD EVENTS   watch a file descriptor; EVENTS: 1 readable, 2 writable,
                                 4 error, 8 hangup
      * handle WATCH EVENTS      watch other events, or none (0)
      > handle WATCH EVENTS      these events happened
      - handle WATCH             remove the watch
      + timeout TIMER MS         add a timer of MS milliseconds (-1: disabled)
      * timeout TIMER MS         change its time
      > timeout TIMER            the timer expired
      - timeout TIMER            remove the timer

    Before libvirt 6.1 there are also ! for purges (a removed watch or timer is freed), and "~ DESCRIPTORS MS"
    for an iteration of the loop.

    A JSON object has event (the probe's name), time_ns (since the epoch), pid, comm, thread, and the probe's
    arguments: watch, fd, events; timer, frequency; cb, opaque, ff (addresses).

    \b
    Examples:
      libvirt-proto trace events
      libvirt-proto trace events --comm libvirtd --format jsonl -o events.jsonl
      libvirt-proto trace events --pid "$(pidof -s libvirtd)" --format monitor | grep timeout

    Probes are found, set and removed as by `libvirt-proto trace`; see its help. The exit status is 1 if
    events were lost, or tracing is not possible here.
    """
    _trace(ctx, tracing, format_, color, wide, output)


@click.command("qemu-monitor", cls=options.RedactingCommand)
@tracing("qemu-monitor")
@options.redact
@click.option("--pretty-json", is_flag=True, help="Write each JSON text on several indented lines (monitor).")
@_output
@click.pass_context
def qemu_monitor(
    ctx: click.Context,
    tracing: Tracing,
    pretty_json: bool,
    redact: What | None,
    format_: str | None,
    color: str,
    wide: bool,
    output: Path | None,
) -> None:
    """Show the traffic between libvirt and QEMU on the monitors of virtual machines.

    A line has the seconds since the first event, an address that identifies a machine's monitor, and

    \b
      > a command, with the descriptor that accompanies it (fd=N) if there is one
      < the reply to it
      ! an event

    Text is truncated after 64 KiB, or 3,023 bytes with tracefs; the line then ends in "… (cut)".

    A JSON object has event (the probe's name), time_ns (since the epoch), pid, comm, thread, mon (the
    address), json (the text as JSON, null if it is truncated or not JSON), text (the text in that case,
    otherwise null), cut (true or false), and fd for commands (-1: none).

    \b
    Examples:
      libvirt-proto trace qemu-monitor
      libvirt-proto trace qemu-monitor --pretty-json
      libvirt-proto trace qemu-monitor --format jsonl | jq -c 'select(.json.event == "STOP")'

    Probes are found, set and removed as by `libvirt-proto trace`; see its help. They are in
    libvirt_driver_qemu.so, which libvirtd and virtqemud load. Commands may contain secrets: --redact blanks
    them, and all truncated text. The exit status is 1 if events were lost, or tracing is not possible here.
    """
    if pretty_json and format_ == "jsonl":
        raise click.UsageError("--pretty-json requires --format monitor: with jsonl, each line is an object")
    _trace(
        ctx,
        tracing,
        "monitor" if pretty_json else format_,
        color,
        wide,
        output,
        pretty_json=pretty_json,
        redact=redact,
    )


def _trace(
    ctx: click.Context,
    tracing: Tracing,
    format_: str | None,
    color: str,
    wide: bool,
    output: Path | None,
    *,
    pretty_json: bool = False,
    redact: What | None = None,
) -> None:
    from ...capture.probes.live import Selection, live
    from ...capture.probes.other_events import ProbeEventReader
    from ...events import Notice

    with failing_in_words(), tracing.probes() as found:
        if tracing.shows(found, color, wide=wide):
            return
        terminal = output is None and sys.stdout.isatty()
        palette = options.stdout_palette("never" if output and color == "auto" else color)
        present = _presenter(format_ or ("monitor" if terminal else "jsonl"), palette, pretty_json, redact)
        status = Status(options.palette(color, sys.stderr), bar=False, summary=True)
        status.source("trace")
        status.events = 0
        wanted = Selection(tracing.pids, tracing.comms, "both")
        stop = Stop()
        with (
            destination(output, stop) as out,
            status,
            tracing.armed(found, stop, [out]) as (source, wait),
            closing(live(source, ProbeEventReader, wanted, wait, out.flush, begin)) as items,
        ):
            for item in items:
                if isinstance(item, Notice):
                    out.flush()
                    status.notice(_redacted_notice(item, redact))
                else:
                    status.events += 1
                    out.write(present(item))
            out.flush()
    ctx.exit(1 if status.problems else 0)


def _presenter(
    format_: str, palette: Palette, pretty_json: bool, redact: What | None
) -> Callable[[ProbeEvent], bytes]:
    from ...presenters import probe_events

    present: Callable[[ProbeEvent], bytes]
    if format_ == "jsonl":
        present = partial(probe_events.json_line, redacted=redact)
    else:
        text = probe_events.ProbeEventPresenter(palette, pretty_json=pretty_json)
        present = lambda item: f"{text(item)}\n".encode()  # noqa: E731
    if redact is None:
        return present
    from ...redact.redactor import redacted_probe_event

    return lambda item: present(redacted_probe_event(item, redact))


def _redacted_notice(notice: Notice, redact: What | None) -> Notice:
    if redact is None:
        return notice
    from ...redact.redactor import redacted_notice

    return redacted_notice(notice)
