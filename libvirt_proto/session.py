"""Sessions: calls with their replies and streams, per connection. Sans-IO: messages in, Exchanges out.

A reply has its call's program, version and serial, and so have the messages of the stream that a call
opens; serials count per connection, over all programs. Events and keepalive have serial 0 like a
connection's first call, so the type is looked at before anything is paired.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from .events import Captured, Closed, Connection, Direction
from .rpc.message import Header, Status, Type

if TYPE_CHECKING:
    from .definitions.program import Procedure
    from .registry import Registry

#: The program of keepalive (virkeepaliveprotocol.x).
KEEPALIVE: Final = 0x6B656570
#: How many exchanges may be open, and how many bytes of messages are kept for them: above, the oldest are
#: given up. (A daemon serves `max_client_requests`, by default 5, of a client at a time.)
MAX_OPEN: Final = 65536
MAX_OPEN_BYTES: Final = 256 * 1024 * 1024
#: Connections whose calls are counted, and exchanges that are remembered to tell what is repeated.
MAX_CONNECTIONS: Final = 65536
MAX_CLOSED: Final = 65536

#: Bytes of a message before its payload: length word and header.
_HEAD: Final = 28
#: These open a stream from the client, in code written by hand; the .x's comments do not say so.
_UNSAID: Final = frozenset({"domain_migrate_prepare_tunnel3_params"})

#: What a message is: a part of an exchange (call, reply, stream), or something else.
Role = Literal["call", "reply", "stream", "event", "keepalive", "other"]

#: How an exchange came out. `ok` and `error` are answered calls; a call without reply is `unanswered` if its
#: connection ended, `pending` if only the input did, `given-up` if too many were waiting. Without a
#: call it is `before-capture` (no call with a serial as low was seen on the connection, so that this one was
#: sent before the capture began) or `orphan`. `repeated`: a second reply, or a call with the serial of
#: one that is open. `after-end`: messages of a stream that is over, which both sides ignore.
Outcome = Literal[
    "ok", "error", "unanswered", "pending", "given-up", "before-capture", "orphan", "repeated", "after-end"
]

#: How a stream ended: both sides said so, the client aborted it, the server did with an error, not (yet).
StreamEnd = Literal["finished", "aborted", "error", "open"]

_ROLES: Final[dict[int, Role]] = {
    Type.VIR_NET_CALL: "call",
    Type.VIR_NET_CALL_WITH_FDS: "call",
    Type.VIR_NET_REPLY: "reply",
    Type.VIR_NET_REPLY_WITH_FDS: "reply",
    Type.VIR_NET_STREAM: "stream",
    Type.VIR_NET_STREAM_HOLE: "stream",
    Type.VIR_NET_MESSAGE: "event",
}
#: Connection, program, version, serial.
_Key = tuple[int, int, int, int]


class Stream(msgspec.Struct, frozen=True, gc=False):
    """What went over a stream.

    `bytes_c2s` and `bytes_s2c` are data, without headers; `messages` are those that carried some.
    `holes` is how many holes were sent, `hole_bytes` how many bytes they stand for. Time runs from
    `start_ns` (the reply, or the first stream message where that came first) to `last_ns` (the last
    stream message). `error` is the server's message that ended it.
    """

    bytes_c2s: int
    bytes_s2c: int
    messages: int
    holes: int
    hole_bytes: int
    start_ns: int | None
    last_ns: int | None
    end: StreamEnd
    error: Captured | None

    @property
    def bytes_per_second(self) -> float | None:
        """Data of both directions over the time it took; None without a clock, or where it took none."""
        if self.start_ns is None or self.last_ns is None or self.last_ns <= self.start_ns:
            return None
        return (self.bytes_c2s + self.bytes_s2c) * 1e9 / (self.last_ns - self.start_ns)


class Exchange(msgspec.Struct, frozen=True, gc=False):
    """A call with what answered it, or the part of that which was seen.

    `n` counts the exchanges of a source from 1, in the order in which they were complete. `first` is the
    first message. `latency_ns` is from the call to its reply, `overtaken` how many calls of the
    connection were sent later and answered earlier. `messages`, `bytes_c2s` and `bytes_s2c` (length
    words) count all messages, those of the stream too, as `first_ns` and `last_ns` cover all.
    """

    n: int
    first: Captured
    outcome: Outcome
    call: Captured | None
    reply: Captured | None
    latency_ns: int | None
    overtaken: int
    messages: int
    bytes_c2s: int
    bytes_s2c: int
    last_ns: int | None
    stream: Stream | None

    @property
    def connection(self) -> Connection:
        """Where it took place."""
        return self.first.connection

    @property
    def header(self) -> Header:
        """Program, version, procedure and serial are those of all its messages."""
        return self.first.message.header

    @property
    def first_ns(self) -> int | None:
        """When it began."""
        return self.first.time_ns

    @property
    def parts(self) -> tuple[Captured, ...]:
        """The messages that are kept: call, reply, and the error that ended the stream; or the first."""
        parts = (self.call, self.reply, self.stream.error if self.stream else None)
        return tuple(part for part in parts if part is not None) or (self.first,)

    @property
    def failures(self) -> tuple[Captured, ...]:
        """The messages in which the server said what went wrong: an error reply, a stream's error."""
        reply = self.reply
        failed = reply is not None and reply.message.header.status == Status.VIR_NET_ERROR
        parts = (reply if failed else None, self.stream.error if self.stream else None)
        return tuple(part for part in parts if part is not None)


