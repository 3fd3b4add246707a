"""strace's output: the calls that libvirt's clients and daemons read and write their sockets with.

Descriptors are followed from socket, connect and accept to close, through dup and fork, or, with `-yy`, told
by their names. Which of them speak libvirt is told by the socket's address, or by what is said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from ..limits import MAX_FRAME
from . import strace_line
from .chunk import Chunk, Item, Notice
from .lines import LineTooLongError, text_lines
from .pcap import Read
from .socket_address import Peer, named, socket_address
from .strace_line import Line, Result
from .strace_socket import Piece, Socket, Table, Tables

#: A message in hexadecimal, and what else a line has.
_MAX_LINE: Final = 4 * MAX_FRAME + 65_536
_NS_PER_DAY: Final = 86_400 * 10**9
#: `-ttt` counts from the epoch, `-r` from the line before: nothing pauses for three years.
_EPOCH_FROM: Final = 10**17
#: Calls that may be interrupted at a time.
_MAX_PENDING: Final = 65_536

_READS: Final = frozenset(("read", "readv", "recv", "recvfrom", "recvmsg", "recvmmsg", "recvmmsg_time64"))
_WRITES: Final = frozenset(("write", "writev", "send", "sendto", "sendmsg", "sendmmsg"))
_DATA: Final = _READS | _WRITES
_FORKS: Final = frozenset(("clone", "clone3", "fork", "vfork"))


def strace_chunks(read: Read, ports: frozenset[int]) -> Iterator[Item]:
    """What strace wrote down, in its order; `ports` are libvirt's TCP ports.

    Each descriptor of a socket is a connection of its own: of a trace of both client and daemon, the same
    conversation comes twice. Threads share a table of descriptors where their clone was seen, and where no
    line says whose they are (they were there before strace, or `-e` leaves clone out). Processes then are
    taken for threads, too, so that descriptors of several may be mixed up, unless `-yy` names them.

    Times: `-ttt` as it stands; `-t` and `-tt` on the epoch's first day and those after it; `-r` from the
    epoch; else None. A call that waited is dated when it returned, if `-T` or an interruption tells.

    Notices: `cut-strings` (`-s` was too small: bytes are missing from that many calls), `bad-strace` (lines
    about data that cannot be understood), `no-libvirt` (nothing in the trace is libvirt's).
    """
    return _Strace(ports).read(read)


class _Clock:
    """Lines' times, in nanoseconds."""

    def __init__(self) -> None:
        self._last = 0
        self._days = 0
        self._relative = 0

    def time(self, line: Line) -> int | None:
        """The time of a line; lines must come in their order."""
        clock, seconds = line.when
        if clock is not None:
            hours, minutes, rest = clock.split(b":", 2)
            time = (int(hours) * 60 + int(minutes)) * 60 * 10**9 + strace_line.nanoseconds(rest)
            # Threads' lines may be a little out of order; midnight takes it back by a day.
            if time < self._last - _NS_PER_DAY // 2:
                self._days += 1
            self._last = time
            return self._days * _NS_PER_DAY + time
        if seconds is None:
            return None
        time = strace_line.nanoseconds(seconds)
        if time >= _EPOCH_FROM:
            return time
        self._relative += time
        return self._relative


class _Strace:
    def __init__(self, ports: frozenset[int]) -> None:
        self._clock = _Clock()
        self._tables = Tables(ports)
        #: Thread → name and arguments of a call that is interrupted.
        self._pending: dict[int | None, tuple[str, bytes]] = {}
        self._number = 0
        self._cut_calls = 0
        self._bad_lines = 0
        self._first_bad = 0
        self._calls: dict[str, Callable[[Table, bytes, Result], Iterator[Item]]] = {
            "socket": self._socket,
            "socketpair": self._socketpair,
            "connect": self._connect,
            "bind": self._bind,
            "getsockname": self._getsockname,
            "getpeername": self._getpeername,
            "getsockopt": self._getsockopt,
            "accept": self._accept,
            "accept4": self._accept,
            "close": self._close,
            "dup": self._dup,
            "dup2": self._dup,
            "dup3": self._dup,
            "fcntl": self._fcntl,
            "fcntl64": self._fcntl,
            "shutdown": self._shutdown,
        }
        self._time_ns: int | None = None
        self._pid: int | None = None

    def read(self, read: Read) -> Iterator[Item]:
        try:
            for data in text_lines(read, _MAX_LINE):
                self._number += 1
                line = strace_line.parse(data)
                if line is not None:
                    self._time_ns, self._pid = self._clock.time(line), line.pid
                    yield from self._line(line)
        except LineTooLongError as error:
            text = f"line {self._number + 1}: {error}; nothing behind it was read"
            yield Notice("bad-strace", text)
        yield from self._summary()

    def _summary(self) -> Iterator[Notice]:
        if self._cut_calls:
            calls = "1 call" if self._cut_calls == 1 else f"{self._cut_calls:,} calls"
            text = f"strace cut off the data of {calls}: give it -s 33554436, the size of the largest message"
            yield Notice("cut-strings", text)
        if self._bad_lines:
            text = (
                f"data that cannot be understood: {self._bad_lines:,} lines, the first is {self._first_bad}"
            )
            yield Notice("bad-strace", text)
        if not self._tables.opened:
            text = (
                "no call of this trace reads or writes libvirt's messages; strace needs"
                " -f -s 33554436 -e trace=%network,read,write,readv,writev,close,dup,dup2,dup3,fcntl"
            )
            yield Notice("no-libvirt", text)

    def _line(self, line: Line) -> Iterator[Item]:
        if line.exited:
            self._pending.pop(line.pid, None)
            yield from self._tables.exited(line.pid, self._time_ns)
            return
        name, arguments = line.name, line.arguments
        if line.resumed is not None:
            name, begun = self._pending.pop(line.pid, (None, b""))
            if name != line.resumed:
                return
            arguments = begun + arguments
        if name is None or (name not in _DATA and name not in self._calls and name not in _FORKS):
            return
        if line.result is None:
            if len(self._pending) < _MAX_PENDING:
                self._pending[line.pid] = name, arguments
            return
        result = line.result
        if result.took_ns is not None and self._time_ns is not None and line.resumed is None:
            self._time_ns += result.took_ns
        if name in _FORKS:
            if result.value is not None and result.value > 0:
                shares = b"CLONE_FILES" in arguments or b"CLONE_THREAD" in arguments
                self._tables.forked(self._pid, result.value, shares)
        elif name in _DATA:
            if result.value is not None and result.value >= 0:
                yield from self._transfer(name, arguments, result)
        else:
            yield from self._calls[name](self._tables.of(self._pid), arguments, result)

    # Data

    def _transfer(self, name: str, arguments: bytes, result: Result) -> Iterator[Item]:
        first = strace_line.descriptor(arguments)
        table = self._tables.of(self._pid)
        socket = None if first is None else table.socket(first[0], first[1], self._pid)
        if first is None or socket is None:
            return
        writes, count = name in _WRITES, result.value or 0
        if name.endswith(("mmsg", "mmsg_time64")):
            pieces = _messages(arguments, first[2], count)
        elif name in ("read", "write", "recv", "send", "recvfrom", "sendto"):
            pieces = _buffer(arguments, first[2], count)
        else:
            pieces = _vector(arguments, first[2], count)
            if b"SCM_RIGHTS" in arguments and pieces:  # one descriptor came with the last byte
                pieces = _without_last(pieces)
        if pieces is None:
            if socket.connection is not None:
                self._bad_lines += 1
                self._first_bad = self._first_bad or self._number
            return
        chunks = list(socket.transfer(writes, self._time_ns, pieces, ended=not (writes or count)))
        self._cut_calls += any(isinstance(chunk, Chunk) and chunk.cut for chunk in chunks)
        yield from chunks

    # Descriptors

    def _socket(self, table: Table, arguments: bytes, result: Result) -> Iterator[Item]:
        """socket(AF_UNIX, SOCK_STREAM, 0) = 4"""
        if result.value is not None and result.value >= 0:
            yield from table.put(result.value, Socket(self._tables, self._pid), self._time_ns)

    def _socketpair(self, table: Table, arguments: bytes, result: Result) -> Iterator[Item]:
        """socketpair(AF_UNIX, SOCK_STREAM, 0, [3, 4]) = 0"""
        at = arguments.find(b"[")
        for _ in range(2):
            found = strace_line.descriptor(arguments, at + 1)
            if result.value != 0 or at < 0 or found is None:
                return
            yield from table.put(found[0], Socket(self._tables, self._pid), self._time_ns)
            at = found[2] + 1

    def _connect(self, table: Table, arguments: bytes, result: Result) -> Iterator[Item]:
        """connect(4, {sa_family=AF_UNIX, sun_path="/run/libvirt/libvirt-sock"}, 110) = 0"""
        socket, address = self._addressed(table, arguments)
        if socket is not None and (result.value == 0 or result.error == "EINPROGRESS"):
            socket.role = "client"
            socket.remote = address
        return iter(())

    def _bind(self, table: Table, arguments: bytes, result: Result) -> Iterator[Item]:
        socket, address = self._addressed(table, arguments)
        if socket is not None and result.value == 0 and address is not None:
            socket.local = address
        return iter(())

    _getsockname = _bind

    def _getpeername(self, table: Table, arguments: bytes, result: Result) -> Iterator[Item]:
        socket, address = self._addressed(table, arguments)
        if socket is not None and result.value == 0 and address is not None:
            socket.remote = address
        return iter(())

    def _getsockopt(self, table: Table, arguments: bytes, result: Result) -> Iterator[Item]:
        """getsockopt(12, SOL_SOCKET, SO_PEERCRED, {pid=123, uid=0, gid=0}, [12]) = 0"""
        at = arguments.find(b"{pid=")
        if b"SO_PEERCRED" in arguments and at >= 0 and result.value == 0:
            socket, _ = self._addressed(table, arguments)
            pid = strace_line.descriptor(arguments, at + 5)
            if socket is not None and pid is not None:
                socket.remote = named(f"pid {pid[0]}")
        return iter(())

    def _accept(self, table: Table, arguments: bytes, result: Result) -> Iterator[Item]:
        """accept4(8, {sa_family=AF_INET, sin_port=htons(42388), …}, [16], SOCK_CLOEXEC) = 11"""
        if result.value is None or result.value < 0:
            return
        listening, address = self._addressed(table, arguments)
        socket = Socket(self._tables, self._pid)
        socket.role = "server"
        socket.remote = address
        if listening is not None:
            socket.local = listening.local
        socket.name(result.decoration)
        yield from table.put(result.value, socket, self._time_ns)

    def _addressed(self, table: Table, arguments: bytes) -> tuple[Socket | None, Peer | None]:
        """The socket that a call is about, and the address among its arguments."""
        first = strace_line.descriptor(arguments)
        if first is None:
            return None, None
        return table.socket(first[0], first[1], self._pid), socket_address(arguments, first[2])

    def _close(self, table: Table, arguments: bytes, result: Result) -> Iterator[Item]:
        first = strace_line.descriptor(arguments)
        if first is not None and result.error != "EBADF":
            yield from table.close(first[0], self._time_ns)

    def _dup(self, table: Table, arguments: bytes, result: Result) -> Iterator[Item]:
        """dup2(3, 255) = 255"""
        first = strace_line.descriptor(arguments)
        if first is not None and result.value is not None and result.value >= 0:
            yield from table.duplicate(first[0], result.value, self._time_ns)

    def _fcntl(self, table: Table, arguments: bytes, result: Result) -> Iterator[Item]:
        """fcntl(9, F_DUPFD_CLOEXEC, 0) = 12"""
        if b"F_DUPFD" in arguments:
            yield from self._dup(table, arguments, result)

    def _shutdown(self, table: Table, arguments: bytes, result: Result) -> Iterator[Item]:
        """shutdown(9, SHUT_WR) = 0"""
        socket, _ = self._addressed(table, arguments)
        if socket is not None and result.value == 0:
            if b"SHUT_RD" not in arguments or b"SHUT_RDWR" in arguments:
                yield from socket.end(writes=True, time_ns=self._time_ns)
            if b"SHUT_WR" not in arguments:
                yield from socket.end(writes=False, time_ns=self._time_ns)


def _buffer(arguments: bytes, at: int, count: int) -> list[Piece] | None:
    """The data of read(4, "…"..., 28) = 28."""
    if not count:
        return []
    string = strace_line.text(arguments, at + 2)  # behind a comma and a blank
    return None if string is None else _pieces([(string.data, count)], count)


def _vector(arguments: bytes, at: int, count: int) -> list[Piece] | None:
    """The data of [{iov_base="…", iov_len=3}, …], of which the call moved `count` bytes."""
    if not count:
        return []
    buffers = []
    for string, end in strace_line.texts(arguments, b"iov_base=", at):
        size = _labelled(arguments, b", iov_len=", end)
        if string is None or size is None:
            return None
        buffers.append((string.data, size))
    return _pieces(buffers, count) if buffers else None


def _messages(arguments: bytes, at: int, count: int) -> list[Piece] | None:
    """The data of `count` messages [{msg_hdr={msg_iov=[…], …}, msg_len=28}, …]."""
    pieces: list[Piece] = []
    for _ in range(count):
        end = arguments.find(b"msg_len=", at)
        size = _labelled(arguments, b"msg_len=", end) if end >= 0 else None
        if size is None:
            return None
        message = arguments[at:end]
        data = _vector(message, 0, size)
        if data is None:
            return None
        pieces += _without_last(data) if b"SCM_RIGHTS" in message else data
        at = end + 8
    return pieces


def _labelled(arguments: bytes, label: bytes, at: int) -> int | None:
    """The number behind a label that stands at a place."""
    if not arguments.startswith(label, at):
        return None
    found = strace_line.descriptor(arguments, at + len(label))
    return None if found is None else found[0]


def _pieces(buffers: list[tuple[bytes, int]], count: int) -> list[Piece]:
    """What is in buffers of such sizes, after `count` bytes went through them."""
    pieces = []
    for data, size in buffers:
        length = min(size, count)
        if length <= 0:
            break
        pieces.append((data[:length], max(0, length - len(data))))
        count -= length
    if count > 0 and pieces:  # buffers that are not shown
        data, cut = pieces[-1]
        pieces[-1] = data, cut + count
    return pieces


def _without_last(pieces: list[Piece]) -> list[Piece]:
    """The data without its last byte."""
    *before, (data, cut) = pieces or [(b"", 0)]
    last = (data, cut - 1) if cut else (data[:-1], 0)
    return [*before, last] if last != (b"", 0) else before
