"""Probes in ELF notes: accepted and rejected files, and the small number of bytes read from any file."""

from __future__ import annotations

import io
import os
import re
import resource
import struct
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libvirt_proto.codec.elf import MAX_SIZE, ElfError
from libvirt_proto.codec.elfnotes import MAX_NAME, MAX_PROBLEMS, Notes, read_notes
from libvirt_proto.codec.operands import MAX_ARGUMENTS
from tests.support.elf import NAMES, NOTES, ZERO, Counting, claim, elf, judged, note
from tests.support.probes import OTHERS, PROGRAM, program
from tests.support.work import assert_linear, grown

SITES = [
    ("libvirt", "none", ""),
    ("libvirt", "two", "8@$1 -4@128(%rbx,%rax,8)"),
    ("other", "one", "1@%al 2@%ax 4@%eax"),
]
GOOD = elf(SITES)
TERABYTE = 1 << 40


def read(data: bytes) -> Notes:
    return read_notes(io.BytesIO(data))


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("big", [False, True])
def test_sites_of_both_word_sizes_and_byte_orders(bits: int, big: bool) -> None:
    notes = read(elf(SITES, bits=bits, big=big))
    assert (notes.machine, notes.width, notes.byte_order) == ("x86_64", bits // 8, "big" if big else "little")
    assert [(site.provider, site.name, site.arguments) for site in notes.sites] == SITES
    assert {(site.address, site.offset, site.semaphore) for site in notes.sites} == {(0x1000, 0, None)}
    assert [site.operands for site in notes.sites] == [
        (),
        ("8@$1", "-4@128(%rbx,%rax,8)"),
        ("1@%al", "2@%ax", "4@%eax"),
    ]
    assert notes.problems == ()


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("base", [0x1FF0, 0x2000, 0x2004])
def test_addresses_moved_by_prelink(bits: int, base: int) -> None:
    notes = read(elf(SITES[:1], bits=bits, base=base))
    moved = base - 0x2000
    if moved < 0:
        assert notes.problems == ("probe libvirt:none at 0x1000: its code is not in the file",)
    else:
        assert [(site.address, site.offset) for site in notes.sites] == [(0x1000 + moved, moved)]


def test_skips_notes_of_other_owners_and_types() -> None:
    others = note(SITES[0], "<", 8, kind=4) + note(SITES[0], "<", 8, owner=b"GNU\0")
    notes = read(elf([], notes=others + note(SITES[1], "<", 8) + bytes(8)))
    assert [site.name for site in notes.sites] == ["two"]
    assert notes.problems == ()


def described(description: bytes) -> bytes:
    """A probe's note with this description."""
    padding = bytes(-len(description) % 4)
    return struct.pack("<3I", 8, len(description), 3) + b"stapsdt\0" + description + padding


ADDRESSES = struct.pack("<3Q", 0x1000, 0x2000, 0)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (described(ADDRESSES + b"a\0b\0c"), "expected three addresses and three strings"),
        (described(ADDRESSES[:20]), "expected three addresses and three strings"),
        (described(b""), "expected three addresses and three strings"),
        (note(("", "b", ""), "<", 8), f"expected names of 1 to {MAX_NAME} visible characters"),
        (note(("a", "b\n", ""), "<", 8), "visible characters"),
        (note(("a b", "c", ""), "<", 8), "visible characters"),
        (note(("a", "b\x1b[2J", ""), "<", 8), "visible characters"),
        (note(("a", "b" * (MAX_NAME + 1), ""), "<", 8), "visible characters"),
        (note(("a", "b", "\n"), "<", 8), f"expected arguments of at most {MAX_ARGUMENTS:,} printable"),
        (note(("a", "b", "8@%rax " * 150), "<", 8), f"expected arguments of at most {MAX_ARGUMENTS:,}"),
        (described(struct.pack("<3Q", 1 << 63, 0, 0) + b"a\0b\0\0"), "its code is not in the file"),
        (described(struct.pack("<3Q", 0x1000, 0, 0xFFF) + b"a\0b\0\0"), "its semaphore is not in the file"),
    ],
)
def test_reports_an_unusable_note_and_reads_the_next(bad: bytes, words: str) -> None:
    notes = read(elf([], notes=bad + note(SITES[0], "<", 8)))
    assert [site.name for site in notes.sites] == ["none"]
    (problem,) = notes.problems
    assert words in problem
    assert problem.isprintable()


