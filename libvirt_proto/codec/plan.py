"""The plan of a set of definitions: its types as rows of plain data.

The generator writes the plan into each generated package, and the runtime reads types from it. A row is
(kind, limit, minimum size, maximum size, recursive, children, labels, names):

- kind: the spelling of an integer (`unsigned hyper`), or `float`, `double`, `quadruple`, `bool`, `void`,
  `enum`, `opaque[]`, `opaque<>`, `string<>`, `[]`, `<>`, `*`, `struct`, `union`, `typedef`;
- limit: the length or limit, None for none;
- sizes in bytes on the wire; the maximum is None where nothing bounds it;
- children: numbers of rows: the element; a struct's fields; a union's discriminant and arms; a typedef's
  declaration;
- labels: an enum's values; for each arm of a union its labels, None for the default arm;
- names: the name of the limit; of a definition its name in the .x, then its members, its fields, or its
  discriminant and arms (None for void); a typedef's text.

Equal declarations share a row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from . import types as xdr
from .sizes import minimum_size

Row = tuple[str, int | None, int, int | None, bool, tuple[int, ...], tuple[Any, ...], tuple[str | None, ...]]

_FLOATS: Final = {32: "float", 64: "double", 128: "quadruple"}
#: Kinds without limit, children, labels and names.
_SCALARS: Final[Mapping[str, xdr.Node]] = {
    "int": xdr.Integer(32, True, "int"),
    "unsigned int": xdr.Integer(32, False, "unsigned int"),
    "hyper": xdr.Integer(64, True, "hyper"),
    "unsigned hyper": xdr.Integer(64, False, "unsigned hyper"),
    "char": xdr.Integer(32, True, "char"),
    "unsigned char": xdr.Integer(32, False, "unsigned char"),
    "short": xdr.Integer(32, True, "short"),
    "unsigned short": xdr.Integer(32, False, "unsigned short"),
    "long": xdr.Integer(32, True, "long"),
    "unsigned long": xdr.Integer(32, False, "unsigned long"),
    **{name: xdr.Floating(bits) for bits, name in _FLOATS.items()},
    "bool": xdr.Boolean(),
    "void": xdr.Void(),
}


@dataclass(frozen=True, slots=True)
class Plan:
    """Rows, and module → type → number of the type's row."""

    rows: tuple[Row, ...]
    types: Mapping[str, Mapping[str, int]]


def build_plan(
    modules: Iterable[tuple[str, Iterable[xdr.TypeDefinition]]], definitions: xdr.Definitions
) -> Plan:
    """Return the plan of modules, given as (name, types)."""
    builder = _Builder(definitions)
    types = {
        module: {each.name: builder.named(xdr.Named(module, each.name)) for each in every}
        for module, every in modules
    }
    return Plan(tuple(builder.rows), types)


