"""Damaged bytes, and bytes at and above each limit of a type.

Bytes at the limits are built here, not by the encoder under test.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from random import Random
from typing import NamedTuple

from libvirt_proto.codec.sizes import padded
from libvirt_proto.codec.type_table import TypeTable
from libvirt_proto.codec.types import (
    Array,
    Boolean,
    Enumeration,
    FixedArray,
    FixedOpaque,
    Floating,
    Integer,
    Named,
    Node,
    Opaque,
    Optional,
    String,
    Structure,
    UnionType,
    Void,
)
from libvirt_proto.codec.visitor import Visitor
from libvirt_proto.codec.xdrtype import XdrType

_WORD = struct.Struct(">I")

#: Words that counts, lengths, labels and flags are likely to be compared with, and a signalling NaN.
_WORDS = (
    0,
    1,
    2,
    3,
    4,
    5,
    0xFF,
    0x100,
    0x7F800001,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFD,
    0xFFFFFFFE,
    0xFFFFFFFF,
)


def damaged(data: bytes, rng: Random) -> bytes:
    """The bytes with one to three faults; or, one time in ten, a few words of no origin."""
    if rng.random() < 0.1:
        return b"".join(_word(rng) for _ in range(rng.randrange(16)))
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        rng.choice(_FAULTS)(changed, rng)
    return bytes(changed)


def _word(rng: Random) -> bytes:
    return _WORD.pack(rng.choice(_WORDS)) if rng.random() < 0.8 else rng.randbytes(4)


def _place(data: bytearray, rng: Random) -> int:
    return 4 * rng.randrange(len(data) // 4 + 1)


def _byte(data: bytearray, rng: Random) -> None:
    if data:
        data[rng.randrange(len(data))] = rng.choice((0, 1, 0x80, 0xFF, rng.randrange(256)))


def _another_word(data: bytearray, rng: Random) -> None:
    at = _place(data, rng)
    data[at : at + 4] = _word(rng)


def _one_off(data: bytearray, rng: Random) -> None:
    """A word plus or minus one: a length that is wrong by so much."""
    at = _place(data, rng)
    if at + 4 <= len(data):
        (word,) = _WORD.unpack_from(data, at)
        data[at : at + 4] = _WORD.pack((word + rng.choice((-1, 1))) & 0xFFFFFFFF)


def _cut(data: bytearray, rng: Random) -> None:
    del data[rng.randrange(len(data) + 1) :]


def _more(data: bytearray, rng: Random) -> None:
    data += rng.randbytes(rng.randrange(1, 9))


def _inserted(data: bytearray, rng: Random) -> None:
    at = _place(data, rng)
    data[at:at] = _word(rng)


def _removed(data: bytearray, rng: Random) -> None:
    at = _place(data, rng)
    del data[at : at + 4]


def _repeated(data: bytearray, rng: Random) -> None:
    start, stop = sorted((_place(data, rng), _place(data, rng)))
    data[stop:stop] = data[start:stop]


_FAULTS: tuple[Callable[[bytearray, Random], None], ...] = (
    _byte,
    _byte,
    _another_word,
    _another_word,
    _one_off,
    _cut,
    _more,
    _inserted,
    _removed,
    _repeated,
)


class AtLimit(NamedTuple):
    """Bytes of a type in which one length is at its limit (`most`), and one above it (`over`)."""

    path: str
    limit: int
    most: bytes
    over: bytes


class _Smallest(Visitor[bytes]):
    """Builds a short form of a type: all that may be empty is."""

    def void(self, node: Void) -> bytes:
        return b""

    def integer(self, node: Integer) -> bytes:
        return bytes(node.bits // 8)

    def floating(self, node: Floating) -> bytes:
        return bytes(node.bits // 8)

    def boolean(self, node: Boolean) -> bytes:
        return bytes(4)

    def enumeration(self, reference: Named, node: Enumeration) -> bytes:
        return _word_of(node.members[0].value)

    def fixed_opaque(self, node: FixedOpaque) -> bytes:
        return bytes(padded(node.size.value))

    def opaque(self, node: Opaque) -> bytes:
        return bytes(4)

    def string(self, node: String) -> bytes:
        return bytes(4)

    def fixed_array(self, node: FixedArray) -> bytes:
        return self.visit(node.element) * node.size.value

    def array(self, node: Array) -> bytes:
        return bytes(4)

    def optional(self, node: Optional) -> bytes:
        return bytes(4)

    def structure(self, reference: Named, node: Structure) -> bytes:
        return b"".join(self.visit(field.node) for field in node.fields)

    def union(self, reference: Named, node: UnionType) -> bytes:
        label, arm = next(iter(node.by_label.items()))
        return _word_of(label) + self.visit(arm.node)


def limits(type_: XdrType, size: int) -> Iterator[AtLimit]:
    """Yield each bounded length within a type, of those that `size` bytes are enough for."""
    return _Limits(type_.types, size).visit(type_.reference)


def own_limits(type_: XdrType, size: int) -> Iterator[AtLimit]:
    """Yield each bounded length that a type declares itself, not a type that it names."""
    visitor, body = _OwnLimits(type_.types, size), type_.types.definition(type_.reference).node
    match body:
        case Structure():
            return visitor.structure(type_.reference, body)
        case UnionType():
            return visitor.union(type_.reference, body)
        case Enumeration():
            return iter(())
    return visitor.visit(body)


class _Limits(Visitor[Iterator[AtLimit]]):
    def __init__(self, types: TypeTable, size: int) -> None:
        super().__init__(types)
        self._size = size
        self._smallest = _Smallest(types).visit
        #: The structs and unions that the visit is in: a type within itself ends there.
        self._within: list[Named] = []

    def scalar(self, node: Node) -> Iterator[AtLimit]:
        return iter(())

    fixed_opaque = scalar

    def opaque(self, node: Opaque) -> Iterator[AtLimit]:
        if node.limit is not None and node.limit.value <= self._size:
            limit = node.limit.value
            yield AtLimit("", limit, _text(limit), _text(limit + 1))

    def string(self, node: String) -> Iterator[AtLimit]:
        return self.opaque(Opaque(node.limit))

    def fixed_array(self, node: FixedArray) -> Iterator[AtLimit]:
        rest = self._smallest(node.element) * (node.size.value - 1)
        return _around("[0]", b"", self.visit(node.element), rest)

    def array(self, node: Array) -> Iterator[AtLimit]:
        one = self._smallest(node.element)
        if node.limit is not None and node.limit.value * len(one) <= self._size:
            count = node.limit.value
            yield AtLimit("", count, _word_of(count) + one * count, _word_of(count + 1) + one * (count + 1))
        yield from _around("[0]", _word_of(1), self.visit(node.element), b"")

    def optional(self, node: Optional) -> Iterator[AtLimit]:
        return _around("", _word_of(1), self.visit(node.element), b"")

    def structure(self, reference: Named, node: Structure) -> Iterator[AtLimit]:
        if reference in self._within:
            return
        self._within.append(reference)
        parts = [self._smallest(field.node) for field in node.fields]
        for index, field in enumerate(node.fields):
            before, after = b"".join(parts[:index]), b"".join(parts[index + 1 :])
            yield from _around(f".{field.name}", before, self.visit(field.node), after)
        self._within.pop()

    def union(self, reference: Named, node: UnionType) -> Iterator[AtLimit]:
        if reference in self._within:
            return
        self._within.append(reference)
        for label, arm in node.by_label.items():
            yield from _around(f".{arm.name}", _word_of(label), self.visit(arm.node), b"")
        self._within.pop()


class _OwnLimits(_Limits):
    def visit(self, node: Node) -> Iterator[AtLimit]:
        return iter(()) if isinstance(node, Named) else super().visit(node)


def _word_of(number: int) -> bytes:
    return _WORD.pack(number & 0xFFFFFFFF)


def _text(size: int) -> bytes:
    return _word_of(size) + b"x" * size + bytes(-size % 4)


def _around(step: str, before: bytes, found: Iterator[AtLimit], after: bytes) -> Iterator[AtLimit]:
    for path, limit, most, over in found:
        yield AtLimit(f"{step}{path}", limit, before + most + after, before + over + after)
