"""Messages in, figures of the last seconds out, at any time: procedures, clients, and calls in flight.

Time is that of the messages. A Slice holds the figures of one second by connection and procedure. A slice
that leaves the longest window is added to the figures since the beginning, which are kept by procedure and by
client, so that memory is bounded.

A trace sees a connection within the machine at both ends. Only the daemon's end counts once they are
recognised as one connection, under the name of the client.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping
from math import ceil
from typing import TYPE_CHECKING, Final

import msgspec

from ..bounded import BoundedDict
from ..diagnose.both_ends import is_pair
from ..diagnose.detector import Recording
from ..diagnose.findings import Finding
from ..diagnose.peers import Peer, host
from ..events import Captured, Closed, Connection, ConnectionEvent, LogLine, ProbeEvent
from ..rpc.message import Header
from ..rpc.names import Names
from ..session import Exchange, Sessions, role
from ..text import resolution

if TYPE_CHECKING:
    from ..diagnose.diagnoser import Diagnoser
    from ..registry import Registry

#: Maximum number of procedures and of clients since the beginning, and of procedures of each client; the
#: figures of others are added together.
MAX_PROCEDURES: Final = 1024
MAX_CLIENTS: Final = 512
MAX_MOST: Final = 256
#: Maximum number of connections whose clients are known.
MAX_CONNECTIONS: Final = 16_384
#: Maximum number of procedures of connections and of different latencies in all slices. Over it, windows are
#: shorter.
MAX_ENTRIES: Final = 400_000
#: Calls in flight that a Snapshot lists, and procedures that it lists of a client.
LISTED: Final = 100
_MOST: Final = 5
#: Seconds of the history of rates.
HISTORY: Final = 60
#: The name of the figures of all other procedures or clients.
OTHERS: Final = "others"

_SECOND: Final = 10**9
_NO_REPLY: Final = frozenset({"unanswered", "pending", "given-up"})
#: The process at the end of a connection that a probe reported: `client@virsh[1234]:0x55bef0a18050`.
_PROCESS: Final = re.compile(r"@(?P<program>.*)\[\d+\]:0x[0-9a-f]+\Z", re.DOTALL)
#: Bits of a latency that are kept: 32 classes for each power of two, so that the middle of a class differs by
#: less than 2 %.
_BITS: Final = 6

#: Program, version, procedure; None: all others.
_Number = tuple[int, int, int] | None


class ProcedureRow(msgspec.Struct):
    """The messages of a procedure in a window. `calls` counts calls, or events for an event. `errors` counts
    error replies and streams that ended with an error, `unanswered` calls whose connection ended without a
    reply. Percentiles are within 2 %; None if no call was answered. `in_flight` calls wait for a reply, the
    oldest for `oldest_ns`."""

    name: str
    calls: int = 0
    errors: int = 0
    unanswered: int = 0
    bytes_c2s: int = 0
    bytes_s2c: int = 0
    p50_ns: int | None = None
    p99_ns: int | None = None
    in_flight: int = 0
    oldest_ns: int | None = None


class ClientRow(msgspec.Struct):
    """The messages of a client in a window: of a program, a host, or a connection. `calls` also counts the
    events that it got. `most` are the procedures that it calls most, with their numbers of calls."""

    name: str
    connections: int = 0
    calls: int = 0
    errors: int = 0
    bytes_c2s: int = 0
    bytes_s2c: int = 0
    in_flight: int = 0
    most: list[tuple[str, int]] = msgspec.field(default_factory=list)


class WaitingCall(msgspec.Struct):
    """A call in flight: the object that it is about, None if unknown, and the time that it has waited."""

    procedure: str
    object: str | None
    client: str
    serial: int
    waited_ns: int | None


class Snapshot(msgspec.Struct):
    """The figures of a window that ends at `time_ns` (since the epoch) and is `seconds` long; None without a
    clock. `elapsed_ns` is the time since the first message; `all_messages` and `all_connections` count since
    then. All times are multiples of `resolution_ns`: 1 s, 1 ms, 1 µs or 1 ns. `waiting` has the oldest calls
    first, at most 100. `history` are the numbers of calls and events in each of the last 60 seconds, of which
    the last one is not over. `notices` are counts by code, `findings` those of a diagnosis so far."""

    time_ns: int | None
    seconds: float | None
    elapsed_ns: int | None
    resolution_ns: int
    messages: int
    all_messages: int
    all_connections: int
    calls: int
    errors: int
    unanswered: int
    bytes: int
    connections: int
    in_flight: int
    oldest_ns: int | None
    procedures: list[ProcedureRow]
    clients: list[ClientRow]
    waiting: list[WaitingCall]
    history: list[int]
    notices: Mapping[str, int] = msgspec.field(default_factory=dict)
    findings: list[Finding] = msgspec.field(default_factory=list)


class _Cell:
    """The figures of a procedure, of a connection or of all."""

    __slots__ = ("bytes_c2s", "bytes_s2c", "calls", "errors", "latencies", "unanswered")

    def __init__(self) -> None:
        self.calls = self.errors = self.unanswered = self.bytes_c2s = self.bytes_s2c = 0
        #: Number of latencies by class.
        self.latencies: dict[int, int] = {}

    def add(self, other: _Cell, *, latencies: bool = True) -> None:
        """Add the figures of another cell."""
        self.calls += other.calls
        self.errors += other.errors
        self.unanswered += other.unanswered
        self.bytes_c2s += other.bytes_c2s
        self.bytes_s2c += other.bytes_s2c
        if latencies:
            known = self.latencies
            for class_, count in other.latencies.items():
                known[class_] = known.get(class_, 0) + count

    @property
    def entries(self) -> int:
        """Its size, for the limit of all cells."""
        return 1 + len(self.latencies)


class _Slice:
    """The figures of one second (since the epoch), by connection and procedure."""

    def __init__(self, second: int) -> None:
        self.second = second
        self.messages = 0
        self.cells: dict[tuple[int, int, int, int], _Cell] = {}


class _Peer(Peer):
    """A connection, and the name of its client."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self.name = _client_name(connection)


