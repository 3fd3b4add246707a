"""A full disk: the error of every command names the file."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.differential.ours import COMMAND

FULL = "no space left on device"


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 KiB."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("only root can mount a small file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def said(*words: str | Path, status: int = 1, **options: object) -> str:
    """The standard error of a failing command."""
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True, **options}
    done = subprocess.run([COMMAND, *words], **pipes)  # type: ignore[call-overload]
    assert done.returncode == status
    return str(done.stderr)


@pytest.mark.parametrize("option", ["-o", "-w"])
def test_output_is_named(captures: Path, tiny: Path, option: str) -> None:
    out = tiny / "out"
    assert said("decode", option, out, captures / "tour.pcap") == f"libvirt-proto: error: {out}: {FULL}\n"


@pytest.mark.parametrize("words", [["stats"], ["decode", "--jobs", "2", "{capture}"]])
def test_device_is_named(captures: Path, words: list[str]) -> None:
    capture = captures / "tour.pcap"
    command = [word.format(capture=capture) for word in words]
    assert said(*command, "-o", "/dev/full", capture) == f"libvirt-proto: error: /dev/full: {FULL}\n"


@pytest.mark.parametrize(
    "words", [["stats", "{capture}"], ["decode", "--jobs", "2", "{capture}", "{capture}"], ["lookup", "66"]]
)
def test_standard_output_is_named(captures: Path, words: list[str]) -> None:
    command = [word.format(capture=captures / "tour.pcap") for word in words]
    with open("/dev/full", "wb") as full:
        assert said(*command, stdout=full) == f"libvirt-proto: error: standard output: {FULL}\n"


def test_output_of_encode_is_named(captures: Path) -> None:
    decode = [COMMAND, "decode", "--format", "jsonl", captures / "virsh-domname.pcap"]
    lines = subprocess.run(decode, capture_output=True, text=True, check=True).stdout
    assert said("encode", "-o", "/dev/full", input=lines) == f"libvirt-proto: error: /dev/full: {FULL}\n"


def test_generated_file_is_named(tiny: Path) -> None:
    assert f"cannot write {tiny}/__init__.py: {FULL}" in said("generate", "python", "-o", tiny)
    assert os.listdir(tiny) == []


def test_imported_folder_is_named(root: Path, tiny: Path) -> None:
    source = root / "protocol-defs" / "12.9.0"
    error = said("import", source, "--release", "12.9.0", "-o", tiny)
    assert f"cannot write {tiny}/12.9.0: {FULL}" in error
    assert os.listdir(tiny) == []


def test_report_is_named(tiny: Path) -> None:
    assert (
        said("diff", "1.0.0", "12.9.0", "-o", tiny / "out") == f"libvirt-proto: error: {tiny}/out: {FULL}\n"
    )


def test_temporary_folder_is_named(captures: Path, tiny: Path) -> None:
    """With --jobs, which stores results there."""
    environment = os.environ | {"TMPDIR": str(tiny)}
    capture = captures / "tour.pcap"
    error = said("decode", "--jobs", "2", *[capture] * 3, env=environment)
    assert error.startswith(f"libvirt-proto: error: {tiny}/libvirt-proto-")
    assert error.endswith(f".shown: {FULL}\n")
    assert os.listdir(tiny) == []


@pytest.mark.system("tshark")
def test_temporary_folder_of_a_decrypted_capture_is_named(captures: Path, tiny: Path) -> None:
    environment = os.environ | {"TMPDIR": str(tiny)}
    (tiny.parent / "keys").touch()
    with (captures / "tour.pcap").open("rb") as capture:
        error = said("decode", "--keylog", tiny.parent / "keys", "-", stdin=capture, env=environment)
    assert error == f"libvirt-proto: error: {tiny}: {FULL}\n"
