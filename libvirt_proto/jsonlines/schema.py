"""JSON Schema (draft 2020-12) of payloads, as encode.py writes and decode.py reads them.

Constraints of XDR that JSON Schema cannot express are in the description: a string's limit counts bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ..codec import types as xdr
from ..codec.type_table import TypeTable
from ..codec.visitor import Visitor
from ..codec.xdrtype import XdrType
from ..names.fields import Bits
from ..names.meanings import key, meanings_of

Schema = dict[str, Any]

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_HEX: Final = "[0-9a-fA-F]"
#: 8-4-4-4-12, or the 32 digits alone.
_UUID: Final = f"^{_HEX}{{8}}-?({_HEX}{{4}}-?){{3}}{_HEX}{{12}}$"
_NAME: Final[Schema] = {"type": ["string", "null"], "readOnly": True}
_NAMES: Final[Schema] = {"type": "array", "items": {"type": ["string", "integer"]}, "readOnly": True}


def json_schema(title: str, choices: Mapping[str, XdrType]) -> Schema:
    """Return the schema of a value that is of one of some types; each choice has its title."""
    definitions: dict[str, Schema] = {}
    schemas = [
        {"title": name, **_Builder(type_.types, definitions).visit(type_.reference)}
        for name, type_ in choices.items()
    ]
    top = {**schemas[0], "title": title} if len(schemas) == 1 else {"title": title, "anyOf": schemas}
    return {"$schema": DIALECT, **top, "$defs": definitions}


class _Builder(Visitor[Schema]):
    """Types → schemas; a type with a name is defined once, so that it may contain itself."""

    def __init__(self, types: TypeTable, definitions: dict[str, Schema]) -> None:
        super().__init__(types)
        self._definitions = definitions

    def visit(self, node: xdr.Node) -> Schema:
        """Return the schema of a type, or a reference to it: by the name of a struct or a union, else of the
        outermost typedef."""
        if not isinstance(node, xdr.Named):
            return super().visit(node)
        inner = self.types.definition(node).node
        match inner:
            case xdr.Enumeration():
                return super().visit(node)
            case xdr.Named() if isinstance(xdr.resolved(inner, self.types), xdr.Structure | xdr.UnionType):
                return self.visit(inner)
        if node.name not in self._definitions:
            self._definitions[node.name] = {}  # from here on the name is known
            self._definitions[node.name] = super().visit(node)
        return {"$ref": f"#/$defs/{node.name}"}

    def void(self, node: xdr.Void) -> Schema:
        return {"type": "null"}

    def integer(self, node: xdr.Integer) -> Schema:
        return _integer(node.bits, node.signed)

    def boolean(self, node: xdr.Boolean) -> Schema:
        return {"type": "boolean"}

    def floating(self, node: xdr.Floating) -> Schema:
        if node.bits == 128:
            return _hex(16)
        special = {"enum": ["NaN", "Infinity", "-Infinity"]}
        other = {"type": "string", "pattern": r"^NaN\(0x[0-9a-f]{16}\)$"}
        return {"anyOf": [{"type": "number"}, special, other]}

    def enumeration(self, reference: xdr.Named, node: xdr.Enumeration) -> Schema:
        return {"anyOf": [{"enum": [member.name for member in node.members]}, _integer(32, True)]}

    def fixed_opaque(self, node: xdr.FixedOpaque) -> Schema:
        return _hex(node.size.value)

    def uuid(self, node: xdr.FixedOpaque) -> Schema:
        return {"type": "string", "format": "uuid", "pattern": _UUID}

    def opaque(self, node: xdr.Opaque) -> Schema:
        bound = {} if node.limit is None else {"maxLength": 2 * node.limit.value}
        return {"type": "string", "pattern": f"^({_HEX}{{2}})*$", **bound}

    def string(self, node: xdr.String) -> Schema:
        return _string(None if node.limit is None else node.limit.value)

    def fixed_array(self, node: xdr.FixedArray) -> Schema:
        size = node.size.value
        return {"type": "array", "items": self.visit(node.element), "maxItems": size, "minItems": size}

    def array(self, node: xdr.Array) -> Schema:
        bounds = {} if node.limit is None else {"maxItems": node.limit.value}
        return {"type": "array", "items": self.visit(node.element), **bounds}

    def optional(self, node: xdr.Optional) -> Schema:
        return {"anyOf": [{"type": "null"}, self.visit(node.element)]}

    def structure(self, reference: xdr.Named, node: xdr.Structure) -> Schema:
        return self._object(reference, {each.name: self.visit(each.node) for each in node.fields})

    def union(self, reference: xdr.Named, node: xdr.UnionType) -> Schema:
        discriminant = node.discriminant.node
        arms = [
            self._arm(reference, node, {"enum": self._spellings(discriminant, label)}, arm)
            for label, arm in node.by_label.items()
        ]
        if node.default is not None:
            taken = [each for label in node.by_label for each in self._spellings(discriminant, label)]
            other = {"allOf": [self.visit(discriminant), {"not": {"enum": taken}}]}
            arms.append(self._arm(reference, node, other, node.default))
        return {"oneOf": arms}

    def _arm(self, reference: xdr.Named, node: xdr.UnionType, discriminant: Schema, arm: xdr.Arm) -> Schema:
        fields = {node.discriminant.name: discriminant}
        if arm.name is not None:
            fields[arm.name] = self.visit(arm.node)
        return self._object(reference, fields)

    def _object(self, reference: xdr.Named, fields: dict[str, Schema]) -> Schema:
        """An object with these fields, and the names of numbers that may be next to them."""
        names = {
            key(name): _NAMES if isinstance(meaning, Bits) else _NAME
            for name, meaning in meanings_of(self.types, reference).items()
        }
        return {
            "type": "object",
            "properties": {**fields, **names},
            "required": list(fields),
            "additionalProperties": False,
        }

    def _spellings(self, discriminant: xdr.Node, number: int) -> list[Any]:
        """The ways in which a label may be written."""
        match xdr.resolved(discriminant, self.types):
            case xdr.Enumeration(members):
                return [*(member.name for member in members if member.value == number), number]
            case xdr.Boolean():
                return [bool(number)]
            case _:
                return [number]


def _integer(bits: int, signed: bool) -> Schema:
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    return {"type": "integer", "minimum": low, "maximum": high}


def _hex(size: int) -> Schema:
    return {"type": "string", "pattern": f"^{_HEX}{{{2 * size}}}$"}


def _string(limit: int | None) -> Schema:
    """A string, or bytes that are not UTF-8."""
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
