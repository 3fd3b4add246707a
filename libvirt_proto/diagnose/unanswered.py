"""CONNECTION_LOST, DAEMON_RESTARTED, STILL_WAITING and REPLY_NOT_CAPTURED: calls without a reply, by what
happened to their connections."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, islice
from typing import Final

from ..bounded import BoundedDict
from ..events import Captured, Closed, LogLine, Notice, NoticeCode, Side
from ..routine import RoutineExchanges
from ..rpc.message import Header, Type
from ..session import Exchange
from ..text import amount, duration, listed
from .detector import MAX_NUMBERS, Detector, Recording, Sample
from .findings import Certainty, Evidence, Finding, Severity
from .peers import MAX_PEERS, CallKey, Peer, call_key, stated

#: Maximum number of ends of connections, and of calls without a reply, that are kept.
_MAX_ENDS: Final = 4_096
_MAX_CALLS: Final = 1_024
#: Starts of daemons in a log that are kept.
_MAX_STARTS: Final = 16
#: A daemon that ends closes all its connections within this time.
_TOGETHER_NS: Final = 500_000_000
#: The time of a start after the old process closed its connections, which it does as it ends.
_STOP_NS: Final = 10 * 10**9
#: The time of a refused connection after its daemon ended.
_RESTART_NS: Final = 120 * 10**9
#: A call that waits for less may be answered soon: the slowest calls that do not depend on the size of an
#: object (a monitor command, a look-up) take below a second.
_MIN_WAIT_NS: Final = 10 * 10**9
#: A call is late if it waits for this many times the slowest one of its procedure.
_TIMES: Final = 10
#: Procedures that take as long as a transfer, a guest or an event takes.
_LONG: Final = re.compile(
    r"migrat|save|restore|dump|snapshot|checkpoint|backup|revert|creat|start|reboot|shutdown|destroy|reset"
    r"|storage_|volume|block_(?:job_abort|commit|copy|pull|rebase|resize)|device|agent|guest|_fs|_pm_|wakeup"
    r"|set_user_password|set_vcpus|set_memory|memory_peek|core|wait|event|auth_|open_tunnel|undefine"
)
_LOSS: Final = frozenset(
    (
        *(NoticeCode.LOST_BYTES, NoticeCode.BAD_FRAME, NoticeCode.RESYNCHRONISED, NoticeCode.DROPPED_BYTES),
        *(NoticeCode.LOST_EVENTS, NoticeCode.CUT_PACKETS, NoticeCode.INCOMPLETE_MESSAGE),
    )
)
_DAEMON: Final = re.compile(r"libvirtd|virt[a-z]+d")


class _Lost:
    """Connections that ended while calls waited, by the same side, of one daemon."""

    def __init__(self) -> None:
        self.peers: list[Peer] = []
        self.connections = 0
        self.calls: list[Captured] = []
        self.count = 0
        #: The longest time that a call had waited.
        self.waited_ns: int | None = None
        self.reasons: list[LogLine] = []

    def add(self, peer: Peer, calls: Sequence[Captured]) -> None:
        self.connections += 1
        self.count += len(calls)
        if len(self.peers) < MAX_NUMBERS:
            self.peers.append(peer)
            if peer.reason is not None:
                self.reasons.append(peer.reason)
        self.calls += calls[: _MAX_CALLS - len(self.calls)]
        ended = peer.ended_ns
        for call in calls:
            if ended is not None and call.time_ns is not None:
                self.waited_ns = max(self.waited_ns or 0, ended - call.time_ns)


class _Start:
    """A start of the daemon in its log, with the connections that were open, and their numbers of messages.
    They end with the old process, unless they continue."""

    def __init__(self, line: LogLine, peers: list[Peer]) -> None:
        self.line = line
        self.open = [(peer, peer.messages) for peer in peers]

    @property
    def peers(self) -> list[Peer]:
        """The connections that ended, none if one continued: another daemon writes to the same log."""
        continued = any(peer.messages != messages for peer, messages in self.open)
        return [] if continued else [peer for peer, _ in self.open]


class _History:
    """The connections to a daemon: when each began, and when it was last in use."""

    def __init__(self, spans: Iterable[tuple[int, int]] = ()) -> None:
        ordered = sorted(spans)
        self.begins = [first for first, _ in ordered]
        #: The latest use of the connections up to each.
        self._latest = list(accumulate((last for _, last in ordered), max))
        #: Times of connections that were refused, in order.
        self.refused: list[int] = []

    def continues(self, start_ns: int, end_ns: int) -> bool:
        """Return whether a connection that began before a time was in use after another one."""
        before = bisect_left(self.begins, start_ns)
        return before > 0 and self._latest[before - 1] > end_ns

    def refuses(self, start_ns: int, end_ns: int) -> bool:
        """Return whether a connection was refused between two times."""
        at = bisect_left(self.refused, start_ns)
        return at < len(self.refused) and self.refused[at] <= end_ns

    def again(self, time_ns: int) -> int | None:
        """Return when the first connection after a time began."""
        at = bisect_right(self.begins, time_ns)
        return self.begins[at] if at < len(self.begins) else None


class _Twins:
    """Calls that both sides of a connection reported."""

    def __init__(self) -> None:
        self._sides: dict[tuple[str, CallKey], Side] = {}

    def has(self, peer: Peer, call: Captured) -> bool:
        """Return whether the other side has reported a call."""
        side = peer.connection.side
        if side is None:
            return False
        return self._sides.setdefault((peer.subject, call_key(call.message.header)), side) != side


class _DaemonEnd:
    """Connections that a daemon may have closed when it ended: one or more, the first one first."""

    def __init__(self, servers: list[str], peers: list[Peer], history: _History) -> None:
        self.servers = servers
        self.peers = peers
        self.start_ns = peers[0].ended_ns or 0
        self.end_ns = peers[-1].ended_ns or 0
        self.again_ns = history.again(self.end_ns)
        self.by_daemon = any(peer.ended_by == "server" for peer in peers)
        self.refused = history.refuses(self.end_ns - _TOGETHER_NS, self.end_ns + _RESTART_NS)

    def add(self, other: _DaemonEnd) -> None:
        """Add the connections to another address of the daemon."""
        self.servers += other.servers
        self.peers += other.peers
        self.end_ns = max(self.end_ns, other.end_ns)
        times = [time for time in (self.again_ns, other.again_ns) if time is not None]
        self.again_ns = min(times, default=None)
        self.by_daemon = self.by_daemon or other.by_daemon
        self.refused = self.refused or other.refused


class Unanswered(Detector):
    """Calls without a reply: their connection ended, the daemon restarted, the reply is late or not in the
    recording."""

    rules = ("CONNECTION_LOST", "DAEMON_RESTARTED", "STILL_WAITING", "REPLY_NOT_CAPTURED")

    def __init__(self, recording: Recording) -> None:
        super().__init__(recording)
        #: Connections with messages, the oldest first.
        self._begun: BoundedDict[int, Peer] = BoundedDict(MAX_PEERS)
        #: Ends of connections that their client did not ask for, in order.
        self._ends: list[Peer] = []
        #: Those of them with calls that waited.
        self._losers: list[Peer] = []
        self._lost: BoundedDict[tuple[Side | None, str], _Lost] = BoundedDict(MAX_PEERS)
        self._starts: list[_Start] = []
        #: Lines of systemd or the kernel about the end of a daemon.
        self._deaths: list[LogLine] = []
        #: Attempts to connect that nobody accepted: the daemon's address and time.
        self._refused: list[tuple[str, int | None]] = []
        #: The slowest call of each procedure.
        self._slowest: BoundedDict[tuple[int, int], int] = BoundedDict(_MAX_CALLS)
        #: The time of the last loss of each connection, and of the whole recording.
        self._losses: BoundedDict[int, int | None] = BoundedDict(MAX_PEERS)
        self._lossy = False
        self._late: list[tuple[Peer, Exchange]] = []
        self._missing = Sample()
        self._missing_connections: set[int] = set()

    def first(self, peer: Peer, _captured: Captured) -> None:
        """Note a new connection."""
        if peer.messages == 1:
            self._begun.put(peer.connection.id, peer)

    def notice(self, notice: Notice) -> None:
        """Note lost bytes."""
        if notice.code not in _LOSS:
            return
        if notice.connection is None:
            self._lossy = True
        else:
            self._losses.put(notice.connection.id, notice.time_ns)

    def line(self, line: LogLine) -> None:
        """Note a start or an end of the daemon, and a refused connection."""
        if line.kind == "started" and self._is_daemon(line) and len(self._starts) < _MAX_STARTS:
            open_ = [peer for peer in self._begun.values() if _was_open(peer, line)]
            if open_:
                self._starts.append(_Start(line, open_))
        elif line.kind in _ENDS:
            failed = not line.details.get("status", "1").startswith("0")
            if failed and "daemon" in line.details and len(self._deaths) < MAX_NUMBERS:
                self._deaths.append(line)
        elif (
            line.kind == "connect-failed"
            and "refused" in line.details.get("reason", "")
            and len(self._refused) < _MAX_ENDS
        ):
            server = line.details.get("server", "")
            self._refused.append(("server" if server.startswith("/") else server, line.time_ns))

    def _is_daemon(self, line: LogLine) -> bool:
        return self.recording.sides == {"server"} and (
            not line.program or _DAEMON.fullmatch(line.program) is not None
        )

    def closed(self, peer: Peer, closed: Closed) -> None:
        """Note how a connection ended."""
        if not peer.messages:
            if closed.reset and closed.first == "s2c" and len(self._refused) < _MAX_ENDS:
                self._refused.append((peer.server, closed.time_ns))
            return
        if not peer.orderly and len(self._ends) < _MAX_ENDS:
            self._ends.append(peer)
        if peer.lost and len(self._losers) < _MAX_ENDS:
            self._losers.append(peer)

    def exchange(self, peer: Peer, exchange: Exchange) -> None:
        """Note the time that a call took, or that it has no reply."""
        latency = exchange.latency_ns
        if latency is not None:
            header = exchange.header
            key = header.prog, header.proc
            if latency > self._slowest.get(key, -1):
                self._slowest.put(key, latency)
        elif exchange.outcome in ("unanswered", "pending") and exchange.call is not None:
            if exchange.overtaken and self._loses(exchange.call):
                self._missing.add(exchange.call)
                if len(self._missing_connections) < MAX_PEERS:
                    self._missing_connections.add(peer.connection.id)
            elif exchange.outcome == "pending" and len(self._late) < _MAX_CALLS:
                self._late.append((peer, exchange))

    def takes(self, _header: Header) -> bool:
        """Return True: only latencies matter."""
        return True

    def ready(self, _peer: Peer, exchanges: RoutineExchanges) -> bool:
        """Return whether there is room for all procedures."""
        return len(self._slowest) + len(exchanges.latencies) <= self._slowest.limit

    def routine(self, _peer: Peer, exchanges: RoutineExchanges) -> None:
        """Note the times that calls took."""
        for kind, latencies in exchanges.latencies.items():
            header, latency = exchanges.kinds[kind].header, max(latencies)
            key = header.prog, header.proc
            if latency > self._slowest.get(key, -1):
                self._slowest.put(key, latency)

    def findings(self) -> Iterator[Finding]:
        """Report what happened to the calls."""
        starts = [start for start in self._starts if start.peers]
        restarted = {peer.connection.id for start in starts for peer in start.peers}
        late = [(peer, call) for peer, call in self._late if peer.connection.id not in restarted]
        broken: dict[int, Peer] = {}
        waiting: list[tuple[Peer, Exchange]] = []
        for peer, exchange in late:
            if peer.broken is not None:
                broken[peer.connection.id] = peer
            else:
                waiting.append((peer, exchange))
        self._ends += broken.values()
        self._group((*self._losers, *broken.values()))
        yield from self._of_deaths()
        yield from self._restarts(starts)
        if not starts:
            yield from self._ended_together()
        for (who, server), group in self._lost.items():
            if group.connections:
                yield self._connection_lost(who, server, group)
        yield from self._still_waiting(waiting)
        if self._missing.count:
            yield self._not_captured()

    # Connections that ended

    def _group(self, peers: Iterable[Peer]) -> None:
        """Group connections that ended while calls waited. If both sides of one were recorded, the side that
        shows who closed it counts."""
        lost = [(peer, calls) for peer in peers if (calls := self._lost_calls(peer, peer.lost))]
        known = {peer.subject for peer, _ in lost if peer.ended_by is not None}
        twins = _Twins()
        for peer, calls in lost:
            if peer.ended_by is None and peer.connection.side is not None and peer.subject in known:
                continue
            if twins.has(peer, calls[0]):
                continue
            key = peer.ended_by, peer.server
            if key not in self._lost:
                self._lost.put(key, _Lost())
            self._lost[key].add(peer, calls)

    def _lost_calls(self, peer: Peer, calls: list[Captured]) -> list[Captured]:
        """Return those of the calls that had no reply for certain, at the end of a connection."""
        if not calls or peer.stale_ns is not None:
            return []
        if peer.ended_by == "client" and _cannot_be_sent(calls[-1]):
            return []
        ended = peer.ended_ns
        return [call for call in calls if not (self._loses(call) or _after(call, ended))]

    def _loses(self, call: Captured) -> bool:
        """Return whether the recording may lack the reply of a call."""
        id_ = call.connection.id
        if self._lossy:
            return True
        if id_ not in self._losses:
            return False
        lost = self._losses[id_]
        return lost is None or call.time_ns is None or lost >= call.time_ns

    def _connection_lost(self, who: Side | None, server: str, group: _Lost) -> Finding:
        one = group.connections == 1
        peer = group.peers[0]
        what = f"the connection {peer}" if one else f"{amount(group.connections, 'connection')} of {server}"
        calls = f"{amount(group.count, 'call')} waited for {'its reply' if group.count == 1 else 'replies'}"
        for_ = f", for up to {duration(group.waited_ns)}" if group.waited_ns else ""
        first = self.recording.call(group.calls[0])
        names = first if group.count == 1 else f"{first} and others"
        certainty: Certainty = "certain"
        severity: Severity | None = None
        if who == "server":
            resets = all(peer.closed is not None and peer.closed.reset for peer in group.peers)
            summary = f"The daemon {'reset' if resets else 'closed'} {what} while {calls} ({names}){for_}."
        elif who == "client":
            many = "A client" if one else "Clients"
            summary = (
                f"{many} ended {what} without closing it while {calls} ({names}){for_}:"
                f" {'it' if one else 'they'} exited or {'was' if one else 'were'} killed."
            )
            severity = "warning"
        else:
            summary = f"{what[0].upper()}{what[1:]} ended while {calls} ({names}){for_}."
            certainty = "likely"
        advice = _LOST_ADVICE[who]
        if who == "server" and all(peer.calls == 1 for peer in group.peers):
            advice = (*advice, _FIRST_CALL_ADVICE)
        evidence = [self.recording.calls("without a reply", group.calls, peer=peer if one else None)]
        if group.reasons:
            evidence.append(self.recording.lines(stated(group.reasons[0]), group.reasons))
        return self.finding(
            "CONNECTION_LOST",
            summary,
            evidence,
            subject=peer.subject if one else "",
            certainty=certainty,
            severity=severity,
            advice=advice,
        )

    # Restarts

    def _restarts(self, starts: list[_Start]) -> Iterator[Finding]:
        for start in starts:
            peers = start.peers
            calls = [call for peer in peers for call in peer.lost][:_MAX_CALLS]
            version = start.line.details.get("version", "")
            version = f" (libvirt {version})" if version else ""
            evidence = [self.recording.lines(f"the daemon started{version}", [start.line])]
            evidence.append(self._of_peers("connections that were open before", peers))
            if calls:
                evidence.append(self.recording.calls("without a reply", calls))
            yield self.finding(
                "DAEMON_RESTARTED",
                f"The daemon ended and was started again while {_were_open(peers)}{_with_calls(calls)}.",
                evidence,
                advice=_RESTART_ADVICE,
            )

    def _of_deaths(self) -> Iterator[Finding]:
        """Report what systemd and the kernel state about the end of daemons."""
        daemons: dict[str, list[LogLine]] = {}
        for line in self._deaths:
            daemons.setdefault(line.details["daemon"], []).append(line)
        threads = [name for name in daemons if "rpc-" in name]
        if len(daemons) == len(threads) + 1:  # the kernel names the thread, systemd the daemon
            lines = sorted(
                (each for lines in daemons.values() for each in lines), key=lambda line: line.number
            )
            daemons = {name: lines for name in daemons if name not in threads}
        for name, lines in daemons.items():
            who = "The daemon" if name in threads else name
            how = " and ".join(dict.fromkeys(map(_how_it_ended, lines)))
            times = f" ({len(lines)} times)" if len({line.kind for line in lines}) < len(lines) else ""
            yield self.finding(
                "DAEMON_RESTARTED",
                f"{who} {how}{times}: all its connections ended.",
                [self.recording.lines("what systemd and the kernel state", lines)],
                advice=_RESTART_ADVICE,
            )

    def _ended_together(self) -> Iterator[Finding]:
        """Report daemons whose connections all ended at once."""
        servers: dict[str, list[Peer]] = {}
        for peer in self._ends:
            if peer.ended_by != "client" and peer.ended_ns is not None:
                servers.setdefault(peer.server, []).append(peer)
        histories = self._histories()
        ends: list[_DaemonEnd] = []
        for server, peers in servers.items():
            history = histories.get(server, _History())
            for group in _clusters(sorted(peers, key=lambda peer: peer.ended_ns or 0)):
                end = _DaemonEnd([server], group, history)
                if self._is_end(end, history):
                    ends.append(end)
        ends.sort(key=lambda end: end.start_ns)
        for each in islice(self._merged(ends), MAX_NUMBERS):
            yield self._ended(each)

    def _histories(self) -> dict[str, _History]:
        histories: dict[str, _History] = {}
        spans: dict[str, list[tuple[int, int]]] = {}
        for peer in self._begun.values():
            first, last, ended = peer.first_ns, peer.last_ns, peer.ended_ns
            if first is not None and last is not None:
                span = first, last if ended is None else min(last, ended)
                spans.setdefault(peer.server, []).append(span)
        for server, each in spans.items():
            histories[server] = _History(each)
        for server, time_ns in self._refused:
            if time_ns is not None and server in histories:
                histories[server].refused.append(time_ns)
        for history in histories.values():
            history.refused.sort()
        return histories

    def _is_end(self, end: _DaemonEnd, history: _History) -> bool:
        """Return whether connections ended because their daemon did, and nothing contradicts it."""
        peers = end.peers
        if not end.refused:
            resets = all(peer.closed is not None and peer.closed.reset for peer in peers)
            if len(peers) < 2 or resets or not (end.by_daemon or end.again_ns):
                return False
            if not (end.by_daemon or self._calls_of(peers)):
                return False
        return not history.continues(end.start_ns, end.end_ns)

    def _merged(self, ends: list[_DaemonEnd]) -> Iterator[_DaemonEnd]:
        """Yield the ends of daemons; one daemon has several addresses in a recording of one of its sides."""
        last: _DaemonEnd | None = None
        for end in ends:
            if last is not None and self.recording.sides and end.start_ns - last.end_ns <= _TOGETHER_NS:
                last.add(end)
                continue
            if last is not None:
                yield last
            last = end
        if last is not None:
            yield last

    def _calls_of(self, peers: list[Peer]) -> list[Captured]:
        return [call for peer in peers for call in self._lost_calls(peer, peer.lost)][:_MAX_CALLS]

    def _ended(self, end: _DaemonEnd) -> Finding:
        calls = self._calls_of(end.peers)
        again = end.again_ns
        back = f", and accepted new ones {duration(again - end.end_ns)} later" if again is not None else ""
        evidence = [self._of_peers("connections that ended at once", end.peers)]
        if calls:
            evidence.append(self.recording.calls("without a reply", calls))
        if end.refused:
            text = "connections to it were refused after that"
            evidence.append(Evidence(text, self.recording.file, start_ns=end.end_ns))
        where = f" {end.servers[0]}" if len(end.servers) == 1 and end.servers[0] != "server" else ""
        return self.finding(
            "DAEMON_RESTARTED",
            f"The daemon{where} ended: it closed {_all(end.peers)}{_with_calls(calls)}{back}.",
            evidence,
            certainty="likely" if end.by_daemon or end.refused else "possible",
            advice=_RESTART_ADVICE,
        )

    def _of_peers(self, what: str, peers: list[Peer]) -> Evidence:
        names = listed([*map(str, peers)])
        last = [peer.last for peer in peers if peer.last is not None]
        return self.recording.messages(f"{what}: {names} (their last messages)", last)

    # Calls that wait

    def _still_waiting(self, late: list[tuple[Peer, Exchange]]) -> Iterator[Finding]:
        end_ns = self.recording.end_ns
        if end_ns is None:
            return
        calls: list[tuple[int, Captured, Peer]] = []
        twins = _Twins()
        for peer, exchange in late:
            call = exchange.call
            if call is None or call.time_ns is None or call is peer.closing or self._loses(call):
                continue
            waited = end_ns - call.time_ns
            header = call.message.header
            usual = self._slowest.get((header.prog, header.proc), 0)
            if waited < max(_MIN_WAIT_NS, _TIMES * usual) or _LONG.search(self.recording.procedure(header)):
                continue
            if not twins.has(peer, call):
                calls.append((waited, call, peer))
        if not calls:
            return
        calls.sort(key=lambda each: -each[0])
        waited, call, peer = calls[0]
        name = self.recording.call(call)
        others = f", and {amount(len(calls) - 1, 'more call')} waited" if len(calls) > 1 else ""
        header = call.message.header
        slowest = self._slowest.get((header.prog, header.proc))
        least = f"; the slowest other one took {duration(slowest)}" if slowest is not None else ""
        yield self.finding(
            "STILL_WAITING",
            f"{name} on {peer} had no reply after {duration(waited)}, when the recording ended{others}.",
            [
                self.recording.calls(f"without a reply at the end{least}", [each for _, each, _ in calls]),
            ],
            subject=peer.subject if len(calls) == 1 else "",
            certainty="certain",
            advice=(
                'log what the daemon\'s workers do, with log_filters="1:util.threadjob": a job that does not'
                " finish is the call that blocks",
                "get a backtrace of the daemon while it hangs: gdb -p $(pidof libvirtd) -batch -ex"
                " 'thread apply all bt'",
            ),
        )

    def _not_captured(self) -> Finding:
        count = self._missing.count
        return self.finding(
            "REPLY_NOT_CAPTURED",
            f"The {'reply' if count == 1 else 'replies'} of {amount(count, 'call')} on"
            f" {amount(len(self._missing_connections), 'connection')} {'is' if count == 1 else 'are'} missing"
            " because the recording lost bytes; later calls were answered.",
            [self.recording.messages("calls without a reply", self._missing)],
            certainty="likely",
            advice=(
                "record again with a larger buffer (tcpdump -B 65536) and without a snapshot length (-s 0)",
            ),
        )


#: Kind of a line → how the daemon ended.
_ENDS: Final = {
    "daemon-crashed": "crashed (segmentation fault)",
    "daemon-out-of-memory": "was killed because the host was out of memory",
    "daemon-exited": "ended with status {status} ({code})",
}
_RESTART_ADVICE: Final = (
    "see why the daemon ended: journalctl -u libvirtd -u virtqemud (stopped, killed, out of memory) and"
    " coredumpctl list (crashed)",
    "let clients connect again when a call fails with a closed connection"
    " (virConnectRegisterCloseCallback reports it)",
)
_FIRST_CALL_ADVICE: Final = (
    "check that the port speaks what the client expects: TLS on 16514, plain RPC on 16509"
)
_LOST_ADVICE: Final[dict[Side | None, tuple[str, ...]]] = {
    "server": (
        "see the daemon's log at that time: journalctl -u libvirtd -u virtqemud; a crash is listed by"
        " coredumpctl list",
    ),
    "client": ("close connections with virConnectClose, after the calls in progress have returned",),
    None: (
        "record packets, too, which show who closed the connection: tcpdump -i any -w capture.pcap"
        " 'tcp port 16509'; of a unix socket, the daemon's log has the reason",
    ),
}


def _was_open(peer: Peer, line: LogLine) -> bool:
    """Return whether a connection of the daemon was open when another process of it started, or ended right
    before without its client's wish."""
    if peer.connection.side != "server" or peer.orderly or peer.reason is not None:
        return False
    ended = peer.ended_ns
    if ended is None or line.time_ns is None:
        return peer.closed is None and peer.disposed is None
    return 0 <= line.time_ns - ended <= _STOP_NS


