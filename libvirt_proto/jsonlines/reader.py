"""JSON lines, as written by presenter.py and edited by people, to messages and their frames.

Redundant keys must agree: a number and its name, `payload_type` and the header, `payload` and `raw`. Whoever
edits one edits the other, or deletes it. `n`, `frame`, `length`, `error` and `remarks` describe how a message
was received and are ignored; the length word is computed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ..blocks import LineTooLongError, Read, text_lines
from ..errors import BadValue, ProtocolError
from ..events import Captured, Connection, Direction, Notice, NoticeCode
from ..rpc.message import Header, Message, encode_message, payload_of
from ..rpc.names import STATUSES, TYPES
from ..rpc.wire import MAX_FRAME, TYPES_WITH_FDS
from .decode import base64_bytes, from_plain, hex_bytes, integer, shown
from .encode import to_plain
from .objects import ObjectSplitter
from .presenter import MessageLine

if TYPE_CHECKING:
    from ..codec.xdrtype import XdrType
    from ..registry import Registry

#: JSON needs more space than XDR: a byte of a string may take six as \u0000.
_MAX_LINE: Final = 8 * MAX_FRAME
_KEYS: Final = frozenset(MessageLine.__struct_fields__)
_ADDRESS: Final = re.compile(r".*:\d+")
_NAMESAKE: Final = re.compile(r"#([2-9]|[1-9][0-9]{1,8})\Z")

Fields = Mapping[str, Any]


class Parsed(msgspec.Struct, frozen=True, gc=False):
    """A message, and its bytes from the length word on. `line` is its first line, counted from 1."""

    line: int
    captured: Captured
    frame: bytes


def parse_lines(read: Read, registry: Registry) -> Iterator[Parsed | Notice]:
    """Yield the messages of a file of JSON objects, and a Notice (`bad-line`) for each that is not a message.

    Objects of events are skipped. An object may span lines, and a line may have several. A line too long for
    any message ends the file.
    """
    parser, objects = Parser(registry), ObjectSplitter(_MAX_LINE)
    number = 0
    try:
        for number, line in enumerate(text_lines(read, _MAX_LINE), 1):
            for start, text in objects.feed(number, line):
                yield from _parsed(parser, start, text)
    except LineTooLongError as error:
        yield Notice(NoticeCode.BAD_LINE, f"line {number + 1}: {error}")
    for start, text in objects.end():
        yield from _parsed(parser, start, text)


def _parsed(parser: Parser, number: int, text: bytes) -> Iterator[Parsed | Notice]:
    try:
        parsed = parser(text, number)
    except ProtocolError as error:
        where = f"line {number}, {error.path}" if error.path else f"line {number}"
        yield Notice(NoticeCode.BAD_LINE, f"{where}: {error.reason}")
        return
    if parsed is not None:
        yield parsed


class Parser:
    """Parses lines to messages, with one set of definitions."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._decode = msgspec.json.Decoder().decode
        self._numbers = lru_cache(4096)(self._three_numbers)
        self._connections: dict[str, Connection] = {}
        self._count = 0

    def __call__(self, text: bytes, number: int = 1) -> Parsed | None:
        """Return the message of a line; None for an empty line and for an event.

        Raises ProtocolError for a line that is not a message, with the path of the key.
        """
        if not text.strip():
            return None
        fields = self._fields(text)
        if "event" in fields:
            return None
        for key in fields:
            if key not in _KEYS:
                raise BadValue("unknown key (docs/json.md lists the keys of a message)", path=key)
        direction = _direction(fields)
        message = self._message(fields, direction)
        try:
            frame = encode_message(message, registry=self._registry)
        except ProtocolError as error:
            error.path = f"payload.{error.path}" if error.path else ""
            raise
        connection = self._connection(fields)
        time_ns = _integer(fields, "time_ns")
        self._count += 1
        return Parsed(number, Captured(self._count, time_ns, connection, direction, message), frame)

    def _fields(self, text: bytes) -> Fields:
        try:
            fields = self._decode(text)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise BadValue(f"is not JSON: {error}") from None
        except RecursionError:
            raise BadValue("is nested too deeply") from None
        if not isinstance(fields, dict):
            raise BadValue(f"expected an object, got {shown(fields)}")
        return fields

    def _message(self, fields: Fields, direction: Direction | None) -> Message:
        header = self._header(fields)
        missing = _integer(fields, "missing")
        if missing or ("missing" in fields and missing is None):
            count = "an unknown number of" if missing is None else missing
            raise BadValue(f"cannot be encoded: {count} bytes of the message are missing")
        fds = _descriptors(fields, header)
        spare = _bytes(fields, "spare", hex_bytes) or b""
        raw, data = _bytes(fields, "raw", hex_bytes), _bytes(fields, "data", base64_bytes)
        given = fields.get("payload")
        filled = bool(raw or data) if given is None else True
        type_, typed = payload_of(header, filled, direction, self._registry)
        name = fields.get("payload_type")
        if name is not None and (type_ is None or name != type_.name):
            here = "no type" if type_ is None else type_.name
            raise BadValue(f"expected {here} for this header, got {shown(name)}", path="payload_type")
        type_name = None if type_ is None else type_.name
        length = 0  # set by encoding
        if raw is not None:
            if data is not None:
                raise BadValue("a message has either data or payload: delete one of the two", path="raw")
            if given is not None:
                _check_raw(type_, raw, given, spare)
            return Message(header, length, fds, type_name, spare=spare, raw=raw)
        if type_ is not None:
            if data is not None:
                raise BadValue(f"expected payload of type {type_.name} instead of data", path="data")
            if given is None:
                raise BadValue(f"is missing ({type_.name})", path="payload")
            try:
                value = from_plain(type_, given)
            except BadValue as error:
                dot = "" if error.path.startswith("[") or not error.path else "."
                error.path = f"payload{dot}{error.path}"
                raise
            return Message(header, length, fds, type_name, value, spare=spare)
        if given is not None:
            why = "no payload" if typed else "no payload of a known type: use data"
            raise BadValue(f"a message with this header has {why}", path="payload")
        if data and typed:
            raise BadValue("a message with this header has no data", path="data")
        return Message(header, length, fds, data=data, spare=spare)

    def _header(self, fields: Fields) -> Header:
        prog, vers = _integer(fields, "prog", 32, False), _integer(fields, "vers", 32, False)
        proc, serial = _integer(fields, "proc", 32), _integer(fields, "serial", 32, False)
        if serial is None:
            raise BadValue("is missing", path="serial")
        return Header(
            *self._numbers(prog, _text(fields, "program"), vers, proc, _text(fields, "procedure")),
            _named(fields, "type", TYPES),
            serial,
            _named(fields, "status", STATUSES),
        )

    def _three_numbers(
        self, prog: int | None, program: str | None, vers: int | None, proc: int | None, procedure: str | None
    ) -> tuple[int, int, int]:
        """Program, version and procedure of a header, from their numbers and names."""
        number, version = self._program(prog, program, vers)
        return number, version, self._procedure(number, version, proc, procedure)

    def _program(self, number: int | None, name: str | None, version: int | None) -> tuple[int, int]:
        key = number if name is None else name
        if key is None:
            raise BadValue("is missing, and program, too", path="prog")
        try:
            known = self._registry.program(key)
        except KeyError:
            if name is not None:
                raise BadValue(f"unknown program {shown(name)}", path="program") from None
            if version is None:
                raise BadValue("is missing", path="vers") from None
            assert number is not None
            return number, version
        if number not in (None, known.number):
            raise _contradiction("program", shown(name), known.number, "prog", number)
        return known.number, known.version if version is None else version

    def _procedure(self, program: int, version: int, number: int | None, name: str | None) -> int:
        if name is None:
            if number is None:
                raise BadValue("is missing, and procedure, too", path="proc")
            return number
        known = self._registry.find(program, version)
        if known is None:
            raise BadValue(f"unknown program {program} version {version}", path="procedure")
        try:
            named = known.procedure(name).number
        except KeyError:
            text = f"unknown procedure {shown(name)} of {known.name}"
            raise BadValue(text, path="procedure") from None
        if number not in (None, named):
            raise _contradiction("procedure", shown(name), named, "proc", number)
        return named

    def _connection(self, fields: Fields) -> Connection:
        name = _text(fields, "conn") or ""
        if name not in self._connections:
            self._connections[name] = _connection(len(self._connections) + 1, name)
        return self._connections[name]


