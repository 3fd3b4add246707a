"""Values of structs and unions: the base classes of generated classes, and values that broke off."""

from __future__ import annotations

from typing import Any, ClassVar

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
