"""`libvirt-proto decode`: captures in, messages out."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from ..capture.chunk import Captured, Closed, ConnectionEvent
from ..present.text import printable
from . import names, options
from .filters import Filter, FilterError
from .inputs import Inputs, recording
from .inputs import inputs as inputs_option
from .output import destination
from .status import Status

if TYPE_CHECKING:
    from ..present import monitor, pretty
    from ..present.style import Palette
    from ..registry import Registry

FORMATS = ("pretty", "monitor", "jsonl")


@click.command()
@inputs_option
@click.option(
    "--format",
    "format_",
    type=click.Choice(FORMATS),
    help="pretty: for people, with payloads; monitor: a line per message, as libvirt's rpc-monitor script"
    " prints it; jsonl: a JSON object per message. Default: pretty on a terminal, otherwise jsonl.",
)
@click.option(
    "--program",
    "programs",
    metavar="NAME",
    multiple=True,
    shell_complete=names.programs,
    help="Only this program.",
)
@click.option(
    "--procedure",
    "procedures",
    metavar="NAME",
    multiple=True,
    shell_complete=names.procedures,
    help="Only this procedure, in any program.",
)
@click.option(
    "--type",
    "types",
    metavar="TYPE",
    multiple=True,
    shell_complete=names.message_types,
    help="Only this type: call, reply, message, stream, call_with_fds, reply_with_fds, stream_hole.",
)
@click.option("--conn", "connections", metavar="TEXT", multiple=True, help="Only this connection.")
@click.option("--errors-only", is_flag=True, help="Only error replies, and messages that are malformed.")
@click.option(
    "--merge",
    is_flag=True,
    help="Join two recordings of the same connections, such as one of the client and one of the server, into"
    " one timeline, and estimate the difference of their clocks.",
)
@options.definitions
@click.option("--full", is_flag=True, help="Show long strings, bytes and arrays to their end (pretty).")
@options.colour
@click.option(
    "-o", "--output", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path), help="Write to a file."
)
@options.record
@click.pass_context
def decode(
    ctx: click.Context,
    inputs: Inputs,
    format_: str | None,
    registry: Registry,
    full: bool,
    color: str,
    output: Path | None,
    errors_only: bool,
    merge: bool,
    programs: tuple[str, ...],
    procedures: tuple[str, ...],
    types: tuple[str, ...],
    connections: tuple[str, ...],
) -> None:
    """Show the messages in captures: pcap and pcapng files, raw byte streams, hex, or libvirt's own logs (of
    log_filters="2:rpc"); what a file holds is found by looking at it. Several files are read one after
    the other; - is standard input.

    Filters can be repeated: a message is shown if it matches one of each kind. Programs, procedures and types
    are given by name, by the symbol in libvirt's sources, by number, or as a pattern (domain_*); a procedure
    can have its program before it (qemu.domain_*). --conn takes the number of a connection or a part of its
    name (192.0.2.7, :40508).

    -w keeps what was read, of libvirt's connections alone, as a capture for Wireshark and this tool; unix
    sockets and raw streams, too, as TCP on 127.0.0.1 with port 16509, where Wireshark looks for libvirt.
    Connections that have addresses and ports keep them. Filters do not narrow it.

    pretty cuts strings after 512 characters, bytes after 128 and arrays after 32 elements, and says how much
    it left out.

    \b
    Examples:
      libvirt-proto decode capture.pcap
      libvirt-proto decode --procedure 'domain_get_*' --type reply capture.pcap
      libvirt-proto decode --errors-only --format monitor *.pcap
      libvirt-proto decode -w libvirt.pcapng everything.pcap
      libvirt-proto decode --format jsonl capture.pcap | jq -r .procedure | sort | uniq -c
      tcpdump -i lo -U -w - 'tcp port 16509' | libvirt-proto decode --format pretty -
      libvirt-proto decode --follow --format monitor growing.pcap
      libvirt-proto decode --merge client.pcap server.pcap

    The exit status is 1 if something in the input was wrong: a damaged file, lost bytes, malformed messages.
    """
    inputs.check(output)
    if merge and len(inputs.files) != 2:
        raise click.UsageError("--merge takes two files.")
    if merge and inputs.record is not None:
        raise click.UsageError("--merge and -w exclude each other: record each of the files.")
    try:
        filter_ = Filter(
            registry,
            programs=programs,
            procedures=procedures,
            types=types,
            connections=connections,
            errors_only=errors_only,
        )
    except FilterError as error:
        raise click.UsageError(str(error)) from None
    on_terminal = output is None and sys.stdout.isatty()
    palette = options.stdout_palette("never" if output and color == "auto" else color)
    format_ = format_ or ("pretty" if on_terminal else "jsonl")
    talkative = sys.stderr.isatty()
    status = Status(options.palette(color, sys.stderr), bar=talkative and not on_terminal, summary=talkative)
    with recording(inputs.record) as recorder, destination(output) as out, status:
        if merge:
            present = _presenter(format_, registry, palette, full)
            _show(inputs.merged(registry, status, out.flush), out, filter_, present, status)
        for file in () if merge else inputs.files:
            present = _presenter(format_, registry, palette, full)
            if format_ == "pretty" and len(inputs.files) > 1:
                out.write(f"{palette.name}== {printable(file)}{palette.off}\n".encode())
            items = inputs.messages(file, registry, status, out.flush, recorder)
            _show(items, out, filter_, present, status, live=inputs.is_live(file))
        out.flush()
    ctx.exit(1 if status.problems else 0)


def _show(
    items: Iterable[Captured | ConnectionEvent | Closed],
    out: BinaryIO,
    filter_: Filter,
    present: Callable[[Captured | ConnectionEvent], bytes],
    status: Status,
    *,
    live: bool = False,
) -> None:
    """Write what the filter lets through; at once, where more may be long in coming."""
    accepts = filter_ if filter_.active else None
    for item in items:
        if isinstance(item, Captured):
            if accepts is not None and not accepts(item):
                continue
            status.shown += 1
        elif isinstance(item, Closed) or not filter_.of_event(item):
            continue
        out.write(present(item))
        if live:
            out.flush()


def _presenter(
    format_: str, registry: Registry, palette: Palette, full: bool
) -> Callable[[Captured | ConnectionEvent], bytes]:
    if format_ == "jsonl":
        from ..present import jsonl

        lines = jsonl.Presenter(registry)
        return lambda item: lines.event(item) if isinstance(item, ConnectionEvent) else lines(item)
    text: monitor.Presenter | pretty.Presenter
    if format_ == "monitor":
        from ..present import monitor

        text = monitor.Presenter(registry, palette)
    else:
        from ..present import pretty

        text = pretty.Presenter(registry, palette, full=full)
    encoding = sys.stdout.encoding or "utf-8"

    def encoded(item: Captured | ConnectionEvent) -> bytes:
        shown = text.event(item) if isinstance(item, ConnectionEvent) else text(item)
        return (shown + "\n").encode(encoding, "backslashreplace")

    return encoded
