"""Which files with probes processes have loaded, under the names that the kernel can use."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from libvirt_proto.capture.probes import loaded as module
from libvirt_proto.capture.probes.errors import TraceError
from libvirt_proto.capture.probes.loaded import comm, loaded, named, threads
from tests.support.probes import program

pytestmark = pytest.mark.system("gcc")
NOBODY = 1 << 23


@pytest.fixture(scope="module")
def binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program that has the name of the library, and so counts as one that has loaded it."""
    return program(tmp_path_factory.mktemp("loaded"), name="libvirt-proto-test.so")


@contextmanager
def running(path: Path) -> Iterator[int]:
    """A process that waits for its input."""
    with subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"n 1\n")
        process.stdin.flush()
        process.stdout.readline()  # it has begun
        yield process.pid
        process.stdin.close()


def test_what_a_process_has_loaded(binary: Path) -> None:
    with running(binary) as pid:
        (found,) = loaded(binary.name, [pid])
        assert (found.path, found.name) == (str(binary), str(binary))
        assert {site.provider for site in found.notes.sites} == {"libvirt"}
        assert loaded(binary.name, comms=[comm(pid)]) == [found]
        assert loaded("libvirt.so.0", [pid]) == []
        assert loaded(binary.name, [pid], ["other"]) == []
        assert threads(pid) == [pid]


def test_a_file_that_is_gone_or_was_replaced_is_named_by_the_process(binary: Path, tmp_path: Path) -> None:
    """After an upgrade, the path leads to another file or nowhere."""
    copy = tmp_path / binary.name
    copy.write_bytes(binary.read_bytes())
    copy.chmod(0o755)
    with running(copy) as pid:
        copy.unlink()
        (found,) = loaded(binary.name, [pid])
        assert found.path.startswith(f"/proc/{pid}/")
        assert found.name == str(copy)
        copy.write_text("another file")
        (again,) = loaded(binary.name, [pid])
        assert again.path == found.path


def test_a_path_with_blanks_is_named_by_the_process(binary: Path, tmp_path: Path) -> None:
    """The kernel takes no blank in the definition of an event."""
    copy = tmp_path / "with blanks" / binary.name
    copy.parent.mkdir()
    copy.write_bytes(binary.read_bytes())
    copy.chmod(0o755)
    with running(copy) as pid:
        (found,) = loaded(binary.name, [pid])
        assert found.path.startswith(f"/proc/{pid}/")
    with pytest.raises(TraceError, match="the kernel takes no path with blanks"):
        named(str(copy))


def test_a_library_that_cannot_be_read_is_said(binary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(file: object) -> None:
        raise module.NotesError("is no ELF file")

    with running(binary) as pid:
        monkeypatch.setattr(module, "read_notes", unreadable)
        with pytest.raises(TraceError, match=r"libvirt-proto-test\.so: is no ELF file\."):
            loaded(binary.name, [pid])


def test_files_that_a_user_names(binary: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(binary)
    assert (named(str(link)).path, named(str(link)).name) == (str(binary), str(link))
    (tmp_path / "text").write_text("no program")
    for name in ("text", "missing"):
        with pytest.raises(TraceError, match=rf"{tmp_path}/{name}: "):
            named(str(tmp_path / name))


def test_processes_that_are_not_there() -> None:
    assert (threads(NOBODY), comm(NOBODY)) == ([], "")
    assert os.getpid() in module.processes()
    assert loaded("libvirt.so.0", [NOBODY]) == []
