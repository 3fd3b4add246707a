"""Fields of a type whose numbers have names in the public libvirt API, and these names."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from ..codec.type_table import TypeTable
from ..codec.types import Named
from .fields import Bits, By, Meaning, OneOf, key, known_meanings

__all__ = ["key", "meanings_of", "name_of"]


@cache
def meanings_of(types: TypeTable, reference: Named) -> Mapping[str, Meaning]:
    """Return field → meaning of a struct or a union; of a union, only the discriminant can have one."""
    return known_meanings(types, reference)


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
