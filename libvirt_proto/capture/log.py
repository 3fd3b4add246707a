"""libvirt's own log: the messages, connections and sockets that a daemon or a client writes lines about.

With `log_filters="2:rpc"` (LIBVIRT_LOG_FILTERS for a client) libvirt writes the header and the length of
each message, and nothing of its payload:

    2026-11-22 21:45:10.120+0000: 19725: info : virNetServerClientDispatchRead:1224 : \
RPC_SERVER_CLIENT_MSG_RX: client=0x55bef0a18050 len=28 prog=536903814 vers=1 proc=66 type=0 status=0 serial=0

Time (UTC), thread, level, function and line, then what the probe of that name has, as `key=value` words.
syslog gets no time, the journal neither that nor thread, level and function: there, the time is what
stands before the line. Sources: virlog.c, virprobe.h.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from struct import Struct
from typing import Final, Literal, NamedTuple, TypeVar

from ..limits import MAX_FRAME, MIN_FRAME
from .chunk import Chunk, Connection, ConnectionEvent, Direction, Item, Notice
from .lines import LineTooLongError, text_lines
from .pcap import Read

#: Lines of other areas hold whole documents; none is longer than a message.
_MAX_LINE: Final = MAX_FRAME
#: What stands before `RPC_` is shorter than this.
_MAX_HEAD: Final = 400
#: Objects of each kind that are known at a time, far more than a daemon lets in.
_MAX_OBJECTS: Final = 65_536

_RPC: Final = re.compile(rb"(?:^|: )(RPC_[A-Z_]{1,60}): ")
#: `Nov 22 21:45:08 host libvirtd[123]: `, then what libvirt writes to a file, or the end of it.
_HEAD: Final = re.compile(
    rb'(?P<journal>(?P<before>[^"(]{0,200}?)[\w.@-]{1,64}\[(?P<process>\d{1,10})\]: )?'
    rb"(?:(?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}[+-]\d{4}): )?"
    rb"(?:(?P<thread>\d{1,20}): [a-z]{1,8} : (?:\w{1,80}:\d{1,8} : )?)?"
)
#: journalctl's short-iso, short-iso-precise and short-unix.
_ISO: Final = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:[.,]\d{1,9})?[+-]\d\d:?\d\d(?= )")
_UNIX: Final = re.compile(rb"(\d{9,11})\.(\d{6})(?= )")
#: Values may have blanks in them (names of certificates).
_BETWEEN_WORDS: Final = re.compile(r",? (?=[A-Za-z]\w*=)")
_OBJECT: Final = re.compile(r"0x[0-9a-f]{1,16}")
_NUMBER: Final = re.compile(r"-?[0-9]{1,20}")
_ADDRESS: Final = re.compile(r"([^;]{1,256});([0-9]{1,5})")

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_HEADER = Struct(">7I").pack
_FIELDS: Final = ("prog", "vers", "proc", "type", "serial", "status")

#: Who writes a line: the peer that connected, or the daemon.
Side = Literal["client", "server"]
_MESSAGES: Final[dict[str, tuple[Side, Direction]]] = {
    "RPC_CLIENT_MSG_TX_QUEUE": ("client", "c2s"),
    "RPC_CLIENT_MSG_RX": ("client", "s2c"),
    "RPC_SERVER_CLIENT_MSG_RX": ("server", "c2s"),
    "RPC_SERVER_CLIENT_MSG_TX_QUEUE": ("server", "s2c"),
}
_NEW: Final[dict[str, Side]] = {"RPC_CLIENT_NEW": "client", "RPC_SERVER_CLIENT_NEW": "server"}
_DISPOSE: Final[dict[str, Side]] = {"RPC_CLIENT_DISPOSE": "client", "RPC_SERVER_CLIENT_DISPOSE": "server"}

_NO_RPC: Final = (
    "no line of this log is about RPC; a daemon writes them with these in its configuration file:"
    ' log_filters="2:rpc" and log_outputs="2:file:/var/log/libvirt/libvirtd.log";'
    " a client with LIBVIRT_LOG_FILTERS=2:rpc LIBVIRT_LOG_OUTPUTS=2:file:client.log"
)
_NO_YEAR: Final = (
    "the journal's times have no year here, so the messages get none; journalctl -o short-iso-precise has it"
)

Value = TypeVar("Value")
#: Process (empty where the log names none), side and address of a client's object.
_Key = tuple[str, Side, str]


def log_chunks(read: Read) -> Iterator[Item]:
    """What a log says, in its order.

    A message is a Chunk of length word and header, `cut` the size of its payload. Lines with len=0 are no
    messages. A connection is one object of libvirt's between its NEW and DISPOSE, or from its first message
    on: `client-server@0x55bef0a18050`, where `@` stands at the side that wrote the lines, so the same
    conversation in the log of both sides is two connections. All other RPC lines become events.

    Notices: `bad-log-line`; `no-rpc-lines`, with the settings that are needed; `no-times` (a note).
    """
    return _Log().read(read)


class _BadLineError(ValueError):
    """A line that no libvirt writes; the text goes on behind the line's name."""