class _Builder:
    def __init__(self, definitions: xdr.Definitions) -> None:
        self.rows: list[Row] = []
        self._definitions = definitions
        self._named: dict[xdr.Named, int] = {}
        self._unnamed: dict[Row, int] = {}

    def named(self, reference: xdr.Named) -> int:
        """Return the number of a definition's row. It is taken before those of the parts, which may contain
        the type itself."""
        if reference not in self._named:
            number = self._named[reference] = len(self.rows)
            self.rows.append(("void", None, 0, 0, False, (), (), ()))
            self.rows[number] = self._definition(self._definitions.definition(reference))
        return self._named[reference]

    def _definition(self, definition: xdr.TypeDefinition) -> Row:
        name, sizes = definition.name, (definition.min_size, definition.max_size, definition.recursive)
        match definition.node:
            case xdr.Enumeration(members):
                values = tuple(member.value for member in members)
                return ("enum", None, *sizes, (), values, (name, *(member.name for member in members)))
            case xdr.Structure(fields):
                children = tuple(self._node(each.node) for each in fields)
                return ("struct", None, *sizes, children, (), (name, *(each.name for each in fields)))
            case xdr.UnionType(_, arms, default) as union:
                every = xdr.declared_parts(union)
                children = tuple(self._node(each.node) for each in every)
                labels = (
                    *(tuple(label.value for label in arm.labels) for arm in arms),
                    *((None,) if default else ()),
                )
                return ("union", None, *sizes, children, labels, (name, *(each.name for each in every)))
            case node:
                return ("typedef", None, *sizes, (self._node(node),), (), (name, definition.xdr.strip()))

    def _node(self, node: xdr.Node) -> int:
        if isinstance(node, xdr.Named):
            return self.named(node)
        kind, bound, children = self._declaration(node)
        size = minimum_size(node, self._definitions)
        limit, names = (None, ()) if bound is None else (bound.value, (bound.name,) if bound.name else ())
        row: Row = (kind, limit, size, None, False, children, (), names)
        if row not in self._unnamed:
            self._unnamed[row] = len(self.rows)
            self.rows.append(row)
        return self._unnamed[row]

    def _declaration(self, node: xdr.Node) -> tuple[str, xdr.Bound | None, tuple[int, ...]]:
        match node:
            case xdr.Void():
                return "void", None, ()
            case xdr.Integer(spelling=spelling):
                return spelling, None, ()
            case xdr.Floating(bits):
                return _FLOATS[bits], None, ()
            case xdr.Boolean():
                return "bool", None, ()
            case xdr.FixedOpaque(size):
                return "opaque[]", size, ()
            case xdr.Opaque(limit):
                return "opaque<>", limit, ()
            case xdr.String(limit):
                return "string<>", limit, ()
            case xdr.FixedArray(element, size):
                return "[]", size, (self._node(element),)
            case xdr.Array(element, limit):
                return "<>", limit, (self._node(element),)
            case xdr.Optional(element):
                return "*", None, (self._node(element),)
            case _:
                raise AssertionError(f"{node!r} has a name")


class PlanReader:
    """Types from a plan, each made when it is first asked for."""

    def __init__(self, plan: Plan) -> None:
        self._rows = plan.rows
        self._types = plan.types
        self._references = {
            number: xdr.Named(module, name)
            for module, types in plan.types.items()
            for name, number in types.items()
        }
        self._definitions: dict[xdr.Named, xdr.TypeDefinition] = {}

    def definition(self, reference: xdr.Named) -> xdr.TypeDefinition:
        """Return the definition that a reference names; raises KeyError."""
        found = self._definitions.get(reference)
        if found is None:
            row = self._rows[self._types[reference.module][reference.name]]
            found = self._definitions[reference] = self._definition(row)
        return found

    def _definition(self, row: Row) -> xdr.TypeDefinition:
        kind, _, min_size, max_size, recursive, children, labels, (name, *parts) = row
        assert name is not None
        node: xdr.Node
        text = ""
        match kind:
            case "enum":
                node = xdr.Enumeration(tuple(map(xdr.Member, map(str, parts), labels)))
            case "struct":
                node = xdr.Structure(tuple(map(self._field, map(str, parts), children)))
            case "union":
                node = self._union(children, labels, parts)
            case _:
                node, text = self._node(children[0]), str(parts[0])
        return xdr.TypeDefinition(name, node, text, min_size, max_size, recursive=recursive)

    def _field(self, name: str, row: int) -> xdr.Field:
        return xdr.Field(name, self._node(row))

    def _union(
        self, children: tuple[int, ...], labels: tuple[Any, ...], names: list[str | None]
    ) -> xdr.UnionType:
        arms = [
            xdr.Arm(tuple(map(xdr.Label, values or ())), name, self._node(row))
            for values, name, row in zip(labels, names[1:], children[1:], strict=True)
        ]
        default = arms.pop() if labels and labels[-1] is None else None
        return xdr.UnionType(self._field(str(names[0]), children[0]), tuple(arms), default)

    def _node(self, number: int) -> xdr.Node:
        reference = self._references.get(number)
        if reference is not None:
            return reference
        kind, size, _, _, _, children, _, names = self._rows[number]
        limit = None if size is None else xdr.Bound(size, *names)
        match kind:
            case "opaque[]" if limit:
                return xdr.FixedOpaque(limit)
            case "opaque<>":
                return xdr.Opaque(limit)
            case "string<>":
                return xdr.String(limit)
            case "[]" if limit:
                return xdr.FixedArray(self._node(children[0]), limit)
            case "<>":
                return xdr.Array(self._node(children[0]), limit)
            case "*":
                return xdr.Optional(self._node(children[0]))
            case _:
                return _SCALARS[kind]
