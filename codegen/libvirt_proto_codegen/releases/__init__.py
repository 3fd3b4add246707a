"""The releases whose definitions are here: a folder each of a few, and all of them in one archive.

A folder wins where both have a release; a test holds that they agree.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Final, TypeVar

from ..errors import DefinitionError, Problem
from ..reader import read_bytes
from .archive import ARCHIVE, Archive, ArchiveError, Release, UnknownRelease, read_archive
from .facts import HISTORY, History, read_history
from .narrow import FUNCTIONS, Functions, read_functions
from .version import version_key

__all__ = [
    "MANIFEST",
    "UnknownRelease",
    "archive_of",
    "find",
    "folders",
    "functions",
    "history",
    "newest",
    "releases",
    "root",
    "texts",
]

MANIFEST: Final = "MANIFEST.toml"

Content = TypeVar("Content")


@cache
def root() -> Path:
    """The folder of all releases: in an installed package inside it, else in the repository."""
    package = Path(__file__).resolve().parent.parent
    packaged = package / "protocol-defs"
    return packaged if packaged.is_dir() else package.parent.parent / "protocol-defs"


def folders() -> tuple[str, ...]:
    """The releases that have a folder, the newest last."""
    if not root().is_dir():
        return ()
    found = [path.name for path in root().iterdir() if (path / MANIFEST).is_file()]
    return tuple(sorted(found, key=version_key))


def newest() -> str:
    """The newest release; raises UnknownRelease if there is none at all."""
    found = folders() or _archive().names
    if not found:
        raise UnknownRelease(f"there are no definitions in {root()}")
    return max(found, key=version_key)


def releases() -> tuple[Release, ...]:
    """All releases whose definitions are here, the newest last."""
    found = {name: Release(name, name, name) for name in folders()}
    found |= {release.name: release for release in _archive().releases}
    return tuple(sorted(found.values(), key=lambda release: version_key(release.name)))


def find(name: str) -> Release:
    """The release that has the definitions of the release `name`; raises UnknownRelease in words."""
    return Archive(releases()).find(name)


def texts(release: Release) -> dict[str, bytes]:
    """File → content of a release that `find` gave; raises DefinitionError for what cannot be read."""
    folder = root() / release.name
    if release.name in folders():
        files = (path for path in folder.iterdir() if path.suffix in (".x", ".d", ".toml"))
        return {path.name: read_bytes(path) for path in sorted(files)}
    return {file: text.encode() for file, text in _archive().texts(release.name).items()}


@cache
def _archive() -> Archive:
    return archive_of(root())


def archive_of(folder: Path) -> Archive:
    """The archive in a folder, empty where it has none; raises DefinitionError for one that is damaged."""
    path = folder / ARCHIVE
    try:
        return read_archive(path.read_bytes().decode()) if path.exists() else Archive()
    except OSError as error:
        message = f"cannot read {path}: {error.strerror}"
    except UnicodeDecodeError:
        message = f"{path} is not UTF-8"
    except ArchiveError as error:
        message = f"{path}: {error}"
    hint = "without it, libvirt-proto import makes a new one of all releases that it is given"
    raise DefinitionError([Problem("bad-archive", None, message, hint)])


def history() -> History | None:
    """What is known of the releases' history, None where it was not imported; raises DefinitionError."""
    return _optional(HISTORY, read_history)


def functions() -> Functions:
    """The public API's functions of procedures, none where they were not imported; raises DefinitionError."""
    return _optional(FUNCTIONS, read_functions) or {}


@cache
def _optional(name: str, read: Callable[[str], Content]) -> Content | None:
    """A file beside the releases that need not be there."""
    path = root() / name
    if not path.is_file():
        return None
    try:
        return read(read_bytes(path).decode())
    except ValueError as error:
        raise DefinitionError([Problem("bad-history", None, f"{path}: {error}")]) from None
