"""Exchanges in the formats of messages: `pretty`, `monitor`, and lines of JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ..access import Accesses
from ..jsonlines import presenter as jsonl
from ..rpc.names import Names
from ..rpc.objects import NamedObject, ObjectFinder, Place
from ..session import Exchange, Outcome, Stream, StreamEnd
from ..text import amount, duration, printable, quoted, resolution, size
from . import pretty
from .clock import Clock, TimeStyle
from .monitor import fault, sided
from .style import PLAIN, Palette

if TYPE_CHECKING:
    from ..codec.xdrtype import XdrType
    from ..events import Connection
    from ..registry import Registry
    from ..rpc.message import Message

#: Columns that most outcomes fit into.
_OUTCOME: Final = 11
#: Columns of the name of an object, which may be megabytes long.
_MAX_NAME: Final = 80
_ARROWS: Final = ("→ ", "← ", "← ")
#: A placeholder in a form, for a value that differs between exchanges of a kind. No name has it.
_VALUE: Final = "\1"
_JSON: Final = msgspec.Raw(_VALUE.encode())

#: The message with the subject of an exchange, the type of its payload, and the place; None without a
#: subject.
Subject = tuple["Message", "XdrType", Place] | None


def fixed_subject(objects: ObjectFinder, exchange: Exchange) -> tuple[bool, Subject]:
    """Return whether exchanges of this kind are a call and its reply without a stream, whose types determine
    where the subject is; and the subject."""
    call, reply = exchange.call, exchange.reply
    if call is None or reply is None or exchange.stream is not None or exchange.connection.side is not None:
        return False, None
    for part in (call, reply):
        message = part.message
        unusual = message.error is not None or message.raw is not None or message.fds is not None
        if unusual or message.spare or message.remarks or message.missing or part.sightings:
            return False, None
    return objects.fixed_subject(call.message, reply.message)


class StreamObject(msgspec.Struct):
    """The traffic of a stream. `duration_ns` and `bytes_per_second` are null without a clock; `error` is the
    server's message that ended it, in the format of messages."""

    bytes_c2s: int
    bytes_s2c: int
    messages: int
    holes: int
    hole_bytes: int
    duration_ns: int | None
    bytes_per_second: int | None
    end: StreamEnd
    error: jsonl.MessageLine | None


class ExchangeLine(msgspec.Struct):
    """One line of JSON, in the order of its keys. `time_ns` is the time of the first message; `call` and
    `reply` have the format of messages (jsonlines.presenter.MessageLine)."""

    n: int
    time_ns: int | None
    conn: str
    outcome: Outcome
    prog: int
    program: str | None
    vers: int
    proc: int
    procedure: str | None
    serial: int
    latency_ns: int | None
    overtaken: int
    messages: int
    bytes_c2s: int
    bytes_s2c: int
    call: jsonl.MessageLine | None
    reply: jsonl.MessageLine | None
    stream: StreamObject | None
    object: NamedObject | None


class JsonLinesExchangePresenter:
    """Exchange → a line of JSON with its newline, in UTF-8."""

    def __init__(
        self, registry: Registry, accesses: Accesses | None = None, redacted: str | None = None
    ) -> None:
        self._names = Names(registry)
        self._objects = ObjectFinder(registry)
        self._message = jsonl.JsonLinesPresenter(registry, accesses, redacted)
        self._encode = msgspec.json.Encoder().encode

    def __call__(self, exchange: Exchange) -> bytes:
        """Return the line of an exchange."""
        return self._encode(self.line(exchange)) + b"\n"

    def form(self, exchange: Exchange, subject: Subject) -> bytes:
        """Return the line of an exchange, with placeholders for n, time, connection, serial, latency,
        overtaken, bytes, call, reply, and the name and UUID of the subject."""
        line: Any = self.line(exchange)
        line.n = line.time_ns = line.conn = line.serial = line.latency_ns = line.overtaken = _JSON
        line.bytes_c2s = line.bytes_s2c = line.call = line.reply = _JSON
        if subject is not None:
            _, _, place = subject
            name = None if place.name is None else _JSON
            uuid = None if place.uuid is None else msgspec.Raw(b'"\1"')
            line.object = {"kind": place.kind, "name": name, "uuid": uuid}
        return self._encode(line) + b"\n"

    def fixed_subject(self, exchange: Exchange) -> tuple[bool, Subject]:
        """Return whether the kind of an exchange determines its form, and its subject."""
        return fixed_subject(self._objects, exchange)

    @property
    def messages(self) -> jsonl.JsonLinesPresenter:
        """The presenter of call and reply."""
        return self._message

    def line(self, exchange: Exchange) -> ExchangeLine:
        """Return the object of a line."""
        header, message = exchange.header, self._message
        program, procedure = self._names.of(header)
        return ExchangeLine(
            exchange.n,
            exchange.first_ns,
            jsonl.connection_name(exchange.connection),
            exchange.outcome,
            header.prog,
            program,
            header.vers,
            header.proc,
            procedure,
            header.serial,
            exchange.latency_ns,
            exchange.overtaken,
            exchange.messages,
            exchange.bytes_c2s,
            exchange.bytes_s2c,
            message.line(exchange.call) if exchange.call else None,
            message.line(exchange.reply) if exchange.reply else None,
            self._stream(exchange.stream) if exchange.stream else None,
            _subject(self._objects, exchange),
        )

    def _stream(self, stream: Stream) -> StreamObject:
        speed = stream.bytes_per_second
        timed = stream.start_ns is not None and stream.last_ns is not None
        return StreamObject(
            stream.bytes_c2s,
            stream.bytes_s2c,
            stream.messages,
            stream.holes,
            stream.hole_bytes,
            stream.last_ns - stream.start_ns if timed else None,  # type: ignore[operator]
            None if speed is None else round(speed),
            stream.end,
            self._message.line(stream.error) if stream.error else None,
        )


