"""Findings as workflow commands, which GitHub Actions turns into annotations of the changed files.

Source: "Workflow commands for GitHub Actions" in GitHub's documentation. The characters that its runner
unescapes are escaped: `%`, CR and LF everywhere, `:` and `,` in a property's value.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..quoting import printable
from .places import file_of, main_span, sentences
from .report import Judged, Report


def as_github(report: Report) -> str:
    """Return a line per finding that is not ignored, a warning per entry without effect, and the summary."""
    lines = [
        _finding(each, report.level(category))
        for category, judged in report.by_category()
        for each in judged
        if each.ignore is None
    ]
    for ignore in report.unused:
        properties = {"file": ignore.file, **({"line": str(ignore.line)} if ignore.line else {})}
        lines.append(_command("warning", properties, f"this entry ignores nothing: {ignore}"))
    return "\n".join([*lines, report.summary()]) + "\n"


def _finding(judged: Judged, level: str) -> str:
    finding = judged.finding
    properties = {}
    if span := main_span(finding):
        line, column = span.source.position(span.start)
        properties = {"file": file_of(span), "line": str(line), "col": str(column)}
    properties["title"] = f"{finding.rule}: {finding.name}"
    return _command(level, properties, "\n".join([finding.message, *sentences(finding)]))


def _command(level: str, properties: Mapping[str, str], message: str) -> str:
    said = ",".join(f"{key}={_property(value)}" for key, value in properties.items())
    return f"::{level} {said}::{_data(message)}"


def _data(text: str) -> str:
    lines = (printable(line).replace("%", "%25") for line in text.split("\n"))
    return "%0A".join(lines)


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
