"""Values of XDR types as plain builtins: the JSON spelling, one rule per kind of node.

Structs are objects by the .x's field names; optional-data is null or the value; opaque is
lower-case hex, a uuid 8-4-4-4-12; an enum is its member's name, or the number where it has none; a
union is its discriminant and the arm by its name (the discriminant alone for a void arm); a string
that is not UTF-8 is {"base64": …}; floats that JSON has no number for are "NaN", "Infinity" and
"-Infinity" ("NaN(0x…)" with its 64 bits for one that is not the usual NaN); integers of any size, and
`char x[32]`, stay numbers; a quadruple is its bytes in hex.

With names, a number whose meaning is known has a key behind it, `state_name` behind `state`: the name that
libvirt's public API has for the number, or null; for a set of bits an array of their names, and behind these
what has no name, as one number.
"""

from __future__ import annotations

import enum
import math
from base64 import b64encode
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from struct import Struct
from typing import Any

from ..codec.layout import (
    Boolean,
    EnumOf,
    FixedOpaque,
    Floating,
    Integer,
    Leaf,
    Node,
    Opaque,
    Optional,
    Partial,
    Sequence,
    String,
    StructNode,
    UnionNode,
    VoidNode,
)
from ..names.meanings import key, meanings_of, name_of
from ..names.public import Bits, By, Meaning, OneOf

Convert = Callable[[Any], Any]

_DOUBLE = Struct(">d")
_NAN = _DOUBLE.pack(math.nan)


def plain(node: Node, value: Any, *, named: bool = False) -> Any:
    """A value as dict, list, str, int, float, bool and None; where decoding broke off, what there is.
    With names, arrays of them are tuples.

    `value` must be of the node's type, as decoding gives it.
    """
    return converter(node, named)(value)


@lru_cache(1024)  # the same few domains, again and again
def uuid_text(value: bytes) -> str:
    """Sixteen bytes as 8-4-4-4-12."""
    text = value.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def float_text(value: float) -> float | str:
    """A float, or the name of one that JSON has no number for."""
    if math.isfinite(value):
        return value
    if math.isnan(value):
        bits = _DOUBLE.pack(value)
        return "NaN" if bits == _NAN else f"NaN(0x{bits.hex()})"
    return "Infinity" if value > 0 else "-Infinity"


def string_text(value: str | bytes) -> str | dict[str, str]:
    """A string, or the bytes of one that is not UTF-8."""
    return {"base64": b64encode(value).decode()} if isinstance(value, bytes) else value


@cache
def enum_names(type_: type[enum.IntEnum]) -> dict[int, str]:
    """Number → the member's name in the .x (the first of several)."""
    return {int(member): name for name, member in reversed(list(type_.__members__.items()))}


@cache
def converter(node: Node, named: bool) -> Convert:
    """The function that makes values of a node plain, without names or with them.

    It is compiled from one expression per type, three times as fast as walking the fields. Names
    of the .x get into it as quoted strings alone, attributes are Python's own identifiers.
    """
    match node:
        case StructNode():
            return _struct(node, named)
        case UnionNode():
            return _union(node, named)
        case _:
            scope: dict[str, Any] = {}
            return _function(_expression(node, "value", scope, named), scope)


def _function(expression: str, scope: dict[str, Any]) -> Convert:
    scope.update(uuid_text=uuid_text, float_text=float_text, string_text=string_text)
    return eval(f"lambda value: {expression}", scope)  # type: ignore[no-any-return]  # noqa: S307


def _expression(node: Node, value: str, scope: dict[str, Any], named: bool) -> str:
    """Python for the plain form of what the expression `value` gives; functions that it needs are
    put into `scope`."""
    match node:
        case VoidNode():
            return "None"
        case Leaf():
            return _leaf(node, value, scope)
        case Sequence(element):
            inner = _expression(element, "item", scope, named)
            return value if inner == "item" else f"[{inner} for item in {value}]"
        case Optional(element):
            inner = _expression(element, value, scope, named)
            return value if inner == value else f"(None if {value} is None else {inner})"
        case StructNode() | UnionNode():
            return f"{_put(scope, _later(node, named))}({value})"


