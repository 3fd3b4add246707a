"""Where each probe of a provider is: in which of the binaries, or why it is in none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import PurePosixPath

from .binaries import LIBRARY, Binary
from .model import Probe, Provider, Section


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A probe that is in no binary as the provider has it: those that have it with other numbers of
    arguments, and these."""

    file: str
    probe: Probe
    others: Mapping[str, frozenset[int]]


@dataclass(frozen=True, slots=True)
class Placement:
    """A provider, and the paths of the binaries that hold each of its probes, by the probe's name."""

    provider: Provider
    paths: Mapping[str, tuple[str, ...]]
    left_out: tuple[LeftOut, ...]


def place(provider: Provider, binaries: Sequence[Binary], *, all_probes: bool = False) -> Placement:
    """Looks for the probes of a provider.

    With `all_probes` none is left out: one that is nowhere is placed in the binary that the provider names
    for it, else in the first one, and without any binary in libvirt's own by its mere name.
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
    """The binary that a section's comments name."""
    named = [PurePosixPath(name).name for name in (section.module, section.binary) if name]
    for name in named:
        for binary in binaries:
            if PurePosixPath(binary.path).name == name:
                return binary.path
    if binaries:
        return binaries[0].path
    return named[0] if named else LIBRARY


def warnings(left_out: Iterable[LeftOut]) -> Iterator[str]:
    """What was left out and why, in words: a line for each that differs, and one for all that are nowhere."""
    for file, group in groupby(left_out, lambda each: each.file):
        nowhere = []
        for each in group:
            if not each.others:
                nowhere.append(each.probe.name)
            for path, numbers in each.others.items():
                has = " or ".join(map(str, sorted(numbers)))
                yield (
                    f"{file}: left out {each.probe.name}: it has {len(each.probe.arguments)} arguments here, "
                    f"and {has} in {path}"
                )
        if nowhere:
            count = "1 probe" if len(nowhere) == 1 else f"{len(nowhere)} probes"
            yield f"{file}: left out {count} that no binary has: {', '.join(nowhere)}"
