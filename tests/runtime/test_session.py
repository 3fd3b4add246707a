"""Calls with their replies and streams: every outcome of an exchange."""

from __future__ import annotations

import struct
from itertools import count
from typing import Any

import msgspec
import pytest

from libvirt_proto import registry, session
from libvirt_proto.events import Captured, Closed, Connection, Direction
from libvirt_proto.rpc.wire import KEEPALIVE_PROGRAM
from libvirt_proto.session import Exchange, Sessions, role
from tests.support.frames import CONNECTION, captured, error_payload, frame, text, word

CALL, REPLY, EVENT, STREAM, CALL_FDS, REPLY_FDS, HOLE = range(7)
OK, ERROR, CONTINUE = range(3)
SCREENSHOT, UPLOAD, TUNNEL3_PARAMS = 211, 208, 304
OTHER = Connection(2, "127.0.0.1:40510", "127.0.0.1:16509")
ERROR_PAYLOAD = error_payload(42, 12, b"no domain")


class Wire:
    """Builds messages, one millisecond apart."""

    def __init__(self) -> None:
        self._n = count(1)

    def __call__(
        self,
        type_: int,
        serial: int,
        status: int = OK,
        payload: bytes = b"",
        *,
        direction: Direction | str | None = "",
        connection: Connection = CONNECTION,
        clock: bool = True,
        proc: int = 6,
        **header: int,
    ) -> Captured:
        n = next(self._n)
        if direction == "":
            direction = "c2s" if type_ in (CALL, CALL_FDS) else "s2c"
        data = frame(payload, type_=type_, serial=serial, status=status, proc=proc, **header)
        time_ns = n * 1_000_000 if clock else None
        return captured(data, n, time_ns, direction, connection)  # type: ignore[arg-type]


@pytest.fixture
def wire() -> Wire:
    return Wire()


def run(*messages: Captured | Closed, finish: bool = True) -> list[Exchange]:
    sessions = Sessions(registry.default())
    done = [exchange for message in messages for exchange in sessions.feed(message)]
    return done + (sessions.finish() if finish else [])


def only(*messages: Captured | Closed, finish: bool = True) -> Exchange:
    (exchange,) = run(*messages, finish=finish)
    return exchange


def outcomes(exchanges: list[Exchange]) -> list[str]:
    return [exchange.outcome for exchange in exchanges]


def test_pairs_call_and_reply(wire: Wire) -> None:
    call, reply = wire(CALL, 3), wire(REPLY, 3, payload=text(b"host"))
    exchange = only(call, reply, finish=False)
    assert (exchange.n, exchange.outcome, exchange.failures) == (1, "ok", ())
    assert (exchange.call, exchange.reply) == (call, reply)
    assert (exchange.latency_ns, exchange.first_ns, exchange.last_ns) == (1_000_000, 1_000_000, 2_000_000)
    assert (exchange.messages, exchange.bytes_c2s, exchange.bytes_s2c) == (2, 28, 36)
    assert (exchange.overtaken, exchange.stream) == (0, None)
    assert exchange.parts == (call, reply)


def test_error_answers_a_call(wire: Wire) -> None:
    call, reply = wire(CALL, 0), wire(REPLY, 0, ERROR, ERROR_PAYLOAD)
    exchange = only(call, reply, finish=False)
    assert (exchange.outcome, exchange.failures, exchange.latency_ns) == ("error", (reply,), 1_000_000)


def test_pairs_messages_with_descriptors(wire: Wire) -> None:
    call = wire(CALL_FDS, 1, payload=word(2), proc=2)
    exchange = only(call, wire(REPLY_FDS, 1, payload=word(1), proc=2), finish=False)
    assert exchange.outcome == "ok"
    assert [part.message.fds for part in exchange.parts] == [2, 1]


def test_latency_requires_a_clock(wire: Wire) -> None:
    assert only(wire(CALL, 0, clock=False), wire(REPLY, 0), finish=False).latency_ns is None


