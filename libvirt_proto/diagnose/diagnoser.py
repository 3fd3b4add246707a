"""Diagnose recordings: one pass over each, and then one list of findings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Sequence
from time import time_ns
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from ..bounded import BoundedDict
from ..events import Captured, Closed, Connection, ConnectionEvent, LogLine, Notice, NoticeCode, ProbeEvent
from ..routine import RoutineExchanges
from ..rpc.message import Header
from ..session import ROLES, Exchange, Sessions
from .auth import Authentication
from .blocked import BlockedObjects
from .both_ends import BothEnds
from .certificates import Certificates
from .chatter import Chatter
from .clients import Clients
from .combine import combined
from .detector import Detector, Hook, Recording, is_routine, overridden
from .disconnects import Disconnects
from .event_stream import EventStream
from .findings import Check, Diagnosis, Finding
from .guest_agent import GuestAgents
from .jobs import UnfinishedJobs
from .keepalive import Keepalive
from .latency import Latency
from .locks import StateChangeLocks
from .monitor_commands import MonitorCommands
from .other_protocols import OtherProtocols
from .peers import ENDING_EVENTS, ENDING_LINES, MAX_PEERS, Peer, closes
from .permissions import Permissions
from .request_limit import RequestLimit
from .rules import RULES, Need
from .sizes import Limits
from .skew import VersionSkew
from .split import TimeOutside
from .streams import Streams
from .unanswered import Unanswered
from .workers import Workers

if TYPE_CHECKING:
    from ..registry import Registry

#: The items of a recording that detectors see.
Diagnosed: TypeAlias = Captured | ConnectionEvent | ProbeEvent | LogLine | Closed

#: All detectors, by name: none depends on another.
DETECTORS: Final[tuple[type[Detector], ...]] = (
    Authentication,
    BlockedObjects,
    Certificates,
    Chatter,
    Clients,
    Disconnects,
    EventStream,
    GuestAgents,
    Keepalive,
    Latency,
    Limits,
    MonitorCommands,
    OtherProtocols,
    Permissions,
    RequestLimit,
    StateChangeLocks,
    Streams,
    TimeOutside,
    Unanswered,
    UnfinishedJobs,
    VersionSkew,
    Workers,
)
#: Findings of one rule in one recording that are reported.
MAX_FINDINGS: Final = 20
#: Procedures whose hooks are kept; libvirt has 700, but a header may contain any number.
_MAX_PROCEDURES: Final = 4096
_LOSS: Final = frozenset(
    (NoticeCode.LOST_BYTES, NoticeCode.CUT_PACKETS, NoticeCode.LOST_EVENTS, NoticeCode.TRUNCATED_FILE)
)
_MISSING: Final[dict[Need, str]] = {
    "times": "needs messages with times",
    "payloads": "needs payloads, which a log does not have",
    "log": "needs a log of the daemon",
}


class Diagnoser:
    """Finds what went wrong in one or more recordings.

    `source` begins a recording, `add` adds its messages and events in order, `finish` returns the diagnosis.
    `decode` is the command that shows messages of the inputs, None if they are not files. `rules` limits the
    findings; None: all. `redacted` is reported unchanged. A `live` recording ends when its pass does, rather
    than with its last message: a call may wait while nothing else happens. Memory is bounded, whatever the
    recordings hold.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        decode: Sequence[str] | None = ("libvirt-proto", "decode"),
        rules: Container[str] | None = None,
        redacted: str | None = None,
        live: bool = False,
    ) -> None:
        self._registry = registry
        self._decode = decode
        self._rules = RULES.keys() if rules is None else [rule for rule in RULES if rule in rules]
        self._redacted = redacted
        self._live = live
        self._both_ends = BothEnds()
        self._pass: _Pass | None = None
        self._files: list[str] = []
        self._found: list[Finding] = []
        self._counts: Counter[str] = Counter()
        self._seen: set[Need] = set()
        self._start_ns: int | None = None
        self._end_ns: int | None = None

    def source(self, file: str) -> None:
        """Begin another recording."""
        self._end()
        recording = Recording(file, self._registry, self._decode, self._both_ends)
        self._files.append(recording.file)
        self._pass = _Pass(recording, self._rules)

    def add(self, item: Diagnosed, done: list[Exchange] | None = None) -> None:
        """Add a message or an event of the recording. `done` are the exchanges that it completes, if the
        caller pairs them; it then also adds those that are open at the end of each recording."""
        assert self._pass is not None
        self._pass.add(item, done)

    def takes(self, header: Header) -> bool:
        """Return whether exchanges of a procedure may be RoutineExchanges."""
        assert self._pass is not None
        return self._pass.takes(header)

    def routine(self, exchanges: RoutineExchanges) -> None:
        """Add routine exchanges of a procedure that `takes` accepts."""
        assert self._pass is not None
        self._pass.routine(exchanges)

    def is_ready(self, exchanges: RoutineExchanges) -> bool:
        """Return whether `add_routine` may add exchanges; otherwise add their messages."""
        assert self._pass is not None
        return self._pass.is_ready(exchanges)

    def add_routine(self, exchanges: RoutineExchanges) -> None:
        """Add exchanges that the caller has counted."""
        assert self._pass is not None
        self._pass.add_routine(exchanges)

    def exchanges(self, done: list[Exchange]) -> None:
        """Add exchanges that the caller has paired."""
        assert self._pass is not None
        self._pass.exchanges(done)

    def notice(self, notice: Notice) -> None:
        """Add a notice of the recording."""
        assert self._pass is not None
        self._pass.notice(notice)

    def finish(self) -> Diagnosis:
        """End the last recording, and return the diagnosis of all."""
        self._end()
        findings = combined(self._found)
        found = Counter(finding.rule for finding in findings)
        checked = [Check(rule, found[rule], self._missing(rule)) for rule in self._rules]
        return Diagnosis(
            findings,
            checked,
            self._files,
            self._counts["messages"],
            self._counts["connections"],
            self._counts["lines"],
            self._start_ns,
            self._end_ns,
            self._redacted or msgspec.UNSET,
        )

    def _missing(self, rule: str) -> str | None:
        """Return why a rule could not be checked."""
        if not (self._counts["messages"] or self._counts["lines"]):
            return "the input is empty"
        return next((_MISSING[need] for need in RULES[rule].needs if need not in self._seen), None)

    def _end(self) -> None:
        ended, self._pass = self._pass, None
        if ended is None:
            return
        if self._live and ended.recording.end_ns is not None:
            ended.recording.end_ns = max(ended.recording.end_ns, time_ns())
        self._found += ended.finish()
        ended.recording.peers = {}  # the calls of other recordings may refer to this one
        self._counts.update(ended.counts)
        self._seen |= ended.seen
        times = [each for each in (self._start_ns, ended.start_ns) if each is not None]
        self._start_ns = min(times, default=None)
        times = [each for each in (self._end_ns, ended.recording.end_ns) if each is not None]
        self._end_ns = max(times, default=None)


