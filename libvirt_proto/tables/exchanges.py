"""The table of exchanges: Exchanges in, batches of Arrow columns out.

A row is a line of JSON without what is null, so that the native core can write the rows of calls that it
pairs; pyarrow reads a batch of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from ..jsonlines.presenter import connection_name
from ..native import core
from ..presenters import native_lines as slots
from ..presenters.exchanges import fixed_subject
from ..presenters.native_lines import NativeExchanges, joined, subject_places
from ..rpc.names import Names
from ..rpc.objects import ObjectFinder
from .arrow import exchange_batch
from .rows import MAX_BYTES, MAX_ROWS, Inputs, int64, reported

if TYPE_CHECKING:
    import pyarrow as pa

    from ..events import Captured, Connection
    from ..native_types import NativeTypes
    from ..presenters.native_lines import Parts
    from ..registry import Registry
    from ..session import Exchange

#: In a line, in place of a value that differs between exchanges of a kind. JSON has no such character.
_VALUE: Final = msgspec.Raw(b"\1")


class ExchangeRow(msgspec.Struct, omit_defaults=True):
    """A row, in the order of its keys."""

    n: int
    conn: str
    outcome: str
    prog: int
    vers: int
    proc: int
    serial: int
    overtaken: int
    messages: int
    bytes_c2s: int
    bytes_s2c: int
    time_ns: int | None = None
    program: str | None = None
    procedure: str | None = None
    latency_ns: int | None = None
    call_n: int | None = None
    call_frame: int | None = None
    reply_n: int | None = None
    reply_frame: int | None = None
    object_kind: str | None = None
    object_name: str | None = None
    object_uuid: str | None = None
    stream_bytes_c2s: int | None = None
    stream_bytes_s2c: int | None = None
    stream_end: str | None = None
    error: str | None = None
    error_code: int | None = None


class ExchangeTable:
    """Exchanges of several inputs, in one table."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._maker = ExchangeLines(registry)
        self._inputs = Inputs()
        self._lines: list[bytes] = []
        self._rows = self._size = 0

    def begin(self, name: str) -> NativeExchanges | None:
        """Begin with the input of a name; return the native core of a pass over it, None without one."""
        self._inputs.begin(name, self._rows)
        return None if core() is None else NativeExchanges(self._registry, self._maker)

    def add(self, exchange: Exchange) -> None:
        """Add an exchange that Python has paired."""
        self.add_lines(self._maker.line(exchange))

    def add_lines(self, lines: bytes) -> None:
        """Add rows, each with its newline."""
        self._lines.append(lines)
        self._rows += lines.count(b"\n")
        self._size += len(lines)

    def is_full(self) -> bool:
        """Return whether there should be a batch now."""
        return self._rows >= MAX_ROWS or self._size >= MAX_BYTES

    def __len__(self) -> int:
        """Number of rows since the last batch."""
        return self._rows

    def take(self) -> pa.RecordBatch:
        """Return the rows since the last batch."""
        lines, rows, self._lines, self._rows, self._size = self._lines, self._rows, [], 0, 0
        return exchange_batch(b"".join(lines), self._inputs.take(rows))


class ExchangeLines:
    """Makes the lines of exchanges, and learns their parts for the native core."""

    def __init__(self, registry: Registry) -> None:
        self._names = Names(registry)
        self._objects = ObjectFinder(registry)
        self._encode = msgspec.json.Encoder().encode

    @property
    def start_ns(self) -> int | None:
        """None: times are absolute."""
        return None

    def text(self, connection: Connection) -> bytes:
        """Return the name of a connection as JSON."""
        return self._encode(connection_name(connection))

    def line(self, exchange: Exchange) -> bytes:
        """Return the row of an exchange, with its newline."""
        return self._encode(self._row(exchange)) + b"\n"

    def _row(self, exchange: Exchange) -> ExchangeRow:
        call, reply, stream, header = exchange.call, exchange.reply, exchange.stream, exchange.header
        subject = self._objects.subject(call.message if call else None, reply.message if reply else None)
        errors = [reported(failure) for failure in exchange.failures]
        code, error = next((each for each in errors if each[0] is not None), (None, None))
        program, procedure = self._names.of(header)
        return ExchangeRow(
            exchange.n,
            connection_name(exchange.connection),
            exchange.outcome,
            header.prog,
            header.vers,
            header.proc,
            header.serial,
            exchange.overtaken,
            exchange.messages,
            exchange.bytes_c2s,
            exchange.bytes_s2c,
            int64(exchange.first_ns),
            program,
            procedure,
            int64(exchange.latency_ns),
            *_place(call),
            *_place(reply),
            object_kind=None if subject is None else subject.kind,
            object_name=None if subject is None else subject.name,
            object_uuid=None if subject is None else subject.uuid,
            stream_bytes_c2s=None if stream is None else stream.bytes_c2s,
            stream_bytes_s2c=None if stream is None else stream.bytes_s2c,
            stream_end=None if stream is None else stream.end,
            error=error,
            error_code=code,
        )

    def parts(self, exchange: Exchange, types: NativeTypes) -> Parts | None:
        """Return the parts of the line of an exchange's kind; None for one that has another form."""
        call, reply = exchange.call, exchange.reply
        is_fixed, subject = fixed_subject(self._objects, exchange)
        places = subject_places(exchange, subject, types)
        if not is_fixed or places is None or call is None or reply is None:
            return None
        if None in (call.packet, reply.packet, exchange.latency_ns):
            return None
        row: Any = self._row(exchange)
        name, uuid = places
        if subject is not None:
            row.object_name = None if name is None else _VALUE
            row.object_uuid = None if uuid is None else msgspec.Raw(b'"\1"')
        values: list[slots.Part] = []
        for field, value in _SLOTS.items():
            setattr(row, field, _VALUE)
            values.append(value)
        if name is not None:
            values.append((slots.NAME_JSON | name[0], *name[1:]))
        if uuid is not None:
            values.append((slots.UUID_TEXT | uuid[0], *uuid[1:]))
        if exchange.failures:
            row.error = row.error_code = _VALUE
            values += [slots.ERROR_JSON | slots.OF_REPLY, slots.ERROR_CODE | slots.OF_REPLY]
        pieces = (self._encode(row) + b"\n").split(b"\1")
        return joined(pieces, tuple(values)) if len(pieces) == len(values) + 1 else None


#: Values of usual exchanges that differ, in the order of ExchangeRow.
_SLOTS: Final = {
    "n": slots.EXCHANGE,
    "conn": slots.CONN,
    "serial": slots.SERIAL,
    "overtaken": slots.OVERTAKEN,
    "bytes_c2s": slots.LENGTH,
    "bytes_s2c": slots.LENGTH | slots.OF_REPLY,
    "time_ns": slots.TIME_NS,
    "latency_ns": slots.LATENCY,
    "call_n": slots.NUMBER,
    "call_frame": slots.PACKET,
    "reply_n": slots.NUMBER | slots.OF_REPLY,
    "reply_frame": slots.PACKET | slots.OF_REPLY,
}


def _place(captured: Captured | None) -> tuple[int | None, int | None]:
    """Return the number of a message, and of the packet that completes it."""
    return (None, None) if captured is None else (captured.n, captured.packet)
