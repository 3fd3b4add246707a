"""KEEPALIVE_TIMEOUT: which side gave up, and what the other one was doing."""

from __future__ import annotations

import pytest

from libvirt_proto.diagnose.findings import Finding
from libvirt_proto.events import Closed, Connection, ConnectionEvent, Direction
from tests.support.scene import MS, Scene, findings, line

OTHER: dict[Direction, Direction] = {"c2s": "s2c", "s2c": "c2s"}


def found(scene: Scene) -> list[Finding]:
    return scene.findings("KEEPALIVE_TIMEOUT")


def silent(sender: Direction, pings: int, *, end: float, first: Direction | None) -> Scene:
    """A connection with a call in flight on which one side sends pings every 5 s, and that ends."""
    scene = Scene()
    connection = scene.connect()
    scene.call(connection, 0, None, 1)
    for at in range(pings):
        scene.ping(connection, 5_000 * (at + 1), sender)
    scene.close(connection, end, first)
    return scene


@pytest.mark.parametrize(("sender", "who"), [("c2s", "client"), ("s2c", "daemon")])
def test_names_the_side_that_gave_up(sender: Direction, who: str) -> None:
    (finding,) = found(silent(sender, 5, end=30_000, first=sender))
    assert finding.summary.startswith(f"The {who} closed the connection 10.0.0.2:40001-10.0.0.1:16509 ")
    assert "it received no answer to 5 pings sent every 5.00 s" in finding.summary
    assert "domain_get_info in flight for 30.0 s" in finding.summary
    assert finding.evidence[0].messages == (2, 3, 4, 5, 6)
    assert finding.evidence[1].messages == (1,)


def test_end_is_due_one_interval_after_the_last_ping() -> None:
    """The other side may appear to have ended first: a trace has no FIN."""
    assert found(silent("s2c", 3, end=20_000, first="c2s"))
    assert not found(silent("s2c", 3, end=17_000, first="c2s"))
    assert not found(silent("s2c", 3, end=17_000, first="s2c"))
    assert not found(silent("s2c", 3, end=40_000, first="c2s"))


def test_one_ping_is_no_timeout() -> None:
    assert not found(silent("s2c", 1, end=10_000, first="s2c"))


def test_without_times_the_first_end_counts() -> None:
    scene = silent("s2c", 3, end=20_000, first="s2c")
    items = [
        Closed(each.connection, None, each.first) if isinstance(each, Closed) else each
        for each in scene.items()
    ]
    assert findings("KEEPALIVE_TIMEOUT", items)


def test_answered_pings_are_normal() -> None:
    scene = Scene()
    connection = scene.connect()
    for at in range(100):
        scene.ping(connection, 5_000 * (at + 1))
        scene.pong(connection, 5_000 * (at + 1) + 1)
    scene.close(connection, 505_000, "s2c")
    assert not found(scene)


def starved(replies: bool = False, *, end: float = 20_000, first: Direction = "s2c") -> Scene:
    """A client with six calls in flight that answers each ping of the daemon."""
    scene = Scene()
    connection = scene.connect()
    for serial in range(6):
        scene.call(connection, serial, 12_000 if replies and not serial else None, serial)
    for at in range(1, 4):
        scene.ping(connection, 5_000 * at)
        scene.pong(connection, 5_000 * at + 1)
    scene.close(connection, end, first)
    return scene


def test_daemon_that_does_not_read_the_answers() -> None:
    (finding,) = found(starved())
    assert "it did not read the client's answers to 3 pings" in finding.summary
    assert "with 6 calls in flight" in finding.summary
    assert finding.certainty == "certain"
    assert "max_client_requests" in finding.advice[0]


@pytest.mark.parametrize(
    "scene",
    [starved(replies=True), starved(end=17_000), starved(end=40_000), starved(first="c2s")],
    ids=["the daemon replied", "too soon", "too late", "the client closed"],
)
def test_answered_pings_with_calls_in_flight(scene: Scene) -> None:
    assert not found(scene)


