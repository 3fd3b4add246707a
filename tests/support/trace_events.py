"""The rules of the Trace Event Format, and those of its viewers, for the events that we write."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, NamedTuple

#: Phase → the keys that its events must have, and those that they may have.
KEYS = {
    "M": ({"ph", "pid", "tid", "name", "args"}, set()),
    "X": ({"ph", "pid", "tid", "name", "cat", "ts", "dur", "args"}, {"cname"}),
    "i": ({"ph", "pid", "tid", "name", "cat", "ts", "s", "args"}, set()),
    "s": ({"ph", "pid", "tid", "name", "cat", "ts", "id"}, set()),
    "f": ({"ph", "pid", "tid", "name", "cat", "ts", "id", "bp"}, set()),
}
#: Facts about a process and a thread, with the key and the type of their argument.
FACTS = {
    "process_name": ("name", str),
    "process_sort_index": ("sort_index", int),
    "thread_name": ("name", str),
    "thread_sort_index": ("sort_index", int),
}
#: Two of the names that chrome://tracing reserves for colours.
COLOURS = {"terrible", "bad"}


class Trace(NamedTuple):
    """A trace: its events with times in ns, names of processes and threads, and what is after the events."""

    events: list[dict[str, Any]]
    processes: dict[int, str]
    threads: dict[int, str]
    about: dict[str, str]

    def of(self, phase: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["ph"] == phase]

    def lanes(self) -> list[tuple[str, str, list[tuple[str, int, int]]]]:
        """Process, thread, and (name, start, end) of its complete events, in order."""
        found = defaultdict(list)
        for event in self.of("X"):
            span = (event["name"], event["ts"], event["ts"] + event["dur"])
            found[event["pid"], event["tid"]].append(span)
        return [
            (self.processes[pid], self.threads[tid], sorted(spans, key=lambda span: (span[1], -span[2])))
            for (pid, tid), spans in sorted(found.items())
        ]


def read(data: bytes) -> Trace:
    """Return a trace; raises AssertionError for anything that a viewer would not show as it is meant."""
    whole = json.loads(data, parse_float=Decimal)
    assert list(whole) == ["displayTimeUnit", "traceEvents", "otherData"]
    assert whole["displayTimeUnit"] == "ns"
    assert all(isinstance(value, str) for value in whole["otherData"].values())
    facts: dict[tuple[int, int], dict[str, Any]] = defaultdict(dict)
    for event in whole["traceEvents"]:
        _check_keys(event)
        if event["ph"] == "M":
            _add_fact(facts, event)
            continue
        assert set(facts[event["pid"], event["pid"]]) == {"process_name", "process_sort_index"}
        assert set(facts[event["pid"], event["tid"]]) == {"thread_name", "thread_sort_index"}
        for key in ("ts", "dur"):
            if key in event:
                assert isinstance(event[key], Decimal)
                assert event[key].as_tuple().exponent == -3, event  # nanoseconds
                event[key] = int(event[key] * 1000)
        assert event.get("dur", 0) >= 0
    processes = {pid: each["process_name"] for (pid, tid), each in facts.items() if pid == tid}
    threads = {tid: each["thread_name"] for (pid, tid), each in facts.items() if pid != tid}
    # Perfetto knows threads by their numbers, the Firefox Profiler orders processes by their indexes.
    assert len({*processes, *threads}) == len(facts)
    indexes = {
        (each["process_sort_index"], each["process_name"]) for (pid, tid), each in facts.items() if pid == tid
    }
    assert len(dict(indexes)) == len(indexes)
    found = Trace(whole["traceEvents"], processes, threads, whole["otherData"])
    slices = defaultdict(list)
    for event in found.of("X"):
        slices[event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
    for spans in slices.values():
        check_nested(spans)
    _check_flows(found, slices)
    return found


def _check_keys(event: dict[str, Any]) -> None:
    needed, possible = KEYS[event["ph"]]
    assert needed <= event.keys() <= needed | possible, event
    assert event.get("cname", "bad") in COLOURS
    assert event.get("s", "t") == "t"
    assert event.get("bp", "e") == "e"
    assert isinstance(event["name"], str)
    for key in ("pid", "tid"):
        assert 0 < event[key] < 2**32
    if event["ph"] in "Xi":
        assert isinstance(event["args"]["detail"], str)


def _add_fact(facts: dict[tuple[int, int], dict[str, Any]], event: dict[str, Any]) -> None:
    key, kind = FACTS[event["name"]]
    known = facts[event["pid"], event["tid"]]
    assert event["name"] not in known
    assert (event["pid"] == event["tid"]) == event["name"].startswith("process_")
    (known[event["name"]],) = event["args"].values()
    assert type(event["args"][key]) is kind


def check_nested(spans: Iterable[tuple[int, int]]) -> None:
    """Check that of two spans one is in the other, or one ends before the other begins."""
    open_ends: list[int] = []
    for start, end in sorted(spans, key=lambda span: (span[0], -span[1])):
        while open_ends and open_ends[-1] <= start:
            open_ends.pop()
        assert not open_ends or end <= open_ends[-1], (start, end, open_ends)
        open_ends.append(end)


def _check_flows(trace: Trace, slices: dict[int, list[tuple[int, int]]]) -> None:
    flows = defaultdict(list)
    for event in trace.events:
        if event["ph"] in "sf":
            int(event["id"], 16)  # Perfetto's ids are hex
            flows[event["id"]].append(event)
    for each in flows.values():
        begin, end = each
        assert (begin["ph"], end["ph"]) == ("s", "f")
        assert (begin["name"], begin["cat"]) == (end["name"], end["cat"])
        assert begin["ts"] <= end["ts"]
        assert begin["pid"] != end["pid"]
        for event in each:
            assert any(start <= event["ts"] <= stop for start, stop in slices[event["tid"]])
