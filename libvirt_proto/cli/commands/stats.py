"""`libvirt-proto stats`: statistics of captures."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .. import options
from ..filter_options import CONDITIONS, filters
from ..inputs import READING, Inputs
from ..inputs import inputs as inputs_option
from ..output import destination
from ..signals import stopping
from ..statistics import rendered
from ..status import Status

if TYPE_CHECKING:
    from ...filters import Filter
    from ...redact.redactor import What
    from ...registry import Registry


@click.command(cls=options.RedactingCommand)
@inputs_option
@click.option(
    "--format",
    "format_",
    type=options.Format("table", "json", text="table"),
    help="table: for people; json: one JSON object with all figures. Default: table on a terminal, otherwise"
    " json.",
)
@options.top_figures
@options.wide
@options.as_of
@options.redact
@options.definitions
@filters
@options.colour
@options.output
@click.pass_context
def stats(
    ctx: click.Context,
    inputs: Inputs,
    format_: str | None,
    top: int,
    wide: bool,
    as_of: str | None,
    redact: What | None,
    registry: Registry,
    filter: Filter,
    color: str,
    output: Path | None,
) -> None:
    """Count and time the contents of captures. Inputs are those of `decode`. Several files are counted
    together, with separate connections.

    Per procedure: calls, errors, bytes each way, and latencies (minimum, mean, the 50th, 90th and 99th
    percentile, maximum). Then streams and events; errors by code; the negotiation of each connection; the
    lists, strings and messages closest to their limits; calls without a reply; the slowest exchanges; and
    the findings of `diagnose`, unless a filter is given.
    Below failed, unanswered and slow calls is the command that shows them. Tables fit the terminal's width;
    JSON has everything, in nanoseconds and bytes. An interrupt (Ctrl-C) shows the figures so far.

    Filters are those of `decode`. A call counts with its reply and stream if one of these messages matches.

    \b
    Examples:
      libvirt-proto stats capture.pcap
      libvirt-proto stats --top 30 monday.pcap tuesday.pcap
      libvirt-proto stats --object vm1 --since 13:28 --until 13:30 capture.pcap
      libvirt-proto stats --format json capture.pcap | jq '.procedures[] | select(.errors > 0)'
      libvirt-proto stats --as-of 9.0.0 capture.pcap
      ssh host tcpdump -i any -w - 'tcp port 16509' | libvirt-proto stats -

    The exit status is 1 if the input had errors: a damaged file, lost bytes, malformed messages.
    """
    inputs.check(output)
    old = None if as_of is None else options.open_registry(as_of)
    from ...compatibility import CompatibilityCheck
    from ...diagnose.diagnoser import Diagnoser
    from ...figures.collector import Measure

    on_terminal = output is None and sys.stdout.isatty()
    format_ = format_ or ("table" if on_terminal else "json")
    palette = options.stdout_palette("never" if output and color == "auto" else color)
    status = Status(options.palette(color, sys.stderr), bar=sys.stderr.isatty(), summary=False)
    decode = ("libvirt-proto", "decode", *options.given(ctx, READING))
    measure = Measure(
        registry,
        top,
        redact,
        decode=decode,
        # --type selects messages, so that none shows all failures of calls.
        failures=None
        if ctx.params["types"]
        else ("--exchanges", *options.given(ctx, CONDITIONS), "--errors-only"),
        # Calls without their replies would be findings.
        diagnoser=None if filter.active else Diagnoser(registry, decode=decode),
    )
    check = None if old is None else CompatibilityCheck(registry, old)
    interrupted = False
    with destination(output) as out:
        with status:
            try:
                with stopping(inputs.follow):
                    for file in inputs.files:
                        measure.source(file)
                        with inputs.open(file, registry, status, filter=filter, redact=redact) as capture:
                            if check is not None:
                                capture.watch(lambda captured: check.add(captured.message))
                            capture.measure(measure)
            except KeyboardInterrupt:
                interrupted = True
            if check is not None:
                if len(inputs.files) > 1:
                    status.source(f"{len(inputs.files)} files")
                for notice in check.notices():
                    status.notice(notice)
        statistics = measure.finish(status.notices)
        fit = output is None and not wide
        for text in rendered(statistics, as_json=format_ == "json", top=top, palette=palette, fit=fit):
            out.write(text)
        out.flush()
    if interrupted:
        raise KeyboardInterrupt
    ctx.exit(1 if status.problems else 0)
