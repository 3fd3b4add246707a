"""A libvirt source tree: its definitions, and for `import` the headers, wherever they lie.

A tree is a folder, a tar archive or a zip archive. Archives are read in memory and nothing is
extracted; links and devices are passed over, and sizes are capped.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Final, cast

from .errors import DefinitionError, Problem
from .files import is_special
from .source import MAX_SIZE

#: libvirt's archives hold some 6,000 files and unpack to a third of this.
MAX_MEMBERS: Final = 200_000
MAX_UNPACKED: Final = 2**30
#: All definitions and headers together.
MAX_KEPT: Final = 128 * 2**20

_HEADERS: Final = (".h", ".h.in")
_SKIPPED: Final = frozenset({".git", ".hg", ".svn", "node_modules", "__pycache__"})
_COMPRESSED: Final[dict[bytes, Callable[[IO[bytes]], object]]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}
#: What a definition file is called; the name becomes that of a file we write.
_DEFINITION: Final = re.compile(r"[A-Za-z0-9_-]*(?:protocol\.x|probes\.d)", re.ASCII)


@dataclass(frozen=True, slots=True)
class SourceTree:
    """Files by their paths inside the tree (`src/remote/remote_protocol.x`)."""

    definitions: dict[PurePosixPath, bytes]
    headers: dict[PurePosixPath, bytes]


#: A file's path, its size, and what reads it.
_Entry = tuple[PurePosixPath, int, Callable[[], bytes]]


def read_tree(source: Path) -> SourceTree:
    """The definitions (`*protocol.x`, `*probes.d`) and headers of a folder or archive.

    Raises DefinitionError where it cannot be read, is no archive, or is larger than any libvirt.
    """
    try:
        if source.is_dir():
            return _kept(_folder(source))
        if zipfile.is_zipfile(source):
            return _zip(source)
        return _tar(source)
    except OSError as error:
        raise _failure(f"cannot read {source}: {error.strerror or error}") from None
    except (tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, EOFError) as error:
        message = f"{source} is no folder, and no tar or zip archive that can be read: {error}"
        raise _failure(message) from None
    except (NotImplementedError, RuntimeError, ValueError) as error:  # zipfile: odd methods, passwords
        raise _failure(f"cannot read {source}: {error}") from None


def find_files(root: Path, suffix: str) -> list[Path]:
    """The files of a folder that are called so: those right in it, else those of all folders below it.

    Directories, FIFOs, sockets and devices are passed over. Raises DefinitionError for a folder that cannot
    be read, and where the files are more than any libvirt has.
    """
    try:
        names = sorted(name for name in os.listdir(root) if name.endswith(suffix))
    except OSError as error:
        raise _failure(f"cannot read {root}: {error.strerror}") from None
    if direct := [path for name in names if not is_special(path := root / name)]:
        return direct
    found = []
    for number, path in enumerate(_paths(root)):
        if number == MAX_MEMBERS:
            raise _failure(f"more than {MAX_MEMBERS} files in {root}: this is no source tree of libvirt")
        if path.name.endswith(suffix):
            found.append(path)
    return found


def _failure(message: str) -> DefinitionError:
    return DefinitionError([Problem("unreadable", None, message)])


def _kept(entries: Iterator[_Entry]) -> SourceTree:
    definitions: dict[PurePosixPath, bytes] = {}
    headers: dict[PurePosixPath, bytes] = {}
    kept = 0
    for number, (path, size, read) in enumerate(entries):
        if number == MAX_MEMBERS:
            raise _failure(f"more than {MAX_MEMBERS} files: this is no source tree of libvirt")
        name = path.name if str(path).isprintable() else ""
        if _DEFINITION.fullmatch(name):
            into = definitions
        elif name.endswith(_HEADERS) and size <= MAX_SIZE:
            into = headers
        else:
            continue
        if size > MAX_SIZE:
            raise _failure(f"{path} is larger than {MAX_SIZE} bytes: this is no definition of libvirt's")
        into[path] = read()
        kept += len(into[path])
        if kept > MAX_KEPT:
            raise _failure(f"definitions and headers of more than {MAX_KEPT} bytes: this is no libvirt")
    return SourceTree(definitions, headers)


def _folder(root: Path) -> Iterator[_Entry]:
    for path in _paths(root):
        inside = PurePosixPath(path.relative_to(root).as_posix())
        yield inside, path.stat().st_size, path.read_bytes


def _paths(root: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED)
        for name in sorted(files):
            path = Path(folder, name)
            if path.is_file():
                yield path


def _zip(source: Path) -> SourceTree:
    with zipfile.ZipFile(source) as archive:
        files = (info for info in archive.infolist() if not info.is_dir())
        return _without_top(
            _kept(
                (PurePosixPath(info.filename), info.file_size, partial(archive.read, info)) for info in files
            )
        )


def _tar(source: Path) -> SourceTree:
    with source.open("rb") as file:
        start = file.read(6)
        file.seek(0)
        opener = next((opener for magic, opener in _COMPRESSED.items() if start.startswith(magic)), None)
        unpacked = _Capped(cast("IO[bytes]", opener(file)) if opener else file)
        with tarfile.open(fileobj=cast("IO[bytes]", unpacked), mode="r|") as archive:
            files = (member for member in archive if member.isreg())
            tree = _kept(
                (PurePosixPath(member.name), member.size, partial(_read, archive, member)) for member in files
            )
        while unpacked.read(2**20):  # a checksum stands at the end
            pass
        return _without_top(tree)


def _read(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    assert file is not None, "a regular file"
    return file.read()


def _without_top(tree: SourceTree) -> SourceTree:
    """An archive's tree without its top folder (`libvirt-12.6.0/`)."""
    tops = {path.parts[0] for path in (*tree.definitions, *tree.headers)}
    if len(tops) != 1 or not min(tops).startswith("libvirt"):
        return tree
    definitions, headers = (
        {PurePosixPath(*path.parts[1:]): data for path, data in files.items() if len(path.parts) > 1}
        for files in (tree.definitions, tree.headers)
    )
    return SourceTree(definitions, headers)


class _Capped:
    """A stream that ends in an error instead of filling the memory."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._left = MAX_UNPACKED

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise tarfile.ReadError(f"it unpacks to more than {MAX_UNPACKED} bytes")
        return data