class _Line(NamedTuple):
    """A line about RPC: `words` are what stands behind its name."""

    name: str
    time_ns: int | None
    process: str
    thread: str | None
    words: list[tuple[str, str]]

    def values(self) -> dict[str, str]:
        """The first of each name: what a peer chose (the name in its certificate) comes last."""
        return dict(reversed(self.words))


class _Log:
    def __init__(self) -> None:
        self._connections: dict[_Key, Connection] = {}
        self._opened = 0
        #: Connections that have had a message. Of others events alone tell: there is nothing to end.
        self._spoken: set[int] = set()
        #: By process and address: a socket's local and remote address.
        self._sockets: dict[tuple[str, str], tuple[str, str]] = {}
        #: By process and address: whose socket or keepalive it is.
        self._owners: dict[tuple[str, str], Connection] = {}
        self._untimed = False

    def read(self, read: Read) -> Iterator[Item]:
        number, none = 0, True
        try:
            for number, data in enumerate(text_lines(read, _MAX_LINE), 1):
                line = self._line(data)
                if line is None:
                    continue
                none = False
                if line.time_ns is None and not self._untimed:
                    self._untimed = True
                    yield Notice("no-times", _NO_YEAR, severity="note")
                try:
                    yield from self._items(line)
                except _BadLineError as error:
                    text = f"line {number}: {line.name} {error}"
                    yield Notice("bad-log-line", text, time_ns=line.time_ns)
        except LineTooLongError as error:
            yield Notice("bad-log-line", f"line {number + 1}: {error}; nothing behind it was read")
        if none:
            yield Notice("no-rpc-lines", _NO_RPC)

    @staticmethod
    def _line(data: bytes) -> _Line | None:
        """A line about RPC, None for any other."""
        if b"RPC_" not in data:
            return None
        found = _RPC.search(data)
        if found is None or found.start(1) > _MAX_HEAD:
            return None
        head = _HEAD.fullmatch(data, 0, found.start(1))
        if head is None or not (head["thread"] or head["journal"]):
            return None
        name = found[1].decode()
        text = data[found.end() :].decode("utf-8", "backslashreplace").rstrip("\r")
        pairs = (word.partition("=") for word in _BETWEEN_WORDS.split(text))
        words = [(key, value) for key, equals, value in pairs if equals]
        thread = head["thread"].decode() if head["thread"] else None
        time_ns = _time(head["time"].decode()) if head["time"] else _journal_time(head["before"] or b"")
        return _Line(name, time_ns, (head["process"] or b"").decode(), thread, words)

    def _items(self, line: _Line) -> Iterator[Item]:
        if line.name in _MESSAGES:
            yield from self._message(line, *_MESSAGES[line.name])
            return
        values = line.values()
        client = values.get("client", "")
        if line.name in _NEW:
            key = line.process, _NEW[line.name], _object(client)
            yield from self._close(key, line)  # its DISPOSE is not in the log
            yield from self._open(key, line, values.get("sock", ""))
        elif line.name == "RPC_SOCKET_NEW":
            sock = line.process, _object(values.get("sock", ""))
            self._owners.pop(sock, None)
            _remember(self._sockets, sock, (_end(values.get("localAddr")), _end(values.get("remoteAddr"))))
        connection = self._owner(line, values)
        if line.name == "RPC_KEEPALIVE_NEW" and connection is not None:
            _remember(self._owners, (line.process, _object(values.get("ka", ""))), connection)
        thread = () if line.thread is None else (("thread", line.thread),)
        kind = line.name.removeprefix("RPC_").lower()
        yield ConnectionEvent(kind, line.time_ns, connection, (*thread, *line.words))
        if line.name in _DISPOSE:
            yield from self._close((line.process, _DISPOSE[line.name], client), line)
        elif line.name in ("RPC_SOCKET_DISPOSE", "RPC_KEEPALIVE_DISPOSE"):
            own = line.process, values.get("sock") or values.get("ka", "")
            self._owners.pop(own, None)
            self._sockets.pop(own, None)

    def _message(self, line: _Line, side: Side, direction: Direction) -> Iterator[Item]:
        values = line.values()
        length = _number(values, "len")
        if length == 0:  # libvirt's own dummies; they never reach the wire
            return
        if not MIN_FRAME <= length <= MAX_FRAME:
            raise _BadLineError(f"has len={length}, which no message can have")
        # Numbers may come with their sign extended to 64 bits.
        data = _HEADER(length, *(_number(values, field) & 0xFFFFFFFF for field in _FIELDS))
        key = line.process, side, _object(values.get("client", ""))
        if key not in self._connections:
            yield from self._open(key, line, "")
        connection = self._connections[key]
        self._spoken.add(connection.id)
        yield Chunk(connection, direction, line.time_ns, data, cut=length - MIN_FRAME)

    def _open(self, key: _Key, line: _Line, sock: str) -> Iterator[Chunk]:
        """A new connection, named after its object and, if they are known, its socket's addresses."""
        if len(self._connections) >= _MAX_OBJECTS:
            yield from self._close(next(iter(self._connections)), line)
        process, side, address = key
        local, remote = self._sockets.get((process, sock), ("", ""))
        client, server = (local, remote) if side == "client" else (remote, local)
        names = {"client": client or "client", "server": server or "server"}
        names[side] += f"@{address}"
        self._opened += 1
        connection = Connection(self._opened, **names, transport="log")
        self._connections[key] = connection
        if (process, sock) in self._sockets:
            _remember(self._owners, (process, sock), connection)

    def _close(self, key: _Key, line: _Line) -> Iterator[Chunk]:
        connection = self._connections.pop(key, None)
        if connection is not None and connection.id in self._spoken:
            self._spoken.remove(connection.id)
            yield Chunk(connection, "c2s", line.time_ns, b"", end=True)
            yield Chunk(connection, "s2c", line.time_ns, b"", end=True)

    def _owner(self, line: _Line, values: dict[str, str]) -> Connection | None:
        """The connection that an event is about: that of its client object, or of its socket or keepalive."""
        client = values.get("client", "")
        for side in _sides(line.name):
            connection = self._connections.get((line.process, side, client))
            if connection is not None:
                return connection
        return self._owners.get((line.process, values.get("sock") or values.get("ka", "")))


