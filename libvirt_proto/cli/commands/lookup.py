"""`libvirt-proto lookup`: the meanings of numbers, names and quoted messages."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from itertools import groupby, islice
from typing import TYPE_CHECKING, Final

import click

from ...presenters import table
from ...presenters.table import Column
from ...text import printable
from .. import complete as names
from .. import descriptions, meanings, options
from ..descriptions import Description

if TYPE_CHECKING:
    from ...presenters.style import Palette
    from ...registry import Registry

#: More meanings of a kind than this are lines of a table.
_BLOCKS: Final = 3
#: The number of digits of a header, the shortest text that is the bytes of a message.
_HEADER_DIGITS: Final = 48
#: Number of decimal digits in several words that show a header in any form: names have fewer.
_FEWEST_DIGITS: Final = 12
#: Number of lines of a table or a list, by default.
_LINES: Final = 12
#: Facts that are lists of lines.
_LISTS: Final = frozenset(("history", "procedures", "filtered", "fields"))
_PLURALS: Final = {
    "constant": "constants with this value",
    "former value": "constants that had this value",
    descriptions.API_MEMBER: "API enum members with this number",
}


class _LookupCommand(click.Command):
    """A command whose words may be negative numbers."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Replace the sign of negative numbers, which click would parse as options."""
        words = [f"\N{MINUS SIGN}{word[1:]}" if _is_negative(word) else word for word in args]
        return super().parse_args(ctx, words)


def _is_negative(word: str) -> bool:
    return word[:1] == "-" and word[1:2].isdigit()


@click.command(cls=_LookupCommand)
@click.argument("words", metavar="WORD...", nargs=-1, required=True, shell_complete=names.lookup_words)
@options.text_or_json("an array, one object per meaning")
@options.top("Lines of each list", _LINES)
@click.option("--all", "everything", is_flag=True, help="Shorten no list.")
@options.wide
@options.definitions
@options.colour
@click.pass_context
def lookup(
    ctx: click.Context,
    words: tuple[str, ...],
    as_json: bool,
    top: int,
    everything: bool,
    wide: bool,
    registry: Registry,
    color: str,
) -> None:
    """Explain numbers and names of the protocol: programs, procedures, types, enums, constants, permissions,
    and the functions, enums and error codes of the public API. A WORD may also be a pasted error message or
    log line, or the bytes of a message in any form that decode reads.

    Numbers may be in any base, and negative. All meanings are listed, including values that constants had in
    older releases. A procedure can follow its program (qemu.domain_monitor_command, remote.66), a number its
    enum (virDomainState.5). Names of older releases are known, too.

    \b
    Examples:
      libvirt-proto lookup 66
      libvirt-proto lookup 0x20008086 auth_list
      libvirt-proto lookup virDomainGetState VIR_DOMAIN_RUNNING virErrorNumber.42
      libvirt-proto lookup VIR_NET_REPLY remote_nonnull_domain REMOTE_STRING_MAX
      libvirt-proto lookup domain:read org.libvirt.api.domain.read
      libvirt-proto lookup 'unknown procedure: 350'
      libvirt-proto lookup 0000001c 20008086 00000001 00000042 00000000 00000000 00000000
      libvirt-proto lookup 'packet 1195725852 bytes received from server too large, want 33554432'

    The exit status is 1 if a word means nothing.
    """
    found = _meanings(registry, tuple(word.replace("\N{MINUS SIGN}", "-") for word in words))
    if as_json:
        from msgspec import json

        rows = [{"query": word, **meaning} for word, meant in found.items() for meaning in meant]
        click.echo(json.format(json.encode(rows), indent=2))
    else:
        palette = options.palette(color, sys.stdout)
        pages = Pages(palette, None if everything else top, options.width(fit=not wide))
        text = "\n\n".join("\n".join(block) for meant in found.values() for block in pages.blocks(meant))
        if text:
            click.echo(text, color=True)
    unknown = [word for word, meant in found.items() if not meant]
    for word in unknown:
        hint = meanings.similar_to(registry, word)
        click.echo(f"libvirt-proto: error: unknown number or name {printable(word)!r}.{hint}", err=True)
    ctx.exit(1 if unknown else 0)


def _meanings(registry: Registry, words: tuple[str, ...]) -> dict[str, list[Description]]:
    """Return the meanings of each word, or of all words together if they are a message without quotes, or the
    bytes of one."""
    line = " ".join(words)
    if len(line) >= _HEADER_DIGITS and (len(words) == 1 or sum(map(str.isdigit, line)) >= _FEWEST_DIGITS):
        from .. import bytewords

        if described := bytewords.messages(registry, line):
            return {line: described}
    if len(words) > 1:
        from .. import quotes

        if found := quotes.message(registry, line):
            return {line: found}
    return {word: meanings.of(registry, word) or _quoted(registry, word) for word in words}


def _quoted(registry: Registry, text: str) -> list[Description]:
    from .. import quotes

    return quotes.of(registry, text)


