"""Messages as JSON lines: one object per message, its keys always there and in one order.

`remarks` and `raw` alone come only where they say something: the payload was not canonical XDR, and
`raw` is what was received. In payloads, numbers that libvirt's public API has names for stay numbers, and
the names stand behind them, `code_name` behind `code` (see values).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from ..capture.chunk import Captured, Connection
from ..errors import ProtocolError
from ..layout import XdrStruct, XdrUnion
from ..message import Message
from .names import STATUSES, TYPES, Names
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


class Presenter:
    """Captured → a line of JSON with its newline, in UTF-8."""

    def __init__(self, registry: Registry) -> None:
        self._names = Names(registry)
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
            # A socket's path may be any bytes, JSON is UTF-8.
            self._conn = str(captured.connection).encode("utf-8", "backslashreplace").decode()
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
        return line

    def _converter(self, message: Message) -> Convert:
        node = self._names.node(message)
        assert node is not None
        convert = converter(node, True)
        if isinstance(message.payload, XdrStruct | XdrUnion):
            self._converters[type(message.payload)] = convert
        return convert


def _problem(error: ProtocolError) -> Problem:
    return Problem(str(error), error.offset, error.path)
