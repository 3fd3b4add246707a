"""The history of releases, built by comparing each with its predecessor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import pairwise
from typing import Final

from libvirt_proto.codec.history import Event, Key, Span

from ..schema import Schema
from .archive import Release
from .changes import Change, Changes, changes
from .facts import Facts, History, HistoryError
from .symbols import ANNOTATIONS
from .version import follows, is_maintenance, version_key

Load = Callable[[Release], Schema]
#: Returns the changes from a release to another one.
Difference = Callable[[Release, Release], Changes]
#: Maximum number of changes over all releases; libvirt's have 1,000.
MAX_EVENTS: Final = 50_000


def difference(load: Load) -> Difference:
    """Return a function that compares the Schemas of two releases."""
    return lambda old, new: changes(load(old), load(new))


def fold(releases: Sequence[Release], compare: Difference) -> History:
    """Return the history of releases, which are in version order.

    Maintenance releases come last. A thing that one has, and the start of its branch lacks, is recorded with
    the later release that also added it, or with the maintenance release if there is none. Raises
    HistoryError for more than MAX_EVENTS changes.
    """
    main = main_releases(releases)
    history = History(main[0].first, main[0].name)
    found: dict[str, Changes] = {}
    for old, new, when in dated(main):
        found[new.name] = compare(old, new)
        history = _extended(history, when, new, found[new.name])
    for start, old, new in branches(releases):
        later = [found[release.name] for release in main if is_later(release, start)]
        for change in compare(old, new).all:
            key = reduce(lambda key, each: each.following(key), later, change.key)
            history = _with_branch(history, key, change, new.name)
        _checked(history)
    return history


def main_releases(releases: Sequence[Release]) -> list[Release]:
    """Return all except maintenance releases."""
    return [release for release in releases if not is_maintenance(release.name)]


def dated(main: Sequence[Release]) -> Iterator[tuple[Release, Release, Dates]]:
    """Yield each release, its successor, and when the changes between them happened."""
    for index, (old, new) in enumerate(pairwise(main), 1):
        yield old, new, _dates(old, new, main[index:])


def pairs(releases: Sequence[Release]) -> Iterator[tuple[Release, Release]]:
    """Yield the pairs of releases that `fold` compares, in its order."""
    yield from pairwise(main_releases(releases))
    yield from ((old, new) for _, old, new in branches(releases))


@dataclass(frozen=True, slots=True)
class Dates:
    """When a release's changes happened: those of declarations, and those of annotations."""

    declarations: Span
    annotations: Span

    def of(self, change: Change) -> Span:
        """Return the date of a change."""
        return self.annotations if change.what in ANNOTATIONS else self.declarations


def _dates(old: Release, new: Release, later: Sequence[Release]) -> Dates:
    """Return the dates of the changes from a release to the next; `later` begins with the new release.

    Ranges of releases with the same declarations say nothing of annotations. The first derived state after
    another release has the annotations of the release from which it was derived, except those whose change
    is dated, and such changes appear in a later state.
    """
    if (old.first, old.last) == (new.first, new.last):
        return Dates(_between(old.name, new.name), _between(old.name, new.name))
    declarations = _between(old.last, new.first)
    was_derived, is_derived = (each.origins.release == "derived" for each in (old, new))
    if was_derived:
        return Dates(declarations, declarations)
    if is_derived:
        source = next((each for each in later if each.origins.release != "derived"), new)
        return Dates(declarations, Span(after=old.name, by=source.name))
    return Dates(declarations, _between(old.name, new.name))


def _between(old: str, new: str) -> Span:
    return Span(new) if follows(new, old) else Span(after=old, by=new)


def _extended(history: History, when: Dates, new: Release, found: Changes) -> History:
    left = {change.key for change in found.all if change.kind == "left"}
    gone = {key: known for key, known in history.facts.items() if known.gone}
    facts = dict(gone)
    for key, known in history.facts.items():
        if key not in gone:
            now = key if key in left else found.following(key)
            facts[now] = _after(gone[now], known) if now in gone else known
    for change in found.all:
        facts[change.key] = _with_change(facts.get(change.key), change, when.of(change))
    return _checked(History(history.first, new.name, facts))


def _after(gone: Facts, known: Facts) -> Facts:
    """Return the facts of a thing that took the name of one that is gone: first those of the other thing."""
    came = () if known.since is None else (Event("came", known.since, also=known.also),)
    return replace(gone, events=(*gone.events, *came, *known.events))


def _checked(history: History) -> History:
    if sum(1 + len(facts.events) for facts in history.facts.values()) > MAX_EVENTS:
        raise HistoryError(f"the history has more than {MAX_EVENTS:,} changes")
    return history


def _with_change(known: Facts | None, change: Change, when: Span) -> Facts:
    if change.kind == "came" and known is None:
        return Facts(when)
    event = Event(change.kind, when, change.what, change.before, change.after)
    return replace(known, events=(*known.events, event)) if known else Facts(events=(event,))


def branches(releases: Sequence[Release]) -> Iterator[tuple[str, Release, Release]]:
    """Yield each maintenance release, with the release that its branch starts from, and its predecessor on
    the branch, which is that start or another maintenance release."""
    by_name = {release.name: release for release in releases}
    last: dict[str, Release] = {}
    for release in releases:
        if is_maintenance(release.name):
            start = ".".join(release.name.split(".")[:3])
            if (before := last.get(start) or by_name.get(start)) is not None:
                yield start, before, release
            last[start] = release


def is_later(release: Release, start: str) -> bool:
    """Return True if a main release is later than the start of a branch."""
    return version_key(release.name) > version_key(start)


def _with_branch(history: History, key: Key, change: Change, release: str) -> History:
    return replace(history, facts={**history.facts, key: _with_also(history.facts.get(key), change, release)})


def _with_also(known: Facts | None, change: Change, release: str) -> Facts:
    """Return the facts, with a maintenance release added to those that it shares with a later one."""
    if known is None:
        return _with_change(None, change, Span(release))
    if change.kind == "came" and known.since is not None:
        return replace(known, also=(*known.also, release))
    told = (change.kind, change.what, change.before, change.after)
    for event in known.events:
        if (event.kind, event.what, event.before, event.after) == told:
            shared = event._replace(also=(*event.also, release))
            return replace(known, events=tuple(shared if each is event else each for each in known.events))
    return _with_change(known, change, Span(release))
