"""Named types of a generated package: a definition, the Python class bound to it, its decoder and encoder.

Definitions, and the interpreter that reads by them, are loaded when the first type is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import IntEnum
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..errors import BadValue, ProtocolError

if TYPE_CHECKING:
    from .interpreter import Reading
    from .type_table import TypeTable
    from .types import Named, Node, TypeDefinition

#: (buffer, position) → (value, next position). Reads no further than the end of the buffer.
Decoder = Callable[[bytes, int], tuple[Any, int]]
#: (value, put): calls put with pieces of bytes.
Encoder = Callable[[Any, Callable[[bytes], None]], None]
#: A class (None for a typedef), a decoder and an encoder.
Binding = tuple[type[Any] | None, Decoder, Encoder]


class XdrType:
    """A named type of a generated module.

    `decode` and `encode` are the generated functions: they accept only canonical XDR, and their errors have
    no path. `read`, `from_bytes` and `to_bytes` are for all other callers. `types` has all types of the
    package.
    """

    def __init__(self, reference: Named, types: TypeTable, binding: Binding) -> None:
        self.reference = reference
        self.types = types
        self.python_class, self.decode, self.encode = binding

    def __repr__(self) -> str:
        return f"<XdrType {self.name}>"

    @property
    def name(self) -> str:
        """The name in the .x."""
        return self.reference.name

    @cached_property
    def definition(self) -> TypeDefinition:
        """The definition."""
        return self.types.definition(self.reference)

    @property
    def node(self) -> Node:
        """The body, or a typedef's declaration."""
        return self.definition.node

    @property
    def min_size(self) -> int:
        """Minimum size on the wire, in bytes."""
        return self.definition.min_size

    @property
    def max_size(self) -> int | None:
        """Maximum size on the wire, in bytes; None where nothing bounds it."""
        return self.definition.max_size

    @property
    def text(self) -> str:
        """The definition in canonical XDR."""
        if self.python_class is None:
            return self.definition.xdr
        from inspect import cleandoc  # slow to load

        # The history follows an empty line; the definition has none.
        return cleandoc(self.python_class.__doc__ or "").partition("\n\n")[0]

    def read(self, data: bytes, pos: int = 0) -> Reading:
        """Read a value at `pos`. Any bytes give a Reading, which has the error and the remarks."""
        from . import interpreter

        try:
            return interpreter.Reading(*self.decode(data, pos))
        except (ProtocolError, RecursionError):
            pass  # and drop the error: its traceback holds all that was decoded
        return interpreter.read(self.types, self.reference, data, pos)

    def from_bytes(self, data: bytes) -> Any:
        """Return the value of exactly these bytes.

        Raises ProtocolError (Truncated, OverLimit, BadValue) with offset and path, also for spare bytes.
        Accepts bytes that are not canonical, but clear.
        """
        reading = self.read(data)
        if error := reading.error:
            del reading  # else error, frame and reading would hold each other for ever
            raise error
        if reading.next != len(data):
            raise BadValue(f"{len(data) - reading.next} bytes are left over", offset=reading.next)
        return reading.value

    def to_bytes(self, value: Any) -> bytes:
        """Return the XDR of a value; raises ProtocolError with the path to a part that does not fit."""
        parts: list[bytes] = []
        try:
            self.encode(value, parts.append)
        except (ProtocolError, AttributeError, TypeError, RecursionError):
            from . import interpreter

            return interpreter.write(self.types, self.reference, value)
        return b"".join(parts)


class TypeBindings(Mapping[str, XdrType]):
    """The types of a generated module by their names in the .x, each made when it is first asked for."""

    def __init__(self, module: str, bindings: Mapping[str, Binding]) -> None:
        self._package, _, self._module = module.rpartition(".")
        self._bindings = bindings
        self._types: dict[str, XdrType] = {}

    def __getitem__(self, name: str) -> XdrType:
        if name not in self._types:
            from .type_table import type_table
            from .types import Named

            reference = Named(self._module, name)
            self._types[name] = XdrType(reference, type_table(self._package), self._bindings[name])
        return self._types[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._bindings)

    def __len__(self) -> int:
        return len(self._bindings)

    def python_class(self, name: str) -> type[Any]:
        """Return the class of a struct, a union or an enumeration."""
        found, _, _ = self._bindings[name]
        assert found is not None, f"{name} is a typedef"
        return found

    @property
    def enums(self) -> Mapping[str, type[IntEnum]]:
        """The enumerations."""
        return {
            name: found
            for name, (found, _, _) in self._bindings.items()
            if found is not None and issubclass(found, IntEnum)
        }


def type_of(value: Any) -> XdrType:
    """Return the type of a generated struct or union."""
    types: TypeBindings = import_module(type(value).__module__).TYPES
    return types[type(value).xdr_name]
