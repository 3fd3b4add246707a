"""`compare`: a pair of definitions per rule, with its expected findings written by hand."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from libvirt_proto_codegen.compare import CATEGORIES, RULES, compare
from libvirt_proto_codegen.definitions import load_schema
from libvirt_proto_codegen.findings import Finding
from libvirt_proto_codegen.schema import Schema
from libvirt_proto_codegen.source import Span

PAIRS = Path(__file__).resolve().parent.parent / "compare"
#: The contents of a finding in expected.toml; `old` and `new` are the lines at its places.
KEYS = (
    "rule",
    "program",
    "name",
    "message",
    "effect",
    "old",
    "new",
    "before",
    "after",
    "reaches",
    "payloads",
)


def schema(folder: Path, side: str) -> Schema:
    path = folder / side
    return load_schema([path if path.is_dir() else path.with_suffix(".x")])


def line(span: Span | None) -> str | None:
    return None if span is None else span.source.line(span.line).strip()


def told(finding: Finding) -> dict[str, Any]:
    values = {key: getattr(finding, key) for key in KEYS}
    values |= {"old": line(finding.old), "new": line(finding.new)}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items() if value}


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_has_a_fixture_pair(rule: str) -> None:
    """Fails for a rule without a pair, and for a pair whose findings differ from its expected.toml."""
    folder = PAIRS / rule
    expected = tomllib.loads((folder / "expected.toml").read_text())["finding"]
    assert rule in {finding["rule"] for finding in expected}
    found = compare(schema(folder, "previous"), schema(folder, "current"))
    assert [told(finding) for finding in found] == expected
    assert all(finding.category == RULES[finding.rule].category for finding in found)


def test_every_fixture_pair_has_a_rule() -> None:
    assert {path.name for path in PAIRS.iterdir()} == set(RULES)
    assert {rule.category for rule in RULES.values()} == set(CATEGORIES)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("side", ["previous", "current"])
def test_equal_definitions_have_no_findings(rule: str, side: str) -> None:
    assert compare(schema(PAIRS / rule, side), schema(PAIRS / rule, side)) == ()
