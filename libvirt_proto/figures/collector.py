"""Messages in, Statistics out: several inputs together, with separate connections."""

from __future__ import annotations

import heapq
import shlex
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from math import ceil, gcd, inf
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from ..events import Captured, Closed, ConnectionEvent, LogLine, ProbeEvent
from ..routine import RoutineExchanges
from ..rpc.message import Header, Status
from ..rpc.objects import ObjectFinder
from ..rpc.reported import reported_code, reported_error
from ..session import Exchange, Role, Sessions, Stream, role
from ..text import file_argument, resolution
from . import negotiation
from .limit_usage import LimitUsage
from .results import (
    ConnectionFigures,
    ErrorFigures,
    EventKind,
    Latency,
    ProcedureFigures,
    Slow,
    Statistics,
    Streams,
    Totals,
    Unanswered,
    Where,
)

if TYPE_CHECKING:
    from ..diagnose.diagnoser import Diagnoser
    from ..registry import Registry

#: Maximum rows of each list: connections, procedures, events, errors, unanswered calls. (libvirt has 500
#: procedures, but a header may contain any number.)
MAX_ROWS: Final = 65536
_PING, _PONG = 1, 2
_NO_REPLY: Final = frozenset({"unanswered", "pending", "given-up"})
#: A member of an enumeration takes a Python call to look up.
_CONTINUE: Final = int(Status.VIR_NET_CONTINUE)
_Numbers = tuple[int, int, int]
K = TypeVar("K")
V = TypeVar("V")


