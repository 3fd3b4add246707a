"""What a generated module says of its types, procedures and program: plain frozen values."""

from __future__ import annotations

import inspect
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from . import careful
from .careful import Reading
from .errors import BadValue, ProtocolError
from .layout import EnumOf, Node, layout_of

#: (buffer, position) → (value, next position). Reads to the end of the buffer at most.
Decoder = Callable[[bytes, int], tuple[Any, int]]
#: (value, put): calls put with pieces of bytes.
Encoder = Callable[[Any, Callable[[bytes], None]], None]


@dataclass(frozen=True)
class XdrType:
    """A named type of a generated module.

    `name` is the .x's, `hint` the Python class or annotation. `decode` and `encode` are the
    generated functions: they take only canonical XDR and raise bare errors. Sizes are in bytes on
    the wire; `max_size` is None where nothing bounds it. `definition` is a typedef's text; a class
    carries its own as its docstring.
    """

    name: str
    hint: Any
    decode: Decoder
    encode: Encoder
    min_size: int
    max_size: int | None
    definition: str = ""

    @cached_property
    def node(self) -> Node:
        """How the type lies on the wire."""
        return layout_of(self.hint)

    @property
    def text(self) -> str:
        """The definition in canonical XDR."""
        # It has no empty line: what stands behind one in a docstring is the history.
        return self.definition or inspect.cleandoc(self._class.__doc__ or "").partition("\n\n")[0]

    @property
    def _class(self) -> type[Any]:
        """The class behind an enumeration's annotation, or the class that is the annotation."""
        marks = getattr(self.hint, "__metadata__", ())
        found: type[Any] = next((mark.type for mark in marks if isinstance(mark, EnumOf)), self.hint)
        return found

    def read(self, data: bytes, pos: int = 0) -> Reading:
        """Read a value at `pos`; whatever the bytes are, the Reading says what came of it."""
        try:
            return Reading(*self.decode(data, pos))
        except (struct.error, ProtocolError, RecursionError):
            pass  # and drop the error: its traceback holds all that was decoded
        return careful.read(self.node, data, pos)

    def from_bytes(self, data: bytes) -> Any:
        """The value of exactly these bytes.

        Raises ProtocolError (Truncated, OverLimit, BadValue) with offset and path, also when bytes
        are left over. Bytes that are not canonical, but understood, are taken.
        """
        reading = self.read(data)
        if reading.error:
            raise reading.error
        if reading.next != len(data):
            raise BadValue(f"{len(data) - reading.next} bytes are left over", offset=reading.next)
        return reading.value

    def to_bytes(self, value: Any) -> bytes:
        """The XDR of a value; raises ProtocolError with the path to what does not fit."""
        parts: list[bytes] = []
        try:
            self.encode(value, parts.append)
        except (struct.error, ProtocolError, AttributeError, TypeError, OverflowError, RecursionError):
            return careful.write(self.node, value)
        return b"".join(parts)


@dataclass(frozen=True, slots=True)
class AccessRule:
    """`@acl: object:permission[:flags][:parameter:value]`, `@aclfilter: object:permission`."""

    object: str
    permission: str
    flags: str | None = None
    parameter: str | None = None
    value: str | None = None

    def __str__(self) -> str:
        text = f"{self.object}:{self.permission}"
        if self.flags is not None or self.parameter is not None:
            text += f":{self.flags or ''}"
        if self.parameter is not None:
            text += f":{self.parameter}:{self.value}"
        return text


@dataclass(frozen=True, slots=True)
class Annotations:
    """What the .x's comment says of a procedure. `acl` is None where nothing is said, and empty
    for `@acl: none`."""

    generate: str | None = None
    priority: str | None = None
    readstream: int | None = None
    writestream: int | None = None
    sparseflag: str | None = None
    acl: tuple[AccessRule, ...] | None = None
    aclfilter: tuple[AccessRule, ...] = ()


NO_ANNOTATIONS = Annotations()


@dataclass(frozen=True, slots=True)
class Procedure:
    """`symbol` is the .x's name (`REMOTE_PROC_AUTH_LIST`), `name` the tapset's (`auth_list`).
    `args`, `ret` and `msg` are None for void."""

    number: int
    name: str
    symbol: str
    args: XdrType | None = None
    ret: XdrType | None = None
    msg: XdrType | None = None
    annotations: Annotations = NO_ANNOTATIONS


@dataclass(frozen=True)
class Program:
    """A program in one version. `symbol` is its constant in the .x (`REMOTE_PROGRAM`), `name` the
    tapset's (`remote`); `procedures` are in ascending order of their numbers."""

    name: str
    symbol: str
    number: int
    version: int
    procedures: tuple[Procedure, ...] = field(repr=False)

    @cached_property
    def by_number(self) -> Mapping[int, Procedure]:
        """Procedures by number."""
        return {procedure.number: procedure for procedure in self.procedures}

    @cached_property
    def by_name(self) -> Mapping[str, Procedure]:
        """Procedures by `name` and by `symbol`."""
        names = {procedure.symbol: procedure for procedure in self.procedures}
        names.update((procedure.name, procedure) for procedure in self.procedures)
        return names

    def procedure(self, key: int | str) -> Procedure:
        """The procedure of a number, name or symbol; raises KeyError."""
        return self.by_number[key] if isinstance(key, int) else self.by_name[key]
