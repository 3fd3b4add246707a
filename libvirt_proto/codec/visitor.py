"""Traversals of types: one method per kind of type, and the parts of a value."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar, Generic, TypeVar

from . import types as xdr
from .values import Partial
from .xdrtype import TypeTable

R = TypeVar("R")

UUID_SIZE = 16


class Visitor(ABC, Generic[R]):
    """Turns types into results of one kind. A subclass has a method for each kind of type.

    Typedefs are seen through. A fixed-length opaque of 16 bytes whose typedef's name ends with `uuid`, as
    libvirt's do, goes to `uuid`.
    """

    _METHODS: ClassVar[dict[type[Any], str]] = {
        xdr.Void: "void",
        xdr.Integer: "integer",
        xdr.Floating: "floating",
        xdr.Boolean: "boolean",
        xdr.FixedOpaque: "fixed_opaque",
        xdr.Opaque: "opaque",
        xdr.String: "string",
        xdr.FixedArray: "fixed_array",
        xdr.Array: "array",
        xdr.Optional: "optional",
    }

    def __init__(self, types: TypeTable) -> None:
        self.types = types

    def visit(self, node: xdr.Node) -> R:
        """Return the result for a type."""
        uuid = False
        while isinstance(node, xdr.Named):
            body = self.types.definition(node).node
            match body:
                case xdr.Structure():
                    return self.structure(node, body)
                case xdr.UnionType():
                    return self.union(node, body)
                case xdr.Enumeration():
                    return self.enumeration(node, body)
            uuid = uuid or node.name.lower().endswith("uuid")
            node = body
        if uuid and isinstance(node, xdr.FixedOpaque) and node.size.value == UUID_SIZE:
            return self.uuid(node)
        result: R = getattr(self, self._METHODS[type(node)])(node)
        return result

    @abstractmethod
    def void(self, node: xdr.Void) -> R:
        """§4.16."""

    @abstractmethod
    def integer(self, node: xdr.Integer) -> R:
        """§4.1, §4.2, §4.5."""

    @abstractmethod
    def floating(self, node: xdr.Floating) -> R:
        """§4.6 to §4.8."""

    @abstractmethod
    def boolean(self, node: xdr.Boolean) -> R:
        """§4.4."""

    @abstractmethod
    def enumeration(self, reference: xdr.Named, node: xdr.Enumeration) -> R:
        """§4.3."""

    @abstractmethod
    def fixed_opaque(self, node: xdr.FixedOpaque) -> R:
        """§4.9."""

    def uuid(self, node: xdr.FixedOpaque) -> R:
        """§4.9, by a typedef for UUIDs."""
        return self.fixed_opaque(node)

    @abstractmethod
    def opaque(self, node: xdr.Opaque) -> R:
        """§4.10."""

    @abstractmethod
    def string(self, node: xdr.String) -> R:
        """§4.11."""

    @abstractmethod
    def fixed_array(self, node: xdr.FixedArray) -> R:
        """§4.12."""

    @abstractmethod
    def array(self, node: xdr.Array) -> R:
        """§4.13."""

    @abstractmethod
    def optional(self, node: xdr.Optional) -> R:
        """§4.19."""

    @abstractmethod
    def structure(self, reference: xdr.Named, node: xdr.Structure) -> R:
        """§4.14."""

    @abstractmethod
    def union(self, reference: xdr.Named, node: xdr.UnionType) -> R:
        """§4.15."""


def walk(
    types: xdr.Definitions, node: xdr.Node, value: Any, path: str = ""
) -> Iterator[tuple[str, xdr.Node, Any]]:
    """Yield (path, type, value) of a value and of all its parts, from the top; absent parts are left out.

    A type is never Named: it is the body or the declaration. Elements have the path of their array and `[]`.
    """
    while isinstance(node, xdr.Named):
        node = types.definition(node).node
    yield path, node, value
    match node:
        case xdr.FixedArray(element) | xdr.Array(element):
            for item in value:
                yield from walk(types, element, item, f"{path}[]")
        case xdr.Optional(element) if value is not None:
            yield from walk(types, element, value, path)
        case xdr.Structure() | xdr.UnionType():
            for name, part, held in parts(node, value):
                yield from walk(types, part, held, f"{path}.{name}" if path else name)


def parts(node: xdr.Structure | xdr.UnionType, value: Any) -> Iterator[tuple[str, xdr.Node, Any]]:
    """Yield (name, type, value) of the parts of a struct or a union, as far as they were decoded.

    A union's parts are its discriminant and the arm that this selects; a void arm is left out.
    """
    if isinstance(node, xdr.Structure):
        declared = [(each.name, each.node) for each in node.fields]
    else:
        declared = [(node.discriminant.name, node.discriminant.node)]
        arm = node.arm(_discriminant(node, value))
        if arm is not None and arm.name is not None:
            declared.append((arm.name, arm.node))
    if isinstance(value, Partial):
        yield from ((name, part, value.fields[name]) for name, part in declared if name in value.fields)
        return
    for (name, part), attribute in zip(declared, value.__struct_fields__, strict=False):
        yield name, part, getattr(value, attribute)


def _discriminant(node: xdr.UnionType, value: Any) -> Any:
    """The discriminant; of a union that broke off before it, a value that selects nothing."""
    if isinstance(value, Partial):
        return value.fields.get(node.discriminant.name)
    return getattr(value, value.__struct_fields__[0])
