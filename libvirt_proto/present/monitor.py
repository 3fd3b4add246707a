"""Messages as the lines of libvirt's rpc-monitor script, `examples/systemtap/rpc-monitor.stp`.

      0.000 C > 127.0.0.1:40508-127.0.0.1:16509 msg=remote.1.auth_list(call, ok, 0) len=28

Seconds since the first message, the client's side of the connection (`>` it sends, `<` it
receives, `?` not known), the connection where the script prints a pointer, and the message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..capture.chunk import Captured, Connection
from .access import Accesses
from .names import STATUSES, TYPES, Names
from .style import PLAIN, Palette
from .text import printable, seconds

if TYPE_CHECKING:
    from ..registry import Registry

_ARROWS = {"c2s": ">", "s2c": "<", None: "?"}


class Presenter:
    """Captured → one line, without its newline."""

    def __init__(
        self, registry: Registry, palette: Palette = PLAIN, accesses: Accesses | None = None
    ) -> None:
        self._names = Names(registry)
        self._accesses = accesses
        self._palette = palette
        self._start: int | None = None
        self._connection: Connection | None = None
        self._conn = ""

    def __call__(self, captured: Captured) -> str:
        """The line of a message; times count from the first that is asked for."""
        if self._start is None:
            self._start = captured.time_ns
        message, header, colour = captured.message, captured.message.header, self._palette
        if captured.connection is not self._connection:
            self._connection = captured.connection
            self._conn = f"{printable(str(captured.connection)):<16}"
        program, procedure = self._names.of(header)
        name = f"{program or f'unknown:{header.prog}'}.{header.vers}.{procedure or f'unknown:{header.proc}'}"
        type_ = TYPES.get(header.type) or f"unknown:{header.type}"
        status = STATUSES.get(header.status) or f"unknown:{header.status}"
        if header.status == 1 or message.error is not None:
            status = f"{colour.bad}{status}{colour.off}"
        access = self._accesses and self._accesses.of(captured)
        return (
            f"{seconds(captured.time_ns, self._start, 3)} C {_ARROWS[captured.direction]} "
            f"{colour.quiet}{self._conn}{colour.off} "
            f"msg={colour.name}{name}{colour.off}({type_}, {status}, {header.serial}) len={message.length}"
            f"{f' {access}' if access else ''}"
        )
