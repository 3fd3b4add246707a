"""WORKERS_EXHAUSTED: calls of all clients that waited for a worker of the daemon.

`max_workers` threads serve calls of any priority, and `prio_workers` more only those of high priority, which
cannot block (virthreadpool.c; @priority in the .x files). While all of the former are busy, calls of low
priority wait for one of them to end, whoever sent them, and calls of high priority are answered at once.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from itertools import islice
from typing import Final, NamedTuple

from ..bounded import BoundedDict
from ..events import Captured, Closed
from ..routine import RoutineExchanges
from ..rpc.message import Header
from ..session import Exchange
from ..text import amount, duration
from .detector import MAX_NUMBERS, Detector, Recording, Sample
from .findings import Evidence, Finding
from .peers import CallKey, Peer, call_key, daemon
from .queueing import MAX_STEPS, WAIT_NS, Episode
from .settings import DEFAULTS, advice

#: Servers, calls in flight on each, and connections of which the first message is known.
_MAX_SERVERS: Final = 256
_MAX_OPEN: Final = 4_096
#: Answered calls of high priority that are kept, the last ones.
_MAX_PROMPT: Final = 256
#: A time in which no call of low priority was answered.
_QUIET_NS: Final = 5 * 10**9
#: Calls of procedures that took less before, and their connections, that wait for all of it.
_USUAL_NS: Final = 10**9
_WAITING: Final = 3
#: Calls of high priority that are answered meanwhile.
_ANSWERED: Final = 3
#: Calls that evidence names.
_LISTED: Final = 3

_Key = tuple[int, CallKey]


class _Server:
    """The calls of low priority that a daemon serves."""

    def __init__(self) -> None:
        self.open: BoundedDict[_Key, Captured] = BoundedDict(_MAX_OPEN)
        self.episode: Episode | None = None
        #: Calls that were the only one in flight on their connection, by the number of the message, so that
        #: nothing else of their client delayed them.
        self.alone: set[int] = set()
        #: Answered calls of high priority, with the times of call and reply.
        self.prompt: deque[tuple[Captured, int, int]] = deque(maxlen=_MAX_PROMPT)
        #: The last reply to a call of low priority, and the shortest duration of each procedure.
        self.answered_ns: int | None = None
        self.usual: BoundedDict[tuple[int, int], int] = BoundedDict(_MAX_OPEN)


class _Quiet(NamedTuple):
    """A time in which a daemon answered no call of low priority."""

    start_ns: int
    end_ns: int
    in_flight: int
    calls: list[Captured]
    prompt: list[Captured]


class _Shortage:
    """Calls that waited for a worker of a daemon."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.waited = 0
        self.longest_wait_ns = 0
        self.longest_service_ns = 0
        self.most = 0
        self.sample = Sample()
        self.prompt = Sample()
        self.clients: BoundedDict[int, None] = BoundedDict(_MAX_OPEN)
        self.names: Counter[str] = Counter()


