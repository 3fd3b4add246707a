"""A libvirt source tree: its definitions and, for `import`, its headers, in any layout.

A tree is a folder, a tar archive or a zip archive. Archives are not extracted; links, devices and FIFOs are
skipped, and sizes are limited.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Final

from .archives import ArchiveReadError, Member, members
from .errors import DefinitionError, Problem, reason
from .files import is_special
from .reader import read_bytes
from .source import MAX_SIZE

#: Maximum number of files; libvirt's archives hold about 6,000.
MAX_MEMBERS: Final = 200_000
#: Maximum size of all definitions and headers together, in bytes, including a fixed cost per file. Equal
#: files count once: the definitions of 133 releases have 8 MB.
MAX_KEPT: Final = 48 * 2**20
_COST: Final = 1024

_HEADERS: Final = (".h", ".h.in")
_SKIPPED: Final = frozenset({".git", ".hg", ".svn", "node_modules", "__pycache__"})
#: Valid names of definition files, which become names of files that we write.
_DEFINITION: Final = re.compile(r"[A-Za-z0-9_-]*(?:protocol\.x|probes\.d)", re.ASCII)


@dataclass(frozen=True, slots=True)
class SourceTree:
    """Files by their paths in the tree (`src/remote/remote_protocol.x`)."""

    definitions: dict[PurePosixPath, bytes]
    headers: dict[PurePosixPath, bytes]


def read_tree(source: Path) -> SourceTree:
    """Return the definitions (`*protocol.x`, `*probes.d`) and headers of a folder or archive.

    Raises DefinitionError for an unreadable source, a file that is not an archive, and one larger than any
    libvirt.
    """
    try:
        if source.is_dir():
            return _kept(_folder(source))
        return _without_top(_kept(members(source, MAX_SIZE)))
    except OSError as error:
        raise _failure(f"cannot read {source}: {reason(error)}") from None
    except ArchiveReadError as error:
        raise _failure(f"{source} is not a folder or a readable tar or zip archive: {error}") from None


def find_files(root: Path, suffix: str) -> list[Path]:
    """Return the files of a folder with a suffix: those directly in it, else those of all folders below it.

    Directories, FIFOs, sockets and devices are skipped. Raises DefinitionError for a folder that cannot be
    read, and for more files than any libvirt has.
    """
    try:
        names = sorted(name for name in os.listdir(root) if name.endswith(suffix))
    except OSError as error:
        raise _failure(f"cannot read {root}: {reason(error)}") from None
    if direct := [path for name in names if not is_special(path := root / name)]:
        return direct
    found = []
    for number, path in enumerate(_paths(root)):
        if number == MAX_MEMBERS:
            raise _failure(f"more than {MAX_MEMBERS} files in {root}: expected a libvirt source tree")
        if path.name.endswith(suffix):
            found.append(path)
    return found


def _failure(message: str) -> DefinitionError:
    return DefinitionError([Problem("unreadable", None, message)])


def _kept(files: Iterator[Member]) -> SourceTree:
    definitions: dict[PurePosixPath, bytes] = {}
    headers: dict[PurePosixPath, bytes] = {}
    contents: dict[bytes, bytes] = {}
    kept = 0
    for number, file in enumerate(files):
        if number == MAX_MEMBERS:
            raise _failure(f"more than {MAX_MEMBERS} files: expected a libvirt source tree")
        path = file.path
        name = path.name if str(path).isprintable() else ""
        if _DEFINITION.fullmatch(name):
            into = definitions
        elif name.endswith(_HEADERS) and file.size <= MAX_SIZE:
            into = headers
        else:
            continue
        if file.size > MAX_SIZE:
            raise _failure(f"{path} is larger than {MAX_SIZE} bytes: expected a libvirt definition")
        data = file.read()
        kept += _COST + len(str(path)) + (0 if data in contents else len(data))
        into[path] = contents.setdefault(data, data)
        if kept > MAX_KEPT:
            raise _failure(
                f"more than {MAX_KEPT} bytes of definitions and headers: expected a libvirt source tree"
            )
    return SourceTree(definitions, headers)


def _folder(root: Path) -> Iterator[Member]:
    for path in _paths(root):
        inside = PurePosixPath(path.relative_to(root).as_posix())
        yield Member(inside, path.stat().st_size, partial(read_bytes, path))


def _paths(root: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED)
        for name in sorted(files):
            path = Path(folder, name)
            if path.is_file():
                yield path


def _without_top(tree: SourceTree) -> SourceTree:
    """Return an archive's tree without its top folder (`libvirt-12.9.0/`)."""
    tops = {path.parts[0] for path in (*tree.definitions, *tree.headers)}
    if len(tops) != 1 or not min(tops).startswith("libvirt"):
        return tree
    definitions, headers = (
        {PurePosixPath(*path.parts[1:]): data for path, data in files.items() if len(path.parts) > 1}
        for files in (tree.definitions, tree.headers)
    )
    return SourceTree(definitions, headers)
