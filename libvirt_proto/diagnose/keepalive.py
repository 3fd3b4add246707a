"""KEEPALIVE_TIMEOUT: a side that closed the connection because its pings had no answer.

A side that has received nothing for its interval sends a ping (virkeepaliveprotocol.x), and after `count` of
them without any message from its peer it closes the connection (virkeepalive.c). A daemon that does not read
from a client, because enough of its calls are in flight, misses the answers and closes the connection, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final, Literal, NamedTuple

from msgspec.structs import replace

from ..bounded import BoundedDict
from ..events import Captured, Closed, ConnectionEvent, Direction, LogLine
from ..routine import RoutineExchanges
from ..rpc.message import Header
from ..rpc.wire import KEEPALIVE_PROGRAM
from ..text import amount, duration
from .detector import MAX_NUMBERS, Detector, Lines, Recording, Sample
from .findings import CERTAINTIES, Certainty, Evidence, Finding
from .peers import MAX_PEERS, Peer, daemon
from .settings import DEFAULTS, advice

_PING: Final = 1
#: The last tick of a timer, by the name in the log and in the probe (libvirt_probes.d).
_LAST: Final = frozenset((("countToDeath", "0"), ("coundToDeath", "0")))
#: Calls in flight that evidence lists.
_LISTED: Final = 3
#: Connections of a finding whose evidence is listed.
_LISTED_PEERS: Final = 3
#: Pings without an answer before the end of a connection, and at the end of the input, where nothing shows
#: that the connection ended.
_PINGS: Final = 2
_PINGS_AT_END: Final = 3
#: An interval is a whole number of seconds; pings in quick succession were read late by a stopped process.
_SHORTEST_NS: Final = 900_000_000
#: The connection is closed one interval after the last ping; these parts of it allow for a busy host.
_DUE: Final = 0.95
_OVERDUE: Final = 1.5
#: If it is unknown who closed the connection, its time must be close.
_PUNCTUAL: Final = 1.1

#: Whether the peer sent nothing, or answered and the daemon did not read its answers.
_Kind = Literal["silent", "unread"]


class _Pings:
    """The pings of one direction since the other one sent anything but answers to them."""

    def __init__(self) -> None:
        #: All of them, and those since the last answer.
        self.sample = Sample()
        self.unanswered = Sample()
        #: Whether the sender also replied to a call meanwhile, so that it reads again.
        self.replied = False
        #: The message that arrived when the next ping was due: the sender had given up.
        self.late: Captured | None = None
        #: The calls in flight at the last ping, and their number.
        self.calls: list[Captured] = []
        self.in_flight = 0

    def ping(self, peer: Peer, captured: Captured) -> None:
        """Add a ping."""
        self.sample.add(captured)
        self.unanswered.add(captured)
        self.calls = list(islice(peer.waiting.values(), MAX_NUMBERS))
        self.in_flight = len(peer.waiting)

    def overdue(self, time_ns: int | None) -> float | None:
        """Return the time since the last ping as a multiple of their interval; None if one is unknown."""
        interval, last = interval_ns(self.sample), self.sample.end_ns
        if interval is None or interval < _SHORTEST_NS or last is None or time_ns is None:
            return None
        return (time_ns - last) / interval


def interval_ns(pings: Sample) -> int | None:
    """Return the mean time between pings."""
    first, last, count = pings.start_ns, pings.end_ns, pings.count
    return None if first is None or last is None or count < 2 else (last - first) // (count - 1)


class _Case(NamedTuple):
    """A connection that one side closed, at a time."""

    peer: Peer
    pings: _Pings | None
    certainty: Certainty
    end_ns: int | None


class _Group:
    """Connections that the same side closed for the same reason: the first ones, and their number."""

    def __init__(self) -> None:
        self.cases: list[_Case] = []
        self.count = 0

    def add(self, case: _Case) -> None:
        self.count += 1
        if len(self.cases) < _LISTED_PEERS:
            self.cases.append(case)


class Keepalive(Detector):
    """Pings without an answer before the end of a connection, and what logs state about it."""

    rules = ("KEEPALIVE_TIMEOUT",)

    def __init__(self, recording: Recording) -> None:
        super().__init__(recording)
        self._pings: BoundedDict[tuple[int, Direction], _Pings] = BoundedDict(MAX_PEERS)
        self._peers: BoundedDict[int, Peer] = BoundedDict(MAX_PEERS)
        self._groups: dict[tuple[Direction, _Kind], _Group] = {}
        self._expired: BoundedDict[int, None] = BoundedDict(MAX_PEERS)
        self._silences = Lines()
        self._timeouts = Lines()
        #: Whether the log is that of a daemon.
        self._is_daemon = False
        #: The calls of a connection that the daemon serves at a time: the default, or what the log states.
        self._limit = DEFAULTS["max_client_requests"]
        #: The last message of each server while pings are open.
        self._heard: BoundedDict[str, Captured] = BoundedDict(MAX_PEERS)

    def message(self, peer: Peer, captured: Captured) -> None:
        """Count pings, until their peer sends anything."""
        header = captured.message.header
        direction = captured.direction
        is_keepalive = header.prog == KEEPALIVE_PROGRAM
        if direction is None or not (self._pings or is_keepalive):
            return
        id_ = captured.connection.id
        if is_keepalive and header.proc == _PING:
            self._ping((id_, direction), peer, captured)
            return
        if direction == "s2c":
            self._heard.put(daemon(captured.connection), captured)
        mine = self._pings.get((id_, direction))
        if mine is not None and peer.role == "reply":
            mine.replied = True
            if mine.late:
                del self._pings[id_, direction]
        key: tuple[int, Direction] = (id_, "s2c" if direction == "c2s" else "c2s")
        pings = self._pings.get(key)
        if pings is None or pings.late:
            return
        overdue = pings.overdue(captured.time_ns)
        if pings.unanswered.count >= _PINGS and overdue is not None and overdue >= _DUE:
            pings.late = captured
        elif is_keepalive:
            pings.unanswered = Sample()
        else:
            del self._pings[key]

    def takes(self, _header: Header) -> bool:
        """Return True: calls matter only while pings are open."""
        return True

    def ready(self, _peer: Peer, _exchanges: RoutineExchanges) -> bool:
        """Return whether no pings are open."""
        return not self._pings

    def _ping(self, key: tuple[int, Direction], peer: Peer, captured: Captured) -> None:
        pings = self._pings.get(key)
        if pings is None or pings.late:
            pings = _Pings()
            self._pings.put(key, pings)
            self._peers.put(key[0], peer)
        pings.ping(peer, captured)

    def event(self, peer: Peer | None, event: ConnectionEvent) -> None:
        """Note the last tick of a keepalive timer: it has no pings left."""
        if event.kind != "keepalive_timeout" or peer is None or _LAST.isdisjoint(event.details):
            return
        id_ = peer.connection.id
        if id_ not in self._expired:
            self._expired.put(id_, None)
            side = peer.connection.side or event.side
            pinger: Direction = "s2c" if side == "server" else "c2s"
            pings = self._pings.pop((id_, pinger), None)
            # A daemon that does not read its client's answers reports the same.
            certainty: Certainty = "likely" if pinger == "s2c" and peer.waiting else "certain"
            self._report(pinger, "silent", _Case(peer, pings, certainty, event.time_ns))

    def line(self, line: LogLine) -> None:
        """Note the daemon's warning, and the error of a side that gives up."""
        if line.kind == "keepalive-silence":
            self._silences.add(line)
        elif line.kind == "keepalive-timeout":
            self._timeouts.add(line)
        elif line.kind == "request-limit" and "limit" in line.details:
            self._limit = int(line.details["limit"])
            self._is_daemon = True

    def closed(self, peer: Peer, closed: Closed) -> None:
        """Report a connection that its pinging side closed."""
        id_ = peer.connection.id
        sent: dict[Direction, _Pings | None] = {
            "s2c": self._pings.pop((id_, "s2c"), None),
            "c2s": self._pings.pop((id_, "c2s"), None),
        }
        if id_ in self._expired:
            return
        for pinger, pings in sent.items():
            if pings is None:
                continue
            overdue = pings.overdue(closed.time_ns)
            at_once = overdue is not None and _DUE <= overdue <= _OVERDUE
            if pings.late:
                self._report(pinger, "silent", _Case(peer, pings, "likely", pings.late.time_ns))
            elif pings.unanswered.count >= _PINGS:
                without_times = pings.sample.start_ns is None or closed.time_ns is None
                if at_once or (closed.first == pinger and (without_times or (overdue or 0) >= _DUE)):
                    self._report(pinger, "silent", _Case(peer, pings, "likely", closed.time_ns))
            elif _unread(pings, pinger) and at_once and closed.first in (pinger, None):
                certainty: Certainty = "certain" if closed.first == pinger else "likely"
                if closed.first == pinger or (overdue or 0) <= _PUNCTUAL:
                    self._report(pinger, "unread", _Case(peer, pings, certainty, closed.time_ns))

    def findings(self) -> Iterator[Finding]:
        """Report connections, and what only the log states."""
        for (id_, pinger), pings in self._pings.items():
            overdue = pings.overdue(self.recording.end_ns)
            ended = overdue is not None and overdue >= _DUE and pings.unanswered.count >= _PINGS_AT_END
            if (pings.late or ended) and not self.recording.lossy and id_ in self._peers:
                end_ns = pings.late.time_ns if pings.late else self.recording.end_ns
                self._report(pinger, "silent", _Case(self._peers[id_], pings, "likely", end_ns))
        found = [self._of_group(*key, group) for key, group in self._groups.items()]
        lines = [*self._silences.first, *self._timeouts.first]
        if lines and found:
            stated = self.recording.lines("the log states the keepalive timeout", lines)
            found[0] = replace(found[0], evidence=(*found[0].evidence, stated))
        elif lines:
            found = [self._of_log(lines)]
        yield from found

    def _report(self, pinger: Direction, kind: _Kind, case: _Case) -> None:
        self._groups.setdefault((pinger, kind), _Group()).add(case)

    def _of_group(self, pinger: Direction, kind: _Kind, group: _Group) -> Finding:
        first = group.cases[0]
        who = "client" if pinger == "c2s" else "daemon"
        what = f"the connection {first.peer}" if group.count == 1 else amount(group.count, "connection")
        sample = first.pings and (first.pings.sample if kind == "unread" else first.pings.unanswered)
        interval = interval_ns(sample) if sample else None
        pings = amount(sample.count, "ping") if sample else "its pings"
        if interval is not None:
            pings += f" sent every {duration(interval)}"
        saturated = pinger == "s2c" and (kind == "unread" or _count(first) >= self._limit)
        why = "it did not read the client's answers to" if kind == "unread" else "it received no answer to"
        several = group.count > 1
        evidence = [
            replace(each, text=f"{case.peer}: {each.text}") if several else each
            for case in group.cases
            for each in self._evidence(case, pinger, kind)
        ]
        return self.finding(
            "KEEPALIVE_TIMEOUT",
            f"The {who} closed {what} because {why} {pings}{self._meanwhile(first, saturated=saturated)}.",
            evidence,
            subject=f"pings of the {who}",
            certainty=min((case.certainty for case in group.cases), key=CERTAINTIES.index),
            advice=_advice(
                pinger,
                saturated=saturated,
                in_flight=_count(first),
                stopped=first.pings is not None and first.pings.late is not None,
            ),
        )

    def _meanwhile(self, case: _Case, *, saturated: bool) -> str:
        """Return what was in flight, as the end of a sentence."""
        calls, count = _in_flight(case), _count(case)
        if not calls:
            return ""
        oldest = self.recording.call(calls[0]) + (" in flight" if count == 1 else "")
        start_ns = calls[0].time_ns
        if start_ns is not None and case.end_ns is not None:
            oldest += f" for {duration(max(0, case.end_ns - start_ns))}"
        what = oldest if count == 1 else f"{count} calls in flight, the first one {oldest}"
        stopped = ", it had stopped reading from its client" if saturated else ""
        return f"{':' if saturated else ','} with {what}{stopped}"

    def _evidence(self, case: _Case, pinger: Direction, kind: _Kind) -> Iterator[Evidence]:
        *others, last = self._observed(case, pinger, kind)
        yield from others
        end_ns = max(filter(None, (last.end_ns, case.end_ns)), default=None)
        yield replace(last, end_ns=end_ns)  # all of it lasted until the connection was closed

    def _observed(self, case: _Case, pinger: Direction, kind: _Kind) -> Iterator[Evidence]:
        peer, pings = case.peer, case.pings
        if pings is not None and kind == "unread":
            text = f"{amount(pings.sample.count, 'ping')} that the client answered at once"
            yield self.recording.messages(text, pings.sample, peer=peer)
        elif pings is not None:
            text = f"{amount(pings.unanswered.count, 'ping')} without an answer"
            yield self.recording.messages(text, pings.unanswered, peer=peer)
        calls, count = _in_flight(case), _count(case)
        if calls:
            text = f"{amount(count, 'call')} in flight: {self.recording.names(calls)}"
            yield self.recording.messages(text, calls, peer=peer)
        elif pings is None:
            yield self.recording.messages("the last message before", [peer.last], peer=peer)
        if pings is not None and pings.late is not None:
            yield self._too_late(peer, pinger, pings, pings.late)
        if pings is not None and pinger == "c2s":
            yield from self._daemon(peer, pings)

    def _too_late(self, peer: Peer, pinger: Direction, pings: _Pings, late: Captured) -> Evidence:
        """Return the first message after the timeout: its sender ran again."""
        whom = "daemon" if pinger == "c2s" else "client"
        start = pings.unanswered.start_ns
        after = f", {duration(late.time_ns - start)} after the first ping" if late.time_ns and start else ""
        text = f"the {whom} was heard again{after}: too late, so it had been stopped or blocked"
        return self.recording.messages(text, [late], peer=peer)

    def _daemon(self, peer: Peer, pings: _Pings) -> Iterator[Evidence]:
        """Yield what the daemon did meanwhile for others: a stopped one does nothing."""
        heard = self._heard.get(daemon(peer.connection))
        if heard is None or heard.connection.id == peer.connection.id or heard.time_ns is None:
            return
        start, end = pings.unanswered.start_ns, pings.unanswered.end_ns
        if start is not None and end is not None and start <= heard.time_ns <= end:
            yield self.recording.messages("meanwhile the daemon answered another client", [heard])

    def _of_log(self, lines: Sequence[LogLine]) -> Finding:
        program = next((line.program for line in lines if line.program), "")
        side = {frozenset(("server",)): "The daemon", frozenset(("client",)): "The client"}.get(
            frozenset(self.recording.sides), "The daemon" if self._is_daemon else "One side"
        )
        count = max(self._silences.count, self._timeouts.count)
        what = "a connection" if count == 1 else amount(count, "connection")
        silence = next((line.details for line in self._silences.first), None)
        pings = "its keepalive pings"
        if silence and silence.keys() >= {"count", "seconds"}:
            pings = f"{silence['count']} pings in {silence['seconds']} s"
        return self.finding(
            "KEEPALIVE_TIMEOUT",
            f"{program or side} closed {what} because the peer did not answer {pings}.",
            [self.recording.lines("the log states the keepalive timeout", lines)],
            advice=_advice(None, saturated=False, in_flight=0, stopped=False),
        )


