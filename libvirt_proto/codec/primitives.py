"""RFC 4506 primitives: `read_x` with its inverse `write_x`.

Reading accepts the buffer and a position and returns the value and the next position; a buffer ends
where its message ends. Every error is a ProtocolError with its offset; the position advances only
after a successful read. Writing calls `put` with pieces of bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from enum import IntEnum
from struct import Struct
from typing import Any, Final, TypeVar

from ..errors import BadValue, NotCanonical, OverLimit, Truncated
from .api_version import require_api as require_api  # generated modules import it from here
from .limits import MAX_DEPTH

T = TypeVar("T")
Put = Callable[[bytes], None]
#: (buffer, position) → (value, next position).
Read = Callable[[bytes, int], tuple[T, int]]
#: (value, put).
Write = Callable[[T, Put], None]

#: Padding by (length & 3), RFC 4506 §3: the residue is filled with zeros up to a multiple of four.
_PAD: Final = (b"", b"\0\0\0", b"\0\0", b"\0")
#: The largest length of a variable-length item (§4.10).
UNBOUNDED: Final = 0xFFFFFFFF


def need(buffer: bytes, pos: int, size: int) -> None:
    """Raise Truncated unless `size` bytes are left."""
    if len(buffer) - pos < size:
        raise Truncated(size, max(0, len(buffer) - pos), offset=pos)


def _number(code: str, _python: type[T]) -> tuple[Read[T], Write[T]]:
    """Return the functions that read and write a number with a `struct` code."""
    layout = Struct(f">{code}")
    unpack, pack, size = layout.unpack_from, layout.pack, layout.size

    def read(buffer: bytes, pos: int) -> tuple[T, int]:
        try:
            return unpack(buffer, pos)[0], pos + size
        except struct.error:
            raise Truncated(size, max(0, len(buffer) - pos), offset=pos) from None

    def write(value: T, put: Put) -> None:
        try:
            put(pack(value))
        except (struct.error, OverflowError, TypeError) as error:
            raise BadValue(f"{value!r} does not fit: {error}") from None

    return read, write


read_int, write_int = _number("i", int)  # §4.1
read_unsigned_int, write_unsigned_int = _number("I", int)  # §4.2
read_hyper, write_hyper = _number("q", int)  # §4.5
read_unsigned_hyper, write_unsigned_hyper = _number("Q", int)  # §4.5
read_float, write_float = _number("f", float)  # §4.6
read_double, write_double = _number("d", float)  # §4.7


def read_enum(buffer: bytes, pos: int, enumeration: type[IntEnum]) -> tuple[int, int]:
    """§4.3: a member, or the number itself if no member has it."""
    number, pos = read_int(buffer, pos)
    member: Any = enumeration._value2member_map_.get(number, number)
    return member, pos


def read_bool(buffer: bytes, pos: int) -> tuple[bool, int]:
    """§4.4; NotCanonical for a number other than 0 and 1, which C's filters take for TRUE."""
    value, after = read_unsigned_int(buffer, pos)
    if value > 1:
        raise NotCanonical(f"boolean {value} is neither 0 nor 1", True, after, offset=pos)
    return value == 1, after


def write_bool(value: bool, put: Put) -> None:
    """§4.4; BadValue for anything but True and False (and 0 and 1, which are equal to them)."""
    if value not in (False, True):
        raise BadValue(f"expected True or False, got {value!r}")
    put(b"\0\0\0\1" if value else b"\0\0\0\0")


def read_fixed_opaque(buffer: bytes, pos: int, size: int) -> tuple[bytes, int]:
    """§4.9: `size` bytes and their padding."""
    stop = pos + size
    residue = size & 3
    if not residue:
        need(buffer, pos, size)
        return buffer[pos:stop], stop
    after = stop + 4 - residue
    need(buffer, pos, after - pos)
    value = buffer[pos:stop]
    if buffer[stop:after] != _PAD[residue]:
        raise NotCanonical(f"padding {buffer[stop:after].hex()} is not zero", value, after, offset=stop)
    return value, after


def write_fixed_opaque(value: bytes, put: Put, size: int) -> None:
    """§4.9; BadValue for another length."""
    if not isinstance(value, bytes | bytearray | memoryview):
        raise BadValue(f"expected bytes, got {value!r}")
    if len(value) != size:
        raise BadValue(f"expected {size} bytes, got {len(value)}")
    put(b"".join((value, _PAD[size & 3])))


def read_opaque(buffer: bytes, pos: int, limit: int) -> tuple[bytes, int]:
    """§4.10: a length of at most `limit`, the bytes, their padding."""
    size, start = read_unsigned_int(buffer, pos)
    if size > limit:
        raise OverLimit(limit, size, offset=pos)
    stop = start + size
    after = stop + (-size & 3)
    if after > len(buffer):
        raise Truncated(after - start, len(buffer) - start, offset=start)
    if after != stop and buffer[stop:after] != _PAD[size & 3]:
        raise NotCanonical(
            f"padding {buffer[stop:after].hex()} is not zero", buffer[start:stop], after, offset=stop
        )
    return buffer[start:stop], after


