"""Small ELF files with the notes of <sys/sdt.h>, put together by hand after the ELF specification."""

from __future__ import annotations

import struct
from collections.abc import Sequence

Site = tuple[str, str, str]  # provider, probe, operands


def note(site: Site, order: str, width: int, kind: int = 3, owner: bytes = b"stapsdt\0") -> bytes:
    strings = b"".join(text.encode() + b"\0" for text in site)
    description = struct.pack(f"{order}3{'Q' if width == 8 else 'I'}", 0x1000, 0x2000, 0) + strings
    padded = description + bytes(-len(description) % 4)
    return struct.pack(f"{order}3I", len(owner), len(description), kind) + owner + padded


def elf(
    sites: Sequence[Site], *, bits: int = 64, big: bool = False, notes: bytes | None = None, flags: int = 0
) -> bytes:
    """A file with a note for each site; `notes` stand in for the section's bytes, `flags` are its flags."""
    order, width = ">" if big else "<", bits // 8
    word = "Q" if width == 8 else "I"
    content = b"".join(note(site, order, width) for site in sites) if notes is None else notes
    names = b"\0.note.stapsdt\0.shstrtab\0"
    header_size, section_size = (64, 64) if width == 8 else (52, 40)
    names_at = header_size + len(content)
    table_at = names_at + len(names)
    identity = b"\x7fELF" + bytes([width // 4, 2 if big else 1, 1]) + bytes(9)
    header = struct.pack(
        f"{order}2HI3{word}I6H", 3, 62, 1, 0, 0, table_at, 0, header_size, 0, 0, section_size, 3, 2
    )

    def section(name: int, kind: int, flags: int, at: int, size: int) -> bytes:
        return struct.pack(f"{order}2I4{word}2I2{word}", name, kind, flags, 0, at, size, 0, 0, 4, 0)

    table = (
        bytes(section_size)
        + section(1, 7, flags, header_size, len(content))
        + section(15, 3, 0, names_at, len(names))
    )
    return identity + header + content + names + table
