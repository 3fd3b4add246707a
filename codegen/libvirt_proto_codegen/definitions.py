"""Finding definitions, and reading them into a Schema."""

from __future__ import annotations

import hashlib
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from .dialect import Dialect
from .errors import DefinitionError, Problem
from .externals import KNOWN, ExternalsError, read_externals
from .model import Specification
from .preprocess import IncludeError, no_files
from .providers.binaries import Binary
from .providers.model import Provider
from .providers.parse import read_provider
from .providers.selection import Providers, select
from .reader import read_bytes, read_specification, source_of
from .releases import MANIFEST, canonical, find, functions, history, newest, releases, texts
from .releases.narrow import narrowed, with_provenance
from .resolve import resolve
from .schema import External, Input, Schema
from .source import MAX_SIZE, Source, Span
from .source_tree import find_files
from .syntax_errors import quoted

EXTERNALS: Final = "externals.toml"
#: Maximum size of all files of a set together, in bytes. A release of libvirt has a hundredth of it.
MAX_TOTAL: Final = 16 * MAX_SIZE
#: Valid file names, which appear in the head of every generated file, in comments and strings of several
#: languages.
_FILE_NAME: Final = re.compile(r"[\w .+()-]{1,200}")
_RELEASE: Final = re.compile(r"[A-Za-z0-9._+-]{1,60}")


def load_schema(
    paths: Sequence[Path],
    *,
    defines: Mapping[str, int] | None = None,
    release: str | None = None,
    dialect: Dialect = "auto",
    known: bool = False,
) -> Schema:
    """Return the Schema of folders or files.

    From a folder all regular `*.x` are read, sorted by name; its MANIFEST.toml gives the release, and its
    externals.toml the external constants. If a folder has no `*.x`, like libvirt's src/, those of all folders
    below it are read, each with the externals.toml next to it. For a file, the files that it includes and the
    externals.toml are read from the same folder; nothing else in it is opened. A file that another one
    includes as text (`#include`) is a part of that one, unless it is named. A pipe is read only as
    `/dev/stdin` or `/dev/fd/N`. `defines` take precedence over externals.toml, and `#if` sees them; with
    `known`, constants in libvirt's C headers need neither.

    Raises DefinitionError with the problems of all files.
    """
    reader = _Reader(defines=defines)
    specifications = reader.read(paths)
    reader.release = release or reader.release
    return _schema(reader, specifications, defines, dialect, known=known)


def load_release(release: str | None = None, *, defines: Mapping[str, int] | None = None) -> Schema:
    """Return the Schema of a libvirt release (None: the newest) with history and functions; raises
    UnknownRelease."""
    name = newest() if release is None else canonical(release)
    schema = schema_of(texts(find(name)), name, defines=defines)
    known, called = history(), functions()
    if known is not None:
        known = narrowed(with_provenance(known, releases()), called, schema)
    return replace(schema, history=known, functions=called)


def schema_of(
    files: Mapping[str, bytes],
    release: str,
    *,
    defines: Mapping[str, int] | None = None,
    read: Callable[[Source], Specification] | None = None,
) -> Schema:
    """Return the Schema of a release from its files (name → content); `read` may return cached results."""
    reader = _Reader(read, defines)
    return _schema(reader, reader.read_release(release, files), defines)


def _schema(
    reader: _Reader,
    specifications: list[Specification],
    defines: Mapping[str, int] | None,
    dialect: Dialect = "auto",
    *,
    known: bool = False,
) -> Schema:
    if reader.problems:
        raise DefinitionError(reader.problems)
    return resolve(
        specifications,
        externals={**(KNOWN if known else {}), **reader.externals, **(defines or {})},
        release=reader.release,
        inputs=tuple(reader.inputs),
        dialect=dialect,
    )


def load_providers(paths: Sequence[Path], *, release: str | None = None) -> Providers:
    """Return the probe providers of folders (all `*.d`, found as load_schema finds `*.x`) or files.

    Raises DefinitionError with the problems of all files.
    """
    reader = _Reader()
    providers = reader.read_providers(paths)
    if reader.problems:
        raise DefinitionError(reader.problems)
    if problems := list(_twice(providers)):
        raise DefinitionError(problems)
    return Providers(tuple(providers), release or reader.release, tuple(reader.inputs))


