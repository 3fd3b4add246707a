"""Wireshark: a dissector in Lua, `libvirt_rpc.lua`.

The file is the definitions as tables (from the plan, see libvirt_proto.codec.plan) and one engine that reads
payloads by them. Nothing in the engine depends on the definitions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from libvirt_proto.codec.plan import Row, build_plan
from libvirt_proto.codec.types import Named
from libvirt_proto.names.fields import Bits, By, Meaning, OneOf, known_meanings

from ...quoting import lua_string
from ...render import Artefact, banner, render
from ...schema import Program, Schema
from .fields import FilterField, filter_fields
from .rows import UUID, Names, Rows

FILE: Final = "libvirt_rpc.lua"
#: libvirt's types of payloads that no procedure has.
_ERROR: Final = "virNetMessageError"
_HOLE: Final = "virNetStreamHole"
_UINT32: Final = 2**32


@dataclass(frozen=True, slots=True)
class _Script:
    """The entries of each table, and the payloads `error` and `hole`, in Lua."""

    banner: str
    names: tuple[str, ...]
    fields: tuple[str, ...]
    meanings: tuple[str, ...]
    types: tuple[str, ...]
    programs: tuple[str, ...]
    error: str
    hole: str


def generate(schema: Schema) -> tuple[Artefact, ...]:
    """Return the dissector of all programs of a Schema: one file, `libvirt_rpc.lua`."""
    tables = _Tables(schema)
    types = tuple(tables.types())
    programs = tuple(tables.program(program) for module in schema.modules for program in module.programs)
    error, hole = tables.common(_ERROR), tables.common(_HOLE)
    # Types and programs refer to these, so they come last.
    fields = tuple(tables.fields())
    meanings, names = tuple(tables.meanings.lines), tuple(tables.names.lines)
    view = _Script(banner(schema, "wireshark", "-- "), names, fields, meanings, types, programs, error, hole)
    return (Artefact(FILE, render("wireshark", "libvirt_rpc.lua.j2", view)),)


class _Numbered:
    """Lines of a table without repetitions, numbered from 1 as in Lua."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    @property
    def lines(self) -> Sequence[str]:
        return list(self._numbers)

    def number(self, line: str) -> int:
        return self._numbers.setdefault(line, len(self._numbers) + 1)


