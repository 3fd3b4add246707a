"""Random values of any XDR type: one generator over three sources of randomness.

Hypothesis shrinks what fails, a seed draws a million values in minutes, and a fuzzer steers by its bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any, Final, Protocol

from hypothesis import strategies as st

from libvirt_proto.codec import types as xdr
from libvirt_proto.codec.sizes import minimum_size
from libvirt_proto.codec.type_table import TypeTable
from libvirt_proto.codec.visitor import Visitor
from libvirt_proto.codec.xdrtype import XdrType

#: Usual maximum of elements, and of bytes, where the type allows more.
FEW_ELEMENTS: Final = 3
FEW_BYTES: Final = 9
#: Levels of optional-data and variable-length arrays; deeper ones are empty, so that recursion ends.
MAX_LEVELS: Final = 4
#: (bits, signed) of an integer in C, where it is smaller than its four bytes on the wire.
NARROW: Final = {
    "char": (8, True),
    "unsigned char": (8, False),
    "short": (16, True),
    "unsigned short": (16, False),
}


class Source(Protocol):
    """A source of randomness. Where it can shrink, it shrinks towards 0."""

    def below(self, end: int) -> int:
        """Return a number from 0 to `end` - 1."""

    def number(self, bits: int) -> int:
        """Return an unsigned number of `bits` bits, often at an edge."""

    def floating(self, bits: int) -> float:
        """Return a float of 32 or 64 bits."""

    def take(self, size: int) -> bytes:
        """Return exactly `size` bytes."""

    def length(self, limit: int | None, few: int) -> int:
        """Return a length within a limit, usually at most `few`."""

    def string(self, limit: int | None) -> str | bytes:
        """Return a string that takes at most `limit` bytes; bytes if it is not UTF-8."""


class TooLarge(Exception):
    """A type whose smallest value exceeds the maximum."""


def values(type_: XdrType) -> st.SearchStrategy[Any]:
    """Return a strategy for the values of a type."""
    generator = ValueGenerator(type_.types)

    @st.composite
    def value(draw: st.DrawFn) -> Any:
        return generator.visit(type_.reference, HypothesisSource(draw), 0)

    return value()


def typed_values(types: Sequence[XdrType]) -> st.SearchStrategy[tuple[XdrType, Any]]:
    """Return a strategy for one of the types, and a value of it."""
    # Once, because hypothesis hashes the types.
    any_type = st.sampled_from(types)

    @st.composite
    def typed_value(draw: st.DrawFn) -> tuple[XdrType, Any]:
        type_ = draw(any_type)
        return type_, draw(values(type_))

    return typed_value()


def seeded_values(type_: XdrType, count: int = 16) -> Iterator[Any]:
    """Yield values of a type, equal in each run; NaN is left out, because it is not equal to itself.

    They cost a twentieth of hypothesis' values: for tests of many types, next to a test of `typed_values`.
    """
    generator, source = ValueGenerator(type_.types), RandomSource(Random(type_.name), nan=False)
    for _ in range(count):
        yield generator.visit(type_.reference, source, 0)


def random_value(type_: XdrType, rng: Random) -> Any:
    """Return a value of a type from a seeded generator: integers in the range that they have in C."""
    return ValueGenerator(type_.types, narrow=True).visit(type_.reference, RandomSource(rng), 0)


def fuzzed_value(type_: XdrType, taker: Takes, maximum: int = 1200) -> Any:
    """Return a value of a type from a fuzzer's bytes.

    Raises TooLarge where the type asks for more than `maximum` bytes.
    """
    return ValueGenerator(type_.types, maximum=maximum).visit(type_.reference, FuzzerSource(taker), 0)


class ValueGenerator(Visitor[Any, Source, int]):
    """Draws values from a source, at a level of optional-data and variable-length arrays.

    `narrow` keeps integers in the range that they have in C; `maximum` is the largest
    minimum size, in bytes, of a fixed-length array or opaque.
    """

    def __init__(self, types: TypeTable, *, narrow: bool = False, maximum: int | None = None) -> None:
        super().__init__(types)
        self._narrow = narrow
        self._maximum = maximum

    def void(self, node: xdr.Void, source: Source, level: int) -> None:
        return None

    def integer(self, node: xdr.Integer, source: Source, level: int) -> int:
        bits, signed = node.bits, node.signed
        if self._narrow:
            bits, signed = NARROW.get(node.spelling, (bits, signed))
        return _signed(source.number(bits), bits) if signed else source.number(bits)

    def floating(self, node: xdr.Floating, source: Source, level: int) -> float | bytes:
        return source.take(16) if node.bits == 128 else source.floating(node.bits)

    def boolean(self, node: xdr.Boolean, source: Source, level: int) -> bool:
        return source.below(2) == 1

    def enumeration(self, reference: xdr.Named, node: xdr.Enumeration, source: Source, level: int) -> int:
        """A member; one time in five or so, a number without one."""
        count = len(node.members)
        at = source.below(count + max(1, count // 4))
        number = node.members[at].value if at < count else _signed(source.number(32), 32)
        return self._member(reference, number)

    def _member(self, reference: xdr.Named, number: int) -> int:
        try:
            member: int = self.types.python_class(reference)(number)
        except ValueError:
            return number
        return member

    def fixed_opaque(self, node: xdr.FixedOpaque, source: Source, level: int) -> bytes:
        self._check_size(node)
        return source.take(node.size.value)

    def opaque(self, node: xdr.Opaque, source: Source, level: int) -> bytes:
        return source.take(source.length(_number(node.limit), FEW_BYTES))

    def string(self, node: xdr.String, source: Source, level: int) -> str | bytes:
        return source.string(_number(node.limit))

    def fixed_array(self, node: xdr.FixedArray, source: Source, level: int) -> list[Any]:
        self._check_size(node)
        return [self.visit(node.element, source, level) for _ in range(node.size.value)]

    def array(self, node: xdr.Array, source: Source, level: int) -> list[Any]:
        if level >= MAX_LEVELS:
            return []
        count = source.length(_number(node.limit), FEW_ELEMENTS)
        return [self.visit(node.element, source, level + 1) for _ in range(count)]

    def optional(self, node: xdr.Optional, source: Source, level: int) -> Any:
        if level >= MAX_LEVELS or not source.below(3):
            return None
        return self.visit(node.element, source, level + 1)

    def structure(self, reference: xdr.Named, node: xdr.Structure, source: Source, level: int) -> Any:
        fields = [self.visit(field.node, source, level) for field in node.fields]
        return self.types.python_class(reference)(*fields)

    def union(self, reference: xdr.Named, node: xdr.UnionType, source: Source, level: int) -> Any:
        labels = list(node.by_label)
        at = source.below(len(labels) + (node.default is not None))
        if at < len(labels):
            discriminant = self._label(node.discriminant.node, labels[at])
        else:
            discriminant = self.visit(node.discriminant.node, source, level)
        arm = node.arm(discriminant)
        assert arm is not None
        return self.types.python_class(reference)(discriminant, self.visit(arm.node, source, level))

    def _label(self, node: xdr.Node, label: int) -> int:
        """A label as a value of the discriminant's type."""
        if body := xdr.body_of(node, self.types):
            return self._member(body[0], label)
        return bool(label) if isinstance(xdr.resolved(node, self.types), xdr.Boolean) else label

    def _check_size(self, node: xdr.FixedOpaque | xdr.FixedArray) -> None:
        if self._maximum is not None and minimum_size(node, self.types) > self._maximum:
            raise TooLarge


