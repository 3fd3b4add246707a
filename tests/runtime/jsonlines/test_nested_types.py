"""JSON of types within types, whose number doubles with each level."""

from __future__ import annotations

import pytest

from libvirt_proto.jsonlines.decode import from_plain
from libvirt_proto.jsonlines.encode import to_plain
from libvirt_proto.jsonlines.schema import json_schema
from tests.support.doubling import LEVELS, NAMES, counted_visits, doubling_types

LEAF = {"id": 5, "name": "x", "data": "6162", "flags": 1, "share": 0.5, "active": True}


def test_values_are_converted_at_every_level(monkeypatch: pytest.MonkeyPatch) -> None:
    types = doubling_types()
    value = types["either0"].python_class(5, "x", b"ab", 1, 0.5, True)
    plain = LEAF
    for level in range(1, LEVELS):
        value = types[f"either{level}"].python_class(level % 2, value)
        plain = {"k": level % 2, "b" if level % 2 else "a": plain}
    visits = counted_visits(monkeypatch)
    type_ = types[f"either{LEVELS - 1}"]
    assert to_plain(type_, value) == plain
    assert from_plain(type_, plain) == value
    assert 0 < visits() < 16 * LEVELS


@pytest.mark.parametrize("name", NAMES)
def test_types_are_defined_once_in_a_schema(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    type_ = doubling_types()[f"{name}{LEVELS - 1}"]
    visits = counted_visits(monkeypatch)
    schema = json_schema("top", {"top": type_})
    assert [each for each in schema["$defs"] if each.startswith(name)] == [
        f"{name}{level}" for level in reversed(range(LEVELS))
    ]
    assert visits() < 16 * LEVELS
