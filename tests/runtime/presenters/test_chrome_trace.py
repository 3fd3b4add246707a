"""Timelines in the Trace Event Format. Expected lanes and times are written by hand."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libvirt_proto import registry
from libvirt_proto.api.capture import Capture
from libvirt_proto.capture.merge import merge
from libvirt_proto.cli.views import TimelineView
from libvirt_proto.events import Captured, ConnectionEvent
from libvirt_proto.filters import Filter
from libvirt_proto.presenters import chrome_trace
from libvirt_proto.presenters.chrome_trace import ChromeTrace
from tests.support.conversations import MS, SECOND, Talk, connection, domain, procedure
from tests.support.frames import error_payload, frame, text
from tests.support.trace_events import Trace, check_nested, read

#: A time with nanoseconds, in 2026.
START = 1795383888_123_456_789
US = 1000


def timeline(*sources: Iterable[Any], absolute: bool = False, **conditions: Any) -> Trace:
    """The timeline of sources `one.pcap`, `two.pcap`, …"""
    trace = ChromeTrace(registry.default(), absolute=absolute)
    data = trace.begin()
    for name, items in zip(("in/one.pcap", "in/two.pcap"), sources, strict=False):
        chosen = Filter(registry.default(), **conditions)
        with Capture(name, lambda _, items=items: iter(items), registry.default(), filter=chosen) as capture:
            view = TimelineView(trace)
            data += b"".join([*view.take(capture), *view.finish(capture)])
    return read(data + trace.end())


def suspend(talk: Talk, at: int, takes: int | None, **more: Any) -> int:
    return talk.call("domain_suspend", domain("vm1"), at=START + at, takes=takes, **more)


def lanes(trace: Trace) -> list[tuple[str, list[tuple[int, int]]]]:
    """Thread, and start and end of its complete events, for a single connection."""
    return [(thread, [span[1:] for span in spans]) for _, thread, spans in trace.lanes()]


def test_overlapping_calls_are_in_different_lanes() -> None:
    talk = Talk()
    suspend(talk, 0, 10 * MS)
    suspend(talk, 1 * MS, 3 * MS)
    suspend(talk, 2 * MS, 1 * MS)
    suspend(talk, 5 * MS, 1 * MS)  # both lanes are free, the later one is less of a gap
    suspend(talk, 10 * MS, 1 * MS)  # begins when the first one ends
    assert lanes(timeline(talk)) == [
        ("calls", [(2 * MS, 3 * MS)]),
        ("calls 2", [(1 * MS, 4 * MS), (5 * MS, 6 * MS)]),
        ("calls 3", [(0, 10 * MS), (10 * MS, 11 * MS)]),
    ]


def test_times_keep_nanoseconds() -> None:
    talk = Talk()
    suspend(talk, 0, MS)
    suspend(talk, 7, 1)
    assert [(event["ts"], event["dur"]) for event in timeline(talk).of("X")] == [(7, 1), (0, MS)]
    assert [event["ts"] for event in timeline(talk, absolute=True).of("X")] == [START + 7, START]
    assert timeline(talk).about == {"generator": "libvirt-proto", "start_ns": str(START)}


def test_exchange_names_its_call_object_and_outcome() -> None:
    talk = Talk()
    suspend(talk, 0, MS)
    suspend(talk, 2 * MS, MS, error=b"Timed out")
    suspend(talk, 4 * MS, None)
    talk.event("domain_event_reboot", domain("vm1"), at=START + 9 * MS)
    ok, failed, pending = timeline(talk).of("X")
    assert (ok["name"], ok["cat"], "cname" in ok) == ("remote.domain_suspend", "ok", False)
    assert ok["args"] == {
        "detail": 'remote.domain_suspend("vm1")',
        "n": 1,
        "outcome": "ok",
        "serial": 1,
        "object": {"kind": "domain", "name": "vm1", "uuid": "00000000-0000-0000-0000-000000000114"},
        "latency_ns": MS,
        "overtaken": 0,
        "bytes_c2s": 28 + 28,
        "bytes_s2c": 28,
        "messages": [1, 2],
    }
    assert (failed["cat"], failed["cname"]) == ("error", "terrible")
    assert failed["args"]["error"] == "VIR_ERR_INTERNAL_ERROR: Timed out"
    assert failed["args"]["detail"].endswith('("vm1"): VIR_ERR_INTERNAL_ERROR: Timed out')
    assert (pending["cat"], pending["cname"]) == ("pending", "bad")
    assert (pending["ts"], pending["dur"]) == (4 * MS, 5 * MS)  # to the last message
    assert pending["args"]["detail"].endswith('("vm1"): pending')


def test_unanswered_call_lasts_to_the_end_of_its_connection() -> None:
    talk = Talk()
    suspend(talk, 0, None)
    talk.close(at=START + 3 * MS)
    (call,) = timeline(talk).of("X")
    assert (call["cat"], call["dur"]) == ("unanswered", 3 * MS)


def test_events_and_keepalive_are_instants() -> None:
    talk = Talk()
    suspend(talk, 0, MS)
    talk.event("domain_event_reboot", domain("vm1"), at=START + 2 * MS)
    talk.send(START + 3 * MS, "s2c", frame(b"", prog=0x6B656570, proc=1, type_=2))
    opened = ConnectionEvent("client_new", START + 4 * MS, connection(1), (("sock", "0x1"),))
    trace = timeline([*talk, opened])
    assert [(event["name"], event["cat"], event["ts"]) for event in trace.of("i")] == [
        ("remote.domain_event_reboot", "event", 2 * MS),
        ("keepalive.ping", "keepalive", 3 * MS),
        ("client_new", "connection", 4 * MS),
    ]
    assert {trace.threads[event["tid"]] for event in trace.of("i")} == {"events"}
    assert trace.of("i")[0]["args"]["object"]["name"] == "vm1"
    assert trace.of("i")[2]["args"] == {"detail": "client_new", "details": {"sock": "0x1"}}


def test_event_without_connection_has_its_own_process() -> None:
    trace = timeline([ConnectionEvent("socket_new", START), ConnectionEvent("socket_new", START + 5)])
    assert set(trace.processes.values()) == {"no connection (one.pcap)"}
    assert [event["ts"] for event in trace.of("i")] == [0, 5]


def stream(end: int, payload: bytes = b"") -> Talk:
    """A download whose stream ends with a status: 0 finished, 1 an error."""
    talk, proc = Talk(), procedure("storage_vol_download")
    volume = text(b"pool") + text(b"vol") + text(b"key")
    for at, direction, data in (
        (0, "c2s", frame(volume + bytes(20), proc=proc, serial=1)),
        (1, "s2c", frame(b"", proc=proc, serial=1, type_=1)),
        (3, "s2c", frame(b"12345", proc=proc, serial=1, type_=3, status=2)),
        *([(4, "c2s", frame(b"", proc=proc, serial=1, type_=3))] if end == 0 else []),
        (6, "s2c", frame(payload, proc=proc, serial=1, type_=3, status=end)),
    ):
        talk.send(START + at * MS, direction, data)  # type: ignore[arg-type]
    return talk


def test_stream_is_nested_in_its_call() -> None:
    outer, inner = timeline(stream(0)).of("X")
    assert (outer["name"], outer["ts"], outer["dur"]) == ("remote.storage_vol_download", 0, 6 * MS)
    assert (inner["name"], inner["ts"], inner["dur"]) == ("stream", 1 * MS, 5 * MS)
    assert inner["tid"] == outer["tid"]
    assert inner["args"] == {
        "detail": "5 bytes, finished",
        "bytes_c2s": 0,
        "bytes_s2c": 5,
        "end": "finished",
    }


def test_error_of_a_stream_is_an_error() -> None:
    outer, inner = timeline(stream(1, error_payload(1, 10, b"No space"))).of("X")
    assert outer["cname"] == inner["cname"] == "terrible"
    assert inner["args"]["error"] == outer["args"]["error"] == "VIR_ERR_INTERNAL_ERROR: No space"
    assert inner["args"]["detail"] == "5 bytes, error: VIR_ERR_INTERNAL_ERROR: No space"


def test_processes_are_connections_in_order() -> None:
    talk = Talk()
    suspend(talk, 0, 5 * MS, conn=1)
    suspend(talk, 1 * MS, 1 * MS, conn=2)
    trace = timeline(talk)
    indexes = {
        trace.processes[event["pid"]]: event["args"]["sort_index"]
        for event in trace.events
        if event["name"] == "process_sort_index"
    }
    assert sorted(indexes, key=indexes.__getitem__) == [
        "192.0.2.1:40001-192.0.2.2:16509 (one.pcap)",
        "192.0.2.1:40002-192.0.2.2:16509 (one.pcap)",
    ]


def test_sources_share_one_timeline() -> None:
    one, two = Talk(), Talk()
    suspend(one, 0, MS)
    suspend(two, SECOND, MS)
    trace = timeline(one, two)
    assert [(process.rpartition(" ")[2], spans) for process, _, spans in trace.lanes()] == [
        ("(one.pcap)", [("remote.domain_suspend", 0, MS)]),
        ("(two.pcap)", [("remote.domain_suspend", SECOND, SECOND + MS)]),
    ]


def merged(calls: list[tuple[int, int]], shift: int) -> Iterable[Any]:
    """Calls (start, duration) in a recording of the client and one of the server, which is 1 s ahead."""
    talks = Talk(), Talk()
    for at, takes in calls:
        suspend(talks[0], at, takes)
        suspend(talks[1], at + SECOND + shift, takes - 2 * shift)
    return (item for item in merge(talks[0], talks[1], ("client.pcap", "server.pcap")))  # type: ignore[arg-type]


def test_merged_exchange_has_a_copy_in_each_recording_and_a_flow() -> None:
    trace = timeline(merged([(0, 10 * MS), (1 * MS, 2 * MS)], 100 * US))
    name = "192.0.2.1:40001-192.0.2.2:16509"
    assert [(process, thread, [each[1:] for each in spans]) for process, thread, spans in trace.lanes()] == [
        (f"{name} (client.pcap)", "calls", [(1 * MS, 3 * MS)]),
        (f"{name} (client.pcap)", "calls 2", [(0, 10 * MS)]),
        (f"{name} (server.pcap)", "calls", [(1 * MS + 100 * US, 3 * MS - 100 * US)]),
        (f"{name} (server.pcap)", "calls 2", [(100 * US, 10 * MS - 100 * US)]),
    ]
    begins, ends = trace.of("s"), trace.of("f")
    assert [(event["ts"], trace.processes[event["pid"]][-12:-1]) for event in begins] == [
        (1 * MS, "client.pcap"),
        (0, "client.pcap"),
    ]
    assert [(event["ts"], trace.processes[event["pid"]][-12:-1]) for event in ends] == [
        (1 * MS + 100 * US, "server.pcap"),
        (100 * US, "server.pcap"),
    ]


def test_exchange_that_one_recording_lacks_has_no_flow() -> None:
    one, two = Talk(), Talk()
    for number in range(4):
        suspend(one, number * MS, MS // 2)
        if number:
            suspend(two, number * MS + 10, MS // 2 - 20)
        else:
            two.call("domain_resume", domain("vm1"), at=START + 10, takes=None)
    trace = timeline(merge(one, two, ("client.pcap", "server.pcap")))  # type: ignore[arg-type]
    assert len(trace.of("s")) == 3
    assert len(trace.of("X")) == 8


def test_filters_apply_to_exchanges_and_events() -> None:
    talk = Talk()
    suspend(talk, 0, MS)
    suspend(talk, 2 * MS, 9 * MS)
    suspend(talk, 3 * MS, MS, error=b"no")
    talk.event("domain_event_reboot", domain("vm1"), at=START + 4 * MS)
    talk.event("domain_event_reboot", domain("vm2"), at=START + 5 * MS)

    def shown(**conditions: Any) -> list[int]:
        trace = timeline(talk, **conditions)
        return sorted(event["ts"] // MS for event in [*trace.of("X"), *trace.of("i")])

    assert shown() == [0, 2, 3, 4, 5]
    assert shown(slower_than="5ms") == [2]
    assert shown(errors_only=True) == [3]
    assert shown(objects=["vm2"]) == [5]
    assert shown(procedures=["domain_event_*"]) == [4, 5]
    assert shown(since="4.5ms") == [2, 5]  # the reply of the second call
    assert shown(connections=["40002"]) == []


def test_what_has_no_time_is_counted() -> None:
    items = [
        Captured(each.n, None, each.connection, each.direction, each.message)
        for each in stream(0)
        if isinstance(each, Captured)
    ]
    trace = ChromeTrace(registry.default())
    capture = Capture("x", lambda _: iter(items), registry.default())
    data = b"".join([trace.begin(), *TimelineView(trace).take(capture), trace.end()])
    assert read(data).events == []
    (notice,) = trace.notices()
    assert notice.code == "not-in-timeline"
    assert notice.text.startswith("1 exchange or event has no time")


def test_names_are_escaped_as_json() -> None:
    talk = Talk()
    name = 'a"\\\n\x1b[31m</script>\u202e'
    talk.call("domain_suspend", domain(name), at=START)
    (call,) = timeline(talk).of("X")
    assert call["args"]["object"]["name"] == name


def test_memory_of_lanes_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chrome_trace, "MAX_THREADS", 8)
    talk = Talk()
    for number in range(50):
        for _ in range(3):
            suspend(talk, number * MS, MS // 2, conn=number % 10 + 1)
    trace = ChromeTrace(registry.default())
    capture = Capture("x", lambda _: iter(talk), registry.default())
    data = b"".join([trace.begin(), *TimelineView(trace).take(capture), trace.end()])
    assert len(read(data).of("X")) == 150
    assert len(trace._processes) <= 8
    assert sum(len(each.lanes) for each in trace._processes.values()) <= 8


calls = st.lists(
    st.tuples(
        st.integers(1, 3),
        st.integers(0, 50),
        st.one_of(st.none(), st.integers(0, 20)),
        st.booleans(),
    ),
    max_size=30,
)


@given(calls)
def test_every_exchange_is_in_a_lane_once(drawn: list[tuple[int, int, int | None, bool]]) -> None:
    talk = Talk()
    for conn, at, takes, failed in drawn:
        suspend(talk, at, takes, conn=conn, error=b"no" if failed else None)
    if drawn and drawn[0][3]:
        talk.close(conn=drawn[0][0], at=START + 100)
    trace = timeline(talk)
    last = max((time for time, _ in talk.items), default=0) - min((time for time, _ in talk.items), default=0)
    first = min((at for _, at, _, _ in drawn), default=0)
    expected = sorted(
        (conn, at - first, last if takes is None else at - first + takes)
        for conn, at, takes, _ in drawn
        if takes is not None
    )
    number = {pid: int(name.partition("-")[0][-1]) for pid, name in trace.processes.items()}
    found = sorted(
        (number[event["pid"]], event["ts"], event["ts"] + event["dur"])
        for event in trace.of("X")
        if event["cat"] in ("ok", "error")
    )
    assert found == expected
    assert len(trace.of("X")) == len(drawn)
    # No more lanes than calls that overlap, where all are answered: a moment in all of them is a start.
    if all(takes is not None for _, _, takes, _ in drawn):
        for conn in {each[0] for each in drawn}:
            spans = [(at, at + (takes or 0)) for each, at, takes, _ in drawn if each == conn]
            overlapping = max(sum(one <= at < other for one, other in spans) for at, _ in spans)
            used = len({event["tid"] for event in trace.of("X") if number[event["pid"]] == conn})
            assert used <= max(overlapping, 1)


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(20, 60)), min_size=1, max_size=20))
def test_every_merged_exchange_has_copies_and_a_flow(drawn: list[tuple[int, int]]) -> None:
    trace = timeline(merged(drawn, 10))
    assert len(trace.of("X")) == 2 * len(drawn)
    assert len(trace.of("s")) == len(trace.of("f")) == len(drawn)


def test_judge_of_nesting_refuses_overlaps() -> None:
    check_nested([(0, 10), (0, 4), (4, 10), (5, 5), (10, 12)])
    with pytest.raises(AssertionError):
        check_nested([(0, 10), (5, 11)])


@pytest.mark.parametrize(
    "change",
    [
        {"ph": "B"},
        {"tid": 0},
        {"ts": 1},
        {"pid": 99},
        {"cname": "red"},
        {"args": {}},
    ],
)
def test_judge_refuses_other_events(change: dict[str, Any]) -> None:
    talk = Talk()
    suspend(talk, 0, MS)
    trace = ChromeTrace(registry.default())
    capture = Capture("x", lambda _: iter(talk), registry.default())
    data = b"".join([trace.begin(), *TimelineView(trace).take(capture), trace.end()])
    read(data)
    whole = json.loads(data)
    whole["traceEvents"][-1] |= change
    with pytest.raises((AssertionError, KeyError)):
        read(json.dumps(whole).encode())
