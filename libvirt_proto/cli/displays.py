"""Displays of a Window that an input fills: a screen with keys, or text and JSON lines.

There is one thread. A display is the collector of a pass over the input, which leaves it a turn every few
items, and the stop flag for which the input waits, which leaves it a turn while nothing arrives.
"""

from __future__ import annotations

import sys
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Final, Self

from msgspec import json
from msgspec.structs import replace

from ..capture.stop import Stop
from ..diagnose.interim import InterimFindings
from ..events import Notice, NoticeCode
from ..presenters.top import Shown, Sort, TopText, View, in_order
from .screen import Screen
from .status import Status

if TYPE_CHECKING:
    from ..api.capture import Capture
    from ..diagnose.diagnoser import Diagnoser
    from ..events import Captured, Closed, ConnectionEvent, LogLine, ProbeEvent
    from ..figures.window import Snapshot, Window
    from ..presenters.style import Palette

#: Items of the input between two turns, and seconds in which a key is noticed.
_ITEMS: Final = 64
_TURN: Final = 0.1
#: Seconds between examinations of what went wrong.
_EXAMINE: Final = 5.0
#: Notices that are kept until the screen is left; the others are counted.
_HELD: Final = 100
_SECOND: Final = 10**9
#: Windows that keys select, in seconds; None: everything.
_WINDOWS: Final = (1, 2, 5, 10, 30, 60, None)
_SORTS: Final[Mapping[str, Sort]] = {
    "r": "rate",
    "e": "errors",
    "5": "p50",
    "9": "p99",
    "b": "bytes",
    "f": "in-flight",
    "n": "name",
}
_VIEWS: Final[Mapping[str, View]] = {"a": "all", "p": "procedures", "c": "clients", "i": "calls"}


class Ended(BaseException):
    """The user does not want the rest of the input."""


