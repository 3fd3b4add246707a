"""`libvirt-proto guess`: identify bytes without context."""

from __future__ import annotations

import heapq
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import click

from ...events import Notice
from ...presenters import notices
from ...terminal import styled
from ...text import amount, number, printable
from .. import options
from ..inputs import Inputs, open_file

if TYPE_CHECKING:
    from mmap import mmap

    from ...guess.payloads import Payload
    from ...guess.search import Found, Run
    from ...presenters.style import Palette
    from ...registry import Registry
    from ...rpc.names import Names

    Bytes = bytes | mmap

TOP: Final = 5
#: Number of types of one layout that are named without --all.
NAMED: Final = 4
#: Number of bytes that identify another protocol.
_START: Final = 4096


def _size(_ctx: click.Context, _option: click.Parameter, word: str | None) -> int | None:
    """Parse a number of bytes, written as in C."""
    size = None if word is None else number(word)
    if word is not None and (size is None or size < 0):
        raise click.BadParameter(f"expected a number of bytes, got {word!r}")
    return size


@click.command()
@click.argument("file", metavar="[FILE]", default="-", type=click.Path())
@click.option(
    "--offset", metavar="N", callback=_size, default="0", help="Begin at this byte (0x… is hex). Default: 0."
)
@click.option("--length", metavar="N", callback=_size, help="Read only this many bytes.")
@click.option(
    "--input-format",
    type=click.Choice(["raw", "hex"]),
    help="Read FILE as raw (binary) or hex (bytes as text; numbers, text and base64 that are not a message"
    " need it).",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="json: one object, including the decoded values.",
)
@click.option(
    "--top",
    type=click.IntRange(1),
    default=TOP,
    show_default=True,
    metavar="N",
    help="Show the N best guesses of each kind.",
)
@click.option("--all", "everything", is_flag=True, help="Show all guesses, with the names of all types.")
@options.printed_to_file
@options.definitions
@options.colour
@click.pass_context
def guess(
    ctx: click.Context,
    file: str,
    offset: int,
    length: int | None,
    input_format: str | None,
    format_: str,
    top: int,
    everything: bool,
    registry: Registry,
    color: str,
) -> None:
    """Identify unknown bytes: messages, headers without a payload or without a length word, payloads with
    their possible types, and the first bytes of other protocols. FILE is binary (a core file, a piece of
    memory) or bytes as text: hex, dumps (xxd, od, hexdump, gdb, …), literals of programming languages,
    base64. Without it, or with -, standard input is read.

    Messages are searched for at every byte. Types are tried at the first byte (see --offset), up to 64 KiB;
    they must be canonical XDR, to the last byte or to some remaining bytes.

    Guesses are ranked by evidence in bits: the improbability that unrelated bytes would match. 30 bits are
    strong evidence; random bytes reach about 10. Types with the same layout are one guess, since no bytes can
    distinguish them.

    \b
    Examples:
      libvirt-proto guess payload.bin
      xxd -p payload.bin | libvirt-proto guess -
      libvirt-proto guess core --offset 0x7f40 --length 200
      libvirt-proto guess --format json --all dump.hex

    The exit status is 1 if nothing is recognised with some evidence, or if the hex is damaged.
    """
    Inputs((file,)).check(None)
    from ...guess.payloads import MAX_BYTES, Payloads
    from ...guess.search import Search
    from ...guess.words import strength
    from ...rpc.names import Names
    from ...rpc.wronglength import explain_start

    name = "standard input" if file == "-" else file
    problems: list[Notice] = []
    with _bytes(file, input_format, offset, length, problems) as data:
        runs, run_count = _best(Search(registry).runs(data), None if everything else top)
        whole = bool(runs) and runs[0].size == len(data) and not runs[0].messages[0].headless
        small = len(data) <= MAX_BYTES
        payloads = [] if whole or not small else Payloads(registry).rank(data[:])
        protocol = None if runs else explain_start(data[:_START], registry.programs())
        size = len(data)
    names = Names(registry)
    if format_ == "json":
        _print_json(size, protocol, runs, payloads if everything else payloads[:top], names)
    else:
        skipped = "they are messages" if whole else "" if small else f"more than {MAX_BYTES:,} bytes"
        shown = _Text(options.stdout_palette(color), registry, names, offset, everything)
        shown.head(name, size)
        shown.protocol(protocol)
        shown.runs(runs, run_count)
        shown.payloads(payloads, top, skipped)
    for problem in problems:
        click.echo(notices.line(problem, name, options.palette(color, sys.stderr)), file=styled(sys.stderr))
    recognised = runs or protocol or any(strength(payload.bits) != "none" for payload in payloads[:1])
    ctx.exit(0 if recognised and all(problem.severity == "note" for problem in problems) else 1)


def _best(runs: Iterator[Run], top: int | None) -> tuple[list[Run], int]:
    """Return the runs with the most evidence, best first, and their number."""
    count = 0

    def counted() -> Iterator[Run]:
        nonlocal count
        for run in runs:
            count += 1
            yield run

    def rank(run: Run) -> tuple[float, int]:
        return (run.bits, -run.offset)

    best = sorted(counted(), key=rank, reverse=True) if top is None else heapq.nlargest(top, counted(), rank)
    return best, count


