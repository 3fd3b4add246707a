"""Processes and their tables of descriptors: which socket a number means, and who still holds it."""

from __future__ import annotations

from typing import Final

from .sockets import Socket

#: Descriptors that are known at a time, over all processes, and those that one process can have.
MAX_DESCRIPTORS: Final = 65_536
MAX_PER_TABLE: Final = 8192
MAX_PROCESSES: Final = 65_536


class Table:
    """The descriptors of one process, or of processes that share them."""

    __slots__ = ("closed_on_exec", "processes", "sockets")

    def __init__(self) -> None:
        self.sockets: dict[int, Socket] = {}
        self.closed_on_exec: set[int] = set()
        self.processes = 0


class Descriptors:
    """Threads share the table of their process, a child gets a copy of it, and a socket is closed when nobody
    holds it any more: then `ended` has it.

    Of a process or thread whose beginning was not seen, as when strace was attached to it, nobody
    can tell which table it shares: all of these have one together.
    """

    def __init__(self) -> None:
        self.ended: list[Socket] = []
        self._unborn = Table()
        self._of: dict[int, Table] = {}
        self._count = 0

    def table(self, process: int | None) -> Table:
        """The table of a process (None: of one that strace has not numbered yet)."""
        table = None if process is None else self._of.get(process)
        if table is None:
            table = self._unborn
            if process is not None:
                self._join(process, table)
        return table

    @property
    def only(self) -> int | None:
        """The process that is left, if there is one alone: strace does not number it any more."""
        return next(iter(self._of)) if len(self._of) == 1 else None

    def known(self, process: int) -> bool:
        """Whether anything was seen of it."""
        return process in self._of

    def _join(self, process: int, table: Table) -> None:
        if len(self._of) >= MAX_PROCESSES:
            self.exited(next(iter(self._of)))
        self._of[process] = table
        table.processes += 1

    def cloned(self, parent: int | None, child: int, *, shared: bool) -> None:
        """A process has made another, or a thread."""
        if child in self._of:
            return
        table = self.table(parent)
        if not shared:
            table = self._copy(table)
        self._join(child, table)

    def _copy(self, table: Table) -> Table:
        copy = Table()
        if self._count + len(table.sockets) <= MAX_DESCRIPTORS:
            copy.sockets = table.sockets.copy()
            copy.closed_on_exec = table.closed_on_exec.copy()
            self._count += len(copy.sockets)
            for socket in copy.sockets.values():
                socket.holders += 1
        return copy

    def executed(self, process: int | None) -> None:
        """A process runs another program: what is to be closed then is closed, for itself alone."""
        table = self.table(process)
        if table.processes > 1 and process is not None:
            own = self._copy(table)
            self._leave(process)
            self._join(process, own)
            table = own
        for number in sorted(table.closed_on_exec):
            self.close(table, number)

    def exited(self, process: int | None) -> None:
        """A process or thread has ended."""
        if process is None:
            self._empty(self._unborn)
        elif process in self._of:
            self._leave(process)

    def _leave(self, process: int) -> None:
        table = self._of.pop(process)
        table.processes -= 1
        if not table.processes:
            self._empty(table)

    def _empty(self, table: Table) -> None:
        for number in list(table.sockets):
            self.close(table, number)

    def put(self, table: Table, number: int, socket: Socket, *, closed_on_exec: bool = False) -> None:
        """A descriptor now means this socket; what it meant before is closed."""
        if table.sockets.get(number) is not socket:
            self.close(table, number)
            if self._count >= MAX_DESCRIPTORS or len(table.sockets) >= MAX_PER_TABLE:
                if not table.sockets:
                    return
                self.close(table, next(iter(table.sockets)))
            table.sockets[number] = socket
            socket.holders += 1
            self._count += 1
        table.closed_on_exec.discard(number)
        if closed_on_exec:
            table.closed_on_exec.add(number)

    def close(self, table: Table, number: int) -> None:
        """A descriptor is closed; it need not be known."""
        socket = self.forget(table, number)
        if socket is not None and not socket.holders:
            self.ended.append(socket)

    def forget(self, table: Table, number: int) -> Socket | None:
        """A descriptor means something else than was known; that it was closed was not seen."""
        table.closed_on_exec.discard(number)
        socket = table.sockets.pop(number, None)
        if socket is not None:
            socket.holders -= 1
            self._count -= 1
        return socket
