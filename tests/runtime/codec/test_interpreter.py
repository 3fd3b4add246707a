"""The careful way: where a value broke off, what came before it, and what cannot be written."""

from __future__ import annotations

import pickle
from copy import deepcopy
from typing import Any

import pytest

from libvirt_proto.codec import interpreter
from libvirt_proto.codec.interpreter import Reading
from libvirt_proto.codec.values import Partial, PartialText
from libvirt_proto.errors import BadValue, OverLimit, ProtocolError, Truncated
from tests.support.frames import text, word
from tests.support.handmade import (
    Colour,
    Domain,
    Everything,
    Param,
    ParamValue,
    Point,
    Shape,
    everything,
    type_named,
)


def read(type_: str | type[Any], data: bytes) -> Reading:
    found = type_named(type_)
    return interpreter.read(found.types, found.reference, data)


def write(type_: str | type[Any], value: Any) -> bytes:
    found = type_named(type_)
    return interpreter.write(found.types, found.reference, value)


@pytest.mark.parametrize(
    ("changes", "path", "words"),
    [
        ({"dom": 5}, "dom", "expected NonnullDomain, got 5"),
        ({"s": Point(1, 2)}, "s", "expected Shape, got Point(from_=1, y=2)"),
        ({"s": Shape(Colour.GREEN, 7)}, "s.p", "expected Point, got 7"),
        ({"s": Shape(Colour.RED, 7)}, "s.value", "expected None (the arm is void), got 7"),
        ({"params": "text"}, "params", "expected a list, got 'text'"),
        ({"params": [Param("a", ParamValue(9, 1))]}, "params[0].value.type", "no arm for discriminant 9"),
        ({"params": [Param("a", ParamValue(1, "x"))]}, "params[0].value.i", "'x' does not fit: "),
        ({"model": [1, 2, 3]}, "model", "expected 4 elements, got 3"),
        ({"big": [1, 2, 3]}, "big", "count 3 is over the limit of 2"),
        ({"dom": Domain("n", bytes(15), 1)}, "dom.uuid", "expected 16 bytes, got 15"),
    ],
)
def test_what_cannot_be_written(changes: dict[str, Any], path: str, words: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        write(Everything, everything(**changes))
    assert caught.value.path == path
    assert caught.value.reason.startswith(words)


def test_an_arm_that_broke_off_keeps_what_there_was() -> None:
    reading = read(Shape, word(5) + word(7) + b"\0\0\0")
    assert isinstance(reading.error, Truncated)
    assert (reading.error.path, reading.error.offset) == ("p.y", 8)
    assert isinstance(reading.value, Partial)
    assert reading.value == Partial("shape", {"c": Colour.GREEN, "p": Partial("point", {"from": 7})})


@pytest.mark.parametrize(
    ("data", "seen", "missing"),
    [
        (word(9) + b"\xe2\x82\xac\xe2\x82\xacab", "€€ab", 1),
        (word(9) + b"a\xe2\x82\xac\xe2\x82", "a€", 5),  # no half of a character
        (word(9) + b"a", "a", 8),
        (word(5) + b"abcde\0", "abcde", 0),  # only padding is missing
    ],
)
def test_a_string_that_broke_off_keeps_its_beginning(data: bytes, seen: str, missing: int) -> None:
    reading = read(Domain, data)
    assert isinstance(reading.error, Truncated)
    assert reading.error.path == "name"
    name = reading.value.fields["name"]
    assert (str(name), getattr(name, "missing", 0), isinstance(name, PartialText)) == (
        seen,
        missing,
        missing > 0,
    )
    for copy in (pickle.loads(pickle.dumps(name)), deepcopy(name)):
        assert (copy, type(copy), getattr(copy, "missing", 0)) == (seen, type(name), missing)


@pytest.mark.parametrize("data", [word(9), word(9) + b"\xff", word(9) + b"\xe2", word(9)[:3]])
def test_nothing_is_kept_of_other_bytes(data: bytes) -> None:
    """Without any bytes, and of a string that is not UTF-8."""
    assert read(Domain, data).value.fields.get("name", "") == ""


def test_a_void_arm_takes_nothing_and_gives_none() -> None:
    assert read(Shape, word(0)).value == Shape(Colour.RED, None)
    assert write(Shape, Shape(Colour.RED, None)) == word(0)


def test_a_discriminant_without_an_arm() -> None:
    reading = read(ParamValue, word(9) + word(1))
    assert isinstance(reading.error, BadValue)
    assert str(reading.error) == "at byte 0, type: no arm for discriminant 9"


@pytest.mark.parametrize(
    ("type_", "data", "needed"),
    [
        ("flags", word(3) + word(0) * 2, 12),  # a void arm: the discriminant alone
        ("rows", word(2) + word(1) * 5, 24),
    ],
)
def test_a_count_is_held_against_the_smallest_elements(type_: str, data: bytes, needed: int) -> None:
    """Before anything is read: a list cannot be longer than its bytes allow."""
    reading = read(type_, data)
    assert isinstance(reading.error, Truncated)
    assert (reading.error.offset, reading.error.needed, reading.error.available) == (
        4,
        needed,
        len(data) - 4,
    )
    assert reading.value is None


def test_a_list_that_broke_off_keeps_its_first_elements() -> None:
    params = word(2) + text(b"a") + word(1) + word(5) + text(b"b") + word(1)
    reading = read("two_params", params + b"\0")
    assert [type(item) for item in reading.value] == [Param, Partial]
    assert reading.error is not None
    assert reading.error.path == "[1].value.i"


def test_remarks_name_their_place() -> None:
    reading = read("flags", word(2) + word(7) + word(0) + word(0))
    assert reading.remarks == ("at byte 4, [0].on: boolean 7 is neither 0 nor 1",)
    assert [flag.on for flag in reading.value] == [True, False]


def test_more_than_a_limit_is_refused_before_anything_is_read() -> None:
    reading = read("two_ints", word(3))
    assert isinstance(reading.error, OverLimit)
    assert (reading.error.offset, reading.error.limit, reading.error.actual) == (0, 2, 3)