def _connection(number: int, name: str) -> Connection:
    """Return the connection of this name: `client:port-server:port`, `client-/path`, the second of one name
    with the suffix `#2`, or only a number."""
    again = _NAMESAKE.search(name)
    client, dash, server = name[: again.start() if again else None].partition("-")
    if not dash:
        return Connection(number, "", "", "raw")
    tcp = _ADDRESS.fullmatch(client) and _ADDRESS.fullmatch(server)
    return Connection(number, client, server, "tcp" if tcp else "unix", int(again[1]) if again else 1)


def _contradiction(key: str, name: str, number: int, other: str, given: int | None) -> BadValue:
    text = f"{name} is {number}, but {other} is {given}: change both, or delete one of the two"
    return BadValue(text, path=key)


def _direction(fields: Fields) -> Direction | None:
    direction = fields.get("dir")
    if direction not in ("c2s", "s2c", None):
        raise BadValue(f"expected c2s, s2c or null, got {shown(direction)}", path="dir")
    return direction


def _integer(fields: Fields, key: str, bits: int = 64, signed: bool = True) -> int | None:
    value = fields.get(key)
    if value is None:
        return None
    try:
        return integer(value, bits, signed)
    except BadValue as error:
        error.path = key
        raise


def _text(fields: Fields, key: str) -> str | None:
    value = fields.get(key)
    if not isinstance(value, str | None):
        raise BadValue(f"expected a string, got {shown(value)}", path=key)
    return value


