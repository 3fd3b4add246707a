"""Windows of messages with known figures; exact statistics of the same messages are the judge."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libvirt_proto import open as open_capture
from libvirt_proto import registry
from libvirt_proto.diagnose.diagnoser import Diagnoser
from libvirt_proto.diagnose.interim import InterimFindings
from libvirt_proto.events import Captured, Closed, Connection
from libvirt_proto.figures import window as window_module
from libvirt_proto.figures.collector import latency
from libvirt_proto.figures.window import OTHERS, ProcedureRow, Snapshot, Window
from tests.support.conversations import MS, SECOND, Talk, domain
from tests.support.frames import captured, frame, text, word

START = 1_700_000_000 * SECOND


def fed(items: Iterable[Captured | Closed], *, longest: int = 60) -> Window:
    made = Window(registry.default(), longest=longest)
    for item in items:
        made.add(item)
    return made


def procedure(snapshot: Snapshot, name: str) -> ProcedureRow:
    (row,) = [row for row in snapshot.procedures if row.name == name]
    return row


@pytest.mark.parametrize("name", ["tour.pcap", "stream-events-keepalive.pcap", "strace-yy-virt-admin.txt"])
def test_everything_agrees_with_exact_statistics(captures: Path, name: str) -> None:
    made = Window(registry.default())
    with open_capture(captures / name) as capture:
        exact = capture.statistics()
        capture.measure(made)
    found = made.snapshot(None)
    assert (found.calls, found.errors) == (exact.totals.calls + exact.totals.events, exact.totals.errors)
    assert (found.messages, found.all_messages) == (exact.totals.messages, exact.totals.messages)
    assert found.connections == found.all_connections == exact.totals.connections
    keepalive = sum(28 for _ in range(exact.totals.pings + exact.totals.pongs))
    assert found.bytes == exact.totals.bytes - keepalive
    for row in exact.procedures:
        mine = procedure(found, f"{row.program}.{row.procedure}".removeprefix("remote."))
        assert (mine.calls, mine.errors, mine.bytes_c2s, mine.bytes_s2c) == (
            row.calls,
            row.errors,
            row.bytes_c2s,
            row.bytes_s2c,
        )
        assert row.latency is not None
        assert mine.p50_ns == pytest.approx(row.latency.p50_ns, rel=0.02)
        assert mine.p99_ns == pytest.approx(row.latency.p99_ns, rel=0.02)


@given(st.lists(st.integers(0, 2**50), min_size=1))
def test_percentiles_are_within_two_percent(latencies: list[int]) -> None:
    talk = Talk()
    for number, ns in enumerate(latencies):
        talk.call("connect_get_lib_version", at=START + number * 2**51, takes=ns)
    (row,) = fed(talk, longest=1).snapshot(None).procedures
    exact = latency(array("q", latencies))
    assert row.p50_ns == pytest.approx(exact.p50_ns, rel=0.02, abs=1)
    assert row.p99_ns == pytest.approx(exact.p99_ns, rel=0.02, abs=1)


def test_window_has_the_last_seconds_only() -> None:
    talk = Talk()
    for second in range(20):
        talk.call("connect_get_lib_version", at=START + second * SECOND)
        if second < 5:
            talk.call("node_get_info", at=START + second * SECOND + 2 * MS, error=b"no")
    made = fed(talk)
    last = made.snapshot(10)
    assert [row.name for row in last.procedures] == ["connect_get_lib_version"]
    assert (last.calls, last.errors) == (10, 0)
    assert last.seconds == pytest.approx(9 + 0.001)
    everything = made.snapshot(None)
    assert (everything.calls, everything.errors) == (25, 5)
    assert procedure(everything, "node_get_info").errors == 5
    # Time passes without messages.
    later = made.snapshot(10, START + 25 * SECOND)
    assert (later.calls, later.seconds) == (4, 9.0)
    assert made.snapshot(10, START + 100 * SECOND).procedures == []
    assert made.snapshot(None, START + 100 * SECOND).calls == 25


def test_begins_with_the_first_message() -> None:
    talk = Talk()
    for number in range(100):
        talk.call("connect_get_lib_version", at=START + number * 10 * MS)
    snapshot = fed(talk).snapshot(10, START + 2 * SECOND)
    assert (snapshot.calls, snapshot.seconds) == (100, 2.0)


def test_figures_stay_when_their_seconds_leave_the_longest_window() -> None:
    talk = Talk()
    for second in range(200):
        talk.call("connect_get_lib_version", at=START + second * SECOND, takes=3 * MS, conn=1 + second // 50)
    snapshot = fed(talk).snapshot(None)
    assert snapshot.calls == procedure(snapshot, "connect_get_lib_version").calls == 200
    assert procedure(snapshot, "connect_get_lib_version").p50_ns == pytest.approx(3 * MS, rel=0.02)
    (client,) = snapshot.clients
    assert (client.name, client.connections, client.calls) == ("192.0.2.1", 4, 200)
    assert len(snapshot.history) == 60
    assert set(snapshot.history) == {1}


def test_window_counts_connections_that_began_before_it() -> None:
    talk = Talk()
    for second in range(200):
        talk.call("connect_get_lib_version", at=START + second * SECOND, conn=1 + second % 2)
    snapshot = fed(talk).snapshot(10)
    assert (snapshot.connections, snapshot.clients[0].connections) == (2, 2)


def test_calls_in_flight_with_their_objects_the_oldest_first() -> None:
    talk = Talk()
    talk.call("domain_create", domain("vm1"), at=START, takes=None)
    talk.call("domain_destroy", domain("vm2"), at=START + SECOND, takes=None, conn=2)
    talk.call("domain_get_info", domain("vm3"), at=START + SECOND, takes=MS, conn=2)
    snapshot = fed(talk).snapshot(10, START + 5 * SECOND)
    waiting = [(call.procedure, call.object, call.client, call.waited_ns) for call in snapshot.waiting]
    assert waiting == [
        ("domain_create", "vm1", "192.0.2.1", 5 * SECOND),
        ("domain_destroy", "vm2", "192.0.2.1", 4 * SECOND),
    ]
    assert (snapshot.in_flight, snapshot.oldest_ns) == (2, 5 * SECOND)
    assert procedure(snapshot, "domain_create").in_flight == 1
    assert procedure(snapshot, "domain_get_info").in_flight == 0
    assert snapshot.clients[0].in_flight == 2
    # They stay when nothing else happens, and in windows without their messages.
    assert procedure(fed(talk).snapshot(1, START + 90 * SECOND), "domain_create").oldest_ns == 90 * SECOND


def test_closed_connection_leaves_its_calls_unanswered() -> None:
    talk = Talk()
    talk.call("domain_create", domain("vm1"), at=START, takes=None)
    made = fed(talk)
    made.add(Closed(Connection(1, "192.0.2.1:40001", "192.0.2.2:16509"), START + SECOND))
    snapshot = made.snapshot(10)
    assert snapshot.in_flight == 0
    assert procedure(snapshot, "domain_create").unanswered == snapshot.unanswered == 1


def test_both_ends_of_a_connection_count_once_as_the_client() -> None:
    """A trace sees the calls of a local client at both ends; those to another host at one."""
    client = Connection(1, "client@virsh[7]:0x55aa", "server", "probe", side="client")
    daemon = Connection(2, "client", "server@libvirtd[1]:0x66bb", "probe", side="server")
    remote = Connection(3, "client@virsh[8]:0x77cc", "192.0.2.9:16509", "probe", side="client")
    talk = Talk()
    for number in range(10):
        at = START + number * 100 * MS
        talk.call("connect_get_lib_version", at=at, takes=5 * MS, conn=client)
        talk.call("connect_get_lib_version", at=at + MS, takes=3 * MS, conn=daemon)
    for number in range(4):
        talk.call("node_get_info", at=START + number * 100 * MS, conn=remote)
    # The daemon has not read this one.
    talk.call("domain_create", domain("vm1"), at=START + 2 * SECOND, takes=None, conn=client)
    snapshot = fed(talk).snapshot(10)
    assert procedure(snapshot, "connect_get_lib_version").calls == 10
    assert procedure(snapshot, "connect_get_lib_version").p50_ns == pytest.approx(3 * MS, rel=0.02)
    (row,) = snapshot.clients
    assert (row.name, row.connections) == ("virsh", 2)
    assert [(call.procedure, call.client) for call in snapshot.waiting] == [("domain_create", "virsh")]


@pytest.mark.parametrize(
    ("client", "server", "name"),
    [
        ("192.0.2.7:40508", "192.0.2.2:16509", "192.0.2.7"),
        ("[2001:db8::1]:40508", "192.0.2.2:16509", "[2001:db8::1]"),
        ("client@nova-compute[77]:0x55d3", "server", "nova-compute"),
        ("client@a[1]:0x1[2]:0x55d3", "server", "a[1]:0x1"),
        ("unix:pid 19806", "/run/libvirt/libvirt-sock", "unix:pid 19806"),
        ("client", "server@libvirtd[5]:0x55d3", "client of libvirtd"),
        ("client@0x55d3b4", "server", "client"),
        ("", "", "client"),
    ],
)
def test_names_of_clients(client: str, server: str, name: str) -> None:
    talk = Talk()
    talk.call("connect_get_lib_version", at=START, conn=Connection(1, client, server))
    assert [row.name for row in fed(talk).snapshot(None).clients] == [name]


def test_clients_with_what_they_call_most() -> None:
    talk = Talk()
    for number in range(6):
        talk.call("domain_get_info", domain("vm1"), at=START + number * MS * 10)
    for number in range(2):
        talk.call("node_get_info", at=START + number * MS * 10 + MS)
    (client,) = fed(talk).snapshot(None).clients
    assert client.most == [("domain_get_info", 6), ("node_get_info", 2)]


def test_without_times_there_are_totals_only() -> None:
    messages = [
        captured(frame(proc=59, serial=1), 1, None),
        captured(frame(text(b"host"), proc=59, serial=1, type_=1), 2, None),
    ]
    snapshot = fed(messages).snapshot(10)
    assert (snapshot.calls, snapshot.seconds, snapshot.time_ns, snapshot.history) == (1, None, None, [])
    assert procedure(snapshot, "connect_get_hostname").p50_ns is None


def test_clock_that_is_set_back_begins_a_new_window() -> None:
    talk = Talk()
    made = fed([])
    talk.call("connect_get_lib_version", at=START + 10_000 * SECOND)
    talk.call("node_get_info", at=START, conn=2)
    for _, item in talk.items:
        made.add(item)
    assert [row.name for row in made.snapshot(10, START + SECOND).procedures] == ["node_get_info"]
    assert made.snapshot(None, START + SECOND).calls == 2


def test_clock_of_milliseconds_gives_no_more_digits() -> None:
    talk = Talk()
    talk.call("connect_get_lib_version", at=START, takes=77 * MS)
    snapshot = fed(talk).snapshot(None)
    assert snapshot.resolution_ns == MS
    assert snapshot.procedures[0].p99_ns in range(75 * MS, 80 * MS, MS)


def test_memory_is_bounded() -> None:
    """Whoever calls any number of procedures from any number of hosts fills the tables, and no more."""
    made = Window(registry.default())
    total = 6_000
    for number in range(total):
        connection = Connection(number + 1, f"192.0.{number % 250}.{number // 250}:1", "192.0.2.2:16509")
        message = frame(word(number), proc=number + 1, serial=1)
        made.add(captured(message, number + 1, START + number * SECOND // 40, "c2s", connection))
    snapshot = made.snapshot(None)
    assert snapshot.calls == total
    assert len(snapshot.procedures) <= window_module.MAX_PROCEDURES + 1
    assert len(snapshot.clients) <= window_module.MAX_CLIENTS + 1
    assert procedure(snapshot, OTHERS).calls == total - window_module.MAX_PROCEDURES
    assert sum(client.calls for client in snapshot.clients) == total
    assert len(snapshot.waiting) == window_module.LISTED
    assert snapshot.in_flight == total


def test_slices_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window_module, "MAX_ENTRIES", 100)
    talk = Talk()
    for number in range(3_000):
        talk.call("connect_get_lib_version", at=START + number * 10 * MS, takes=1 << number % 30)
    made = fed(talk)
    assert made._entries <= 100 + 31
    assert made.snapshot(None).calls == 3_000
    assert 0 < made.snapshot(60).calls < 3_000


@pytest.mark.parametrize("name", ["read-only/network.pcap", "still-waiting/network.pcap"])
def test_findings_are_those_of_a_diagnosis(root: Path, name: str) -> None:
    diagnoser = Diagnoser(registry.default())
    with open_capture(root / "tests/diagnose/recordings" / name) as capture:
        expected = capture.diagnose().findings
        diagnoser.source(capture.name)
        made = Window(registry.default(), diagnoser)
        capture.measure(made)
    assert made.findings() == expected
    assert expected


# pytest's own threads: the command has none.
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_interim_findings_leave_the_diagnosis_as_it_was(root: Path) -> None:
    diagnoser = Diagnoser(registry.default())
    made = Window(registry.default(), diagnoser)
    interim = InterimFindings(made.findings)
    with open_capture(root / "tests/diagnose/recordings/read-only/network.pcap") as capture:
        expected = capture.diagnose().findings
        diagnoser.source(capture.name)
        interim.examine()
        interim.collect(wait=True)
        assert interim.findings == []
        capture.measure(made)
    for _ in range(2):
        interim.examine()
        interim.examine()  # which one is enough
        interim.collect(wait=True)
        assert interim.findings == expected
    interim.examine()
    interim.close()
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
    assert made.findings() == expected