class Workers(Detector):
    """Calls of low priority of several clients that are served N at a time."""

    rules = ("WORKERS_EXHAUSTED",)
    roles = ("call", "reply")

    def __init__(self, recording: Recording) -> None:
        super().__init__(recording)
        self._servers: BoundedDict[str, _Server] = BoundedDict(_MAX_SERVERS)
        self._priorities: BoundedDict[tuple[int, int, int], str | None] = BoundedDict(_MAX_OPEN)
        self._shortages: BoundedDict[str, _Shortage] = BoundedDict(_MAX_SERVERS)
        #: The longest one of each daemon.
        self._quiet: BoundedDict[str, _Quiet] = BoundedDict(_MAX_SERVERS)

    def message(self, peer: Peer, captured: Captured) -> None:
        """Add a call of low priority, or its reply."""
        header, time_ns = captured.message.header, captured.time_ns
        if time_ns is None or self._priority(header) != "low":
            return
        connection = captured.connection
        if connection.side == "client" and "server" in self.recording.sides:
            return  # the daemon's own view shows the same calls
        name = daemon(connection)
        server = self._servers.get(name)
        if server is None:
            server = _Server()
            self._servers.put(name, server)
        key: _Key = connection.id, call_key(header)
        if peer.role == "call":
            server.open.put(key, captured)
            if server.episode is not None:
                server.episode.call(key, captured, time_ns)
            elif len(server.open) > 1:
                server.episode = Episode(server.open.items())
            if len(peer.waiting) == 1:
                server.alone.add(captured.n)
        elif key in server.open:
            self._note_quiet(name, server, time_ns)
            call = server.open.pop(key)
            server.answered_ns = time_ns
            procedure = header.prog, header.proc
            took = max(0, time_ns - (call.time_ns or 0))
            server.usual.put(procedure, min(took, server.usual.get(procedure, took)))
            if server.episode is not None:
                server.episode.end(key, time_ns)
            self._end(name, server)

    def takes(self, _header: Header) -> bool:
        """Return True: calls matter only while others wait."""
        return True

    def ready(self, peer: Peer, exchanges: RoutineExchanges) -> bool:
        """Return whether none of the daemon waits, and there is room for all procedures."""
        server = self._servers.get(daemon(peer.connection))
        if server is None:
            return all(self._priority(exchanges.kinds[kind].header) != "low" for kind in exchanges.latencies)
        return (
            server.episode is None
            and not server.open
            and len(server.usual) + len(exchanges.latencies) <= server.usual.limit
        )

    def routine(self, peer: Peer, exchanges: RoutineExchanges) -> None:
        """Note the duration of calls of low priority."""
        server = self._servers.get(daemon(peer.connection))
        if server is None:
            return
        for kind, latencies in exchanges.latencies.items():
            header = exchanges.kinds[kind].header
            if self._priority(header) == "low":
                procedure, took = (header.prog, header.proc), min(latencies)
                server.usual.put(procedure, min(took, server.usual.get(procedure, took)))
        for row in reversed(exchanges.rows):
            if self._priority(exchanges.kinds[row[10]].header) == "low":
                server.answered_ns = row[5]
                return

    def exchange(self, peer: Peer, exchange: Exchange) -> None:
        """Note an answered call of high priority while others wait."""
        server = self._servers.get(daemon(exchange.connection)) if exchange.call else None
        if server is None or server.episode is None or exchange.call is None or exchange.latency_ns is None:
            return
        start_ns = exchange.call.time_ns
        if start_ns is None or exchange.latency_ns >= WAIT_NS or self._priority(exchange.header) != "high":
            return
        server.prompt.append((exchange.call, start_ns, start_ns + exchange.latency_ns))

    def closed(self, peer: Peer, closed: Closed) -> None:
        """End the calls of a connection."""
        name = daemon(peer.connection)
        server = self._servers.get(name)
        if server is None or not peer.waiting:
            return
        for call in peer.waiting:
            key: _Key = peer.connection.id, call
            if server.open.pop(key, None) is not None and server.episode is not None:
                server.episode.end(key, closed.time_ns or peer.last_ns or 0, "gone")
        self._end(name, server)

    def findings(self) -> Iterator[Finding]:
        """Report the daemons whose workers were all busy."""
        for name, server in self._servers.items():
            self._evaluate(name, server)
            self._note_quiet(name, server, self.recording.end_ns)
        for name, shortage in self._shortages.items():
            yield self._of(name, shortage)
        for name, quiet in self._quiet.items():
            if name not in self._shortages:
                yield self._of_quiet(name, quiet)

    def _priority(self, header: Header) -> str | None:
        key = header.prog, header.vers, header.proc
        if key not in self._priorities:
            self._priorities.put(key, self.recording.priority(header))
        return self._priorities[key]

    def _note_quiet(self, name: str, server: _Server, time_ns: int | None) -> None:
        """Note a time in which calls of low priority waited that are usually quick, and nobody's was
        answered."""
        start_ns = server.answered_ns
        if start_ns is None or time_ns is None or time_ns - start_ns < _QUIET_NS:
            return
        waiting = [
            call
            for call in server.open.values()
            if server.usual.get((call.message.header.prog, call.message.header.proc), _USUAL_NS) < _USUAL_NS
            and time_ns - (call.time_ns or 0) >= _QUIET_NS
        ]
        prompt = [call for call, sent_ns, _ in server.prompt if start_ns <= sent_ns <= time_ns]
        subjects = {str(self.recording.subject(call.message)) for call in waiting[:_MAX_PROMPT]}
        one_object = len(subjects) == 1 and subjects != {"None"}
        if len({call.connection.id for call in waiting}) < _WAITING or one_object or len(prompt) < _ANSWERED:
            return
        before = self._quiet.get(name)
        if before is None or before.end_ns - before.start_ns < time_ns - start_ns:
            oldest = list(islice(server.open.values(), MAX_NUMBERS))
            self._quiet.put(name, _Quiet(start_ns, time_ns, len(server.open), oldest, prompt))

    def _end(self, name: str, server: _Server) -> None:
        """End an episode with its last call, or when it is long."""
        episode = server.episode
        if episode is None or (server.open and len(episode.steps) < MAX_STEPS):
            return
        self._evaluate(name, server)
        server.episode = None
        server.alone.clear()
        server.prompt.clear()

    def _evaluate(self, name: str, server: _Server) -> None:
        """Find out whether a number of workers explains the waits of an episode."""
        if server.episode is None or not server.episode.slow:
            return
        episode = server.episode.daemon_view()
        waits = episode.waits(self.recording.is_other, lambda call: call.n in server.alone)
        if waits is None or waits.limit < 2:
            return  # a lock serves calls one at a time, too
        prompt = [
            call
            for call, start_ns, end_ns in server.prompt
            if any(each.sent_ns <= start_ns and end_ns <= each.start_ns for each in waits.waited)
        ]
        clients = {each.call.connection.id for each in waits.waited}
        if not prompt or len(clients) < 2:
            return
        shortage = self._shortages.get(name)
        if shortage is None:
            shortage = _Shortage(waits.limit)
            self._shortages.put(name, shortage)
        shortage.limit = max(shortage.limit, waits.limit)
        shortage.waited += len(waits.waited)
        shortage.most = max(shortage.most, episode.most)
        for each in waits.waited:
            shortage.sample.add(each.call)
            shortage.clients.put(each.call.connection.id, None)
            shortage.longest_wait_ns = max(shortage.longest_wait_ns, each.wait_ns)
            shortage.longest_service_ns = max(shortage.longest_service_ns, each.service_ns)
            shortage.names[self.recording.procedure(each.call.message.header)] += 1
        for call in prompt:
            shortage.prompt.add(call)

    def _of_quiet(self, name: str, quiet: _Quiet) -> Finding:
        text = f"{amount(quiet.in_flight, 'call')} in flight: {self.recording.names(quiet.calls)}"
        return self.finding(
            "WORKERS_EXHAUSTED",
            f"The daemon{name and f' {name}'} answered no call of low priority of any client for"
            f" {duration(quiet.end_ns - quiet.start_ns)}, with {quiet.in_flight} in flight, while calls of"
            " high priority were answered: all its workers were busy (max_workers).",
            [
                self.recording.messages(text, quiet.calls),
                self.recording.messages(
                    f"{amount(len(quiet.prompt), 'call')} of high priority answered meanwhile",
                    quiet.prompt,
                    exchanges=True,
                ),
            ],
            certainty="likely",
            advice=(
                'see what each worker is doing, the oldest call first: log_filters="1:util.threadjob", or'
                " gdb -p PID -batch -ex 'thread apply all backtrace'",
                advice("max_workers", max(quiet.in_flight * 2, 2 * DEFAULTS["max_workers"])),
            ),
        )

    def _of(self, name: str, shortage: _Shortage) -> Finding:
        names = ", ".join(each for each, _ in shortage.names.most_common(3))
        served = amount(shortage.limit, "call")
        waited = amount(shortage.waited, "call")
        evidence: list[Evidence] = [
            self.recording.messages(
                f"{waited} ({names}) waited until fewer than {shortage.limit} earlier ones were in service,"
                f" which took up to {duration(shortage.longest_service_ns)}",
                shortage.sample,
                exchanges=True,
            ),
            self.recording.messages(
                f"{amount(shortage.prompt.count, 'call')} of high priority answered meanwhile",
                shortage.prompt,
                exchanges=True,
            ),
        ]
        default = DEFAULTS["max_workers"]
        enough = default if shortage.most < default else max(shortage.most, shortage.limit * 2)
        return self.finding(
            "WORKERS_EXHAUSTED",
            f"The daemon{name and f' {name}'} served {served} of low priority at a time, of all clients"
            f" (max_workers), and {waited} waited up to {duration(shortage.longest_wait_ns)} for a worker,"
            " while calls of high priority were answered.",
            evidence,
            certainty="likely",
            advice=(
                f"{advice('max_workers', enough)}: {shortage.most} would have sufficed",
                "find the slow calls that occupy the workers: libvirt-proto stats lists the slowest, and"
                ' log_filters="1:util.threadjob" logs what each worker is doing',
            ),
        )