def _sides(name: str) -> tuple[Side, ...]:
    """The sides of which an object may be that a line of this name is about."""
    if name.startswith("RPC_SERVER_CLIENT_"):
        return ("server",)
    return ("client",) if name.startswith("RPC_CLIENT_") else ("server", "client")


def _remember(known: dict[tuple[str, str], Value], key: tuple[str, str], value: Value) -> None:
    """Objects whose DISPOSE never comes must not fill the memory."""
    known.pop(key, None)
    if len(known) >= _MAX_OBJECTS:
        del known[next(iter(known))]
    known[key] = value


def _object(value: str) -> str:
    if not _OBJECT.fullmatch(value):
        raise _BadLineError(f"names no object ({_quoted(value)})")
    return value


def _number(values: dict[str, str], word: str) -> int:
    value = values.get(word)
    if value is None:
        raise _BadLineError(f"breaks off: it has no {word}=")
    if not _NUMBER.fullmatch(value):
        raise _BadLineError(f"has {word}={_quoted(value)}, which is no number")
    return int(value)


def _quoted(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "…")


def _end(address: str | None) -> str:
    """`127.0.0.1;16509` as `127.0.0.1:16509`; "" for none, and for a unix socket, which has port 0."""
    match = _ADDRESS.fullmatch(address or "")
    if match is None or match[2] == "0":
        return ""
    host = f"[{match[1]}]" if ":" in match[1] else match[1]
    return f"{host}:{match[2]}"


def _time(text: str) -> int | None:
    """Nanoseconds since the epoch; None for a date that does not exist."""
    try:
        return (datetime.fromisoformat(text) - _EPOCH) // timedelta(microseconds=1) * 1000
    except ValueError:
        return None


def _journal_time(before: bytes) -> int | None:
    """The time at the beginning of a journal's line, where it is one with year and zone."""
    if match := _ISO.match(before):
        return _time(match[0].decode())
    if match := _UNIX.match(before):
        return int(match[1]) * 10**9 + int(match[2]) * 1000
    return None
