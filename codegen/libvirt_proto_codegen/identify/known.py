"""The bundled releases as sets of facts, which an unknown input is compared with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import pairwise
from typing import Final, NamedTuple

from libvirt_proto.codec.identification import Evidence, Identification, Range

from ..releases import releases, texts
from ..releases.archive import Release
from ..releases.fold import main_releases
from ..releases.version import follows, is_maintenance, version_key

Facts = frozenset[object]

#: Maximum number of differences of a release that is still called close, as a part of all facts.
_CLOSE: Final = 0.5


class Known(NamedTuple):
    """A bundled release, and its files: file → text, without those of which nothing is proven."""

    release: Release
    files: Mapping[str, str]

    def texts(self, suffix: str) -> list[str]:
        """Return the texts of the files with a suffix."""
        return [text for file, text in self.files.items() if file.endswith(suffix)]


class Unknown:
    """The facts of a release that may or may not fit, since they are unknown."""


#: Facts of a release; None if it has none of that kind, so that it does not fit.
FactsOf = Callable[[Known], Facts | type[Unknown] | None]


@cache
def known() -> tuple[Known, ...]:
    """Return all bundled releases, the newest last. Raises DefinitionError."""
    return tuple(
        Known(
            release,
            {
                file: data.decode()
                for file, data in texts(release).items()
                if release.origins.of(file) != "unproven"
            },
        )
        for release in releases()
    )


class Match(NamedTuple):
    """Evidence, with the names of the bundled releases that fit and of those that may; None for evidence of
    another kind."""

    evidence: Evidence
    fitting: frozenset[str] | None = None
    unknown: frozenset[str] = frozenset()


def compare(
    what: str,
    facts: Facts,
    facts_of: FactsOf,
    *,
    why: str = "",
    partial: bool = False,
    by_name: bool = False,
) -> Match:
    """Return the releases with these facts; with `partial`, those that have at least these.

    If there is none, the Evidence has those with the fewest differences, unless most of the facts differ. The
    facts are declarations, which are those of all releases that a bundled one covers, or with `by_name` other
    facts.
    """
    fitting: list[Release] = []
    near: dict[int, list[Release]] = {}
    considered: list[Release] = []
    unknown: list[str] = []
    for each in known():
        others = facts_of(each)
        if others is Unknown:
            unknown.append(each.release.name)
        elif isinstance(others, frozenset):
            considered.append(each.release)
            differences = len(facts - others) if partial else len(facts ^ others)
            (near.setdefault(differences, []) if differences else fitting).append(each.release)
    row = considered if by_name else None
    fewest = min(near, default=0)
    closest: tuple[Range, ...] = ()
    if not fitting and near and close(fewest, facts):
        closest = ranges_of(near[fewest], row)
    evidence = Evidence(what, ranges_of(fitting, row), why, closest, fewest if closest else 0)
    return Match(evidence, frozenset(release.name for release in fitting), frozenset(unknown))


def close(differences: int, facts: Facts) -> bool:
    """Return True if most of the facts are the same."""
    return differences <= len(facts) * _CLOSE


def conclude(kind: str, matches: Sequence[Match]) -> Identification:
    """Return the releases that fit all evidence.

    A file that names its own release is of that one, whatever else fits. Otherwise a release has to fit each
    part, as far as that is known of it, and to be within the bounds of evidence that is only a bound.
    """
    bounds = [bound for match in matches if match.fitting is None for bound in match.evidence.ranges]
    evidence = tuple(match.evidence for match in matches)
    stated = tuple(bound for bound in bounds if bound.first == bound.last)
    if stated:
        return Identification(kind, stated, evidence)
    sets = [match for match in matches if match.fitting is not None]
    if not sets:
        return Identification(kind, tuple(bounds), evidence)
    if len(sets) == 1 and not bounds:
        return Identification(kind, sets[0].evidence.ranges, evidence)
    common = frozenset.intersection(*((each.fitting or frozenset()) | each.unknown for each in sets))
    common -= frozenset.intersection(*(each.unknown for each in sets))
    found = [each.release for each in known() if each.release.name in common]
    fitting = [each for each in found if all(_reaches(each, bound) for bound in bounds)]
    return Identification(kind, ranges_of(fitting), evidence)


def _reaches(release: Release, bound: Range) -> bool:
    return bound.first is None or version_key(release.last) >= version_key(bound.first)


def ranges_of(found: Sequence[Release], row: Sequence[Release] | None = None) -> tuple[Range, ...]:
    """Return releases as ranges without a gap; maintenance releases of older ones are separate.

    A release represents all that it covers; with `row`, only itself, and two that follow each other in the
    row have no gap.
    """
    main = main_releases(found)
    if row is None:
        ends = [Range(release.first, release.last) for release in sorted(main, key=_first)]
        ranges = _joined(ends, _adjacent)
    else:
        ranges = _in_row(main, main_releases(row))
    branches = [release for release in found if is_maintenance(release.name)]
    return (
        *ranges,
        *_in_row(branches, [each.release for each in known() if is_maintenance(each.release.name)]),
    )


def _in_row(found: Sequence[Release], row: Sequence[Release]) -> list[Range]:
    """Return releases as ranges, each of releases that follow each other in a row."""
    following = dict(pairwise(release.name for release in row))
    ends = [Range(release.name, release.name) for release in found]
    return _joined(ends, lambda last, first: following.get(last) == first)


def _joined(ends: Sequence[Range], joins: Callable[[str, str], bool]) -> list[Range]:
    ranges: list[Range] = []
    for each in ends:
        last = ranges[-1].last if ranges else None
        if last is not None and each.first is not None and each.last is not None and joins(last, each.first):
            ranges[-1] = ranges[-1]._replace(last=max(last, each.last, key=version_key))
        else:
            ranges.append(each)
    return ranges


def _first(release: Release) -> tuple[tuple[int, int | str], ...]:
    return version_key(release.first)


def _adjacent(last: str, first: str) -> bool:
    return version_key(first) <= version_key(last) or follows(first, last)
