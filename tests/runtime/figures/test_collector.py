"""Statistics of hand-made messages with known figures."""

from __future__ import annotations

from array import array
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libvirt_proto import registry
from libvirt_proto.events import Captured, Closed, Connection, ConnectionEvent
from libvirt_proto.figures import collector as measure
from libvirt_proto.figures.collector import Measure, latency
from libvirt_proto.figures.results import Feature, Opened, Registration, Statistics
from libvirt_proto.rpc.message import decode_message
from tests.property.test_session import anything
from tests.runtime.test_session import CALL, CONTINUE, ERROR, EVENT, OTHER, REPLY, SCREENSHOT, STREAM, Wire
from tests.support.frames import CONNECTION, captured, error_payload, frame, text, word

HOSTNAME, LOOKUP = 59, 23


@pytest.fixture
def wire() -> Wire:
    return Wire()


def run(*messages: Captured | Closed | ConnectionEvent, top: int = 10) -> Statistics:
    taken = Measure(registry.default(), top)
    taken.source("one.pcap")
    for message in messages:
        taken.add(message)
    return taken.finish({})


def call(
    wire: Wire, proc: int, serial: int, payload: bytes = b"", reply: bytes = b"", status: int = 0
) -> Any:
    """A call and, one millisecond later, its reply."""
    return [wire(CALL, serial, payload=payload, proc=proc), wire(REPLY, serial, status, reply, proc=proc)]


def test_counts_and_bytes(wire: Wire) -> None:
    found = run(
        *call(wire, HOSTNAME, 0, reply=text(b"host")),
        wire(EVENT, 0, payload=bytes(8), proc=107),
        *call(wire, LOOKUP, 1, text(b"no"), error_payload(42, 12, b"no domain"), ERROR),
        wire(EVENT, 0, prog=0x6B656570, proc=1),
        wire(EVENT, 0, prog=0x6B656570, proc=2, direction="c2s"),
        wire(CALL, 2, proc=HOSTNAME),
        wire(9, 3),
    )
    error = 28 + len(error_payload(42, 12, b"no domain"))
    totals = found.totals
    assert (totals.files, totals.messages, totals.connections) == (1, 9, 1)
    assert totals.bytes == 28 + 36 + 36 + 36 + error + 4 * 28
    assert (totals.start_ns, totals.end_ns) == (1_000_000, 9_000_000)
    assert (totals.exchanges, totals.calls, totals.errors, totals.unanswered) == (3, 3, 1, 1)
    assert (totals.events, totals.pings, totals.pongs, totals.other) == (1, 1, 1, 1)
    assert totals.outcomes == {"ok": 1, "error": 1, "pending": 1}
    by_name = {row.procedure: row for row in found.procedures}
    hostname, lookup = by_name["connect_get_hostname"], by_name["domain_lookup_by_name"]
    assert (hostname.program, hostname.proc, hostname.vers) == ("remote", 59, 1)
    assert (hostname.calls, hostname.errors, hostname.unanswered) == (2, 0, 1)
    assert (hostname.bytes_c2s, hostname.bytes_s2c) == (56, 36)
    assert (lookup.calls, lookup.errors, lookup.bytes_c2s, lookup.bytes_s2c) == (1, 1, 36, error)
    assert lookup.latency is not None
    assert (lookup.latency.count, lookup.latency.max_ns, lookup.latency.total_ns) == (1, 1_000_000, 1_000_000)
    (event,) = found.events
    assert (event.procedure, event.count, event.bytes) == ("domain_event_lifecycle", 1, 36)
    (error_row,) = found.errors
    assert (error_row.code, error_row.code_name, error_row.count) == (42, "VIR_ERR_NO_DOMAIN", 1)
    assert (error_row.first_message, error_row.first.n, error_row.first.file) == ("no domain", 5, "one.pcap")
    (unanswered,) = found.unanswered
    assert (unanswered.outcome, unanswered.call.n, unanswered.call.procedure) == (
        "pending",
        8,
        "connect_get_hostname",
    )
    assert [(slow.call.n, slow.reply, slow.outcome) for slow in found.slowest] == [
        (1, 2, "ok"),
        (4, 5, "error"),
    ]


