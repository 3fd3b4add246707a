"""TOO_MANY_CLIENTS: connections that a daemon dropped, or did not accept, at its limit of clients.

At `max_clients`, or with `max_anonymous_clients` that have not authenticated, a daemon stops accepting
connections: the kernel completes them, and their first message waits until another client ends
(virNetServerCheckLimits). Older releases accept and close them at once (virNetServerAddClient).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from ..bounded import BoundedDict
from ..events import Captured, Closed, LogLine
from ..rpc.message import Header
from ..rpc.wire import REMOTE_PROGRAM
from ..text import amount, duration
from .detector import MAX_NUMBERS, Detector, Lines, Recording, Sample
from .findings import Evidence, Finding
from .peers import Peer, daemon
from .queueing import TOGETHER_NS, WAIT_NS
from .settings import advice, default

#: Servers, connections of each that are counted, and those that waited.
_MAX_SERVERS: Final = 256
_MAX_CLIENTS: Final = 16_384
_MAX_WAITED: Final = 256
#: REMOTE_PROC_CONNECT_CLOSE: the client closes its connection after the reply.
_CLOSE: Final = 2
#: The last ends of connections that are kept of a server.
_MAX_ENDS: Final = 256
#: A waiting connection is accepted so soon after the end of another one.
_SOON_NS: Final = 50_000_000
#: Connections that waited: one may be a coincidence.
_WAITED: Final = 2
#: The part of them that began when another connection ended.
_EXPLAINED: Final = 0.8
#: The duration of a connection that is dropped at a limit, and their number while others are served.
_DROPPED_NS: Final = 1_000_000_000
_DROPPED: Final = 3


#: Program, setting and value.
_Limit = tuple[str, str, str]


class _Waited(NamedTuple):
    """A connection whose first message waited for a reply, and the number of clients that were served."""

    call: Captured
    sent_ns: int
    reply_ns: int
    served: int


class _Server:
    """The connections of a daemon."""

    def __init__(self) -> None:
        #: Connections with a reply, and without one: their first message, and how many were served then.
        self.served: BoundedDict[int, None] = BoundedDict(_MAX_CLIENTS)
        self.first: BoundedDict[int, tuple[Captured, int]] = BoundedDict(_MAX_CLIENTS)
        self.ends: deque[int] = deque(maxlen=_MAX_ENDS)
        self.waited: list[_Waited] = []
        #: Connections that the daemon closed without a reply while it served others.
        self.dropped = Sample()
        self.clients = 0
        #: The times of first replies.
        self.replies: list[int] = []


class Clients(Detector):
    """Connections that waited for the end of others or were dropped, and what logs state about it."""

    rules = ("TOO_MANY_CLIENTS",)
    roles = ("call", "reply")

    def __init__(self, recording: Recording) -> None:
        super().__init__(recording)
        self._servers: BoundedDict[str, _Server] = BoundedDict(_MAX_SERVERS)
        self._known: BoundedDict[int, None] = BoundedDict(_MAX_CLIENTS)
        self._dropped: BoundedDict[_Limit, Lines] = BoundedDict(MAX_NUMBERS)
        self._limits: BoundedDict[_Limit, Lines] = BoundedDict(MAX_NUMBERS)
        self._suspended: BoundedDict[_Limit, Lines] = BoundedDict(MAX_NUMBERS)

    def message(self, _peer: Peer, captured: Captured) -> None:
        """Note that a client closes its connection."""
        header = captured.message.header
        if header.proc == _CLOSE and header.prog == REMOTE_PROGRAM and captured.connection.id in self._known:
            self._end(daemon(captured.connection), captured.time_ns)

    def takes(self, _header: Header) -> bool:
        """Return True: only the first and the last messages of a connection matter."""
        return True

    def first(self, peer: Peer, captured: Captured) -> None:
        """Note the first message of a connection, and its reply."""
        id_ = captured.connection.id
        if id_ in self._known:
            return
        name = daemon(captured.connection)
        server = self._servers.get(name)
        if server is None:
            server = _Server()
            self._servers.put(name, server)
        if captured.direction == "c2s":
            if peer.messages == 1:
                server.first.put(id_, (captured, len(server.served)))
            return
        self._known.put(id_, None)
        first, served = server.first.pop(id_, (None, 0))
        server.served.put(id_, None)
        if first is None or first.time_ns is None or captured.time_ns is None:
            return
        if len(server.replies) < _MAX_WAITED:
            server.replies.append(captured.time_ns)
        if captured.time_ns - first.time_ns >= WAIT_NS and len(server.waited) < _MAX_WAITED:
            server.waited.append(_Waited(first, first.time_ns, captured.time_ns, served))

    def closed(self, peer: Peer, closed: Closed) -> None:
        """Note the end of a connection."""
        id_ = peer.connection.id
        server = self._servers.get(daemon(peer.connection))
        self._known.pop(id_, None)
        if server is None:
            return
        if id_ in server.served:
            del server.served[id_]
            self._end(daemon(peer.connection), closed.time_ns)
            return
        first, _ = server.first.pop(id_, (None, 0))
        if first is None or first.time_ns is None or closed.time_ns is None or closed.first != "s2c":
            return
        if server.served and closed.time_ns - first.time_ns < _DROPPED_NS:
            server.dropped.add(first)
            server.clients = max(server.clients, len(server.served))

    def _end(self, name: str, time_ns: int | None) -> None:
        server = self._servers.get(name)
        if server is not None and time_ns is not None:
            server.ends.append(time_ns)

    def line(self, line: LogLine) -> None:
        """Note connections that the daemon reports to have dropped, and its limits."""
        if line.kind == "clients-dropped" and "limit" in line.details:
            _of(self._dropped, (line.program, "max_clients", line.details["limit"])).add(line)
        elif line.kind == "clients-limit" and line.details:
            setting = "max_clients" if "clients" in line.details else "max_anonymous_clients"
            limit = next(iter(line.details.values()))
            _of(self._limits, (line.program, setting, limit)).add(line)

        elif line.kind == "services-suspended":
            _of(self._suspended, (line.program, "", "")).add(line)

    def findings(self) -> Iterator[Finding]:
        """Report what the log states, and what the messages show."""
        for (program, _, limit), lines in self._dropped.items():
            yield self._of_drops(program, limit, lines)
        for (program, setting, limit), lines in self._limits.items():
            yield self._of_limit(program, setting, limit, lines)
        for (program, _, _), lines in self._suspended.items():
            if not any(program == limit[0] for limit in self._limits):  # which state the same in detail
                yield self._of_suspension(program, lines)
        for name, server in self._servers.items():
            waited = [each for each in server.waited if _begins_at_end(each, server.ends)]
            if len(waited) >= max(_WAITED, len(server.waited) * _EXPLAINED) and _apart(waited):
                yield self._of_waits(name, waited, max(each.served for each in waited) // _views(server))
            elif server.dropped.count >= _DROPPED:
                yield self._of_dropped(name, server)

    def _of_drops(self, program: str, limit: str, lines: Lines) -> Finding:
        count = lines.count
        froms = [line.details["client"] for line in lines.first if "client" in line.details]
        what = f"the connection from {froms[0]}" if froms else "a connection"
        if count > 1:
            what = amount(count, "connection")
        evidence = self.recording.lines(f"the log states {amount(count, 'dropped connection')}", lines)
        return self.finding(
            "TOO_MANY_CLIENTS",
            f"{program or 'The daemon'} dropped {what} because it had {limit} clients, the most that it"
            " accepts (max_clients).",
            [evidence],
            advice=_advice(program, "max_clients", int(limit)),
        )

    def _of_limit(self, program: str, setting: str, limit: str, lines: Lines) -> Finding:
        who = "clients" if setting == "max_clients" else "clients that had not authenticated"
        return self.finding(
            "TOO_MANY_CLIENTS",
            f"{program or 'The daemon'} stopped accepting connections because it had {limit} {who}, the most"
            f" that it accepts ({setting}).",
            [self.recording.lines(f"the log states that the limit of {limit} clients is reached", lines)],
            advice=_advice(program, setting, int(limit)),
        )

    def _of_suspension(self, program: str, lines: Lines) -> Finding:
        return self.finding(
            "TOO_MANY_CLIENTS",
            f"{program or 'The daemon'} stopped accepting connections {amount(lines.count, 'time')} because"
            " it had as many clients as it accepts (max_clients), or as many that had not authenticated"
            " (max_anonymous_clients).",
            [self.recording.lines("the log states that services are suspended", lines)],
            advice=(
                'learn which limit it is: log_filters="1:rpc.virnetserver" logs the clients and both limits',
                *_advice(program, "max_clients", 0),
            ),
        )

    def _of_waits(self, name: str, waited: Sequence[_Waited], served: int) -> Finding:
        longest = max(waited, key=lambda each: each.reply_ns - each.sent_ns)
        wait = duration(longest.reply_ns - longest.sent_ns)
        text = f"each of them was answered within {duration(_SOON_NS)} of the end of another connection"
        evidence: list[Evidence] = [
            self.recording.messages(text, [each.call for each in waited], exchanges=True)
        ]
        return self.finding(
            "TOO_MANY_CLIENTS",
            f"{amount(len(waited), 'connection')} to {name or 'the daemon'} waited up to {wait} for their"
            f" first reply, each until another client disconnected: the daemon accepts {served} clients"
            " (max_clients).",
            evidence,
            certainty="likely",
            advice=_advice("", "max_clients", served),
        )

    def _of_dropped(self, name: str, server: _Server) -> Finding:
        dropped = server.dropped
        return self.finding(
            "TOO_MANY_CLIENTS",
            f"The daemon{name and f' {name}'} closed {amount(dropped.count, 'connection')} at once, without"
            f" a reply, while it served {amount(server.clients, 'other client')}: it does so at its limit"
            " (max_clients).",
            [self.recording.messages("connections without any reply", dropped)],
            certainty="possible",
            advice=_advice("", "max_clients", server.clients),
        )


def _of(groups: BoundedDict[_Limit, Lines], limit: _Limit) -> Lines:
    """Return the lines about a limit."""
    if limit not in groups:
        groups.put(limit, Lines())
    return groups[limit]


def _begins_at_end(waited: _Waited, ends: Sequence[int]) -> bool:
    """Return whether a connection was accepted when another one ended, and not when one had ended before."""
    return any(-TOGETHER_NS <= waited.reply_ns - end <= _SOON_NS for end in ends)


def _views(server: _Server) -> int:
    """Return how often the recording has each connection: twice if both its ends were traced."""
    times = sorted(server.replies)
    pairs = list(zip(times[::2], times[1::2], strict=False))
    return 2 if len(times) % 2 == 0 and all(two - one <= TOGETHER_NS for one, two in pairs) else 1


def _apart(waited: Sequence[_Waited]) -> bool:
    """Return whether connections were accepted at different times: they did not all end a stall."""
    times = [each.reply_ns for each in waited]
    return max(times) - min(times) > TOGETHER_NS


def _advice(program: str, setting: str, limit: int) -> tuple[str, ...]:
    """Return what helps at a limit of clients."""
    close = "close connections that are not used: each client object of a program keeps one open"
    if setting == "max_anonymous_clients":
        return (
            "find the clients that connect and do not authenticate: ss -tnp, or virt-admin client-list",
            advice(setting, max(default(setting), limit * 2), program),
        )
    return (
        "see who is connected: virt-admin client-list, or ss -xp and ss -tnp",
        close,
        advice(setting, max(default(setting, program), limit * 2), program),
    )
