"""The changes between releases, recovered from the history into which they were folded.

A release that is added compares with its neighbours; all other changes are known, so they need no Schemas.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import reduce

from libvirt_proto.codec.history import Event, Key, Span

from .archive import Release
from .changes import Change, Changes, goes_on
from .facts import Facts, History, HistoryError
from .fold import branches, dated, fold, is_later, main_releases
from .version import is_maintenance

#: The names of two consecutive releases.
Pair = tuple[str, str]


def unfold(history: History, releases: Sequence[Release]) -> Mapping[Pair, Changes]:
    """Return the changes between consecutive releases, and between those of each branch of maintenance
    releases; raises HistoryError if the history is not that of these releases."""
    try:
        if any(_may_be_shared(key, history.facts) for key in history.facts):
            raise HistoryError("two things had the same name")
        main, maintenance = _Unfolding(history, releases).changes()
        found = {**main, **maintenance}
        if fold(releases, lambda old, new: found[old.name, new.name]) != history:
            raise HistoryError("the history is not that of these releases")
    except LookupError as error:
        raise HistoryError(f"the history is not that of these releases: {error}") from None
    # The history has the names of main releases: what a branch renamed cannot be followed along it, nor what
    # was renamed before a branch whose start is missing.
    known = {release.name for release in releases}
    unclear_branches = {
        start
        for start, old, new in branches(releases)
        if start not in known or maintenance[old.name, new.name].renamed
    }
    unclear = {(old.name, new.name) for start, old, new in branches(releases) if start in unclear_branches}
    return {pair: changes for pair, changes in found.items() if pair not in unclear}


def _may_be_shared(key: Key, facts: Mapping[Key, Facts]) -> bool:
    """Return whether a thing may have taken the name of one that was gone: both then have one key. A part
    also has another name if its type was renamed."""
    kinds = [event.kind for event in _of_main(facts[key])]
    if "left" not in kinds[:-1]:  # it never came back
        return False
    whole = facts.get(("type", key[1])) if key[0] in ("field", "member") else None
    return "renamed" in kinds or (whole is not None and any(e.kind == "renamed" for e in whole.events))


class _Unfolding:
    def __init__(self, history: History, releases: Sequence[Release]) -> None:
        self._history = history
        self._main = main_releases(releases)
        self._branches = list(branches(releases))
        self._dated = list(dated(self._main))
        self._index = {
            span: index
            for index, (_, _, when) in enumerate(self._dated)
            for span in (when.declarations, when.annotations)
        }

    def changes(self) -> tuple[dict[Pair, Changes], dict[Pair, Changes]]:
        """Return the changes between main releases, and those on branches."""
        facts = self._history.facts
        by_pair: dict[int, list[tuple[Key, Event]]] = defaultdict(list)
        by_branch: dict[str, list[tuple[Key, Event]]] = defaultdict(list)
        for key, known in facts.items():
            for release, event in _of_branches(known):
                by_branch[release].append((key, event))
            for event in _of_main(known):
                by_pair[self._index[event.when]].append((key, event))
        main: dict[Pair, Changes] = {}
        maintenance: dict[Pair, Changes] = {}
        #: Key in the history → key at the release that is reached.
        names = {key: key for key in facts}
        #: Keys of things that the release that is reached lacks.
        absent = {key for key, known in facts.items() if replace(known, events=tuple(_of_main(known))).gone}
        #: New key → old key of what the change to the release renamed.
        back: dict[str, Mapping[Key, Key]] = {}
        for index in reversed(range(len(self._dated))):
            old, new, _ = self._dated[index]
            main[old.name, new.name], renamed = _changes(
                [(names[key], event) for key, event in by_pair[index]]
            )
            back[new.name] = renamed
            before = _absent_before(absent, by_pair[index])
            missing = absent | before
            names |= {key: goes_on(name, renamed) for key, name in names.items() if key not in missing}
            absent = before
        for start, old, new in self._branches:
            later = [back[each.name] for each in reversed(self._main[1:]) if is_later(each, start)]
            keys = [(reduce(goes_on, later, key), event) for key, event in by_branch[new.name]]
            maintenance[old.name, new.name], _ = _changes(keys)
        return main, maintenance


def _absent_before(absent: set[Key], events: Sequence[tuple[Key, Event]]) -> set[Key]:
    """Return what the release before a change lacked; `absent` is what the release after it lacks."""
    return (absent - {key for key, event in events if event.kind == "left"}) | {
        key for key, event in events if event.kind == "came"
    }


def _changes(events: Sequence[tuple[Key, Event]]) -> tuple[Changes, dict[Key, Key]]:
    """Return the changes with these keys, and new key → old key of what they renamed."""
    types = {
        key: (*key[:-1], str(event.before))
        for key, event in events
        if event.kind == "renamed" and key[0] in ("type", "constant")
    }
    parts = {
        key: (key[0], goes_on(("type", key[1]), types)[1], str(event.before))
        for key, event in events
        if event.kind == "renamed" and key[0] in ("field", "member")
    }
    made = tuple(Change(key, event.kind, event.what, event.before, event.after) for key, event in events)
    back = types | parts
    return Changes(made, {one: other for other, one in back.items()}), back


def _of_main(facts: Facts) -> Iterator[Event]:
    """Yield the addition and the events of main releases."""
    if facts.since is not None and not _is_of_branch(facts.since):
        yield Event("came", facts.since)
    yield from (event for event in facts.events if not _is_of_branch(event.when))


def _of_branches(facts: Facts) -> Iterator[tuple[str, Event]]:
    """Yield the maintenance releases that have an addition or an event, with it."""
    added = [Event("came", facts.since, also=facts.also)] if facts.since is not None else []
    for event in (*added, *facts.events):
        if event.when.release is not None and _is_of_branch(event.when):
            yield event.when.release, event
        yield from ((release, event) for release in event.also)


def _is_of_branch(span: Span) -> bool:
    return span.release is not None and is_maintenance(span.release)
