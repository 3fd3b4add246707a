"""Finding and opening files with probes that processes have mapped."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

import pytest

from libvirt_proto.capture.probes import loaded as module
from libvirt_proto.capture.probes.errors import TraceError
from libvirt_proto.capture.probes.loaded import Binary, comm, loaded, named, threads
from tests.support.probes import program

pytestmark = pytest.mark.system("gcc")
NOBODY = 1 << 23


@pytest.fixture(scope="module")
def binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program with the library's name, which therefore counts as having loaded it."""
    return program(tmp_path_factory.mktemp("loaded"), name="libvirt-proto-test.so")


@pytest.fixture
def files() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@contextmanager
def running(path: Path, user: int | None = None) -> Iterator[int]:
    """A process that waits for its input."""
    identity: dict[str, Any] = {} if user is None else {"user": user, "group": user, "extra_groups": []}
    with subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, **identity) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"n 1\n")
        process.stdin.flush()
        process.stdout.readline()  # it has started
        yield process.pid
        process.stdin.close()


def copy(binary: Path, place: Path) -> Path:
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(binary.read_bytes())
    place.chmod(0o755)
    return place


def is_of(binary: Binary, path: Path) -> bool:
    return os.path.samestat(os.fstat(binary.file.fileno()), os.stat(path))


def test_lists_mapped_files_of_a_process(binary: Path, files: ExitStack) -> None:
    with running(binary) as pid:
        (found,) = loaded(files, binary.name, [pid]).binaries
        assert (found.path, found.name) == (str(binary), str(binary))
        assert is_of(found, binary)
        assert os.path.samefile(found.kernel_path, binary)
        assert {site.provider for site in found.notes.sites} == {"libvirt"}
        (again,) = loaded(files, binary.name, comms=[comm(pid)]).binaries
        assert is_of(again, binary)
        assert loaded(files, "libvirt.so.0", [pid]) == ([], [])
        assert loaded(files, binary.name, [pid], ["other"]) == ([], [])
        assert threads(pid) == [pid]


def test_deleted_or_replaced_file_is_reached_through_its_process(
    binary: Path, tmp_path: Path, files: ExitStack
) -> None:
    """After an upgrade, the path leads to another file or nowhere."""
    place = copy(binary, tmp_path / binary.name)
    with running(place) as pid:
        if os.geteuid() != 0:
            pytest.skip("map_files needs a privilege")
        place.unlink()
        (found,) = loaded(files, binary.name, [pid]).binaries
        assert found.path.startswith(f"/proc/{pid}/")
        assert found.name == f"{place} (process {pid})"
        assert Path(found.kernel_path).read_bytes() == binary.read_bytes()
        place.write_text("another file")
        (again,) = loaded(files, binary.name, [pid]).binaries
        assert again.path == found.path
        assert Path(again.kernel_path).read_bytes() == binary.read_bytes()


@pytest.mark.parametrize(
    "name", [b"build#1", b"with blanks", b"voil\xe0", b"nbsp\xa0", b"a\nb", b"c (deleted)"]
)
def test_reads_any_path(binary: Path, tmp_path: Path, files: ExitStack, name: bytes) -> None:
    place = copy(binary, tmp_path / os.fsdecode(name) / binary.name)
    with running(place) as pid:
        (found,) = loaded(files, binary.name, [pid]).binaries
        assert (found.path, is_of(found, place)) == (str(place), True)
    (chosen,) = named(files, (str(place),))
    assert is_of(chosen, place)


def test_unprivileged_path_must_be_the_mapped_file(binary: Path, tmp_path: Path, files: ExitStack) -> None:
    place, other = copy(binary, tmp_path / "a"), copy(binary, tmp_path / "b")
    stat = os.stat(place)
    mapped = module._Mapped(1, "/proc/1/no such link", str(place), (stat.st_dev, stat.st_ino))
    with module.open_file(str(place), mapped.identity) as file:
        assert file.read() == binary.read_bytes()
    place.unlink()
    place.symlink_to(other)
    with pytest.raises(OSError, match="the path leads to another file"):
        module.open_file(str(place), mapped.identity)


