"""`libvirt-proto encode`: JSON lines in, wire bytes out."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from ...events import Chunk, Direction, Notice
from ...filters import Filter
from .. import options
from ..inputs import Inputs, open_file
from ..output import destination
from ..status import Status

if TYPE_CHECKING:
    from ...jsonlines.reader import Parsed
    from ...registry import Registry

FORMATS = ("raw", "hex", "pcapng")


@click.command()
@click.argument("file", metavar="[FILE]", default="-", type=click.Path())
@click.option(
    "--format",
    "format_",
    type=click.Choice(FORMATS),
    help="raw: the bytes of all messages; hex: the same as text, one message per line; pcapng: a capture with"
    " connections and times. Default: hex on a terminal, otherwise raw.",
)
@click.option("--conn", "connections", metavar="TEXT", multiple=True, help="Only this connection.")
@click.option("--dir", "direction", type=click.Choice(["c2s", "s2c"]), help="Only this direction.")
@options.definitions
@options.colour
@options.output
@click.pass_context
def encode(
    ctx: click.Context,
    file: str,
    format_: str | None,
    connections: tuple[str, ...],
    direction: Direction | None,
    registry: Registry,
    color: str,
    output: Path | None,
) -> None:
    """Encode messages in JSON lines, as written by `decode --format jsonl`, to wire bytes. Pretty-printed and
    concatenated JSON and arrays are accepted, too. Without FILE, or with -, standard input is read. Lengths,
    counts and padding are computed; unedited lines give the original bytes. Use the same definitions as for
    decoding.

    raw and hex contain all messages in the order of the lines, whatever their connection and direction. To
    get the bytes of one side, select it with --conn (a number in order of appearance, or a part of the name)
    and --dir.

    A number and its name must agree (prog and program, proc and procedure): change both, or delete one. The
    same applies to payload and raw, which is present for payloads that are not canonical. See docs/encode.md
    for details.

    \b
    Examples:
      libvirt-proto decode --format jsonl capture.pcap > messages.jsonl
      libvirt-proto encode messages.jsonl -o copy.pcapng --format pcapng
      libvirt-proto encode messages.jsonl --conn 1 --dir c2s | nc 192.0.2.1 16509 | libvirt-proto decode -
      jq -c '.payload.name? |= "vm2"' call.jsonl | libvirt-proto encode --format hex

    A line that is not a message, or a value that does not fit, is reported with its line and path and
    skipped; the exit status is then 1.
    """
    Inputs((file,)).check(output)
    on_terminal = output is None and sys.stdout.isatty()
    if on_terminal and format_ not in (None, "hex"):
        raise click.UsageError(
            f"expected a file or a pipe for {format_}, got a terminal: use -o FILE or --format hex"
        )
    from ...jsonlines.reader import parse_lines

    accepts = Filter(registry, connections=connections)
    status = Status(options.palette(color, sys.stderr), bar=False, summary=sys.stderr.isatty())
    with open_file(file) as lines, destination(output) as out, status:
        status.source("standard input" if file == "-" else file)
        write = _writer(format_ or ("hex" if on_terminal else "raw"), out)
        live = not os.path.isfile(file)
        seen = 0
        for item in parse_lines(getattr(lines, "read1", lines.read), registry):
            if isinstance(item, Notice):
                out.flush()
                status.notice(item)
                continue
            captured = item.captured
            status.messages += 1
            seen = max(seen, captured.connection.id)
            if accepts(captured) and direction in (None, captured.direction):
                status.shown += 1
                write(item)
                if live:
                    out.flush()
        out.flush()
        status.connections = seen
    ctx.exit(1 if status.problems else 0)


def _writer(format_: str, out: BinaryIO) -> Callable[[Parsed], object]:
    if format_ == "hex":
        return lambda parsed: out.write(parsed.frame.hex().encode() + b"\n")
    if format_ == "pcapng":
        from ...capture.pcap.recorder import Recorder

        recorder = Recorder(out)
        return lambda parsed: recorder.add(_chunk(parsed))
    return lambda parsed: out.write(parsed.frame)


def _chunk(parsed: Parsed) -> Chunk:
    captured = parsed.captured
    return Chunk(captured.connection, captured.direction, captured.time_ns, parsed.frame)
