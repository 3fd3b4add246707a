"""A command on a terminal that a terminal emulator (pyte) shows, for tests of whole screens."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyte

#: Seconds in which something must happen.
PATIENCE = 30.0
COMMAND = Path(sys.executable).with_name("libvirt-proto")
#: Makes the terminal of its standard input the controlling one of a new session, and runs a command as the
#: job in the foreground, as a shell does: only a job can be suspended.
_SHELL = """
import fcntl, os, signal, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
job = os.fork()
if not job:
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpid())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    if sys.argv[1]:
        os.dup2(int(sys.argv[1]), 0)
    os.execv(sys.argv[2], sys.argv[2:])
_, status = os.waitpid(job, 0)
os._exit(os.waitstatus_to_exitcode(status) & 0xff)
"""


class Terminal:
    """`libvirt-proto` on a terminal of its own. `stdin` is a descriptor that is not the terminal."""

    def __init__(
        self,
        *words: str | Path,
        columns: int = 80,
        lines: int = 24,
        stdin: int | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)
        self.written = b""
        self._main, self._other = pty.openpty()
        self.before = termios.tcgetattr(self._other)
        self._set_size(columns, lines)
        known = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")}
        self._shell = subprocess.Popen(
            [
                sys.executable,
                "-S",
                "-c",
                _SHELL,
                "" if stdin is None else str(stdin),
                str(COMMAND),
                *map(str, words),
            ],
            stdin=self._other,
            stdout=self._other,
            stderr=self._other,
            env=known | {"TERM": "xterm"} | (env or {}),
            pass_fds=[] if stdin is None else [stdin],
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shell.poll() is None:
            with suppress(ProcessLookupError, ValueError):
                os.kill(self.pid, signal.SIGKILL)
            self._shell.kill()
            self._shell.wait()
        os.close(self._main)
        os.close(self._other)

    @property
    def lines(self) -> list[str]:
        """The lines on the screen, without spaces at their ends."""
        return [line.rstrip() for line in self._screen.display]

    @property
    def pid(self) -> int:
        """The process of the command."""
        shell = self._shell.pid
        return int(Path(f"/proc/{shell}/task/{shell}/children").read_text().split()[0])

    @property
    def attributes(self) -> list[Any]:
        """The settings of the terminal."""
        return termios.tcgetattr(self._other)

    def press(self, keys: str) -> None:
        """Type some keys."""
        os.write(self._main, keys.encode())

    def resize(self, columns: int, lines: int) -> None:
        """Change the size, which the terminal's processes are told."""
        self._screen.resize(lines, columns)
        self._set_size(columns, lines)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the command."""
        os.kill(self.pid, number)

    def until(self, is_there: Callable[[list[str]], object], what: str = "") -> list[str]:
        """Wait until the screen fulfils a condition, and return its lines."""
        end = time.monotonic() + PATIENCE
        while not (self._is_whole and is_there(self.lines)):
            assert time.monotonic() < end, f"{what}: not on the screen:\n" + "\n".join(self.lines)
            self._read(0.1)
        return self.lines

    @property
    def _is_whole(self) -> bool:
        """True if everything that is drawn at once has arrived."""
        return self.written.endswith((b"\x1b[J", b"l"))

    def shows(self, text: str) -> list[str]:
        """Wait until a text is on the screen, and return its lines."""
        return self.until(lambda lines: any(text in line for line in lines), text)

    def hang_up(self) -> None:
        """Close the terminal, as when its window is closed."""
        os.close(self._main)
        self._main = os.open(os.devnull, os.O_RDWR)

    def end(self) -> int:
        """Wait for the end of the command, and return its exit status."""
        end = time.monotonic() + PATIENCE
        while self._shell.poll() is None:
            assert time.monotonic() < end, "the command does not end:\n" + "\n".join(self.lines)
            self._read(0.1)
        while self._read(0):
            pass
        return self._shell.returncode

    def _read(self, seconds: float) -> bool:
        readable, _, _ = select.select([self._main], [], [], seconds)
        if not readable:
            return False
        with suppress(OSError):
            data = os.read(self._main, 1 << 16)
            self.written += data
            self._stream.feed(data)
        return True

    def _set_size(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._main, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
