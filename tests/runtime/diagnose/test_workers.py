"""WORKERS_EXHAUSTED: calls of low priority of all clients are served N at a time."""

from __future__ import annotations

import pytest

from libvirt_proto.diagnose.findings import Finding
from tests.support.scene import CLOSE, GET_INFO, LIST, OPEN, Scene, domain


def found(scene: Scene) -> list[Finding]:
    return scene.findings("WORKERS_EXHAUSTED")


def busy(workers: int, clients: int, *, service: float = 1_000, high: bool = True) -> Scene:
    """Clients that each make one call of low priority, and another one that lists domains meanwhile."""
    scene = Scene()
    free = [0.0] * workers
    for number in range(clients):
        free.sort()
        end = max(free[0], number * 10.0) + service
        free[0] = end
        scene.call(scene.connect(), number * 10.0, end, 7, proc=GET_INFO)
    if high:
        other = scene.connect()
        for at, proc in enumerate((OPEN, LIST, CLOSE)):
            scene.call(other, 500 + at * 10, 501 + at * 10, at, proc=proc)
    return scene


def test_calls_wait_while_those_of_high_priority_are_answered() -> None:
    (finding,) = found(busy(2, 6))
    assert finding.summary.startswith(
        "The daemon 10.0.0.1:16509 served 2 calls of low priority at a time, of all clients (max_workers),"
        " and 4 calls waited up to 1.96 s for a worker"
    )
    assert finding.evidence[1].count == 3
    assert finding.advice[0].startswith("set max_workers = 20 in ")
    assert finding.advice[0].endswith(": 6 would have sufficed")


def test_default_number_of_workers() -> None:
    (finding,) = found(busy(20, 50))
    assert "served 20 calls of low priority at a time" in finding.summary
    assert finding.advice[0].startswith("set max_workers = 50 in ")


def test_needs_calls_of_high_priority_that_are_answered() -> None:
    assert not found(busy(2, 6, high=False))


def test_parallel_clients_that_are_answered_at_once() -> None:
    assert not found(busy(30, 30, service=5))


def test_parallel_clients_whose_calls_take_long() -> None:
    assert not found(busy(30, 30, service=800))


def test_one_at_a_time_may_be_a_lock() -> None:
    assert not found(busy(1, 6))


def test_calls_that_their_own_connection_delays() -> None:
    """Two clients with six calls in flight each, at a limit of 2 for each of them."""
    scene = Scene()
    for client in range(2):
        connection = scene.connect()
        for number in range(6):
            scene.call(connection, number + client, 1_000 * (1 + number // 2) + client + number, number)
    other = scene.connect()
    scene.call(other, 500, 501, 1, proc=LIST)
    assert not found(scene)


def test_calls_of_two_daemons_are_apart() -> None:
    scene = Scene()
    for number in range(6):
        connection = scene.connect(f"10.0.0.{number}:16509")
        scene.call(connection, number * 10, 1_000 * (1 + number // 2), 7)
    scene.call(scene.connect(), 500, 501, 1, proc=LIST)
    assert not found(scene)


def test_connections_that_end_release_their_worker() -> None:
    scene = busy(2, 6)
    lost = scene.connect()
    scene.call(lost, 5, None, 1)
    scene.close(lost, 6)
    assert found(scene)


def stuck(
    calls: int, *, domains: int = 9, high: int = 5, end: float | None = None, usual: float = 5
) -> Scene:
    """Calls that were quick and are not answered any more, each of another client."""
    scene = Scene()
    first = scene.connect()
    scene.call(first, 0, usual, 1, payload=domain(1))
    for number in range(calls):
        start = 1_000 + 100 * number
        scene.call(scene.connect(), start, end, 7, payload=domain(number % domains))
    for number in range(high):
        scene.call(first, 8_000 + 500 * number, 8_001 + 500 * number, 10 + number, proc=LIST)
    return scene


def test_workers_that_never_end() -> None:
    (finding,) = found(stuck(22))
    assert finding.summary == (
        "The daemon 10.0.0.1:16509 answered no call of low priority of any client for 10.0 s, with 22 in"
        " flight, while calls of high priority were answered: all its workers were busy (max_workers)."
    )
    assert len(finding.evidence[0].messages) == 20
    assert finding.evidence[1].count == 5


def test_workers_that_end_together() -> None:
    (finding,) = found(stuck(22, end=60_000))
    assert "for 60.0 s, with 22 in flight" in finding.summary


@pytest.mark.parametrize(
    "scene",
    [stuck(22, high=0), stuck(2), stuck(22, domains=1), stuck(22, usual=2_000)],
    ids=["a stalled daemon", "few calls", "a blocked object", "calls that take long"],
)
def test_calls_without_a_reply_for_other_reasons(scene: Scene) -> None:
    assert not found(scene)
