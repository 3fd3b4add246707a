"""Messages as the lines of the libvirt script rpc-monitor, `examples/systemtap/rpc-monitor.stp`.

      0.000 C > 127.0.0.1:40508-127.0.0.1:16509 msg=remote.1.auth_list(call, ok, 0) len=28

A line has the seconds since the beginning of the input, the client's side of the connection (`>` sends, `<`
receives, `?` unknown), the connection where the script prints a pointer, and the message. Messages that a log
or a probe reports at the server's side have `> S` and `< S` instead of `C >` and `C <`.

An incomplete message has `missing` with its number of missing bytes, one of unknown length `len=?`, a merged
one `seen` with the recordings that have it, an error of the server `error` with its reason, and a malformed
one `malformed` with its problem. Other events of a connection have `+` for a beginning, `-` for an end, the
mark of their message if a descriptor accompanies it, and otherwise `.`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ..access import Accesses
from ..events import Captured, Connection, ConnectionEvent, ProbeEvent, Side
from ..rpc.names import STATUSES, TYPES, Names
from ..rpc.reported import reported_error
from ..text import printable, quoted
from .clock import Clock, TimeStyle
from .probe_events import ProbeEventPresenter
from .sightings import sighted
from .style import PLAIN, Palette

if TYPE_CHECKING:
    from ..registry import Registry
    from ..rpc.message import Message

_ARROWS: Final = {"c2s": ">", "s2c": "<", None: "?"}
#: Columns of the script's pointer.
_CONNECTION: Final = 16
#: By the last word of an event's kind.
_MARKS: Final = {"new": "+", "start": "+", "dispose": "-", "stop": "-"}
#: By the kind of an event and the side that reports it.
_DESCRIPTORS: Final = {
    ("socket_send_fd", "client"): ">",
    ("socket_recv_fd", "server"): ">",
    ("socket_send_fd", "server"): "<",
    ("socket_recv_fd", "client"): "<",
}
#: Maximum number of forms; libvirt has about 2,000, a hostile peer any number.
_MAX_FORMS: Final = 8192


class MonitorPresenter:
    """Captured → its line with the newline, in the encoding of the output."""

    def __init__(
        self,
        registry: Registry,
        palette: Palette = PLAIN,
        accesses: Accesses | None = None,
        encoding: str = "utf-8",
        *,
        times: TimeStyle = "relative",
    ) -> None:
        self._names = Names(registry)
        self._accesses = accesses
        self._palette = palette
        self._probes = ProbeEventPresenter(palette)
        self._encoding = encoding
        self.clock = Clock(times, 3)
        #: The time shown last, as text and encoded.
        self._time: tuple[str, bytes] = ("", b"")
        self._connection: Connection | None = None
        self._conn = b" " * _CONNECTION
        #: Lines with placeholders, by the values that such messages have in common.
        self._forms: dict[tuple[Any, ...], bytes] = {}

    def __call__(self, captured: Captured) -> bytes:
        """Return the line of a message."""
        message, time_ns = captured.message, captured.time_ns
        header = message.header
        kind = (
            header.prog,
            header.vers,
            header.proc,
            header.type,
            header.status,
            captured.direction,
            captured.connection.side,
            message.error is not None and message.malformed,
        )
        form = self._forms.get(kind) or self._form(kind, captured)
        if captured.connection is not self._connection:
            self._meet(captured.connection)
        time = self.clock(time_ns)
        if time is not self._time[0]:
            self._time = time, self._bytes(time)
        line = form % (self._time[1], self._conn, header.serial, message.length)
        if (
            message.error is not None
            or header.status == 1
            or message.missing
            or captured.sightings
            or self._accesses is not None
        ):
            line = line[: -len(b"0\n")] + b"?" if message.missing < 0 else line[:-1]
            return line + self._bytes(self._more(captured)) + b"\n"
        return line

    def plain_form(self, captured: Captured) -> bytes | None:
        """Return the form of a message's line, with placeholders for time, connection, serial and length;
        None for a message with more in its line than the error that it reports, without colour."""
        message = captured.message
        special = (
            message.error is not None
            or message.missing
            or captured.sightings
            or captured.connection.side
            or (message.header.status == 1 and self._palette is not PLAIN)
        )
        if special or self._accesses is not None or not self.clock.is_relative:
            return None
        return self._form((), captured)

    def column(self, connection: Connection) -> bytes:
        """Return the column of a connection."""
        return self._bytes(_column(connection))

    def _form(self, kind: tuple[Any, ...], captured: Captured) -> bytes:
        """Return the line of a message, with placeholders for time, connection, serial and length."""
        header, colour = captured.message.header, self._palette
        program, procedure = self._names.of(header)
        name = f"{program or f'unknown:{header.prog}'}.{header.vers}.{procedure or f'unknown:{header.proc}'}"
        name = name.replace("%", "%%")
        type_ = TYPES.get(header.type) or f"unknown:{header.type}"
        status = STATUSES.get(header.status) or f"unknown:{header.status}"
        if header.status == 1 or captured.message.malformed:
            status = f"{colour.bad}{status}{colour.off}"
        where = sided(_ARROWS[captured.direction], captured.connection.side)
        form = self._bytes(
            f"%b{where} {colour.quiet}%b{colour.off}"
            f" msg={colour.name}{name}{colour.off}({type_}, {status}, %d) len=%d\n"
        )
        if kind and len(self._forms) < _MAX_FORMS:
            self._forms[kind] = form
        return form

    def _more(self, captured: Captured) -> str:
        """Return the rare parts of a line."""
        colour, count = self._palette, captured.message.missing
        missing = f" {colour.warn}missing={count}{colour.off}" if count > 0 else ""
        access = self._accesses and self._accesses.of(captured)
        seen = f" seen={sighted(captured.sightings).replace(' ', '')}" if captured.sightings else ""
        return f"{missing}{f' {access}' if access else ''}{seen}{fault(captured.message, colour)}"

    def event(self, event: ConnectionEvent | ProbeEvent) -> bytes:
        """Return the line of an event: that of `trace events` or `trace qemu-monitor` for their probes."""
        time = self.clock(event.time_ns)
        if isinstance(event, ProbeEvent):
            return self._bytes(f"{time}{self._probes.words(event)}\n")
        side = event.side if event.connection is None else event.connection.side
        mark = _DESCRIPTORS.get((event.kind, side or "")) or _MARKS.get(event.kind.rpartition("_")[2], ".")
        details = "".join(f" {printable(name)}={printable(text)}" for name, text in event.details)
        colour = self._palette
        return self._bytes(
            f"{time}{sided(mark, side)} {colour.quiet}{_column(event.connection)}{colour.off}"
            f" {colour.name}{printable(event.kind)}{colour.off}{details}\n"
        )

    def _meet(self, connection: Connection) -> None:
        self._connection = connection
        self._conn = self._bytes(_column(connection))

    def _bytes(self, text: str) -> bytes:
        return text.encode(self._encoding, "backslashreplace")


def _column(connection: Connection | None) -> str:
    """Return the connection, for the column of the script's pointer."""
    return printable(str(connection or "")).ljust(_CONNECTION)


def sided(mark: str, side: Side | None) -> str:
    """Return a mark, with the side that reports it: the client's by default."""
    return f"{mark} S" if side == "server" else f"C {mark}"


def fault(message: Message, colour: Palette) -> str:
    """Return the error that a message reports, or the problem of its payload, for the end of a line; "" for
    neither."""
    if message.malformed:
        return f" {colour.bad}malformed: {printable(str(message.error))}{colour.off}"
    error = reported_error(message)
    return "" if error is None else f" error={colour.bad}{quoted(str(error))}{colour.off}"
