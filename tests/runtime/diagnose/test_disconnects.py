"""Connections that ended without their client's wish, the reasons that libvirt states, and storms of
connections."""

from __future__ import annotations

import io

import pytest

from libvirt_proto import open as open_capture
from libvirt_proto.diagnose.findings import Finding
from libvirt_proto.events import Closed, Notice, NoticeCode
from tests.support.frames import frame
from tests.support.recordings import (
    CONNECT_CLOSE,
    GET_STATE,
    SERVER,
    Talk,
    findings,
    line,
    summaries,
)

DOWNLOAD, UPLOAD = 209, 208  # storage_vol_download, storage_vol_upload
OURS = ("DISCONNECTED", "RECONNECT_STORM", "CONNECTION_LOST")


# Idle connections


def test_idle_connection_that_the_daemon_closes() -> None:
    talk = Talk()
    (found,) = findings([*talk.opened(), *talk.answered(1), talk.closed(601, "s2c")], *OURS)
    assert (found.rule, found.severity) == ("DISCONNECTED", "warning")
    assert found.summary == (
        f"The daemon closed the connection 192.0.2.7:40000-{SERVER} while idle, 600 s after the last message."
    )


def test_reset_may_come_from_a_firewall() -> None:
    talk = Talk()
    (found,) = findings([*talk.opened(), talk.closed(601, "s2c", reset=True)], *OURS)
    assert found.summary.startswith("The daemon, or a firewall in its name, reset the connection")


@pytest.mark.parametrize(("idle", "rule"), [(3600, "DISCONNECTED"), (1, "CONNECTION_LOST")])
def test_call_that_is_reset_at_once_after_a_long_pause_found_the_connection_ended(
    idle: float, rule: str
) -> None:
    talk = Talk()
    items = [*talk.opened(), talk.call(idle), talk.closed(idle + 0.05, "s2c", reset=True)]
    assert [each.rule for each in findings(items, *OURS)] == [rule]


def test_call_that_the_daemon_closes_later_was_lost() -> None:
    talk = Talk()
    items = [*talk.opened(), talk.call(3600), talk.closed(3605, "s2c", reset=True)]
    assert [each.rule for each in findings(items, *OURS)] == ["CONNECTION_LOST"]


def test_call_after_the_socket_was_closed() -> None:
    """In a client's log: its event loop saw the end, and its next call failed."""
    talk = Talk(transport="log", side="client")
    items = [
        *talk.opened(),
        line("Cannot recv data: Connection reset by peer", 10, number=5),
        talk.event("socket_dispose", 10.001),
        talk.call(70),
        talk.event("client_dispose", 80),
        talk.closed(80),
    ]
    (found,) = findings(items, *OURS)
    assert found.certainty == "certain"
    assert "had ended while idle for 60.0 s" in found.summary
    assert found.evidence[1].text == 'the log has "Cannot recv data: Connection reset by peer"'


@pytest.mark.parametrize(
    "close",
    [
        pytest.param([("c2s", False)], id="by the client"),
        pytest.param([("c2s", True)], id="reset by the client"),
        pytest.param([(None, False)], id="by nobody known"),
    ],
)
def test_client_may_close_an_idle_connection(close: list[tuple[None, bool]]) -> None:
    talk = Talk()
    ((first, reset),) = close
    assert findings([*talk.opened(), talk.closed(601, first, reset=reset)], *OURS) == []


def test_connection_refused_during_its_setup_is_the_refusal_of_another_rule() -> None:
    talk = Talk()
    call = talk.call(0)
    items = [call, talk.reply(0.1, call, failed=True), talk.closed(5, "s2c")]
    assert findings(items, *OURS) == []


def test_encrypted_connection_is_not_idle() -> None:
    talk = Talk()
    notice = Notice(NoticeCode.ENCRYPTED, "encrypted", talk.connection, "c2s", 1, "note", b"", "SASL")
    assert findings([*talk.opened(), notice, talk.closed(601, "s2c")], *OURS) == []


def test_network_that_breaks_an_idle_connection_of_the_daemon() -> None:
    talk = Talk(transport="log", side="server")
    items = [
        *talk.opened(),
        line("Cannot recv data: Connection timed out", 900),
        talk.event("server_client_dispose", 900.001),
        talk.closed(900.001),
    ]
    (found,) = findings(items, *OURS)
    assert found.summary.startswith("The network broke the connection")
    assert found.summary.endswith("Connection timed out.")


# Streams


