"""Messages as JSON lines: one object per message, with all keys in a fixed order.

Only `frame`, `remarks`, `raw`, `missing` and `sightings` are optional. `frame` is the number of the packet
that completes the message, in a packet capture. If the payload was not canonical XDR, `raw` is
what was received, and `remarks` explains it. `missing` is the number of missing bytes, `sightings` the
recordings that have a merged message. `access` is added to calls on request, `redacted` to redacted messages.
Numbers in payloads with a name in libvirt's public API remain numbers, followed by their names: `code_name`
after `code` (see values).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec.structs import replace

from ..access import Access, Accesses
from ..codec.values import XdrStruct, XdrUnion
from ..errors import ProtocolError
from ..events import Captured, Connection, ConnectionEvent, Sighting
from ..rpc.message import Message
from ..rpc.names import STATUSES, TYPES, Names

if TYPE_CHECKING:
    from ..registry import Registry
    from .encode import Convert


class Problem(msgspec.Struct):
    """The problem of a payload: a sentence, the offset from the length word, and the field."""

    message: str
    offset: int | None
    path: str


class MessageLine(msgspec.Struct):
    """One line, in the order of its keys.

    `dir` is c2s, s2c or null; `length` is the length word, null if unknown. `program` and `procedure` are
    null for numbers without a name; `type` and `status` are then the number. `fds` is the descriptor count of
    the WITH_FDS types, otherwise null. `data` is base64: stream data, or a payload without a definition;
    `spare` is hex; each is null if there is none.
    """

    n: int
    time_ns: int | None
    conn: str
    dir: str | None
    length: int | None
    prog: int
    program: str | None
    vers: int
    proc: int
    procedure: str | None
    type: str | int
    status: str | int
    serial: int
    fds: int | None
    payload_type: str | None
    payload: Any
    data: bytes | None
    spare: str | None
    error: Problem | None
    frame: int | msgspec.UnsetType = msgspec.UNSET
    remarks: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    raw: str | msgspec.UnsetType = msgspec.UNSET
    missing: int | msgspec.UnsetType | None = msgspec.UNSET
    sightings: tuple[Sighting, ...] | msgspec.UnsetType = msgspec.UNSET
    access: Access | msgspec.UnsetType = msgspec.UNSET
    redacted: str | msgspec.UnsetType = msgspec.UNSET


class EventLine(msgspec.Struct):
    """One line for an event of a connection; `conn` is null if the connection is unknown."""

    event: str
    time_ns: int | None
    conn: str | None
    details: dict[str, str]


#: Placeholders in a form for the values that differ between messages (n, time_ns, conn, length, serial,
#: payload, frame). JSON has no control characters, so they occur nowhere else.
_NUMBER: Final = msgspec.Raw(b"\1")
_JSON: Final = msgspec.Raw(b"\2")
#: Maximum number of forms; libvirt has about 2,000, a hostile peer any number.
_MAX_FORMS: Final = 8192


class JsonLinesPresenter:
    """Captured → a line of JSON with its newline, in UTF-8."""

    def __init__(
        self, registry: Registry, accesses: Accesses | None = None, redacted: str | None = None
    ) -> None:
        self._names = Names(registry)
        self._accesses = accesses
        self._redacted = redacted
        self._encode = msgspec.json.Encoder().encode
        self._connection: Connection | None = None
        self._conn = ""
        self._conn_json = b""
        #: By class of the payload, so that most messages take one look-up.
        self._converters: dict[type, Convert] = {msgspec.Raw: _identity}
        #: Lines with placeholders, by the values that such messages have in common.
        self._forms: dict[tuple[Any, ...], bytes] = {}
        #: The same with the number of a packet.
        self._packet_forms: dict[tuple[Any, ...], bytes] = {}

    def __call__(self, captured: Captured) -> bytes:
        """Return the line of a message."""
        message = captured.message
        if not self.is_plain(captured):
            return self._encode(self.line(captured)) + b"\n"
        if captured.connection is not self._connection:
            self._meet(captured.connection)
        header, payload = message.header, message.payload
        kind = (
            header.prog,
            header.vers,
            header.proc,
            header.type,
            header.status,
            captured.direction,
            type(payload),
        )
        if payload is None:
            json = b"null"
        else:
            convert = self._converters.get(type(payload)) or self._converter(message)
            json = self._encode(convert(payload))
        n, time_ns, conn, packet = captured.n, captured.time_ns, self._conn_json, captured.packet
        if packet is None:
            form = self._forms.get(kind) or self._form(kind, captured, self._forms)
            return form % (n, time_ns, conn, message.length, header.serial, json)
        form = self._packet_forms.get(kind) or self._form(kind, captured, self._packet_forms)
        return form % (n, time_ns, conn, message.length, header.serial, json, packet)

    def _form(self, kind: tuple[Any, ...], captured: Captured, forms: dict[tuple[Any, ...], bytes]) -> bytes:
        """Return the line of a message, with placeholders for the values that differ."""
        text = self.placeholders(captured).replace(b"%", b"%%")
        form = text.replace(b"\1", b"%d").replace(b"\2", b"%b")
        if len(forms) < _MAX_FORMS:
            forms[kind] = form
        return form

    def placeholders(self, captured: Captured) -> bytes:
        """Return the line of a message, with bytes 1 and 2 for the numbers and the JSON that differ: n, time,
        connection, length, serial, payload (or data) and number of the packet."""
        line: Any = self.line(captured)
        line.n = line.time_ns = line.length = line.serial = _NUMBER
        line.conn = _JSON
        if captured.message.data is None:
            line.payload = _JSON
        else:
            line.data = _JSON
        if captured.packet is not None:
            line.frame = _NUMBER
        return self._encode(line) + b"\n"

    def is_plain(self, captured: Captured, *, data: bool = False) -> bool:
        """Return whether the line of a message has the form of its kind; with `data`, that of bytes without a
        type, too."""
        message = captured.message
        return not (
            message.error is not None
            or message.raw is not None
            or (message.data is not None and not data)
            or message.fds is not None
            or message.spare
            or message.remarks
            or message.missing
            or captured.sightings
            or captured.time_ns is None
            or self._accesses is not None
        )

    def conn(self, connection: Connection) -> bytes:
        """Return the name of a connection as JSON."""
        return self._encode(connection_name(connection))

    def _meet(self, connection: Connection) -> None:
        self._connection = connection
        self._conn = connection_name(connection)
        self._conn_json = self._encode(self._conn)

    def event(self, event: ConnectionEvent) -> bytes:
        """Return the line of an event."""
        conn = None if event.connection is None else connection_name(event.connection)
        details = {utf8(name): utf8(text) for name, text in event.details}
        return self._encode(EventLine(utf8(event.kind), event.time_ns, conn, details)) + b"\n"

    def line(self, captured: Captured) -> MessageLine:
        """Return the object of a line."""
        message = captured.message
        header = message.header
        program, procedure = self._names.of(header)
        if captured.connection is not self._connection:
            self._meet(captured.connection)
        payload = message.payload
        if payload is not None:
            payload = (self._converters.get(type(payload)) or self._converter(message))(payload)
        line = MessageLine(
            captured.n,
            captured.time_ns,
            self._conn,
            captured.direction,
            message.length if message.missing >= 0 else None,
            header.prog,
            program,
            header.vers,
            header.proc,
            procedure,
            TYPES.get(header.type, header.type),
            STATUSES.get(header.status, header.status),
            header.serial,
            message.fds,
            message.payload_type,
            payload,
            message.data,
            message.spare.hex() if message.spare else None,
            None if message.error is None else _problem(message.error),
        )
        if captured.packet is not None:
            line.frame = captured.packet
        if message.remarks:
            line.remarks = message.remarks
        if message.raw is not None:
            line.raw = message.raw.hex()
        if message.missing:
            line.missing = message.missing if message.missing > 0 else None
        if captured.sightings:
            line.sightings = tuple(
                replace(each, recording=utf8(each.recording)) for each in captured.sightings
            )
        if self._accesses is not None:
            line.access = self._accesses.of(captured) or msgspec.UNSET
        if self._redacted is not None:
            line.redacted = self._redacted
        return line

    def _converter(self, message: Message) -> Convert:
        from .encode import encoder  # with all types

        type_ = self._names.payload_type(message)
        assert type_ is not None
        convert = encoder(type_.types, True).function(type_.reference)
        if isinstance(message.payload, XdrStruct | XdrUnion):
            self._converters[type(message.payload)] = convert
        return convert


def _identity(payload: Any) -> Any:
    """Return a payload that is JSON: `native_kinds` reads such ones."""
    return payload


def connection_name(connection: Connection) -> str:
    """Return the name of the connection, in UTF-8."""
    return utf8(str(connection))


def utf8(text: str) -> str:
    """Return text that is valid UTF-8, for JSON: a socket's path may be any bytes."""
    return text.encode("utf-8", "backslashreplace").decode()


def _problem(error: ProtocolError) -> Problem:
    return Problem(str(error), error.offset, error.path)
