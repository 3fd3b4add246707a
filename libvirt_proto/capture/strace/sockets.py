"""A socket of a traced process: whether it is a connection of libvirt's, which side the process is on, and
the Chunks of it."""

from __future__ import annotations

import re
from struct import Struct
from typing import Final, Literal

from ...codec.limits import MIN_FRAME
from ...events import Chunk, Connection, Connections, Direction
from ..detect import plausible_header
from .line import Label

#: libvirt-sock, libvirt-sock-ro, libvirt-admin-sock, virtqemud-sock, virtlogd-sock, …; not the monitors of
#: its guests, which are below folders of that name, too.
_LIBVIRT_PATH: Final = re.compile(r"(?:.*/)?@?(?:libvirt|virt[a-z]{1,20}d)-(?:[a-z]{1,20}-)?sock(?:-ro)?")
_PROGRAM_TYPE: Final = Struct(">4xI8xi").unpack_from
_KEEPALIVE: Final = 0x6B656570
_CALLS: Final = (0, 4)
_REPLIES: Final = (1, 5)
_EVENT: Final = 2
#: A header that is plausible: its end stands in for the part of another that is not there yet.
_EXAMPLE: Final = b"".join(word.to_bytes(4, "big") for word in (28, 1, 1, 1, 0, 0, 0))
#: So much of a header tells it from other bytes where strace cut off the rest.
_ENOUGH: Final = 12
#: Calls that may wait until it is known which side sent them (keepalive comes from both).
_MAX_WAITING: Final = 64

Role = Literal["client", "server"]


class Move:
    """Bytes that were sent or received by one call: (bytes, number of bytes not shown behind them), and so
    on; or the end of that direction. While it is `open` it is not known yet how many there were."""

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
    """`add` takes what is sent and received, in order; as soon as it is known to be libvirt's, and which side
    is the client, it comes out as Chunks.

    It is libvirt's if one of its addresses is, or when a call moves bytes that begin as a message does. The
    process is the client if it connected, the server if it accepted; else the port, the path or the
    first call, reply or event tells. What the other direction had before that is given, too, if it can be
    the beginning of a message.
    """

    __slots__ = (
        "_ended",
        "_first",
        "_incomplete",
        "_missing",
        "_wanted",
        "connection",
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
        #: Where it was seen first: `pid 25234` ("" if the lines have no numbers), and its descriptor.
        self.process = process
        self.number = number
        self.transport = transport
        #: It is no stream: nothing of it is given.
        self.passed = False
        self.role: Role | None = None
        #: Whether it was seen how the connection began.
        self.opened = False
        self.local: str | None = None
        self.remote: str | None = None
        #: What strace calls it (-y), and that in short.
        self.label: bytes | None = None
        self.key: bytes | None = None
        #: How many descriptors mean it.
        self.holders = 0
        self.connection: Connection | None = None
        self.waiting: list[Move] = []
        self._wanted = False
        self._ended: set[bool] = set()
        #: Directions of which nothing has been given; of which bytes are missing.
        self._first = {True, False}
        self._missing: set[bool] = set()
        #: By direction: the beginning of a header.
        self._incomplete = {True: b"", False: b""}

    def named(self, label: Label, text: bytes) -> None:
        """strace has said what it is."""
        self.key, self.label = label.key, text
        self.transport = label.transport or self.transport
        self.local = label.local or self.local
        self.remote = label.remote or self.remote

    def is_libvirt(self, ports: frozenset[int]) -> bool:
        """Whether its addresses are libvirt's."""
        return self._is_libvirt(self.local, ports) or self._is_libvirt(self.remote, ports)

    def _is_libvirt(self, address: str | None, ports: frozenset[int]) -> bool:
        if not address:
            return False
        if self.transport == "tcp":
            port = address.rpartition(":")[2]
            return port.isdigit() and int(port) in ports
        return _LIBVIRT_PATH.fullmatch(address) is not None

    def add(self, move: Move, ports: frozenset[int]) -> bool:
        """Take what a call moved; says whether `flush` has something to give."""
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
        """See whether a message begins with these bytes, or goes on with them that began a moment ago."""
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
            if not self._wanted:  # what came before this call is not libvirt's
                self.waiting = [move for move in self.waiting[:-1] if move.sent != sent] + self.waiting[-1:]
        if not self._wanted:
            self.waiting.pop()

    def _role_by_header(self, sent: bool, head: bytes) -> None:
        program, kind = _PROGRAM_TYPE(head)
        if self.role is not None or (program == _KEEPALIVE and kind == _EVENT):
            return
        if kind in _CALLS:
            self.role = "client" if sent else "server"
        elif kind in _REPLIES or kind == _EVENT:
            self.role = "server" if sent else "client"
        else:  # streams go in both directions; most clients download
            self.role = "server" if sent else "client"

    def miss(self, sent: bool) -> None:
        """An unknown number of bytes of a direction is not in the trace, if there were any."""
        if self.connection is not None:
            self._missing.add(sent)

    def may_be(self, label: Label) -> bool:
        """Whether it may be what strace names like this now and has not named before, or named otherwise:
        a TCP socket that was not connected."""
        if self.key is None:
            return True
        return self.transport == label.transport == "tcp" and b"->" not in self.key and b"->" in label.key

    def guess(self) -> None:
        """Nothing more will tell which side this is: the one that is traced most often."""
        self.role = self.role or "client"

    @property
    def undecided(self) -> bool:
        """Whether it is libvirt's, and only its role is not known."""
        return self._wanted and self.role is None

    def flush(self, out: list[Chunk]) -> None:
        """Give what waits, up to a call of which it is not known yet what it moved."""
        count = 0
        for move in self.waiting:
            if move.open:
                break
            count += 1
            self.give(out, move)
        del self.waiting[:count]

    def give(self, out: list[Chunk], move: Move) -> None:
        """Give it now."""
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
        """It is a connection of libvirt's, the next one."""
        here, there = self.local, self.remote
        if self.transport is None:
            here = f"{self.process} fd {self.number}".lstrip()
        elif self.transport == "unix":
            here = here or (f"unix:{self.process}" if self.process else "unix")
            there = there or "unix"
        ends = (here or "?", there or "?")
        client, server = ends if self.role == "client" else ends[::-1]
        self.connection = connections.new(client, server, self.transport or "unix")