def _leaf(leaf: Leaf, value: str, scope: dict[str, Any]) -> str:
    if leaf.is_uuid:
        return f"uuid_text({value})"
    match leaf.mark:
        case Integer() | Boolean():
            return value
        case Floating(128) | FixedOpaque() | Opaque():
            return f"{value}.hex()"
        case Floating():
            return f"float_text({value})"
        case String():
            return f"({value} if type({value}) is str else string_text({value}))"
        case EnumOf(type_):
            names = _put(scope, enum_names(type_))
            return f"{names}.get({value}, {value})"


def _put(scope: dict[str, Any], thing: Any) -> str:
    name = f"_{len(scope)}"
    scope[name] = thing
    return name


def _later(node: StructNode | UnionNode, named: bool) -> Convert:
    """The node's converter, made when its first value comes: a type may contain itself."""
    made: list[Convert] = []

    def convert(value: Any) -> Any:
        if not made:
            made.append(converter(node, named))
        return made[0](value)

    return convert


def _struct(node: StructNode, named: bool) -> Convert:
    fields = {name: field for name, _attribute, field in node.fields}
    values = {name: f"value.{attribute}" for name, attribute, _field in node.fields}
    known = meanings_of(node) if named else {}
    scope: dict[str, Any] = {
        "Partial": Partial,
        "partial": lambda value: _partial(fields, known, value, named),
    }
    pairs = []
    for name, field in fields.items():
        pairs.append(f"{name!r}: {_expression(field, values[name], scope, named)}")
        if name in known:
            pairs.append(f"{key(name)!r}: {_name(known[name], name, values, scope)}")
    return _function(f"partial(value) if type(value) is Partial else {{{', '.join(pairs)}}}", scope)


def _union(node: UnionNode, named: bool) -> Convert:
    label, attribute, discriminant = node.discriminant
    arms = {number: _arm(node, name, arm, named) for number, (name, arm) in node.arms.items()}
    default = _arm(node, *(node.default or (None, VoidNode())), named)

    def convert(value: Any) -> dict[str, Any]:
        if type(value) is Partial:
            number = value.fields.get(label)
            name, arm = (None if number is None else node.arm(number)) or (None, VoidNode())
            known = meanings_of(node) if named else {}
            return _partial({label: discriminant, name or "": arm}, known, value, named)
        return arms.get(getattr(value, attribute), default)(value)  # type: ignore[no-any-return]

    return convert


def _arm(node: UnionNode, name: str | None, arm: Node, named: bool) -> Convert:
    label, attribute, discriminant = node.discriminant
    values = {label: f"value.{attribute}"}
    scope: dict[str, Any] = {}
    pairs = [f"{label!r}: {_expression(discriminant, values[label], scope, named)}"]
    meaning = meanings_of(node).get(label) if named else None
    if meaning is not None:
        pairs.append(f"{key(label)!r}: {_name(meaning, label, values, scope)}")
    if name is not None:
        held = f"value.{node.type.__struct_fields__[1]}"
        pairs.append(f"{name!r}: {_expression(arm, held, scope, named)}")
    return _function(f"{{{', '.join(pairs)}}}", scope)


def _name(meaning: Meaning, field: str, values: Mapping[str, str], scope: dict[str, Any]) -> str:
    """Python for the name of a field's number; `values` has the expressions of the fields."""
    match meaning:
        case OneOf(names):
            return f"{_put(scope, names.get)}({values[field]})"
        case Bits():
            # Real clients have few sets of flags; a hostile one gets no more memory than this.
            return f"{_put(scope, lru_cache(256)(meaning.of))}({values[field]})"
        case By(other, names):
            return f"{_put(scope, names.get)}(({values[other]}, {values[field]}))"


def _partial(
    nodes: Mapping[str, Node], known: Mapping[str, Meaning], value: Partial, named: bool
) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for name, part in value.fields.items():
        shown[name] = plain(nodes[name], part, named=named)
        if name in known:
            shown[key(name)] = name_of(known[name], part, value.fields)
    return shown
