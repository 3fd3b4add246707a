"""Ranges of releases with the same declarations: which release has which, and whether that is true."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from ..errors import DefinitionError, Problem
from .archive import Archive, Release
from .changes import changes
from .fold import Load, main_releases
from .symbols import ANNOTATIONS, symbols
from .version import is_maintenance, version_key

#: Maximum number of releases that a problem names.
_MAX_NAMED: Final = 5


def with_ranges(
    known: Sequence[Release], added: Collection[str], same: Sequence[tuple[str, str]] = ()
) -> list[Release]:
    """Return the known releases and the added ones, in version order, with the ranges that they cover.

    `same` has ranges (first, last). An added release inside a known range shares it; maintenance releases are
    in no range. A later range takes precedence, so the options of a hint are added to those that were given.
    Raises DefinitionError for ranges that are reversed, overlap, or have no release.
    """
    found = {release.name: release for release in known}
    for name in added:
        if name not in found:
            ranges = ((each.first, each.last) for each in known if each.covers(name))
            first, last = (name, name) if is_maintenance(name) else next(ranges, (name, name))
            found[name] = Release(name, first, last)
    for first, last in same:
        inside = [name for name in found if _is_within(name, first, last) and not is_maintenance(name)]
        if not inside:
            raise _bad_range(*_no_release(found, first, last))
        found |= {name: replace(found[name], first=first, last=last) for name in inside}
    ordered = sorted(found.values(), key=lambda release: version_key(release.name))
    _check_order(main_releases(ordered), same)
    return ordered


def check_ranges(old: Archive, new: Archive, load: Load) -> None:
    """Raise DefinitionError if releases that share a range differ in more than annotations; ranges that the
    old archive has, with the same texts, are not compared again."""
    main = main_releases(new.releases)
    for (first, last), group in itertools.groupby(main, lambda each: (each.first, each.last)):
        releases = list(group)
        if len(releases) < 2 or _is_known(old, new, releases):
            continue
        #: Consecutive releases with the same declarations.
        equal = [[releases[0]]]
        differences: list[str] = []
        for release in releases[1:]:
            found = _differences(new, equal[-1][-1], release, load)
            differences = differences or found
            equal += [[release]] if found else []
            if not found:
                equal[-1].append(release)
        if len(equal) > 1:
            shown = ", ".join([*differences[:_MAX_NAMED], *["…"] * (len(differences) > _MAX_NAMED)])
            raise _bad_range(
                f"libvirt {equal[1][0].name} differs from {equal[0][-1].name}, but both are in the range"
                f" {first}:{last}, in which no declaration changed: {shown}",
                f"if the range is wrong, add {_options((each[0].name, each[-1].name) for each in equal)}",
            )


def _differences(archive: Archive, old: Release, new: Release, load: Load) -> list[str]:
    """Return the names of the declarations that two releases do not share."""
    if _declarations(archive, old) == _declarations(archive, new):
        return []
    known = {**symbols(load(old)), **symbols(load(new))}
    found = changes(load(old), load(new)).all
    names = (
        str(known[each.key].get("name", ".".join(each.key[1:])))
        for each in found
        if each.kind != "changed" or each.what not in ANNOTATIONS
    )
    return list(dict.fromkeys(names))


def _declarations(archive: Archive, release: Release) -> dict[str, str]:
    return {file: text for file, text in archive.texts(release.name).items() if file.endswith(".x")}


def _is_known(old: Archive, new: Archive, releases: Sequence[Release]) -> bool:
    ranges = {(each.name, each.first, each.last) for each in old.releases}
    return all(
        (each.name, each.first, each.last) in ranges and old.texts(each.name) == new.texts(each.name)
        for each in releases
    )


def _check_order(ordered: Sequence[Release], same: Collection[tuple[str, str]]) -> None:
    problems = []
    for before, release in itertools.pairwise(ordered):
        if (before.first, before.last) == (release.first, release.last):
            continue
        if version_key(before.last) >= version_key(release.first):
            one, other = (f"{each.name} ({each.first}:{each.last})" for each in (before, release))
            message = f"the ranges of {one} and {other} overlap"
            old = {(each.first, each.last) for each in (before, release)} - {*same}
            hint = "end one before the other begins"
            if len(old) == 1:
                names = [each.name for each in ordered if (each.first, each.last) in old]
                hint = f"to shorten the known range, add {_options([(names[0], names[-1])])}"
            problems.append(Problem("bad-range", None, message, hint))
    if problems:
        raise DefinitionError(problems)


def _options(ranges: Iterable[tuple[str, str]]) -> str:
    return " ".join(f"--same {first}:{last}" for first, last in ranges)


def _no_release(names: Mapping[str, Release], first: str, last: str) -> tuple[str, str]:
    """Return the message and the hint for a range without a release."""
    message = f"expected a release with known definitions in the range {first}:{last}, got none"
    if version_key(first) > version_key(last):
        return message, f"pass the older release first: {_options([(last, first)])}"
    near = list(_closest(names, first))
    return message, f"import one of its releases; the closest known ones are {' and '.join(near)}"


def _closest(names: Mapping[str, Release], name: str) -> Iterator[str]:
    ordered = sorted(names, key=version_key)
    yield from [each for each in ordered if version_key(each) < version_key(name)][-1:]
    yield from [each for each in ordered if version_key(each) > version_key(name)][:1]


def _is_within(name: str, first: str, last: str) -> bool:
    return version_key(first) <= version_key(name) <= version_key(last)


def _bad_range(message: str, hint: str) -> DefinitionError:
    return DefinitionError([Problem("bad-range", None, message, hint)])
