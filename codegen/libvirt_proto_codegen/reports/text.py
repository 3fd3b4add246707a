"""Findings for people: a heading per category, a line per finding with its place first, the summary last."""

from __future__ import annotations

from typing import Final

from rich.text import Text

from .places import main_span, place, printable, sentences
from .report import Judged, Report

_STYLES: Final = {"error": "bold red", "warning": "yellow", "notice": "cyan"}


def as_text(report: Report) -> Text:
    """The report with the styles that a terminal shows."""
    text = Text()
    for category, judged in report.by_category():
        known = report.categories[category]
        style = _STYLES[report.level(category)]
        text.append(category, style).append(f": {known.summary}\n")
        for each in judged:
            _finding(text, each, style)
        text.append("\n")
    for ignore in report.unused:
        text.append(printable(ignore.place), "bold").append(": ")
        text.append("warning", "yellow").append(f": nothing is ignored by {printable(str(ignore))}\n")
    return text.append(report.summary(), "bold").append("\n")


def _finding(text: Text, judged: Judged, style: str) -> None:
    finding = judged.finding
    span = main_span(finding)
    if span:
        text.append(printable(place(span)), "bold").append(": ")
    text.append(finding.rule, "dim" if judged.ignore else style).append(": ")
    text.append(f"{printable(finding.message)}\n")
    if judged.ignore:
        text.append(f"    ignored: {printable(judged.ignore.reason)} ({printable(judged.ignore.place)})\n")
        return
    for sentence in sentences(finding):
        text.append(f"    {printable(sentence)}\n", "dim")
