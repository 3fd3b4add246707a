"""The whole terminal as one screen: keys, size, job control, and the terminal as it was before at the end."""

from __future__ import annotations

import os
import re
import select
import signal
import sys
import termios
import tty
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self

from ..terminal import escaped

#: The alternate screen, without a cursor and without automatic line breaks; and back.
_ENTER: Final = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J"
_LEAVE: Final = "\x1b[?7h\x1b[?25h\x1b[?1049l"
_HOME, _CLEAR_LINE, _CLEAR_REST = "\x1b[H", "\x1b[K", "\x1b[J"
#: Size of a terminal that does not report it.
_SIZE: Final = os.terminal_size((80, 24))
#: What other keys than characters send (arrows, function keys): CSI and SS3, with their parameters.
_SEQUENCE: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]?|O.?)?")
_BLOCK: Final = 1024


class Screen:
    """Standard output, which must be a terminal, as a screen in a `with` block. Keys are those of the
    terminal, also if standard input is something else.

    Ctrl-Z leaves the screen and suspends the process; it returns when the process continues. `changed` is set
    when everything has to be drawn again: at the beginning, after that, and when the size changes.
    """

    def __init__(self) -> None:
        self.changed = True
        self._out = sys.stdout.fileno()
        self._keys: int | None = None
        self._opened: int | None = None
        self._saved: list[Any] | None = None
        self._handlers: dict[int, Any] = {}
        self._suspend = self._resumed = False

    def __enter__(self) -> Self:
        try:
            self._opened = os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC)
            self._keys = self._opened
        except OSError:  # no controlling terminal
            self._keys = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else None
        self._handle(signal.SIGWINCH, self._on_resize)
        self._handle(signal.SIGTSTP, self._on_suspend)
        self._handle(signal.SIGCONT, self._on_continue)
        try:
            self._begin()
        except BaseException:
            self._restore()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    @property
    def size(self) -> os.terminal_size:
        """The columns and lines of the terminal."""
        with suppress(OSError):
            size = os.get_terminal_size(self._out)
            if size.columns and size.lines:
                return size
        return _SIZE

    def draw(self, lines: Sequence[str]) -> None:
        """Replace the contents of the screen. The lines may have colours; anything else that controls a
        terminal is escaped. Raises OSError if the terminal is gone."""
        shown = "\r\n".join(escaped(line) + _CLEAR_LINE for line in lines)
        self._write(f"{_HOME}{shown}{_CLEAR_REST}")
        self.changed = False

    def keys(self, seconds: float) -> list[str]:
        """Return the characters that were typed, as soon as there are any, within some seconds. Sequences of
        other keys (arrows) are left out."""
        if self._suspend:
            self._suspended()
        if self._resumed:
            self._resumed = False
            self._begin()
        readable, _, _ = select.select([] if self._keys is None else [self._keys], [], [], seconds)
        if not readable:
            return []
        assert self._keys is not None
        try:
            typed = os.read(self._keys, _BLOCK).decode("utf-8", "replace")
        except OSError:  # the terminal is gone, or belongs to another job
            typed = ""
        if not typed:
            self._keys = None
        return [*_SEQUENCE.sub("", typed)]

    def _begin(self) -> None:
        """Take the terminal."""
        if self._keys is not None:
            # After SIGSTOP, the terminal may still have our settings.
            self._saved = self._saved or termios.tcgetattr(self._keys)
            tty.setcbreak(self._keys)
        self._write(_ENTER)
        self.changed = True

    def _end(self) -> None:
        """Give the terminal back as it was."""
        with suppress(OSError):  # it is gone
            self._write(_LEAVE)
        saved, self._saved = self._saved, None
        if saved is not None and self._keys is not None:
            with suppress(termios.error):
                termios.tcsetattr(self._keys, termios.TCSADRAIN, saved)

    def _restore(self) -> None:
        self._end()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        if self._opened is not None:
            os.close(self._opened)

    def _write(self, text: str) -> None:
        data = text.encode("utf-8", "backslashreplace")
        while data:
            data = data[os.write(self._out, data) :]

    # Signals

    def _handle(self, number: int, handler: Callable[[int, object], object]) -> None:
        self._handlers[number] = signal.signal(number, handler)

    def _on_resize(self, _number: int, _frame: object) -> None:
        self.changed = True

    def _on_suspend(self, _number: int, _frame: object) -> None:
        self._suspend = True

    def _on_continue(self, _number: int, _frame: object) -> None:
        # After SIGSTOP, the shell may have changed the terminal.
        self._resumed = not self._suspend

    def _suspended(self) -> None:
        """Suspend the process, as the signal would have done, and take the terminal again afterwards."""
        self._end()
        before = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)  # returns when the process continues
        signal.signal(signal.SIGTSTP, before)
        self._suspend = self._resumed = False
        self._begin()
