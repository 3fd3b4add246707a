"""Which types are read where they are used, without a call."""

from __future__ import annotations

from typing import Final

from libvirt_proto.codec.types import Array, FixedArray, Named, Node, Structure, UnionType, children

from .scope import Scope

#: A type of so many values and structs at most, so that what definitions ask for grows by a factor, not by a
#: power.
_FEW: Final = 8
_MANY: Final = _FEW + 1


class Inlined:
    """Of the types of one module."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._counts: dict[Named, int] = {}
        #: The structs that have a function for many, since there are arrays of them.
        self.listed: set[Named] = set()

    def __contains__(self, reference: Named) -> bool:
        """Whether a type is read where it is used, be it in a loop or behind optional-data."""
        return self._of_type(reference) <= _FEW

    def union(self, node: Node) -> UnionType | None:
        """The union of few labels and values that a node names: the function of a struct reads it, too."""
        if not isinstance(node, Named) or node.module != self._scope.module.name:
            return None
        definition = self._scope.schema.definition(node)
        if definition.recursive or not isinstance(definition.node, UnionType):
            return None
        union = definition.node
        values = sum(max(len(arm.labels), self._count(arm.node)) for arm in union.every_arm)
        return union if values <= _FEW else None

    def lists(self, element: Named) -> bool:
        """Whether the elements of an array are read by a function for many: those of a larger struct."""
        definition = self._scope.schema.definition(element)
        own = element.module == self._scope.module.name and isinstance(definition.node, Structure)
        if not own or definition.recursive or element in self:
            return False
        self.listed.add(element)
        return True

    def _of_type(self, reference: Named) -> int:
        if reference.module != self._scope.module.name:  # whose constants have names of their own
            return _MANY
        if reference not in self._counts:
            definition = self._scope.schema.definition(reference)
            self._counts[reference] = _MANY if definition.recursive else self._count(definition.node)
        return self._counts[reference]

    def _count(self, node: Node) -> int:
        """How many values and structs a node has; _MANY where that is more than a few, or not known."""
        if isinstance(node, Named):
            return self._of_type(node)
        if isinstance(node, Array | FixedArray | UnionType):
            return _MANY
        return min(_MANY, 1 + sum(map(self._count, children(node))))
