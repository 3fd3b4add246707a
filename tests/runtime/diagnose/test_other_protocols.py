"""Connections that do not speak libvirt's protocol, or not with TLS as the port expects."""

from __future__ import annotations

import pytest

from libvirt_proto.events import Connection, Notice, NoticeCode
from tests.support.recordings import SERVER, Talk, findings, line

OURS = ("PORT_SCAN", "WRONG_TLS", "OTHER_PROTOCOL")
TLS_PORT = "192.0.2.1:16514"


def stranger(
    number: int, protocol: str, server: str = SERVER, host: str = "192.0.2.9", transport: str = "tcp"
) -> Notice:
    code = NoticeCode.ENCRYPTED if protocol in ("TLS", "SASL") else NoticeCode.NOT_LIBVIRT
    connection = Connection(number, f"{host}:{30000 + number}", server, transport)
    return Notice(code, "what it is", connection, "c2s", number * 10**9, "note", b"", protocol)


# PORT_SCAN


@pytest.mark.parametrize(("count", "found"), [(3, True), (2, False)])
def test_connections_without_data(count: int, found: bool) -> None:
    got = findings([stranger(number, "") for number in range(1, count + 1)], *OURS)
    assert bool(got) is found
    if got:
        assert (got[0].rule, got[0].severity) == ("PORT_SCAN", "note")
        assert got[0].summary == (
            f"192.0.2.9 opened 3 connections to {SERVER} and sent nothing: a port scan or a health check, not"
            " a libvirt client."
        )
        assert (got[0].start_ns, got[0].end_ns) == (10**9, 3 * 10**9)


def test_hosts_are_counted_apart() -> None:
    assert findings([stranger(number, "", host=f"192.0.2.{number}") for number in range(1, 9)], *OURS) == []


def test_several_protocols_of_one_host_are_a_scan() -> None:
    (found,) = findings([stranger(1, ""), stranger(2, "HTTP"), stranger(3, "SSH")], *OURS)
    assert found.rule == "PORT_SCAN"
    assert "opened 3 connections" in found.summary
    assert "spoke HTTP and SSH or nothing: a port scan" in found.summary


@pytest.mark.parametrize("speaks", [False, True])
def test_connections_without_messages_in_a_log_of_the_daemon(speaks: bool) -> None:
    items = []
    for number in range(1, 5):
        talk = Talk(number, f"192.0.2.9:{number}", transport="log", side="server")
        items += [
            talk.event("server_client_new", number),
            *(talk.opened(number) if speaks else ()),
            line("End of file while reading data: Input/output error", number + 0.5),
            talk.event("keepalive_stop", number + 0.5),
            talk.event("server_client_dispose", number + 0.5),
        ]
    expected = [] if speaks else ["192.0.2.9 opened 4 connections"]
    assert [found.summary.partition(" to ")[0] for found in findings(items, *OURS)] == expected


# OTHER_PROTOCOL


def test_names_the_protocol_and_who_spoke_it() -> None:
    (found,) = findings([stranger(1, "HTTP"), stranger(2, "HTTP")], *OURS)
    assert (found.rule, found.certainty) == ("OTHER_PROTOCOL", "certain")
    assert found.summary == (
        f"192.0.2.9 spoke HTTP to {SERVER}, which is not libvirt's protocol (2 connections)."
    )


def test_bytes_without_connections_are_not_traffic() -> None:
    assert findings([stranger(1, "HTTP", transport="raw")], *OURS) == []


def test_end_of_the_authentication_is_not_another_protocol() -> None:
    assert findings([stranger(1, "SASL")], *OURS) == []


def refused(text: str, client: str = "192.0.2.9:1") -> list[object]:
    talk = Talk(1, client, transport="log", side="server")
    return [
        talk.event("server_client_new", 1),
        line(text, 2, number=3),
        talk.event("server_client_dispose", 2.001),
    ]


