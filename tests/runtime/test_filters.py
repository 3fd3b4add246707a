"""Filters of one pass: numbers, times, latency, objects, and messages around them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from libvirt_proto import filters, registry
from libvirt_proto.events import Captured, Closed, Connection
from libvirt_proto.filters import Filter, Selection
from libvirt_proto.moments import duration_ns, moment
from tests.property.test_session import anything
from tests.runtime.test_session import CALL, CONTINUE, ERROR, EVENT, REPLY, STREAM, Wire, run
from tests.support.frames import CONNECTION, error_payload, text, word

DEFINITIONS = registry.default()
OTHER = Connection(2, "127.0.0.1:40510", "127.0.0.1:16509")
UUID = bytes(range(16))
UUID_TEXT = "00010203-0405-0607-0809-0a0b0c0d0e0f"
CLOSE, LOOKUP, SCREENSHOT, LOOKUP_ID = 2, 23, 211, 22
RESUME, LIFECYCLE, VOL_INFO, POOL_LOOKUP = (
    DEFINITIONS.program("remote").procedure(name).number
    for name in (
        "domain_resume",
        "domain_event_lifecycle",
        "storage_vol_get_info",
        "storage_pool_lookup_by_uuid",
    )
)


def domain(name: bytes = b"vm1", uuid: bytes = UUID) -> bytes:
    return text(name) + uuid + word(1)


@pytest.fixture
def wire() -> Wire:
    return Wire()


def shown(
    conditions: dict[str, Any], *items: Captured | Closed, start_ns: int = 0, whole_calls: bool = False
) -> list[int]:
    """The numbers of the messages that a filter accepts, in the order of the output."""
    selection = Selection(Filter(DEFINITIONS, **conditions), whole_calls=whole_calls)
    selection.start_ns = start_ns
    found = [message.n for item in items for message in selection.feed(item)]
    return found + [message.n for message in selection.finish()]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["2"], [2]),
        (["2-3"], [2, 3]),
        (["4-"], [4, 5]),
        (["1,4-5"], [1, 4, 5]),
        ([1, "5"], [1, 5]),
        (["9"], []),
    ],
)
def test_numbers_of_messages(wire: Wire, words: list[str | int], expected: list[int]) -> None:
    items = [wire(CALL, n + 10) for n in range(5)]
    assert shown({"messages": words}, *items) == expected


def test_frames_and_serials(wire: Wire) -> None:
    items = [replace(wire(CALL, serial), packet=serial * 10) for serial in (3, 4, 5)]
    assert shown({"frames": ["30-40"]}, *items) == [1, 2]
    assert shown({"serials": ["4-"]}, *items) == [2, 3]
    assert shown({"frames": ["30-"], "serials": [5]}, *items) == [3]
    assert shown({"frames": [1]}, wire(CALL, 1)) == []


@pytest.mark.parametrize("word", ["", "x", "-", "-3", "3-2", "1--2", "٣", "1.5", "1, ", "+1"])
@pytest.mark.parametrize("kind", ["messages", "frames", "serials"])
def test_rejects_other_words_for_numbers(kind: str, word: str) -> None:
    with pytest.raises(ValueError, match="expected N"):
        Filter(DEFINITIONS, **{kind: [word]})  # type: ignore[arg-type]


START = datetime(2026, 11, 22, 21, 31, 50, tzinfo=UTC)


@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [
        ("2ms", None, [2, 3, 4]),
        (None, "0.002", [1, 2]),
        ("+2ms", "3000us", [2, 3]),
        ("21:31:50.003", None, [3, 4]),
        ("2026-11-22T21:31:50.003Z", "2026-11-22 22:31:50.003+01:00", [3]),
        ("2026-11-22T21:31:50,003000000", None, [3, 4]),
        (START + timedelta(milliseconds=4), None, [4]),
        ("1h", None, []),
    ],
)
def test_since_and_until(wire: Wire, since: Any, until: Any, expected: list[int]) -> None:
    start_ns = int(START.timestamp()) * 10**9
    items = [replace(wire(CALL, n), time_ns=start_ns + (n + 1) * 10**6) for n in range(4)]
    assert shown({"since": since, "until": until}, *items, start_ns=start_ns) == expected


def test_messages_without_a_time_are_in_no_window(wire: Wire) -> None:
    assert shown({"since": "0s"}, wire(CALL, 1, clock=False), wire(CALL, 2)) == [2]


def test_a_time_of_day_long_before_the_beginning_is_on_the_next_day() -> None:
    start_ns = int(datetime(2026, 11, 22, 23, 50, tzinfo=UTC).timestamp()) * 10**9
    assert moment("00:10").at(start_ns) - start_ns == 20 * 60 * 10**9
    assert moment("23:40").at(start_ns) - start_ns == -10 * 60 * 10**9


@pytest.mark.parametrize("word", ["", "now", "-1s", "25:00", "1.2.3", "2026-13-01", "1 day", "1e3", "٣s"])
def test_rejects_other_words_for_times(word: str) -> None:
    with pytest.raises(ValueError, match="expected seconds since the beginning"):
        Filter(DEFINITIONS, since=word)
    with pytest.raises(ValueError, match="expected a duration such as 50ms"):
        Filter(DEFINITIONS, slower_than=word)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("50ms", 50_000_000),
        ("1.5s", 1_500_000_000),
        ("2", 2 * 10**9),
        ("7 µs", 7000),
        ("1h", 3600 * 10**9),
        ("0.1ns", 0),
        (0.25, 250_000_000),
        (1, 10**9),
        (timedelta(milliseconds=3), 3_000_000),
    ],
)
def test_durations(value: Any, expected: int) -> None:
    assert duration_ns(value) == expected


def test_slow_calls_come_before_their_replies(wire: Wire) -> None:
    slow, fast = wire(CALL, 1), wire(CALL, 2)
    replies = wire(REPLY, 2), wire(REPLY, 1)
    assert shown({"slower_than": "3ms"}, slow, fast, *replies) == [1, 4]
    assert shown({"slower_than": "1ms"}, slow, fast, *replies) == [2, 3, 1, 4]
    assert shown({"slower_than": "3ms", "types": ["call"]}, slow, fast, *replies) == [1]
    assert shown({"slower_than": "3ms", "types": ["reply"]}, slow, fast, *replies) == [4]


def test_calls_without_a_reply_are_slow(wire: Wire) -> None:
    first, other, last = wire(CALL, 1), wire(CALL, 1, connection=OTHER), wire(CALL, 2)
    assert shown({"slower_than": "1h"}, first, other, Closed(OTHER, 0), last) == [2, 1, 3]
    assert shown({"slower_than": "1h"}, wire(REPLY, 9), wire(EVENT, 0, proc=LIFECYCLE)) == []


def test_calls_with_a_repeated_serial_keep_the_last(wire: Wire) -> None:
    assert shown({"slower_than": "1ms"}, wire(CALL, 1), wire(CALL, 1), wire(REPLY, 1)) == [2, 3]


def test_slow_exchanges() -> None:
    wire = Wire()
    messages = wire(CALL, 1), wire(CALL, 2), wire(REPLY, 2), wire(REPLY, 1), wire(CALL, 3), wire(REPLY, 9)
    selection = Selection(Filter(DEFINITIONS, slower_than="3ms"))
    accepted = [each for exchange in run(*messages) for each in selection.exchange(exchange)]
    assert [(each.header.serial, each.outcome) for each in accepted] == [(1, "ok"), (3, "pending")]


def test_object_by_name(wire: Wire) -> None:
    items = [
        wire(CALL, 1, proc=RESUME, payload=domain(b"vm2", bytes(16))),
        wire(CALL, 2, proc=RESUME, payload=domain()),
        wire(REPLY, 1, proc=RESUME),
        wire(REPLY, 2, ERROR, error_payload(55, 10, b"is not paused"), proc=RESUME),
        wire(EVENT, 0, proc=LIFECYCLE, payload=domain() + word(0) * 2),
        wire(EVENT, 0, proc=LIFECYCLE, payload=domain(b"vm2", bytes(16)) + word(0) * 2),
    ]
    assert shown({"objects": ["vm1"]}, *items) == [2, 4, 5]
    assert shown({"objects": ["vm1", "vm2"]}, *items) == [1, 2, 3, 4, 5, 6]
    assert shown({"objects": ["network:vm1"]}, *items) == []
    assert shown({"objects": ["domain:vm1"], "errors_only": True}, *items) == [4]


@pytest.mark.parametrize("word", [UUID_TEXT, UUID_TEXT.upper(), UUID.hex()])
def test_object_by_uuid_is_resolved_through_look_ups(wire: Wire, word: str) -> None:
    """A look-up by name shows before its reply; later messages with only the name are recognised."""
    items = [
        wire(CALL, 1, proc=LOOKUP, payload=text(b"vm1")),
        wire(CALL, 2, proc=LOOKUP, payload=text(b"vm2")),
        wire(REPLY, 2, proc=LOOKUP, payload=domain(b"vm2", bytes(16))),
        wire(REPLY, 1, proc=LOOKUP, payload=domain()),
        wire(CALL, 3, proc=LOOKUP, payload=text(b"vm1")),
        wire(CALL, 4, proc=RESUME, payload=domain(b"vm1", bytes(16))),
    ]
    assert shown({"objects": [word]}, *items) == [1, 4, 5]


def test_pool_of_a_volume(wire: Wire) -> None:
    volume = text(b"default") + text(b"disk1") + text(b"/default/disk1")
    items = [
        wire(CALL, 1, proc=VOL_INFO, payload=volume),
        wire(CALL, 2, proc=POOL_LOOKUP, payload=UUID),
        wire(REPLY, 2, proc=POOL_LOOKUP, payload=text(b"default") + UUID),
        wire(CALL, 3, proc=VOL_INFO, payload=volume),
    ]
    assert shown({"objects": ["pool:default"]}, *items) == [1, 2, 3, 4]
    assert shown({"objects": [f"pool:{UUID_TEXT}"]}, *items) == [2, 3, 4]
    assert shown({"objects": ["volume:disk1"]}, *items) == [1, 4]


def test_stream_of_an_object(wire: Wire) -> None:
    stream = [
        wire(CALL, 1, proc=SCREENSHOT, payload=domain() + word(0) * 2),
        wire(REPLY, 1, proc=SCREENSHOT, payload=word(0)),
        wire(STREAM, 1, CONTINUE, b"data", proc=SCREENSHOT),
        wire(STREAM, 1, proc=SCREENSHOT),
    ]
    assert shown({"objects": ["vm1"]}, *stream) == [1, 2, 3, 4]
    assert shown({"objects": ["vm2"]}, *stream) == []
    assert shown({"slower_than": "1ms", "objects": ["vm1"]}, *stream) == [1, 2, 3, 4]


@pytest.mark.parametrize("word", ["", "pool:"])
def test_rejects_object_without_a_name(word: str) -> None:
    with pytest.raises(ValueError, match="expected the name or UUID of an object"):
        Filter(DEFINITIONS, objects=[word])


def test_context(wire: Wire) -> None:
    items = [wire(CALL, n) for n in range(1, 10)]
    assert shown({"serials": [5], "context": 2}, *items) == [3, 4, 5, 6, 7]
    assert shown({"serials": [2, 4], "context": 1}, *items) == [1, 2, 3, 4, 5]
    assert shown({"serials": [9], "context": 20}, *items) == list(range(1, 10))


def test_context_is_on_the_given_connections(wire: Wire) -> None:
    items = [wire(CALL, n, connection=OTHER if n % 2 else CONNECTION) for n in range(1, 8)]
    assert shown({"serials": [4], "context": 1, "connections": ["1"]}, *items) == [2, 4, 6]


def test_context_of_calls_that_their_replies_select(wire: Wire) -> None:
    """Each message is shown once, in order as far as the context reaches."""
    items = [wire(CALL, 1), wire(CALL, 2), wire(CALL, 3), wire(REPLY, 1), wire(REPLY, 3), wire(REPLY, 2)]
    assert shown({"slower_than": "3ms", "context": 1}, *items) == [1, 3, 4, 5, 2, 6]
    assert shown({"slower_than": "3ms", "context": 5}, *items) == [1, 2, 3, 4, 5, 6]
    assert shown({"slower_than": "4ms", "types": ["call"], "context": 5}, *items) == [1, 2, 3, 4, 5, 6]


def test_context_of_exchanges() -> None:
    wire = Wire()
    done = run(*(wire(kind, serial) for serial in range(1, 6) for kind in (CALL, REPLY)))
    selection = Selection(Filter(DEFINITIONS, serials=["3"], context=1))
    assert [each.n for exchange in done for each in selection.exchange(exchange)] == [2, 3, 4]


def test_waiting_calls_are_bounded(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest are given up: they took long, and name no object any more."""
    monkeypatch.setattr(filters, "MAX_OPEN", 3)
    calls = [wire(CALL, serial, proc=LOOKUP, payload=text(b"vm1")) for serial in range(1, 7)]
    assert shown({"slower_than": "1h"}, *calls) == [1, 2, 3, 4, 5, 6]
    selection = Selection(Filter(DEFINITIONS, slower_than="1h"))
    assert [each.n for call in calls for each in selection.feed(call)] == [1, 2, 3]
    replies = [wire(REPLY, serial, proc=LOOKUP, payload=domain()) for serial in range(1, 7)]
    assert shown({"objects": [UUID_TEXT], "types": ["call"]}, *calls, *replies) == [4, 5, 6]
    monkeypatch.setattr(filters, "MAX_OPEN_BYTES", 100)
    assert shown({"objects": [UUID_TEXT], "types": ["call"]}, *calls, *replies) == [5, 6]


