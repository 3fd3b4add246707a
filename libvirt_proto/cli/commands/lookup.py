"""`libvirt-proto lookup`: what a number or a name means."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import click

from ...names import public as publicnames
from ...similar import did_you_mean
from ...text import number, printable
from .. import complete as names
from .. import descriptions, options
from ..descriptions import Description

if TYPE_CHECKING:
    from ...presenters.style import Palette
    from ...registry import Module, Registry


@click.command()
@click.argument(
    "words", metavar="WORD...", nargs=-1, required=True, shell_complete=names.types_and_procedures
)
@options.text_or_json("an array, one object per meaning")
@options.definitions
@options.colour
@click.pass_context
def lookup(
    ctx: click.Context,
    words: tuple[str, ...],
    as_json: bool,
    registry: Registry,
    color: str,
) -> None:
    """Say what numbers and names of the protocol mean: programs, procedures, types, enums and their members,
    constants, and the names that libvirt's public API has for numbers in payloads. A number can be decimal or
    hexadecimal, and mean several things: all are listed, but of the API only errors, driver features and the
    events of domains. A procedure can have its program before it (qemu.domain_monitor_command, remote.66).
    Of what is in libvirt's definitions it says which release it came with, and what changed since; names that
    older releases have are known, too.

    \b
    Examples:
      libvirt-proto lookup 66
      libvirt-proto lookup 0x20008086 auth_list
      libvirt-proto lookup VIR_NET_REPLY remote_nonnull_domain REMOTE_STRING_MAX
      libvirt-proto lookup VIR_DOMAIN_RUNNING virDomainState
      libvirt-proto lookup --format json VIR_ERR_NO_DOMAIN
      libvirt-proto lookup REMOTE_PROC_GET_TYPE

    The exit status is 1 if a word means nothing.
    """
    found = {
        word: [descriptions.with_history(registry, meaning) for meaning in meanings(registry, word)]
        or list(descriptions.former(registry, word))
        for word in words
    }
    if as_json:
        from msgspec import json

        rows = [{"query": word, **meaning} for word, meant in found.items() for meaning in meant]
        click.echo(json.format(json.encode(rows), indent=2))
    else:
        palette = options.palette(color, sys.stdout)
        blocks = ("\n".join(_block(meaning, palette)) for meant in found.values() for meaning in meant)
        text = "\n\n".join(blocks)
        if text:
            click.echo(text, color=True)
    unknown = [word for word, meant in found.items() if not meant]
    for word in unknown:
        hint = did_you_mean(word, (entry.names[0] for entry in everything(registry)))
        click.echo(f"libvirt-proto: {printable(word)!r} means nothing here.{hint}", err=True)
    ctx.exit(1 if unknown else 0)


class Entry(NamedTuple):
    """Something that has names, the first of which is its own, and perhaps a number that means it; `facts`
    are put together when they are asked for, for those of a type take its module to be loaded."""

    names: tuple[str, ...]
    number: int | None
    facts: Callable[[], Description]


def meanings(registry: Registry, word: str) -> list[Description]:
    """Everything that a word can mean; case counts only if that leaves anything."""
    as_number = number(word)
    if as_number is not None:
        return [entry.facts() for entry in numbered(registry) if entry.number == as_number]
    found = [entry.facts() for entry in everything(registry) if word in entry.names]
    folded = word.lower()
    return found or [
        entry.facts() for entry in everything(registry) if any(folded == name.lower() for name in entry.names)
    ]


def everything(registry: Registry) -> Iterator[Entry]:
    """All that has a name."""
    yield from numbered(registry)
    for module in registry.modules():
        yield from _unnumbered(module)
    externals = {name: place for module in registry.modules() for name, place in module.externals.items()}
    for name, (value, header) in externals.items():
        yield Entry(
            (name,), None, partial(descriptions.constant, header or "given with --define", name, value)
        )
    for name, enum in publicnames.enums().items():
        yield Entry((name,), None, partial(descriptions.public_enum, name, enum.source, enum.names))
        if name not in descriptions.NUMBERS:
            for member, value in enum.names.items():
                yield Entry(
                    (member,), None, partial(descriptions.public_name, name, enum.source, member, value)
                )


def numbered(registry: Registry) -> Iterator[Entry]:
    """All that a number can mean. Constants are limits and sizes, and members of most enums of the API would
    have any small number: a number does not mean them."""
    for program in registry.programs():
        yield Entry((program.name, program.symbol), program.number, partial(descriptions.program, program))
    for program in registry.programs():
        for procedure in program.procedures:
            full, by_number = f"{program.name}.{procedure.name}", f"{program.name}.{procedure.number}"
            names = (full, procedure.name, procedure.symbol, by_number)
            yield Entry(names, procedure.number, partial(descriptions.procedure, program, procedure))
    for module in registry.modules():
        procedures = {procedure.symbol for program in module.programs for procedure in program.procedures}
        for enum, members in module.members.items():
            for name, value in members.items():
                if name not in procedures:
                    yield Entry((name,), value, partial(descriptions.member, module, enum, name, value))
    for name in descriptions.NUMBERS:
        enum_ = publicnames.enums()[name]
        for member, value in enum_.names.items():
            yield Entry(
                (member,), value, partial(descriptions.public_name, name, enum_.source, member, value)
            )


def _unnumbered(module: Module) -> Iterator[Entry]:
    """A module's types, and its constants that no program stands for."""
    for name in module.type_names:
        yield Entry((name,), None, partial(_type, module, name))
    programs = {program.symbol for program in module.programs}
    for name, value in module.constants.items():
        if name not in programs:
            yield Entry((name,), None, partial(descriptions.constant, module.file, name, value))


def _type(module: Module, name: str) -> Description:
    return descriptions.type_(module.file, module.types[name])


def _block(meaning: Description, colour: Palette) -> Iterator[str]:
    """A meaning as aligned lines under its kind and name."""
    rest = {key: value for key, value in meaning.items() if key not in ("kind", "name", "text", "program")}
    yield f"{colour.quiet}{meaning['kind']}{colour.off} {colour.name}{meaning['name']}{colour.off}"
    if "since" in rest and (since := descriptions.addition(meaning)) is not None:
        rest["since"] = since
    elif "since" in rest:
        del rest["since"]
    rest.pop("function", None)
    events = rest.pop("history", [])
    if "min_size" in rest:
        rest["size"] = size(rest.pop("min_size"), rest.pop("max_size"))
    width = max(map(len, [*rest, *(["history"] if events else [])]), default=0)
    for key, value in rest.items():
        yield f"  {colour.field}{key:<{width}}{colour.off}  {_spell(meaning, key, value)}"
    for label, event in zip(["history", *[""] * len(events)], events, strict=False):
        yield f"  {colour.field}{label:<{width}}{colour.off}  {event['text']}"
    if "text" in meaning:
        yield from (f"  {colour.quiet}│{colour.off} {line}" for line in meaning["text"].splitlines())


def _spell(meaning: Description, key: str, value: object) -> str:
    if key == "number" and meaning["kind"] == "program":
        return f"{value:#010x} ({value})"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if value is None:
        return "nothing" if key == "now" else "void"
    return str(value)


def size(least: int, most: int | None) -> str:
    """`24 bytes`, `24 to 4,194,332 bytes`, `at least 4 bytes`."""
    if most is None:
        return f"at least {least:,} bytes"
    return f"{least:,} bytes" if least == most else f"{least:,} to {most:,} bytes"