class _Text:
    """Guesses as text for people."""

    def __init__(
        self, palette: Palette, registry: Registry, names: Names, base: int, everything: bool
    ) -> None:
        self._palette = palette
        self._registry = registry
        self._names = names
        self._base = base
        self._all = everything

    def head(self, name: str, size: int) -> None:
        """Yield a line about the input."""
        click.echo(f"{printable(name)}: {amount(size, 'byte')}")

    def protocol(self, protocol: str | None) -> None:
        """Print the protocol of bytes that are not libvirt's."""
        if protocol is not None:
            self._section(f"Protocol: {printable(protocol)}")

    def runs(self, runs: list[Run], count: int) -> None:
        """Yield lines about messages and headers."""
        from ...guess import words
        from ...rpc.mistyped import fitting_event

        if not runs:
            self._section("Messages: none")
            return
        self._section("Messages")
        for run in runs:
            self._line(run.bits, words.run(run))
            for found in run.messages:
                event = fitting_event(found.message, self._registry)
                self._detail(f"byte {self._place(found)}: {words.message(found, self._names, event)}")
            if run.count > len(run.messages):
                self._detail(f"… {run.count - len(run.messages):,} more")
        self._more(count - len(runs))

    def payloads(self, payloads: list[Payload], top: int, skipped: str) -> None:
        """Yield lines about payloads, best first."""
        from ...guess import words

        if not payloads:
            self._section(f"Payloads: {f'not tried ({skipped})' if skipped else 'none'}")
            return
        self._section("Payloads")
        shown = payloads if self._all else payloads[:top]
        for payload in shown:
            types = payload.types if self._all else payload.types[:NAMED]
            more = len(payload.types) - len(types)
            layout = f" and {more:,} more with the same layout" if more else ""
            self._line(payload.bits, f"{self._palette.name}{', '.join(types)}{self._palette.off}{layout}")
            self._detail("; ".join(words.reasons(payload)))
        self._more(len(payloads) - len(shown))
        doubt = words.ambiguity(payloads)
        if doubt:
            click.echo(f"\nNote: {doubt}.", color=True)

    def _place(self, found: Found) -> str:
        return f"{self._base + found.offset:,} ({self._base + found.offset:#x})"

    def _section(self, text: str) -> None:
        click.echo(f"\n{text}")

    def _line(self, bits: float, text: str) -> None:
        from ...guess.words import strength

        evidence = f"{bits:6.0f} bits, {strength(bits)}:"
        click.echo(f"{evidence:21} {text}", color=True)

    def _detail(self, text: str) -> None:
        click.echo(f"{'':21} {self._palette.quiet}{text}{self._palette.off}", color=True)

    def _more(self, count: int) -> None:
        if count > 0:
            self._detail(f"… {count:,} more guesses (--all)")


def _print_json(
    size: int, protocol: str | None, runs: list[Run], payloads: list[Payload], names: Names
) -> None:
    from msgspec import json

    from ...guess import words
    from ...jsonlines.encode import to_plain

    found = {
        "bytes": size,
        "protocol": protocol,
        "messages": [
            {
                "offset": run.offset,
                "size": run.size,
                "count": run.count,
                "bits": round(run.bits, 1),
                "strength": words.strength(run.bits),
                "messages": [_message(each, names) for each in run.messages],
            }
            for run in runs
        ],
        "payloads": [
            {
                "types": payload.types,
                "bits": round(payload.bits, 1),
                "strength": words.strength(payload.bits),
                "used": payload.used,
                "left": payload.left,
                "why": list(words.reasons(payload)),
                "value": to_plain(payload.type, payload.value, named=True),
            }
            for payload in payloads
        ],
        "note": words.ambiguity(payloads) if payloads else None,
    }
    click.echo(json.format(json.encode(found), indent=2))


def _message(found: Found, names: Names) -> dict[str, Any]:
    message, header = found.message, found.message.header
    program, procedure = names.of(header)
    return {
        "offset": found.offset,
        "size": found.size,
        "bits": round(found.bits, 1),
        "length_word": not found.headless,
        "prog": header.prog,
        "program": program,
        "proc": header.proc,
        "procedure": procedure,
        "type": header.type,
        "status": header.status,
        "serial": header.serial,
        "payload_type": message.payload_type,
        "missing": message.missing,
        "spare": len(message.spare),
        "error": None if message.error is None else str(message.error),
    }


@contextmanager
def _bytes(
    file: str, input_format: str | None, offset: int, length: int | None, problems: list[Notice]
) -> Iterator[Bytes]:
    """Return the bytes of a file, or those that its text shows. A binary file is mapped instead of read.
    Notices about the text are added to `problems`."""
    from mmap import ACCESS_READ, mmap

    from ...capture.bytetext.reader import looks_like_byte_text
    from ...capture.detect import SNIFF_SIZE

    end = None if length is None else offset + length
    with open_file(file) as opened:
        head = opened.read(SNIFF_SIZE)
        is_text = looks_like_byte_text(head) if input_format is None else input_format == "hex"
        if not is_text and head and os.path.isfile(file):
            with mmap(opened.fileno(), 0, access=ACCESS_READ) as mapped:
                yield mapped[offset:end] if offset or length is not None else mapped
            return
        data = head + opened.read()
    yield (_shown(data, input_format is not None, problems) if is_text else data)[offset:end]


def _shown(text: bytes, forced: bool, problems: list[Notice]) -> bytes:
    """Return the bytes that a text shows, with its groups of lines concatenated."""
    from ...capture.bytetext.reader import byte_chunks
    from ...events import Chunk

    data = []
    for item in byte_chunks(io.BytesIO(text).read, forced=forced):
        if isinstance(item, Chunk):
            data.append(item.data)
        elif isinstance(item, Notice):
            problems.append(item)
    return b"".join(data)
