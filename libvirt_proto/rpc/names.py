"""Names of the numbers in a message, as in libvirt's tapset, and the type of its payload."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from ..codec.values import XdrStruct, XdrUnion
from ..codec.xdrtype import type_of

if TYPE_CHECKING:
    from ..codec.xdrtype import XdrType
    from ..registry import Registry
    from .message import Header, Message

#: virNetMessageType; other numbers have no name.
TYPES: Final[Mapping[int, str]] = {
    0: "call",
    1: "reply",
    2: "message",
    3: "stream",
    4: "call_with_fds",
    5: "reply_with_fds",
    6: "stream_hole",
}
#: virNetMessageStatus.
STATUSES: Final[Mapping[int, str]] = {0: "ok", 1: "error", 2: "continue"}


class Names:
    """Looks up names in a registry, and remembers the last few thousand."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._pair = lru_cache(4096)(self._look_up)

    def of(self, header: Header) -> tuple[str | None, str | None]:
        """Return (program, procedure), each None if the registry has no name for it."""
        return self._pair(header.prog, header.vers, header.proc)

    def _look_up(self, prog: int, vers: int, proc: int) -> tuple[str | None, str | None]:
        program = self._registry.find(prog, vers)
        if program is not None:
            procedure = program.by_number.get(proc)
            return program.name, procedure.name if procedure else None
        # For an unknown version, only the program has a name.
        if prog in self._registry.numbers:
            return self._registry.program(prog).name, None
        return None, None

    def payload_type(self, message: Message) -> XdrType | None:
        """Return the type of the message's payload; None without a typed payload."""
        if isinstance(message.payload, XdrStruct | XdrUnion):
            return type_of(message.payload)
        if message.payload_type is None or message.payload is None:
            return None
        return self._registry.type(message.payload_type)
