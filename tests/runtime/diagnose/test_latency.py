"""SLOW_CALLS, SLOW_OBJECT, DAEMON_STALLED: calls that took far longer than usual."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libvirt_proto.diagnose.latency import Latency, _least, _size
from tests.support.conversations import MS, SECOND, Talk, connection, diagnosis, domain, found
from tests.support.frames import word


def slow(*talks: Talk) -> list[tuple[str, str]]:
    return [(each.rule, each.summary) for each in diagnosis(*talks).findings if each.rule in Latency.rules]


def calls(latencies: list[int], name: str = "domain_get_xml_desc", *, conn: int = 1) -> Talk:
    talk, at = Talk(), 0
    for latency in latencies:
        talk.call(name, domain("web") + word(0), at=at, takes=latency, conn=conn)
        at += latency + 100 * MS
    return talk


@given(st.integers(0, 2**70))
def test_sizes_are_at_most_a_quarter_wide(latency: int) -> None:
    least = _least(_size(latency))
    assert least <= latency <= least * 5 // 4 + 1


def test_slow_calls() -> None:
    (finding,) = found("SLOW_CALLS", calls([5 * MS] * 40 + [SECOND, 2 * SECOND, 3 * SECOND]))
    assert finding.summary == (
        "3 of 43 calls of domain_get_xml_desc took 1.00 s to 3.00 s, where 4.19 ms is usual."
    )
    assert finding.evidence[0].count == 3
    assert finding.evidence[0].messages == (81, 83, 85)
    assert finding.evidence[0].command is not None
    assert "--exchanges" in finding.evidence[0].command


@pytest.mark.parametrize(
    "talk",
    [
        pytest.param(calls([5 * MS] * 40 + [9 * SECOND] * 2), id="two may be an accident"),
        pytest.param(calls([5 * MS] * 16 + [SECOND] * 3), id="few calls"),
        pytest.param(calls([5 * MS] * 40 + [400 * MS] * 5), id="nobody notices"),
        pytest.param(calls([300 * MS] * 40 + [2 * SECOND] * 5), id="always slow"),
        pytest.param(calls([5 * MS] * 40 + [9 * SECOND] * 5, "domain_create"), id="a start takes seconds"),
        pytest.param(calls([5 * MS] * 10 + [SECOND] * 30), id="half of them"),
        pytest.param(calls([5 * MS] * 40 + [-SECOND] * 5), id="reply before the call"),
    ],
)
def test_no_slow_calls(talk: Talk) -> None:
    assert slow(talk) == []


def test_slow_calls_of_several_procedures_are_one_finding() -> None:
    talk = calls([5 * MS] * 40 + [SECOND] * 3)
    talk.items += calls([MS] * 40 + [3 * SECOND] * 4, "domain_get_state", conn=2).items
    (finding,) = found("SLOW_CALLS", talk)
    assert finding.summary.endswith("is usual; so did calls of 1 other procedure.")
    assert [each.count for each in finding.evidence] == [4, 3]


def objects(latencies: dict[str, list[int]]) -> Talk:
    """Calls on several objects in turn."""
    talk, at = Talk(), 0
    for turn in range(max(map(len, latencies.values()))):
        for name, each in latencies.items():
            if turn < len(each):
                talk.call("domain_get_info", domain(name), at=at, takes=each[turn])
                at += each[turn] + 100 * MS
    return talk


def test_slow_object() -> None:
    talk = objects({"web": [2 * MS] * 8, "stuck": [2 * SECOND] * 8, "mail": [2 * MS] * 8})
    ((rule, summary),) = slow(talk)
    assert rule == "SLOW_OBJECT"
    assert summary == (
        "Calls on domain stuck took far longer than on others: 8 of 8 took 2.00 s or more, and none of 15 on"
        " other objects did."
    )


@pytest.mark.parametrize(
    ("talk", "rules"),
    [
        pytest.param(objects({"web": [2 * MS] * 8, "stuck": [2 * SECOND] * 2}), [], id="two calls"),
        pytest.param(objects({"web": [2 * SECOND] * 8, "stuck": [2 * SECOND] * 8}), [], id="all are slow"),
        pytest.param(objects({"stuck": [2 * SECOND] * 8}), [], id="no other object"),
        pytest.param(
            objects({"web": [2 * MS] * 40, "some": [2 * MS, 2 * SECOND, 2 * MS] * 6}),
            ["SLOW_CALLS"],
            id="sometimes slow",
        ),
    ],
)
def test_no_slow_object(talk: Talk, rules: list[str]) -> None:
    assert [rule for rule, _ in slow(talk)] == rules


QUICK = ("domain_get_state", "connect_get_lib_version", "network_is_active")


def stalled(
    waiting: list[tuple[str, str, int]], *, lasts: int = 5 * SECOND, apart: int = MS, before: int = 0
) -> Talk:
    """Quick calls, and then (procedure, object, connection) that wait for a daemon."""
    talk = Talk()
    for turn in range(before):
        for name, object_, conn in waiting:
            talk.call(name, domain(object_) + word(0) if object_ else b"", at=turn * 100 * MS, conn=conn)
    start = 100 * SECOND
    talk.call("connect_get_lib_version", at=start - MS, takes=MS // 2, conn=99)
    for number, (name, object_, conn) in enumerate(waiting):
        args = domain(object_) + word(0) if object_ else b""
        at = start + number * 10 * MS
        talk.call(name, args, at=at, takes=start + lasts + number * apart - at, conn=conn)
    return talk


def test_stalled_daemon() -> None:
    waiting = [("domain_get_state", "a", 1), ("connect_get_lib_version", "", 2), ("domain_get_state", "b", 3)]
    (finding,) = found("DAEMON_STALLED", stalled(waiting))
    assert finding.summary == (
        "The daemon answered nobody for 5.00 s: 3 calls of 3 connections waited and were answered together."
    )
    assert finding.evidence[0].count == 3
    assert finding.certainty == "likely"


def test_usually_quick_calls_show_a_stall() -> None:
    waiting = [("domain_get_info", "a", 1), ("domain_get_info", "b", 2)]
    assert slow(stalled(waiting)) == []  # low priority: the hypervisor may be slow
    assert [rule for rule, _ in slow(stalled(waiting, before=30))] == ["DAEMON_STALLED"]


def test_stall_explains_slow_calls() -> None:
    waiting = [("domain_get_state", "a", 1), ("domain_get_state", "b", 2), ("domain_get_state", "c", 3)]
    assert [rule for rule, _ in slow(stalled(waiting, before=30))] == ["DAEMON_STALLED"]


def test_calls_of_one_connection_show_a_stall() -> None:
    waiting = [(name, "a" if name != "connect_get_lib_version" else "", 1) for name in QUICK]
    assert [rule for rule, _ in slow(stalled(waiting))] == ["DAEMON_STALLED"]


@pytest.mark.parametrize(
    "talk",
    [
        pytest.param(stalled([("domain_get_state", "a", 1)]), id="one call"),
        pytest.param(stalled([("domain_get_state", "a", number) for number in range(1, 5)]), id="one object"),
        pytest.param(stalled([(name, "", 1) for name in QUICK[:2]]), id="two calls of a connection"),
        pytest.param(
            stalled([("connect_get_lib_version", "", 1), ("domain_get_state", "a", 2)], lasts=SECOND // 2),
            id="short",
        ),
        pytest.param(
            stalled([("domain_get_state", f"{number}", number) for number in range(1, 5)], apart=2 * SECOND),
            id="one after the other",
        ),
        pytest.param(
            stalled([("auth_list", "", number) for number in range(1, 5)]),
            id="connections wait to be accepted",
        ),
    ],
)
def test_no_stall(talk: Talk) -> None:
    assert found("DAEMON_STALLED", talk) == []


def test_daemon_that_answers_somebody_is_not_stalled() -> None:
    talk = stalled([("domain_get_state", f"{number}", number) for number in range(1, 5)])
    for second in range(5):
        talk.call("connect_get_uri", at=100 * SECOND + second * SECOND, conn=7)
    assert found("DAEMON_STALLED", talk) == []


def test_both_ends_of_a_connection_are_one() -> None:
    talk, start = Talk(), 100 * SECOND
    for number, side in ((1, "client"), (2, "server")):
        talk.call(
            "domain_get_state",
            domain("a") + word(0),
            at=start + number,
            takes=5 * SECOND - 2 * number,
            conn=connection(number, side),  # type: ignore[arg-type]
        )
    assert found("DAEMON_STALLED", talk) == []
