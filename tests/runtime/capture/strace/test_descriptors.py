"""Tables of descriptors: their maximum size, and the processes that share them."""

from __future__ import annotations

import pytest

from libvirt_proto.capture.strace import descriptors as module
from libvirt_proto.capture.strace.descriptors import Descriptors
from libvirt_proto.capture.strace.sockets import Socket


def socket(number: int) -> Socket:
    return Socket("", number, None)


def test_full_table_evicts_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PER_TABLE", 3)
    known = Descriptors()
    table, sockets = known.table(7), [socket(number) for number in range(5)]
    for number, one in enumerate(sockets):
        known.put(table, number, one)
    assert list(table.sockets) == [2, 3, 4]
    assert known.ended == sockets[:2]


def test_total_size_of_tables_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another table gets nothing, and a copy is empty: its contents would be unknown."""
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


def test_number_of_processes_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PROCESSES", 2)
    known = Descriptors()
    for process in (1, 2, 3):
        known.cloned(None, process, shared=False)
        known.put(known.table(process), 0, socket(process))
    assert [known.known(process) for process in (1, 2, 3)] == [False, True, True]
    assert [one.number for one in known.ended] == [1]


def test_exit_of_unknown_process() -> None:
    known = Descriptors()
    known.put(known.table(None), 4, socket(4))
    known.exited(99)
    assert known.ended == []
    known.exited(None)
    assert len(known.ended) == 1