def _unread(pings: _Pings, pinger: Direction) -> bool:
    """Return whether a daemon may not have read the answers: calls were in flight all the time."""
    if pinger == "c2s" or pings.replied or not pings.calls or pings.sample.count < _PINGS:
        return False
    oldest, start = pings.calls[0].time_ns, pings.sample.start_ns
    return oldest is not None and start is not None and oldest <= start


def _in_flight(case: _Case) -> list[Captured]:
    if case.pings is not None:
        return case.pings.calls
    return list(islice(case.peer.waiting.values(), MAX_NUMBERS))


def _count(case: _Case) -> int:
    return case.pings.in_flight if case.pings is not None else len(case.peer.waiting)


def _advice(pinger: Direction | None, *, saturated: bool, in_flight: int, stopped: bool) -> tuple[str, ...]:
    """Return what helps, by the side that gave up."""
    slow = (
        "find the slow call: libvirt-proto stats lists the slowest, and log_filters="
        '"1:util.threadjob" logs what each worker of the daemon is doing'
    )
    more = advice("max_client_requests", max(20, in_flight + 1))
    unread = f"if the client was running, the daemon had stopped reading from it: {more}"
    if saturated:
        return (more, slow, advice("keepalive_count", 10))
    if pinger == "s2c":
        return (
            "see what the client was doing: a stopped process, or one that does not run its event loop,"
            " answers no ping",
            *((unread,) if in_flight and not stopped else ()),
            advice("keepalive_count", 10),
        )
    whom = "daemon" if pinger == "c2s" else "peer"
    return (
        f"see what the {whom} was doing: a stopped process answers no ping, and neither does a daemon that"
        " has stopped reading from its client",
        slow,
        "let the client wait longer: virConnectSetKeepAlive(conn, 5, 10), or virsh -k 5 -K 10",
    )
