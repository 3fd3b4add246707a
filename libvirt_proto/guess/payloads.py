"""Candidate types for bytes of an unknown type, best first."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any, Final

import msgspec

from ..codec import types as xdr
from ..codec.visitor import Visitor
from ..codec.xdrtype import TypeTable, XdrType
from ..errors import ProtocolError
from ..registry import Registry
from .evidence import Weight, background, weigh

#: The maximum number of bytes to try types on: each of the many types takes time.
MAX_BYTES: Final = 65_536
#: How much less likely a type is that no message carries by itself; and one of any program but the largest,
#: of which most messages are.
_INNER: Final = 8.0
_OTHER: Final = 2.0
#: The minimum evidence (in bits) for a type that leaves bytes over.
_PREFIX: Final = 15.0


class Payload(msgspec.Struct, frozen=True):
    """Types with the same wire format that can decode the bytes.

    `types` are names in the .x, those of payloads first. `used` bytes are the value, `left` come after it.
    `bits` is the evidence, `weight` its basis; `value` is of the first type, `type`.
    """

    types: tuple[str, ...]
    used: int
    left: int
    bits: float
    weight: Weight
    type: XdrType
    value: Any


class Payloads:
    """Ranks the types of a registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def rank(self, data: bytes) -> list[Payload]:
        """Rank the types that can decode the bytes from the first one on: types that use all bytes, best
        first, then those that leave some over. Only canonical XDR counts.

        Raises ValueError for more than MAX_BYTES.
        """
        if len(data) > MAX_BYTES:
            raise ValueError(f"{len(data)} bytes are more than {MAX_BYTES}")
        before = background(data)
        found = [each for types in self._layouts for each in self._read(types, data, before)]
        return sorted(found, key=lambda each: (each.left > 0, -each.bits, each.types))

    def _read(self, types: list[XdrType], data: bytes, before: list[float]) -> Iterator[Payload]:
        """The types of one layout that can be read; bounds may keep some of them out."""
        taken: list[XdrType] = []
        value, used = None, 0
        for type_ in types:
            try:
                read, end = type_.decode(data, 0)
            except (ProtocolError, RecursionError):
                continue
            if not taken:
                value, used = read, end
            taken.append(type_)
        if not taken or used == 0:
            return
        first, left = taken[0], len(data) - used
        weight = weigh(first, value)
        bits = before[used // 4] - weight.bits - self._costs.get(first.name, _INNER)
        if left == 0 or bits >= _PREFIX:
            names = tuple(type_.name for type_ in taken)
            yield Payload(names, used, left, bits, weight, first, value)

    @cached_property
    def _costs(self) -> dict[str, float]:
        """Costs in bits of the types that messages carry as payloads: higher for less likely types."""
        programs = sorted(self._registry.programs(), key=lambda program: len(program.procedures))
        hole = self._registry.stream_hole
        costs = {type_.name: _OTHER for type_ in (self._registry.error, hole) if type_ is not None}
        for program in programs:
            cost = 0.0 if program is programs[-1] else _OTHER
            for procedure in program.procedures:
                payloads = (procedure.args, procedure.ret, procedure.msg)
                costs.update((type_.name, cost) for type_ in payloads if type_ is not None)
        return costs

    @cached_property
    def _layouts(self) -> list[list[XdrType]]:
        """All types, those that are the same on the wire together; payloads first."""
        layouts: dict[tuple[Any, ...], dict[str, XdrType]] = {}
        for module in self._registry.modules():
            for type_ in module.types.values():
                layouts.setdefault(wire_identity(type_), {}).setdefault(type_.name, type_)
        return [
            sorted(types.values(), key=lambda type_: (self._costs.get(type_.name, _INNER), type_.name))
            for types in layouts.values()
        ]


def wire_identity(type_: XdrType) -> tuple[Any, ...]:
    """Return the part of a type that its bytes can show: not its names, nor where a struct begins, nor a
    sign."""
    return _WireIdentity(type_.types).visit(type_.reference)


class _WireIdentity(Visitor[tuple[Any, ...]]):
    def __init__(self, types: TypeTable) -> None:
        super().__init__(types)
        #: The types that the visit is in.
        self._within: list[xdr.Named] = []

    def void(self, node: xdr.Void) -> tuple[Any, ...]:
        return ()

    def integer(self, node: xdr.Integer) -> tuple[Any, ...]:
        return ("integer", node.bits)

    def floating(self, node: xdr.Floating) -> tuple[Any, ...]:
        return ("float", node.bits)

    def boolean(self, node: xdr.Boolean) -> tuple[Any, ...]:
        return ("boolean",)

    def enumeration(self, reference: xdr.Named, node: xdr.Enumeration) -> tuple[Any, ...]:
        return ("enum", tuple(sorted({member.value for member in node.members})))

    def fixed_opaque(self, node: xdr.FixedOpaque) -> tuple[Any, ...]:
        return ("opaque", node.size.value, False)

    def uuid(self, node: xdr.FixedOpaque) -> tuple[Any, ...]:
        return ("opaque", node.size.value, True)

    def opaque(self, node: xdr.Opaque) -> tuple[Any, ...]:
        return ("opaque",)

    def string(self, node: xdr.String) -> tuple[Any, ...]:
        return ("string",)

    def fixed_array(self, node: xdr.FixedArray) -> tuple[Any, ...]:
        return ("array", node.size.value, self.visit(node.element))

    def array(self, node: xdr.Array) -> tuple[Any, ...]:
        return ("array", None, self.visit(node.element))

    def optional(self, node: xdr.Optional) -> tuple[Any, ...]:
        return ("optional", self.visit(node.element))

    def structure(self, reference: xdr.Named, node: xdr.Structure) -> tuple[Any, ...]:
        if reference in self._within:
            return ("again", self._within.index(reference))
        self._within.append(reference)
        found = tuple(part for field in node.fields for part in self._flat(field.node))
        self._within.pop()
        return found

    def _flat(self, node: xdr.Node) -> tuple[Any, ...]:
        """The parts of a struct, or another type as one part."""
        inner, body = self.visit(node), xdr.body_of(node, self.types)
        is_struct = body is not None and isinstance(body[1], xdr.Structure) and body[0] not in self._within
        return inner if is_struct else (inner,)

    def union(self, reference: xdr.Named, node: xdr.UnionType) -> tuple[Any, ...]:
        if reference in self._within:
            return ("again", self._within.index(reference))
        self._within.append(reference)
        arms = {label: self.visit(arm.node) for label, arm in node.by_label.items()}
        other = None if node.default is None else self.visit(node.default.node)
        self._within.pop()
        return ("union", self.visit(node.discriminant.node), tuple(sorted(arms.items())), other)