def write_opaque(value: bytes, put: Put, limit: int) -> None:
    """§4.10; OverLimit for more than `limit` bytes."""
    if not isinstance(value, bytes | bytearray | memoryview):
        raise BadValue(f"expected bytes, got {value!r}")
    size = len(value)
    if size > limit:
        raise OverLimit(limit, size)
    put(b"".join((size.to_bytes(4), value, _PAD[size & 3])))


def text(value: bytes) -> str | bytes:
    """A string's value: str, or the bytes themselves where they are not UTF-8."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


def read_string(buffer: bytes, pos: int, limit: int) -> tuple[str | bytes, int]:
    """§4.11; see `text` for what is not UTF-8."""
    value, after = read_opaque(buffer, pos, limit)
    return text(value), after


def write_string(value: str | bytes, put: Put, limit: int) -> None:
    """§4.11; a str is written as UTF-8, `limit` counts bytes."""
    if isinstance(value, str):
        try:
            value = value.encode()
        except UnicodeEncodeError as error:
            raise BadValue(f"expected text for UTF-8, got {value!r}: {error.reason}") from None
    write_opaque(value, put, limit)


def read_fixed_array(
    buffer: bytes, pos: int, size: int, element: Read[T], *, min_size: int
) -> tuple[list[T], int]:
    """§4.12: `size` elements of at least `min_size` bytes each."""
    need(buffer, pos, size * min_size)
    return _read_elements(buffer, pos, size, element)


def write_fixed_array(value: list[T], put: Put, size: int, element: Write[T]) -> None:
    """§4.12; BadValue for another length."""
    check_length(value, size)
    for item in value:
        element(item, put)


def check_length(items: list[Any], size: int) -> None:
    """A fixed-length array (§4.12) has exactly `size` elements, or BadValue."""
    if len(items) != size:
        raise BadValue(f"expected {size} elements, got {len(items)}")


def read_array(
    buffer: bytes, pos: int, limit: int, element: Read[T], *, min_size: int
) -> tuple[list[T], int]:
    """§4.13: a count and as many elements, see `read_count`."""
    count, pos = read_count(buffer, pos, limit, min_size)
    return _read_elements(buffer, pos, count, element)


def write_array(value: list[T], put: Put, limit: int, element: Write[T]) -> None:
    """§4.13; OverLimit for more than `limit` elements."""
    write_count(len(value), put, limit)
    for item in value:
        element(item, put)


def _read_elements(buffer: bytes, pos: int, count: int, element: Read[T]) -> tuple[list[T], int]:
    items = []
    for _ in range(count):
        item, pos = element(buffer, pos)
        items.append(item)
    return items, pos


def read_count(buffer: bytes, pos: int, limit: int, min_size: int) -> tuple[int, int]:
    """The count of a variable-length array (§4.13): at most `limit`, and no more than the remaining bytes
    can hold of elements of at least `min_size` bytes. The generator rejects elements of no size."""
    count, after = read_unsigned_int(buffer, pos)
    if count > limit:
        raise OverLimit(limit, count, "count", offset=pos)
    if count * min_size > len(buffer) - after:
        raise Truncated(count * min_size, len(buffer) - after, offset=after)
    return count, after


def write_count(count: int, put: Put, limit: int) -> None:
    """§4.13; OverLimit for more than `limit` elements."""
    if count > limit:
        raise OverLimit(limit, count, "count")
    write_unsigned_int(count, put)


def read_optional(buffer: bytes, pos: int, element: Read[T]) -> tuple[T | None, int]:
    """§4.19: None for absent data."""
    present, pos = read_bool(buffer, pos)
    return element(buffer, pos) if present else (None, pos)


def write_optional(value: object, put: Put, element: Write[Any]) -> None:
    """§4.19: absent data for None."""
    write_bool(value is not None, put)
    if value is not None:
        element(value, put)


def no_arm(discriminant: int, pos: int | None = None) -> BadValue:
    """Return the error for a discriminant that has no arm in a union without a default (§4.15)."""
    return BadValue(f"no arm for discriminant {int(discriminant)}", offset=pos)


def write_void(value: None, put: Put) -> None:
    """§4.16; BadValue for a value other than None."""
    if value is not None:
        raise BadValue(f"expected None (the arm is void), got {value!r}")


def deeper(depth: int, pos: int | None = None) -> int:
    """Return the depth of one more level of a type that contains itself; OverLimit beyond MAX_DEPTH."""
    if depth >= MAX_DEPTH:
        raise OverLimit(MAX_DEPTH, depth + 1, "depth", offset=pos)
    return depth + 1
