"""CLIENT_REQUEST_LIMIT: calls that wait for earlier ones of their connection."""

from __future__ import annotations

from random import Random

import pytest

from libvirt_proto.diagnose.findings import Finding
from tests.support.scene import ATTACH, GET_INFO, GET_XML, Scene, domain, findings, line

WARNING = (
    "Client hit max requests limit {}. This may result in keep-alive timeouts. Consider tuning the"
    " max_client_requests server parameter"
)
TIMEOUT = "internal error: connection closed due to keepalive timeout"
LOG_MANAGER, ADMIN = 0x87539319, 0x06900690


def found(scene: Scene) -> list[Finding]:
    return scene.findings("CLIENT_REQUEST_LIMIT")


def served(limit: int, services: list[float], *, prog: int = 0x20008086, proc: int = GET_INFO) -> Scene:
    """Calls that one connection sends at once, and that a daemon serves `limit` at a time."""
    scene = Scene()
    connection = scene.connect()
    free = [0.0] * limit
    for number, service in enumerate(services):
        free.sort()
        end = max(free[0], number * 0.1) + service
        free[0] = end
        payload = domain(number) if prog == 0x20008086 else b""
        scene.call(connection, number * 0.1, end, number, proc=proc, payload=payload, prog=prog)
    return scene


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 8, 20])
def test_infers_the_limit(limit: int) -> None:
    random = Random(limit)
    scene = served(limit, [300 + random.uniform(-40, 40) for _ in range(limit * 3 + 1)])
    (finding,) = found(scene)
    most = limit * 3 + 1
    assert f"had {most} calls in flight on one connection, and the daemon served {limit} at a time" in (
        finding.summary
    )
    assert finding.certainty == "likely"
    assert finding.advice[0].endswith(f": {most} would have sufficed")


def test_states_time_in_the_queue_and_in_service() -> None:
    (finding,) = found(served(1, [300.0] * 4))
    assert finding.summary.endswith("3 calls waited up to 900 ms before their service, which took 300 ms.")
    assert finding.evidence[0].messages == (3, 5, 7)


def test_cheap_calls_wait_for_long_ones() -> None:
    """Five migrations are in service; each cheap call waits for the end of the first one."""
    scene = Scene()
    connection = scene.connect()
    for number in range(5):
        scene.call(connection, number, 20_000 + 9_000 * number, number, proc=305, payload=b"")
    for number in range(5, 9):
        scene.call(connection, 100 + number, 20_000.5 + number * 0.1, number)
    (finding,) = found(scene)
    assert "served 5 at a time" in finding.summary


def test_calls_in_flight_that_are_served_in_parallel() -> None:
    scene = Scene()
    connection = scene.connect()
    random = Random(1)
    for number in range(200):
        start = number * 20
        scene.call(connection, start, start + random.uniform(150, 450), number, payload=domain(number % 9))
    assert not found(scene)


def test_calls_that_are_answered_quickly_in_order() -> None:
    assert not found(served(1, [3.0] * 30))


def test_calls_that_a_stall_delays() -> None:
    """The daemon answers nothing for 2 s, and then everything."""
    scene = Scene()
    connection = scene.connect()
    for number in range(8):
        scene.call(connection, number * 10, 2_000 + number, number, payload=domain(number))
    assert not found(scene)


def test_calls_of_one_object_that_wait_for_one_call() -> None:
    scene = Scene()
    connection = scene.connect()
    scene.call(connection, 0, 10_000, 1, proc=ATTACH, payload=domain(1))
    for number in range(2, 12):
        scene.call(connection, number, 10_000 + number * 0.1, number, payload=domain(1))
    assert not found(scene)


def test_limit_of_one_and_lock_of_one_object_look_alike() -> None:
    scene = Scene()
    connection = scene.connect()
    for number in range(4):
        scene.call(connection, number, 300 * (number + 1), number, payload=domain(1))
    (finding,) = found(scene)
    assert finding.certainty == "possible"


def test_single_call_that_waits_is_no_finding() -> None:
    assert not found(served(1, [300.0, 300.0]))


def test_stream_of_other_calls_during_a_long_one() -> None:
    scene = Scene()
    connection = scene.connect()
    scene.call(connection, 0, 60_000, 0, proc=305)
    for number in range(1, 500):
        scene.call(connection, number * 100, number * 100 + 2, number, proc=GET_XML)
    assert not found(scene)


@pytest.mark.parametrize(
    ("prog", "advice"),
    [
        (LOG_MANAGER, "find the slow call of virtlogd"),
        (ADMIN, "set admin_max_client_requests = 20"),
        (0x20008086, "set max_client_requests = 20 in /etc/libvirt/libvirtd.conf or virtqemud.conf"),
    ],
)
def test_advice_is_for_the_daemon(prog: int, advice: str) -> None:
    (finding,) = found(served(1, [300.0] * 4, prog=prog, proc=2))
    assert finding.advice[0].startswith(advice)


def test_log_states_the_limit() -> None:
    (finding,) = findings("CLIENT_REQUEST_LIMIT", [line(WARNING.format(5), 9, 1, "virtqemud")])
    assert finding.summary == (
        "virtqemud stopped reading from a client with 5 calls in flight, as many as it serves at a time"
        " (max_client_requests): further calls and keepalive answers wait."
    )
    assert finding.advice[0] == (
        "set max_client_requests = 20 in /etc/libvirt/virtqemud.conf (default 5), and restart the daemon"
    )
    assert (finding.severity, finding.certainty) == ("warning", "certain")


def test_virtlogd_has_no_setting_and_its_warning_is_harmless() -> None:
    lines = [line(WARNING.format(1), number, number, "virtlogd") for number in range(1, 4)]
    (finding,) = findings("CLIENT_REQUEST_LIMIT", lines)
    assert finding.summary.startswith("virtlogd stopped reading from 3 clients with one call in flight")
    assert finding.severity == "note"
    assert not any("set max_client_requests" in step for step in finding.advice)


@pytest.mark.parametrize(("later", "follows"), [(25, True), (300, False), (None, True)])
def test_keepalive_timeout_soon_after_the_warning(later: float | None, follows: bool) -> None:
    times = (None, None) if later is None else (1, 1 + later)
    lines = [line(WARNING.format(5), 1, times[0]), line(TIMEOUT, 2, times[1])]
    (finding,) = findings("CLIENT_REQUEST_LIMIT", lines)
    assert ("a connection was closed by a keepalive timeout" in finding.summary) is follows
    assert ("25.0 s later" in finding.summary) is (later == 25)


def test_log_with_messages_gives_one_finding() -> None:
    scene = served(5, [300.0] * 12)
    items = [*scene.items(), line(WARNING.format(5), 1, 0)]
    (finding,) = findings("CLIENT_REQUEST_LIMIT", items)
    assert "had 12 calls in flight" in finding.summary
    assert finding.certainty == "certain"
    assert finding.evidence[0].lines == (1,)


def test_connection_at_its_limit_for_long() -> None:
    """More messages than are kept: calls in flight when an episode begins have an unknown start."""
    scene = Scene()
    connection = scene.connect()
    free = [0.0] * 5
    random = Random(3)
    for number in range(3_000):
        sent = max(0.0, (number - 40) * 60.0)
        free.sort()
        end = max(free[0], sent) + random.uniform(290, 310)
        free[0] = end
        scene.call(connection, sent + number * 0.001, end, number, payload=domain(number % 9))
    (finding,) = found(scene)
    assert "the daemon served 5 at a time" in finding.summary
    assert finding.evidence[0].count > 2_900
