"""Connections while their messages pass."""

from __future__ import annotations

from typing import Final

from ..bounded import BoundedDict
from ..events import Captured, Closed, Connection, ConnectionEvent, Direction, LogLine, Side
from ..routine import RoutineExchanges, Undecoded
from ..rpc.message import Header
from ..rpc.wire import ADMIN_PROGRAM, REMOTE_PROGRAM
from ..session import Role, role

#: Maximum number of connections, and of calls in flight on each, that are tracked.
MAX_PEERS: Final = 16_384
MAX_CALLS: Final = 1_024
#: The end of a client in a log that does not have its address (capture/objects.py).
_UNKNOWN: Final = "client"
#: REMOTE_PROC_CONNECT_CLOSE and ADMIN_PROC_CONNECT_CLOSE: the last call of a client that closes its
#: connection (virConnectClose).
_CLOSE: Final = 2
_CLOSING: Final = (REMOTE_PROGRAM, ADMIN_PROGRAM)
#: Lines that state why a connection ended, and who must have ended it: the end that does not report it.
_TEXTS: Final = {
    "end-of-file": "End of file while reading data",
    "receive-failed": "Cannot recv data",
    "send-failed": "Cannot write data",
}
ENDING_LINES: Final = frozenset((*_TEXTS, "wrong-length"))
#: Events of a connection that has ended.
ENDING_EVENTS: Final = ("keepalive_stop", "socket_dispose", "client_dispose", "server_client_dispose")
#: The time without traffic after which a connection counts as idle.
IDLE_NS: Final = 2 * 10**9
#: An error that is reported so soon after a call was there before.
QUICK_NS: Final = 200_000_000
#: The time between such a line and the first event.
_AT_ONCE_NS: Final = 50_000_000

#: Program, version, serial.
CallKey = tuple[int, int, int]


def call_key(header: Header) -> CallKey:
    """Return what a call and its reply share on a connection."""
    return header.prog, header.vers, header.serial


def closes(header: Header) -> bool:
    """Return whether a call closes its connection."""
    return header.proc == _CLOSE and header.prog in _CLOSING


def daemon(connection: Connection) -> str:
    """Return the name of the daemon of a connection: all connections in its log have the same one, whose
    names else have the address of an object."""
    if connection.transport == "log" and connection.side == "server":
        return ""
    return connection.server.partition("@")[0]


