"""Traversals of types: one method per kind of type, and the parts of a value."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, Final, Generic, TypeVar, TypeVarTuple

from . import types as xdr
from .type_table import TypeTable
from .values import Partial

R = TypeVar("R")
Args = TypeVarTuple("Args")

UUID_SIZE = 16

#: A kind of declaration → its method.
_METHODS: Final[Mapping[type[Any], str]] = {
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
#: A group of kinds → the methods that call it unless they are overridden.
_GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "scalar": ("void", "integer", "floating", "boolean", "enumeration"),
    "binary": ("fixed_opaque", "opaque"),
    "sequence": ("fixed_array", "array"),
}


class Visitor(ABC, Generic[R, *Args]):
    """Turns types into results of one kind.

    A subclass has a method for each kind of type, or for groups of kinds: `scalar`, `binary`, `sequence`.
    A class that handles a kind by neither raises TypeError when it is defined. Methods get the type (of a
    struct, a union or an enumeration the reference and the body) and the other arguments of `visit`.

    Typedefs are seen through. A fixed-length opaque of 16 bytes whose typedef's name ends with `uuid`, as
    libvirt's do, goes to `uuid`.
    """

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for group, methods in _GROUPS.items():
            if getattr(cls, group) is getattr(Visitor, group):
                missing = [name for name in methods if getattr(cls, name) is getattr(Visitor, name)]
                if missing:
                    raise TypeError(f"{cls.__name__} has neither {group} nor {', '.join(missing)}")

    def __init__(self, types: TypeTable) -> None:
        self.types = types

    def visit(self, node: xdr.Node, *args: *Args) -> R:
        """Return the result for a type."""
        uuid = False
        while isinstance(node, xdr.Named):
            body = self.types.definition(node).node
            match body:
                case xdr.Structure():
                    return self.structure(node, body, *args)
                case xdr.UnionType():
                    return self.union(node, body, *args)
                case xdr.Enumeration():
                    return self.enumeration(node, body, *args)
            uuid = uuid or node.name.lower().endswith("uuid")
            node = body
        if uuid and isinstance(node, xdr.FixedOpaque) and node.size.value == UUID_SIZE:
            return self.uuid(node, *args)
        result: R = getattr(self, _METHODS[type(node)])(node, *args)
        return result

    # Groups: a subclass without one has a method for each of its kinds

    def scalar(self, node: xdr.Node, *args: *Args) -> R:
        """No data, a number, a boolean or an enumeration."""
        raise TypeError(f"no method for {type(node).__name__}")

    def binary(self, node: xdr.FixedOpaque | xdr.Opaque, *args: *Args) -> R:
        """Opaque data."""
        raise TypeError(f"no method for {type(node).__name__}")

    def sequence(self, node: xdr.FixedArray | xdr.Array, *args: *Args) -> R:
        """An array."""
        raise TypeError(f"no method for {type(node).__name__}")

    # Kinds

    def void(self, node: xdr.Void, *args: *Args) -> R:
        """§4.16."""
        return self.scalar(node, *args)

    def integer(self, node: xdr.Integer, *args: *Args) -> R:
        """§4.1, §4.2, §4.5."""
        return self.scalar(node, *args)

    def floating(self, node: xdr.Floating, *args: *Args) -> R:
        """§4.6 to §4.8."""
        return self.scalar(node, *args)

    def boolean(self, node: xdr.Boolean, *args: *Args) -> R:
        """§4.4."""
        return self.scalar(node, *args)

    def enumeration(self, reference: xdr.Named, node: xdr.Enumeration, *args: *Args) -> R:
        """§4.3."""
        return self.scalar(node, *args)

    def fixed_opaque(self, node: xdr.FixedOpaque, *args: *Args) -> R:
        """§4.9."""
        return self.binary(node, *args)

    def uuid(self, node: xdr.FixedOpaque, *args: *Args) -> R:
        """§4.9, by a typedef for UUIDs."""
        return self.fixed_opaque(node, *args)

    def opaque(self, node: xdr.Opaque, *args: *Args) -> R:
        """§4.10."""
        return self.binary(node, *args)

    @abstractmethod
    def string(self, node: xdr.String, *args: *Args) -> R:
        """§4.11."""

    def fixed_array(self, node: xdr.FixedArray, *args: *Args) -> R:
        """§4.12."""
        return self.sequence(node, *args)

    def array(self, node: xdr.Array, *args: *Args) -> R:
        """§4.13."""
        return self.sequence(node, *args)

    @abstractmethod
    def optional(self, node: xdr.Optional, *args: *Args) -> R:
        """§4.19."""

    @abstractmethod
    def structure(self, reference: xdr.Named, node: xdr.Structure, *args: *Args) -> R:
        """§4.14."""

    @abstractmethod
    def union(self, reference: xdr.Named, node: xdr.UnionType, *args: *Args) -> R:
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
