"""ELF headers, read within bounds: sections by name, and the offset in the file of a link-time address.

Sizes, counts and offsets in headers are claims. Each is checked against the size of the file and against
`MAX_SIZE` before anything is read, so time, memory and I/O are bounded for any file.

Source: System V ABI, chapters "Object Files" and "Program Loading".
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator
from struct import Struct
from typing import BinaryIO, Final, Literal, NamedTuple

#: Bytes of a table of headers, of the names of all sections, and of the sections that are read of one file.
#: Of 2,934 files of a Debian 12 system, the largest had 4,736 bytes of section headers, 1,187 bytes of names
#: and 55,540 bytes of probe notes (the JVM, 566 probes). libvirt.so.0 has 4,168 bytes of notes (41 probes).
MAX_SIZE: Final = 1 << 20

#: Section type and flag.
SHT_NOTE: Final = 7
SHF_COMPRESSED: Final = 0x800

_PT_LOAD: Final = 1
#: e_shstrndx and e_phnum that do not fit into 16 bits: section header 0 has the numbers.
_ESCAPE: Final = 0xFFFF
#: e_machine → architecture.
_MACHINES: Final = {
    3: "i386",
    8: "mips",
    20: "ppc",
    21: "ppc64",
    22: "s390",
    40: "arm",
    43: "sparc64",
    62: "x86_64",
    183: "aarch64",
    243: "riscv",
    258: "loongarch",
}


class ElfError(ValueError):
    """A file that cannot be read as ELF. The text is for the user, to follow the name of the file."""


class Section(NamedTuple):
    """A section header, its fields in the order of the file; `name` is an offset in the table of names."""

    name: int
    type: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int
    alignment: int
    entry_size: int


class _Header(NamedTuple):
    """The ELF header without its first 16 bytes. `segments_at` and `sections_at` lead to tables of headers,
    `names` is the section with the names of sections."""

    type: int
    machine: int
    version: int
    entry: int
    segments_at: int
    sections_at: int
    flags: int
    header_size: int
    segment_size: int
    segments: int
    section_size: int
    sections: int
    names: int


class ElfFile:
    """The headers of an ELF file of 32 or 64 bits and either byte order. Raises ElfError, and OSError if
    reading fails.

    `machine` is the architecture (`x86_64`, `aarch64`, …), `width` the bytes of an address (4 or 8); `order`
    and `word` are the struct module's characters for the byte order and for an address.
    """

    def __init__(self, file: BinaryIO) -> None:
        if not file.seekable():
            raise ElfError("expected a regular file")
        self._file = file
        self._size = file.seek(0, os.SEEK_END)
        identity = self._read(0, min(16, self._size), "the file")
        if not identity.startswith(b"\x7fELF"):
            raise ElfError("expected an ELF file")
        if len(identity) < 16 or identity[4] not in (1, 2) or identity[5] not in (1, 2):
            raise ElfError("damaged ELF file: unknown word size or byte order")
        self.width, self.word = (4, "I") if identity[4] == 1 else (8, "Q")
        self.byte_order: Literal["little", "big"] = "little" if identity[5] == 1 else "big"
        self.order = "<" if identity[5] == 1 else ">"
        form = Struct(f"{self.order}2HI3{self.word}I6H")
        header = _Header._make(form.unpack(self._read(16, form.size, "the ELF header")))
        self.machine = _MACHINES.get(header.machine, f"ELF machine {header.machine}")
        self._section = Struct(f"{self.order}2I4{self.word}2I2{self.word}")
        header = self._resolve_escapes(header)
        self._sections = self._section_headers(header, header.sections if header.sections_at else 0)
        self._names = self._read_names(header) if self._sections and header.names else b""
        self._loads = sorted(self._loaded_segments(header))
        self._starts = [start for start, _, _ in self._loads]

    def _resolve_escapes(self, header: _Header) -> _Header:
        """Replace numbers that did not fit into the ELF header by those of section header 0."""
        if not header.sections_at or (header.sections and _ESCAPE not in (header.names, header.segments)):
            return header
        zero = Section._make(self._section.unpack(self._section_headers(header, 1)))
        return header._replace(
            sections=header.sections or zero.size,
            names=zero.link if header.names == _ESCAPE else header.names,
            segments=zero.info if header.segments == _ESCAPE else header.segments,
        )

    def _section_headers(self, header: _Header, count: int) -> bytes:
        return self._table(header.sections_at, count, header.section_size, self._section, "section headers")

    def _read_names(self, header: _Header) -> bytes:
        if header.names >= header.sections:
            raise ElfError(
                f"damaged ELF file: expected names in one of {header.sections} sections, got {header.names}"
            )
        table = Section._make(self._section.unpack_from(self._sections, header.names * self._section.size))
        return self._read(table.offset, table.size, "names of sections")

    def _loaded_segments(self, header: _Header) -> Iterator[tuple[int, int, int]]:
        """Address, size and offset of what is loaded from the file."""
        form = Struct(f"{self.order}8I" if self.width == 4 else f"{self.order}2I6Q")
        table = self._table(header.segments_at, header.segments, header.segment_size, form, "program headers")
        for fields in form.iter_unpack(table):
            kind, (offset, address, _, filled) = fields[0], fields[1:5] if self.width == 4 else fields[2:6]
            if kind == _PT_LOAD and filled:
                yield address, filled, offset

    def _table(self, at: int, count: int, size: int, form: Struct, what: str) -> bytes:
        if count and size != form.size:
            raise ElfError(f"damaged ELF file: expected {what} of {form.size} bytes, got {size}")
        return self._read(at, count * form.size, what) if count else b""

    def _read(self, at: int, size: int, what: str) -> bytes:
        """Read exactly `size` bytes, MAX_SIZE at most."""
        if size > MAX_SIZE:
            raise ElfError(f"expected at most {MAX_SIZE:,} bytes of {what}, got {size:,}")
        if at + size > self._size:
            raise ElfError(f"damaged ELF file: {what} would end at byte {at + size:,} of {self._size:,}")
        self._file.seek(at)
        data = self._file.read(size)
        if data is None or len(data) != size:  # None: a file of /proc that has nothing at present
            raise ElfError(f"expected {size:,} bytes of {what}, got {len(data or b'')}")
        return data

    def sections(self, name: str) -> list[Section]:
        """The sections of this name, usually one or none."""
        wanted = name.encode() + b"\0"
        headers = self._section.iter_unpack(self._sections)
        return [Section._make(each) for each in headers if self._names.startswith(wanted, each[0])]

    def contents(self, sections: list[Section], what: str) -> list[bytes]:
        """The bytes of each of the sections, together MAX_SIZE at most, which may overlap. Raises
        ElfError."""
        total = sum(section.size for section in sections)
        if total > MAX_SIZE:
            raise ElfError(f"expected at most {MAX_SIZE:,} bytes of {what}, got {total:,}")
        return [self._read(section.offset, section.size, what) for section in sections]

    def offset(self, address: int) -> int | None:
        """Return the offset in the file of the byte that is loaded to a link-time address, None if there is
        none.

        Where segments overlap, which the ABI does not allow, the one that starts last decides.
        """
        found = bisect_right(self._starts, address) - 1
        if found < 0:
            return None
        start, size, offset = self._loads[found]
        at = offset + address - start
        return at if address < start + size and at < self._size else None
