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
#: Makes the terminal of its standard input the controlling one of a new session, as a login does.
_LOGIN = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
if len(sys.argv) > 2 and sys.argv[1] == "--stdin":
    os.dup2(int(sys.argv[2]), 0)
    del sys.argv[1:3]
os.execv(sys.argv[1], sys.argv[1:])
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
        given = ["--stdin", str(stdin)] if stdin is not None else []
        self.process = subprocess.Popen(
            [sys.executable, "-c", _LOGIN, *given, str(COMMAND), *map(str, words)],
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
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._main)
        os.close(self._other)

    @property
    def lines(self) -> list[str]:
        """The lines on the screen, without spaces at their ends."""
        return [line.rstrip() for line in self._screen.display]

    @property
    def screen(self) -> Any:
        """The emulator's screen."""
        return self._screen

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
        self.process.send_signal(number)

    def until(self, is_there: Callable[[list[str]], object], what: str = "") -> list[str]:
        """Wait until the screen fulfils a condition, and return its lines."""
        end = time.monotonic() + PATIENCE
        while not is_there(self.lines):
            assert time.monotonic() < end, f"{what}: not on the screen:\n" + "\n".join(self.lines)
            self._read(0.1)
        return self.lines

    def shows(self, text: str) -> list[str]:
        """Wait until a text is on the screen, and return its lines."""
        return self.until(lambda lines: any(text in line for line in lines), text)

    def end(self) -> int:
        """Wait for the end of the command, and return its exit status."""
        end = time.monotonic() + PATIENCE
        while self.process.poll() is None:
            assert time.monotonic() < end, "the command does not end:\n" + "\n".join(self.lines)
            self._read(0.1)
        while self._read(0):
            pass
        return self.process.returncode

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
