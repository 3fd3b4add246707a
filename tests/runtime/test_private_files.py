"""Files that only their user can read, protected from users who plant files in the same folder."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from libvirt_proto import private_files
from libvirt_proto.private_files import NotPrivateError, create, open_fifo, replace
from tests.differential.ours import COMMAND

NOBODY = 65534
only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def write(path: Path, data: bytes = b"secret") -> None:
    with create(path) as file:
        file.write(data)


def as_nobody(script: str, *words: str | Path) -> None:
    """Run a shell script as an attacker."""
    command = ["sh", "-c", f"umask 0; {script}", "sh", *map(str, words)]
    subprocess.run(command, check=True, user=NOBODY, group=NOBODY, extra_groups=[], cwd="/")


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """pytest's own folders cannot be entered by others."""
    with TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A folder like /tmp."""
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o1777)
    return folder


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    path = tmp_path / "victim"
    path.write_text("precious")
    path.chmod(0o666)
    return path


@pytest.mark.parametrize("mask", [0, 0o022, 0o777])
def test_new_file_is_private_with_any_umask(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        write(tmp_path / "new")
    finally:
        os.umask(before)
    assert mode(tmp_path / "new") == 0o600
    assert (tmp_path / "new").read_bytes() == b"secret"


def test_existing_file_is_tightened_before_anything_is_written(tmp_path: Path) -> None:
    path = tmp_path / "old"
    path.write_text("a longer text than the secret")
    path.chmod(0o644)
    with create(path) as file:
        assert (mode(path), path.read_bytes()) == (0o600, b"")
        file.write(b"secret")
    assert path.read_bytes() == b"secret"


def test_reader_of_old_file_sees_no_new_data(tmp_path: Path) -> None:
    """It was world-readable, so another user may still have it open."""
    path = tmp_path / "old"
    path.write_text("old")
    path.chmod(0o644)
    with path.open() as reader:
        write(path)
        assert reader.read() == "old"


def test_private_file_keeps_its_inode(tmp_path: Path) -> None:
    path = tmp_path / "old"
    write(path, b"a longer text than the secret")
    before = path.stat().st_ino
    write(path)
    assert (path.stat().st_ino, path.read_bytes()) == (before, b"secret")


@pytest.mark.parametrize("relative", [False, True])
def test_follows_own_symlinks(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, relative: bool
) -> None:
    (tmp_path / "real").mkdir()
    (shared / "folder").symlink_to("../real" if relative else tmp_path / "real")
    (tmp_path / "real" / "link").symlink_to("./../real//target")
    monkeypatch.chdir(shared)
    write(Path("folder/link") if relative else shared / "folder" / "link")
    assert (tmp_path / "real" / "target").read_bytes() == b"secret"
    assert (tmp_path / "real" / "link").is_symlink()


def test_own_dangling_symlink_creates_its_target(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("target")
    write(tmp_path / "link")
    assert mode(tmp_path / "target") == 0o600


def test_rejects_loop_of_symlinks(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError) as caught:
        create(tmp_path / "a")
    assert caught.value.errno == errno.ELOOP


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (".", IsADirectoryError),
        ("..", IsADirectoryError),
        ("none/x", FileNotFoundError),
        ("file/x", NotADirectoryError),
    ],
)
def test_rejects_paths_that_are_not_files(tmp_path: Path, name: str, kind: type[OSError]) -> None:
    (tmp_path / "file").write_text("kept")
    with pytest.raises(kind):
        create(tmp_path / name)
    for root in (Path(), Path("/")):
        with pytest.raises(IsADirectoryError):
            create(root)


def test_writes_to_fifo(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path, 0o644)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(path.read_bytes()))
    reader.start()
    write(path)
    reader.join(30)
    assert read == [b"secret"]
    assert mode(path) == 0o644


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link"])
@pytest.mark.parametrize("to", ["pipe", "file"])
def test_writes_to_descriptors(captures: Path, tmp_path: Path, name: str, to: str) -> None:
    (tmp_path / "link").symlink_to("/dev/stdout")
    file = tmp_path / "out"
    file.touch(0o644)
    command = [COMMAND, "decode", "-o", tmp_path / name, captures / "virsh-domname.pcap"]
    with file.open("wb") as out:
        done = subprocess.run(command, stdout=out if to == "file" else subprocess.PIPE)
    assert done.returncode == 0
    written = file.read_bytes() if to == "file" else done.stdout
    assert written.count(b"\n") == 18
    assert mode(file) == 0o644  # the shell's


def test_writes_to_devices_without_changing_their_mode() -> None:
    before = os.stat("/dev/null")
    write(Path("/dev/null"))
    assert os.stat("/dev/null").st_mode == before.st_mode


@only_root
@pytest.mark.parametrize("place", ["link", "folder/victim"])
@pytest.mark.parametrize("sticky", [0o1777, 0o777])
def test_rejects_symlink_of_another_user(
    shared: Path, victim: Path, tmp_path: Path, place: str, sticky: int
) -> None:
    shared.chmod(sticky)
    as_nobody('ln -s "$1" "$2"; ln -s "$3" "$4"', victim, shared / "link", tmp_path, shared / "folder")
    with pytest.raises(
        NotPrivateError, match=r"symlink owned by nobody .* name its target instead, or remove it"
    ):
        create(shared / place)
    assert victim.read_text() == "precious"
    assert mode(victim) == 0o666


@only_root
def test_rejects_symlink_in_folder_of_another_user(shared: Path, victim: Path) -> None:
    """The folder's owner controls its contents, too."""
    as_nobody('mkdir -m 755 "$1"; ln -s "$2" "$1/x"', shared / "f", victim)
    with pytest.raises(NotPrivateError):
        create(shared / "f" / "x")
    assert victim.read_text() == "precious"
    write(shared / "f" / "y")
    assert (mode(shared / "f" / "y"), (shared / "f" / "y").stat().st_uid) == (0o600, 0)