def _cannot_be_sent(call: Captured) -> bool:
    """Return whether a client gives up at a call, and reports why: TCP cannot transfer its descriptors."""
    with_descriptors = call.message.header.type == Type.VIR_NET_CALL_WITH_FDS
    return with_descriptors and call.connection.transport in ("tcp", "tls")


def _how_it_ended(line: LogLine) -> str:
    status, code = (line.details.get(name, "unknown") for name in ("status", "code"))
    return _ENDS[line.kind].format(status=status, code=code)


def _after(call: Captured, time_ns: int | None) -> bool:
    return time_ns is not None and call.time_ns is not None and call.time_ns > time_ns


def _clusters(peers: list[Peer]) -> Iterator[list[Peer]]:
    """Yield the connections that ended together."""
    group: list[Peer] = []
    for peer in islice(peers, _MAX_ENDS):
        ended = peer.ended_ns or 0
        if group and ended - (group[-1].ended_ns or 0) > _TOGETHER_NS:
            yield group
            group = []
        group.append(peer)
    if group:
        yield group


def _were_open(peers: list[Peer]) -> str:
    return f"{amount(len(peers), 'connection')} {'was' if len(peers) == 1 else 'were'} open"


def _all(peers: list[Peer]) -> str:
    return "its connection" if len(peers) == 1 else f"all its {len(peers)} connections at once"


def _with_calls(calls: list[Captured]) -> str:
    if not calls:
        return ""
    return f", with {amount(len(calls), 'call')} in flight"
