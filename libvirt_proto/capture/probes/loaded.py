"""Files with libvirt's probes: the library or driver that running processes have mapped and their programs,
or files named by the user.

Each file is opened once. Its notes are read from that descriptor, and the kernel gets the same open file
(`/proc/self/fd/N`). A path may lead to another file by then, and every local user chooses the names of their
files, in which some characters have a meaning in tracefs. A mapped file is opened through its process
(map_files), which also works for files in containers and deleted files. Source: proc(5).
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Container, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from ...codec.libvirt_version import common_version, version_of_name
from ...errors import reason
from .errors import TraceError
from .notes import Notes, NotesError, read_notes
from .provider import PROVIDER

#: Maximum number of files whose notes are read. Every local user may map files of the library's name.
MAX_FILES: Final = 256
#: Maximum number of notes after which no other file is read; a libvirt has 41, and a file of 1 MiB 20,000.
MAX_NOTES: Final = 16_384

#: The library's name, without its version.
LIBRARY: Final = "libvirt.so.0"

_PROC: Final = Path("/proc")
#: A mapping with code: its addresses, device, inode and path.
_MAPPED: Final = re.compile(
    rb"(?P<range>[0-9a-f]+-[0-9a-f]+) ..x. [0-9a-f]+ (?P<major>[0-9a-f]+):(?P<minor>[0-9a-f]+)"
    rb" (?P<inode>\d+) +(?P<path>/.*/(?P<name>[^/\n]*))\n"
)
_DELETED: Final = " (deleted)"


@dataclass(frozen=True, slots=True, eq=False)
class Binary:
    """An open file with probes. `name` is its name in messages, `path` its path in a shell; neither is given
    to the kernel. `version` is the release of libvirt that it belongs to, None if unknown."""

    file: BinaryIO
    name: str
    path: str
    notes: Notes
    version: str | None = None

    @property
    def size(self) -> int:
        """The size in bytes."""
        return os.fstat(self.file.fileno()).st_size

    @property
    def kernel_path(self) -> str:
        """The open file for tracefs; valid in this process while the file is open.

        The kernel sets breakpoints in mappings of this file, and increments semaphores in those that are
        private and writable, at the offsets in the notes. It changes nothing else: not the file, shared
        mappings of it, or other files. Offsets and file come from one descriptor, so only the owner of the
        file chooses the places, as they choose the code there; a user who maps a file of root does not. The
        private mappings that a process has of another user's file are that user's choice anyway, and differ
        by one count.
        """
        return f"/proc/self/fd/{self.file.fileno()}"


class Loaded(NamedTuple):
    """The files that were found, and a sentence for each unusable one."""

    binaries: list[Binary]
    problems: list[str]


def named(files: ExitStack, paths: tuple[str, ...]) -> list[Binary]:
    """Return the files that a user names, each once; `files` closes them. Raises TraceError."""
    found: dict[tuple[int, int], Binary] = {}
    for path in paths:
        try:
            file = files.enter_context(open_file(path))
            notes = read_notes(file)
            version = notes.libvirt or version_of_name(os.path.basename(os.path.realpath(path)))
            binary = Binary(file, path, os.path.abspath(path), notes, version)
        except (OSError, NotesError) as error:
            raise TraceError(f"{path}: {_reason(error)}") from None
        found.setdefault(_identity(file), binary)
    version = common_version(binary.version for binary in found.values())
    return [_with_version(binary, version) for binary in found.values()]


def loaded(files: ExitStack, library: str, pids: Container[int] = (), comms: Container[str] = ()) -> Loaded:
    """Return the library (`libvirt.so.0`, with any version suffix) mapped by these processes (by default
    all), and their programs, each file once; `files` closes them. Processes of root come first, so that other
    users cannot exhaust the limits before them."""
    found = Loaded([], [])
    seen: set[tuple[int, int]] = set()
    read = left_out = 0
    for pid in sorted(processes(), key=lambda pid: (_is_of_a_user(pid), pid)):
        if (pids and pid not in pids) or (comms and comm(pid) not in comms):
            continue
        first = len(found.binaries)
        for mapped in _files(pid, library):
            with ExitStack() as opened:
                try:
                    file = opened.enter_context(mapped.open())
                    if _identity(file) in seen:
                        continue
                    if len(seen) == MAX_FILES or read >= MAX_NOTES:
                        left_out += 1
                        continue
                    seen.add(_identity(file))
                    notes = read_notes(file)
                    read += notes.found
                except (FileNotFoundError, ProcessLookupError):  # unmapped, or the process has ended
                    continue
                except (OSError, NotesError) as error:
                    found.problems.append(f"{mapped.path}: {_reason(error)}")
                    continue
                # Notes that cannot be used are reported, too.
                if notes.problems or any(site.provider == PROVIDER for site in notes.sites):
                    found.binaries.append(mapped.binary(file, notes))
                    files.push(opened.pop_all())
        found.binaries[first:] = _with_versions(pid, found.binaries[first:])
    if left_out:
        found.problems.append(
            f"{left_out} more mappings of files called {library}: the limit is {MAX_FILES} files and"
            f" {MAX_NOTES:,} probes; choose processes with --pid or --comm, or files with --library"
        )
    return found


def _with_versions(pid: int, binaries: list[Binary]) -> list[Binary]:
    """Return the files of a process: those without a version have that of the libvirt.so.0 that it has
    mapped."""
    if all(binary.version for binary in binaries):
        return binaries
    version = common_version(binary.version for binary in binaries)
    if version is None:
        names = (os.path.basename(mapped.path) for mapped in _files(pid, LIBRARY))
        version = common_version(map(version_of_name, names))
    return [_with_version(binary, version) for binary in binaries]


def _with_version(binary: Binary, version: str | None) -> Binary:
    return binary if binary.version else replace(binary, version=version)


def processes() -> Iterator[int]:
    """Yield the ids of all processes."""
    return (int(name) for name in os.listdir(_PROC) if name.isdecimal())


def threads(pid: int) -> list[int]:
    """Return the thread ids of a process; none if it has ended."""
    try:
        return sorted(map(int, os.listdir(_PROC / str(pid) / "task")))
    except OSError:
        return []


def comm(pid: int) -> str:
    """Return the name of a process; "" if it has ended."""
    try:
        return (_PROC / str(pid) / "comm").read_bytes().rstrip(b"\n").decode("utf-8", "backslashreplace")
    except OSError:
        return ""


class _Mapped(NamedTuple):
    """A file that a process has mapped: its link in /proc, its path for messages, and its device and inode
    according to the kernel (None if `link` needs no privilege)."""

    pid: int
    link: str
    path: str
    identity: tuple[int, int] | None = None

    def open(self) -> BinaryIO:
        """Open the file. Raises OSError."""
        try:
            return open_file(self.link)
        except PermissionError:
            if self.identity is None:
                raise
            # map_files needs CAP_CHECKPOINT_RESTORE. Use the path, if it still leads to the same file.
            return open_file(self.path, self.identity)

    def binary(self, file: BinaryIO, notes: Notes) -> Binary:
        version = notes.libvirt or version_of_name(os.path.basename(self.path))
        with suppress(OSError):
            if os.path.samestat(os.stat(self.path), os.fstat(file.fileno())):
                return Binary(file, self.path, self.path, notes, version)
        return Binary(file, f"{self.path} (process {self.pid})", self.link, notes, version)


def _files(pid: int, library: str) -> Iterator[_Mapped]:
    """Yield the library that a process has mapped, and its program."""
    folder, prefix, program = _PROC / str(pid), os.fsencode(library), ""
    seen: set[tuple[bytes, ...]] = set()  # a process may map a file at 65,530 places
    with suppress(OSError):  # it has ended, belongs to another user, or is a kernel thread
        with open(folder / "maps", "rb") as maps:
            for line in maps:
                match = _MAPPED.match(line)
                if match is None or not match["name"].startswith(prefix):
                    continue
                place = match.group("major", "minor", "inode", "path")
                if place in seen:
                    continue
                seen.add(place)
                program = program or os.readlink(folder / "exe")
                device = os.makedev(int(match["major"], 16), int(match["minor"], 16))
                link = folder / "map_files" / match["range"].decode()
                path = os.fsdecode(match["path"].replace(rb"\012", b"\n"))
                identity = device, int(match["inode"])
                yield _Mapped(pid, str(link), path.removesuffix(_DELETED), identity)
        if program:
            yield _Mapped(pid, str(folder / "exe"), program.removesuffix(_DELETED))


def _is_of_a_user(pid: int) -> bool:
    """Return whether a process belongs to any user but root."""
    try:
        return os.stat(_PROC / str(pid)).st_uid != 0
    except OSError:
        return True


def open_file(path: str, identity: tuple[int, int] | None = None) -> BinaryIO:
    """Open a regular file, with this device and inode if they are given. Raises OSError.

    Any other file stays closed, since opening a device can have effects. The call does not wait, for instance
    for the end of a lease.
    """
    place = os.open(path, os.O_PATH)
    try:
        found = os.fstat(place)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "expected a regular file")
        if identity not in (None, (found.st_dev, found.st_ino)):
            raise OSError(errno.ESTALE, "the path leads to another file than the process has mapped")
        return os.fdopen(os.open(f"/proc/self/fd/{place}", os.O_RDONLY | os.O_NONBLOCK), "rb")
    finally:
        os.close(place)


def _identity(file: BinaryIO) -> tuple[int, int]:
    found = os.fstat(file.fileno())
    return found.st_dev, found.st_ino


def _reason(error: OSError | NotesError) -> str:
    return reason(error) if isinstance(error, OSError) else str(error)
