"""Tables of descriptors: how many are known at a time, and who shares them."""

from __future__ import annotations

import pytest

from libvirt_proto.capture.strace import descriptors as module
from libvirt_proto.capture.strace.descriptors import Descriptors
from libvirt_proto.capture.strace.sockets import Socket


def socket(number: int) -> Socket:
    return Socket("", number, None)


def test_a_table_that_is_full_forgets_its_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PER_TABLE", 3)
    known = Descriptors()
    table, sockets = known.table(7), [socket(number) for number in range(5)]
    for number, one in enumerate(sockets):
        known.put(table, number, one)
    assert list(table.sockets) == [2, 3, 4]
    assert known.ended == sockets[:2]


def test_where_all_tables_together_are_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another table gets nothing, and a copy is empty: what it would have had is not known."""
    monkeypatch.setattr(module, "MAX_DESCRIPTORS", 2)
    known = Descriptors()
    known.cloned(None, 1, shared=False)
    known.cloned(None, 2, shared=False)
    first, second = known.table(1), known.table(2)
    known.put(first, 3, socket(3))
    known.put(first, 4, socket(4))
    known.put(second, 5, socket(5))
    assert (list(first.sockets), list(second.sockets)) == ([3, 4], [])
    known.cloned(1, 9, shared=False)
    assert known.table(9).sockets == {}
    known.cloned(1, 10, shared=True)
    assert known.table(10) is first


def test_processes_that_are_known_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PROCESSES", 2)
    known = Descriptors()
    for process in (1, 2, 3):
        known.cloned(None, process, shared=False)
        known.put(known.table(process), 0, socket(process))
    assert [known.known(process) for process in (1, 2, 3)] == [False, True, True]
    assert [one.number for one in known.ended] == [1]


def test_the_end_of_a_process_that_nobody_knew() -> None:
    known = Descriptors()
    known.put(known.table(None), 4, socket(4))
    known.exited(99)
    assert known.ended == []
    known.exited(None)
    assert len(known.ended) == 1
