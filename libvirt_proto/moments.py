"""Durations and points in time as people write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

_UNITS: Final = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
#: Compiled on first use.
_DURATION: Final = r"\+?(\d{1,12})(?:\.(\d{1,9})\d*)?\s?(ns|us|µs|ms|s|m|h)?"
_TIME_OF_DAY: Final = r"([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d)(?:[.,](\d{1,9})\d*)?)?"
_FRACTION: Final = r"[.,](\d+)"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAY: Final = 86_400 * 10**9


class Moment(NamedTuple):
    """A point in time: nanoseconds since the epoch, since the beginning of an input (`relative`), or since
    midnight in UTC of its first day (`daily`)."""

    ns: int
    relative: bool = False
    daily: bool = False

    def at(self, start_ns: int) -> int:
        """Return the nanoseconds since the epoch, for an input that begins at `start_ns`. A time of day more
        than twelve hours before the beginning is on the next day."""
        if self.relative:
            return start_ns + self.ns
        if not self.daily:
            return self.ns
        time_ns = start_ns - start_ns % _DAY + self.ns
        return time_ns + _DAY if time_ns < start_ns - _DAY // 2 else time_ns


def duration_ns(value: str | float | timedelta) -> int:
    """Return the nanoseconds of `50ms`, `1.5s`, `2m` or `1.5` (seconds), of seconds, or of a timedelta.

    Raises ValueError.
    """
    if isinstance(value, timedelta):
        return value // timedelta(microseconds=1) * 1000
    match = re.fullmatch(_DURATION, value.strip() if isinstance(value, str) else f"{value:.9f}", re.ASCII)
    if match is None:
        raise ValueError(f"expected a duration such as 50ms, 1.5s or 2m, got {value!r}")
    whole, fraction, unit = match.groups()
    scale = _UNITS[unit or "s"]
    return int(whole) * scale + (int(fraction) * scale // 10 ** len(fraction) if fraction else 0)


def moment(value: str | datetime) -> Moment:
    """Read a point in time: seconds since the beginning of the input (`1.007`, `+90s`), a time of day
    (`13:28:31.5`), or a date and time in ISO 8601 (`2026-11-22T21:31:50Z`). Without a zone, UTC is meant.
    Raises ValueError."""
    if isinstance(value, datetime):
        return Moment(_since_epoch(value))
    word = value.strip()
    if re.fullmatch(_DURATION, word, re.ASCII):
        return Moment(duration_ns(word), relative=True)
    if match := re.fullmatch(_TIME_OF_DAY, word, re.ASCII):
        hour, minute, second, fraction = match.groups(default="0")
        whole = (int(hour) * 60 + int(minute)) * 60 + int(second)
        return Moment(whole * 10**9 + int(fraction.ljust(9, "0")), daily=True)
    fraction_match = re.search(_FRACTION, word)
    fraction_ns = 0
    if fraction_match is not None:
        fraction_ns = int(fraction_match[1][:9].ljust(9, "0"))
    try:
        whole_seconds = datetime.fromisoformat(re.sub(_FRACTION, "", word, count=1))
    except ValueError:
        raise ValueError(
            "expected seconds since the beginning (1.007, 90s), a time of day (13:28:31) or a date and time"
            f" (2026-11-22T21:31:50Z), got {value!r}"
        ) from None
    return Moment(_since_epoch(whole_seconds) + fraction_ns)


def _since_epoch(time: datetime) -> int:
    if time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
    return (time - _EPOCH) // timedelta(microseconds=1) * 1000
