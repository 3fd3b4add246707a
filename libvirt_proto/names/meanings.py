"""Which fields of a type have numbers with names of libvirt's public API, and the keys of these names.

A type of one's own may have the name of one of libvirt's: only fields that are integers take part, and no
key takes the place of a field that has its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from ..codec.layout import Integer, Leaf, Node, StructNode, UnionNode
from .public import Bits, By, Meaning, OneOf, meanings


def key(field: str) -> str:
    """The key of the names of a field's numbers."""
    return f"{field}_name"


@cache
def meanings_of(node: StructNode | UnionNode) -> Mapping[str, Meaning]:
    """Field → meaning; of a union, only the discriminant can have one."""
    known = meanings(node.name)
    if not known:
        return known
    fields = _members(node)
    return {
        name: meaning
        for name, meaning in known.items()
        if _is_integer(fields.get(name))
        and key(name) not in fields
        and (not isinstance(meaning, By) or _is_integer(fields.get(meaning.field)))
    }


def name_keys(node: StructNode | UnionNode) -> frozenset[str]:
    """The keys that the JSON of a type has beside the names of its fields: what reads it leaves them out."""
    return frozenset(map(key, meanings_of(node)))


def name_of(meaning: Meaning, number: int, fields: Mapping[str, Any]) -> str | tuple[str | int, ...] | None:
    """What a field's number is called; `fields` has the values of the struct's fields, as far as they are
    there."""
    match meaning:
        case OneOf(names):
            return names.get(number)
        case Bits():
            return meaning.of(number)
        case By(other, names):
            return names.get((fields[other], number)) if other in fields else None


def _members(node: StructNode | UnionNode) -> dict[str | None, Node]:
    if isinstance(node, StructNode):
        return {name: field for name, _attribute, field in node.fields}
    label, _attribute, discriminant = node.discriminant
    return dict((*node.arms.values(), *filter(None, [node.default]))) | {label: discriminant}


def _is_integer(node: Node | None) -> bool:
    return isinstance(node, Leaf) and isinstance(node.mark, Integer)
