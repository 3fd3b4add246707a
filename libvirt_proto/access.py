"""What the definitions say that a call needs: permissions, priority, a stream."""

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
    """`acl`: the permissions that the caller needs (`domain:getattr`), empty for none, None where the
    definitions do not say. `aclfilter`: what it needs of each thing in the reply, which lists only those.
    `priority`: whether the daemon serves the call beside others that block it (`high`), None where nothing
    is said. `stream`: what the client does with the stream that the call opens."""

    acl: tuple[str, ...] | None
    aclfilter: tuple[str, ...]
    priority: str | None
    stream: Literal["read", "write"] | None

    def __str__(self) -> str:
        acl = "not said" if self.acl is None else ",".join(self.acl) or "none"
        words = {
            "acl": acl,
            "filter": ",".join(self.aclfilter),
            "priority": self.priority,
            "stream": self.stream,
        }
        return printable(" ".join(f"{name}={word}" for name, word in words.items() if word))


class Accesses:
    """Header → Access, for calls to procedures that the definitions have."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._known = lru_cache(4096)(self._look_up)

    def of(self, captured: Captured) -> Access | None:
        """What a message needs; None for all but calls, and for numbers without a name."""
        header: Header = captured.message.header
        return self._known(header.prog, header.vers, header.proc) if role(header) == "call" else None

    def _look_up(self, prog: int, vers: int, proc: int) -> Access | None:
        procedure = self._registry.procedure(prog, vers, proc)
        if procedure is None:
            return None
        said = procedure.annotations
        direction = stream_direction(procedure)
        return Access(
            None if said.acl is None else tuple(map(str, said.acl)),
            tuple(map(str, said.aclfilter)),
            said.priority,
            None if direction is None else "read" if direction == "s2c" else "write",
        )
