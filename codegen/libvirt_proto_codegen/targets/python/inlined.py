"""Inlined types: those read in place, without a call."""

from __future__ import annotations

from typing import Final

from libvirt_proto.codec.types import Array, FixedArray, Named, Node, Structure, UnionType, children

from .scope import Scope

#: The maximum number of values and structs in an inlined type. It bounds the growth of the code by a factor,
#: not a power.
_FEW: Final = 8
_MANY: Final = _FEW + 1


class Inlined:
    """The inlined types of one module."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._counts: dict[Named, int] = {}
        #: The structs that have a function for many, since there are arrays of them.
        self.listed: set[Named] = set()

    def __contains__(self, reference: Named) -> bool:
        """True if a type is read in place, including in a loop or in optional-data."""
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
        """True if a function for many reads the elements of an array: those of a larger struct."""
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
        """The number of values and structs in a node; _MANY if it is above _FEW or unknown."""
        if isinstance(node, Named):
            return self._of_type(node)
        if isinstance(node, Array | FixedArray | UnionType):
            return _MANY
        return min(_MANY, 1 + sum(map(self._count, children(node))))