def role(header: Header) -> Role:
    """What a message is: part of an exchange (call, reply, stream), or not."""
    return "keepalive" if header.prog == KEEPALIVE else _ROLES.get(header.type, "other")


def stream_direction(procedure: Procedure) -> Direction | None:
    """The direction of the stream that a procedure opens, None for most. (A console's stream goes both ways,
    and counts as the definitions have it.)"""
    said = procedure.annotations
    if said.readstream is not None:
        return "s2c"
    return "c2s" if said.writestream is not None or procedure.name in _UNSAID else None


class Sessions:
    """Pairs the messages of one source.

    `registry` tells which procedures open a stream: their exchanges last until the stream has ended.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._open: OrderedDict[_Key, _Open] = OrderedDict()
        self._open_bytes = 0
        #: The last exchanges that are over.
        self._closed: OrderedDict[_Key, None] = OrderedDict()
        self._connections: OrderedDict[int, _Calls] = OrderedDict()
        self._count = 0

    def feed(self, seen: Captured | Closed) -> list[Exchange]:
        """Take a message; the exchanges that are complete with it, often none.

        Events, keepalive and messages of no known type belong to none: see `role`. What is open on a
        connection that was closed gets no answer any more.
        """
        if isinstance(seen, Closed):
            return self._end(seen.connection.id, "unanswered")
        captured, header = seen, seen.message.header
        part = role(header)
        done: list[Exchange] = []
        if part not in ("call", "reply", "stream"):
            return done
        key = (captured.connection.id, header.prog, header.vers, header.serial)
        calls = self._calls(key[0], done)
        if part == "call":
            entry = self._call(key, captured, calls)
        elif part == "reply":
            entry = self._reply(key, captured, calls)
        else:
            entry = self._stream(key, captured, calls)
        if entry.complete:
            done.append(self._close(entry))
        while len(self._open) > MAX_OPEN or (self._open_bytes > MAX_OPEN_BYTES and len(self._open) > 1):
            done.append(self._close(next(iter(self._open.values())), "given-up"))
        return done

    def finish(self) -> list[Exchange]:
        """The input has ended: the exchanges that are still open."""
        return [self._close(entry, "pending") for entry in list(self._open.values())]

    def _end(self, connection: int, why: Outcome) -> list[Exchange]:
        calls = self._connections.pop(connection, None)
        return [self._close(self._open[key], why) for key in list(calls.open)] if calls else []

    def _calls(self, connection: int, done: list[Exchange]) -> _Calls:
        calls = self._connections.get(connection)
        if calls is not None:
            self._connections.move_to_end(connection)
            return calls
        if len(self._connections) >= MAX_CONNECTIONS:
            done += self._end(next(iter(self._connections)), "given-up")
        calls = self._connections[connection] = _Calls()
        return calls

    def _call(self, key: _Key, captured: Captured, calls: _Calls) -> _Open:
        entry = self._new(key, captured, calls)
        entry.call = captured
        entry.count(captured, "c2s")
        calls.lowest = key[3] if calls.lowest is None else min(calls.lowest, key[3])
        if key in self._open:  # nobody can tell which of the two will be answered
            entry.outcome, entry.over = "repeated", True
        else:
            entry.index = calls.sends()
            self._keep(entry, captured)
        return entry

    def _reply(self, key: _Key, captured: Captured, calls: _Calls) -> _Open:
        entry = self._open.get(key)
        if entry is not None and entry.reply is None:
            if entry.index is not None:
                entry.overtaken = calls.answered(entry.index)
                entry.index = None
            entry.answer(captured)
            self._keep(entry, captured)
            return entry
        again = entry is not None or key in self._closed
        entry = self._new(key, captured, calls)
        entry.answer(captured)
        if again:
            entry.outcome, entry.over = "repeated", True
        elif not entry.complete:
            self._keep(entry, captured)
        return entry

    def _stream(self, key: _Key, captured: Captured, calls: _Calls) -> _Open:
        entry = self._open.get(key)
        if entry is None:
            entry = self._new(key, captured, calls)
            if key in self._closed:
                entry.outcome = "after-end"
            self._keep(entry, captured)
        entry.flow = entry.flow or _Flow(entry.reply.time_ns if entry.reply else captured.time_ns)
        direction = entry.flow.take(captured, entry.carries or "s2c")
        entry.count(captured, direction)
        return entry

    def _new(self, key: _Key, captured: Captured, calls: _Calls) -> _Open:
        header = captured.message.header
        lower = calls.lowest is not None and calls.lowest <= key[3]
        procedure = self._registry.procedure(header.prog, header.vers, header.proc)
        carries = stream_direction(procedure) if procedure else None
        return _Open(key, captured, calls, carries, "orphan" if lower else "before-capture")

    def _keep(self, entry: _Open, captured: Captured) -> None:
        """Go on with an entry, and keep a message for it."""
        self._open[entry.key] = entry
        entry.calls.open[entry.key] = None
        entry.kept += captured.message.length
        self._open_bytes += captured.message.length

    def _close(self, entry: _Open, why: Outcome = "orphan") -> Exchange:
        """The exchange of an entry; `why` it is over, if it is not complete."""
        if self._open.get(entry.key) is entry:
            del self._open[entry.key]
            del entry.calls.open[entry.key]
            self._open_bytes -= entry.kept
            if entry.index is not None:
                entry.calls.answered(entry.index)
        self._closed[entry.key] = None
        if len(self._closed) > MAX_CLOSED:
            self._closed.popitem(last=False)
        self._count += 1
        return entry.exchange(self._count, why)


class _Calls:
    """The calls of a connection."""

    def __init__(self) -> None:
        self.sent = 0
        #: In ascending order, the positions among all calls of those that wait for a reply.
        self.waiting: list[int] = []
        self.lowest: int | None = None
        #: Keys of the exchanges that are open.
        self.open: dict[_Key, None] = {}

    def sends(self) -> int:
        """One more call; its position among all calls of the connection."""
        self.waiting.append(self.sent)
        self.sent += 1
        return self.sent - 1

    def answered(self, position: int) -> int:
        """This call waits no longer; how many that were sent later do not wait any more already."""
        at = bisect_left(self.waiting, position)
        del self.waiting[at]
        return self.sent - position - 1 - (len(self.waiting) - at)


class _Open:
    """An exchange that is under way. `carries` is the direction of its stream, if there can be one."""

    def __init__(
        self, key: _Key, first: Captured, calls: _Calls, carries: Direction | None, outcome: Outcome
    ) -> None:
        self.key = key
        self.first = first
        self.calls = calls
        self.carries = carries
        #: If it is without call; an answer to a call changes it.
        self.outcome: Outcome = outcome
        #: Nothing more may come to it.
        self.over = False
        self.call: Captured | None = None
        self.reply: Captured | None = None
        #: The call's position among those of its connection, while it waits for a reply.
        self.index: int | None = None
        self.overtaken = 0
        self.messages = self.bytes_c2s = self.bytes_s2c = 0
        self.last_ns = first.time_ns
        self.flow: _Flow | None = None
        #: Bytes of messages that are kept.
        self.kept = 0

    def count(self, captured: Captured, direction: Direction) -> None:
        """One more message; `direction` holds where the source does not know it."""
        self.messages += 1
        if (captured.direction or direction) == "c2s":
            self.bytes_c2s += captured.message.length
        else:
            self.bytes_s2c += captured.message.length
        self.last_ns = captured.time_ns

    def answer(self, captured: Captured) -> None:
        """The reply."""
        self.reply = captured
        self.count(captured, "s2c")
        if self.call is not None:
            self.outcome = "error" if captured.message.header.status == Status.VIR_NET_ERROR else "ok"

    @property
    def complete(self) -> bool:
        """Whether nothing is missing: neither the reply nor the end of the stream."""
        if self.over:
            return True
        ended = self.flow is not None and self.flow.ended
        if self.reply is None:
            return ended and self.call is None
        failed = self.reply.message.header.status == Status.VIR_NET_ERROR
        return failed or ended or (self.carries is None and self.flow is None)

    def exchange(self, n: int, why: Outcome) -> Exchange:
        """What has become of it; `why` it is over for a call without reply."""
        call, reply, flow = self.call, self.reply, self.flow
        outcome = why if call is not None and reply is None and not self.over else self.outcome
        latency = None
        if call is not None and reply is not None and None not in (call.time_ns, reply.time_ns):
            latency = reply.time_ns - call.time_ns  # type: ignore[operator]
        if flow is None and self.carries and reply and reply.message.header.status == Status.VIR_NET_OK:
            flow = _Flow(reply.time_ns)
        return Exchange(
            n,
            self.first,
            outcome,
            call,
            reply,
            latency,
            self.overtaken,
            self.messages,
            self.bytes_c2s,
            self.bytes_s2c,
            self.last_ns,
            flow.stream() if flow else None,
        )


class _Flow:
    """A stream that is under way."""

    def __init__(self, start_ns: int | None) -> None:
        self.start_ns = self.last_ns = start_ns
        self.bytes_c2s = self.bytes_s2c = 0
        self.messages = self.holes = self.hole_bytes = 0
        self.error: Captured | None = None
        self.ended = False
        self.end: StreamEnd = "open"
        #: The client has said that it is done (True), or aborts.
        self._finishing = False

    def take(self, captured: Captured, carries: Direction) -> Direction:
        """One more message, and its direction: where the source does not know it, data goes where the
        procedure's stream goes, and the client is the first to say that it is done."""
        message = captured.message
        self.last_ns = captured.time_ns
        if message.header.status == Status.VIR_NET_CONTINUE:
            direction = captured.direction or carries
            if message.header.type == Type.VIR_NET_STREAM_HOLE:
                self.holes += 1
                self.hole_bytes += max(0, getattr(message.payload, "length", 0))
                return direction
            self.messages += message.length > _HEAD
            if direction == "c2s":
                self.bytes_c2s += message.length - _HEAD
            else:
                self.bytes_s2c += message.length - _HEAD
            return direction
        if message.header.status == Status.VIR_NET_ERROR:
            return self._error(captured)
        direction = captured.direction or ("s2c" if self._finishing else "c2s")
        if direction == "c2s":
            self._finishing = True
        else:
            self._over("finished" if self.end == "open" else self.end)
        return direction

    def _error(self, captured: Captured) -> Direction:
        """The client's abort carries nothing and is confirmed; the server's error ends the stream."""
        direction = captured.direction or ("c2s" if captured.message.payload is None else "s2c")
        if direction == "c2s":
            self._finishing = True
            self.end = "aborted"
        else:
            self.error = captured
            self._over("error")
        return direction

    def _over(self, end: StreamEnd) -> None:
        self.end, self.ended = end, True

    def stream(self) -> Stream:
        """What went over it."""
        return Stream(
            self.bytes_c2s,
            self.bytes_s2c,
            self.messages,
            self.holes,
            self.hole_bytes,
            self.start_ns,
            self.last_ns,
            self.end,
            self.error,
        )
