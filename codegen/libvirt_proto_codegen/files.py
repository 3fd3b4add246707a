"""Opening of untrusted files: only regular files are opened, and nothing blocks."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO


def is_special(path: Path) -> bool:
    """Return True for a directory, FIFO, socket or device; False also for a path that cannot be examined."""
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False


def open_regular(path: Path, *, or_pipe: bool = False) -> BinaryIO:
    """Open a regular file for reading; raises OSError for anything else, before it is opened.

    With `or_pipe`, a pipe is opened as well, and reading it waits for its writer.
    """
    mode = path.stat().st_mode
    if or_pipe and stat.S_ISFIFO(mode):
        return open(path, "rb")
    _check(path, mode)
    # Another file may have taken its place meanwhile.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        _check(path, os.fstat(descriptor).st_mode)
        return open(descriptor, "rb")
    except OSError:
        os.close(descriptor)
        raise


def _check(path: Path, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