@pytest.mark.parametrize(
    ("size", "rule", "protocol"),
    [
        ("1195725852", "OTHER_PROTOCOL", "HTTP"),
        ("-2147483612", "OTHER_PROTOCOL", "ONC RPC"),
        ("1397966889", "OTHER_PROTOCOL", "SSH"),
        ("369295613", "WRONG_TLS", "TLS"),
    ],
)
def test_wrong_length_in_the_log_names_the_protocol_and_the_client(
    size: str, rule: str, protocol: str
) -> None:
    text = f"packet {size} bytes received from server too large, want 33554432"
    (found,) = findings(refused(text), *OURS)  # type: ignore[arg-type]
    assert found.rule == rule
    assert found.summary.startswith(f"192.0.2.9 spoke {protocol}")
    assert found.evidence[1].lines == (3,)


@pytest.mark.parametrize(
    ("size", "start"),
    [
        ("1195725852", "A client sent the daemon HTTP, which is not libvirt's protocol."),
        ("369295613", "A client spoke TLS to the daemon's plain port"),
    ],
)
def test_wrong_length_alone(size: str, start: str) -> None:
    (found,) = findings([line(f"packet {size} bytes received from client too large, want 33554432")], *OURS)
    assert found.summary.startswith(start)


def test_message_that_is_too_large_is_libvirt_s() -> None:
    text = "packet 33554436 bytes received from client too large, want 33554432"
    assert findings([line(text)], *OURS) == []


def test_several_protocols_in_the_log_are_a_scan() -> None:
    sizes = ("218762502", "1195725852", "1212501068")
    lines = [line(f"packet {size} bytes received from server too large, want 33554432") for size in sizes]
    (found,) = findings(lines, *OURS)
    assert found.rule == "PORT_SCAN"


# WRONG_TLS


def test_tls_on_the_plain_port() -> None:
    (found,) = findings([stranger(1, "TLS")], *OURS)
    assert (found.rule, found.severity, found.certainty) == ("WRONG_TLS", "error", "certain")
    assert found.summary == (f"192.0.2.9 spoke TLS to the plain port {SERVER}, which answers only plain RPC.")


def test_tls_on_its_port_is_right() -> None:
    assert findings([stranger(1, "TLS", TLS_PORT)], *OURS) == []


@pytest.mark.parametrize("answers", [True, False])
def test_tls_on_another_port_is_wrong_if_it_answers_plain_calls(answers: bool) -> None:
    server = "192.0.2.1:17000"
    talk = Talk(5, server=server)
    plain = talk.opened() if answers else []
    assert bool(findings([*plain, stranger(1, "TLS", server)], *OURS)) is answers


def test_plain_call_to_the_tls_port() -> None:
    talk = Talk(server=TLS_PORT)
    (found,) = findings([talk.call(1), talk.closed(1.01, "s2c", reset=True)])
    assert found.rule == "WRONG_TLS"
    assert found.summary == f"192.0.2.7 spoke plain RPC to the TLS port {TLS_PORT}, which did not answer."


def test_plain_rpc_on_the_port_of_tls_is_right_if_it_is_answered() -> None:
    talk, other = Talk(server=TLS_PORT), Talk(2, "192.0.2.8:1", TLS_PORT)
    items = [*talk.opened(), other.call(1), other.closed(1.01, "s2c", reset=True)]
    assert findings(items, *OURS) == []


@pytest.mark.parametrize(
    ("reason", "certainty"),
    [
        ("authentication failed: TLS handshake failed An unexpected TLS packet was received.", "certain"),
        (
            "authentication failed: TLS handshake failed A TLS packet with unexpected length was received.",
            "certain",
        ),
        ("authentication failed: TLS handshake failed Error in the pull function.", "possible"),
    ],
)
def test_handshake_that_fails(reason: str, certainty: str) -> None:
    (found,) = findings([line(reason, 1, number=4)], *OURS)
    assert (found.rule, found.certainty) == ("WRONG_TLS", certainty)
    assert found.evidence[0].lines == (4,)


def test_state_is_bounded() -> None:
    """Any number of hosts and lines gives few findings."""
    items = [stranger(number, "HTTP", host=f"10.{number // 250}.1.{number % 250}") for number in range(3000)]
    assert len(findings(items, "OTHER_PROTOCOL")) == 20
