"""Pair calls with their replies and streams, per connection. Sans-IO: messages in, Exchanges out.

A reply has the program, version and serial of its call, and so have the messages of the stream that a call
opens. Serials count per connection, over all programs. Events and keepalive have serial 0, like the first
call of a connection, so the type is checked before anything is paired.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator
from struct import Struct
from typing import TYPE_CHECKING, Final, Literal, Protocol, get_args

import msgspec

from .bounded import BoundedDict
from .events import Captured, Closed, Connection, Direction
from .rpc.message import Header, Status, Type
from .rpc.wire import KEEPALIVE_PROGRAM, MIN_FRAME

if TYPE_CHECKING:
    from .definitions.program import Procedure
    from .registry import Registry

#: Maximum number of open exchanges, and of bytes of messages kept for them; beyond these, the oldest are
#: given up. (A daemon serves `max_client_requests`, by default 5, per client at a time.)
MAX_OPEN: Final = 65536
MAX_OPEN_BYTES: Final = 256 * 1024 * 1024
#: Maximum number of connections whose calls are counted, and of closed exchanges remembered to recognise
#: repetitions.
MAX_CONNECTIONS: Final = 65536
MAX_CLOSED: Final = 65536
#: Maximum number of exchanges, and of their bytes, that one scan of the native core and the calls that it
#: keeps add (MAX_CALLS in _native.c).
_MAX_LENT: Final = 8192
_MAX_LENT_BYTES: Final = 32 * 1024 * 1024
#: Bytes of a call that is answered at once (MAX_ROUTINE_LENGTH in _native.c).
_MAX_ROUTINE_BYTES: Final = 65536
#: Maximum number of open exchanges of a connection of which it pairs calls.
_MAX_OTHERS: Final = 64

#: The role of a message: part of an exchange (call, reply, stream), or something else.
Role = Literal["call", "reply", "stream", "event", "keepalive", "other"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)

#: The outcome of an exchange. `ok` and `error` are answered calls. A call without a reply is `unanswered` if
#: its connection ended, `pending` if only the input ended, and `given-up` if too many calls were waiting. A
#: reply or stream without a call is `before-capture` (no call with a serial as low was seen on the
#: connection, so the call was sent before the capture began) or `orphan`. `repeated` is a second reply, or a
#: call with the serial of an open call. `after-end` are messages of a stream that is over; both sides ignore
#: them.
Outcome = Literal[
    "ok", "error", "unanswered", "pending", "given-up", "before-capture", "orphan", "repeated", "after-end"
]

#: The end of a stream: finished by both sides, aborted by the client, ended by an error from the server, or
#: still open.
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
#: A member of an enumeration takes a Python call to look up.
_OK, _ERROR, _CONTINUE = int(Status.VIR_NET_OK), int(Status.VIR_NET_ERROR), int(Status.VIR_NET_CONTINUE)
_HOLE: Final = int(Type.VIR_NET_STREAM_HOLE)
#: Connection, program, version, serial.
_Key = tuple[int, int, int, int]
#: Connection, program, version and serial of an exchange.
PACKED_KEY: Final = Struct("=IIII")
_OPEN_KEY: Final = Struct(">III")


class Stream(msgspec.Struct, frozen=True, gc=False):
    """The traffic of a stream.

    `bytes_c2s` and `bytes_s2c` count data without headers, `messages` the messages with data. `holes` is the
    number of holes, `hole_bytes` the number of bytes that they represent. `start_ns` is the time of the
    reply, or of the first stream message if that came first; `last_ns` that of the last stream message.
    `error` is the server's message that ended it.
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
        """Data of both directions divided by the duration. None without a clock, or if the duration is 0."""
        if self.start_ns is None or self.last_ns is None or self.last_ns <= self.start_ns:
            return None
        return (self.bytes_c2s + self.bytes_s2c) * 1e9 / (self.last_ns - self.start_ns)