@pytest.mark.parametrize(("first", "who"), [("s2c", "The daemon"), ("c2s", "The client")])
def test_connection_that_ends_in_a_stream(first: None, who: str) -> None:
    talk = Talk()
    call = talk.call(1, DOWNLOAD)
    header = call.message.header
    data = frame(b"x" * 1000, proc=DOWNLOAD, type_=3, serial=header.serial, status=2)
    items = [
        *talk.opened(),
        call,
        talk.reply(1.1, call),
        talk._message(data, 1.2, "s2c"),
        talk.closed(2, first),
    ]
    (found,) = findings(items, "DISCONNECTED")
    assert found.summary.startswith(f"{who} ended the connection")
    assert found.summary.endswith(
        "in the middle of the stream of storage_vol_download, after 1000 B of data."
    )


def test_message_after_the_end_of_a_stream_opens_none() -> None:
    """The client finishes an upload that the daemon has ended with an error."""
    talk = Talk()
    call = talk.call(1, UPLOAD)
    serial = call.message.header.serial
    items = [
        *talk.opened(),
        call,
        talk.reply(1.1, call),
        talk._message(frame(b"x" * 20, proc=UPLOAD, type_=3, serial=serial, status=2), 1.2, "c2s"),
        talk._message(frame(proc=UPLOAD, type_=3, serial=serial, status=1), 1.3, "s2c"),
        talk._message(frame(proc=UPLOAD, type_=3, serial=serial, status=0), 1.3, "c2s"),
        talk.closed(2, "c2s"),
    ]
    assert findings(items, "DISCONNECTED") == []


# Storms


def storm(count: int, every: float, lasts: float = 0.01, host: str = "192.0.2.7") -> list[object]:
    items: list[tuple[float, object]] = []
    for number in range(count):
        talk = Talk(number + 1, f"{host}:{20000 + number}")
        start = number * every
        messages = [*talk.opened(start), *talk.answered(start + lasts / 2, GET_STATE)]
        close = talk.call(start + lasts, CONNECT_CLOSE)
        items += [(each.time_ns or 0, each) for each in (*messages, close, talk.reply(start + lasts, close))]
        items.append((int((start + lasts) * 1e9), talk.closed(start + lasts, "c2s")))
    return [each for _, each in sorted(items, key=lambda pair: pair[0])]


def test_client_that_connects_for_each_call() -> None:
    (found,) = findings(storm(100, 0.5), *OURS)  # type: ignore[arg-type]
    assert (found.rule, found.severity) == ("RECONNECT_STORM", "warning")
    assert found.summary == (
        "192.0.2.7 connected 100 times in 49.5 s, each time for domain_get_state, instead of keeping one"
        " connection open."
    )


@pytest.mark.parametrize(
    ("count", "every", "lasts"),
    [(39, 0.5, 0.01), (100, 2, 0.01), (100, 0.05, 3), (60, 0.005, 0.004), (100, 0.1, 11)],
    ids=["few", "seldom", "in parallel", "for a moment", "long"],
)
def test_other_clients_are_no_storm(count: int, every: float, lasts: float) -> None:
    assert findings(storm(count, every, lasts), *OURS) == []  # type: ignore[arg-type]


# Logs and errors without records


def pasted(text: str) -> list[Finding]:
    with open_capture(io.BytesIO(text.encode() + b"\n"), name="standard input") as capture:
        return capture.diagnose().findings


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("error: Cannot recv data: Input/output error", "The daemon closed the connection while"),
        (
            "error: failed to connect to the hypervisor\nerror: Cannot recv data: Connection reset by peer",
            "The connection was reset",
        ),
        (
            "error: End of file while reading data: Input/output error",
            "The daemon closed the connection while",
        ),
        ("libvirt.libvirtError: Cannot write data: Broken pipe", "The connection was reset"),
        ("libvirt.libvirtError: internal error: client socket is closed", "The client made a call on a"),
        (
            "error: Disconnected from qemu:///system due to end of file",
            "The daemon closed the connection while",
        ),
        (
            "error: Disconnected from qemu+tcp://host/system due to I/O error",
            "The daemon closed the connection while",
        ),
        (
            "error: Cannot recv data: Host key verification failed.: Connection reset by peer",
            "ssh does not know the key",
        ),
        (
            "error: Cannot recv data: Permission denied, please try again.\r",
            "ssh could not log in",
        ),
        (
            "error: Cannot recv data: ssh: Could not resolve hostname kvm7: Name or service not known",
            "The name of the daemon's host cannot be resolved",
        ),
        (
            "error: End of file while reading data: nc: unix connect failed: No such file or directory:"
            " Input/output error",
            "The daemon's socket does not exist",
        ),
        (
            "error: End of file while reading data: sh: 1: nc: not found: Input/output error",
            "The tunnel's helper on the daemon's host is missing",
        ),
        (
            "error: Cannot recv data: The TLS connection was non-properly terminated.",
            "The other side ended the TLS connection",
        ),
        (
            "error: Cannot recv data: kex_exchange_identification: Connection closed by remote host:"
            " Connection reset by peer",
            "sshd on the daemon's host closed the connection",
        ),
        ("error: Cannot recv data: No route to host", "The connection ended because the network"),
    ],
)
def test_pasted_error_has_its_meaning(text: str, start: str) -> None:
    (found,) = pasted(text)
    assert found.rule == "DISCONNECTED"
    assert found.summary.startswith(start)
    assert found.advice


