"""Traversals of types and of values."""

from __future__ import annotations

from typing import Any

import pytest

from libvirt_proto.codec.types import (
    Array,
    Boolean,
    Bound,
    FixedArray,
    FixedOpaque,
    Floating,
    Integer,
    Named,
    Node,
    Opaque,
    Optional,
    String,
    Structure,
    UnionType,
    Void,
    bound_of,
    children,
    declared_parts,
    part_names,
)
from libvirt_proto.codec.values import Partial
from libvirt_proto.codec.visitor import Visitor, parts, walk
from tests.support.handmade import (
    UUID,
    Colour,
    Domain,
    Flag,
    Link,
    Param,
    ParamValue,
    Point,
    Shape,
    everything,
    type_named,
)

TYPES = type_named("everything").types


def walked(name: str, value: Any) -> list[tuple[str, Any]]:
    type_ = type_named(name)
    return [(path, held) for path, _, held in walk(type_.types, type_.reference, value)]


def test_walk_visits_every_part_from_the_top() -> None:
    value = everything(maybe="x", dom=None, params=[Param("a", ParamValue(1, 5))], s=Shape(9, b"z"))
    found = walked("everything", value)
    assert found[0] == ("", value)
    assert found[1:] == [
        ("flag", True),
        ("f", 0.5),
        ("d", -2.25),
        ("q", bytes(range(16))),
        ("fixed", b"\x00\xab\xff"),
        ("rest", b""),
        ("text", "höchst"),
        ("maybe", "x"),
        ("maybe", "x"),
        ("c", Colour.GREEN),
        ("model", [120, 56, 54, 0]),
        *(("model[]", number) for number in (120, 56, 54, 0)),
        ("big", [2**64 - 1, 0]),
        ("big[]", 2**64 - 1),
        ("big[]", 0),
        ("dom", None),
        ("params", value.params),
        ("params[]", value.params[0]),
        ("params[].field", "a"),
        ("params[].value", ParamValue(1, 5)),
        ("params[].value.type", 1),
        ("params[].value.i", 5),
        ("s", Shape(9, b"z")),
        ("s.c", 9),
        ("s.o", b"z"),
    ]


def test_walk_gives_bodies_and_declarations() -> None:
    type_ = type_named("domains")
    nodes = [node for _, node, _ in walk(TYPES, type_.reference, [Domain("a", UUID, 1)], "at")]
    assert [type(node) for node in nodes] == [Array, Structure, String, FixedOpaque, Integer]


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("shape", Partial("shape", {}), []),
        ("shape", Partial("shape", {"c": 5}), [("c", 5)]),
        (
            "shape",
            Partial("shape", {"c": 5, "p": Partial("point", {"from": 3})}),
            [("c", 5), ("p", Partial("point", {"from": 3})), ("p.from", 3)],
        ),
        ("nonnull_domain", Partial("nonnull_domain", {"name": "x"}), [("name", "x")]),
        ("flag", Flag(False, None), [("on", False)]),
    ],
)
def test_walk_of_what_broke_off(name: str, value: Any, expected: list[tuple[str, Any]]) -> None:
    assert walked(name, value)[1:] == expected


def test_walk_follows_a_type_within_itself() -> None:
    assert [pair for pair in walked("link", Link(1, Link(2, None))) if pair[0].endswith("value")] == [
        ("value", 1),
        ("next.value", 2),
    ]


def test_parts_of_a_partial_list_element() -> None:
    broken = Partial("typed_param", {"field": "b"})
    assert [path for path, _ in walked("params", [Param("a", ParamValue(1, 3)), broken])] == [
        "",
        "[]",
        "[].field",
        "[].value",
        "[].value.type",
        "[].value.i",
        "[]",
        "[].field",
    ]


def test_parts_name_the_arm_that_is_selected() -> None:
    node = type_named("shape").node
    assert isinstance(node, UnionType)
    for value, names in (
        (Shape(0, None), ["c"]),
        (Shape(5, Point(1, 2)), ["c", "p"]),
        (Shape(7, b""), ["c", "o"]),
    ):
        assert [name for name, _, _ in parts(node, value)] == names


