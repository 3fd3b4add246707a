"""ELF headers, read within bounds: sections by name, and the offset in the file of a link-time address.

Sizes, counts and offsets in headers are claims. Each is checked against the size of the file and against
`MAX_SIZE` before anything is read, so time, memory and I/O are bounded for any file.

Source: System V ABI, chapters "Object Files" and "Program Loading".
"""

from __future__ import annotations

import errno
import os
import stat
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


def open_regular(path: str) -> BinaryIO:
    """Open a regular file for reading. Raises OSError for a file of another type, without opening it: opening
    a FIFO would wait for a writer, and opening a device may act on it."""

    def opener(path: str, flags: int) -> int:
        _check_regular(os.stat(path))
        descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)
        try:
            _check_regular(os.fstat(descriptor))  # the name may lead to another file by now
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    return open(path, "rb", opener=opener)


def _check_regular(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file")


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
        header = Struct(f"{self.order}2HI3{self.word}I6H")
        _, machine, _, _, *tables = header.unpack(self._read(16, header.size, "the ELF header"))
        self.machine = _MACHINES.get(machine, f"ELF machine {machine}")
        self._header = Struct(f"{self.order}2I4{self.word}2I2{self.word}")
        self._read_tables(*tables)

    def _read_tables(
        self,
        segments_at: int,
        sections_at: int,
        _flags: int,
        _header_size: int,
        segment_size: int,
        segments: int,
        section_size: int,
        sections: int,
        names: int,
    ) -> None:
        """Read section headers, names of sections and program headers, found by the fields of the ELF
        header."""
        sections = sections if sections_at else 0
        if sections_at and (not sections or _ESCAPE in (names, segments)):
            (first,) = self._sections_in(
                self._table(sections_at, 1, section_size, self._header, "section headers")
            )
            sections = sections or first.size
            names = first.link if names == _ESCAPE else names
            segments = first.info if segments == _ESCAPE else segments
        self._sections = self._table(sections_at, sections, section_size, self._header, "section headers")
        self._names = b""
        if sections and names:
            if names >= sections:
                raise ElfError(f"damaged ELF file: expected names in one of {sections} sections, got {names}")
            table = next(self._sections_in(self._sections[names * section_size :]))
            self._names = self._read(table.offset, table.size, "names of sections")
        self._loads = sorted(self._segments_in(segments_at, segments, segment_size))
        self._starts = [start for start, _, _ in self._loads]

    def _segments_in(self, at: int, count: int, size: int) -> Iterator[tuple[int, int, int]]:
        """Address, size and offset of what is loaded from the file."""
        header = Struct(f"{self.order}8I" if self.width == 4 else f"{self.order}2I6Q")
        for fields in header.iter_unpack(self._table(at, count, size, header, "program headers")):
            kind, (offset, address, _, filled) = fields[0], fields[1:5] if self.width == 4 else fields[2:6]
            if kind == _PT_LOAD and filled:
                yield address, filled, offset

    def _sections_in(self, table: bytes) -> Iterator[Section]:
        return map(Section._make, self._header.iter_unpack(table))

    def _table(self, at: int, count: int, size: int, header: Struct, what: str) -> bytes:
        if count and size != header.size:
            raise ElfError(f"damaged ELF file: expected {what} of {header.size} bytes, got {size}")
        return self._read(at, count * header.size, what) if count else b""

    def _read(self, at: int, size: int, what: str) -> bytes:
        """Read exactly `size` bytes, MAX_SIZE at most."""
        if size > MAX_SIZE:
            raise ElfError(f"expected at most {MAX_SIZE:,} bytes of {what}, got {size:,}")
        if at + size > self._size:
            raise ElfError(f"damaged ELF file: {what} would end at byte {at + size:,} of {self._size:,}")
        self._file.seek(at)
        data = self._file.read(size)
        if data is None or len(data) != size:  # None: of a file in /proc or /sys that has nothing at present
            raise ElfError(f"expected {size:,} bytes of {what}, got {len(data or b'')}")
        return data

    def sections(self, name: str) -> list[Section]:
        """The sections of this name, usually one or none."""
        wanted = name.encode() + b"\0"
        return [
            each for each in self._sections_in(self._sections) if self._names.startswith(wanted, each.name)
        ]

    def contents(self, sections: list[Section], what: str) -> Iterator[bytes]:
        """The bytes of each of the sections, together MAX_SIZE at most, which may overlap. Raises
        ElfError."""
        total = sum(section.size for section in sections)
        if total > MAX_SIZE:
            raise ElfError(f"expected at most {MAX_SIZE:,} bytes of {what}, got {total:,}")
        return (self._read(section.offset, section.size, what) for section in sections)

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
