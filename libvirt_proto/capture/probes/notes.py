"""The static probes of an ELF file: its NT_STAPSDT notes, with addresses as places in the file.

A note has three addresses (the probe, the base that the linker saw, the semaphore, 0 for none), then
provider, name and arguments, each with a zero byte behind it. Addresses are those at link time; where
`.stapsdt.base` has another address than the note's base, something (prelink) has moved all of them by the
difference. Sources: <sys/sdt.h>, gabi's Note Section.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NamedTuple

if TYPE_CHECKING:
    from elftools.elf.elffile import ELFFile

#: ELF machines that are supported, as uname(2) has them.
MACHINES: Final = {"EM_X86_64": "x86_64", "EM_AARCH64": "aarch64"}
#: More notes than this are read of no file; libvirt has about fifty probes.
_MAX_NOTES: Final = 1 << 20

_HEAD = Struct("<3I")
_ADDRESSES = Struct("<3Q")
_STAPSDT: Final = 3


class NotesError(ValueError):
    """A file that no probes can be read from; the text is for a user, behind the file's name."""


class Site(NamedTuple):
    """One place at which a probe fires. `offset` and `semaphore` are places in the file; the semaphore is a
    16-bit counter that must not be 0 for the probe to fire, None where it fires always."""

    provider: str
    name: str
    offset: int
    semaphore: int | None
    arguments: str


class Notes(NamedTuple):
    """What a file has: its machine (`x86_64`, `aarch64`), its probes in the order of their notes, and a
    sentence for each note that cannot be used."""

    machine: str
    sites: tuple[Site, ...]
    problems: tuple[str, ...]


def read_notes(file: BinaryIO) -> Notes:
    """The probes of an ELF file; none is no error. Raises NotesError."""
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile

    try:
        return _read(ELFFile(file))
    except NotesError:
        raise
    except ELFError as error:
        raise NotesError(f"it is no ELF file, or a damaged one ({error})") from None
    except Exception as error:  # pyelftools and construct raise whatever a damaged file leads them to
        raise NotesError(f"it is a damaged ELF file ({type(error).__name__})") from None


def _read(elf: ELFFile) -> Notes:
    machine = MACHINES.get(elf["e_machine"])
    if machine is None or elf.elfclass != 64 or not elf.little_endian:
        raise NotesError(
            f"it is for another processor ({elf['e_machine']}, {elf.elfclass} bits); x86-64 and AArch64 are"
            " supported"
        )
    segments = [
        (int(segment["p_vaddr"]), int(segment["p_filesz"]), int(segment["p_offset"]))
        for segment in elf.iter_segments()
        if segment["p_type"] == "PT_LOAD"
    ]
    section = elf.get_section_by_name(".note.stapsdt")
    base = elf.get_section_by_name(".stapsdt.base")
    here = None if base is None else int(base["sh_addr"])
    sites, problems = [], []
    for location, seen, semaphore, texts in _notes(b"" if section is None else bytes(section.data())):
        moved = 0 if here is None else here - seen
        provider, name, arguments = texts
        place = _offset(location + moved, segments)
        counter = _offset(semaphore + moved, segments) if semaphore else None
        if place is None or (semaphore and counter is None):
            what = "its code" if place is None else "its semaphore"
            problems.append(f"probe {provider}:{name} at {location:#x}: {what} is not in the file")
            continue
        sites.append(Site(provider, name, place, counter, arguments))
    return Notes(machine, tuple(sites), tuple(problems))


def _notes(data: bytes) -> Iterator[tuple[int, int, int, tuple[str, str, str]]]:
    at = 0
    for _ in range(_MAX_NOTES):
        if at + _HEAD.size > len(data):
            return
        owner_size, size, kind = _HEAD.unpack_from(data, at)
        owner = data[at + _HEAD.size :][:owner_size] if owner_size == 8 else b""
        begin = at + _HEAD.size + _aligned(owner_size)
        content = data[begin : begin + size]
        at = begin + _aligned(size)
        texts: list[Any] = content[_ADDRESSES.size :].split(b"\0")
        if owner != b"stapsdt\0" or kind != _STAPSDT or len(content) < size or len(texts) < 4:
            continue
        provider, name, arguments = (text.decode("ascii", "backslashreplace") for text in texts[:3])
        yield *_ADDRESSES.unpack_from(content), (provider, name, arguments)


def _aligned(size: int) -> int:
    return (size + 3) & ~3


def _offset(address: int, segments: list[tuple[int, int, int]]) -> int | None:
    """Where in the file the byte of an address is."""
    for start, size, offset in segments:
        if start <= address < start + size:
            return address - start + offset
    return None
