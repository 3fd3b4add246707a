"""Small ELF files with the notes of <sys/sdt.h>, built by hand from the ELF specification, also with false
claims in their headers; and pyelftools as a reference."""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO, NamedTuple

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import NoteSection

Site = tuple[str, str, str]  # provider, probe, operands


def note(site: Site, order: str, width: int, kind: int = 3, owner: bytes = b"stapsdt\0") -> bytes:
    strings = b"".join(text.encode() + b"\0" for text in site)
    description = struct.pack(f"{order}3{'Q' if width == 8 else 'I'}", 0x1000, 0x2000, 0) + strings
    padded = description + bytes(-len(description) % 4)
    return struct.pack(f"{order}3I", len(owner), len(description), kind) + owner + padded


def elf(
    sites: Sequence[Site],
    *,
    bits: int = 64,
    big: bool = False,
    machine: int = 62,
    notes: bytes | None = None,
    flags: int = 0,
    base: int | None = None,
    symbols: bytes = b"",
) -> bytes:
    """Build a file with a note for each site; `notes` replaces the section's bytes, `flags` are its flags.
    `symbols` are the names of dynamic symbols and of their versions, if there are any.

    `base` is the address of `.stapsdt.base`, if there is one; the notes have 0x2000. The whole file is loaded
    to 0x1000, where the notes place their probes.
    """
    order, width = _order(big), bits // 8
    word = "Q" if width == 8 else "I"
    content = b"".join(note(site, order, width) for site in sites) if notes is None else notes
    names = b"\0.note.stapsdt\0.shstrtab\0.stapsdt.base\0.dynstr\0"
    sections = 3 + (base is not None) + bool(symbols)
    header_size, section_size, segment_size = (64, 64, 56) if width == 8 else (52, 40, 32)
    content_at = header_size + segment_size
    names_at = content_at + len(content)
    symbols_at = names_at + len(names)
    table_at = symbols_at + len(symbols)
    identity = b"\x7fELF" + bytes([width // 4, 2 if big else 1, 1]) + bytes(9)
    tables = header_size, table_at, 0, header_size, segment_size, 1, section_size, sections, 2
    header = struct.pack(f"{order}2HI3{word}I6H", 3, machine, 1, 0, *tables)
    size = table_at + sections * section_size
    segment = (
        struct.pack(f"{order}2I6Q", 1, 5, 0, 0x1000, 0x1000, size, size, 0x1000)
        if width == 8
        else struct.pack(f"{order}8I", 1, 0, 0x1000, 0x1000, size, size, 5, 0x1000)
    )

    def section(name: int, kind: int, flags: int, at: int, size: int, address: int = 0) -> bytes:
        return struct.pack(f"{order}2I4{word}2I2{word}", name, kind, flags, address, at, size, 0, 0, 4, 0)

    table = (
        bytes(section_size)
        + section(1, 7, flags, content_at, len(content))
        + section(15, 3, 0, names_at, len(names))
        + (b"" if base is None else section(25, 1, 2, 0, 1, base))
        + (section(39, 3, 2, symbols_at, len(symbols)) if symbols else b"")
    )
    return identity + header + segment + content + names + symbols + table


#: Fields of a 64-bit ELF header and of a section header: offset and struct format.
_HEADER: Mapping[str, tuple[int, str]] = {
    "e_machine": (18, "H"),
    "e_phoff": (32, "Q"),
    "e_shoff": (40, "Q"),
    "e_phentsize": (54, "H"),
    "e_phnum": (56, "H"),
    "e_shentsize": (58, "H"),
    "e_shnum": (60, "H"),
    "e_shstrndx": (62, "H"),
}
_SECTION: Mapping[str, tuple[int, str]] = {
    "sh_name": (0, "I"),
    "sh_type": (4, "I"),
    "sh_flags": (8, "Q"),
    "sh_addr": (16, "Q"),
    "sh_offset": (24, "Q"),
    "sh_size": (32, "Q"),
    "sh_link": (40, "I"),
    "sh_info": (44, "I"),
}
#: Indexes of the sections of `elf()`.
ZERO, NOTES, NAMES = range(3)


def claim(data: bytes, section: int | None = None, **fields: int) -> bytes:
    """Change fields of the ELF header, or of a section header, of a little-endian 64-bit file."""
    changed = bytearray(data)
    start = 0 if section is None else struct.unpack_from("<Q", data, 40)[0] + 64 * section
    for name, value in fields.items():
        at, form = (_HEADER if section is None else _SECTION)[name]
        struct.pack_into(f"<{form}", changed, start + at, value)
    return bytes(changed)


class Counting(io.BytesIO):
    """A file padded with zeros to `size`, which counts the bytes read."""

    def __init__(self, data: bytes, size: int = 0) -> None:
        super().__init__(data)
        self._length, self._size, self._at = len(data), max(size, len(data)), 0
        self.reads = self.read_bytes = 0

    def seek(self, at: int, whence: int = io.SEEK_SET, /) -> int:
        self._at = at if whence == io.SEEK_SET else self._size + at
        return self._at

    def read(self, size: int | None = -1, /) -> bytes:
        assert size is not None
        assert size >= 0, "an unbounded read"
        wanted = min(size, max(self._size - self._at, 0))
        super().seek(min(self._at, self._length))
        data = super().read(min(wanted, max(self._length - self._at, 0)))
        self._at += wanted
        self.reads += 1
        self.read_bytes += wanted
        return data + bytes(wanted - len(data))


_TYPE_3 = ("NT_GNU_BUILD_ID", "NT_PRPSINFO")


class Judged(NamedTuple):
    """A probe's note according to pyelftools; `offsets` are its address's offsets in each segment that has
    it."""

    provider: str
    name: str
    arguments: str
    address: int
    offsets: tuple[int, ...]
    semaphores: tuple[int, ...]


def judged(file: BinaryIO) -> list[Judged]:
    """Read the probes of a file with pyelftools, which raises errors of many kinds and checks no sizes. Notes
    in other forms than <sys/sdt.h>'s are omitted."""
    elf = ELFFile(file)
    sections = list(elf.iter_sections()) if elf.header["e_shstrndx"] else []
    names = elf.get_section(elf.get_shstrndx())["sh_size"] if sections else 0
    # It reads names beyond the end of their table.
    sections = [each for each in sections if each["sh_name"] + len(each.name) < names]
    base = next((section["sh_addr"] for section in sections if section.name == ".stapsdt.base"), None)
    width, order = elf.elfclass // 8, "little" if elf.little_endian else "big"
    found = []
    for section in sections:
        if section.name != ".note.stapsdt":
            continue
        assert isinstance(section, NoteSection)
        for note in section.iter_notes():
            # Its name of type 3 depends on the type of the file.
            if (note["n_name"], note["n_namesz"]) != ("stapsdt", 8) or note["n_type"] not in _TYPE_3:
                continue
            data: bytes = note["n_descdata"]
            if len(data) == note["n_descsz"] and data[3 * width :].count(b"\0") >= 3:
                found.append(_judged(elf, data, width, order, base))
    return found


def _judged(elf: Any, data: bytes, width: int, order: Any, base: int | None) -> Judged:
    location, seen, semaphore = (
        int.from_bytes(data[at : at + width], order) for at in range(0, 3 * width, width)
    )
    moved = 0 if base is None else base - seen
    provider, name, arguments = (
        text.decode("ascii", "backslashreplace") for text in data[3 * width :].split(b"\0")[:3]
    )

    def offsets(address: int) -> tuple[int, ...]:
        return tuple(elf.address_offsets(address % 2 ** (8 * width)))

    address = (location + moved) % 2 ** (8 * width)
    semaphores = offsets(semaphore + moved) if semaphore else ()
    return Judged(provider, name, arguments, address, offsets(address), semaphores)


def with_symbols(
    names: Sequence[str],
    versions: Sequence[str],
    *,
    undefined: Sequence[str] = (),
    bits: int = 64,
    big: bool = False,
) -> bytes:
    """An ELF file with sections of dynamic symbols and versions, in the place of its notes."""
    strings = b"\0" + b"\0".join(name.encode() for name in [*names, *undefined, *versions]) + b"\0"

    def symbol(name: str, section: int) -> bytes:
        at = strings.index(b"\0" + name.encode() + b"\0") + 1
        if bits == 64:
            return struct.pack(f"{_order(big)}IBBHQQ", at, 18, 0, section, 0, 0)
        return struct.pack(f"{_order(big)}IIIBBH", at, 0, 0, 18, 0, section)

    table = bytes(24 if bits == 64 else 16)
    table += b"".join(symbol(name, 1) for name in names) + b"".join(symbol(name, 0) for name in undefined)
    return elf_with({".dynstr": strings, ".dynsym": table, ".gnu.version_d": b""}, bits=bits, big=big)


def elf_with(sections: Mapping[str, bytes], *, bits: int = 64, big: bool = False) -> bytes:
    """An ELF file with these sections."""
    order, word = _order(big), "Q" if bits == 64 else "I"
    head_size, segment_size, header_size = (64, 56, 64) if bits == 64 else (52, 32, 40)
    names = b"\0" + b"".join(name.encode() + b"\0" for name in [*sections, ".shstrtab"])
    body, headers = b"", [bytes(header_size)]
    for name, content in (*sections.items(), (".shstrtab", names)):
        offset = names.index(b"\0" + name.encode() + b"\0") + 1
        place = 0, 0, head_size + len(body), len(content), 0, 0, 1, 0
        headers.append(struct.pack(f"{order}2I4{word}2I2{word}", offset, 3, *place))
        body += content
    identity = b"\x7fELF" + bytes([bits // 32, 2 if big else 1, 1]) + bytes(9)
    tables = 0, head_size + len(body), 0, head_size, segment_size, 0, header_size, len(headers)
    head = struct.pack(f"{order}2HI3{word}I6H", 3, 62, 1, 0, *tables, len(headers) - 1)
    return identity + head + body + b"".join(headers)


def _order(big: bool) -> str:
    return ">" if big else "<"
