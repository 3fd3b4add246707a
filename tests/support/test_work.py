"""The meter of test_bounds.py detects work that is not linear."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.work import Work, assert_linear, assert_within, grown, work


def copies_the_rest_each_time(size: int) -> None:
    data = bytes(100 * size)
    while data:
        data = data[10:]
        len(data)


def grows_a_copy(size: int) -> None:
    data = b""
    while len(data) < 100 * size:
        data = data + b"0123456789"


def looks_at_all_again(size: int) -> None:
    for _ in range(size):
        for _ in range(size):
            abs(1)


def appends(size: int) -> None:
    items: list[int] = []
    while len(items) < size:
        items.append(len(items))


@pytest.mark.parametrize("bad", [copies_the_rest_each_time, grows_a_copy, looks_at_all_again])
def test_detects_quadratic_work(bad: Callable[[int], None]) -> None:
    with pytest.raises(AssertionError):
        assert_linear(*grown(lambda size: lambda: bad(size), 60))


def test_accepts_linear_work() -> None:
    assert_linear(*grown(lambda size: lambda: appends(size), 300))


def test_counts_short_lived_allocations() -> None:
    done = work(lambda: len(bytes(1 << 20)))
    assert 1 << 20 <= done.peak < 1 << 21
    assert done.allocated >= done.peak
    with pytest.raises(AssertionError):
        assert_within(done, 1000)
    assert_within(Work(1, 32_000, 32_000), 1000)
