"""Numbers of examples of property tests in the profiles of hypothesis, which tests/conftest.py registers."""

from __future__ import annotations

from typing import Final

from hypothesis import settings

#: Examples of a test without a number of its own: hypothesis' default in `full`, a quarter in `quick`. Both
#: give the same examples in each run; those of `random` differ.
PROFILES: Final = {"quick": 25, "full": 100, "random": 100}
#: Tests with few examples run all of them in each profile: the first examples are the simplest values.
FEW: Final = 10


def examples(full: int) -> int:
    """Return the number of examples in the current profile, where `full` has this number."""
    return max(min(full, FEW), full * settings().max_examples // PROFILES["full"])


def stride() -> int:
    """Return the distance between the combinations that a test of all of them runs: 1 in `full`."""
    return PROFILES["full"] // settings().max_examples
