"""Types of a small .x file, compiled on import, for tests that need no libvirt definitions.

A type that the tests use only for its JSON or its tree is a typedef below.
"""

from __future__ import annotations

from typing import Any

from libvirt_proto.codec.xdrtype import XdrType
from tests.support.packages import import_package, python_texts

DEFINITIONS = """
enum colour { RED = 0, GREEN = 5, BLUE = -1 };
typedef string nonnull_string<4194304>;
typedef opaque remote_uuid[16];
struct nonnull_domain { nonnull_string name; remote_uuid uuid; int id; };
struct point { int from; hyper y; };
union typed_param_value switch (int type) {
    case 1: int i;
    case 2: unsigned int ui;
    case 3: hyper l;
    case 4: unsigned hyper ul;
    case 5: double d;
    case 6: int b;
    case 7: nonnull_string s;
};
struct typed_param { nonnull_string field; typed_param_value value; };
union shape switch (colour c) { case RED: void; case GREEN: point p; default: opaque o<>; };
union flag switch (bool on) { case TRUE: colour c; case FALSE: void; };
struct link { int value; link *next; };
struct everything {
    bool flag; float f; double d; quadruple q; opaque fixed[3]; opaque rest<>; nonnull_string text;
    nonnull_string *maybe; colour c; char model[4]; unsigned hyper big<2>; nonnull_domain *dom;
    typed_param params<16>; shape s;
};

typedef int int_value;
typedef unsigned int unsigned_int_value;
typedef unsigned hyper unsigned_hyper_value;
typedef bool bool_value;
typedef double double_value;
typedef quadruple quadruple_value;
typedef string text<>;
typedef opaque bytes_value<>;
typedef opaque plain_id[16];
typedef plain_id virFooUUID;
typedef opaque digest[16];
typedef opaque short_uuid[2];
typedef int *maybe_int;
typedef text *maybe_text;
typedef int ints<>;
typedef int two_ints<2>;
typedef colour colours<>;
typedef nonnull_domain domains<>;
typedef typed_param params<>;
typedef typed_param two_params<2>;
typedef flag flags<>;
typedef char two_chars[2];
typedef char three_chars[3];
typedef char six_chars[6];
typedef unsigned int row[3];
typedef row rows<>;
"""

_module = import_package("_handmade", python_texts("handmade", DEFINITIONS)).handmade
TYPES = _module.TYPES
Colour, Domain, Point, ParamValue = (
    _module.Colour,
    _module.NonnullDomain,
    _module.Point,
    _module.TypedParamValue,
)
Param, Shape, Flag, Link = _module.TypedParam, _module.Shape, _module.Flag, _module.Link
Everything = _module.Everything

UUID = bytes.fromhex("6695eb01f6a48304 79aa97f2502e193f")


def type_named(name: str | type[Any]) -> XdrType:
    """Return a type by its name in the .x, or by the class of its values."""
    found: XdrType = TYPES[name if isinstance(name, str) else name.xdr_name]
    return found


def everything(**changes: Any) -> Any:
    """Return a value with something in every field."""
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