def test_counts_connection(wire: Wire) -> None:
    found = run(
        *call(wire, 66, 0, reply=word(2) + word(0) + word(2)),
        *call(wire, 60, 1, word(10), word(1)),
        *call(wire, 60, 2, word(99), word(0)),
        *call(wire, 1, 3, word(1) + text(b"test:///default") + word(1)),
        *call(wire, 316, 4, word(3) + word(0), word(17)),
        *call(wire, 2, 5),
        wire(CALL, 0, connection=OTHER, direction=None),
        Closed(OTHER, 0),
    )
    first, second = found.connections
    assert (first.file, first.id, first.client, first.server) == ("one.pcap", 1, *str(CONNECTION).split("-"))
    assert (first.messages, first.calls, first.errors, first.unanswered) == (12, 6, 0, 0)
    assert (first.start_ns, first.end_ns, first.duration_ns) == (1_000_000, 12_000_000, 11_000_000)
    assert first.auth is not None
    assert (first.auth.offered, first.auth.method, first.auth.result) == (("none", "polkit"), "none", "ok")
    assert first.opened == Opened("remote", "test:///default", 1, "ok")
    assert first.features == [
        Feature(10, "VIR_DRV_FEATURE_PROGRAM_KEEPALIVE", True),
        Feature(99, None, False),
    ]
    assert first.registrations == [
        Registration("connect_domain_event_callback_register_any", 3, "VIR_DOMAIN_EVENT_ID_WATCHDOG", 17)
    ]
    assert first.closed
    assert (second.id, second.unanswered, second.closed, second.auth) == (2, 1, False, None)
    assert (second.bytes_c2s, second.bytes_unknown) == (0, 28)
    assert [row.outcome for row in found.unanswered] == ["unanswered"]


SASL = [
    (66, b"", word(1) + word(1), 0),
    (67, b"", text(b"SCRAM-SHA-256 DIGEST-MD5"), 0),
    (68, text(b"SCRAM-SHA-256") + word(1) + word(0), word(0) + word(1) + word(0), 0),
]


@pytest.mark.parametrize(
    ("exchanges", "method", "mechanism", "result"),
    [
        ([*SASL, (69, word(1) + word(0), word(1) * 2 + word(0), 0)], "sasl", "SCRAM-SHA-256", "ok"),
        ([*SASL, (69, word(1) + word(0), error_payload(45, 7, b"no"), 1)], "sasl", "SCRAM-SHA-256", "error"),
        (SASL, "sasl", "SCRAM-SHA-256", None),
        ([(66, b"", word(1) + word(2), 0), (70, b"", word(1), 0)], "polkit", None, "ok"),
        ([(66, b"", word(1) + word(2), 0)], None, None, None),
    ],
)
def test_reports_authentication(
    wire: Wire, exchanges: list[Any], method: str | None, mechanism: str | None, result: str | None
) -> None:
    messages = [
        message
        for serial, (proc, args, ret, status) in enumerate(exchanges)
        for message in call(wire, proc, serial, args, ret, status)
    ]
    auth = run(*messages).connections[0].auth
    assert auth is not None
    assert (auth.method, auth.mechanism, auth.result) == (method, mechanism, result)
    assert auth.offered == (("polkit",) if exchanges[0][2] == word(1) + word(2) else ("sasl",))


@pytest.mark.parametrize(("kind", "result"), [("allow", "ok"), ("deny", "error"), ("fail", "error")])
def test_log_reports_result_of_authentication(wire: Wire, kind: str, result: str) -> None:
    """The daemon's log has no payloads; the reply is logged after the result."""
    told = ConnectionEvent(f"server_client_auth_{kind}", None, CONNECTION, (("auth", "1"),))
    begun, reply = call(wire, 68, 0)
    elsewhere = ConnectionEvent("server_client_auth_deny", None)
    auth = run(told, begun, told, elsewhere, reply).connections[0].auth
    assert auth is not None
    assert (auth.method, auth.result) == ("sasl", result)
    assert run(told).connections == []


def test_counts_streams(wire: Wire) -> None:
    def download(serial: int) -> list[Captured]:
        begun = call(wire, SCREENSHOT, serial, reply=word(0))
        return [*begun, wire(STREAM, serial, CONTINUE, bytes(1000), proc=SCREENSHOT)]

    found = run(
        *download(1),
        wire(STREAM, 1, proc=SCREENSHOT, direction="c2s"),
        wire(STREAM, 1, proc=SCREENSHOT),
        *download(2),
        wire(STREAM, 2, ERROR, error_payload(1, 2, b"gone"), proc=SCREENSHOT),
        *download(3),
        wire(STREAM, 3, ERROR, proc=SCREENSHOT, direction="c2s"),
        *download(4),
    )
    (row,) = found.procedures
    streams = row.streams
    assert streams is not None
    assert (streams.count, streams.bytes_s2c, streams.bytes_c2s) == (4, 4000, 0)
    assert (streams.aborted, streams.failed, streams.open) == (1, 1, 1)
    assert (streams.duration_ns, streams.bytes_per_second) == (8_000_000, 500_000)
    assert (row.errors, found.totals.errors, found.errors[0].first_message) == (1, 1, "gone")


def test_files_share_counts_but_not_connections(wire: Wire) -> None:
    taken = Measure(registry.default(), 10)
    for name in ("one", "two"):
        taken.source(name)
        taken.add(wire(CALL, 0))
        taken.add(wire(EVENT, 0, prog=0x6B656570, proc=1))
    found = taken.finish({"lost-bytes": 2})
    assert (found.totals.files, found.totals.connections, found.totals.notices) == (2, 2, {"lost-bytes": 2})
    assert [(c.file, c.id, c.pings, c.unanswered) for c in found.connections] == [
        ("one", 1, 1, 1),
        ("two", 1, 1, 1),
    ]
    assert [row.call.file for row in found.unanswered] == ["one", "two"]


