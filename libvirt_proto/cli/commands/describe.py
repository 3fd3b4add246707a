"""`libvirt-proto describe`: a type or a procedure as XDR, with all that it is made of; an enum of the public
API."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import click

from ...errors import UnknownName
from ...filters import procedure_numbers
from ...names import public as publicnames
from ...names.fields import enums_of
from ...names.meanings import meanings_of
from ...presenters.table import wrap
from ...similar import did_you_mean
from ...text import amount, printable
from .. import complete as names
from .. import descriptions, options
from .lookup import size

if TYPE_CHECKING:
    from ...codec.xdrtype import XdrType
    from ...definitions.program import Procedure, Program
    from ...presenters.style import Palette
    from ...registry import Registry

#: How many procedures that use a type, and names newer than it, are listed before `--all`.
USERS = 12
_WORD = re.compile(r"\b[A-Za-z]\w*\b")
_FIELD = re.compile(r"\b(\w+);$")
#: How many enums of a field are named; of more, only the first is.
_ENUMS = 3
#: A type precedes the declared name, which is followed by `;`, `<`, `[` or `{`.
_USE = re.compile(r"\b([A-Za-z]\w*)\b(?=\s+\*?\s*[A-Za-z])")


@dataclass(frozen=True)
class PublicEnum:
    """An enum of the public API."""

    name: str


Described: TypeAlias = "XdrType | tuple[Program, Procedure] | PublicEnum"


@click.command()
@click.argument("name", shell_complete=names.described)
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help=f"Name all procedures that use a type, and all newer names, not only {USERS}.",
)
@options.wide
@options.text_or_json("an array: a type, or all procedures of this name")
@click.option(
    "--json-schema",
    "as_schema",
    is_flag=True,
    help="Print the JSON Schema of a type, or of a procedure's payloads, as decode and encode spell them.",
)
@options.definitions
@options.colour
@click.pass_context
def describe(
    ctx: click.Context,
    name: str,
    everything: bool,
    wide: bool,
    as_json: bool,
    as_schema: bool,
    registry: Registry,
    color: str,
) -> None:
    """Print a type as XDR (RFC 4506) with every type that it contains, its size on the wire, and the
    procedures that use it; or a procedure with its annotations and its types; or an enum of the public API. A
    procedure is given by name, symbol or number, with its program before it where several have one of that
    name. Comments name the enums whose numbers are in a field, and the release that added each newer member.

    \b
    Examples:
      libvirt-proto describe remote_nonnull_domain
      libvirt-proto describe domain_get_info
      libvirt-proto describe qemu.domain_monitor_command
      libvirt-proto describe virDomainEventID
      libvirt-proto describe remote.66 --format json
      libvirt-proto describe --json-schema remote_domain_get_info_ret
    """
    if as_json and as_schema:
        raise click.UsageError("--format json and --json-schema exclude each other")
    graph = Graph(registry)
    described = _find(registry, graph, name)
    if not described:
        known = [
            *graph.types,
            *(p.name for program in registry.programs() for p in program.procedures),
            *publicnames.enums(),
        ]
        hint = did_you_mean(name, known)
        click.echo(f"libvirt-proto: error: unknown type or procedure {printable(name)!r}.{hint}", err=True)
        ctx.exit(1)
    if as_schema:
        _print_schema(ctx, name, described)
        return
    if as_json:
        from msgspec import json

        click.echo(json.format(json.encode([_facts(graph, thing) for thing in described]), indent=2))
        return
    colour = options.palette(color, sys.stdout)
    page = _Page(graph, colour, None if everything else USERS, options.width(fit=not wide))
    blocks = ("\n".join(page.block(thing)) for thing in described)
    click.echo("\n\n".join(blocks), color=True)


class Graph:
    """The parts of each type, by the definitions, and the procedures that use it."""

    def __init__(self, registry: Registry) -> None:
        self.types: dict[str, XdrType] = {}
        self._files: dict[str, str] = {}
        self._constants: dict[str, int] = {}
        for module in registry.modules():
            self._constants.update(module.constants)
            self._constants.update((name, number) for name, (number, _) in module.externals.items())
            for name, type_ in module.types.items():
                self.types.setdefault(name, type_)
                self._files.setdefault(name, module.file)
        self.registry = registry

    def file(self, name: str) -> str:
        """The .x file that defines a type."""
        return self._files[name]

    def parts(self, name: str) -> list[str]:
        """The types in a type's definition, in their order there."""
        body = self.types[name].text.partition("{")[2] or self.types[name].text
        return list(dict.fromkeys(word for word in _USE.findall(body) if word in self.types and word != name))

    def constants(self, names: Iterable[str]) -> dict[str, int]:
        """The constants that these types' definitions use."""
        words = dict.fromkeys(word for name in names for word in _WORD.findall(self.types[name].text))
        return {word: self._constants[word] for word in words if word in self._constants}

    def events(self, constant: str) -> list[str]:
        """Return the changes to a constant, in words."""
        known = descriptions.with_history(
            self.registry, descriptions.constant(".x", constant, self._constants[constant])
        )
        return [event["text"] for event in known.get("history", [])]

    def enums(self, name: str) -> dict[str, tuple[str, ...]]:
        """Return field → the enums of the public API whose numbers it holds, of a type."""
        type_ = self.types[name]
        return {
            field: enums
            for field, enums in enums_of(name).items()
            if field in meanings_of(type_.types, type_.reference)
        }

    def closure(self, names: Iterable[str]) -> list[str]:
        """The types and all that they are made of: parts before what has them."""
        found: dict[str, None] = {}
        entered: set[str] = set()

        def enter(name: str) -> None:
            if name not in entered:
                entered.add(name)
                for part in self.parts(name):
                    enter(part)
                found[name] = None

        for name in names:
            enter(name)
        return list(found)

    @cached_property
    def users(self) -> dict[str, list[str]]:
        """Type → the procedures (`program.name`) whose messages contain it."""
        users: dict[str, list[str]] = {}
        for program in self.registry.programs():
            for procedure in program.procedures:
                for name in self.closure(type_.name for type_ in _payloads(procedure).values()):
                    users.setdefault(name, []).append(f"{program.name}.{procedure.name}")
        return users


