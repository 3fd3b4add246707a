"""A Snapshot for people: a screen of any size, or a block of lines."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import ceil
from typing import Any, Final, Literal, TypeVar, get_args

import msgspec
from msgspec.structs import replace

from ..figures.window import OTHERS, ClientRow, ProcedureRow, Snapshot
from ..text import amount, clock, duration, printable, size
from . import table
from .style import PLAIN, Palette, severity_colour
from .table import Column, cut

Row = TypeVar("Row", ProcedureRow, ClientRow)

#: The order of rows: largest first, or by name.
Sort = Literal["rate", "errors", "p50", "p99", "bytes", "in-flight", "name"]
SORTS: Final[tuple[Sort, ...]] = get_args(Sort)
#: What a screen shows: all tables, or one of them.
View = Literal["all", "procedures", "clients", "calls"]

#: Keys → what they do, for the help.
_HELP: Final = (
    ("r e 5 9 b f n", "sort by rate, errors, p50, p99, bytes, in flight, name; again: reverse"),
    ("p c i a", "only procedures, clients, calls in flight; all tables"),
    ("+ -", "longer or shorter window"),
    ("space", "pause: the figures stay while messages are counted"),
    ("h ?", "this help"),
    ("q Ctrl-C", "quit"),
)
#: The most important ones, for the last line.
_FOOT: Final = (
    ("q", "quit"),
    ("h", "help"),
    ("r/e/9/b/f", "sort"),
    ("p/c/i/a", "view"),
    ("+/-", "window"),
    ("space", "pause"),
    ("5/n", "p50, name"),
)
#: A call in flight that has waited for less is not worth a line among other tables.
_SHORT_NS: Final = 10**8
#: Minimum times of calls that are unusual, and bad.
_LONG_NS: Final = 10**9
_TOO_LONG_NS: Final = 10 * 10**9
_BARS: Final = "▁▂▃▄▅▆▇█"
#: Widths: of names of procedures and of clients, of a bar, of what a client calls most (minimum), and of the
#: more important columns next to that, and the title.
_NAME: Final = 46
_CLIENT: Final = 16
_BAR: Final = 8
_MOST: Final = 32
_OTHER: Final = 64
_TITLE: Final = 17
_COLOURS: Final = re.compile(r"(\x1b\[[0-9;]*m)")
#: Minimum lines for several tables, and for empty ones between them; maximum parts for the smaller tables.
_SEVERAL: Final = 16
_SPACIOUS: Final = 24
_CALLS_PART: Final = 5
_CLIENTS_PART: Final = 4


class Shown(msgspec.Struct, frozen=True):
    """The choices of the user. `source` names the input."""

    source: str
    sort: Sort = "rate"
    reverse: bool = False
    view: View = "all"
    #: Seconds of the window, None for everything since the beginning.
    seconds: int | None = 10
    paused: bool = False
    #: Whether the input has ended.
    ended: bool = False
    help: bool = False


class TopText:
    """A Snapshot, whose rows are in order → lines of at most `width` columns, without newlines. Text of peers
    is escaped."""

    def __init__(self, width: int, palette: Palette = PLAIN) -> None:
        self._width = width
        self._palette = palette
        #: Whether the lines are a screen, which has bars and rules, too.
        self._is_screen = False

    def screen(self, snapshot: Snapshot, shown: Shown, height: int) -> list[str]:
        """Return a screen of at most `height` lines: as many rows as fit, and the keys."""
        self._is_screen = True
        head = [*self._head(snapshot, shown)]
        if shown.help:
            return self._fitted([*head, "", *self._help()], height)
        room = max(0, height - len(head) - 1)
        return self._fitted([*head, *self._tables(snapshot, shown, room)], height)

    def block(self, snapshot: Snapshot, shown: Shown, top: int) -> list[str]:
        """Return all tables with `top` rows each, and one more or the number of the others."""
        self._is_screen = False
        lines = [*self._head(snapshot, shown), "", *self._procedures(snapshot, shown, top + 1)]
        clients = self._titled("Clients", self._clients(snapshot, top + 1))
        for section in (self._waiting(snapshot, top + 1), clients):
            lines += ["", *section] if section else []
        return lines

    def _fitted(self, lines: list[str], height: int) -> list[str]:
        """Return the lines with the keys in the last one."""
        above = [_clipped(line, self._width) for line in lines[: max(0, height - 1)]]
        return [*above, *[""] * (height - 1 - len(above)), self._foot()]

    # The lines above the tables

    def _head(self, snapshot: Snapshot, shown: Shown) -> Iterator[str]:
        colour = self._palette
        state = "paused" if shown.paused else "ended" if shown.ended else ""
        window = "since the beginning" if shown.seconds is None else f"last {shown.seconds} s"
        elapsed = "no clock" if snapshot.elapsed_ns is None else _clock(snapshot.elapsed_ns)
        title = f"libvirt-proto top · {printable(shown.source)}"
        now = "" if self._is_screen or snapshot.time_ns is None else clock(snapshot.time_ns)
        right = [part for part in (state, window, elapsed, now) if part]
        while len(right) > 1 and len(" · ".join(right)) > self._width - _TITLE - 2:
            right.pop()
        end = " · ".join(right)
        title = cut(title, max(self._width - len(end) - 2, 1))
        gap = " " * (self._width - len(title) - len(end) if self._is_screen else 2)
        if state:
            end = f"{colour.warn}{state}{colour.off}{colour.quiet}{end[len(state) :]}"
        yield f"{colour.name}{title}{colour.off}{gap}{colour.quiet}{end}{colour.off}"
        yield self._joined(self._totals(snapshot))
        bars = _bars(snapshot.history, self._width) if self._is_screen else None
        if bars is not None:
            yield f"{colour.text}{bars[0]}{colour.off}{colour.quiet}{bars[1]}{colour.off}"
        yield from self._findings(snapshot)

    def _totals(self, snapshot: Snapshot) -> Iterator[tuple[str, str]]:
        """Yield the parts of a line, the most important first, each with its colour."""
        colour = self._palette
        seconds = snapshot.seconds
        if seconds is None:
            yield colour.name, amount(snapshot.calls, "call")
        else:
            yield colour.name, f"{_rate(snapshot.calls, seconds)} calls/s"
        yield colour.bad if snapshot.errors else "", amount(snapshot.errors, "error")
        waiting = f"{snapshot.in_flight:,} in flight"
        oldest = snapshot.oldest_ns
        if snapshot.in_flight and oldest is not None:
            waiting += f", oldest {duration(oldest)}"
        yield self._late(oldest), waiting
        if snapshot.unanswered:
            yield colour.warn, f"{snapshot.unanswered:,} unanswered"
        yield "", _bytes(snapshot.bytes, seconds)
        yield "", amount(snapshot.connections, "connection")
        yield colour.quiet, f"{amount(snapshot.all_messages, 'message')} in all"

    def _joined(self, parts: Iterator[tuple[str, str]]) -> str:
        """Return the parts that fit into a line."""
        line, used = "", 0
        for colour, text in parts:
            gap = "   " if line else ""
            if used + len(gap) + len(text) > self._width:
                break
            used += len(gap) + len(text)
            line += f"{gap}{colour}{text}{self._palette.off if colour else ''}"
        return line

    def _findings(self, snapshot: Snapshot) -> Iterator[str]:
        """Yield a line about the most severe finding, and one about notices."""
        colour = self._palette
        if snapshot.findings:
            first = snapshot.findings[0]
            more = len(snapshot.findings) - 1
            name = f"{first.severity} {first.rule}"
            rest = f" (+{more:,})" if more else ""
            text = cut(printable(first.summary), max(8, self._width - len(name) - len(rest) - 2))
            paint = severity_colour(first.severity, colour)
            yield f"{paint}{name}{colour.off}{colour.quiet}{rest}{colour.off}  {text}"
        if snapshot.notices:
            counts = ", ".join(f"{count:,} × {code}" for code, count in snapshot.notices.items())
            yield f"{colour.warn}{cut(f'notices: {counts}', self._width)}{colour.off}"

    # Tables

    def _tables(self, snapshot: Snapshot, shown: Shown, room: int) -> list[str]:
        """Return the tables that the user wants, in `room` lines."""
        match shown.view:
            case "procedures":
                return ["", *self._procedures(snapshot, shown, room - 2)]
            case "clients":
                return ["", *self._titled("Clients", self._clients(snapshot, room - 3))]
            case "calls":
                calls = self._titled("In flight", self._calls(snapshot, room - 3))
                return ["", *(calls or ["no calls in flight"])]
        if room < _SEVERAL:
            return self._procedures(snapshot, shown, room - 1)
        calls = self._waiting(snapshot, room // _CALLS_PART)
        clients = self._titled("Clients", self._clients(snapshot, room // _CLIENTS_PART))
        others = [table for table in (calls, clients) if table]
        rest = room - 1 - len(calls) - len(clients)
        kept = len(others) if room >= _SPACIOUS else 0
        procedures = self._procedures(snapshot, shown, rest - kept - 1)
        gap = [""] if rest - len(procedures) >= len(others) else []
        return ["", *procedures, *(line for table in others for line in (*gap, *table))]

    def _waiting(self, snapshot: Snapshot, room: int) -> list[str]:
        """Return the calls in flight, unless all are new."""
        is_new = snapshot.oldest_ns is not None and snapshot.oldest_ns < _SHORT_NS
        return [] if is_new else self._titled("In flight", self._calls(snapshot, room))

    def _titled(self, title: str, lines: Sequence[str]) -> list[str]:
        if not lines:
            return []
        colour = self._palette
        head = f"{colour.name}{title}{colour.off}"
        if self._is_screen:
            head += f" {colour.quiet}{'─' * (self._width - len(title) - 1)}{colour.off}"
        return [head, *lines]

    def _procedures(self, snapshot: Snapshot, shown: Shown, room: int) -> list[str]:
        rows, seconds, colour = _taken(snapshot.procedures, room), snapshot.seconds, self._palette
        if not snapshot.procedures:
            return ["waiting for messages" if not snapshot.all_messages else "no messages in this time"]

        def time(ns: int | None) -> str:
            return "-" if ns is None else duration(ns, snapshot.resolution_ns)

        most = max((row.calls for row in rows), default=0)
        columns = [
            Column(
                _head("procedure", "name", shown),
                [printable(row.name) for row in rows],
                right=False,
                cut=True,
                wanted=_NAME,
            ),
            Column("calls", [_count(row.calls) for row in rows], 1, wanted=7),
            Column(
                _head("calls/s", "rate", shown),
                [_rate(row.calls, seconds) for row in rows],
                wanted=9,
                colours=[colour.name if row.calls else colour.quiet for row in rows],
            ),
            Column(
                "",
                [_bar(row.calls, most) for row in rows],
                3,
                right=False,
                wanted=_BAR,
                colours=[colour.text] * len(rows),
            ),
            Column(
                _head("errors", "errors", shown),
                [_count(row.errors) for row in rows],
                wanted=8,
                colours=[colour.bad if row.errors else colour.quiet for row in rows],
            ),
            Column(
                _head("p50", "p50", shown),
                [time(row.p50_ns) for row in rows],
                6,
                wanted=7,
                colours=[self._late(row.p50_ns) for row in rows],
            ),
            Column(
                _head("p99", "p99", shown),
                [time(row.p99_ns) for row in rows],
                wanted=7,
                colours=[self._late(row.p99_ns) for row in rows],
            ),
            Column(
                _head("bytes", "bytes", shown),
                [_bytes(row.bytes_c2s + row.bytes_s2c, seconds) for row in rows],
                7,
                wanted=10,
            ),
            Column(
                _head("in flight", "in-flight", shown),
                [_count(row.in_flight) for row in rows],
                5,
                wanted=9,
                colours=["" if row.in_flight else colour.quiet for row in rows],
            ),
            Column(
                "oldest",
                [time(row.oldest_ns) for row in rows],
                2,
                wanted=7,
                colours=[self._late(row.oldest_ns) or colour.quiet for row in rows],
            ),
        ]
        if not self._is_screen:
            del columns[3]  # whoever reads the text counts its columns
        if any(row.unanswered for row in rows):
            columns.insert(-5, Column("unanswered", [_count(row.unanswered) for row in rows], 4))
        return self._lines(columns, len(snapshot.procedures))

    def _clients(self, snapshot: Snapshot, room: int) -> list[str]:
        rows, seconds, colour = _taken(snapshot.clients, room), snapshot.seconds, self._palette
        columns = [
            Column("client", [printable(row.name) for row in rows], right=False, cut=True, wanted=_CLIENT),
            Column("connections", [_count(row.connections) for row in rows], 1),
            Column(
                "calls/s",
                [_rate(row.calls, seconds) for row in rows],
                wanted=9,
                colours=[colour.name if row.calls else colour.quiet for row in rows],
            ),
            Column(
                "errors",
                [_count(row.errors) for row in rows],
                wanted=8,
                colours=[colour.bad if row.errors else colour.quiet for row in rows],
            ),
            Column("bytes", [_bytes(row.bytes_c2s + row.bytes_s2c, seconds) for row in rows], 3, wanted=10),
            Column("in flight", [_count(row.in_flight) for row in rows], 2),
        ]
        columns.append(
            Column(
                "calls most",
                [_most(row, max(_MOST, self._width - _OTHER)) for row in rows],
                right=False,
                cut=True,
            )
        )
        return self._lines(columns, len(snapshot.clients))

    def _calls(self, snapshot: Snapshot, room: int) -> list[str]:
        rows, colour = snapshot.waiting[: max(0, room - (snapshot.in_flight > room))], self._palette
        columns = [
            Column(
                "waited",
                ["-" if row.waited_ns is None else duration(row.waited_ns) for row in rows],
                colours=[self._late(row.waited_ns) for row in rows],
            ),
            Column("procedure", [printable(row.procedure) for row in rows], right=False, cut=True),
            Column("object", [printable(row.object or "-") for row in rows], right=False, cut=True),
            Column("client", [printable(row.client) for row in rows], 2, right=False, cut=True),
            Column("serial", [str(row.serial) for row in rows], 1, colours=[colour.quiet] * len(rows)),
        ]
        return self._lines(columns, snapshot.in_flight)

    def _lines(self, columns: list[Column], total: int) -> list[str]:
        """Return a table, and the number of rows that it leaves out."""
        lines = [*table.lines(columns, self._width, self._palette)]
        more = total - len(columns[0].cells)
        return [*lines, f"{self._palette.quiet}… {more:,} more{self._palette.off}"] if more > 0 else lines

    def _late(self, ns: int | None) -> str:
        """Return the colour of a time that a call took."""
        if ns is None or ns < _LONG_NS:
            return ""
        return self._palette.warn if ns < _TOO_LONG_NS else self._palette.bad

    # Keys

    def _help(self) -> Iterator[str]:
        colour = self._palette
        wide = max(len(keys) for keys, _ in _HELP)
        for keys, text in _HELP:
            first, *rest = table.wrap(text, max(self._width - wide - 2, 8))
            yield f"{colour.name}{keys:{wide}}{colour.off}  {first}"
            yield from (" " * (wide + 2) + line for line in rest)

    def _foot(self) -> str:
        colour = self._palette
        line, used = "", 0
        for keys, text in _FOOT:
            gap = "  " if line else ""
            used += len(gap) + len(keys) + 1 + len(text)
            if used > self._width:
                break
            line += f"{gap}{colour.name}{keys}{colour.off} {colour.quiet}{text}{colour.off}"
        return line


#: Sort → the key of a row; rows with the largest key come first.
_KEYS: Final[Mapping[Sort, Callable[[ProcedureRow], Any]]] = {
    "rate": lambda row: row.calls,
    "errors": lambda row: (row.errors, row.calls),
    "p50": lambda row: -1 if row.p50_ns is None else row.p50_ns,
    "p99": lambda row: -1 if row.p99_ns is None else row.p99_ns,
    "bytes": lambda row: row.bytes_c2s + row.bytes_s2c,
    "in-flight": lambda row: (row.in_flight, row.oldest_ns or 0),
}
_CLIENT_KEYS: Final[Mapping[Sort, Callable[[ClientRow], Any]]] = {
    "rate": lambda row: row.calls,
    "errors": lambda row: (row.errors, row.calls),
    "bytes": lambda row: row.bytes_c2s + row.bytes_s2c,
    "in-flight": lambda row: (row.in_flight, row.calls),
}


def in_order(snapshot: Snapshot, shown: Shown) -> Snapshot:
    """Return the snapshot with its procedures and clients in the wanted order."""
    return replace(
        snapshot,
        procedures=_sorted(snapshot.procedures, shown, _KEYS),
        clients=_sorted(snapshot.clients, shown, _CLIENT_KEYS),
    )


def _sorted(rows: list[Row], shown: Shown, keys: Mapping[Sort, Callable[[Row], Any]]) -> list[Row]:
    """Return rows in the wanted order, by rate if they lack it; equal ones by name, and others last."""
    ordered = sorted(rows, key=lambda row: row.name, reverse=shown.sort == "name" and shown.reverse)
    if shown.sort != "name":
        ordered.sort(key=keys.get(shown.sort, keys["rate"]), reverse=not shown.reverse)
    return sorted(ordered, key=lambda row: row.name == OTHERS)


def _taken(rows: Sequence[Row], room: int) -> Sequence[Row]:
    """Return the rows that fit into some lines, with one that counts the others."""
    return rows if len(rows) <= room else rows[: max(0, room - 1)]


def _head(name: str, sort: Sort, shown: Shown) -> str:
    """Return the head of a column, marked if rows are in its order."""
    if shown.sort != sort:
        return name
    return f"{name} {'▲' if shown.reverse != (sort == 'name') else '▼'}"


def _clipped(line: str, width: int) -> str:
    """Return the beginning of a line that is too long, with all of its colours."""
    parts, left = [], width
    for part in _COLOURS.split(line):
        shown = part if part.startswith("\x1b") else part[:left]
        left -= 0 if part.startswith("\x1b") else len(shown)
        parts.append(shown)
    return "".join(parts)


def _count(count: int) -> str:
    return f"{count:,}" if count else "-"


def _rate(count: int, seconds: float | None) -> str:
    """Return a number per second with three significant digits."""
    if not count or seconds is None:
        return "-"
    rate = count / seconds
    return f"{rate:,.{2 if rate < 9.995 else 1 if rate < 99.95 else 0}f}"


def _bytes(count: int, seconds: float | None) -> str:
    if seconds is None:
        return size(count)
    return f"{size(count / seconds)}/s" if count else "-"


def _most(row: ClientRow, width: int) -> str:
    """Return the procedures that a client calls most, with their parts of its calls, as many as fit."""
    text = ""
    for name, count in row.most:
        more = f"{', ' if text else ''}{printable(name)} {count / row.calls:.0%}"
        if text and len(text) + len(more) > width:
            break
        text += more
    return text or "-"


def _bar(count: int, most: int) -> str:
    """Return a number as a bar, of which the largest number fills the whole width."""
    halves = ceil(count * _BAR * 2 / most) if most else 0
    return "━" * (halves // 2) + "╸" * (halves % 2)


def _bars(history: Sequence[int], width: int) -> tuple[str, str] | None:
    """Return the rate of the last seconds as bars, and what they mean; None without enough of them."""
    most = max(history, default=0)
    label = f"  up to {most:,} calls/s"
    shown = history[-max(0, width - len(label)) :]
    if len(history) < 2 or not most or width <= len(label):
        return None
    bars = "".join(_BARS[ceil(count * (len(_BARS) - 1) / most)] if count else " " for count in shown)
    return bars, label


def _clock(ns: int) -> str:
    """Return a time as hours, minutes and seconds."""
    seconds = ns // 10**9
    return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
