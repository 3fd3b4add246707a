"""The files with libvirt's probes that running processes have loaded: its library or a driver, and their
programs.

A file may have another name where it is looked at from than where it was loaded (a container), or none any
more (an upgrade). Then it is named by the process that has it, which the kernel understands as long as that
lives. Source: proc(5).
"""

from __future__ import annotations

import os
import re
from collections.abc import Container, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from .errors import TraceError
from .notes import Notes, NotesError, read_notes
from .provider import PROVIDER

_PROC: Final = Path("/proc")
_MAPPED: Final = re.compile(
    r"(?P<range>[0-9a-f]+-[0-9a-f]+) ..x. \S+ \S+ \d+ +(?P<path>/.*/(?P<name>[^/\n]*))"
)
_DELETED: Final = " (deleted)"


class Binary(NamedTuple):
    """A file with probes: `path` is the name that the kernel is given for it, `name` the one for people."""

    path: str
    name: str
    notes: Notes


def named(path: str) -> Binary:
    """The file that a user names. Raises TraceError."""
    real = os.path.realpath(path)
    if re.search(r"\s", real):
        raise TraceError(
            f"{path}: the kernel takes no path with blanks for a probe; use a copy or a hard link."
        )
    try:
        with open(real, "rb") as file:
            notes = read_notes(file)
    except (OSError, NotesError) as error:
        words = error.strerror if isinstance(error, OSError) else error
        raise TraceError(f"{path}: {words}.") from None
    return Binary(real, path, notes)


def loaded(library: str, pids: Container[int] = (), comms: Container[str] = ()) -> list[Binary]:
    """The library (`libvirt.so.0`, with whatever version behind it) that running processes have loaded (of
    all, if none are named), and their programs, each file once. Raises TraceError."""
    found: dict[tuple[int, int], Binary] = {}
    problems = []
    for pid in processes():
        if (pids and pid not in pids) or (comms and comm(pid) not in comms):
            continue
        for path, name in _files(pid, library):
            try:
                with open(path, "rb") as file:
                    stat = os.fstat(file.fileno())
                    if (stat.st_dev, stat.st_ino) in found:
                        continue
                    notes = read_notes(file)
            except (OSError, NotesError) as error:
                problems.append(f"{name}: {error.strerror if isinstance(error, OSError) else error}.")
                continue
            found[stat.st_dev, stat.st_ino] = Binary(path, name, notes)
    libvirt = [b for b in found.values() if any(site.provider == PROVIDER for site in b.notes.sites)]
    if not libvirt and problems:
        raise TraceError(problems[0])
    return libvirt


def processes() -> Iterator[int]:
    """The ids of all processes."""
    return (int(name) for name in os.listdir(_PROC) if name.isdecimal())


def threads(pid: int) -> list[int]:
    """The ids of a process's threads; none if it has gone."""
    try:
        return sorted(map(int, os.listdir(_PROC / str(pid) / "task")))
    except OSError:
        return []


def comm(pid: int) -> str:
    """What a process is called; "" if it has gone."""
    try:
        return (_PROC / str(pid) / "comm").read_bytes().rstrip(b"\n").decode("utf-8", "backslashreplace")
    except OSError:
        return ""


def _files(pid: int, library: str) -> Iterator[tuple[str, str]]:
    """The library that a process has loaded, and its program: what the kernel is told, and the name."""
    folder = _PROC / str(pid)
    try:
        maps = (folder / "maps").read_bytes().decode("utf-8", "surrogateescape")
        program = os.readlink(folder / "exe")
    except OSError:  # it has gone, belongs to somebody else, or is the kernel's
        return
    mapped = [
        match
        for line in maps.splitlines()
        if (match := _MAPPED.match(line)) and match["name"].startswith(library)
    ]
    for match in mapped:
        yield _name(match["path"], folder / "map_files" / match["range"])
    if mapped:
        yield _name(program, folder / "exe")


def _name(path: str, link: Path) -> tuple[str, str]:
    """The path, if it leads to the file that the link does."""
    path = path.removesuffix(_DELETED)
    with suppress(PermissionError):
        try:
            same = os.path.samestat(os.stat(path), os.stat(link))
        except FileNotFoundError:
            same = False
        if not same or re.search(r"\s", path):
            return str(link), path
    return path, path
