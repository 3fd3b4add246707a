"""The column of times."""

from __future__ import annotations

import pytest

from libvirt_proto.presenters.clock import Clock


def test_relative_times_count_from_the_beginning() -> None:
    clock = Clock("relative", 3)
    assert [clock(ns) for ns in (5_000_000, 6_999_999, None, 4_000_000)] == [
        "  0.000 ",
        "  0.001 ",
        "      - ",
        " -0.001 ",
    ]
    clock = Clock("relative", 6)
    clock.start_ns = 0
    assert clock(1_234_567) == "  0.001234 "


def test_delta_is_since_the_line_before() -> None:
    clock = Clock("delta", 6)
    assert [clock(ns) for ns in (10**9, 3 * 10**9, 2 * 10**9, None)] == [
        "  0.000000 ",
        "  2.000000 ",
        " -1.000000 ",
        "         - ",
    ]


@pytest.mark.parametrize(
    ("time_ns", "decimals", "text"),
    [
        (1_795_383_888_429_872_000, 6, "2026-11-22T21:44:48.429872Z "),
        (1_795_383_888_429_872_000, 3, "2026-11-22T21:44:48.429Z "),
        (0, 3, "1970-01-01T00:00:00.000Z "),
        (None, 3, "                       - "),
        (-1_500_000_000, 3, "                  -1.500 "),
        (253_402_300_800 * 10**9, 3, "        253402300800.000 "),
    ],
)
def test_absolute_times_are_utc(time_ns: int | None, decimals: int, text: str) -> None:
    assert Clock("absolute", decimals)(time_ns) == text


def test_no_times() -> None:
    assert Clock("none")(5) == ""
