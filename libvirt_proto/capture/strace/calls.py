"""The effects of calls: sockets that they create, name, copy and close, and the bytes that they transfer."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NamedTuple

from ...bounded import BoundedDict
from ...events import Chunk, Connections
from .copies import Copies
from .descriptors import MAX_DESCRIPTORS, Descriptors, Table
from .line import UNIX, BadCallError, address, descriptor, descriptors, label
from .sockets import Move, Socket
from .transfers import CALLS as IO_CALLS
from .transfers import Transfer, transfers

#: Maximum number of libvirt sockets whose side is unknown.
MAX_UNDECIDED: Final = 4096
_MOVE_COST: Final = 512
#: By name, or as a number (-X raw), in which CLONE_FILES is this bit (clone(2)).
_FLAGS: Final = re.compile(rb"flags=(?:0x([0-9a-f]{1,16})|[A-Z_|]*)")
_FILES: Final = 0x400

#: Calls that return a descriptor of something other than a socket.
_OTHERS: Final = frozenset(
    (
        b"open", b"openat", b"openat2", b"creat", b"eventfd", b"eventfd2", b"epoll_create", b"epoll_create1",
        b"memfd_create", b"timerfd_create", b"inotify_init", b"inotify_init1", b"signalfd", b"signalfd4",
        b"pidfd_open",
    )
)  # fmt: skip
CLONES: Final = frozenset((b"clone", b"clone2", b"clone3", b"fork", b"vfork"))


class Call(NamedTuple):
    """A call with its result (`value`, None if it has none, and the text after it), the time it began, and
    the time it ended if known."""

    process: int | None
    name: bytes
    text: bytes
    value: int | None
    rest: bytes
    time_ns: int | None
    end_ns: int | None


class Sending:
    """A call that sends an amount still unknown."""

    __slots__ = ("moves", "several", "socket")

    def __init__(self, socket: Socket, moves: list[tuple[Move, Transfer]], *, several: bool) -> None:
        self.socket = socket
        self.moves = moves
        self.several = several


class Calls:
    """Processes calls in order: pass them to `handle`, and take the Chunks of libvirt connections from
    `out`."""

    def __init__(self, ports: frozenset[int]) -> None:
        self.out: list[Chunk] = []
        self.descriptors = Descriptors()
        self.copies = Copies()
        self._connections = Connections()
        #: Size of what waits for unfinished calls: bytes, and a fixed cost per call.
        self.waiting = 0
        #: Calls that transfer bytes, of which it is unknown whether they are libvirt's, and that cannot be
        #: parsed: their number, and the first of them.
        self.unread = 0
        self.first_unread = ""
        self._ports = ports
        #: Sockets that strace has named, by that name.
        self._named: BoundedDict[bytes, Socket] = BoundedDict(MAX_DESCRIPTORS)
        #: libvirt sockets whose side is still unknown.
        self._undecided: BoundedDict[Socket, None] = BoundedDict(MAX_UNDECIDED)
        self._handlers: dict[bytes, Callable[[Call], None]] = {
            **dict.fromkeys(IO_CALLS, self._move),
            **dict.fromkeys(_OTHERS, self._other),
            **dict.fromkeys(CLONES, self._clone),
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

        self.names = frozenset(self._handlers)

    def handle(self, call: Call) -> None:
        """Process a call, which must be one of `names`. Raises BadCallError if it transfers bytes of a
        libvirt connection and cannot be parsed."""
        self._handlers[call.name](call)

    def exited(self, process: int | None, time_ns: int | None) -> None:
        """End a process."""
        self.descriptors.exited(process)
        self._close_ended(time_ns)

    def finish(self) -> None:
        """End the trace, and emit everything that waits."""
        for socket in list(self._undecided):
            self._guess(socket)

    # Unfinished calls

    def begin(self, process: int | None, name: bytes, text: bytes, time_ns: int | None) -> Sending | None:
        """Begin a call that sends, before its end is known: its data precedes everything that is sent or
        received from now on. An answer may arrive before the end of the call."""
        io, one = IO_CALLS[name], descriptor(text)
        socket = one and self._at(process, *one[:2])
        if not one or not socket:
            return None
        try:
            found = transfers(io.form, text, one[2])
        except BadCallError:
            return None
        moves = [
            (Move(True, time_ns, transfer.shown(transfer.size), open=True), transfer) for transfer in found
        ]
        for move, _ in moves:
            self._add(socket, move)
            self._check_copy(process, socket, move)
        return Sending(socket, moves, several=io.form == "messages")

    def sent(self, sending: Sending, value: int | None) -> None:
        """Complete a call that has sent `value` bytes or messages; all, for None."""
        for number, (move, transfer) in enumerate(sending.moves):
            if value is not None and not sending.several:
                move.parts = transfer.shown(value)
            elif value is not None and number >= value:
                move.parts = []
            move.open = False
        if sending.socket.connection is not None:
            sending.socket.flush(self.out)

    def missed(self, process: int | None, name: bytes, text: bytes) -> None:
        """Note that the end of a call is not in the trace: data that it received, if any, is lost."""
        one = descriptor(text)
        socket = one and not IO_CALLS[name].sends and self._at(process, *one[:2], new=False)
        if socket:
            socket.miss(False)

    def unreadable(self, process: int | None, text: bytes) -> None:
        """Handle a truncated line of a call that transfers bytes. Raises BadCallError if it belongs to a
        libvirt connection."""
        one = descriptor(text)
        socket = one and self._at(process, *one[:2], new=False)
        if socket and socket.connection is not None:
            raise BadCallError("is truncated")

    # Sockets

    def _at(self, process: int | None, number: int, name: bytes | None, *, new: bool = True) -> Socket | None:
        """Return the socket of a descriptor; None if it is not one. An unknown one is created."""
        table = self.descriptors.table(process)
        socket = table.sockets.get(number)
        if name is None:
            if socket is None and new and number >= 0:
                socket = self._new(process, number)
                socket.explained = False
                self.descriptors.put(table, number, socket)
            return socket
        if socket is not None and socket.label == name:
            return socket
        return self._labelled(process, table, number, name)

    def _labelled(self, process: int | None, table: Table, number: int, name: bytes) -> Socket | None:
        """Return the socket that has this name in strace."""
        what = label(name)
        known = table.sockets.get(number)
        if what is None:
            self.descriptors.forget(table, number)
            return None
        socket = self._named.get(what.key)
        if socket is None:
            socket = known if known is not None and known.may_be(what) else self._new(process, number)
            self._name(socket, what.key)
        socket.named(what, name)
        if socket is not known:
            self.descriptors.forget(table, number)
            self.descriptors.put(table, number, socket)
        return socket

    def _name(self, socket: Socket, key: bytes) -> None:
        if socket.key is not None and self._named.get(socket.key) is socket:
            del self._named[socket.key]
        self._named.put(key, socket)

    @staticmethod
    def _new(process: int | None, number: int, transport: str | None = None) -> Socket:
        return Socket("" if process is None else f"pid {process}", number, transport)

    def _place(self, call: Call, socket: Socket, *, closed_on_exec: bool = False) -> None:
        """Assign a new descriptor, the result of a call, to this socket."""
        assert call.value is not None
        self._put(call, call.value, _label_of(call.rest), socket, closed_on_exec=closed_on_exec)

    def _put(
        self, call: Call, number: int, name: bytes | None, socket: Socket, *, closed_on_exec: bool = False
    ) -> None:
        what = label(name) if name else None
        if what is not None and self._named.get(what.key) is not socket:
            before = self._named.get(what.key)
            if before is not None:
                self.descriptors.ended.append(before)
            self._name(socket, what.key)
        if what is not None and name is not None:
            socket.named(what, name)
        table = self.descriptors.table(call.process)
        self.descriptors.put(table, number, socket, closed_on_exec=closed_on_exec)
        self._close_ended(call.time_ns)

    def _add(self, socket: Socket, move: Move) -> None:
        if socket.passed:
            return
        if socket.connection is not None and not socket.waiting and not move.open and not move.end:
            socket.give(self.out, move)
            return
        if socket.add(move, self._ports):
            self._give(socket)
        elif socket.undecided and (evicted := self._undecided.put(socket, None)):
            self._guess(evicted[0])
        if socket.waiting and socket.connection is not None:
            self.waiting += _MOVE_COST + sum(len(data) for data, _ in move.parts)

    def _give(self, socket: Socket) -> None:
        if socket.connection is None:
            socket.connect(self._connections)
            self._undecided.pop(socket, None)
        socket.flush(self.out)

    def _guess(self, socket: Socket) -> None:
        socket.guess()
        self._give(socket)

    def _close_ended(self, time_ns: int | None) -> None:
        """End both directions of the sockets that no descriptor refers to any more."""
        ended = self.descriptors.ended
        while ended:
            socket = ended.pop()
            if socket.key is not None and self._named.get(socket.key) is socket:
                del self._named[socket.key]
            for sent in (True, False):
                self._add(socket, Move(sent, time_ns, [], end=True))
            if socket.undecided:
                self._guess(socket)

    # Calls

    def _move(self, call: Call) -> None:
        """Process data that was sent or received."""
        value = call.value
        one = descriptor(call.text)
        if value is None or value < 0 or one is None:
            return
        number, name, at = one
        socket = self._at(call.process, number, name)
        if socket is None:
            return
        io = IO_CALLS[call.name]
        time_ns = call.time_ns if io.sends else call.end_ns
        try:
            found = transfers(io.form, call.text, at)
        except BadCallError:
            if socket.connection is None:
                self.unread += 1
                self.first_unread = self.first_unread or f"{call.name.decode()}({_start(call.text)}"
                return
            self._add(socket, Move(io.sends, time_ns, [(b"", value)]))
            raise
        if io.form == "messages":
            found = found[:value]
        for transfer in found:
            if transfer.peeks:
                continue
            count = value if transfer.length is None else transfer.length
            if not io.sends and not count and transfer.size:
                self._add(socket, Move(False, time_ns, [], end=True))
            elif count:
                move = Move(io.sends, time_ns, transfer.shown(count))
                self._add(socket, move)
                self._check_copy(call.process, socket, move)
            if transfer.rights is not None and not io.sends:
                table = self.descriptors.table(call.process)
                for received, _ in descriptors(call.text, transfer.rights):
                    self.descriptors.close(table, received)
                self._close_ended(time_ns)

    def _check_copy(self, process: int | None, socket: Socket, move: Move) -> None:
        """Look whether a message is on a copy of a descriptor, unless strace names the sockets."""
        if socket.connection is not None and socket.label is None and move.parts:
            self.copies.add(self.descriptors.table(process), socket, move.parts[0][0])

    def _socket(self, call: Call) -> None:
        if call.value is None or call.value < 0:
            return
        inet = b"AF_INET" in call.text or b"PF_INET" in call.text
        transport = "unix" if UNIX.search(call.text) else "tcp" if inet else None
        socket = self._new(call.process, call.value, transport)
        socket.passed = (b"AF_" in call.text and transport is None) or (
            b"SOCK_" in call.text and b"SOCK_STREAM" not in call.text
        )
        self._place(call, socket, closed_on_exec=b"SOCK_CLOEXEC" in call.text)

    def _socketpair(self, call: Call) -> None:
        if call.value == 0 and b"SOCK_STREAM" in call.text:
            for number, name in descriptors(call.text, call.text.rfind(b", [") + 3):
                socket = self._new(call.process, number, "unix")
                self._put(call, number, name, socket, closed_on_exec=b"SOCK_CLOEXEC" in call.text)

    def _other(self, call: Call) -> None:
        if call.value is not None and call.value >= 0:
            self.descriptors.close(self.descriptors.table(call.process), call.value)
            self._close_ended(call.time_ns)

    def _named_socket(self, call: Call) -> tuple[Socket, str, str] | None:
        """Return the socket of a successful call, and the address in its arguments."""
        one, where = descriptor(call.text), address(call.text)
        if one is None or where is None or (call.value != 0 and b"EINPROGRESS" not in call.rest):
            return None
        socket = self._at(call.process, *one[:2])
        return (socket, *where) if socket else None

    def _local(self, call: Call) -> None:
        if found := self._named_socket(call):
            socket, transport, local = found
            socket.transport, socket.local = transport, local or socket.local

    def _remote(self, call: Call) -> None:
        if found := self._named_socket(call):
            socket, transport, remote = found
            socket.transport, socket.remote = transport, remote or socket.remote

    def _connect(self, call: Call) -> None:
        if found := self._named_socket(call):
            socket, transport, remote = found
            one = descriptor(call.text)
            if socket.connection is not None and one:  # the close of the previous connection was not seen
                socket = self._new(call.process, one[0])
                self._put(call, *one[:2], socket)
            socket.role, socket.opened = "client", True
            socket.transport, socket.remote = transport, remote or socket.remote

    def _accept(self, call: Call) -> None:
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

    def _dup(self, call: Call, *, closed_on_exec: bool = False) -> None:
        one = descriptor(call.text)
        if one is None or call.value is None or call.value < 0:
            return
        socket = self._at(call.process, *one[:2])
        if socket is None:
            self._other(call)
        elif call.value != one[0]:
            closed_on_exec = closed_on_exec or b"O_CLOEXEC" in call.text
            self._place(call, socket, closed_on_exec=closed_on_exec)

    def _fcntl(self, call: Call) -> None:
        if b" F_DUPFD" in call.text:
            self._dup(call, closed_on_exec=b"F_DUPFD_CLOEXEC" in call.text)
        elif b" F_SETFD" in call.text and call.value == 0:
            one = descriptor(call.text)
            table = self.descriptors.table(call.process)
            if one and one[0] in table.sockets:
                table.closed_on_exec.discard(one[0])
                if b"FD_CLOEXEC" in call.text:
                    table.closed_on_exec.add(one[0])

    def _close(self, call: Call) -> None:
        one = descriptor(call.text)
        if one is not None and b"EBADF" not in call.rest:
            self._at(call.process, *one[:2], new=False)
            self.descriptors.close(self.descriptors.table(call.process), one[0])
            self._close_ended(call.time_ns)

    def _close_range(self, call: Call) -> None:
        match = re.match(rb"(\d{1,10}), (\d{1,10}|~0U?|-1), ", call.text)
        if match is None or call.value != 0:
            return
        first, last = int(match[1]), int(match[2]) if match[2].isdigit() else 1 << 32
        table = self.descriptors.table(call.process)
        numbers = [number for number in table.sockets if first <= number <= last]
        if b"CLOSE_RANGE_CLOEXEC" in call.text:
            table.closed_on_exec.update(numbers)
            return
        for number in numbers:
            self.descriptors.close(table, number)
        self._close_ended(call.time_ns)

    def _shutdown(self, call: Call) -> None:
        one = descriptor(call.text)
        socket = one and self._at(call.process, *one[:2], new=False)
        if not socket or call.value != 0:
            return
        for sent, how in ((True, b"SHUT_WR"), (False, b"SHUT_RD")):
            if call.text.endswith((how, b"SHUT_RDWR")):
                self._add(socket, Move(sent, call.time_ns, [], end=True))

    def _clone(self, call: Call) -> None:
        if call.value is None or call.value <= 0:
            return
        # Without process numbers at the beginning of lines, only this process is traced.
        if call.process is not None:
            self.descriptors.cloned(call.process, call.value, shared=shares(call.text))

    def _execve(self, call: Call) -> None:
        if call.value == 0:
            self.descriptors.executed(call.process)
            self._close_ended(call.time_ns)


def _label_of(rest: bytes) -> bytes | None:
    """Return the label after a result that is a descriptor."""
    one = descriptor(b"0" + rest)
    return one[1] if one else None


def shares(text: bytes) -> bool:
    """Return whether a call creates a thread, or a process that shares the descriptors."""
    match = _FLAGS.search(text)
    return match is not None and (b"CLONE_FILES" in match[0] or bool(int(match[1] or b"0", 16) & _FILES))


def _start(text: bytes) -> str:
    """Return the beginning of a call's arguments."""
    shown = text[:40].decode("ascii", "backslashreplace")
    return shown + "…" if len(text) > len(shown) else shown