def test_pairs_by_type_without_directions(wire: Wire) -> None:
    exchange = only(wire(CALL, 0, direction=None), wire(REPLY, 0, payload=b"1234", direction=None))
    assert (exchange.outcome, exchange.bytes_c2s, exchange.bytes_s2c) == ("ok", 28, 32)


@pytest.mark.parametrize("field", ["prog", "vers", "serial"])
def test_reply_must_match_its_call(wire: Wire, field: str) -> None:
    header: dict[str, Any] = {"prog": 0x20008086, "vers": 1, "serial": 5}
    other = header | {field: header[field] + 1}
    assert outcomes(run(wire(CALL, **header), wire(REPLY, **other), finish=False)) == ["orphan"]
    assert only(wire(CALL, **header), wire(REPLY, **header)).outcome == "ok"


def test_connections_are_separate(wire: Wire) -> None:
    messages = [wire(CALL, 0), wire(CALL, 0, connection=OTHER)]
    done = run(*messages, wire(REPLY, 0, connection=OTHER), wire(REPLY, 0), finish=False)
    assert [exchange.call for exchange in done] == [messages[1], messages[0]]
    assert [exchange.overtaken for exchange in done] == [0, 0]


def test_replies_out_of_order(wire: Wire) -> None:
    """0 1 2 3 are answered as 2 0 3 1; 1 waits while 2 and 3 are answered, 0 while 2 is."""
    done = run(*(wire(CALL, i) for i in range(4)), *(wire(REPLY, i) for i in (2, 0, 3, 1)), finish=False)
    assert [(exchange.header.serial, exchange.overtaken) for exchange in done] == [
        (2, 0),
        (0, 1),
        (3, 0),
        (1, 2),
    ]


def test_event_with_serial_of_open_call(wire: Wire) -> None:
    ping = wire(EVENT, 0, prog=KEEPALIVE_PROGRAM, proc=1)
    event = wire(EVENT, 0, proc=111)
    messages = [wire(CALL, 0), event, ping, wire(REPLY, 0)]
    assert only(*messages).reply is messages[3]
    assert [role(message.message.header) for message in messages] == ["call", "event", "keepalive", "reply"]
    assert role(wire(9, 0).message.header) == "other"


def test_input_ends_before_the_reply(wire: Wire) -> None:
    exchange = only(wire(CALL, 0))
    assert (exchange.outcome, exchange.reply, exchange.latency_ns) == ("pending", None, None)


def test_connection_ends_before_the_reply(wire: Wire) -> None:
    calls = [wire(CALL, 0), wire(CALL, 0, connection=OTHER)]
    unknown = Closed(Connection(3, "a", "b"), 0)
    done = run(*calls, unknown, Closed(CONNECTION, 0))
    assert [(e.connection.id, e.outcome) for e in done] == [(1, "unanswered"), (2, "pending")]


def test_reply_to_call_before_the_capture(wire: Wire) -> None:
    done = run(wire(REPLY, 7), wire(CALL, 9), wire(REPLY, 8), wire(REPLY, 9), finish=False)
    assert outcomes(done) == ["before-capture", "before-capture", "ok"]
    assert done[0].call is None
    assert done[0].latency_ns is None


def test_reply_without_call(wire: Wire) -> None:
    assert outcomes(run(wire(CALL, 3), wire(REPLY, 4), finish=False)) == ["orphan"]


def test_second_reply(wire: Wire) -> None:
    done = run(wire(CALL, 3), wire(REPLY, 3), wire(REPLY, 3, ERROR, ERROR_PAYLOAD), finish=False)
    assert outcomes(done) == ["ok", "repeated"]
    assert (done[1].call, done[1].failures) == (None, (done[1].reply,))


def test_second_call_with_open_serial(wire: Wire) -> None:
    first, second, reply = wire(CALL, 3), wire(CALL, 3), wire(REPLY, 3)
    done = run(first, second, reply, wire(REPLY, 3), finish=False)
    assert outcomes(done) == ["repeated", "ok", "repeated"]
    assert [(e.call, e.reply is reply) for e in done] == [(second, False), (first, True), (None, False)]


