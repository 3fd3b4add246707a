"""Definitions as named on the command line: a release, a folder, .x files, a git revision."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TypeVar

import click
from click.shell_completion import CompletionItem

from ..definitions import load_release, load_schema
from ..errors import DefinitionError
from ..releases import LATEST, UnknownRelease, canonical, find, releases
from ..revisions import PREFIX, RevisionError, load_revision
from ..schema import Schema

Loaded = TypeVar("Loaded")


def load(read: Callable[[], Loaded], *, then: str) -> Loaded:
    """Return what `read` returns; on problems in the definitions, end the command, with `then` as the
    consequence."""
    try:
        return read()
    except (UnknownRelease, RevisionError) as error:
        raise click.UsageError(str(error)) from None
    except DefinitionError as error:
        count = len(error.problems)
        for problem in error.problems:
            click.echo(problem.diagnostic(), err=True)
        raise click.ClickException(
            f"{count} problem{'s' if count != 1 else ''} in the definitions, {then}"
        ) from None


def read_sources(sources: Sequence[str], defines: Mapping[str, int]) -> tuple[Schema, ...]:
    """Return a Schema per release and folder, and one of all files together; by default the newest release's.
    Constants of libvirt's own headers are known.

    Raises as read_source does.
    """
    if not sources:
        return (load_release(defines=defines),)
    paths = {source: Path(source) for source in sources}
    files = [path for source, path in paths.items() if _is_file(source, path)]
    schemas = [load_schema(files, defines=defines, known=True)] if files else []
    for source, path in paths.items():
        if path not in files:
            schemas.append(read_source(source, defines))
    return tuple(schemas)


def _is_file(source: str, path: Path) -> bool:
    """Return True for a .x file, and for a source that was meant as one."""
    return not source.startswith(PREFIX) and (path.is_file() or (path.suffix == ".x" and not path.is_dir()))


def file_of(source: str) -> str | None:
    """Return the base name of the only .x file that a source names; None for a release or a folder."""
    if source.startswith(PREFIX):
        return PurePosixPath(source).name if source.endswith(".x") else None
    path = Path(source)
    return path.name if _is_file(source, path) or _is_pipe(path) else None


def _is_pipe(path: Path) -> bool:
    return path.is_relative_to("/dev") and not path.is_dir()


def read_source(source: str, defines: Mapping[str, int]) -> Schema:
    """Return the Schema of a release, a folder, a .x file with its includes, or `git:REV:PATH`.

    If a folder has no .x files, as in a source tree, those below it are read. An existing path takes
    precedence over a release. Constants of libvirt's own headers are known.

    Raises UnknownRelease, RevisionError or DefinitionError.
    """
    if source.startswith(PREFIX):
        return load_revision(source, defines=defines)
    path = Path(source)
    if "/" in source or path.suffix == ".x" or path.exists():
        return load_schema([path], defines=defines, known=True)
    try:
        find(canonical(source))
    except UnknownRelease as error:
        raise UnknownRelease(f"no file or folder {source!r}, and {error}") from None
    return load_release(source, defines=defines)


def complete_source(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return releases that begin with the typed text; the shell adds files."""
    known = complete_release(ctx, parameter, incomplete)
    return [CompletionItem(incomplete, type="file"), *map(CompletionItem, known)]


def complete_release(_ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the bundled releases that begin with the typed text, in their order."""
    names = (LATEST, *(each.name for each in releases()))
    return [name for name in names if name.startswith(incomplete.removeprefix("v"))]
