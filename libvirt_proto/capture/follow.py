"""Reading a file that grows, as `tail -f` does."""

from __future__ import annotations

import errno
import os
import select
import stat
from typing import BinaryIO, Final

from ..blocks import Read
from .stop import Stop

#: Seconds between two looks at a file that has not grown, and at whether to stop.
INTERVAL: Final = 0.1


def following(file: BinaryIO, stop: Stop) -> Read:
    """A function that reads at most so many bytes as soon as there are any, and b"" only when `stop` is
    set or the other end of a pipe is closed.

    It raises OSError where a file has become shorter than what was read of it: what follows then cannot
    belong to what was read before.
    """
    descriptor = file.fileno()
    grows = stat.S_ISREG(os.fstat(descriptor).st_mode)
    waiting = select.poll()
    waiting.register(descriptor, select.POLLIN)

    def read(size: int) -> bytes:
        while not stop.is_set():
            if not grows and not waiting.poll(INTERVAL * 1000):
                continue
            data = os.read(descriptor, size)
            if data or not grows:
                return data
            if os.fstat(descriptor).st_size < os.lseek(descriptor, 0, os.SEEK_CUR):
                raise OSError(errno.ESTALE, "the file became shorter while it was followed")
            stop.wait(INTERVAL)
        return b""

    return read
