"""Destinations of a command's output: standard output, or a new file."""

from __future__ import annotations

import io
import os
import select
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, BinaryIO, Final, cast

import click

from ..errors import reason
from ..terminal import guarded

if TYPE_CHECKING:
    from pathlib import Path

    from _typeshed import ReadableBuffer

    from ..capture.stop import Stop

#: Seconds that the reader of a pipe has after a stop was requested, and seconds between checks for it.
_PATIENCE: Final = 2.0
_MOMENT: Final = 0.1


def destination(output: Path | None, stop: Stop | None = None) -> AbstractContextManager[BinaryIO]:
    """Yield a new file, or standard output for None; with `stop`, it is `stoppable`."""
    if output is not None:
        return guarded(create(output))
    return _standard_output() if stop is None else guarded(stoppable(sys.stdout.fileno(), stop))


def stoppable(descriptor: int, stop: Stop) -> BinaryIO:
    """Return a file that writes to a descriptor, which stays open. Once `stop` is set, a pipe without room is
    not waited for: writing raises BrokenPipeError, and the remaining output is lost. This is for commands
    that must end promptly."""
    return cast(BinaryIO, io.BufferedWriter(_Stoppable(descriptor, stop)))


def create(path: Path) -> BinaryIO:
    """Create a file, or empty an existing one, that only its user can read. Raises click.UsageError for one
    that cannot be written, or that another user could have planted."""
    from .. import private_files  # slow to load

    try:
        return private_files.create(path)
    except OSError as error:
        raise click.UsageError(f"cannot write {path}: {reason(error)}") from None


def is_standard_output(path: Path | None) -> bool:
    """Return whether a path is `-`."""
    return str(path) == "-"


def check_reader(out: BinaryIO) -> None:
    """Raise BrokenPipeError for a pipe without a reader. A command that waits for input would notice it only
    with its next line."""
    poll = select.poll()
    poll.register(out, 0)
    if any(event & select.POLLERR for _, event in poll.poll(0)):
        raise BrokenPipeError


def _standard_output() -> AbstractContextManager[BinaryIO]:
    """Return standard output with a buffer, also if PYTHONUNBUFFERED disables Python's: unbuffered, each line
    would be a system call, and could be written partially."""
    if isinstance(sys.stdout.buffer, io.RawIOBase):
        from ..private_files import NamedFile

        return io.BufferedWriter(NamedFile(sys.stdout.fileno(), "standard output", closefd=False))
    return nullcontext(sys.stdout.buffer)


class _Stoppable(io.RawIOBase):
    """An open file whose writes a stop request can interrupt."""

    def __init__(self, descriptor: int, stop: Stop) -> None:
        super().__init__()
        self._stop = stop
        self._fd = descriptor
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLOUT)
        #: Deadline of the reader; None until a stop was requested.
        self._until: float | None = None

    def fileno(self) -> int:
        return self._fd

    def isatty(self) -> bool:
        return os.isatty(self._fd)

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer, /) -> int:
        while not self._poll.poll(_MOMENT * 1000):
            if self._stop.is_set():
                self._until = self._until or time.monotonic() + _PATIENCE
                if time.monotonic() > self._until:
                    raise BrokenPipeError
        # A pipe that is ready accepts at least this many bytes.
        return os.write(self._fd, memoryview(data)[: select.PIPE_BUF])