def test_answered_serial_can_be_reused(wire: Wire) -> None:
    """libvirt's clients do not, but others may."""
    done = run(*(wire(type_, 1) for type_ in (CALL, REPLY) * 3), finish=False)
    assert outcomes(done) == ["ok"] * 3


def test_pairs_messages_without_payload(wire: Wire) -> None:
    reply = wire(REPLY, 0)
    short = msgspec.structs.replace(
        reply, message=msgspec.structs.replace(reply.message, length=1000, missing=972)
    )
    exchange = only(wire(CALL, 0), short)
    assert (exchange.outcome, exchange.bytes_s2c) == ("ok", 1000)


# Streams


def test_download_stream(wire: Wire) -> None:
    call = wire(CALL, 4, proc=SCREENSHOT)
    messages = [
        call,
        wire(REPLY, 4, proc=SCREENSHOT),
        wire(STREAM, 4, CONTINUE, b"x" * 1000, proc=SCREENSHOT),
        wire(STREAM, 4, CONTINUE, b"y" * 500, proc=SCREENSHOT),
        wire(STREAM, 4, CONTINUE, proc=SCREENSHOT),
        wire(STREAM, 4, proc=SCREENSHOT, direction="c2s"),
    ]
    assert run(*messages, finish=False) == []
    exchange = only(*messages, wire(STREAM, 4, proc=SCREENSHOT), finish=False)
    assert (exchange.outcome, exchange.latency_ns) == ("ok", 1_000_000)
    assert (exchange.messages, exchange.bytes_c2s) == (7, call.message.length + 28)
    assert (exchange.first_ns, exchange.last_ns) == (1_000_000, 7_000_000)
    stream = exchange.stream
    assert stream is not None
    assert (stream.bytes_c2s, stream.bytes_s2c, stream.messages, stream.end) == (0, 1500, 2, "finished")
    assert (stream.start_ns, stream.last_ns, stream.bytes_per_second) == (2_000_000, 7_000_000, 300_000.0)
    assert (stream.holes, stream.hole_bytes, stream.error) == (0, 0, None)


def test_upload_before_the_reply(wire: Wire) -> None:
    def up(*words: Any) -> Captured:
        return wire(*words, proc=UPLOAD, direction="c2s")

    exchange = only(
        up(CALL, 1),
        up(STREAM, 1, CONTINUE, b"data"),
        wire(REPLY, 1, proc=UPLOAD),
        up(HOLE, 1, CONTINUE, word(0) + word(4096) + word(0)),
        up(STREAM, 1),
        wire(STREAM, 1, proc=UPLOAD),
        finish=False,
    )
    stream = exchange.stream
    assert stream is not None
    assert (stream.bytes_c2s, stream.messages, stream.holes, stream.hole_bytes) == (4, 1, 1, 4096)
    assert (stream.start_ns, stream.end) == (2_000_000, "finished")


def test_rejected_upload_ends_with_its_reply(wire: Wire) -> None:
    done = run(
        wire(CALL, 1, proc=UPLOAD),
        wire(REPLY, 1, ERROR, ERROR_PAYLOAD, proc=UPLOAD),
        wire(STREAM, 1, CONTINUE, b"da", proc=UPLOAD, direction="c2s"),
        wire(STREAM, 1, CONTINUE, b"ta", proc=UPLOAD, direction="c2s"),
    )
    assert outcomes(done) == ["error", "after-end"]
    assert done[0].stream is None
    assert done[1].stream is not None
    assert (done[1].messages, done[1].stream.bytes_c2s, done[1].stream.end) == (2, 4, "open")


