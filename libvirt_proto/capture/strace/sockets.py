"""A socket of a traced process: whether it is a libvirt connection, the side of the process, and its
Chunks."""

from __future__ import annotations

import re
from typing import Final, Literal

from ...events import Chunk, Connection, Connections, Direction
from ...rpc.plausible import plausible_header
from ...rpc.wire import CALL_TYPES, EVENT_TYPE, KEEPALIVE_PROGRAM, MIN_FRAME, PROGRAM_TYPE, REPLY_TYPES, START
from .line import Label

#: libvirt-sock, libvirt-sock-ro, libvirt-admin-sock, virtqemud-sock, virtlogd-sock, …; not the monitors of
#: guests, which are below folders of that name, too.
_LIBVIRT_PATH: Final = re.compile(r"(?:.*/)?@?(?:libvirt|virt[a-z]{1,20}d)-(?:[a-z]{1,20}-)?sock(?:-ro)?")
_program_type = PROGRAM_TYPE.unpack_from
#: A plausible header. Its end completes another one that has not fully arrived.
_EXAMPLE: Final = START.pack(MIN_FRAME, 1, 1, 1, 0, 0, 0)
#: This many bytes of a header identify it where strace cut off the rest.
_ENOUGH: Final = 12
#: Maximum number of calls that wait until the side that sent them is known (keepalive comes from both).
_MAX_WAITING: Final = 64

Role = Literal["client", "server"]


class Move:
    """Bytes that one call sent or received, as (bytes, number of bytes not shown after them) pairs, or the
    end of that direction. While it is `open`, their number is unknown."""

    __slots__ = ("end", "open", "parts", "sent", "time_ns")

    def __init__(
        self,
        sent: bool,
        time_ns: int | None,
        parts: list[tuple[bytes, int]],
        *,
        end: bool = False,
        open: bool = False,
    ) -> None:
        self.sent = sent
        self.time_ns = time_ns
        self.parts = parts
        self.end = end
        self.open = open


