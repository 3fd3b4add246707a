"""Calls that are served N at a time: which N explains when they were answered.

Of all calls in flight, only the N oldest are in service; each other one waits until one of these ends. With
the right N, calls of a procedure have similar service times, and calls that waited were served from the
moment that an earlier one ended. With a wrong N, some calls are answered before their service could begin, or
service times differ.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable
from statistics import median
from typing import Final, Literal, NamedTuple

from ..events import Captured

#: Messages that are kept of an episode.
MAX_STEPS: Final = 2_048
#: A wait that a user may notice.
WAIT_NS: Final = 100_000_000
#: Calls with such a wait: one may be a coincidence.
_WAITED: Final = 2
#: The part of the waits, and of all calls, that a limit must explain.
_EXPLAINED: Final = 0.8
#: The part of all calls that no limit needs to explain, such as those in flight when an episode begins.
_NEGLIGIBLE: Final = 0.05
#: How far service times of one procedure differ, as factors of their median.
_SHORTER, _LONGER = 0.6, 1.5
#: The number of services whose durations are compared, and the ratio at which two of them differ.
_SEVERAL: Final = 6
_DIFFERENT: Final = 2
#: A cheap call waited ten times as long as calls of its procedure take.
_CHEAP: Final = 10
#: Calls that begin within this time begin together.
TOGETHER_NS: Final = 20_000_000
#: A trace of both ends shows a message twice, within this time on a busy host. Later calls that are compared.
_SAME_NS: Final = 20_000_000
_AHEAD: Final = 8
#: Limits that are tried: all small ones, and what people configure.
LIMITS: Final = (*range(1, 11), 15, 16, 20, 25, 30, 32, 40, 50, 64, 100, 128)

#: A call, the reply to it, or the end of its connection.
_Kind = Literal["call", "reply", "gone"]


class _Step(NamedTuple):
    """The beginning or end of a call, by its number within the episode."""

    kind: _Kind
    call: int
    time_ns: int


class Service(NamedTuple):
    """A call as served under a limit: when it was sent, when its service began, and its reply."""

    call: Captured
    sent_ns: int
    start_ns: int
    end_ns: int

    @property
    def wait_ns(self) -> int:
        """The time in the queue."""
        return self.start_ns - self.sent_ns

    @property
    def service_ns(self) -> int:
        """The time from its start to its reply."""
        return self.end_ns - self.start_ns


class Waits(NamedTuple):
    """The calls of an episode that waited at a limit, and those that this limit does not explain."""

    limit: int
    waited: list[Service]
    odd: int


class Episode:
    """A time in which there was always a call in flight. Keys identify calls that have no reply yet.

    `in_flight` are the calls at its beginning, the oldest first.
    """

    def __init__(self, in_flight: Iterable[tuple[Hashable, Captured]] = ()) -> None:
        self.calls: list[Captured] = []
        self.steps: list[_Step] = []
        #: The most calls in flight at the same time, and whether one of them took long.
        self.most = 0
        self.slow = False
        self._open: dict[Hashable, int] = {}
        for key, captured in in_flight:
            if captured.time_ns is not None:
                self.call(key, captured, captured.time_ns)
        #: Calls that were sent before, and may have waited for calls that are not known.
        self._before = len(self.calls) - 1 if len(self.calls) > 2 else 0

    def call(self, key: Hashable, captured: Captured, time_ns: int) -> None:
        """Add a call."""
        self._open[key] = len(self.calls)
        self.steps.append(_Step("call", len(self.calls), time_ns))
        self.calls.append(captured)
        self.most = max(self.most, len(self._open))

    def end(self, key: Hashable, time_ns: int, kind: _Kind = "reply") -> None:
        """Add the end of a call."""
        number = self._open.pop(key, None)
        if number is not None:
            self.slow = self.slow or time_ns - (self.calls[number].time_ns or 0) >= WAIT_NS
            self.steps.append(_Step(kind, number, time_ns))

    def daemon_view(self) -> Episode:
        """Return the episode without the views of clients, if a trace shows each connection twice.

        The daemon receives a call after its client has sent it, and sends the reply before its client
        receives it.
        """
        ends = {call: time_ns for kind, call, time_ns in self.steps if kind != "call"}
        sent = [(call, time_ns) for kind, call, time_ns in self.steps if kind == "call"]
        alike: dict[tuple[int, int, int], list[tuple[int, int]]] = {}
        for call, time_ns in sent:
            header = self.calls[call].message.header
            alike.setdefault((header.prog, header.proc, header.serial), []).append((call, time_ns))
        within: dict[int, set[int]] = {}
        for calls in alike.values():
            for at, (outer, outer_ns) in enumerate(calls):
                found = {
                    self._connection(inner)
                    for inner, inner_ns in calls[at + 1 : at + 1 + _AHEAD]
                    if inner_ns - outer_ns <= _SAME_NS and _is_within(ends.get(inner), ends.get(outer))
                }
                connection = self._connection(outer)
                within[connection] = within[connection] & found if connection in within else found
        views = {outer: inner.pop() for outer, inner in within.items() if len(inner) == 1}
        inner = set(views.values())
        if not views or within.keys() - views.keys() - inner or inner & views.keys():
            return self
        return self._of({call for call, _ in sent if self._connection(call) in inner})

    def _connection(self, call: int) -> int:
        return self.calls[call].connection.id

    def _of(self, calls: set[int]) -> Episode:
        """Return the part of the episode that has only some calls."""
        part = Episode()
        for kind, call, time_ns in self.steps:
            if call in calls and kind == "call":
                part.call(call, self.calls[call], time_ns)
            elif call in calls:
                part.end(call, time_ns, kind)
        return part

    def waits(
        self,
        is_other: Callable[[Captured, Captured], bool],
        is_evidence: Callable[[Captured], bool],
        known: Iterable[int] = (),
    ) -> Waits | None:
        """Return the calls that waited, with the limit that explains them best; None if no limit does.

        `is_other` returns whether a call is about something else than another one: calls on one object are
        served one at a time without a limit, too. `is_evidence` selects calls that nothing else can delay.
        `known` are limits of other episodes: the first one that explains nearly all calls is taken.
        """
        if not self.slow or self.most < 2 or not self._has_evidence(is_evidence):
            return None
        best: Waits | None = None
        for limit in dict.fromkeys((*known, *LIMITS)):
            if limit >= self.most:
                continue
            services = self._served(limit)
            waits = services and self._judged(limit, services, is_other, is_evidence)
            if services and waits and (best is None or waits.odd < best.odd):
                best = waits
                if waits.odd <= len(services) * _NEGLIGIBLE:
                    break
        return best

    def _has_evidence(self, is_evidence: Callable[[Captured], bool]) -> bool:
        """Return whether enough calls may have waited."""
        count = 0
        for kind, call, time_ns in self.steps:
            if kind == "reply" and time_ns - (self.calls[call].time_ns or 0) >= WAIT_NS:
                count += is_evidence(self.calls[call])
        return count >= _WAITED

    def _served(self, limit: int) -> list[Service] | None:
        """Return the answered calls as served under a limit; None if that contradicts the replies.

        Calls that are in service at the same time and differ in duration overtake each other.
        """
        sent: dict[int, int] = {}
        start: dict[int, int] = {}
        queue: deque[int] = deque()
        gone: set[int] = set()
        unknown: set[int] = set()
        services: list[Service] = []
        in_order = True
        for kind, call, time_ns in self.steps:
            if kind == "call":
                sent[call] = time_ns
                if len(start) < limit:
                    start[call] = time_ns
                    if call < self._before:
                        unknown.add(call)
                else:
                    queue.append(call)
                continue
            in_order = in_order and call == next(iter(start), call)
            began = start.pop(call, None)
            if began is None:
                if kind == "reply":
                    return None
                gone.add(call)
                continue
            if kind == "reply" and call not in unknown:
                services.append(Service(self.calls[call], sent.pop(call), began, time_ns))
            while queue:
                following = queue.popleft()
                if following not in gone:
                    start[following] = time_ns
                    break
        return None if limit > 1 and in_order and _differ(services) else services

    def _judged(
        self,
        limit: int,
        services: list[Service],
        is_other: Callable[[Captured, Captured], bool],
        is_evidence: Callable[[Captured], bool],
    ) -> Waits | None:
        times: dict[tuple[int, int], list[int]] = {}
        at_once: dict[tuple[int, int], list[int]] = {}
        for each in services:
            times.setdefault(_procedure(each), []).append(each.service_ns)
            if each.wait_ns < WAIT_NS:
                at_once.setdefault(_procedure(each), []).append(each.service_ns)
        # Calls that did not wait show how long their procedure takes.
        usual = {procedure: median(at_once.get(procedure, every)) for procedure, every in times.items()}
        longest = {procedure: max(every) for procedure, every in times.items()}
        odd = 0
        waited: list[Service] = []
        explained: list[Service] = []
        for each in services:
            procedure = _procedure(each)
            middle = usual[procedure]
            known = len(times[procedure]) > 1
            alike = known and middle * _SHORTER <= each.service_ns <= middle * _LONGER
            if each.wait_ns < WAIT_NS:
                odd += known and not alike
                continue
            if not is_evidence(each.call):
                continue
            waited.append(each)
            similar = alike and each.wait_ns >= middle * _SHORTER and each.service_ns >= TOGETHER_NS
            cheap = longest[procedure] * _CHEAP <= each.wait_ns
            if similar or (cheap and (limit > 1 or is_other(each.call, self.calls[0]))):
                explained.append(each)
            else:
                odd += 1
        if len(explained) < max(_WAITED, len(waited) * _EXPLAINED) or odd > len(services) * (1 - _EXPLAINED):
            return None
        if not (_apart(explained) or _others_continue(explained[0], services, limit)):
            return None
        return Waits(limit, waited, odd)


def _is_within(inner_ns: int | None, outer_ns: int | None) -> bool:
    """Return whether a daemon's reply is the one that a client received."""
    if inner_ns is None or outer_ns is None:
        return inner_ns is None and outer_ns is None
    return 0 <= outer_ns - inner_ns <= _SAME_NS


def _procedure(service: Service) -> tuple[int, int]:
    header = service.call.message.header
    return header.prog, header.proc


def _differ(services: list[Service]) -> bool:
    """Return whether the durations of several services differ much."""
    times = [each.service_ns for each in services]
    return len(times) >= _SEVERAL and max(times) > min(times) * _DIFFERENT


def _apart(services: list[Service]) -> bool:
    """Return whether services began at different times. At the end of a stall, all begin together."""
    starts = [each.start_ns for each in services]
    return max(starts) - min(starts) > TOGETHER_NS


def _others_continue(service: Service, services: list[Service], limit: int) -> bool:
    """Return whether the other calls in service continued for long when a call began."""
    others = sum(
        each.start_ns < service.start_ns and each.end_ns > service.start_ns + WAIT_NS for each in services
    )
    return limit > 1 and others >= limit - 1
