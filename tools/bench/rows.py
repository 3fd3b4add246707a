"""Results of benchmarks: rows of one table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from .timing import Run


@dataclass(frozen=True)
class Row:
    """A row. `goal` and `measured` are text. `ours` and `theirs` are the medians, with their unit; `spread`
    is the minimum and maximum of the pairs; `cpu` is the ratio by CPU time, if `measured` is by elapsed
    time."""

    work: str
    against: str
    goal: str
    measured: str
    verdict: str
    ours: str = ""
    theirs: str = ""
    spread: str = ""
    cpu: str = ""


def faster(work: str, against: str, goal: float, ours: list[Run], theirs: list[Run]) -> Row:
    """Return a row for how many times faster we are than a peer."""
    found = ratios([run.wall for run in theirs], [run.wall for run in ours])
    by_cpu = ratios([run.cpu for run in theirs], [run.cpu for run in ours])
    return Row(
        work,
        against,
        f"≥ {goal:g}× faster",
        f"{median(found):.1f}×",
        verdict(1 - median(found) / goal),
        seconds(median(run.wall for run in ours)),
        seconds(median(run.wall for run in theirs)),
        _spread(found),
        f"{median(by_cpu):.1f}×",
    )


def at_most(work: str, against: str, goal: float, ours: list[Run], theirs: list[Run]) -> Row:
    """Return a row for our time as a multiple of the minimum possible."""
    found = ratios([run.wall for run in ours], [run.wall for run in theirs])
    by_cpu = ratios([run.cpu for run in ours], [run.cpu for run in theirs])
    return Row(
        work,
        against,
        f"≤ {goal:g}×",
        f"{median(found):.1f}×",
        verdict(median(found) / goal - 1),
        seconds(median(run.wall for run in ours)),
        seconds(median(run.wall for run in theirs)),
        _spread(found),
        f"{median(by_cpu):.1f}×",
    )


def verdict(over: float) -> str:
    """Return whether a goal is met; `over` is the share by which it is missed, 0 or less if it is met."""
    return f"**missed by {over * 100:.0f} %**" if over > 0 else "met"


def ratios(first: Sequence[float], second: Sequence[float]) -> list[float]:
    """Return the ratios of pairs that were measured in turn."""
    return [a / b for a, b in zip(first, second, strict=True)]


def _spread(found: list[float]) -> str:
    return f"{min(found):.1f} to {max(found):.1f}"


def seconds(value: float) -> str:
    """Return a time in a suitable unit."""
    for factor, unit in ((1, "s"), (1e3, "ms"), (1e6, "µs")):
        if value * factor >= 1 or unit == "µs":
            break
    return f"{value * factor:.3g} {unit}"
