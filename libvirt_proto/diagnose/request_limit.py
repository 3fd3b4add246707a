"""CLIENT_REQUEST_LIMIT: calls that waited because too many of their connection were in flight.

A daemon reads no further message of a connection, keepalive answers included, while `max_client_requests` of
its calls are in service (virnetserverclient.c). It logs that once per connection.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ..bounded import BoundedDict
from ..events import Captured, LogLine
from ..routine import RoutineExchanges
from ..rpc.message import Header
from ..text import amount, duration
from .detector import MAX_NUMBERS, Detector, Lines, Recording, Sample
from .findings import Certainty, Evidence, Finding
from .peers import Peer, call_key
from .queueing import MAX_STEPS, Episode
from .settings import DEFAULTS, ONE_CALL_DAEMONS, advice

#: Connections that have several calls in flight at the same time.
_MAX_EPISODES: Final = 1_024
#: A keepalive timeout follows within this time: the daemon's keepalive_interval * (keepalive_count + 1) is 30
#: s by default.
_TIMEOUT_NS: Final = 60 * 10**9
_LISTED: Final = 3

#: Program of calls → the daemon that serves it, and its setting.
_DAEMONS: Final = {"log_manager": "virtlogd", "lock_space": "virtlockd"}
_SETTINGS: Final = {"admin": "admin_max_client_requests"}


class _Group:
    """Waits at one limit: of how many connections and calls, and the first ones."""

    def __init__(self) -> None:
        self.connections: BoundedDict[int, Peer] = BoundedDict(_MAX_EPISODES)
        self.most = 0
        self.waited = 0
        self.longest_wait_ns = 0
        self.service_ns = 0
        self.certainty: Certainty = "possible"
        self.sample = Sample()
        self.evidence: list[Evidence] = []
        self.header: Header | None = None


class RequestLimit(Detector):
    """Calls that waited for earlier ones of their connection, and the daemon's warning about its limit."""

    rules = ("CLIENT_REQUEST_LIMIT",)
    roles = ("call", "reply")

    def __init__(self, recording: Recording) -> None:
        super().__init__(recording)
        self._episodes: BoundedDict[int, tuple[Peer, Episode]] = BoundedDict(_MAX_EPISODES)
        self._groups: dict[int, _Group] = {}
        #: Program and limit → the daemon's warnings.
        self._warnings: BoundedDict[tuple[str, int], Lines] = BoundedDict(MAX_NUMBERS)
        self._timeouts: list[LogLine] = []

    def message(self, peer: Peer, captured: Captured) -> None:
        """Add a message to the episode of its connection."""
        several = len(peer.waiting) > 1
        if not (several or self._episodes):
            return
        id_, time_ns = captured.connection.id, captured.time_ns
        entry = self._episodes.get(id_)
        part = peer.role
        if time_ns is None or (entry is None and part == "reply"):
            return
        if entry is None:
            if not several:
                return
            entry = self._begin(peer)
        elif part == "call":
            entry[1].call(call_key(captured.message.header), captured, time_ns)
        else:
            entry[1].end(call_key(captured.message.header), time_ns)
        if not peer.waiting or len(entry[1].steps) >= MAX_STEPS:
            del self._episodes[id_]
            self._evaluate(*entry)

    def takes(self, _header: Header) -> bool:
        """Return True: calls matter only while others of their connection wait."""
        return True

    def ready(self, peer: Peer, _exchanges: RoutineExchanges) -> bool:
        """Return whether none waits."""
        return not self._episodes or peer.connection.id not in self._episodes

    def line(self, line: LogLine) -> None:
        """Note the daemon's warning, and a keepalive timeout soon after it."""
        if line.kind == "request-limit" and "limit" in line.details:
            key = (line.program, int(line.details["limit"]))
            if key not in self._warnings:
                self._warnings.put(key, Lines())
            self._warnings[key].add(line)
        elif line.kind == "keepalive-timeout" and len(self._timeouts) < MAX_NUMBERS and self._warnings:
            self._timeouts.append(line)

    def findings(self) -> Iterator[Finding]:
        """Report the limits that the log states, and those that only the messages show."""
        for peer, episode in self._episodes.values():
            self._evaluate(peer, episode)
        groups = dict(self._groups)
        for (program, limit), lines in self._warnings.items():
            yield self._stated(program, limit, lines, groups.pop(limit, None))
        for limit, group in groups.items():
            yield self._observed(limit, group)

    def _begin(self, peer: Peer) -> tuple[Peer, Episode]:
        """Begin an episode with all calls that are in flight."""
        entry = peer, Episode(peer.waiting.items())
        self._episodes.put(peer.connection.id, entry)
        return entry

    def _evaluate(self, peer: Peer, episode: Episode) -> None:
        """Find out whether a limit explains the waits of an episode."""
        waits = episode.waits(self.recording.is_other, lambda _call: True, self._groups)
        if waits is None:
            return
        group = self._groups.get(waits.limit)
        if group is None:
            group = self._groups[waits.limit] = _Group()  # at most one for each of LIMITS
        if group.certainty == "possible":
            group.certainty = self._certainty(episode, waits.limit)
        longest = max(waits.waited, key=lambda each: each.wait_ns)
        group.connections.put(peer.connection.id, peer)
        group.most = max(group.most, episode.most)
        group.waited += len(waits.waited)
        group.header = group.header or longest.call.message.header
        if longest.wait_ns > group.longest_wait_ns:
            group.longest_wait_ns, group.service_ns = longest.wait_ns, longest.service_ns
        for each in waits.waited:
            group.sample.add(each.call)
        if len(group.evidence) < _LISTED:
            name = self.recording.procedure(longest.call.message.header)
            text = (
                f"{name} was sent with {episode.most} calls in flight, waited {duration(longest.wait_ns)} for"
                f" an earlier one to end, and was served in {duration(longest.service_ns)}"
            )
            group.evidence.append(self.recording.messages(text, [longest.call], peer=peer, exchanges=True))

    def _certainty(self, episode: Episode, limit: int) -> Certainty:
        """Return how certain a limit is: a lock of one object serves its calls one at a time, too."""
        if limit > 1:
            return "likely"
        subjects = {str(self.recording.subject(call.message)) for call in episode.calls[:MAX_NUMBERS]}
        return "possible" if len(subjects) == 1 else "likely"

    def _observed(self, limit: int, group: _Group) -> Finding:
        """Build the finding about what messages show."""
        daemon, setting = self._setting(group.header)
        return self.finding(
            "CLIENT_REQUEST_LIMIT",
            self._waited(limit, group, setting),
            self._of_messages(limit, group),
            certainty=group.certainty,
            advice=_advice(daemon, setting, group.most),
        )

    def _waited(self, limit: int, group: _Group, setting: str) -> str:
        clients = len(group.connections)
        peer = next(iter(group.connections.values()))
        who = f"The client {peer.client}" if clients == 1 else f"Each of {clients} clients"
        had = f"{group.most} calls in flight" + (" on one connection" if clients == 1 else "")
        return (
            f"{who} had {'up to ' if clients > 1 else ''}{had}, and the daemon served {limit} at a time"
            f" ({setting}): {amount(group.waited, 'call')} waited up to {duration(group.longest_wait_ns)}"
            f" before their service, which took {duration(group.service_ns)}."
        )

    def _of_messages(self, limit: int, group: _Group) -> list[Evidence]:
        few = "no earlier one was" if limit == 1 else f"fewer than {limit} earlier ones were"
        text = f"{amount(group.waited, 'call')} waited until {few} in flight"
        return [self.recording.messages(text, group.sample, exchanges=True), *group.evidence]

    def _stated(self, program: str, limit: int, lines: Lines, group: _Group | None) -> Finding:
        """Build the finding about a limit that the log states."""
        daemon, setting = self._setting(group.header if group else None)
        daemon = program or daemon
        clients = "a client" if lines.count == 1 else amount(lines.count, "client")
        evidence = [self.recording.lines("the log states that a client reached the limit", lines)]
        after = [line for line in self._timeouts if _follows(lines.first, line)]
        end = ""
        if after:
            evidence.append(self.recording.lines("keepalive timeouts soon after", after))
            end = f", and{_later(lines.first, after)} a connection was closed by a keepalive timeout"
        if group is not None:
            summary = self._waited(limit, group, setting)
            evidence += self._of_messages(limit, group)
        else:
            calls = "one call" if limit == 1 else f"{limit} calls"
            summary = (
                f"{daemon or 'The daemon'} stopped reading from {clients} with {calls} in flight, as many as"
                f" it serves at a time{'' if daemon in ONE_CALL_DAEMONS else f' ({setting})'}: further calls"
                f" and keepalive answers wait{end}."
            )
        harmless = daemon in ONE_CALL_DAEMONS and not after
        return self.finding(
            "CLIENT_REQUEST_LIMIT",
            summary,
            evidence,
            severity="note" if harmless else None,
            advice=_advice(daemon, setting, group.most if group else None, limit),
        )

    def _setting(self, header: Header | None) -> tuple[str, str]:
        """Return the daemon that serves a program, "" if several do, and its setting."""
        program = self.recording.program(header) if header else ""
        return _DAEMONS.get(program, ""), _SETTINGS.get(program, "max_client_requests")


