"""Calls without a reply, told apart by what happened to their connections."""

from __future__ import annotations

import time

import pytest

from libvirt_proto import registry
from libvirt_proto.diagnose.diagnoser import Diagnosed, Diagnoser
from libvirt_proto.events import Captured, Notice, NoticeCode
from tests.support.recordings import (
    CONNECT_CLOSE,
    GET_INFO,
    GET_STATE,
    MIGRATE,
    SECOND,
    SERVER,
    Talk,
    findings,
    line,
    summaries,
)

OURS = ("CONNECTION_LOST", "DAEMON_RESTARTED", "STILL_WAITING", "REPLY_NOT_CAPTURED")


def lost_bytes(talk: Talk, time: float | None) -> Notice:
    time_ns = None if time is None else round(time * SECOND)
    return Notice(NoticeCode.LOST_BYTES, "60 bytes are lost", talk.connection, "s2c", time_ns)


# CONNECTION_LOST


def test_names_the_daemon_that_closed_the_connection_and_the_calls() -> None:
    talk = Talk()
    (found,) = findings([*talk.opened(), talk.call(1), talk.call(2), talk.closed(4, "s2c")], *OURS)
    assert found.rule == "CONNECTION_LOST"
    assert found.severity == "error"
    assert found.summary == (
        f"The daemon closed the connection 192.0.2.7:40000-{SERVER} while 2 calls waited for replies"
        " (domain_get_info and others), for up to 3.00 s."
    )
    assert found.evidence[0].messages == (1007, 1008)
    assert found.evidence[0].command == "libvirt-proto decode --message 1007-1008 one.pcap"


def test_client_that_exits_in_a_call_is_told_apart() -> None:
    talk = Talk()
    (found,) = findings([*talk.opened(), talk.call(1), talk.closed(2, "c2s")], *OURS)
    assert found.severity == "warning"
    assert found.summary.startswith("A client ended the connection 192.0.2.7:40000")
    assert found.summary.endswith("it exited or was killed.")


def test_unknown_side_is_not_named() -> None:
    talk = Talk()
    (found,) = findings([*talk.opened(), talk.call(1), talk.closed(1.5)], *OURS)
    assert found.certainty == "likely"
    assert found.summary.startswith("The connection 192.0.2.7:40000")


def test_connections_of_one_daemon_are_one_finding() -> None:
    talks = [Talk(number, f"192.0.2.7:{40000 + number}") for number in range(1, 40)]
    items = [item for talk in talks for item in (*talk.opened(), talk.call(talk.connection.id))]
    items += [talk.closed(100 + talk.connection.id * 2, "s2c") for talk in talks]  # type: ignore[list-item]
    (found,) = findings(items, *OURS)
    assert "39 connections" in found.summary
    assert found.evidence[0].count == 39


@pytest.mark.parametrize("first", ["c2s", "s2c", None])
@pytest.mark.parametrize("answered", [True, False])
def test_connection_that_its_client_closes_is_no_finding(first: None, answered: bool) -> None:
    talk = Talk()
    close = talk.call(5, CONNECT_CLOSE)
    replies = [talk.reply(5.001, close)] if answered else []
    assert findings([*talk.opened(), *talk.answered(1), close, *replies, talk.closed(6, first)]) == []


@pytest.mark.parametrize("first", ["c2s", None])
def test_client_that_exits_between_calls_is_no_finding(first: None) -> None:
    talk = Talk()
    assert findings([*talk.opened(), *talk.answered(1), talk.closed(6, first)], *OURS, "DISCONNECTED") == []


def test_reply_that_the_capture_may_have_lost_is_no_lost_connection() -> None:
    talk = Talk()
    items = [*talk.opened(), talk.call(1), lost_bytes(talk, 1.5), talk.closed(2, "c2s")]
    assert findings(items, *OURS) == []


def test_loss_before_the_call_does_not_matter() -> None:
    talk = Talk()
    items = [*talk.opened(), lost_bytes(talk, 0.5), talk.call(1), talk.closed(2, "s2c")]
    assert [each.rule for each in findings(items, *OURS)] == ["CONNECTION_LOST"]


