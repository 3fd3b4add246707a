"""Types and their definitions as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from libvirt_proto.codec import secretfields
from libvirt_proto.codec import types as xdr
from libvirt_proto.codec.history import Key
from libvirt_proto.names import fields, public

from ...releases.symbols import part_name
from ...schema import Module, Schema
from .history import Histories


def expression(node: xdr.Node) -> dict[str, Any]:
    """Return the type of a declaration."""
    match node:
        case xdr.Named(module, name):
            return {"kind": "reference", "module": module, "name": name}
        case xdr.Void():
            return {"kind": "void"}
        case xdr.Integer(bits, signed, spelling):
            return {"kind": "integer", "bits": bits, "signed": signed, "spelling": spelling}
        case xdr.Floating(bits):
            return {"kind": "float", "bits": bits}
        case xdr.Boolean():
            return {"kind": "boolean"}
        case xdr.FixedOpaque(size):
            return {"kind": "fixed_opaque", "size": _bound(size)}
        case xdr.Opaque(limit):
            return {"kind": "opaque", "limit": _bound(limit)}
        case xdr.String(limit):
            return {"kind": "string", "limit": _bound(limit)}
        case xdr.FixedArray(element, size):
            return {"kind": "fixed_array", "element": expression(element), "size": _bound(size)}
        case xdr.Array(element, limit):
            return {"kind": "array", "element": expression(element), "limit": _bound(limit)}
        case xdr.Optional(element):
            return {"kind": "optional", "element": expression(element)}
    raise AssertionError(f"expected the type of a declaration, got {node!r}")


def _bound(bound: xdr.Bound | None) -> dict[str, Any] | None:
    return None if bound is None else {"value": bound.value, "name": bound.name}


class Types:
    """TypeDefinition → plain data. `public` is True once a field with numbers of the public API was seen.
    `members` are the keys of enum members that are something else, too: procedures."""

    def __init__(self, schema: Schema, histories: Histories, members: Mapping[str, Key]) -> None:
        self._schema = schema
        self._histories = histories
        self._members = members
        self.public = False

    def definition(self, module: Module, definition: xdr.TypeDefinition) -> dict[str, Any]:
        """Return a definition; the keys after `history` depend on its kind."""
        name, node = definition.name, definition.node
        common = {
            "name": name,
            "module": module.name,
            "kind": xdr.keyword_of(node),
            "anonymous": definition.anonymous,
            "xdr": definition.xdr,
            "min_size": definition.min_size,
            "max_size": definition.max_size,
            "recursive": definition.recursive,
            "history": self._histories.of(("type", name)),
        }
        return common | self._body(xdr.Named(module.name, name), node)

    def _body(self, reference: xdr.Named, node: xdr.Node) -> dict[str, Any]:
        match node:
            case xdr.Structure():
                known = fields.known_fields(self._schema, reference)
                found = [
                    {**self._part(reference, each, known), "insert": each.insert} for each in node.fields
                ]
                return {"fields": found, "insert": node.insert}
            case xdr.UnionType(discriminant):
                known = fields.known_fields(self._schema, reference)
                return {
                    "discriminant": self._part(reference, discriminant, known),
                    "arms": [self._arm(reference, each) for each in node.arms],
                    "default": None if node.default is None else self._arm(reference, node.default),
                }
            case xdr.Enumeration(members):
                return {"members": [self._member(reference, each) for each in members]}
            case _:
                return {"type": expression(node)}

    def _part(
        self, reference: xdr.Named, part: xdr.Field | xdr.Arm, known: Mapping[str, Any]
    ) -> dict[str, Any]:
        meaning = known.get(part.name or "")
        self.public |= meaning is not None
        return {
            "name": part.name,
            "type": expression(part.node),
            "meaning": None if meaning is None else _meaning(meaning),
            "secret": _secret(f"{reference.name}.{part.name}"),
            "history": self._histories.of_part(("field", reference.name, part_name(part))),
        }

    def _arm(self, reference: xdr.Named, arm: xdr.Arm) -> dict[str, Any]:
        labels = [{"value": each.value, "name": each.name} for each in arm.labels]
        return {"labels": labels, **self._part(reference, arm, {})}

    def _member(self, reference: xdr.Named, member: xdr.Member) -> dict[str, Any]:
        procedure = self._members.get(member.name)
        history = (
            self._histories.of_part(("member", reference.name, member.name))
            if procedure is None
            else self._histories.of(procedure)
        )
        return {"name": member.name, "value": member.value, "history": history}


def _meaning(data: Any) -> dict[str, Any]:
    """Return which public enums have the numbers of a field, from the data in names.fields."""
    match data:
        case str():
            return {"kind": "value", "enum": data}
        case list():
            enums = [each for each in data if each in public.enums()]
            return {
                "kind": "flags",
                "enums": enums,
                "preferred": [each for each in data if each not in enums],
            }
        case _:
            enums_by = {name: enum for name, enum in data.items() if name != "by"}
            return {"kind": "dependent", "field": data["by"], "enums": enums_by}


def _secret(field: str) -> dict[str, str] | None:
    """Return the kind of secret that a field is or may contain."""
    entry = secretfields.entry(field)
    return None if entry is None or entry.kind == "public" else {"kind": entry.kind, "reason": entry.reason}
