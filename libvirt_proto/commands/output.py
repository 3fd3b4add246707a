"""Where a command writes: standard output, or the file of `--output`."""

from __future__ import annotations

import io
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import BinaryIO

import click


def standard_output() -> AbstractContextManager[BinaryIO]:
    """Standard output with a buffer, also where PYTHONUNBUFFERED takes Python's own away: unbuffered,
    each line would cost a system call, and one could be written in part."""
    if isinstance(sys.stdout.buffer, io.RawIOBase):
        return open(sys.stdout.fileno(), "wb", closefd=False)
    return nullcontext(sys.stdout.buffer)


def create(path: Path) -> BinaryIO:
    """The file of `--output`; raises click.UsageError for one that cannot be written."""
    try:
        return path.open("wb")
    except OSError as error:
        raise click.UsageError(f"cannot write {path}: {error.strerror}.") from None
