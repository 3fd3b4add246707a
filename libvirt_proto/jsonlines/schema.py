"""JSON Schema (draft 2020-12) of payloads, in the spelling of jsonl: what `values.plain` gives and
decode.py accepts.

Where JSON Schema can say less than XDR, the description says the rest: a string's bound counts bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

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
    Sequence,
    String,
    StructNode,
    UnionNode,
    VoidNode,
)
from ..names.meanings import key, meanings_of
from ..names.public import Bits

Schema = dict[str, Any]

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_HEX: Final = "[0-9a-fA-F]"
#: 8-4-4-4-12, or the 32 digits alone.
_UUID: Final = f"^{_HEX}{{8}}-?({_HEX}{{4}}-?){{3}}{_HEX}{{12}}$"
_NAME: Final[Schema] = {"type": ["string", "null"], "readOnly": True}
_NAMES: Final[Schema] = {"type": "array", "items": {"type": ["string", "integer"]}, "readOnly": True}


def json_schema(title: str, choices: Mapping[str, Node]) -> Schema:
    """The schema of a value that is of one of some types; each choice has its title."""
    builder = _Builder()
    schemas = [{"title": name, **builder.node(node)} for name, node in choices.items()]
    top = {**schemas[0], "title": title} if len(schemas) == 1 else {"title": title, "anyOf": schemas}
    return {"$schema": DIALECT, **top, "$defs": builder.definitions}


class _Builder:
    """Nodes → schemas; types with names are defined once, so that a type may contain itself."""

    def __init__(self) -> None:
        self.definitions: dict[str, Schema] = {}

    def node(self, node: Node) -> Schema:
        """The schema of a node, or a reference to it."""
        if isinstance(node, VoidNode):
            return {"type": "null"}
        name = node.name if isinstance(node, StructNode | UnionNode) else "".join(node.typedefs[-1:])
        if not name:
            return self._body(node)
        if name not in self.definitions:
            self.definitions[name] = {}  # it is known from here on
            self.definitions[name] = self._body(node)
        return {"$ref": f"#/$defs/{name}"}

    def _body(self, node: Node) -> Schema:
        match node:
            case Leaf(mark):
                return _uuid() if node.is_uuid else _leaf(mark)
            case Sequence(element, size, fixed):
                bounds = {} if size is None else {"maxItems": size}
                if fixed:
                    bounds["minItems"] = size or 0
                return {"type": "array", "items": self.node(element), **bounds}
            case Optional(element):
                return {"anyOf": [{"type": "null"}, self.node(element)]}
            case StructNode():
                fields = {name: self.node(field) for name, _, field in node.fields}
                return _object(node, fields)
            case UnionNode():
                return {"oneOf": list(self._arms(node))}
            case VoidNode():
                return {"type": "null"}

    def _arms(self, node: UnionNode) -> list[Schema]:
        _, _, discriminant = node.discriminant
        arms = [
            self._arm(node, {"enum": _spellings(discriminant, number)}, name, field)
            for number, (name, field) in node.arms.items()
        ]
        if node.default is not None:
            taken = [each for number in node.arms for each in _spellings(discriminant, number)]
            other = {"allOf": [self.node(discriminant), {"not": {"enum": taken}}]}
            arms.append(self._arm(node, other, *node.default))
        return arms

    def _arm(self, node: UnionNode, discriminant: Schema, name: str | None, field: Node) -> Schema:
        fields = {node.discriminant[0]: discriminant}
        if name is not None:
            fields[name] = self.node(field)
        return _object(node, fields)


def _object(node: StructNode | UnionNode, fields: dict[str, Schema]) -> Schema:
    """An object with these fields, and what may stand beside them."""
    names = {
        key(name): _NAMES if isinstance(meaning, Bits) else _NAME
        for name, meaning in meanings_of(node).items()
    }
    return {
        "type": "object",
        "properties": {**fields, **names},
        "required": list(fields),
        "additionalProperties": False,
    }


def _spellings(discriminant: Node, number: int) -> list[Any]:
    """The ways in which a label may be written."""
    match discriminant:
        case Leaf(EnumOf(type_)):
            return [*(name for name, member in type_.__members__.items() if member == number), number]
        case Leaf(Boolean()):
            return [bool(number)]
        case _:
            return [number]


def _uuid() -> Schema:
    return {"type": "string", "format": "uuid", "pattern": _UUID}


def _leaf(mark: Any) -> Schema:
    match mark:
        case Integer(bits, signed):
            return _integer(bits, signed)
        case Boolean():
            return {"type": "boolean"}
        case Floating(128):
            return _hex(16)
        case Floating():
            special = {"enum": ["NaN", "Infinity", "-Infinity"]}
            other = {"type": "string", "pattern": r"^NaN\(0x[0-9a-f]{16}\)$"}
            return {"anyOf": [{"type": "number"}, special, other]}
        case FixedOpaque(size):
            return _hex(size)
        case Opaque(limit):
            bound = {} if limit is None else {"maxLength": 2 * limit}
            return {"type": "string", "pattern": f"^({_HEX}{{2}})*$", **bound}
        case String(limit):
            return _string(limit)
        case EnumOf(type_):
            return {"anyOf": [{"enum": list(type_.__members__)}, _integer(32, True)]}
    raise TypeError(f"{mark!r} is no mark")  # pragma: no cover - there are no others


def _integer(bits: int, signed: bool) -> Schema:
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    return {"type": "integer", "minimum": low, "maximum": high}


def _hex(size: int) -> Schema:
    return {"type": "string", "pattern": f"^{_HEX}{{{2 * size}}}$"}


def _string(limit: int | None) -> Schema:
    """A string, or bytes that are no UTF-8."""
    text: Schema = {"type": "string"}
    bound: Schema = {}
    if limit is not None:
        text["maxLength"] = limit
        bound["description"] = f"at most {limit} bytes of UTF-8"
    binary = {
        "type": "object",
        "properties": {"base64": {"type": "string", "contentEncoding": "base64"}},
        "required": ["base64"],
        "additionalProperties": False,
    }
    return {**bound, "anyOf": [text, binary]}