def test_abort_is_confirmed_and_may_cross_data(wire: Wire) -> None:
    begun = [wire(CALL, 1, proc=SCREENSHOT), wire(REPLY, 1, proc=SCREENSHOT)]
    abort = wire(STREAM, 1, ERROR, proc=SCREENSHOT, direction="c2s")
    data = wire(STREAM, 1, CONTINUE, b"data", proc=SCREENSHOT)
    done = only(*begun, abort, data, wire(STREAM, 1, proc=SCREENSHOT), finish=False)
    assert done.stream is not None
    assert (done.stream.end, done.stream.bytes_s2c, done.failures) == ("aborted", 4, ())
    unconfirmed = only(*begun, abort)
    assert unconfirmed.stream is not None
    assert unconfirmed.stream.end == "aborted"


@pytest.mark.parametrize("direction", ["s2c", None])
def test_server_error_ends_a_stream(wire: Wire, direction: Direction | None) -> None:
    error = wire(STREAM, 1, ERROR, ERROR_PAYLOAD, proc=SCREENSHOT, direction=direction)
    done = only(wire(CALL, 1, proc=SCREENSHOT), wire(REPLY, 1, proc=SCREENSHOT), error, finish=False)
    assert done.stream is not None
    assert (done.outcome, done.stream.end, done.stream.error) == ("ok", "error", error)
    assert done.failures == (error,)
    assert done.parts[2] is error


def test_stream_open_at_the_end(wire: Wire) -> None:
    done = only(wire(CALL, 1, proc=SCREENSHOT), wire(REPLY, 1, proc=SCREENSHOT))
    assert done.stream is not None
    assert (done.outcome, done.stream.end, done.stream.bytes_per_second) == ("ok", "open", None)
    done = only(
        wire(CALL, 1, proc=SCREENSHOT),
        wire(REPLY, 1, proc=SCREENSHOT),
        wire(STREAM, 1, proc=SCREENSHOT, direction="c2s"),
    )
    assert done.stream is not None
    assert done.stream.end == "open", "the server has not confirmed it"


def test_stream_without_directions(wire: Wire) -> None:
    done = only(
        wire(CALL, 1, proc=UPLOAD, direction=None),
        wire(REPLY, 1, proc=UPLOAD, direction=None),
        wire(STREAM, 1, CONTINUE, b"data", proc=UPLOAD, direction=None),
        wire(STREAM, 1, proc=UPLOAD, direction=None),
        wire(STREAM, 1, proc=UPLOAD, direction=None),
        finish=False,
    )
    assert done.stream is not None
    assert (done.stream.bytes_c2s, done.stream.end) == (4, "finished")
    done = only(wire(STREAM, 1, ERROR, direction=None), wire(STREAM, 1, direction=None), finish=False)
    assert done.stream is not None
    assert (done.outcome, done.stream.end) == ("before-capture", "aborted")


def test_stream_of_call_before_the_capture(wire: Wire) -> None:
    done = only(
        wire(STREAM, 5, CONTINUE, b"data", proc=SCREENSHOT),
        wire(STREAM, 5, proc=SCREENSHOT, direction="c2s"),
        wire(STREAM, 5, proc=SCREENSHOT),
        finish=False,
    )
    assert (done.outcome, done.messages) == ("before-capture", 3)
    reply = wire(REPLY, 6, proc=SCREENSHOT)
    done = only(reply, wire(STREAM, 6, CONTINUE, b"data", proc=SCREENSHOT))
    assert (done.outcome, done.reply, done.messages) == ("before-capture", reply, 2)


def test_second_reply_in_a_stream(wire: Wire) -> None:
    done = run(
        wire(CALL, 1, proc=SCREENSHOT), wire(REPLY, 1, proc=SCREENSHOT), wire(REPLY, 1, proc=SCREENSHOT)
    )
    assert outcomes(done) == ["repeated", "ok"]


def test_undeclared_stream(wire: Wire) -> None:
    done = only(
        wire(CALL, 1, proc=TUNNEL3_PARAMS),
        wire(REPLY, 1, proc=TUNNEL3_PARAMS),
        wire(STREAM, 1, CONTINUE, b"data", proc=TUNNEL3_PARAMS, direction="c2s"),
    )
    assert done.stream is not None
    assert done.stream.bytes_c2s == 4


