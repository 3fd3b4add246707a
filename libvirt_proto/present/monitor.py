"""Messages as the lines of libvirt's rpc-monitor script, `examples/systemtap/rpc-monitor.stp`.

      0.000 C > 127.0.0.1:40508-127.0.0.1:16509 msg=remote.1.auth_list(call, ok, 0) len=28

Seconds since the first message, the client's side of the connection (`>` it sends, `<` it
receives, `?` not known), the connection where the script prints a pointer, and the message. What a log or
a probe tells of the server's side has `> S` and `< S` instead of `C >` and `C <`. Of a message that was not
seen whole, `missing` is how many bytes were not; where recordings were merged, `seen` says which have it.
What else happens to a connection has `+` where something begins, `-` where it ends, its message's mark
where a descriptor goes along, else `.`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..capture.chunk import Captured, Connection, ConnectionEvent, Side
from .access import Accesses
from .names import STATUSES, TYPES, Names
from .style import PLAIN, Palette
from .text import printable, seconds, sighted

if TYPE_CHECKING:
    from ..registry import Registry

_ARROWS = {"c2s": ">", "s2c": "<", None: "?"}
#: Columns of the script's pointer.
_CONNECTION = 16
#: By the last word of an event's kind.
_MARKS = {"new": "+", "start": "+", "dispose": "-", "stop": "-"}
#: By the kind of an event and the side that it is seen at.
_DESCRIPTORS = {
    ("socket_send_fd", "client"): ">",
    ("socket_recv_fd", "server"): ">",
    ("socket_send_fd", "server"): "<",
    ("socket_recv_fd", "client"): "<",
}


class Presenter:
    """Captured → one line, without its newline."""

    def __init__(
        self, registry: Registry, palette: Palette = PLAIN, accesses: Accesses | None = None
    ) -> None:
        self._names = Names(registry)
        self._accesses = accesses
        self._palette = palette
        self._start: int | None = None
        self._connection: Connection | None = None
        self._conn = " " * _CONNECTION

    def __call__(self, captured: Captured) -> str:
        """The line of a message; times count from the first that is asked for."""
        message, header, colour = captured.message, captured.message.header, self._palette
        program, procedure = self._names.of(header)
        name = f"{program or f'unknown:{header.prog}'}.{header.vers}.{procedure or f'unknown:{header.proc}'}"
        type_ = TYPES.get(header.type) or f"unknown:{header.type}"
        status = STATUSES.get(header.status) or f"unknown:{header.status}"
        if header.status == 1 or message.malformed:
            status = f"{colour.bad}{status}{colour.off}"
        missing = f" {colour.warn}missing={message.missing}{colour.off}" if message.missing else ""
        seen = f" seen={sighted(captured.sightings).replace(' ', '')}" if captured.sightings else ""
        access = self._accesses and self._accesses.of(captured)
        connection = captured.connection
        return (
            f"{self._head(captured.time_ns, _ARROWS[captured.direction], connection, connection.side)} "
            f"msg={colour.name}{name}{colour.off}({type_}, {status}, {header.serial}) len={message.length}"
            f"{missing}{f' {access}' if access else ''}{seen}"
        )

    def event(self, event: ConnectionEvent) -> str:
        """The line of an event."""
        side = event.side if event.connection is None else event.connection.side
        mark = _DESCRIPTORS.get((event.kind, side or "")) or _MARKS.get(event.kind.rpartition("_")[2], ".")
        details = "".join(f" {printable(name)}={printable(text)}" for name, text in event.details)
        head = self._head(event.time_ns, mark, event.connection, side)
        return f"{head} {self._palette.name}{printable(event.kind)}{self._palette.off}{details}"

    def _head(self, time_ns: int | None, mark: str, connection: Connection | None, side: Side | None) -> str:
        if self._start is None:
            self._start = time_ns
        if connection is not self._connection:
            self._connection = connection
            self._conn = printable(str(connection or "")).ljust(_CONNECTION)
        colour = self._palette
        where = f"{seconds(time_ns, self._start, 3)} {sided(mark, side)}"
        return f"{where} {colour.quiet}{self._conn}{colour.off}"


def sided(mark: str, side: Side | None) -> str:
    """A mark, and the side that it is seen at: the client's, if nothing else is known."""
    return f"{mark} S" if side == "server" else f"C {mark}"
