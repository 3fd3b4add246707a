"""Names in the dynamic symbol table of an ELF file, and the versions of symbols that it defines and needs.

Source: System V ABI, "Symbol Table"; the LSB's chapter "Symbol Versioning".
"""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

from .elf import SHF_COMPRESSED, ElfFile

#: Characters of a name; longer ones are cut. The longest of libvirt.so.0 has 76.
MAX_NAME: Final = 255
_SHN_UNDEF: Final = 0
_NAMES: Final = ".dynstr"


class Symbols(NamedTuple):
    """The names that a file exports, and the names of all versions that it defines or needs
    (`LIBVIRT_9.0.0`)."""

    exported: frozenset[str]
    versions: frozenset[str]


def symbols_of(elf: ElfFile) -> Symbols:
    """Read the dynamic symbols of a file whose headers have been read; none without a dynamic symbol table.

    Raises ElfError for a file that is damaged or exceeds a limit, and OSError if reading fails.
    """
    names = _contents(elf, _NAMES)
    return Symbols(frozenset(_exported(elf, names)), frozenset(_versions(elf, names)))


def _contents(elf: ElfFile, name: str) -> bytes:
    sections = [each for each in elf.sections(name)[:1] if not each.flags & SHF_COMPRESSED]
    return b"".join(elf.contents(sections, name))


def _exported(elf: ElfFile, names: bytes) -> list[str]:
    form = Struct(f"{elf.order}IIIBBH" if elf.width == 4 else f"{elf.order}IBBHQQ")
    place = 5 if elf.width == 4 else 3
    table = _contents(elf, ".dynsym")
    whole = len(table) - len(table) % form.size
    return [
        _name(names, symbol[0]) for symbol in form.iter_unpack(table[:whole]) if symbol[place] != _SHN_UNDEF
    ]


def _versions(elf: ElfFile, names: bytes) -> list[str]:
    """Return the names of versions that begin with LIBVIRT_: the tables of versions hold only chained offsets
    of names, and a damaged chain may be endless."""
    if not (elf.sections(".gnu.version_d") or elf.sections(".gnu.version_r")):
        return []
    return [each.decode() for each in names.split(b"\0") if each.startswith(b"LIBVIRT_") and each.isascii()]


def _name(names: bytes, at: int) -> str:
    name = names[at : at + MAX_NAME]
    return name[: name.find(b"\0") if b"\0" in name else None].decode("ascii", "backslashreplace")
