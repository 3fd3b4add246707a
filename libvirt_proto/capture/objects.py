"""Connections and their events, from the objects in libvirt's log and probes.

Both identify objects by address: a client (one end of a connection), its socket, its keepalive. A connection
is one client object between `new` and `dispose`, or from its first message on:
`client-server@0x55bef0a18050`, where `@` is at the side that reported it. A conversation reported by both
sides is two connections.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final, TypeVar

from ..bounded import BoundedDict
from ..events import Chunk, Connection, ConnectionEvent, Connections, Direction, Item, Side
from ..rpc.wire import START_WORDS

#: Maximum number of known objects of each kind, far more than a daemon accepts.
_MAX_OBJECTS: Final = 65_536

_OBJECT: Final = re.compile(r"0x[0-9a-f]{1,16}")
_ADDRESS: Final = re.compile(r"([^;]{1,256});([0-9]{1,5})")
#: The words of a message that form its header, in wire order.
FIELDS: Final = ("prog", "vers", "proc", "type", "serial", "status")

#: Kinds of reports that are messages.
MESSAGES: Final[Mapping[str, tuple[Side, Direction]]] = {
    "client_msg_tx_queue": ("client", "c2s"),
    "client_msg_rx": ("client", "s2c"),
    "server_client_msg_rx": ("server", "c2s"),
    "server_client_msg_tx_queue": ("server", "s2c"),
}
#: By `isServer`.
_TLS_SIDES: Final[dict[str, Side]] = {"0": "client", "1": "server"}
#: Kinds of reports of a new client object, which name its socket.
NEW: Final[Mapping[str, Side]] = {"client_new": "client", "server_client_new": "server"}
_DISPOSE: Final[dict[str, Side]] = {"client_dispose": "client", "server_client_dispose": "server"}

#: None is an unknown one.
_DIRECTIONS: Final[tuple[Direction | None, ...]] = ("c2s", "s2c", None)

Value = TypeVar("Value")
#: Process (empty if unknown), side and address of a client object.
_Key = tuple[str, Side, str]


class ObjectError(ValueError):
    """A word that should name an object and does not."""


def header(length: int, numbers: Mapping[str, int]) -> bytes:
    """Build the length word and header of a message; numbers may be sign-extended to 64 bits."""
    return START_WORDS.pack(length, *(numbers[field] & 0xFFFFFFFF for field in FIELDS))


class Objects:
    """Tracks the objects of a source. `transport` is that of the connections; `label` is the text after `@`
    for an object of a process. `connections` numbers the connections."""

    def __init__(
        self,
        transport: str,
        label: Callable[[str, str], str] = lambda _, address: address,
        connections: Connections | None = None,
    ) -> None:
        self._transport = transport
        self._label = label
        self._connections: BoundedDict[_Key, Connection] = BoundedDict(_MAX_OBJECTS)
        self._opened = Connections() if connections is None else connections
        #: Connections that had a message, by id, and its direction. Others have only events, and do not end.
        self._spoken: set[tuple[int, Direction | None]] = set()
        #: Local and remote address of a socket, by process and address of the object.
        self._sockets: BoundedDict[tuple[str, str], tuple[str, str]] = BoundedDict(_MAX_OBJECTS)
        #: Connection of a socket or keepalive, by process and address of the object.
        self._owners: BoundedDict[tuple[str, str], Connection] = BoundedDict(_MAX_OBJECTS)
        #: Side of a TLS context or session, by process and address of the object.
        self._tls: BoundedDict[tuple[str, str], Side] = BoundedDict(_MAX_OBJECTS)

    def message(
        self,
        kind: str,
        time_ns: int | None,
        process: str,
        client: str | None,
        data: bytes,
        length: int | None,
    ) -> Iterator[Chunk]:
        """Yield the items of a message of `length` bytes, of which the first are known; None is an unknown
        length. Messages of an unknown `client` (None) form one connection of the process and the side.
        Raises ObjectError."""
        side, direction = MESSAGES[kind]
        key = process, side, "" if client is None else _object(client)
        if key not in self._connections:
            yield from self._open(key, time_ns, "")
        yield self.chunk(self._connections[key], direction, time_ns, data, length)

    def chunk(
        self,
        connection: Connection,
        direction: Direction | None,
        time_ns: int | None,
        data: bytes,
        length: int | None,
    ) -> Chunk:
        """Return the item of a message of `length` bytes, as in `message`. Its connection needs an `end`."""
        self._spoken.add((connection.id, direction))
        return Chunk(connection, direction, time_ns, data, cut=-1 if length is None else length - len(data))

    def end(self, connection: Connection, time_ns: int | None) -> Iterator[Chunk]:
        """Yield the ends of a connection, unless it has only events."""
        spoken = {direction for direction in _DIRECTIONS if (connection.id, direction) in self._spoken}
        self._spoken -= {(connection.id, direction) for direction in spoken}
        if spoken - {None}:
            spoken |= {"c2s", "s2c"}  # both must end
        for direction in _DIRECTIONS:
            if direction in spoken:
                yield Chunk(connection, direction, time_ns, b"", end=True)

    def event(
        self,
        kind: str,
        time_ns: int | None,
        process: str,
        values: Mapping[str, str],
        details: tuple[tuple[str, str], ...],
    ) -> Iterator[Item]:
        """Yield the items of a report that is not a message. `values` are its words, `details` those of the
        event. Raises ObjectError."""
        client = values.get("client", "")
        if kind in NEW:
            key = process, NEW[kind], _object(client)
            yield from self._close(key, time_ns)  # its end was not reported
            yield from self._open(key, time_ns, values.get("sock", ""))
        elif kind == "socket_new":
            sock = process, _object(values.get("sock", ""))
            self._owners.pop(sock, None)
            _remember(self._sockets, sock, (_end(values.get("localAddr")), _end(values.get("remoteAddr"))))
        connection = self._owner(kind, process, values)
        if kind == "keepalive_new" and connection is not None:
            _remember(self._owners, (process, _object(values.get("ka", ""))), connection)
        yield ConnectionEvent(kind, time_ns, connection, details, self._tls_side(kind, process, values))
        if kind in _DISPOSE:
            yield from self._close((process, _DISPOSE[kind], client), time_ns)
        elif kind in ("socket_dispose", "keepalive_dispose"):
            own = process, values.get("sock") or values.get("ka", "")
            self._owners.pop(own, None)
            self._sockets.pop(own, None)

    def ended(self, process: str, time_ns: int | None) -> Iterator[Chunk]:
        """Drop the objects of a process that has ended."""
        for key in [key for key in self._connections if key[0] == process]:
            yield from self._close(key, time_ns)
        for known in (self._sockets, self._owners, self._tls):
            for own in [own for own in known if own[0] == process]:
                del known[own]

    def _open(self, key: _Key, time_ns: int | None, sock: str) -> Iterator[Chunk]:
        """Return a new connection, named after its object and the addresses of its socket, if known."""
        process, side, address = key
        local, remote = self._sockets.get((process, sock), ("", ""))
        client, server = (local, remote) if side == "client" else (remote, local)
        names = {"client": client or "client", "server": server or "server"}
        if address:
            names[side] += f"@{self._label(process, address)}"
        connection = self._opened.new(**names, transport=self._transport, side=side)
        if evicted := self._connections.put(key, connection):
            yield from self.end(evicted[1], time_ns)
        if (process, sock) in self._sockets:
            _remember(self._owners, (process, sock), connection)

    def _close(self, key: _Key, time_ns: int | None) -> Iterator[Chunk]:
        if key in self._connections:
            yield from self.end(self._connections.pop(key), time_ns)

    def _owner(self, kind: str, process: str, values: Mapping[str, str]) -> Connection | None:
        """Return the connection of an event: that of its client object, or of its socket or keepalive."""
        client = values.get("client", "")
        for side in _sides(kind):
            connection = self._connections.get((process, side, client))
            if connection is not None:
                return connection
        return self._owners.get((process, values.get("sock") or values.get("ka", "")))

    def _tls_side(self, kind: str, process: str, values: Mapping[str, str]) -> Side | None:
        """Return the side of the TLS context or session of an event, if its creation was seen; no connection
        is named."""
        if not kind.startswith("tls_"):
            return None
        own = process, values.get("sess") or values.get("ctxt", "")
        if kind.endswith("_new") and (side := _TLS_SIDES.get(values.get("isServer", ""))):
            _remember(self._tls, own, side)
        return self._tls.pop(own, None) if kind.endswith("_dispose") else self._tls.get(own)


def _sides(kind: str) -> tuple[Side, ...]:
    """Return the sides that can report an event of this kind."""
    if kind.startswith("server_client_"):
        return ("server",)
    return ("client",) if kind.startswith("client_") else ("server", "client")


def _remember(known: BoundedDict[tuple[str, str], Value], key: tuple[str, str], value: Value) -> None:
    """Remember an object in a bounded table, since the end of some is never reported."""
    known.pop(key, None)
    known.put(key, value)


def _object(value: str) -> str:
    if not _OBJECT.fullmatch(value):
        raise ObjectError(f"expected the address of an object, got {quoted(value)}")
    return value


def quoted(text: str) -> str:
    """Quote text of a log or a probe in a sentence."""
    return repr(text if len(text) <= 40 else text[:40] + "…")


def _end(address: str | None) -> str:
    """Convert `127.0.0.1;16509` to `127.0.0.1:16509`; "" for none, and for a unix socket, which has port
    0."""
    match = _ADDRESS.fullmatch(address or "")
    if match is None or match[2] == "0":
        return ""
    host = f"[{match[1]}]" if ":" in match[1] else match[1]
    return f"{host}:{match[2]}"
