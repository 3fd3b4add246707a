"""Signals that ask for the end: SIGINT (Ctrl-C), SIGTERM, and SIGHUP (the terminal was closed).

There are two ways to end. Most commands are interrupted where they are: the signal becomes an exception,
and `with` and `finally` clean up. What has no end (a trace, a relay, a file that is followed) is asked to
stop and finishes its work.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from ..capture.stop import Stop

#: Seconds in which further signals are the same request: timeout(1) sends two, and a terminal and its shell
#: one each. They must not interrupt the cleaning up. A later one may.
_GRACE: Final = 1.0
ENDING: Final = frozenset((signal.SIGINT, signal.SIGTERM, signal.SIGHUP))


class Terminated(BaseException):
    """SIGTERM or SIGHUP came. `status` is the exit status that a shell has for it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.status: Final = 128 + number


@contextmanager
def interrupting() -> Iterator[None]:
    """Within, SIGTERM and SIGHUP raise Terminated, and SIGINT KeyboardInterrupt. A signal that was ignored
    before stays so: nohup(1) ignores SIGHUP, and a shell SIGINT for jobs in the background."""
    asked = -_GRACE

    def interrupt(number: int, _frame: object) -> None:
        nonlocal asked
        now = time.monotonic()
        if now - asked > _GRACE:
            asked = now
            raise KeyboardInterrupt if number == signal.SIGINT else Terminated(number)

    with _handling(interrupt, {number for number in ENDING if signal.getsignal(number) != signal.SIG_IGN}):
        yield


@contextmanager
def stopping(stop: Stop | None) -> Iterator[None]:
    """Within, SIGINT, SIGTERM and SIGHUP set `stop`; None changes nothing. SIGINT and SIGTERM do even where
    they were ignored: whoever sends them to a job in the background means it."""
    if stop is None:
        yield
        return
    nohup = {signal.SIGHUP} if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN else set()
    with _handling(lambda *_: stop.set(), ENDING - nohup):
        yield


@contextmanager
def _handling(handler: Callable[[int, object], object], numbers: Iterable[signal.Signals]) -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        for number in before:
            signal.signal(number, handler)
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