class Socket:
    """A socket. `add` accepts the data that is sent and received, in order. As soon as the socket is known to
    be libvirt's, and the side of the client is known, the data becomes Chunks.

    It is libvirt's if one of its addresses is, or if a call transfers bytes that begin like a message. The
    process is the client if it connected, the server if it accepted; otherwise the port, the path, or the
    first call, reply or event decides. Earlier data of the other direction is included if it can be the
    beginning of a message.
    """

    __slots__ = (
        "_ended",
        "_first",
        "_incomplete",
        "_missing",
        "_wanted",
        "connection",
        "explained",
        "holders",
        "key",
        "label",
        "local",
        "number",
        "opened",
        "passed",
        "process",
        "remote",
        "role",
        "transport",
        "waiting",
    )

    def __init__(self, process: str, number: int, transport: str | None = None) -> None:
        #: The place where it was seen first: `pid 25234` ("" if the lines have no numbers), and its
        #: descriptor.
        self.process = process
        self.number = number
        self.transport = transport
        #: It is not a stream: all of it is ignored.
        self.passed = False
        self.role: Role | None = None
        #: Whether the start of the connection was seen.
        self.opened = False
        #: Whether a call created its descriptor, or strace names it.
        self.explained = True
        self.local: str | None = None
        self.remote: str | None = None
        #: Its name in strace (-y), and a short form of it.
        self.label: bytes | None = None
        self.key: bytes | None = None
        #: Number of descriptors that refer to it.
        self.holders = 0
        self.connection: Connection | None = None
        self.waiting: list[Move] = []
        self._wanted = False
        self._ended: set[bool] = set()
        #: Directions without a Chunk yet; directions with missing bytes.
        self._first = {True, False}
        self._missing: set[bool] = set()
        #: By direction: the beginning of a header.
        self._incomplete = {True: b"", False: b""}

    def named(self, label: Label, text: bytes) -> None:
        """Add what strace reports about it."""
        self.key, self.label = label.key, text
        self.transport = label.transport or self.transport
        self.local = label.local or self.local
        self.remote = label.remote or self.remote

    def is_libvirt(self, ports: frozenset[int]) -> bool:
        """Return whether one of its addresses is libvirt's."""
        return self._is_libvirt(self.local, ports) or self._is_libvirt(self.remote, ports)

    def _is_libvirt(self, address: str | None, ports: frozenset[int]) -> bool:
        if not address:
            return False
        if self.transport == "tcp":
            port = address.rpartition(":")[2]
            return port.isdigit() and int(port) in ports
        return _LIBVIRT_PATH.fullmatch(address) is not None

    def add(self, move: Move, ports: frozenset[int]) -> bool:
        """Add what a call transferred; return whether `flush` has something to emit."""
        if move.end:
            known = self.connection or self._wanted or (self.opened and self.is_libvirt(ports))
            if move.sent in self._ended or not known:
                return False
            self._ended.add(move.sent)
        self.waiting.append(move)
        if self.connection is None:
            self._look(move, ports)
        return self.connection is not None or (self._wanted and self.role is not None)

    def _look(self, move: Move, ports: frozenset[int]) -> None:
        """Decide what can be decided now."""
        if not self._wanted and self.is_libvirt(ports):
            self._wanted = True
        if self._wanted and self.role is None:
            self._role_by_address(ports)
        if self._wanted and self.role is not None:
            return
        for data, cut in move.parts[:1]:
            self._header(move.sent, data, cut)
        if self._wanted and len(self.waiting) >= _MAX_WAITING:
            self.guess()

    def _role_by_address(self, ports: frozenset[int]) -> None:
        if self._is_libvirt(self.local, ports):
            self.role = "server"
        elif self._is_libvirt(self.remote, ports):
            self.role = "client"

    def _header(self, sent: bool, data: bytes, cut: int) -> None:
        """Check whether a message begins with these bytes, or continues with them."""
        begun, self._incomplete[sent] = self._incomplete[sent], b""
        for head in (begun + data, data) if begun else (data,):
            padded = head + _EXAMPLE[len(head) :]
            if head and plausible_header(padded):
                if len(head) >= MIN_FRAME or (cut and len(head) >= _ENOUGH):
                    self._wanted = True
                    self._role_by_header(sent, padded)
                    return
                if not cut:
                    self._incomplete[sent] = head
                    return
            if not self._wanted:  # data before this call is not libvirt's
                self.waiting = [move for move in self.waiting[:-1] if move.sent != sent] + self.waiting[-1:]
        if not self._wanted:
            self.waiting.pop()

    def _role_by_header(self, sent: bool, head: bytes) -> None:
        program, kind = _program_type(head)
        if self.role is not None or (program == KEEPALIVE_PROGRAM and kind == EVENT_TYPE):
            return
        if kind in CALL_TYPES:
            self.role = "client" if sent else "server"
        elif kind in REPLY_TYPES or kind == EVENT_TYPE:
            self.role = "server" if sent else "client"
        else:  # streams carry data both ways; most clients download
            self.role = "server" if sent else "client"

    def miss(self, sent: bool) -> None:
        """Note that an unknown number of bytes of a direction, if any, is not in the trace."""
        if self.connection is not None:
            self._missing.add(sent)

    def may_be(self, label: Label) -> bool:
        """Return whether it may be the socket that strace now names like this, after no name or another one:
        a TCP socket that was not connected."""
        if self.key is None:
            return True
        return self.transport == label.transport == "tcp" and b"->" not in self.key and b"->" in label.key

    def guess(self) -> None:
        """Assume the side that is traced most often, since nothing else will decide."""
        self.role = self.role or "client"

    @property
    def undecided(self) -> bool:
        """True if it is libvirt's, and only its side is unknown."""
        return self._wanted and self.role is None

    def flush(self, out: list[Chunk]) -> None:
        """Emit what waits, up to a call whose amount is still unknown."""
        count = 0
        for move in self.waiting:
            if move.open:
                break
            count += 1
            self.give(out, move)
        del self.waiting[:count]

    def give(self, out: list[Chunk], move: Move) -> None:
        """Emit it immediately."""
        assert self.connection is not None
        direction: Direction = "c2s" if move.sent == (self.role == "client") else "s2c"
        parts = move.parts or ([(b"", 0)] if move.end else [])
        for data, cut in parts:
            lost = 0
            if move.sent in self._missing:
                self._missing.discard(move.sent)
                lost = -1
            elif move.sent in self._first:
                self._first.discard(move.sent)
                begins = plausible_header(data + _EXAMPLE[len(data) :])
                lost = -1 if data and not self.opened and not begins else 0
            out.append(Chunk(self.connection, direction, move.time_ns, data, lost, move.end, cut))

    def connect(self, connections: Connections) -> None:
        """Make it the next libvirt connection."""
        here, there = self.local, self.remote
        if self.transport is None:
            here = f"{self.process} fd {self.number}".lstrip()
        elif self.transport == "unix":
            here = here or (f"unix:{self.process}" if self.process else "unix")
            there = there or "unix"
        ends = (here or "?", there or "?")
        client, server = ends if self.role == "client" else ends[::-1]
        self.connection = connections.new(client, server, self.transport or "unix")