def _follows(lines: list[LogLine], line: LogLine) -> bool:
    """Return whether a line is soon after one of others; without times, whether it is after one."""
    if line.time_ns is None or any(each.time_ns is None for each in lines):
        return line.number > lines[0].number
    return any(0 <= line.time_ns - (each.time_ns or 0) <= _TIMEOUT_NS for each in lines)


def _later(lines: list[LogLine], after: list[LogLine]) -> str:
    """Return the time from the last warning before the first timeout to it."""
    end_ns = after[0].time_ns
    before = [each.time_ns for each in lines if each.time_ns is not None and end_ns is not None]
    start_ns = max((each for each in before if each <= (end_ns or 0)), default=None)
    return f" {duration(end_ns - start_ns)} later" if end_ns is not None and start_ns is not None else ""


def _advice(daemon: str, setting: str, most: int | None, limit: int = 0) -> tuple[str, ...]:
    """Return what helps. `most` is the number of calls that were in flight, None if it is unknown."""
    if daemon in ONE_CALL_DAEMONS:
        return (
            f"find the slow call of {daemon}, often slow storage: its limit is fixed, and no setting changes"
            " it",
            "if nothing else failed, ignore the warning: newer releases do not log it for a limit of 1",
        )
    enough = f": {most} would have sufficed" if most else ""
    value = max(most or 0, limit * 2, DEFAULTS["max_workers"])
    return (
        advice(setting, value, daemon) + enough,
        "or let the client make fewer calls at the same time on one connection",
        f"keep max_workers (default {DEFAULTS['max_workers']}) well above it, so that one client cannot"
        " occupy all workers",
    )