def _number(limit: xdr.Bound | None) -> int | None:
    return None if limit is None else limit.value


def _signed(number: int, bits: int) -> int:
    return number - (1 << bits) if number >> (bits - 1) else number


def _text(data: bytes) -> str | bytes:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


class HypothesisSource:
    """Hypothesis' draws. NaN is left out, because it is not equal to itself."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw: Callable[[st.SearchStrategy[Any]], Any] = draw

    def below(self, end: int) -> int:
        return self._draw(st.integers(0, end - 1))  # type: ignore[no-any-return]

    def number(self, bits: int) -> int:
        return self._draw(st.integers(0, (1 << bits) - 1))  # type: ignore[no-any-return]

    def floating(self, bits: int) -> float:
        return self._draw(st.floats(width=bits, allow_nan=False))  # type: ignore[no-any-return, call-overload]

    def take(self, size: int) -> bytes:
        return self._draw(st.binary(min_size=size, max_size=size))  # type: ignore[no-any-return]

    def length(self, limit: int | None, few: int) -> int:
        return self._draw(st.integers(0, few if limit is None else min(limit, few)))  # type: ignore[no-any-return]

    def string(self, limit: int | None) -> str | bytes:
        most = FEW_BYTES if limit is None else min(limit, FEW_BYTES)
        text = st.text(st.characters(exclude_categories=["Cs"]), max_size=most)
        fits = text.filter(lambda value: len(value.encode()) <= most)
        return self._draw(fits | st.binary(max_size=most).map(_text))  # type: ignore[no-any-return]


class RandomSource:
    """Draws of a seeded generator: mostly small, now and then at an edge of what the type allows."""

    #: A limit within which a length may be as large as the limit.
    _REACHED = 64

    def __init__(self, rng: Random, *, nan: bool = True) -> None:
        self._rng = rng
        self._nan = nan

    def below(self, end: int) -> int:
        return self._rng.randrange(end)

    def number(self, bits: int) -> int:
        high = 1 << (bits - 1)
        return self._rng.choice((0, 1, high, high - 1, 2 * high - 1, self._rng.getrandbits(bits)))

    def floating(self, bits: int) -> float:
        data = self._rng.choice((self._rng.randbytes(bits // 8), bytes(bits // 8)))
        number: float = struct.unpack(">f" if bits == 32 else ">d", data)[0]
        return number if self._nan or number == number else 0.5

    def take(self, size: int) -> bytes:
        return self._rng.randbytes(size)

    def length(self, limit: int | None, few: int) -> int:
        if limit is not None and limit <= self._REACHED and self._rng.random() < 0.03:
            return limit
        size = self._rng.choice((0, 0, 1, 1, 1, 2, 3, 7))
        return size if limit is None else min(size, limit)

    def string(self, limit: int | None) -> str | bytes:
        """ASCII for the most part, then other UTF-8, then bytes, which alone may have NUL."""
        size = self.length(limit, FEW_BYTES)
        kind = self._rng.random()
        if kind < 0.85:
            return "".join(self._rng.choices("abz /.", k=size))
        if kind < 0.95:
            text = "".join(self._rng.choices("aé€\U0001f40d", k=size))
            return text if limit is None or len(text.encode()) <= limit else text[: limit // 4]
        return _text(self._rng.randbytes(size))


class Takes(Protocol):
    """A reader of the fuzzer's bytes: tests/fuzz/taker.py."""

    def take(self, size: int) -> bytes:
        """Return at most `size` bytes."""

    def below(self, end: int) -> int:
        """Return a number from 0 to `end` - 1; `end` is at most 256."""


class FuzzerSource:
    """A fuzzer's bytes; after their end all is zero. NaN is left out, because it is not equal to itself."""

    def __init__(self, taker: Takes) -> None:
        self._taker = taker

    def below(self, end: int) -> int:
        return self._taker.below(end) if end <= 256 else self.number(32) % end

    def number(self, bits: int) -> int:
        return int.from_bytes(self.take(bits // 8), "big")

    def floating(self, bits: int) -> float:
        (number,) = struct.unpack(">f" if bits == 32 else ">d", self.take(bits // 8))
        return 0.5 if number != number else number

    def take(self, size: int) -> bytes:
        return self._taker.take(size).ljust(size, b"\0")

    def length(self, limit: int | None, few: int) -> int:
        return self._taker.below((few if limit is None else min(limit, few)) + 1)

    def string(self, limit: int | None) -> str | bytes:
        return _text(self.take(self.length(limit, FEW_BYTES)))
