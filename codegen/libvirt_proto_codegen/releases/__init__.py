"""The bundled releases: folders for a few, and one archive with all of them.

A folder takes precedence over the archive; a test checks that they agree.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Final, TypeVar

from ..errors import DefinitionError, Problem, reason
from ..reader import read_bytes
from .archive import ARCHIVE, Archive, ArchiveError, Release, UnknownRelease, read_archive
from .facts import HISTORY, History, read_history
from .functions import FUNCTIONS, Functions, read_functions
from .version import version_key

__all__ = [
    "LATEST",
    "MANIFEST",
    "UnknownRelease",
    "archive_of",
    "canonical",
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
#: Another name of the newest release.
LATEST: Final = "latest"

Content = TypeVar("Content")


@cache
def root() -> Path:
    """Return the folder of all releases: inside an installed package, else in the repository."""
    package = Path(__file__).resolve().parent.parent
    packaged = package / "protocol-defs"
    return packaged if packaged.is_dir() else package.parent.parent / "protocol-defs"


def folders() -> tuple[str, ...]:
    """Return the releases with a folder, the newest last."""
    if not root().is_dir():
        return ()
    found = [path.name for path in root().iterdir() if (path / MANIFEST).is_file()]
    return tuple(sorted(found, key=version_key))


def newest() -> str:
    """Return the newest release; raises UnknownRelease if there is none."""
    found = folders() or _archive().names
    if not found:
        raise UnknownRelease(f"no definitions in {root()}")
    return max(found, key=version_key)


def releases() -> tuple[Release, ...]:
    """Return all bundled releases, the newest last."""
    found = {name: Release(name, name, name) for name in folders()}
    found |= {release.name: release for release in _archive().releases}
    return tuple(sorted(found.values(), key=lambda release: version_key(release.name)))


def canonical(name: str) -> str:
    """Return the name of a release that may be written as a tag (`v12.9.0`) or as `latest`."""
    return newest() if name == LATEST else name.removeprefix("v")


def find(name: str) -> Release:
    """Return the release that has the definitions of the release `name`, which `canonical` returned; raises
    UnknownRelease."""
    return Archive(releases()).find(name)


def texts(release: Release) -> dict[str, bytes]:
    """Return file → content of a release returned by `find`; raises DefinitionError for unreadable files."""
    folder = root() / release.name
    if release.name in folders():
        files = (path for path in folder.iterdir() if path.suffix in (".x", ".d", ".toml"))
        return {path.name: read_bytes(path) for path in sorted(files)}
    return {file: text.encode() for file, text in _archive().texts(release.name).items()}


@cache
def _archive() -> Archive:
    return archive_of(root())


def archive_of(folder: Path) -> Archive:
    """Return the archive in a folder, empty without one; raises DefinitionError for a damaged one."""
    path = folder / ARCHIVE
    try:
        return read_archive(path.read_bytes().decode()) if path.exists() else Archive()
    except OSError as error:
        message = f"cannot read {path}: {reason(error)}"
    except UnicodeDecodeError:
        message = f"{path}: invalid UTF-8"
    except ArchiveError as error:
        message = f"{path}: {error}"
    hint = "remove it, and import all releases again with libvirt-proto import"
    raise DefinitionError([Problem("bad-archive", None, message, hint)])


def history() -> History | None:
    """Return the history of the releases, None if it was not imported; raises DefinitionError."""
    return _optional(HISTORY, read_history)


def functions() -> Functions:
    """Return the functions of the public API, none if they were not imported; raises DefinitionError."""
    return _optional(FUNCTIONS, read_functions) or Functions()


@cache
def _optional(name: str, read: Callable[[str], Content]) -> Content | None:
    """Read an optional file in the folder of all releases."""
    path = root() / name
    if not path.is_file():
        return None
    try:
        return read(read_bytes(path).decode())
    except ValueError as error:
        raise DefinitionError([Problem("bad-history", None, f"{path}: {error}")]) from None
