"""Every report format is well-formed, whatever the findings contain."""

from __future__ import annotations

import json
from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from libvirt_proto_codegen.findings import Finding
from libvirt_proto_codegen.quoting import printable
from libvirt_proto_codegen.reports.github import as_github
from libvirt_proto_codegen.reports.ignores import Ignore
from libvirt_proto_codegen.reports.json import as_json
from libvirt_proto_codegen.reports.junit import as_junit
from libvirt_proto_codegen.reports.text import as_text
from libvirt_proto_codegen.source import Source, Span
from tests.support.findings import CATEGORIES, RULES, github, report

#: Lone surrogates as well: file names contain them.
texts = st.text(st.characters(exclude_categories=())) | st.sampled_from(
    ["]]>", "::error::x", "%0A", "%250A", "\n\r\n", "\x00\x1b\x85", "\ufffe\uffff", "\ud800", "&<>\"'", ""]
)
spans = st.builds(lambda name: Span(Source(name, "x\ny"), 2, 3), texts.filter(bool))


@st.composite
def findings(draw: st.DrawFn) -> Finding:
    rule = draw(st.sampled_from(list(RULES.values())))
    return Finding(
        rule.id,
        rule.category,
        draw(st.none() | texts),
        draw(texts),
        draw(texts),
        draw(st.none() | texts),
        draw(st.none() | spans),
        draw(st.none() | spans),
        tuple(draw(st.lists(texts, max_size=3))),
    )


def lines_printable(text: str) -> str:
    """The text as GitHub displays it: its format can escape line ends, but no other control characters."""
    return "\n".join(printable(line) for line in text.split("\n"))


all_findings = st.lists(findings(), max_size=4)
fail_on = st.lists(st.sampled_from(list(CATEGORIES))).map(tuple)
ignores = st.lists(st.builds(Ignore, texts, st.sampled_from(list(RULES)), file=texts), max_size=2).map(tuple)


@given(all_findings, fail_on, ignores)
def test_junit_is_valid_xml_with_counts(
    found: list[Finding], fail: tuple[str, ...], known: tuple[Ignore, ...]
) -> None:
    made = report(*found, fail_on=fail, ignores=known)
    root = ET.fromstring(as_junit(made).encode())
    cases = list(root.iter("testcase"))
    failing = [finding for finding in made.findings if finding.category in fail]
    assert int(root.attrib["tests"]) == len(cases) >= len(found)
    assert int(root.attrib["failures"]) == len(failing) == len(list(root.iter("failure")))
    assert len(list(root.iter("skipped"))) == len(found) - len(made.findings)
    assert sorted(failure.attrib["message"] for failure in root.iter("failure")) == sorted(
        printable(finding.message) for finding in failing
    )
    names = [(case.attrib["classname"], case.attrib["name"]) for case in cases]
    assert len(set(names)) == len(names)


@given(all_findings, fail_on, ignores)
def test_github_annotations_round_trip(
    found: list[Finding], fail: tuple[str, ...], known: tuple[Ignore, ...]
) -> None:
    made = report(*found, fail_on=fail, ignores=known)
    *lines, summary = as_github(made).removesuffix("\n").split("\n")
    read = [github(line) for line in lines]
    assert github(summary) is None
    expected = [each.finding for _, judged in made.by_category() for each in judged if each.ignore is None]
    assert len(read) == len(expected)
    for command, finding in zip(read, expected, strict=True):
        assert command is not None
        assert command[0] == (
            "error"
            if finding.category in fail
            else CATEGORIES[finding.category].level.replace("error", "warning")
        )
        assert command[1]["title"].startswith(f"{finding.rule}:")
        span = finding.new or finding.old
        assert command[1].get("line") == ("2" if span else None)
        assert command[1].get("file") == (lines_printable(span.source.name) if span else None)
        assert command[2].startswith(lines_printable(finding.message))


@given(all_findings, fail_on, ignores)
def test_json_report_is_valid(found: list[Finding], fail: tuple[str, ...], known: tuple[Ignore, ...]) -> None:
    made = report(*found, fail_on=fail, ignores=known)
    read = json.loads(as_json(made).encode("utf-8"))
    assert len(read["findings"]) == len(found)
    assert read["failed"] is made.failed
    assert sum(read["counts"].values()) + read["ignored"] == len(found)
    for said, finding in zip(read["findings"], found, strict=True):
        assert said["message"] == finding.message.encode("utf-8", "backslashreplace").decode()


@given(all_findings, fail_on, ignores)
def test_text_report_has_no_injected_lines(
    found: list[Finding], fail: tuple[str, ...], known: tuple[Ignore, ...]
) -> None:
    made = report(*found, fail_on=fail, ignores=known)
    lines = as_text(made).plain.removesuffix("\n").split("\n")
    assert all(line.isprintable() for line in lines)
    categories = {finding.category for finding in made.findings}
    sentences = sum(
        1 + (finding.effect is not None) + bool(finding.old and finding.new) + bool(finding.reaches)
        for finding in made.findings
    )
    assert len(lines) == 2 * len(categories) + sentences + 1