class Measure:
    """Collects the messages of inputs, one input after the other.

    It keeps the latency of each exchange (8 bytes), for exact percentiles, but no messages. `top` is the
    number of reported slowest exchanges and values closest to their limits. `redacted` is reported unchanged.
    `decode` is the command that shows messages of the inputs, in words; None if they are not files.
    `failures` are its options that show all failed calls; None if there are none. `diagnoser` gets all
    messages and events, too.
    """

    def __init__(
        self,
        registry: Registry,
        top: int,
        redacted: str | None = None,
        decode: Sequence[str] | None = ("libvirt-proto", "decode"),
        failures: Sequence[str] | None = ("--exchanges", "--errors-only"),
        diagnoser: Diagnoser | None = None,
    ) -> None:
        self.diagnoser: Final = diagnoser
        self._redacted = redacted
        self._decode = decode
        self._failures = failures
        self._objects = ObjectFinder(registry)
        self._resolution = 10**9
        self._registry = registry
        self._top = top
        self._limits = LimitUsage(registry, self._where)
        self._totals = Totals()
        self._outcomes: Counter[str] = Counter()
        self._procedures: dict[_Numbers, _Calls] = {}
        #: The connections of the input by their `id`, and all rows.
        self._connections: dict[int, ConnectionFigures] = {}
        self._rows: list[ConnectionFigures] = []
        #: The connections without a row.
        self._without_row = ConnectionFigures("", 0, "", "", "")
        self._events: dict[_Numbers, EventKind] = {}
        self._errors: dict[int, ErrorFigures] = {}
        self._slowest: list[tuple[int, int, Slow]] = []
        #: Only exchanges that took longer can be among these.
        self._slow_ns: float = -inf if top else inf
        self._unanswered: list[Unanswered] = []
        self._file = ""
        self._files: list[str] = []
        self._sessions = Sessions(registry)

    def source(self, file: str) -> None:
        """Begin another input."""
        self._finish()
        self._sessions = Sessions(self._registry)
        self._connections = {}
        self._file = _text(file)
        self._files.append(self._file)
        self._totals.files += 1
        if self.diagnoser is not None:
            self.diagnoser.source(file)

    def add(self, item: Captured | ConnectionEvent | ProbeEvent | LogLine | Closed) -> None:
        """Add a message or an event of a connection."""
        done: list[Exchange] = []
        if isinstance(item, Captured):
            self._message(item)
            done = self._sessions.feed(item)
        elif isinstance(item, Closed):
            done = self._sessions.feed(item)
        elif isinstance(item, ConnectionEvent):
            self._add_event(item)
        for exchange in done:
            self._exchange(exchange)
        if self.diagnoser is not None:
            self.diagnoser.add(item, done)

    def takes(self, header: Header) -> bool:
        """Return whether exchanges of a procedure may be RoutineExchanges."""
        program, procedure = self._names(header)
        noted = None if program is None or procedure is None else negotiation.note(program, procedure)
        return noted in (None, negotiation.feature) and (
            self.diagnoser is None or self.diagnoser.takes(header)
        )

    def routine(self, exchanges: RoutineExchanges) -> None:
        """Add routine exchanges of a procedure that `takes` accepts."""
        ready = exchanges.once_ready(self._is_ready, self.add)
        if ready is not None:
            self._add_routine(ready)

    def _is_ready(self, exchanges: RoutineExchanges) -> bool:
        id_ = exchanges.connection.id
        return (
            id_ in self._connections
            and len(self._procedures) + len(exchanges.latencies) <= MAX_ROWS
            and self._sessions.takes(id_)
            and (self.diagnoser is None or self.diagnoser.is_ready(exchanges))
        )

    def _add_routine(self, exchanges: RoutineExchanges) -> None:
        connection = self._connections[exchanges.connection.id]
        _add_routine(connection, exchanges)
        if gcd(self._resolution, *exchanges.calls_ns, *exchanges.replies_ns) != self._resolution:
            for time_ns in (*exchanges.calls_ns, *exchanges.replies_ns):
                if time_ns % self._resolution:
                    self._resolution = min(self._resolution, resolution(time_ns))
        self._limits.add_routine(exchanges)
        self._routine(connection, exchanges)
        exchanges.pair(self._sessions)
        if self.diagnoser is not None:
            self.diagnoser.add_routine(exchanges)

    def read(self, messages: int, start_ns: int | None) -> None:
        """Note how many messages the input had, before any filter, and when it began."""
        self._totals.input_messages += messages
        self._totals.input_start_ns = _least(self._totals.input_start_ns, start_ns)

    def finish(self, notices: Mapping[str, int]) -> Statistics:
        """End the last input; `notices` are the counts of its notices, by code."""
        self._finish()
        totals = self._totals
        for row in (*self._rows, self._without_row):
            _add_connection(totals, row)
        totals.connections = len(self._rows)
        totals.left_out += self._without_row.messages
        totals.outcomes = dict(self._outcomes.most_common())
        totals.notices = dict(notices)
        totals.resolution_ns = None if totals.start_ns is None else self._resolution
        procedures = [calls.figures() for calls in self._procedures.values()]
        procedures.sort(key=lambda p: (-(p.latency.total_ns if p.latency else 0), -p.calls, p.prog, p.proc))
        slowest = sorted(self._slowest, key=lambda slow: (-slow[0], -slow[1]))
        return Statistics(
            totals,
            procedures,
            self._rows,
            sorted(self._events.values(), key=lambda event: -event.count),
            sorted(self._errors.values(), key=lambda error: -error.count),
            [slow for _, _, slow in slowest],
            sorted(self._unanswered, key=lambda call: call.call.time_ns or 0),
            self._limits.nearest(self._top),
            self._show(*self._failures, files=self._files) if self._errors and self._failures else None,
            self._redacted or msgspec.UNSET,
            msgspec.UNSET if self.diagnoser is None else self.diagnoser.finish().findings,
        )

    def _finish(self) -> None:
        """End an input: its calls get no more replies."""
        done = self._sessions.finish()
        for exchange in done:
            self._exchange(exchange)
        if self.diagnoser is not None and self._files:
            self.diagnoser.exchanges(done)

    # Messages

    def _message(self, captured: Captured) -> None:
        message, time_ns, direction = captured.message, captured.time_ns, captured.direction
        header, length = message.header, message.length
        connection = self._connections.get(captured.connection.id) or self._connection(captured)
        connection.messages += 1
        if time_ns is not None:
            if connection.start_ns is None or connection.end_ns is None:
                connection.start_ns = connection.end_ns = time_ns
            elif time_ns > connection.end_ns:  # nearly always
                connection.end_ns = time_ns
            elif time_ns < connection.start_ns:
                connection.start_ns = time_ns
            if time_ns % self._resolution:
                self._resolution = min(self._resolution, resolution(time_ns))
        if direction == "c2s":
            connection.bytes_c2s += length
        elif direction == "s2c":
            connection.bytes_s2c += length
        else:
            connection.bytes_unknown += length
        if message.error is not None:
            self._totals.malformed += message.malformed
        part = role(header)
        if part == "call":
            connection.calls += 1
        elif part != "reply" and part != "stream":  # which are counted with their exchange
            self._other(part, connection, header, length)
        self._limits.add(captured)

    def _other(self, part: Role, connection: ConnectionFigures, header: Header, length: int) -> None:
        """Count a message that is not part of an exchange."""
        if part == "event":
            connection.events += 1
            self._event(header, length)
        elif part == "keepalive":
            connection.pings += header.proc == _PING
            connection.pongs += header.proc == _PONG
        else:
            self._totals.other += 1

    def _connection(self, captured: Captured) -> ConnectionFigures:
        if len(self._rows) >= MAX_ROWS:
            return self._without_row
        is_ = captured.connection
        client, server = _text(is_.client), _text(is_.server)
        row = ConnectionFigures(self._file, is_.id, client, server, is_.transport)
        self._rows.append(row)
        self._connections[is_.id] = row
        return row

    def _add_event(self, event: ConnectionEvent) -> None:
        """Add what a daemon reports about a connection that already has messages."""
        id_ = None if event.connection is None else event.connection.id
        connection = self._connections.get(id_) if id_ is not None else None
        if connection is not None:
            negotiation.add_event(connection, event.kind)

    def _event(self, header: Header, length: int) -> None:
        key = (header.prog, header.vers, header.proc)
        event = self._events.get(key)
        if event is None:
            program, procedure = self._names(header)
            event = EventKind(header.prog, program, header.vers, header.proc, procedure)
            self._enter(self._events, key, event)
        event.count += 1
        event.bytes += length

    # Exchanges

    def _exchange(self, exchange: Exchange) -> None:
        header, outcome = exchange.header, exchange.outcome
        self._totals.exchanges += 1
        self._outcomes[outcome] += 1
        key = (header.prog, header.vers, header.proc)
        calls = self._procedures.get(key)
        if calls is None:
            calls = _Calls(header, *self._names(header))
            self._enter(self._procedures, key, calls)
        calls.add(exchange)
        connection = self._connections.get(exchange.connection.id)
        if connection is not None and calls.note is not None:
            calls.note(connection, exchange)
        if outcome != "ok" or exchange.stream is not None:
            self._unsuccessful(exchange, connection)
        latency = exchange.latency_ns
        if latency is not None and latency > self._slow_ns:
            self._slow(latency, exchange)

    def _routine(self, connection: ConnectionFigures, exchanges: RoutineExchanges) -> None:
        """Add exchanges of a connection."""
        before = self._totals.exchanges
        self._outcomes["ok"] += len(exchanges)
        noted = False
        for kind, latencies in exchanges.latencies.items():
            header = exchanges.kinds[kind].header
            key = (header.prog, header.vers, header.proc)
            calls = self._procedures.get(key)
            if calls is None:
                calls = _Calls(header, *self._names(header))
                self._enter(self._procedures, key, calls)
            calls.add_routine(latencies, *exchanges.sizes[kind])
            noted = noted or calls.note is not None
        if noted and not negotiation.is_full(connection):
            for row in exchanges.rows:
                calls = self._procedures.get(exchanges.kinds[row[10]].number)
                if calls is not None and calls.note is not None:
                    calls.note(connection, exchanges.exchange(row, before))
        if any(max(latencies) > self._slow_ns for latencies in exchanges.latencies.values()):
            for row in exchanges.rows:
                self._totals.exchanges += 1
                if row[5] - row[4] > self._slow_ns:
                    self._slow(row[5] - row[4], exchanges.exchange(row, self._totals.exchanges))
        self._totals.exchanges = before + len(exchanges)

    def _unsuccessful(self, exchange: Exchange, connection: ConnectionFigures | None) -> None:
        """Count errors, and a call without a reply."""
        failures = exchange.failures
        self._totals.errors += len(failures)
        if connection is not None:
            connection.errors += len(failures)
        for part in failures:
            self._error(part)
        call = exchange.call
        if call is None or exchange.outcome not in _NO_REPLY:
            return
        self._totals.unanswered += 1
        if connection is not None:
            connection.unanswered += 1
        if len(self._unanswered) < MAX_ROWS:
            subject = self._objects.subject(call.message, None)
            self._unanswered.append(Unanswered(exchange.outcome, self._where(call), subject))
        else:
            self._totals.left_out += 1

    def _error(self, captured: Captured) -> None:
        """Add an error reply, or the error that ended a stream."""
        code = reported_code(captured.message)
        if code is None:  # it is truncated or missing
            return
        error = self._errors.get(code)
        if error is None:
            reported = reported_error(captured.message)
            assert reported is not None
            error = ErrorFigures(code, reported.code_name, 0, self._where(captured), reported.message)
            self._enter(self._errors, code, error)
        error.count += 1

    def _slow(self, latency: int, exchange: Exchange) -> None:
        """Add one of the slowest exchanges so far."""
        call, reply = exchange.call, exchange.reply
        assert call is not None
        assert reply is not None
        failed = next(map(reported_error, (part.message for part in exchange.failures)), None)
        slow = Slow(
            latency,
            self._where(call),
            reply.n,
            exchange.outcome,
            self._objects.subject(call.message, reply.message),
            None if failed is None else str(failed),
        )
        entry = (latency, -self._totals.exchanges, slow)  # of equal ones, the earlier counts as slower
        if len(self._slowest) < self._top:
            heapq.heappush(self._slowest, entry)
        else:
            heapq.heappushpop(self._slowest, entry)
        if len(self._slowest) == self._top:
            self._slow_ns = self._slowest[0][0]

    def _enter(self, table: dict[K, V], key: K, value: V) -> bool:
        """Add a row if there is room; otherwise its figures are only in the totals."""
        room = len(table) < MAX_ROWS
        if room:
            table[key] = value
        else:
            self._totals.left_out += 1
        return room

    def _names(self, header: Header) -> tuple[str | None, str | None]:
        program = self._registry.find(header.prog, header.vers)
        procedure = program.by_number.get(header.proc) if program else None
        return program.name if program else None, procedure.name if procedure else None

    def _where(self, captured: Captured) -> Where:
        header = captured.message.header
        program, procedure = self._names(header)
        return Where(
            self._file,
            captured.n,
            captured.time_ns,
            _text(str(captured.connection)),
            header.prog,
            program,
            header.vers,
            header.proc,
            procedure,
            header.serial,
            self._command(captured),
        )

    def _command(self, captured: Captured) -> str | None:
        """Return the command that shows a message, with the call and the reply that belong to it."""
        header = captured.message.header
        is_data = role(header) == "stream" and header.status == _CONTINUE
        whole = role(header) in ("call", "reply", "stream") and not is_data
        options = (*(["--exchanges"] if whole else ()), "--message", str(captured.n))
        return self._show(*options, files=[self._file])

    def _show(self, *options: str, files: Sequence[str]) -> str | None:
        if self._decode is None:
            return None
        return shlex.join([*self._decode, *options, *map(file_argument, files)])


