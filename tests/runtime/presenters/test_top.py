"""Screens of any size, of snapshots with every table."""

from __future__ import annotations

import re
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libvirt_proto import registry
from libvirt_proto.diagnose.diagnoser import Diagnoser
from libvirt_proto.events import Closed, Connection
from libvirt_proto.figures.window import Snapshot, Window
from libvirt_proto.presenters.style import COLOUR, PLAIN
from libvirt_proto.presenters.top import SORTS, Shown, TopText, View, in_order
from tests.support.conversations import MS, SECOND, Talk, domain

COLOURS = re.compile(r"\x1b\[(?:0|1|2|3[1236]|1;31)m")
START = 1_700_000_000 * SECOND
HOSTILE = "vm\x1b[2J\x9b\u202e\n\t\u200b" + "x" * 200


def snapshot() -> Snapshot:
    """Thirty procedures of one client, calls in flight, one that nobody answers, and a notice."""
    talk = Talk()
    names = [each.name for each in registry.default().program(0x20008086).procedures][:30]
    for number, name in enumerate(names):
        for second in range(20):
            error = HOSTILE.encode() if number % 7 == 0 else None
            at = START + second * SECOND + number * MS
            talk.call(name, at=at, takes=number * MS * 500, conn=1 + number % 3, error=error)
    for number in range(5):
        talk.call("domain_create", domain(HOSTILE), at=START + 20 * SECOND, takes=None, conn=number + 1)
    diagnoser = Diagnoser(registry.default(), decode=None)
    diagnoser.source("x")
    window = Window(registry.default(), diagnoser)
    for item in talk:
        window.add(item)
    window.add(Closed(Connection(5, HOSTILE, ""), START + 25 * SECOND))
    made = window.snapshot(None, START + 40 * SECOND)
    made.notices = {"lost-events": 1}
    made.findings = window.findings()
    assert made.findings
    return made


SNAPSHOT = snapshot()


@given(
    width=st.integers(1, 250),
    height=st.integers(1, 80),
    sort=st.sampled_from(SORTS),
    view=st.sampled_from(get_args(View)),
    reverse=st.booleans(),
    seconds=st.sampled_from([10, None]),
    help_=st.booleans(),
)
def test_screen_fits_any_terminal(
    width: int, height: int, sort: str, view: str, reverse: bool, seconds: int | None, help_: bool
) -> None:
    shown = Shown(HOSTILE, sort, reverse, view, seconds, help=help_)  # type: ignore[arg-type]
    plain = TopText(width, PLAIN).screen(in_order(SNAPSHOT, shown), shown, height)
    assert len(plain) == height
    assert max(map(len, plain)) <= width
    assert all(line.isprintable() for line in plain)
    coloured = TopText(width, COLOUR).screen(in_order(SNAPSHOT, shown), shown, height)
    assert [COLOURS.sub("", line).rstrip() for line in coloured] == [line.rstrip() for line in plain]


@pytest.mark.parametrize("width", [40, 80, 120, 10_000])
def test_block_has_every_table(width: int) -> None:
    shown = Shown("x", seconds=None)
    lines = TopText(width).block(in_order(SNAPSHOT, shown), shown, 3)
    assert {"In flight", "Clients"} <= set(lines)
    assert all(line.isprintable() for line in lines)
    assert f"… {len(SNAPSHOT.procedures) - 3} more" in lines


def test_columns_leave_by_importance() -> None:
    """The rate, the errors and p99 are there as long as a name is."""
    shown = Shown("x", seconds=None)
    for width in (40, 60, 80, 120, 200):
        lines = TopText(width).screen(in_order(SNAPSHOT, shown), shown, 60)
        head = next(line for line in lines if line.startswith("procedure"))
        assert {"calls/s", "errors", "p99"} <= set(head.split())
        assert ("in flight" in head) == (width >= 100)
