"""Reading of definition files: file to text to Specification."""

from __future__ import annotations

from pathlib import Path

from . import syntax_errors
from .build import build
from .errors import DefinitionError, Problem
from .files import open_regular
from .model import Specification
from .parse import parse
from .source import MAX_SIZE, Source


def read_bytes(path: Path, *, or_pipe: bool = False) -> bytes:
    """Return a file's bytes.

    Raises DefinitionError unless it can be read, is a regular file (or, with `or_pipe`, a pipe), and has at
    most MAX_SIZE bytes.
    """
    try:
        with open_regular(path, or_pipe=or_pipe) as file:
            data = file.read(MAX_SIZE + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise DefinitionError([Problem("unreadable", None, f"cannot read {path}: {reason}")]) from None
    if len(data) > MAX_SIZE:
        raise DefinitionError([syntax_errors.too_large(str(path))])
    return data


def read_source(path: Path) -> Source:
    """Return the text of a definition file, which is UTF-8.

    Raises DefinitionError as read_bytes and source_of do.
    """
    return source_of(str(path), read_bytes(path))


def source_of(name: str, data: bytes) -> Source:
    """Decode a definition file's bytes; raises DefinitionError for too many, and for invalid UTF-8."""
    if len(data) > MAX_SIZE:
        raise DefinitionError([syntax_errors.too_large(name)])
    try:
        return Source(name, data.decode("utf-8").removeprefix("\ufeff"))
    except UnicodeDecodeError as error:
        raise DefinitionError([syntax_errors.not_utf8(name, data, error.start)]) from None


def read_specification(source: Source) -> Specification:
    """Parse a definition file into a Specification; raises DefinitionError with every problem found.

    Semantic problems are reported only for files without syntax errors.
    """
    return build(parse(source))
