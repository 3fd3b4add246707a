"""Messages and exchanges of a capture, with the names of their numbers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ..events import Captured
from ..jsonlines.presenter import JsonLinesPresenter
from ..rpc.names import Names
from ..rpc.reported import LibvirtError, reported_error

if TYPE_CHECKING:
    from ..errors import ProtocolError
    from ..events import Connection, Direction
    from ..presenters.exchanges import JsonLinesExchangePresenter
    from ..registry import Registry
    from ..rpc.message import Header, Message, Status, Type
    from ..session import Exchange, Outcome, Stream

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Context:
    """State that the messages of a capture share: names of numbers, and JSON presenters."""

    def __init__(self, registry: Registry, redacted: str | None) -> None:
        self._registry = registry
        self._redacted = redacted
        self.names: Final = Names(registry)

    @cached_property
    def json(self) -> JsonLinesPresenter:
        """Messages as JSON lines."""
        return JsonLinesPresenter(self._registry, None, self._redacted)

    @cached_property
    def exchange_json(self) -> JsonLinesExchangePresenter:
        """Exchanges as JSON lines."""
        from ..presenters.exchanges import JsonLinesExchangePresenter  # with all presenters of messages

        return JsonLinesExchangePresenter(self._registry, None, self._redacted)


class CapturedMessage(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A message, with when and where it was seen. `message` is what `decode_message` returns for its frame,
    `captured` is the value without names that readers give."""

    # A Struct, because every message makes one.
    captured: Captured
    _context: Context

    def __repr__(self) -> str:
        header = self.message.header
        program = self.program or f"{header.prog:#010x}"
        what = f"{program}.{self.procedure or header.proc} {self.to_dict()['type']} #{header.serial}"
        return f"<CapturedMessage {self.n}: {what} {self.direction or '?'}>"

    @property
    def n(self) -> int:
        """Number of the message in its input, from 1."""
        return self.captured.n

    @property
    def frame(self) -> int | None:
        """Number of the packet that completes the message, as Wireshark's `frame.number`; None for an input
        without packets."""
        return self.captured.packet

    @property
    def time_ns(self) -> int | None:
        """Nanoseconds since the epoch; None for an input without a clock."""
        return self.captured.time_ns

    @property
    def time(self) -> datetime | None:
        """Time in UTC, cut to microseconds; None without a clock, or outside the range of datetime."""
        return _time(self.captured.time_ns)

    @property
    def connection(self) -> Connection:
        """The connection; str() gives its name, such as `192.0.2.7:40508-192.0.2.1:16509`."""
        return self.captured.connection

    @property
    def direction(self) -> Direction | None:
        """`c2s` (client to server), `s2c`, or None for unknown."""
        return self.captured.direction

    @property
    def message(self) -> Message:
        """Header, payload and what is known of their bytes."""
        return self.captured.message

    @property
    def program(self) -> str | None:
        """Name of the program, such as `remote`; None for an unknown number."""
        return self._context.names.of(self.captured.message.header)[0]

    @property
    def procedure(self) -> str | None:
        """Name of the procedure, such as `domain_get_info`; None for an unknown number."""
        return self._context.names.of(self.captured.message.header)[1]

    @property
    def type(self) -> Type | int:
        """Type from the header; a plain int for an unknown number."""
        return self.captured.message.header.type

    @property
    def status(self) -> Status | int:
        """Status from the header; a plain int for an unknown number."""
        return self.captured.message.header.status

    @property
    def serial(self) -> int:
        """Serial from the header, which a reply shares with its call."""
        return self.captured.message.header.serial

    @property
    def payload(self) -> Any:
        """The payload as a value of its generated class; a Partial where it is malformed, None for none."""
        return self.captured.message.payload

    @property
    def error(self) -> LibvirtError | None:
        """The error that the server reports with this message; None for every other message, and for a report
        that is malformed."""
        return reported_error(self.captured.message)

    @property
    def problem(self) -> ProtocolError | None:
        """The reason why the payload could not be decoded, None for a good one."""
        return self.captured.message.error

    def to_dict(self) -> dict[str, Any]:
        """Return the object that `libvirt-proto decode --format jsonl` writes (docs/json.md)."""
        return _decoded(self._context.json(self.captured))


class CapturedExchange:
    """A call with its reply and its stream, or the part of them that was seen. `exchange` is the value that
    pairing gives, without names."""

    __slots__ = ("_context", "exchange")

    def __init__(self, exchange: Exchange, context: Context) -> None:
        self.exchange: Final = exchange
        self._context = context

    def __repr__(self) -> str:
        header = self._header
        program = self.program or f"{header.prog:#010x}"
        what = f"{program}.{self.procedure or header.proc} #{header.serial}"
        return f"<CapturedExchange {self.n}: {what} {self.outcome}>"

    @property
    def n(self) -> int:
        """Number of the exchange in its input, from 1, in the order of completion."""
        return self.exchange.n

    @property
    def time_ns(self) -> int | None:
        """Time of the first message in nanoseconds since the epoch; None without a clock."""
        return self.exchange.first_ns

    @property
    def time(self) -> datetime | None:
        """Time of the first message in UTC; see CapturedMessage.time."""
        return _time(self.exchange.first_ns)

    @property
    def connection(self) -> Connection:
        """The connection."""
        return self.exchange.connection

    @property
    def outcome(self) -> Outcome:
        """`ok`, `error`, `unanswered`, `pending`, …: see docs/statistics.md."""
        return self.exchange.outcome

    @property
    def program(self) -> str | None:
        """Name of the program; None for an unknown number."""
        return self._context.names.of(self._header)[0]

    @property
    def procedure(self) -> str | None:
        """Name of the procedure; None for an unknown number."""
        return self._context.names.of(self._header)[1]

    @property
    def serial(self) -> int:
        """Serial of all messages of the exchange."""
        return self._header.serial

    @property
    def call(self) -> CapturedMessage | None:
        """The call; None if it was not seen."""
        return self._message(self.exchange.call)

    @property
    def reply(self) -> CapturedMessage | None:
        """The reply; None if there is none."""
        return self._message(self.exchange.reply)

    @property
    def stream(self) -> Stream | None:
        """Figures of the stream that the call opened."""
        return self.exchange.stream

    @property
    def error(self) -> LibvirtError | None:
        """The error that the server replied, or that ended the stream."""
        errors = (reported_error(failure.message) for failure in self.exchange.failures)
        return next((error for error in errors if error is not None), None)

    @property
    def latency_ns(self) -> int | None:
        """Nanoseconds from the call to its reply; None unless both were seen, with a clock."""
        return self.exchange.latency_ns

    def to_dict(self) -> dict[str, Any]:
        """Return the object that `libvirt-proto decode --exchanges --format jsonl` writes (docs/json.md)."""
        return _decoded(self._context.exchange_json(self.exchange))

    @property
    def _header(self) -> Header:
        return self.exchange.header

    def _message(self, captured: Captured | None) -> CapturedMessage | None:
        return None if captured is None else CapturedMessage(captured, self._context)


def _time(time_ns: int | None) -> datetime | None:
    if time_ns is None:
        return None
    try:
        return _EPOCH + timedelta(microseconds=time_ns // 1000)
    except OverflowError:
        return None


def _decoded(line: bytes) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.json.decode(line)
    return fields