def test_unanswered_calls_next_to_each_other_are_shown_once(wire: Wire) -> None:
    calls = [wire(CALL, 1), wire(CALL, 2), wire(CALL, 3)]
    closed = Closed(calls[0].connection, 4)
    assert shown({"slower_than": 0, "context": 2}, *calls, closed) == [1, 2, 3]


def test_neighbour_of_another_connection_is_shown_once(wire: Wire) -> None:
    """It is a call without a reply, too, and its connection ends later."""
    first = wire(CALL, 1)
    second = replace(wire(CALL, 2), connection=replace(first.connection, id=2))
    ends = [Closed(each.connection, 4) for each in (first, second)]
    assert shown({"slower_than": 0, "context": 2}, first, second, *ends) == [1, 2]


@given(
    anything(), st.sampled_from([{}, {"objects": ["vm1", UUID_TEXT]}, {"slower_than": 0}]), st.integers(0, 3)
)
def test_any_messages_are_shown_once(seen: list[Any], conditions: dict[str, Any], context: int) -> None:
    """Only messages of the input are shown, each at most once, and context only adds."""
    items = [item for item in seen if isinstance(item, Captured | Closed)]
    plain = shown(conditions, *items)
    more = shown({**conditions, "context": context}, *items)
    fed = [item.n for item in items if isinstance(item, Captured)]
    assert len(plain) == len(set(plain))
    assert len(more) == len(set(more))
    assert set(plain) <= set(more) <= set(fed)
    if not conditions:
        assert plain == fed


