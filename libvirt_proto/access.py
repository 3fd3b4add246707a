"""Access requirements of calls: permissions, priority and streams, from the definitions."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import msgspec

from .session import role, stream_direction
from .text import printable

if TYPE_CHECKING:
    from .events import Captured
    from .registry import Registry
    from .rpc.message import Header


class Access(msgspec.Struct, frozen=True):
    """The requirements of a call.

    `acl` lists the permissions that the caller needs (`domain:getattr`); it is empty for none, None if
    unknown. `aclfilter` lists the permissions needed for each item in the reply; other items are left out of
    it. `priority` is `high` for calls that are served while others block the daemon, None if unknown.
    `stream` is what the client does with the stream that the call opens.
    """

    acl: tuple[str, ...] | None
    aclfilter: tuple[str, ...]
    priority: str | None
    stream: Literal["read", "write"] | None

    def __str__(self) -> str:
        acl = "unknown" if self.acl is None else ",".join(self.acl) or "none"
        words = {
            "acl": acl,
            "filter": ",".join(self.aclfilter),
            "priority": self.priority,
            "stream": self.stream,
        }
        return printable(" ".join(f"{name}={word}" for name, word in words.items() if word))


class Accesses:
    """Maps headers to Access, for calls to procedures in the definitions."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._known = lru_cache(4096)(self._look_up)

    def of(self, captured: Captured) -> Access | None:
        """Return the requirements of a message; None for everything but calls, and for unknown numbers."""
        header: Header = captured.message.header
        return self._known(header.prog, header.vers, header.proc) if role(header) == "call" else None

    def _look_up(self, prog: int, vers: int, proc: int) -> Access | None:
        procedure = self._registry.procedure(prog, vers, proc)
        if procedure is None:
            return None
        annotations = procedure.annotations
        direction = stream_direction(procedure)
        return Access(
            None if annotations.acl is None else tuple(map(str, annotations.acl)),
            tuple(map(str, annotations.aclfilter)),
            annotations.priority,
            None if direction is None else "read" if direction == "s2c" else "write",
        )