@pytest.mark.parametrize(
    "text",
    ["error: Cannot recv data: Connection reset by peer", "error: Cannot recv data: Input/output error"],
)
def test_pasted_error_alone_is_only_possible_and_names_the_next_command(text: str) -> None:
    (found,) = pasted(text)
    assert found.certainty == "possible"
    assert any("journalctl" in step for step in found.advice)
    assert any("tcpdump" in step for step in found.advice)


HEADS = [
    "Nov 30 10:11:12 host libvirtd[123]: ",
    "Nov 30 10:11:12 host virtqemud[123]: ",
    "2026-11-30T10:11:12.123456+01:00 host libvirtd[123]: ",
    "<29>Nov 30 10:11:12 libvirtd[123]: ",
    "Nov 30 10:11:12 host libvirtd[123]: 2026-11-30 09:11:12.123+0000: 123: error :"
    " virNetSocketReadWire:1793 : ",
    "2026-11-30 09:11:12.123+0000: 123: error : virNetSocketReadWire:1793 : ",
    "> 2016-05-11 11:03:13.123+0000: 4911: error : virNetSocketReadWire:1614 : ",
]


@pytest.mark.parametrize("head", HEADS)
def test_client_that_leaves_is_harmless_for_a_daemon(head: str) -> None:
    """The most frequent line of libvirt in a journal."""
    (found,) = pasted(f"{head}End of file while reading data: Input/output error\n" * 3)
    assert (found.severity, found.certainty) == ("note", "certain")
    assert found.summary.startswith("A client ended its connection without closing it")
    assert found.summary.endswith("(3 times).")
    assert found.evidence[0].lines == (1, 2, 3)


def test_clients_that_leave_are_not_reported_in_a_whole_log() -> None:
    head = "2026-11-30 09:11:12.123+0000: 123: "
    text = (
        f"{head}info : libvirt version: 9.0.0\n"
        f"{head}error : virNetSocketReadWire:1793 : End of file while reading data: Input/output error\n"
    )
    assert pasted(text) == []


def test_failed_calls_after_the_end_are_evidence_of_it() -> None:
    text = (
        "error: Cannot recv data: Connection reset by peer\n"
        + "internal error: client socket is closed\n" * 2
    )
    (found,) = pasted(text)
    assert found.summary.startswith("The connection was reset")
    assert [evidence.count for evidence in found.evidence] == [1, 2]


def test_keepalive_timeout_explains_the_end() -> None:
    lines = (
        "error: Disconnected from qemu:///system due to keepalive timeout",
        "error: Cannot recv data: Input/output error",
    )
    (found,) = pasted("\n".join(lines))
    assert found.rule == "KEEPALIVE_TIMEOUT"


def test_lines_of_a_log_with_records_belong_to_its_connections() -> None:
    """A client left between two calls: that is its right."""
    talk = Talk(transport="log", side="server")
    items = [
        *talk.opened(),
        line("End of file while reading data: Input/output error", 10),
        talk.event("server_client_dispose", 10.001),
        talk.closed(10.001),
    ]
    assert summaries(items, *OURS) == []


def test_state_is_bounded_by_hostile_lines() -> None:
    items = [line(f"Cannot recv data: {number}", number) for number in range(3000)]
    found = findings(items, *OURS)
    assert len(found) == 1
    assert sum(evidence.count for evidence in found[0].evidence) <= 3000


def test_closed_without_messages_is_nothing() -> None:
    talk = Talk()
    assert findings([Closed(talk.connection, None, "s2c", True)], *OURS) == []