class Display(Stop, ABC):
    """The collector of a pass over one input, and its stop flag.

    Updates follow each other after `interval` seconds, and `count` of them end the pass; None: any number.
    Adding an item raises Ended if the flag is set.
    """

    def __init__(self, window: Window, shown: Shown, *, interval: float | None, count: int | None) -> None:
        super().__init__()
        self.shown = shown
        self._notices: Callable[[], Mapping[str, int]] = dict
        self._window = window
        self._interval = interval
        self._left = count
        self._items = 0
        self._findings = None if window.diagnoser is None else InterimFindings(window.findings)
        #: The last message, and when it was noticed.
        self._last_ns: int | None = None
        self._noticed = self._updated = time.monotonic()

    def show(self, capture: Capture) -> None:
        """Read an input, and show its figures until the user does not want more."""
        self._notices = lambda: capture.notice_counts
        with suppress(Ended):
            capture.measure(self)
        self._end()

    @property
    def diagnoser(self) -> Diagnoser | None:
        """Return the diagnosis of the input."""
        return self._window.diagnoser

    def add(self, item: Captured | ConnectionEvent | ProbeEvent | LogLine | Closed) -> None:
        """Add an item of the input. Raises Ended."""
        self._window.add(item)
        self._items += 1
        if self._items % _ITEMS == 0:
            self.turn(0)
        if self.is_set():
            raise Ended

    def read(self, messages: int, start_ns: int | None) -> None:
        """Do nothing: `_end` follows."""

    def wait(self, seconds: float) -> bool:
        """Wait for more of the input, and return whether it is not wanted."""
        if not self.is_set():
            self.turn(seconds)
        return self.is_set()

    @abstractmethod
    def turn(self, seconds: float) -> None:
        """Update what is shown if it is time. Waits for the user up to some seconds."""

    @abstractmethod
    def _end(self) -> None:
        """Show the figures at the end of the input."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._findings is not None:
            self._findings.close()

    def _snapshot(self, now_ns: int | None) -> Snapshot:
        """Return the figures of a time, in order."""
        snapshot = self._window.snapshot(self.shown.seconds, now_ns)
        findings = [] if self._findings is None else self._findings.findings
        return in_order(replace(snapshot, notices=dict(self._notices()), findings=findings), self.shown)

    def _now(self) -> int | None:
        """Return the time on the clock of the messages: that of the last one, and what has passed since."""
        last = self._window.last_ns
        if last is None:
            return None
        if last != self._last_ns:
            self._last_ns, self._noticed = last, time.monotonic()
        return last + round((time.monotonic() - self._noticed) * _SECOND)

    def _is_due(self) -> bool:
        return self._interval is not None and time.monotonic() >= self._updated + self._interval

    def _count(self) -> None:
        """Note an update."""
        self._updated = time.monotonic()
        if self._left is not None:
            self._left -= 1
            if self._left == 0:
                self.set()

    def _examine(self) -> None:
        """Update the findings, and wait for them."""
        if self._findings is not None:
            self._findings.examine()
            self._findings.collect(wait=True)


class Printed(Display):
    """A block of text, or a line of JSON, for each update. With `live`, intervals are those of the clock;
    otherwise they are those of the messages, in whole seconds. Without an interval there is one update, at
    the end."""

    def __init__(
        self,
        window: Window,
        shown: Shown,
        text: TopText | None,
        top: int,
        *,
        live: bool,
        interval: float | None,
        count: int | None,
    ) -> None:
        super().__init__(window, shown, interval=interval if live else None, count=count)
        #: Where updates go. The one that interrupts its writes is this object.
        self.out: BinaryIO = sys.stdout.buffer
        self._text = text
        self._top = top
        self._step_ns = None if live or interval is None else max(1, round(interval)) * _SECOND
        #: The end of the interval of messages.
        self._until_ns: int | None = None
        self._separator = b""

    def add(self, item: Captured | ConnectionEvent | ProbeEvent | LogLine | Closed) -> None:
        """Add an item of the input, after an update if an interval has ended. Raises Ended."""
        time_ns, step_ns = item.time_ns, self._step_ns
        if step_ns is not None and time_ns is not None:
            if self._until_ns is None:
                self._until_ns = time_ns // _SECOND * _SECOND + step_ns
            elif time_ns >= self._until_ns:
                self._print(self._until_ns - 1)
                self._until_ns += ((time_ns - self._until_ns) // step_ns + 1) * step_ns
        super().add(item)

    def turn(self, seconds: float) -> None:
        """Print an update if it is time."""
        now_ns = self._now()
        if self._is_due():
            self._examine()
            self._print(now_ns)
        elif seconds:
            time.sleep(seconds)

    def _end(self) -> None:
        """Print the figures at the end, unless there were enough updates."""
        if self._left != 0:
            self._examine()
            self._print(self._window.last_ns)

    def _print(self, now_ns: int | None) -> None:
        if self._left == 0:
            return
        snapshot = self._snapshot(now_ns)
        if self._text is None:
            self.out.write(json.encode(snapshot) + b"\n")
        else:
            lines = self._text.block(snapshot, self.shown, self._top)
            text = "".join(f"{line.rstrip()}\n" for line in lines)
            self.out.write(self._separator + text.encode("utf-8", "backslashreplace"))
            self._separator = b"\n"
        self.out.flush()
        self._count()


class OnScreen(Display):
    """A screen, which keys control. After the end of the input it stays until the user quits. Notices are
    held in `status` until the screen is left."""

    def __init__(
        self,
        window: Window,
        shown: Shown,
        status: HoldingStatus,
        palette: Palette,
        *,
        interval: float,
        count: int | None,
    ) -> None:
        super().__init__(window, shown, interval=interval, count=count)
        self._screen = Screen()
        self._status = status
        self._palette = palette
        self._has_ended = False
        self._examined = time.monotonic() - _EXAMINE
        #: What is shown while the user has paused.
        self._frozen: Snapshot | None = None

    def __enter__(self) -> Self:
        self._screen.__enter__()
        self._status.hold()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._screen.__exit__(kind, error, trace)
        self._status.release()
        super().__exit__(kind, error, trace)

    def turn(self, seconds: float) -> None:
        """Do what keys ask for, and draw if it is time or something has changed."""
        now_ns = self._window.last_ns if self._has_ended else self._now()
        keys = self._screen.keys(min(seconds, _TURN))
        for key in keys:
            self._press(key, now_ns)
        due = self._is_due() and not self._has_ended
        if due:
            self._look()
        if keys or due or self._screen.changed:
            self._draw(now_ns)
        if due:
            self._count()

    def _end(self) -> None:
        """Show the figures until the user quits, or for the updates that are left."""
        self._has_ended = True
        self.shown = replace(self.shown, ended=True)
        self._examine()
        self._screen.changed = True
        while not self.is_set():
            self.turn(_TURN)
            if self._left is not None:
                self.set()

    def _draw(self, now_ns: int | None) -> None:
        columns, lines = self._screen.size
        snapshot = in_order(self._frozen, self.shown) if self._frozen else self._snapshot(now_ns)
        self._screen.draw(TopText(columns, self._palette).screen(snapshot, self.shown, lines))

    def _look(self) -> None:
        """Examine what went wrong from time to time."""
        if self._findings is None:
            return
        self._findings.collect()
        if time.monotonic() >= self._examined + _EXAMINE:
            self._examined = time.monotonic()
            self._findings.examine()

    def _press(self, key: str, now_ns: int | None) -> None:
        """Do what a key asks for; unknown keys do nothing."""
        shown = self.shown
        if key in ("q", "Q", "\x03"):
            self.set()
        elif key in _SORTS:
            again = shown.sort == _SORTS[key]
            shown = replace(shown, sort=_SORTS[key], reverse=again and not shown.reverse)
        elif key in _VIEWS:
            shown = replace(shown, view=_VIEWS[key])
        elif key in ("+", "=", "-"):
            shown = replace(shown, seconds=_next_window(shown.seconds, longer=key != "-"))
        elif key == " ":
            self._frozen = None if self._frozen else self._snapshot(now_ns)
            shown = replace(shown, paused=self._frozen is not None)
        elif key in ("h", "?"):
            shown = replace(shown, help=not shown.help)
        self.shown = shown


def _next_window(seconds: int | None, *, longer: bool) -> int | None:
    """Return the next longer or shorter window; the same one if there is none."""
    windows = _WINDOWS if longer else _WINDOWS[::-1]
    here = float("inf") if seconds is None else seconds
    for window in windows:
        there = float("inf") if window is None else window
        if (there > here) if longer else (there < here):
            return window
    return seconds


class HoldingStatus(Status):
    """A Status that keeps its notices while a screen is shown."""

    def __init__(self, palette: Palette) -> None:
        super().__init__(palette, bar=False, summary=False)
        self._held: list[Notice] | None = None
        self._others: Counter[NoticeCode] = Counter()

    def hold(self) -> None:
        """Keep notices from now on."""
        self._held = []

    def release(self) -> None:
        """Show the notices that were kept, and the number of others."""
        held, self._held = self._held or [], None
        for notice in held:
            self.notice(notice)
        for code, count in self._others.items():
            self.notice(Notice(code, f"{count:,} more of these", severity="note"))

    def notice(self, notice: Notice) -> None:
        """Show a notice, or keep it."""
        if self._held is None:
            super().notice(notice)
        elif len(self._held) < _HELD:
            self._held.append(notice)
        else:
            self._others[notice.code] += 1
