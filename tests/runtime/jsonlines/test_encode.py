"""The JSON spelling of values: one rule per kind of node."""

from __future__ import annotations

import json
import math
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from libvirt_proto.codec.layout import (
    ArrayOf,
    Double,
    FixedOpaque,
    Int,
    Opaque,
    OptionalOf,
    Partial,
    String,
    Typedef,
    UnsignedHyper,
    XdrStruct,
    layout_of,
)

from libvirt_proto.jsonlines.encode import plain
from tests.support.handmade import (
    UUID,
    Colour,
    ColourField,
    Domain,
    Everything,
    Flag,
    Link,
    Param,
    ParamValue,
    Point,
    Shape,
    everything,
)

Text = Annotated[str | bytes, String(None)]

CASES: list[tuple[Any, Any, str]] = [
    (Int, -5, "-5"),
    (UnsignedHyper, 2**64 - 1, "18446744073709551615"),
    (Double, 0.5, "0.5"),
    (Double, math.inf, '"Infinity"'),
    (Double, -math.inf, '"-Infinity"'),
    (Double, math.nan, '"NaN"'),
    (Annotated[bytes, Opaque(None)], b"", '""'),
    (Annotated[bytes, Opaque(None)], b"\x00\xAB", '"00ab"'),
    (Annotated[bytes, FixedOpaque(16), Typedef("remote_uuid")], UUID,
     '"6695eb01-f6a4-8304-79aa-97f2502e193f"'),
    (Annotated[bytes, FixedOpaque(16), Typedef("x"), Typedef("virFooUUID")], bytes(16),
     '"00000000-0000-0000-0000-000000000000"'),
    (Annotated[bytes, FixedOpaque(16), Typedef("digest")], bytes(16), '"00000000000000000000000000000000"'),
    (Annotated[bytes, FixedOpaque(2), Typedef("uuid")], b"\x01\x02", '"0102"'),
    (Text, "a\x1b\"ü", '"a\\u001b\\"ü"'),
    (Text, b"\xff\xfe", '{"base64": "//4="}'),
    (ColourField, Colour.BLUE, '"BLUE"'),
    (ColourField, 5, '"GREEN"'),
    (ColourField, 77, "77"),
    (Annotated[Int | None, OptionalOf()], None, "null"),
    (Annotated[Int | None, OptionalOf()], 0, "0"),
    (Annotated[Text | None, OptionalOf()], b"\x80", '{"base64": "gA=="}'),
    (Annotated[list[Int], ArrayOf(None)], [], "[]"),
    (Annotated[list[ColourField], ArrayOf(None)], [0, 1, -1], '["RED", 1, "BLUE"]'),
    (Annotated[list[Domain], ArrayOf(None)], [Domain("t", UUID, 1)],
     '[{"name": "t", "uuid": "6695eb01-f6a4-8304-79aa-97f2502e193f", "id": 1}]'),
    (Point, Point(1, 2), '{"from": 1, "y": 2}'),
    (Shape, Shape(Colour.RED, None), '{"c": "RED"}'),
    (Shape, Shape(Colour.GREEN, Point(0, 0)), '{"c": "GREEN", "p": {"from": 0, "y": 0}}'),
    (Shape, Shape(9, b"\x01"), '{"c": 9, "o": "01"}'),
    (Flag, Flag(True, Colour.RED), '{"on": true, "c": "RED"}'),
    (Flag, Flag(False, None), '{"on": false}'),
    (Param, Param("a", ParamValue(7, b"\xff")),
     '{"field": "a", "value": {"type": 7, "s": {"base64": "/w=="}}}'),
    (Link, Link(1, Link(2, None)), '{"value": 1, "next": {"value": 2, "next": null}}'),
    (Domain, Partial("nonnull_domain", {"name": "x"}), '{"name": "x"}'),
    (Domain, Partial("nonnull_domain", {}), "{}"),
    (Link, Partial("link", {"value": 1, "next": Partial("link", {"value": 2})}),
     '{"value": 1, "next": {"value": 2}}'),
    (Shape, Partial("shape", {"c": Colour.GREEN, "p": Partial("point", {"from": 1})}),
     '{"c": "GREEN", "p": {"from": 1}}'),
    (Shape, Partial("shape", {"c": 4}), '{"c": 4}'),
    (Shape, Partial("shape", {}), "{}"),
    (Everything, Partial("everything", {"flag": True, "params": [Param("a", ParamValue(1, 3)),
                                                                 Partial("typed_param", {"field": "b"})]}),
     '{"flag": true, "params": [{"field": "a", "value": {"type": 1, "i": 3}}, {"field": "b"}]}'),
]  # fmt: skip


@pytest.mark.parametrize(("hint", "value", "expected"), CASES, ids=lambda case: str(case)[:40])
def test_each_kind_is_spelled_as_documented(hint: Any, value: Any, expected: str) -> None:
    shown = msgspec.json.encode(plain(layout_of(hint), value))
    assert json.loads(shown) == json.loads(expected)
    assert list(json.loads(shown)) == list(json.loads(expected)) if expected[0] == "{" else True


def test_a_whole_struct() -> None:
    assert plain(layout_of(Everything), everything()) == {
        "flag": True,
        "f": 0.5,
        "d": -2.25,
        "q": "000102030405060708090a0b0c0d0e0f",
        "fixed": "00abff",
        "rest": "",
        "text": "höchst",
        "maybe": None,
        "c": "GREEN",
        "model": [120, 56, 54, 0],
        "big": [18446744073709551615, 0],
        "dom": {"name": "test", "uuid": "6695eb01-f6a4-8304-79aa-97f2502e193f", "id": -1},
        "params": [
            {"field": "cpu_shares", "value": {"type": 4, "ul": 1024}},
            {"field": "name", "value": {"type": 7, "s": "x"}},
        ],
        "s": {"c": "GREEN", "p": {"from": 1, "y": -9223372036854775808}},
    }


def test_names_of_the_x_are_quoted_not_run() -> None:
    """A field's name is data, whatever it looks like."""
    name = "a': (1/0), '"
    strange = msgspec.defstruct(
        "Strange", [("a", int)], bases=(XdrStruct,), module=__name__, rename={"a": name}, frozen=True
    )
    strange.__annotations__["a"] = "Int"
    assert plain(layout_of(strange), strange(3)) == {name: 3}


@given(st.one_of(st.text(), st.binary()))
def test_strings_can_be_told_from_bytes(value: str | bytes) -> None:
    shown = json.loads(msgspec.json.encode(plain(layout_of(Text), value)))
    assert isinstance(shown, str) == isinstance(value, str)
    if isinstance(value, str):
        assert shown == value


@given(st.binary(min_size=16, max_size=16))
def test_uuids_keep_their_digits(value: bytes) -> None:
    hint = Annotated[bytes, FixedOpaque(16), Typedef("remote_uuid")]
    shown = plain(layout_of(hint), value)
    assert [len(part) for part in shown.split("-")] == [8, 4, 4, 4, 12]
    assert bytes.fromhex(shown.replace("-", "")) == value


@given(st.integers(-(2**31), 2**31 - 1))
def test_enums_give_the_name_or_the_number(value: int) -> None:
    names = {0: "RED", 5: "GREEN", -1: "BLUE"}
    assert plain(layout_of(ColourField), value) == names.get(value, value)
