"""The bundled releases as sets of facts, which an unknown input is compared with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import pairwise
from typing import Final, NamedTuple

from libvirt_proto.codec.identification import Evidence, Identification, Range

from ..releases import releases, texts
from ..releases.archive import Release
from ..releases.version import follows, is_maintenance, version_key

Facts = frozenset[object]
#: File → text of a release.
Texts = Mapping[str, str]
#: The facts of a release; None if it has none of that kind.
FactsOf = Callable[[Texts], Facts | None]

#: Maximum number of differences of a release that is still called close, as a part of all facts.
_CLOSE: Final = 0.5


@cache
def known() -> tuple[tuple[Release, Texts], ...]:
    """Return all bundled releases with their files, the newest last. Raises DefinitionError."""
    return tuple(
        (release, {file: data.decode() for file, data in texts(release).items()}) for release in releases()
    )


class Match(NamedTuple):
    """Evidence, with the names of the bundled releases that fit; None for evidence of another kind."""

    evidence: Evidence
    releases: frozenset[str] | None = None


def compare(what: str, facts: Facts, facts_of: FactsOf, *, why: str = "", partial: bool = False) -> Match:
    """Return the releases with these facts; with `partial`, those that have at least these.

    If there is none, the Evidence has those with the fewest differences, unless most of the facts differ.
    """
    fitting: list[Release] = []
    near: dict[int, list[Release]] = {}
    for release, files in known():
        others = facts_of(files)
        if others is None:
            continue
        differences = len(facts - others) if partial else len(facts ^ others)
        if differences == 0:
            fitting.append(release)
        else:
            near.setdefault(differences, []).append(release)
    fewest = min(near, default=0)
    closest: tuple[Range, ...] = ()
    if not fitting and near and fewest <= len(facts) * _CLOSE:
        closest = ranges_of(near[fewest])
    evidence = Evidence(what, ranges_of(fitting), why, closest, fewest if closest else 0)
    return Match(evidence, frozenset(release.name for release in fitting))


def conclude(kind: str, matches: Sequence[Match]) -> Identification:
    """Return the releases that fit all evidence.

    A file that names its own release is of that one, whatever else fits. Otherwise a release has to fit each
    part, and to be within the bounds of evidence that is only a bound.
    """
    bounds = [bound for match in matches if match.releases is None for bound in match.evidence.ranges]
    evidence = tuple(match.evidence for match in matches)
    stated = tuple(bound for bound in bounds if bound.first == bound.last)
    if stated:
        return Identification(kind, stated, evidence)
    sets = [match.releases for match in matches if match.releases is not None]
    if not sets:
        return Identification(kind, tuple(bounds), evidence)
    common = frozenset.intersection(*sets)
    fitting = [release for release, _ in known() if release.name in common]
    return Identification(
        kind,
        ranges_of([each for each in fitting if all(_reaches(each, bound) for bound in bounds)]),
        evidence,
    )


def _reaches(release: Release, bound: Range) -> bool:
    return bound.first is None or version_key(release.last) >= version_key(bound.first)


def ranges_of(found: Sequence[Release]) -> tuple[Range, ...]:
    """Return releases as ranges without a gap; maintenance releases of older ones are separate."""
    main = [release for release in found if not is_maintenance(release.name)]
    others = [release for release in found if is_maintenance(release.name)]
    names = [release.name for release, _ in known() if is_maintenance(release.name)]
    ranges = _joined(sorted(main, key=_first), lambda before, after: _adjacent(before, after.first))
    followers = {name: before for before, name in pairwise(names)}
    return (*ranges, *_joined(others, lambda before, after: followers.get(after.first) == before))


def _joined(found: Sequence[Release], joins: Callable[[str, Release], bool]) -> list[Range]:
    ranges: list[Range] = []
    for release in found:
        last = ranges[-1].last if ranges else None
        if last is not None and joins(last, release):
            ranges[-1] = ranges[-1]._replace(last=max(last, release.last, key=version_key))
        else:
            ranges.append(Range(release.first, release.last))
    return ranges


def _first(release: Release) -> tuple[tuple[int, int | str], ...]:
    return version_key(release.first)


def _adjacent(before: str, first: str) -> bool:
    return version_key(first) <= version_key(before) or follows(first, before)
