"""Formats of types on the wire, by which types with different names can be equal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..codec import types as xdr
from ..codec.type_table import TypeTable
from ..codec.visitor import Visitor
from ..codec.xdrtype import XdrType

#: A number for each part, in order.
WireFormat = tuple[int, ...]


class WireFormats:
    """Types → what their bytes can show of them: not names, nor the start of a struct, nor a sign.

    Types with equal formats are equal on the wire. The reverse does not hold for types of more than `maximum`
    bytes, and for types that contain themselves within others: both equal only themselves.
    """

    def __init__(self, maximum: int) -> None:
        self.maximum = maximum
        self._numbers: dict[tuple[Any, ...], int] = {}
        self._visitors: dict[TypeTable, _Formats] = {}

    def of(self, type_: XdrType) -> WireFormat:
        """Return the format of a type."""
        if type_.types not in self._visitors:
            self._visitors[type_.types] = _Formats(type_.types, self)
        return self._visitors[type_.types].visit(type_.reference, None)

    def part(self, *description: Any) -> WireFormat:
        """Return the format of one part, the same for each equal description."""
        return (self._numbers.setdefault(description, len(self._numbers)),)


class _Formats(Visitor[WireFormat, xdr.Named | None]):
    """Formats of the types of a table.

    A type is visited once, however many others contain it, and a struct has at most `maximum` / 4 parts.
    Visits get the struct or the union around the type.
    """

    def __init__(self, types: TypeTable, formats: WireFormats) -> None:
        super().__init__(types)
        self._part = formats.part
        self._maximum = formats.maximum
        self._known: dict[xdr.Named, WireFormat] = {}

    def void(self, node: xdr.Void, around: xdr.Named | None) -> WireFormat:
        return ()

    def integer(self, node: xdr.Integer, around: xdr.Named | None) -> WireFormat:
        return self._part("integer", node.bits)

    def floating(self, node: xdr.Floating, around: xdr.Named | None) -> WireFormat:
        return self._part("float", node.bits)

    def boolean(self, node: xdr.Boolean, around: xdr.Named | None) -> WireFormat:
        return self._part("boolean")

    def enumeration(
        self, reference: xdr.Named, node: xdr.Enumeration, around: xdr.Named | None
    ) -> WireFormat:
        return self._part("enum", frozenset(member.value for member in node.members))

    def fixed_opaque(self, node: xdr.FixedOpaque, around: xdr.Named | None) -> WireFormat:
        return self._part("opaque", node.size.value)

    def uuid(self, node: xdr.FixedOpaque, around: xdr.Named | None) -> WireFormat:
        return self._part("uuid")

    def opaque(self, node: xdr.Opaque, around: xdr.Named | None) -> WireFormat:
        return self._part("opaque")

    def string(self, node: xdr.String, around: xdr.Named | None) -> WireFormat:
        return self._part("string")

    def fixed_array(self, node: xdr.FixedArray, around: xdr.Named | None) -> WireFormat:
        return self._part("array", node.size.value, self.visit(node.element, around))

    def array(self, node: xdr.Array, around: xdr.Named | None) -> WireFormat:
        return self._part("array", self.visit(node.element, around))

    def optional(self, node: xdr.Optional, around: xdr.Named | None) -> WireFormat:
        return self._part("optional", self.visit(node.element, around))

    def structure(self, reference: xdr.Named, node: xdr.Structure, around: xdr.Named | None) -> WireFormat:
        def make() -> WireFormat:
            return tuple(part for field in node.fields for part in self.visit(field.node, reference))

        return self._body(reference, around, make)

    def union(self, reference: xdr.Named, node: xdr.UnionType, around: xdr.Named | None) -> WireFormat:
        def make() -> WireFormat:
            arms = {label: self.visit(arm.node, reference) for label, arm in node.by_label.items()}
            other = None if node.default is None else self.visit(node.default.node, reference)
            discriminant = self.visit(node.discriminant.node, reference)
            return self._part("union", discriminant, frozenset(arms.items()), other)

        return self._body(reference, around, make)

    def _body(
        self, reference: xdr.Named, around: xdr.Named | None, make: Callable[[], WireFormat]
    ) -> WireFormat:
        if reference == around:
            return self._part("again")
        definition = self.types.definition(reference)
        if definition.min_size > self._maximum or (definition.recursive and around is not None):
            return self._part("type", reference)
        if reference not in self._known:
            self._known[reference] = make()
        return self._known[reference]
