"""Probes of an input, compared with the proven probe providers."""

from __future__ import annotations

from collections.abc import Callable

from libvirt_proto.codec.identification import Evidence, Range

from ..providers.known import KnownProviders, known_providers
from ..releases.version import version_key
from . import facts
from .known import Facts, Match, close, known


def compare_probes(
    what: str,
    own: Facts,
    facts_of: Callable[[KnownProviders], Facts],
    *,
    why: str = "",
    partial: bool = False,
) -> Match:
    """Return the releases whose providers have these facts, as `known.compare` does.

    Providers are proven for ranges of releases. Of a release in none of them, they are unknown.
    """
    states = known_providers()
    differences = [
        len(own - others) if partial else len(own ^ others)
        for others in (facts_of(state) for state in states)
    ]
    closest: tuple[Range, ...] = ()
    fewest = min(differences, default=0)
    if fewest and close(fewest, own):
        closest = _ranges(states, [number == fewest for number in differences])
    fits = [number == 0 for number in differences]
    names = [each.release.name for each in known()]
    fitting = {
        name for state, fit in zip(states, fits, strict=True) if fit for name in names if _has(state, name)
    }
    proven = {name for state in states for name in names if _has(state, name)}
    evidence = Evidence(what, _ranges(states, fits), why, closest, fewest if closest else 0)
    return Match(evidence, frozenset(fitting), frozenset(names) - proven)


def of_file(state: KnownProviders, own: Facts, file: str | None = None) -> Facts:
    """Return the probes of the provider file with a name, else of the one that has most of some probes."""
    named = [each for each in state.providers if each.file == file]
    found = [facts.declared_probes(each) for each in named or state.providers]
    names = {each.name for each in own if isinstance(each, facts.Probe)}
    return max(found, key=lambda probes: len(names & {each.name for each in probes}), default=frozenset())


def _has(state: KnownProviders, name: str) -> bool:
    first, last = state.declaration.first, state.declaration.last
    return version_key(first) <= version_key(name) <= version_key(last)


def _ranges(states: tuple[KnownProviders, ...], chosen: list[bool]) -> tuple[Range, ...]:
    """Return the ranges of the chosen states; those that follow each other are one."""
    found: list[Range] = []
    before = False
    for state, fit in zip(states, chosen, strict=True):
        if fit and before:
            found[-1] = found[-1]._replace(last=state.declaration.last)
        elif fit:
            found.append(Range(state.declaration.first, state.declaration.last))
        before = fit
    return tuple(found)
