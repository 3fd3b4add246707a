"""Builds the plan of any definitions for the native core: see `native_plan`."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable, Mapping
from typing import Final

from msgspec import json

from .codec import types as xdr
from .codec.type_table import TypeTable
from .codec.visitor import Visitor
from .names.fields import Bits, By, Meaning, OneOf
from .names.meanings import key, meanings_of
from .names.public import names
from .native import FORMAT
from .native_plan import NativePlan
from .registry import Registry

NONE: Final = 0xFFFFFFFF
_HEADER_WORDS: Final = 4
_ROW_WORDS: Final = 6
_KINDS: Final = (
    *("void", "int", "uint", "hyper", "uhyper", "float", "double", "bool", "enum", "fixed_opaque", "uuid"),
    *("opaque", "string", "fixed_array", "array", "optional", "struct", "union", "unknown"),
)
_KIND: Final = {name: number for number, name in enumerate(_KINDS)}
_ONE_OF, _BITS, _BY = 1, 2, 3
_INTEGERS: Final = {(32, True): "int", (32, False): "uint", (64, True): "hyper", (64, False): "uhyper"}
#: Fields of a struct that the native core handles.
_MAX_FIELDS: Final = 256
_Row = list[int]


def build(registry: Registry) -> NativePlan:
    """Build the plan of a registry."""
    builders: dict[TypeTable, _Builder] = {}
    pool = _Pool()
    types = []
    for module in registry.modules():
        for name, type_ in module.types.items():
            builder = builders.get(type_.types)
            if builder is None:
                builder = builders[type_.types] = _Builder(type_.types, pool)
            types.append((module.name, name, builder.visit(type_.reference)))

    fault = pool.names(OneOf(names("virErrorNumber")), "", {})
    shift = _HEADER_WORDS + len(pool.rows) * _ROW_WORDS
    placed = [word for row in pool.rows for word in pool.placed(row, shift)]
    words = array("I", [FORMAT, len(pool.rows), 0, 0, *placed, *pool.moved(shift)])
    if sys.byteorder == "big":
        words.byteswap()
    return NativePlan(registry.release, words.tobytes(), bytes(pool.text), types, fault + shift)


class _Pool:
    """Rows, the words that they refer to, and texts. Places are relative to the pool until it is finished."""

    def __init__(self) -> None:
        self.rows: list[_Row] = []
        self.text = bytearray()
        self._words: list[int] = []
        #: Positions of words that are places.
        self._places: list[int] = []
        self._texts: dict[bytes, tuple[int, int]] = {}
        self._names: dict[tuple[int, str, int], int] = {}
        #: Rows of named types: references of several modules lead to one row.
        self.known: dict[xdr.Named, int] = {}
        self._kept: list[Meaning] = []

    def row(self, kind: str, limit: int = NONE, count: int = 0) -> int:
        """Add a row, and return its number."""
        self.rows.append([_KIND[kind], limit, count, 0, 0, NONE])
        return len(self.rows) - 1

    def put(self, words: Iterable[int]) -> int:
        """Add words, and return their place."""
        at = len(self._words)
        self._words += [word & 0xFFFFFFFF for word in words]
        return at

    def piece(self, text: bytes) -> tuple[int, int]:
        """Add a text, and return its position and size."""
        if text not in self._texts:
            self._texts[text] = len(self.text), len(text)
            self.text += text
        return self._texts[text]

    def entries(self, entries: list[tuple[int, bytes, int | None]]) -> int:
        """Add (row, text before the value, place of its names), and return their place."""
        at = len(self._words)
        for row, text, named in entries:
            if named is not None:
                self._places.append(len(self._words) + 3)
            self.put((row, *self.piece(text), 0 if named is None else named))
        return at

    def names(self, meaning: Meaning, field: str, positions: Mapping[str, int]) -> int:
        """Add the names of a field's numbers, and return their place; `positions` are those of the fields."""
        other = positions.get(meaning.field, 0) if isinstance(meaning, By) else 0
        known = id(meaning), field, other
        if known in self._names:
            return self._names[known]
        self._kept.append(meaning)  # its id stays its own
        head, table = self._table(meaning, other)
        place = self.put(table)
        at = self.put(
            (head[0], len(table) // head[1], place, *head[2], *self.piece(b"," + _quoted(key(field)) + b":"))
        )
        self._places.append(at + 2)
        self._names[known] = at
        return at

    def _table(self, meaning: Meaning, other: int) -> tuple[tuple[int, int, tuple[int, int]], list[int]]:
        match meaning:
            case OneOf(known):
                rows = [(*_long(number), *self.piece(_quoted(known[number]))) for number in sorted(known)]
                return (_ONE_OF, 4, (0, 0)), [word for row in rows for word in row]
            case Bits(known):
                rows = [(*_long(number), *self.piece(_quoted(name))) for number, name in known.items()]
                return (_BITS, 4, _long(sum(known))), [word for row in rows for word in row]
            case By(_, pairs):
                wide = [
                    (*_long(pair[0]), *_long(pair[1]), *self.piece(_quoted(pairs[pair])))
                    for pair in sorted(pairs)
                ]
                return (_BY, 6, (other, 0)), [word for each in wide for word in each]

    def placed(self, row: _Row, shift: int) -> _Row:
        """Return a row with places in the finished plan."""
        return [*row[:3], row[3] + shift, row[4] + shift, row[5]]

    def moved(self, shift: int) -> list[int]:
        """Return the words, with places in the finished plan."""
        words = list(self._words)
        for at in self._places:
            words[at] += shift
        return words


class _Builder(Visitor[int]):
    """Adds the rows of types, and returns their numbers."""

    def __init__(self, types: TypeTable, pool: _Pool) -> None:
        super().__init__(types)
        self._pool = pool
        self._known = pool.known
        self._scalars: dict[tuple[str, int, int], int] = {}

    def _row(self, kind: str, limit: int | None = None, count: int = 0) -> int:
        known = kind, NONE if limit is None else min(limit, NONE), count
        if known not in self._scalars:
            self._scalars[known] = self._pool.row(*known)
        return self._scalars[known]

    def void(self, node: xdr.Void) -> int:
        return self._row("void")

    def integer(self, node: xdr.Integer) -> int:
        return self._row(_INTEGERS[node.bits, node.signed])

    def floating(self, node: xdr.Floating) -> int:
        if node.bits == 128:
            return self._row("fixed_opaque", 16)  # a quadruple's value is its bytes
        return self._row({32: "float", 64: "double"}[node.bits])

    def boolean(self, node: xdr.Boolean) -> int:
        return self._row("bool")

    def enumeration(self, reference: xdr.Named, node: xdr.Enumeration) -> int:
        if reference not in self._known:
            number = self._known[reference] = self._pool.row("enum")
            members = {member.value: member.name for member in reversed(node.members)}
            words = [(value, *self._pool.piece(_quoted(members[value]))) for value in sorted(members)]
            self._pool.rows[number][2:4] = len(words), self._pool.put(word for each in words for word in each)
        return self._known[reference]

    def fixed_opaque(self, node: xdr.FixedOpaque) -> int:
        return self._row("fixed_opaque", node.size.value)

    def uuid(self, node: xdr.FixedOpaque) -> int:
        return self._row("uuid")

    def opaque(self, node: xdr.Opaque) -> int:
        return self._row("opaque", None if node.limit is None else node.limit.value)

    def string(self, node: xdr.String) -> int:
        return self._row("string", None if node.limit is None else node.limit.value)

    def fixed_array(self, node: xdr.FixedArray) -> int:
        return self._row("fixed_array", node.size.value, self.visit(node.element))

    def array(self, node: xdr.Array) -> int:
        return self._row("array", None if node.limit is None else node.limit.value, self.visit(node.element))

    def optional(self, node: xdr.Optional) -> int:
        return self._row("optional", None, self.visit(node.element))

    def structure(self, reference: xdr.Named, node: xdr.Structure) -> int:
        if reference in self._known:
            return self._known[reference]
        if len(node.fields) > _MAX_FIELDS:
            return self._row("unknown")
        number = self._known[reference] = self._pool.row("struct")
        known = meanings_of(self.types, reference)
        positions = {field.name: at for at, field in enumerate(node.fields)}
        entries = [
            (
                self.visit(field.node),
                (b"," if at else b"{") + _quoted(field.name) + b":",
                self._pool.names(known[field.name], field.name, positions) if field.name in known else None,
            )
            for at, field in enumerate(node.fields)
        ]
        self._pool.rows[number][2:4] = len(entries), self._pool.entries(entries)
        return number

    def union(self, reference: xdr.Named, node: xdr.UnionType) -> int:
        if reference in self._known:
            return self._known[reference]
        if isinstance(node.discriminant.node, xdr.Integer) and node.discriminant.node.bits != 32:
            return self._row("unknown")  # arms are chosen by 32 bits
        number = self._known[reference] = self._pool.row("union")
        label = node.discriminant.name
        meaning = meanings_of(self.types, reference).get(label)
        named = None if meaning is None else self._pool.names(meaning, label, {label: 0})
        entries = [(self.visit(node.discriminant.node), b"{" + _quoted(label) + b":", named)]
        numbers = {}
        for arm in node.every_arm:
            numbers[id(arm)] = len(entries)
            entries.append((self.visit(arm.node), b"," + _quoted(arm.name or "") + b":", None))
        labels = sorted((_signed(value), numbers[id(arm)]) for value, arm in node.by_label.items())
        row = self._pool.rows[number]
        row[1:4] = len(entries) - 1, len(labels), self._pool.entries(entries)
        row[4] = self._pool.put(word for each in labels for word in each)
        row[5] = NONE if node.default is None else numbers[id(node.default)]
        return number


def _quoted(text: str) -> bytes:
    return json.encode(text)


def _long(number: int) -> tuple[int, int]:
    return number >> 32 & 0xFFFFFFFF, number & 0xFFFFFFFF


def _signed(number: int) -> int:
    return (int(number) & 0xFFFFFFFF ^ 0x80000000) - 0x80000000
