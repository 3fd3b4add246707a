"""Evidence of bytes for a type: a comparison of two models.

The *background* treats bytes as a sequence of independent words (four bytes, big-endian): zeros and
small numbers are common, text is not rare. A *type* constrains each word. Both assign the bytes a length
in bits, the shortest that the model allows (-log2 of their probability); the *evidence* is the number of
bits by which the type is shorter. Where a type does not constrain a word, as for an integer, its length
is that of the background, and the evidence is 0; one bit more means twice as likely. The figures below
are estimates, not measurements: they only have to rank.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, field
from itertools import accumulate
from struct import Struct
from typing import Any, Final

from ..codec import types as xdr
from ..codec.visitor import Visitor, parts
from ..codec.xdrtype import XdrType

_WORD = Struct(">I").unpack_from

# Bits of a word, as the background has it: the share of its kind, and which one of its kind it is.
_ZERO: Final = 2.0
_SMALL: Final = 2 + math.log2(272)
_MEDIUM: Final = 3 + 16
_TEXT: Final = 3 + 4 * math.log2(95)
_ANY: Final = 2 + 32
_PRINTABLE: Final = frozenset(range(0x20, 0x7F))
#: Optional-data or an array that is not there: so is a number that is 0.
_NOTHING: Final = 2.5
# Bits of a character in a string.
_CHARACTER: Final = 5.5
_CONTROL: Final = 20.0
#: How many texts and names are kept of a value.
_KEPT: Final = 3


def word_bits(word: int) -> float:
    """A word in the background, 0 to 2^32 - 1."""
    if word == 0:
        return _ZERO
    if word < 256 or word >= 2**32 - 16:
        return _SMALL
    if word < 65536:
        return _MEDIUM
    return _TEXT if _PRINTABLE.issuperset(word.to_bytes(4, "big")) else _ANY


def background(data: bytes) -> list[float]:
    """The bits of the first 0, 1, 2, … words of some bytes; bytes after the last whole word do not count."""
    words = (word_bits(_WORD(data, at)[0]) for at in range(0, len(data) - 3, 4))
    return list(accumulate(words, initial=0.0))


@dataclass(slots=True)
class Weight:
    """The bits of a value as its type has it, and what in it is worth saying."""

    bits: float = 0.0
    #: The first few texts, uuids, and names of enums' members; and how many there are of each.
    texts: list[str] = field(default_factory=list)
    uuids: list[bytes] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    text_count: int = 0
    uuid_count: int = 0
    name_count: int = 0
    #: Lengths and counts; booleans and optional-data; discriminants that have an arm.
    lengths: int = 0
    booleans: int = 0
    arms: int = 0
    #: Integers, which may be anything.
    integers: int = 0
    #: Bytes of padding, which are zero.
    padding: int = 0


def weigh(type_: XdrType, value: Any) -> Weight:
    """Return the weight of a value that was decoded to its end."""
    weight = Weight()
    _Scale(type_.types).visit(type_.reference, value, weight)
    return weight


class _Scale(Visitor[None, Any, Weight]):
    """Adds a value to a weight."""

    def void(self, node: xdr.Void, value: Any, weight: Weight) -> None:
        pass

    def integer(self, node: xdr.Integer, value: Any, weight: Weight) -> None:
        weight.integers += 1
        weight.bits += word_bits(value & 0xFFFFFFFF) if node.bits == 32 else _hyper_bits(value)

    def boolean(self, node: xdr.Boolean, value: Any, weight: Weight) -> None:
        weight.booleans += 1
        weight.bits += 1

    def floating(self, node: xdr.Floating, value: Any, weight: Weight) -> None:
        weight.bits += _opaque_bits(value) if node.bits == 128 else _float_bits(value, node.bits)

    def enumeration(self, reference: xdr.Named, node: xdr.Enumeration, value: Any, weight: Weight) -> None:
        _enum(weight, self.types.python_class(reference), value)

    def uuid(self, node: xdr.FixedOpaque, value: Any, weight: Weight) -> None:
        weight.uuid_count += 1
        weight.bits += 8 * 16  # every one of its bits is as good as the next: hardly zeros
        if len(weight.uuids) < _KEPT:
            weight.uuids.append(value)

    def fixed_opaque(self, node: xdr.FixedOpaque, value: Any, weight: Weight) -> None:
        weight.padding += -len(value) & 3
        weight.bits += _opaque_bits(value)

    def opaque(self, node: xdr.Opaque, value: Any, weight: Weight) -> None:
        _length(weight, len(value))
        weight.bits += _opaque_bits(value)

    def string(self, node: xdr.String, value: Any, weight: Weight) -> None:
        _string(weight, value)

    def sequence(self, node: xdr.FixedArray | xdr.Array, value: Any, weight: Weight) -> None:
        for item in value:
            self.visit(node.element, item, weight)

    def array(self, node: xdr.Array, value: Any, weight: Weight) -> None:
        weight.lengths += 1
        weight.bits += _NOTHING if not value else 1.5 + math.log2(len(value) + 1)
        self.sequence(node, value, weight)

    def optional(self, node: xdr.Optional, value: Any, weight: Weight) -> None:
        weight.booleans += 1
        weight.bits += _NOTHING if value is None else 1
        if value is not None:
            self.visit(node.element, value, weight)

    def structure(self, reference: xdr.Named, node: xdr.Structure, value: Any, weight: Weight) -> None:
        for _, part, held in parts(node, value):
            self.visit(part, held, weight)

    def union(self, reference: xdr.Named, node: xdr.UnionType, value: Any, weight: Weight) -> None:
        _, *arm = parts(node, value)
        discriminant = getattr(value, value.__struct_fields__[0])
        weight.arms += 1
        if discriminant in node.by_label:
            weight.bits += math.log2(len(node.by_label) + (node.default is not None))
        else:
            weight.bits += 1 + word_bits(discriminant & 0xFFFFFFFF)
        for _, part, held in arm:
            self.visit(part, held, weight)


def _hyper_bits(value: int) -> float:
    """Most 64-bit numbers are small."""
    high, low = divmod(value & 0xFFFFFFFFFFFFFFFF, 1 << 32)
    return word_bits(low) + (3 + word_bits(high) if high else 1.5)


def _enum(weight: Weight, type_: type[enum.IntEnum], value: int) -> None:
    if not isinstance(value, type_):
        weight.bits += 20 + word_bits(value & 0xFFFFFFFF)
        return
    weight.name_count += 1
    weight.bits += math.log2(len(type_)) + 0.2
    if len(weight.names) < _KEPT:
        weight.names.append(value.name)


def _length(weight: Weight, size: int) -> None:
    """A length word, and the padding that it calls for."""
    weight.lengths += 1
    weight.padding += -size & 3
    weight.bits += 3 + 0.8 * math.log2(size + 1)


def _opaque_bits(value: bytes) -> float:
    """Bytes that may be anything: as the background has them, or every one as likely as the next."""
    padded = value + bytes(-len(value) & 3)
    return 1 + min(background(padded)[-1], 8.0 * len(value))


def _string(weight: Weight, value: str | bytes) -> None:
    if isinstance(value, bytes):  # which is not UTF-8
        _length(weight, len(value))
        weight.bits += 10 + 12 * len(value)
        return
    _length(weight, len(value.encode()))
    if value:
        weight.text_count += 1
        if len(weight.texts) < _KEPT:
            weight.texts.append(value)
    plain = sum(map(value.count, "\n\t"))
    if value.isascii() and value.isprintable():
        weight.bits += _CHARACTER * len(value)
        return
    for character in value:
        if character.isprintable():
            weight.bits += _CHARACTER if character.isascii() else 8 * len(character.encode())
        else:
            weight.bits += _CONTROL
    weight.bits -= plain * (_CONTROL - _CHARACTER)


def _float_bits(value: float, bits: int) -> float:
    """Numbers that people use are a small part of all patterns."""
    if value == 0:
        return 2 * _ZERO
    usual = math.isfinite(value) and 1e-6 < abs(value) < 1e12
    return bits - 4 if usual else bits + 12
