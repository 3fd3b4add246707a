"""Skeletons: the JSON of a type with the simplest value of each part, to be filled in."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from ..codec import types as xdr
from ..codec.visitor import Visitor
from ..codec.xdrtype import XdrType


def skeleton(type_: XdrType) -> Any:
    """Return the JSON of a type's simplest value: zeros, empty strings and arrays, null, the first member of
    an enumeration and the first arm of a union."""
    return _Skeleton(type_.types).visit(type_.reference)


class _Skeleton(Visitor[Any]):
    def void(self, node: xdr.Void) -> None:
        return None

    def integer(self, node: xdr.Integer) -> int:
        return 0

    def floating(self, node: xdr.Floating) -> Any:
        return "00" * (node.bits // 8) if node.bits == 128 else 0.0

    def boolean(self, node: xdr.Boolean) -> bool:
        return False

    def enumeration(self, reference: xdr.Named, node: xdr.Enumeration) -> str | int:
        return node.members[0].name if node.members else 0

    def fixed_opaque(self, node: xdr.FixedOpaque) -> str:
        return "00" * node.size.value

    def opaque(self, node: xdr.Opaque) -> str:
        return ""

    def uuid(self, node: xdr.FixedOpaque) -> str:
        return str(UUID(int=0))

    def string(self, node: xdr.String) -> str:
        return ""

    def fixed_array(self, node: xdr.FixedArray) -> list[Any]:
        return [self.visit(node.element)] * node.size.value

    def array(self, node: xdr.Array) -> list[Any]:
        return []

    def optional(self, node: xdr.Optional) -> None:
        return None

    def structure(self, reference: xdr.Named, node: xdr.Structure) -> dict[str, Any]:
        return {field.name: self.visit(field.node) for field in node.fields}

    def union(self, reference: xdr.Named, node: xdr.UnionType) -> dict[str, Any]:
        label, arm = next(iter(node.by_label.items()), (0, node.default))
        is_boolean = isinstance(xdr.resolved(node.discriminant.node, self.types), xdr.Boolean)
        value: dict[str, Any] = {node.discriminant.name: bool(label) if is_boolean else label}
        if arm is not None and arm.name is not None:
            value[arm.name] = self.visit(arm.node)
        return value
