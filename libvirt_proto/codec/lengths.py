"""Lengths in values that have a limit: of strings and opaque data in bytes, of lists in elements."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from . import types as xdr
from .type_table import TypeTable
from .visitor import Visitor

#: A function that visits a value.
Walk = Callable[[Any], None]

#: The paths of a type with more parts begin with its own name, like those of a type within itself: else the
#: number of paths could double with each level of types.
MAX_PARTS: Final = 1024


class Place(Protocol):
    """A place in a type that has a limit; its lengths above `threshold` are reported."""

    threshold: int

    def report(self, length: int) -> None:
        """Note a length."""


class LengthWalks(Visitor[Walk | None, xdr.Node, str]):
    """Makes functions that visit the values of types, as far as these have limits.

    The limits are those of the same definitions or of others, of an older release: `limits`. Fields match by
    name, or by position in structs with as many fields. Visits get the type in `limits` and the path; None if
    there is nothing to visit. A value has to be whole.
    """

    def __init__(self, types: TypeTable, limits: xdr.Definitions) -> None:
        super().__init__(types)
        self._limits = limits
        self._parts: dict[xdr.Named, int] = {}
        self._bodies: dict[tuple[xdr.Named, xdr.Node], list[Walk | None]] = {}

    @abstractmethod
    def place(self, what: str, path: str, limit: xdr.Bound) -> Place:
        """Return the place of a path; `limit` has the name of the constant, too."""

    def absent(self, type_: str, part: str) -> None:
        """Note a part of a value that the definitions with the limits lack."""

    # Kinds

    def scalar(self, node: xdr.Node, other: xdr.Node, path: str) -> None:
        return None

    def fixed_opaque(self, node: xdr.FixedOpaque, other: xdr.Node, path: str) -> None:
        return None

    def opaque(self, node: xdr.Opaque, other: xdr.Node, path: str) -> Walk | None:
        return self._bytes("opaque", other, path)

    def string(self, node: xdr.String, other: xdr.Node, path: str) -> Walk | None:
        return self._bytes("string", other, path)

    def _bytes(self, what: str, other: xdr.Node, path: str) -> Walk | None:
        limited = xdr.resolved(other, self._limits)
        if not isinstance(limited, xdr.String | xdr.Opaque) or limited.limit is None:
            return None
        place = self.place(what, path, limited.limit)

        def walk(value: str | bytes) -> None:
            size = len(value) if isinstance(value, bytes) or value.isascii() else len(value.encode())
            if size > place.threshold:
                place.report(size)

        return walk

    def sequence(self, node: xdr.FixedArray | xdr.Array, other: xdr.Node, path: str) -> Walk | None:
        limited = xdr.resolved(other, self._limits)
        if not isinstance(limited, xdr.FixedArray | xdr.Array):
            return None
        inner = self.visit(node.element, limited.element, f"{path}[]")
        limit = xdr.bound_of(limited)
        if limit is None or (isinstance(node, xdr.FixedArray) and node.size.value <= limit.value):
            return inner and _each(inner)
        place = self.place("list", path, limit)

        def walk(value: list[Any]) -> None:
            if len(value) > place.threshold:
                place.report(len(value))
            if inner is not None:
                for item in value:
                    inner(item)

        return walk

    def optional(self, node: xdr.Optional, other: xdr.Node, path: str) -> Walk | None:
        limited = xdr.resolved(other, self._limits)
        inner = self.visit(node.element, limited.element, path) if isinstance(limited, xdr.Optional) else None
        return inner and _optional(inner)

    # Structs and unions

    def structure(self, reference: xdr.Named, node: xdr.Structure, other: xdr.Node, path: str) -> Walk | None:
        limited = xdr.resolved(other, self._limits)
        if not isinstance(limited, xdr.Structure):
            return None
        return self._body(reference, other, path, lambda path: self._struct(reference, node, limited, path))

    def union(self, reference: xdr.Named, node: xdr.UnionType, other: xdr.Node, path: str) -> Walk | None:
        limited = xdr.resolved(other, self._limits)
        if not isinstance(limited, xdr.UnionType):
            return None
        return self._body(reference, other, path, lambda path: self._arms(reference, node, limited, path))

    def _body(
        self, reference: xdr.Named, other: xdr.Node, path: str, make: Callable[[str], Walk | None]
    ) -> Walk | None:
        """Make the function of a struct or a union: one for each path, or one for all."""
        if self._count(reference):
            return make(path)
        key = reference, other
        made = self._bodies.get(key)
        if made is None:
            made = self._bodies[key] = []
            made.append(make(reference.name))
        return _later(made)

    def _count(self, node: xdr.Node) -> int:
        """The number of parts of a type; 0 if their paths begin with the name of the type."""
        if not isinstance(node, xdr.Named):
            return 1 + sum(map(self._count, xdr.children(node)))
        if node not in self._parts:
            definition = self.types.definition(node)
            is_body = isinstance(definition.node, xdr.Structure | xdr.UnionType)
            count = 0 if is_body and definition.recursive else self._count(definition.node)
            self._parts[node] = 0 if is_body and count > MAX_PARTS else count
        return self._parts[node]

    def _struct(
        self, reference: xdr.Named, node: xdr.Structure, limited: xdr.Structure, path: str
    ) -> Walk | None:
        known = {field.name: field.node for field in limited.fields}
        if len(node.fields) == len(limited.fields):  # a renamed field has kept its place
            known |= {new.name: old.node for new, old in zip(node.fields, limited.fields, strict=True)}
        attributes = self.types.python_class(reference).__struct_fields__
        walks = [
            (attribute, walk)
            for attribute, field in zip(attributes, node.fields, strict=True)
            if (walk := self._field(reference, field, known.get(field.name), path))
        ]
        return _struct(walks) if walks else None

    def _field(
        self, reference: xdr.Named, field: xdr.Field, other: xdr.Node | None, path: str
    ) -> Walk | None:
        if other is None:
            return lambda value: self.absent(reference.name, field.name)
        return self.visit(field.node, other, f"{path}.{field.name}")

    def _arms(
        self, reference: xdr.Named, node: xdr.UnionType, limited: xdr.UnionType, path: str
    ) -> Walk | None:
        made: dict[tuple[int, xdr.Node], Walk | None] = {}

        def part(arm: xdr.Arm | None, limited: xdr.Arm | None) -> Walk | None:
            if arm is None or limited is None:
                return None
            key = id(arm), limited.node  # one walk for all labels of an arm
            if key not in made:
                made[key] = self.visit(arm.node, limited.node, f"{path}.{arm.name}")
            return made[key]

        labels = [label for label in {**node.by_label, **limited.by_label} if node.arm(label) is not None]
        arms = {label: part(node.arm(label), limited.arm(label)) for label in labels}
        default = part(node.default, limited.default)
        attributes = self.types.python_class(reference).__struct_fields__
        walk = _union(attributes, arms, default) if default or any(arms.values()) else None
        if all(map(limited.arm, labels)) and (limited.default or not node.default):
            return walk

        def walk_or_absent(value: Any) -> None:
            number = getattr(value, attributes[0])
            arm = node.arm(number)
            if arm is not None and limited.arm(number) is None:
                self.absent(reference.name, arm.name or f"case {int(number)}")
            elif walk is not None:
                walk(value)

        return walk_or_absent


def _later(made: list[Walk | None]) -> Walk:
    """A function that may be made only after this one."""

    def walk(value: Any) -> None:
        if made[0]:
            made[0](value)

    return walk


def _each(inner: Walk) -> Walk:
    def walk(values: list[Any]) -> None:
        for value in values:
            inner(value)

    return walk


def _optional(inner: Walk) -> Walk:
    def walk(value: Any) -> None:
        if value is not None:
            inner(value)

    return walk


def _struct(fields: list[tuple[str, Walk]]) -> Walk:
    def walk(value: Any) -> None:
        for attribute, inner in fields:
            inner(getattr(value, attribute))

    return walk


def _union(attributes: tuple[str, ...], arms: Mapping[int, Walk | None], default: Walk | None) -> Walk:
    label, held = attributes

    def walk(value: Any) -> None:
        inner = arms.get(getattr(value, label), default)
        if inner is not None:
            inner(getattr(value, held))

    return walk
