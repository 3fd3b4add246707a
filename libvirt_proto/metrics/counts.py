"""Counters over an endless input. One thread adds what is seen, others take snapshots.

Labels are names of the definitions, of the public API of libvirt and of this package. A number without a
name is counted as `unknown`, so that no peer can create series.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping
from threading import Lock
from typing import TYPE_CHECKING, Final

import msgspec

from ..bounded import BoundedDict
from ..diagnose.diagnoser import Diagnoser
from ..diagnose.rules import RULES
from ..events import Captured, Closed, Lines, Notice, NoticeCode, Seen
from ..names.public import names
from ..rpc.message import Header
from ..rpc.names import TYPES, Names
from ..rpc.reported import reported_code
from ..session import Exchange, Outcome, Sessions, role

if TYPE_CHECKING:
    from ..registry import Registry

#: The label of a number without a name.
UNKNOWN: Final = "unknown"
#: The label of what was seen between client and server, and belongs to neither side.
BETWEEN: Final = "between"
#: Upper bounds of latencies in ns: from a trivial call on a local socket, in steps of about 2.5, past 30 s,
#: after which libvirt gives up the lock of a domain and the default keepalive a peer.
BOUNDS: Final[tuple[int, ...]] = (
    *(100_000, 250_000, 500_000),
    *(1_000_000, 2_500_000, 5_000_000),
    *(10_000_000, 25_000_000, 50_000_000),
    *(100_000_000, 250_000_000, 500_000_000),
    *(1_000_000_000, 2_500_000_000, 5_000_000_000),
    *(10_000_000_000, 30_000_000_000, 60_000_000_000),
)
#: Outcomes of exchanges with a call. Exchanges with other outcomes lack it.
CALL_OUTCOMES: Final[tuple[Outcome, ...]] = ("ok", "error", "unanswered", "pending", "given-up", "repeated")
TRANSPORTS: Final = frozenset(("tcp", "tls", "unix", "log", "raw"))
#: Maximum number of procedures (with their side) that are counted separately. libvirt has 500 procedures;
#: custom definitions may have any number.
MAX_ROWS: Final = 4096
#: Maximum number of connections that are known to be open.
MAX_CONNECTIONS: Final = 65536
#: Seconds of a recording that is diagnosed as a whole.
DIAGNOSED: Final = 300.0

#: Program, procedure and side.
Key = tuple[str, str, str]


class CallCounts(msgspec.Struct, frozen=True):
    """The calls of a procedure on one side: by outcome, by latency (one count for each of BOUNDS, and one
    for longer ones), the sum of the latencies, and the calls that wait for a reply: their number, and the
    age of the oldest (None without a clock)."""

    key: Key
    outcomes: Mapping[str, int]
    latencies: tuple[int, ...]
    latency_ns: int
    in_flight: int
    oldest_ns: int | None


class Snapshot(msgspec.Struct, frozen=True):
    """All counts at one moment. `connections` are counted by transport and side: those seen so far, and
    those open."""

    calls: tuple[CallCounts, ...]
    without_call: Mapping[str, int]
    errors: Mapping[str, int]
    events: Mapping[Key, int]
    messages: Mapping[str, int]
    bytes: Mapping[str, int]
    malformed: int
    lost_messages: int
    lost_bytes: int
    notices: Mapping[str, int]
    connections: Mapping[tuple[str, str], int]
    open_connections: Mapping[tuple[str, str], int]
    #: By rule and severity; None unless the input is diagnosed.
    findings: Mapping[tuple[str, str], int] | None


class Metrics:
    """Counts the items of one input. Memory is bounded, whatever it holds.

    With `diagnose`, every DIAGNOSED seconds of it are diagnosed as a recording. `clock` returns seconds.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        diagnose: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.registry: Final = registry
        self._clock = clock
        self._lock = Lock()
        self._names = Names(registry)
        self._codes = names("virErrorNumber")
        self._sessions = Sessions(registry)
        self._rows: dict[Key, _Row] = {}
        self._without_call: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()
        self._events: dict[Key, int] = {}
        self._messages: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()
        self._malformed = self._lost_messages = self._lost_bytes = 0
        self._notices: Counter[str] = Counter(dict.fromkeys(NoticeCode, 0))
        self._connections: Counter[tuple[str, str]] = Counter()
        self._open: BoundedDict[int, tuple[str, str]] = BoundedDict(MAX_CONNECTIONS)
        #: Time of the last item on the clock of the input, and on ours.
        self._input_ns: int | None = None
        self._read = 0.0
        self._windows = _Windows(registry, clock) if diagnose else None

    def add(self, item: Seen) -> None:
        """Count an item of the input."""
        with self._lock:
            if self._windows is not None:
                self._windows.add(item)
            if isinstance(item, Captured):
                self._message(item)
                self._exchanges(self._sessions.feed(item))
            elif isinstance(item, Notice):
                self._notice(item)
            elif isinstance(item, Closed):
                self._open.pop(item.connection.id, None)
                self._exchanges(self._sessions.feed(item))
            assert not isinstance(item, Lines)
            if item.time_ns is not None:
                self._input_ns, self._read = item.time_ns, self._clock()

    def finish(self) -> None:
        """End the input: its calls get no more replies."""
        with self._lock:
            self._exchanges(self._sessions.finish())
            self._open.clear()
            if self._windows is not None:
                self._windows.end()

    def snapshot(self) -> Snapshot:
        """Return all counts. Safe in any thread."""
        with self._lock:
            if self._windows is not None:
                self._windows.turn()
            waiting = self._waiting()
            return Snapshot(
                tuple(row.counts(key, *waiting.get(key, (0, 0))) for key, row in self._rows.items()),
                dict(self._without_call),
                dict(self._errors),
                dict(self._events),
                dict(self._messages),
                dict(self._bytes),
                self._malformed,
                self._lost_messages,
                self._lost_bytes,
                dict(self._notices),
                dict(self._connections),
                Counter(self._open.values()),
                None if self._windows is None else dict(self._windows.findings),
            )

    def _message(self, captured: Captured) -> None:
        message, connection = captured.message, captured.connection
        header = message.header
        self._messages[TYPES.get(header.type, UNKNOWN)] += 1
        self._bytes[captured.direction or UNKNOWN] += message.length
        if message.error is not None:
            self._malformed += message.malformed
        if connection.id not in self._open:
            transport = connection.transport if connection.transport in TRANSPORTS else UNKNOWN
            kind = (transport, connection.side or BETWEEN)
            self._connections[kind] += 1
            self._open.put(connection.id, kind)
        if role(header) == "event":
            key = self._key(header, connection.side, self._events)
            self._events[key] = self._events.get(key, 0) + 1

    def _notice(self, notice: Notice) -> None:
        self._notices[notice.code] += 1
        if notice.code == NoticeCode.LOST_EVENTS:
            self._lost_messages += notice.count or 0
        elif notice.code == NoticeCode.LOST_BYTES:  # also for each gap that a relay's dropped bytes leave
            self._lost_bytes += notice.count or 0

    def _exchanges(self, done: list[Exchange]) -> None:
        for exchange in done:
            if exchange.call is None:
                self._without_call[exchange.outcome] += 1
            else:
                self._row(exchange.first).add(exchange)
            if exchange.outcome != "ok" or exchange.stream is not None:
                for part in exchange.failures:
                    code = reported_code(part.message)
                    self._errors[UNKNOWN if code is None else self._codes.get(code, UNKNOWN)] += 1

    def _waiting(self) -> dict[Key, tuple[int, int | None]]:
        """Return the number of calls that wait for a reply, and the age of the oldest, in ns."""
        found: dict[Key, tuple[int, int | None]] = {}
        now_ns = None if self._input_ns is None else self._input_ns + int(1e9 * (self._clock() - self._read))
        for call in self._sessions.waiting():
            row = self._row(call)
            count, oldest = found.get(row.key, (0, None))
            if now_ns is not None and call.time_ns is not None:
                oldest = max(oldest or 0, now_ns - call.time_ns)
            found[row.key] = (count + 1, oldest)
        return found

    def _row(self, captured: Captured) -> _Row:
        key = self._key(captured.message.header, captured.connection.side, self._rows)
        row = self._rows.get(key)
        if row is None:
            row = self._rows[key] = _Row(key)
        return row

    def _key(self, header: Header, side: str | None, table: Mapping[Key, object]) -> Key:
        program, procedure = self._names.of(header)
        key = (program or UNKNOWN, procedure or UNKNOWN, side or BETWEEN)
        if key not in table and len(table) >= MAX_ROWS:
            return (UNKNOWN, UNKNOWN, key[2])
        return key


