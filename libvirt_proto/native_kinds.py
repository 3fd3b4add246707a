"""Kinds of messages that the native core has learned from messages that Python has read.

A kind is what a header says without its serial, and the direction. The core only reads messages of kinds that
it has learned, and whose payload the header alone determines.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import TYPE_CHECKING, Any, Final

from .events import Captured, Connection, Direction
from .native import core
from .native_plan import has_file
from .native_types import NativeTypes, native_types
from .rpc.message import Header, Message, Status, Type, settled_type
from .rpc.wire import REMOTE_PROGRAM

if TYPE_CHECKING:
    from .native import Scanner
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
#: Data of a stream.
_DATA: Final = (Type.VIR_NET_STREAM, Status.VIR_NET_CONTINUE)
#: A security layer may begin after these.
_SASL: Final = frozenset((68, 69))


class Learning:
    """The native core of one pass: `scanner` is None until enough messages have passed."""

    #: Whether the core gives messages as objects.
    objects = False

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
        if direction is None or len(self._known) >= _MAX_KINDS:
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

    def _row(self, header: Header) -> tuple[bool, int | None]:
        """Return whether the header alone determines the payload, and the payload's row."""
        if (header.type, header.status) == _DATA:
            return True, _ANY_BYTES
        settled, type_ = settled_type(header, self._registry)
        assert self._types is not None
        return settled, _NO_ROW if type_ is None else self._types.row(type_)

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
        self.scanner = native.Scanner(self._types.plan, self._types.fault_names, *classes)


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
