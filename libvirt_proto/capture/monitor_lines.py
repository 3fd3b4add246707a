"""The lines of rpc-monitor, libvirt's script and ours, and of `decode --format monitor`.

      0.071 C + 0x55891c339010   local=127.0.0.1;43890 remote=127.0.0.1;16509
      0.071 C > 0x55891c339010   msg=remote.1.auth_list(call, ok, 0) len=28
      0.071 > S 0x55dcc55c2160   msg=remote.1.auth_list(call, ok, 0) len=28

A message has its header and its length, without payload. Names are those of the newest release, or former
ones. Times count from the start of the recording, which is read as 1970-01-01. Source:
examples/systemtap/rpc-monitor.stp.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Mapping
from functools import cache, lru_cache
from itertools import islice
from typing import Final

from .. import registry
from ..blocks import LineTooLongError, Read, text_lines
from ..bounded import BoundedDict
from ..definitions import history
from ..events import (
    Connection,
    ConnectionEvent,
    Connections,
    Direction,
    Item,
    Notice,
    NoticeCode,
    Side,
)
from ..rpc.names import STATUSES, TYPES
from ..rpc.wire import MAX_FRAME, MIN_FRAME
from .dressing import MARKS, undress
from .log.context import date_ns
from .objects import MESSAGES, ObjectError, Objects, header, quoted

_MAX_LINE: Final = 1 << 20
_MAX_CONNECTIONS: Final = 65_536

#: Number of lines that are tried to recognise a recording.
_MAX_TRIED: Final = 64
#: Lines that are joined to one.
_MAX_JOINED: Final = 3

#: Seconds since the beginning, a date (`--time absolute`), or a dash without a clock.
_TIME: Final = (
    r"(?:(?P<date>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.(?P<part>\d{3,9})Z"
    r"|(?P<seconds>-?\d{1,12})\.(?P<fraction>\d{3,9})|-) "
)
_SIDE: Final = r"(?P<side>C [-+<>?.]|[-+<>?.] S|= ) +"
_MESSAGE: Final = (
    r"(?P<connection>\S{1,400}) +msg=(?P<prog>[\w:]{1,80})\.(?P<vers>\d{1,10})\.(?P<proc>[\w:-]{1,120})"
    r"\((?P<type>[\w:]{1,40}), (?P<status>[\w:]{1,40}), (?P<serial>\d{1,10})\) len=(?P<len>\d{1,10}(?!\d)|\?)"
)
_MESSAGE_LINE: Final = re.compile(rf"(?:{_TIME}|(?<!\S)){_SIDE}{_MESSAGE}")
_EVENT_LINE: Final = re.compile(
    rf"(?:{_TIME}|^\s{{0,8}}){_SIDE}"
    r"(?:(?P<connection>\S{1,400}) +)??(?P<words>(?:local=|fd=|(?:send|recv) fd=|[a-z_]{3,60}(?: |$)).*)$"
)
#: A part of every line with a message, which other logs hardly have.
TOKENS: Final = (b") len=", ")\u00a0len=".encode())
_SHOWN: Final = " msg="
_WORDS: Final = re.compile(r"([A-Za-z]\w{0,40})=(.*?)(?= [A-Za-z]\w*=|$)")
_DESCRIPTOR: Final = re.compile(r"(?:(?:send|recv) )?fd=")
_POINTER: Final = re.compile(r"0x[0-9a-f]{1,16}")
_NUMBERED: Final = re.compile(r"[\w-]*:(\d{1,10})")

_KINDS: Final[Mapping[tuple[Side, Direction], str]] = {value: kind for kind, value in MESSAGES.items()}
#: Names that older tapsets use.
_TYPES: Final = {name: number for number, name in TYPES.items()} | {"event": 2}
_STATUSES: Final = {name: number for number, name in STATUSES.items()}


class _BadLineError(ValueError):
    """A line with names or numbers that no recording has."""


def is_recording(head: bytes) -> bool:
    """Return whether a text that begins so has a line with a message."""
    if not any(token in head for token in TOKENS):
        return False
    lines = (line for line in head.split(b"\n") if any(token in line for token in TOKENS))
    return any(shows_message([undress(line)]) for line in islice(lines, _MAX_TRIED))


def shows_message(lines: list[str]) -> bool:
    """Return whether the last line shows a message, or completes one that the lines before it begin."""
    return _MESSAGE_LINE.search(lines[-1]) is not None or _joined(lines[-_MAX_JOINED:]) is not None


def _joined(lines: list[str]) -> tuple[re.Match[str], int] | None:
    """Return the message that the last line completes, and the number of lines that it is wrapped over."""
    texts = [MARKS.sub("", line, count=1).rstrip() for line in lines]
    for count in range(2, len(texts) + 1):
        parts = texts[-count:]
        if not any(_SHOWN in part or part.startswith(_SHOWN.strip()) for part in parts):
            continue
        for between in (" ", ""):
            if match := _MESSAGE_LINE.search(between.join(parts)):
                return match, count
    return None


def monitor_chunks(read: Read) -> Iterator[Item]:
    """Yield the items of a recording, in order. Notice: `bad-line`, with the number of lines that show a
    message and cannot be parsed."""
    connections, number = Connections(), 0
    recording = Recording(Objects("log", connections=connections), connections)
    try:
        for number, line in enumerate(text_lines(read, _MAX_LINE), 1):
            yield from recording.line(number, undress(line))
    except LineTooLongError as error:
        yield Notice(NoticeCode.BAD_LINE, f"line {number + 1}: {error}; the rest was not read")
    yield from recording.notices()


class Recording:
    """The lines of one recording. `objects` tracks connections by the addresses of their objects, and
    `connections` numbers those of both kinds."""

    def __init__(self, objects: Objects, connections: Connections) -> None:
        self._objects = objects
        self._connections = connections
        #: Connections that have a name, by it and their side.
        self._named: BoundedDict[tuple[str, Side | None], Connection] = BoundedDict(_MAX_CONNECTIONS)
        #: Lines before this one that a mail program may have wrapped, with their numbers.
        self._parts: list[tuple[int, str]] = []
        self._bad = 0
        self._first_bad = ""

    def line(self, number: int, text: str) -> Iterator[Item]:
        """Yield the items of a line."""
        matches = [*_MESSAGE_LINE.finditer(text)]
        if not matches and (found := _joined([*(part for _, part in self._parts), text])):
            matches, count = [found[0]], found[1]
            del self._parts[1 - count :]
        self._expire(0 if matches else _MAX_JOINED - 1)
        try:
            for match in matches:
                yield from self._message(match)
            if matches:
                return
            if _SHOWN not in text and (event := _EVENT_LINE.search(text)):
                self._expire(0)
                yield from self._event(event)
            else:
                self._parts.append((number, text))
        except (_BadLineError, ObjectError) as error:
            self._report(number, str(error))

    def _expire(self, count: int) -> None:
        """Keep that many of the last lines; report the others that show a message."""
        expired = max(0, len(self._parts) - count)
        for number, text in self._parts[:expired]:
            if _SHOWN in text:
                self._report(number, "is not a message of rpc-monitor")
        del self._parts[:expired]

    def _report(self, number: int, reason: str) -> None:
        self._bad += 1
        self._first_bad = self._first_bad or f"line {number}: {reason}"

    def notices(self) -> Iterator[Notice]:
        """Yield the number of lines that show a message and cannot be parsed."""
        self._expire(0)
        if self._bad:
            more = f"; {self._bad} lines cannot be parsed" if self._bad > 1 else ""
            yield Notice(NoticeCode.BAD_LINE, self._first_bad + more)

    def _message(self, match: re.Match[str]) -> Iterator[Item]:
        length = None if match["len"] == "?" else int(match["len"])
        if length is not None and not MIN_FRAME <= length <= MAX_FRAME:
            raise _BadLineError(f"expected len= from {MIN_FRAME} to {MAX_FRAME}, got {length}")
        prog = _program(match["prog"])
        numbers = {
            "prog": prog,
            "vers": int(match["vers"]),
            "proc": _procedure(prog, int(match["vers"]), match["proc"]),
            "type": _number(match["type"], _TYPES, "message type"),
            "status": _number(match["status"], _STATUSES, "status"),
            "serial": int(match["serial"]),
        }
        data, time_ns, name = header(length or 0, numbers), _time(match), match["connection"]
        side, direction = _side(match["side"])
        if side is not None and direction is not None and _POINTER.fullmatch(name):
            yield from self._objects.message(_KINDS[side, direction], time_ns, "", name, data, length)
            return
        connection = yield from self._connection(name, side, time_ns)
        yield self._objects.chunk(connection, direction, time_ns, data, length)

    def _connection(
        self, name: str, side: Side | None, time_ns: int | None
    ) -> Generator[Item, None, Connection]:
        """Return the connection of a name that decode prints, such as `192.0.2.7:40508-192.0.2.1:16509#2`.
        Yields the ends of the oldest one if there are too many."""
        side = side if side == "server" else None
        known = self._named.get((name, side))
        if known is not None:
            return known
        client, _, server = name.partition("#")[0].rpartition("-")
        if "]-" in name or name.count("-") > 1:  # an address or a path may contain the separator
            client, _, server = name.partition("#")[0].partition("-")
        connection = self._connections.new(client, server, "log", side)
        if evicted := self._named.put((name, side), connection):
            yield from self._objects.end(evicted[1], time_ns)
        return connection

    def _event(self, match: re.Match[str]) -> Iterator[Item]:
        words = _WORDS.findall(match["words"])
        values, time_ns, name = dict(words), _time(match), match["connection"] or ""
        side, direction = _side(match["side"])
        mark = match["side"].strip("CS ")
        if "local" in values and side is not None and mark in "+-":
            kind = ("server_" if side == "server" else "") + (
                "client_new" if mark == "+" else "client_dispose"
            )
            if mark == "+":  # the script has no event for the socket, only its addresses
                ends = {"sock": name, "localAddr": values["local"], "remoteAddr": values.get("remote", "")}
                for _ in self._objects.event("socket_new", time_ns, "", ends, ()):
                    pass
            told = {"client": name, "sock": name}
            details = (("client", name), *words)
            yield from self._objects.event(kind, time_ns, "", told, details)
        elif _DESCRIPTOR.match(match["words"]):
            sent = match["words"].startswith("send") or (side, direction) in (
                ("client", "c2s"),
                ("server", "s2c"),
            )
            kind = "socket_send_fd" if sent else "socket_recv_fd"
            yield ConnectionEvent(kind, time_ns, None, (("client", name), *words), side)
        else:
            kind, _, _ = match["words"].partition(" ")
            connection = (yield from self._connection(name, side, time_ns)) if name else None
            yield ConnectionEvent(kind, time_ns, connection, tuple(words), side)


def _side(text: str) -> tuple[Side | None, Direction | None]:
    side: Side | None = "server" if text.endswith("S") else "client" if text.startswith("C") else None
    direction: Direction | None = "c2s" if ">" in text else "s2c" if "<" in text else None
    return side, direction


def _time(match: re.Match[str]) -> int | None:
    if match["date"] is not None:
        return date_ns(match["date"], match["part"])
    if match["seconds"] is None:
        return None
    ns = abs(int(match["seconds"])) * 10**9 + int(match["fraction"].ljust(9, "0"))
    return -ns if match["seconds"].startswith("-") else ns


def _number(name: str, names: Mapping[str, int], what: str) -> int:
    """Return the number of a name; a number without a name is written `unknown:5`."""
    if name in names:
        return names[name]
    if match := _NUMBERED.fullmatch(name):
        return int(match[1])
    if name.isdecimal():
        return int(name)
    raise _BadLineError(f"expected the name of a {what}, got {quoted(name)}")


def _program(name: str) -> int:
    return _number(name, _programs(), "program")


@cache
def _programs() -> Mapping[str, int]:
    return {program.name: program.number for program in registry.default().programs()}


@lru_cache(4096)
def _procedure(prog: int, vers: int, name: str) -> int:
    try:
        return _number(name, _procedures(prog, vers), "procedure")
    except _BadLineError:
        for key, _ in history.find_former(name):
            if key[:2] == ("procedure", f"{prog:#010x}"):
                return int(key[2])
        raise


@cache
def _procedures(prog: int, vers: int) -> Mapping[str, int]:
    program = registry.default().find(prog, vers)
    return {} if program is None else {each.name: each.number for each in program.procedures}
