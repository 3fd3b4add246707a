"""The probes of programs and libraries, from their ELF notes, and the paths of the installed libvirt."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from libvirt_proto.codec.elf import ElfError
from libvirt_proto.codec.elfnotes import Site, read_notes
from libvirt_proto.codec.libvirt_version import version_of_name

from ..errors import reason
from ..files import open_regular

#: Folders of libraries, those of the machine's word size first, and of programs.
_LIBRARY_FOLDERS: Final = ("usr/local/lib64", "usr/local/lib", "usr/lib64", "usr/lib/*-linux-gnu*", "usr/lib")
_PROGRAM_FOLDERS: Final = ("usr/local/sbin", "usr/sbin", "usr/local/bin", "usr/bin")
_DRIVER: Final = "libvirt/connection-driver/libvirt_driver_qemu.so"
#: The library named when no libvirt is examined.
LIBRARY: Final = "libvirt.so.0"


class BinaryError(Exception):
    """A file whose probes cannot be read; the message is for the user."""


@dataclass(frozen=True, slots=True)
class Binary:
    """A program or library: its path as given; for each (provider, probe) the argument counts at its sites
    (one or more); its architecture (`x86_64`, `aarch64`); the sites; a sentence per unusable note; and the
    release of libvirt that it belongs to, None if unknown."""

    path: str
    probes: Mapping[tuple[str, str], frozenset[int]]
    machine: str = ""
    sites: Mapping[tuple[str, str], tuple[Site, ...]] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    version: str | None = None


def read_binary(path: str) -> Binary:
    """Read the probes of a program or library. Raises BinaryError."""
    try:
        with open_regular(Path(path)) as file:
            notes = read_notes(file)
    except OSError as error:
        raise BinaryError(f"cannot read {path}: {reason(error)}") from None
    except ElfError as error:
        raise BinaryError(f"{path}: {error}") from None
    sites: defaultdict[tuple[str, str], list[Site]] = defaultdict(list)
    for site in notes.sites:
        sites[site.provider, site.name].append(site)
    return Binary(
        path,
        probes={probe: frozenset(len(site.operands) for site in each) for probe, each in sites.items()},
        machine=notes.machine,
        sites={probe: tuple(each) for probe, each in sites.items()},
        problems=notes.problems,
        version=notes.libvirt or version_of_path(path),
    )


def version_of_path(path: str) -> str | None:
    """Return the release of libvirt that a library's file name gives, to which the path may be a link."""
    return version_of_name(os.path.basename(os.path.realpath(path)))


def installed(root: Path = Path("/")) -> tuple[str, ...]:
    """Return the paths of the installed libvirt binaries with probes: the library, the QEMU driver, and the
    daemons (libvirtd, and virtqemud, virtnetworkd, … of newer releases). The first library of each name is
    used."""
    found: list[Path] = []
    for name in (LIBRARY, _DRIVER):
        found += [path for folder in _LIBRARY_FOLDERS for path in sorted(root.glob(f"{folder}/{name}"))][:1]
    daemons: dict[str, Path] = {}
    for folder in _PROGRAM_FOLDERS:
        for pattern in ("libvirtd", "virt*d"):
            for path in sorted(root.glob(f"{folder}/{pattern}")):
                daemons.setdefault(path.name, path)
    return tuple(str(path) for path in (*found, *daemons.values()) if path.is_file())
