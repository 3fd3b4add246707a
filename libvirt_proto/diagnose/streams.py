"""STREAM_STALLED, STREAM_FAILED: streams whose data pauses, and streams that end by an abort or an error.

A console or a channel is a conversation: it pauses while nobody types, and its client aborts it to leave it.
Holes are data that is not sent.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, Literal

from ..bounded import BoundedDict
from ..events import Captured, Direction
from ..routine import RoutineExchanges
from ..rpc.message import Status, Type
from ..rpc.objects import NamedObject
from ..rpc.reported import reported_error
from ..rpc.wire import MIN_FRAME
from ..session import stream_direction
from ..text import amount, duration, size
from .detector import Detector, Recording, Sample
from .findings import Certainty, Evidence, Finding
from .peers import CallKey, Peer, call_key

if TYPE_CHECKING:
    from ..rpc.message import Header
    from ..session import Exchange, Stream

#: A pause that is no longer a slow disk or network.
_PAUSE_NS: Final = 3 * 10**9
#: Conversations, which have no rate.
_INTERACTIVE: Final = frozenset(("domain_open_console", "domain_open_channel"))
#: The end of a console when its domain ends (daemonStreamEvent in remote_daemon_stream.c).
_HANGUP: Final = "unexpected termination"
#: Maximum number of connections with open streams, of streams of each, and of findings of each rule.
_MAX_CONNECTIONS: Final = 4_096
_MAX_FLOWS: Final = 16
_MAX_FOUND: Final = 20
#: Plain numbers in a tuple are compared faster than members of an enumeration.
_TYPES: Final = (int(Type.VIR_NET_STREAM), int(Type.VIR_NET_STREAM_HOLE))
_DATA: Final = int(Type.VIR_NET_STREAM)
_OK: Final = int(Status.VIR_NET_OK)
_CONTINUE: Final = int(Status.VIR_NET_CONTINUE)


class _Pause:
    """A pause in a stream: the message after which it began, the one that ended it, and what the daemon and
    the client sent meanwhile."""

    def __init__(self, flow: _Flow, until: Captured | None, end_ns: int, sender: Direction | None) -> None:
        assert flow.last_ns is not None
        self.duration_ns = end_ns - flow.last_ns
        self.position = flow.position
        self.sender = sender
        self.sample = Sample((flow.last, until))
        self.daemon_sent = flow.others["s2c"]
        self.client_sent = flow.others["c2s"]
        self.ended = until is not None


class _Flow:
    """An open stream: its last message, the data up to it, and other messages of the connection since."""

    def __init__(self, header: Header) -> None:
        self.header = header
        self.last: Captured | None = None
        self.last_ns: int | None = None
        self.position = 0
        self.others = {"c2s": 0, "s2c": 0}
        self.longest: _Pause | None = None
        self.closed_ns: int | None = None

    def add(self, captured: Captured) -> None:
        """Add a message of the stream, and keep the longest pause before one."""
        time_ns = captured.time_ns
        if time_ns is not None:
            self.pause(captured, time_ns, captured.direction)
            self.last, self.last_ns = captured, time_ns
        message = captured.message
        if message.header.type == Type.VIR_NET_STREAM_HOLE:
            self.position += max(0, getattr(message.payload, "length", 0))
        elif message.header.status == Status.VIR_NET_CONTINUE:
            self.position += max(0, message.length - MIN_FRAME)
        self.others = {"c2s": 0, "s2c": 0}

    def pause(self, until: Captured | None, end_ns: int, sender: Direction | None) -> None:
        """Note a pause if it is the longest one."""
        if self.last_ns is None or end_ns - self.last_ns < _PAUSE_NS:
            return
        if self.longest is None or end_ns - self.last_ns > self.longest.duration_ns:
            self.longest = _Pause(self, until, end_ns, sender)


class Streams(Detector):
    """Pauses and ends of streams."""

    rules = ("STREAM_STALLED", "STREAM_FAILED")

    def __init__(self, recording: Recording) -> None:
        super().__init__(recording)
        #: Connection → its open streams.
        self._open: BoundedDict[int, dict[CallKey, _Flow]] = BoundedDict(_MAX_CONNECTIONS)
        #: Procedure → the direction of the stream that it opens, "" without one.
        self._carries: BoundedDict[tuple[int, int, int], Direction | Literal[""]] = BoundedDict(
            _MAX_CONNECTIONS
        )
        self._stalled: list[Finding] = []
        #: Procedure, how it ended and the error → evidence.
        self._failed: dict[tuple[str, str, str], list[tuple[str, Evidence]]] = {}

    def message(self, peer: Peer, captured: Captured) -> None:
        """Look at a message of a stream, the reply that opens one, and others while one is open."""
        header = captured.message.header
        type_ = header.type
        if type_ in _TYPES or (peer.answered is not None and self._opens(header)):
            flow = self._flow(peer, header)
            if flow is not None:
                flow.add(captured)
            if type_ == _DATA and captured.message.length == MIN_FRAME and header.status == _CONTINUE:
                self._end(peer, flow, header)
        elif self._open and captured.direction is not None:
            flows = self._open.get(peer.connection.id)
            if flows is not None:
                for flow in flows.values():
                    flow.others[captured.direction] += 1

    def takes(self, header: Header) -> bool:
        """Return whether a procedure opens no stream."""
        return not self._opens(header)

    def ready(self, _peer: Peer, _exchanges: RoutineExchanges) -> bool:
        """Return whether no stream is open."""
        return not self._open

    def wants(self, _header: Header) -> bool:
        """Return False: only streams matter."""
        return False

    def exchange(self, peer: Peer, exchange: Exchange) -> None:
        """Look at a stream that is over, or still open at the end."""
        stream = exchange.stream
        if stream is None:
            return
        flow = self._close(peer, exchange.header)
        name = self.recording.procedure(exchange.header)
        if peer.connection.id in self.recording.copies:
            return
        if stream.end in ("aborted", "error"):
            self._failure(name, peer, exchange, stream)
        if flow is None or name in _INTERACTIVE:
            return
        end_ns = self.recording.end_ns if peer.closed is None else peer.closed.time_ns
        unfinished = stream.end == "open" and exchange.outcome == "ok" and not self.recording.lossy
        if unfinished and end_ns is not None:
            flow.pause(None, end_ns, self._carries.get(_number(exchange.header)) or None)
        if flow.longest is not None and len(self._stalled) < _MAX_FOUND:
            self._stalled.append(self._of_pause(name, peer, exchange, flow.longest))

    def findings(self) -> Iterator[Finding]:
        """Report failed streams, those of the same kind together, and stalled ones."""
        for (name, end, error), found in self._failed.items():
            position, _ = found[0]
            why = f": {error}" if error else ""
            several = f"{len(found):,} streams" if len(found) > 1 else "The stream"
            verb = "were" if len(found) > 1 else "was"
            if end == "aborted":
                summary = f"{several} of {name} {verb} aborted by the client after {position}."
                advice = (
                    "see the client's error: it stops a stream when it cannot write or read its own side",
                )
            else:
                summary = f"{several} of {name} {verb} ended by an error of the daemon after {position}{why}."
                advice = (
                    "look for the same error in the daemon's log, and at the storage or the domain that the"
                    " stream belongs to",
                )
            yield self.finding(
                "STREAM_FAILED",
                summary,
                [each for _, each in found],
                subject=name,
                certainty="likely" if end == "error" and not error else "certain",
                advice=advice,
            )
        yield from self._stalled

    def _flow(self, peer: Peer, header: Header) -> _Flow | None:
        flows = self._open.get(peer.connection.id)
        if flows is None:
            flows = {}
            self._open.put(peer.connection.id, flows)
        key = call_key(header)
        flow = flows.get(key)
        if flow is None and len(flows) < _MAX_FLOWS:
            flow = flows[key] = _Flow(header)
        return flow

    def _close(self, peer: Peer, header: Header) -> _Flow | None:
        """Forget a stream that has ended."""
        flows = self._open.get(peer.connection.id)
        if flows is None:
            return None
        flow = flows.pop(call_key(header), None)
        if not flows:
            del self._open[peer.connection.id]
        return flow

    def _end(self, peer: Peer, flow: _Flow | None, header: Header) -> None:
        """Note the end of the data, an empty message of the daemon (daemonStreamHandleRead). Some clients
        never finish such a stream."""
        if flow is not None and flow.longest is not None:
            flow.last_ns = None
        else:
            self._close(peer, header)

    def _opens(self, header: Header) -> bool:
        """Return whether a reply opens a stream."""
        number = _number(header)
        carries = self._carries.get(number)
        if carries is None:
            procedure = self.recording.registry.procedure(*number)
            carries = (stream_direction(procedure) if procedure else None) or ""
            self._carries.put(number, carries)
        return carries != "" and header.status == _OK

    def _failure(self, name: str, peer: Peer, exchange: Exchange, stream: Stream) -> None:
        reported = None if stream.error is None else reported_error(stream.error.message)
        error = "" if reported is None else str(reported)
        if name in _INTERACTIVE and (stream.end == "aborted" or _HANGUP in error):
            return
        found = self._failed.setdefault((name, stream.end, error), [])
        if len(self._failed) > _MAX_FOUND:
            del self._failed[name, stream.end, error]
            return
        if len(found) >= _MAX_FOUND:
            return
        sent = stream.bytes_c2s + stream.bytes_s2c
        position = amount(sent, "byte")
        if stream.holes:
            position += f" and {amount(stream.holes, 'hole')} of {size(stream.hole_bytes)}"
        subject = self._subject(exchange)
        about = "" if subject is None else f" ({subject.kind} {subject})"
        evidence = self.recording.messages(
            f"{name}{about} {'aborted' if stream.end == 'aborted' else 'failed'} after {position}"
            + (f": {error}" if error else ""),
            exchange.parts,
            peer=peer,
            exchanges=True,
        )
        found.append((position, evidence))

    def _subject(self, exchange: Exchange) -> NamedObject | None:
        return None if exchange.call is None else self.recording.subject(exchange.call.message)

    def _of_pause(self, name: str, peer: Peer, exchange: Exchange, pause: _Pause) -> Finding:
        subject = self._subject(exchange)
        about = "" if subject is None else f" for {subject.kind} {subject}"
        who, certainty, why, advice = _blame(pause)
        last = "" if pause.ended else " and did not continue"
        return self.finding(
            "STREAM_STALLED",
            f"The data of {name}{about} paused for {duration(pause.duration_ns)} after"
            f" {amount(pause.position, 'byte')}{last}: {who}.",
            [self.recording.messages(why, pause.sample, peer=peer)],
            subject=name,
            certainty=certainty,
            advice=(advice,),
        )


def _number(header: Header) -> tuple[int, int, int]:
    return header.prog, header.vers, header.proc


def _blame(pause: _Pause) -> tuple[str, Certainty, str, str]:
    """Return who stopped, how certain that is, what shows it, and what helps."""
    daemon, client = pause.daemon_sent, pause.client_sent
    seen = f"{amount(daemon, 'other message')} of the daemon and {client:,} of the client during the pause"
    storage = "look at what the daemon reads or writes there: slow storage, or a domain that produces nothing"
    if pause.sender == "c2s":
        if daemon:
            return (
                "the client sent none, while the daemon answered it",
                "likely",
                seen,
                ("find out what the client waits for: it reads the data somewhere, or is busy"),
            )
        if client:
            return "the daemon did not read", "likely", seen, storage
        return (
            "the client sent none, or the daemon did not read",
            "possible",
            seen,
            ("see with ss -t whether the daemon's Recv-Q is full: then it does not read"),
        )
    if pause.sender is None:
        return "neither side sent any", "possible", seen, storage
    if daemon:
        return "the daemon sent none, although it sent other messages", "likely", seen, storage
    return (
        "the daemon sent none, or the client did not read",
        "possible",
        seen,
        ("see with ss -t whether the client's Recv-Q is full: then it does not read"),
    )
