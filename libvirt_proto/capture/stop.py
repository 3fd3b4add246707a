"""A stop flag for endless readers."""

from __future__ import annotations

import time


class Stop:
    """A flag set by a signal handler or another thread. threading.Event is unsuitable: the thread that a
    signal interrupts may hold its lock, and the handler would wait for it forever."""

    def __init__(self) -> None:
        self._is_set = False

    def set(self) -> None:
        """Request the end."""
        self._is_set = True

    def is_set(self) -> bool:
        """Return whether the end was requested."""
        return self._is_set

    def wait(self, seconds: float) -> bool:
        """Sleep for `seconds`, unless the end was already requested; return whether it was requested by
        then."""
        if not self._is_set:
            time.sleep(seconds)
        return self._is_set