class _Calls:
    """The exchanges of a procedure."""

    def __init__(self, header: Header, program: str | None, procedure: str | None) -> None:
        #: What the connection's row notes of it.
        self.note = None if program is None or procedure is None else negotiation.note(program, procedure)
        self._row = ProcedureFigures(
            header.prog, program, header.vers, header.proc, procedure, *(0,) * 8, latency=None, streams=None
        )
        self._latencies = array("q")

    def add(self, exchange: Exchange) -> None:
        """Add an exchange."""
        row, call, reply = self._row, exchange.call, exchange.reply
        if call is None:
            row.without_call += 1
        else:
            row.calls += 1
            row.unanswered += exchange.outcome in _NO_REPLY
            row.fds_sent += call.message.fds or 0
        if exchange.outcome != "ok" or exchange.stream is not None:
            row.errors += len(exchange.failures)
        if reply is not None:
            row.fds_received += reply.message.fds or 0
        row.bytes_c2s += exchange.bytes_c2s
        row.bytes_s2c += exchange.bytes_s2c
        if exchange.latency_ns is not None:
            self._latencies.append(_fitting(exchange.latency_ns))
        if exchange.stream is not None:
            row.streams = row.streams or Streams()
            _add_stream(row.streams, exchange.stream)

    def add_routine(self, latencies: list[int], bytes_c2s: int, bytes_s2c: int) -> None:
        """Add calls and their replies, by their latencies in ns, and their lengths."""
        row = self._row
        row.calls += len(latencies)
        row.bytes_c2s += bytes_c2s
        row.bytes_s2c += bytes_s2c
        self._latencies.extend(latencies)

    def figures(self) -> ProcedureFigures:
        """Build the row of the procedure."""
        if self._latencies:
            self._row.latency = latency(self._latencies)
        streams = self._row.streams
        if streams is not None and streams.duration_ns > 0:
            total = streams.bytes_c2s + streams.bytes_s2c
            streams.bytes_per_second = round(total * 1e9 / streams.duration_ns)
        return self._row


