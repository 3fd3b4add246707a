"""Definitions as they were in a revision of a git repository: `git:REV:PATH`.

Nothing is checked out. Places in what was read are `REV:path:line:column`, as git writes them.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from .definitions import EXTERNALS
from .errors import DefinitionError, Problem
from .externals import KNOWN, ExternalsError, read_externals
from .model import Specification
from .reader import read_specification, source_of
from .resolve import resolve
from .schema import External, Schema
from .source import MAX_SIZE

PREFIX: Final = "git:"
#: More files than any release has.
_MAX_FILES: Final = 1000
#: How git's entries for files begin; links and submodules are others.
_FILE: Final = "100"


class RevisionError(LookupError):
    """A revision, or a path in it, that cannot be read; says why."""


@dataclass(frozen=True, slots=True)
class _Blob:
    """A file in a revision: its path from the root, what git calls its content, and its size in bytes."""

    path: PurePosixPath
    id: str
    size: int


def load_revision(name: str, *, defines: Mapping[str, int] | None = None) -> Schema:
    """The Schema of `git:REV:PATH`: of all .x files below the folder PATH, or of the file PATH and those that
    it includes and that stand beside it. PATH starts at the root of the repository that the current
    directory is in; `./` and `../` start at the current directory, and nothing is the root itself.

    An externals.toml in the folder counts, and constants of libvirt's C headers are known. Raises
    RevisionError, or DefinitionError with the problems of all files.
    """
    revision, path = _split(name)
    blobs = _below(revision, path)
    files = {blob.path: blob for blob in blobs if blob.path.suffix == ".x"}
    externals = _externals(revision, (blob for blob in blobs if blob.path.name == EXTERNALS))
    if path.suffix == ".x":
        specifications = _with_included(revision, files, path)
    else:
        specifications = _read_all(revision, files.values())
    if not specifications:
        raise RevisionError(f"there is no .x file in {name}")
    return resolve(
        specifications, externals={**KNOWN, **externals, **(defines or {})}, release=None, inputs=()
    )


def _split(name: str) -> tuple[str, PurePosixPath]:
    revision, colon, path = name.removeprefix(PREFIX).partition(":")
    if not revision or not colon:
        raise RevisionError(f"{name!r} is not git:REV:PATH, such as git:HEAD:src/remote")
    if any(character in name for character in "\0\n"):
        raise RevisionError(f"{name!r} has a line end in it")
    start = ""
    if path.split("/")[0] in (".", ".."):
        start = _git("rev-parse", "--show-prefix").decode("utf-8", "surrogateescape").strip("\n")
    return revision, PurePosixPath(os.path.normpath(f"{start}{path}"))


def _below(revision: str, path: PurePosixPath) -> list[_Blob]:
    """The files below a folder; for a .x file, those of its folder."""
    tree = _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{tree}}", missing="")
    if not tree:
        raise RevisionError(f"the repository has no revision {revision!r}")
    folder = path.parent if path.suffix == ".x" else path
    below = [] if folder == PurePosixPath(".") else [f"{folder}/"]
    listed = _git("ls-tree", "-r", "-l", "-z", "--full-tree", tree.decode().strip(), "--", *below)
    entries = listed.decode("utf-8", "surrogateescape").split("\0")
    blobs = [_blob(entry) for entry in entries if entry.startswith(_FILE)]
    wanted = [blob for blob in blobs if blob.path.suffix == ".x" or blob.path.name == EXTERNALS]
    if path.suffix == ".x":
        wanted = [blob for blob in wanted if blob.path.parent == folder]
    if not blobs or (path.suffix == ".x" and path not in {blob.path for blob in wanted}):
        raise RevisionError(f"there is no {path} in {revision}")
    if len(wanted) > _MAX_FILES:
        raise RevisionError(f"{path} in {revision} has {len(wanted):,} files: name a folder below it")
    return wanted


def _blob(entry: str) -> _Blob:
    """`100644 blob 0123abcd    1234\tsrc/remote/remote_protocol.x`."""
    facts, _, path = entry.partition("\t")
    _mode, _type, id_, size = facts.split()
    return _Blob(PurePosixPath(path), id_, int(size))


def _read_all(revision: str, blobs: Iterable[_Blob]) -> list[Specification]:
    problems: list[Problem] = []
    specifications: list[Specification] = []
    for blob in blobs:
        try:
            specifications.append(_read(revision, blob))
        except DefinitionError as error:
            problems += error.problems
    if problems:
        raise DefinitionError(problems)
    return specifications


def _with_included(
    revision: str, files: Mapping[PurePosixPath, _Blob], path: PurePosixPath
) -> list[Specification]:
    specifications: list[Specification] = []
    queue = [path]
    for current in queue:
        specification = _read(revision, files[current])
        specifications.append(specification)
        for header in specification.includes:
            beside = current.parent / (header.removesuffix(".h") + ".x")
            if beside in files and beside not in queue:
                queue.append(beside)
    return specifications


def _read(revision: str, blob: _Blob) -> Specification:
    return read_specification(source_of(f"{revision}:{blob.path}", _content(revision, blob)))


def _externals(revision: str, blobs: Iterable[_Blob]) -> dict[str, External]:
    externals: dict[str, External] = {}
    for blob in blobs:
        try:
            externals.update(read_externals(_content(revision, blob).decode("utf-8", errors="replace")))
        except ExternalsError as error:
            message = f"{revision}:{blob.path}: {error}"
            raise DefinitionError([Problem("bad-externals", None, message)]) from None
    return externals


def _content(revision: str, blob: _Blob) -> bytes:
    if blob.size > MAX_SIZE:
        raise RevisionError(f"{revision}:{blob.path} is larger than {MAX_SIZE:,} bytes")
    return _git("cat-file", "blob", blob.id)


def _git(*words: str, missing: str | None = None) -> bytes:
    """What git prints; with `missing`, that where it fails silently. Raises RevisionError."""
    environment = {**os.environ, "LC_ALL": "C", "GIT_LITERAL_PATHSPECS": "1"}
    try:
        done = subprocess.run(  # noqa: S603 - a list of words, no shell
            ["git", *words],  # noqa: S607 - the user's own git
            capture_output=True,
            check=False,
            env=environment,
            stdin=subprocess.DEVNULL,
        )
    except FileNotFoundError:
        raise RevisionError("git is not installed") from None
    if done.returncode == 0:
        return done.stdout
    said = done.stderr.decode("utf-8", errors="replace").strip().removeprefix("fatal: ")
    if said.startswith("not a git repository"):
        raise RevisionError("the current directory is in no git repository")
    if missing is not None and not said:
        return missing.encode()
    raise RevisionError(f"git {words[0]}: {said or f'exit status {done.returncode}'}")