def _payloads(procedure: Procedure) -> dict[str, XdrType]:
    """args, ret and msg, where they are not void."""
    payloads = {"args": procedure.args, "ret": procedure.ret, "msg": procedure.msg}
    return {role: type_ for role, type_ in payloads.items() if type_ is not None}


def _find(registry: Registry, graph: Graph, name: str) -> list[Described]:
    """The type of this name, or the enum of the public API, or else every procedure that it can mean."""
    if name in graph.types:
        return [graph.types[name]]
    if name in publicnames.enums():
        return [PublicEnum(name)]
    programs = registry.programs()
    try:
        wanted = procedure_numbers(programs, name)
    except UnknownName:
        return []
    return [
        (program, procedure)
        for program in programs
        for procedure in program.procedures
        if {(program.number, procedure.number), (None, procedure.number)} & wanted
    ]


def _print_schema(ctx: click.Context, name: str, described: list[Described]) -> None:
    """The JSON Schema of a type, or of what any message of the procedures can carry."""
    from msgspec import json

    from ...jsonlines.schema import json_schema

    types: dict[str, XdrType] = {}
    for thing in described:
        if isinstance(thing, tuple):
            types.update((type_.name, type_) for type_ in _payloads(thing[1]).values())
        elif not isinstance(thing, PublicEnum):
            types[thing.name] = thing
    if not types:
        click.echo(f"libvirt-proto: error: {printable(name)} has no payloads", err=True)
        ctx.exit(1)
    schema = json_schema(name, types)
    click.echo(json.format(json.encode(schema), indent=2))


def _facts(graph: Graph, thing: Described) -> descriptions.Description:
    if isinstance(thing, PublicEnum):
        return _enum_facts(graph, thing)
    if isinstance(thing, tuple):
        made_of = graph.closure(type_.name for type_ in _payloads(thing[1]).values())
        description = descriptions.with_history(graph.registry, descriptions.procedure(*thing))
        return {**description, "types": [_type_facts(graph, name) for name in made_of]}
    made_of = [name for name in graph.closure([thing.name]) if name != thing.name]
    return {
        **descriptions.with_history(graph.registry, _type_facts(graph, thing.name)),
        "types": [_type_facts(graph, name) for name in made_of],
        "used_by": graph.users.get(thing.name, []),
    }


def _type_facts(graph: Graph, name: str) -> descriptions.Description:
    """Return the facts of a type; if it has numbers of the public API, also the enums by field (`enums`), and
    the names that are newer than the type (`later`)."""
    facts = descriptions.type_(graph.file(name), graph.types[name])
    later = descriptions.later_names(graph.registry, name)
    more = {
        "enums": graph.enums(name),
        "later": [{"name": each, "since": since} for each, since in later.items()],
    }
    return facts | {key: value for key, value in more.items() if value}


def _enum_facts(graph: Graph, enum: PublicEnum) -> descriptions.Description:
    source, members = publicnames.enums()[enum.name]
    return descriptions.with_fields(graph.registry, descriptions.public_enum(enum.name, source, members))


def _later(graph: Graph, name: str) -> list[str]:
    """Return the lines about names of the public API that are newer than a type with their numbers."""
    return [
        f"{each}: since {since}" for each, since in descriptions.later_names(graph.registry, name).items()
    ]


def _shortened(lines: list[str], limit: int | None) -> list[str]:
    shown = lines[:limit]
    more = len(lines) - len(shown)
    return [*shown, f"… {more:,} more (--all)"] if more else shown


def _history_lines(graph: Graph, description: descriptions.Description) -> Iterator[str]:
    """When a thing came, and what happened to it, a line each."""
    known = descriptions.with_history(graph.registry, description)
    if (since := descriptions.addition(known)) is not None:
        yield f"since libvirt {since}" if since[0].isdecimal() else f"since: {since}"
    yield from (event["text"] for event in known.get("history", []))


