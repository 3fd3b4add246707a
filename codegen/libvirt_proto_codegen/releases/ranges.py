"""Ranges of releases with the same declarations: which release has which, and whether that is true."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from ..errors import DefinitionError, Problem
from .archive import Archive, Release
from .changes import changes
from .fold import Load
from .symbols import ANNOTATIONS
from .version import version_key

#: Maximum number of releases that a problem names.
_MAX_NAMED: Final = 5


def with_ranges(
    known: Sequence[Release], added: Collection[str], same: Sequence[tuple[str, str]] = ()
) -> list[Release]:
    """Return the known releases and the added ones, in version order, with the ranges that they cover.

    `same` has ranges (first, last). An added release inside a known range shares it. Raises DefinitionError
    for ranges that are reversed, overlap, or have no release.
    """
    found = {release.name: release for release in known}
    for name in added:
        if name not in found:
            first, last = next(((each.first, each.last) for each in known if each.covers(name)), (name, name))
            found[name] = Release(name, first, last)
    for first, last in same:
        inside = [name for name in found if _is_within(name, first, last)]
        if not inside:
            raise _bad_range(*_no_release(found, first, last))
        found |= {name: replace(found[name], first=first, last=last) for name in inside}
    ordered = sorted(found.values(), key=lambda release: version_key(release.name))
    _check_order(ordered)
    return ordered


def check_ranges(old: Archive, new: Archive, load: Load) -> None:
    """Raise DefinitionError if releases that share a range differ in more than annotations; ranges that the
    old archive has, with the same texts, are not compared again."""
    for first, second in itertools.pairwise(new.releases):
        if (first.first, first.last) != (second.first, second.last) or _is_known(old, new, first, second):
            continue
        if _declarations(new, first) == _declarations(new, second):
            continue
        differences = [
            change
            for change in changes(load(first), load(second)).all
            if change.kind != "changed" or change.what not in ANNOTATIONS
        ]
        if differences:
            names = dict.fromkeys(" ".join(change.key[1:]) for change in differences)
            shown = ", ".join([*itertools.islice(names, _MAX_NAMED), *["…"] * (len(names) > _MAX_NAMED)])
            message = (
                f"libvirt {second.name} differs from {first.name}, but both are in the range"
                f" {first.first}:{first.last}, in which no declaration changed: {shown}"
            )
            hint = f"{_apart(first, second)} if the range is wrong"
            raise _bad_range(message, hint)


def _declarations(archive: Archive, release: Release) -> dict[str, str]:
    return {file: text for file, text in archive.texts(release.name).items() if file.endswith(".x")}


def _is_known(old: Archive, new: Archive, *releases: Release) -> bool:
    ranges = {(each.name, each.first, each.last) for each in old.releases}
    return all(
        (each.name, each.first, each.last) in ranges and old.texts(each.name) == new.texts(each.name)
        for each in releases
    )


def _check_order(ordered: Sequence[Release]) -> None:
    for release in ordered:
        if not version_key(release.first) <= version_key(release.name) <= version_key(release.last):
            message = f"the range {release.first}:{release.last} does not contain {release.name}"
            raise _bad_range(message, f"--same {release.name}:{release.name} limits it to itself")
    for before, release in itertools.pairwise(ordered):
        if (before.first, before.last) == (release.first, release.last):
            continue
        if version_key(before.last) >= version_key(release.first):
            one, other = (f"{each.name} ({each.first}:{each.last})" for each in (before, release))
            raise _bad_range(f"the ranges of {one} and {other} overlap", _apart(before, release))


def _apart(before: Release, release: Release) -> str:
    """Return the options that limit two releases to their own part of a range."""
    parts = [
        (before.first, before.name) if version_key(before.first) <= version_key(before.name) else None,
        (release.name, release.last) if version_key(release.name) <= version_key(release.last) else None,
    ]
    return "pass " + " ".join(f"--same {first}:{last}" for first, last in filter(None, parts))


def _no_release(names: Mapping[str, Release], first: str, last: str) -> tuple[str, str]:
    """Return the message and the hint for a range without a release."""
    message = f"expected a release with known definitions in the range {first}:{last}, got none"
    if version_key(first) > version_key(last):
        return message, f"pass the older release first: --same {last}:{first}"
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
