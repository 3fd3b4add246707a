"""RFC 4506 primitives: `read_x` with its inverse `write_x`.

Reading accepts the buffer and a position and returns the value and the next position; a buffer ends
where its message ends. Every error is a ProtocolError with its offset; the position advances only
after a successful read. Writing calls `put` with pieces of bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from struct import Struct
from typing import Any, Final

from ..errors import BadValue, NotCanonical, OverLimit, ProtocolError, Truncated
from .limits import MAX_DEPTH

#: What generated code asks for at its head; raised with a change that old code would not survive.
API_VERSION: Final = 3

Put = Callable[[bytes], None]

_UINT = Struct(">I")
_unpack_uint = _UINT.unpack_from
_pack_uint = _UINT.pack
#: Padding by (length & 3), RFC 4506 §3: the residue is filled with zeros up to a multiple of four.
_PAD: Final = (b"", b"\0\0\0", b"\0\0", b"\0")
#: The largest length of a variable-length item (§4.10).
UNBOUNDED: Final = 0xFFFFFFFF


def require_api(version: int) -> None:
    """Called by generated modules: ImportError if they were generated for another runtime."""
    if version != API_VERSION:
        raise ImportError(
            f"generated for API {version}, while the installed libvirt_proto has API {API_VERSION}: "
            "run `libvirt-proto generate` again"
        )


def need(buffer: bytes, pos: int, size: int) -> None:
    """Raise Truncated unless `size` bytes are left."""
    if len(buffer) - pos < size:
        raise Truncated(size, max(0, len(buffer) - pos), offset=pos)


def read_number(layout: Struct, buffer: bytes, pos: int) -> tuple[Any, int]:
    """One number of a `struct` layout (§4.1 to §4.7)."""
    try:
        return layout.unpack_from(buffer, pos)[0], pos + layout.size
    except struct.error:
        raise Truncated(layout.size, max(0, len(buffer) - pos), offset=pos) from None


def write_number(layout: Struct, value: float, put: Put) -> None:
    """Write one number of a `struct` layout; BadValue if the value does not fit."""
    try:
        put(layout.pack(value))
    except (struct.error, OverflowError, TypeError) as error:
        raise BadValue(f"{value!r} does not fit: {error}") from None


def read_bool(buffer: bytes, pos: int) -> tuple[bool, int]:
    """§4.4; NotCanonical for a number other than 0 and 1, which C's filters take for TRUE."""
    value, after = read_number(_UINT, buffer, pos)
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


def write_fixed_opaque(value: bytes, size: int, put: Put) -> None:
    """§4.9; BadValue for another length."""
    if not isinstance(value, bytes | bytearray | memoryview):
        raise BadValue(f"expected bytes, got {value!r}")
    if len(value) != size:
        raise BadValue(f"expected {size} bytes, got {len(value)}")
    put(bytes(value))
    put(_PAD[size & 3])


def read_opaque(buffer: bytes, pos: int, limit: int) -> tuple[bytes, int]:
    """§4.10: a length of at most `limit`, the bytes, their padding."""
    try:
        (size,) = _unpack_uint(buffer, pos)
    except struct.error:
        raise Truncated(4, max(0, len(buffer) - pos), offset=pos) from None
    if size > limit:
        raise OverLimit(limit, size, offset=pos)
    start = pos + 4
    stop = start + size
    after = stop + (-size & 3)
    if after > len(buffer):
        raise Truncated(after - start, len(buffer) - start, offset=start)
    if after != stop and buffer[stop:after] != _PAD[size & 3]:
        raise NotCanonical(
            f"padding {buffer[stop:after].hex()} is not zero", buffer[start:stop], after, offset=stop
        )
    return buffer[start:stop], after


def write_opaque(value: bytes, limit: int, put: Put) -> None:
    """§4.10; OverLimit for more than `limit` bytes."""
    if not isinstance(value, bytes | bytearray | memoryview):
        raise BadValue(f"expected bytes, got {value!r}")
    size = len(value)
    if size > limit:
        raise OverLimit(limit, size)
    put(_pack_uint(size))
    put(bytes(value))
    put(_PAD[size & 3])


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


def write_string(value: str | bytes, limit: int, put: Put) -> None:
    """§4.11; a str is written as UTF-8, `limit` counts bytes."""
    if isinstance(value, str):
        try:
            value = value.encode()
        except UnicodeEncodeError as error:
            raise BadValue(f"expected text for UTF-8, got {value!r}: {error.reason}") from None
        size = len(value)
        if size <= limit:  # nearly every string: one piece instead of three, and no further call
            put(_pack_uint(size) + value + _PAD[size & 3])
            return
    write_opaque(value, limit, put)


def read_count(buffer: bytes, pos: int, limit: int, smallest: int) -> tuple[int, int]:
    """The count of a variable-length array (§4.13): at most `limit`, and no more than what is left
    can hold of elements that take `smallest` bytes or more each. The generator refuses elements that
    take none."""
    try:
        (count,) = _unpack_uint(buffer, pos)
    except struct.error:
        raise Truncated(4, max(0, len(buffer) - pos), offset=pos) from None
    if count > limit:
        raise OverLimit(limit, count, "count", offset=pos)
    after = pos + 4
    if count * smallest > len(buffer) - after:
        raise Truncated(count * smallest, len(buffer) - after, offset=after)
    return count, after


