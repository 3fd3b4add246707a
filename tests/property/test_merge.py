"""Two incomplete recordings of one conversation, with two clocks."""

from __future__ import annotations

import random
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from libvirt_proto.capture.align import align
from libvirt_proto.capture.merge import merge
from libvirt_proto.events import Captured, Connection, ConnectionEvent, Direction, Notice
from libvirt_proto.rpc.message import decode_message
from tests.support.frames import frame

NAMES = ("client.pcap", "server.pcap")
HOUR = 3_600_000_000_000
BOTH: tuple[Direction, ...] = ("c2s", "s2c")

elements = st.lists(st.integers(0, 6), max_size=40)


@given(elements, elements)
def test_alignment_pairs_equal_elements_once(left: list[int], right: list[int]) -> None:
    pairs = align(left, right)
    assert all(left[i] == right[j] for i, j in pairs)
    assert len({i for i, _ in pairs}) == len({j for _, j in pairs}) == len(pairs)


@given(elements)
def test_equal_sequences_are_aligned_throughout(both: list[int]) -> None:
    assert align(both, both) == [(at, at) for at in range(len(both))]


@given(st.lists(st.integers(0, 2), max_size=20), st.integers(0, 20), st.integers(0, 20))
def test_aligns_sequence_without_its_ends(repeated: list[int], start: int, stop: int) -> None:
    """A unique element in the middle aligns the rest."""
    whole = [*repeated, 99, *repeated]
    start, stop = min(start, len(repeated)), len(whole) - min(stop, len(repeated))
    assert align(whole, whole[start:stop]) == [(start + at, at) for at in range(stop - start)]


@st.composite
def conversations(draw: st.DrawFn) -> list[tuple[int, Direction, bytes, int]]:
    """(connection, direction, frame, time of sending) of calls, replies and stream messages that repeat."""
    messages, time = [], HOUR
    for serial in range(draw(st.integers(1, 12))):
        connection = draw(st.integers(1, 3))
        proc = draw(st.integers(1, 400))
        for direction, type_, status in draw(
            st.sampled_from(
                (
                    (("c2s", 0, 0), ("s2c", 1, 0)),
                    (("c2s", 0, 0), ("s2c", 1, 1)),
                    (("c2s", 0, 0), ("s2c", 1, 0), *((("s2c", 3, 2),) * 3)),
                )
            )
        ):
            time += draw(st.integers(1_000_000, 50_000_000))
            data = frame(bytes(4), proc=proc, type_=type_, status=status, serial=serial)
            messages.append((connection, direction, data, time))
    return messages


def recorded(
    messages: list[tuple[int, Direction, bytes, int]], side: Direction, delay: int, ahead: int, label: str
) -> list[Captured]:
    """The recording of the side that sends `side`, with a clock that is ahead."""
    seen = [
        (time + ahead + (0 if direction == side else delay), connection, direction, data)
        for connection, direction, data, time in messages
    ]
    seen.sort(key=lambda item: item[0])
    names = {number: Connection(number, f"{label}{number}", "", "unix") for number in (1, 2, 3)}
    return [
        Captured(n, time, names[connection], direction, decode_message(data))
        for n, (time, connection, direction, data) in enumerate(seen, 1)
    ]


@given(
    conversations(),
    st.integers(-5 * HOUR, 5 * HOUR),
    st.integers(0, 900_000),
    st.booleans(),
)
def test_merges_one_timeline_and_finds_clock_offset(
    messages: list[tuple[int, Direction, bytes, int]], ahead: int, delay: int, client_first: bool
) -> None:
    client = recorded(messages, "c2s", delay, 0, "c")
    server = recorded(messages, "s2c", delay, ahead, "s")
    first, second = (client, server) if client_first else (server, client)
    items = list(merge(first, second, NAMES))
    notices = [item for item in items if isinstance(item, Notice)]
    merged = [item for item in items if isinstance(item, Captured)]
    assert [item.n for item in merged] == list(range(1, len(messages) + 1))
    assert all(len(item.sightings) == 2 for item in merged)
    # In the order of sending, at those times, within the transit time.
    shift = 0 if client_first else ahead
    assert [item.message.header for item in merged] == [decode_message(m[2]).header for m in messages]
    for item, (_, _, _, sent) in zip(merged, messages, strict=True):
        assert item.time_ns is not None
        assert abs(item.time_ns - shift - sent) <= delay
    assert [notice.code for notice in notices] == ["clock-difference"]


