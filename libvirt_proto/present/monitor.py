"""Messages as the lines of libvirt's rpc-monitor script, `examples/systemtap/rpc-monitor.stp`.

      0.000 C > 127.0.0.1:40508-127.0.0.1:16509 msg=remote.1.auth_list(call, ok, 0) len=28

Seconds since the first message, the client's side of the connection (`>` it sends, `<` it
receives, `?` not known), the connection where the script prints a pointer, and the message. Of a
message that was not seen whole, `missing` is how many bytes were not; where recordings were merged, `seen`
says which have it; `malformed` says what is wrong with a payload. What else happens to a connection has `+`
where something begins, `-` where it ends, else `.`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..capture.chunk import Captured, Connection, ConnectionEvent
from .access import Accesses
from .names import STATUSES, TYPES, Names
from .style import PLAIN, Palette
from .text import printable, seconds, sighted

if TYPE_CHECKING:
    from ..message import Message
    from ..registry import Registry

_ARROWS = {"c2s": ">", "s2c": "<", None: "?"}
#: Columns of the script's pointer.
_CONNECTION = 16
#: By the last word of an event's kind.
_MARKS = {"new": "+", "start": "+", "dispose": "-", "stop": "-"}


def fault(message: Message, colour: Palette) -> str:
    """What is wrong with a message's payload, to stand at the end of a line; "" if nothing is."""
    return f" {colour.bad}malformed: {printable(str(message.error))}{colour.off}" if message.malformed else ""


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
        malformed = fault(message, colour)
        if header.status == 1 or malformed:
            status = f"{colour.bad}{status}{colour.off}"
        missing = f" {colour.warn}missing={message.missing}{colour.off}" if message.missing else ""
        seen = f" seen={sighted(captured.sightings).replace(' ', '')}" if captured.sightings else ""
        access = self._accesses and self._accesses.of(captured)
        return (
            f"{self._head(captured.time_ns, _ARROWS[captured.direction], captured.connection)} "
            f"msg={colour.name}{name}{colour.off}({type_}, {status}, {header.serial}) len={message.length}"
            f"{missing}{f' {access}' if access else ''}{seen}{malformed}"
        )

    def event(self, event: ConnectionEvent) -> str:
        """The line of an event."""
        mark = _MARKS.get(event.kind.rpartition("_")[2], ".")
        details = "".join(f" {printable(name)}={printable(text)}" for name, text in event.details)
        head = self._head(event.time_ns, mark, event.connection)
        return f"{head} {self._palette.name}{printable(event.kind)}{self._palette.off}{details}"

    def _head(self, time_ns: int | None, mark: str, connection: Connection | None) -> str:
        if self._start is None:
            self._start = time_ns
        if connection is not self._connection:
            self._connection = connection
            self._conn = printable(str(connection or "")).ljust(_CONNECTION)
        colour = self._palette
        return f"{seconds(time_ns, self._start, 3)} C {mark} {colour.quiet}{self._conn}{colour.off}"
