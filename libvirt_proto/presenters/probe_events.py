"""The event loop and the QEMU monitor: the lines of our SystemTap scripts, and JSON lines."""

from __future__ import annotations

from typing import Final

import msgspec

from ..events import ProbeEvent
from ..text import printable, seconds
from .style import PLAIN, Palette

_LOOPS: Final = ("event_glib_", "event_poll_")
_ACTIONS: Final = {"add": "+", "update": "*", "dispatch": ">", "remove": "-", "purge": "!"}
#: Arguments in the lines of the event loop, by object: for additions, and for other actions.
_ADDED: Final = {"handle": ("watch", "fd", "events"), "timeout": ("timer", "frequency")}
_OTHER: Final = {"handle": ("watch", "events"), "timeout": ("timer", "frequency")}
_ROUND: Final = ("nfds", "timeout")
#: Mark and text argument of the monitor's events.
_MONITOR: Final = {
    "qemu_monitor_send_msg": (">", "msg"),
    "qemu_monitor_recv_reply": ("<", "reply"),
    "qemu_monitor_recv_event": ("!", "event"),
}
_INDENT: Final = " " * 10


class ProbeEventPresenter:
    """ProbeEvent → its line, without the newline; several lines with `pretty_json`."""

    def __init__(self, palette: Palette = PLAIN, *, pretty_json: bool = False) -> None:
        self._palette = palette
        self._pretty = pretty_json
        self._start: int | None = None

    def __call__(self, event: ProbeEvent) -> str:
        """Return the line of an event; times count from the first call."""
        if self._start is None:
            self._start = event.time_ns
        return f"{seconds(event.time_ns, self._start, 3)} {self.words(event)}"

    def words(self, event: ProbeEvent) -> str:
        """Return the line of an event without its time."""
        return self._monitor(event) if event.kind in _MONITOR else self._loop(event)

    def _loop(self, event: ProbeEvent) -> str:
        """`10153 + handle 9 21 1`."""
        colour, arguments = self._palette, event.arguments
        for prefix in _LOOPS:
            action, _, what = event.kind.removeprefix(prefix).partition("_")
            if event.kind.startswith(prefix) and action in _ACTIONS:
                names = (_ADDED if action == "add" else _OTHER)[what]
                mark, words = _ACTIONS[action], f"{colour.name}{what}{colour.off} "
                break
        else:
            names, mark, words = _ROUND, "~", ""
        numbers = " ".join(str(arguments[name]) for name in names if name in arguments)
        process = event.thread if event.pid is None else event.pid  # a log may name only the thread
        return f"{colour.quiet}{'-' if process is None else process}{colour.off} {mark} {words}{numbers}"

    def _monitor(self, event: ProbeEvent) -> str:
        """`> 0x7f5dc4004a90 {"execute":"stop","id":"libvirt-19"} fd=7`."""
        colour, arguments = self._palette, event.arguments
        mark, name = _MONITOR[event.kind]
        line = str(arguments[name])
        pretty = _formatted(line, 2) if self._pretty and not event.cut else None
        if pretty is not None:
            text = f"\n{_INDENT}".join(map(printable, pretty.decode().split("\n")))
        else:  # one line, as in the scripts
            text = printable(line.replace("\r", "").rstrip("\n").replace("\n", " "))
        cut = f"{colour.warn}… (cut){colour.off}" if event.cut else ""
        fd = arguments.get("fd", -1)
        along = f" fd={fd}" if isinstance(fd, int) and fd >= 0 else ""
        return f"{mark} {colour.quiet}{printable(str(arguments['mon']))}{colour.off} {text}{cut}{along}"


def json_line(event: ProbeEvent, redacted: str | None = None) -> bytes:
    """Return `{"event":"event_glib_add_handle","time_ns":…,"pid":…,"comm":…,"thread":…,"watch":…}` and a
    newline. Text of the monitor is `json` if it is complete JSON, otherwise `text`; the other is null.
    `redacted` is included if given."""
    line: dict[str, object] = {
        "event": event.kind,
        "time_ns": event.time_ns,
        "pid": event.pid,
        "comm": _utf8(event.comm),
        "thread": event.thread,
    }
    if event.kind in _MONITOR:
        rest = dict(event.arguments)
        text = str(rest.pop(_MONITOR[event.kind][1]))
        json = None if event.cut else _formatted(text, -1)
        line |= {"mon": rest.pop("mon"), "json": None if json is None else msgspec.Raw(json)}
        line |= {"text": _utf8(text) if json is None else None, "cut": event.cut, **rest}
    else:
        line |= event.arguments
    if redacted is not None:
        line["redacted"] = redacted
    return msgspec.json.encode(line) + b"\n"


def _formatted(text: str, indent: int) -> bytes | None:
    """Format JSON with this indentation, or on one line if it is negative; None if it is not JSON."""
    try:
        data = text.encode()
        msgspec.json.decode(data, type=msgspec.Raw)
        return msgspec.json.format(data, indent=indent)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return None


def _utf8(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