@pytest.mark.parametrize(
    "rest",
    [
        struct.pack("<3I", 8, 1 << 31, 3) + b"stapsdt\0",
        struct.pack("<3I", 0xFFFFFFFF, 0, 3) + bytes(20),
        struct.pack("<3I", 0xFFFFFFFD, 0xFFFFFFFF, 3) + bytes(20),
        b"\x08\0\0",
    ],
)
def test_reports_a_note_beyond_the_end_of_its_section(rest: bytes) -> None:
    good = note(SITES[0], "<", 8)
    notes = read(elf([], notes=good + rest))
    assert len(notes.sites) == 1
    assert notes.problems == (
        f"note at byte {len(good)} of .note.stapsdt: truncated by the end of the section",
    )


def test_code_beyond_the_end_of_the_file() -> None:
    """A segment that claims more than the file has."""
    data = bytearray(elf([], notes=described(struct.pack("<3Q", 0x1000 + 900, 0, 0) + b"a\0b\0\0")))
    struct.pack_into("<Q", data, 64 + 32, 1 << 40)  # p_filesz
    assert len(data) < 900
    assert read(bytes(data)).problems == ("probe a:b at 0x1384: its code is not in the file",)
    assert len(read(bytes(data.ljust(901, b"\0"))).sites) == 1


def test_counts_problems_beyond_the_first() -> None:
    notes = read(elf([], notes=described(b"") * (MAX_PROBLEMS + 5)))
    assert len(notes.problems) == MAX_PROBLEMS + 1
    assert notes.problems[-1] == "5 more notes cannot be used"


