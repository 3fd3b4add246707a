"""The static probes of a file that can be traced: 64-bit code for x86-64 or AArch64."""

from __future__ import annotations

from typing import BinaryIO, Final

from ...codec.elf import ElfError as NotesError
from ...codec.elf import ElfFile
from ...codec.elfnotes import Notes, Site, notes_of

__all__ = ["Notes", "NotesError", "Site", "read_notes"]

#: Supported machines, as uname(2) names them.
_MACHINES: Final = ("x86_64", "aarch64")


def read_notes(file: BinaryIO) -> Notes:
    """Read the probes of an ELF file. Raises NotesError, also for another processor, and OSError."""
    elf = ElfFile(file)
    if elf.machine not in _MACHINES or elf.width != 8 or elf.byte_order != "little":
        raise NotesError(
            f"expected 64-bit code for x86-64 or AArch64, got {elf.machine}, {8 * elf.width} bits,"
            f" {elf.byte_order}-endian"
        )
    return notes_of(elf)