class MonitorExchangePresenter:
    """Exchange → a line in the style of the libvirt script rpc-monitor, without its newline.

        0.002 C = [::1]:40508-[::1]:16509 msg=remote.1.domain_resume("vm1")(ok, 2) len=56+28 took=0.000131

    The object of a call follows its name. `len` is the bytes from the client and from the server, `took` the
    seconds between call and reply, with the decimals that the clock has.
    """

    def __init__(
        self,
        registry: Registry,
        palette: Palette = PLAIN,
        accesses: Accesses | None = None,
        *,
        times: TimeStyle = "relative",
    ) -> None:
        self._names = Names(registry)
        self._objects = ObjectFinder(registry)
        self._palette = palette
        self._accesses = accesses
        self.clock = Clock(times, 3)

    def __call__(self, exchange: Exchange) -> str:
        """Return the line of an exchange."""
        return self._line(
            exchange,
            (self.clock(exchange.first_ns), self.column(exchange.connection)),
            _parenthesised(_subject(self._objects, exchange)),
            (str(exchange.header.serial), str(exchange.bytes_c2s), str(exchange.bytes_s2c), _took(exchange)),
            "".join(self._more(exchange)),
        )

    def form(self, exchange: Exchange, subject: Subject) -> str | None:
        """Return the line of an exchange, with placeholders for time, connection, name of the subject,
        serial, bytes, duration, and what follows; None if lines of its kind differ in more than these."""
        failed = bool(exchange.failures)
        if self._accesses is not None or not self.clock.is_relative or (failed and self._palette.bad):
            return None
        name = "" if subject is None else f'("{_VALUE}")'
        return self._line(exchange, (_VALUE, _VALUE), name, (_VALUE, _VALUE, _VALUE, _VALUE), _VALUE)

    def fixed_subject(self, exchange: Exchange) -> tuple[bool, Subject]:
        """Return whether the kind of an exchange determines its form, and its subject."""
        return fixed_subject(self._objects, exchange)

    def column(self, connection: Connection) -> str:
        """Return the column of a connection."""
        return f"{printable(str(connection)):<16}"

    def _line(
        self,
        exchange: Exchange,
        begin: tuple[str, str],
        subject: str,
        values: tuple[str, str, str, str],
        more: str,
    ) -> str:
        header, colour = exchange.header, self._palette
        time, connection = begin
        serial, sent, received, took = values
        program, procedure = self._names.of(header)
        name = f"{program or f'unknown:{header.prog}'}.{header.vers}.{procedure or f'unknown:{header.proc}'}"
        shade = _shade(exchange, colour)
        return (
            f"{time}{sided('=', exchange.connection.side)} "
            f"{colour.quiet}{connection}{colour.off} "
            f"msg={colour.name}{name}{subject}{colour.off}"
            f"({shade}{exchange.outcome}{colour.off}, {serial})"
            f" len={sent}+{received} took={took}{more}"
        )

    def _more(self, exchange: Exchange) -> Iterator[str]:
        call, reply, stream = exchange.call, exchange.reply, exchange.stream
        fds = [part.message.fds if part else None for part in (call, reply)]
        if any(count is not None for count in fds):
            yield f" fds={fds[0] or 0}+{fds[1] or 0}"
        if exchange.overtaken:
            yield f" overtaken={exchange.overtaken}"
        if stream is not None:
            yield f" stream={stream.bytes_c2s}+{stream.bytes_s2c} end={stream.end}"
            if stream.holes:
                yield f" holes={stream.holes}:{stream.hole_bytes}"
        access = self._accesses.of(call) if self._accesses and call else None
        if access:
            yield f" {access}"
        for part in (call, reply, stream.error if stream else None):
            if part:
                yield fault(part.message, self._palette)