def test_children_and_declared_parts() -> None:
    int_ = Integer(32, True, "int")
    for node in (Optional(int_), type_named("ints").node, type_named("row").node):
        (element,) = children(node)
        assert isinstance(element, Integer)
        assert declared_parts(node) == ()
    shape = type_named("shape").node
    assert children(shape) == tuple(part.node for part in declared_parts(shape))
    assert [part.name for part in declared_parts(shape)] == ["c", None, "p", "o"]
    assert part_names(shape) == ("c", "p", "o")
    for leaf in (int_, String(None), Void(), Boolean(), type_named("colour").node, Named("m", "t")):
        assert children(leaf) == ()


def test_bounds() -> None:
    found = {name: bound_of(type_named(name).node) for name in ("two_ints", "row", "text", "digest", "link")}
    assert {name: bound and bound.value for name, bound in found.items()} == {
        "two_ints": 2,
        "row": 3,
        "text": None,
        "digest": 16,
        "link": None,
    }


class Kinds(Visitor[str]):
    """Names the method that a type goes to."""

    def _kind(self, *node: object) -> str:
        return type(node[-1]).__name__

    scalar = binary = sequence = string = optional = union = enumeration = array = _kind

    def fixed_opaque(self, node: FixedOpaque) -> str:
        return "fixed_opaque"

    def uuid(self, node: FixedOpaque) -> str:
        return "uuid"

    def structure(self, reference: Named, node: Structure) -> str:
        return f"structure {reference.name}"


def test_a_visitor_sees_through_typedefs_to_the_method_of_the_kind() -> None:
    visit = Kinds(TYPES).visit
    found = {
        name: visit(type_named(name).reference) for name in ("virFooUUID", "digest", "short_uuid", "link")
    }
    assert found == {
        "virFooUUID": "uuid",
        "digest": "fixed_opaque",
        "short_uuid": "fixed_opaque",
        "link": "structure link",
    }
    assert [
        visit(type_named(name).reference) for name in ("colours", "row", "colour", "shape", "maybe_text")
    ] == [
        "Array",
        "FixedArray",
        "Enumeration",
        "UnionType",
        "Optional",
    ]


def test_a_group_has_the_kinds_without_a_method() -> None:
    class Groups(Kinds):
        def scalar(self, *node: object) -> str:
            return f"scalar {self._kind(*node)}"

        def binary(self, *node: object) -> str:
            return f"binary {self._kind(*node)}"

        def sequence(self, *node: object) -> str:
            return f"sequence {self._kind(*node)}"

    visit = Groups(TYPES).visit
    int_ = Integer(32, True, "int")
    kinds = (Void(), int_, Floating(64), Boolean(), Opaque(None), FixedArray(int_, Bound(2)))
    assert [visit(node) for node in kinds] == [
        "scalar Void",
        "scalar Integer",
        "scalar Floating",
        "scalar Boolean",
        "binary Opaque",
        "sequence FixedArray",
    ]
    others = (FixedOpaque(Bound(2)), Array(int_, None), type_named("colour").reference)
    assert [visit(node) for node in others] == ["fixed_opaque", "Array", "Enumeration"]


def test_methods_get_the_other_arguments_of_visit() -> None:
    class Sum(Visitor[int, Any, int]):
        def scalar(self, node: Node, value: Any, factor: int) -> int:
            return int(value * factor)

        def _nothing(self, *_: Any) -> int:
            return 0

        binary = string = optional = sequence = union = _nothing

        def structure(self, reference: Named, node: Structure, value: Any, factor: int) -> int:
            return sum(self.visit(part, held, factor) for _, part, held in parts(node, value))

    assert Sum(TYPES).visit(type_named("point").reference, Point(3, 4), 10) == 70


def test_a_visitor_without_a_method_cannot_be_made() -> None:
    class Incomplete(Kinds):
        optional = Visitor.optional

    with pytest.raises(TypeError, match="abstract method"):
        Incomplete(TYPES)  # type: ignore[abstract]


@pytest.mark.parametrize(
    ("group", "missing"),
    [
        ("scalar", "scalar nor void, integer, floating, boolean$"),
        ("binary", "binary nor opaque$"),
        ("sequence", "sequence nor fixed_array$"),
    ],
)
def test_a_visitor_without_a_kind_of_a_group_cannot_be_defined(group: str, missing: str) -> None:
    with pytest.raises(TypeError, match=f"Incomplete has neither {missing}"):
        type("Incomplete", (Kinds,), {group: getattr(Visitor, group)})