def load_binary_providers(binaries: Sequence[Binary], release: str | None = None) -> Providers:
    """Return libvirt's probe providers for the versions of binaries, and a release where these prove nothing;
    raises UnknownRelease."""
    name = None if release is None else canonical(release)
    if name is not None:
        find(name)
    return select(binaries, name)


def _twice(providers: Sequence[Provider]) -> Iterator[Problem]:
    """Yield problems for files that would become the same tapset, and for probes in several files."""
    files: dict[str, Provider] = {}
    probes: dict[tuple[str, str], Span] = {}
    for provider in providers:
        if (first := files.setdefault(provider.tapset, provider)) is not provider:
            message = f"{first.file} and {provider.file} would both become {provider.tapset}"
            yield Problem("ambiguous-file", None, message, "name the folder of one release")
        for _, probe in provider.probes:
            if (span := probes.setdefault((provider.name, probe.name), probe.span)) is not probe.span:
                message = f"duplicate probe '{probe.name}'"
                yield Problem("duplicate-name", probe.span, message, related=((span, "first defined here"),))


class _Reader:
    """Reads files; the problems of one are collected, and the next one is read."""

    def __init__(
        self,
        read: Callable[[Source], Specification] | None = None,
        defines: Mapping[str, int] | None = None,
    ) -> None:
        self._read_specification = read
        self._defines = defines
        self.problems: list[Problem] = []
        self.externals: dict[str, External] = {}
        self.inputs: list[Input] = []
        self.release: str | None = None
        self._read: dict[str, Specification | None] = {}
        #: Real paths of the files and folders that the user named, and of the files that others include.
        self._named: set[str] = set()
        self._included: dict[str, Source] = {}
        self._left = MAX_TOTAL

    def read(self, paths: Iterable[Path]) -> list[Specification]:
        paths = list(paths)
        self._named = {os.path.realpath(path) for path in paths}
        for path in paths:
            if path.is_dir():
                self._folder(path)
            else:
                self._externals(path.parent)
                self._named_and_included(path)
        parts = self._included.keys() - self._named
        return [one for path, one in self._read.items() if one and path not in parts]

    def read_release(self, name: str, files: Mapping[str, bytes]) -> list[Specification]:
        self.release = name
        self._take_externals(f"{name}/{EXTERNALS}", files.get(EXTERNALS))
        return [
            specification
            for file, data in files.items()
            if file.endswith(".x") and (specification := self._specification(Path(name, file), data))
        ]

    def read_providers(self, paths: Sequence[Path]) -> list[Provider]:
        files: dict[Path, None] = {}
        for path in paths:
            if path.is_dir():
                self._manifest(path)
                files |= dict.fromkeys(find_files(path, ".d"))
            elif path.suffix == ".d":
                files[path] = None
        if not files:
            places = ", ".join(map(str, paths))
            self._problem("no-providers", f"no probe provider (.d file) in {places}")
        return [
            provider
            for path in files
            if (data := self._bytes(path)) is not None and (provider := self._provider(path, data))
        ]

    def _provider(self, path: Path, data: bytes) -> Provider | None:
        if not self._input(path, data):
            return None
        try:
            return read_provider(source_of(str(path), data))
        except DefinitionError as error:
            self.problems += error.problems
            return None

    def _folder(self, path: Path) -> None:
        self._manifest(path)
        files = find_files(path, ".x")
        if not files:
            self._problem("no-definitions", f"no .x file in {path}")
        for folder in dict.fromkeys((path, *(file.parent for file in files))):
            self._externals(folder)
        for file in files:
            self._file(file)

    def _named_and_included(self, path: Path) -> None:
        queue = [path]
        for current in queue:
            specification = self._file(current, or_pipe=current is path and path.is_relative_to("/dev"))
            for header in specification.includes if specification else ():
                included = current.parent / (header.removesuffix(".h") + ".x")
                if included not in queue and os.path.isfile(included):
                    queue.append(included)

    def _file(self, path: Path, *, or_pipe: bool = False) -> Specification | None:
        key = os.path.realpath(path)
        if key not in self._read:
            self._read[key] = None
            if (data := self._bytes(path, or_pipe=or_pipe)) is not None:
                folder = None if or_pipe else path.parent
                self._read[key] = self._specification(path, data, folder=folder)
        return self._read[key]

    def _specification(self, path: Path, data: bytes, *, folder: Path | None = None) -> Specification | None:
        """Return a file's Specification; files that it includes are in `folder`, None for no files."""
        if not self._input(path, data):
            return None
        try:
            source = source_of(str(path), data)
            if self._read_specification:
                return self._read_specification(source)
            include = partial(self._include, folder) if folder else no_files
            return read_specification(source, include, self._defines)
        except DefinitionError as error:
            self.problems += error.problems
            return None

    def _include(self, folder: Path, name: str, source: Source) -> Source | None:
        """Return a file that a file in a folder includes; None if there is none.

        Raises IncludeError for files outside the folder that the user did not name."""
        path = Path(source.name).parent / name
        real = os.path.realpath(path)
        if not self._may_include(real, os.path.realpath(folder)):
            hint = f"name it, too, if it belongs to the definitions: {path}"
            raise IncludeError(f"{quoted(name)} is outside the folder of {source.name}", hint)
        if real not in self._included:
            if not os.path.isfile(path) or (data := self._bytes(path)) is None or not self._input(path, data):
                return None
            self._included[real] = source_of(str(path), data)
        return self._included[real]

    def _may_include(self, real: str, folder: str) -> bool:
        return any(
            real == allowed or real.startswith(allowed.rstrip(os.sep) + os.sep)
            for allowed in (folder, *self._named)
        )

    def _externals(self, path: Path) -> None:
        self._take_externals(str(path / EXTERNALS), self._optional(path / EXTERNALS))

    def _take_externals(self, name: str, data: bytes | None) -> None:
        if data is None:
            return
        try:
            self.externals.update(read_externals(data.decode("utf-8", errors="replace")))
        except ExternalsError as error:
            self._problem("bad-externals", f"{name}: {error}")

    def _manifest(self, path: Path) -> None:
        if (data := self._optional(path / MANIFEST)) is None:
            return
        try:
            release = tomllib.loads(data.decode("utf-8", errors="replace")).get("release")
        except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
            self._problem("bad-manifest", f"{path / MANIFEST}: not TOML: {error}")
            return
        if not isinstance(release, str):
            self._problem("bad-manifest", f'{path / MANIFEST}: expected release = "…"')
        elif not _RELEASE.fullmatch(release):
            message = f"{path / MANIFEST}: invalid release {release[:40]!r}: use letters, digits and . _ + -"
            self._problem("bad-manifest", message)
        else:
            self.release = release

    def _input(self, path: Path, data: bytes) -> bool:
        """Register a file; report a problem if its name cannot appear in generated files."""
        if not _FILE_NAME.fullmatch(path.name):
            message = f"invalid name of a definition file: {path.name!r} (use letters, digits, blanks and"
            self._problem("bad-file-name", f"{message} . _ + - ( ); rename it")
            return False
        given = Input(path.name, hashlib.sha256(data).hexdigest())
        if given not in self.inputs:
            self.inputs.append(given)
        return True

    def _optional(self, path: Path) -> bytes | None:
        """Return the content of a file that may be missing."""
        return self._bytes(path) if os.path.lexists(path) else None

    def _bytes(self, path: Path, *, or_pipe: bool = False) -> bytes | None:
        if self._left < 0:
            return None
        try:
            data = read_bytes(path, or_pipe=or_pipe)
        except DefinitionError as error:
            self.problems += error.problems
            return None
        self._left -= len(data)
        if self._left >= 0:
            return data
        self._problem("too-large", f"more than {MAX_TOTAL // 2**20} MiB of definitions, starting at {path}")
        return None

    def _problem(self, rule: str, message: str) -> None:
        self.problems.append(Problem(rule, None, message))
