"""Lines that the native core writes: it learns the line of each kind of message from a presenter's own.

The core is a C extension (`_native.c`), and optional. What it leaves, Python does; the output is the same.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol

from ..native_kinds import JsonDecoder, Learning
from ..native_plan import has_file

if TYPE_CHECKING:
    from ..events import Captured, Connection
    from ..jsonlines.presenter import JsonLinesPresenter
    from ..registry import Registry
    from ..rpc.message import MessageDecoder
    from .monitor import MonitorPresenter

#: Parts of a line: text, or the number of one of these values.
NUMBER, TIME_NS, CLOCK, CONN, LENGTH, SERIAL, PAYLOAD, PACKET, FAULT, DATA = range(1, 11)
Parts = tuple[bytes | int, ...]


class LinesPresenter(Protocol):
    """A presenter whose lines can be learned."""

    @property
    def explains(self) -> bool:
        """Whether lines have the errors that messages report, in words."""

    @property
    def start_ns(self) -> int | None:
        """Where the clock of the lines starts."""

    def parts(self, captured: Captured) -> Parts | None:
        """Return the parts of the line of a message's kind; None for a message that has another form."""

    def connection(self, connection: Connection) -> bytes:
        """Return the text of a connection in a line."""


class JsonLines:
    """Lines of the JsonLinesPresenter."""

    #: Errors are payloads like others.
    explains = False

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
        if captured.packet is None or not self._presenter.is_plain(captured, data=True):
            return None
        pieces = re.split(rb"[\1\2]", self._presenter.placeholders(captured))
        value = PAYLOAD if captured.message.data is None else DATA
        slots = (NUMBER, TIME_NS, CONN, LENGTH, SERIAL, value, PACKET)
        return _joined(pieces, slots) if len(pieces) == len(slots) + 1 else None


class MonitorLines:
    """Lines of the MonitorPresenter."""

    explains = True

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


class NativeLines(Learning):
    """The native core of a pass that writes lines."""

    def __init__(self, registry: Registry, presenter: LinesPresenter) -> None:
        super().__init__(registry)
        self._presenter = presenter

    @property
    def start_ns(self) -> int | None:
        """Where the clock of the lines starts."""
        return self._presenter.start_ns

    def connection(self, connection: Connection) -> bytes:
        """Return the text of a connection."""
        return self._presenter.connection(connection)

    def decoder(self) -> MessageDecoder:
        """Return the decoder of the messages that Python reads. Types need not be loaded where the plan is in
        a file."""
        if not has_file(self._registry):
            return super().decoder()
        return JsonDecoder(self._registry, explained=self._presenter.explains)

    def learn(self, captured: Captured) -> None:
        """Learn the line of a message that Python has presented."""
        self.add(captured, self._presenter.parts)

    def hide(self, captured: Captured) -> None:
        """Learn that messages of this kind are not shown."""
        if not captured.message.malformed:
            self.add(captured, lambda _: ())
