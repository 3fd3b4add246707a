"""Probes in ELF notes, and where libvirt's binaries are."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
def test_sites(tmp_path: Path, bits: int, big: bool) -> None:
    path = tmp_path / "lib.so"
    path.write_bytes(elf(SITES, bits=bits, big=big))
    binary = read_binary(str(path))
    assert (binary.path, binary.probes) == (str(path), PROBES)


def test_other_notes_are_passed_over(tmp_path: Path) -> None:
    site = ("libvirt", "one", "8@%rbx")
    notes = [
        note(site, "<", 8, kind=4),
        note(site, "<", 8, owner=b"GNU\0"),
        note(("a", "b", "8@%rax"), "<", 8),
    ]
    path = tmp_path / "lib.so"
    path.write_bytes(elf([], notes=b"".join(notes) + b"\x08\0\0"))
    assert read_binary(str(path)).probes == {("a", "b"): {1}}
    path.write_bytes(elf([], notes=struct.pack("<3I", 8, 2**31, 3) + b"stapsdt\0"))
    assert read_binary(str(path)).probes == {}


def test_a_binary_without_probes(tmp_path: Path) -> None:
    path = tmp_path / "lib.so"
    path.write_bytes(elf([]).replace(b".note.stapsdt", b".note.nothing"))
    assert read_binary(str(path)).probes == {}


def test_what_is_no_binary(tmp_path: Path) -> None:
    with pytest.raises(BinaryError, match=r"cannot read .*: No such file"):
        read_binary(str(tmp_path / "nothing"))
    with pytest.raises(BinaryError, match=r"cannot read .*: Is a directory"):
        read_binary(str(tmp_path))
    path = tmp_path / "lib.so"
    for data in (b"", b"#!/bin/sh\n", elf(SITES)[:30], elf(SITES)[:-60]):
        path.write_bytes(data)
        with pytest.raises(BinaryError, match="is no program or library"):
            read_binary(str(path))
    path.write_bytes(elf(SITES, flags=0x800))
    with pytest.raises(BinaryError, match="was not made by"):
        read_binary(str(path))


@given(data=st.data())
def test_any_damage_gives_probes_or_an_error(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    good = elf(SITES, bits=data.draw(st.sampled_from([32, 64])), big=data.draw(st.booleans()))
    damaged = bytearray(good)
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.so"
    path.write_bytes(damaged[: data.draw(st.integers(0, len(good)) | st.just(len(good)))])
    try:
        probes = read_binary(str(path)).probes
    except BinaryError:
        pass
    else:
        assert all(numbers and min(numbers) >= 0 for numbers in probes.values())


def test_where_libvirt_is(tmp_path: Path) -> None:
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
