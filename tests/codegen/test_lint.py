"""The rules of `lint`: each has a folder in tests/lint with definitions that break it and definitions that do
not.

In bad.x each finding is a comment on its line, `/* finds: MESSAGE [PROCEDURES] */`.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from libvirt_proto_codegen.definitions import load_release, load_schema
from libvirt_proto_codegen.findings import Finding
from libvirt_proto_codegen.lint.rules import CATEGORIES, RULES, lint

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = ROOT / "tests" / "lint"
EXPECTED = re.compile(r"/\* finds: (?P<message>.+?)(?: \[(?P<reaches>[^]]+)\])? \*/")


def findings(path: Path) -> tuple[Finding, ...]:
    return lint(load_schema([path]))


def test_every_rule_has_fixtures() -> None:
    assert {folder.name for folder in FOLDER.iterdir()} == set(RULES)
    for folder in FOLDER.iterdir():
        assert {file.name for file in folder.iterdir()} == {"bad.x", "good.x"}


@pytest.mark.parametrize("rule", RULES)
def test_bad_fixture_has_its_findings(rule: str) -> None:
    path = FOLDER / rule / "bad.x"
    expected = [
        (rule, number, match["message"], match["reaches"])
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        for match in EXPECTED.finditer(line)
    ]
    found = [
        (finding.rule, finding.new and finding.new.line, finding.message, ", ".join(finding.reaches) or None)
        for finding in findings(path)
    ]
    assert found == expected
    assert expected


@pytest.mark.parametrize("rule", RULES)
def test_valid_input_has_no_findings(rule: str) -> None:
    assert findings(FOLDER / rule / "good.x") == ()


@pytest.mark.parametrize("rule", RULES)
def test_finding_points_at_its_object(rule: str) -> None:
    for finding in findings(FOLDER / rule / "bad.x"):
        span, symbol = finding.new, finding.symbol
        assert span is not None
        assert symbol is not None
        assert span.source.text[span.start : span.end] == symbol.name or symbol.kind == "arm"
        assert finding.program == "demo"
        assert finding.category == RULES[rule].category


def test_every_category_has_rules() -> None:
    assert {rule.category for rule in RULES.values()} == set(CATEGORIES)


def test_limits_are_checked_against_message_size_of_their_release(tmp_path: Path) -> None:
    """Messages were smaller before 1.2.0."""
    (tmp_path / "a.x").write_text("const VIR_NET_MESSAGE_PAYLOAD_MAX = 262120;\n")
    (tmp_path / "b.x").write_text("const MAX = 262144;\nstruct data { opaque data<MAX>; };\n")
    [finding] = lint(load_schema([tmp_path]))
    assert (finding.rule, finding.name, finding.program) == ("LIMIT_TOO_HIGH", "data.data", None)
    assert finding.message.endswith("needs at least 262,148 bytes; the payload of a message holds 262,120")


def test_conventions_match_libvirt(tmp_path: Path) -> None:
    """A program of RFC 5531 is checked only for limits and unused types."""
    path = tmp_path / "file.x"
    path.write_text(
        "const OTHER = 7;\n"
        "struct name { string text<20>; };\n"
        "program FILES { version ONE { void REMOVE(name) = 9; int ADD(name) = 3; } = 2; } = 0x20000001;\n"
    )
    assert [finding.rule for finding in findings(path)] == ["UNUSED_CONSTANT"]


def counts(found: tuple[Finding, ...]) -> dict[str, int]:
    rules = [finding.rule for finding in found]
    return {rule: rules.count(rule) for rule in RULES if rule in rules}


@pytest.mark.parametrize(
    ("release", "expected"),
    [
        ("0.9.7", {"LIMIT_TOO_HIGH": 4, "UNUSED_TYPE": 7}),
        ("10.0.0", {"TYPE_NAME": 1, "ACL_NONE": 7, "UNUSED_TYPE": 7, "UNUSED_CONSTANT": 1}),
        ("12.9.0", {"TYPE_NAME": 1, "ACL_NONE": 7, "UNUSED_TYPE": 7, "UNUSED_CONSTANT": 1}),
    ],
)
def test_findings_of_releases(release: str, expected: dict[str, int]) -> None:
    assert counts(lint(load_release(release))) == expected


def test_docs_list_findings_of_newest_release() -> None:
    text = (ROOT / "docs" / "lint.md").read_text(encoding="utf-8")
    for finding in lint(load_release("12.9.0")):
        assert f"`{finding.name}`" in text, finding


def test_docs_list_every_rule() -> None:
    text = (ROOT / "docs" / "lint.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([A-Z_]+)` \| ([A-Z]+) \| (.+?) \|", text, re.MULTILINE)
    assert rows == [(rule.id, rule.category, rule.summary) for rule in RULES.values()]
    levels = re.findall(r"^\| ([A-Z]+) \| (error|warning|notice) \| (.+?) \|$", text, re.MULTILINE)
    assert levels == [(each.id, each.level, each.summary) for each in CATEGORIES.values()]