class Exchange(msgspec.Struct, frozen=True, gc=False):
    """A call with its reply and stream, or the parts of these that were seen.

    `n` counts the exchanges of a source from 1, in order of completion. `first` is the first message.
    `latency_ns` is the time from call to reply, `overtaken` the number of calls of the connection that were
    sent later and answered earlier, or answered at all if this one has no reply. `messages`, `bytes_c2s` and
    `bytes_s2c` (length words) count all messages including those of the stream; `first_ns` and `last_ns` span
    them.
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
        """The connection of all its messages."""
        return self.first.connection

    @property
    def header(self) -> Header:
        """The header of the first message. All its messages share program, version, procedure and serial."""
        return self.first.message.header

    @property
    def first_ns(self) -> int | None:
        """The time of the first message."""
        return self.first.time_ns

    @property
    def parts(self) -> tuple[Captured, ...]:
        """The messages that are kept: call, reply, and the error that ended the stream; or the first
        message."""
        parts = (self.call, self.reply, self.stream.error if self.stream else None)
        return tuple(part for part in parts if part is not None) or (self.first,)

    @property
    def failures(self) -> tuple[Captured, ...]:
        """The messages in which the server reports a failure: an error reply, or a stream's error."""
        reply = self.reply
        failed = reply is not None and reply.message.header.status == _ERROR
        parts = (reply if failed else None, self.stream.error if self.stream else None)
        return tuple(part for part in parts if part is not None)


def role(header: Header) -> Role:
    """Return the role of a message: part of an exchange (call, reply, stream), or something else."""
    return "keepalive" if header.prog == KEEPALIVE_PROGRAM else _ROLES.get(header.type, "other")


def is_paired(header: Header) -> bool:
    """Return whether a message is a part of an exchange."""
    return role(header) in ("call", "reply", "stream")


def stream_direction(procedure: Procedure) -> Direction | None:
    """Return the direction of the stream that a procedure opens, None for most."""
    from .codec.annotations import stream_direction  # loaded with the annotations of the first procedure

    return stream_direction(procedure.name, procedure.annotations)


class Pairing(Protocol):
    """Pairs the calls of connections elsewhere: see `capture.pairing`."""

    def stop(self) -> None:
        """Give all calls back with `Sessions.take_back`."""


