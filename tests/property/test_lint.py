"""`lint` accepts everything that resolves, and its findings match simple counts on the specification."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

from hypothesis import given

from libvirt_proto_codegen.errors import DefinitionError
from libvirt_proto_codegen.lint.rules import RULES, lint
from libvirt_proto_codegen.model import (
    Builtin,
    Declaration,
    EnumDef,
    EnumMember,
    Shape,
    Specification,
    StructDef,
    UnionDef,
)
from libvirt_proto_codegen.resolve import resolve
from tests.property.specifications import dialect_specifications, specifications


def found(specification: Specification) -> Counter[str]:
    schema = resolve([specification], externals={}, release=None, inputs=())
    findings = lint(schema)
    assert all(finding.category == RULES[finding.rule].category for finding in findings)
    return Counter(finding.rule for finding in findings)


def declarations(specification: Specification) -> Iterator[Declaration]:
    for definition in specification.definitions:
        match definition:
            case StructDef():
                yield from definition.body.fields
            case UnionDef():
                yield from (case.arm for case in definition.body.cases if case.arm)


def members(specification: Specification) -> tuple[EnumMember, ...]:
    enum = specification.definitions[-1]
    assert isinstance(enum, EnumDef)
    return enum.body.members


@given(dialect_specifications())
def test_counts_unbounded_declarations(specification: Specification) -> None:
    unbounded = [
        declaration.type
        for declaration in declarations(specification)
        if declaration.shape is Shape.VARIABLE and declaration.size is None
    ]
    strings = unbounded.count(Builtin.STRING)
    opaque = unbounded.count(Builtin.OPAQUE)
    counts = found(specification)
    assert counts["UNBOUNDED_STRING"] == strings
    assert counts["UNBOUNDED_OPAQUE"] == opaque
    assert counts["UNBOUNDED_ARRAY"] == len(unbounded) - strings - opaque


@given(dialect_specifications())
def test_finds_unordered_procedures(specification: Specification) -> None:
    numbers = [member.value.value for member in members(specification)]  # type: ignore[union-attr]
    counts = found(specification)
    assert (counts["NUMBER_ORDER"] == 0) == (numbers == sorted(numbers))
    assert (counts["NUMBER_GAP"] == 0) == (sorted(numbers) == list(range(1, len(numbers) + 1)))


@given(dialect_specifications())
def test_counts_missing_annotations(specification: Specification) -> None:
    said = [member.annotations for member in members(specification)]
    counts = found(specification)
    without = [each is None or each.generate is None for each in said]
    assert counts["GENERATE_MISSING"] == (sum(without) if any(said) else 0)
    acls = [each.acl if each else None for each in said]
    assert counts["ACL_MISSING"] == (acls.count(None) if any(acl is not None for acl in acls) else 0)


@given(specifications)
def test_lints_any_valid_specification(specification: Specification) -> None:
    with suppress(DefinitionError):
        found(specification)