def _joined(enums: tuple[str, ...]) -> str:
    """Return the names of enums; of many, the first and the number of the others."""
    return ", ".join(enums) if len(enums) <= _ENUMS else f"{enums[0]} and {len(enums) - 1} more"


class _Page:
    """Things as XDR, with comments within `width`, if possible, and lists of at most `limit` lines (None: no
    limit)."""

    def __init__(self, graph: Graph, colour: Palette, limit: int | None, width: int) -> None:
        self._graph = graph
        self._colour = colour
        self._limit = limit
        self._width = width

    def block(self, thing: Described) -> Iterator[str]:
        """Yield the lines of a type, a procedure or an enum."""
        if isinstance(thing, tuple):
            yield from self._procedure(*thing)
            return
        if isinstance(thing, PublicEnum):
            yield from self._enum(_enum_facts(self._graph, thing))
            return
        yield from self._definitions([thing.name])
        yield ""
        about = [f"{thing.name}: {size(thing.min_size, thing.max_size)} on the wire"]
        about += [f"  {line}" for line in _history_lines(self._graph, _type_facts(self._graph, thing.name))]
        about += [f"  {line}" for line in _shortened(_later(self._graph, thing.name), self._limit)]
        yield from self._comment(about)
        users = self._graph.users.get(thing.name, [])
        if users:
            lines = [f"used by {amount(len(users), 'procedure')}:", *_shortened(users, self._limit)]
            yield from self._comment([lines[0], *(f"  {line}" for line in lines[1:])])

    def _enum(self, facts: descriptions.Description) -> Iterator[str]:
        yield from self._comment([facts["file"]])
        yield from facts["text"].splitlines()
        yield ""
        about = [
            facts["name"],
            *([f"  since libvirt {facts['since']}"] if facts["since"] is not None else []),
        ]
        yield from self._comment(about)
        if facts["fields"]:
            fields = amount(len(facts["fields"]), "field")
            yield from self._comment([f"numbers in {fields}:", *(f"  {field}" for field in facts["fields"])])

    def _procedure(self, program: Program, procedure: Procedure) -> Iterator[str]:
        lines = [f"{procedure.symbol} = {procedure.number}, {program.name}.{procedure.name}"]
        facts = descriptions.procedure(program, procedure)
        lines += [f"  {line}" for line in _history_lines(self._graph, facts)]
        for key, value in descriptions.annotations_of(procedure.annotations).items():
            values = value if isinstance(value, list) else [value]
            lines += [f"  @{key}: {one}" for one in values or ["none"]]
        for role in ("args", "ret", "msg"):
            type_ = getattr(procedure, role)
            if type_ is not None:
                lines.append(f"  {role}: {type_.name}, {size(type_.min_size, type_.max_size)}")
                known = descriptions.with_history(self._graph.registry, _type_facts(self._graph, type_.name))
                lines += [f"    {event['text']}" for event in known.get("history", [])]
                lines += [f"    {line}" for line in _shortened(_later(self._graph, type_.name), self._limit)]
            elif role != "msg":
                lines.append(f"  {role}: void")
        yield from self._comment(lines)
        names = [type_.name for type_ in _payloads(procedure).values()]
        if names:
            yield ""
            yield from self._definitions(names)

    def _definitions(self, names: list[str]) -> Iterator[str]:
        """Yield definitions in an order in which each comes after all that it needs, after the constants in
        them; the file is named where it changes."""
        file = None
        all_names = self._graph.closure(names)
        constants = self._graph.constants(all_names)
        for name, value in constants.items():
            yield from self._noted(f"const {name} = {value};", "; ".join(self._graph.events(name)))
        for index, name in enumerate(all_names):
            if index or constants:
                yield ""
            if self._graph.file(name) != file:
                file = self._graph.file(name)
                yield from self._comment([file])
            enums = self._graph.enums(name)
            shade = self._colour.name if name in names else ""
            for line in self._graph.types[name].text.splitlines():
                found = enums.get(match[1]) if enums and (match := _FIELD.search(line)) else None
                yield from self._noted(line, _joined(found) if found else "", shade)

    def _noted(self, line: str, note: str, shade: str = "") -> Iterator[str]:
        """Yield a line with a comment after it, or before it where both are too long."""
        shaded = f"{shade}{line}{self._colour.off}" if shade else line
        indent = line[: len(line) - len(line.lstrip())]
        if note and len(line) + len(note) + len(" /*  */") <= self._width:
            yield f"{shaded} {self._colour.quiet}/* {note} */{self._colour.off}"
            return
        yield from (indent + each for each in self._comment([note] if note else [], len(indent)))
        yield shaded

    def _comment(self, lines: list[str], indent: int = 0) -> Iterator[str]:
        """Yield lines as an XDR comment, to be indented."""
        room = self._width - indent - len("/*  */")
        lines = [
            part for line in lines for part in wrap(line, room, " " * (len(line) - len(line.lstrip()) + 2))
        ]
        for index, line in enumerate(lines):
            start = "/* " if index == 0 else " * "
            end = " */" if index == len(lines) - 1 else ""
            yield f"{self._colour.quiet}{start}{line}{end}{self._colour.off}"
