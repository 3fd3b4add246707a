"""Files that only their user can read. Everything that holds message content is written through this module,
and by `replace` what others may read.

The rule: an output is readable by its user only (mode 0600), and nothing that another user could have planted
is written through. A folder is shared if another user owns it or can write to it. There, symlinks (of parent
folders, too) and FIFOs must belong to the user or to root, and nothing may have a second name (hard link). A
regular file must belong to the user everywhere, for its owner can read it whatever its mode.

The path is walked from folder to folder with openat(2), so that nothing can be exchanged between a check and
its use; fs.protected_symlinks and its siblings (proc_sys_fs(5)) are not relied on. Paths through /proc
(/dev/stdout, /dev/fd/N) name descriptors that the user opened: they are used as they are.
"""

from __future__ import annotations

import errno
import io
import math
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, TypeVar

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

Result = TypeVar("Result")

#: The prefix of names in the temporary folder.
PREFIX: Final = "libvirt-proto-"
_MODE: Final = 0o600
#: The mode of files without message data, which everybody may read.
_PUBLIC: Final = 0o644
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_FOLDER: Final = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_LOOK: Final = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_WRITE: Final = os.O_WRONLY | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC
#: As many symlinks as Linux follows in one path (path_resolution(7)).
_MAX_LINKS: Final = 40
#: How often a name is looked up again that somebody else changes meanwhile.
_TRIES: Final = 10
#: Seconds between looks for the reader of a FIFO.
_PAUSE: Final = 0.05


class NotPrivateError(PermissionError):
    """A place that another user may have planted, or can read; `strerror` has the remedy."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(errno.EPERM, problem, path)


def create(path: Path, buffer_size: int = io.DEFAULT_BUFFER_SIZE) -> BinaryIO:
    """Open a file for writing, empty and with mode 0600; a FIFO or a device as it is.

    Raises NotPrivateError for what the rule above forbids, and OSError. OSErrors of writing name the file.
    """
    return io.BufferedWriter(NamedFile(_walk(path, _open_last), os.fspath(path)), buffer_size)


def replace(path: Path, data: bytes) -> None:
    """Replace the content of a file without message data, with mode 0644. Its readers find the old content or
    the new, never a part.

    A symlink is not followed, and what is not a regular file is not replaced. Raises NotPrivateError for
    these and for what the rule above forbids of folders, and OSError.
    """
    _walk(path, partial(_replace, data))


def open_fifo(path: Path, patience: float = math.inf) -> int:
    """Return a descriptor for writing to a FIFO, once it has a reader, for which it waits up to `patience`
    seconds. Nothing else is opened, created or emptied.

    Raises NotPrivateError for what is not a FIFO, and for one that others own or can read; OSError.
    """
    place = os.open(path, _LOOK)
    try:
        status, name = os.fstat(place), os.fspath(path)
        if not stat.S_ISFIFO(status.st_mode):
            raise NotPrivateError(name, "expected a FIFO; create one with mkfifo")
        if not _is_trusted(status):
            raise NotPrivateError(name, f"the FIFO belongs to {_owner(status)}; create your own")
        if status.st_mode & _OTHERS:
            raise NotPrivateError(name, "other users can open the FIFO; create it with mkfifo -m 600")
        end = time.monotonic() + patience
        while True:
            try:
                # The same file, whatever has its name by now.
                file = os.open(f"/proc/self/fd/{place}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError as error:
                if error.errno != errno.ENXIO or time.monotonic() > end:
                    raise
                time.sleep(_PAUSE)
            else:
                os.set_blocking(file, True)
                return file
    finally:
        os.close(place)


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder (mode 0700) in the temporary folder (TMPDIR), removed at the end. A signal at any moment
    leaves no folder: the name is known before the folder is made."""
    folder = Path(tempfile.gettempdir(), PREFIX + os.urandom(8).hex())
    try:
        try:
            folder.mkdir(mode=0o700)
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    except BaseException:  # a signal may have interrupted the removal
        shutil.rmtree(folder, ignore_errors=True)
        raise


