"""RFC 4506 primitives: one table of cases, read completely, with bytes after them, and cut at each place."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Any

import pytest

from libvirt_proto.codec import primitives
from libvirt_proto.errors import BadValue, NotCanonical, OverLimit, ProtocolError, Truncated

Read = Callable[[bytes, int], tuple[Any, int]]
Write = Callable[[Any, primitives.Put], None]


INT = (primitives.read_int, primitives.write_int)
UINT = (primitives.read_unsigned_int, primitives.write_unsigned_int)
HYPER = (primitives.read_hyper, primitives.write_hyper)
UHYPER = (primitives.read_unsigned_hyper, primitives.write_unsigned_hyper)
FLOAT = (primitives.read_float, primitives.write_float)
DOUBLE = (primitives.read_double, primitives.write_double)
BOOL = (primitives.read_bool, primitives.write_bool)
OPAQUE3 = (
    lambda d, p: primitives.read_fixed_opaque(d, p, 3),
    lambda v, put: primitives.write_fixed_opaque(v, put, 3),
)
OPAQUE4 = (
    lambda d, p: primitives.read_fixed_opaque(d, p, 4),
    lambda v, put: primitives.write_fixed_opaque(v, put, 4),
)
BYTES = (lambda d, p: primitives.read_opaque(d, p, 8), lambda v, put: primitives.write_opaque(v, put, 8))
STRING = (lambda d, p: primitives.read_string(d, p, 8), lambda v, put: primitives.write_string(v, put, 8))

#: (section, kind, value, bytes): written from the RFC by hand.
CASES = [
    ("4.1", INT, 259, "00000103"),
    ("4.1", INT, -1, "ffffffff"),
    ("4.1", INT, -(2**31), "80000000"),
    ("4.2", UINT, 2**32 - 1, "ffffffff"),
    ("4.4", BOOL, True, "00000001"),
    ("4.4", BOOL, False, "00000000"),
    ("4.5", HYPER, -2, "fffffffffffffffe"),
    ("4.5", UHYPER, 2**63, "8000000000000000"),
    ("4.6", FLOAT, 0.5, "3f000000"),
    ("4.7", DOUBLE, 1.0, "3ff0000000000000"),
    ("4.7", DOUBLE, -0.5, "bfe0000000000000"),
    ("4.9", OPAQUE3, b"abc", "61626300"),
    ("4.9", OPAQUE4, b"abcd", "61626364"),
    ("4.10", BYTES, b"", "00000000"),
    ("4.10", BYTES, b"\1\2\3\4\5", "000000050102030405000000"),
    ("4.10", BYTES, b"12345678", "000000083132333435363738"),
    ("4.11", STRING, "sillyp", "0000000673696c6c79700000"),
    ("4.11", STRING, "é", "00000002c3a90000"),
    ("4.11", STRING, b"\xff", "00000001ff000000"),
]


@pytest.mark.parametrize(("section", "kind", "value", "encoded"), CASES)
@pytest.mark.parametrize("before", [b"", b"\xee" * 5])
@pytest.mark.parametrize("after", [b"", b"\xdd" * 7])
def test_primitives_round_trip(
    section: str, kind: tuple[Read, Write], value: Any, encoded: str, before: bytes, after: bytes
) -> None:
    read, write = kind
    data = bytes.fromhex(encoded)
    assert read(before + data + after, len(before)) == (value, len(before) + len(data))
    parts: list[bytes] = []
    write(value, parts.append)
    assert b"".join(parts) == data
    for cut in range(len(data)):
        with pytest.raises(Truncated) as error:
            read(before + data[:cut], len(before))
        assert error.value.offset is not None
        assert len(before) <= error.value.offset <= len(before) + cut
        assert error.value.available == len(before) + cut - error.value.offset
        assert error.value.needed > error.value.available


@pytest.mark.parametrize(
    ("read", "data", "value", "after"),
    [
        (BOOL[0], "00000002", True, 4),
        (BOOL[0], "80000000", True, 4),
        (OPAQUE3[0], "61626301", b"abc", 4),
        (BYTES[0], "0000000561626364650000ff", b"abcde", 12),
        (STRING[0], "000000016100ff00", b"a", 8),
    ],
)
def test_values_accepted_only_by_c_are_not_canonical(read: Read, data: str, value: Any, after: int) -> None:
    with pytest.raises(NotCanonical) as error:
        read(bytes.fromhex(data), 0)
    assert (error.value.value, error.value.next) == (value, after)


def test_rejects_length_over_limit_before_reading() -> None:
    for read in (BYTES[0], STRING[0]):
        with pytest.raises(OverLimit) as error:
            read(bytes.fromhex("00000009"), 0)
        assert (error.value.limit, error.value.actual, error.value.offset) == (8, 9, 0)
    with pytest.raises(OverLimit, match="length 9 is over the limit of 8"):
        STRING[1]("123456789", lambda piece: None)


@pytest.mark.parametrize(
    ("write", "value"),
    [
        (INT[1], 2**31),
        (UINT[1], -1),
        (INT[1], "1"),
        (DOUBLE[1], "x"),
        (BOOL[1], 2),
        (BYTES[1], "text"),
        (OPAQUE4[1], b"abc"),
        (OPAQUE4[1], "abcd"),
        (STRING[1], "\ud800"),
        (STRING[1], 5),
    ],
)
def test_rejects_values_without_encoding(write: Write, value: Any) -> None:
    with pytest.raises(BadValue):
        write(value, lambda piece: None)


def test_counts_are_checked_against_remaining_bytes() -> None:
    data = bytes.fromhex("00000003") + bytes(12)
    assert primitives.read_count(data, 0, 3, 4) == (3, 4)
    with pytest.raises(OverLimit, match="count 3 is over the limit of 2"):
        primitives.read_count(data, 0, 2, 4)
    with pytest.raises(Truncated) as error:
        primitives.read_count(data, 0, 3, 5)
    assert (error.value.needed, error.value.available, error.value.offset) == (15, 12, 4)
    with pytest.raises(Truncated):
        primitives.read_count(b"\xff\xff\xff\xff", 0, primitives.UNBOUNDED, 1)
    for size, min_size in ((2, 9), (2**32 - 1, 4)):
        with pytest.raises(Truncated) as error:
            primitives.read_fixed_array(data, 0, size, unread, min_size=min_size)
        assert (error.value.needed, error.value.available) == (size * min_size, 16)
    with pytest.raises(OverLimit, match="count 3 is over the limit of 2"):
        primitives.read_array(data, 0, 2, unread, min_size=4)
    with pytest.raises(Truncated, match="at byte 4: needs 15 bytes, 12 left"):
        primitives.read_array(data, 0, 3, unread, min_size=5)


def unread(buffer: bytes, pos: int) -> tuple[Any, int]:
    """A `read` that must not be called."""
    pytest.fail("an element was read")


def unwritten(value: Any, put: primitives.Put) -> None:
    """A `write` that must not be called."""
    pytest.fail("an element was written")


ARRAY = (
    lambda d, p: primitives.read_array(d, p, 2, primitives.read_int, min_size=4),
    lambda v, put: primitives.write_array(v, put, 2, primitives.write_int),
)
FIXED_ARRAY = (
    lambda d, p: primitives.read_fixed_array(d, p, 2, primitives.read_bool, min_size=4),
    lambda v, put: primitives.write_fixed_array(v, put, 2, primitives.write_bool),
)
OPTIONAL = (
    lambda d, p: primitives.read_optional(d, p, primitives.read_hyper),
    lambda v, put: primitives.write_optional(v, put, primitives.write_hyper),
)


@pytest.mark.parametrize(
    ("kind", "value", "encoded"),
    [
        (ARRAY, [], "00000000"),
        (ARRAY, [1, -2], "00000002 00000001 fffffffe"),
        (FIXED_ARRAY, [True, False], "00000001 00000000"),
        (OPTIONAL, None, "00000000"),
        (OPTIONAL, 0, "00000001 00000000 00000000"),
    ],
)
def test_elements_round_trip(kind: tuple[Read, Write], value: Any, encoded: str) -> None:
    """§4.12, §4.13 and §4.19; written from the RFC by hand."""
    test_primitives_round_trip("", kind, value, encoded, b"\xee", b"\xdd" * 7)


def test_rejects_elements_without_encoding() -> None:
    with pytest.raises(OverLimit, match="count 3 is over the limit of 2"):
        primitives.write_array([1, 2, 3], nothing, 2, unwritten)
    with pytest.raises(BadValue, match="expected 2 elements, got 1"):
        primitives.write_fixed_array([1], nothing, 2, unwritten)


class Color(IntEnum):
    RED = 1


def test_enumerations_have_members_and_numbers() -> None:
    """§4.3: a number without a name stays a number."""
    assert primitives.read_enum(b"..\0\0\0\1", 2, Color) == (Color.RED, 6)
    assert type(primitives.read_enum(b"\0\0\0\1", 0, Color)[0]) is Color
    found, after = primitives.read_enum(b"\xff\xff\xff\xfe", 0, Color)
    assert (found, type(found), after) == (-2, int, 4)


def test_errors_have_data_attributes() -> None:
    error = Truncated(16, 3, offset=44, path="dom.uuid")
    assert str(error) == "at byte 44, dom.uuid: needs 16 bytes, 3 left"
    assert error.as_dict() == {
        "message": "at byte 44, dom.uuid: needs 16 bytes, 3 left",
        "code": "truncated",
        "offset": 44,
        "path": "dom.uuid",
        "needed": 16,
        "available": 3,
    }
    assert isinstance(error, ProtocolError)
    assert isinstance(error, ValueError)
    assert str(OverLimit(20, 21, "count")) == "count 21 is over the limit of 20"


def raised(function: Callable[..., Any], *arguments: Any) -> ProtocolError:
    with pytest.raises(ProtocolError) as caught:
        function(*arguments)
    return caught.value


def nothing(_: bytes) -> None:
    """A `put` that must not be called."""
    pytest.fail("something was written")


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: INT[0](b"\0\0\0", 1), "at byte 1: needs 4 bytes, 2 left"),
        (lambda: INT[0](b"", 7), "at byte 7: needs 4 bytes, 0 left"),
        (lambda: UHYPER[0](bytes(7), 0), "at byte 0: needs 8 bytes, 7 left"),
        (lambda: primitives.read_bool(b"\0\0", 1), "at byte 1: needs 4 bytes, 1 left"),
        (lambda: primitives.read_bool(b"....\0\0\0\2", 4), "at byte 4: boolean 2 is neither 0 nor 1"),
        (lambda: primitives.need(b"1234", 2, 3), "at byte 2: needs 3 bytes, 2 left"),
        (lambda: primitives.need(b"1234", 9, 1), "at byte 9: needs 1 byte, 0 left"),
        (lambda: primitives.read_fixed_opaque(b"..abc", 2, 3), "at byte 2: needs 4 bytes, 3 left"),
        (lambda: primitives.read_fixed_opaque(b"..abc!", 2, 3), "at byte 5: padding 21 is not zero"),
        (lambda: primitives.read_fixed_opaque(b"..abc", 2, 4), "at byte 2: needs 4 bytes, 3 left"),
        (lambda: primitives.read_opaque(b"..\0\0\0", 2, 9), "at byte 2: needs 4 bytes, 3 left"),
        (lambda: primitives.read_opaque(b"", 2, 9), "at byte 2: needs 4 bytes, 0 left"),
        (lambda: primitives.read_opaque(b"..\0\0\0\5hello", 2, 9), "at byte 6: needs 8 bytes, 5 left"),
        (lambda: primitives.read_opaque(b"\0\0\0\2ab\1\0", 0, 9), "at byte 6: padding 0100 is not zero"),
        (lambda: primitives.read_opaque(b"..\0\0\0\5", 2, 4), "at byte 2: length 5 is over the limit of 4"),
        (lambda: primitives.read_count(b"..\0\0\0", 2, 9, 4), "at byte 2: needs 4 bytes, 3 left"),
        (lambda: primitives.read_count(b"", 2, 9, 4), "at byte 2: needs 4 bytes, 0 left"),
        (lambda: primitives.read_count(b"..\0\0\0\3", 2, 2, 4), "at byte 2: count 3 is over the limit of 2"),
        (lambda: primitives.read_count(b"..\0\0\0\3abcd", 2, 3, 4), "at byte 6: needs 12 bytes, 4 left"),
        (lambda: primitives.deeper(100, 5),
         "at byte 5: depth 101 is over the limit of 100"),
        (lambda: primitives.write_bool(2, nothing), "expected True or False, got 2"),  # type: ignore[arg-type]
        (lambda: primitives.write_bool("", nothing), "expected True or False, got ''"),  # type: ignore[arg-type]
        (lambda: primitives.write_fixed_opaque("ab", nothing, 2), "expected bytes, got 'ab'"),  # type: ignore[arg-type]
        (lambda: primitives.write_fixed_opaque(b"ab", nothing, 3), "expected 3 bytes, got 2"),
        (lambda: primitives.write_opaque("ab", nothing, 2), "expected bytes, got 'ab'"),  # type: ignore[arg-type]
        (lambda: primitives.write_opaque(b"abc", nothing, 2), "length 3 is over the limit of 2"),
        (lambda: primitives.write_string("é", nothing, 1), "length 2 is over the limit of 1"),
        (lambda: primitives.write_string("\ud800", nothing, 9),
         r"expected text for UTF-8, got '\ud800': surrogates not allowed"),
        (lambda: primitives.write_count(3, nothing, 2), "count 3 is over the limit of 2"),
        (lambda: primitives.check_length([1], 2), "expected 2 elements, got 1"),
        (lambda: primitives.write_void(0, nothing), "expected None (the arm is void), got 0"),  # type: ignore[arg-type]
        (lambda: primitives.deeper(100), "depth 101 is over the limit of 100"),
    ],
)  # fmt: skip
def test_every_error_has_a_message(call: Callable[[], Any], error: str) -> None:
    found = raised(call)
    assert str(found) == error
    assert found.as_dict()["message"] == error


@pytest.mark.parametrize(
    ("value", "words"), [(2**31, "2147483648 does not fit: "), ("x", "'x' does not fit: ")]
)
def test_numbers_out_of_range_are_explained(value: Any, words: str) -> None:
    assert str(raised(INT[1], value, nothing)).startswith(words)
    assert len(str(raised(INT[1], value, nothing))) > len(words)


def test_errors_for_generated_code() -> None:
    """They have no path: whoever meets them reads again with care."""
    assert str(primitives.no_arm(7, 4)) == "at byte 4: no arm for discriminant 7"
    assert str(primitives.no_arm(True)) == "no arm for discriminant 1"


def test_accepts_values_at_the_limits() -> None:
    parts: list[bytes] = []
    primitives.write_opaque(memoryview(b"abc"), parts.append, 3)
    primitives.write_fixed_opaque(bytearray(b"ab"), parts.append, 2)
    primitives.write_count(3, parts.append, 3)
    primitives.check_length([1, 2], 2)
    primitives.write_void(None, nothing)
    primitives.write_bool(1, parts.append)
    assert b"".join(parts).hex(" ", 4) == "00000003 61626300 61620000 00000003 00000001"
    assert all(type(part) is bytes for part in parts)
    assert primitives.deeper(99) == 100
    assert primitives.read_count(b"\0\0\0\0", 0, 0, 4) == (0, 4)
    assert primitives.read_opaque(b"\0\0\0\4abcd", 0, 4) == (b"abcd", 8)


def test_a_string_is_text_where_it_can_be() -> None:
    assert (primitives.text(b"\xc3\xa9"), primitives.text(b"\xff")) == ("é", b"\xff")
    assert primitives.read_string(b"..\0\0\0\1\xff\0\0\0", 2, 1) == (b"\xff", 10)
    assert primitives.read_string(b"..\0\0\0\1a\0\0\0", 2, 1) == ("a", 10)


def test_not_canonical_names_the_accepted_value() -> None:
    for call, value, after in (
        (lambda: primitives.read_bool(b"\0\0\0\2", 0), True, 4),
        (lambda: primitives.read_fixed_opaque(b".ab\0\1", 1, 2), b"ab", 5),
        (lambda: primitives.read_opaque(b".\0\0\0\2ab\0\1", 1, 2), b"ab", 9),
    ):
        found = raised(call)
        assert isinstance(found, NotCanonical)
        assert (found.value, found.next) == (value, after)