class _Totals:
    """Figures by procedure and by client, each of bounded number."""

    def __init__(self) -> None:
        self.messages = 0
        self.procedures: dict[_Number, _Cell] = {}
        self.clients: dict[str, dict[_Number, _Cell]] = {}
        #: Number of connections by client.
        self.connections: Counter[str] = Counter()

    def copy(self) -> _Totals:
        """Return figures that can be added to."""
        made = _Totals()
        made.messages = self.messages
        for number, cell in self.procedures.items():
            made.procedures[number] = _Cell()
            made.procedures[number].add(cell)
        for name, cells in self.clients.items():
            made.clients[name] = {}
            for number, cell in cells.items():
                made.clients[name][number] = _Cell()
                made.clients[name][number].add(cell)
        made.connections = Counter(self.connections)
        return made

    def add(self, name: str, number: _Number, cell: _Cell) -> None:
        """Add the figures of a client's procedure."""
        _cell(self.procedures, number, MAX_PROCEDURES).add(cell)
        if name not in self.clients and len(self.clients) >= MAX_CLIENTS:
            name = OTHERS
        _cell(self.clients.setdefault(name, {}), number, MAX_MOST).add(cell, latencies=False)

    def connect(self, name: str) -> None:
        """Count a connection of a client whose figures were added."""
        self.connections[name if name in self.clients else OTHERS] += 1


