"""Results of benchmarks: rows of one table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from .timing import Run


@dataclass(frozen=True)
class Row:
    """A row. `goal` and `measured` are text. `ours` and `theirs` are the medians, with their unit; `spread`
    is the minimum and maximum of the pairs; `elapsed` is the ratio by elapsed time."""

    work: str
    against: str
    goal: str
    measured: str
    verdict: str
    ours: str = ""
    theirs: str = ""
    spread: str = ""
    elapsed: str = ""


def faster(
    work: str, against: str, goal: float | None, ours: list[Run], theirs: list[Run], *, by_cpu: bool = True
) -> Row:
    """Return a row for how many times faster we are than a peer."""
    found = _ratios(theirs, ours, by_cpu)
    elapsed = _ratios(theirs, ours, by_cpu=False)
    over = None if goal is None else 1 - median(found) / goal
    text = "" if goal is None else f"≥ {goal:g}× faster"
    return _row(work, against, text, found, elapsed, over, ours, theirs, by_cpu)


def at_most(work: str, against: str, goal: float | None, ours: list[Run], theirs: list[Run]) -> Row:
    """Return a row for our time as a multiple of the minimum possible, or of a simpler command."""
    found = _ratios(ours, theirs, by_cpu=True)
    elapsed = _ratios(ours, theirs, by_cpu=False)
    over = None if goal is None else median(found) / goal - 1
    text = "" if goal is None else f"≤ {goal:g}×"
    return _row(work, against, text, found, elapsed, over, ours, theirs, by_cpu=True)


def _row(
    work: str,
    against: str,
    goal: str,
    found: list[float],
    elapsed: list[float],
    over: float | None,
    ours: list[Run],
    theirs: list[Run],
    by_cpu: bool,
) -> Row:
    return Row(
        work,
        against,
        goal,
        _times(median(found)),
        "" if over is None else verdict(over),
        seconds(median(_time(run, by_cpu) for run in ours)),
        seconds(median(_time(run, by_cpu) for run in theirs)),
        f"{_times(min(found))} to {_times(max(found))}",
        _times(median(elapsed)),
    )


def _time(run: Run, by_cpu: bool) -> float:
    return run.cpu if by_cpu else run.wall


def _times(ratio: float) -> str:
    return f"{ratio:.1f}×" if ratio >= 3 else f"{ratio:.2f}×"


def _ratios(first: Sequence[Run], second: Sequence[Run], by_cpu: bool) -> list[float]:
    return ratios([_time(run, by_cpu) for run in first], [_time(run, by_cpu) for run in second])


def verdict(over: float) -> str:
    """Return whether a goal is met; `over` is the share by which it is missed, 0 or less if it is met."""
    return f"**missed by {over * 100:.0f} %**" if over > 0 else "met"


def ratios(first: Sequence[float], second: Sequence[float]) -> list[float]:
    """Return the ratios of pairs that were measured in turn."""
    return [a / b for a, b in zip(first, second, strict=True)]


def seconds(value: float) -> str:
    """Return a time in a suitable unit."""
    for factor, unit in ((1, "s"), (1e3, "ms"), (1e6, "µs")):
        if value * factor >= 1 or unit == "µs":
            break
    return f"{value * factor:.3g} {unit}"