class Pages:
    """The meanings of a word as blocks of lines within `width`, if possible. Lists have at most `limit` lines
    (None: no limit)."""

    def __init__(self, colour: Palette, limit: int | None, width: int) -> None:
        self._colour = colour
        self._limit = limit
        self._width = width

    def blocks(self, meant: Sequence[Description]) -> Iterator[Sequence[str]]:
        """Yield a block for each meaning, and a table for many of one kind."""
        for kind, same in groupby(meant, key=lambda meaning: str(meaning["kind"])):
            alike = list(same)
            if kind in _PLURALS and len(alike) > _BLOCKS:
                yield list(self._table(kind, alike))
            else:
                yield from (list(self._block(meaning)) for meaning in alike)

    def _table(self, kind: str, meant: list[Description]) -> Iterator[str]:
        """Yield a line for each meaning under a heading."""
        yield f"{self._colour.quiet}{_PLURALS[kind]}{self._colour.off}"
        shown = meant[: self._limit]
        names = Column("", [meaning["name"] for meaning in shown], right=False)
        for line in islice(table.lines([names, *_columns(kind, shown)], self._width - 2), 1, None):
            name, rest = line[: names.width], line[names.width :]
            yield f"  {self._colour.name}{name}{self._colour.off}{rest}"
        if len(meant) > len(shown):
            yield f"  … {len(meant) - len(shown):,} more (--all)"

    def _block(self, meaning: Description) -> Iterator[str]:
        """Yield a meaning as aligned lines under its kind and name."""
        colour = self._colour
        yield f"{colour.quiet}{meaning['kind']}{colour.off} {colour.name}{meaning['name']}{colour.off}"
        lines = [line for key, value in _facts(meaning).items() for line in self._lines(meaning, key, value)]
        width = max((len(label) for label, _ in lines), default=0)
        for label, text in lines:
            first, *more = table.wrap(text, self._width - width - 4)
            yield f"  {colour.field}{label:<{width}}{colour.off}  {first}"
            yield from (f"{'':<{width}}    {line}" for line in more)
        if "text" in meaning:
            yield from (f"  {colour.quiet}│{colour.off} {line}" for line in meaning["text"].splitlines())

    def _lines(self, meaning: Description, key: str, value: object) -> Iterator[tuple[str, str]]:
        """Yield the label and the text of a fact; of a list in _LISTS, a line per item."""
        if key not in _LISTS or not isinstance(value, list) or not value:
            yield key, _spell(meaning, key, value)
            return
        shown = value[: self._limit]
        for label, item in zip([key, *[""] * len(shown)], shown, strict=False):
            yield label, item["text"] if isinstance(item, dict) else str(item)
        if len(value) > len(shown):
            yield "", f"… {len(value) - len(shown):,} more (--all)"


def _facts(meaning: Description) -> Description:
    """Return the facts to show in a block, some in other words."""
    rest = {key: value for key, value in meaning.items() if key not in ("kind", "name", "text", "program")}
    if "since" in rest and (since := descriptions.addition(meaning)) is not None:
        rest["since"] = since
    elif "since" in rest:
        del rest["since"]
    for shown_in_since in ("function", "provenance"):
        rest.pop(shown_in_since, None)
    if "min_size" in rest:
        rest["size"] = size(rest.pop("min_size"), rest.pop("max_size"))
    if "last" in rest:
        rest["releases"] = _span(rest.pop("first"), rest.pop("last"))
        rest["now"] = rest.pop("now")
    history = rest.pop("history", None)
    if history is not None and meaning["kind"] != descriptions.API_ENUM:  # its text has the releases
        rest["history"] = history  # last
    return rest


def _span(first: str, last: str) -> str:
    return first if first == last else f"{first} to {last}"


def _spell(meaning: Description, key: str, value: object) -> str:
    if key == "number" and meaning["kind"] == "program":
        return f"{value:#010x} ({value})"
    if key == "calls":
        return _calls(meaning["calls"])
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if value is None:
        return "nothing" if key == "now" else "void"
    return str(value)


def _calls(called: list[str]) -> str:
    """Return what a function of the public API calls, in words."""
    if not called:
        return "nothing: it only uses what the client has"
    return ", ".join("messages of a stream that another call opened" if c == "stream" else c for c in called)


def _columns(kind: str, meant: Sequence[Description]) -> list[Column]:
    """Return the columns after the name in a table."""
    match kind:
        case "constant":
            return [Column("", [_last_change(each) for each in meant], right=False, cut=True)]
        case "former value":
            return [
                Column("", [_span(each["first"], each["last"]) for each in meant], right=False),
                Column("", [f"now {each['now'] or 'removed'}" for each in meant], right=False),
            ]
        case _:
            fields = [each["fields"] for each in meant]
            return [
                Column("", [each["enum"] for each in meant], 1, right=False),
                Column("", ["".join(names[:1]) for names in fields], right=False, cut=True),
                Column("", [f"and {len(n) - 1} more" if n[1:] else "" for n in fields], 2, right=False),
            ]


def _last_change(constant: Description) -> str:
    changes = [event["text"] for event in constant.get("history", []) if event.get("what") == "number"]
    return "".join(changes[-1:])


def size(least: int, most: int | None) -> str:
    """`24 bytes`, `24 to 4,194,332 bytes`, `at least 4 bytes`."""
    if most is None:
        return f"at least {least:,} bytes"
    return f"{least:,} bytes" if least == most else f"{least:,} to {most:,} bytes"
