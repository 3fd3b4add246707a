"""Definitions from a revision of a git repository: `git:REV:PATH`.

Nothing is checked out. Places are reported as `REV:path:line:column`, as git writes them.

The repository is untrusted, and its configuration can name programs to run. The git commands used here run
none of them, except to fetch objects missing from a partial clone, which is disabled. git's check of the
repository's owner (`safe.directory`) stays in force. Sources: git(1), git-config(1), git's partial-clone.txt.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
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
from .source import MAX_SIZE, Source

PREFIX: Final = "git:"
#: Maximum number of files; no release has as many.
_MAX_FILES: Final = 1000
#: Maximum size of a file listing, in bytes; libvirt's is a tenth of it.
_MAX_LISTING: Final = 16 * 2**20
#: Maximum size of the header before a blob's content, and of an error message, in bytes.
_MAX_HEAD: Final = 200
_MAX_SAID: Final = 4096
#: Variables of the user's environment passed to git: where to look for repositories, and the user's settings.
_KEPT: Final = frozenset(
    {
        "GIT_CEILING_DIRECTORIES",
        "GIT_CONFIG_GLOBAL",
        "GIT_CONFIG_NOSYSTEM",
        "GIT_CONFIG_SYSTEM",
        "GIT_DISCOVERY_ACROSS_FILESYSTEM",
    }
)
#: An empty GIT_ALLOW_PROTOCOL forbids every transport, whatever the repository's protocol.*.allow states.
#: Versions of git that lack GIT_NO_LAZY_FETCH need it.
_SETTINGS: Final = {
    "GIT_ALLOW_PROTOCOL": "",
    "GIT_LITERAL_PATHSPECS": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}
#: Words in git's error messages about objects that it would have to fetch.
_LACKING: Final = ("promisor remote", "lazy fetching", "not allowed")
_OPTIONS: Final = ("--no-pager", "-c", "core.fsmonitor=false", "-c", f"core.hooksPath={os.devnull}")
#: Beginning of the mode of regular files in git's listings; links and submodules have others.
_FILE: Final = "100"


class RevisionError(LookupError):
    """A revision, or a path in it, that cannot be read; the message gives the reason."""


@dataclass(frozen=True, slots=True)
class _Blob:
    """A file in a revision: its path from the root, and the object name of its content."""

    path: PurePosixPath
    id: str


def load_revision(name: str, *, defines: Mapping[str, int] | None = None) -> Schema:
    """Return the Schema of `git:REV:PATH`.

    PATH is a folder, whose .x files are read recursively, or a .x file, which is read with the files that it
    includes from the same folder. PATH is relative to the root of the repository that contains the current
    directory; `./` and `../` are relative to the current directory, and an empty PATH is the root.

    An externals.toml in the folder is respected, and constants in libvirt's C headers are known. Raises
    RevisionError, or DefinitionError with the problems of all files.
    """
    revision, path = _split(name)
    blobs = _below(revision, path)
    files = {blob.path: blob for blob in blobs if blob.path.suffix == ".x"}
    externals = _externals(revision, (blob for blob in blobs if blob.path.name == EXTERNALS))
    reader = _Reader(revision, files, defines or {})
    specifications = reader.with_included(path) if path.suffix == ".x" else reader.all()
    if not specifications:
        raise RevisionError(f"no .x file in {name}")
    return resolve(
        specifications, externals={**KNOWN, **externals, **(defines or {})}, release=None, inputs=()
    )


def _split(name: str) -> tuple[str, PurePosixPath]:
    revision, colon, path = name.removeprefix(PREFIX).partition(":")
    if not revision or not colon:
        raise RevisionError(f"expected git:REV:PATH, such as git:HEAD:src/remote, got {name!r}")
    if any(character in name for character in "\0\n"):
        raise RevisionError(f"{name!r} contains a line break")
    start = ""
    if path.split("/")[0] in (".", ".."):
        start = _git("rev-parse", "--show-prefix").decode("utf-8", "surrogateescape").strip("\n")
    return revision, PurePosixPath(os.path.normpath(f"{start}{path}"))


def _below(revision: str, path: PurePosixPath) -> list[_Blob]:
    """Return the files below a folder; for a .x file, those of its folder."""
    name = f"{revision}^{{tree}}"
    tree = _git("rev-parse", "--verify", "--quiet", "--end-of-options", name, of=revision, missing="")
    if not tree.strip().isalnum():  # `^HEAD` is an exclusion
        raise RevisionError(f"the repository has no revision {revision!r}")
    folder = path.parent if path.suffix == ".x" else path
    below = [] if folder == PurePosixPath(".") else [f"{folder}/"]
    listed = _git(
        "ls-tree",
        "-r",
        "-z",
        "--full-tree",
        tree.decode().strip(),
        "--",
        *below,
        of=f"a folder of {revision}",
    )
    if len(listed) > _MAX_LISTING:
        raise RevisionError(f"too many files in {path} of {revision}: name a folder below it")
    entries = listed.decode("utf-8", "surrogateescape").split("\0")
    blobs = [_blob(entry) for entry in entries if entry.startswith(_FILE)]
    wanted = [blob for blob in blobs if blob.path.suffix == ".x" or blob.path.name == EXTERNALS]
    if path.suffix == ".x":
        wanted = [blob for blob in wanted if blob.path.parent == folder]
    if not blobs or (path.suffix == ".x" and path not in {blob.path for blob in wanted}):
        raise RevisionError(f"no {path} in {revision}")
    if len(wanted) > _MAX_FILES:
        raise RevisionError(
            f"{len(wanted):,} definition files in {path} of {revision}: name a folder below it"
        )
    return wanted


def _blob(entry: str) -> _Blob:
    """Parse `100644 blob 0123abcd\tsrc/remote/remote_protocol.x`."""
    facts, _, path = entry.partition("\t")
    _mode, _type, id_ = facts.split()
    return _Blob(PurePosixPath(path), id_)


class _Reader:
    """Reads the definition files of a revision, which include only each other."""

    def __init__(
        self, revision: str, files: Mapping[PurePosixPath, _Blob], defines: Mapping[str, int]
    ) -> None:
        self._revision = revision
        self._files = files
        self._defines = defines
        self._included: dict[PurePosixPath, Source] = {}

    def all(self) -> list[Specification]:
        """Return all files but those that others include as text."""
        problems: list[Problem] = []
        specifications: dict[PurePosixPath, Specification] = {}
        for path in self._files:
            try:
                specifications[path] = self._read(path)
            except DefinitionError as error:
                problems += error.problems
        if problems:
            raise DefinitionError(problems)
        return [one for path, one in specifications.items() if path not in self._included]

    def with_included(self, path: PurePosixPath) -> list[Specification]:
        """Return a file and those that define what it uses."""
        specifications: list[Specification] = []
        queue = [path]
        for current in queue:
            specification = self._read(current)
            specifications.append(specification)
            for header in specification.includes:
                sibling = current.parent / (header.removesuffix(".h") + ".x")
                if sibling in self._files and sibling not in queue:
                    queue.append(sibling)
        return specifications

    def _read(self, path: PurePosixPath) -> Specification:
        return read_specification(self._source(path), self._include, self._defines)

    def _source(self, path: PurePosixPath) -> Source:
        return source_of(f"{self._revision}:{path}", _content(self._revision, self._files[path]))

    def _include(self, name: str, source: Source) -> Source | None:
        folder = PurePosixPath(source.name.removeprefix(f"{self._revision}:")).parent
        path = PurePosixPath(os.path.normpath(folder / name))
        if path not in self._files:
            return None
        if path not in self._included:
            self._included[path] = self._source(path)
        return self._included[path]


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
    """Return a file's content, which `cat-file --batch` puts after `0123abcd blob 1234` or `0123abcd
    missing`."""
    place = f"{revision}:{blob.path}"
    answer = _git("cat-file", "--batch", of=place, stdin=f"{blob.id}\n".encode(), limit=_MAX_HEAD + MAX_SIZE)
    head, _, data = answer.partition(b"\n")
    match head.split():
        case [_, b"blob", size] if int(size) <= MAX_SIZE:
            return data[: int(size)]
        case [_, b"blob", _]:
            raise RevisionError(f"{place} is larger than {MAX_SIZE:,} bytes")
        case _:
            raise RevisionError(_lacks(place))


def _lacks(what: str) -> str:
    return f"git lacks {what} (a partial clone?): run git show or git checkout there to fetch it"


def _git(
    *words: str,
    of: str = "an object",
    missing: str | None = None,
    stdin: bytes = b"",
    limit: int = _MAX_LISTING,
) -> bytes:
    """Run git and return its output; `of` is the object that errors name.

    Output of more than `limit` bytes is truncated to `limit` + 1 bytes. `missing` is returned where git fails
    without a message. Raises RevisionError.
    """
    kept = {name: value for name, value in os.environ.items() if name[:4] != "GIT_" or name in _KEPT}
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as errors:
        given.write(stdin)
        given.seek(0)
        try:
            process = subprocess.Popen(  # noqa: S603 - a list of words, no shell
                ["git", *_OPTIONS, *words],  # noqa: S607 - the user's own git
                stdin=given,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=kept | _SETTINGS,
            )
        except FileNotFoundError:
            raise RevisionError("git is not installed") from None
        with process:
            assert process.stdout is not None
            found = process.stdout.read(limit + 1)
            if len(found) > limit:
                process.kill()
                return found
        errors.seek(0)
        said = errors.read(_MAX_SAID).decode("utf-8", errors="replace").strip()
    if process.returncode == 0:
        return found
    said = said.removeprefix("fatal: ")
    if said.startswith("not a git repository"):
        raise RevisionError("the current directory is not in a git repository")
    if any(words in said for words in _LACKING):
        raise RevisionError(_lacks(of))
    if missing is not None and not said:
        return missing.encode()
    raise RevisionError(f"git {words[0]}: {said or f'exit status {process.returncode}'}")