class _Pass:
    """The detectors of one recording, and the connections that they share."""

    def __init__(self, recording: Recording, rules: Container[str]) -> None:
        self.recording = recording
        self.counts: Counter[str] = Counter()
        self.seen: set[Need] = set()
        self._has_events = False
        self.start_ns: int | None = None
        self._rules = rules
        self._messages = 0
        self._sessions = Sessions(recording.registry)
        #: The last line that states why a connection ended, until that connection is known.
        self._reason: LogLine | None = None
        self._peers: BoundedDict[int, Peer] = BoundedDict(MAX_PEERS)
        recording.peers = self._peers
        wanted = [each for each in DETECTORS if any(rule in rules for rule in each.rules)]
        self._detectors = [detector(recording) for detector in wanted]
        self._first, self._exchange, self._event, self._probe, self._line, self._closed, self._notice = (
            _hooks(name, self._detectors)
            for name in ("first", "exchange", "event", "probe", "line", "closed", "notice")
        )
        self._message = {
            role: _hooks("message", [each for each in self._detectors if role in each.roles])
            for role in ROLES
        }
        self._ready, self._rows = (_hooks(name, self._detectors) for name in ("ready", "routine"))
        #: Program, version, procedure → the hooks for its routine exchanges.
        self._routine: BoundedDict[tuple[int, int, int], list[Hook]] = BoundedDict(_MAX_PROCEDURES)

    def add(self, item: Diagnosed, done: list[Exchange] | None) -> None:
        """Pass an item to the detectors, and the exchanges that it completes."""
        time_ns = item.time_ns
        if time_ns is not None:
            if self.start_ns is None:
                self.start_ns = time_ns
            self.recording.end_ns = time_ns
        if isinstance(item, Captured):
            self._captured(item)
        elif isinstance(item, ConnectionEvent):
            self._add_event(item)
        elif isinstance(item, Closed):
            peer = self._peer(item.connection)
            peer.closed = item
            peer.has_events = self._has_events
            for hook in self._closed:
                hook(peer, item)
        else:
            self.counts["lines"] += 1
            self.seen.add("log")
            if isinstance(item, LogLine) and item.kind in ENDING_LINES:
                self._reason = item
            for hook in self._line if isinstance(item, LogLine) else self._probe:
                hook(item)
        if done is None and isinstance(item, (Captured, Closed)):
            done = self._sessions.feed(item)
        if done:
            self.exchanges(done)

    def takes(self, header: Header) -> bool:
        """Return whether all detectors that see calls of a procedure take their numbers instead."""
        return not closes(header) and all(each.takes(header) for each in self._detectors if each.sees(header))

    def is_ready(self, exchanges: RoutineExchanges) -> bool:
        """Return whether the numbers of exchanges are enough."""
        peer = self._peers.get(exchanges.connection.id)
        return (
            peer is not None
            and peer.connection.side is None
            and not peer.waiting
            and "c2s" in peer.heard
            and "s2c" in peer.heard
            and peer.first_ns is not None
            and self.start_ns is not None
            and "times" in self.seen
            and "payloads" in self.seen
            and all(hook(peer, exchanges) for hook in self._ready)
        )

    def add_routine(self, exchanges: RoutineExchanges) -> None:
        """Pass exchanges to the detectors, and note what the recording has."""
        recording, peer = self.recording, self._peers[exchanges.connection.id]
        self._messages += 2 * len(exchanges)
        peer.add_routine(exchanges)
        recording.end_ns = recording.answered_ns = exchanges.replies_ns[-1]
        recording.exchanges += len(exchanges)
        recording.both_ends.add_routine(recording, exchanges)
        for hook in self._rows:
            hook(peer, exchanges)

    def routine(self, exchanges: RoutineExchanges) -> None:
        """Add routine exchanges, or their messages."""
        ready = exchanges.once_ready(self._takes, lambda captured: self.add(captured, None))
        if ready is not None:
            ready.pair(self._sessions)
            self.add_routine(ready)

    def _takes(self, exchanges: RoutineExchanges) -> bool:
        return self._sessions.takes(exchanges.connection.id) and self.is_ready(exchanges)

    def _add_event(self, event: ConnectionEvent) -> None:
        self._has_events = True
        about = None if event.connection is None else self._peer(event.connection)
        if about is not None and event.kind in ENDING_EVENTS and about.end(event, self._reason):
            self._reason = None
        for hook in self._event:
            hook(about, event)

    def notice(self, notice: Notice) -> None:
        """Pass a notice to the detectors."""
        self.recording.lossy = self.recording.lossy or notice.code in _LOSS
        for hook in self._notice:
            hook(notice)

    def finish(self) -> list[Finding]:
        """End the recording, and return the findings of the wanted rules."""
        self.counts["messages"] = self._messages
        self.exchanges(self._sessions.finish())
        found: list[Finding] = []
        count: Counter[str] = Counter()
        for detector in self._detectors:
            for finding in detector.findings():
                count[finding.rule] += 1
                if finding.rule in self._rules and count[finding.rule] <= MAX_FINDINGS:
                    found.append(finding)
        return found

    def _captured(self, captured: Captured) -> None:
        """Pass a message to the detectors, and note what the recording has."""
        self._messages += 1
        if captured.time_ns is not None and "times" not in self.seen:
            self.seen.add("times")
        if captured.message.payload is not None and "payloads" not in self.seen:
            self.seen.add("payloads")
        peer = self._peers.get(captured.connection.id) or self._peer(captured.connection)
        is_first = captured.direction not in peer.heard
        peer.add(captured)
        for hook in self._message[peer.role]:
            hook(peer, captured)
        if is_first:
            if captured.connection.transport == "log":
                self.seen.add("log")
            for hook in self._first:
                hook(peer, captured)

    def _peer(self, connection: Connection) -> Peer:
        peer = self._peers.get(connection.id)
        if peer is None:
            peer = Peer(connection)
            if connection.side is not None:
                self.recording.sides.add(connection.side)
            self._peers.put(connection.id, peer)
            self.counts["connections"] = max(self.counts["connections"], connection.id)
        return peer

    def exchanges(self, done: list[Exchange]) -> None:
        """Pass exchanges to the detectors."""
        recording = self.recording
        for exchange in done:
            peer = self._peer(exchange.connection)
            recording.exchanges += 1
            if exchange.reply is not None:
                recording.answered_ns = exchange.reply.time_ns
            recording.both_ends.add(recording, exchange)
            for hook in self._of_routine(exchange.header) if is_routine(exchange) else self._exchange:
                hook(peer, exchange)

    def _of_routine(self, header: Header) -> list[Hook]:
        number = header.prog, header.vers, header.proc
        hooks = self._routine.get(number)
        if hooks is None:
            hooks = _hooks("exchange", [each for each in self._detectors if each.wants(header)])
            self._routine.put(number, hooks)
        return hooks


def _hooks(name: str, detectors: Iterable[Detector]) -> list[Hook]:
    """Return a method of the detectors that have it."""
    methods = (overridden(detector, name) for detector in detectors)
    return [method for method in methods if method is not None]
