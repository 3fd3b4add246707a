"""Adding releases to the archive and the history of a folder of definitions."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

from ..definitions import schema_of
from ..errors import DefinitionError, Problem
from ..model import Specification
from ..reader import read_specification
from ..schema import Schema
from ..source import Source
from . import archive_of
from .archive import ARCHIVE, Archive, Release, make_archive, write_archive
from .facts import HISTORY, Facts, History, HistoryError, read_history, write_history
from .fold import extend, fold
from .version import is_maintenance, version_key
from .weave import WeaveError

#: Receives the current step and release: ("Comparing", "1.0.5").
Progress = Callable[[str, str], None]
#: Maximum number of cached Schemas: a release is compared with the one before it.
_SCHEMAS: Final = 2


def has_archive(folder: Path) -> bool:
    """Return True if a folder holds an archive of releases."""
    return (folder / ARCHIVE).is_file()


def updated(
    folder: Path,
    news: Mapping[str, Mapping[str, str]],
    *,
    same: Iterable[tuple[str, str]] = (),
    anew: bool = False,
    progress: Progress | None = None,
) -> dict[str, str]:
    """Return the archive and the history of a folder (file → text), with the releases of `news` added.

    `news` maps release → file → text. `same` has ranges (first, last) of releases with the same declarations.

    Releases after the newest one only extend the history; otherwise, or with `anew`, all of it is rebuilt.
    Raises DefinitionError for unreadable files and invalid ranges.
    """
    old = archive_of(folder)
    try:
        new = _with_news(old, news, list(same))
        history = None if anew else _grown(_history(folder), old, new, progress)
        if history is None:
            history = fold(new.releases, Schemas(new, progress))
    except (WeaveError, HistoryError) as error:
        raise DefinitionError(
            [Problem("too-large", None, f"{error}: expected releases of libvirt")]
        ) from None
    return {ARCHIVE: write_archive(new), HISTORY: write_history(history)}


def _with_news(
    old: Archive, news: Mapping[str, Mapping[str, str]], same: Sequence[tuple[str, str]]
) -> Archive:
    """Return the archive with releases added or replaced."""
    known = {release.name: release for release in old.releases}
    texts = {name: old.texts(name) for name in old.names}
    releases = _with_ranges(
        known | {name: Release(name, name, name) for name in news if name not in known}, same
    )
    if tuple(releases) == old.releases and all(texts[name] == files for name, files in news.items()):
        return old
    return make_archive(releases, {**texts, **news})


def _grown(history: History | None, old: Archive, new: Archive, progress: Progress | None) -> History | None:
    """Return the history extended by the releases after its last one. None if it does not match the old
    archive, if the new archive has more than that, and if a maintenance release may share facts with a new
    one."""
    kept = new.releases[: len(old.releases)] == old.releases and all(
        old.texts(name) == new.texts(name) for name in old.names
    )
    added = new.releases[len(old.releases) :]
    if history is None or not kept or any(is_maintenance(release.name) for release in added):
        return None
    if added and any(_is_of_maintenance(facts) for facts in history.facts.values()):
        return None
    main = [release for release in old.releases if not is_maintenance(release.name)]
    if not main or (history.first, history.last) != (main[0].first, main[-1].name):
        return None
    load = Schemas(new, progress)
    for before, release in zip([main[-1], *added], added, strict=False):
        history = extend(history, before, release, load)
    return history


def _is_of_maintenance(facts: Facts) -> bool:
    """Return True if a thing, or one of its facts, exists only in a maintenance release."""
    spans = [facts.since, *(event.when for event in facts.events)]
    return any(span and span.release and is_maintenance(span.release) for span in spans)


def _history(folder: Path) -> History | None:
    """Return the history in a folder; None if it is missing or unreadable, and must be rebuilt."""
    try:
        return read_history((folder / HISTORY).read_text("utf-8"))
    except (OSError, UnicodeDecodeError, HistoryError):
        return None


def _with_ranges(releases: Mapping[str, Release], ranges: Sequence[tuple[str, str]]) -> list[Release]:
    """Return the releases with the ranges that they cover."""
    found = dict(releases)
    for first, last in ranges:
        low, high = version_key(first), version_key(last)
        inside = [name for name in releases if low <= version_key(name) <= high]
        if len(inside) != 1:
            names = ", ".join(inside) or "none"
            message = f"expected one release with known definitions in the range {first}:{last}, got {names}"
            raise DefinitionError([Problem("bad-range", None, message)])
        found[inside[0]] = Release(inside[0], first, last)
    ordered = sorted(found.values(), key=lambda release: version_key(release.name))
    for before, release in itertools.pairwise(ordered):
        if version_key(before.last) >= version_key(release.first):
            one, other = (f"{each.name} ({each.first}:{each.last})" for each in (before, release))
            message = f"the ranges of {one} and {other} overlap"
            hint = f"--same {release.name}:{release.name} limits {release.name} to itself"
            raise DefinitionError([Problem("bad-range", None, message, hint)])
    return ordered


class Schemas:
    """Loads the Schemas of an archive's releases; files that two releases share are parsed once."""

    def __init__(self, archive: Archive, progress: Progress | None = None) -> None:
        self._archive = archive
        self._progress = progress
        #: Those of the last release, which shares most of them with its neighbours.
        self._known: dict[tuple[str, str], Specification] = {}
        self._schema = lru_cache(_SCHEMAS)(self._of)

    def __call__(self, release: Release) -> Schema:
        """Return the Schema of a release; the same object for releases with the same texts."""
        if self._progress is not None:
            self._progress("Comparing", release.name)
        return self._schema(tuple(self._archive.texts(release.name).items()))

    def _of(self, texts: tuple[tuple[str, str], ...]) -> Schema:
        before, self._known = self._known, {}

        def read(source: Source) -> Specification:
            key = source.name, source.text
            self._known[key] = before.get(key) or read_specification(source)
            return self._known[key]

        return schema_of({file: text.encode() for file, text in texts}, "", read=read)