def test_answer_that_comes_too_late_shows_a_stopped_process() -> None:
    scene = silent("c2s", 3, end=60_000, first="c2s")
    connection = Connection(1, "10.0.0.2:40001", "10.0.0.1:16509")
    scene.pong(connection, 59_000, "s2c")
    (finding,) = found(scene)
    assert "it received no answer to 3 pings" in finding.summary
    late = finding.evidence[2].text
    assert late == (
        "the daemon was heard again, 54.0 s after the first ping: too late, so it had been stopped or blocked"
    )


def test_pings_that_continue_after_a_late_answer_were_no_timeout() -> None:
    scene = silent("c2s", 3, end=120_000, first="c2s")
    connection = Connection(1, "10.0.0.2:40001", "10.0.0.1:16509")
    scene.pong(connection, 59_000, "s2c")
    scene.ping(connection, 60_000, "c2s")
    scene.pong(connection, 60_001, "s2c")
    assert not found(scene)


def test_pings_read_at_once_by_a_resumed_process_are_no_timeout() -> None:
    scene = Scene()
    connection = scene.connect()
    for at in range(3):
        scene.ping(connection, 5_000 + at * 0.01)
    scene.close(connection, 5_000.03, "s2c")
    assert not found(scene)


def test_unfinished_connection_at_the_end_of_the_input() -> None:
    """The packets of its end never arrived."""
    scene = Scene()
    connection, other = scene.connect(), scene.connect()
    for at in range(1, 4):
        scene.ping(connection, 5_000 * at)
    assert not found(scene)
    scene.call(other, 25_000, 25_001, 1)
    (finding,) = found(scene)
    assert "no answer to 3 pings" in finding.summary


def test_other_clients_were_answered_meanwhile() -> None:
    scene = silent("c2s", 5, end=30_000, first="c2s")
    other = scene.connect()
    scene.call(other, 12_000, 12_001, 1)
    (finding,) = found(scene)
    assert "meanwhile the daemon answered another client" in [each.text for each in finding.evidence]


def test_connections_with_one_cause_are_one_finding() -> None:
    scene = Scene()
    for client in range(30):
        connection = scene.connect()
        for at in range(1, 6):
            scene.ping(connection, 5_000 * at + client)
        scene.close(connection, 30_000 + client, "s2c")
    (finding,) = found(scene)
    assert finding.summary.startswith("The daemon closed 30 connections ")
    assert len(finding.evidence) < 10


@pytest.mark.parametrize(("side", "who"), [("server", "daemon"), ("client", "client")])
@pytest.mark.parametrize("name", ["countToDeath", "coundToDeath"], ids=["log", "probe"])
def test_last_tick_of_a_timer_is_certain(side: str, who: str, name: str) -> None:
    connection = Connection(1, "client", "server", "log", 1, side)  # type: ignore[arg-type]
    details = ((name, "0"), ("idle", "30"))
    event = ConnectionEvent("keepalive_timeout", 30_000 * MS, connection, details)
    earlier = ConnectionEvent("keepalive_timeout", 5_000 * MS, connection, ((name, "5"),))
    (finding,) = findings("KEEPALIVE_TIMEOUT", [earlier, event, event])
    assert finding.summary.startswith(f"The {who} closed the connection client-server")
    assert finding.certainty == "certain"


def test_log_states_the_timeout() -> None:
    text = "internal error: connection closed due to keepalive timeout"
    (finding,) = findings("KEEPALIVE_TIMEOUT", [line(text, 4, 3, "virtqemud")])
    assert finding.summary == (
        "virtqemud closed a connection because the peer did not answer its keepalive pings."
    )
    assert finding.evidence[0].lines == (4,)


def test_log_states_pings_and_their_time() -> None:
    texts = [
        "No response from client 0x55 after 5 keepalive messages in 30 seconds",
        "internal error: connection closed due to keepalive timeout",
    ]
    lines = [line(text, number, number) for number, text in enumerate(texts, 1)]
    (finding,) = findings("KEEPALIVE_TIMEOUT", lines)
    assert "did not answer 5 pings in 30 s" in finding.summary
