"""The formats of findings."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from junitparser import Failure, JUnitXml, Skipped

from libvirt_proto_codegen.findings import Finding
from libvirt_proto_codegen.reports.github import as_github
from libvirt_proto_codegen.reports.ignores import Ignore
from libvirt_proto_codegen.reports.json import as_json
from libvirt_proto_codegen.reports.junit import as_junit
from libvirt_proto_codegen.reports.places import place
from libvirt_proto_codegen.reports.text import as_text
from libvirt_proto_codegen.source import Source, Span
from tests.support.findings import ADDED, LOWERED, REMOVED, TYPE_CHANGED, github, report

KNOWN = Ignore("no released client calls it", rule="LIMIT_LOWERED", file="known.toml", line=7)


def test_text_report() -> None:
    shown = as_text(report(ADDED, LOWERED, TYPE_CHANGED, REMOVED, ignores=(KNOWN,)))
    assert (
        shown.plain
        == """\
WIRE: peers misunderstand each other
new/file.x:2:5: FIELD_TYPE_CHANGED: int became hyper
    a peer reads 4 bytes of 8
    before: old/file.x:3:5
    reaches demo.read, demo.write
old/file.x:1:1: FIELD_REMOVED: the field is gone

ADDED: what is new
new/file.x:1:1: PROCEDURE_ADDED: a new procedure

