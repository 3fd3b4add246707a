"""`libvirt-proto generate structs --check`: layout files compared as libvirt's build does, with a verdict."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from difflib import unified_diff
from pathlib import Path
from typing import Final

import click

from ..errors import reason
from ..files import open_regular
from ..quoting import printable
from ..render import Artefact
from ..source import MAX_SIZE
from ..structs_files import Change, Comparison, compare_layouts, squeezed

#: Maximum number of differences in words per file; the diff below them has all.
_SHOWN: Final = 20
#: Maximum number of line numbers in a sentence.
_MAX_NUMBERS: Final = 10
_WIRE: Final = {"changes": "the wire changes", "unclear": "the wire may change", "same": "the wire stays"}
_COLOURS: Final = {"-": "red", "+": "green", "@": "cyan"}


def check(artefacts: Iterable[Artefact], place: Path, *, quiet: bool) -> bool:
    """Report the comparison of each file with the definitions; return True if all are equal, ignoring white
    space."""
    good = True
    for artefact in artefacts:
        path = place / artefact.path
        try:
            with open_regular(path) as file:
                text = file.read(MAX_SIZE + 1).decode(errors="replace")
        except FileNotFoundError:
            good = False
            _print(f"structs: {path}: missing")
            continue
        except OSError as error:
            raise click.ClickException(f"cannot read {path}: {reason(error)}") from None
        if len(text) > MAX_SIZE:
            raise click.ClickException(f"cannot read {path}: larger than {MAX_SIZE >> 20} MiB")
        found = compare_layouts(text, artefact.text)
        if found.verdict in ("equal", "white space"):
            if not quiet:
                _print(f"structs: {path}: {_verdict(found)}")
            continue
        good = False
        _print(f"structs: {path}: {_verdict(found)}")
        _changes(found.changes)
        _diff(text, artefact.text, path)
    return good


def _verdict(found: Comparison) -> str:
    match found.verdict:
        case "equal":
            return "equal"
        case "white space":
            crlf = f"CRLF line endings ({found.crlf:,} lines)" if found.crlf else ""
            others = f"white space in {_numbers(found.lines)}" if found.lines else ""
            return f"equal except for {' and '.join(filter(None, (crlf, others)))}"
        case "spelling":
            return "the same layout, written differently"
        case "unreadable":
            return f"not a layout file: {found.why}"
    count = len({change.type for change in found.changes if change.type})
    if not count:
        return f"the order of its definitions differs; {_WIRE[found.wire]}"
    return f"the ABI of {count} type{'s' if count != 1 else ''} differs; {_WIRE[found.wire]}"


def _changes(changes: Sequence[Change]) -> None:
    """Print the differences, those of the wire first."""
    ordered = sorted(changes, key=lambda change: list(_WIRE).index(change.wire))
    for change in ordered[:_SHOWN]:
        _print(f"  {change.name}: {change.what}; {_WIRE[change.wire]}")
    if len(ordered) > _SHOWN:
        _print(f"  and {len(ordered) - _SHOWN} more, in the diff below")


def _diff(file: str, ours: str, path: Path) -> None:
    """Print a unified diff that ignores white space as `diff -b` does."""
    lines = ours.splitlines()
    spelled = {squeezed(line): line for line in lines}
    theirs = [spelled.get(squeezed(line), line) for line in file.splitlines()]
    for line in unified_diff(theirs, lines, str(path), "generated from the definitions", lineterm=""):
        _print(line.expandtabs(), _COLOURS.get(line[:1]))


def _print(line: str, colour: str | None = None) -> None:
    """Print a line, in a colour if it goes to a terminal."""
    text = printable(line)
    click.echo(click.style(text, fg=colour) if colour and sys.stdout.isatty() else text)


def _numbers(lines: Sequence[int]) -> str:
    words = [str(line) for line in lines[:_MAX_NUMBERS]]
    if len(lines) > _MAX_NUMBERS:
        words.append(f"{len(lines) - _MAX_NUMBERS:,} more")
    if len(words) == 1:
        return f"line {words[0]}"
    return f"lines {', '.join(words[:-1])} and {words[-1]}"
