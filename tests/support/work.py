"""Counted work of a function, equal on every machine, and its limits.

Four times the input may take four times the work, and a little more.
"""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections.abc import Callable
from typing import Any, NamedTuple

#: Bytes that decoding may hold at a time: a multiple per byte of input, and a constant.
MULTIPLE, MORE = 24, 1 << 16
#: Tolerance above linear growth: buffers and lists that grow in steps.
NOISE = 1.15


class Work(NamedTuple):
    """`calls`: calls and returns of Python's and C's functions. `allocated`: total bytes allocated, copies
    included, as far as they live from one call to the next. `peak`: maximum bytes held at a time."""

    calls: int
    allocated: int
    peak: int


def work(function: Callable[[], object]) -> Work:
    """The work of a function; its result is discarded."""
    # Floats: Python reuses their memory, while each int would be allocated, traced and measured, too.
    calls = released = 0.0
    top = 0
    held, reset = tracemalloc.get_traced_memory, tracemalloc.reset_peak

    def count(_frame: object, _event: str, _argument: Any) -> None:
        nonlocal calls, released, top
        now, peak = held()
        reset()
        calls += 1.0
        released += peak - now
        if peak > top:
            top = peak

    # From here on, the same allocations lead to the next pass of the collector, which frees cycles: otherwise
    # the peak would depend on what ran before.
    gc.collect(1)
    tracemalloc.start()
    try:
        before = held()[0]
        reset()
        sys.setprofile(count)
        try:
            function()
        finally:
            sys.setprofile(None)
        after = held()[0]
    finally:
        tracemalloc.stop()
    # Allocated memory was either released by the next call, or is held at the end.
    return Work(int(calls), int(released) + after - before, top - before)


def grown(act: Callable[[int], Callable[[], object]], size: int) -> tuple[Work, Work]:
    """The work at a size and at four times the size, without the work of the first call."""
    act(1)()
    return work(act(size)), work(act(4 * size))


def assert_linear(small: Work, large: Work) -> None:
    """Check that `large` is at most linear growth from `small`, for four times the input."""
    assert large.calls <= 4 * NOISE * small.calls
    assert large.allocated <= 4 * NOISE * small.allocated + MORE


def assert_within(done: Work, size: int, multiple: int = MULTIPLE, more: int = MORE) -> None:
    """Check that the peak is at most a multiple of the input's size plus a constant."""
    assert done.peak <= multiple * size + more
