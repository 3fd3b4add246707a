"""Lines that the native core writes: it learns the line of each kind of message from a presenter's own.

The core is a C extension (`_native.c`), and optional. What it leaves, Python does; the output is the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from struct import Struct
from typing import TYPE_CHECKING, Final, Protocol

from ..native import core
from ..native_plan import has_file, plan_of
from ..rpc.message import settled_type
from ..rpc.wire import REMOTE_PROGRAM

if TYPE_CHECKING:
    from ..events import Captured, Connection
    from ..jsonlines.presenter import JsonLinesPresenter
    from ..native import Scanner
    from ..registry import Registry
    from .monitor import MonitorPresenter

#: Parts of a line: text, or the number of one of these values.
NUMBER, TIME_NS, CLOCK, CONN, LENGTH, SERIAL, PAYLOAD, PACKET, FAULT = range(1, 10)
Parts = tuple[bytes | int, ...]

_KEY: Final = Struct(">IIiii")
_DIRECTIONS: Final = {"c2s": b"\0", "s2c": b"\1"}
#: Messages after which the native core is worth it: with the plan in a file, and with one that is built.
WORTH: Final = (32, 4096)
#: Kinds that are learned; libvirt has about 2,000.
_MAX_KINDS: Final = 8192
_NO_ROW: Final = 0xFFFFFFFF
#: A security layer may begin after these.
_SASL: Final = frozenset((68, 69))


class LinesPresenter(Protocol):
    """A presenter whose lines can be learned."""

    @property
    def start_ns(self) -> int | None:
        """Where the clock of the lines starts."""

    def parts(self, captured: Captured) -> Parts | None:
        """Return the parts of the line of a message's kind; None for a message that has another form."""

    def connection(self, connection: Connection) -> bytes:
        """Return the text of a connection in a line."""


class JsonLines:
    """Lines of the JsonLinesPresenter."""

    def __init__(self, presenter: JsonLinesPresenter) -> None:
        self._presenter = presenter

    @property
    def start_ns(self) -> int | None:
        """None: times are absolute."""
        return None

    def connection(self, connection: Connection) -> bytes:
        """Return the name of a connection as JSON."""
        return self._presenter.conn(connection)

    def parts(self, captured: Captured) -> Parts | None:
        """Return the parts of a line."""
        if captured.packet is None or not self._presenter.is_plain(captured):
            return None
        pieces = re.split(rb"[\1\2]", self._presenter.placeholders(captured))
        slots = (NUMBER, TIME_NS, CONN, LENGTH, SERIAL, PAYLOAD, PACKET)
        return _joined(pieces, slots) if len(pieces) == len(slots) + 1 else None


class MonitorLines:
    """Lines of the MonitorPresenter."""

    def __init__(self, presenter: MonitorPresenter) -> None:
        self._presenter = presenter

    def connection(self, connection: Connection) -> bytes:
        """Return the column of a connection."""
        return self._presenter.column(connection)

    @property
    def start_ns(self) -> int | None:
        """Where the clock starts."""
        return self._presenter.clock.start_ns

    def parts(self, captured: Captured) -> Parts | None:
        """Return the parts of a line."""
        form = self._presenter.plain_form(captured)
        if form is None:
            return None
        pieces = [piece.replace(b"%%", b"%") for piece in re.split(rb"%[bd]", form.replace(b"%%", b"\0"))]
        if len(pieces) != 5 or b"\0" in form:
            return None
        parts = _joined(pieces, (CLOCK, CONN, SERIAL, LENGTH))
        return parts if captured.message.header.status != 1 else (*parts[:-1], FAULT, b"\n")


def _joined(pieces: list[bytes], slots: tuple[int, ...]) -> Parts:
    """Return texts and values in turn, without empty texts."""
    every = [part for pair in zip(pieces, slots, strict=False) for part in pair] + [pieces[-1]]
    return tuple(part for part in every if part != b"")


class NativeLines:
    """The native core of one pass: `scanner` is None until enough messages have passed."""

    def __init__(self, registry: Registry, presenter: LinesPresenter) -> None:
        self.scanner: Scanner | None = None
        self._registry = registry
        self._presenter = presenter
        self._rows: dict[str, int] = {}
        self._seen = 0
        self._known: set[bytes] = set()

    @property
    def start_ns(self) -> int | None:
        """Where the clock of the lines starts."""
        return self._presenter.start_ns

    def connection(self, connection: Connection) -> bytes:
        """Return the text of a connection."""
        return self._presenter.connection(connection)

    def learn(self, captured: Captured) -> None:
        """Learn the line of a message that Python has presented."""
        self._learn(captured, self._presenter.parts)

    def hide(self, captured: Captured) -> None:
        """Learn that messages of this kind are not shown."""
        if not captured.message.malformed:
            self._learn(captured, lambda _: ())

    def _learn(self, captured: Captured, parts_of: Callable[[Captured], Parts | None]) -> None:
        self._seen += 1
        if self.scanner is None:
            if self._seen < WORTH[not has_file(self._registry)]:
                return
            self._build()
        header, direction = captured.message.header, captured.direction
        if direction is None or len(self._known) >= _MAX_KINDS:
            return
        key = (
            _KEY.pack(header.prog, header.vers, header.proc, header.type, header.status)
            + _DIRECTIONS[direction]
        )
        if key in self._known or (header.prog == REMOTE_PROGRAM and header.proc in _SASL):
            return
        settled, type_ = settled_type(header, self._registry)
        row = _NO_ROW if type_ is None else self._rows.get(type_.name)
        parts = parts_of(captured) if settled and row is not None else None
        if parts is None or row is None:
            return
        self._known.add(key)
        assert self.scanner is not None
        self.scanner.learn(key, row, header.status == 1, parts)

    def _build(self) -> None:
        native = core()
        assert native is not None
        plan = plan_of(self._registry)
        self._rows = plan.rows
        self.scanner = native.Scanner(native.Plan(plan.words, plan.text), plan.fault_names)
