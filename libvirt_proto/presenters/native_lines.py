"""Lines that the native core writes: it learns the line of each kind of message from a presenter's own.

The core is a C extension (`_native.c`), and optional. What it leaves, Python does; the output is the same.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol

from ..native_kinds import JsonDecoder, Learning, NativeMessages
from ..native_plan import has_file
from ..rpc.message import Status, Type

if TYPE_CHECKING:
    from ..events import Captured, Connection
    from ..jsonlines.presenter import JsonLinesPresenter
    from ..native_types import NativeTypes
    from ..registry import Registry
    from ..rpc.message import MessageDecoder
    from ..session import Exchange
    from .exchanges import JsonLinesExchangePresenter, MonitorExchangePresenter, Subject
    from .monitor import MonitorPresenter

#: Parts of a line: text, or the number of one of these values.
NUMBER, TIME_NS, CLOCK, CONN, LENGTH, SERIAL, PAYLOAD, PACKET, FAULT, DATA = range(1, 11)
#: In the line of an exchange also one of these; values of messages are those of the call, or OF_REPLY. The
#: name or the UUID of the subject comes with its place: row of the payload's type, and numbers of fields.
EXCHANGE, LATENCY, TOOK, OVERTAKEN, OVERTAKEN_TEXT, NAME_TEXT, NAME_JSON, UUID_TEXT = range(11, 19)
ERROR_CODE, ERROR_JSON = range(19, 21)
OF_REPLY = 32
Part = bytes | int | tuple[int, ...]
Parts = tuple[Part, ...]


class LinesPresenter(Protocol):
    """A presenter whose lines can be learned."""

    @property
    def explains(self) -> bool:
        """True if lines have the errors that messages report, in words."""

    @property
    def start_ns(self) -> int | None:
        """The time at which the clock of the lines starts, in ns."""

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
        return joined(pieces, slots) if len(pieces) == len(slots) + 1 else None


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
        """The time at which the clock starts, in ns."""
        return self._presenter.clock.start_ns

    def parts(self, captured: Captured) -> Parts | None:
        """Return the parts of a line."""
        form = self._presenter.plain_form(captured)
        if form is None:
            return None
        pieces = [piece.replace(b"%%", b"%") for piece in re.split(rb"%[bd]", form.replace(b"%%", b"\0"))]
        if len(pieces) != 5 or b"\0" in form:
            return None
        parts = joined(pieces, (CLOCK, CONN, SERIAL, LENGTH))
        return parts if captured.message.header.status != 1 else (*parts[:-1], FAULT, b"\n")


def joined(pieces: list[bytes], slots: Parts) -> Parts:
    """Return texts and values in turn, without empty texts."""
    every: list[Part] = [part for pair in zip(pieces, slots, strict=False) for part in pair] + [pieces[-1]]
    return tuple(part for part in every if part != b"")


class NativeLines(Learning):
    """The native core of a pass that writes lines."""

    def __init__(self, registry: Registry, presenter: LinesPresenter) -> None:
        super().__init__(registry)
        self._presenter = presenter

    @property
    def start_ns(self) -> int | None:
        """The time at which the clock of the lines starts, in ns."""
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


class ExchangesPresenter(Protocol):
    """A presenter whose lines of exchanges can be learned."""

    @property
    def start_ns(self) -> int | None:
        """The start of the clock of the lines."""

    def parts(self, exchange: Exchange, types: NativeTypes) -> Parts | None:
        """Return the parts of the line of an exchange's kind; None for one that has another form."""

    def text(self, connection: Connection) -> bytes:
        """Return the text of a connection in a line."""


class JsonExchanges:
    """Lines of the JsonLinesExchangePresenter."""

    def __init__(self, presenter: JsonLinesExchangePresenter) -> None:
        self._presenter = presenter
        self._messages = JsonLines(presenter.messages)

    @property
    def start_ns(self) -> int | None:
        """None: times are absolute."""
        return None

    def text(self, connection: Connection) -> bytes:
        """Return the name of a connection as JSON."""
        return self._messages.connection(connection)

    def parts(self, exchange: Exchange, types: NativeTypes) -> Parts | None:
        """Return the parts of a line."""
        is_fixed, subject = self._presenter.fixed_subject(exchange)
        if not is_fixed or exchange.call is None or exchange.reply is None:
            return None
        call, reply = (self._messages.parts(each) for each in (exchange.call, exchange.reply))
        places = subject_places(exchange, subject, types)
        if call is None or reply is None or places is None:
            return None
        pieces = self._presenter.form(exchange, subject).split(b"\1")
        values = (EXCHANGE, TIME_NS, CONN, SERIAL, LATENCY, OVERTAKEN, LENGTH, LENGTH | OF_REPLY)
        name, uuid = places
        found = [(NAME_JSON | name[0], *name[1:])] if name else []
        found += [(UUID_TEXT | uuid[0], *uuid[1:])] if uuid else []
        if len(pieces) != len(values) + 3 + len(found):
            return None
        at = len(values)
        return (
            *joined(pieces[: at + 1], values),
            *_object(call),
            pieces[at + 1],
            *(part if isinstance(part, bytes) else part | OF_REPLY for part in _object(reply)),
            *joined(pieces[at + 2 :], tuple(found)),
        )


