"""Values of structs and unions: the base classes of generated classes, and values that broke off."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import msgspec


class XdrStruct(msgspec.Struct, frozen=True, gc=False):
    """Base of generated structs: fields in wire order. `xdr_name` is the type's name in the .x."""

    xdr_name: ClassVar[str] = ""


class XdrUnion(msgspec.Struct, frozen=True, gc=False):
    """Base of generated unions: the discriminant, by its own name, and the value of the arm (None for a
    void arm)."""

    xdr_name: ClassVar[str] = ""


class Partial(msgspec.Struct, frozen=True):
    """A struct or union that broke off: the fields decoded so far, by their names in the .x."""

    name: str
    fields: dict[str, Any] = msgspec.field(default_factory=dict)


class PartialText(str):
    """The beginning of a string that broke off; `missing` is the number of bytes after it."""

    __slots__ = ("missing",)

    missing: int

    def __new__(cls, text: str, missing: int) -> Self:
        """Build it from the text before the break."""
        made = super().__new__(cls, text)
        made.missing = missing
        return made

    def __reduce__(self) -> tuple[type[Self], tuple[str, int]]:
        """Return the parts of a copy."""
        return type(self), (str(self), self.missing)
