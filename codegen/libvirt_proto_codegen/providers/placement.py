"""Placement of probes: the binaries that contain each probe of a provider, or the reason why none does, and
the arguments of each probe that are known in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from libvirt_proto.codec.providers import Argument, ProbeName

from .binaries import LIBRARY, Binary
from .model import Probe, Provider, Section
from .selection import Providers

#: The arguments of a probe in order, None for each unknown one.
Arguments = tuple[Argument | None, ...]


@dataclass(frozen=True, slots=True)
class Point:
    """The places of a probe: the paths of the binaries that contain it, and the arguments that are known in
    all of them; `is_complete` is False if the probe has others."""

    paths: tuple[str, ...]
    arguments: Arguments
    is_complete: bool = True


@dataclass(frozen=True, slots=True)
class Placement:
    """A provider, and the places of its probes by the probe's name; `left_out` has the probes of which a
    binary is missing, `remarks` a sentence for each probe and binary with unknown arguments."""

    provider: Provider
    points: Mapping[str, Point]
    left_out: tuple[str, ...]
    remarks: tuple[str, ...]


def place(
    providers: Providers, provider: Provider, binaries: Sequence[Binary], *, all_probes: bool = False
) -> Placement:
    """Locate the probes of a provider in the binaries.

    If binaries differ, those count in which all arguments of a probe are known. With `all_probes` none is
    left out: a probe that no binary has as declared is placed in the binary that the provider names for it,
    else in the first one, and without any binary in libvirt's own, by its file name.
    """
    points: dict[str, Point] = {}
    left_out: list[str] = []
    remarks: list[str] = []
    for section, probe in provider.probes:
        name = provider.name, probe.name
        found = [_in_binary(providers, each, name) for each in binaries if name in each.probes]
        complete = [each for each in found if each.is_complete]
        if all_probes and not complete:
            path = _meant(section, binaries)
            points[probe.name] = Point((path,), providers.choice(path).arguments(name))
        elif found:
            used = complete or found
            paths = tuple(each.binary.path for each in used)
            known = _agreed([each.arguments for each in used])
            points[probe.name] = Point(paths, known, bool(complete) and None not in known)
            remarks += [_remark(provider, probe, each) for each in found if not each.is_complete]
        elif name in providers.common:
            left_out.append(probe.name)
    return Placement(provider, points, tuple(left_out), tuple(remarks))


@dataclass(frozen=True, slots=True)
class _InBinary:
    """A probe in a binary: the numbers of its arguments, and those that are known at all of its sites.
    `is_declared` is True if it is declared with its numbers of arguments."""

    binary: Binary
    counts: frozenset[int]
    arguments: Arguments
    is_declared: bool

    @property
    def is_complete(self) -> bool:
        """True if all arguments are known, and the same at all sites."""
        return self.is_declared and len(self.counts) == 1 and None not in self.arguments


def _in_binary(providers: Providers, binary: Binary, name: ProbeName) -> _InBinary:
    choice, counts = providers.choice(binary.path), binary.probes[name]
    return _InBinary(
        binary,
        counts,
        _agreed([choice.arguments(name, count) for count in sorted(counts)]),
        all(choice.has(name, count) for count in counts),
    )


def _agreed(found: Sequence[Arguments]) -> Arguments:
    """Return the arguments that are the same in all of some lists, as many as the shortest one has."""
    return tuple(column[0] if len(set(column)) == 1 else None for column in zip(*found, strict=False))


def _remark(provider: Provider, probe: Probe, found: _InBinary) -> str:
    """Return a sentence about the arguments of a probe that are unknown in a binary."""
    path, known = found.binary.path, found.arguments
    if found.is_declared and len(found.counts) == 1:
        *others, last = [str(number) for number, argument in enumerate(known, 1) if argument is None]
        are = f"arguments {', '.join(others)} and {last} are" if others else f"argument {last} is"
        return f"{provider.file}: {probe.name}: {are} unknown in {path}, and left out"
    names = [argument.name for argument in known if argument is not None]
    kept = f"only {', '.join(names)} is kept" if names else "none is kept"
    has = " or ".join(map(str, sorted(found.counts)))
    where = f"in the definitions, {has} in {path}"
    return f"{provider.file}: {probe.name} has {len(probe.arguments)} arguments {where}: {kept}"


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


def warnings(placements: Iterable[Placement]) -> Iterator[str]:
    """Yield a line for each probe with unknown arguments, and one for all that are in no binary."""
    for placement in placements:
        yield from placement.remarks
        if placement.left_out:
            count = "1 probe" if len(placement.left_out) == 1 else f"{len(placement.left_out)} probes"
            names = ", ".join(placement.left_out)
            yield f"{placement.provider.file}: left out {count} missing from all binaries: {names}"
