"""How what has no end is asked to end."""

from __future__ import annotations

import time


class Stop:
    """Set by a signal's handler or another thread. A threading.Event will not do: the thread that a signal
    interrupts may hold its lock, and the handler would wait for it for ever."""

    def __init__(self) -> None:
        self._is_set = False

    def set(self) -> None:
        """Ask for the end."""
        self._is_set = True

    def is_set(self) -> bool:
        """Whether somebody has asked."""
        return self._is_set

    def wait(self, seconds: float) -> bool:
        """Sleep so long, to the end of it, unless somebody has asked before; whether somebody has by then."""
        if not self._is_set:
            time.sleep(seconds)
        return self._is_set
