"""Differences between two nodes: the declarations of a field, an arm or a typedef on the two sides."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from libvirt_proto.codec.types import (
    Array,
    Bound,
    Enumeration,
    FixedArray,
    FixedOpaque,
    Integer,
    Named,
    Node,
    Opaque,
    Optional,
    String,
    Structure,
    UnionType,
    Void,
    keyword_of,
)

from ..schema_index import SchemaIndex

Contents = Literal["list", "string", "data"]
#: Nodes that are compared as separate types.
_BODIES = Enumeration | Structure | UnionType
_VOID: Final = Void()


@dataclass(frozen=True, slots=True)
class Retyped:
    """Different bytes."""


@dataclass(frozen=True, slots=True)
class Respelled:
    """The same bytes, declared differently."""


@dataclass(frozen=True, slots=True)
class Rebound:
    """Another limit or, if `fixed`, another length; None means unlimited. The same number under another
    name is a change as well."""

    contents: Contents
    old: Bound | None
    new: Bound | None
    fixed: bool = False

    @property
    def same_number(self) -> bool:
        """True if only the name differs."""
        return _number(self.old) == _number(self.new)


@dataclass(frozen=True, slots=True)
class Followed:
    """A type that continues as another, to be compared separately."""

    old: Named
    new: Named


NodeChange = Retyped | Respelled | Rebound | Followed


class Nodes:
    """Compares nodes of two sides."""

    def __init__(self, old: SchemaIndex, new: SchemaIndex) -> None:
        self._old = old
        self._new = new
        #: Cache: many fields may ask about the same two types.
        self._same_bytes: dict[tuple[Node, Node], bool] = {}

    def changes(self, old: Node, new: Node) -> list[NodeChange]:
        """Return all differences; a type with the same name on both sides, or a renamed one, is Followed."""
        found = list(dict.fromkeys(self._changes(old, new)))
        if Retyped() in found:
            found = [change for change in found if not isinstance(change, Respelled)]
        return found

    def alike(self, old: Node, new: Node) -> bool:
        """Return True if both may be the same thing under two names: at first sight only limits differ."""
        return Retyped() not in self.changes(old, new)

    def goes_on(self, old: Named, new: Named) -> bool:
        """Return True if a type continues as another: under its name, or under a new one that replaced it."""
        before, after = self._old.definition(old), self._new.definition(new)
        if before.anonymous or after.anonymous:
            return before.anonymous and after.anonymous
        if old.name == new.name:
            return True
        replaced = old.name not in self._new.types_by_name and new.name not in self._old.types_by_name
        return replaced and keyword_of(before.node) == keyword_of(after.node)

    def _changes(self, old: Node, new: Node) -> Iterator[NodeChange]:
        match old, new:
            case Named(), Named() if self.goes_on(old, new):
                yield Followed(old, new)
            case (Named(), _) | (_, Named()):
                yield from self._through_names(old, new)
            case Integer(), Integer():
                if (old.bits, old.signed) != (new.bits, new.signed):
                    yield Retyped()
                elif old != new:
                    yield Respelled()
            case Optional(), Optional():
                yield from self._changes(old.element, new.element)
            case _ if type(old) is not type(new) or isinstance(old, _BODIES):
                yield Retyped()
            case _ if (before := _measured(old)) and (after := _measured(new)):
                if before.bound != after.bound:
                    yield Rebound(before.contents, before.bound, after.bound, before.fixed)
                yield from self._changes(before.element, after.element)
            case _ if old != new:
                yield Retyped()

    def _through_names(self, old: Node, new: Node) -> Iterator[NodeChange]:
        """Compare different names, or a name on one side only, by their definitions."""
        before, after = self._old.schema.resolved(old), self._new.schema.resolved(new)
        if isinstance(before, _BODIES) or isinstance(after, _BODIES):
            if (old, new) not in self._same_bytes:
                self._same_bytes[old, new] = self._compare_bytes(old, new)
            yield Respelled() if self._same_bytes[old, new] else Retyped()
        else:
            yield Respelled()
            yield from self._changes(before, after)

    def _compare_bytes(self, old: Node, new: Node) -> bool:
        """Return True if two nodes have the same wire format all the way down, whatever their names."""
        queue, seen = [(old, new)], set()
        while queue:
            left, right = queue.pop()
            if isinstance(left, Named) and isinstance(right, Named):
                if (left, right) in seen:
                    continue
                seen.add((left, right))
            before, after = self._old.schema.resolved(left), self._new.schema.resolved(right)
            inside = _inside(before, after)
            if inside is None:
                return False
            queue += inside
        return True


def _inside(old: Node, new: Node) -> list[tuple[Node, Node]] | None:
    """Return the pairs that must be alike for two nodes to be alike, neither of them Named; None if they
    cannot be."""
    match old, new:
        case Enumeration(), Enumeration():
            return _if({member.value for member in old.members} == {member.value for member in new.members})
        case Structure(), Structure():
            if len(old.fields) != len(new.fields):
                return None
            return [(a.node, b.node) for a, b in zip(old.fields, new.fields, strict=True)]
        case UnionType(), UnionType():
            arms, others = old.by_value, new.by_value
            if arms.keys() != others.keys():
                return None
            pairs = [(arm.node, others[value].node) for value, arm in arms.items()]
            return [(old.discriminant.node, new.discriminant.node), *pairs]
        case Optional(), Optional():
            return [(old.element, new.element)]
        case Integer(), Integer():
            return _if((old.bits, old.signed) == (new.bits, new.signed))
        case _ if (before := _measured(old)) and (after := _measured(new)):
            alike = type(old) is type(new) and _number(before.bound) == _number(after.bound)
            return [(before.element, after.element)] if alike else None
        case _:
            return _if(old == new)


def _if(alike: bool) -> list[tuple[Node, Node]] | None:
    return [] if alike else None


@dataclass(frozen=True, slots=True)
class _Measured:
    """A node with a limit or a length: its number, and the kind of its contents."""

    contents: Contents
    bound: Bound | None
    fixed: bool = False
    element: Node = _VOID


def _measured(node: Node) -> _Measured | None:
    match node:
        case String(limit):
            return _Measured("string", limit)
        case Opaque(limit):
            return _Measured("data", limit)
        case FixedOpaque(size):
            return _Measured("data", size, True)
        case Array(element, limit):
            return _Measured("list", limit, False, element)
        case FixedArray(element, size):
            return _Measured("list", size, True, element)
        case _:
            return None


def _number(limit: Bound | None) -> int | None:
    return None if limit is None else limit.value
