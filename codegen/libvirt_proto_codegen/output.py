"""Artefacts → disk, or a comparison with what is there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .render import MARK, Artefact


@dataclass(frozen=True, slots=True)
class Difference:
    """A file that is not as it would be generated. `kind` says whether it differs, is missing, or
    was generated once and is not any more; `path` is below the folder."""

    kind: Literal["differs", "missing", "extra"]
    path: str


class ForeignFileError(Exception):
    """A file stands where one would be generated, and it is not a generated one."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = tuple(paths)
        super().__init__(", ".join(map(str, paths)))


def compare(artefacts: Iterable[Artefact], folder: Path) -> list[Difference]:
    """What `write` would change, in the order of paths."""
    found: list[Difference] = []
    texts = {artefact.path: artefact.text for artefact in artefacts}
    for path, text in texts.items():
        try:
            if (folder / path).read_bytes() != text.encode():
                found.append(Difference("differs", path))
        except FileNotFoundError:
            found.append(Difference("missing", path))
    found += [Difference("extra", path) for path in _generated(folder) if path not in texts]
    return sorted(found, key=lambda difference: difference.path)


def write(artefacts: Iterable[Artefact], folder: Path, *, force: bool = False) -> list[Difference]:
    """Make the folder as generated, and give what was not so before.

    Files that an earlier run generated and this one does not are removed. Raises ForeignFileError, before it
    writes anything, for files in the way that carry no banner, unless `force` is set.
    """
    artefacts = tuple(artefacts)
    changes = compare(artefacts, folder)
    if not force:
        theirs = [
            folder / change.path
            for change in changes
            if change.kind == "differs" and not _is_generated(folder / change.path)
        ]
        if theirs:
            raise ForeignFileError(theirs)
    texts = {artefact.path: artefact.text for artefact in artefacts}
    for change in changes:
        path = folder / change.path
        if change.kind == "extra":
            path.unlink()
        else:
            _replace(path, texts[change.path])
    return changes


def _replace(path: Path, text: str) -> None:
    """Write a file so that nobody ever reads half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _generated(folder: Path) -> list[str]:
    """Files right in the folder that carry the banner."""
    if not folder.is_dir():
        return []
    return [path.name for path in folder.iterdir() if path.suffix in (".py", ".stp") and _is_generated(path)]


def _is_generated(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return MARK.encode() in file.readline(200)
    except OSError:
        return False
