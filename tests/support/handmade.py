"""XDR types written by hand, in the shape of generated ones, for tests that need no definitions.

The text of each is its docstring.
"""

from __future__ import annotations

import enum
from typing import Annotated, Any, ClassVar

from libvirt_proto.codec.layout import (
    ArrayOf,
    Bool,
    Char,
    Double,
    EnumOf,
    FixedArrayOf,
    FixedOpaque,
    Float,
    Hyper,
    Int,
    Opaque,
    OptionalOf,
    Quadruple,
    String,
    Typedef,
    UnsignedHyper,
    UnsignedInt,
    XdrStruct,
    XdrUnion,
)


class Colour(enum.IntEnum):
    """enum colour { RED = 0, GREEN = 5, BLUE = -1 };"""

    RED = 0
    GREEN = 5
    BLUE = -1


NonnullString = Annotated[str | bytes, String(4194304), Typedef("nonnull_string")]
Uuid = Annotated[bytes, FixedOpaque(16), Typedef("remote_uuid")]
ColourField = Annotated[Colour | int, EnumOf(Colour)]


class Domain(XdrStruct):
    """struct nonnull_domain { nonnull_string name; remote_uuid uuid; int id; };"""

    xdr_name: ClassVar[str] = "nonnull_domain"
    name: NonnullString
    uuid: Uuid
    id: Int


class Point(XdrStruct, rename={"from_": "from"}):
    """struct point { int from; hyper y; };"""

    xdr_name: ClassVar[str] = "point"
    from_: Int
    y: Hyper


class ParamValue(XdrUnion):
    """union typed_param_value switch (int type) { case 1: int i; case 2: unsigned int ui;
    case 3: hyper l; case 4: unsigned hyper ul; case 5: double d; case 6: int b;
    case 7: nonnull_string s; };"""

    xdr_name: ClassVar[str] = "typed_param_value"
    xdr_arms: ClassVar[Any] = {
        1: ("i", Int),
        2: ("ui", UnsignedInt),
        3: ("l", Hyper),
        4: ("ul", UnsignedHyper),
        5: ("d", Double),
        6: ("b", Int),
        7: ("s", NonnullString),
    }
    type: Int
    value: Any


class Param(XdrStruct):
    """struct typed_param { nonnull_string field; typed_param_value value; };"""

    xdr_name: ClassVar[str] = "typed_param"
    field: NonnullString
    value: ParamValue


class Shape(XdrUnion):
    """union shape switch (colour c) { case RED: void; case GREEN: point p; default: opaque o<>; };"""

    xdr_name: ClassVar[str] = "shape"
    xdr_arms: ClassVar[Any] = {0: (None, None), 5: ("p", Point)}
    xdr_default: ClassVar[Any] = ("o", Annotated[bytes, Opaque(None)])
    c: ColourField
    value: Any


class Flag(XdrUnion):
    """union flag switch (bool on) { case TRUE: colour c; case FALSE: void; };"""

    xdr_name: ClassVar[str] = "flag"
    xdr_arms: ClassVar[Any] = {1: ("c", ColourField), 0: (None, None)}
    on: Bool
    value: Any


class Link(XdrStruct):
    """struct link { int value; link *next; };"""

    xdr_name: ClassVar[str] = "link"
    value: Int
    next: Annotated[Link | None, OptionalOf()]


class Everything(XdrStruct):
    """struct everything { bool flag; float f; double d; quadruple q; opaque fixed[3]; opaque rest<>;
    nonnull_string text; nonnull_string *maybe; colour c; char model[4]; unsigned hyper big<2>;
    nonnull_domain *dom; typed_param params<16>; shape s; };"""

    xdr_name: ClassVar[str] = "everything"
    flag: Bool
    f: Float
    d: Double
    q: Quadruple
    fixed: Annotated[bytes, FixedOpaque(3)]
    rest: Annotated[bytes, Opaque(None)]
    text: NonnullString
    maybe: Annotated[NonnullString | None, OptionalOf()]
    c: ColourField
    model: Annotated[list[Char], FixedArrayOf(4)]
    big: Annotated[list[UnsignedHyper], ArrayOf(2)]
    dom: Annotated[Domain | None, OptionalOf()]
    params: Annotated[list[Param], ArrayOf(16)]
    s: Shape


UUID = bytes.fromhex("6695eb01f6a48304 79aa97f2502e193f")


def everything(**changes: Any) -> Everything:
    """A value with something in every field."""
    fields: dict[str, Any] = {
        "flag": True,
        "f": 0.5,
        "d": -2.25,
        "q": bytes(range(16)),
        "fixed": b"\x00\xab\xff",
        "rest": b"",
        "text": "höchst",
        "maybe": None,
        "c": Colour.GREEN,
        "model": [120, 56, 54, 0],
        "big": [2**64 - 1, 0],
        "dom": Domain("test", UUID, -1),
        "params": [
            Param("cpu_shares", ParamValue(4, 1024)),
            Param("name", ParamValue(7, "x")),
        ],
        "s": Shape(Colour.GREEN, Point(1, -(2**63))),
    }
    return Everything(**(fields | changes))
