"""Artefacts on disk: writing them, and comparing them with the files that exist."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .files import is_special, open_regular
from .render import COMMAND, MARK, Artefact


@dataclass(frozen=True, slots=True)
class Difference:
    """A file that differs from what would be generated, is missing, or is no longer generated (`kind`).
    `path` is relative to the folder."""

    kind: Literal["differs", "missing", "extra"]
    path: str


class ForeignFileError(Exception):
    """A file that was not generated has the path of a generated one."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = tuple(paths)
        super().__init__(", ".join(map(str, paths)))


def compare(artefacts: Iterable[Artefact], folder: Path) -> list[Difference]:
    """Return what `write` would change, sorted by path. A folder may hold the files of several targets.
    Raises OSError for a file that cannot be read or is not a regular one."""
    artefacts = tuple(artefacts)
    found: list[Difference] = []
    texts = {artefact.path: artefact.text for artefact in artefacts}
    targets = {_target(each.text.split("\n", 2)[:2]) for each in artefacts if each.replaces == MARK}
    for path, text in texts.items():
        data = text.encode()
        try:
            with open_regular(folder / path) as file:
                if file.read(len(data) + 1) != data:
                    found.append(Difference("differs", path))
        except FileNotFoundError:
            found.append(Difference("missing", path))
    found += [Difference("extra", path) for path in _generated(folder, targets) if path not in texts]
    return sorted(found, key=lambda difference: difference.path)


def write(artefacts: Iterable[Artefact], folder: Path, *, force: bool = False) -> list[Difference]:
    """Write the artefacts into a folder, and return what changed.

    Files that an earlier run generated and this one does not are removed. Raises ForeignFileError, before
    anything is written, for existing files that an artefact may not replace (most replace only files with a
    banner), unless `force` is set.
    """
    artefacts = tuple(artefacts)
    changes = compare(artefacts, folder)
    if not force:
        marks = {artefact.path: artefact.replaces for artefact in artefacts}
        theirs = [
            folder / change.path
            for change in changes
            if change.kind == "differs" and marks[change.path] not in _first_lines(folder / change.path)[0]
        ]
        if theirs:
            raise ForeignFileError(theirs)
    texts = {artefact.path: artefact.text for artefact in artefacts}
    for change in changes:
        path = folder / change.path
        if change.kind == "extra":
            path.unlink()
        else:
            replace_file(path, texts[change.path])
    return changes


def replace_file(path: Path, text: str) -> None:
    """Write a file atomically. Raises OSError with the file's name."""
    temporary = _temporary_name(path)
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("x", encoding="utf-8", newline="\n") as file:
                file.write(text)
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def write_output(path: Path, text: str) -> None:
    """Write the file of a command's `-o`: as `replace_file` does, but a pipe or a device as it is. Raises
    OSError with the file's name."""
    if is_special(path) or path.parts[:2] in (("/", "dev"), ("/", "proc")):  # /dev/stdout may be a file
        with naming(path):
            path.write_text(text, encoding="utf-8")
    else:
        replace_file(path.resolve(), text)


@contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """Create a temporary folder for the replacement of a path, removed on exit."""
    folder = _temporary_name(path)
    try:
        try:
            folder.mkdir(mode=0o700)
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    except BaseException:  # a signal may have interrupted the removal
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _temporary_name(path: Path) -> Path:
    """Return a hidden name in the same folder for the replacement of a path. The name is known before the
    file exists, so that a signal at any moment leaves no file."""
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}")


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Give OSErrors the name of the target file: those of write(2) have none, others name a temporary
    file."""
    try:
        yield
    except OSError as error:
        error.filename, error.filename2 = str(path), None
        raise


def _generated(folder: Path, targets: Container[str | None]) -> list[str]:
    """Return the files directly in the folder that carry the banner of one of the targets."""
    if not folder.is_dir():
        return []
    return [
        path.name
        for path in folder.iterdir()
        if path.suffix in (".py", ".stp", ".bt", ".lua")
        and MARK in _first_lines(path)[0]
        and _target(_first_lines(path)) in targets
    ]


def _first_lines(path: Path) -> list[str]:
    """Return the first two lines of a file, as far as a banner reaches; empty if it cannot be read."""
    try:
        with open_regular(path) as file:
            return [file.readline(200).decode(errors="replace") for _ in range(2)]
    except OSError:
        return ["", ""]


def _target(lines: Sequence[str]) -> str | None:
    """Return the target that a banner's second line names."""
    _, command, words = lines[1].partition(COMMAND) if len(lines) == 2 else ("", "", "")
    return words.split()[0] if command and words.split() else None