class PrettyExchangePresenter:
    """Exchange → lines for people, without newlines: a head, then call, reply and stream below it."""

    def __init__(
        self,
        registry: Registry,
        palette: Palette = PLAIN,
        accesses: Accesses | None = None,
        *,
        full: bool = False,
        redacted: str | None = None,
        times: TimeStyle = "relative",
    ) -> None:
        self._names = Names(registry)
        self._objects = ObjectFinder(registry)
        self._palette = palette
        self._message = pretty.PrettyPresenter(
            registry, palette, accesses, full=full, redacted=redacted, times=times
        )
        self.clock = self._message.clock

    def __call__(self, exchange: Exchange) -> str:
        """Return the lines of an exchange, joined."""
        return "\n".join(self.lines(exchange))

    def lines(self, exchange: Exchange) -> Iterator[str]:
        """Yield the lines of an exchange."""
        colour = self._palette
        yield from self._message.introduction(exchange.connection)
        yield self._head(exchange)
        stream = exchange.stream
        parts = (exchange.call, exchange.reply, stream.error if stream else None)
        for arrow, part in zip(_ARROWS, parts, strict=True):
            for line in self._message.body(part) if part else ():
                yield f"{' ' * (len(pretty.INDENT) - 2)}{arrow}{line.removeprefix(pretty.INDENT)}"
                arrow = "  "
        if stream is not None:
            yield f"{pretty.INDENT}{colour.field}stream:{colour.off} {self._stream(stream)}"

    def _head(self, exchange: Exchange) -> str:
        header, colour = exchange.header, self._palette
        program, procedure = self._names.of(header)
        name = f"{program or f'{header.prog:#010x}'}.{procedure or header.proc}"
        subject = _parenthesised(_subject(self._objects, exchange))
        gap = " " * (_OUTCOME - len(exchange.outcome))
        return (
            f"{self._message.time(exchange.first_ns)}{exchange.connection.id:>2} ⇄"
            f" {colour.quiet}#{header.serial:<4}{colour.off}"
            f" {_shade(exchange, colour)}{exchange.outcome}{colour.off}{gap}"
            f" {colour.name}{name}{subject}{colour.off}  {', '.join(self._facts(exchange))}"
        )

    def _facts(self, exchange: Exchange) -> Iterator[str]:
        colour = self._palette
        if exchange.latency_ns is not None:
            yield f"{colour.name}{duration(exchange.latency_ns, _resolution(exchange))}{colour.off}"
        sent, received = exchange.bytes_c2s, exchange.bytes_s2c
        yield f"{colour.quiet}{sent:,} + {received:,} bytes{colour.off}"
        for what, part in (("sent", exchange.call), ("received", exchange.reply)):
            if part and part.message.fds is not None:
                yield f"{amount(part.message.fds, 'descriptor')} {what}"
        if exchange.overtaken:
            yield f"{colour.warn}overtaken by {amount(exchange.overtaken, 'later call')}{colour.off}"
        if exchange.header.vers != 1:
            yield f"{colour.warn}version {exchange.header.vers}{colour.off}"

    def _stream(self, stream: Stream) -> str:
        colour = self._palette
        ways = [
            f"{amount(count, 'byte')} from the {side}"
            for side, count in (("client", stream.bytes_c2s), ("server", stream.bytes_s2c))
            if count
        ]
        parts = [f"{' and '.join(ways) or '0 bytes'} in {amount(stream.messages, 'message')}"]
        if stream.holes:
            parts.append(f"{amount(stream.holes, 'hole')} of {amount(stream.hole_bytes, 'byte')}")
        if stream.bytes_per_second:
            parts.append(f"{size(stream.bytes_per_second)}/s")
        shade = colour.bad if stream.end == "error" else "" if stream.end == "finished" else colour.warn
        return f"{', '.join(parts)}, {shade}{stream.end}{colour.off if shade else ''}"


def _subject(objects: ObjectFinder, exchange: Exchange) -> NamedObject | None:
    call, reply = exchange.call, exchange.reply
    return objects.subject(call.message if call else None, reply.message if reply else None)


def _parenthesised(subject: NamedObject | None) -> str:
    """Return `("vm1")`; "" without an object."""
    if subject is None:
        return ""
    name = str(subject)
    return f"({quoted(name if len(name) <= _MAX_NAME else name[: _MAX_NAME - 1] + '…')})"


def _resolution(exchange: Exchange) -> int:
    """Return the resolution of the clock, as far as the times of call and reply show it."""
    times = [part.time_ns for part in (exchange.call, exchange.reply) if part is not None]
    return resolution(*(time for time in times if time is not None))


def _took(exchange: Exchange) -> str:
    """Return the seconds of the latency, with the decimals that the clock has, at most six."""
    if exchange.latency_ns is None:
        return "-"
    decimals = {10**9: 0, 10**6: 3}.get(_resolution(exchange), 6)
    return f"{exchange.latency_ns / 1e9:.{decimals}f}"


def _shade(exchange: Exchange, palette: Palette) -> str:
    if exchange.failures:
        return palette.bad
    return palette.quiet if exchange.outcome == "ok" else palette.warn
