"""Values of XDR types as plain builtins: the JSON spelling, one rule per kind of node.

Structs are objects by the .x's field names; optional-data is null or the value; opaque is
lower-case hex, a uuid 8-4-4-4-12; an enum is its member's name, or the number where it has none; a
union is its discriminant and the arm by its name (the discriminant alone for a void arm); a string
that is not UTF-8 is {"base64": …}; floats that JSON has no number for are "NaN", "Infinity" and
"-Infinity" ("NaN(0x…)" with its 64 bits for one that is not the usual NaN); integers of any size, and
`char x[32]`, stay numbers; a quadruple is its bytes in hex.
"""

from __future__ import annotations

import enum
import math
from base64 import b64encode
from collections.abc import Callable
from functools import cache
from struct import Struct
from typing import Any

from ..layout import (
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

Convert = Callable[[Any], Any]

_DOUBLE = Struct(">d")
_NAN = _DOUBLE.pack(math.nan)


def plain(node: Node, value: Any) -> Any:
    """A value as dict, list, str, int, float, bool and None; where decoding broke off, what there is.

    `value` must be of the node's type, as decoding gives it.
    """
    return converter(node)(value)


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
def converter(node: Node) -> Convert:
    """The function that makes values of a node plain.

    It is compiled from one expression per type, three times as fast as walking the fields. Names
    of the .x get into it as quoted strings alone, attributes are Python's own identifiers.
    """
    match node:
        case StructNode():
            return _struct(node)
        case UnionNode():
            return _union(node)
        case _:
            scope: dict[str, Any] = {}
            return _function(_expression(node, "value", scope), scope)


def _function(expression: str, scope: dict[str, Any]) -> Convert:
    scope.update(uuid_text=uuid_text, float_text=float_text, string_text=string_text)
    return eval(f"lambda value: {expression}", scope)  # type: ignore[no-any-return]  # noqa: S307


def _expression(node: Node, value: str, scope: dict[str, Any]) -> str:
    """Python for the plain form of what the expression `value` gives; functions that it needs are
    put into `scope`."""
    match node:
        case VoidNode():
            return "None"
        case Leaf():
            return _leaf(node, value, scope)
        case Sequence(element):
            inner = _expression(element, "item", scope)
            return value if inner == "item" else f"[{inner} for item in {value}]"
        case Optional(element):
            inner = _expression(element, value, scope)
            return value if inner == value else f"(None if {value} is None else {inner})"
        case StructNode() | UnionNode():
            return f"{_put(scope, _later(node))}({value})"


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


def _later(node: StructNode | UnionNode) -> Convert:
    """The node's converter, made when its first value comes: a type may contain itself."""
    made: list[Convert] = []

    def convert(value: Any) -> Any:
        if not made:
            made.append(converter(node))
        return made[0](value)

    return convert


def _struct(node: StructNode) -> Convert:
    fields = {name: field for name, _attribute, field in node.fields}
    scope: dict[str, Any] = {"Partial": Partial, "partial": lambda value: _partial(fields, value)}
    pairs = (
        f"{name!r}: {_expression(field, f'value.{attribute}', scope)}"
        for name, attribute, field in node.fields
    )
    return _function(f"partial(value) if type(value) is Partial else {{{', '.join(pairs)}}}", scope)


def _union(node: UnionNode) -> Convert:
    label, attribute, discriminant = node.discriminant
    arms = {number: _arm(node, name, arm) for number, (name, arm) in node.arms.items()}
    default = _arm(node, *(node.default or (None, VoidNode())))

    def convert(value: Any) -> dict[str, Any]:
        if type(value) is Partial:
            number = value.fields.get(label)
            name, arm = (None if number is None else node.arm(number)) or (None, VoidNode())
            return _partial({label: discriminant, name or "": arm}, value)
        return arms.get(getattr(value, attribute), default)(value)  # type: ignore[no-any-return]

    return convert


def _arm(node: UnionNode, name: str | None, arm: Node) -> Convert:
    label, attribute, discriminant = node.discriminant
    scope: dict[str, Any] = {}
    pairs = f"{label!r}: {_expression(discriminant, f'value.{attribute}', scope)}"
    if name is not None:
        held = f"value.{node.type.__struct_fields__[1]}"
        pairs += f", {name!r}: {_expression(arm, held, scope)}"
    return _function(f"{{{pairs}}}", scope)


def _partial(nodes: dict[str, Node], value: Partial) -> dict[str, Any]:
    return {name: plain(nodes[name], part) for name, part in value.fields.items()}
