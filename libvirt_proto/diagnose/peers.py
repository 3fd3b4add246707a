"""What is known of each connection while its messages pass."""

from __future__ import annotations

from typing import Final

from ..bounded import BoundedDict
from ..events import Captured, Closed, Connection, ConnectionEvent, Direction
from ..rpc.message import Header
from ..session import role

#: Maximum number of connections, and of calls in flight on each, that are tracked.
MAX_PEERS: Final = 16_384
MAX_CALLS: Final = 1_024
#: The end of a client in a log that does not have its address (capture/objects.py).
_UNKNOWN: Final = "client"

#: Program, version, serial.
CallKey = tuple[int, int, int]


def call_key(header: Header) -> CallKey:
    """Return what a call and its reply share on a connection."""
    return header.prog, header.vers, header.serial


def daemon(connection: Connection) -> str:
    """Return the name of the daemon of a connection: all connections in its log have the same one, whose
    names else have the address of an object."""
    if connection.transport == "log" and connection.side == "server":
        return ""
    return connection.server.partition("@")[0]


class Peer:
    """A connection and its traffic so far.

    `waiting` maps the calls without a reply to their messages, the oldest first. `heard` is the time of the
    last message of each direction. `closed` is set when both directions have ended; `disposed` if a daemon
    or client reported that it discarded the connection. `events` are the kinds of events that were reported
    about it.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.messages = self.calls = 0
        self.first_ns: int | None = None
        self.last_ns: int | None = None
        self.last: Captured | None = None
        self.heard: dict[Direction | None, int | None] = {}
        self.waiting: BoundedDict[CallKey, Captured] = BoundedDict(MAX_CALLS)
        self.most_waiting = 0
        self.closed: Closed | None = None
        self.disposed: ConnectionEvent | None = None

    def add(self, captured: Captured) -> None:
        """Count a message, and note calls and replies."""
        self.messages += 1
        self.last = captured
        if captured.time_ns is not None:
            self.first_ns = captured.time_ns if self.first_ns is None else self.first_ns
            self.last_ns = captured.time_ns
        self.heard[captured.direction] = captured.time_ns
        part = role(captured.message.header)
        if part == "call":
            self.calls += 1
            self.waiting.put(call_key(captured.message.header), captured)
            self.most_waiting = max(self.most_waiting, len(self.waiting))
        elif part == "reply":
            self.waiting.pop(call_key(captured.message.header), None)

    def __str__(self) -> str:
        return str(self.connection)

    @property
    def client(self) -> str:
        """The client's end, or the name of the connection if it is unknown."""
        known = self.connection.client not in ("", _UNKNOWN)
        return self.connection.client if known else str(self.connection)