@given(conversations(), st.randoms(use_true_random=False))
def test_messages_of_one_recording_are_kept(
    messages: list[tuple[int, Direction, bytes, int]], dice: random.Random
) -> None:
    keep = [dice.random() for _ in messages]
    first = recorded([m for m, k in zip(messages, keep, strict=True) if k < 0.7], "c2s", 5, 0, "c")
    second = recorded([m for m, k in zip(messages, keep, strict=True) if k > 0.3], "s2c", 5, HOUR, "s")
    merged = [item for item in merge(first, second, NAMES) if isinstance(item, Captured)]
    sightings = [sighting.recording for item in merged for sighting in item.sightings]
    assert sightings.count(NAMES[0]) == len(first)
    assert sightings.count(NAMES[1]) == len(second)
    assert all(1 <= len(item.sightings) <= 2 for item in merged)
    assert all((a.time_ns or 0) <= (b.time_ns or 0) for a, b in pairwise(merged))


@given(conversations())
def test_recordings_without_clocks_merge_by_order(
    messages: list[tuple[int, Direction, bytes, int]],
) -> None:
    def untimed(items: list[Captured]) -> list[Captured]:
        return [Captured(i.n, None, i.connection, i.direction, i.message) for i in items]

    first = recorded(messages, "c2s", 5, 0, "c")
    items = list(merge(untimed(first), untimed(recorded(messages, "s2c", 5, 0, "s")), NAMES))
    merged = [item for item in items if isinstance(item, Captured)]
    assert [item.message for item in merged] == [item.message for item in first]
    assert [item.code for item in items if isinstance(item, Notice)] == ["no-clock-difference"]


def test_rejects_unrelated_recordings() -> None:
    one = Captured(1, 5, Connection(1, "a", "b"), "c2s", decode_message(frame(proc=1)))
    two = Captured(1, 4, Connection(1, "c", "d"), "c2s", decode_message(frame(proc=2)))
    notice, *merged = merge([one], [two], NAMES)
    assert isinstance(notice, Notice)
    assert (notice.code, notice.severity) == ("nothing-in-common", "error")
    assert [(item.message.header.proc, item.connection.id) for item in merged] == [(2, 2), (1, 1)]  # type: ignore[union-attr]


def test_prefers_the_more_complete_copy() -> None:
    """A log has only the header, a capture the payload."""
    data = frame(b"\0\0\0\1x\0\0\0", proc=23)
    log = Captured(1, 7, Connection(1, "0x1", "", "log"), "c2s", decode_message(data[:28], missing=8))
    capture = Captured(1, 5, Connection(1, "a", "b"), "c2s", decode_message(data))
    for first, second in ((log, capture), (capture, log)):
        _, item = merge([first], [second], NAMES)
        assert isinstance(item, Captured)
        assert item.message == decode_message(data)


def test_events_use_first_clock_and_connection() -> None:
    first = recorded([(1, "c2s", frame(), HOUR), (1, "s2c", frame(type_=1), HOUR + 9)], "c2s", 2, 0, "c")
    second = recorded([(1, "c2s", frame(), HOUR), (1, "s2c", frame(type_=1), HOUR + 9)], "s2c", 2, 50, "s")
    event = ConnectionEvent("keepalive_start", HOUR + 52, second[0].connection)
    items = [item for item in merge(first, [*second, event], NAMES) if not isinstance(item, Notice)]
    assert [type(item).__name__ for item in items] == ["Captured", "ConnectionEvent", "Captured"]
    assert (items[1].time_ns, items[1].connection) == (HOUR + 2, first[0].connection)
