"""Placement of probes: the binaries that contain each probe of a provider, or the reason why none does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import PurePosixPath

from .binaries import LIBRARY, Binary
from .model import Probe, Provider, Section


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A probe that no binary has as declared: the binaries that have it with other argument counts, and these
    counts."""

    file: str
    probe: Probe
    others: Mapping[str, frozenset[int]]


@dataclass(frozen=True, slots=True)
class Placement:
    """A provider, and the paths of the binaries that contain each of its probes, by the probe's name."""

    provider: Provider
    paths: Mapping[str, tuple[str, ...]]
    left_out: tuple[LeftOut, ...]


def place(provider: Provider, binaries: Sequence[Binary], *, all_probes: bool = False) -> Placement:
    """Locate the probes of a provider in the binaries.

    With `all_probes` none is left out: a probe that is in no binary is placed in the binary that the provider
    names for it, else in the first one, and without any binary in libvirt's own, by its file name.
    """
    paths: dict[str, tuple[str, ...]] = {}
    left_out: list[LeftOut] = []
    for section, probe in provider.probes:
        sites = {
            binary.path: binary.probes[provider.name, probe.name]
            for binary in binaries
            if (provider.name, probe.name) in binary.probes
        }
        wanted = {len(probe.arguments)}
        if found := tuple(path for path, numbers in sites.items() if numbers == wanted):
            paths[probe.name] = found
        elif all_probes:
            paths[probe.name] = (_meant(section, binaries),)
        else:
            left_out.append(LeftOut(provider.file, probe, sites))
    return Placement(provider, paths, tuple(left_out))


def _meant(section: Section, binaries: Sequence[Binary]) -> str:
    """Return the binary that a section's comments name."""
    named = [PurePosixPath(name).name for name in (section.module, section.binary) if name]
    for name in named:
        for binary in binaries:
            if PurePosixPath(binary.path).name == name:
                return binary.path
    if binaries:
        return binaries[0].path
    return named[0] if named else LIBRARY


def warnings(left_out: Iterable[LeftOut]) -> Iterator[str]:
    """Yield a line for each probe that was left out because it differs, and one for all that are in no
    binary."""
    for file, group in groupby(left_out, lambda each: each.file):
        nowhere = []
        for each in group:
            if not each.others:
                nowhere.append(each.probe.name)
            for path, numbers in each.others.items():
                has = " or ".join(map(str, sorted(numbers)))
                yield (
                    f"{file}: left out {each.probe.name}: it has {len(each.probe.arguments)} arguments in "
                    f"the definitions, {has} in {path}"
                )
        if nowhere:
            count = "1 probe" if len(nowhere) == 1 else f"{len(nowhere)} probes"
            yield f"{file}: left out {count} missing from all binaries: {', '.join(nowhere)}"
