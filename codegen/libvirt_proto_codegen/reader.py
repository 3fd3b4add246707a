"""The way in: a file, its text, its Specification."""

from __future__ import annotations

from pathlib import Path

from . import syntax_errors
from .build import build
from .errors import DefinitionError, Problem
from .model import Specification
from .parse import parse
from .source import MAX_SIZE, Source


def read_bytes(path: Path) -> bytes:
    """A file's bytes; raises DefinitionError if it cannot be read or is larger than MAX_SIZE."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_SIZE + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise DefinitionError([Problem("unreadable", None, f"cannot read {path}: {reason}")]) from None
    if len(data) > MAX_SIZE:
        raise DefinitionError([syntax_errors.too_large(str(path))])
    return data


def read_source(path: Path) -> Source:
    """The text of a definition file, which is UTF-8.

    Raises DefinitionError as read_bytes and source_of do.
    """
    return source_of(str(path), read_bytes(path))


def source_of(name: str, data: bytes) -> Source:
    """The text of a definition file's bytes; raises DefinitionError for too many, or if it is not UTF-8."""
    if len(data) > MAX_SIZE:
        raise DefinitionError([syntax_errors.too_large(name)])
    try:
        return Source(name, data.decode("utf-8").removeprefix("\ufeff"))
    except UnicodeDecodeError as error:
        raise DefinitionError([syntax_errors.not_utf8(name, data, error.start)]) from None


def read_specification(source: Source) -> Specification:
    """What a definition file says; raises DefinitionError with every problem found.

    Problems of syntax come alone: a file is understood only when all of it could be read.
    """
    return build(parse(source))
