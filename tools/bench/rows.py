"""What a benchmark gives: rows of one table."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from .timing import Run, ratio


@dataclass(frozen=True)
class Row:
    """`goal` and `measured` are words; `met` is None where there is no goal. `ours` and `theirs` are the
    medians, with their unit; `cpu` is the ratio by the processor's seconds, where `measured` is by the
    clock."""

    work: str
    against: str
    goal: str
    measured: str
    met: bool | None
    ours: str = ""
    theirs: str = ""
    cpu: str = ""


def faster(work: str, against: str, goal: float, ours: list[Run], theirs: list[Run]) -> Row:
    """How many times faster we are than a peer."""
    found = ratio([run.wall for run in theirs], [run.wall for run in ours])
    by_cpu = ratio([run.cpu for run in theirs], [run.cpu for run in ours])
    return Row(
        work,
        against,
        f"≥ {goal:g}× faster",
        f"{found:.1f}×",
        found >= goal,
        seconds(median(run.wall for run in ours)),
        seconds(median(run.wall for run in theirs)),
        f"{by_cpu:.1f}×",
    )


def at_most(work: str, against: str, goal: float, ours: list[float], theirs: list[float]) -> Row:
    """How many times as long we take as what is the least."""
    found = ratio(ours, theirs)
    return Row(
        work,
        against,
        f"≤ {goal:g}×",
        f"{found:.1f}×",
        found <= goal,
        seconds(median(ours)),
        seconds(median(theirs)),
    )


def seconds(value: float) -> str:
    """A time with a unit that suits it."""
    for factor, unit in ((1, "s"), (1e3, "ms"), (1e6, "µs")):
        if value * factor >= 1 or unit == "µs":
            break
    return f"{value * factor:.3g} {unit}"
