"""Names of libvirt's public API for numbers that no .x names, and the fields that hold such numbers.

The names come from files of data: publicnames.json, made by tools/import_public_names.py from the API
description of one libvirt release, and, written by hand, fieldnames.toml and enumnames.json; the latter has
enums that this description lacks. libvirt only ever adds to its enums, so they hold for every release; a
number of a newer one has no name. Each file is read when something of it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

_FOLDER: Final = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Enum:
    """An enum of the API: `source` is its header, or what else it is known from; `names` gives names their
    numbers, in the order of the numbers."""

    source: str
    names: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class OneOf:
    """A field that holds one number of an enum."""

    names: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class Bits:
    """A field that holds a set of bits."""

    names: Mapping[int, str]

    def of(self, number: int) -> tuple[str | int, ...]:
        """The names of a number's bits, the lowest first; behind them, as one number, bits without a name."""
        if number < 0:
            return (number,)
        found: list[str | int] = [name for bit, name in self.names.items() if number & bit]
        rest = number & ~sum(self.names)
        return (*found, rest) if rest else tuple(found)


@dataclass(frozen=True, slots=True)
class By:
    """A field whose enum depends on the value of another field of the struct: `names` has the names by the
    pairs of that value and this."""

    field: str
    names: Mapping[tuple[int, int], str]


Meaning = OneOf | Bits | By


@cache
def enums() -> Mapping[str, Enum]:
    """Enums by their names."""
    return {name: Enum(enum["header"], enum["names"]) for name, enum in _imported()["enums"].items()} | {
        name: Enum(enum["source"], enum["names"]) for name, enum in _json("enumnames.json").items()
    }


@cache
def names(enum: str) -> Mapping[int, str]:
    """Number → name of an enum, the first where a number has several. Raises KeyError."""
    return {number: name for name, number in reversed([*enums()[enum].names.items()])}


@cache
def meanings(struct: str) -> Mapping[str, Meaning]:
    """Field → meaning, for the fields of a struct (or a union's discriminant) whose meaning is known."""
    fields = _fields().get(struct, {})
    return {name: _meaning(fields, said) for name, said in fields.items()}


@cache
def _fields() -> Mapping[str, Mapping[str, Any]]:
    """Struct → field → what the data says; by hand comes first."""
    import tomllib

    by_hand = tomllib.loads((_FOLDER / "fieldnames.toml").read_text("utf-8"))
    found = {**_imported()["fields"]}
    for struct, fields in by_hand["fields"].items():
        found[struct] = found.get(struct, {}) | fields
    return found | {old: found[new] for old, new in by_hand["renamed"].items()}


def _meaning(fields: Mapping[str, Any], said: Any) -> Meaning:
    match said:
        case str():
            return OneOf(names(said))
        case list():
            return Bits(_bits(said))
        case _:
            other: str = said["by"]
            constants = enums()[fields[other]].names
            pairs = {
                (constants[constant], number): name
                for constant, enum in said.items()
                if constant != "by"
                for number, name in names(enum).items()
            }
            return By(other, pairs)


def _bits(said: Iterable[str]) -> Mapping[int, str]:
    """Bit → name of all these enums, from the lowest; a constant settles the name of its bit."""
    found: dict[int, str] = {}
    for word in said:
        if word in enums():
            found = dict(names(word)) | found
        else:
            found[_constants()[word]] = word
    return {bit: found[bit] for bit in sorted(found) if bit > 0}


@cache
def _constants() -> Mapping[str, int]:
    return {name: number for enum in enums().values() for name, number in enum.names.items()}


@cache
def _imported() -> dict[str, Any]:
    return _json("publicnames.json")


def _json(name: str) -> dict[str, Any]:
    import json  # msgspec is faster, but takes longer to be imported

    data: dict[str, Any] = json.loads((_FOLDER / name).read_bytes())
    return data
