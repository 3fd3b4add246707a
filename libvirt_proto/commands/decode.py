"""`libvirt-proto decode`: captures in, messages out."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..capture.chunk import Captured
from ..present.text import printable
from . import names, options
from .filters import Filter, FilterError
from .inputs import Inputs, recording
from .inputs import inputs as inputs_option
from .output import destination
from .status import Status

if TYPE_CHECKING:
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
    programs: tuple[str, ...],
    procedures: tuple[str, ...],
    types: tuple[str, ...],
    connections: tuple[str, ...],
) -> None:
    """Show the messages in captures: pcap and pcapng files, raw byte streams, or hex; what a file holds is
    found by looking at it. Several files are read one after the other; - is standard input.

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

    The exit status is 1 if something in the input was wrong: a damaged file, lost bytes, malformed messages.
    """
    inputs.check(output)
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
    accepts = filter_ if filter_.active else None
    on_terminal = output is None and sys.stdout.isatty()
    palette = options.stdout_palette("never" if output and color == "auto" else color)
    format_ = format_ or ("pretty" if on_terminal else "jsonl")
    talkative = sys.stderr.isatty()
    status = Status(options.palette(color, sys.stderr), bar=talkative and not on_terminal, summary=talkative)
    with recording(inputs.record) as recorder, destination(output) as out, status:
        for file in inputs.files:
            present = _presenter(format_, registry, palette, full)
            if format_ == "pretty" and len(inputs.files) > 1:
                out.write(f"{palette.name}== {printable(file)}{palette.off}\n".encode())
            live = not os.path.isfile(file)
            for item in inputs.messages(file, registry, status, out.flush, recorder):
                if isinstance(item, Captured) and (accepts is None or accepts(item)):
                    status.shown += 1
                    out.write(present(item))
                    if live:
                        out.flush()
        out.flush()
    ctx.exit(1 if status.problems else 0)


def _presenter(format_: str, registry: Registry, palette: Palette, full: bool) -> Callable[[Captured], bytes]:
    if format_ == "jsonl":
        from ..present import jsonl

        return jsonl.Presenter(registry)
    text: Callable[[Captured], str]
    if format_ == "monitor":
        from ..present import monitor

        text = monitor.Presenter(registry, palette)
    else:
        from ..present import pretty

        text = pretty.Presenter(registry, palette, full=full)
    encoding = sys.stdout.encoding or "utf-8"
    return lambda captured: (text(captured) + "\n").encode(encoding, "backslashreplace")