class Peer:
    """A connection and its traffic so far.

    `waiting` maps the calls without a reply to their messages, the oldest first. `role` is that of the last
    message, and `answered` the call whose reply it is, if any. `heard` is the time of the last message of
    each direction. `closing` is the client's call to close the connection. `closed` is set when both
    directions have ended; `broken` if a log or a probe reported that its socket was closed or failed,
    `disposed` that the connection was discarded; `has_events` is False in recordings of traces, which lack
    these events. `reason` is the line of the log that states why it ended.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.messages = self.calls = 0
        self.first_ns: int | None = None
        self.last_ns: int | None = None
        self._last: Captured | Undecoded | None = None
        self.role: Role = "other"
        self.heard: dict[Direction | None, int | None] = {}
        self.waiting: BoundedDict[CallKey, Captured] = BoundedDict(MAX_CALLS)
        self.most_waiting = 0
        self.answered: Captured | None = None
        self.closing: Captured | None = None
        self.closed: Closed | None = None
        self.broken: ConnectionEvent | None = None
        self.disposed: ConnectionEvent | None = None
        self.has_events = True
        self.reason: LogLine | None = None

    def add(self, captured: Captured) -> None:
        """Count a message, and note calls and replies."""
        header, time_ns = captured.message.header, captured.time_ns
        self.messages += 1
        self._last = captured
        if time_ns is not None:
            if self.first_ns is None:
                self.first_ns = time_ns
            self.last_ns = time_ns
        self.heard[captured.direction] = time_ns
        self.answered = None
        self.role = part = role(header)
        if part == "call":
            self.calls += 1
            if closes(header):
                self.closing = captured
            self.waiting.put((header.prog, header.vers, header.serial), captured)
            if len(self.waiting) > self.most_waiting:
                self.most_waiting = len(self.waiting)
        elif part == "reply":
            self.answered = self.waiting.pop((header.prog, header.vers, header.serial), None)

    def add_routine(self, exchanges: RoutineExchanges) -> None:
        """Count calls with their replies."""
        self.messages += 2 * len(exchanges)
        self.calls += len(exchanges)
        self._last = exchanges.last
        self.last_ns = self.heard["s2c"] = exchanges.replies_ns[-1]
        self.heard["c2s"] = exchanges.calls_ns[-1]
        self.answered = None
        self.role = "reply"
        self.most_waiting = max(1, self.most_waiting)

    @property
    def last(self) -> Captured | None:
        """The last message."""
        if isinstance(self._last, Undecoded):
            self._last = self._last.captured()
        return self._last

    def end(self, event: ConnectionEvent, line: LogLine | None) -> bool:
        """Note an event of the end, and the line before it if it states the reason; return whether it
        does."""
        if event.kind == "socket_dispose":
            self.broken = event
        elif event.kind in ("client_dispose", "server_client_dispose"):
            self.disposed = event
        if self.reason is not None or line is None or not _belongs(line, event):
            return False
        self.reason = line
        self.broken = self.broken or event
        return True

    def __str__(self) -> str:
        return str(self.connection)

    @property
    def lost(self) -> list[Captured]:
        """The calls that wait for a reply, the oldest first, without the one to close the connection."""
        return [call for call in self.waiting.values() if call is not self.closing]

    @property
    def orderly(self) -> bool:
        """True if the client asked to close the connection, and no other call waited."""
        return self.closing is not None and not self.lost

    @property
    def ended_by(self) -> Side | None:
        """The end that closed the connection, as far as the recording shows it."""
        if self.closed is not None and self.closed.first is not None:
            return "client" if self.closed.first == "c2s" else "server"
        side = self.connection.side
        if side is None or (self.closed is None and self.broken is None):
            return None
        other: Side = "client" if side == "server" else "server"
        if self.reason is not None:
            return side if self.reason.kind == "wrong-length" else other  # it refuses what it received
        if self.broken is None and self.disposed is None:
            return side if self.has_events else None  # its process ended
        if side == "client":
            return other if self.lost else side  # a client does not close its socket in a call
        return side if self.connection.transport == "log" else None  # a log has an error for each other end

    @property
    def client(self) -> str:
        """The client's end, or the name of the connection if it is unknown."""
        known = self.connection.client not in ("", _UNKNOWN)
        return self.connection.client if known else str(self.connection)

    @property
    def subject(self) -> str:
        """Its name in every recording: without the addresses of objects."""
        return f"{self.connection.client.partition('@')[0]}-{self.server}"

    @property
    def client_host(self) -> str:
        """The client's host, or "" for a local client or an unknown one."""
        return host(self.connection.client)

    @property
    def server(self) -> str:
        """The daemon's address; "server" for a local one in a log."""
        return self.connection.server.partition("@")[0]

    @property
    def stale_ns(self) -> int | None:
        """The time that the connection had been idle when its client made the call during which it ended at
        once; None if it was in use, or the client ended it. It had ended before, unnoticed."""
        ended = self.ended_ns
        lost = self.lost
        before = self.heard.get("s2c")
        if self.ended_by == "client" or not lost or ended is None or before is None:
            return None
        if self.closed is not None and self.closed.first == "s2c" and not self.closed.reset:
            return None  # the daemon closed it now
        called = lost[0].time_ns
        if called is None or called - before < IDLE_NS or not 0 <= ended - called <= QUICK_NS:
            return None
        return called - before

    @property
    def ended_ns(self) -> int | None:
        """The time of its end."""
        ends = (each.time_ns for each in (self.broken, self.closed, self.disposed) if each is not None)
        return min((time for time in ends if time is not None), default=None)


def host(end: str) -> str:
    """Return the host of `192.0.2.7:40508` or `[::1]:40508@0x55bef0a18050`; "" for anything else."""
    name, colon, port = end.partition("@")[0].rpartition(":")
    return name if colon and port.isdecimal() else ""


def stated(line: LogLine) -> str:
    """Return the text of evidence that is a line about the end of a connection."""
    if line.kind == "wrong-length":
        return f"the log has a length of {line.details.get('size')}, which no message has"
    return f'the log has "{_TEXTS[line.kind]}: {line.details.get("reason", "")}"'


def _belongs(line: LogLine, event: ConnectionEvent) -> bool:
    """Return whether a line states the reason of the event that follows it: the same thread, at once."""
    thread = dict(event.details).get("thread")
    if None not in (line.thread, thread) and line.thread != thread:
        return False
    if line.time_ns is None or event.time_ns is None:
        return True
    return 0 <= event.time_ns - line.time_ns <= _AT_ONCE_NS
