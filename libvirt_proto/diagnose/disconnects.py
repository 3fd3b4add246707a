"""DISCONNECTED and RECONNECT_STORM: connections that ended although nobody asked for it, and clients that
connect again and again.

What the reasons in libvirt's messages mean: `end_reasons`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

from msgspec.structs import replace

from ..bounded import BoundedDict
from ..events import Captured, Closed, LogLine, Notice, Side
from ..routine import RoutineExchanges
from ..rpc.message import Header, Status
from ..session import Exchange
from ..text import amount, duration, listed, size
from .detector import MAX_NUMBERS, Detector, Recording
from .end_reasons import CLOSED_BEFORE, Meaning, is_daemon, meaning
from .findings import Finding
from .peers import MAX_PEERS, Peer, stated

#: Maximum number of ended connections, of kinds of them, and of lines of one kind, that are kept.
_MAX_ENDS: Final = 1_024
_MAX_GROUPS: Final = 64
_MAX_LINES: Final = 256
#: Calls of a client that sets up a connection: auth_list, two questions about features, connect_open. A
#: connection that ended earlier was refused.
_SETUP_CALLS: Final = 3
#: A daemon that closes a connection sooner after a message does so because of that message.
_PAUSE_NS: Final = 100_000_000
#: A connection is short up to this time and number of calls: one command of virsh.
_SHORT_NS: Final = 10 * 10**9
_SHORT_CALLS: Final = 32
#: Many short connections: two every three seconds.
_STORM: Final = 40
_WINDOW_NS: Final = 60 * 10**9
#: A client that connects again and again uses each connection after another one, and goes on. Clients that
#: are started at the same time do not.
_PER_PARALLEL: Final = 10
_LASTING_NS: Final = 10**9
#: Maximum number of short connections that are kept.
_MAX_SHORT: Final = 16_384
#: Procedures of every connection of virsh and the bindings.
_USUAL: Final = frozenset(
    (
        *("auth_list", "auth_polkit", "connect_open", "connect_close", "connect_supports_feature"),
        *("connect_register_close_callback", "connect_unregister_close_callback", "connect_get_uri"),
        *("connect_get_lib_version", "auth_sasl_init", "auth_sasl_start", "auth_sasl_step"),
    )
)
#: Procedures that are named.
_NAMED: Final = 3

#: How a connection ended: it was gone before the client's next call; its daemon closed it while it was idle;
#: its network broke while it was idle; in the middle of a stream.
_How = Literal["unnoticed", "idle", "network", "stream"]


class _End(NamedTuple):
    """A connection that ended, and the message that shows how: the call that failed, the last message, or the
    call of the stream. `time_ns` is the time that it was idle, `size` the data of the stream."""

    peer: Peer
    shown: Captured | None
    time_ns: int | None = None
    size: int = 0


class _Ends:
    """Connections that ended in the same way."""

    def __init__(self) -> None:
        self.count = 0
        self.ends: list[_End] = []

    def add(self, end: _End) -> None:
        self.count += 1
        if len(self.ends) < MAX_NUMBERS:
            self.ends.append(end)


class Disconnects(Detector):
    """Connections that ended without their client's wish, and storms of connections."""

    rules = ("DISCONNECTED", "RECONNECT_STORM")
    roles = ("call",)

    def __init__(self, recording: Recording) -> None:
        super().__init__(recording)
        self._found: BoundedDict[tuple[_How, Side | None, str], _Ends] = BoundedDict(_MAX_GROUPS)
        #: Connections with an end that was found.
        self._known: BoundedDict[int, None] = BoundedDict(MAX_PEERS)
        #: The connection that ended last, which may have had a stream: its exchanges follow.
        self._idle: tuple[_How, Peer, int | None] | None = None
        self._lines: list[LogLine] = []
        #: Whether a log states anything else.
        self._other_lines = False
        self._storms = _Storms(recording)

    def message(self, peer: Peer, captured: Captured) -> None:
        """Note a call of a short connection, and a call after the end of its connection."""
        if peer.calls <= _SHORT_CALLS:
            self._storms.call(peer, captured.message.header, first=peer.calls == 1)
        if peer.broken is None or peer.connection.side != "client":
            return
        if captured is not peer.closing:
            before, now = peer.broken.time_ns, captured.time_ns
            idle = None if before is None or now is None else now - before
            if idle is None or idle >= _PAUSE_NS:
                self._add("unnoticed", peer, captured, idle)

    def takes(self, _header: Header) -> bool:
        """Return True: only numbers of calls, and calls after the end of their connection, matter."""
        return True

    def ready(self, peer: Peer, _exchanges: RoutineExchanges) -> bool:
        """Return whether a connection is open."""
        return peer.broken is None

    def routine(self, peer: Peer, exchanges: RoutineExchanges) -> None:
        """Note calls of a short connection."""
        before = peer.calls - len(exchanges)
        if before < _SHORT_CALLS:
            for at, row in enumerate(exchanges.rows[: _SHORT_CALLS - before], before):
                self._storms.call(peer, exchanges.kinds[row[10]].header, first=at == 0)

    def wants(self, _header: Header) -> bool:
        """Return False: only streams, and calls without a reply matter."""
        return False

    def exchange(self, peer: Peer, exchange: Exchange) -> None:
        """Note a stream in the middle of which the connection ended, and a call that found it ended."""
        stream = exchange.stream
        is_open = stream is not None and stream.end == "open" and exchange.outcome == "ok"
        if stream is not None and is_open and peer.closed is not None and not peer.orderly:
            self._idle = None
            moved = stream.bytes_c2s + stream.bytes_s2c
            self._add("stream", peer, exchange.call, None, moved)
        elif exchange.outcome == "pending" and peer.broken is not None and peer.stale_ns is not None:
            self._add("unnoticed", peer, exchange.call, peer.stale_ns)

    def closed(self, peer: Peer, closed: Closed) -> None:
        """Note the end of an idle connection."""
        self._settle()
        self._storms.closed(peer, closed)
        if not peer.messages or peer.orderly:
            return
        lost = peer.lost
        if lost:
            if peer.stale_ns is not None:
                self._add("unnoticed", peer, lost[0], peer.stale_ns)
            return
        if peer.calls < _SETUP_CALLS or peer.last is None or _failed(peer.last):
            return
        ended, last = peer.ended_ns, peer.last_ns
        idle = None if ended is None or last is None else ended - last
        if peer.ended_by == "server" and (idle is None or idle >= _PAUSE_NS):
            self._idle = "idle", peer, idle
        elif peer.reason is not None and peer.reason.kind in _NETWORK and not _by_peer(peer.reason):
            self._idle = "network", peer, idle

    def _settle(self) -> None:
        """Add the connection that ended last, unless it had a stream."""
        if self._idle is not None:
            how, peer, idle = self._idle
            self._add(how, peer, peer.last, idle)
            self._idle = None

    def notice(self, notice: Notice) -> None:
        """Pass over a connection that continues with another protocol: its traffic is unknown."""
        if notice.protocol is not None and notice.connection is not None:
            self._known.put(notice.connection.id, None)

    def line(self, line: LogLine) -> None:
        """Note a line about the end of a connection."""
        if line.kind not in _LINES:
            self._other_lines = True
        elif len(self._lines) < _MAX_LINES:
            self._lines.append(line)

    def findings(self) -> Iterator[Finding]:
        """Report the connections, or if the log has no records about them, what it states."""
        self._settle()
        for (how, who, _), ends in self._found.items():
            yield self._disconnected(how, who, ends)
        if self._lines and not self.recording.sides:
            yield from self._of_lines()
        yield from self._storms.findings(self)

    def _add(
        self, how: _How, peer: Peer, shown: Captured | None, time_ns: int | None, moved: int = 0
    ) -> None:
        id_ = peer.connection.id
        if id_ in self._known:
            return
        self._known.put(id_, None)
        key = how, peer.ended_by, peer.server
        if key not in self._found:
            self._found.put(key, _Ends())
        self._found[key].add(_End(peer, shown, time_ns, moved))

    def _disconnected(self, how: _How, who: Side | None, ends: _Ends) -> Finding:
        one = ends.count == 1
        first = ends.ends[0]
        peer = first.peer
        what = f"the connection {peer}" if one else f"{amount(ends.count, 'connection')} of {peer.server}"
        name = "" if first.shown is None else self.recording.call(first.shown)
        reason = peer.reason.details.get("reason", "") if peer.reason else ""
        time = duration(first.time_ns) if first.time_ns is not None else ""
        side = {"server": "The daemon", "client": "The client", None: "One side"}[who]
        if how == "unnoticed":
            idle = f" for {time}" if time else ""
            summary = (
                f"{what[0].upper()}{what[1:]} had ended while idle{idle}, dropped by the daemon or a"
                f" firewall; the client noticed only when its next call failed ({name})."
            )
        elif how == "idle":
            closed = "reset" if peer.closed is not None and peer.closed.reset else "closed"
            between = ", or a firewall in its name," if closed == "reset" else ""
            after = f", {time} after the last message" if time else ""
            summary = f"The daemon{between} {closed} {what} while idle{after}."
        elif how == "network":
            summary = f"The network broke {what} while idle: {reason}."
        else:
            summary = (
                f"{side} ended {what} in the middle of the stream of {name},"
                f" after {size(sum(each.size for each in ends.ends))} of data."
            )
        shown = [end.shown for end in ends.ends]
        text = {
            "unnoticed": "calls that failed",
            "stream": "calls whose streams have no end",
        }.get(how, "the last messages before the connection ended")
        evidence = [
            self.recording.messages(text, shown, peer=peer if one else None, exchanges=how == "stream")
        ]
        reasons = [end.peer.reason for end in ends.ends if end.peer.reason is not None]
        if reasons:
            evidence.append(self.recording.lines(stated(reasons[0]), reasons))
        return self.finding(
            "DISCONNECTED",
            summary,
            evidence,
            subject=peer.subject if one else "",
            certainty="certain" if how in ("network", "stream") or reason else "likely",
            advice=_STREAM_ADVICE if how == "stream" else _IDLE_ADVICE,
        )

    # Logs without records

    def _of_lines(self) -> Iterator[Finding]:
        """Report what lines state, the causes with the failures that follow from them."""
        # Clients that leave are remarkable only for somebody who asks about just that.
        daemon = [
            line
            for line in self._lines
            if is_daemon(line) and not (self._other_lines and meaning(line).severity == "note")
        ]
        client = [line for line in self._lines if not is_daemon(line)]
        causes = [line for line in client if line.kind != "socket-closed"]
        later = [line for line in client if line.kind == "socket-closed"]
        grouped: dict[Meaning, list[LogLine]] = {}
        for line in (*causes, *daemon):
            grouped.setdefault(meaning(line), []).append(line)
        if later and not causes:
            grouped[CLOSED_BEFORE] = later
            later = []
        for what, lines in grouped.items():
            evidence = [self.recording.lines(_quoted(lines[0]), lines)]
            if later and lines[0] in causes:
                evidence.append(self.recording.lines("later calls failed: client socket is closed", later))
                later = []
            count = f" ({len(lines)} times)" if len(lines) > 1 else ""
            yield self.finding(
                "DISCONNECTED",
                f"{what.summary}{count}.",
                evidence,
                certainty=what.certainty,
                severity=what.severity,
                advice=what.advice,
            )


