"""Reading of definition files: file to text to Specification."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from . import syntax_errors
from .build import build
from .errors import DefinitionError, Problem, reason
from .files import open_regular
from .model import Specification
from .parse import parse
from .preprocess import Include, no_files
from .source import MAX_SIZE, Source

#: Control characters that no text has.
_NOT_TEXT = re.compile(rb"[\x00-\x08\x0e-\x19\x1b-\x1f\x7f]")


def read_bytes(path: Path, *, or_pipe: bool = False) -> bytes:
    """Return a file's bytes.

    Raises DefinitionError unless it can be read, is a regular file (or, with `or_pipe`, a pipe), and has at
    most MAX_SIZE bytes.
    """
    try:
        with open_regular(path, or_pipe=or_pipe) as file:
            data = file.read(MAX_SIZE + 1)
    except (OSError, ValueError) as error:
        why = reason(error) if isinstance(error, OSError) else str(error)
        raise DefinitionError([Problem("unreadable", None, f"cannot read {path}: {why}")]) from None
    if len(data) > MAX_SIZE:
        raise DefinitionError([syntax_errors.too_large(str(path))])
    return data


def read_source(path: Path) -> Source:
    """Return the text of a definition file.

    Raises DefinitionError as read_bytes and source_of do.
    """
    return source_of(str(path), read_bytes(path))


def source_of(name: str, data: bytes) -> Source:
    """Decode a definition file's bytes: UTF-8, or else Latin-1, which only comments may need.

    Raises DefinitionError for too many bytes, and for invalid UTF-8 in a file that is not text.
    """
    if len(data) > MAX_SIZE:
        raise DefinitionError([syntax_errors.too_large(name)])
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        if _NOT_TEXT.search(data):
            raise DefinitionError([syntax_errors.not_utf8(name, data, error.start)]) from None
        text = data.decode("latin-1")
    return Source(name, text.removeprefix("\ufeff"))


def read_specification(
    source: Source, include: Include = no_files, defines: Mapping[str, int] | None = None
) -> Specification:
    """Parse a definition file into a Specification; raises DefinitionError with every problem found.

    `include` finds the files that it includes; `defines` are numbers that `#if` and `#ifdef` see. Semantic
    problems are reported only for files without syntax errors.
    """
    return build(parse(source, include, defines))
