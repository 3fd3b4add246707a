"""The history of releases, built by comparing each with its predecessor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from itertools import pairwise
from typing import Final

from libvirt_proto.codec.history import Event, Key, Span

from ..schema import Schema
from .archive import Release
from .changes import Change, Changes, changes
from .facts import Facts, History, HistoryError
from .version import follows, is_maintenance, version_key

Load = Callable[[Release], Schema]
#: Maximum number of changes over all releases; libvirt's have 1,000.
MAX_EVENTS: Final = 50_000


def fold(releases: Sequence[Release], load: Load) -> History:
    """Return the history of releases, which are in version order; `load` returns the Schema of one.

    Maintenance releases come last. A thing that one has, and the start of its branch lacks, is recorded with
    the later release that also added it, or with the maintenance release if there is none. Raises
    HistoryError for more than MAX_EVENTS changes.
    """
    main = [release for release in releases if not is_maintenance(release.name)]
    history = History(main[0].first, main[0].name)
    renamed: dict[str, Mapping[Key, Key]] = {}
    for old, new in pairwise(main):
        found = changes(load(old), load(new))
        history = _extended(history, old, new, found)
        renamed[new.name] = found.keys
    for start, old, new in _branches(releases):
        later = [renamed[release.name] for release in main if _is_later(release, start)]
        for change in changes(load(old), load(new)).all:
            key = reduce(lambda key, keys: keys.get(key, key), later, change.key)
            history = _with_branch(history, key, change, new.name)
        _checked(history)
    return history


def extend(history: History, old: Release, new: Release, load: Load) -> History:
    """Return the history extended by a release after its last one, which is `old`."""
    return _extended(history, old, new, changes(load(old), load(new)))


def _extended(history: History, old: Release, new: Release, found: Changes) -> History:
    when = Span(new.first) if follows(new.first, old.last) else Span(after=old.last, by=new.first)
    gone = {key: known for key, known in history.facts.items() if known.gone}
    facts = gone | {
        found.keys.get(key, key): known for key, known in history.facts.items() if key not in gone
    }
    for change in found.all:
        facts[change.key] = _with_change(facts.get(change.key), change, when)
    return _checked(History(history.first, new.name, facts))


def _checked(history: History) -> History:
    if sum(1 + len(facts.events) for facts in history.facts.values()) > MAX_EVENTS:
        raise HistoryError(f"the history has more than {MAX_EVENTS:,} changes")
    return history


def _with_change(known: Facts | None, change: Change, when: Span) -> Facts:
    if change.kind == "came" and known is None:
        return Facts(when)
    event = Event(change.kind, when, change.what, change.before, change.after)
    return replace(known, events=(*known.events, event)) if known else Facts(events=(event,))


def _branches(releases: Sequence[Release]) -> Iterator[tuple[str, Release, Release]]:
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


def _is_later(release: Release, start: str) -> bool:
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
            shared = replace(event, also=(*event.also, release))
            return replace(known, events=tuple(shared if each is event else each for each in known.events))
    return _with_change(known, change, Span(release))
