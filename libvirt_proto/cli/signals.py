"""Signals that request the end: SIGINT (Ctrl-C), SIGTERM, and SIGHUP (the terminal was closed).

Most commands are interrupted: the signal becomes an exception, and `with` and `finally` clean up. Endless
commands (a trace, a relay, a followed file) get a stop request and finish their work.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio

    from ..capture.stop import Stop

#: Seconds during which further signals are the same request: timeout(1) sends two, and a terminal and its
#: shell one each. They must not interrupt the clean-up. A later one may.
_GRACE: Final = 1.0
ENDING: Final = frozenset((signal.SIGINT, signal.SIGTERM, signal.SIGHUP))


class Terminated(BaseException):
    """SIGTERM or SIGHUP arrived. `status` is the shell's exit status for it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.status: Final = 128 + number


@contextmanager
def interrupting() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise Terminated, and SIGINT KeyboardInterrupt. Ignored signals stay ignored:
    nohup(1) ignores SIGHUP, and a shell SIGINT for background jobs."""
    asked, over = -_GRACE, False

    def interrupt(number: int, _frame: object) -> None:
        nonlocal asked
        now = time.monotonic()
        if now - asked > _GRACE and not over:
            asked = now
            if _delay.active and _delay.number is None:
                _delay.number = number
                return
            raise _interruption(number)

    with _handling(interrupt, {number for number in ENDING if signal.getsignal(number) != signal.SIG_IGN}):
        try:
            yield
        finally:
            over = True  # the command has ended: nothing is left to interrupt


@contextmanager
def stopping(stop: Stop | None) -> Iterator[None]:
    """Let SIGINT, SIGTERM and SIGHUP set `stop`; None changes nothing. SIGINT and SIGTERM do so even if they
    were ignored: sending them to a background job is deliberate."""
    if stop is None:
        yield
        return
    nohup = {signal.SIGHUP} if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN else set()
    with _handling(lambda *_: stop.set(), ENDING - nohup):
        yield


def stop_event() -> asyncio.Event:
    """Return an event of the running event loop that SIGINT, SIGTERM and SIGHUP set, as in `stopping`."""
    import asyncio

    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in ENDING:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            loop.add_signal_handler(number, stop.set)
    return stop


@contextmanager
def delayed() -> Iterator[None]:
    """Let the next signal interrupt after the block, and only a second one within it: what the block writes
    is complete, unless its reader has stalled. Other threads are never interrupted."""
    if _delay.active or threading.current_thread() is not threading.main_thread():
        yield
        return
    _delay.active = True
    try:
        yield
    finally:
        _delay.active, number = False, _delay.number
        _delay.number = None
    if number is not None:
        raise _interruption(number)


class _Delay:
    """A signal that waits for the end of a block."""

    active = False
    number: int | None = None


_delay: Final = _Delay()


def _interruption(number: int) -> BaseException:
    return KeyboardInterrupt() if number == signal.SIGINT else Terminated(number)


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