def test_call_is_not_answered_in_another_file(wire: Wire) -> None:
    taken = Measure(registry.default(), 10)
    for name, type_ in (("one", CALL), ("two", REPLY)):
        taken.source(name)
        taken.add(wire(type_, 0))
    assert taken.finish({}).totals.outcomes == {"pending": 1, "before-capture": 1}


def test_lists_slowest_calls(wire: Wire) -> None:
    calls = [wire(CALL, i) for i in range(5)]
    replies = [wire(REPLY, i) for i in (0, 3, 2, 1, 4)]
    found = run(*calls, *replies, top=3)
    slowest = [(slow.call.serial, slow.latency_ns) for slow in found.slowest]
    assert slowest == [(1, 7_000_000), (0, 5_000_000), (2, 5_000_000)], "of four that took 5 ms, the first"
    assert run(*calls, *replies, top=0).slowest == []


def test_input_without_clock_has_only_counts(wire: Wire) -> None:
    found = run(wire(CALL, 0, clock=False), wire(REPLY, 0, clock=False))
    assert (found.procedures[0].calls, found.procedures[0].latency, found.slowest) == (1, None, [])
    assert (found.totals.start_ns, found.connections[0].duration_ns) == (None, None)


def test_lists_are_bounded(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "MAX_ROWS", 2)
    messages = [wire(CALL, i, proc=5000 + i, connection=Connection(i, "", "")) for i in range(1, 5)] + [
        wire(EVENT, 0, proc=6000 + i) for i in range(4)
    ]
    found = run(*messages)
    assert [len(found.procedures), len(found.connections), len(found.events), len(found.unanswered)] == [
        2
    ] * 4
    assert (found.totals.calls, found.totals.events, found.totals.unanswered) == (4, 4, 4)
    assert found.totals.left_out > 0


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=300))
def test_percentiles_use_nearest_rank(values: list[int]) -> None:
    found = latency(array("q", values))
    for percent, value in ((50, found.p50_ns), (90, found.p90_ns), (99, found.p99_ns)):
        fitting = [v for v in values if 100 * sum(other <= v for other in values) >= percent * len(values)]
        assert value == min(fitting)
    assert (found.count, found.min_ns, found.max_ns) == (len(values), min(values), max(values))
    assert found.total_ns == sum(values)
    assert abs(found.mean_ns * len(values) - sum(values)) <= max(1, abs(sum(values)) >> 50) * len(values)


@given(anything())
def test_everything_is_counted_once(seen: list[Captured | Closed]) -> None:
    found = run(*seen)
    messages = [item for item in seen if isinstance(item, Captured)]
    totals = found.totals
    assert totals.messages == len(messages) == sum(connection.messages for connection in found.connections)
    assert totals.bytes == sum(message.message.length for message in messages)
    assert totals.bytes == sum(c.bytes_c2s + c.bytes_s2c + c.bytes_unknown for c in found.connections)
    assert totals.exchanges == sum(totals.outcomes.values())
    assert totals.exchanges == sum(row.calls + row.without_call for row in found.procedures)
    for figure in ("calls", "errors", "unanswered"):
        assert getattr(totals, figure) == sum(getattr(row, figure) for row in found.procedures)
        assert getattr(totals, figure) == sum(getattr(c, figure) for c in found.connections)
    assert totals.events == sum(event.count for event in found.events)
    paired = sum(row.bytes_c2s + row.bytes_s2c for row in found.procedures)
    others = [m for m in messages if m.message.header.prog == 0x6B656570 or m.message.header.type in (2, 7)]
    assert totals.bytes == paired + sum(message.message.length for message in others)


def test_accepts_socket_of_any_name(wire: Wire) -> None:
    odd = Connection(1, "", b"/run/\xff".decode("utf-8", "surrogateescape"), "unix")
    found = run(captured(frame(), connection=odd))
    assert found.connections[0].server == "/run/\\udcff"
    assert found.unanswered[0].call.conn == "-/run/\\udcff"


def test_log_does_not_identify_opened_driver(wire: Wire) -> None:
    """It has no payloads; the URI is not libvirt's default."""
    payload = word(1) + text(b"test:///default") + word(1)
    header = frame(payload, proc=1)[:28]
    call_ = captured(decode_message(header, missing=len(payload)), n=1, time_ns=0)
    reply = captured(frame(proc=1, type_=1), n=2, time_ns=9, direction="s2c")
    (connection,) = run(call_, reply).connections
    assert connection.opened == Opened("remote", None, None, "ok")


def test_unbounded_values_have_no_limit_usage(wire: Wire) -> None:
    statistics = run(wire(CALL, 1, proc=66))
    assert [limit.what for limit in statistics.limits] == ["message"]
