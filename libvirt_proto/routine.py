"""Routine exchanges: calls whose reply is the next message, without an error, as the native core gives them.

Figures and rules count most of them by numbers only: their messages are decoded where they are looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from struct import Struct
from typing import Any, Final, NamedTuple

from .events import Captured, Connection, Direction
from .rpc.message import Header, Message
from .rpc.wire import MIN_FRAME
from .session import PACKED_KEY, Exchange, Sessions

#: A row of `Scanner.routine` (RoutineRow in _native.c): number of the call, packets of call and reply, place
#: of the frame of the call, which that of the reply follows; times; lengths, serial, connection, and kinds of
#: call and reply.
_ROW: Final = Struct("=QQQQqqIIIIII")

#: A pause before a reply that rules look at: of this or of the next exchanges.
_PAUSE_NS: Final = 10**9
#: Exchanges that are counted at once: an interrupt falls between few messages and their figures.
_MOST: Final = 512
#: Decodes a frame of a direction.
Decode = Callable[[bytes, Direction], Message]
#: A row.
Row = tuple[int, int, int, int, int, int, int, int, int, int, int, int]


class Undecoded(NamedTuple):
    """A message that is decoded where it is looked at: its number, time, connection, packet and frame."""

    n: int
    time_ns: int
    connection: Connection
    packet: int
    frame: bytes
    direction: Direction
    decode: Decode

    def captured(self) -> Captured:
        """Return the message."""
        message = self.decode(self.frame, self.direction)
        return Captured(self.n, self.time_ns, self.connection, self.direction, message, (), self.packet)


class RoutineKind:
    """The common parts of the calls or the replies of a procedure: `header` without its serial, and whether
    they have a `payload`. `number` is that of the procedure: program, version, procedure."""

    def __init__(self, header: Header, payload_type: str | None) -> None:
        self.header: Final = header
        self.number: Final = (header.prog, header.vers, header.proc)
        self.program: Final = (header.prog, header.vers)
        self.payload_type: Final = payload_type


class RoutineExchanges:
    """Routine exchanges of one connection, without other messages or long pauses between them.

    `latencies` maps the numbers of kinds of calls to latencies in ns, and `sizes` to the bytes of all calls
    and of all replies. All latencies are from 0 to 100 ms.
    """

    def __init__(
        self,
        connection: Connection,
        rows: list[Row],
        frames: bytes,
        kinds: dict[int, RoutineKind],
        decode: Decode,
    ) -> None:
        self.connection: Final = connection
        self.rows: Final = rows
        self.kinds: Final = kinds
        self.frames: Final = frames
        self._decode = decode
        columns = list(zip(*rows, strict=True))
        self.calls_ns, self.replies_ns = columns[4], columns[5]
        self.call_lengths, self.reply_lengths, self.serials = columns[6], columns[7], columns[8]
        self.start_ns: Final[int] = min(self.calls_ns)
        self.end_ns: Final[int] = max(self.replies_ns)
        self.latencies: Final[dict[int, list[int]]] = {}
        self.sizes: Final[dict[int, list[int]]] = {}
        latencies, sizes = self.latencies, self.sizes
        for _, _, _, _, call_ns, reply_ns, sent, received, _, _, kind, _ in rows:
            if kind in latencies:
                latencies[kind].append(reply_ns - call_ns)
                size = sizes[kind]
                size[0] += sent
                size[1] += received
            else:
                latencies[kind] = [reply_ns - call_ns]
                sizes[kind] = [sent, received]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def last_n(self) -> int:
        """The number of the last message."""
        return self.rows[-1][0] + 1

    def pair(self, sessions: Sessions) -> None:
        """Add the exchanges to those of their source."""
        id_, kinds, pack = self.connection.id, self.kinds, PACKED_KEY.pack
        keys = b"".join([pack(id_, *kinds[row[10]].program, row[8]) for row in self.rows])
        sessions.add_routine(id_, keys, min(self.serials), self.last_n)

    def call_payload(self, row: Row) -> bytes:
        """Return the payload of a call."""
        return self.frames[row[3] + MIN_FRAME : row[3] + row[6]]

    def reply_payload(self, row: Row) -> bytes:
        """Return the payload of a reply."""
        place = row[3] + row[6]
        return self.frames[place + MIN_FRAME : place + row[7]]

    def call(self, row: Row) -> Captured:
        """Return a call."""
        frame = self.frames[row[3] : row[3] + row[6]]
        return Undecoded(row[0], row[4], self.connection, row[1], frame, "c2s", self._decode).captured()

    def reply(self, row: Row) -> Captured:
        """Return a reply."""
        return self._reply(row).captured()

    def _reply(self, row: Row) -> Undecoded:
        place = row[3] + row[6]
        frame = self.frames[place : place + row[7]]
        return Undecoded(row[0] + 1, row[5], self.connection, row[2], frame, "s2c", self._decode)

    @property
    def last(self) -> Undecoded:
        """The last message."""
        return self._reply(self.rows[-1])

    def exchange(self, row: Row, n: int) -> Exchange:
        """Return the exchange of a row; `n` is its number."""
        call, reply = self.call(row), self.reply(row)
        return Exchange(n, call, "ok", call, reply, row[5] - row[4], 0, 2, row[6], row[7], row[5], None)

    def once_ready(
        self, is_ready: Callable[[RoutineExchanges], bool], add: Callable[[Captured], object]
    ) -> RoutineExchanges | None:
        """Add the messages of the first exchanges until the others are ready to be counted; return these."""
        exchanges: RoutineExchanges | None = self
        step = 1
        while exchanges is not None and not is_ready(exchanges):
            first, rest = exchanges.rows[:step], exchanges.rows[step:]
            for row in first:
                add(exchanges.call(row))
                add(exchanges.reply(row))
            step *= 2
            exchanges = exchanges._of(rest) if rest else None
        return exchanges

    def _of(self, rows: list[Row]) -> RoutineExchanges:
        return RoutineExchanges(self.connection, rows, self.frames, self.kinds, self._decode)


def merged(
    messages: tuple[Any, ...],
    rows: bytes,
    frames: bytes,
    connections: tuple[Connection, ...],
    kinds: dict[int, RoutineKind],
    decode: Decode,
) -> Iterator[Captured | RoutineExchanges]:
    """Yield the messages of a scan, and the exchanges between them: see `Scanner.routine`. A call that is not
    decoded is (message, time, connection, packet, frame)."""
    run: list[Row] = []
    each = iter(messages)
    item = next(each, None)

    def before() -> int | float:
        return float("inf") if item is None else item[0] if isinstance(item, tuple) else item.n

    limit = before()
    for row in _ROW.iter_unpack(rows):
        if row[0] > limit or len(run) == _MOST or (run and _parts(run[-1], row, connections)):
            if run:
                yield RoutineExchanges(connections[run[0][9]], run, frames, kinds, decode)
                run = []
            while limit < row[0]:
                yield _message(item, decode)
                item = next(each, None)
                limit = before()
        run.append(row)
    if run:
        yield RoutineExchanges(connections[run[0][9]], run, frames, kinds, decode)
    while item is not None:
        yield _message(item, decode)
        item = next(each, None)


def _parts(last: Row, row: Row, connections: tuple[Connection, ...]) -> bool:
    """Return whether a row begins other exchanges."""
    return row[5] - last[5] >= _PAUSE_NS or connections[row[9]] is not connections[last[9]]


def _message(item: Any, decode: Decode) -> Captured:
    if isinstance(item, Captured):
        return item
    n, time_ns, connection, packet, frame = item
    return Undecoded(n, time_ns, connection, packet, frame, "c2s", decode).captured()
