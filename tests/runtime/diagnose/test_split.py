"""TIME_OUTSIDE_DAEMON: calls that were recorded at both ends of their connection."""

from __future__ import annotations

from typing import Literal

import pytest

from libvirt_proto import registry
from libvirt_proto.diagnose import both_ends
from libvirt_proto.diagnose.diagnoser import Diagnoser
from libvirt_proto.diagnose.findings import Finding
from libvirt_proto.events import Connection
from tests.support.conversations import MS, SECOND, Talk, domain, found
from tests.support.frames import word

UNIX = Connection(1, "client", "server", "unix")
UNIX_DAEMON = Connection(2, "", "/run/libvirt/libvirt-sock", "unix")


def end(
    on: Connection,
    calls: int,
    *,
    before: int = 0,
    takes: int = 2 * MS,
    after: int = 0,
    clock: int = 0,
    side: Literal["client", "daemon"] = "client",
) -> Talk:
    """Calls as the client or the daemon sees them: the daemon reads each `before` ns later, and its reply is
    read `after` ns after it was sent."""
    talk = Talk()
    for number in range(calls):
        at = clock + number * 10 * SECOND
        latency = before + takes + after
        if side == "daemon":
            at, latency = at + before, takes
        talk.call("domain_get_info", domain(f"vm{number}"), at=at, takes=latency, conn=on)
    return talk


def both(one: Connection, two: Connection, calls: int = 5, **times: int) -> Talk:
    """One recording of both ends."""
    talk = end(one, calls, **times)
    talk.items += end(two, calls, side="daemon", **times).items
    return talk


def outside(*talks: Talk) -> list[Finding]:
    return found("TIME_OUTSIDE_DAEMON", *talks)


def test_both_ends_in_one_recording() -> None:
    (finding,) = outside(both(UNIX, UNIX_DAEMON, before=600 * MS))
    assert finding.summary == (
        "The daemon took 10.0 ms for 5 calls that took the client 3.01 s: 3.00 s passed before the daemon"
        " read the calls."
    )
    assert "max_client_requests" in finding.advice[0]
    assert [each.text for each in finding.evidence] == [
        "5 calls at the client's end: 3.01 s (3.00 s before the daemon's end, 0 ns after it)",
        "5 calls at the daemon's end: 10.0 ms",
    ]
    assert finding.evidence[0].messages == (1, 5, 9, 13, 17)
    assert finding.evidence[1].messages == (2, 6, 10, 14, 18)


def test_client_that_reads_late() -> None:
    (finding,) = outside(both(UNIX, UNIX_DAEMON, after=600 * MS))
    assert finding.summary.endswith("3.00 s passed before the client read the replies.")


def test_network() -> None:
    (finding,) = outside(both(UNIX, UNIX_DAEMON, before=300 * MS, after=300 * MS))
    assert finding.summary.endswith("3.00 s passed between them.")


def test_two_recordings_whose_clocks_differ() -> None:
    on = Connection(1, "192.0.2.1:40001", "192.0.2.2:16509")
    logged = Connection(7, "192.0.2.1:40001", "192.0.2.2:16509@0x55d8", "log", side="server")
    client = end(on, 5, before=600 * MS)
    daemon = end(logged, 5, before=600 * MS, side="daemon", clock=3600 * SECOND)
    (finding,) = outside(client, daemon)
    assert finding.summary.endswith("3.00 s passed between them.")
    assert {each.file for each in finding.evidence} == {"one.pcap", "two.pcap"}
    (other,) = outside(daemon, client)
    assert other.summary == finding.summary


def test_two_recordings_without_addresses() -> None:
    client, daemon = end(UNIX, 5, before=600 * MS), end(UNIX_DAEMON, 5, before=600 * MS, side="daemon")
    assert len(outside(client, daemon)) == 1
    assert outside(client, end(UNIX_DAEMON, 5, side="daemon", clock=3600 * SECOND)) == []


@pytest.mark.parametrize(
    "talk",
    [
        pytest.param(both(UNIX, UNIX_DAEMON, 50, before=50 * MS), id="a usual network"),
        pytest.param(both(UNIX, UNIX_DAEMON, 2, before=600 * MS), id="two calls"),
        pytest.param(both(UNIX, UNIX_DAEMON, takes=9 * SECOND, before=600 * MS), id="a slow daemon"),
        pytest.param(end(UNIX, 5, before=600 * MS), id="one end"),
    ],
)
def test_time_in_the_daemon(talk: Talk) -> None:
    assert outside(talk) == []


def test_one_of_many_calls_may_wait() -> None:
    talk = both(UNIX, UNIX_DAEMON)
    args = domain("vm") + word(0)
    talk.call("domain_get_state", args, at=200 * SECOND, takes=9 * SECOND, conn=UNIX)
    talk.call("domain_get_state", args, at=208 * SECOND, takes=MS, conn=UNIX_DAEMON)
    assert outside(talk) == []


def test_client_s_end_is_a_copy() -> None:
    diagnoser = Diagnoser(registry.default())
    diagnoser.source("one.pcapng")
    for item in both(UNIX, UNIX_DAEMON, before=MS):
        diagnoser.add(item)
    assert diagnoser._pass is not None  # the state is what is tested
    assert diagnoser._pass.recording.copies == {UNIX.id}


def test_similar_clients_are_not_copies() -> None:
    """Clients that do the same in turn, and one that does it while others wait."""
    talk = Talk()
    for number in range(20):
        for conn in range(1, 5):
            at = number * SECOND + conn * 20 * MS
            talk.call(
                "domain_get_info",
                domain(f"vm{number}"),
                at=at,
                takes=(conn * 7 + number) % 5 * 5 * MS,
                conn=conn,
            )
    diagnoser = Diagnoser(registry.default())
    diagnoser.source("one.pcapng")
    for item in talk:
        diagnoser.add(item)
    assert diagnoser._pass is not None
    assert diagnoser._pass.recording.copies == set()


def test_calls_that_wait_for_their_other_end_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(both_ends, "_MAX_CALLS", 100)
    diagnoser = Diagnoser(registry.default())
    for name in ("one.pcap", "two.pcap"):
        diagnoser.source(name)
        talk = Talk()
        for number in range(1_000):
            talk.call("domain_get_info", domain("a" * (number % 50)), at=number, takes=MS, conn=number % 10)
        for item in talk:
            diagnoser.add(item)
    known = diagnoser._both_ends
    assert len(known._calls) <= 100
    assert max(map(len, known._calls.values())) <= 4
    diagnoser.finish()
