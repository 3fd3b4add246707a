"""How much work a function does, in counts that are the same on every machine, and how much it may do.

Of four times the input it may be four times as much, and a little.
"""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable
from typing import Any, NamedTuple

#: What decoding may hold at a time: so many bytes per byte of input, and some more.
MULTIPLE, MORE = 24, 1 << 16
#: How much more than linear is noise: buffers and lists that grow in steps.
NOISE = 1.15


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


def grown(act: Callable[[int], Callable[[], object]], size: int) -> tuple[Work, Work]:
    """The work at a size and at four times the size; what is done for the first time alone is not counted."""
    act(1)()
    return work(act(size)), work(act(4 * size))


def assert_linear(small: Work, large: Work) -> None:
    """`large` is what four times as much took."""
    assert large.calls <= 4 * NOISE * small.calls
    assert large.allocated <= 4 * NOISE * small.allocated + MORE


def assert_within(done: Work, size: int, multiple: int = MULTIPLE, more: int = MORE) -> None:
    """What was held at a time is a multiple of the input's size at most, and some more."""
    assert done.peak <= multiple * size + more
