"""Match the elements of two sequences that each lack some of the other's."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Hashable, Sequence
from itertools import pairwise


def align(left: Sequence[Hashable], right: Sequence[Hashable]) -> list[tuple[int, int]]:
    """Return pairs of positions of equal elements, each position at most once, in the order of `right`.

    Elements that occur once on either side are paired wherever they are. They divide the others into
    sections, which are paired in order: from the first on, and before the first division from the last on,
    for a sequence that lacks its beginning. Takes O(n log n) time.
    """
    places = _single(left)
    single = [(places[element], at) for element, at in _single(right).items() if element in places]
    single.sort(key=lambda pair: pair[1])
    pairs = list(single)
    fences = [(-1, -1), *_rising(single), (len(left), len(right))]
    taken_left, taken_right = {i for i, _ in single}, {j for _, j in single}
    for number, ((from_left, from_right), (to_left, to_right)) in enumerate(pairwise(fences)):
        lefts = [i for i in range(from_left + 1, to_left) if i not in taken_left]
        rights = [j for j in range(from_right + 1, to_right) if j not in taken_right]
        if number == 0 and len(fences) > 2:
            lefts, rights = lefts[::-1], rights[::-1]
        pairs += [
            (lefts[i], rights[j]) for i, j in _in_order([left[i] for i in lefts], [right[j] for j in rights])
        ]
    return sorted(pairs, key=lambda pair: pair[1])


def _single(elements: Sequence[Hashable]) -> dict[Hashable, int]:
    """Map the elements that occur once to their positions."""
    counts = Counter(elements)
    return {element: at for at, element in enumerate(elements) if counts[element] == 1}


def _rising(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return a longest subsequence of the pairs whose first numbers rise (the second ones do already)."""
    ends: list[int] = []
    at: list[int] = []
    before: list[int] = []
    for number, (first, _) in enumerate(pairs):
        place = bisect_left(ends, first)
        ends[place : place + 1] = [first]
        at[place : place + 1] = [number]
        before.append(at[place - 1] if place else -1)
    found, number = [], at[-1] if at else -1
    while number >= 0:
        found.append(pairs[number])
        number = before[number]
    return found[::-1]


def _in_order(left: Sequence[Hashable], right: Sequence[Hashable]) -> list[tuple[int, int]]:
    """Pair each element of `right` with the next equal one of `left`, if there is one."""
    places: dict[Hashable, list[int]] = {}
    for at, element in enumerate(left):
        places.setdefault(element, []).append(at)
    pairs, start = [], 0
    for j, element in enumerate(right):
        found = places.get(element, [])
        place = bisect_left(found, start)
        if place < len(found):
            pairs.append((found[place], j))
            start = found[place] + 1
    return pairs