@only_root
def test_accepts_link_in_own_folder(shared: Path, victim: Path, tmp_path: Path) -> None:
    """Nobody else can have created it."""
    (tmp_path / "link").symlink_to(victim)
    os.lchown(tmp_path / "link", NOBODY, NOBODY)
    tmp_path.chmod(0o755)
    write(tmp_path / "link")
    assert victim.read_bytes() == b"secret"


@only_root
def test_rejects_hard_link(shared: Path, victim: Path) -> None:
    """If fs.protected_hardlinks is 0, any user can link to root's files."""
    os.link(victim, shared / "link")
    with pytest.raises(NotPrivateError, match="hard link"):
        create(shared / "link")
    assert victim.read_text() == "precious"


@only_root
def test_rejects_file_of_another_user(shared: Path) -> None:
    as_nobody('touch "$1"', shared / "theirs")
    with pytest.raises(NotPrivateError, match="belongs to nobody, who could read it"):
        create(shared / "theirs")
    assert (shared / "theirs").read_bytes() == b""


@only_root
def test_rejects_fifo_of_another_user_without_blocking(shared: Path) -> None:
    as_nobody('mkfifo "$1"', shared / "fifo")
    with pytest.raises(NotPrivateError, match="FIFO owned by nobody"):
        create(shared / "fifo")


def test_opens_only_a_private_fifo(tmp_path: Path) -> None:
    path, link, other = tmp_path / "fifo", tmp_path / "link", tmp_path / "other"
    os.mkfifo(path, 0o600)
    link.symlink_to("fifo")
    other.write_text("kept")
    for place in (link, other, tmp_path):
        with pytest.raises(NotPrivateError, match="expected a FIFO"):
            open_fifo(place)
    with pytest.raises(FileNotFoundError):
        open_fifo(tmp_path / "none")
    with pytest.raises(OSError, match="No such device"):  # without a reader
        open_fifo(path, 0)
    path.chmod(0o604)
    with pytest.raises(NotPrivateError, match="mkfifo -m 600"):
        open_fifo(path)
    assert (other.read_text(), sorted(tmp_path.iterdir())) == ("kept", [path, link, other])


def test_waits_for_the_reader_of_a_fifo(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path, 0o600)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(path.read_bytes()))
    reader.start()
    file = open_fifo(path)
    assert os.get_blocking(file)
    os.write(file, b"secret")
    os.close(file)
    reader.join(30)
    assert read == [b"secret"]


@only_root
def test_opens_no_fifo_of_another_user(shared: Path) -> None:
    as_nobody('mkfifo -m 600 "$1"', shared / "fifo")
    with pytest.raises(NotPrivateError, match="belongs to nobody"):
        open_fifo(shared / "fifo")


@only_root
def test_rejects_proc_files_of_another_user(victim: Path) -> None:
    with subprocess.Popen(["sleep", "60"], user=NOBODY, group=NOBODY, cwd="/") as process:
        try:
            with pytest.raises(NotPrivateError):
                create(Path(f"/proc/{process.pid}/root{victim}"))
        finally:
            process.kill()
    assert victim.read_text() == "precious"


#: Creates a symlink, a file and a FIFO under one name in turn, and removes the previous one.
SWAP = """
while ! [ -e "$3" ]; do
    ln -s "$1" "$2"; rm -f "$2"; touch "$2"; rm -f "$2"; mkfifo "$2"; rm -f "$2"
done 2>/dev/null
true
"""


