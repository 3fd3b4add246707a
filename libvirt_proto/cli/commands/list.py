"""`libvirt-proto list`: what there is in the definitions."""

from __future__ import annotations

import fnmatch
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

import click

from ...errors import UnknownName
from ...filters import program_numbers
from ...presenters import table
from ...similar import did_you_mean
from .. import complete as names
from .. import descriptions, meanings, options

if TYPE_CHECKING:
    from ...registry import Module, Registry

#: `@acl: none`, as a word.
NO_PERMISSION: Final = "none"
#: What can be listed: the columns of its table, keys of its facts.
COLUMNS = {
    "programs": ("name", "number", "version", "procedures", "symbol"),
    "procedures": ("number", "name", "args", "ret", "msg"),
    "types": ("kind", "name", "file", "min_size", "max_size"),
    "enums": ("name", "file", "members"),
}


#: Columns that a narrow terminal lacks, in the order in which they are left out.
DROPS = {"symbol": 1, "msg": 1, "ret": 2, "file": 3}
#: Columns of numbers.
NUMBERS = frozenset(("number", "version", "procedures", "min_size", "max_size", "members"))


@click.command("list")
@click.argument("what", type=click.Choice(tuple(COLUMNS)))
@click.option(
    "--program",
    "words",
    metavar="NAME",
    shell_complete=names.programs,
    multiple=True,
    help="Only what this program has (repeatable, patterns).",
)
@click.option(
    "--acl",
    "permissions",
    metavar="PERMISSION",
    shell_complete=names.permissions,
    multiple=True,
    help="Only procedures that require this permission (domain:read, domain:*), or none. May be repeated.",
)
@options.text_or_json("an array, one object per line of the table")
@options.top("Rows of the table, or objects of the array")
@options.wide
@options.definitions
@options.colour
def list_(
    what: str,
    words: tuple[str, ...],
    permissions: tuple[str, ...],
    as_json: bool,
    top: int | None,
    wide: bool,
    registry: Registry,
    color: str,
) -> None:
    """List all programs, procedures, types or enums of the definitions. On a terminal this is a table that
    fits it; anywhere else the same columns are separated by tabs, without a head. Sizes are in bytes on the
    wire.

    \b
    Examples:
      libvirt-proto list programs
      libvirt-proto list procedures --program qemu
      libvirt-proto list procedures --acl domain:read
      libvirt-proto list types --format json | jq 'max_by(.min_size)'
      libvirt-proto list enums --release 0.9.7
    """
    try:
        wanted = {n for word in words for n in program_numbers(registry.programs(), word)} or None
    except UnknownName as error:
        raise click.UsageError(str(error)) from None
    rows = _rows(registry, what, wanted)
    if permissions:
        if what != "procedures":
            raise click.UsageError("--acl requires procedures")
        required = _required(registry, permissions)
        rows = [row for row in rows if required & _permissions_of(row)]
    shown = rows[:top]
    if as_json:
        from msgspec import json

        click.echo(json.format(json.encode(shown), indent=2))
        return
    names = COLUMNS[what]
    cells = [[_cell(row, column) for column in names] for row in shown]
    if not sys.stdout.isatty():
        for line in cells:
            click.echo("\t".join(line))
        return
    columns = [
        table.Column(
            name.replace("_", " "),
            [line[number] for line in cells],
            DROPS.get(name),
            right=name in NUMBERS,
            cut=name not in NUMBERS,
        )
        for number, name in enumerate(names)
    ]
    colour = options.palette(color, sys.stdout)
    for text in table.lines(columns, options.width(fit=not wide), colour):
        click.echo(text, color=True)
    if len(rows) > len(shown):
        click.echo(f"{colour.quiet}… {len(rows) - len(shown):,} more{colour.off}", color=True)


def _rows(registry: Registry, what: str, wanted: set[int] | None) -> list[descriptions.Description]:
    programs = [p for p in registry.programs() if wanted is None or p.number in wanted]
    modules = [
        m for m in registry.modules() if wanted is None or wanted & {program.number for program in m.programs}
    ]
    match what:
        case "programs":
            return [descriptions.program(program) for program in programs]
        case "procedures":
            return [
                descriptions.with_history(registry, descriptions.procedure(program, p))
                for program in programs
                for p in program.procedures
            ]
        case "types":
            return [
                descriptions.type_(module.file, type_)
                for module in modules
                for type_ in module.types.values()
            ]
        case _:
            return [_enum(module, name) for module in modules for name in module.enums]


def _required(registry: Registry, words: Iterable[str]) -> set[str]:
    """Return the permissions that words and patterns name. Raises click.UsageError for an unknown one."""
    known = [*meanings.permissions(registry), NO_PERMISSION]
    found: set[str] = set()
    for word in words:
        matches = fnmatch.filter(known, meanings.permission(word) or word)
        if not matches:
            raise click.UsageError(f"unknown permission {word!r}.{did_you_mean(word, known)}")
        found.update(matches)
    return found


def _permissions_of(row: descriptions.Description) -> set[str]:
    """Return the permissions of a procedure without their conditions; `none` for one that requires none."""
    rules = [*(row.get("acl") or ()), *(row.get("aclfilter") or ())]
    if not rules and row.get("acl") is not None:
        return {NO_PERMISSION}
    return {":".join(rule.split(":")[:2]) for rule in rules}


def _enum(module: Module, name: str) -> descriptions.Description:
    members = {member: int(value) for member, value in module.enums[name].__members__.items()}
    return {"kind": "enum", "name": name, "file": module.file, "members": members}


def _cell(row: descriptions.Description, column: str) -> str:
    value: Any = row[column]
    if isinstance(value, dict):
        return str(len(value))
    if row["kind"] == "program" and column == "number":
        return f"{value:#010x}"
    return "-" if value is None else str(value)
