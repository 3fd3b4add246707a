"""Statistics for people: tables that fit the terminal.

If there is not enough space, columns are left out in a fixed order, then the middle of long names. JSON has
everything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from ..figures.results import ConnectionFigures, EventKind, Feature, ProcedureFigures, Statistics, Where
from ..text import amount, duration, printable, size
from .style import PLAIN, Palette

_GAP: Final = "  "
#: Minimum width of a truncated name.
_NAME: Final = 24
#: VIR_CONNECT_RO among connect_open's flags.
_READ_ONLY: Final = 1


@dataclass(frozen=True, slots=True)
class _Column:
    """A column. `drop` is the order in which columns are left out, lowest number first; None is never left
    out. The `name` column is truncated last."""

    head: str
    cells: list[str]
    drop: int | None = None
    right: bool = True
    name: bool = False

    @property
    def width(self) -> int:
        return max(map(len, (self.head, *self.cells)))


class StatisticsTables:
    """Statistics → lines, without newlines and within `width` if possible. Only the first `top` connections
    and calls without a reply are shown, and the others counted."""

    def __init__(self, width: int, top: int, palette: Palette = PLAIN) -> None:
        self._width = width
        self._top = top
        self._palette = palette

    def __call__(self, statistics: Statistics) -> Iterator[str]:
        """Yield the lines: totals, then a section for each table with rows."""
        if statistics.redacted:
            yield f"{self._palette.warn}redacted: {statistics.redacted}{self._palette.off}"
        yield from self._totals(statistics)
        yield from self._section("Procedures, by total time", self._procedures(statistics.procedures))
        yield from self._section("Streams", self._streams(statistics.procedures))
        yield from self._section("Events", self._events(statistics))
        yield from self._section("Errors", self._errors(statistics))
        yield from self._section("Connections", self._connections(statistics))
        yield from self._section(
            "Closest to their limits (a peer refuses values over 100%)", self._limits(statistics)
        )
        yield from self._section("Calls without a reply", self._unanswered(statistics))
        yield from self._section("Slowest exchanges", self._slowest(statistics))

    def _section(self, title: str, lines: Iterable[str]) -> Iterator[str]:
        body = list(lines)
        if body:
            yield ""
            yield f"{self._palette.name}{title}{self._palette.off}"
            yield from body

    def _totals(self, statistics: Statistics) -> Iterator[str]:
        totals, colour = statistics.totals, self._palette
        parts = [amount(totals.messages, "message"), size(totals.bytes)]
        parts.append(amount(totals.connections, "connection"))
        if totals.files > 1:
            parts.append(amount(totals.files, "file"))
        if totals.start_ns is not None and totals.end_ns is not None:
            parts.append(duration(totals.end_ns - totals.start_ns))
        yield f"{colour.name}{', '.join(parts)}{colour.off}"
        streams = sum(p.streams.count for p in statistics.procedures if p.streams)
        keepalive = totals.pings + totals.pongs
        counts = [
            amount(totals.calls, "call"),
            self._bad(totals.errors, "error"),
            self._bad(totals.unanswered, "unanswered", "unanswered"),
            amount(streams, "stream"),
            amount(totals.events, "event"),
            amount(keepalive, "keepalive message"),
        ]
        yield ", ".join(counts)
        odd = [f"{count:,} {name}" for name, count in totals.outcomes.items() if name in _ODD]
        if totals.malformed:
            odd.append(f"{totals.malformed:,} malformed")
        if totals.other:
            odd.append(f"{totals.other:,} of unknown type")
        odd += [f"{count:,} × {code}" for code, count in totals.notices.items()]
        if totals.left_out:
            odd.append(f"{totals.left_out:,} not in the tables, which are full")
        if odd:
            yield f"{colour.warn}{', '.join(odd)}{colour.off}"

    def _bad(self, count: int, one: str, many: str | None = None) -> str:
        text = amount(count, one, many)
        return f"{self._palette.bad}{text}{self._palette.off}" if count else text

    def _procedures(self, rows: list[ProcedureFigures]) -> Iterator[str]:
        def time(figure: str) -> list[str]:
            return [duration(getattr(row.latency, figure)) if row.latency else "-" for row in rows]

        columns = [
            _Column("procedure", [_name(row) for row in rows], right=False, name=True),
            _Column("calls", [f"{row.calls:,}" for row in rows]),
            _Column("errors", [_count(row.errors) for row in rows]),
        ]
        for head, counts in (
            ("unanswered", [row.unanswered for row in rows]),
            ("without call", [row.without_call for row in rows]),
            ("fds", [row.fds_sent + row.fds_received for row in rows]),
        ):
            if any(counts):
                columns.append(_Column(head, [_count(count) for count in counts]))
        columns += [
            _Column("sent", [size(row.bytes_c2s) for row in rows], 2),
            _Column("received", [size(row.bytes_s2c) for row in rows], 3),
            _Column("total", time("total_ns")),
            _Column("min", time("min_ns"), 1),
            _Column("mean", time("mean_ns"), 4),
            _Column("p50", time("p50_ns")),
            _Column("p90", time("p90_ns"), 5),
            _Column("p99", time("p99_ns")),
            _Column("max", time("max_ns")),
        ]
        return self._table(columns)

    def _streams(self, procedures: list[ProcedureFigures]) -> Iterator[str]:
        rows = [(row, row.streams) for row in procedures if row.streams]
        speeds = [streams.bytes_per_second for _, streams in rows]
        return self._table(
            [
                _Column("procedure", [_name(row) for row, _ in rows], right=False, name=True),
                _Column("streams", [f"{s.count:,}" for _, s in rows]),
                _Column("from client", [size(s.bytes_c2s) for _, s in rows]),
                _Column("from server", [size(s.bytes_s2c) for _, s in rows]),
                _Column("in holes", [size(s.hole_bytes) for _, s in rows], 1),
                _Column("speed", ["-" if speed is None else f"{size(speed)}/s" for speed in speeds]),
                _Column("aborted", [_count(s.aborted) for _, s in rows]),
                _Column("failed", [_count(s.failed) for _, s in rows]),
                _Column("not ended", [_count(s.open) for _, s in rows]),
            ]
        )

    def _events(self, statistics: Statistics) -> Iterator[str]:
        rows = statistics.events
        return self._table(
            [
                _Column("event", [_name(row) for row in rows], right=False, name=True),
                _Column("count", [f"{row.count:,}" for row in rows]),
                _Column("size", [size(row.bytes) for row in rows]),
            ]
        )

    def _errors(self, statistics: Statistics) -> Iterator[str]:
        rows = statistics.errors
        return self._table(
            [
                _Column("count", [f"{row.count:,}" for row in rows]),
                _Column("code", [str(row.code) for row in rows]),
                _Column("name", [row.code_name or "-" for row in rows], right=False),
                *self._wheres([row.first for row in rows]),
                _Column(
                    "text of the first",
                    [printable(r.first_message or "-") for r in rows],
                    right=False,
                    name=True,
                ),
            ]
        )

    def _connections(self, statistics: Statistics) -> Iterator[str]:
        connections = sorted(statistics.connections, key=lambda c: -c.messages)
        quiet, off = self._palette.quiet, self._palette.off
        for connection in connections[: self._top]:
            ends = f"{connection.client or '?'} → {connection.server or '?'} ({connection.transport})"
            which = f"{connection.id} {printable(ends)}"
            if statistics.totals.files > 1:
                file = _end(printable(connection.file), self._width - len(which) - 1)
                which = f"{quiet}{file}{off} {which}"
            yield which
            for parts in (self._traffic(connection), _negotiated(connection)):
                yield from self._wrapped(parts)
        more = len(connections) - self._top
        if more > 0:
            yield f"{quiet}… {amount(more, 'more connection')}, with fewer messages{off}"

    def _traffic(self, connection: ConnectionFigures) -> Iterator[str]:
        if connection.duration_ns is not None:
            yield duration(connection.duration_ns)
        yield amount(connection.messages, "message")
        yield amount(connection.calls, "call")
        if connection.errors:
            yield amount(connection.errors, "error")
        if connection.unanswered:
            yield f"{connection.unanswered:,} unanswered"
        if connection.bytes_c2s or connection.bytes_s2c:
            yield f"{size(connection.bytes_c2s)} sent"
            yield f"{size(connection.bytes_s2c)} received"
        else:
            yield size(connection.bytes_unknown)

    def _wrapped(self, parts: Iterable[str]) -> Iterator[str]:
        """Wrap parts between commas into indented lines."""
        line = ""
        for part in parts:
            if line and len(line) + len(part) + 4 > self._width:
                yield f"{line},"
                line = ""
            line = f"{line}, {part}" if line else f"  {part}"
        if line:
            yield line

    def _limits(self, statistics: Statistics) -> Iterator[str]:
        rows = statistics.limits
        return self._table(
            [
                _Column("share", [_percent(row.fraction) for row in rows]),
                _Column("longest", [f"{row.longest:,}" for row in rows]),
                _Column("limit", [f"{row.limit:,}" for row in rows]),
                _Column("of", [_UNITS[row.what] for row in rows], right=False),
                _Column("where", [printable(row.path) for row in rows], right=False, name=True),
                *self._wheres([row.where for row in rows]),
            ]
        )

    def _unanswered(self, statistics: Statistics) -> Iterator[str]:
        rows = statistics.unanswered[: self._top]
        start = statistics.totals.start_ns
        yield from self._table(
            [
                _Column("at, s", [_at(row.call, start) for row in rows]),
                _Column("procedure", [_name(row.call) for row in rows], right=False, name=True),
                _Column("why", [row.outcome for row in rows], right=False),
                _Column("serial", [str(row.call.serial) for row in rows]),
                *self._wheres([row.call for row in rows]),
            ]
        )
        more = statistics.totals.unanswered - len(rows)
        if rows and more:
            yield f"{self._palette.quiet}… {more:,} more{self._palette.off}"

    def _slowest(self, statistics: Statistics) -> Iterator[str]:
        rows = statistics.slowest
        start = statistics.totals.start_ns
        return self._table(
            [
                _Column("took", [duration(row.latency_ns) for row in rows]),
                _Column("at, s", [_at(row.call, start) for row in rows]),
                _Column("procedure", [_name(row.call) for row in rows], right=False, name=True),
                _Column("outcome", [row.outcome for row in rows], right=False),
                _Column("serial", [str(row.call.serial) for row in rows]),
                *self._wheres([row.call for row in rows]),
                _Column("reply", [str(row.reply) for row in rows], 1),
            ]
        )

    def _wheres(self, places: list[Where]) -> Iterator[_Column]:
        """Return the places of messages: their numbers, their connections, and files if there are several."""
        yield _Column("message", [str(place.n) for place in places])
        if len({place.file for place in places}) > 1:
            files = [printable(place.file) for place in places]
            yield _Column("file", [_end(file, _NAME) for file in files], right=False)
        if len({(place.file, place.conn) for place in places}) > 1:
            yield _Column("connection", [printable(place.conn) for place in places], 0, right=False)

    def _table(self, columns: list[_Column]) -> Iterator[str]:
        if not columns[0].cells:
            return
        while _width(columns) > self._width:
            droppable = [column for column in columns if column.drop is not None]
            if not droppable:
                break
            columns.remove(min(droppable, key=lambda column: column.drop or 0))
        over = _width(columns) - self._width
        shown = []
        for column in columns:
            width = (
                max(min(column.width, _NAME), column.width - max(0, over)) if column.name else column.width
            )
            cells = [_cut(cell, width) for cell in (column.head, *column.cells)]
            shown.append([f"{cell:>{width}}" if column.right else f"{cell:<{width}}" for cell in cells])
        head, *rows = (_GAP.join(cells).rstrip() for cells in zip(*shown, strict=True))
        yield f"{self._palette.field}{head}{self._palette.off}"
        yield from rows


_UNITS: Final = {
    "string": "bytes",
    "opaque": "bytes",
    "list": "elements",
    "message": "bytes",
    "descriptors": "descriptors",
}
_ODD: Final = frozenset({"given-up", "before-capture", "orphan", "repeated", "after-end"})


def _negotiated(connection: ConnectionFigures) -> Iterator[str]:
    auth, opened = connection.auth, connection.opened
    if auth is not None:
        how = auth.method or "unknown"
        how += f" ({auth.mechanism})" if auth.mechanism else ""
        how += "" if auth.result == "ok" else " failed" if auth.result else ", result unknown"
        others = [method for method in auth.offered if method != auth.method]
        how += f", {' '.join(others)} offered, too" if others else ""
        yield printable(f"authentication {how}")
    if opened is not None:
        default = "the default URI" if opened.program == "remote" else opened.program
        if opened.flags is None:
            default = "an unknown URI"
        uri = default if opened.uri is None else opened.uri
        mode = " read-only" if (opened.flags or 0) & _READ_ONLY else ""
        failed = "" if opened.result == "ok" else f" ({opened.result})"
        yield printable(f"opened {uri}{mode}{failed}")
    if connection.features:
        yes = [_feature(feature) for feature in connection.features if feature.supported]
        no = [_feature(feature) for feature in connection.features if not feature.supported]
        for word, names in (("features", yes), ("without", no)):
            if names:
                yield f"{word} {' '.join(dict.fromkeys(names))}"
    if connection.registrations:
        yield amount(len(connection.registrations), "event callback")
    if connection.events:
        yield amount(connection.events, "event")
    if connection.pings or connection.pongs:
        yield f"keepalive {amount(connection.pings, 'ping')} {amount(connection.pongs, 'pong')}"
    if not connection.closed:
        yield "not closed"


def _feature(feature: Feature) -> str:
    """Return `program_keepalive` for VIR_DRV_FEATURE_PROGRAM_KEEPALIVE."""
    return (feature.name or str(feature.feature)).removeprefix("VIR_DRV_FEATURE_").lower()


def _name(row: ProcedureFigures | EventKind | Where) -> str:
    program = row.program or f"{row.prog:#010x}"
    version = "" if row.vers == 1 else f".{row.vers}"
    return f"{program}{version}.{row.procedure or row.proc}"


def _at(where: Where, start_ns: int | None) -> str:
    if where.time_ns is None or start_ns is None:
        return "-"
    return f"{(where.time_ns - start_ns) / 1e9:.6f}"


def _count(count: int) -> str:
    return f"{count:,}" if count else "-"


def _percent(fraction: float) -> str:
    if fraction < 0.00001:
        return "<0.001%"
    return f"{fraction:.1%}" if fraction >= 0.001 else f"{fraction:.3%}"


def _width(columns: list[_Column]) -> int:
    return sum(column.width for column in columns) + len(_GAP) * (len(columns) - 1)


def _cut(text: str, width: int) -> str:
    """Return the text without its middle if it is too long."""
    if len(text) <= width:
        return text
    tail = (width - 1) // 2
    return f"{text[: width - 1 - tail]}…{text[len(text) - tail :]}"


def _end(text: str, width: int) -> str:
    """Return the end of a path that is too long, with a minimum of 24 characters."""
    width = max(width, _NAME)
    return text if len(text) <= width else f"…{text[1 - width :]}"