def latency(values: array[int]) -> Latency:
    """Return the figures of latencies, of which there must be at least one."""
    ordered = sorted(values)
    count, total = len(ordered), sum(ordered)
    p50, p90, p99 = (ordered[ceil(percent * count / 100) - 1] for percent in (50, 90, 99))
    return Latency(count, total, ordered[0], round(total / count), p50, p90, p99, ordered[-1])


def _add_stream(streams: Streams, stream: Stream) -> None:
    streams.count += 1
    streams.bytes_c2s += stream.bytes_c2s
    streams.bytes_s2c += stream.bytes_s2c
    streams.holes += stream.holes
    streams.hole_bytes += stream.hole_bytes
    if stream.start_ns is not None and stream.last_ns is not None:
        streams.duration_ns += max(0, stream.last_ns - stream.start_ns)
    streams.aborted += stream.end == "aborted"
    streams.failed += stream.end == "error"
    streams.open += stream.end == "open"


def _add_routine(row: ConnectionFigures, exchanges: RoutineExchanges) -> None:
    row.messages += 2 * len(exchanges)
    row.calls += len(exchanges)
    row.bytes_c2s += sum(exchanges.call_lengths)
    row.bytes_s2c += sum(exchanges.reply_lengths)
    row.start_ns = _least(row.start_ns, exchanges.start_ns)
    row.end_ns = exchanges.end_ns if row.end_ns is None else max(row.end_ns, exchanges.end_ns)


def _add_connection(totals: Totals, row: ConnectionFigures) -> None:
    """Add the messages of a connection to the totals, and complete its row."""
    if row.start_ns is not None and row.end_ns is not None:
        row.duration_ns = row.end_ns - row.start_ns
        totals.start_ns = _least(totals.start_ns, row.start_ns)
        totals.end_ns = row.end_ns if totals.end_ns is None else max(totals.end_ns, row.end_ns)
    totals.messages += row.messages
    totals.bytes += row.bytes_c2s + row.bytes_s2c + row.bytes_unknown
    totals.calls += row.calls
    totals.events += row.events
    totals.pings += row.pings
    totals.pongs += row.pongs


def _least(known: int | None, new: int | None) -> int | None:
    return known if new is None else new if known is None else min(known, new)


def _fitting(ns: int) -> int:
    """Clamp a number to 64 bits, whatever the clock."""
    return max(-(2**63), min(ns, 2**63 - 1))


def _text(name: str) -> str:
    """Return text that is valid UTF-8, for JSON: the name of a file or a socket may be any bytes."""
    return name.encode("utf-8", "backslashreplace").decode()
