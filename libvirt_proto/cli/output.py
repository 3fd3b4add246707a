"""Where a command writes: standard output, or a file that it makes."""

from __future__ import annotations

import io
import os
import select
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, cast

import click

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

    from ..capture.stop import Stop

#: Seconds that the reader of a pipe may take when the end has been asked for, and between looks whether it
#: has.
_PATIENCE: Final = 2.0
_MOMENT: Final = 0.1


def destination(output: Path | None, stop: Stop | None = None) -> AbstractContextManager[BinaryIO]:
    """A file that is made anew; standard output for None. With `stop`, a pipe that nobody reads is not waited
    for any more once that is set: writing raises BrokenPipeError. That is for those who must not linger; what
    was left to write is lost."""
    if output is not None:
        return create(output)
    return _standard_output() if stop is None else cast(BinaryIO, io.BufferedWriter(_Stoppable(stop)))


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


class _Stoppable(io.RawIOBase):
    """Standard output, for what ends when somebody asks for it."""

    def __init__(self, stop: Stop) -> None:
        super().__init__()
        self._stop = stop
        self._fd = sys.stdout.fileno()
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLOUT)
        #: Until when the reader is waited for; None: nobody has asked for the end while it was.
        self._until: float | None = None

    def fileno(self) -> int:
        return self._fd

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer, /) -> int:
        while not self._poll.poll(_MOMENT * 1000):
            if self._stop.is_set():
                self._until = self._until or time.monotonic() + _PATIENCE
                if time.monotonic() > self._until:
                    raise BrokenPipeError
        # So many bytes at least a pipe takes that is ready.
        return os.write(self._fd, memoryview(data)[: select.PIPE_BUF])
