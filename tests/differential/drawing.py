"""Values of any type, damaged bytes, and bytes at and above each limit, from a seed.

tests/property draws with Hypothesis, which shrinks what fails; this draws a million in minutes. Bytes at the
limits are put together here, and not by the encoder that is under test.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from random import Random
from typing import Any, NamedTuple

from libvirt_proto.codec.layout import (
    Boolean,
    EnumOf,
    FixedOpaque,
    Floating,
    Integer,
    Leaf,
    Node,
    Opaque,
    Optional,
    Sequence,
    String,
    StructNode,
    UnionNode,
    VoidNode,
)

#: The range of a number in C, where it is smaller than its four bytes on the wire.
NARROW = {
    "char": (8, True),
    "unsigned char": (8, False),
    "short": (16, True),
    "unsigned short": (16, False),
}
#: A type within itself ends here.
DEEP = 4
_WORD = struct.Struct(">I")


def value(node: Node, rng: Random, depth: int = 0) -> Any:
    """A value; most are small, some are at an edge of what the type takes."""
    match node:
        case Leaf(mark):
            return _leaf(mark, rng)
        case VoidNode():
            return None
        case Optional(element):
            return value(element, rng, depth + 1) if rng.random() < 0.7 and depth < DEEP else None
        case Sequence(element, size, fixed):
            count = (size or 0) if fixed else _length(size, rng)
            return [value(element, rng, depth) for _ in range(count)]
        case StructNode():
            return node.type(*[value(child, rng, depth) for _, _, child in node.fields])
        case UnionNode():
            return _union(node, rng, depth)


def _union(node: UnionNode, rng: Random, depth: int) -> Any:
    label: Any = rng.choice(list(node.arms))
    kind = node.discriminant[2]
    if node.default is not None and rng.random() < 0.3:
        label = value(kind, rng)
    if isinstance(kind, Leaf) and isinstance(kind.mark, Boolean):
        label = bool(label)
    arm = node.arm(label)
    assert arm
    return node.type(label, value(arm[1], rng, depth))


def _length(limit: int | None, rng: Random) -> int:
    """Mostly few; now and then all that fit, where that is not much."""
    most = 1 << 32 if limit is None else limit
    if most <= 64 and rng.random() < 0.03:
        return most
    return min(rng.choice((0, 0, 1, 1, 1, 2, 3, 7)), most)


def _leaf(mark: Any, rng: Random) -> Any:
    match mark:
        case Integer(bits, signed, spelling):
            bits, signed = NARROW.get(spelling, (bits, signed))
            return _integer(bits, signed, rng)
        case EnumOf(type_):
            return rng.choice(list(type_)) if rng.random() < 0.8 else _integer(32, True, rng)
        case Boolean():
            return rng.random() < 0.5
        case Floating(bits):
            code = {32: "f", 64: "d"}[bits]
            (number,) = struct.unpack(f">{code}", rng.choice((rng.randbytes(bits // 8), bytes(bits // 8))))
            return number
        case FixedOpaque(size):
            return rng.randbytes(size)
        case Opaque(limit):
            return rng.randbytes(_length(limit, rng))
        case String(limit):
            return _string(limit, rng)
    raise AssertionError(mark)


def _integer(bits: int, signed: bool, rng: Random) -> int:
    number = rng.choice(
        (0, 1, 1 << (bits - 1), (1 << (bits - 1)) - 1, (1 << bits) - 1, rng.getrandbits(bits))
    )
    return number - (1 << bits) if signed and number >> (bits - 1) else number


def _string(limit: int | None, rng: Random) -> str | bytes:
    """ASCII for the most part, then UTF-8, then bytes that are neither, all but these without NUL."""
    size = _length(limit, rng)
    what = rng.random()
    if what < 0.85:
        return "".join(rng.choices("abz /.", k=size))
    if what < 0.95:
        text = "".join(rng.choices("aé€\U0001f40d", k=size))
        return text if limit is None or len(text.encode()) <= limit else text[: limit // 4]
    data = rng.randbytes(size)
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


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


def smallest(node: Node) -> bytes:
    """A short form of a node: all that may be empty is."""
    match node:
        case Leaf(Integer(bits) | Floating(bits)):
            return bytes(bits // 8)
        case Leaf(FixedOpaque(size)):
            return bytes(size + -size % 4)
        case Leaf(EnumOf(type_)):
            return struct.pack(">i", next(iter(type_)))
        case Sequence(element, size, True):
            return smallest(element) * (size or 0)
        case StructNode():
            return b"".join(smallest(child) for _, _, child in node.fields)
        case UnionNode():
            label, (_, child) = next(iter(node.arms.items()))
            return _label(label) + smallest(child)
        case VoidNode():
            return b""
        case _:
            return bytes(4)


def _label(number: int) -> bytes:
    return _WORD.pack(number & 0xFFFFFFFF)


def limits(node: Node, size: int, path: str = "", within: tuple[Any, ...] = ()) -> Iterator[AtLimit]:
    """Each bounded length within a node, of those that `size` bytes are enough for."""
    match node:
        case Leaf(String(limit) | Opaque(limit)) if limit is not None and limit <= size:
            yield AtLimit(path, limit, _text(limit), _text(limit + 1))
        case Sequence(element, count, fixed):
            one = smallest(element)
            if fixed:
                rest = one * ((count or 0) - 1)
                yield from _around(b"", limits(element, size, f"{path}[0]", within), rest)
                return
            if count is not None and count * len(one) <= size:
                yield AtLimit(path, count, _label(count) + one * count, _label(count + 1) + one * (count + 1))
            yield from _around(_label(1), limits(element, size, f"{path}[0]", within), b"")
        case Optional(element):
            yield from _around(_label(1), limits(element, size, path, within), b"")
        case StructNode() if node.type not in within:
            parts = [smallest(child) for _, _, child in node.fields]
            for index, (name, _, child) in enumerate(node.fields):
                found = limits(child, size, f"{path}.{name}", (*within, node.type))
                yield from _around(b"".join(parts[:index]), found, b"".join(parts[index + 1 :]))
        case UnionNode() if node.type not in within:
            for label, (name, child) in node.arms.items():
                found = limits(child, size, f"{path}.{name}", (*within, node.type))
                yield from _around(_label(label), found, b"")


def _text(size: int) -> bytes:
    return _label(size) + b"x" * size + bytes(-size % 4)


def _around(before: bytes, found: Iterator[AtLimit], after: bytes) -> Iterator[AtLimit]:
    for one in found:
        yield one._replace(most=before + one.most + after, over=before + one.over + after)