class Sessions:
    """Pairs the messages of one source.

    `registry` determines which procedures open a stream: their exchanges last until the stream has ended.

    The native core may pair the new calls of a connection, until they are given back. Then the state is what
    it would be if all had been paired here.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._pairing: Pairing | None = None
        #: Whether calls were given back that belong before others.
        self._mixed = False
        self._open: BoundedDict[_Key, _Open] = BoundedDict(MAX_OPEN)
        self._open_bytes = 0
        self._closed = _Closed()
        self._connections: BoundedDict[int, _Calls] = BoundedDict(MAX_CONNECTIONS)
        #: Program, version, procedure → the direction of its stream, of procedures with a definition.
        self._carries: dict[tuple[int, int, int], Direction | None] = {}
        #: Number of exchanges so far.
        self.count = 0

    def feed(self, seen: Captured | Closed) -> list[Exchange]:
        """Add a message, and return the exchanges that it completes, often none.

        Events, keepalive and messages of unknown type belong to no exchange: see `role`. A closed connection
        ends its open exchanges.
        """
        if isinstance(seen, Closed):
            calls = self._connections.pop(seen.connection.id, None)
            return self._end(calls, "unanswered") if calls else []
        header = seen.message.header
        part = role(header)
        done: list[Exchange] = []
        if part not in ("call", "reply", "stream"):
            return done
        key = (seen.connection.id, header.prog, header.vers, header.serial)
        calls = self._calls(key[0], done)
        calls.last_n = seen.n
        if part == "call":
            complete = self._call(key, seen, calls)
        elif part == "reply":
            complete = self._reply(key, seen, calls)
        else:
            complete = self._stream(key, seen, calls)
        if complete is not None:
            done.append(self._close(complete))
            return done
        if self._pairing is not None and (
            len(self._open) > self._open.limit - _MAX_LENT
            or self._open_bytes > MAX_OPEN_BYTES - _MAX_LENT_BYTES
        ):
            self._pair_alone()
        while len(self._open) > self._open.limit or (
            self._open_bytes > MAX_OPEN_BYTES and len(self._open) > 1
        ):
            self._sort()
            done.append(self._close(self._open[self._open.oldest], "given-up"))
        return done

    def takes(self, connection: int) -> bool:
        """Return whether `add_routine` may add exchanges of a connection."""
        calls = self._connections.get(connection)
        return (
            calls is not None
            and not calls.open
            and self._pairing is None
            and len(self._open) < self._open.limit
            and self._open_bytes <= MAX_OPEN_BYTES - _MAX_ROUTINE_BYTES
        )

    def add_routine(self, connection: int, keys: bytes, lowest: int, last_n: int) -> None:
        """Add calls of a connection that were answered at once: their keys, packed, their lowest serial, and
        the number of the last message."""
        calls = self._connections[connection]
        self._connections.move_to_end(connection)
        calls.lowest = lowest if calls.lowest is None else min(calls.lowest, lowest)
        calls.sent += len(keys) // PACKED_KEY.size
        calls.last_n = last_n
        self.add_closed(keys)

    def finish(self) -> list[Exchange]:
        """End the input, and return the exchanges that are still open."""
        self._pair_alone()
        self._sort()
        return [self._close(entry, "pending") for entry in list(self._open.values())]

    def waiting(self) -> Iterator[Captured]:
        """Yield the calls that wait for a reply, without those that are paired elsewhere."""
        for entry in self._open.values():
            if entry.call is not None and entry.reply is None:
                yield entry.call

    # Connections whose calls are paired elsewhere

    def share(self, pairing: Pairing) -> None:
        """Let the calls of connections be paired elsewhere."""
        self._pairing = pairing

    def open_keys(self, connection: int) -> bytes | None:
        """Return program, version and serial of the open exchanges of a connection; None if its calls must
        not be paired elsewhere."""
        calls = self._connections.get(connection)
        if self._pairing is None or calls is None or len(calls.open) > _MAX_OTHERS:
            return None
        return b"".join([_OPEN_KEY.pack(*key[1:]) for key in calls.open])

    def meanwhile(self, connection: int, sent: int, lowest: int, waiting: int) -> None:
        """Set the numbers of calls that are paired elsewhere, and of those without a reply."""
        calls = self._connections[connection]
        calls.answered_elsewhere = sent - waiting
        if sent:
            calls.lowest = lowest if calls.lowest is None else min(calls.lowest, lowest)

    def add_closed(self, keys: bytes) -> None:
        """Add exchanges that ended elsewhere, by their keys."""
        self.count += self._closed.add_packed(keys)

    def take_back(
        self, connection: int, sent: int, lowest: int, last_n: int, waiting: Iterable[tuple[Captured, int]]
    ) -> None:
        """Continue with a connection: number of calls that were paired elsewhere, lowest serial, number of
        the last message, and the calls without a reply with their positions among these."""
        self.meanwhile(connection, sent, lowest, sent)
        calls = self._connections[connection]
        calls.last_n = max(calls.last_n, last_n)
        self._mixed = True
        for captured, position in waiting:
            header = captured.message.header
            key = (connection, header.prog, header.vers, header.serial)
            entry = self._new(key, captured, calls)
            entry.call = captured
            entry.count(captured, "c2s")
            entry.index = calls.sent + position
            calls.waiting.append(entry.index)
            self._keep(entry, captured)
        calls.sent += sent

    def _pair_alone(self) -> None:
        """Take everything back for good."""
        pairing, self._pairing = self._pairing, None
        if pairing is not None:
            pairing.stop()

    def _sort(self) -> None:
        """Restore the order that everything would have."""
        if not self._mixed:
            return
        self._mixed = False
        entries = sorted(self._open.items(), key=lambda item: item[1].first.n)
        connections = sorted(self._connections.items(), key=lambda item: item[1].last_n)
        self._open.clear()
        self._open.update(entries)
        self._connections.clear()
        self._connections.update(connections)

    def _end(self, calls: _Calls, why: Outcome) -> list[Exchange]:
        return [self._close(self._open[key], why) for key in list(calls.open)]

    def _calls(self, connection: int, done: list[Exchange]) -> _Calls:
        calls = self._connections.get(connection)
        if calls is not None:
            self._connections.move_to_end(connection)
            return calls
        if len(self._connections) == self._connections.limit:
            self._pair_alone()
            self._sort()
        calls = _Calls()
        if evicted := self._connections.put(connection, calls):
            done += self._end(evicted[1], "given-up")
        return calls

    # These three add a message, and return its exchange if it is complete.

    def _call(self, key: _Key, captured: Captured, calls: _Calls) -> _Open | None:
        entry = self._new(key, captured, calls)
        entry.call = captured
        entry.count(captured, "c2s")
        if calls.lowest is None or key[3] < calls.lowest:
            calls.lowest = key[3]
        if key in self._open:  # either of the two may be answered
            entry.outcome, entry.over = "repeated", True
            return entry
        entry.index = calls.sends()
        self._keep(entry, captured)
        return None

    def _reply(self, key: _Key, captured: Captured, calls: _Calls) -> _Open | None:
        entry = self._open.get(key)
        if entry is None or entry.reply is not None:
            again = entry is not None or key in self._closed
            entry = self._new(key, captured, calls)
            if again:
                entry.outcome, entry.over = "repeated", True
        elif entry.index is not None:
            entry.overtaken = calls.answered(entry.index)
            entry.index = None
        entry.answer(captured)
        if entry.complete:
            return entry
        self._keep(entry, captured)
        return None

    def _stream(self, key: _Key, captured: Captured, calls: _Calls) -> _Open | None:
        entry = self._open.get(key)
        if entry is None:
            entry = self._new(key, captured, calls)
            if key in self._closed:
                entry.outcome = "after-end"
            self._keep(entry, captured)
        entry.flow = entry.flow or _Flow(entry.reply.time_ns if entry.reply else captured.time_ns)
        direction = entry.flow.take(captured, entry.carries or "s2c")
        entry.count(captured, direction)
        return entry if entry.complete else None

    def _new(self, key: _Key, captured: Captured, calls: _Calls) -> _Open:
        header = captured.message.header
        number = header.prog, header.vers, header.proc
        carries = self._carries.get(number)
        if carries is None and number not in self._carries:
            procedure = self._registry.procedure(*number)
            if procedure is not None:
                carries = self._carries[number] = stream_direction(procedure)
        lower = calls.lowest is not None and calls.lowest <= key[3]
        return _Open(key, captured, calls, carries, "orphan" if lower else "before-capture")

    def _keep(self, entry: _Open, captured: Captured) -> None:
        """Continue an entry, and keep a message for it."""
        self._open[entry.key] = entry
        entry.calls.open[entry.key] = None
        entry.kept += captured.message.length
        self._open_bytes += captured.message.length

    def _close(self, entry: _Open, why: Outcome = "orphan") -> Exchange:
        """Build the Exchange of an entry; `why` is the outcome if it is incomplete."""
        if self._open.get(entry.key) is entry:
            del self._open[entry.key]
            del entry.calls.open[entry.key]
            self._open_bytes -= entry.kept
            if entry.index is not None:
                entry.overtaken = entry.calls.answered(entry.index)
        self._closed.add(entry.key)
        self.count += 1
        return entry.exchange(self.count, why)


class _Closed:
    """The keys of the last MAX_CLOSED exchanges that ended."""

    def __init__(self) -> None:
        self._count = 0
        #: Key → number of the last exchange with it. Some are of older exchanges.
        self._numbers: dict[_Key, int] = {}
        #: Keys of exchanges after a number, read when they are needed.
        self._packed: deque[tuple[int, bytes]] = deque()

    def add(self, key: _Key) -> None:
        """Add the key of an exchange."""
        self._count += 1
        self._put(key, self._count)

    def add_packed(self, keys: bytes) -> int:
        """Add the keys of exchanges, and return their number."""
        added = len(keys) // PACKED_KEY.size
        if added:
            self._packed.append((self._count, keys))
            self._count += added
        while len(self._packed) > 1 and self._packed[1][0] <= self._count - MAX_CLOSED:
            self._packed.popleft()
        return added

    def __contains__(self, key: _Key) -> bool:
        while self._packed:
            number, keys = self._packed.popleft()
            for each in PACKED_KEY.iter_unpack(keys):
                number += 1
                if self._numbers.get(each, 0) < number:
                    self._put(each, number)
        return self._numbers.get(key, 0) > max(0, self._count - MAX_CLOSED)

    def _put(self, key: _Key, number: int) -> None:
        self._numbers[key] = number
        if len(self._numbers) > MAX_CLOSED + MAX_CLOSED // 8 + 8:
            oldest = self._count - MAX_CLOSED
            self._numbers = {each: last for each, last in self._numbers.items() if last > oldest}


class _Calls:
    """The calls of a connection."""

    def __init__(self) -> None:
        self.sent = 0
        #: Positions among all calls of those that wait for a reply, in ascending order.
        self.waiting: list[int] = []
        self.lowest: int | None = None
        #: Number of later calls that were paired elsewhere, while others are.
        self.answered_elsewhere = 0
        #: Number of the last message of an exchange.
        self.last_n = 0
        #: Keys of the open exchanges.
        self.open: dict[_Key, None] = {}

    def sends(self) -> int:
        """Count a call, and return its position among all calls of the connection."""
        self.waiting.append(self.sent)
        self.sent += 1
        return self.sent - 1

    def answered(self, position: int) -> int:
        """Remove an answered call, and return how many later calls were answered before it."""
        at = bisect_left(self.waiting, position)
        del self.waiting[at]
        return self.sent - position - 1 - (len(self.waiting) - at) + self.answered_elsewhere


class _Open:
    """An open exchange. `carries` is the direction of its stream, if it can have one."""

    __slots__ = (
        "bytes_c2s",
        "bytes_s2c",
        "call",
        "calls",
        "carries",
        "first",
        "flow",
        "index",
        "kept",
        "key",
        "last_ns",
        "messages",
        "outcome",
        "over",
        "overtaken",
        "reply",
    )

    def __init__(
        self, key: _Key, first: Captured, calls: _Calls, carries: Direction | None, outcome: Outcome
    ) -> None:
        self.key = key
        self.first = first
        self.calls = calls
        self.carries = carries
        #: The outcome without a call; the answer to a call changes it.
        self.outcome: Outcome = outcome
        #: No more messages can belong to it.
        self.over = False
        self.call: Captured | None = None
        self.reply: Captured | None = None
        #: Position of the call among those of its connection, while it waits for a reply.
        self.index: int | None = None
        self.overtaken = 0
        self.messages = self.bytes_c2s = self.bytes_s2c = 0
        self.last_ns = first.time_ns
        self.flow: _Flow | None = None
        #: Bytes of the messages that are kept.
        self.kept = 0

    def count(self, captured: Captured, direction: Direction) -> None:
        """Count a message. `direction` applies if the source does not know it."""
        self.messages += 1
        if (captured.direction or direction) == "c2s":
            self.bytes_c2s += captured.message.length
        else:
            self.bytes_s2c += captured.message.length
        self.last_ns = captured.time_ns

    def answer(self, captured: Captured) -> None:
        """Add the reply."""
        self.reply = captured
        self.count(captured, "s2c")
        if self.call is not None:
            self.outcome = "error" if captured.message.header.status == _ERROR else "ok"

    @property
    def complete(self) -> bool:
        """True if both the reply and the end of the stream are there."""
        if self.over:
            return True
        ended = self.flow is not None and self.flow.ended
        if self.reply is None:
            return ended and self.call is None
        failed = self.reply.message.header.status == _ERROR
        return failed or ended or (self.carries is None and self.flow is None)

    def exchange(self, n: int, why: Outcome) -> Exchange:
        """Build the Exchange. `why` is the outcome of a call without a reply."""
        call, reply, flow = self.call, self.reply, self.flow
        outcome = why if call is not None and reply is None and not self.over else self.outcome
        latency = None
        if call is not None and reply is not None:
            start_ns, end_ns = call.time_ns, reply.time_ns
            latency = None if start_ns is None or end_ns is None else end_ns - start_ns
        if flow is None and self.carries and reply and reply.message.header.status == _OK:
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
    """An open stream."""

    def __init__(self, start_ns: int | None) -> None:
        self.start_ns = self.last_ns = start_ns
        self.bytes_c2s = self.bytes_s2c = 0
        self.messages = self.holes = self.hole_bytes = 0
        self.error: Captured | None = None
        self.ended = False
        self.end: StreamEnd = "open"
        #: Whether the client has finished or aborted the stream.
        self._finishing = False

    def take(self, captured: Captured, carries: Direction) -> Direction:
        """Add a message, and return its direction. If the source does not know it, data goes in the direction
        of the procedure's stream, and the client is the first to finish."""
        message = captured.message
        self.last_ns = captured.time_ns
        if message.header.status == _CONTINUE:
            direction = captured.direction or carries
            if message.header.type == _HOLE:
                self.holes += 1
                self.hole_bytes += max(0, getattr(message.payload, "length", 0))
                return direction
            size = max(0, message.length - MIN_FRAME)  # the length may be unknown
            self.messages += size > 0
            if direction == "c2s":
                self.bytes_c2s += size
            else:
                self.bytes_s2c += size
            return direction
        if message.header.status == _ERROR:
            return self._error(captured)
        direction = captured.direction or ("s2c" if self._finishing else "c2s")
        if direction == "c2s":
            self._finishing = True
        else:
            self._over("finished" if self.end == "open" else self.end)
        return direction

    def _error(self, captured: Captured) -> Direction:
        """Add an error: the client's abort has no payload and is confirmed; the server's error ends the
        stream."""
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
        """Return the traffic so far."""
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