def test_descriptors_over_tcp_end_the_connection_of_a_client_that_knows_why() -> None:
    talk = Talk()
    assert findings([*talk.opened(), talk.call(1, type_=4), talk.closed(1.001, "c2s")], *OURS) == []


@pytest.mark.parametrize(
    ("side", "text", "start"),
    [
        ("server", "End of file while reading data: Input/output error", "A client ended"),
        ("client", "End of file while reading data: Input/output error", "The daemon closed"),
        ("client", "Cannot recv data: Connection reset by peer", "The daemon closed"),
    ],
)
def test_line_of_the_log_shows_who_ended_the_connection(side: str, text: str, start: str) -> None:
    talk = Talk(transport="log", side=side)
    dispose = "server_client_dispose" if side == "server" else "client_dispose"
    items = [
        *talk.opened(),
        talk.call(1),
        line(text, 2, number=7),
        talk.event("socket_dispose", 2.001),
        talk.event(dispose, 2.002),
        talk.closed(2.002),
    ]
    (found,) = findings(items, *OURS)
    assert found.summary.startswith(start)
    assert any(evidence.lines == (7,) for evidence in found.evidence)


def test_connection_without_an_error_in_the_daemon_s_log_was_closed_by_the_daemon() -> None:
    talk = Talk(transport="log", side="server")
    items = [
        *talk.opened(),
        talk.call(1),
        line("End of file while reading data: Input/output error", 2, thread="99"),
        talk.event("server_client_dispose", 2.001),
        talk.closed(2.001),
    ]
    assert findings(items, *OURS)[0].summary.startswith("The daemon closed")


# DAEMON_RESTARTED


def clients(count: int) -> list[Talk]:
    return [Talk(number, f"192.0.2.7:{40000 + number}") for number in range(1, count + 1)]


def test_connections_that_the_daemon_closes_at_once_are_its_end() -> None:
    talks = clients(3)
    again = Talk(9, "192.0.2.7:50000")
    items = [item for talk in talks for item in talk.opened()]
    items += [talks[0].call(10)]
    items += [talk.closed(12 + talk.connection.id / 1000, "s2c") for talk in talks]  # type: ignore[list-item]
    items += again.opened(14)
    found = findings(items, *OURS, "DISCONNECTED")
    assert [each.rule for each in found] == ["DAEMON_RESTARTED"]
    assert found[0].summary == (
        f"The daemon {SERVER} ended: it closed all its 3 connections at once, with 1 call in flight, and"
        " accepted new ones 2.00 s later."
    )
    assert found[0].certainty == "likely"


def test_daemon_with_a_connection_that_continues_did_not_end() -> None:
    talks = clients(3)
    items = [item for talk in talks for item in talk.opened()]
    items += [talk.closed(12, "s2c") for talk in talks[:2]]  # type: ignore[list-item]
    items += talks[2].answered(13)
    assert not summaries(items, "DAEMON_RESTARTED")


@pytest.mark.parametrize("first", ["c2s", None])
def test_clients_that_exit_together_are_no_restart(first: None) -> None:
    talks = clients(3)
    items = [item for talk in talks for item in talk.opened()]
    items += [talk.closed(12, first) for talk in talks]  # type: ignore[list-item]
    items += Talk(9, "192.0.2.7:50000").opened(14)
    assert not summaries(items, "DAEMON_RESTARTED")


def test_refused_connection_shows_the_end_of_the_daemon() -> None:
    talk, refused = Talk(), Talk(2, "192.0.2.7:40001")
    items = [*talk.opened(), talk.call(1), talk.closed(2, "s2c"), refused.closed(3, "s2c", reset=True)]
    (found,) = findings(items, *OURS)
    assert found.rule == "DAEMON_RESTARTED"
    assert "its connection, with 1 call in flight" in found.summary


def test_start_in_the_log_ends_the_connections_before() -> None:
    talk = Talk(transport="log", side="server")
    items = [
        line("libvirt version: 9.0.0, package: 9.0.0-4", 0, number=1),
        *talk.opened(1),
        talk.call(2),
        line("libvirt version: 9.0.0, package: 9.0.0-4", 20, number=50),
        *Talk(2, "192.0.2.7:40001", transport="log", side="server").opened(40),
    ]
    (found,) = findings(items, *OURS)
    assert found.certainty == "certain"
    assert found.summary == (
        "The daemon ended and was started again while 1 connection was open, with 1 call in flight."
    )
    assert found.evidence[0].lines == (50,)


