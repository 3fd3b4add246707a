"""Findings for people: a heading per category, a line per finding that begins with its place, and the
summary.

Ignored findings are counted in the summary, but not shown.
"""

from __future__ import annotations

from typing import Final

from rich.text import Text

from ..findings import Finding
from ..quoting import printable
from .places import main_span, place, sentences
from .report import Report

_STYLES: Final = {"error": "bold red", "warning": "yellow", "notice": "cyan"}


def as_text(report: Report) -> Text:
    """Return the report with styles for a terminal."""
    text = Text()
    for category, known in report.categories.items():
        findings = [finding for finding in report.findings if finding.category == category]
        if findings:
            style = _STYLES[report.level(category)]
            text.append(category, style).append(f": {known.summary}\n")
            for finding in findings:
                _finding(text, finding, style)
            text.append("\n")
    for ignore in report.unused:
        text.append(printable(ignore.place), "bold").append(": ")
        text.append("warning", "yellow").append(f": this entry ignores nothing: {printable(str(ignore))}\n")
    return text.append(report.summary(), "bold").append("\n")


def _finding(text: Text, finding: Finding, style: str) -> None:
    span = main_span(finding)
    if span:
        text.append(printable(place(span)), "bold").append(": ")
    text.append(finding.rule, style).append(f": {printable(finding.message)}\n")
    for sentence in sentences(finding):
        text.append(f"    {printable(sentence)}\n", "dim")
