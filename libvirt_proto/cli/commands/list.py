"""`libvirt-proto list`: what there is in the definitions."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from ...errors import UnknownName
from ...filters import program_numbers
from .. import complete as names
from .. import descriptions, options

if TYPE_CHECKING:
    from ...registry import Module, Registry

#: What can be listed: the columns of its table, keys of its facts.
COLUMNS = {
    "programs": ("name", "number", "version", "procedures", "symbol"),
    "procedures": ("number", "name", "args", "ret", "msg"),
    "types": ("kind", "name", "file", "min_size", "max_size"),
    "enums": ("name", "file", "members"),
}


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
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array, one object per line of the table.")
@options.definitions
@options.colour
def list_(what: str, words: tuple[str, ...], as_json: bool, registry: Registry, color: str) -> None:
    """List all programs, procedures, types or enums of the definitions. On a terminal this is a table;
    anywhere else the same columns are separated by tabs, without a head. Sizes are in bytes on the wire.

    \b
    Examples:
      libvirt-proto list programs
      libvirt-proto list procedures --program qemu
      libvirt-proto list types --json | jq 'max_by(.min_size)'
      libvirt-proto list enums --release 0.9.7
    """
    try:
        wanted = {n for word in words for n in program_numbers(registry.programs(), word)} or None
    except UnknownName as error:
        raise click.UsageError(str(error)) from None
    rows = _rows(registry, what, wanted)
    if as_json:
        from msgspec import json

        click.echo(json.format(json.encode(rows), indent=2))
        return
    table = [[_cell(row, column) for column in COLUMNS[what]] for row in rows]
    if not sys.stdout.isatty():
        for line in table:
            click.echo("\t".join(line))
        return
    colour = options.palette(color, sys.stdout)
    head = [column.replace("_", " ") for column in COLUMNS[what]]
    widths = [max(map(len, column)) for column in zip(head, *table, strict=True)]
    click.echo(f"{colour.field}{_line(head, widths)}{colour.off}", color=True)
    for line in table:
        click.echo(_line(line, widths))


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


def _line(cells: list[str], widths: list[int]) -> str:
    pairs = zip(cells, widths, strict=True)
    return "  ".join(f"{c:>{w}}" if c.isdecimal() else f"{c:<{w}}" for c, w in pairs).rstrip()