3 findings: 2 WIRE, 1 ADDED; 1 ignored
"""
    )


def test_text_report_without_findings() -> None:
    assert as_text(report()).plain == "no findings\n"


def test_text_lists_at_most_a_few_procedures() -> None:
    many = Finding(
        "FIELD_REMOVED", "WIRE", "demo", "b", "gone", reaches=tuple(f"demo.p{n}" for n in range(7))
    )
    assert (
        "    reaches demo.p0, demo.p1, demo.p2, demo.p3, demo.p4 and 2 more\n" in as_text(report(many)).plain
    )


def test_text_is_safe_on_a_terminal() -> None:
    span = Span(Source("a\x1b[2Jb\udce9.x", "x"), 0, 1)
    bad = Finding("FIELD_REMOVED", "WIRE", "demo", "b", "gone\r\u202e", new=span)
    assert "a\\x1b[2Jb\\udce9.x:1:1: FIELD_REMOVED: gone\\r\\u202e\n" in as_text(report(bad)).plain


def test_place_below_current_folder_is_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    span = Span(Source(str(tmp_path / "defs" / "file.x"), "x"), 0, 1)
    assert place(span) == f"{tmp_path}/defs/file.x:1:1"
    monkeypatch.chdir(tmp_path)
    assert place(span) == "defs/file.x:1:1"


def test_json_report() -> None:
    written = json.loads(as_json(report(TYPE_CHANGED, LOWERED, ignores=(KNOWN,))))
    assert written == {
        "command": "diff",
        "failed": True,
        "findings": [
            {
                "rule": "FIELD_TYPE_CHANGED",
                "category": "WIRE",
                "program": "demo",
                "name": "b.c",
                "message": "int became hyper",
                "effect": "a peer reads 4 bytes of 8",
                "old": {"file": "old/file.x", "line": 3, "column": 5},
                "new": {"file": "new/file.x", "line": 2, "column": 5},
                "reaches": ["demo.read", "demo.write"],
                "symbol": {
                    "kind": "field",
                    "name": "c",
                    "file": "file.x",
                    "owner": "b",
                    "program": None,
                    "number": None,
                },
                "old_symbol": None,
                "before": "int c;",
                "after": "hyper c;",
                "payloads": ["demo_read_args"],
                "level": "error",
                "ignored": None,
            },
            {
                "rule": "LIMIT_LOWERED",
                "category": "LIMIT",
                "program": "demo",
                "name": "d",
                "message": "the limit was 20 and is 10",
                "effect": None,
                "old": None,
                "new": None,
                "reaches": [],
                "symbol": None,
                "old_symbol": None,
                "before": None,
                "after": None,
                "payloads": [],
                "level": "warning",
                "ignored": {
                    "reason": "no released client calls it",
                    "rule": "LIMIT_LOWERED",
                    "program": None,
                    "name": None,
                    "file": "known.toml",
                    "line": 7,
                },
            },
        ],
        "counts": {"WIRE": 1, "LIMIT": 0, "ADDED": 0},
        "ignored": 1,
        "unused_ignores": [],
    }


def test_github_report() -> None:
    lines = as_github(report(TYPE_CHANGED, LOWERED, ADDED, REMOVED)).splitlines()
    assert [github(line) for line in lines] == [
        (
            "error",
            {"file": "new/file.x", "line": "2", "col": "5", "title": "FIELD_TYPE_CHANGED: b.c"},
            "int became hyper\na peer reads 4 bytes of 8\nbefore: old/file.x:3:5\n"
            "reaches demo.read, demo.write",
        ),
        (
            "error",
            {"file": "old/file.x", "line": "1", "col": "1", "title": "FIELD_REMOVED: b.e"},
            "the field is gone",
        ),
        ("warning", {"title": "LIMIT_LOWERED: d"}, "the limit was 20 and is 10"),
        (
            "notice",
            {"file": "new/file.x", "line": "1", "col": "1", "title": "PROCEDURE_ADDED: DEMO_PROC_NEW"},
            "a new procedure",
        ),
        None,
    ]


def test_github_escapes_as_documented() -> None:
    span = Span(Source("a,b:c%.x", "x"), 0, 1)
    odd = Finding("FIELD_REMOVED", "WIRE", "demo", "b", "50% :: a,b", new=span)
    assert as_github(report(odd)).splitlines()[0] == (
        "::error file=a%2Cb%3Ac%25.x,line=1,col=1,title=FIELD_REMOVED%3A b::50%25 :: a,b"
    )


def test_github_omits_ignored_findings() -> None:
    assert as_github(report(LOWERED, ignores=(KNOWN,))) == "no findings; 1 ignored\n"


def test_findings_below_failure_level_are_warnings() -> None:
    line = as_github(report(TYPE_CHANGED, fail_on=())).splitlines()[0]
    assert line.startswith("::warning ")
    assert as_github(report(ADDED, fail_on=("ADDED",))).startswith("::error ")


def test_junit_report() -> None:
    made = report(TYPE_CHANGED, TYPE_CHANGED, LOWERED, ADDED, ignores=(KNOWN,))
    xml = JUnitXml.fromstring(as_junit(made).encode())
    assert (xml.name, xml.tests, xml.failures, xml.errors) == ("libvirt-proto diff", 5, 2, 0)
    assert [(suite.name, suite.tests, suite.failures, suite.skipped) for suite in xml] == [
        ("libvirt-proto.diff.WIRE", 3, 2, 0),
        ("libvirt-proto.diff.LIMIT", 1, 0, 1),
        ("libvirt-proto.diff.ADDED", 1, 0, 0),
    ]
    passed, first, second, skipped, added = (case for suite in xml for case in suite)
    assert (passed.classname, passed.name) == ("libvirt-proto.diff.WIRE.FIELD_REMOVED", "no findings")
    assert passed.is_passed
    assert (first.classname, first.name) == ("libvirt-proto.diff.WIRE.FIELD_TYPE_CHANGED", "b.c")
    assert second.name == "b.c (2)"
    [failure] = first.result
    assert isinstance(failure, Failure)
    assert (failure.type, failure.message) == ("FIELD_TYPE_CHANGED", "int became hyper")
    assert failure.text.splitlines()[0] == "new/file.x:2:5: int became hyper"
    assert failure.text.splitlines()[-1] == "reaches demo.read, demo.write"
    [skip] = skipped.result
    assert isinstance(skip, Skipped)
    assert skip.message == "ignored: no released client calls it"
    assert added.is_passed
    assert added.system_out == "new/file.x:1:1: a new procedure"


def test_docs_describe_every_key(root: Path) -> None:
    text = (root / "docs" / "findings.md").read_text(encoding="utf-8")
    report_keys, finding_keys = (
        {
            key
            for row in re.findall(r"^\| (`[^|]+) \|", table, re.MULTILINE)
            for key in re.findall(r"`(\w+)`", row)
        }
        for table in re.findall(r"^\| key \| what \|\n(?:\|.*\n)+", text, re.MULTILINE)
    )
    written = json.loads(as_json(report(TYPE_CHANGED)))
    assert report_keys == set(written)
    assert finding_keys == set(written["findings"][0])