def test_does_not_open_devices_or_block(tmp_path: Path) -> None:
    """A FIFO has no writer; a lease has a holder that keeps it."""
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path, Path("/dev/zero")):
        with pytest.raises(OSError, match="expected a regular file"):
            module.open_file(str(path))
    (tmp_path / "file").write_text("text")
    with (tmp_path / "file").open("r+") as holder:
        try:
            fcntl.fcntl(holder, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        except OSError:
            pytest.skip("this file system has no leases")
        fcntl.fcntl(holder, fcntl.F_SETSIG, 0)
        before = signal.signal(signal.SIGIO, signal.SIG_IGN)
        try:
            with pytest.raises(BlockingIOError):
                module.open_file(str(tmp_path / "file"))
        finally:
            signal.signal(signal.SIGIO, before)


def test_unreadable_library_is_reported(
    binary: Path, monkeypatch: pytest.MonkeyPatch, files: ExitStack
) -> None:
    def unreadable(file: object) -> None:
        raise module.NotesError("it is damaged")

    with running(binary) as pid:
        monkeypatch.setattr(module, "read_notes", unreadable)
        found = loaded(files, binary.name, [pid])
        assert found == ([], [f"{binary}: it is damaged"])


def test_vanished_library_is_ignored(binary: Path, monkeypatch: pytest.MonkeyPatch, files: ExitStack) -> None:
    """It was unmapped, or its process exited, after it was listed."""
    monkeypatch.setattr(
        module,
        "_files",
        lambda pid, _: [module._Mapped(NOBODY, f"/proc/{NOBODY}/map_files/1-2", str(binary), (1, 2))],
    )
    assert loaded(files, binary.name, [os.getpid()]) == ([], [])


def test_number_of_files_is_limited(
    binary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: ExitStack
) -> None:
    """No more files are kept open, and the rest is reported."""
    monkeypatch.setattr(module, "MAX_FILES", 2)
    places = [copy(binary, tmp_path / str(number) / binary.name) for number in range(4)]
    with ExitStack() as processes:
        pids = [processes.enter_context(running(place)) for place in places]
        before = len(os.listdir("/proc/self/fd"))
        found = loaded(files, binary.name, pids)
        assert len(found.binaries) == 2
        assert len(os.listdir("/proc/self/fd")) == before + 2
        (problem,) = found.problems
        assert "the limit is 2 files" in problem
    files.close()
    assert len(os.listdir("/proc/self/fd")) == before - 8  # two pipe ends of each process, too


def test_number_of_notes_is_limited(
    binary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: ExitStack
) -> None:
    """Any user may map many files full of notes: 256 of them took 160 s and 1.4 GB."""
    places = [copy(binary, tmp_path / str(number) / binary.name) for number in range(3)]
    with ExitStack() as processes:
        pids = [processes.enter_context(running(place)) for place in places]
        one = loaded(files, binary.name, pids[:1]).binaries[0].notes
        assert one.found == len(one.sites) > 1
        monkeypatch.setattr(module, "MAX_NOTES", one.found + 1)
        found = loaded(files, binary.name, pids)
        assert len(found.binaries) == 2
        (problem,) = found.problems
        assert f"the limit is 256 files and {one.found + 1} probes" in problem


MAPS_OFTEN = """
import mmap, sys
with open(sys.argv[1], "rb") as file:
    maps = [
        mmap.mmap(file.fileno(), 4096, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC) for _ in range(50)
    ]
    print("mapped", flush=True)
    sys.stdin.read()
"""


def test_file_mapped_many_times_is_opened_once(
    binary: Path, monkeypatch: pytest.MonkeyPatch, files: ExitStack
) -> None:
    """One process with 60,000 mappings of a file delayed a trace by 7 s."""
    opened = []
    open_ = module.open_file

    def count(path: str, *identity: tuple[int, int]) -> BinaryIO:
        opened.append(path)
        return open_(path, *identity)

    monkeypatch.setattr(module, "open_file", count)
    command = [sys.executable, "-c", MAPS_OFTEN, str(binary)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = loaded(files, binary.name, [process.pid])
        process.communicate(b"")
    assert len(found.binaries) == 1
    assert len([path for path in opened if "map_files" in path]) == 1


def test_files_named_by_the_user(binary: Path, tmp_path: Path, files: ExitStack) -> None:
    link = tmp_path / "link"
    link.symlink_to(binary)
    (found,) = named(files, (str(link), str(binary)))  # one file with two names
    assert (found.name, is_of(found, binary)) == (str(link), True)
    (tmp_path / "text").write_text("no program")
    os.mkfifo(tmp_path / "fifo")
    for name in ("text", "missing", "fifo"):
        with pytest.raises(TraceError, match=rf"{tmp_path}/{name}: "):
            named(files, (str(tmp_path / name),))


def test_missing_processes(files: ExitStack) -> None:
    assert (threads(NOBODY), comm(NOBODY)) == ([], "")
    assert os.getpid() in module.processes()
    assert loaded(files, "libvirt.so.0", [NOBODY]) == ([], [])


UNPRIVILEGED = """
import os, sys
from contextlib import ExitStack
from elftools.elf import elffile, sections, segments
from libvirt_proto.capture.probes.loaded import loaded
os.setgroups([]); os.setgid(65534); os.setuid(65534)
with ExitStack() as files:
    found = loaded(files, sys.argv[1], [int(sys.argv[2])])
    print([binary.name for binary in found.binaries], found.problems)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_ordinary_user_lists_probes_of_own_processes(binary: Path) -> None:
    """map_files requires root: the path is used if it leads to the mapped file."""
    uncounted = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        place = copy(binary, Path(folder) / binary.name)
        words = [sys.executable, "-c", UNPRIVILEGED, binary.name]

        def listed(pid: int) -> str:
            done = subprocess.run(
                [*words, str(pid)], capture_output=True, text=True, check=True, env=uncounted
            )
            return done.stdout.strip()

        with running(place, user=65534) as pid:
            assert listed(pid) == f"['{place}'] []"
            other = copy(binary, Path(folder) / "other")
            place.unlink()
            place.symlink_to(other)
            # /proc/PID/exe is still the program.
            problem = f"{place}: the path leads to another file than the process has mapped"
            assert listed(pid) == f"['{place} (process {pid})'] ['{problem}']"
