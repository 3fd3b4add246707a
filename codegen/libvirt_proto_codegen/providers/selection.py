"""Selection of the providers for the libvirt of some binaries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from libvirt_proto.codec.libvirt_version import common_version
from libvirt_proto.codec.providers import Choice, Declaration, ProbeName, choose
from libvirt_proto.codec.tapset import MAX_TAPSET, ProbeFile, choices

from ..files import open_regular
from ..schema import Input
from .binaries import Binary
from .known import KnownProviders, declared, known_providers
from .model import Provider, Section


@dataclass(frozen=True, slots=True)
class Providers:
    """Probe providers. `release` is libvirt's, None for custom providers and those chosen by version.

    `choices` has the declarations that apply to each binary, by path; without any, all probes are as declared
    here.
    """

    providers: tuple[Provider, ...]
    release: str | None
    inputs: tuple[Input, ...]
    choices: Mapping[str, Choice] = field(default_factory=dict)

    def choice(self, path: str) -> Choice:
        """Return the declarations that apply to a binary."""
        if not self.choices:
            return Choice(None, "custom", (Declaration("", "", declared(self.providers)),))
        return self.choices.get(path) or next(iter(self.choices.values()))

    @property
    def versions(self) -> tuple[str, ...]:
        """A sentence for each version of libvirt, with the declarations that apply to it."""
        return tuple(dict.fromkeys(map(str, self.choices.values())))

    @property
    def other_versions(self) -> tuple[str, ...]:
        """The sentences for versions that are not the release."""
        same = self.release or ""
        others = (each for each in self.choices.values() if each.version != same)
        return tuple(dict.fromkeys(map(str, others)))

    @property
    def common(self) -> frozenset[ProbeName]:
        """The probes that all declarations have which may apply."""
        declarations = [
            each.probes.keys() for choice in self.choices.values() for each in choice.declarations
        ]
        return frozenset.intersection(*map(frozenset, declarations or [declared(self.providers).keys()]))


def select(
    binaries: Sequence[Binary], release: str | None = None, known: Sequence[KnownProviders] | None = None
) -> Providers:
    """Return libvirt's providers for the versions of binaries, and `release` where these prove nothing.

    Without any binary, or if none of them exists, the newest providers are used. A program without a version
    has that of the only library. `known` are by default those of the bundled releases.
    """
    known = known_providers() if known is None else known
    declarations = [each.declaration for each in known]
    newest = declarations[-1].last
    if not any(binary.probes or binary.version for binary in binaries):
        found = [choose(declarations, release or newest)] * max(len(binaries), 1)
        paths = [binary.path for binary in binaries] or [""]
        return _providers(known, dict(zip(paths, found, strict=True)), release)
    version = common_version(binary.version for binary in binaries)
    files = [
        ProbeFile(Path(binary.path).absolute(), binary.version or version, binary.probes)
        for binary in binaries
    ]
    found = choices(declarations, files, _read, release)
    return _providers(
        known, {binary.path: each for binary, each in zip(binaries, found, strict=True)}, release
    )


def _read(path: Path) -> bytes:
    with open_regular(path) as file:
        return file.read(MAX_TAPSET)


def _providers(
    known: Sequence[KnownProviders], chosen: Mapping[str, Choice], release: str | None
) -> Providers:
    declarations = [each.declaration for each in known]
    # A tapset has neither the source files of probes nor the prefixes of their names.
    applied = [
        choose(declarations, choice.version) if choice.basis == "tapset" else choice
        for choice in chosen.values()
    ]
    wanted = {id(each) for choice in applied for each in choice.declarations}
    used = [each for each in known if id(each.declaration) in wanted]
    inputs = dict.fromkeys(each for state in used for each in state.inputs)
    return Providers(_merged(state.providers for state in reversed(used)), release, tuple(inputs), chosen)


def _merged(states: Iterable[Sequence[Provider]]) -> tuple[Provider, ...]:
    """Combine the probes of several releases, the newest first: each probe once, in the tapset of the newest
    release that has it."""
    merged: dict[str, Provider] = {}
    seen: set[ProbeName] = set()
    for state in states:
        new = [(provider, sections) for provider in state if (sections := tuple(_without(provider, seen)))]
        for provider, sections in new:
            known = merged.get(provider.tapset)
            sections = (*known.sections, *sections) if known else sections
            merged[provider.tapset] = replace(known or provider, sections=sections)
            seen |= {(provider.name, probe.name) for section in sections for probe in section.probes}
    return tuple(merged.values())


def _without(provider: Provider, seen: set[ProbeName]) -> Iterable[Section]:
    """Yield the sections of a provider without some probes."""
    for section in provider.sections:
        probes = tuple(probe for probe in section.probes if (provider.name, probe.name) not in seen)
        if probes:
            yield replace(section, probes=probes)
