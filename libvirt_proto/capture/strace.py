"""strace's output: the bytes that the processes it traced sent and received over libvirt's connections.

    25234 1795384881.937323 write(4<UNIX-STREAM:[41180->42012]>, "\\0\\0\\0\\34 \\0\\200\\206"..., 28) = 28

Descriptors are followed from the calls that make, copy and close them; with -y or -yy strace says itself
which socket one is. Sources: strace(1), and the manual pages of the calls.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from ..limits import MAX_FRAME
from .chunk import Chunk, Item, Notice
from .descriptors import MAX_DESCRIPTORS, Descriptors, Table
from .lines import LineTooLongError, text_lines
from .pcap import Read
from .strace_io import CALLS, Transfer, transfers
from .strace_line import (
    BadCallError,
    Clock,
    Line,
    address,
    attached,
    descriptor,
    descriptors,
    label,
    parse,
    result,
)
from .strace_socket import Move, Socket
from .tcp import LIBVIRT_PORTS

#: The longest message, with each byte as `\xff`, and what else is on a line.
MAX_LINE: Final = 4 * MAX_FRAME + 65_536
#: Calls that may be unfinished at a time, and the characters that they may have.
MAX_UNFINISHED: Final = 16_384
MAX_UNFINISHED_TEXT: Final = 2 * MAX_LINE
#: What may wait behind an unfinished call: calls of one socket, and bytes of all.
MAX_WAITING_CALLS: Final = 1024
MAX_WAITING: Final = 64 << 20
#: Sockets of libvirt's of which it may be unknown which side they are.
MAX_UNDECIDED: Final = 4096

#: Calls whose result is a descriptor of something else than a socket.
_OTHERS: Final = frozenset(
    (
        b"open", b"openat", b"openat2", b"creat", b"eventfd", b"eventfd2", b"epoll_create", b"epoll_create1",
        b"memfd_create", b"timerfd_create", b"inotify_init", b"inotify_init1", b"signalfd", b"signalfd4",
        b"pidfd_open",
    )
)  # fmt: skip
_CLONES: Final = frozenset((b"clone", b"clone2", b"clone3", b"fork", b"vfork"))

_NOTHING: Final = (
    "no connection of libvirt's is in this trace; strace has to show the calls that libvirt reads and writes with:"
    " strace -f -yy -ttt -xx -s 1048576"
    " -e trace=%network,read,write,readv,writev,close,dup,dup2,dup3,fcntl,clone,clone3,fork,vfork,execve"
    " -o FILE virsh …"
)


class _Call(NamedTuple):
    """A call with its result (`value`, None for none, and the text behind it), when it began, and when it
    was over as far as that is known."""

    process: int | None
    name: bytes
    text: bytes
    value: int | None
    rest: bytes
    time_ns: int | None
    end_ns: int | None


class _Unfinished:
    """A call whose end has not come yet, and the bytes that it sends."""

    __slots__ = ("moves", "name", "socket", "text", "time_ns")

    def __init__(self, name: bytes, text: bytes, time_ns: int | None) -> None:
        self.name = name
        self.text = text
        self.time_ns = time_ns
        self.socket: Socket | None = None
        self.moves: list[tuple[Move, Transfer]] = []


def strace_chunks(read: Read, ports: frozenset[int] = LIBVIRT_PORTS) -> Iterator[Item]:
    """What a trace says, in its order; what is sent, in the order in which the calls began.

    Each socket is a connection: where a client and its daemon are in one trace, there are two. Sockets are
    followed if one of their addresses is libvirt's (`ports`, `libvirt-sock` and its siblings), or from the
    first call on whose bytes begin as a message does. Connections are named by their addresses; a unix
    socket's client by its process, `unix:pid 25234`; and where not even the kind of a socket is known, it
    is `pid 25234 fd 4`.

    Threads share the descriptors of their process if the trace shows how they began. Threads and processes
    that strace was attached to (-p) have one table of descriptors together, for nothing tells them apart; with
    -yy descriptors say themselves what they are, so that two processes do not get mixed up.

    `time_ns` is when bytes were sent or had been received. It is since the epoch with -ttt; -t and -tt have no
    day and no zone: the first day becomes 1970-01-01, and the time of the day UTC; with -r the first
    line is at 0. Without times it is None.

    The byte that comes with file descriptors (SCM_RIGHTS) is left out. Notices: `cut-strings` (how many
    calls strace did not show whole; `cut` says how much of each), `bad-strace` (calls that move a
    connection's bytes but cannot be read, and lines that are too long), `no-libvirt` (a note: no connection is
    libvirt's).
    """
    return _Trace(ports).read(read)


class _Trace:
    def __init__(self, ports: frozenset[int]) -> None:
        self._ports = ports
        self._out: list[Chunk] = []
        self._descriptors = Descriptors()
        self._clock = Clock()
        #: Sockets that strace has named, by that name.
        self._named: dict[bytes, Socket] = {}
        self._unfinished: dict[int | None, _Unfinished] = {}
        self._unfinished_text = self._waiting = 0
        #: Processes that are making another, and whether that will share their descriptors.
        self._cloning: dict[int | None, bool] = {}
        #: Sockets that are libvirt's, where it is not known which side this is.
        self._undecided: dict[Socket, None] = {}
        self._connections = 0
        self._cut_calls = self._cut_bytes = 0
        self._bad_calls = 0
        self._first_bad = ""
        self._handlers: dict[bytes, Callable[[_Call], None]] = {
            **dict.fromkeys(CALLS, self._move),
            **dict.fromkeys(_OTHERS, self._other),
            **dict.fromkeys(_CLONES, self._clone),
            b"socket": self._socket,
            b"socketpair": self._socketpair,
            b"bind": self._local,
            b"getsockname": self._local,
            b"getpeername": self._remote,
            b"connect": self._connect,
            b"accept": self._accept,
            b"accept4": self._accept,
            b"dup": self._dup,
            b"dup2": self._dup,
            b"dup3": self._dup,
            b"fcntl": self._fcntl,
            b"fcntl64": self._fcntl,
            b"close": self._close,
            b"close_range": self._close_range,
            b"shutdown": self._shutdown,
            b"execve": self._execve,
            b"execveat": self._execve,
        }

    # Lines

    def read(self, read: Read) -> Iterator[Item]:
        number, out = 0, self._out
        too_long = None
        try:
            for number, data in enumerate(text_lines(read, MAX_LINE), 1):
                line = parse(data)
                if line is None:
                    child = attached(data)
                    if child is not None:
                        self._attached(child, data)
                    continue
                try:
                    self._line(line)
                except BadCallError as error:
                    self._bad_calls += 1
                    self._first_bad = self._first_bad or f"line {number}: {line.name.decode()} {error}"
                if out:
                    yield from self._counted()
        except LineTooLongError as error:
            too_long = f"line {number + 1}: {error}; nothing behind it was read"
        self._finish()
        yield from self._counted()
        yield from self._notices(too_long)

    def _line(self, line: Line) -> None:
        process = line.pid
        time_ns = self._clock.ns(line.time) if line.time else None
        if process is not None and not self._descriptors.known(process):
            self._born(process)
        unfinished = self._take_unfinished(line) if self._unfinished else None
        if line.kind == "exit":
            self._descriptors.exited(process)
            self._close_ended(time_ns)
            return
        handler = self._handlers.get(line.name)
        if handler is None:
            return
        if line.kind == "begun":
            self._begin(process, line.name, line.text, time_ns)
            return
        text, end_ns = line.text, time_ns
        if line.kind == "resumed":
            if unfinished is None:
                return
            time_ns = unfinished.time_ns
            if unfinished.moves:
                _, returned = result(line.text)
                self._sent(unfinished, returned.value)
                return
            text = unfinished.text + text
        try:
            arguments, returned = result(text)
        except BadCallError:
            if line.name in CALLS:
                self._bad(process, text, None)
            return
        if end_ns is not None and line.kind == "call":
            end_ns += returned.duration_ns
        handler(_Call(process, line.name, arguments, returned.value, returned.text, time_ns, end_ns))

    def _born(self, process: int) -> None:
        """A process or thread is seen for the first time: it may be what an unfinished call makes."""
        for parent, shared in self._cloning.items():
            del self._cloning[parent]
            self._descriptors.cloned(parent, process, shared=shared)
            return
        self._descriptors.table(process)

    def _attached(self, child: int, data: bytes) -> None:
        """strace says that it follows a new process, in the middle of the line of the call that makes it."""
        line = parse(data)
        if line is not None and line.name in _CLONES:
            self._descriptors.cloned(line.pid, child, shared=_shares(data))

    # Unfinished calls

    def _take_unfinished(self, line: Line) -> _Unfinished | None:
        """The call that a line goes on with. Where another line of the same process comes first, the end of the
        call is not in the trace."""
        process = line.pid
        if process not in self._unfinished and line.kind == "resumed":
            process = None  # strace had no reason to number it before
        unfinished = self._unfinished.pop(process, None)
        if unfinished is None:
            return None
        self._unfinished_text -= len(unfinished.text)
        self._cloning.pop(process, None)
        if line.kind == "resumed" and line.name == unfinished.name:
            return unfinished
        self._abandon(process, unfinished, missing=line.kind != "exit")
        return None

    def _abandon(self, process: int | None, unfinished: _Unfinished, *, missing: bool) -> None:
        """The end of a call will not come: take it that all was sent."""
        if unfinished.moves:
            self._sent(unfinished, None)
        elif missing and unfinished.name in CALLS and not CALLS[unfinished.name].sends:
            one = descriptor(unfinished.text)
            socket = one and self._at(process, *one[:2])
            if socket:
                socket.miss(False)

    def _begin(self, process: int | None, name: bytes, text: bytes, time_ns: int | None) -> None:
        if name == b"close":  # another thread may get the descriptor before this line's end comes
            self._close(_Call(process, name, text, 0, b"", time_ns, time_ns))
            return
        unfinished = _Unfinished(name, text, time_ns)
        if name in _CLONES:
            self._cloning[process] = _shares(text)
        elif name in CALLS and CALLS[name].sends:
            self._begin_to_send(process, unfinished)
        self._unfinished[process] = unfinished
        self._unfinished_text += len(unfinished.text)
        if len(self._unfinished) > MAX_UNFINISHED or self._unfinished_text > MAX_UNFINISHED_TEXT:
            self._abandon_all()

    def _begin_to_send(self, process: int | None, unfinished: _Unfinished) -> None:
        """What is sent is given in the order in which the calls began: an answer may come before their end."""
        one = descriptor(unfinished.text)
        socket = one and self._at(process, *one[:2])
        if not one or not socket:
            return
        try:
            found = transfers(CALLS[unfinished.name].form, unfinished.text, one[2])
        except BadCallError:
            return
        unfinished.socket = socket
        for transfer in found:
            move = Move(True, unfinished.time_ns, transfer.shown(transfer.size), open=True)
            unfinished.moves.append((move, transfer))
            self._add(socket, move)
        unfinished.text = b""

    def _sent(self, unfinished: _Unfinished, value: int | None) -> None:
        """A call has sent as many bytes as `value` says; all, for None."""
        several = CALLS[unfinished.name].form == "messages"
        for number, (move, transfer) in enumerate(unfinished.moves):
            if several:
                move.parts = move.parts if value is None or number < value else []
            elif value is not None:
                move.parts = transfer.shown(max(value, 0))
            move.open = False
        if unfinished.socket is not None and unfinished.socket.connection is not None:
            unfinished.socket.flush(self._out)

    def _abandon_all(self) -> None:
        for process, unfinished in list(self._unfinished.items()):
            self._abandon(process, unfinished, missing=True)
        self._unfinished.clear()
        self._cloning.clear()
        self._unfinished_text = self._waiting = 0

    # Sockets

    def _at(self, process: int | None, number: int, name: bytes | None, *, new: bool = True) -> Socket | None:
        """The socket that a descriptor means; None for what is none. One that is not known is made."""
        table = self._descriptors.table(process)
        socket = table.sockets.get(number)
        if name is None:
            if socket is None and new and number >= 0:
                socket = self._new(process, number)
                self._descriptors.put(table, number, socket)
            return socket
        if socket is not None and socket.label == name:
            return socket
        return self._labelled(process, table, number, name)

    def _labelled(self, process: int | None, table: Table, number: int, name: bytes) -> Socket | None:
        """The socket that strace calls so."""
        what = label(name)
        known = table.sockets.get(number)
        if what is None:
            self._descriptors.forget(table, number)
            return None
        socket = self._named.get(what.key)
        if socket is None:
            socket = known if known is not None and known.may_be(what) else self._new(process, number)
            self._name(socket, what.key)
        socket.named(what, name)
        if socket is not known:
            self._descriptors.forget(table, number)
            self._descriptors.put(table, number, socket)
        return socket

    def _name(self, socket: Socket, key: bytes) -> None:
        if socket.key is not None and self._named.get(socket.key) is socket:
            del self._named[socket.key]
        self._named[key] = socket
        if len(self._named) > MAX_DESCRIPTORS:
            del self._named[next(iter(self._named))]

    @staticmethod
    def _new(process: int | None, number: int, transport: str | None = None) -> Socket:
        return Socket("" if process is None else f"pid {process}", number, transport)

    def _place(self, call: _Call, socket: Socket, *, closed_on_exec: bool = False) -> None:
        """A call has returned a new descriptor, which means this socket."""
        assert call.value is not None
        self._put(call, call.value, _label_of(call.rest), socket, closed_on_exec=closed_on_exec)

    def _put(
        self, call: _Call, number: int, name: bytes | None, socket: Socket, *, closed_on_exec: bool = False
    ) -> None:
        what = label(name) if name else None
        if what is not None and self._named.get(what.key) is not socket:
            before = self._named.get(what.key)
            if before is not None:
                self._descriptors.ended.append(before)
            self._name(socket, what.key)
        if what is not None and name is not None:
            socket.named(what, name)
        table = self._descriptors.table(call.process)
        self._descriptors.put(table, number, socket, closed_on_exec=closed_on_exec)
        self._close_ended(call.time_ns)

    def _add(self, socket: Socket, move: Move) -> None:
        if socket.passed:
            return
        if socket.connection is not None and not socket.waiting and not move.open and not move.end:
            socket.give(self._out, move)
            return
        if socket.add(move, self._ports):
            self._give(socket)
        elif socket.undecided:
            self._undecided[socket] = None
            if len(self._undecided) > MAX_UNDECIDED:
                self._guess(next(iter(self._undecided)))
        if socket.waiting and self._unfinished:
            self._waiting += sum(len(data) for data, _ in move.parts)
            if self._waiting > MAX_WAITING or len(socket.waiting) > MAX_WAITING_CALLS:
                self._abandon_all()

    def _give(self, socket: Socket) -> None:
        if socket.connection is None:
            self._connections += 1
            socket.connect(self._connections)
            self._undecided.pop(socket, None)
        socket.flush(self._out)

    def _guess(self, socket: Socket) -> None:
        socket.guess()
        self._give(socket)

    def _close_ended(self, time_ns: int | None) -> None:
        """Both directions of the sockets that nobody holds any more end."""
        ended = self._descriptors.ended
        while ended:
            socket = ended.pop()
            if socket.key is not None and self._named.get(socket.key) is socket:
                del self._named[socket.key]
            for sent in (True, False):
                self._add(socket, Move(sent, time_ns, [], end=True))
            if socket.undecided:
                self._guess(socket)

    # Calls

    def _move(self, call: _Call) -> None:
        """Bytes are sent or received."""
        value = call.value
        one = descriptor(call.text)
        if value is None or value < 0 or one is None:
            return
        number, name, at = one
        socket = self._at(call.process, number, name)
        if socket is None:
            return
        io = CALLS[call.name]
        time_ns = call.time_ns if io.sends else call.end_ns
        try:
            found = transfers(io.form, call.text, at)
        except BadCallError:
            self._bad(call.process, call.text, value)
            return
        if io.form == "messages":
            found = found[:value]
        for transfer in found:
            if transfer.peeks:
                continue
            count = value if transfer.length is None else transfer.length
            if not io.sends and not count and transfer.size:
                self._add(socket, Move(False, time_ns, [], end=True))
            elif count:
                self._add(socket, Move(io.sends, time_ns, transfer.shown(count)))
            if transfer.rights is not None and not io.sends:
                table = self._descriptors.table(call.process)
                for received, _ in descriptors(call.text, transfer.rights):
                    self._descriptors.close(table, received)
                self._close_ended(time_ns)

    def _bad(self, process: int | None, text: bytes, count: int | None) -> None:
        """A call that moves bytes cannot be read: that matters if it is libvirt's. Raises BadCallError."""
        one = descriptor(text)
        socket = one and self._at(process, *one[:2], new=False)
        if socket and socket.connection is not None:
            raise BadCallError("on a connection of libvirt's")

    def _socket(self, call: _Call) -> None:
        if call.value is None or call.value < 0:
            return
        transport = "unix" if b"AF_UNIX" in call.text else "tcp" if b"AF_INET" in call.text else None
        socket = self._new(call.process, call.value, transport)
        socket.passed = transport is None or b"SOCK_STREAM" not in call.text
        self._place(call, socket, closed_on_exec=b"SOCK_CLOEXEC" in call.text)

    def _socketpair(self, call: _Call) -> None:
        if call.value == 0 and b"SOCK_STREAM" in call.text:
            for number, name in descriptors(call.text, call.text.rfind(b", [") + 3):
                socket = self._new(call.process, number, "unix")
                self._put(call, number, name, socket, closed_on_exec=b"SOCK_CLOEXEC" in call.text)

    def _other(self, call: _Call) -> None:
        if call.value is not None and call.value >= 0:
            self._descriptors.close(self._descriptors.table(call.process), call.value)
            self._close_ended(call.time_ns)

    def _named_socket(self, call: _Call) -> tuple[Socket, str, str] | None:
        """The socket of a call that was successful, and the address that it was given or got."""
        one, where = descriptor(call.text), address(call.text)
        if one is None or where is None or (call.value != 0 and b"EINPROGRESS" not in call.rest):
            return None
        socket = self._at(call.process, *one[:2])
        return (socket, *where) if socket else None

    def _local(self, call: _Call) -> None:
        if found := self._named_socket(call):
            socket, socket.transport, local = found
            socket.local = local or socket.local

    def _remote(self, call: _Call) -> None:
        if found := self._named_socket(call):
            socket, socket.transport, remote = found
            socket.remote = remote or socket.remote

    def _connect(self, call: _Call) -> None:
        if found := self._named_socket(call):
            socket, transport, remote = found
            one = descriptor(call.text)
            if socket.connection is not None and one:  # what it was before was closed unseen
                socket = self._new(call.process, one[0])
                self._put(call, *one[:2], socket)
            socket.role, socket.opened = "client", True
            socket.transport, socket.remote = transport, remote or socket.remote

    def _accept(self, call: _Call) -> None:
        one = descriptor(call.text)
        if one is None or call.value is None or call.value < 0:
            return
        listening, where = self._at(call.process, *one[:2]), address(call.text)
        socket = self._new(call.process, call.value)
        socket.role, socket.opened = "server", True
        if listening is not None:
            socket.transport, socket.local = listening.transport, listening.local
            socket.passed = listening.passed
        if where is not None:
            socket.transport, socket.remote = where[0], where[1] or None
        self._place(call, socket, closed_on_exec=b"SOCK_CLOEXEC" in call.text)

    def _dup(self, call: _Call, *, closed_on_exec: bool = False) -> None:
        one = descriptor(call.text)
        if one is None or call.value is None or call.value < 0:
            return
        socket = self._at(call.process, *one[:2])
        if socket is None:
            self._other(call)
        elif call.value != one[0]:
            closed_on_exec = closed_on_exec or b"O_CLOEXEC" in call.text
            self._place(call, socket, closed_on_exec=closed_on_exec)

    def _fcntl(self, call: _Call) -> None:
        if b" F_DUPFD" in call.text:
            self._dup(call, closed_on_exec=b"F_DUPFD_CLOEXEC" in call.text)
        elif b" F_SETFD" in call.text and call.value == 0:
            one = descriptor(call.text)
            table = self._descriptors.table(call.process)
            if one and one[0] in table.sockets:
                table.closed_on_exec.discard(one[0])
                if b"FD_CLOEXEC" in call.text:
                    table.closed_on_exec.add(one[0])

    def _close(self, call: _Call) -> None:
        one = descriptor(call.text)
        if one is not None and b"EBADF" not in call.rest:
            self._at(call.process, *one[:2], new=False)
            self._descriptors.close(self._descriptors.table(call.process), one[0])
            self._close_ended(call.time_ns)

    def _close_range(self, call: _Call) -> None:
        match = re.match(rb"(\d{1,10}), (\d{1,10}|~0U?|-1), ", call.text)
        if match is None or call.value != 0:
            return
        first, last = int(match[1]), int(match[2]) if match[2].isdigit() else 1 << 32
        table = self._descriptors.table(call.process)
        numbers = [number for number in table.sockets if first <= number <= last]
        if b"CLOSE_RANGE_CLOEXEC" in call.text:
            table.closed_on_exec.update(numbers)
            return
        for number in numbers:
            self._descriptors.close(table, number)
        self._close_ended(call.time_ns)

    def _shutdown(self, call: _Call) -> None:
        one = descriptor(call.text)
        socket = one and self._at(call.process, *one[:2], new=False)
        if not socket or call.value != 0:
            return
        for sent, how in ((True, b"SHUT_WR"), (False, b"SHUT_RD")):
            if call.text.endswith((how, b"SHUT_RDWR")):
                self._add(socket, Move(sent, call.time_ns, [], end=True))

    def _clone(self, call: _Call) -> None:
        if call.value is None or call.value <= 0:
            return
        # Without numbers in front of the lines only this process is traced.
        if call.process is not None:
            self._descriptors.cloned(call.process, call.value, shared=_shares(call.text))

    def _execve(self, call: _Call) -> None:
        if call.value == 0:
            self._descriptors.executed(call.process)
            self._close_ended(call.time_ns)

    # The end

    def _finish(self) -> None:
        self._abandon_all()
        for socket in list(self._undecided):
            self._guess(socket)

    def _counted(self) -> Iterator[Chunk]:
        """What has come out since the last time."""
        for chunk in self._out:
            if chunk.cut:
                self._cut_calls += 1
                self._cut_bytes += chunk.cut
            yield chunk
        self._out.clear()

    def _notices(self, too_long: str | None) -> Iterator[Notice]:
        if too_long:
            yield Notice("bad-strace", too_long)
        if self._bad_calls:
            text = f"{self._first_bad} cannot be read"
            more = f" (and {self._bad_calls - 1:,} more calls)" if self._bad_calls > 1 else ""
            yield Notice("bad-strace", text + more)
        if self._cut_calls:
            text = (
                f"strace did not show {self._cut_bytes:,} bytes of {self._cut_calls:,} calls;"
                " it shows them whole with -s 1048576 (or more: the longest message has 33554436 bytes)"
            )
            yield Notice("cut-strings", text)
        if not self._connections and not too_long:
            yield Notice("no-libvirt", _NOTHING, severity="note")


def _label_of(rest: bytes) -> bytes | None:
    """The label in the text behind a result that is a descriptor."""
    one = descriptor(b"0" + rest)
    return one[1] if one else None


def _shares(text: bytes) -> bool:
    """Whether a call makes a thread, or a process that shares the descriptors."""
    return b"CLONE_FILES" in text or b"CLONE_THREAD" in text
