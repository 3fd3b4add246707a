"""Statistics for people: tables that fit the terminal. JSON has everything."""

from __future__ import annotations

import re
import shlex
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, zip_longest
from typing import Final

from ..figures.results import (
    ConnectionFigures,
    EventKind,
    Feature,
    ProcedureFigures,
    Slow,
    Statistics,
    Unanswered,
    Where,
)
from ..text import amount, duration, printable, quoted, size
from . import table
from .style import PLAIN, Palette, severity_colour
from .table import Column, cut

#: Minimum width of the end of a path.
_NAME: Final = 24
#: VIR_CONNECT_RO among connect_open's flags.
_READ_ONLY: Final = 1
_COLOURS: Final = re.compile(r"\x1b\[[0-9;]*m")


class StatisticsTables:
    """Statistics → lines, without newlines and within `width` if possible, except the commands that show
    messages. Of each table, only the first `top` rows are shown, and the others counted."""

    def __init__(self, width: int, top: int, palette: Palette = PLAIN) -> None:
        self._width = width
        self._top = top
        self._palette = palette
        self._resolution = 1
        #: Whether a filter left messages out, so that what is missing proves nothing.
        self._filtered = False

    def __call__(self, statistics: Statistics) -> Iterator[str]:
        """Yield the lines: totals, then a section for each table with rows."""
        self._resolution = statistics.totals.resolution_ns or 1
        self._filtered = statistics.totals.messages < statistics.totals.input_messages
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
        yield from self._section(
            "Findings (libvirt-proto diagnose explains them)", self._findings(statistics)
        )

    def _section(self, title: str, lines: Iterable[str]) -> Iterator[str]:
        body = list(lines)
        if body:
            yield ""
            yield f"{self._palette.name}{cut(title, self._width)}{self._palette.off}"
            yield from body

    def _duration(self, ns: int) -> str:
        return duration(ns, self._resolution)

    def _at(self, where: Where, start_ns: int | None) -> str:
        """Return the seconds since the beginning, with the decimals that the clock has, at most six."""
        if where.time_ns is None or start_ns is None:
            return "-"
        decimals = {10**9: 0, 10**6: 3}.get(self._resolution, 6)
        return f"{(where.time_ns - start_ns) / 1e9:.{decimals}f}"

    def _totals(self, statistics: Statistics) -> Iterator[str]:
        totals, colour = statistics.totals, self._palette
        parts = [amount(totals.messages, "message"), size(totals.bytes)]
        if self._filtered:
            parts[0] = f"{totals.messages:,} of {amount(totals.input_messages, 'message')}"
        parts.append(amount(totals.connections, "connection"))
        if totals.files > 1:
            parts.append(amount(totals.files, "file"))
        if totals.start_ns is not None and totals.end_ns is not None:
            parts.append(self._duration(totals.end_ns - totals.start_ns))
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
        yield from self._wrapped(counts, indent="")
        odd = [f"{count:,} {name}" for name, count in totals.outcomes.items() if name in _ODD]
        if totals.malformed:
            odd.append(f"{totals.malformed:,} malformed")
        if totals.other:
            odd.append(f"{totals.other:,} of unknown type")
        odd += [f"{count:,} × {code}" for code, count in totals.notices.items()]
        if totals.left_out:
            odd.append(f"{totals.left_out:,} not in the tables, which are full")
        for line in self._wrapped(odd, indent=""):
            yield f"{colour.warn}{line}{colour.off}"

    def _bad(self, count: int, one: str, many: str | None = None) -> str:
        text = amount(count, one, many)
        return f"{self._palette.bad}{text}{self._palette.off}" if count else text

    def _procedures(self, all_rows: list[ProcedureFigures]) -> Iterator[str]:
        rows = all_rows[: self._top]

        def time(figure: str) -> list[str]:
            return [self._duration(getattr(row.latency, figure)) if row.latency else "-" for row in rows]

        columns = [
            Column("procedure", [_name(row) for row in rows], right=False, cut=True),
            Column("calls", [f"{row.calls:,}" for row in rows]),
            Column("errors", [_count(row.errors) for row in rows]),
        ]
        for head, counts in (
            ("unanswered", [row.unanswered for row in rows]),
            ("without call", [row.without_call for row in rows]),
            ("fds", [row.fds_sent + row.fds_received for row in rows]),
        ):
            if any(counts):
                columns.append(Column(head, [_count(count) for count in counts]))
        columns += [
            Column("sent", [size(row.bytes_c2s) for row in rows], 2),
            Column("received", [size(row.bytes_s2c) for row in rows], 3),
            Column("total", time("total_ns")),
            Column("min", time("min_ns"), 1),
            Column("mean", time("mean_ns"), 4),
            Column("p50", time("p50_ns")),
            Column("p90", time("p90_ns"), 5),
            Column("p99", time("p99_ns")),
            Column("max", time("max_ns")),
        ]
        yield from self._table(columns, len(all_rows))

    def _streams(self, procedures: list[ProcedureFigures]) -> Iterator[str]:
        all_rows = [(row, row.streams) for row in procedures if row.streams]
        rows = all_rows[: self._top]
        speeds = [streams.bytes_per_second for _, streams in rows]
        yield from self._table(
            [
                Column("procedure", [_name(row) for row, _ in rows], right=False, cut=True),
                Column("streams", [f"{s.count:,}" for _, s in rows]),
                Column("from client", [size(s.bytes_c2s) for _, s in rows]),
                Column("from server", [size(s.bytes_s2c) for _, s in rows]),
                Column("in holes", [size(s.hole_bytes) for _, s in rows], 1),
                Column("speed", ["-" if speed is None else f"{size(speed)}/s" for speed in speeds]),
                Column("aborted", [_count(s.aborted) for _, s in rows], 2),
                Column("failed", [_count(s.failed) for _, s in rows], 3),
                Column("not ended", [_count(s.open) for _, s in rows]),
            ],
            len(all_rows),
        )

    def _findings(self, statistics: Statistics) -> Iterator[str]:
        for finding in (statistics.findings or [])[: self._top]:
            colour = severity_colour(finding.severity, self._palette)
            yield f"{colour}{finding.severity} {finding.rule}{self._palette.off}"
            yield from self._wrapped([printable(finding.summary)], indent="  ")

    def _events(self, statistics: Statistics) -> Iterator[str]:
        rows = statistics.events[: self._top]
        yield from self._table(
            [
                Column("event", [_name(row) for row in rows], right=False, cut=True),
                Column("count", [f"{row.count:,}" for row in rows]),
                Column("size", [size(row.bytes) for row in rows]),
            ],
            len(statistics.events),
        )

    def _errors(self, statistics: Statistics) -> Iterator[str]:
        rows = statistics.errors[: self._top]
        yield from self._table(
            [
                Column("count", [f"{row.count:,}" for row in rows]),
                Column("code", [str(row.code) for row in rows], 1),
                Column("name", [row.code_name or str(row.code) for row in rows], right=False, cut=True),
                *self._wheres([row.first for row in rows]),
                Column(
                    "text of the first",
                    [printable(r.first_message or "-") for r in rows],
                    right=False,
                    cut=True,
                ),
            ],
            len(statistics.errors),
            [self._show(row.first) for row in rows],
        )
        if rows and statistics.errors_command is not None:
            yield "All of them:"
            yield from self._command(statistics.errors_command)

    def _connections(self, statistics: Statistics) -> Iterator[str]:
        connections = sorted(statistics.connections, key=lambda c: -c.messages)
        quiet, off = self._palette.quiet, self._palette.off
        for connection in connections[: self._top]:
            ends = f"{connection.client or '?'} → {connection.server or '?'} ({connection.transport})"
            which = f"{connection.id} {printable(ends)}"
            if statistics.totals.files > 1:
                file = _end(printable(connection.file), self._width - len(which) - 1)
                yield f"{quiet}{file}{off} {which}"
            else:
                yield cut(which, self._width)
            negotiated = [*_negotiated(connection)]
            if not connection.closed and not self._filtered:
                negotiated.append("not closed")
            for parts in (self._traffic(connection), negotiated):
                yield from self._wrapped(parts)
        more = len(connections) - self._top
        if more > 0:
            yield f"{quiet}… {amount(more, 'more connection')}, with fewer messages{off}"

    def _traffic(self, connection: ConnectionFigures) -> Iterator[str]:
        if connection.duration_ns is not None:
            yield self._duration(connection.duration_ns)
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

    def _wrapped(self, parts: Iterable[str], indent: str = "  ") -> Iterator[str]:
        """Wrap parts between commas, or between words where one is too long, into indented lines."""
        line, width = "", 0
        room = max(self._width - len(indent) - 1, 1)
        for part in parts:
            if len(_COLOURS.sub("", part)) > room:
                if line:
                    yield f"{line},"
                *begun, part = textwrap.wrap(part, room, break_long_words=False, break_on_hyphens=False)
                yield from (indent + words for words in begun)
                line = ""
            columns = len(_COLOURS.sub("", part))
            if line and width + columns + 3 > self._width:
                yield f"{line},"
                line = ""
            before = f"{line}, " if line else indent
            width = columns + (width + 2 if line else len(indent))
            line = before + part
        if line:
            yield line

    def _limits(self, statistics: Statistics) -> Iterator[str]:
        rows = statistics.limits[: self._top]
        yield from self._table(
            [
                Column("share", [_percent(row.fraction) for row in rows]),
                Column("longest", [f"{row.longest:,}" for row in rows]),
                Column("limit", [f"{row.limit:,}" for row in rows]),
                Column("of", [_UNITS[row.what] for row in rows], right=False),
                Column("where", [printable(row.path) for row in rows], right=False, cut=True),
                *self._wheres([row.where for row in rows]),
            ],
            len(statistics.limits),
        )

    def _unanswered(self, statistics: Statistics) -> Iterator[str]:
        rows = statistics.unanswered[: self._top]
        start = statistics.totals.input_start_ns
        yield from self._table(
            [
                Column("at, s", [self._at(row.call, start) for row in rows]),
                Column("procedure", [_call(row) for row in rows], right=False, cut=True),
                Column("why", [row.outcome for row in rows], right=False),
                Column("serial", [str(row.call.serial) for row in rows], 1),
                *self._wheres([row.call for row in rows]),
            ],
            statistics.totals.unanswered,
            [self._show(row.call) for row in rows],
        )

    def _slowest(self, statistics: Statistics) -> Iterator[str]:
        rows = statistics.slowest[: self._top]
        start = statistics.totals.input_start_ns
        yield from self._table(
            [
                Column("took", [self._duration(row.latency_ns) for row in rows]),
                Column("at, s", [self._at(row.call, start) for row in rows], 3),
                Column("procedure", [_call(row) for row in rows], right=False, cut=True),
                Column("outcome", [row.outcome for row in rows], right=False),
                Column("serial", [str(row.call.serial) for row in rows], 2),
                *self._wheres([row.call for row in rows]),
                Column("reply", [str(row.reply) for row in rows], 1),
            ],
            len(statistics.slowest),
            [self._show(row.call, row.error) for row in rows],
        )

    def _show(self, where: Where, reason: str | None = None) -> list[str]:
        """Return the lines below the row of a message: the reason of a failure, and the command that shows
        it."""
        colour = self._palette
        lines = []
        if reason is not None:
            lines.append(f"  {colour.bad}{cut(printable(reason), self._width - 2)}{colour.off}")
        return lines if where.command is None else [*lines, *self._command(where.command)]

    def _command(self, command: str) -> Iterator[str]:
        """Yield the lines of a command, which the shell joins again. Only a long word is wider."""
        quiet, off, line = self._palette.quiet, self._palette.off, " "
        for word in map(shlex.quote, shlex.split(command)):
            if len(line) > 4 and len(line) + len(word) + 3 > self._width:
                yield f"{quiet}{printable(line)} \\{off}"
                line = "   "
            line += f" {word}"
        yield f"{quiet}{printable(line)}{off}"

    def _wheres(self, places: list[Where]) -> Iterator[Column]:
        """Return the places of messages: their numbers, their connections, and files if there are several."""
        yield Column("message", [str(place.n) for place in places])
        if len({place.file for place in places}) > 1:
            files = [printable(place.file) for place in places]
            room = _NAME if self._width < table.WIDE else self._width
            yield Column("file", [_end(file, room) for file in files], 4, right=False)
        if len({(place.file, place.conn) for place in places}) > 1:
            yield Column("connection", [printable(place.conn) for place in places], 0, right=False)

    def _table(self, columns: list[Column], total: int, below: Sequence[Sequence[str]] = ()) -> Iterator[str]:
        """Yield a table, with the lines below each row, and the number of rows that it leaves out."""
        rows = table.lines(columns, self._width, self._palette)
        yield from islice(rows, 1)
        for row, lines in zip_longest(rows, below, fillvalue=()):
            yield str(row)
            yield from lines
        more = total - len(columns[0].cells)
        if more > 0 and columns[0].cells:
            yield f"{self._palette.quiet}… {more:,} more{self._palette.off}"


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


def _feature(feature: Feature) -> str:
    """Return `program_keepalive` for VIR_DRV_FEATURE_PROGRAM_KEEPALIVE."""
    return (feature.name or str(feature.feature)).removeprefix("VIR_DRV_FEATURE_").lower()


def _name(row: ProcedureFigures | EventKind | Where) -> str:
    program = row.program or f"{row.prog:#010x}"
    version = "" if row.vers == 1 else f".{row.vers}"
    return f"{program}{version}.{row.procedure or row.proc}"


def _call(row: Slow | Unanswered) -> str:
    """Return the procedure of a call, with its object: `remote.domain_resume("vm1")`."""
    return f"{_name(row.call)}{'' if row.object is None else f'({quoted(str(row.object))})'}"


def _count(count: int) -> str:
    return f"{count:,}" if count else "-"


def _percent(fraction: float) -> str:
    if fraction < 0.00001:
        return "<0.001%"
    return f"{fraction:.1%}" if fraction >= 0.001 else f"{fraction:.3%}"


def _end(text: str, width: int) -> str:
    """Return the end of a path that is too long, with a minimum of 24 characters."""
    width = max(width, _NAME)
    return text if len(text) <= width else f"…{text[1 - width :]}"