class _Tables:
    """The tables of a Schema in Lua."""

    def __init__(self, schema: Schema) -> None:
        self.names = _Numbered()
        self.meanings = _Numbered()
        self._common: dict[str, Named] = {
            name: Named(module.name, name)
            for module in schema.modules
            for name in (_ERROR, _HOLE)
            if name in module.by_name
        }
        plan = build_plan(((module.name, module.types) for module in schema.modules), schema)
        self._rows = Rows(plan, [*_payloads(schema), *self._common.values()])
        self._meanings = {owner: known_meanings(schema, owner) for owner in self._rows.owners}
        known = {
            (owner, field): meaning.names
            for owner, meanings in self._meanings.items()
            for field, meaning in meanings.items()
            if isinstance(meaning, OneOf)
        }
        self._fields, self._numbers = filter_fields(schema, self._rows, known)
        self._owners = {number: owner for owner, number in self._rows.owners.items()}
        # The kinds of payloads that are neither structs nor unions, which RFC 5531 allows.
        self._values: dict[str, int] = {}

    def fields(self) -> Iterator[str]:
        """Yield the filter fields."""
        others = [FilterField(f"payload.{kind}", "value", kind, None) for kind in self._values]
        for field in (*self._fields, *others):
            words = [lua_string(word) for word in (field.name, field.label, field.kind)]
            if field.names:
                words.append(str(self._names(field.names)))
            yield _list(words)

    def types(self) -> Iterator[str]:
        """Yield an assignment for each row that is not a typedef, and one for UUIDs."""
        yield f'[{_number(UUID)}] = {{kind = "uuid"}}'
        for number in self._rows.numbers:
            row = self._rows[number]
            if row[0] != "typedef":
                yield f"[{_number(number)}] = {self._row(number, row)}"

    def program(self, program: Program) -> str:
        """Return a program with its procedures."""
        lines = [
            f"    [{procedure.number}] = "
            + _list([lua_string(procedure.short), *_trimmed([self._payload(each) for each in payloads])])
            for procedure in program.procedures
            for payloads in [(procedure.args, procedure.ret, procedure.msg)]
        ]
        head = (
            f"name = {lua_string(program.short)}, number = {program.number % _UINT32},"
            f" version = {program.version % _UINT32}"
        )
        return "{" + head + ", procedures = {\n" + ",\n".join(lines) + "\n  }}"

    def common(self, name: str) -> str:
        """Return the payload of a struct that all programs share; nil if the definitions lack it."""
        return self._payload(self._common.get(name))

    def _payload(self, reference: Named | None) -> str:
        """Return the type of a payload in Lua: its name, its row, and the field of its value unless it has
        fields of its own."""
        if reference is None:
            return "nil"
        target = self._rows.target(self._rows.number(reference))
        words = [lua_string(reference.name), str(_number(target))]
        if target not in self._owners:
            kind, _ = self._rows.leaf(target)
            number = self._values.setdefault(kind, len(self._fields) + len(self._values) + 1)
            words.append(str(number))
        return _list(words)

    def _row(self, number: int, row: Row) -> str:
        kind, limit, _, _, recursive, children, labels, names = row
        words = [f"kind = {lua_string(kind)}"]
        if limit is not None:
            words.append(f"limit = {limit}")
        if kind in ("<>", "[]"):
            words.append(f"size = {self._rows[children[0]][2]}")
        if kind in ("<>", "[]", "*"):
            words.append(f"of = {self._target(children[0])}")
        if kind == "enum":
            _, members = self._rows.leaf(number)
            words.append(f"names = {self._names(members or {})}")
        if kind in ("struct", "union"):
            words.append(f"name = {lua_string(str(names[0]))}")
            words += ["recursive = true"] * recursive
            words.append(f"parts = {_list(self._parts(number))}")
        if kind == "union":
            words.append(f"arms = {self._arms(labels)}")
        return _list(words)

    def _parts(self, number: int) -> Iterator[str]:
        """Yield the fields of a struct, or the discriminant and the arms of a union; false for a void arm."""
        owner, kind = self._owners[number], self._rows[number][0]
        meanings = self._meanings[owner]
        for index, (type_, name) in enumerate(self._rows.parts(number)):
            if name is None:
                yield "false"
                continue
            words = [lua_string(name), self._target(type_), str(self._numbers[owner, index] + 1)]
            meaning = meanings.get(name)
            # A name may be that of an arm, too: the meaning is the discriminant's.
            if meaning is not None and (index == 0 or kind == "struct"):
                words.append(str(self._meaning(meaning)))
            yield _list(words)

    @staticmethod
    def _arms(labels: Sequence[Any]) -> str:
        """Return label → index of the arm in the parts; `default` has that of all others."""
        return _list(
            f"{'default' if label is None else f'[{label}]'} = {index}"
            for index, each in enumerate(labels, 2)
            for label in ((None,) if each is None else each)
        )

    def _meaning(self, meaning: Meaning) -> int:
        match meaning:
            case OneOf(names):
                return self.meanings.number(f"{{names = {self._names(names)}}}")
            case Bits(names):
                bits = [f"{{{lua_string(name)}, {bit}}}" for bit, name in names.items()]
                return self.meanings.number(f"{{bits = {_list(bits)}}}")
            case By(field, names):
                by: dict[int, dict[int, str]] = {}
                for (other, number), name in names.items():
                    by.setdefault(other, {})[number] = name
                tables = _list(f"[{other}] = {self._names(each)}" for other, each in by.items())
                return self.meanings.number(f"{{by = {lua_string(field)}, names = {tables}}}")

    def _names(self, names: Names) -> int:
        return self.names.number(_list(f"[{number}] = {lua_string(name)}" for number, name in names.items()))

    def _target(self, number: int) -> str:
        """Return the number in Lua of a row, through typedefs."""
        return str(_number(self._rows.target(number)))


def _payloads(schema: Schema) -> Iterator[Named]:
    for module in schema.modules:
        for program in module.programs:
            for procedure in program.procedures:
                for reference in (procedure.args, procedure.ret, procedure.msg):
                    if reference is not None:
                        yield reference


def _number(row: int) -> int:
    """Return the number in Lua of a row, or of UUIDs."""
    return row + 1


def _list(words: Iterator[str] | Sequence[str]) -> str:
    return "{" + ", ".join(words) + "}"


def _trimmed(words: list[str]) -> list[str]:
    """Return the words without the nils at their end."""
    while words and words[-1] == "nil":
        words.pop()
    return words
