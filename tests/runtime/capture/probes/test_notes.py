"""NT_STAPSDT notes, compared with readelf."""

from __future__ import annotations

import io
import re
import struct
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libvirt_proto.capture.probes.loaded import named
from libvirt_proto.capture.probes.notes import Notes, NotesError, read_notes
from libvirt_proto.capture.probes.plan import plan, probes
from libvirt_proto.capture.probes.provider import DECLARATIONS, KINDS, known_arguments
from libvirt_proto.codec.providers import choose
from tests.support.probes import program

pytestmark = pytest.mark.system("gcc", "readelf")

NOTE = re.compile(
    r"Provider: (\w+)\s+Name: (\w+)\s+Location: (0x\w+), Base: (0x\w+), Semaphore: (0x\w+)\s+Arguments: (.*)"
)
LOAD = re.compile(r"LOAD\s+(0x\w+) (0x\w+) 0x\w+\s+(0x\w+) ")


@pytest.fixture(scope="module")
def binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return program(tmp_path_factory.mktemp("notes"))


@pytest.fixture
def files() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def read(data: bytes) -> Notes:
    return read_notes(io.BytesIO(data))


def said(path: Path) -> list[tuple[str, str, int, int, str]]:
    """readelf's output: provider, name, offsets of probe and semaphore, arguments."""

    def readelf(option: str) -> str:
        return subprocess.run(["readelf", option, path], capture_output=True, text=True, check=True).stdout

    loads = [tuple(int(n, 16) for n in found) for found in LOAD.findall(readelf("-lW"))]

    def offset(address: str) -> int:
        number = int(address, 16)
        (place,) = [at + number - start for at, start, size in loads if start <= number < start + size]
        return place

    notes = NOTE.findall(readelf("-nW"))
    return [(provider, name, offset(at), offset(s), args) for provider, name, at, _, s, args in notes]


def test_notes_match_readelf(binary: Path) -> None:
    notes = read(binary.read_bytes())
    assert notes.problems == ()
    assert [site[:5] for site in notes.sites] == said(binary)
    names = [site.name for site in notes.sites]
    assert names.count("rpc_client_msg_tx_queue") == 2
    assert len({site.semaphore for site in notes.sites}) == len(set(names))


def test_without_semaphores(tmp_path: Path) -> None:
    source = tmp_path / "small.c"
    source.write_text("#include <sys/sdt.h>\nint main(void) { DTRACE_PROBE(libvirt, lonely); return 0; }")
    target = tmp_path / "small"
    subprocess.run(["gcc", "-o", str(target), str(source)], check=True)
    (site,) = read(target.read_bytes()).sites
    assert (site.name, site.semaphore, site.arguments) == ("lonely", None, "")
    assert target.read_bytes()[site.offset :][:1] in (b"\x90", b"\x1f")  # a nop of either processor


def moved(data: bytes, by: int) -> bytes:
    """The three addresses of a note, lowered as if the linker had seen other addresses."""
    found = bytearray(data)
    for match in re.finditer(rb"stapsdt\0", data):
        at = match.end()
        if data[at - 20 : at - 16] == struct.pack("<I", 8):
            addresses = struct.unpack_from("<3Q", found, at)
            struct.pack_into("<3Q", found, at, *(address - by if address else 0 for address in addresses))
    return bytes(found)


def test_addresses_moved_by_prelink(binary: Path) -> None:
    data = binary.read_bytes()
    assert moved(data, 0x40) != data
    assert read(moved(data, 0x40)) == read(data)


def test_addresses_outside_the_file(binary: Path) -> None:
    data = bytearray(binary.read_bytes())
    at = data.index(b"stapsdt\0", data.index(b"stapsdt\0") - 1) + 8
    good = read(bytes(data))
    struct.pack_into("<Q", data, at, 1 << 40)
    notes = read(bytes(data))
    assert len(notes.sites) == len(good.sites) - 1
    (problem,) = notes.problems
    assert problem.endswith("its code is not in the file")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "expected an ELF file"),
        (b"#!/bin/sh\n", "expected an ELF file"),
        (b"\x7fELF", "damaged"),
        (
            b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHI", 3, 8, 1) + bytes(40),
            "expected 64-bit code for x86-64 or AArch64",
        ),
    ],
)
def test_other_files(data: bytes, words: str) -> None:
    with pytest.raises(NotesError, match=words):
        read(data)


@given(st.data())
def test_damaged_files(binary: Path, data: st.DataObject) -> None:
    """Any change gives notes or a NotesError."""
    content = bytearray(binary.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content
    try:
        notes = read(bytes(content))
    except NotesError:
        return
    assert isinstance(notes, Notes)


def test_skips_sites_with_missing_or_unknown_arguments(binary: Path, files: ExitStack) -> None:
    data = binary.read_bytes()
    found = re.search(rb"rpc_client_new\0([^\0]+)\0", data)
    assert found is not None
    size = len(found[1])
    one = b"8@%s(%%rax)" if read(data).machine == "x86_64" else b"8@[x0,%s]"
    for arguments, words in (
        (b"8@%" + b"?" * (size - 3), "unsupported operand"),
        (one % (b"0" * (size - len(one % b""))), "expected 2 arguments, got 1"),
    ):
        assert len(arguments) == size
        changed = binary.with_name("changed")
        changed.write_bytes(data[: found.start(1)] + arguments + data[found.end(1) :])
        places = probes(named(files, (str(changed),)))
        (problem,) = [probe for probe in places if probe.problem]
        assert (problem.kind, words in problem.problem) == ("client_new", True)
        kinds = {event.kind for event in plan("group", places, 1).events}
        assert {
            event.kind for event in plan("group", probes(named(files, (str(binary),))), 1).events
        } - kinds == {"client_new"}


PROBE = re.compile(r"^ *probe (\w+)\((.*)\);$", re.MULTILINE)
MEANINGS = {
    "char *": {"text", "line"},
    "void *": {"object"},
    "int ": {"signed", "unsigned"},
    "pid_t ": {"signed"},
}


@pytest.mark.parametrize("release", ["10.0.0", "12.9.0"])
def test_names_match_libvirt_providers(release: str, root: Path) -> None:
    """Arguments are in order, and text is text, where a provider has them. Every event loop probe is traced
    except events of removed objects."""
    found = {
        name: [re.fullmatch(r"(?:const )?(.*[ *])(\w+)", argument) for argument in arguments.split(", ")]
        for file in (root / "protocol-defs" / release).glob("libvirt*_probes.d")
        for name, arguments in PROBE.findall(file.read_text())
    }
    common = found.keys() & KINDS.keys()
    assert {name for name in found if name.startswith("event_")} - common == {
        "event_glib_remove_handle_idle",
        "event_glib_remove_timeout_idle",
    }
    assert sum(name.startswith("qemu_monitor_") for name in common) == 3
    assert sum(name.startswith("rpc_") for name in common) > 25
    for name in common:
        arguments = known_arguments(choose(DECLARATIONS, release), name, len(found[name]))
        assert [match[2] for match in found[name] if match] == [each.name for each in arguments if each]
        for match, argument in zip(found[name], arguments, strict=True):
            assert match
            assert argument
            assert argument.meaning in MEANINGS[match[1]]