def write_count(count: int, limit: int, put: Put) -> None:
    """§4.13; OverLimit for more than `limit` elements."""
    if count > limit:
        raise OverLimit(limit, count, "count")
    put(_pack_uint(count))


def check_length(items: list[Any], size: int) -> None:
    """A fixed-length array (§4.12) has exactly `size` elements, or BadValue."""
    if len(items) != size:
        raise BadValue(f"expected {size} elements, got {len(items)}")


# Additional functions for generated code.

_Unpack = Callable[[bytes, int], tuple[Any, ...]]
#: Layouts are cached permanently: one for each size below _SMALL, and at most _MOST_LAYOUTS in total.
_SMALL: Final = 128
_MOST_LAYOUTS: Final = 256


class Texts(dict[int, tuple[_Unpack, bytes, int]]):
    """Layouts of a string or opaque data (§4.10, §4.11) and the fixed-size run after it, by length.

    `texts[size]` is a tuple: a function, the required padding, and the number of bytes to advance by (all
    but the last `ahead`). The function accepts the buffer and the position of the length word and returns
    the bytes, their padding and the values of `code`; it raises struct.error if the buffer is too short.
    OverLimit for a size above the limit.
    """

    def __init__(self, code: str, limit: int, *, ahead: int = 0) -> None:
        self._code = code
        self._limit = limit
        run = Struct(f">{code}")
        self._unpack_run = run.unpack_from
        self._more = 4 + run.size - ahead

    def __missing__(self, size: int) -> tuple[_Unpack, bytes, int]:
        if size > self._limit:
            raise OverLimit(self._limit, size)
        residue = -size & 3
        if size >= _SMALL and len(self) >= _MOST_LAYOUTS - _SMALL:
            return self._slice, _PAD[size & 3], size + residue + self._more
        layout = Struct(f">4x{size}s{residue}s{self._code}")
        self[size] = made = layout.unpack_from, _PAD[size & 3], size + residue + self._more
        return made

    def _slice(self, buffer: bytes, pos: int) -> tuple[Any, ...]:
        """Read a size that has no layout of its own."""
        (size,) = _unpack_uint(buffer, pos)
        start = pos + 4
        stop = start + size
        after = stop + (-size & 3)
        run = self._unpack_run(buffer, after)  # which notices that the buffer ends before
        return buffer[start:stop], buffer[stop:after], *run


def unpadded(value: bytes, padding: bytes, zeros: bytes) -> bytes:
    """The value itself; BadValue where its padding is not zero."""
    if padding != zeros:
        raise BadValue(f"padding {padding.hex()} is not zero")
    return value


def unpadded_text(value: bytes, padding: bytes, zeros: bytes) -> str | bytes:
    """As `unpadded`, for a string (see `text`)."""
    if padding != zeros:
        raise BadValue(f"padding {padding.hex()} is not zero")
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


def too_many(count: int, pos: int) -> ProtocolError:
    """The error for a count above the limit, or of more elements than can follow at `pos`."""
    return BadValue(f"{count} elements are too many", offset=pos)


#: Optional-data and booleans as they lie on the wire (§4.4, §4.19).
FALSE: Final = b"\0\0\0\0"
TRUE: Final = b"\0\0\0\1"


def no_boolean(pos: int) -> ProtocolError:
    """The error for four bytes at `pos` that are neither FALSE nor TRUE (or fewer than four)."""
    return BadValue("neither 0 nor 1", offset=pos)


def no_arm(discriminant: int, pos: int | None = None) -> BadValue:
    """The error for a discriminant that has no arm in a union without a default."""
    return BadValue(f"no arm for discriminant {int(discriminant)}", offset=pos)


def no_value(value: None) -> None:
    """A void arm carries None, or BadValue."""
    if value is not None:
        raise BadValue(f"expected None (the arm is void), got {value!r}")


def deeper(depth: int, pos: int | None = None) -> int:
    """One level more of a type that contains itself; OverLimit beyond MAX_DEPTH."""
    if depth >= MAX_DEPTH:
        raise OverLimit(MAX_DEPTH, depth + 1, "depth", offset=pos)
    return depth + 1


def boolean(number: int) -> bool:
    """A boolean that was read as a number; BadValue for any but 0 and 1."""
    if number > 1:
        raise BadValue(f"boolean {number} is neither 0 nor 1")
    return number == 1


def bit(value: bool) -> int:
    """The number that stands for a boolean; BadValue for any but True and False."""
    if value not in (False, True):
        raise BadValue(f"expected True or False, got {value!r}")
    return int(value)


def exact(value: bytes, size: int) -> bytes:
    """The bytes themselves when there are `size` of them, for `struct` would cut or fill them."""
    if len(value) != size:
        raise BadValue(f"expected {size} bytes, got {len(value)}")
    return value


def need_elements(buffer: bytes, pos: int, count: int, smallest: int) -> int:
    """`count`, when that many elements of at least `smallest` bytes can be left (§4.12)."""
    need(buffer, pos, count * smallest)
    return count


def read_numbers(buffer: bytes, pos: int, count: int, code: str) -> tuple[list[Any], int]:
    """`count` numbers of one `struct` code, or struct.error."""
    return list(struct.unpack_from(f">{count}{code}", buffer, pos)), pos + count * (8 if code in "qQd" else 4)


def write_numbers(values: list[Any], code: str, put: Put) -> None:
    """The other way; struct.error for what does not fit."""
    put(struct.pack(f">{len(values)}{code}", *values))
