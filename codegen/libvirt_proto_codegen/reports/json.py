"""Findings for programs, as one JSON object, documented in `docs/findings.md`."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from ..findings import Finding, Symbol
from ..source import Span
from .ignores import Ignore
from .places import file_of
from .report import Report


def as_json(report: Report) -> str:
    """Return the report as one indented JSON object and a line end."""
    import msgspec  # slow, and only for this format

    document = {
        "command": report.command,
        "failed": report.failed,
        "findings": [_finding(judged.finding, judged.ignore, report) for judged in report.judged],
        "counts": {
            category: sum(finding.category == category for finding in report.findings)
            for category in report.categories
        },
        "ignored": len(report.judged) - len(report.findings),
        "unused_ignores": [_object(ignore) for ignore in report.unused],
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"


def _finding(finding: Finding, ignore: Ignore | None, report: Report) -> dict[str, Any]:
    return _object(finding) | {"level": report.level(finding.category), "ignored": _plain(ignore)}


def _object(value: Finding | Ignore | Symbol) -> dict[str, Any]:
    """Return a key per field, so that fields added to findings are written as well."""
    return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}


def _plain(value: object) -> object:
    if isinstance(value, Symbol | Ignore):
        return _object(value)
    if isinstance(value, Span):
        return {"file": _plain(file_of(value)), "line": value.line, "column": value.column}
    if isinstance(value, str):  # the name of a file may hold bytes that are not UTF-8
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return value
