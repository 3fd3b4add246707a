"""The JSON spelling of values: one rule per kind of node."""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libvirt_proto.codec.plan import Plan, PlanReader
from libvirt_proto.codec.type_table import TypeTable
from libvirt_proto.codec.types import Named
from libvirt_proto.codec.values import Partial, PartialText, XdrStruct
from libvirt_proto.jsonlines.encode import encoder, to_plain
from tests.support.handmade import (
    UUID,
    Colour,
    Domain,
    Everything,
    Flag,
    Link,
    Param,
    ParamValue,
    Point,
    Shape,
    everything,
    type_named,
)

Text = "text"

CASES: list[tuple[Any, Any, str]] = [
    ("int_value", -5, "-5"),
    ("unsigned_hyper_value", 2**64 - 1, "18446744073709551615"),
    ("double_value", 0.5, "0.5"),
    ("double_value", math.inf, '"Infinity"'),
    ("double_value", -math.inf, '"-Infinity"'),
    ("double_value", math.nan, '"NaN"'),
    ("bytes_value", b"", '""'),
    ("bytes_value", b"\x00\xAB", '"00ab"'),
    ("remote_uuid", UUID,
     '"6695eb01-f6a4-8304-79aa-97f2502e193f"'),
    ("virFooUUID", bytes(16),
     '"00000000-0000-0000-0000-000000000000"'),
    ("digest", bytes(16), '"00000000000000000000000000000000"'),
    ("short_uuid", b"\x01\x02", '"0102"'),
    (Text, "a\x1b\"ü", '"a\\u001b\\"ü"'),
    (Text, b"\xff\xfe", '{"base64": "//4="}'),
    ("colour", Colour.BLUE, '"BLUE"'),
    ("colour", 5, '"GREEN"'),
    ("colour", 77, "77"),
    ("maybe_int", None, "null"),
    ("maybe_int", 0, "0"),
    ("maybe_text", b"\x80", '{"base64": "gA=="}'),
    ("ints", [], "[]"),
    ("colours", [0, 1, -1], '["RED", 1, "BLUE"]'),
    ("domains", [Domain("t", UUID, 1)],
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
    (Domain, Partial("nonnull_domain", {"name": PartialText("x", 4)}), '{"name": {"cut": "x"}}'),
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
    shown = msgspec.json.encode(to_plain(type_named(hint), value))
    assert json.loads(shown) == json.loads(expected)
    assert list(json.loads(shown)) == list(json.loads(expected)) if expected[0] == "{" else True


def test_a_whole_struct() -> None:
    assert to_plain(type_named(Everything), everything()) == {
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
    strange = msgspec.defstruct("Strange", [("a", int)], bases=(XdrStruct,), frozen=True)

    class Types(TypeTable):
        def __init__(self) -> None:
            rows = (
                ("struct", None, 4, 4, False, (1,), (), ("strange", name)),
                ("int", None, 4, None, False, (), (), ()),
            )
            PlanReader.__init__(self, Plan(rows, {"own": {"strange": 0}}))

        def python_class(self, reference: Named) -> type[Any]:
            return strange

    function = encoder(Types(), named=False).function(Named("own", "strange"))
    assert function(strange(3)) == {name: 3}


@given(st.one_of(st.text(), st.binary()))
def test_strings_can_be_told_from_bytes(value: str | bytes) -> None:
    shown = json.loads(msgspec.json.encode(to_plain(type_named(Text), value)))
    assert isinstance(shown, str) == isinstance(value, str)
    if isinstance(value, str):
        assert shown == value


@given(st.binary(min_size=16, max_size=16))
def test_uuids_keep_their_digits(value: bytes) -> None:
    shown = to_plain(type_named("remote_uuid"), value)
    assert [len(part) for part in shown.split("-")] == [8, 4, 4, 4, 12]
    assert bytes.fromhex(shown.replace("-", "")) == value


@given(st.integers(-(2**31), 2**31 - 1))
def test_enums_give_the_name_or_the_number(value: int) -> None:
    names = {0: "RED", 5: "GREEN", -1: "BLUE"}
    assert to_plain(type_named("colour"), value) == names.get(value, value)
