"""The content of all report formats: findings, and their treatment."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..findings import Categories, Finding, Level, Rules
from .ignores import Ignore


@dataclass(frozen=True, slots=True)
class Judged:
    """A finding, and the entry of an ignore file that matches it (None: it counts)."""

    finding: Finding
    ignore: Ignore | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """All findings of a command. `command` is its name (`lint`), `fail_on` the categories whose findings make
    it fail, `unused` the entries of ignore files that match nothing."""

    command: str
    rules: Rules
    categories: Categories
    fail_on: frozenset[str]
    judged: tuple[Judged, ...]
    unused: tuple[Ignore, ...] = ()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The findings that count."""
        return tuple(judged.finding for judged in self.judged if judged.ignore is None)

    @property
    def failed(self) -> bool:
        """True if a finding is of a category of `fail_on`."""
        return any(finding.category in self.fail_on for finding in self.findings)

    def by_category(self) -> Iterator[tuple[str, tuple[Judged, ...]]]:
        """Yield each category with findings, including ignored ones, in the order of the table."""
        for category in self.categories:
            if chosen := tuple(judged for judged in self.judged if judged.finding.category == category):
                yield category, chosen

    def level(self, category: str) -> Level:
        """Return `error` for a category that makes the command fail; one that would by default is a
        warning."""
        if category in self.fail_on:
            return "error"
        level = self.categories[category].level
        return "warning" if level == "error" else level

    def summary(self) -> str:
        """`3 findings: 2 WIRE, 1 LIMIT; 4 ignored`."""
        counts = dict.fromkeys(self.categories, 0)
        for finding in self.findings:
            counts[finding.category] += 1
        total = sum(counts.values())
        text = "no findings" if not total else f"{total:,} finding{'s' if total != 1 else ''}: "
        text += ", ".join(f"{count:,} {category}" for category, count in counts.items() if count)
        ignored = len(self.judged) - total
        return f"{text}; {ignored:,} ignored" if ignored else text
