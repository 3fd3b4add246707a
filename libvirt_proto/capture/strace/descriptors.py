"""Processes and their descriptor tables: the socket of each descriptor, and the descriptors of each
socket."""

from __future__ import annotations

from typing import Final

from ...bounded import BoundedDict
from .sockets import Socket

#: Maximum number of known descriptors, over all processes, and per process.
MAX_DESCRIPTORS: Final = 65_536
MAX_PER_TABLE: Final = 8192
MAX_PROCESSES: Final = 65_536


class Table:
    """The descriptors of one process, or of processes that share them."""

    __slots__ = ("began", "closed_on_exec", "last_call", "processes", "sockets")

    def __init__(self) -> None:
        self.sockets: BoundedDict[int, Socket] = BoundedDict(MAX_PER_TABLE)
        self.closed_on_exec: set[int] = set()
        self.processes = 0
        #: Whether the start of the program is in the trace.
        self.began = False
        #: The socket and the serial of the last libvirt call.
        self.last_call: tuple[Socket, int] | None = None


class Descriptors:
    """The descriptor tables of all processes. Threads share the table of their process, a child gets a copy
    of it, and a socket is closed when no descriptor refers to it: it is then added to `ended`.

    For a process or thread whose start was not seen, for instance because strace was attached to it, the
    table that it shares is unknown: all of these have one table together.
    """

    def __init__(self) -> None:
        self.ended: list[Socket] = []
        self._unborn = Table()
        self._of: BoundedDict[int, Table] = BoundedDict(MAX_PROCESSES)
        self._count = 0

    def table(self, process: int | None) -> Table:
        """Return the table of a process (None: of one that strace has not numbered yet)."""
        table = None if process is None else self._of.get(process)
        if table is None:
            table = self._unborn
            if process is not None:
                self._join(process, table)
        return table

    @property
    def only(self) -> int | None:
        """Return the process that is left, if there is only one: strace stops numbering it."""
        return self._of.oldest if len(self._of) == 1 else None

    def known(self, process: int) -> bool:
        """Return whether the process has been seen."""
        return process in self._of

    def _join(self, process: int, table: Table) -> None:
        table.processes += 1
        if evicted := self._of.put(process, table):
            self._leave(evicted[1])

    def cloned(self, parent: int | None, child: int, *, shared: bool) -> None:
        """Add a process or thread that another one has created."""
        if child in self._of:
            return
        table = self.table(parent)
        if not shared:
            table = self._copy(table)
        self._join(child, table)

    def _copy(self, table: Table) -> Table:
        copy = Table()
        copy.began = table.began
        if self._count + len(table.sockets) <= MAX_DESCRIPTORS:
            copy.sockets = table.sockets.copy()
            copy.closed_on_exec = table.closed_on_exec.copy()
            self._count += len(copy.sockets)
            for socket in copy.sockets.values():
                socket.holders += 1
        return copy

    def executed(self, process: int | None) -> None:
        """Note that a process runs another program: descriptors with close-on-exec are closed, only for
        it."""
        table = self.table(process)
        if table.processes > 1 and process is not None:
            own = self._copy(table)
            self._leave(self._of.pop(process))
            self._join(process, own)
            table = own
        table.began = True
        for number in sorted(table.closed_on_exec):
            self.close(table, number)

    def exited(self, process: int | None) -> None:
        """End a process or thread."""
        if process is None:
            self._empty(self._unborn)
        elif process in self._of:
            self._leave(self._of.pop(process))

    def _leave(self, table: Table) -> None:
        table.processes -= 1
        if not table.processes:
            self._empty(table)

    def _empty(self, table: Table) -> None:
        for number in list(table.sockets):
            self.close(table, number)

    def put(self, table: Table, number: int, socket: Socket, *, closed_on_exec: bool = False) -> None:
        """Assign a descriptor to this socket, and close its previous one."""
        if table.sockets.get(number) is not socket:
            self.close(table, number)
            if self._count >= MAX_DESCRIPTORS or len(table.sockets) >= table.sockets.limit:
                if not table.sockets:
                    return
                self.close(table, table.sockets.oldest)
            table.sockets[number] = socket
            socket.holders += 1
            self._count += 1
        table.closed_on_exec.discard(number)
        if closed_on_exec:
            table.closed_on_exec.add(number)

    def close(self, table: Table, number: int) -> None:
        """Close a descriptor, which need not be known."""
        socket = self.forget(table, number)
        if socket is not None and not socket.holders:
            self.ended.append(socket)

    def forget(self, table: Table, number: int) -> Socket | None:
        """Forget a descriptor that refers to something else; its close was not seen."""
        table.closed_on_exec.discard(number)
        socket = table.sockets.pop(number, None)
        if socket is not None:
            socket.holders -= 1
            self._count -= 1
        return socket