def _object(parts: Parts) -> tuple[bytes | int, ...]:
    """Return the parts of a message's line without its newline."""
    plain = [part for part in parts if not isinstance(part, tuple)]
    assert isinstance(plain[-1], bytes)
    return (*plain[:-1], plain[-1].removesuffix(b"\n"))


class MonitorExchanges:
    """Lines of the MonitorExchangePresenter, in an encoding."""

    def __init__(self, presenter: MonitorExchangePresenter, encoding: str) -> None:
        self._presenter = presenter
        self._encoding = encoding

    @property
    def start_ns(self) -> int | None:
        """The start of the clock."""
        return self._presenter.clock.start_ns

    def text(self, connection: Connection) -> bytes:
        """Return the column of a connection."""
        return self._bytes(self._presenter.column(connection))

    def parts(self, exchange: Exchange, types: NativeTypes) -> Parts | None:
        """Return the parts of a line."""
        is_fixed, subject = self._presenter.fixed_subject(exchange)
        form = self._presenter.form(exchange, subject) if is_fixed else None
        places = subject_places(exchange, subject, types)
        if form is None or places is None or self._bytes("0\n") != b"0\n":
            return None
        name, uuid = places
        found: Parts = ()
        if name is not None:
            found = ((NAME_TEXT | name[0], *name[1:]),)
        elif uuid is not None:
            found = ((UUID_TEXT | uuid[0], *uuid[1:]),)
        values = (CLOCK, CONN, *found, SERIAL, LENGTH, LENGTH | OF_REPLY, TOOK, OVERTAKEN_TEXT)
        pieces = [self._bytes(piece) for piece in form.split("\1")]
        if len(pieces) != len(values) + 1:
            return None
        fault = (FAULT | OF_REPLY,) if exchange.failures else ()
        return (*joined(pieces, values), *fault, b"\n")

    def _bytes(self, text: str) -> bytes:
        return text.encode(self._encoding, "backslashreplace")


_Place = tuple[int, ...] | None


def subject_places(exchange: Exchange, subject: Subject, types: NativeTypes) -> tuple[_Place, _Place] | None:
    """Return the places of the subject's name and UUID: OF_REPLY or 0, row, and fields. None if the core does
    not have the type."""
    if subject is None:
        return None, None
    message, type_, place = subject
    row = types.row(type_)
    if row is None:
        return None
    of = OF_REPLY if exchange.reply is not None and message is exchange.reply.message else 0
    name, uuid = (None if path is None else (of, row, *path) for path in (place.name, place.uuid))
    return name, uuid


class NativeExchanges(NativeMessages):
    """The native core of a pass that writes exchanges."""

    def __init__(self, registry: Registry, presenter: ExchangesPresenter) -> None:
        super().__init__(registry)
        self._presenter = presenter

    @property
    def start_ns(self) -> int | None:
        """The start of the clock of the lines."""
        return self._presenter.start_ns

    def text(self, connection: Connection) -> bytes:
        """Return the text of a connection in a line."""
        return self._presenter.text(connection)

    def learn_exchange(self, exchange: Exchange) -> None:
        """Learn the line of an exchange that Python has presented."""
        if _is_usual(exchange) and exchange.reply is not None:
            self.add_exchange(exchange.reply, lambda types: self._presenter.parts(exchange, types))

    def hide_exchange(self, exchange: Exchange) -> None:
        """Learn that exchanges of this kind are not shown."""
        if _is_usual(exchange) and exchange.reply is not None:
            self.add_exchange(exchange.reply, lambda _: ())


def _is_usual(exchange: Exchange) -> bool:
    """Return whether an exchange is a call and its reply, without a stream and descriptors."""
    call, reply = exchange.call, exchange.reply
    if (
        call is None
        or reply is None
        or exchange.stream is not None
        or exchange.outcome not in ("ok", "error")
    ):
        return False
    sent, got = call.message.header, reply.message.header
    return (
        (call.direction, sent.type, sent.status) == ("c2s", Type.VIR_NET_CALL, Status.VIR_NET_OK)
        and (reply.direction, got.type) == ("s2c", Type.VIR_NET_REPLY)
        and got.status in (Status.VIR_NET_OK, Status.VIR_NET_ERROR)
        and sent.proc == got.proc
        and not (call.message.malformed or reply.message.malformed)
    )
