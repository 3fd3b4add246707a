"""`compare`: a pair of definitions for every rule, and what is found in it, written by hand."""

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
#: What expected.toml says of a finding; `old` and `new` are the lines at its places.
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
def test_each_rule_has_a_pair(rule: str) -> None:
    """A rule without one fails, and so does a pair in which other things are found than it says."""
    folder = PAIRS / rule
    expected = tomllib.loads((folder / "expected.toml").read_text())["finding"]
    assert rule in {finding["rule"] for finding in expected}
    found = compare(schema(folder, "previous"), schema(folder, "current"))
    assert [told(finding) for finding in found] == expected
    assert all(finding.category == RULES[finding.rule].category for finding in found)


def test_no_pair_is_of_a_rule_that_is_none() -> None:
    assert {path.name for path in PAIRS.iterdir()} == set(RULES)
    assert {rule.category for rule in RULES.values()} == set(CATEGORIES)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("side", ["previous", "current"])
def test_nothing_differs_from_itself(rule: str, side: str) -> None:
    assert compare(schema(PAIRS / rule, side), schema(PAIRS / rule, side)) == ()
