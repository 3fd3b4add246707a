"""TOO_MANY_CLIENTS: connections that wait for the end of others, or are dropped."""

from __future__ import annotations

import pytest

from libvirt_proto.diagnose.findings import Finding
from tests.support.scene import CLOSE, LIST, Scene, findings, line

AUTH_LIST = 66


def found(scene: Scene) -> list[Finding]:
    return scene.findings("TOO_MANY_CLIENTS")


def crowded(limit: int, clients: int, *, stay: float = 500) -> Scene:
    """Clients that connect at once and stay for a while, of which the daemon accepts some at a time."""
    scene = Scene()
    free = [0.0] * limit
    for number in range(clients):
        free.sort()
        connection = scene.connect()
        accepted = max(free[0], number * 3.0) + 1
        scene.call(connection, number * 3.0, accepted, 0, proc=AUTH_LIST)
        scene.call(connection, accepted + stay, accepted + stay + 1, 1, proc=CLOSE)
        scene.close(connection, accepted + stay + 2)
        free[0] = accepted + stay + 2
    return scene


def test_connections_wait_until_others_end() -> None:
    (finding,) = found(crowded(3, 10))
    assert finding.summary == (
        "7 connections to 10.0.0.1:16509 waited up to 1.48 s for their first reply, each until another client"
        " disconnected: the daemon accepts 3 clients (max_clients)."
    )
    assert "max_clients" in finding.advice[2]


def test_clients_that_are_answered_at_once() -> None:
    assert not found(crowded(30, 30))


def test_single_connection_that_waits() -> None:
    assert not found(crowded(3, 4))


def test_connections_that_a_stall_delays() -> None:
    """The daemon answers nobody for a second; then everybody at once, and clients leave."""
    scene = Scene()
    for number in range(10):
        connection = scene.connect()
        scene.call(connection, number, 1_000 + number, 0, proc=AUTH_LIST)
        scene.call(connection, 1_011, 1_012, 1, proc=CLOSE)
        scene.close(connection, 1_013)
    assert not found(scene)


def test_first_calls_that_take_long() -> None:
    """Polkit asks each user; no client ends meanwhile."""
    scene = Scene()
    for number in range(10):
        scene.call(scene.connect(), number * 100, number * 100 + 2_000, 0, proc=AUTH_LIST)
    assert not found(scene)


def dropped(count: int, *, first: str = "s2c", others: int = 1) -> Scene:
    scene = Scene()
    for _ in range(others):
        scene.call(scene.connect(), 0, 1, 0, proc=LIST)
    for number in range(count):
        connection = scene.connect()
        scene.call(connection, 100 + number * 50, None, 0, proc=AUTH_LIST)
        scene.close(connection, 101 + number * 50, first)  # type: ignore[arg-type]
    return scene


def test_connections_that_are_closed_at_once() -> None:
    (finding,) = found(dropped(3, others=20))
    assert finding.summary == (
        "The daemon 10.0.0.1:16509 closed 3 connections at once, without a reply, while it served 20 other"
        " clients: it does so at its limit (max_clients)."
    )
    assert finding.certainty == "possible"


@pytest.mark.parametrize(
    "scene",
    [dropped(2), dropped(5, first="c2s"), dropped(5, others=0)],
    ids=["few", "the clients closed them", "nobody is served"],
)
def test_closed_connections_without_a_limit(scene: Scene) -> None:
    assert not found(scene)


@pytest.mark.parametrize(
    ("text", "program", "summary"),
    [
        (
            "Too many active clients (20), dropping connection from 127.0.0.1;56884",
            "libvirtd",
            "libvirtd dropped the connection from 127.0.0.1;56884 because it had 20 clients, the most that it"
            " accepts (max_clients).",
        ),
        (
            "Too many active clients (20), dropping connection",
            "",
            "The daemon dropped a connection because it had 20 clients, the most that it accepts"
            " (max_clients).",
        ),
        (
            "Checking client-related limits to re-enable or temporarily suspend services: nclients=3"
            " nclients_max=3 nclients_unauth=0 nclients_unauth_max=3",
            "virtqemud",
            "virtqemud stopped accepting connections because it had 3 clients, the most that it accepts"
            " (max_clients).",
        ),
        (
            "Checking client-related limits to re-enable or temporarily suspend services: nclients=7"
            " nclients_max=5000 nclients_unauth=2 nclients_unauth_max=2",
            "",
            "The daemon stopped accepting connections because it had 2 clients that had not authenticated,"
            " the most that it accepts (max_anonymous_clients).",
        ),
        (
            "Temporarily suspending services",
            "libvirtd",
            "libvirtd stopped accepting connections 1 time because it had as many clients as it accepts"
            " (max_clients), or as many that had not authenticated (max_anonymous_clients).",
        ),
    ],
)
def test_log_states_the_limit(text: str, program: str, summary: str) -> None:
    (finding,) = findings("TOO_MANY_CLIENTS", [line(text, 3, 1, program)])
    assert finding.summary == summary
    assert finding.certainty == "certain"
    assert finding.evidence[0].lines == (3,)


def test_dropped_connections_are_counted() -> None:
    text = "Too many active clients (20), dropping connection from 127.0.0.1;{}"
    lines = [line(text.format(50_000 + number), number, number) for number in range(1, 60)]
    (finding,) = findings("TOO_MANY_CLIENTS", lines)
    assert finding.summary.startswith("The daemon dropped 59 connections ")
    assert len(finding.evidence[0].lines) == 20


@pytest.mark.parametrize(
    "counts",
    [
        "nclients=3 nclients_max=30 nclients_unauth=0 nclients_unauth_max=0",
        "nclients=1 nclients_max=1000 nclients_unauth=1 nclients_unauth_max=20",
    ],
)
def test_clients_below_their_limits(counts: str) -> None:
    from libvirt_proto.rpc.statements import statement

    text = "Checking client-related limits to re-enable or temporarily suspend services: " + counts
    assert statement(text) is None


def test_limit_is_stated_once() -> None:
    counts = "nclients=3 nclients_max=3 nclients_unauth=0 nclients_unauth_max=20"
    texts = [f"Checking client-related limits: {counts}", "Temporarily suspending services"]
    (finding,) = findings("TOO_MANY_CLIENTS", [line(each, 1) for each in texts])
    assert "it had 3 clients" in finding.summary
