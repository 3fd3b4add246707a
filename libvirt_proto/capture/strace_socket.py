"""The sockets of traced processes: whose descriptors they are, and which of them speak libvirt."""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import Final, Literal

from ..limits import MIN_FRAME
from .chunk import Chunk, Connection, Direction
from .detect import plausible_header
from .socket_address import Named, Peer, of_decoration

#: Bytes that went through a call, and how many more did that strace does not show.
Piece = tuple[bytes, int]

#: Descriptors that a table may have, and tables; far more than any process has, or a machine processes.
_MAX_DESCRIPTORS: Final = 1 << 20
_MAX_TABLES: Final = 65_536
_TYPE: Final = Struct(">16xi").unpack_from
#: VIR_NET_REPLY, VIR_NET_MESSAGE, VIR_NET_REPLY_WITH_FDS.
_FROM_SERVER: Final = frozenset((1, 2, 5))

Role = Literal["client", "server"]


class Socket:
    """A socket as a process has it. `role` is the process's, None while it is not known."""

    def __init__(self, tables: Tables, pid: int | None) -> None:
        self._tables = tables
        self._pid = pid
        self.role: Role | None = None
        self.local: Peer | None = None
        self.remote: Peer | None = None
        #: What `-yy` knows it by.
        self.key = b""
        #: How many descriptors it has.
        self.descriptors = 0
        self.connection: Connection | None = None
        #: By direction (whether the process writes): a call's bytes, if they were four: libvirt reads a
        #: length word by itself, and then the rest.
        self._word: dict[bool, tuple[int | None, bytes]] = {}
        #: Directions in which something went by that began no message.
        self._missed: set[bool] = set()
        self._ended: set[bool] = set()

    def name(self, decoration: bytes) -> None:
        """Take what `-yy` says."""
        if decoration:
            self.named(of_decoration(decoration))

    def named(self, known: Named) -> None:
        """Take what `-yy` says."""
        self.key = known.key if known.key != b"TCP" else self.key
        self.local = known.local or self.local
        self.remote = known.remote or self.remote

    def transfer(
        self, writes: bool, time_ns: int | None, pieces: list[Piece], *, ended: bool
    ) -> Iterator[Chunk]:
        """What a call moved; `ended`: it says that nothing more will come."""
        if self.connection is None and pieces and not self._is_libvirt(writes, time_ns, pieces):
            return
        for data, cut in pieces:
            yield from self._chunks(writes, time_ns, data, cut)
        if ended:
            yield from self.end(writes=writes, time_ns=time_ns)

    def end(self, *, writes: bool, time_ns: int | None) -> Iterator[Chunk]:
        """A direction has ended."""
        if self.connection is not None and writes not in self._ended:
            self._ended.add(writes)
            yield Chunk(self.connection, self._direction(writes), time_ns, b"", end=True)

    def _chunks(self, writes: bool, time_ns: int | None, data: bytes, cut: int) -> Iterator[Chunk]:
        assert self.connection is not None
        if writes in self._ended:
            return
        direction, lost = self._direction(writes), -1 if writes in self._missed else 0
        self._missed.discard(writes)
        if writes in self._word:
            before_ns, word = self._word.pop(writes)
            yield Chunk(self.connection, direction, before_ns, word, lost)
            lost = 0
        yield Chunk(self.connection, direction, time_ns, data, lost, cut=cut)

    def _direction(self, writes: bool) -> Direction:
        return "c2s" if writes == (self.role == "client") else "s2c"

    def _is_libvirt(self, writes: bool, time_ns: int | None, pieces: list[Piece]) -> bool:
        """Decide by the address, or by this call: messages begin where calls do."""
        server = self.remote if self.role == "client" else self.local
        if self.role is not None and server is not None and server.speaks_libvirt(self._tables.ports):
            self._open()
            return True
        begin = b"".join(data for data, _ in pieces[:MIN_FRAME])[:MIN_FRAME]
        _, word = self._word.get(writes, (None, b""))
        if word and plausible_header((word + begin)[:MIN_FRAME]):
            begin = word + begin
        else:
            if self._word.pop(writes, None):
                self._missed.add(writes)
            if not plausible_header(begin):
                if len(begin) == 4 and not any(cut for _, cut in pieces):
                    self._word[writes] = time_ns, begin
                else:
                    self._missed.add(writes)
                return False
        if self.role is None:
            (kind,) = _TYPE(begin)
            self.role = "client" if (kind in _FROM_SERVER) != writes else "server"
        self._open()
        return True

    def _open(self) -> None:
        ours, theirs = self._end(self.local, own=True), self._end(self.remote, own=False)
        client, server = (ours, theirs) if self.role == "client" else (theirs, ours)
        known = self.remote or self.local
        self.connection = self._tables.connection(client, server, known.transport if known else "unix")

    def _end(self, peer: Peer | None, *, own: bool) -> str:
        if peer is not None and peer.name:
            return peer.name
        if own:
            return "traced process" if self._pid is None else f"pid {self._pid}"
        return "server" if self.role == "client" else "client"


