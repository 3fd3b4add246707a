"""Adding releases to the archive and the history of a folder of definitions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
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
from .changes import Changes
from .facts import HISTORY, HistoryError, read_history, write_history
from .fold import Difference, difference, fold, pairs
from .provenance import Origins
from .ranges import check_ranges, with_ranges
from .unfold import Pair, unfold
from .weave import WeaveError

#: Receives the current step, the release, its number from 1 and their total: ("Comparing", "1.0.5", 3, 133).
Progress = Callable[[str, str, int, int], None]
#: Maximum number of cached Schemas: a release is compared with the one before it.
_SCHEMAS: Final = 2


def has_archive(folder: Path) -> bool:
    """Return True if a folder holds an archive of releases."""
    return (folder / ARCHIVE).is_file()


def check_plan(folder: Path, names: Collection[str], same: Sequence[tuple[str, str]]) -> None:
    """Raise DefinitionError if releases with these names cannot join the archive of a folder, or if a range
    in `same` has none. Nothing has to be read for that."""
    with_ranges(archive_of(folder).releases, names, same)


def updated(
    folder: Path,
    news: Mapping[str, Mapping[str, str]],
    *,
    origins: Mapping[str, Origins] | None = None,
    same: Iterable[tuple[str, str]] = (),
    progress: Progress | None = None,
) -> dict[str, str]:
    """Return the archive and the history of a folder (file → text), with the releases of `news` added.

    `news` maps release → file → text, and `origins` some of these releases to their provenance; that of
    others is kept, or genuine. `same` has ranges (first, last) of releases with the same declarations.

    Only releases next to those of `news` are compared; without a history of the archive, all are.
    Raises DefinitionError for unreadable files and invalid ranges.
    """
    old = archive_of(folder)
    try:
        new = _with_news(old, news, origins or {}, list(same))
        load = Schemas(new)
        check_ranges(old, new, load)
        known = _known_changes(folder, old, new)
        history = fold(new.releases, _Comparisons(new, known, difference(load), progress))
    except (WeaveError, HistoryError) as error:
        raise DefinitionError(
            [Problem("too-large", None, f"{error}: expected releases of libvirt")]
        ) from None
    return {ARCHIVE: write_archive(new), HISTORY: write_history(history)}


def _with_news(
    old: Archive,
    news: Mapping[str, Mapping[str, str]],
    origins: Mapping[str, Origins],
    same: Sequence[tuple[str, str]],
) -> Archive:
    """Return the archive with releases added or replaced."""
    texts = {name: old.texts(name) for name in old.names}
    releases = [
        replace(release, origins=origins.get(release.name, release.origins))
        for release in with_ranges(old.releases, news, same)
    ]
    if tuple(releases) == old.releases and all(texts[name] == files for name, files in news.items()):
        return old
    return make_archive(releases, {**texts, **news}, old)


def _known_changes(folder: Path, old: Archive, new: Archive) -> Mapping[Pair, Changes]:
    """Return the changes between releases of the old archive that the new archive has with the same texts;
    none if the history is missing, unreadable or that of other releases, and must be rebuilt."""
    try:
        history = read_history((folder / HISTORY).read_text("utf-8"))
        found = unfold(history, old.releases)
    except (OSError, UnicodeDecodeError, HistoryError):
        return {}
    kept = {name for name in old.names if name in new.names and old.texts(name) == new.texts(name)}
    return {pair: changes for pair, changes in found.items() if kept.issuperset(pair)}


class _Comparisons:
    """Compares two releases unless their changes are known, and reports the progress."""

    def __init__(
        self,
        archive: Archive,
        known: Mapping[Pair, Changes],
        compare: Difference,
        progress: Progress | None,
    ) -> None:
        self._known = known
        self._compare = compare
        self._progress = progress
        self._total = sum((old.name, new.name) not in known for old, new in pairs(archive.releases))
        self._number = 0

    def __call__(self, old: Release, new: Release) -> Changes:
        known = self._known.get((old.name, new.name))
        if known is not None:
            return known
        self._number += 1
        if self._progress is not None:
            self._progress("Comparing", new.name, self._number, self._total)
        return self._compare(old, new)


class Schemas:
    """Loads the Schemas of an archive's releases; files that two releases share are parsed once."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        #: Those of the last release, which shares most of them with its neighbours.
        self._known: dict[tuple[str, str], Specification] = {}
        self._schema = lru_cache(_SCHEMAS)(self._of)

    def __call__(self, release: Release) -> Schema:
        """Return the Schema of a release; the same object for releases with the same texts."""
        return self._schema(tuple(self._archive.texts(release.name).items()))

    def _of(self, texts: tuple[tuple[str, str], ...]) -> Schema:
        before, self._known = self._known, {}

        def read(source: Source) -> Specification:
            key = source.name, source.text
            self._known[key] = before.get(key) or read_specification(source)
            return self._known[key]

        return schema_of({file: text.encode() for file, text in texts}, "", read=read)
