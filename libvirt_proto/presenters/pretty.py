"""Messages for people: one head line, then the payload as an indented tree.

Strings and bytes are truncated at a fixed length, long arrays at a fixed number of elements, with a count of
the rest, and of an error only its code and its text are shown; `full` shows everything. Nothing from the wire
is written unescaped.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from ..access import Accesses
from ..events import Captured, Connection, ConnectionEvent, ProbeEvent
from ..rpc.mistyped import fitting_event
from ..rpc.names import STATUSES, TYPES, Names
from ..rpc.reported import LibvirtError, reported_error
from ..text import amount, printable
from .clock import Clock, TimeStyle
from .probe_events import ProbeEventPresenter
from .sightings import sighted
from .style import PLAIN, Palette
from .tree import DEFAULT_CUT, NO_CUT, Cut, Tree, hex_dump

if TYPE_CHECKING:
    from ..registry import Registry

#: Indentation of the payload, below the names.
INDENT: Final = " " * 16
#: Columns of type and status together; all fit except those of streams and descriptors.
_KIND: Final = 11
_ARROWS: Final = {"c2s": "→", "s2c": "←", None: "?"}
#: Maximum number of connections remembered as introduced; more than any real capture has at a time.
_REMEMBERED: Final = 65536


class PrettyPresenter:
    """Captured → lines, without newlines. A line introduces each connection before its first message;
    messages refer to it by its number. `redacted` is the kind of redaction, which the very first line
    reports."""

    def __init__(
        self,
        registry: Registry,
        palette: Palette = PLAIN,
        accesses: Accesses | None = None,
        *,
        full: bool = False,
        redacted: str | None = None,
        times: TimeStyle = "relative",
    ) -> None:
        self._registry = registry
        self._names = Names(registry)
        self._accesses = accesses
        self._palette = palette
        self._probes = ProbeEventPresenter(palette)
        self._full = full
        self._cut: Cut = NO_CUT if full else DEFAULT_CUT
        self.clock = Clock(times)
        self._introduced: set[int] = set()
        #: Reported before anything else.
        self._redacted = redacted

    def __call__(self, captured: Captured) -> str:
        """Return the lines of a message, joined."""
        return "\n".join(self.lines(captured))

    def lines(self, captured: Captured) -> Iterator[str]:
        """Yield the lines of a message."""
        yield from self.introduction(captured.connection)
        yield self._head(captured)
        yield from self.body(captured)

    def event(self, event: ConnectionEvent | ProbeEvent) -> str:
        """Return the line of an event, after the introduction of its connection."""
        if isinstance(event, ProbeEvent):
            return f"{self.time(event.time_ns)}    · {self._probes.words(event)}"
        colour, connection = self._palette, event.connection
        details = "".join(f"  {printable(name)} {printable(text)}" for name, text in event.details)
        line = (
            f"{self.time(event.time_ns)}{'' if connection is None else connection.id:>2} · "
            f"{printable(event.kind)}{colour.quiet}{details}{colour.off}"
        )
        return "\n".join([*(() if connection is None else self.introduction(connection)), line])

    def introduction(self, connection: Connection) -> Iterator[str]:
        """Yield the line that introduces a connection, before its first message or event."""
        if connection.id in self._introduced:
            return
        if self._redacted is not None:
            kept = "secrets" if self._redacted == "secrets" else "everything but headers, names and lengths"
            yield f"{self._palette.warn}── redacted: {kept} blanked, with x or 0{self._palette.off}"
            self._redacted = None
        if len(self._introduced) >= _REMEMBERED:
            self._introduced.clear()
        self._introduced.add(connection.id)
        if connection.client or connection.server:
            colour = self._palette
            ends = f"{connection.client or '?'} → {connection.server or '?'}"
            yield (
                f"{colour.quiet}── connection {connection.id}: {printable(ends)}"
                f" ({printable(connection.transport)}){colour.off}"
            )

    def time(self, time_ns: int | None) -> str:
        """Return the column of the time."""
        text = self.clock(time_ns)
        return text and f"{self._palette.quiet}{text[:-1]}{self._palette.off} "

    def _head(self, captured: Captured) -> str:
        message, header, colour = captured.message, captured.message.header, self._palette
        program, procedure = self._names.of(header)
        name = f"{program or f'{header.prog:#010x}'}.{procedure or header.proc}"
        type_ = TYPES.get(header.type) or f"type {header.type}"
        status = STATUSES.get(header.status) or f"status {header.status}"
        gap = " " * (_KIND - len(f"{type_} {status}"))
        shade = colour.bad if header.status == 1 else colour.quiet if header.status == 0 else ""
        fds = "" if message.fds is None else f"  {amount(message.fds, 'descriptor')}"
        version = "" if header.vers == 1 else f"  {colour.warn}version {header.vers}{colour.off}"
        length = amount(message.length, "byte") if message.missing >= 0 else "length unknown"
        if message.missing > 0:
            length += f"{colour.off}, {colour.warn}only {message.length - message.missing:,} seen"
        seen = f"  {colour.quiet}[{sighted(captured.sightings)}]{colour.off}" if captured.sightings else ""
        return (
            f"{self.time(captured.time_ns)}{captured.connection.id:>2} {_ARROWS[captured.direction]} "
            f"{colour.quiet}#{header.serial:<4}{colour.off} {type_} {shade}{status}{colour.off}{gap}"
            f" {colour.name}{name}{colour.off}  {colour.quiet}{length}{colour.off}{fds}{version}"
            f"{seen}"
        )

    def body(self, captured: Captured) -> Iterator[str]:
        """Yield the indented lines below a message's head: access, payload and problem."""
        message, colour = captured.message, self._palette
        type_ = self._names.payload_type(message)
        access = self._accesses and self._accesses.of(captured)
        if access:
            yield f"{INDENT}{colour.quiet}{access}{colour.off}"
        error = None if self._full else reported_error(message)
        if error is not None:
            yield INDENT + self._error(error)
        elif type_ is not None:
            for line in Tree(self._palette, self._cut).lines(type_, message.payload):
                yield INDENT + line
        if message.data is not None:
            yield from self._bytes("data", message.data, colour.field)
        if message.malformed:
            yield f"{INDENT}{colour.bad}✗ {printable(str(message.error))}{colour.off}"
        elif message.error is not None:
            yield f"{INDENT}{colour.warn}… not seen: {printable(str(message.error))}{colour.off}"
        for remark in message.remarks:
            yield f"{INDENT}{colour.warn}! {printable(remark)}{colour.off}"
        if message.spare:
            yield from self._bytes("! spare", message.spare, colour.warn)
            if event := fitting_event(message, self._registry):
                yield f"{INDENT}{colour.warn}! the spare bytes fit {event}{colour.off}"

    def _error(self, error: LibvirtError) -> str:
        colour, limit = self._palette, self._cut.string
        source = "" if error.domain_name is None else f" ({error.domain_name})"
        head = f"{colour.bad}{error.name}{colour.off}{source}"
        if error.message is None:
            return head
        text, more = error.message[:limit], 0 if limit is None else len(error.message) - limit
        rest = f"{colour.quiet}… {more:,} more{colour.off}" if more > 0 else ""
        return f"{head}: {printable(text)}{rest}"

    def _bytes(self, label: str, data: bytes, shade: str) -> Iterator[str]:
        colour = self._palette
        yield f"{INDENT}{shade}{label}:{colour.off} {amount(len(data), 'byte')}"
        for line in hex_dump(data, self._cut.opaque):
            yield f"{INDENT}  {colour.quiet}{line}{colour.off}"
