"""`libvirt-proto identify`: the releases of libvirt that a file fits."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

import click
from msgspec.structs import replace

from ...codec.identification import Evidence, Identification, Range, spell
from ...presenters.table import wrap
from ...text import amount, printable
from .. import options
from ..inputs import Inputs, input_format, keylog, open_file, port
from ..status import Status

if TYPE_CHECKING:
    from ...capture.detect import FileFormat

#: Bytes of definitions, a tapset or a binary that cannot be read again.
MAX_BYTES: Final = 64 << 20
#: Number of things used in a capture that are shown without --all.
SHOWN: Final = 8
#: Minimum width of a reason next to what it is about.
_REASON: Final = 40
_ELF: Final = b"\x7fELF"
_ARCHIVE: Final = re.compile(r"\.(?:tar(?:\.\w+)?|t[gx]z|tbz2?|zip)$", re.IGNORECASE)
#: The first declaration of a .x file, or the provider of a .d file.
_DEFINITIONS: Final = re.compile(
    rb"^(?:%#include \"|const \w+ = |typedef \w+ \w|(?:enum|struct) \w+ *\{|union \w+ switch|program \w+ *\{"
    rb"|provider \w+ *\{)",
    re.MULTILINE,
)
_PROVIDER: Final = re.compile(rb"^provider \w+ *\{", re.MULTILINE)
_TAPSET: Final = re.compile(rb"^(?:function libvirt_rpc_\w+_name\b|probe libvirt\.)", re.MULTILINE)
#: The first record of a log (virLogVersionString in virlog.c).
_LOG_VERSION: Final = re.compile(rb"\blibvirt version: ([0-9]{1,4}(?:\.[0-9]{1,4}){2,3})\b")


@click.command()
@click.argument("file", metavar="FILE", type=click.Path())
@port
@keylog
@input_format
@click.option(
    "--all", "everything", is_flag=True, help="Show everything that narrows the releases of a capture."
)
@options.wide
@options.text_or_json("an object with the releases, and the evidence for each part of the file")
@options.colour
@click.pass_context
def identify(
    ctx: click.Context,
    file: str,
    ports: tuple[int, ...],
    keylog: str | None,
    input_format: FileFormat | None,
    everything: bool,
    wide: bool,
    as_json: bool,
    color: str,
) -> None:  # fmt: skip
    """Find the libvirt releases that a file fits: definitions, a tapset, a binary or a capture.

    \b
    FILE is
      a .x or .d file, a folder or a source archive with such files: declarations are compared;
      a tapset (libvirt_functions.stp, libvirt_probes.stp): names of numbers, arguments of probes;
      libvirt.so.0 or another binary of libvirt: versions of symbols, types, probes;
      any input of decode: procedures, limits and fields that client and server use, and the release
      that a server or a log states.

    Definitions, tapsets and binaries give a range, a capture mostly a lower bound ("5.5.0 or later"): a newer
    peer need not use what is new. If no release fits, the closest ones are named.

    \b
    Examples:
      libvirt-proto identify remote_protocol.x
      libvirt-proto identify ~/src/libvirt/src
      libvirt-proto identify /usr/share/systemtap/tapset/libvirt_functions.stp
      libvirt-proto identify /usr/lib/x86_64-linux-gnu/libvirt.so.0
      libvirt-proto identify capture.pcap
      ssh host cat /var/log/libvirt/libvirtd.log | libvirt-proto identify --format json -

    The exit status is 0 if a release fits, 1 if none does or the input has errors.
    """
    name = "standard input" if file == "-" else file
    status = Status(options.palette(color, sys.stderr), bar=sys.stderr.isatty(), summary=False)
    inputs = Inputs((file,), ports, keylog=keylog, format=input_format)
    if not os.path.isdir(file):
        inputs.check(None)
    elif input_format is not None or keylog is not None:
        raise click.UsageError(f"{file}: expected a capture, got a folder")
    with options.invalid_definitions(name), status:
        found = _identify(file, name, inputs, status)
    if as_json:
        _print_json(name, found)
    else:
        _print_text(name, found, color, everything, options.width(fit=not wide))
    ctx.exit(0 if found.ranges and not status.problems else 1)


def _identify(file: str, name: str, inputs: Inputs, status: Status) -> Identification:
    from ...capture.detect import SNIFF_SIZE
    from ...definitions import identify

    if os.path.isdir(file) or (_ARCHIVE.search(file) and os.path.isfile(file)):
        return identify.tree(Path(file))
    with open_file(file) as opened:
        head = opened.read(SNIFF_SIZE)
        if opened.seekable():
            opened.seek(0)
            again: BinaryIO = opened
        else:
            again = io.BufferedReader(_Continued(head, opened))
        match _kind(file, head) if inputs.format is None else "capture":
            case "definitions":
                return identify.definitions(_definition_name(file, head), _read(again, name))
            case "tapset":
                return identify.tapset(name, _read(again, name))
            case "binary":
                return identify.binary(name, opened if again is opened else io.BytesIO(_read(again, name)))
        return _capture(replace(inputs, opened=again), status, head)


def _kind(file: str, head: bytes) -> str:
    """Return what a file is, by its first bytes or its suffix."""
    suffix = os.path.splitext(file)[1]
    if head.startswith(_ELF):
        return "binary"
    if suffix == ".stp" or (b"\0" not in head and _TAPSET.search(head)):
        return "tapset"
    if suffix in (".x", ".d") or (b"\0" not in head and _DEFINITIONS.search(head)):
        return "definitions"
    return "capture"


def _definition_name(file: str, head: bytes) -> str:
    """Return the base name of a file of definitions, whose suffix gives its language."""
    name = "stdin" if file == "-" else os.path.basename(file)
    if os.path.splitext(name)[1] in (".x", ".d"):
        return name
    return name + (".d" if _PROVIDER.search(head) else ".x")


def _read(file: BinaryIO, name: str) -> bytes:
    data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise click.ClickException(f"{name}: expected at most {MAX_BYTES >> 20} MiB")
    return data


class _Continued(io.RawIOBase):
    """The first bytes of a file that were read already, then the rest of it."""

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        self._head = head
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        data = self._head[: len(buffer)]
        self._head = self._head[len(data) :]
        if not data:
            read: Callable[[int], bytes] = getattr(self._rest, "read1", self._rest.read)
            data = read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _capture(inputs: Inputs, status: Status, head: bytes) -> Identification:
    from ...events import Captured
    from ...figures.peer_releases import PeerReleases
    from ...registry import default

    (file,) = inputs.files
    releases = PeerReleases(default())
    with inputs.open(file, default(), status) as capture:
        for item in capture.timeline():
            if isinstance(item, Captured):
                releases.add(item)
    found = releases.identification()
    if (stated := _LOG_VERSION.search(head)) is None or b"\0" in head:
        return found
    release = stated[1].decode()
    ranges = (Range(release, release),)
    own = Evidence("writer of the log", ranges, f"libvirt version: {release}")
    return found._replace(ranges=ranges, evidence=(own, *found.evidence))


def _print_text(name: str, found: Identification, color: str, everything: bool, columns: int) -> None:
    palette = options.stdout_palette(color)
    if not found.ranges:
        known = "no known release of libvirt"
    elif found.ranges == (Range(),):
        known = "any release of libvirt"
    else:
        known = f"libvirt {spell(found.ranges)}"
    click.echo(f"{palette.name}{printable(name)}{palette.off}: {known}", color=True)
    evidence = found.evidence
    if found.kind == "capture" and not everything:
        evidence = evidence[:SHOWN]
    rows = [(printable(each.what), _releases(each)) for each in evidence]
    widths = [max((len(row[at]) for row in rows), default=0) for at in range(2)]
    room = columns - sum(widths) - len("      ")
    for (what, releases), each in zip(rows, evidence, strict=True):
        head = f"  {what:{widths[0]}}  {releases:{widths[1]}}  "
        if room < _REASON:
            click.echo(head.rstrip())
            head = "    "
        first, *more = wrap(printable(each.why), columns - len(head))
        for indent, line in ((head, first), *((" " * len(head), line) for line in more)):
            click.echo(f"{indent}{palette.quiet}{line}{palette.off}".rstrip(), color=True)
    if len(evidence) < len(found.evidence):
        click.echo(f"  … {len(found.evidence) - len(evidence):,} more (--all)")


def _releases(evidence: Evidence) -> str:
    if evidence.ranges or not evidence.closest:
        return spell(evidence.ranges)
    return f"none; closest: {spell(evidence.closest)} ({amount(evidence.differences, 'difference')})"


def _print_json(name: str, found: Identification) -> None:
    from msgspec import json

    facts = {
        "input": name.encode("utf-8", "backslashreplace").decode(),
        "kind": found.kind,
        "releases": _ranges(found.ranges),
        "evidence": [
            {
                "what": each.what,
                "releases": _ranges(each.ranges),
                "why": each.why or None,
                "closest": _ranges(each.closest),
                "differences": each.differences,
            }
            for each in found.evidence
        ],
    }
    click.echo(json.format(json.encode(facts), indent=2))


def _ranges(ranges: tuple[Range, ...]) -> list[dict[str, str | None]]:
    return [each._asdict() for each in ranges]
