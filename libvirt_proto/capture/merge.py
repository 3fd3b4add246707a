"""Merge two recordings of the same connections into one timeline.

They may come from the client's and the daemon's host, with different clocks, or be a trace or a log and a
capture. Messages are the same if they have the same header and length; connections are the same if their
messages are.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median_low
from typing import Final

from msgspec.structs import replace

from ..events import (
    Captured,
    Connection,
    ConnectionEvent,
    Direction,
    Notice,
    NoticeCode,
    ProbeEvent,
    Sighting,
)
from .align import align

#: The identity of a message: program, version, procedure, type, status, serial and length.
Key = tuple[int, int, int, int, int, int, int]
Timed = Captured | ConnectionEvent | ProbeEvent

#: A message that more connections share than this does not distinguish them.
_COMMON: Final = 100
#: Maximum number of similar connections that are compared by their starts.
_COMPARED: Final = 100
#: Minimum fraction of the shorter connection's messages that the other one must have.
_ALIKE: Final = 0.5


@dataclass
class _Talk:
    """A connection of one recording: its number there, and the positions of its messages per direction."""

    connection: Connection
    number: int
    start_ns: int | None
    places: dict[Direction | None, list[int]] = field(default_factory=lambda: defaultdict(list))
    keys: dict[Direction | None, list[Key]] = field(default_factory=lambda: defaultdict(list))

    def all_keys(self) -> Counter[Key]:
        return Counter(key for keys in self.keys.values() for key in keys)


def merge(
    first: Iterable[Timed], second: Iterable[Timed], names: tuple[str, str]
) -> Iterator[Timed | Notice]:
    """Yield the messages and events of both recordings in one timeline, on the clock of the first.

    A message in both is yielded once, at the time of the sending side, with two sightings, in the more
    complete of its two forms. Notices report the difference of the clocks (`clock-difference` or
    `no-clock-difference`) and that the recordings share no connection (`nothing-in-common`). `names` are the
    names of the recordings. Both are held in memory.
    """
    one, two = list(first), list(second)
    pairs = _pair(_talks(one), _talks(two))
    if not pairs:
        yield Notice(
            NoticeCode.NOTHING_IN_COMMON,
            f"{names[0]} and {names[1]} have no connection in common",
        )
    same = [place for left, right in pairs for place in _same_messages(left, right)]
    offset, notice = _clock_difference(
        [(one[i], two[j]) for i, j in same],  # type: ignore[misc]  # places of messages
        names,
    )
    if notice is not None:
        yield notice
    yield from _timeline(one, two, dict(same), offset, pairs, names)


def _talks(items: Sequence[Timed]) -> list[_Talk]:
    talks: dict[int, _Talk] = {}
    for place, item in enumerate(items):
        if isinstance(item, Captured):
            talk = talks.get(item.connection.id)
            if talk is None:
                talk = talks[item.connection.id] = _Talk(item.connection, len(talks), item.time_ns)
            header = item.message.header
            key = (header.prog, header.vers, header.proc, header.type, header.status, header.serial)
            talk.places[item.direction].append(place)
            talk.keys[item.direction].append((*key, item.message.length))
    return list(talks.values())


# Connections


def _pair(first: list[_Talk], second: list[_Talk]) -> list[tuple[_Talk, _Talk]]:
    """Match the connections: by addresses, then by all of their messages, then by most of them."""
    pairs: list[tuple[_Talk, _Talk]] = []
    for same in (_by_address, _by_all_messages):
        left, right = _grouped(first, same), _grouped(second, same)
        for key in left.keys() & right.keys():
            if key is not None:
                pairs += _in_turn(left[key], right[key])
        first, second = _without(first, pairs, 0), _without(second, pairs, 1)
    pairs += _by_most_messages(first, second)
    return sorted(pairs, key=lambda pair: pair[0].number)


def _by_address(talk: _Talk) -> object:
    """Match by both addresses, where they are known."""
    ends = (talk.connection.client, talk.connection.server)
    if talk.connection.transport != "tcp" or not all(ends):
        return None
    return ends


def _by_all_messages(talk: _Talk) -> object:
    return tuple((direction, tuple(keys)) for direction, keys in sorted(talk.keys.items(), key=str))


def _grouped(talks: list[_Talk], same: Callable[[_Talk], object]) -> dict[object, list[_Talk]]:
    groups: dict[object, list[_Talk]] = defaultdict(list)
    for talk in talks:
        groups[same(talk)].append(talk)
    return groups


def _without(talks: list[_Talk], pairs: list[tuple[_Talk, _Talk]], side: int) -> list[_Talk]:
    paired = {id(pair[side]) for pair in pairs}
    return [talk for talk in talks if id(talk) not in paired]


def _in_turn(left: list[_Talk], right: list[_Talk]) -> list[tuple[_Talk, _Talk]]:
    """Match similar connections in order. If one recording has more of them, choose the offset at which their
    starts are most evenly apart."""
    if len(left) > len(right):
        return [(one, two) for two, one in _in_turn(right, left)]

    def spread(shift: int) -> int:
        pairs = zip(left[:_COMPARED], right[shift : shift + _COMPARED], strict=False)
        apart = [
            two.start_ns - one.start_ns
            for one, two in pairs
            if one.start_ns is not None and two.start_ns is not None
        ]
        return max(apart) - min(apart) if apart else 0

    best = min(range(len(right) - len(left) + 1), key=spread)
    return list(zip(left, right[best:], strict=False))


def _by_most_messages(first: list[_Talk], second: list[_Talk]) -> list[tuple[_Talk, _Talk]]:
    """Match the best pairs first, and equally good ones in order of appearance."""
    having: dict[Key, list[int]] = defaultdict(list)
    right = [talk.all_keys() for talk in second]
    for number, keys in enumerate(right):
        for key in keys:
            having[key].append(number)
    scores = []
    for number, talk in enumerate(first):
        left, shared = talk.all_keys(), Counter[int]()
        for key, count in left.items():
            if len(having[key]) <= _COMMON:
                for other in having[key]:
                    shared[other] += min(count, right[other][key])
        for other, count in shared.items():
            score = count / min(left.total(), right[other].total())
            if score >= _ALIKE:
                scores.append((-score, -count, abs(number - other), number, other))
    pairs, left_taken, right_taken = [], set(), set()
    for *_, number, other in sorted(scores):
        if number not in left_taken and other not in right_taken:
            left_taken.add(number)
            right_taken.add(other)
            pairs.append((first[number], second[other]))
    return pairs


def _same_messages(left: _Talk, right: _Talk) -> Iterator[tuple[int, int]]:
    for direction, keys in left.keys.items():
        for i, j in align(keys, right.keys.get(direction, [])):
            yield left.places[direction][i], right.places[direction][j]


# Clocks


def _clock_difference(
    same: list[tuple[Captured, Captured]], names: tuple[str, str]
) -> tuple[int, Notice | None]:
    """Return how many nanoseconds the second clock is ahead of the first.

    A message is seen at the sender before it is seen at the receiver. Messages in one direction bound the
    difference from above, those in the other direction from below.
    """
    apart: dict[Direction | None, list[int]] = {"c2s": [], "s2c": []}
    for one, two in same:
        if one.time_ns is not None and two.time_ns is not None and one.direction in apart:
            apart[one.direction].append(two.time_ns - one.time_ns)
    calls, replies = apart["c2s"], apart["s2c"]
    if not calls or not replies:
        text = (
            "the clocks of the recordings cannot be compared: this needs a call and a reply that are in both"
        )
        return 0, Notice(NoticeCode.NO_CLOCK_DIFFERENCE, text, severity="note") if same else None
    # The recording that sees calls first and replies last is the client's.
    if median_low(calls) < median_low(replies):
        calls, replies = replies, calls
    most, least = min(calls), max(replies)
    if most >= least:
        offset, doubt = (most + least) // 2, f"give or take {_seconds((most - least + 1) // 2)}"
    else:
        offset = (median_low(calls) + median_low(replies)) // 2
        doubt = (
            f"its times contradict each other by up to {_seconds(least - most)}: they are imprecise, or drift"
        )
    word = "ahead of" if offset >= 0 else "behind"
    text = (
        f"the clock of {names[1]} is {_seconds(abs(offset))} {word} that of {names[0]}, {doubt}"
        f" (from {len(calls) + len(replies)} messages)"
    )
    return offset, Notice(NoticeCode.CLOCK_DIFFERENCE, text, severity="note")


def _seconds(ns: int) -> str:
    return f"{ns / 1e9:.6f} s"


# The timeline


def _timeline(
    one: list[Timed],
    two: list[Timed],
    same: dict[int, int],
    offset: int,
    pairs: list[tuple[_Talk, _Talk]],
    names: tuple[str, str],
) -> Iterator[Timed]:
    renamed = _connections(one, two, pairs)
    placed: list[tuple[int, int, Timed]] = []
    back = {j: i for i, j in same.items()}
    times, untimed = _times(one), any(item.time_ns is None for item in (*one, *two))
    for i, item in enumerate(one):
        if isinstance(item, Captured) and i in same:
            other = two[same[i]]
            assert isinstance(other, Captured)
            item = _joined(item, other, offset, names)
        elif isinstance(item, Captured):
            item = replace(item, sightings=(Sighting(names[0], item.time_ns, item.packet),), packet=None)
        placed.append((times[i] if untimed or item.time_ns is None else item.time_ns, i, item))
    last = times[0] if times else 0
    for j, item in enumerate(two):
        if j in back:
            last = times[back[j]]
            continue
        shifted = None if item.time_ns is None else item.time_ns - offset
        connection = None if item.connection is None else renamed[item.connection.id]
        item = replace(item, time_ns=shifted, connection=connection)
        if isinstance(item, Captured):
            item = replace(item, sightings=(Sighting(names[1], shifted, item.packet),), packet=None)
        # Without a clock it follows its predecessor in its own recording.
        placed.append((last if untimed or shifted is None else shifted, len(one) + j, item))
    count = 0
    for _, _, item in sorted(placed, key=lambda place: place[:2]):
        if isinstance(item, Captured):
            count += 1
            item = replace(item, n=count)
        yield item


def _times(items: list[Timed]) -> list[int]:
    """Return the times of a recording, or positions if it has no clock."""
    if any(item.time_ns is None for item in items):
        return list(range(len(items)))
    return [item.time_ns or 0 for item in items]


def _connections(
    one: list[Timed], two: list[Timed], pairs: list[tuple[_Talk, _Talk]]
) -> dict[int, Connection]:
    """Map the second recording's connections to those of the timeline: the first one's, or new numbers."""
    renamed = {right.connection.id: left.connection for left, right in pairs}
    number = max((item.connection.id for item in one if item.connection is not None), default=0)
    for item in two:
        if item.connection is not None and item.connection.id not in renamed:
            number += 1
            renamed[item.connection.id] = replace(item.connection, id=number)
    return renamed


def _joined(one: Captured, two: Captured, offset: int, names: tuple[str, str]) -> Captured:
    """Combine the two sightings of a message."""
    shifted = None if two.time_ns is None else two.time_ns - offset
    seen = (Sighting(names[0], one.time_ns, one.packet), Sighting(names[1], shifted, two.packet))
    times = [sighting.time_ns for sighting in seen if sighting.time_ns is not None]
    message = min(one.message, two.message, key=lambda message: message.missing)
    return replace(one, time_ns=min(times, default=None), message=message, sightings=seen, packet=None)
