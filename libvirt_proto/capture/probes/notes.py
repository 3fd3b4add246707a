"""The static probes of a file that can be traced: 64-bit code for x86-64 or AArch64."""

from __future__ import annotations

from typing import BinaryIO, Final

from ...codec.elf import ElfError as NotesError
from ...codec.elfnotes import Notes, Site
from ...codec.elfnotes import read_notes as read_elf_notes

__all__ = ["Notes", "NotesError", "Site", "read_notes"]

#: Supported machines, as uname(2) names them.
_MACHINES: Final = ("x86_64", "aarch64")


def read_notes(file: BinaryIO) -> Notes:
    """Read the probes of an ELF file. Raises NotesError, also for another processor, and OSError."""
    notes = read_elf_notes(file)
    if notes.machine not in _MACHINES or notes.width != 8 or notes.byte_order != "little":
        raise NotesError(
            f"expected 64-bit code for x86-64 or AArch64, got {notes.machine}, {8 * notes.width} bits,"
            f" {notes.byte_order}-endian"
        )
    return notes
