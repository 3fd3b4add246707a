"""Messages as JSON lines: one object per message, its keys always there and in one order.

`remarks` and `raw` alone come only where they say something: the payload was not canonical XDR, and
`raw` is what was received; `access` comes with calls if it is asked for. In error payloads the numbers
stay as they are, and `code_name`, `domain_name` and `level_name` stand behind the fields of the .x
(null for numbers without a name).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from ..capture.chunk import Captured, Connection
from ..errors import ProtocolError
from ..layout import XdrStruct, XdrUnion
from ..message import Message
from .access import Access, Accesses
from .names import ERROR_NAMES, ERROR_TYPES, STATUSES, TYPES, Names
from .values import Convert, converter

if TYPE_CHECKING:
    from ..registry import Registry


class Problem(msgspec.Struct):
    """What is wrong with a payload: a sentence, the byte from the length word on, the field."""

    message: str
    offset: int | None
    path: str


class Line(msgspec.Struct):
    """One line, in the order of its keys.

    `dir` is c2s, s2c or null; `length` is the length word. `program` and `procedure` are null for
    numbers without a name, `type` and `status` are then the number. `fds` is the descriptor count
    of the WITH_FDS types, else null. `data` is base64: stream data, or a payload without definition;
    `spare` is hex; each is null where there is none.
    """

    n: int
    time_ns: int | None
    conn: str
    dir: str | None
    length: int
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
    remarks: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    raw: str | msgspec.UnsetType = msgspec.UNSET
    access: Access | msgspec.UnsetType = msgspec.UNSET


class Presenter:
    """Captured → a line of JSON with its newline, in UTF-8."""

    def __init__(self, registry: Registry, accesses: Accesses | None = None) -> None:
        self._names = Names(registry)
        self._accesses = accesses
        self._encode = msgspec.json.Encoder().encode
        self._connection: Connection | None = None
        self._conn = ""
        #: By the class of a payload, so that most messages take one look-up.
        self._converters: dict[type, Convert] = {}

    def __call__(self, captured: Captured) -> bytes:
        """The line of a message."""
        return self._encode(self.line(captured)) + b"\n"

    def line(self, captured: Captured) -> Line:
        """The object of a line."""
        message = captured.message
        header = message.header
        program, procedure = self._names.of(header)
        if captured.connection is not self._connection:
            self._connection = captured.connection
            self._conn = connection_name(captured.connection)
        payload = message.payload
        if payload is not None:
            convert = self._converters.get(type(payload)) or self._converter(message)
            payload = convert(payload)
        line = Line(
            captured.n,
            captured.time_ns,
            self._conn,
            captured.direction,
            message.length,
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
        if message.remarks:
            line.remarks = message.remarks
        if message.raw is not None:
            line.raw = message.raw.hex()
        if self._accesses is not None:
            line.access = self._accesses.of(captured) or msgspec.UNSET
        return line

    def _converter(self, message: Message) -> Convert:
        node = self._names.node(message)
        assert node is not None
        convert = converter(node)
        if message.payload_type in ERROR_TYPES:
            convert = _with_names(convert)
        if isinstance(message.payload, XdrStruct | XdrUnion):
            self._converters[type(message.payload)] = convert
        return convert


def connection_name(connection: Connection) -> str:
    """The connection's name; a socket's path may be any bytes, JSON is UTF-8."""
    return str(connection).encode("utf-8", "backslashreplace").decode()


def _with_names(convert: Convert) -> Convert:
    """Errors: behind the fields of the .x, what their numbers are called."""

    def named(value: Any) -> dict[str, Any]:
        fields: dict[str, Any] = convert(value)
        for name, names in ERROR_NAMES.items():
            fields[f"{name}_name"] = names.get(fields[name]) if name in fields else None
        return fields

    return named


def _problem(error: ProtocolError) -> Problem:
    return Problem(str(error), error.offset, error.path)
