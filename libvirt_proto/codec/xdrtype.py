"""A type as the generated modules say it: its class, and how it is read and written."""

from __future__ import annotations

import inspect
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..errors import BadValue, ProtocolError
from . import interpreter as careful
from .interpreter import Reading
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
        if error := reading.error:
            del reading  # else error, frame and reading would hold each other for ever
            raise error
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
