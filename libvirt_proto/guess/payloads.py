"""Which types some bytes can be a value of, best first."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import cached_property
from typing import Any, Final

import msgspec

from ..codec.layout import (
    EnumOf,
    FixedOpaque,
    Floating,
    Integer,
    Leaf,
    Node,
    Optional,
    Sequence,
    StructNode,
    UnionNode,
    VoidNode,
)
from ..codec.xdrtype import XdrType
from ..errors import ProtocolError
from ..registry import Registry
from .evidence import Weight, background, weigh

#: Types are tried on no more bytes than this: with so many of them, each takes its time.
MAX_BYTES: Final = 65_536
#: How much less likely a type is that no message carries by itself; and one of any program but the largest,
#: of which most messages are.
_INNER: Final = 8.0
_OTHER: Final = 2.0
#: A type that leaves bytes over is worth naming only if it says much.
_PREFIX: Final = 15.0
_KIND: Final = {Integer: "integer", Floating: "float", FixedOpaque: "opaque"}


class Payload(msgspec.Struct, frozen=True):
    """Types that are the same on the wire, which is how the bytes can be read.

    `types` are the .x's names, those of payloads first. `used` bytes are the value, `left` are behind it.
    `bits` is the evidence, `weight` what it rests on; `value` is of the first type, at `node`.
    """

    types: tuple[str, ...]
    used: int
    left: int
    bits: float
    weight: Weight
    node: Node
    value: Any


class Payloads:
    """Ranks the types of a registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def rank(self, data: bytes) -> list[Payload]:
        """What the bytes can be, from the first one on: types that take all of them, best first, then
        those that leave some over. Only canonical XDR counts.

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
            except (struct.error, ProtocolError):
                continue
            if not taken:
                value, used = read, end
            taken.append(type_)
        if not taken or used == 0:
            return
        first, left = taken[0], len(data) - used
        weight = weigh(first.node, value)
        bits = before[used // 4] - weight.bits - self._costs.get(first.name, _INNER)
        if left == 0 or bits >= _PREFIX:
            names = tuple(type_.name for type_ in taken)
            yield Payload(names, used, left, bits, weight, first.node, value)

    @cached_property
    def _costs(self) -> dict[str, float]:
        """How unlikely the types are that messages carry by themselves."""
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
                layouts.setdefault(layout(type_.node), {}).setdefault(type_.name, type_)
        return [
            sorted(types.values(), key=lambda type_: (self._costs.get(type_.name, _INNER), type_.name))
            for types in layouts.values()
        ]


def layout(node: Node, within: tuple[Any, ...] = ()) -> tuple[Any, ...]:
    """What of a type can be told from its bytes: not its names, nor where a struct begins, nor a sign."""
    match node:
        case Leaf(EnumOf(type_)):
            return ("enum", tuple(sorted(type_)))
        case Leaf(Integer(bits) | Floating(bits)):
            return (_KIND[type(node.mark)], bits)
        case Leaf(FixedOpaque(size)):
            return ("opaque", size, node.is_uuid)
        case Leaf(mark):
            return (type(mark).__name__,)
        case Optional(element):
            return ("optional", layout(element, within))
        case Sequence(element, size, fixed):
            return ("array", size if fixed else None, layout(element, within))
        case VoidNode():
            return ()
        case StructNode() | UnionNode() if node in within:  # contains itself
            return ("again", within.index(node))
        case StructNode():
            return tuple(part for _, _, field in node.fields for part in _flat(field, (*within, node)))
        case UnionNode():
            arms = {label: layout(arm, (*within, node)) for label, (_, arm) in node.arms.items()}
            other = None if node.default is None else layout(node.default[1], (*within, node))
            return ("union", layout(node.discriminant[2]), tuple(sorted(arms.items())), other)


def _flat(node: Node, within: tuple[Any, ...]) -> tuple[Any, ...]:
    """A struct's parts, or another node as one."""
    inner = layout(node, within)
    return inner if isinstance(node, StructNode) and node not in within else (inner,)
