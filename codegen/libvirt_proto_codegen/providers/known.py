"""The proven probe providers, and the libvirt releases that have each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Final

from libvirt_proto.codec.providers import Argument, Declaration

from ..reader import source_of
from ..releases import releases, texts
from ..releases.archive import Release
from ..releases.version import version_key
from ..schema import Input
from .model import Provider
from .parse import read_provider

#: Releases that are not bundled whose providers are those of another one: their ELF notes and the tapset that
#: Debian's package ships agree.
_SAME: Final[Mapping[str, str]] = {"12.8.0": "12.9.0"}


@dataclass(frozen=True, slots=True)
class KnownProviders:
    """The provider files of consecutive releases, and what they declare."""

    declaration: Declaration
    providers: tuple[Provider, ...]
    inputs: tuple[Input, ...]


@cache
def known_providers() -> tuple[KnownProviders, ...]:
    """Return the proven providers of all bundled releases, in their order. Raises DefinitionError."""
    states = {release.name: files for release in releases() if (files := _proven(release))}
    states |= {name: states[same] for name, same in _SAME.items() if same in states and name not in states}
    return merged(sorted(states.items(), key=lambda state: version_key(state[0])))


def _proven(release: Release) -> dict[str, bytes]:
    """Return file → content of a release's providers; none if one of them is not proven."""
    files = {file: data for file, data in texts(release).items() if file.endswith(".d")}
    return {} if any(release.origins.of(file) == "unproven" for file in files) else files


def merged(states: Iterable[tuple[str, Mapping[str, bytes]]]) -> tuple[KnownProviders, ...]:
    """Return the providers of releases, given as name, and file → content; consecutive ones that declare the
    same probes are one, with the files of the last."""
    found: list[KnownProviders] = []
    content: Mapping[str, bytes] = {}
    for release, files in states:
        if found and files == content:
            found[-1] = replace(found[-1], declaration=found[-1].declaration._replace(last=release))
            continue
        content = files
        providers = tuple(read_provider(source_of(file, data)) for file, data in files.items())
        inputs = tuple(Input(file, hashlib.sha256(data).hexdigest()) for file, data in files.items())
        first, probes = release, declared(providers)
        if found and found[-1].declaration.probes == probes:
            first = found.pop().declaration.first
        found.append(KnownProviders(Declaration(first, release, probes), providers, inputs))
    return tuple(found)


def declared(providers: Sequence[Provider]) -> dict[tuple[str, str], tuple[Argument, ...]]:
    """Return the arguments of all probes of providers, by provider and probe."""
    return {
        (provider.name, probe.name): tuple(Argument(each.name, each.is_string) for each in probe.arguments)
        for provider in providers
        for _, probe in provider.probes
    }