def test_whole_calls_with_an_error(wire: Wire) -> None:
    """Calls, replies and streams come with the message that fails, in order; data only with its length."""
    stream = [
        wire(CALL, 1, proc=SCREENSHOT, payload=domain() + word(0) * 2),
        wire(REPLY, 1, proc=SCREENSHOT, payload=word(0)),
        wire(STREAM, 1, CONTINUE, b"data", proc=SCREENSHOT),
    ]
    other = [wire(CALL, 2, proc=CLOSE), wire(REPLY, 2, proc=CLOSE), wire(EVENT, 0, proc=CLOSE)]
    failure = wire(STREAM, 1, ERROR, error_payload(55, 10, b"no"), proc=SCREENSHOT)
    last = [wire(CALL, 3, proc=CLOSE), wire(REPLY, 3, ERROR, error_payload(1, 10, b"no"), proc=CLOSE)]
    items = [*stream, *other, failure, *last]
    assert shown({"errors_only": True}, *items, whole_calls=True) == [1, 2, 3, 7, 8, 9]
    assert shown({"errors_only": True, "types": ["call"]}, *items, whole_calls=True) == [1, 2, 3, 7, 8, 9]
    assert shown({"messages": [4], "errors_only": True}, *items, whole_calls=True) == []
    assert shown({"procedures": ["connect_close"]}, *items, whole_calls=True) == [4, 5, 6, 8, 9]
    selection = Selection(Filter(DEFINITIONS, errors_only=True), whole_calls=True)
    found = [message.message for item in items for message in selection.feed(item)]
    assert (found[2].length, found[2].data) == (28 + 4, None)


