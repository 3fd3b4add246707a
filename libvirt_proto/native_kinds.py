"""Kinds of messages that the native core has learned from messages that Python has read.

A kind is a header without its serial, and the direction. The core only reads messages of kinds that
it has learned, and whose payload the header alone determines.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import TYPE_CHECKING, Any, Final

import msgspec

from .events import Captured, Connection, Direction
from .native import core
from .native_plan import has_file
from .native_types import NativeTypes, native_types
from .routine import RoutineKind
from .rpc.message import Header, Message, MessageDecoder, Status, Type, settled_place
from .rpc.wire import MAX_FRAME, MIN_FRAME, REMOTE_PROGRAM, START
from .session import stream_direction

if TYPE_CHECKING:
    from .native import Columns, Scanner
    from .registry import Registry

#: Messages after which the native core is worth it: with the plan in a file, and with one that is built
#: (a quarter of a second).
WORTH: Final = (32, 4096)
#: Kinds that are learned; libvirt has about 2,000.
_MAX_KINDS: Final = 8192
_KEY: Final = Struct(">IIiii")
_DIRECTIONS: Final = {"c2s": b"\0", "s2c": b"\1"}
#: In place of a row: no payload, and bytes without a type.
_NO_ROW: Final = 0xFFFFFFFF
_ANY_BYTES: Final = 0xFFFFFFFE
_FAILED: Final = Status.VIR_NET_ERROR
#: Data of a stream.
_DATA: Final = (Type.VIR_NET_STREAM, Status.VIR_NET_CONTINUE)
#: Calls, and replies without an error.
_ROUTINE: Final = frozenset(
    (
        (Type.VIR_NET_CALL, "c2s", Status.VIR_NET_OK),
        (Type.VIR_NET_REPLY, "s2c", Status.VIR_NET_OK),
    )
)
#: A security layer may begin after these.
_SASL: Final = frozenset((68, 69))


class JsonDecoder(MessageDecoder):
    """Decodes frames for a presenter: their payloads are JSON (msgspec.Raw) where the native core can read
    them, so that their types are not loaded. Only for a registry whose plan is in a file.

    With `explained`, the payloads of errors are values.
    """

    def __init__(self, registry: Registry, *, explained: bool) -> None:
        super().__init__(registry)
        self._explained = explained
        self._types = native_types(registry)
        #: Program, version, procedure, type, status → the last two as members, the row and the name of the
        #: payload's type, both None without a payload.
        self._kinds: dict[
            tuple[int, int, int, int, int], tuple[Type | int, Status | int, int | None, str | None]
        ] = {}

    def decode(self, data: bytes, direction: str | None = None, missing: int = 0) -> Message:
        """Decode a frame: see MessageDecoder."""
        if not missing and MIN_FRAME <= len(data) <= MAX_FRAME:
            length, prog, vers, proc, type_, serial, status = START.unpack_from(data)
            if length == len(data):
                kind = self._kinds.get((prog, vers, proc, type_, status))
                if kind is None:
                    kind = self._kind(prog, vers, proc, type_, status)
                if kind is not None:
                    type_, status, row, name = kind
                    json = None if row is None else self._types.plan.json(row, data, MIN_FRAME)
                    if json is not None or (row is None and length == MIN_FRAME):
                        payload = None if json is None else msgspec.Raw(json)
                        return Message(
                            Header(prog, vers, proc, type_, serial, status), length, None, name, payload
                        )
        return super().decode(data, direction, missing)

    def _kind(
        self, prog: int, vers: int, proc: int, type_: int, status: int
    ) -> tuple[Type | int, Status | int, int | None, str | None] | None:
        """Return what messages of a kind have in common; None for a kind that Python reads."""
        header = Header(prog, vers, proc, type_, 0, status)
        settled, place = settled_place(header, self._registry)
        row = None if place is None else self._types.row_at(place)
        if not settled or (place is not None and row is None) or (self._explained and status == _FAILED):
            return None
        kind = (Type(type_), Status(status), row, None if place is None else place.partition(".")[2])
        if len(self._kinds) < _MAX_KINDS:
            self._kinds[prog, vers, proc, type_, status] = kind
        return kind


class Learning:
    """The native core of one pass: `scanner` is None until enough messages have passed."""

    #: Whether the core gives messages as objects.
    objects = False
    #: Where it writes rows instead, if it does.
    columns: Columns | None = None

    def __init__(self, registry: Registry) -> None:
        self.scanner: Scanner | None = None
        self._registry = registry
        self._types: NativeTypes | None = None
        self._seen = 0
        self._known: set[bytes] = set()
        self._exchanges: set[bytes] = set()

    def add(self, captured: Captured, parts_of: Callable[[Captured], tuple[Any, ...] | None]) -> None:
        """Learn the kind of a message, unless its parts are None."""
        self._seen += 1
        if self.scanner is None:
            if self._seen < WORTH[not has_file(self._registry)]:
                return
            self._build()
        header, direction = captured.message.header, captured.direction
        # Clocks begin with the first time: the core gets none before Python has seen one.
        if direction is None or captured.time_ns is None or len(self._known) >= _MAX_KINDS:
            return
        key = _key(header, direction)
        if key in self._known or (header.prog == REMOTE_PROGRAM and header.proc in _SASL):
            return
        settled, row = self._row(header)
        parts = parts_of(captured) if settled and row is not None else None
        if parts is None or row is None:
            return
        self._known.add(key)
        assert self.scanner is not None
        self.scanner.learn(key, row, header.status == 1, parts)

    def decoder(self) -> MessageDecoder:
        """Return the decoder of the messages that Python reads."""
        return MessageDecoder(self._registry)

    def _row(self, header: Header) -> tuple[bool, int | None]:
        """Return whether the header alone determines the payload, and the payload's row."""
        if (header.type, header.status) == _DATA:
            return True, _ANY_BYTES
        settled, place = settled_place(header, self._registry)
        assert self._types is not None
        return settled, _NO_ROW if place is None else self._types.row_at(place)

    def add_exchange(
        self, reply: Captured, parts_of: Callable[[NativeTypes], tuple[Any, ...] | None]
    ) -> None:
        """Learn the exchanges that a kind of reply completes, unless their parts are None."""
        header = reply.message.header
        if self.scanner is None or reply.direction is None:
            return
        key = _key(header, reply.direction)
        if key in self._exchanges or key not in self._known:
            return
        self._exchanges.add(key)
        assert self._types is not None
        parts = parts_of(self._types)
        if parts is not None:
            self.scanner.learn_exchange(key, parts)

    def _build(self) -> None:
        native = core()
        assert native is not None
        self._types = native_types(self._registry)
        classes = (Captured, Message, Header) if self.objects else ()
        rows = {} if self.columns is None else {"columns": self.columns}
        self.scanner = native.Scanner(self._types.plan, self._types.fault_names, *classes, **rows)


