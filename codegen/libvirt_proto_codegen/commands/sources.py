"""Definitions as the command line names them: a release, a folder, .x files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import click

from ..definitions import UnknownRelease, load_release, load_schema, releases
from ..errors import DefinitionError
from ..schema import Schema

Loaded = TypeVar("Loaded")


def load(read: Callable[[], Loaded], *, then: str) -> Loaded:
    """What was read from definitions; their problems end the command, and `then` says what came of it."""
    try:
        return read()
    except UnknownRelease as error:
        raise click.UsageError(str(error)) from None
    except DefinitionError as error:
        count = len(error.problems)
        click.echo(str(error), err=True)
        raise click.ClickException(
            f"{count} problem{'s' if count != 1 else ''} in the definitions, {then}"
        ) from None


def read_sources(sources: Sequence[str], defines: Mapping[str, int]) -> tuple[Schema, ...]:
    """A Schema per release and folder, and one of all files together; the newest release's where nothing
    is named. What libvirt's own headers define need not be given.

    Raises UnknownRelease or DefinitionError.
    """
    if not sources:
        return (load_release(defines=defines),)
    paths = {source: Path(source) for source in sources}
    files = [path for path in paths.values() if path.is_file() or (path.suffix == ".x" and not path.is_dir())]
    schemas = [load_schema(files, defines=defines, known=True)] if files else []
    for source, path in paths.items():
        if path.is_dir():
            schemas.append(load_schema([path], defines=defines, known=True))
        elif path not in files:
            if source not in releases():
                known = ", ".join(releases())
                raise UnknownRelease(f"{source!r} is no file, no folder, and none of the releases {known}")
            schemas.append(load_release(source, defines=defines))
    return tuple(schemas)