def test_start_of_another_daemon_that_writes_to_the_same_log_is_no_restart() -> None:
    talk = Talk(transport="log", side="server")
    items = [*talk.opened(1), line("libvirt version: 9.0.0", 20), *talk.answered(21)]
    assert findings(items, *OURS) == []


def test_start_after_all_clients_left_is_no_finding() -> None:
    talk = Talk(transport="log", side="server")
    close = talk.call(2, CONNECT_CLOSE)
    items = [
        *talk.opened(1),
        close,
        talk.reply(2.001, close),
        talk.event("server_client_dispose", 2.002),
        talk.closed(2.002),
        line("libvirt version: 9.0.0", 3),
    ]
    assert findings(items, *OURS) == []


def test_clients_that_start_in_one_log_are_no_restart() -> None:
    talk = Talk(transport="log", side="client")
    assert findings([*talk.opened(1), talk.call(2), line("libvirt version: 9.0.0", 3)], *OURS) == []


def test_addresses_of_one_daemon_end_together() -> None:
    """A live trace sees the daemon's TCP port and its unix socket."""
    talks = [
        Talk(1, transport="probe", side="server"),
        Talk(2, "192.0.2.8:40000", transport="probe", side="server"),
        Talk(3, "client", "server@libvirtd[7]:0x1", transport="probe", side="server"),
        Talk(4, "client", "server@libvirtd[7]:0x2", transport="probe", side="server"),
    ]
    items: list[Diagnosed] = [talks[0].event("socket_new", 0)]
    items += [item for talk in talks for item in (*talk.opened(), talk.call(9))]
    items += [talk.closed(10 + talk.connection.id / 1000) for talk in talks]
    (found,) = findings(items, *OURS)
    assert found.summary == (
        "The daemon ended: it closed all its 4 connections at once, with 4 calls in flight."
    )


def test_recording_of_a_trace_does_not_show_who_ended_a_connection() -> None:
    """It has the sides of connections, but not the events of their ends."""
    talk = Talk(1, transport="probe", side="server")
    assert findings([*talk.opened(), *talk.answered(1), talk.closed(10)]) == []


def test_side_that_shows_who_closed_the_connection_counts() -> None:
    """A live trace sees both ends; the client's process ended, the daemon only closed its end."""
    daemon, client = Talk(1, transport="probe", side="server"), Talk(2, transport="probe", side="client")
    items = [
        daemon.event("socket_new", 0),
        *daemon.opened(),
        *client.opened(),
        client.call(1),
        daemon.call(1),
        client.closed(2),
        daemon.event("socket_dispose", 2.001),
        daemon.event("server_client_dispose", 3),
        daemon.closed(3),
    ]
    (found,) = findings(items, *OURS)
    assert found.severity == "warning"
    assert found.summary.startswith("A client ended the connection")


@pytest.mark.parametrize(
    ("text", "how"),
    [
        (
            "systemd[1]: libvirtd.service: Main process exited, code=dumped, status=11/SEGV",
            "libvirtd ended with status 11/SEGV (dumped)",
        ),
        (
            "systemd[1]: virtqemud.service: main process exited, code=killed, status=9/KILL",
            "virtqemud ended with status 9/KILL (killed)",
        ),
        (
            "kernel: libvirtd[2451]: segfault at 8 ip 00007f3d sp 00007f3c error 4 in libvirt.so.0.9000.0",
            "libvirtd crashed (segmentation fault)",
        ),
        (
            "kernel: rpc-libvirtd[2451]: segfault at 8 ip 00007f3d sp 00007f3c error 4",
            "The daemon crashed (segmentation fault)",
        ),
        (
            "kernel: Out of memory: Killed process 2451 (libvirtd) total-vm:1638400kB, anon-rss:1024kB",
            "libvirtd was killed because the host was out of memory",
        ),
    ],
)
def test_end_of_the_daemon_that_the_system_states(text: str, how: str) -> None:
    (found,) = findings([line(text, 5, number=3)], *OURS)
    assert (found.rule, found.certainty) == ("DAEMON_RESTARTED", "certain")
    assert found.summary == f"{how}: all its connections ended."
    assert found.evidence[0].lines == (3,)


