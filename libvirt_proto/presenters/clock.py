"""Times of messages, as the first column of a line."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, Literal

from ..text import seconds

#: Seconds since the beginning of the input; date and time in UTC; seconds since the previous line; none.
TimeStyle = Literal["relative", "absolute", "delta", "none"]

#: The year after the last that a datetime can have.
_END_NS: Final = 253_402_300_800 * 10**9


class Clock:
    """Time → the text of the column, with the space after it; "" for style `none`.

    `start_ns` is the beginning of the input; the first time by default. `decimals` is 3 or 6.
    """

    def __init__(self, style: TimeStyle = "relative", decimals: int = 6) -> None:
        self.start_ns: int | None = None
        self._style = style
        self._decimals = decimals
        self._unit = 10 ** (9 - decimals)
        #: The time shown last, in units of the last decimal, and its text.
        self._shown: int | None = None
        self._text = self._format(None)
        self._previous: int | None = None

    @property
    def is_relative(self) -> bool:
        """True if times count from the beginning of the input."""
        return self._style == "relative"

    def __call__(self, time_ns: int | None) -> str:
        """Return the text of a time; a dash for None."""
        if self.start_ns is None:
            self.start_ns = time_ns
        if self._style == "delta":
            previous, self._previous = self._previous, time_ns
            return self._since(time_ns, time_ns if previous is None else previous)
        origin = self.start_ns if self._style == "relative" else 0
        shown = None if time_ns is None or origin is None else (time_ns - origin) // self._unit
        if shown != self._shown:
            self._shown, self._text = shown, self._format(time_ns)
        return self._text

    def _format(self, time_ns: int | None) -> str:
        if self._style == "none":
            return ""
        if self._style == "absolute":
            return f"{_date(time_ns, self._decimals)} "
        return self._since(time_ns, self.start_ns)

    def _since(self, time_ns: int | None, start_ns: int | None) -> str:
        return f"{seconds(time_ns, start_ns, self._decimals)} "


def _date(time_ns: int | None, decimals: int) -> str:
    """Return `2026-11-22T21:31:50.120000Z`; seconds since the epoch outside the years 1970 to
    9999."""
    width = 21 + decimals
    if time_ns is None:
        return "-".rjust(width)
    whole, fraction = divmod(time_ns, 10**9)
    if not 0 <= time_ns < _END_NS:
        return seconds(time_ns, 0, decimals).rjust(width)
    day = datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{day}.{f'{fraction:09d}'[:decimals]}Z"