class _Row:
    """The calls of a procedure on one side."""

    __slots__ = ("key", "latencies", "latency_ns", "outcomes")

    def __init__(self, key: Key) -> None:
        self.key = key
        self.outcomes: dict[str, int] = {"ok": 0, "error": 0}
        self.latencies = [0] * (len(BOUNDS) + 1)
        self.latency_ns = 0

    def add(self, exchange: Exchange) -> None:
        """Add an exchange with a call. A reply before its call, by a clock that was set back, counts as
        immediate."""
        self.outcomes[exchange.outcome] = self.outcomes.get(exchange.outcome, 0) + 1
        if exchange.latency_ns is not None:
            latency = max(0, exchange.latency_ns)
            self.latencies[bisect_left(BOUNDS, latency)] += 1
            self.latency_ns += latency

    def counts(self, key: Key, in_flight: int, oldest_ns: int | None) -> CallCounts:
        """Return the counts so far."""
        return CallCounts(
            key, dict(self.outcomes), tuple(self.latencies), self.latency_ns, in_flight, oldest_ns
        )


class _Windows:
    """Diagnoses of consecutive parts of the input, each as if a trace had begun and ended there."""

    def __init__(self, registry: Registry, clock: Callable[[], float]) -> None:
        self._registry = registry
        self._clock = clock
        #: Findings of the parts that have ended, by rule and severity.
        self.findings: Counter[tuple[str, str]] = Counter(
            {(rule.id, rule.severity): 0 for rule in RULES.values()}
        )
        self._begin()

    def _begin(self) -> None:
        self._diagnoser = Diagnoser(self._registry, decode=None, live=True)
        self._diagnoser.source("")
        self._until = self._clock() + DIAGNOSED

    def add(self, item: Seen) -> None:
        """Add an item."""
        self.turn()
        if isinstance(item, Notice):
            self._diagnoser.notice(item)
        elif not isinstance(item, Lines):
            self._diagnoser.add(item)

    def turn(self) -> None:
        """Begin the next part if it is time."""
        if self._clock() >= self._until:
            self.end()

    def end(self) -> None:
        """End a part."""
        for finding in self._diagnoser.finish().findings:
            self.findings[finding.rule, finding.severity] += 1
        self._begin()