def test_end_that_the_system_states_explains_the_errors_of_clients() -> None:
    items = [
        line("kernel: rpc-virtqemud[7]: segfault at 8 ip 0 sp 0 error 4", 5),
        line("systemd[1]: virtqemud.service: Main process exited, code=dumped, status=11/SEGV", 5.5),
        line("error: End of file while reading data: Input/output error", 5.1, thread=None),
    ]
    (found,) = findings(items)
    assert found.summary == (
        "virtqemud crashed (segmentation fault) and ended with status 11/SEGV (dumped): all its connections"
        " ended."
    )


def test_successful_end_of_the_daemon_is_no_finding() -> None:
    text = "systemd[1]: virtqemud.service: Main process exited, code=exited, status=0/SUCCESS"
    assert findings([line(text, 5)], *OURS) == []


# STILL_WAITING


def later(seconds: float) -> list[Captured]:
    """Traffic of another client."""
    return Talk(7, "192.0.2.8:40000").answered(seconds, GET_STATE)


@pytest.mark.parametrize(("waits", "found"), [(10.1, True), (9.9, False)])
def test_call_without_a_reply_at_the_end(waits: float, found: bool) -> None:
    talk = Talk()
    items = [*talk.opened(), *talk.answered(1), talk.call(5), *later(5 + waits - 0.001)]
    assert bool(summaries(items, *OURS)) is found


def test_states_how_long_the_call_waited_and_the_usual_time() -> None:
    talk = Talk()
    (found,) = findings([*talk.opened(), *talk.answered(1), talk.call(5), *later(47)], *OURS)
    assert found.rule == "STILL_WAITING"
    assert found.summary == (
        f"domain_get_info on 192.0.2.7:40000-{SERVER} had no reply after 42.0 s, when the recording ended."
    )
    assert found.evidence[0].text.endswith("the slowest other one took 1.00 ms: domain_get_info")


def test_slow_procedure_may_take_long() -> None:
    talk = Talk()
    slow = talk.answered(1, GET_INFO, 5)
    assert findings([*talk.opened(), *slow, talk.call(10), *later(55)], *OURS) == []


def test_migration_takes_as_long_as_it_takes() -> None:
    talk = Talk()
    assert findings([*talk.opened(), talk.call(1, MIGRATE), *later(500)], *OURS) == []


def test_messages_without_times_wait_for_no_time() -> None:
    talk = Talk()
    assert findings([talk.call(None), talk.call(None)], *OURS) == []


@pytest.mark.parametrize("live", [True, False])
def test_live_call_waits_until_the_trace_ends(live: bool) -> None:
    """Nothing else happens while the daemon hangs."""
    talk = Talk(transport="probe", side="client")
    diagnoser = Diagnoser(registry.default(), decode=None, rules=OURS, live=live)
    diagnoser.source("trace")
    for item in (*talk.opened(time.time() - 61), talk.call(time.time() - 60)):
        diagnoser.add(item)
    assert [each.rule for each in diagnoser.finish().findings] == ["STILL_WAITING"] * live


def test_call_that_both_sides_report_is_one() -> None:
    daemon, client = Talk(1, transport="probe", side="server"), Talk(2, transport="probe", side="client")
    items = [*daemon.opened(), *client.opened(), client.call(1), daemon.call(1), *later(60)]
    (found,) = findings(items, *OURS)
    assert found.summary.endswith("had no reply after 59.0 s, when the recording ended.")


# REPLY_NOT_CAPTURED


def test_reply_that_the_capture_lost() -> None:
    talk = Talk()
    items = [*talk.opened(), talk.call(1), lost_bytes(talk, 1.1), *talk.answered(2), *later(60)]
    (found,) = findings(items, *OURS)
    assert (found.rule, found.severity) == ("REPLY_NOT_CAPTURED", "note")
    assert found.evidence[0].messages == (1007,)


def test_call_that_others_overtake_without_a_loss_still_waits() -> None:
    talk = Talk()
    (found,) = findings([*talk.opened(), talk.call(1), *talk.answered(2), *later(60)], *OURS)
    assert found.rule == "STILL_WAITING"
