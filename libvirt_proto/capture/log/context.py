"""Details of a record outside its text: its time, its process and its thread."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, NamedTuple

from .grammar import Head

#: The reason why a time is missing, or not certain.
Cause = Literal["none", "year", "boot", "zone"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

#: The journal, syslog (RFC 3164), and everything that writes a program with its process: `libvirtd[123]: `.
_PROCESS: Final = re.compile(r"[\w.@/-]{1,64}\[(\d{1,10})\]: ")
#: RFC 5424: priority, version, time, host, program, process, message id.
_RFC5424: Final = re.compile(r"<\d{1,3}>1 (\S{1,64}) \S{1,255} \S{1,64} (\d{1,10}|-) \S{1,64} ")
_ISO: Final = re.compile(
    r"(?<![\d.])(?P<date>\d{4}-\d\d-\d\d)[T ](?P<clock>\d\d:\d\d:\d\d)(?:[.,](?P<fraction>\d{1,9}))?"
    r"(?P<zone>Z| ?[+-]\d\d:?\d\d| (?:UTC|GMT)\b)?"
)
#: Seconds since the epoch (journalctl -o short-unix) or the start of the machine (short-monotonic).
_UNIX: Final = re.compile(r"(?<![\w.:-])(\d{9,11})\.(\d{1,9})(?![\w.:])")
_BOOT: Final = re.compile(r"\[ *\d{1,10}\.\d{1,9}\]")
_CLOCK: Final = re.compile(r"\b\d{1,2}:\d\d:\d\d\b")

#: Names of a time in structured logs, by preference.
_TIMES: Final = (
    "_SOURCE_REALTIME_TIMESTAMP",
    "__REALTIME_TIMESTAMP",
    "timestamp",
    "@timestamp",
    "time",
    "ts",
    "datetime",
)
_PROCESSES: Final = ("_PID", "SYSLOG_PID", "pid", "procid")
_THREADS: Final = ("thread", "TID")


class Stamp(NamedTuple):
    """A time in nanoseconds since the epoch, and what is missing of it. Without a zone it is read as UTC."""

    ns: int | None
    cause: Cause | None


NO_TIME: Final = Stamp(None, "none")


class Context(NamedTuple):
    """The text before a record, or in the same entry. `process` is empty if unknown."""

    stamp: Stamp = NO_TIME
    process: str = ""
    thread: str | None = None


def of_prefix(prefix: str) -> Context:
    """Return the context that the text before a record gives."""
    if match := _RFC5424.search(prefix):
        process = "" if match[2] == "-" else match[2]
    else:
        process = next((found[1] for found in reversed([*_PROCESS.finditer(prefix)])), "")
    return Context(_prefix_time(prefix), process)


def of_fields(fields: Mapping[str, object], default: Context) -> Context:
    """Return the context that the fields of an entry give; `default` is for what they lack."""
    texts = {name: str(value) for name, value in fields.items() if isinstance(value, str | int | float)}
    stamp = next((stamp for name in _TIMES if name in texts and (stamp := _field_time(texts[name]))), None)
    process = next((texts[name] for name in _PROCESSES if name in texts), default.process)
    thread = next((texts[name] for name in _THREADS if name in texts), default.thread)
    return Context(stamp or default.stamp, process, thread)


def head_time(head: Head) -> Stamp:
    """Return the time of a head that has one."""
    if head.date is None:
        return Stamp(None, "year")
    return _stamp(head.date, head.clock or "", head.fraction, head.zone)


def date_ns(date: str, fraction: str) -> int | None:
    """Return the time of `2026-11-22T21:31:50` in UTC, with the digits of its fraction; None for a day that
    does not exist."""
    return _stamp(date[:10], date[11:], fraction, "Z").ns


def _prefix_time(prefix: str) -> Stamp:
    if match := _ISO.search(prefix):
        return _stamp(*match.group("date", "clock", "fraction", "zone"))
    if match := _UNIX.search(prefix):
        return Stamp(int(match[1]) * 10**9 + int(match[2].ljust(9, "0")), None)
    if _BOOT.search(prefix):
        return Stamp(None, "boot")
    return Stamp(None, "year") if _CLOCK.search(prefix) else NO_TIME


def _field_time(text: str) -> Stamp | None:
    """Return the time in a field: ISO, or a number of seconds, milli-, micro- or nanoseconds."""
    if match := _ISO.match(text):
        return _stamp(*match.group("date", "clock", "fraction", "zone"))
    whole, _, fraction = text.partition(".")
    if not (whole.isdecimal() and 9 <= len(whole) <= 19 and len(fraction) <= 9):
        return None
    # A time of this century has 10 digits in seconds, and 3 more for each smaller unit.
    unit = 10 ** (9 - 3 * ((len(whole) - 9) // 3))
    return Stamp(int(whole) * unit + (int(fraction.ljust(9, "0")) * unit // 10**9 if fraction else 0), None)


def _stamp(date: str, clock: str, fraction: str | None, zone: str | None) -> Stamp:
    """Return a time; an invalid date is none."""
    known = (zone or "Z").strip().replace("UTC", "Z").replace("GMT", "Z")
    try:
        moment = datetime.fromisoformat(f"{date}T{clock}{known}")
        whole = (moment - _EPOCH) // _MICROSECOND * 1000
    except (ValueError, OverflowError):
        return NO_TIME
    ns = int(fraction.ljust(9, "0")) if fraction else 0
    return Stamp(whole + ns, None if zone else "zone")
