"""Probes in ELF notes, and the paths of libvirt binaries."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from libvirt_proto_codegen.providers.binaries import BinaryError, installed, read_binary
from tests.support.elf import elf, note

SITES = [
    ("libvirt", "none", ""),
    ("libvirt", "one", "8@%rbx"),
    ("libvirt", "two", "8@$1 -4@128(%rbx,%rax,8)"),
    ("libvirt", "two", "8@%rax 8@$-2"),
    ("libvirt", "torn", "8@%rax"),
    ("libvirt", "torn", "8@%rax 8@%rdx"),
    ("libvirt", "arm", "8@x0 -4@[sp, 16] 8@[x19, 96] 4f@v0"),
    ("other", "one", "1@%al 2@%ax 4@%eax"),
]
PROBES = {
    ("libvirt", "none"): {0},
    ("libvirt", "one"): {1},
    ("libvirt", "two"): {2},
    ("libvirt", "torn"): {1, 2},
    ("libvirt", "arm"): {4},
    ("other", "one"): {3},
}


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("big", [False, True])
def test_finds_probe_sites(tmp_path: Path, bits: int, big: bool) -> None:
    path = tmp_path / "lib.so"
    path.write_bytes(elf(SITES, bits=bits, big=big))
    binary = read_binary(str(path))
    assert (binary.path, binary.probes) == (str(path), PROBES)


def test_keeps_problems_of_notes(tmp_path: Path) -> None:
    path = tmp_path / "lib.so"
    path.write_bytes(elf([], notes=note(("a", "b", "8@%rax"), "<", 8) + b"\x08\0\0"))
    binary = read_binary(str(path))
    assert binary.probes == {("a", "b"): {1}}
    assert binary.problems == ("note at byte 56 of .note.stapsdt: truncated by the end of the section",)


def test_accepts_binary_without_probes(tmp_path: Path) -> None:
    path = tmp_path / "lib.so"
    path.write_bytes(elf([]).replace(b".note.stapsdt", b".note.nothing"))
    assert read_binary(str(path)).probes == {}


def test_rejects_other_files(tmp_path: Path) -> None:
    with pytest.raises(BinaryError, match=r"cannot read .*: no such file"):
        read_binary(str(tmp_path / "nothing"))
    os.mkfifo(tmp_path / "fifo")
    for special in (tmp_path / "fifo", "/dev/null"):
        with pytest.raises(BinaryError, match=r"cannot read .*: not a regular file"):
            read_binary(str(special))
    path = tmp_path / "lib.so"
    for data, words in (
        (b"", "expected an ELF file"),
        (b"#!/bin/sh\n", "expected an ELF file"),
        (elf(SITES)[:30], "damaged ELF file"),
        (elf(SITES)[:-60], "damaged ELF file"),
        (elf(SITES, flags=0x800), "expected a plain section .note.stapsdt"),
    ):
        path.write_bytes(data)
        with pytest.raises(BinaryError, match=words):
            read_binary(str(path))


def test_finds_libvirt_binaries(tmp_path: Path) -> None:
    assert installed(tmp_path) == ()
    for path in (
        "usr/lib/libvirt.so.0",
        "usr/lib/x86_64-linux-gnu/libvirt.so.0",
        "usr/lib/x86_64-linux-gnu/libvirt.so.0.9000.0",
        "usr/lib/x86_64-linux-gnu/libvirt/connection-driver/libvirt_driver_qemu.so",
        "usr/lib/x86_64-linux-gnu/libvirt/connection-driver/libvirt_driver_xen.so",
        "usr/sbin/libvirtd",
        "usr/sbin/virtqemud",
        "usr/sbin/virsh",
        "usr/bin/virtqemud",
        "usr/bin/libvirtd/not-a-file",
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(b"")
    assert [str(Path(path).relative_to(tmp_path)) for path in installed(tmp_path)] == [
        "usr/lib/x86_64-linux-gnu/libvirt.so.0",
        "usr/lib/x86_64-linux-gnu/libvirt/connection-driver/libvirt_driver_qemu.so",
        "usr/sbin/libvirtd",
        "usr/sbin/virtqemud",
    ]
