"""`libvirt-proto lookup`: what a number or a name means."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from .. import publicnames
from ..present.text import printable
from . import facts, names, options
from .facts import Facts
from .numbers import number
from .suggest import did_you_mean

if TYPE_CHECKING:
    from ..present.style import Palette
    from ..registry import Module, Registry


@click.command()
@click.argument(
    "words", metavar="WORD...", nargs=-1, required=True, shell_complete=names.types_and_procedures
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array, one object per meaning.")
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
      libvirt-proto lookup --json VIR_ERR_NO_DOMAIN
      libvirt-proto lookup REMOTE_PROC_GET_TYPE

    The exit status is 1 if a word means nothing.
    """
    found = {
        word: [facts.with_history(registry, meaning) for meaning in meanings(registry, word)]
        or list(facts.former(registry, word))
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
        hint = did_you_mean(word, (meaning["name"] for meaning in everything(registry)))
        click.echo(f"libvirt-proto: {printable(word)!r} means nothing here.{hint}", err=True)
    ctx.exit(1 if unknown else 0)


def meanings(registry: Registry, word: str) -> list[Facts]:
    """Everything that a word can mean; case counts only if that leaves anything."""
    as_number = number(word)
    if as_number is not None:
        return [meaning for meaning in everything(registry) if _is_number(meaning, as_number)]
    found = [meaning for meaning in everything(registry) if word in _names(meaning)]
    folded = word.lower()
    return found or [
        meaning for meaning in everything(registry) if folded in {name.lower() for name in _names(meaning)}
    ]


def everything(registry: Registry) -> Iterator[Facts]:
    """All that has a name."""
    for program in registry.programs():
        yield facts.program(program)
    for program in registry.programs():
        for procedure in program.procedures:
            yield facts.procedure(program, procedure)
    for module in registry.modules():
        yield from _module(module)
    externals = {name: place for module in registry.modules() for name, place in module.externals.items()}
    for constant, (value, header) in externals.items():
        yield facts.constant(header or "given with --define", constant, value)
    enums = publicnames.enums()
    for name in dict.fromkeys((*facts.NUMBERS, *enums)):
        yield facts.public_enum(name, enums[name].source, enums[name].names)
        for member, value in enums[name].names.items():
            yield facts.public_name(name, enums[name].source, member, value)


def _module(module: Module) -> Iterator[Facts]:
    """A module's types, and its enum members and constants that no program or procedure stands for."""
    for type_ in module.types.values():
        yield facts.type_(module.file, type_)
    procedures = {procedure.symbol for program in module.programs for procedure in program.procedures}
    for enum, members in module.enums.items():
        for name, member in members.__members__.items():
            if name not in procedures:
                yield facts.member(module, enum, name, int(member))
    programs = {program.symbol for program in module.programs}
    for name, value in module.constants.items():
        if name not in programs:
            yield facts.constant(module.file, name, value)


def _is_number(meaning: Facts, wanted: int) -> bool:
    """Constants are limits and sizes: a number does not mean one."""
    return meaning.get("number") == wanted and meaning["kind"] not in ("constant", facts.API_MEMBER)


def _names(meaning: Facts) -> set[str]:
    known = {meaning["name"], meaning.get("symbol", meaning["name"])}
    if meaning["kind"] == "procedure":
        known |= {meaning["name"].partition(".")[2], f"{meaning['program']}.{meaning['number']}"}
    return known


def _block(meaning: Facts, colour: Palette) -> Iterator[str]:
    """A meaning as aligned lines under its kind and name."""
    rest = {key: value for key, value in meaning.items() if key not in ("kind", "name", "text", "program")}
    yield f"{colour.quiet}{meaning['kind']}{colour.off} {colour.name}{meaning['name']}{colour.off}"
    if "since" in rest and (since := facts.came(meaning)) is not None:
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


def _spell(meaning: Facts, key: str, value: object) -> str:
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
