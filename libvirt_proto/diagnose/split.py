"""TIME_OUTSIDE_DAEMON: the time between call and reply, split where both ends were recorded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ..text import amount, duration
from .both_ends import Pair, is_pair
from .detector import Detector
from .findings import Evidence, Finding

#: Time of a call outside of the daemon that is more than a network on one continent needs, the number of such
#: calls that is more than an accident, and the time of all calls that a person notices.
_LONG_NS: Final = 100 * 10**6
_MIN_LONG: Final = 3
_TOTAL_NS: Final = 10**9
#: Part of the time that is spent on one way, to name this way only.
_MOSTLY: Final = 0.8
#: Connections that a finding lists.
_LISTED: Final = 5


class TimeOutside(Detector):
    """Connections whose calls took long outside of the daemon. The later of two recordings reports them."""

    rules = ("TIME_OUTSIDE_DAEMON",)

    def findings(self) -> Iterator[Finding]:
        """Report the connections that are complete with this recording, together."""
        pairs = [
            pair
            for pair in self.recording.both_ends.pairs.values()
            if self.recording in (pair.outer.recording, pair.inner.recording)
            and is_pair(pair)
            and _is_long(pair)
        ]
        if pairs:
            yield self._of(sorted(pairs, key=lambda pair: -pair.outside_ns))

    def _of(self, pairs: list[Pair]) -> Finding:
        first = pairs[0]
        calls = sum(pair.count for pair in pairs)
        outside, outer = sum(pair.outside_ns for pair in pairs), sum(pair.outer_ns for pair in pairs)
        where, advice = _where(first)
        return self.finding(
            "TIME_OUTSIDE_DAEMON",
            f"The daemon took {duration(outer - outside)} for {amount(calls, 'call')} that took the client"
            f" {duration(outer)}: {duration(outside)} passed {where}.",
            [each for pair in pairs[:_LISTED] for each in _evidence(pair)],
            subject=str(first.outer.connection),
            advice=advice,
        )


def _is_long(pair: Pair) -> bool:
    """Return whether much time passed outside of the daemon, and more than in it."""
    outside = pair.outside_ns
    if outside < _TOTAL_NS or outside * 2 < pair.outer_ns:
        return False
    return sum(split.outside_ns >= max(_LONG_NS, split.inside_ns) for split in pair.longest) >= _MIN_LONG


def _where(pair: Pair) -> tuple[str, tuple[str, ...]]:
    """Return where the time passed, and what helps."""
    queue = (
        "see whether the daemon reads late: it does not read a client with max_client_requests calls in"
        " flight, and its event loop may stall"
    )
    network = "measure the network between client and daemon: ping, and retransmissions with nstat"
    client = "see whether the client reads late: a callback or a lock of its own keeps its event loop busy"
    if pair.nested and pair.before_ns >= _MOSTLY * pair.outside_ns:
        return "before the daemon read the calls", (queue, network)
    if pair.nested and pair.after_ns >= _MOSTLY * pair.outside_ns:
        return "before the client read the replies", (client, network)
    return "between them", (network, queue, client)


def _evidence(pair: Pair) -> Iterator[Evidence]:
    """Yield the calls that took longest outside of the daemon, at both ends."""
    ways = (
        f" ({duration(pair.before_ns)} before the daemon's end, {duration(pair.after_ns)} after it)"
        if pair.nested
        else ""
    )
    longest = sorted(pair.longest, reverse=True)
    for end, total, numbers in (
        (pair.outer, pair.outer_ns, [split.outer_n for split in longest]),
        (pair.inner, pair.inner_ns, [split.inner_n for split in longest]),
    ):
        which = "client's" if end is pair.outer else "daemon's"
        text = f"{amount(pair.count, 'call')} at the {which} end: {duration(total)}"
        yield end.recording.numbered(text + (ways if end is pair.outer else ""), numbers, end.connection)