# Calls that are paired elsewhere


class Elsewhere:
    """Keeps the calls of a connection, and gives them back."""

    def __init__(self, sessions: Sessions) -> None:
        self.sessions = sessions
        self.calls: list[tuple[Captured, int]] = []
        self.sent = 0

    def keep(self, call: Captured) -> None:
        self.calls.append((call, self.sent))
        self.sent += 1

    def stop(self) -> None:
        serials = [call.message.header.serial for call, _ in self.calls]
        last = max((call.n for call, _ in self.calls), default=0)
        self.sessions.take_back(CONNECTION.id, self.sent, min(serials, default=2**32 - 1), last, self.calls)
        self.calls, self.sent = [], 0


def test_calls_come_back_in_their_places(wire: Wire) -> None:
    """Between those of another connection, with positions after those that were open before."""
    sessions = Sessions(registry.default())
    elsewhere = Elsewhere(sessions)
    sessions.share(elsewhere)
    messages = [wire(CALL, 5), wire(CALL, 6), wire(CALL, 1, connection=OTHER), wire(CALL, 7)]
    sessions.feed(messages[0])
    assert sessions.open_keys(CONNECTION.id) == bytes.fromhex("200080860000000100000005")
    elsewhere.keep(messages[1])
    sessions.feed(messages[2])
    elsewhere.keep(messages[3])
    sessions.meanwhile(CONNECTION.id, 2, 6, 1)  # of which one was answered
    (first,) = sessions.feed(wire(REPLY, 5))
    assert (first.outcome, first.overtaken) == ("ok", 1)
    assert [each.first for each in sessions.finish()] == messages[1:]


def test_exchanges_that_ended_elsewhere_are_remembered(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "MAX_CLOSED", 2)
    sessions = Sessions(registry.default())
    sessions.feed(wire(CALL, 1))
    keys = [struct.pack("=IIII", CONNECTION.id, 0x20008086, 1, serial) for serial in (2, 3, 4)]
    sessions.add_closed(b"".join(keys))
    assert sessions.count == 3
    found = [each for serial in (4, 3, 2) for each in sessions.feed(wire(REPLY, serial))]
    assert outcomes(found) == ["repeated", "orphan", "orphan"]
    assert [each.n for each in found] == [4, 5, 6]


# Bounds


def test_too_many_calls_evict_the_oldest(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "MAX_OPEN", 2)
    done = run(*(wire(CALL, i) for i in range(3)), wire(REPLY, 0), wire(REPLY, 2), finish=False)
    assert [(e.header.serial, e.outcome) for e in done] == [(0, "given-up"), (0, "repeated"), (2, "ok")]


def test_too_many_bytes_evict_the_oldest(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "MAX_OPEN_BYTES", 60)
    big = [wire(CALL, i, payload=b"1234" * 10) for i in range(2)]
    done = run(*big, wire(REPLY, 1), wire(CALL, 2), wire(CALL, 3), finish=False)
    assert [(e.header.serial, e.outcome) for e in done] == [(0, "given-up"), (1, "ok")]


def test_too_many_connections_evict_the_longest_idle(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "MAX_CONNECTIONS", 2)
    first, second, third = (Connection(i, f"192.0.2.{i}:1", "192.0.2.9:16509") for i in (1, 2, 3))
    calls = [wire(CALL, 0, connection=c) for c in (first, second)]
    done = run(*calls, wire(CALL, 1, connection=first), wire(CALL, 0, connection=third), finish=False)
    assert [(e.connection.id, e.outcome) for e in done] == [(2, "given-up")]


def test_memory_is_bounded(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "MAX_CLOSED", 1)
    pairs = [wire(type_, serial) for serial in (0, 1) for type_ in (CALL, REPLY)]
    assert outcomes(run(*pairs, wire(REPLY, 1), wire(REPLY, 0), finish=False))[2:] == ["repeated", "orphan"]
