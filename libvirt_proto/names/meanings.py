"""Fields of a type whose numbers have names in the public libvirt API, and the keys of these names.

A type in a user's definitions may have the name of a libvirt type: only integer fields are considered, and a
key never replaces a field of the same name.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from ..codec.types import Definitions, Integer, Named, declared_parts, resolved
from .fields import Bits, By, Meaning, OneOf, meanings


def key(field: str) -> str:
    """Return the key of the names of a field's numbers."""
    return f"{field}_name"


@cache
def meanings_of(types: Definitions, reference: Named) -> Mapping[str, Meaning]:
    """Return the same as `find_meanings`, and remember it."""
    return find_meanings(types, reference)


def find_meanings(types: Definitions, reference: Named) -> Mapping[str, Meaning]:
    """Return field → meaning of a struct or a union; of a union, only the discriminant can have one."""
    known = meanings(reference.name)
    if not known:
        return known
    # A discriminant comes first; of two parts with one name it counts.
    parts = reversed(declared_parts(types.definition(reference).node))
    fields = {part.name: resolved(part.node, types) for part in parts}
    return {
        name: meaning
        for name, meaning in known.items()
        if isinstance(fields.get(name), Integer)
        and key(name) not in fields
        and (not isinstance(meaning, By) or isinstance(fields.get(meaning.field), Integer))
    }


def name_of(meaning: Meaning, number: int, fields: Mapping[str, Any]) -> str | tuple[str | int, ...] | None:
    """Return the name of a field's number. `fields` has the values of the struct's fields, as far as they are
    there."""
    match meaning:
        case OneOf(names):
            return names.get(number)
        case Bits():
            return meaning.of(number)
        case By(other, names):
            return names.get((fields[other], number)) if other in fields else None
