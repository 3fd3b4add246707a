"""KEEPALIVE_TIMEOUT: a side that closed the connection because its pings had no answer.

A side that has received nothing for its interval sends a ping (virkeepaliveprotocol.x), and after `count` of
them without any message from its peer it closes the connection (virkeepalive.c).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from msgspec.structs import replace

from ..bounded import BoundedDict
from ..events import Captured, Closed, ConnectionEvent, Direction, LogLine
from ..rpc.wire import KEEPALIVE_PROGRAM
from ..text import amount, duration
from .detector import MAX_NUMBERS, Detector, Recording, Sample
from .findings import Certainty, Evidence, Finding
from .peers import MAX_PEERS, Peer
from .settings import advice

_PING: Final = 1


class _Pings:
    """The pings of one direction since the last message of the other one."""

    def __init__(self) -> None:
        self.sample = Sample()

    @property
    def interval_ns(self) -> int | None:
        """The mean time between two of them."""
        first, last, count = self.sample.start_ns, self.sample.end_ns, self.sample.count
        return None if first is None or last is None or count < 2 else (last - first) // (count - 1)


class Keepalive(Detector):
    """Pings without an answer before the end of a connection, and what logs state about it."""

    rules = ("KEEPALIVE_TIMEOUT",)

    def __init__(self, recording: Recording) -> None:
        super().__init__(recording)
        self._pings: BoundedDict[tuple[int, Direction], _Pings] = BoundedDict(MAX_PEERS)
        self._found: list[Finding] = []
        self._expired: BoundedDict[int, ConnectionEvent] = BoundedDict(MAX_PEERS)
        self._silences: list[LogLine] = []
        self._timeouts: list[LogLine] = []

    def message(self, peer: Peer, captured: Captured) -> None:
        """Count pings, until their peer sends anything."""
        direction = captured.direction
        if direction is None:
            return
        id_ = captured.connection.id
        if self._pings:
            self._pings.pop((id_, "s2c" if direction == "c2s" else "c2s"), None)
        header = captured.message.header
        if header.prog == KEEPALIVE_PROGRAM and header.proc == _PING:
            if (id_, direction) not in self._pings:
                self._pings.put((id_, direction), _Pings())
            self._pings[id_, direction].sample.add(captured)

    def event(self, peer: Peer | None, event: ConnectionEvent) -> None:
        """Note the last tick of a keepalive timer: it has no pings left."""
        last = event.kind == "keepalive_timeout" and ("countToDeath", "0") in event.details
        if peer is not None and last:
            self._expired.put(peer.connection.id, event)
            self._report(peer, _sender(peer), "certain")

    def line(self, line: LogLine) -> None:
        """Note the daemon's warning, and the error of a side that gives up."""
        if line.kind == "keepalive-silence" and len(self._silences) < MAX_NUMBERS:
            self._silences.append(line)
        elif line.kind == "keepalive-timeout" and len(self._timeouts) < MAX_NUMBERS:
            self._timeouts.append(line)

    def closed(self, peer: Peer, closed: Closed) -> None:
        """Report a connection that its pinging side closed, or ended after its pings if nothing shows who
        closed it."""
        if peer.connection.id in self._expired:
            return
        sides: tuple[Direction, ...] = ("c2s", "s2c") if closed.first is None else (closed.first,)
        for side in sides:
            pings = self._pings.pop((peer.connection.id, side), None)
            if pings is not None and pings.sample.count > 1:
                self._report(peer, side, "likely", pings)

    def findings(self) -> Iterator[Finding]:
        """Report connections, and what only the log states."""
        lines = [*self._silences, *self._timeouts]
        found = self._found
        if lines and found:
            stated = self.recording.lines("the log states the keepalive timeout", lines)
            found[0] = replace(found[0], certainty="certain", evidence=(*found[0].evidence, stated))
        elif lines:
            found = [self._of_log(lines)]
        yield from found

    def _report(
        self, peer: Peer, pinger: Direction, certainty: Certainty, pings: _Pings | None = None
    ) -> None:
        pings = pings or self._pings.pop((peer.connection.id, pinger), None)
        who, whom = ("client", "daemon") if pinger == "c2s" else ("daemon", "client")
        count = pings.sample.count if pings else 0
        interval = pings.interval_ns if pings else None
        how = (
            amount(count, "ping") + (f" sent every {duration(interval)}" if interval else "")
            if count
            else "its pings"
        )
        summary = f"The {who} closed the connection {peer} because the {whom} did not answer {how}."
        evidence: list[Evidence] = []
        if pings:
            evidence.append(
                self.recording.messages(f"{amount(count, 'ping')} without an answer", pings.sample, peer=peer)
            )
        evidence += self._in_flight(peer)
        if not evidence:
            evidence.append(self.recording.messages("the last message before", [peer.last], peer=peer))
        self._found.append(
            self.finding(
                "KEEPALIVE_TIMEOUT",
                summary,
                evidence,
                subject=str(peer),
                certainty=certainty,
                advice=_advice(pinger, saturated=len(peer.waiting) > 1),
            )
        )

    def _in_flight(self, peer: Peer) -> Iterator[Evidence]:
        """Yield the calls that waited for a reply, the oldest first."""
        if peer.waiting:
            calls = peer.waiting.values()
            yield self.recording.calls("in flight, the oldest first", calls, peer=peer)

    def _of_log(self, lines: list[LogLine]) -> Finding:
        who = {frozenset(("server",)): "The daemon", frozenset(("client",)): "The client"}.get(
            frozenset(self.recording.sides), "One side"
        )
        count = max(len(self._silences), len(self._timeouts))
        what = "a connection" if count == 1 else amount(count, "connection")
        silence = next((line.details for line in self._silences), None)
        pings = f"{silence['count']} pings in {silence['seconds']} s" if silence else "its keepalive pings"
        return self.finding(
            "KEEPALIVE_TIMEOUT",
            f"{who} closed {what} because the peer did not answer {pings}.",
            [self.recording.lines("the log states the keepalive timeout", lines)],
            advice=_advice(None, saturated=False),
        )


def _sender(peer: Peer) -> Direction:
    return "s2c" if peer.connection.side == "server" else "c2s"


def _advice(pinger: Direction | None, *, saturated: bool) -> tuple[str, ...]:
    """Return what helps, by the side that gave up."""
    slow = (
        "find the call that took so long: libvirt-proto stats lists the slowest, and log_filters="
        '"1:util.threadjob" logs what each worker of the daemon is doing'
    )
    if pinger == "s2c":
        return (
            "see what the client was doing: a paused process, or one that does not run its event loop,"
            " answers no ping",
            *((advice("max_client_requests", 20),) if saturated else ()),
            advice("keepalive_count", 10),
        )
    return (
        slow,
        *((advice("max_client_requests", 20),) if saturated else ()),
        "let the client wait longer: virConnectSetKeepAlive(conn, 5, 10), or virsh -k 5 -K 10",
    )
