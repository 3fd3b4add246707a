"""The archive and the history of a folder of definitions, with more releases in them."""

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

#: Told what is done, and with which release: ("Comparing", "1.0.5").
Progress = Callable[[str, str], None]
#: Neighbouring releases share most of their files.
_FILES: Final = 40
_SCHEMAS: Final = 3


def has_archive(folder: Path) -> bool:
    """Whether a folder keeps an archive of releases."""
    return (folder / ARCHIVE).is_file()


def updated(
    folder: Path,
    news: Mapping[str, Mapping[str, str]],
    *,
    same: Iterable[tuple[str, str]] = (),
    anew: bool = False,
    progress: Progress | None = None,
) -> dict[str, str]:
    """The archive and the history in a folder, file → text, with the releases of `news` in them: release →
    file → text. `same` has ranges (first, last) of releases that have the same declarations.

    Behind the newest release the history only grows; all of it is made again where that is not so, and if it
    is to be made `anew`. Raises DefinitionError for files that cannot be read and for ranges that cannot be.
    """
    old = archive_of(folder)
    new = _with_news(old, news, list(same))
    history = None if anew else _grown(_history(folder), old, new, progress)
    if history is None:
        history = fold(new.releases, Schemas(new, progress))
    return {ARCHIVE: write_archive(new), HISTORY: write_history(history)}


def _with_news(
    old: Archive, news: Mapping[str, Mapping[str, str]], same: Sequence[tuple[str, str]]
) -> Archive:
    """The archive with more releases, or with others in their place."""
    known = {release.name: release for release in old.releases}
    texts = {name: old.texts(name) for name in old.names}
    releases = _with_ranges(
        known | {name: Release(name, name, name) for name in news if name not in known}, same
    )
    if tuple(releases) == old.releases and all(texts[name] == files for name, files in news.items()):
        return old
    return make_archive(releases, {**texts, **news})


def _grown(history: History | None, old: Archive, new: Archive, progress: Progress | None) -> History | None:
    """The history with the releases behind its last one; None where it is not of the old archive, where the
    new one has more than that, and where a maintenance release has what a new one may have, too."""
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
    """Whether only a maintenance release has a thing, or something of it."""
    spans = [facts.since, *(event.when for event in facts.events)]
    return any(span and span.release and is_maintenance(span.release) for span in spans)


def _history(folder: Path) -> History | None:
    """The history in a folder; None where there is none that can be read, and it must be made again."""
    try:
        return read_history((folder / HISTORY).read_text("utf-8"))
    except (OSError, UnicodeDecodeError, HistoryError):
        return None


def _with_ranges(releases: Mapping[str, Release], ranges: Sequence[tuple[str, str]]) -> list[Release]:
    """The releases, each with the range that it stands for."""
    found = dict(releases)
    for first, last in ranges:
        low, high = version_key(first), version_key(last)
        inside = [name for name in releases if low <= version_key(name) <= high]
        if len(inside) != 1:
            names = ", ".join(inside) or "none"
            message = f"a range must have one release whose definitions are known: {first}:{last} has {names}"
            raise DefinitionError([Problem("bad-range", None, message)])
        found[inside[0]] = Release(inside[0], first, last)
    ordered = sorted(found.values(), key=lambda release: version_key(release.name))
    for before, release in itertools.pairwise(ordered):
        if version_key(before.last) >= version_key(release.first):
            one, other = (f"{each.name} ({each.first}:{each.last})" for each in (before, release))
            message = f"the ranges of {one} and {other} overlap"
            hint = f"--same {release.name}:{release.name} says that {release.name} stands for itself alone"
            raise DefinitionError([Problem("bad-range", None, message, hint)])
    return ordered


class Schemas:
    """The Schemas of an archive's releases; what two have in common is read once."""

    def __init__(self, archive: Archive, progress: Progress | None = None) -> None:
        self._archive = archive
        self._progress = progress
        self._read = lru_cache(_FILES)(self._specification)
        self._schema = lru_cache(_SCHEMAS)(self._of)

    def __call__(self, release: Release) -> Schema:
        """The Schema of a release; the very same for releases with the same texts."""
        if self._progress is not None:
            self._progress("Comparing", release.name)
        return self._schema(tuple(self._archive.texts(release.name).items()))

    def _of(self, texts: tuple[tuple[str, str], ...]) -> Schema:
        files = {file: text.encode() for file, text in texts}
        return schema_of(files, "", read=lambda source: self._read(source.name, source.text))

    def _specification(self, name: str, text: str) -> Specification:
        return read_specification(Source(name, text))
