"""The declarations of static probes that apply to files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from ...codec.operands import split_operands
from ...codec.providers import Choice, ProbeName
from ...codec.tapset import MAX_TAPSET, ProbeFile, choices
from .loaded import Binary, open_file
from .provider import DECLARATIONS


def chosen(binaries: Sequence[Binary]) -> dict[Binary, Choice]:
    """Return the declarations that apply to each file, by its version of libvirt."""
    files = [ProbeFile(Path(binary.path), binary.version, _counts(binary)) for binary in binaries]
    return dict(zip(binaries, choices(DECLARATIONS, files, _read), strict=True))


def _counts(binary: Binary) -> dict[ProbeName, frozenset[int]]:
    found: defaultdict[ProbeName, set[int]] = defaultdict(set)
    for site in binary.notes.sites:
        found[site.provider, site.name].add(len(split_operands(site.arguments)))
    return {probe: frozenset(counts) for probe, counts in found.items()}


def _read(path: Path) -> bytes:
    with open_file(str(path)) as file:
        return file.read(MAX_TAPSET)
