"""The probes that programs and libraries hold, from their ELF notes; and where libvirt's lie."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

#: The section of <sys/sdt.h>'s notes, their owner's name and type.
_SECTION: Final = ".note.stapsdt"
_OWNER: Final = b"stapsdt\0"
_TYPE: Final = 3
#: libvirt.so.0 has 11,000 bytes of notes, 41 probe sites; no binary has a hundred times as many.
MAX_NOTES: Final = 2**20

#: An operand begins with its size: `8@%rbx`, `-4@[sp, 16]`, `8f@%xmm0`.
_OPERAND = re.compile(r"(?:^|\s)-?[0-9]+f?@")

#: Where distributions keep libraries, those of the machine's own word size before the others; and programs.
_LIBRARY_FOLDERS: Final = ("usr/local/lib64", "usr/local/lib", "usr/lib64", "usr/lib/*-linux-gnu*", "usr/lib")
_PROGRAM_FOLDERS: Final = ("usr/local/sbin", "usr/sbin", "usr/local/bin", "usr/bin")
_DRIVER: Final = "libvirt/connection-driver/libvirt_driver_qemu.so"
#: What is named where no libvirt is looked at.
LIBRARY: Final = "libvirt.so.0"


class BinaryError(Exception):
    """A file that is no program or library; says so in words."""


@dataclass(frozen=True, slots=True)
class Site:
    """A place in the code where a probe is: its address before the file is loaded, and where each argument
    is found there, as the notes have it (`8@%rbx`, `-4@16(%rsp)`, `4@$1`)."""

    address: int
    operands: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Binary:
    """A program or library: its path as given; for each (provider, probe) the numbers of arguments at its
    sites, of which there are one or more; the processor it is for (`x64`, `AArch64`); and the sites."""

    path: str
    probes: Mapping[tuple[str, str], frozenset[int]]
    machine: str = ""
    sites: Mapping[tuple[str, str], tuple[Site, ...]] = field(default_factory=dict)


def read_binary(path: str) -> Binary:
    """The probes of a program or library; raises BinaryError if it cannot be read or is no ELF file."""
    data, little, width, machine = _notes(path)
    sites: defaultdict[tuple[str, str], list[Site]] = defaultdict(list)
    for probe, site in _sites(data, little, width):
        sites[probe].append(site)
    return Binary(
        path,
        probes={probe: frozenset(len(site.operands) for site in each) for probe, each in sites.items()},
        machine=machine,
        sites={probe: tuple(each) for probe, each in sites.items()},
    )


def installed(root: Path = Path("/")) -> tuple[str, ...]:
    """libvirt on this machine, as far as it has probes: the library, the driver of QEMU, and the daemons
    (libvirtd, and the virtqemud, virtnetworkd, … of newer releases). A library is the first of its name."""
    found: list[Path] = []
    for name in (LIBRARY, _DRIVER):
        found += [path for folder in _LIBRARY_FOLDERS for path in sorted(root.glob(f"{folder}/{name}"))][:1]
    daemons: dict[str, Path] = {}
    for folder in _PROGRAM_FOLDERS:
        for pattern in ("libvirtd", "virt*d"):
            for path in sorted(root.glob(f"{folder}/{pattern}")):
                daemons.setdefault(path.name, path)
    return tuple(str(path) for path in (*found, *daemons.values()) if path.is_file())


def _notes(path: str) -> tuple[bytes, bool, int, str]:
    """The bytes of a file's probe notes, whether they are little-endian, the size of an address, and the
    processor."""
    from elftools.common.exceptions import ELFError
    from elftools.elf.constants import SH_FLAGS
    from elftools.elf.elffile import ELFFile

    try:
        with open(path, "rb") as file:
            elf = ELFFile(file)
            section = elf.get_section_by_name(_SECTION)
            little, width = bool(elf.little_endian), elf.elfclass // 8
            machine = str(elf.get_machine_arch())
            if section is None:
                return b"", little, width, machine
            if section["sh_size"] > MAX_NOTES or section["sh_flags"] & SH_FLAGS.SHF_COMPRESSED:
                raise BinaryError(f"{path}: this section {_SECTION} was not made by <sys/sdt.h>")
            return section.data(), little, width, machine
    except OSError as error:
        raise BinaryError(f"cannot read {path}: {error.strerror or error}") from None
    except BinaryError:
        raise
    except ELFError:
        raise BinaryError(f"{path} is no program or library: not a whole ELF file") from None
    except Exception as error:  # pyelftools checks little of what headers say
        raise BinaryError(f"{path} is no program or library that can be read: {error!r}") from None


def _sites(data: bytes, little: bool, width: int) -> Iterator[tuple[tuple[str, str], Site]]:
    """Each site with its (provider, probe). What is no such note is passed over."""
    order = "little" if little else "big"
    at = 0
    while at + 12 <= len(data):
        owner, size, kind = (int.from_bytes(data[at + n : at + n + 4], order) for n in (0, 4, 8))  # type: ignore[arg-type]
        name = at + 12
        description = name + (owner + 3) // 4 * 4
        if data[name : name + owner] == _OWNER and kind == _TYPE:
            # location, base and semaphore; then three strings
            strings = data[description + 3 * width : description + size].split(b"\0")
            if len(strings) >= 3:
                provider, probe, operands = strings[:3]
                address = int.from_bytes(data[description : description + width], order)  # type: ignore[arg-type]
                yield (
                    (provider.decode("ascii", "replace"), probe.decode("ascii", "replace")),
                    Site(address, _operands(operands.decode("ascii", "replace"))),
                )
        at = description + (size + 3) // 4 * 4


def _operands(text: str) -> tuple[str, ...]:
    starts = [match.start() for match in _OPERAND.finditer(text)]
    return tuple(text[start:end].strip() for start, end in zip(starts, [*starts[1:], None], strict=False))