class Window:
    """Figures of messages, as a collector for `Capture.measure`. `diagnoser` gets all messages and events,
    too. `longest` is the number of seconds of the longest window. `last_ns` is the time of the last
    message."""

    def __init__(
        self, registry: Registry, diagnoser: Diagnoser | None = None, *, longest: int = HISTORY
    ) -> None:
        self.diagnoser: Final = diagnoser
        self.start_ns: int | None = None
        self.last_ns: int | None = None
        self._longest = max(longest, HISTORY)
        self._messages = self._connections = 0
        self._resolution = _SECOND
        self._sessions = Sessions(registry)
        self._recording = Recording("", registry, None)
        self._peers: BoundedDict[int, _Peer] = BoundedDict(MAX_CONNECTIONS)
        self._recording.peers = self._peers
        self._procedures = Names(registry)
        #: Connections that were counted in `_past`.
        self._counted: BoundedDict[int, None] = BoundedDict(MAX_CONNECTIONS)
        self._slices: deque[_Slice] = deque()
        self._entries = 0
        self._past = _Totals()

    def add(self, item: Captured | ConnectionEvent | ProbeEvent | LogLine | Closed) -> None:
        """Add a message or an event."""
        done: list[Exchange] = []
        if isinstance(item, Captured):
            self._message(item)
            done = self._sessions.feed(item)
        elif isinstance(item, Closed):
            done = self._sessions.feed(item)
        for exchange in done:
            self._exchange(exchange)
        if self.diagnoser is not None:
            self.diagnoser.add(item, done)

    def read(self, messages: int, start_ns: int | None) -> None:
        """Do nothing: the input has ended, but a window has no end."""

    def findings(self) -> list[Finding]:
        """End the diagnosis, and return its findings. Nothing can be added afterwards."""
        if self.diagnoser is None:
            return []
        self.diagnoser.exchanges(self._sessions.finish())
        return self.diagnoser.finish().findings

    # Slices

    def _message(self, captured: Captured) -> None:
        time_ns, message, id_ = captured.time_ns, captured.message, captured.connection.id
        header = message.header
        self._messages += 1
        if time_ns is not None:
            self.last_ns = time_ns
            if time_ns % self._resolution:
                self._resolution = min(self._resolution, resolution(time_ns))
            if self.start_ns is None:
                self.start_ns = time_ns
        peer = self._peers.get(id_)
        if peer is None:
            peer = _Peer(captured.connection)
            self._peers.put(id_, peer)
            self._connections += 1
        part = role(header)
        slice_ = self._slice(time_ns)
        slice_.messages += 1
        if part == "keepalive":
            return
        cell = self._cell(slice_, id_, header)
        if part == "call":
            peer.calls += 1
        if part in ("call", "event"):
            cell.calls += 1
        if (captured.direction or ("c2s" if part == "call" else "s2c")) == "c2s":
            cell.bytes_c2s += message.length
        else:
            cell.bytes_s2c += message.length

    def _exchange(self, exchange: Exchange) -> None:
        cell = self._cell(self._slice(exchange.last_ns), exchange.connection.id, exchange.header)
        if exchange.outcome != "ok" or exchange.stream is not None:
            cell.errors += len(exchange.failures)
            cell.unanswered += exchange.call is not None and exchange.outcome in _NO_REPLY
        if exchange.latency_ns is not None:
            class_ = _class(exchange.latency_ns)
            count = cell.latencies.get(class_)
            if count is None:
                self._entries += 1
                count = 0
            cell.latencies[class_] = count + 1
        if exchange.connection.side is not None:
            self._recording.both_ends.add(self._recording, exchange)

    def _cell(self, slice_: _Slice, id_: int, header: Header) -> _Cell:
        key = id_, header.prog, header.vers, header.proc
        cell = slice_.cells.get(key)
        if cell is None:
            cell = slice_.cells[key] = _Cell()
            self._entries += 1
            while self._entries > MAX_ENTRIES and len(self._slices) > 1:
                self._expire()
        return cell

    def _slice(self, time_ns: int | None) -> _Slice:
        """Return the slice of a time, a new one if necessary."""
        second = 0 if time_ns is None else time_ns // _SECOND
        slices = self._slices
        if slices:
            last = slices[-1]
            if second == last.second:  # nearly always
                return last
            if second < last.second:
                if last.second - second < self._longest:
                    return next((each for each in reversed(slices) if each.second <= second), slices[0])
                while slices:  # the clock was set back
                    self._expire()
        new = _Slice(second)
        slices.append(new)
        while slices[0].second <= second - self._longest:
            self._expire()
        return new

    def _expire(self) -> None:
        """Add the oldest slice to the figures since the beginning."""
        old = self._slices.popleft()
        copies = self._recording.copies
        if len(copies) > 2 * MAX_CONNECTIONS:
            self._connections -= len(copies - self._peers.keys())
            copies.intersection_update(self._peers)
        self._entries -= sum(cell.entries for cell in old.cells.values())
        self._add(self._past, [old], self._names(), self._counted)

    # Snapshots

    def snapshot(self, seconds: int | None, now_ns: int | None = None) -> Snapshot:
        """Return the figures of the last seconds before `now_ns`, by default the time of the last message;
        None: since the beginning."""
        now_ns = self.last_ns if now_ns is None else now_ns
        names = self._names()
        begin = None if seconds is None or now_ns is None else now_ns // _SECOND - seconds + 1
        slices = [each for each in self._slices if begin is None or each.second >= begin]
        figures = self._past.copy() if begin is None else _Totals()
        counted = self._counted.items() if begin is None else ()
        self._add(figures, slices, names, BoundedDict(MAX_CONNECTIONS, counted))
        procedures = {number: self._procedure(number, cell) for number, cell in figures.procedures.items()}
        clients = {
            name: self._client(name, cells, figures.connections[name])
            for name, cells in figures.clients.items()
        }
        waiting, in_flight, oldest_ns = self._waiting(procedures, clients, names, now_ns)
        elapsed_ns = None if now_ns is None or self.start_ns is None else now_ns - self.start_ns
        span = elapsed_ns
        if begin is not None and now_ns is not None and self.start_ns is not None:
            span = now_ns - max(self.start_ns, begin * _SECOND)
        rows = figures.procedures.values()
        return Snapshot(
            now_ns,
            None if span is None or span <= 0 else span / 1e9,
            elapsed_ns,
            self._resolution,
            figures.messages,
            self._messages,
            self._connections - len(self._recording.copies),
            sum(cell.calls for cell in rows),
            sum(cell.errors for cell in rows),
            sum(cell.unanswered for cell in rows),
            sum(cell.bytes_c2s + cell.bytes_s2c for cell in rows),
            sum(figures.connections.values()),
            in_flight,
            oldest_ns,
            [*procedures.values()],
            [*clients.values()],
            waiting,
            self._history(now_ns),
        )

    def _add(
        self,
        figures: _Totals,
        slices: Iterable[_Slice],
        names: Mapping[int, str],
        counted: BoundedDict[int, None],
    ) -> None:
        """Add slices to figures, without the client's ends of connections whose daemon's end is there."""
        copies = self._recording.copies
        for slice_ in slices:
            figures.messages += slice_.messages
            for (id_, *number), cell in slice_.cells.items():
                if id_ in copies:
                    continue
                name = names.get(id_, OTHERS)
                figures.add(name, (number[0], number[1], number[2]), cell)
                if id_ not in counted:
                    counted.put(id_, None)
                    figures.connect(name)

    def _names(self) -> dict[int, str]:
        """Return the names of the clients of connections, by `id`."""
        names = {id_: peer.name for id_, peer in self._peers.items()}
        for client, daemon in self._ends().items():
            names[daemon] = names[client]
        return names

    def _ends(self) -> dict[int, int]:
        """Return the connections that are both ends of one, by `id`: the client's end → the daemon's."""
        pairs = self._recording.both_ends.pairs.values()
        ends = [(pair.outer.connection.id, pair.inner.connection.id) for pair in pairs if is_pair(pair)]
        return {client: daemon for client, daemon in ends if {client, daemon} <= self._peers.keys()}

    def _procedure(self, number: _Number, cell: _Cell) -> ProcedureRow:
        return ProcedureRow(
            self._name(number),
            cell.calls,
            cell.errors,
            cell.unanswered,
            cell.bytes_c2s,
            cell.bytes_s2c,
            self._percentile(cell, 50),
            self._percentile(cell, 99),
        )

    def _percentile(self, cell: _Cell, percent: int) -> int | None:
        """Return a percentile of latencies, as precise as the clock."""
        found = _percentile(cell.latencies, percent)
        return None if found is None else round(found / self._resolution) * self._resolution

    def _client(self, name: str, cells: Mapping[_Number, _Cell], connections: int) -> ClientRow:
        row = ClientRow(name, connections)
        for cell in cells.values():
            row.calls += cell.calls
            row.errors += cell.errors
            row.bytes_c2s += cell.bytes_c2s
            row.bytes_s2c += cell.bytes_s2c
        most = sorted(cells.items(), key=lambda item: -item[1].calls)[:_MOST]
        row.most = [
            (self._name(number), cell.calls) for number, cell in most if cell.calls and number is not None
        ]
        return row

    def _name(self, number: _Number) -> str:
        """Return the name of a procedure: `domain_get_info`, and with its program unless that is libvirt's
        main one, `admin.connect_open`."""
        if number is None:
            return OTHERS
        program, procedure = self._procedures.of(Header(*number, 0, 0, 0))
        if program == "remote" and procedure is not None:
            return procedure
        return f"{program or f'{number[0]:#010x}'}.{procedure or number[2]}"

    def _waiting(
        self,
        procedures: dict[_Number, ProcedureRow],
        clients: dict[str, ClientRow],
        names: Mapping[int, str],
        now_ns: int | None,
    ) -> tuple[list[WaitingCall], int, int | None]:
        """Return the calls in flight that are listed, the number of all, and the time of the oldest. Adds
        them to the rows."""
        # The client's end has the calls that the daemon has not read yet, too.
        daemons = set(self._ends().values())
        calls = [call for call in self._sessions.waiting() if call.connection.id not in daemons]
        listed = []
        for number, call in enumerate(calls):
            header = call.message.header
            waited = None
            if now_ns is not None and call.time_ns is not None:
                waited = max(0, now_ns - call.time_ns)
            key = header.prog, header.vers, header.proc
            row = procedures.get(key)
            if row is None and len(procedures) <= MAX_PROCEDURES:
                row = procedures[key] = ProcedureRow(self._name(key))
            if row is not None:
                row.in_flight += 1
                row.oldest_ns = max(waited or 0, row.oldest_ns or 0)
            name = names.get(call.connection.id, OTHERS)
            client = clients.get(name)
            if client is None and len(clients) <= MAX_CLIENTS:
                client = clients[name] = ClientRow(name)
            if client is not None:
                client.in_flight += 1
            if number < LISTED:
                subject = self._recording.subject(call.message)
                text = None if subject is None else str(subject)
                listed.append(WaitingCall(self._name(key), text, name, header.serial, waited))
        return listed, len(calls), listed[0].waited_ns if listed else None

    def _history(self, now_ns: int | None) -> list[int]:
        """Return the numbers of calls of the last seconds."""
        if now_ns is None:
            return []
        last = now_ns // _SECOND
        copies = self._recording.copies
        counts: defaultdict[int, int] = defaultdict(int)
        for slice_ in self._slices:
            if last - slice_.second < HISTORY:
                counts[slice_.second] = sum(
                    cell.calls for key, cell in slice_.cells.items() if key[0] not in copies
                )
        first = last - HISTORY + 1
        if self.start_ns is not None:
            first = max(first, self.start_ns // _SECOND)
        return [counts[second] for second in range(first, last + 1)]


def _cell(cells: dict[_Number, _Cell], number: _Number, limit: int) -> _Cell:
    """Return the cell of a procedure, or of all others."""
    cell = cells.get(number)
    if cell is None:
        if len(cells) >= limit:
            number = None
        cell = cells.setdefault(number, _Cell())
    return cell


def _client_name(connection: Connection) -> str:
    """Return the program or the host of a client, as far as it is known."""
    process = _PROCESS.search(connection.client)
    if process is not None:
        return process["program"]
    if known := host(connection.client):
        return known
    known = connection.client.partition("@0x")[0]
    if known not in ("", "client"):
        return known
    daemon = _PROCESS.search(connection.server)
    if daemon is not None:
        return f"client of {daemon['program']}"
    return f"connection {connection.id}" if connection.transport == "raw" else "client"


def _class(ns: int) -> int:
    """Return the class of a latency."""
    bits = max(ns, 0).bit_length() - _BITS
    return max(ns, 0) if bits <= 0 else (bits << _BITS) + (ns >> bits)


def _middle(class_: int) -> int:
    """Return the middle of a class."""
    bits = class_ >> _BITS
    if bits <= 0:
        return class_
    lowest = (class_ - (bits << _BITS)) << bits
    return lowest + (1 << bits >> 1)


def _percentile(latencies: Mapping[int, int], percent: int) -> int | None:
    """Return the smallest latency that at least `percent` of 100 do not exceed; None without latencies."""
    rank = ceil(percent * sum(latencies.values()) / 100)
    for class_ in sorted(latencies):
        rank -= latencies[class_]
        if rank <= 0:
            return _middle(class_)
    return None
