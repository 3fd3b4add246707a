"""Copies of descriptors that a filter (-e) of strace hides: a connection goes on at another descriptor."""

from __future__ import annotations

from typing import Final

from ...bounded import BoundedDict
from ...rpc.plausible import plausible_header
from ...rpc.wire import CALL_TYPES, MIN_FRAME, START
from .descriptors import Table
from .sockets import Socket

#: Maximum number of connections that may go on elsewhere.
_MAX: Final = 1024
#: Standard input, output and error are often inherited.
_STANDARD: Final = 2


class Copies:
    """Compares the serials of calls on descriptors that were opened in the trace with those on others.

    Serials of a connection count from 0. A descriptor that nothing opened, and whose first call has another
    serial, is a copy if its program began in the trace, or if it continues the count of the connection that
    its process used just before, and never again.
    """

    def __init__(self) -> None:
        #: Connections that went on at another descriptor, so far, and that descriptor.
        self._left: BoundedDict[Socket, str] = BoundedDict(_MAX)
        self._sure: BoundedDict[Socket, str] = BoundedDict(_MAX)

    def add(self, table: Table, socket: Socket, data: bytes) -> None:
        """Add bytes that a call transferred on a descriptor without a name."""
        if len(data) < MIN_FRAME or not plausible_header(data):
            return
        *_, kind, serial, _ = START.unpack_from(data)
        if kind not in CALL_TYPES:
            return
        self._left.pop(socket, None)
        before, last = table.last_call or (socket, serial)
        table.last_call = (socket, serial)
        if socket.explained:
            return
        socket.explained = True  # look once
        if not serial or socket.number <= _STANDARD:
            return
        name = f"descriptor {socket.number} of {socket.process}".removesuffix(" of ")
        if table.began:
            self._sure.put(socket, name)
        elif before.opened and serial == last + 1:
            self._left.put(before, name)

    @property
    def found(self) -> list[str]:
        """The descriptors that are copies."""
        return [*self._sure.values(), *self._left.values()]