def _key(header: Header, direction: Direction) -> bytes:
    numbers = _KEY.pack(header.prog, header.vers, header.proc, header.type, header.status)
    return numbers + _DIRECTIONS[direction]


class NativeMessages(Learning):
    """The native core of a pass that gives messages."""

    objects = True

    @property
    def start_ns(self) -> int | None:
        """None: messages have times since the epoch."""
        return None

    def connection(self, connection: Connection) -> Connection:
        """Return a connection: messages refer to it."""
        return connection

    def learn(self, captured: Captured) -> None:
        """Learn the kind of a message that Python has read."""
        self.add(captured, _fields)

    def hide(self, captured: Captured) -> None:
        """Do nothing: filters see every message."""


class RoutineMessages(NativeMessages):
    """The native core of a pass that gives messages, and routine exchanges as rows: those of procedures that
    `takes` accepts."""

    def __init__(self, registry: Registry, takes: Callable[[Header], bool]) -> None:
        super().__init__(registry)
        #: By the number of a kind.
        self.routine: dict[int, RoutineKind] = {}
        self._takes = takes
        self._tried: set[bytes] = set()

    def learn(self, captured: Captured) -> None:
        """Learn the kind of a message that Python has read."""
        super().learn(captured)
        message, direction = captured.message, captured.direction
        if self.scanner is None or direction is None:
            return
        header = message.header
        key = _key(header, direction)
        if key in self._tried or key not in self._known:
            return
        self._tried.add(key)
        if (header.type, direction, header.status) in _ROUTINE and self._is_simple(header):
            number = self.scanner.learn_routine(key)
            if number is not None:
                self.routine[number] = RoutineKind(header, message.payload_type)

    def _is_simple(self, header: Header) -> bool:
        """Return whether a procedure is accepted, and opens no stream."""
        procedure = self._registry.procedure(header.prog, header.vers, header.proc)
        return procedure is not None and stream_direction(procedure) is None and self._takes(header)


def _fields(captured: Captured) -> tuple[Any, ...] | None:
    """Return the parts that messages of a kind share; None for an unusual message."""
    message, header = captured.message, captured.message.header
    if (
        message.error is not None
        or message.raw is not None
        or message.fds is not None
        or message.spare
        or message.remarks
        or message.missing
    ):
        return None
    return (header.prog, header.vers, header.proc, header.type, header.status, message.payload_type)
