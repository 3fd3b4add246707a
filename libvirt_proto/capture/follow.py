"""Read a file that grows, as `tail -F` does, across rotation.

logrotate(8) renames the file and creates another one of its name, or copies and truncates it (copytruncate);
tcpdump(8) continues in a file with a number after its name (-C).
"""

from __future__ import annotations

import os
import re
import select
import stat
from contextlib import suppress
from typing import BinaryIO, Final

from ..events import Notice, NoticeCode
from .pcap.file import PCAP_MAGIC, PCAPNG_MAGIC
from .stop import Stop

#: Seconds between checks whether a file has grown, and whether to stop.
INTERVAL: Final = 0.1
#: The name of a capture numbered by tcpdump -C: the first has no number, except with -W.
_NUMBERED: Final = re.compile(r"(.*\.[A-Za-z]+)([0-9]+)")


class Following:
    """A file that is followed until `stop` is set: call `read`, and at each b"" `rotation`.

    `path` is where another file may replace it; None for standard input, which cannot be replaced.
    """

    def __init__(self, file: BinaryIO, stop: Stop, path: str | None = None) -> None:
        self._descriptor = file.fileno()
        self._stop = stop
        self._grows = stat.S_ISREG(os.fstat(self._descriptor).st_mode)
        self._path = path if self._grows else None
        self._waiting = select.poll()
        self._waiting.register(self._descriptor, select.POLLIN)
        self._rotation: Notice | None = None

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes as soon as there are any. b"" if `stop` is set, if the other end of a
        pipe is closed, or if another file follows (see `rotation`). Raises OSError."""
        while not self._stop.is_set() and self._rotation is None:
            if not self._grows and not self._waiting.poll(INTERVAL * 1000):
                self._stop.wait(0)
                continue
            data = os.read(self._descriptor, size)
            if data or not self._grows:
                return data
            if os.fstat(self._descriptor).st_size < os.lseek(self._descriptor, 0, os.SEEK_CUR):
                os.lseek(self._descriptor, 0, os.SEEK_SET)
                text = "the file was truncated: reading continues at its beginning; bytes added just before"
                self._rotation = Notice(NoticeCode.FILE_TRUNCATED, f"{text} may be missing", severity="note")
            elif (follows := self._next()) is not None:
                # Its writer may have added to the old file before it opened the new one.
                if data := os.read(self._descriptor, size):
                    return data
                self._change_to(follows)
            else:
                self._stop.wait(INTERVAL)
        return b""

    def rotation(self) -> Notice | None:
        """Return, after `read` has returned b"", a Notice if another file follows and is read next, else
        None."""
        rotation, self._rotation = self._rotation, None
        return rotation

    def _next(self) -> str | None:
        """Return the path of the file that replaces this one, once it has contents: until then, this one may
        grow."""
        if self._path is None:
            return None
        ours = os.fstat(self._descriptor)
        with suppress(FileNotFoundError):
            status = os.stat(self._path)
            if not os.path.samestat(status, ours):
                return self._path if stat.S_ISREG(status.st_mode) and status.st_size else None
        numbered = _numbered(self._path)
        with suppress(OSError):
            status = os.stat(numbered)
            if stat.S_ISREG(status.st_mode) and status.st_mtime_ns > ours.st_mtime_ns:
                with open(numbered, "rb") as file:
                    magic = file.read(4)
                return numbered if magic in PCAP_MAGIC or magic == PCAPNG_MAGIC else None
        return None

    def _change_to(self, path: str) -> None:
        """Continue with another file under the same descriptor, which the opener closes."""
        # Do not wait for a writer, in case it has become a FIFO.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            os.dup2(file.fileno(), self._descriptor, inheritable=False)
        if path == self._path:
            text = "the file was replaced (rotated): reading continues in the new one"
            self._rotation = Notice(NoticeCode.FILE_REPLACED, text, severity="note")
        else:
            self._path = path
            text = f"the capture continues in {path} (tcpdump -C): reading continues there"
            self._rotation = Notice(NoticeCode.FILE_REPLACED, text, severity="note")


def _numbered(path: str) -> str:
    """Return the name of the file in which tcpdump -C continues after this one."""
    match = _NUMBERED.fullmatch(path)
    if match is None:
        return f"{path}1"
    return f"{match[1]}{int(match[2]) + 1:0{len(match[2])}}"