@only_root
def test_swap_between_check_and_use_writes_nowhere_else(shared: Path, victim: Path) -> None:
    """In a folder without the sticky bit, so that the files can be removed again."""
    shared.chmod(0o777)
    name, end = shared / "name", shared / "end"
    thread = threading.Thread(target=as_nobody, args=(SWAP, victim, name, end))
    thread.start()
    written = 0
    try:
        for _ in range(5000):
            try:
                with create(name) as file:
                    status = os.fstat(file.fileno())
                    assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (0, 0o600)
                    written += 1
            except OSError:
                pass
    finally:
        end.touch()
        thread.join(60)
    assert written
    assert (victim.read_text(), mode(victim)) == ("precious", 0o666)


def test_write_errors_name_the_file() -> None:
    with pytest.raises(OSError) as caught, create(Path("/dev/full")) as file:
        file.write(b"x")
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, "/dev/full")


def test_temporary_folder_is_private_and_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(private_files.tempfile, "tempdir", str(tmp_path))
    with private_files.temporary_folder() as folder:
        assert mode(folder) == 0o700
        (folder / "file").touch()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [["decode", "-o"], ["stats", "-o"], ["decode", "-w"]])
def test_outputs_of_commands_are_private(captures: Path, tmp_path: Path, words: list[str]) -> None:
    out = tmp_path / "out"
    out.touch(0o644)
    subprocess.run([COMMAND, *words, out, captures / "tour.pcap"], check=True, stdout=subprocess.DEVNULL)
    assert mode(out) == 0o600
    assert out.stat().st_size


def test_output_of_encode_is_private(captures: Path, tmp_path: Path) -> None:
    lines = subprocess.run(
        [COMMAND, "decode", captures / "virsh-domname.pcap"], capture_output=True, check=True
    )
    subprocess.run([COMMAND, "encode", "-o", tmp_path / "out"], input=lines.stdout, check=True)
    assert mode(tmp_path / "out") == 0o600


def test_error_suggests_a_fix(captures: Path, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    (tmp_path / "out").touch()
    os.chown(tmp_path / "out", NOBODY, NOBODY)
    command = [COMMAND, "decode", "-o", tmp_path / "out", captures / "tour.pcap"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert (
        f"cannot write {tmp_path}/out: it belongs to nobody, who could read it; remove it, or" in done.stderr
    )


def test_replaced_file_is_public_and_complete(tmp_path: Path) -> None:
    path = tmp_path / "x.prom"
    old = os.umask(0o077)
    try:
        replace(path, b"one")
        replace(path, b"two")
    finally:
        os.umask(old)
    assert path.read_bytes() == b"two"
    assert mode(path) == 0o644
    assert list(tmp_path.iterdir()) == [path]


def test_readers_keep_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "x.prom"
    replace(path, b"old")
    with path.open("rb") as reader:
        replace(path, b"new")
        assert reader.read() == b"old"


def test_symlink_is_not_replaced_through(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "x.prom"
    target.write_bytes(b"keep")
    link.symlink_to(target)
    with pytest.raises(NotPrivateError, match="not a regular file"):
        replace(link, b"new")
    assert (target.read_bytes(), link.is_symlink()) == (b"keep", True)


@pytest.mark.parametrize("path", ["/dev/null", "/dev/stdout", "/proc/self/fd/1", "."])
def test_replaces_only_regular_files(path: str) -> None:
    """As root, replacing /dev/null would break the machine."""
    before = os.lstat(path)
    with pytest.raises(OSError):
        replace(Path(path), b"new")
    assert os.path.samestat(os.lstat(path), before)


def test_failed_replacement_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(NotPrivateError):
        replace(tmp_path / "folder", b"new")
    with pytest.raises(FileNotFoundError):
        replace(tmp_path / "missing" / "x.prom", b"new")
    assert [each.name for each in tmp_path.iterdir()] == ["folder"]


@only_root
def test_planted_names_are_replaced_and_not_written_to(tmp_path: Path) -> None:
    """In a folder of another user, root replaces the name; what it was linked to stays."""
    tmp_path.chmod(0o777)
    victim = tmp_path / "victim"
    victim.write_bytes(b"keep")
    victim.chmod(0o666)
    as_nobody('ln "$1" "$2" || cp "$1" "$2"', victim, tmp_path / "x.prom")
    replace(tmp_path / "x.prom", b"new")
    assert victim.read_bytes() == b"keep"
    as_nobody('mkdir "$1" && ln -s /etc "$1/way"', tmp_path / "theirs")
    with pytest.raises(NotPrivateError):
        replace(tmp_path / "theirs" / "way" / "x.prom", b"new")
