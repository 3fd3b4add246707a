"""The differences between a release and the next, symbol by symbol."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from libvirt_proto.codec.history import Key, Kind

from ..schema import Schema
from .facts import owner
from .renames import renames
from .symbols import Aspects, symbols

_WORD: Final = re.compile(r"\w+")
#: Aspects that the language lacked at first: their first appearance is not a change.
_NEW_WORDS: Final = ("acl", "aclfilter")


@dataclass(frozen=True, slots=True)
class Change:
    """One difference; `key` is the new release's (the old one's, if removed), all else as in Event."""

    key: Key
    kind: Kind
    what: str | None = None
    before: int | str | None = None
    after: int | str | None = None


@dataclass(frozen=True, slots=True)
class Changes:
    """All differences, and old key → new key of what was renamed, other than fields of a renamed type."""

    all: tuple[Change, ...] = ()
    renamed: Mapping[Key, Key] = field(default_factory=dict)

    def following(self, key: Key) -> Key:
        """Return the key that a thing of the old release has in the new one, or would have."""
        return goes_on(key, self.renamed)


def changes(old: Schema, new: Schema) -> Changes:
    """Return the changes from the old release to the new. Fields and members added or removed with their type
    are omitted."""
    if old.modules == new.modules:
        return Changes()
    before, after = symbols(old), symbols(new)
    renamed: dict[Key, Key] = {}
    if before.keys() - after.keys() and after.keys() - before.keys():  # else nothing can have been renamed
        renamed = {
            one: other for one, other in renames(old, new).items() if one not in after and other not in before
        }
    keys = {key: later for key in before if (later := goes_on(key, renamed)) in after}
    return Changes(tuple(_changes(before, after, keys, renamed)), renamed)


def goes_on(key: Key, renamed: Mapping[Key, Key]) -> Key:
    """Return the key that the same thing has in the new release, if it exists; fields follow their type."""
    if key in renamed:
        return renamed[key]
    above = owner(key)
    return (key[0], renamed[above][1], *key[2:]) if above is not None and above in renamed else key


def _changes(
    before: Mapping[Key, Aspects],
    after: Mapping[Key, Aspects],
    keys: Mapping[Key, Key],
    renamed: Mapping[Key, Key],
) -> Iterator[Change]:
    names = {one[-1]: other[-1] for one, other in renamed.items() if one[0] in ("type", "constant")}
    came = after.keys() - keys.values()
    for key in before:
        if key not in keys:
            if owner(key) is None or owner(key) in keys:
                yield Change(key, "left")
            continue
        later = keys[key]
        if key[-1] != later[-1]:
            yield Change(later, "renamed", before=key[-1])
        yield from _aspects(later, before[key], after[later], {**names, key[-1]: later[-1]})
    for key in after:
        if key in came and owner(key) not in came:
            yield Change(key, "came")


def _aspects(key: Key, before: Aspects, after: Aspects, names: Mapping[str, str]) -> Iterator[Change]:
    """Yield the changed aspects of a thing, except renames; `names` maps the names in its declaration to new
    ones."""
    for what in dict.fromkeys((*before, *after)):
        one, other = before.get(what), after.get(what)
        if what == "name":
            if one != other:
                yield Change(key, "renamed", before=one)
        elif _with_names(one, names) != other and not (one is None and what in _NEW_WORDS):
            yield Change(key, "changed", what, one, other)


def _with_names(value: int | str | None, names: Mapping[str, str]) -> int | str | None:
    return _WORD.sub(lambda word: names.get(word[0], word[0]), value) if isinstance(value, str) else value
