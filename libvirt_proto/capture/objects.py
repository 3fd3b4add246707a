"""Connections and their events from what libvirt says of its objects, in its log and in its probes.

Both name objects by their addresses: a client (one end of a connection), its socket, its keepalive. A
connection is one client object between its `new` and `dispose`, or from its first message on:
`client-server@0x55bef0a18050`, where `@` stands at the side that said so. The same conversation told by both
sides is two connections.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from struct import Struct
from typing import Final, TypeVar

from ..events import Chunk, Connection, ConnectionEvent, Connections, Direction, Item, Side

#: Objects of each kind that are known at a time, far more than a daemon lets in.
_MAX_OBJECTS: Final = 65_536

_OBJECT: Final = re.compile(r"0x[0-9a-f]{1,16}")
_ADDRESS: Final = re.compile(r"([^;]{1,256});([0-9]{1,5})")
_HEADER = Struct(">7I").pack
#: The words of a message that make its header, in the order of the wire.
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
_NEW: Final[dict[str, Side]] = {"client_new": "client", "server_client_new": "server"}
_DISPOSE: Final[dict[str, Side]] = {"client_dispose": "client", "server_client_dispose": "server"}

Value = TypeVar("Value")
#: Process (empty where it is not known), side and address of a client's object.
_Key = tuple[str, Side, str]


class ObjectError(ValueError):
    """A word that should name an object and does not; the text goes on behind the report's name."""


def header(length: int, numbers: Mapping[str, int]) -> bytes:
    """Length word and header of a message; numbers may come with their sign extended to 64 bits."""
    return _HEADER(length, *(numbers[field] & 0xFFFFFFFF for field in FIELDS))


class Objects:
    """`transport` is that of the connections; `label` is what stands behind `@` for an object of a
    process."""

    def __init__(self, transport: str, label: Callable[[str, str], str] = lambda _, address: address) -> None:
        self._transport = transport
        self._label = label
        self._connections: dict[_Key, Connection] = {}
        self._opened = Connections()
        #: Connections that have had a message. Of others events alone tell: there is nothing to end.
        self._spoken: set[int] = set()
        #: By process and address: a socket's local and remote address.
        self._sockets: dict[tuple[str, str], tuple[str, str]] = {}
        #: By process and address: whose socket or keepalive it is.
        self._owners: dict[tuple[str, str], Connection] = {}
        #: By process and address: whose a TLS context or session is.
        self._tls: dict[tuple[str, str], Side] = {}

    def message(
        self, kind: str, time_ns: int | None, process: str, client: str, data: bytes, length: int
    ) -> Iterator[Chunk]:
        """A message of `length` bytes, of which the first are known. Raises ObjectError."""
        side, direction = MESSAGES[kind]
        key = process, side, _object(client)
        if key not in self._connections:
            yield from self._open(key, time_ns, "")
        connection = self._connections[key]
        self._spoken.add(connection.id)
        yield Chunk(connection, direction, time_ns, data, cut=length - len(data))

    def event(
        self,
        kind: str,
        time_ns: int | None,
        process: str,
        values: Mapping[str, str],
        details: tuple[tuple[str, str], ...],
    ) -> Iterator[Item]:
        """Anything that is no message: `values` are its words, `details` those of the event. Raises
        ObjectError."""
        client = values.get("client", "")
        if kind in _NEW:
            key = process, _NEW[kind], _object(client)
            yield from self._close(key, time_ns)  # nobody told of its end
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
        """A process is no more, nor are its objects."""
        for key in [key for key in self._connections if key[0] == process]:
            yield from self._close(key, time_ns)
        for known in (self._sockets, self._owners, self._tls):
            for own in [own for own in known if own[0] == process]:
                del known[own]

    def _open(self, key: _Key, time_ns: int | None, sock: str) -> Iterator[Chunk]:
        """A new connection, named after its object and, if they are known, its socket's addresses."""
        if len(self._connections) >= _MAX_OBJECTS:
            yield from self._close(next(iter(self._connections)), time_ns)
        process, side, address = key
        local, remote = self._sockets.get((process, sock), ("", ""))
        client, server = (local, remote) if side == "client" else (remote, local)
        names = {"client": client or "client", "server": server or "server"}
        names[side] += f"@{self._label(process, address)}"
        connection = self._opened.new(**names, transport=self._transport, side=side)
        self._connections[key] = connection
        if (process, sock) in self._sockets:
            _remember(self._owners, (process, sock), connection)

    def _close(self, key: _Key, time_ns: int | None) -> Iterator[Chunk]:
        connection = self._connections.pop(key, None)
        if connection is not None and connection.id in self._spoken:
            self._spoken.remove(connection.id)
            yield Chunk(connection, "c2s", time_ns, b"", end=True)
            yield Chunk(connection, "s2c", time_ns, b"", end=True)

    def _owner(self, kind: str, process: str, values: Mapping[str, str]) -> Connection | None:
        """The connection that an event is about: that of its client object, or of its socket or keepalive."""
        client = values.get("client", "")
        for side in _sides(kind):
            connection = self._connections.get((process, side, client))
            if connection is not None:
                return connection
        return self._owners.get((process, values.get("sock") or values.get("ka", "")))

    def _tls_side(self, kind: str, process: str, values: Mapping[str, str]) -> Side | None:
        """Whose TLS context or session an event is about, if its beginning told: no connection is named."""
        if not kind.startswith("tls_"):
            return None
        own = process, values.get("sess") or values.get("ctxt", "")
        if kind.endswith("_new") and (side := _TLS_SIDES.get(values.get("isServer", ""))):
            _remember(self._tls, own, side)
        return self._tls.pop(own, None) if kind.endswith("_dispose") else self._tls.get(own)


def _sides(kind: str) -> tuple[Side, ...]:
    """The sides of which an object may be that an event of this kind is about."""
    if kind.startswith("server_client_"):
        return ("server",)
    return ("client",) if kind.startswith("client_") else ("server", "client")


def _remember(known: dict[tuple[str, str], Value], key: tuple[str, str], value: Value) -> None:
    """Objects whose end is never told must not fill the memory."""
    known.pop(key, None)
    if len(known) >= _MAX_OBJECTS:
        del known[next(iter(known))]
    known[key] = value


def _object(value: str) -> str:
    if not _OBJECT.fullmatch(value):
        raise ObjectError(f"names no object ({quoted(value)})")
    return value


def quoted(text: str) -> str:
    """Text of a log or a probe in a sentence."""
    return repr(text if len(text) <= 40 else text[:40] + "…")


def _end(address: str | None) -> str:
    """`127.0.0.1;16509` as `127.0.0.1:16509`; "" for none, and for a unix socket, which has port 0."""
    match = _ADDRESS.fullmatch(address or "")
    if match is None or match[2] == "0":
        return ""
    host = f"[{match[1]}]" if ":" in match[1] else match[1]
    return f"{host}:{match[2]}"
