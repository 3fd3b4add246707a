"""The findings of a diagnosis that goes on.

Some causes are recognised only at the end of a recording, and a diagnosis that has ended cannot continue. A
forked process ends its copy of it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress

from msgspec import json

from .findings import Finding

#: Bytes that one read takes from the process.
_BLOCK = 1 << 16


class InterimFindings:
    """The findings of a diagnosis as they would be if the recording ended now. `findings` are those of the
    last examination that is complete. `finish` ends the diagnosis, in a copy of the process, which must have
    only one thread."""

    def __init__(self, finish: Callable[[], list[Finding]]) -> None:
        self.findings: list[Finding] = []
        self._finish = finish
        #: The process that examines, what it has written so far, and where it writes.
        self._child: int | None = None
        self._written = b""
        self._pipe = -1

    def examine(self) -> None:
        """Begin an examination, unless one is running. `collect` gets its result."""
        if self._child is not None:
            return
        self._pipe, theirs = os.pipe()
        os.set_blocking(self._pipe, False)
        self._written = b""
        self._child = os.fork()
        if self._child == 0:
            _write(theirs, self._finish)
        os.close(theirs)

    def collect(self, *, wait: bool = False) -> None:
        """Update `findings` if an examination has ended, or after it has ended."""
        if wait and self._child is not None:
            os.set_blocking(self._pipe, True)
        while self._child is not None:
            try:
                block = os.read(self._pipe, _BLOCK)
            except BlockingIOError:
                return
            self._written += block
            if not block:
                if self._end() == 0:
                    self.findings = json.decode(self._written, type=list[Finding])
                return

    def close(self) -> None:
        """End a running examination."""
        if self._child is not None:
            os.kill(self._child, signal.SIGKILL)
            self._end()

    def _end(self) -> int:
        """Forget the process, and return its exit status."""
        assert self._child is not None
        os.close(self._pipe)
        _, status = os.waitpid(self._child, 0)
        self._child = None
        return os.waitstatus_to_exitcode(status)


def _write(pipe: int, finish: Callable[[], list[Finding]]) -> None:
    """Write findings, and end the process, which never returns to its caller's code."""
    status = 1
    with suppress(BaseException):
        os.nice(10)
        with open(pipe, "wb") as file:
            file.write(json.encode(finish()))
        status = 0
    os._exit(status)
