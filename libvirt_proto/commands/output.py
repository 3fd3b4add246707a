"""Where a command writes: standard output, or a file that it makes."""

from __future__ import annotations

import io
import select
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import BinaryIO

import click


def destination(output: Path | None) -> AbstractContextManager[BinaryIO]:
    """A file that is made anew; standard output for None."""
    return _standard_output() if output is None else create(output)


def create(path: Path) -> BinaryIO:
    """A new file, or an old one emptied. Raises click.UsageError where it cannot be written."""
    try:
        return path.open("wb")
    except OSError as error:
        raise click.UsageError(f"cannot write {path}: {error.strerror}.") from None


def check_reader(out: BinaryIO) -> None:
    """Raises BrokenPipeError for a pipe that nobody reads any more: who waits for something to write would
    learn of it with the next line, and that may be long in coming."""
    poll = select.poll()
    poll.register(out, 0)
    if any(event & select.POLLERR for _, event in poll.poll(0)):
        raise BrokenPipeError


def _standard_output() -> AbstractContextManager[BinaryIO]:
    """Standard output with a buffer, also where PYTHONUNBUFFERED takes Python's own away: unbuffered,
    each line would cost a system call, and one could be written in part."""
    if isinstance(sys.stdout.buffer, io.RawIOBase):
        return open(sys.stdout.fileno(), "wb", closefd=False)
    return nullcontext(sys.stdout.buffer)
