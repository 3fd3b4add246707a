"""Static probes of a program or library, from the NT_STAPSDT notes of its ELF file.

A note holds three link-time addresses (the probe, `.stapsdt.base` as the linker saw it, and the semaphore or
0), then provider, name and arguments, each terminated by a zero byte. If `.stapsdt.base` has another address
than the note records, prelink has moved the file, and each address is corrected by the difference.

Sources: System V ABI, "Note Section"; <sys/sdt.h>; libvirt_private.syms.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from struct import Struct
from typing import BinaryIO, Final, Literal, NamedTuple

from .elf import MAX_SIZE, SHF_COMPRESSED, SHT_NOTE, ElfError, ElfFile
from .operands import MAX_ARGUMENTS, split_operands

#: Characters of a provider's or probe's name. The longest seen has 37 (in the JVM), libvirt's longest 30.
MAX_NAME: Final = 255
#: Problems reported one by one; the others are counted.
MAX_PROBLEMS: Final = 8

#: Private symbols of libvirt.so.0 have its release as their version; libvirt's programs and drivers need it.
_PRIVATE: Final = re.compile(rb"LIBVIRT_PRIVATE_([0-9]{1,4}(?:\.[0-9]{1,4}){2,3})\0")
_SHT_STRTAB: Final = 3
_NOTES: Final = ".note.stapsdt"
_BASE: Final = ".stapsdt.base"
_OWNER: Final = b"stapsdt\0"
_NT_STAPSDT: Final = 3


class Site(NamedTuple):
    """One place in the code where a probe fires.

    `offset` and `semaphore` are offsets in the file. The semaphore is a 16-bit counter that must not be 0 for
    the probe to fire; it is None if the probe always fires. `arguments` is the assembler's text, `address`
    the link-time address.
    """

    provider: str
    name: str
    offset: int
    semaphore: int | None
    arguments: str
    address: int = 0

    @property
    def operands(self) -> tuple[str, ...]:
        """The text of each argument (`8@%rbx`, `-4@[sp, 16]`)."""
        return split_operands(self.arguments)


class Notes(NamedTuple):
    """The probes of a file, in the order of its notes.

    `machine` is the architecture (`x86_64`, `aarch64`, …), `width` the bytes of an address (4 or 8).
    `problems` has a sentence for each of the first MAX_PROBLEMS notes that cannot be used, then one that
    counts the others. `found` is the number of notes, usable or not. `libvirt` is the release of libvirt that
    the file belongs to, None if its symbols do not name one.
    """

    machine: str
    sites: tuple[Site, ...]
    problems: tuple[str, ...]
    width: int = 8
    byte_order: Literal["little", "big"] = "little"
    found: int = 0
    libvirt: str | None = None


class _Unusable(Exception):
    """A note that describes no usable site; the text is a sentence of `Notes.problems`."""


def read_notes(file: BinaryIO) -> Notes:
    """Read the probes of an ELF file, for any processor. A file without probes has no sites.

    Raises ElfError for a file that is not ELF, is damaged or exceeds a limit, and OSError if reading fails.
    """
    return notes_of(ElfFile(file))


def notes_of(elf: ElfFile) -> Notes:
    """Read the probes of a file whose headers have been read. Raises as read_notes does."""
    base = next((section.address for section in elf.sections(_BASE)), None)
    sites: list[Site] = []
    problems: list[str] = []
    count = unreported = 0
    for note in _notes(elf):
        count += 1
        try:
            sites.append(_site(elf, base, note))
        except _Unusable as problem:
            if len(problems) < MAX_PROBLEMS:
                problems.append(str(problem))
            else:
                unreported += 1
    if unreported:
        problems.append(f"{unreported:,} more notes cannot be used")
    # The symbols share the limit of the notes.
    left = MAX_SIZE - sum(section.size for section in elf.sections(_NOTES))
    version = _libvirt(elf, left) if sites else None
    return Notes(elf.machine, tuple(sites), tuple(problems), elf.width, elf.byte_order, count, version)


def _libvirt(elf: ElfFile, size: int) -> str | None:
    """Return the release of the libvirt that a file belongs to, by the version of its private symbols, which
    only libvirt's own library, programs and drivers have. None without such symbols, with those of several
    releases, or if the names take more than `size` bytes. Raises OSError."""
    tables = elf.sections(".dynstr")[:1]
    if not tables or tables[0].type != _SHT_STRTAB or tables[0].flags & SHF_COMPRESSED:
        return None
    if tables[0].size > size:
        return None
    try:
        (names,) = elf.contents(tables, ".dynstr")
    except ElfError:
        return None
    found = {match[1] for match in _PRIVATE.finditer(names)}
    return found.pop().decode() if len(found) == 1 else None


class _Note(NamedTuple):
    """A probe's note: its offset in the section and its description, None if the section ends before it."""

    at: int
    description: bytes | None


def _notes(elf: ElfFile) -> Iterator[_Note]:
    """The notes of probes. Notes of other owners and types are valid there, and skipped."""
    head = Struct(f"{elf.order}3I")
    sections = elf.sections(_NOTES)
    for section in sections:
        if section.type != SHT_NOTE or section.flags & SHF_COMPRESSED:
            raise ElfError(
                f"expected a plain section {_NOTES}, got type {section.type}, flags {section.flags:#x}"
            )
    for data in elf.contents(sections, _NOTES):
        at = 0
        while at < len(data):
            if len(data) - at < head.size:
                if any(data[at:]):
                    yield _Note(at, None)
                break
            owner_size, size, kind = head.unpack_from(data, at)
            owner = at + head.size
            start = owner + _aligned(owner_size)
            if start + size > len(data):
                yield _Note(at, None)
                break
            if kind == _NT_STAPSDT and owner_size == len(_OWNER) and data.startswith(_OWNER, owner):
                yield _Note(at, data[start : start + size])
            at = start + _aligned(size)


def _aligned(size: int) -> int:
    return (size + 3) & ~3


def _site(elf: ElfFile, base: int | None, note: _Note) -> Site:
    where = f"note at byte {note.at:,} of {_NOTES}"
    addresses = Struct(f"{elf.order}3{elf.word}")
    if note.description is None:
        raise _Unusable(f"{where}: truncated by the end of the section")
    *strings, _ = note.description[addresses.size :].split(b"\0", 3)
    if len(strings) < 3:
        raise _Unusable(f"{where}: expected three addresses and three strings")
    provider, name, arguments = (string.decode("ascii", "backslashreplace") for string in strings)
    if not (_is_name(provider) and _is_name(name)):
        raise _Unusable(f"{where}: expected names of 1 to {MAX_NAME} visible characters")
    probe = f"probe {provider}:{name}"
    if len(arguments) > MAX_ARGUMENTS or not arguments.isprintable():
        raise _Unusable(f"{probe}: expected arguments of at most {MAX_ARGUMENTS:,} printable characters")
    location, seen, semaphore = addresses.unpack_from(note.description)
    moved, modulus = (0 if base is None else base - seen), 1 << 8 * elf.width
    address = (location + moved) % modulus
    offset = elf.offset(address)
    if offset is None:
        raise _Unusable(f"{probe} at {location:#x}: its code is not in the file")
    counter = elf.offset((semaphore + moved) % modulus) if semaphore else None
    if semaphore and counter is None:
        raise _Unusable(f"{probe} at {location:#x}: its semaphore is not in the file")
    return Site(provider, name, offset, counter, arguments, address)


def _is_name(text: str) -> bool:
    return 0 < len(text) <= MAX_NAME and text.isprintable() and " " not in text