class Table:
    """The descriptors of a process, which its threads share."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self.threads: set[int | None] = set()
        self._sockets: dict[int, Socket] = {}

    def socket(self, descriptor: int, decoration: bytes, pid: int | None) -> Socket | None:
        """The socket of a descriptor; one that was never seen before may be one. `decoration` is what `-yy`
        calls it; None for what is no socket by that."""
        socket = self._sockets.get(descriptor)
        known = of_decoration(decoration) if decoration else None
        if known is not None:
            if not known.key:
                return None
            if socket is not None and socket.key and known.key not in (socket.key, b"TCP"):
                self._forget(descriptor)
                socket = None
        if socket is None:
            if len(self._sockets) >= _MAX_DESCRIPTORS:
                return None
            socket = Socket(self._tables, pid)
            self._add(descriptor, socket)
        if known is not None:
            socket.named(known)
        return socket

    def put(self, descriptor: int, socket: Socket, time_ns: int | None) -> Iterator[Chunk]:
        """A descriptor that is new; what had its number before was closed."""
        yield from self.close(descriptor, time_ns)
        self._add(descriptor, socket)

    def duplicate(self, descriptor: int, new: int, time_ns: int | None) -> Iterator[Chunk]:
        """Another descriptor of the same thing."""
        socket = self._sockets.get(descriptor)
        if new != descriptor:
            yield from self.close(new, time_ns)
            if socket is not None:
                self._add(new, socket)

    def close(self, descriptor: int, time_ns: int | None) -> Iterator[Chunk]:
        """A descriptor is gone; with the last one of a socket, its connection ends."""
        socket = self._forget(descriptor)
        if socket is not None and not socket.descriptors:
            yield from socket.end(writes=True, time_ns=time_ns)
            yield from socket.end(writes=False, time_ns=time_ns)

    def close_all(self, time_ns: int | None) -> Iterator[Chunk]:
        """The process is gone."""
        for descriptor in list(self._sockets):
            yield from self.close(descriptor, time_ns)

    def copy(self) -> Table:
        """What a new process gets of it."""
        table = Table(self._tables)
        for descriptor, socket in self._sockets.items():
            table._add(descriptor, socket)
        return table

    def _add(self, descriptor: int, socket: Socket) -> None:
        self._sockets[descriptor] = socket
        socket.descriptors += 1

    def _forget(self, descriptor: int) -> Socket | None:
        socket = self._sockets.pop(descriptor, None)
        if socket is not None:
            socket.descriptors -= 1
        return socket


class Tables:
    """Whose descriptors are whose, and the connections that were found. `ports` are libvirt's."""

    def __init__(self, ports: frozenset[int]) -> None:
        self.ports = ports
        self.opened = 0
        #: Of threads of which nobody knows to which process they belong.
        self._unknown = Table(self)
        self._of: dict[int | None, Table] = {}

    def of(self, pid: int | None) -> Table:
        """The table of a thread."""
        table = self._of.get(pid)
        if table is None:
            table = self._unknown
            if len(self._of) < _MAX_TABLES:
                self._of[pid] = table
                table.threads.add(pid)
        return table

    def forked(self, pid: int | None, child: int, shares: bool) -> None:
        """A thread has made another, which shares its table or gets a copy."""
        if len(self._of) >= _MAX_TABLES:
            return
        table = self.of(pid) if shares else self.of(pid).copy()
        if child in self._of:  # it was heard of before its parent's call returned
            self._of[child].threads.discard(child)
        self._of[child] = table
        table.threads.add(child)

    def exited(self, pid: int | None, time_ns: int | None) -> Iterator[Chunk]:
        """A thread is gone; with the last one its process is."""
        table = self._of.pop(pid, None)
        if table is not None:
            table.threads.discard(pid)
            if not table.threads:
                yield from table.close_all(time_ns)

    def connection(self, client: str, server: str, transport: str) -> Connection:
        """One more connection."""
        self.opened += 1
        return Connection(self.opened, client, server, transport)
