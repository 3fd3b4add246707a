"""Findings as JUnit XML, which nearly every CI system displays.

There is a suite per category. Each rule without findings is a passed test, and each finding is a test whose
class is the rule: failed if its category makes the command fail, skipped with the reason if it is ignored,
else passed with the finding as its output. Names of tests contain no line numbers, so that CI recognises a
finding when lines move. `file` is GitLab's; Jenkins' schema of the format lacks it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from xml.etree import ElementTree as ET

from ..quoting import printable
from .places import file_of, main_span, place, sentences
from .report import Judged, Report


def as_junit(report: Report) -> str:
    """Return the XML document, which is well-formed whatever the findings contain."""
    root = ET.Element("testsuites", name=f"libvirt-proto {report.command}")
    by_category = dict(report.by_category())
    for category in report.categories:
        _suite(root, report, category, by_category.get(category, ()))
    _count(root, list(root.iter("testcase")))
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _suite(root: ET.Element, report: Report, category: str, judged: Sequence[Judged]) -> None:
    name = f"libvirt-proto.{report.command}.{category}"
    suite = ET.SubElement(root, "testsuite", name=name)
    found = Counter(each.finding.rule for each in judged)
    for rule in report.rules.values():
        if rule.category == category and not found[rule.id]:
            ET.SubElement(suite, "testcase", classname=f"{name}.{rule.id}", name="no findings", time="0")
    seen: Counter[tuple[str, str]] = Counter()
    for each in judged:
        finding = each.finding
        key = finding.rule, printable(finding.name)
        seen[key] += 1
        again = f" ({seen[key]})" if seen[key] > 1 else ""
        test = ET.SubElement(
            suite, "testcase", classname=f"{name}.{finding.rule}", name=key[1] + again, time="0"
        )
        _finding(test, each, failed=category in report.fail_on)
    _count(suite, list(suite))


def _finding(test: ET.Element, judged: Judged, *, failed: bool) -> None:
    finding = judged.finding
    span = main_span(finding)
    if span:
        test.set("file", printable(file_of(span)))
    first = f"{place(span)}: {finding.message}" if span else finding.message
    text = "\n".join(printable(line) for line in (first, *sentences(finding)))
    if judged.ignore:
        ET.SubElement(test, "skipped", message=f"ignored: {printable(judged.ignore.reason)}")
    elif failed:
        failure = ET.SubElement(test, "failure", type=finding.rule, message=printable(finding.message))
        failure.text = text
    else:
        ET.SubElement(test, "system-out").text = text


def _count(element: ET.Element, tests: Sequence[ET.Element]) -> None:
    element.set("tests", str(len(tests)))
    element.set("failures", str(sum(test.find("failure") is not None for test in tests)))
    element.set("errors", "0")
    if element.tag == "testsuite":
        element.set("skipped", str(sum(test.find("skipped") is not None for test in tests)))
    element.set("time", "0")