class _Host:
    """The short connections of a client host to a daemon."""

    def __init__(self) -> None:
        #: Begin and end of each.
        self.spans: list[tuple[int, int]] = []
        self.first: list[Captured] = []
        self.procedures: Counter[tuple[int, int]] = Counter()


class _Storms:
    """Short connections by client host and daemon."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._hosts: BoundedDict[tuple[str, str], _Host] = BoundedDict(_MAX_GROUPS)
        self._count = 0
        self._headers: BoundedDict[tuple[int, int], Header] = BoundedDict(_MAX_ENDS)
        #: Calls of connections that are open.
        self._calls: BoundedDict[int, list[tuple[int, int]]] = BoundedDict(_MAX_ENDS)

    def call(self, peer: Peer, header: Header, *, first: bool) -> None:
        """Note a call of a connection that may be short."""
        key = header.prog, header.proc
        if key not in self._headers:
            self._headers.put(key, header)
        if first:
            self._calls.put(peer.connection.id, [])
        if (calls := self._calls.get(peer.connection.id)) is not None:
            calls.append(key)

    def closed(self, peer: Peer, closed: Closed) -> None:
        """Note a short connection."""
        calls = self._calls.pop(peer.connection.id, None)
        begin, end = peer.first_ns, closed.time_ns
        if calls is None or begin is None or end is None or self._count >= _MAX_SHORT:
            return
        if not 0 <= end - begin <= _SHORT_NS or peer.calls > _SHORT_CALLS or peer.lost:
            return
        key = peer.client_host, peer.server
        if key not in self._hosts:
            self._hosts.put(key, _Host())
        host = self._hosts[key]
        self._count += 1
        host.spans.append((begin, end))
        if len(host.procedures) < _MAX_ENDS:
            host.procedures.update(set(calls))
        if len(host.first) < MAX_NUMBERS and peer.last is not None:
            host.first.append(peer.last)

    def findings(self, detector: Disconnects) -> Iterator[Finding]:
        """Report the hosts with many short connections, one after the other."""
        for (name, _), host in self._hosts.items():
            if (storm := _storm(host.spans)) is None:
                continue
            count, start, end = storm
            names = [
                (self._recording.procedure(self._headers[key]), number)
                for key, number in host.procedures.most_common()
                if key in self._headers
            ]
            did = [name for name, _ in names if name not in _USUAL][:_NAMED]
            what = f" for {listed(did, _NAMED)}" if did else ""
            who = name or "A local client"
            lasted = duration(max(end - start, 1))
            mean = sum(last - first for first, last in host.spans) // len(host.spans)
            shown = replace(
                self._recording.messages(
                    f"{amount(len(host.spans), 'short connection')}, of {duration(mean)} on average (the last"
                    " messages of the first ones)",
                    host.first,
                ),
                count=len(host.spans),
                start_ns=start,
                end_ns=end,
            )
            yield detector.finding(
                "RECONNECT_STORM",
                f"{who} connected {count} times in {lasted}, each time{what}, instead of keeping one"
                " connection open.",
                [shown],
                subject=name,
                certainty="certain",
                advice=(
                    "keep one connection open for all calls; in a shell, give virsh several commands at once:"
                    " virsh 'domstate vm1; domstate vm2'",
                    "see what the setup of each connection costs: libvirt-proto stats counts auth_list and"
                    " connect_open next to the useful calls",
                ),
            )


def _storm(spans: list[tuple[int, int]]) -> tuple[int, int, int] | None:
    """Return the most connections in a window of time, its begin and its end; None if they are few, or
    parallel."""
    spans = sorted(spans)
    best, at, window = 0, 0, (0, 0)
    for upto, (begin, _) in enumerate(spans):
        while begin - spans[at][0] > _WINDOW_NS:
            at += 1
        if upto - at + 1 > best:
            best, window = upto - at + 1, (at, upto)
    if best < _STORM:
        return None
    chosen = spans[window[0] : window[1] + 1]
    start, end = chosen[0][0], max(end for _, end in chosen)
    if best < _PER_PARALLEL * _most_at_once(chosen) or end - start < _LASTING_NS:
        return None
    return best, start, end


def _most_at_once(spans: list[tuple[int, int]]) -> int:
    """Return the largest number of connections that were open at the same time."""
    changes = sorted([(begin, 1) for begin, _ in spans] + [(end, -1) for _, end in spans])
    now = most = 0
    for _, change in changes:
        now += change
        most = max(most, now)
    return most


#: Kinds of lines about the end of a connection.
_NETWORK: Final = ("receive-failed", "send-failed")
_LINES: Final = frozenset(("receive-failed", "send-failed", "end-of-file", "socket-closed", "disconnected"))
_IDLE_ADVICE: Final = (
    "let the client send keepalive messages, so that it notices, and firewalls see traffic:"
    " virConnectSetKeepAlive(conn, 5, 5) with a running event loop",
    "connect again when a call fails with a closed connection (virConnectIsAlive reports it before)",
    "see whether the daemon closed it: journalctl -u libvirtd -u virtqemud at that time",
)
_STREAM_ADVICE: Final = (
    "repeat the transfer: a stream cannot continue on another connection",
    "see the daemon's log at that time: journalctl -u libvirtd -u virtqemud",
)


def _failed(message: Captured) -> bool:
    return message.message.header.status == Status.VIR_NET_ERROR


def _by_peer(line: LogLine) -> bool:
    """Return whether the other process ended the connection, rather than the network."""
    reason = line.details.get("reason", "")
    return "reset by peer" in reason or "roken pipe" in reason


def _quoted(line: LogLine) -> str:
    """Return the text of evidence that is a line without a connection."""
    if line.kind == "socket-closed":
        return 'the text has "client socket is closed"'
    if line.kind == "disconnected":
        return f'the text has "Disconnected … due to {line.details.get("reason", "")}"'
    return stated(line).replace("the log", "the text")
