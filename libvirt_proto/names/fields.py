"""The fields of payloads whose numbers have names in the public API (see names.public)."""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

from ..codec.types import Definitions, Integer, Named, declared_parts, resolved
from .fieldindex import FIELDS
from .public import enums, names


class OneOf(NamedTuple):
    """A field with a number of an enum."""

    names: Mapping[int, str]


class Bits(NamedTuple):
    """A field that holds a set of bits."""

    names: Mapping[int, str]

    def of(self, number: int) -> tuple[str | int, ...]:
        """Return the names of a number's bits, the lowest first, followed by the remaining bits as one
        number."""
        if number < 0:
            return (number,)
        found: list[str | int] = [name for bit, name in self.names.items() if number & bit]
        rest = number & ~sum(self.names)
        return (*found, rest) if rest else tuple(found)


class By(NamedTuple):
    """A field whose enum depends on the value of another field of the struct. `names` maps pairs of that
    value and this one to names."""

    field: str
    names: Mapping[tuple[int, int], str]


Meaning = OneOf | Bits | By


@cache
def meanings(struct: str) -> Mapping[str, Meaning]:
    """Return field → meaning, for the fields of a struct (or the discriminant of a union) with a known
    meaning."""
    fields = FIELDS.get(struct, {})
    return {name: _meaning(fields, data) for name, data in fields.items()}


def known_fields(definitions: Definitions, reference: Named) -> Mapping[str, Any]:
    """Return field → data of FIELDS, for the fields of a struct (or the discriminant of a union) in some
    definitions.

    A type in a user's definitions may have the name of a libvirt type: only integer fields are considered,
    and fields whose `key` is not a field, too.
    """
    known = FIELDS.get(reference.name, {})
    if not known:
        return known
    # A discriminant comes first; of two parts with one name it counts.
    parts = reversed(declared_parts(definitions.definition(reference).node))
    fields = {part.name: resolved(part.node, definitions) for part in parts}
    return {
        name: data
        for name, data in known.items()
        if isinstance(fields.get(name), Integer)
        and key(name) not in fields
        and (not isinstance(data, Mapping) or isinstance(fields.get(data["by"]), Integer))
    }


def known_meanings(definitions: Definitions, reference: Named) -> Mapping[str, Meaning]:
    """Return field → meaning of the same fields."""
    known = known_fields(definitions, reference)
    return {name: meaning for name, meaning in meanings(reference.name).items() if name in known}


def key(field: str) -> str:
    """Return the key of the names of a field's numbers."""
    return f"{field}_name"


def enums_of(struct: str) -> Mapping[str, tuple[str, ...]]:
    """Return field → the enums whose numbers it holds: several for bits, or if another field decides."""
    return {field: tuple(_enum_names(data)) for field, data in FIELDS.get(struct, {}).items()}


def _enum_names(data: Any) -> Iterator[str]:
    words = (data,) if isinstance(data, str) else data.values() if isinstance(data, Mapping) else data
    return (word for word in dict.fromkeys(words) if word in enums())


def _meaning(fields: Mapping[str, Any], data: Any) -> Meaning:
    match data:
        case str():
            return OneOf(names(data))
        case list():
            return Bits(_bits(data))
        case _:
            other: str = data["by"]
            constants = enums()[fields[other]].names
            pairs = {
                (constants[constant], number): name
                for constant, enum in data.items()
                if constant != "by"
                for number, name in names(enum).items()
            }
            return By(other, pairs)


def _bits(data: Iterable[str]) -> Mapping[int, str]:
    """Return bit → name of all these enums, from the lowest; a constant determines the name of its bit."""
    found: dict[int, str] = {}
    for word in data:
        if word in enums():
            found = dict(names(word)) | found
        else:
            found[_constants()[word]] = word
    return {bit: found[bit] for bit in sorted(found) if bit > 0}


@cache
def _constants() -> Mapping[str, int]:
    return {name: number for enum in enums().values() for name, number in enum.names.items()}
