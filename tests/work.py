"""How much work a function does, in counts that are the same on every machine of a Python version."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable
from typing import Any, NamedTuple


class Work(NamedTuple):
    """`calls`: calls and returns of Python's and C's functions. `allocated`: bytes allocated in all, copies
    included, as far as they live from one call to the next. `peak`: bytes held at a time."""

    calls: int
    allocated: int
    peak: int


def work(function: Callable[[], object]) -> Work:
    """The work of a function; what it gives is dropped."""
    calls = allocated = top = 0
    held = tracemalloc.get_traced_memory

    def count(_frame: object, _event: str, _argument: Any) -> None:
        nonlocal calls, allocated, top, last
        calls += 1
        now, peak = held()
        allocated += max(peak - last, 0)
        top = max(top, peak)
        tracemalloc.reset_peak()
        last = now

    tracemalloc.start()
    try:
        last = before = held()[0]
        tracemalloc.reset_peak()
        sys.setprofile(count)
        try:
            function()
        finally:
            sys.setprofile(None)
    finally:
        tracemalloc.stop()
    return Work(calls, allocated, top - before)