def _bytes(fields: Fields, key: str, parse: Any) -> bytes | None:
    value = fields.get(key)
    if value is None:
        return None
    try:
        return parse(value)  # type: ignore[no-any-return]
    except BadValue as error:
        error.path = key
        raise


def _named(fields: Fields, key: str, names: Mapping[int, str]) -> int:
    """Return a number that may be given by name."""
    value = fields.get(key)
    if value is None:
        raise BadValue("is missing", path=key)
    if not isinstance(value, str):
        number = _integer(fields, key, 32)
        assert number is not None
        return number
    for number, name in names.items():
        if name == value:
            return number
    raise BadValue(f"expected a number or one of {', '.join(names.values())}, got {shown(value)}", path=key)


def _descriptors(fields: Fields, header: Header) -> int | None:
    """Return the descriptor count; None for types without one, and if the frame was truncated in it."""
    fds = _integer(fields, "fds")
    if header.type not in TYPES_WITH_FDS:
        if fds is not None:
            raise BadValue("only call_with_fds and reply_with_fds have descriptors", path="fds")
    elif fds is None and fields.get("raw") is None:
        raise BadValue("is missing: call_with_fds and reply_with_fds carry a descriptor count", path="fds")
    return fds


def _check_raw(type_: XdrType | None, raw: bytes, given: Any, spare: bytes) -> None:
    """Raise BadValue if `payload` and `raw` disagree, because one of the two was edited."""
    if type_ is not None:
        reading = type_.read(raw)
        if reading.value is not None and _same(to_plain(type_, reading.value), given):
            return
    raise BadValue(
        "does not agree with payload, and would be written unchanged: delete raw to write payload, or"
        " payload to write raw",
        path="raw",
    )


def _same(received: Any, given: Any) -> bool:
    """Return whether two payloads are equal, apart from the names of numbers."""
    if isinstance(received, dict) and isinstance(given, dict):
        extra = given.keys() - received.keys()
        return all(key.endswith("_name") for key in extra) and all(
            key in given and _same(value, given[key]) for key, value in received.items()
        )
    if isinstance(received, list) and isinstance(given, list):
        return len(received) == len(given) and all(map(_same, received, given))
    return type(received) is type(given) and bool(received == given)
