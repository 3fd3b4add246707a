"""Finds definitions, and reads them into a Schema."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from .dialect import Dialect
from .errors import DefinitionError, Problem
from .externals import ExternalsError, read_externals
from .front import read_bytes, read_specification, source_of
from .model import Specification
from .providers.model import Provider
from .providers.parse import read_provider
from .resolve import resolve
from .schema import External, Input, Schema
from .source import Span

MANIFEST: Final = "MANIFEST.toml"
EXTERNALS: Final = "externals.toml"
#: What stands in the head of every generated file, in comments and strings of several languages.
_FILE_NAME: Final = re.compile(r"[\w .+()-]{1,200}")
_RELEASE: Final = re.compile(r"[A-Za-z0-9._+-]{1,60}")


@dataclass(frozen=True, slots=True)
class Providers:
    """All probe providers of a set. `release` is libvirt's, None for a user's own."""

    providers: tuple[Provider, ...]
    release: str | None
    inputs: tuple[Input, ...]


class UnknownRelease(LookupError):
    """No definitions of this release are here; says which are."""


@cache
def root() -> Path:
    """The folder of all releases: in an installed package inside it, else in the repository."""
    package = Path(__file__).resolve().parent
    packaged = package / "protocol-defs"
    return packaged if packaged.is_dir() else package.parent.parent / "protocol-defs"


def releases() -> tuple[str, ...]:
    """The releases whose definitions are here, the newest last."""
    if not root().is_dir():
        return ()
    found = [path.name for path in root().iterdir() if (path / MANIFEST).is_file()]
    return tuple(sorted(found, key=version_key))


def newest() -> str:
    """The newest release; raises UnknownRelease if there is none at all."""
    found = releases()
    if not found:
        raise UnknownRelease(f"there are no definitions in {root()}")
    return found[-1]


def folder(release: str) -> Path:
    """The definitions of a release; raises UnknownRelease."""
    if release not in releases():
        known = ", ".join(releases()) or "none"
        raise UnknownRelease(f"no definitions of libvirt {release} are here (there are: {known})")
    return root() / release


def version_key(release: str) -> tuple[tuple[int, int | str], ...]:
    """Sorts releases by their numbers: 9.0.0 before 10.0.0."""
    return tuple((1, int(part)) if part.isdecimal() else (0, part) for part in release.split("."))


def load_schema(
    paths: Sequence[Path],
    *,
    defines: Mapping[str, int] | None = None,
    release: str | None = None,
    dialect: Dialect = "auto",
) -> Schema:
    """The Schema of folders or files.

    Of a folder all `*.x` are read, in the order of their names, its MANIFEST.toml says the release,
    and its externals.toml the external constants. Beside a file those that it includes are read as
    well, where they stand beside it, and an externals.toml there counts, too. `defines` come before
    what an externals.toml says.

    Raises DefinitionError with the problems of all files.
    """
    reader = _Reader()
    specifications = reader.read(paths)
    if reader.problems:
        raise DefinitionError(reader.problems)
    return resolve(
        specifications,
        externals={**reader.externals, **(defines or {})},
        release=release or reader.release,
        inputs=tuple(reader.inputs),
        dialect=dialect,
    )


def load_release(release: str | None = None, *, defines: Mapping[str, int] | None = None) -> Schema:
    """The Schema of a release of libvirt, None for the newest; raises UnknownRelease."""
    return load_schema([folder(newest() if release is None else release)], defines=defines)


def load_providers(paths: Sequence[Path], *, release: str | None = None) -> Providers:
    """The probe providers of folders (all `*.d`, in the order of their names) or files.

    Raises DefinitionError with the problems of all files.
    """
    reader = _Reader()
    providers = reader.read_providers(paths)
    if reader.problems:
        raise DefinitionError(reader.problems)
    if problems := list(_twice(providers)):
        raise DefinitionError(problems)
    return Providers(tuple(providers), release or reader.release, tuple(reader.inputs))


def _twice(providers: Sequence[Provider]) -> Iterator[Problem]:
    """Files that would become the same tapset, and probes that several files have."""
    files: dict[str, Provider] = {}
    probes: dict[tuple[str, str], Span] = {}
    for provider in providers:
        if (first := files.setdefault(provider.tapset, provider)) is not provider:
            message = f"{first.file} and {provider.file} would both become {provider.tapset}"
            yield Problem("ambiguous-file", None, message, "name the folder of one release")
        for _, probe in provider.probes:
            if (span := probes.setdefault((provider.name, probe.name), probe.span)) is not probe.span:
                message = f"a second file has the probe '{probe.name}'"
                yield Problem("duplicate-name", probe.span, message, related=((span, "the first one"),))


class _Reader:
    """Reads files; what is wrong with one is kept, and the next one read."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.externals: dict[str, External] = {}
        self.inputs: list[Input] = []
        self.release: str | None = None
        self._read: dict[Path, Specification | None] = {}

    def read(self, paths: Iterable[Path]) -> list[Specification]:
        for path in paths:
            if path.is_dir():
                self._folder(path)
            else:
                self._externals(path.parent)
                self._file_and_included(path)
        return [specification for specification in self._read.values() if specification]

    def read_providers(self, paths: Sequence[Path]) -> list[Provider]:
        files: dict[Path, None] = {}
        for path in paths:
            if path.is_dir():
                self._manifest(path)
                files |= dict.fromkeys(sorted(path.glob("*.d")))
            elif path.suffix == ".d":
                files[path] = None
        if not files:
            places = ", ".join(map(str, paths))
            self._problem("no-providers", f"there is no probe provider (.d file) in {places}")
        return [provider for path in files if (provider := self._provider(path))]

    def _provider(self, path: Path) -> Provider | None:
        if (data := self._input(path)) is None:
            return None
        try:
            return read_provider(source_of(str(path), data))
        except DefinitionError as error:
            self.problems += error.problems
            return None

    def _folder(self, path: Path) -> None:
        self._externals(path)
        self._manifest(path)
        files = sorted(path.glob("*.x"))
        if not files:
            self._problem("no-definitions", f"there is no .x file in {path}")
        for file in files:
            self._file(file)

    def _file_and_included(self, path: Path) -> None:
        queue = [path]
        for current in queue:
            specification = self._file(current)
            for header in specification.includes if specification else ():
                beside = current.parent / (header.removesuffix(".h") + ".x")
                if beside not in queue and beside.is_file():
                    queue.append(beside)

    def _file(self, path: Path) -> Specification | None:
        key = path.resolve()
        if key not in self._read:
            self._read[key] = None
            if (data := self._input(path)) is not None:
                self._read[key] = self._parse(str(path), data)
        return self._read[key]

    def _parse(self, name: str, data: bytes) -> Specification | None:
        try:
            return read_specification(source_of(name, data))
        except DefinitionError as error:
            self.problems += error.problems
            return None

    def _externals(self, path: Path) -> None:
        text = self._text(path / EXTERNALS)
        if text is None:
            return
        try:
            self.externals.update(read_externals(text))
        except ExternalsError as error:
            self._problem("bad-externals", f"{path / EXTERNALS}: {error}")

    def _manifest(self, path: Path) -> None:
        text = self._text(path / MANIFEST)
        if text is None:
            return
        try:
            release = tomllib.loads(text).get("release")
        except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
            self._problem("bad-manifest", f"{path / MANIFEST}: not TOML: {error}")
            return
        if not isinstance(release, str):
            self._problem("bad-manifest", f'{path / MANIFEST}: it must say release = "…"')
        elif not _RELEASE.fullmatch(release):
            message = f"{path / MANIFEST}: {release[:40]!r} is no release: letters, digits and . _ + - are"
            self._problem("bad-manifest", message)
        else:
            self.release = release

    def _input(self, path: Path) -> bytes | None:
        """A file that definitions are made from, which generated files name."""
        if not _FILE_NAME.fullmatch(path.name):
            message = (
                f"{path.name!r} is no name for definitions: it may have letters, digits, blanks and any of"
            )
            self._problem("bad-file-name", f"{message} . _ + - ( ); rename it")
            return None
        data = self._bytes(path)
        if data is not None:
            self.inputs.append(Input(path.name, hashlib.sha256(data).hexdigest()))
        return data

    def _text(self, path: Path) -> str | None:
        """A file that need not be there."""
        data = self._bytes(path) if path.exists() else None
        return None if data is None else data.decode("utf-8", errors="replace")

    def _bytes(self, path: Path) -> bytes | None:
        try:
            return read_bytes(path)
        except DefinitionError as error:
            self.problems += error.problems
            return None

    def _problem(self, rule: str, message: str) -> None:
        self.problems.append(Problem(rule, None, message))
