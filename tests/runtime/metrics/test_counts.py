"""Counts of hand-made messages, and hostile numbers in them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libvirt_proto import registry
from libvirt_proto.api.capture import observe
from libvirt_proto.api.capture import open as open_capture
from libvirt_proto.diagnose.rules import RULES
from libvirt_proto.events import Connection, Notice, NoticeCode, Seen
from libvirt_proto.metrics import counts
from libvirt_proto.metrics.counts import BOUNDS, Metrics, Snapshot
from tests.differential import ours
from tests.support.conversations import MS, SECOND, Talk, connection
from tests.support.frames import captured, error_payload, frame, text

OPEN = ("remote", "connect_get_hostname", "between")


def counted(items: Iterable[Seen], *, ended: bool = False) -> Snapshot:
    metrics = Metrics(registry.default())
    for item in items:
        metrics.add(item)
    if ended:
        metrics.finish()
    return metrics.snapshot()


def test_outcomes_and_latencies() -> None:
    talk = Talk()
    talk.call("connect_get_hostname", ret=text(b"host"), at=0, takes=100_000)
    talk.call("connect_get_hostname", ret=text(b"host"), at=SECOND, takes=100_001)
    talk.call("connect_get_hostname", at=2 * SECOND, takes=61 * SECOND, error=b"no")
    found = counted(talk)
    (row,) = found.calls
    assert row.key == OPEN
    assert row.outcomes == {"ok": 2, "error": 1}
    # A latency of exactly 100 µs is in the first bucket.
    assert (row.latencies[0], row.latencies[1], row.latencies[-1]) == (1, 1, 1)
    assert sum(row.latencies) == 3
    assert row.latency_ns == 61_000_200_001
    assert found.errors == {"VIR_ERR_INTERNAL_ERROR": 1}
    assert found.messages == {"call": 3, "reply": 3}
    assert found.without_call == {}


def test_sides_are_separate() -> None:
    talk = Talk()
    talk.call("connect_get_hostname", at=0, conn=connection(1, "client"))
    talk.call("connect_get_hostname", at=1, conn=connection(2, "server"))
    assert [row.key[2] for row in counted(talk).calls] == ["client", "server"]


def test_waiting_calls_have_an_age_on_the_clock_of_the_input() -> None:
    now = 50.0
    metrics = Metrics(registry.default(), clock=lambda: now)
    talk = Talk()
    talk.call("connect_get_hostname", at=0, takes=None)
    talk.call("connect_get_hostname", at=3 * SECOND, takes=None, conn=2)
    talk.call("auth_list", at=5 * SECOND, conn=3)
    for item in talk:
        metrics.add(item)
    now += 2.5
    rows = {row.key: row for row in metrics.snapshot().calls}
    # The last message, a reply after 1 ms, was read 2.5 s ago.
    assert (rows[OPEN].in_flight, rows[OPEN].oldest_ns) == (2, 7 * SECOND + 501 * MS)
    assert rows["remote", "auth_list", "between"].in_flight == 0
    assert rows["remote", "auth_list", "between"].oldest_ns == 0


def test_age_without_a_clock_is_unknown() -> None:
    (row,) = counted([captured(frame(proc=59, serial=1), time_ns=None)]).calls
    assert (row.in_flight, row.oldest_ns) == (1, None)


def test_end_of_the_input_ends_calls_and_connections() -> None:
    talk = Talk()
    talk.call("connect_get_hostname", at=0, takes=None)
    found = counted(talk, ended=True)
    assert found.calls[0].outcomes == {"ok": 0, "error": 0, "pending": 1}
    assert found.calls[0].in_flight == 0
    assert found.connections == {("tcp", "between"): 1}
    assert found.open_connections == {}


def test_connections() -> None:
    talk = Talk()
    for number in (1, 2, 3):
        talk.call("auth_list", at=number, conn=number)
    talk.close(2, at=SECOND)
    talk.call("auth_list", at=2 * SECOND, conn=Connection(4, "a", "b", "carrier pigeon"))
    found = counted(talk)
    assert found.connections == {("tcp", "between"): 3, ("unknown", "between"): 1}
    assert found.open_connections == {("tcp", "between"): 2, ("unknown", "between"): 1}


def test_number_of_open_connections_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counts, "MAX_CONNECTIONS", 3)
    talk = Talk()
    for number in range(1, 9):
        talk.call("auth_list", at=number * SECOND, conn=number)
    found = counted(talk)
    assert found.connections == {("tcp", "between"): 8}
    assert found.open_connections == {("tcp", "between"): 3}


def test_events_are_counted_by_procedure() -> None:
    talk = Talk()
    talk.event("domain_event_lifecycle", b"", at=0)
    talk.event("domain_event_lifecycle", b"", at=1)
    assert counted(talk).events == {("remote", "domain_event_lifecycle", "between"): 2}


def test_losses_are_numbers() -> None:
    found = counted(
        [
            Notice(NoticeCode.LOST_EVENTS, "7 events were lost", count=7),
            Notice(NoticeCode.LOST_EVENTS, "1 event was lost", count=1),
            Notice(NoticeCode.LOST_BYTES, "512 bytes lost", count=512),
            Notice(NoticeCode.LOST_BYTES, "an unknown number of bytes is lost"),
        ]
    )
    assert (found.lost_messages, found.lost_bytes) == (8, 512)
    assert (found.notices["lost-events"], found.notices["lost-bytes"]) == (2, 2)
    assert set(found.notices) == set(NoticeCode)


def test_malformed_payloads() -> None:
    assert counted([captured(frame(b"\xff\xff\xff\xff", proc=23))]).malformed == 1


def test_clock_that_is_set_back_keeps_the_sum_growing() -> None:
    call, reply = frame(proc=59, serial=1), frame(text(b"h"), proc=59, type_=1, serial=1)
    found = counted([captured(call, 1, 5 * SECOND), captured(reply, 2, SECOND, "s2c")])
    assert (found.calls[0].latencies[0], found.calls[0].latency_ns) == (1, 0)


numbers = st.integers(0, 2**32 - 1)


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0x20008086, 0x20008087, 0x6B656570]) | numbers,
            st.sampled_from([1]) | numbers,
            numbers,
            st.integers(0, 12) | numbers,
            st.integers(0, 3),
            st.integers(-(2**31), 2**31 - 1),
        ),
        max_size=30,
    )
)
def test_a_peer_cannot_create_series(headers: list[tuple[int, int, int, int, int, int]]) -> None:
    """Labels of hostile messages are names of the definitions and of this package, or `unknown`."""
    found = counted(
        (
            captured(
                frame(
                    error_payload(code, 1, b"x"),
                    prog=prog,
                    vers=vers,
                    proc=proc,
                    type_=type_,
                    serial=serial,
                    status=1,
                ),
                n,
                n * MS,
            )
            for n, (prog, vers, proc, type_, serial, code) in enumerate(headers, 1)
        ),
        ended=True,
    )
    known = {
        (program.name, procedure.name)
        for program in registry.default().programs()
        for procedure in program.procedures
    }
    programs = {program for program, _ in known} | {"unknown"}
    for program, procedure, side in (*(row.key for row in found.calls), *found.events):
        assert (program, procedure) in known or (program in programs and procedure == "unknown")
        assert side == "between"
    kinds = ("call", "reply", "message", "stream", "call_with_fds", "reply_with_fds", "stream_hole")
    assert set(found.messages) <= {*kinds, "unknown"}
    assert all(code == "unknown" or code.startswith("VIR_ERR_") for code in found.errors)
    assert sum(found.messages.values()) == len(headers)


def test_unknown_numbers_share_a_row() -> None:
    def call(n: int, prog: int, proc: int) -> Seen:
        return captured(frame(prog=prog, proc=proc, serial=n), n, n)

    found = counted([call(n, 0x20008086, 100_000 + n) for n in range(500)], ended=True)
    assert [row.key for row in found.calls] == [("remote", "unknown", "between")]
    found = counted([call(n, 0x30000000 + n, n) for n in range(500)], ended=True)
    assert [row.key for row in found.calls] == [("unknown", "unknown", "between")]
    assert found.calls[0].outcomes["pending"] == 500


def test_definitions_with_any_number_of_procedures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counts, "MAX_ROWS", 2)
    names = ("auth_list", "connect_open", "connect_close", "connect_get_hostname")
    talk = Talk()
    for number, name in enumerate(names):
        talk.call(name, at=number)
    found = {row.key: row.outcomes["ok"] for row in counted(talk).calls}
    assert found == {
        ("remote", "auth_list", "between"): 1,
        ("remote", "connect_open", "between"): 1,
        ("unknown", "unknown", "between"): 2,
    }


@given(st.lists(st.integers(0, 100 * SECOND), min_size=1, max_size=50))
def test_every_latency_is_in_one_bucket(latencies: list[int]) -> None:
    talk = Talk()
    for number, latency in enumerate(latencies):
        talk.call("connect_get_hostname", ret=text(b"h"), at=number * 200 * SECOND, takes=latency)
    (row,) = counted(talk).calls
    for number, bound in enumerate(BOUNDS):
        assert sum(row.latencies[: number + 1]) == sum(latency <= bound for latency in latencies)
    assert row.latency_ns == sum(latencies)


def test_a_real_capture_agrees_with_stats_and_json_lines(captures: Path) -> None:
    metrics = Metrics(registry.default())
    with open_capture(captures / "tour.pcap") as capture:
        observe(capture, metrics.add)
        assert sum(1 for _ in capture.timeline()) == 5012
    metrics.finish()
    found = metrics.snapshot()
    stats = json.loads(ours.run("stats", "--format", "json", captures / "tour.pcap").stdout)
    assert sum(found.messages.values()) == stats["totals"]["messages"]
    assert sum(found.bytes.values()) == stats["totals"]["bytes"]
    assert sum(found.errors.values()) == stats["totals"]["errors"]
    assert found.errors == {each["code_name"]: each["count"] for each in stats["errors"]}
    by_name = {(each["program"], each["procedure"]): each for each in stats["procedures"]}
    assert {row.key[:2] for row in found.calls} == by_name.keys()
    exact: dict[str, list[int]] = {}
    lines = ours.run("decode", "--exchanges", "--format", "jsonl", captures / "tour.pcap").stdout
    for each in map(json.loads, lines.splitlines()):
        if each["latency_ns"] is not None:
            exact.setdefault(each["procedure"], []).append(each["latency_ns"])
    for row in found.calls:
        figures = by_name[row.key[:2]]
        assert sum(row.outcomes.values()) == figures["calls"]
        assert sum(row.latencies) == figures["latency"]["count"]
        assert row.latency_ns == figures["latency"]["total_ns"]
        buckets = [sum(ns <= bound for ns in exact[row.key[1]]) for bound in BOUNDS]
        assert [sum(row.latencies[: n + 1]) for n in range(len(BOUNDS))] == buckets


def test_findings_are_counted_at_the_end_of_each_part() -> None:
    now = 1000.0
    metrics = Metrics(registry.default(), diagnose=True, clock=lambda: now)
    zeros = metrics.snapshot().findings
    assert zeros is not None
    assert {rule for rule, _ in zeros} == set(RULES)
    assert not any(zeros.values())
    talk = Talk()
    for number in range(2):
        talk.call("connect_get_hostname", at=number * SECOND, takes=None, conn=number + 1)
        talk.call("auth_list", at=number * SECOND + MS, conn=number + 1)
    for item in talk:
        metrics.add(item)
    now += counts.DIAGNOSED
    found = metrics.snapshot().findings
    assert found is not None
    assert {key: count for key, count in found.items() if count} == {("STILL_WAITING", "warning"): 1}
    now += counts.DIAGNOSED
    assert metrics.snapshot().findings == found