class NamedFile(io.FileIO):
    """A file open for writing whose errors name it: those of write(2) do not."""

    def __init__(self, descriptor: int, name: str, *, closefd: bool = True) -> None:
        super().__init__(descriptor, "wb", closefd)
        self.name = name

    def write(self, data: ReadableBuffer, /) -> int:
        """As FileIO."""
        with naming(str(self.name)):
            return super().write(data)

    def close(self) -> None:
        """As FileIO."""
        with naming(str(self.name)):
            super().close()


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Give OSErrors the name of what they are about."""
    try:
        yield
    except OSError as error:
        error.filename = name
        raise


def _walk(path: Path, last: Callable[[int, str, Path], Result | None]) -> Result:
    """The result of `last`, which gets the folder of the path as a descriptor, the name in it, and the path;
    None stands for a symlink that is to be followed."""
    left, walked, links = [*reversed(path.parts)], Path(), 0
    folder = os.open(".", _FOLDER)
    try:
        while left:
            name = left.pop()
            if not left:
                if (result := last(folder, name, walked / name)) is not None:
                    return result
            elif (entered := _enter(folder, name)) is not None:
                os.close(folder)
                folder, walked = entered, walked / name
                continue
            links += 1
            if links > _MAX_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
            left += reversed(_target(folder, name, walked / name).parts)
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    finally:
        os.close(folder)


def _enter(folder: int, name: str) -> int | None:
    """The folder of this name; None for a symlink."""
    follow = _is_proc(folder)
    if follow:
        _check_link(folder, os.stat(name, dir_fd=folder, follow_symlinks=False), name)
    try:
        return os.open(name, _FOLDER | (0 if follow else os.O_NOFOLLOW), dir_fd=folder)
    except NotADirectoryError:
        if stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            return None
        raise


def _open_last(folder: int, name: str, path: Path) -> int | None:
    """The file of this name, made if there is none; None for a symlink."""
    if _is_proc(folder):
        _check_link(folder, os.stat(name, dir_fd=folder, follow_symlinks=False), str(path))
        return os.open(name, (_WRITE & ~os.O_NOFOLLOW) | os.O_TRUNC, dir_fd=folder)
    for _ in range(_TRIES):
        try:
            place = os.open(name, _LOOK, dir_fd=folder)
        except FileNotFoundError:
            with suppress(FileExistsError):
                return _made(folder, name)
            continue
        try:
            status = os.fstat(place)
            if stat.S_ISLNK(status.st_mode):
                return None
            _check(folder, status, str(path))
            if stat.S_ISREG(status.st_mode) and status.st_mode & _OTHERS and _removed(folder, name):
                continue
            file = _opened(folder, name, status)
        finally:
            os.close(place)
        if file is not None:
            return file
    raise NotPrivateError(str(path), "another process keeps replacing it; choose another folder")


def _made(folder: int, name: str) -> int:
    file = os.open(name, _WRITE | os.O_CREAT | os.O_EXCL, _MODE, dir_fd=folder)
    os.fchmod(file, _MODE)  # whatever the umask takes away
    return file


def _replace(data: bytes, folder: int, name: str, path: Path) -> bool:
    """Put a file with this name into a folder."""
    with suppress(FileNotFoundError):
        if not stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            raise NotPrivateError(str(path), "it is not a regular file; choose another name")
    new = f".{PREFIX}{os.urandom(8).hex()}"
    file = os.open(new, _WRITE | os.O_CREAT | os.O_EXCL, _MODE, dir_fd=folder)
    try:
        with io.BufferedWriter(NamedFile(file, str(path))) as out:
            out.write(data)
            os.fchmod(file, _PUBLIC)
        os.rename(new, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with suppress(OSError):
            os.unlink(new, dir_fd=folder)
        raise
    return True


def _removed(folder: int, name: str) -> bool:
    """Remove a file that others could open, for they may have it open and read what is written to it. False
    where that is not possible, as with a file that is a mount point."""
    try:
        os.unlink(name, dir_fd=folder)
    except OSError:
        return False
    return True


def _opened(folder: int, name: str, status: os.stat_result) -> int | None:
    """Open and empty the file that was looked at; None if something else has its name by now."""
    regular = stat.S_ISREG(status.st_mode)
    # A FIFO in the place of a regular file is not waited for.
    file = os.open(name, _WRITE | (os.O_NONBLOCK if regular else 0), dir_fd=folder)
    try:
        same = os.path.samestat(os.fstat(file), status)
        if same and regular:
            os.fchmod(file, _MODE)
            os.ftruncate(file, 0)
            os.set_blocking(file, True)
    except BaseException:
        os.close(file)
        raise
    if same:
        return file
    os.close(file)
    return None


def _target(folder: int, name: str, path: Path) -> Path:
    """The target of a symlink, as written."""
    link = os.open(name, _LOOK, dir_fd=folder)
    try:
        _check_link(folder, os.fstat(link), str(path))
        return Path(os.readlink("", dir_fd=link))
    finally:
        os.close(link)


def _check_link(folder: int, status: os.stat_result, path: str) -> None:
    if not stat.S_ISLNK(status.st_mode) or not _is_shared(folder):
        return
    if not _is_trusted(status) or status.st_nlink > 1:
        problem = f"{path!r} is a symlink owned by {_owner(status)} in a folder that others can write to"
        raise NotPrivateError(path, f"{problem}; name its target instead, or remove it")


def _check(folder: int, status: os.stat_result, path: str) -> None:
    """Raise NotPrivateError for what may not be written to."""
    regular = stat.S_ISREG(status.st_mode)
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if regular and status.st_uid != os.geteuid():
        problem = f"it belongs to {_owner(status)}, who could read it; remove it, or choose another file"
    elif stat.S_ISFIFO(status.st_mode) and not _is_trusted(status) and _is_shared(folder):
        problem = (
            f"it is a FIFO owned by {_owner(status)} in a folder that others can write to; create your own"
        )
    elif status.st_nlink > 1 and _is_shared(folder):
        problem = "it has a second name (hard link) and others can write to its folder; remove it"
    else:
        return
    raise NotPrivateError(path, problem)


def _is_shared(folder: int) -> bool:
    """True if another user can put something there. (With an access list, the group's bits are its mask:
    acl(5).)"""
    status = os.fstat(folder)
    return not _is_trusted(status) or bool(status.st_mode & (stat.S_IWGRP | stat.S_IWOTH))


def _is_trusted(status: os.stat_result) -> bool:
    return status.st_uid in (0, os.geteuid())


def _is_proc(folder: int) -> bool:
    """True for a folder of procfs, whose symlinks lead where their text does not."""
    try:
        return os.fstat(folder).st_dev == os.stat("/proc/self").st_dev
    except OSError:  # it is not mounted
        return False


def _owner(status: os.stat_result) -> str:
    from pwd import getpwuid

    try:
        return getpwuid(status.st_uid).pw_name
    except KeyError:
        return f"user {status.st_uid}"
