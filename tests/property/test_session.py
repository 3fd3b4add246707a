"""For any input, no message is lost or counted twice; pairs do not depend on the order of replies."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from libvirt_proto import registry
from libvirt_proto.events import Captured, Closed, Connection
from libvirt_proto.rpc.wire import KEEPALIVE_PROGRAM
from libvirt_proto.session import Exchange, Sessions, role
from tests.support.frames import REMOTE, captured, frame

CONNECTIONS = [Connection(i, f"192.0.2.{i}:40000", "192.0.2.9:16509") for i in (1, 2)]
#: hostname (no stream), screenshot (from the server), upload (from the client), an unknown one.
PROCEDURES = (59, 211, 208, 4711)


@st.composite
def anything(draw: st.DrawFn) -> list[Captured | Closed]:
    """Messages of any type with few serials, for many collisions, and ends of connections."""
    seen: list[Captured | Closed] = []
    for n in range(1, draw(st.integers(0, 40)) + 1):
        connection = draw(st.sampled_from(CONNECTIONS))
        if draw(st.integers(0, 19)) == 0:
            seen.append(Closed(connection, n))
            continue
        data = frame(
            bytes(4 * draw(st.integers(0, 3))),
            prog=draw(st.sampled_from((REMOTE, REMOTE, REMOTE, KEEPALIVE_PROGRAM, 77))),
            proc=draw(st.sampled_from(PROCEDURES)),
            type_=draw(st.integers(0, 7)),
            status=draw(st.integers(0, 3)),
            serial=draw(st.integers(0, 3)),
        )
        direction = draw(st.sampled_from(("c2s", "s2c", None)))
        time_ns = draw(st.one_of(st.none(), st.integers(0, 10**18)))
        seen.append(captured(data, n, time_ns, direction, connection))
    return seen


def run(seen: list[Captured | Closed]) -> list[Exchange]:
    sessions = Sessions(registry.default())
    return [exchange for item in seen for exchange in sessions.feed(item)] + sessions.finish()


@given(anything())
def test_every_message_belongs_to_at_most_one_exchange(
    seen: list[Captured | Closed],
) -> None:
    done = run(seen)
    messages = [item for item in seen if isinstance(item, Captured)]
    part = [m for m in messages if role(m.message.header) in ("call", "reply", "stream")]
    assert sum(exchange.messages for exchange in done) == len(part)
    assert sum(e.bytes_c2s + e.bytes_s2c for e in done) == sum(m.message.length for m in part)
    for direction in ("c2s", "s2c"):
        known = sum(m.message.length for m in part if m.direction == direction)
        unknown = sum(m.message.length for m in part if m.direction is None)
        counted = sum(e.bytes_c2s if direction == "c2s" else e.bytes_s2c for e in done)
        assert known <= counted <= known + unknown
    assert sorted(e.call.n for e in done if e.call) == [m.n for m in part if role(m.message.header) == "call"]
    assert sorted(e.reply.n for e in done if e.reply) == [
        m.n for m in part if role(m.message.header) == "reply"
    ]
    assert [exchange.n for exchange in done] == list(range(1, len(done) + 1))
    data = [m for m in part if m.message.header.type == 3 and m.message.header.status == 2]
    streams = [exchange.stream for exchange in done if exchange.stream]
    assert sum(s.bytes_c2s + s.bytes_s2c for s in streams) == sum(m.message.length - 28 for m in data)
    assert sum(s.holes for s in streams) == sum(
        m.message.header.type == 6 and m.message.header.status == 2 for m in part
    )


@given(anything())
def test_paired_messages_match(seen: list[Captured | Closed]) -> None:
    for exchange in run(seen):
        for part in exchange.parts:
            header = part.message.header
            first = exchange.header
            assert part.connection == exchange.connection
            assert (header.prog, header.vers, header.serial) == (first.prog, first.vers, first.serial)
        answered = exchange.call is not None and exchange.reply is not None
        assert (exchange.outcome in ("ok", "error")) == answered
        if exchange.call and exchange.reply:
            assert exchange.call.n < exchange.reply.n
        if exchange.outcome in ("unanswered", "pending", "given-up"):
            assert exchange.call
            assert not exchange.reply
        if exchange.outcome in ("orphan", "before-capture", "after-end"):
            assert not exchange.call


@given(st.permutations(range(8)), st.lists(st.sampled_from(CONNECTIONS), min_size=8, max_size=8))
def test_order_of_replies_does_not_affect_pairing(order: list[int], connections: list[Connection]) -> None:
    calls = [captured(frame(proc=59, serial=i), i + 1, i, "c2s", connections[i]) for i in range(8)]
    replies = [
        captured(frame(bytes(4), proc=59, serial=i, type_=1), 9 + at, 100 + at, "s2c", connections[i])
        for at, i in enumerate(order)
    ]
    done = run([*calls, *replies])
    assert [(e.call, e.reply, e.outcome) for e in done] == [
        (calls[reply.message.header.serial], reply, "ok") for reply in replies
    ]
    for at, exchange in enumerate(done):
        assert exchange.overtaken == sum(
            e.connection == exchange.connection and e.header.serial > exchange.header.serial
            for e in done[:at]
        )