def test_memory_of_whole_calls_is_bounded(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream whose end may be an error is given up, and what follows counts as a stream without a call."""
    monkeypatch.setattr(filters, "MAX_OPEN_BYTES", 20_000)
    opening = [
        wire(CALL, 1, proc=SCREENSHOT, payload=domain() + word(0) * 2),
        wire(REPLY, 1, proc=SCREENSHOT, payload=word(0)),
    ]
    data = [wire(STREAM, 1, CONTINUE, bytes(30_000), proc=SCREENSHOT) for _ in range(100)]
    failure = wire(STREAM, 1, ERROR, error_payload(55, 10, b"no"), proc=SCREENSHOT)
    found = shown({"errors_only": True}, *opening, *data, failure, whole_calls=True)
    assert 0 < len(found) <= 20
    assert found == list(range(found[0], failure.n + 1))


@st.composite
def conversations(draw: st.DrawFn) -> list[Captured]:
    """Calls with their replies and streams, interleaved."""
    screenshot = {"proc": SCREENSHOT}
    calls: list[list[tuple[int, int, bytes, dict[str, int]]]] = []
    for _ in range(draw(st.integers(0, 6))):
        name = draw(st.sampled_from([b"vm1", b"vm2"]))
        call = (CALL, 0, domain(name, bytes(16)), {"proc": RESUME})
        upload = (CALL, 0, domain(name, bytes(16)) + word(0) * 2, screenshot)
        answer, failed = (REPLY, 0, b"", {"proc": RESUME}), (REPLY, ERROR, error_payload(1, 1, b"no"), {})
        opened, data = (REPLY, 0, word(0), screenshot), (STREAM, CONTINUE, b"1234", screenshot)
        end, broken = (STREAM, 0, b"", screenshot), (STREAM, ERROR, error_payload(1, 1, b"no"), screenshot)
        forms = [
            [call],
            [call, answer],
            [call, (*failed[:3], {"proc": RESUME})],
            [upload, opened, data, data, end],
            [upload, opened, data, broken],
            [upload, (*failed[:3], screenshot)],
        ]
        calls.append(list(draw(st.sampled_from(forms))))
    order = draw(st.permutations([serial for serial, call in enumerate(calls) for _ in call]))
    wire = Wire()
    sent = []
    for serial in order:
        type_, status, payload, header = calls[serial].pop(0)
        sent.append(wire(type_, serial, status, payload, **header))
    return sent


@given(
    conversations(),
    st.sampled_from(
        [
            {"errors_only": True},
            {"slower_than": "3ms"},
            {"slower_than": "3ms", "errors_only": True},
            {"objects": ["vm1"], "errors_only": True},
            {"procedures": [str(SCREENSHOT)]},
            {"serials": ["1-3"]},
            {"types": ["reply"], "errors_only": True},
        ]
    ),
)
def test_whole_calls_are_the_exchanges_that_pass(items: list[Captured], conditions: dict[str, Any]) -> None:
    selection = Selection(Filter(DEFINITIONS, **conditions))
    accepted = {each.header.serial for exchange in run(*items) for each in selection.exchange(exchange)}
    expected = [item.n for item in items if item.message.header.serial in accepted]
    assert sorted(shown(conditions, *items, whole_calls=True)) == expected


@given(anything(), st.sampled_from([{"errors_only": True}, {"objects": ["vm1"]}, {"slower_than": 0}, {}]))
def test_whole_calls_show_any_message_once(seen: list[Any], conditions: dict[str, Any]) -> None:
    items = [item for item in seen if isinstance(item, Captured | Closed)]
    found = shown(conditions, *items, whole_calls=True)
    assert len(found) == len(set(found))
    assert set(shown(conditions, *items)) <= set(found) <= {i.n for i in items if isinstance(i, Captured)}


def test_exchange_of_a_message_that_failed() -> None:
    """The message and the error may be two."""
    wire = Wire()
    failed = [wire(CALL, 1, proc=CLOSE), wire(REPLY, 1, ERROR, error_payload(1, 1, b"no"), proc=CLOSE)]
    done = run(*failed, wire(CALL, 2, proc=CLOSE), wire(REPLY, 2, proc=CLOSE))
    selection = Selection(Filter(DEFINITIONS, messages=["1-4"], types=["call"], errors_only=True))
    assert [each.n for exchange in done for each in selection.exchange(exchange)] == [1]
