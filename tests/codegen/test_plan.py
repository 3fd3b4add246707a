"""The plan of a set of definitions: rows of plain data that give back the same types."""

from __future__ import annotations

from dataclasses import replace

import pytest

from libvirt_proto.codec.plan import Plan, PlanReader, build_plan
from libvirt_proto.codec.types import (
    Arm,
    Enumeration,
    Field,
    Label,
    Named,
    Node,
    Structure,
    TypeDefinition,
    UnionType,
)
from libvirt_proto_codegen.definitions import load_release
from libvirt_proto_codegen.releases import folders
from libvirt_proto_codegen.schema import Schema


def plan_of(schema: Schema) -> Plan:
    return build_plan(((module.name, module.types) for module in schema.modules), schema)


def without_source(definition: TypeDefinition) -> TypeDefinition:
    """A definition without what only the generator knows: places, text of declarations, names of labels."""
    node = definition.node
    body = isinstance(node, Structure | UnionType | Enumeration)
    text = "" if body else definition.xdr.strip()
    return replace(definition, node=_plain(node), xdr=text, depth=0)


def _plain(node: Node) -> Node:
    match node:
        case Structure(fields):
            return Structure(tuple(_plain_field(field) for field in fields))
        case UnionType(discriminant, arms, default):
            others = None if default is None else _plain_arm(default)
            return UnionType(_plain_field(discriminant), tuple(map(_plain_arm, arms)), others)
        case _:
            return node


def _plain_field(field: Field) -> Field:
    return Field(field.name, field.node)


def _plain_arm(arm: Arm) -> Arm:
    return Arm(tuple(Label(label.value) for label in arm.labels), arm.name, arm.node)


@pytest.mark.parametrize("release", folders())
def test_gives_back_every_definition(release: str) -> None:
    schema = load_release(release)
    reader = PlanReader(plan_of(schema))
    count = 0
    for module in schema.modules:
        for definition in module.types:
            assert reader.definition(Named(module.name, definition.name)) == without_source(definition)
            count += 1
    assert count > 250


def test_is_plain_data() -> None:
    """Builtins only: what generated code can have as a literal, and what C can read."""
    plan = plan_of(load_release())
    assert Plan(*eval(repr((plan.rows, plan.types)), {})) == plan


def test_equal_declarations_share_a_row() -> None:
    plan = plan_of(load_release())
    declarations = [row for row in plan.rows if row[0] not in ("struct", "union", "enum", "typedef")]
    assert len(declarations) == len(set(declarations))
    assert len(declarations) < len(plan.rows)


def test_children_are_rows() -> None:
    plan = plan_of(load_release())
    assert all(0 <= child < len(plan.rows) for row in plan.rows for child in row[5])


def test_unknown_names_raise() -> None:
    reader = PlanReader(plan_of(load_release()))
    for reference in (Named("remote", "no_such_type"), Named("no_such_module", "remote_string")):
        with pytest.raises(KeyError):
            reader.definition(reference)
