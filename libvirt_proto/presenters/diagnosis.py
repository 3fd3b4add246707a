"""A diagnosis for people (text), for programs (JSON) and for GitHub's workflow commands."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator
from typing import Final

from msgspec import json

from ..diagnose.findings import SEVERITIES, Diagnosis, Evidence, Finding
from ..text import amount, clock, duration, printable
from .style import PLAIN, Palette, severity_colour

_INDENT: Final = "  "
#: Observations of a finding that the text lists: of each file, and of all.
_PER_FILE: Final = 3
_OBSERVATIONS: Final = 8
#: Severity → GitHub's command.
_COMMANDS: Final = {"error": "error", "warning": "warning", "note": "notice"}


class DiagnosisText:
    """A diagnosis → lines without newlines, within `width` if possible, except commands."""

    def __init__(self, width: int, palette: Palette = PLAIN) -> None:
        self._width = max(width, 40)
        self._palette = palette

    def __call__(self, diagnosis: Diagnosis) -> Iterator[str]:
        """Yield a block per finding, and what was examined."""
        if diagnosis.redacted:
            yield f"{self._palette.warn}redacted: {diagnosis.redacted}{self._palette.off}"
        several = len(diagnosis.files) > 1
        for finding in diagnosis.findings:
            yield from self._finding(finding, several=several)
            yield ""
        yield from self._wrapped(_summary(diagnosis), "")
        yield from self._wrapped(_checked(diagnosis), "")

    def _finding(self, finding: Finding, *, several: bool) -> Iterator[str]:
        colour = self._palette
        paint = severity_colour(finding.severity, colour)
        yield f"{paint}{finding.severity} {finding.rule}{colour.off} ({finding.certainty})"
        yield from self._wrapped(finding.summary, _INDENT)
        shown = _first(finding.evidence)
        for evidence in shown:
            yield from self._wrapped(_observed(evidence, several=several), f"{_INDENT}- ", _INDENT * 2)
            if evidence.command:
                yield f"{_INDENT * 2}{colour.quiet}{printable(evidence.command)}{colour.off}"
        if rest := len(finding.evidence) - len(shown):
            yield f"{_INDENT}- {amount(rest, 'more observation')}: see --format json"
        for step in finding.advice:
            yield from self._wrapped(step, f"{_INDENT}→ ", _INDENT * 2)

    def _wrapped(self, text: str, first: str, rest: str | None = None) -> list[str]:
        return textwrap.wrap(
            printable(text),
            self._width,
            initial_indent=first,
            subsequent_indent=first if rest is None else rest,
            break_long_words=False,
            break_on_hyphens=False,
        )


def as_json(diagnosis: Diagnosis) -> bytes:
    """Return one indented JSON object and a line end (docs/diagnose.md)."""
    return json.format(json.encode(diagnosis), indent=2) + b"\n"


def as_github(diagnosis: Diagnosis) -> Iterator[str]:
    """Yield a workflow command per finding, which GitHub Actions shows as an annotation, and the summary.

    Source: "Workflow commands for GitHub Actions" in GitHub's documentation.
    """
    for finding in diagnosis.findings:
        evidence = finding.evidence[0]
        file = _property(evidence.file)
        line = f",line={evidence.lines[0]}" if evidence.lines else ""
        parts = [finding.summary, *(each.text for each in finding.evidence), *finding.advice]
        text = "%0A".join(_data(printable(part)) for part in parts)
        yield f"::{_COMMANDS[finding.severity]} file={file}{line},title={finding.rule}::{text}"
    yield _summary(diagnosis)


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(printable(text)).replace(":", "%3A").replace(",", "%2C")


def _first(evidence: tuple[Evidence, ...]) -> list[Evidence]:
    """Return the first observations of each file."""
    count: Counter[str] = Counter()
    shown: list[Evidence] = []
    for each in evidence:
        count[each.file] += 1
        if count[each.file] <= _PER_FILE and len(shown) < _OBSERVATIONS:
            shown.append(each)
    return shown


def _observed(evidence: Evidence, *, several: bool) -> str:
    parts = [clock(evidence.start_ns)] if evidence.start_ns is not None else []
    if several:
        parts.append(f"{evidence.file}:")
    return " ".join([*parts, evidence.text])


def _summary(diagnosis: Diagnosis) -> str:
    """`2 errors, 1 warning in 1,234 messages of 3 connections, 12.3 s`."""
    counts = [
        amount(count, severity)
        for severity in SEVERITIES
        if (count := sum(each.severity == severity for each in diagnosis.findings))
    ]
    what = [f"{amount(diagnosis.messages, 'message')} of {amount(diagnosis.connections, 'connection')}"]
    if diagnosis.lines:
        what.append(amount(diagnosis.lines, "log entry", "log entries"))
    if diagnosis.start_ns is not None and diagnosis.end_ns is not None and len(diagnosis.files) == 1:
        what.append(duration(max(0, diagnosis.end_ns - diagnosis.start_ns)))
    return f"{', '.join(counts) or 'nothing unusual'} in {', '.join(what)}"


def _checked(diagnosis: Diagnosis) -> str:
    """State which rules were checked, and why others were not."""
    done = sum(check.missing is None for check in diagnosis.checked)
    missing: dict[str, list[str]] = {}
    for check in diagnosis.checked:
        if check.missing is not None:
            missing.setdefault(check.missing, []).append(check.rule)
    others = "; ".join(f"{', '.join(rules)}: {reason}" for reason, rules in missing.items())
    return f"{amount(done, 'rule')} checked" + (f"; not checked: {others}" if others else "")