def test_accepts_names_and_arguments_up_to_the_limits() -> None:
    site = "p" * MAX_NAME, "n" * MAX_NAME, "8@%rax " * (MAX_ARGUMENTS // 7)
    (found,) = read(elf([site])).sites
    assert (found.provider, found.name, found.arguments) == site


def test_escapes_name_that_is_not_ascii() -> None:
    (site,) = read(elf([("a", "größe", "8@größe(%rip)")])).sites
    assert (site.name, site.arguments) == (r"gr\xc3\xb6\xc3\x9fe", r"8@gr\xc3\xb6\xc3\x9fe(%rip)")


def test_file_without_sections_has_no_sites() -> None:
    for data in (claim(GOOD, e_shoff=0), claim(GOOD, e_shstrndx=0), claim(GOOD, ZERO) + b"tail"):
        assert read(data).problems == ()
    assert read(claim(GOOD, e_shoff=0)).sites == ()
    assert read(GOOD.replace(b".note.stapsdt", b".note.nothing")).sites == ()


def test_reads_counts_from_section_header_0() -> None:
    data = claim(GOOD, ZERO, sh_size=3, sh_link=NAMES, sh_info=1)
    assert read(claim(data, e_shnum=0, e_shstrndx=0xFFFF, e_phnum=0xFFFF)) == read(GOOD)


def test_reads_every_section_of_the_name() -> None:
    """A linker may leave several. Here the table of names is also read as notes, which it is not."""
    data = claim(GOOD, ZERO, sh_name=1, sh_type=7, sh_offset=120, sh_size=len(note(SITES[0], "<", 8)))
    assert [site.name for site in read(data).sites] == ["none", "none", "two", "one"]


HOSTILE = {
    "notes of 3 GB": (claim(GOOD, NOTES, sh_size=3_000_000_000), "at most 1,048,576 bytes of .note.stapsdt"),
    "notes of 2^64": (claim(GOOD, NOTES, sh_size=2**64 - 1), "at most 1,048,576 bytes of .note.stapsdt"),
    "notes at 2^64": (claim(GOOD, NOTES, sh_offset=2**64 - 1), "would end at byte"),
    "compressed notes": (claim(GOOD, NOTES, sh_flags=0x800), "expected a plain section"),
    "notes without bytes": (claim(GOOD, NOTES, sh_type=8), "expected a plain section"),
    "names of 4 GB": (claim(GOOD, NAMES, sh_size=1 << 32), "at most 1,048,576 bytes of names of sections"),
    "names at 2^64": (claim(GOOD, NAMES, sh_offset=2**64 - 64), "names of sections would end at byte"),
    "names in no section": (claim(GOOD, e_shstrndx=3), "expected names in one of 3 sections, got 3"),
    "65,535 sections": (claim(GOOD, e_shnum=0xFFFF), "at most 1,048,576 bytes of section headers"),
    "2^64 sections": (
        claim(claim(GOOD, ZERO, sh_size=2**64 - 1), e_shnum=0),
        "at most 1,048,576 bytes of section headers",
    ),
    "sections at 2^64": (claim(GOOD, e_shoff=2**64 - 1), "section headers would end at byte"),
    "large section headers": (claim(GOOD, e_shentsize=0xFFFF), "expected section headers of 64 bytes"),
    "empty section headers": (claim(GOOD, e_shentsize=0), "expected section headers of 64 bytes, got 0"),
    "65,534 segments": (claim(GOOD, e_phnum=0xFFFE), "at most 1,048,576 bytes of program headers"),
    "2^32 segments": (
        claim(claim(GOOD, ZERO, sh_info=2**32 - 1), e_phnum=0xFFFF),
        "at most 1,048,576 bytes of program headers",
    ),
    "large program headers": (claim(GOOD, e_phentsize=0xFFFF), "expected program headers of 56 bytes"),
    "empty": (b"", "expected an ELF file"),
    "a script": (b"#!/bin/sh\n" * 20, "expected an ELF file"),
    "the magic number only": (b"\x7fELF", "damaged ELF file"),
    "half a header": (GOOD[:30], "the ELF header would end at byte 64 of 30"),
    "class 3": (GOOD[:4] + b"\x03" + GOOD[5:], "unknown word size"),
    "byte order 0": (GOOD[:5] + b"\0" + GOOD[6:], "byte order"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_rejects_false_sizes_before_reading(name: str) -> None:
    """In a file as large as it claims, and in a smaller one."""
    data, words = HOSTILE[name]
    for size in (0, TERABYTE) if name.split()[0].isdigit() or " of " in name else (0,):
        file = Counting(data, size)
        with pytest.raises(ElfError, match=re.escape(words)):
            read_notes(file)
        assert file.read_bytes <= len(GOOD) + 64


def overlapping() -> bytes:
    """The maximum number of section headers, each of which claims the same notes."""
    count = MAX_SIZE // 64
    content = note(SITES[1], "<", 8)
    start = elf([], notes=content)
    names = start.index(b"\0.note.stapsdt\0")
    at = len(start)
    header = struct.pack("<2I4Q2I2Q", 1, 7, 0, 0, start.index(content), len(content), 0, 0, 4, 0)
    last = struct.pack("<2I4Q2I2Q", 15, 3, 0, 0, names, 39, 0, 0, 1, 0)
    return claim(start, e_shoff=at, e_shnum=count - 1, e_shstrndx=count - 2) + header * (count - 2) + last


LARGE = {
    "notes of zero size": elf([], notes=bytes(MAX_SIZE)),
    "probes without a description": elf([], notes=described(b"") * (MAX_SIZE // 20)),
    "the smallest probes": elf([], notes=described(ADDRESSES + b"a\0b\0\0") * (MAX_SIZE // 52)),
    "one probe with an endless name": elf([], notes=described(ADDRESSES + b"a" * (MAX_SIZE - 44))),
    "one probe with endless arguments": elf(
        [], notes=described(ADDRESSES + b"a\0b\0" + b"\xff" * (MAX_SIZE - 49) + b"\0")
    ),
    "names of sections without an end": claim(GOOD, NAMES, sh_size=MAX_SIZE) + b"a" * MAX_SIZE,
    "sections that overlap": overlapping(),
    "segments that overlap": claim(
        elf([], notes=described(ADDRESSES + b"a\0b\0\0") * (MAX_SIZE // 52)),
        e_phoff=2 * MAX_SIZE,
        e_phnum=MAX_SIZE // 56,
    ).ljust(2 * MAX_SIZE, b"\0")
    + b"".join(struct.pack("<2I6Q", 1, 5, 0, n, 0, 1 << 63, 1 << 63, 1) for n in range(MAX_SIZE // 56)),
}


@pytest.mark.parametrize("name", LARGE)
def test_memory_and_reads_are_bounded_at_the_limits(name: str) -> None:
    """Three tables and one section of MAX_SIZE are read; 32 times MAX_SIZE is held."""
    file = Counting(LARGE[name], TERABYTE)
    tracemalloc.start()
    try:
        if name == "sections that overlap":
            with pytest.raises(ElfError, match=r"at most 1,048,576 bytes of \.note\.stapsdt"):
                read_notes(file)
        else:
            notes = read_notes(file)
            assert len(notes.problems) <= MAX_PROBLEMS + 1
            assert len(notes.sites) <= MAX_SIZE // 52
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert file.read_bytes <= 4 * MAX_SIZE
    assert file.reads <= 8
    assert peak <= 32 * MAX_SIZE


PRIVATE = b"\0libvirt.so.0\0LIBVIRT_0.0.3\0LIBVIRT_PRIVATE_12.9.0\0LIBVIRT_12.5.0\0"


@pytest.mark.parametrize(
    ("symbols", "version"),
    [
        (PRIVATE, "12.9.0"),
        (PRIVATE.replace(b"12.9.0", b"1.2.9.3"), "1.2.9.3"),
        (PRIVATE * 2, "12.9.0"),
        (PRIVATE + b"LIBVIRT_PRIVATE_9.0.0\0", None),
        (PRIVATE.replace(b"_PRIVATE", b""), None),
        (PRIVATE.replace(b"12.9.0\0", b"12.9.0"), None),
        (PRIVATE.replace(b"12.9.0", b"12"), None),
        (PRIVATE.replace(b"12.9.0", b"12." + b"9" * 5000 + b".0"), None),
        (b"\0", None),
        (b"", None),
    ],
)
def test_version_of_libvirt_in_symbols(symbols: bytes, version: str | None) -> None:
    for big in (False, True):
        assert read_notes(io.BytesIO(elf([SITES[1]], big=big, symbols=symbols))).libvirt == version
    assert read_notes(io.BytesIO(elf([], symbols=symbols))).libvirt is None  # there is nothing to trace


def test_symbols_share_the_limit_of_the_notes() -> None:
    """Names beyond it are not read."""
    notes = described(ADDRESSES + b"a\0b\0\0") * (MAX_SIZE // 2 // 52)
    for size, version in ((MAX_SIZE - len(notes), "12.9.0"), (MAX_SIZE - len(notes) + 1, None)):
        file = Counting(elf([], notes=notes, symbols=PRIVATE.rjust(size, b"\0")))
        assert read_notes(file).libvirt == version
        assert file.read_bytes <= 4 * MAX_SIZE
    damaged = claim(elf([SITES[1]], symbols=PRIVATE), 3, sh_size=MAX_SIZE // 2)
    assert len(read_notes(io.BytesIO(damaged)).sites) == 1


@pytest.mark.parametrize(
    "content",
    [bytes(12), described(b""), described(ADDRESSES + b"a\0b\0\0")],
    ids=["zeros", "empty", "probes"],
)
def test_work_is_linear(content: bytes) -> None:
    def act(size: int) -> Callable[[], object]:
        data = elf([], notes=content * size)
        return lambda: read(data)

    assert_linear(*grown(act, 200))


#: Reads a file as `trace` and `generate` do, and prints the growth of the process's peak memory in KiB.
CHILD = """
import resource, sys
from libvirt_proto_codegen.providers.binaries import BinaryError, read_binary
from libvirt_proto.capture.probes.notes import NotesError, read_notes
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    with open(sys.argv[1], "rb") as file:
        read_notes(file)
except NotesError as error:
    print(error)
try:
    read_binary(sys.argv[1])
except BinaryError as error:
    print(error)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_sparse_file_that_claims_3_gb_of_notes(tmp_path: Path) -> None:
    """Reading it all took 5.9 GB of memory."""
    path = tmp_path / "sparse.so"
    with path.open("wb") as file:
        file.write(claim(GOOD, NOTES, sh_size=3_000_000_000))
        file.truncate(3_000_100_000)
    assert path.stat().st_blocks * 512 < 100_000
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(path)],
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30)),
    )
    first, second, grown = done.stdout.splitlines()
    assert first == "expected at most 1,048,576 bytes of .note.stapsdt, got 3,000,000,000"
    assert second == f"{path}: {first}"
    assert int(grown) < 4096


def test_rejects_files_that_cannot_seek_or_shrink(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(writing)
    with open(reading, "rb") as pipe, pytest.raises(ElfError, match="expected a regular file"):
        read_notes(pipe)

    class Shrinking(Counting):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(size)[: 64 if self.reads < 3 else 10]

    with pytest.raises(ElfError, match="bytes of section headers, got 10"):
        read_notes(Shrinking(GOOD))


def test_imports_only_the_standard_library() -> None:
    """Without site-packages; it loads nothing else of the runtime either."""
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import libvirt_proto.codec.elfnotes;"
        "print(*sorted(n for n in sys.modules if n.partition('.')[0] not in sys.stdlib_module_names))"
    )
    root = Path(__file__).parent.parent.parent.parent
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script, str(root)], capture_output=True, text=True, check=True
    )
    parts = ("", ".codec", ".codec.elf", ".codec.elfnotes", ".codec.operands")
    assert set(done.stdout.split()) - {"__main__"} == {f"libvirt_proto{part}" for part in parts}


def compare(data: bytes) -> int:
    """Compare with pyelftools; return the number of sites."""
    notes, expected = read(data), judged(io.BytesIO(data))
    assert notes.problems == ()
    assert [(s.provider, s.name, s.arguments, s.address) for s in notes.sites] == [
        each[:4] for each in expected
    ]
    for site, each in zip(notes.sites, expected, strict=True):
        assert (site.offset,) == each.offsets
        assert ((site.semaphore,) if site.semaphore else ()) == each.semaphores
    return len(notes.sites)


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("big", [False, True])
def test_pyelftools_agrees_on_small_files(bits: int, big: bool) -> None:
    assert compare(elf(SITES, bits=bits, big=big)) == len(SITES)
    assert compare(elf(SITES, bits=bits, big=big, base=0x2010)) == len(SITES)


@pytest.mark.system("gcc")
@pytest.mark.parametrize("options", [(), ("-static",), ("-no-pie",), ("-shared", "-fPIC")])
@pytest.mark.parametrize("text", [PROGRAM, OTHERS])
def test_pyelftools_agrees_on_compiled_programs(tmp_path: Path, options: tuple[str, ...], text: str) -> None:
    assert compare(program(tmp_path, *options, text=text).read_bytes()) > 4


LIBRARIES = {
    "libvirt.so.0": 20,
    "libvirt/connection-driver/libvirt_driver_qemu.so": 1,
    "libc.so.6": 0,
    "libstdc++.so.6": 0,
    "libm.so.6": 0,
}


@pytest.mark.parametrize("name", LIBRARIES)
def test_pyelftools_agrees_on_installed_libraries(name: str) -> None:
    found = list(Path("/usr").glob(f"lib*/*/{name}")) or list(Path("/usr").glob(f"lib*/{name}"))
    if not found:
        pytest.skip(f"{name} is not installed")
    for path in found:
        assert compare(path.read_bytes()) >= LIBRARIES[name]


@given(data=st.data())
def test_damaged_files_read_or_raise(data: st.DataObject) -> None:
    good = elf(SITES, bits=data.draw(st.sampled_from([32, 64])), big=data.draw(st.booleans()))
    damaged = bytearray(good)
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    file = Counting(bytes(damaged), data.draw(st.sampled_from([0, TERABYTE])))
    with suppress(ElfError):
        notes = read_notes(file)
        assert all(0 <= site.offset < TERABYTE for site in notes.sites)
        assert all(problem.isprintable() for problem in notes.problems)
    assert file.read_bytes <= 4 * MAX_SIZE + 128
