"""Plans for the native core: types, their JSON, and the names of their numbers, as words.

A plan is an array of 32-bit words, little-endian, and a text. The words are a header (format, number of
rows, 0, 0), rows of six words, and a pool. A row is (kind, limit or size, element or number of entries, place
of the entries, place of the arms, default arm); places count words. Texts are pieces of JSON: `{"name":`.
`_native.c` reads plans, and refuses those that contradict themselves.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from enum import IntEnum
from typing import Any, Final

import msgspec
from msgspec import json

from .native import FORMAT
from .registry import Registry, default

#: The plan of the newest release: `python -m tools.native_plan` writes it.
_FILE: Final = os.path.join(os.path.dirname(__file__), "native.plan")


class NativePlan(msgspec.Struct, frozen=True):
    """The plan of a registry: its words and its text.

    `types` has the module, the name and the row of each type; `fault_names` is the place of the names of
    error codes. `release` is that of the definitions.
    """

    release: str | None
    words: bytes
    text: bytes
    types: list[tuple[str, str, int]]
    fault_names: int

    def rows(self) -> dict[str, int]:
        """Map the names of types to rows, as `Registry.type` does."""
        return {name: row for _, name, row in reversed(self.types)}

    def resolver(self, registry: Registry) -> Callable[[int], Any]:
        """Return the function that maps a row to what the native core needs to build its values: the class of
        a struct or a union, and the members of an enum by number."""
        places: dict[int, list[tuple[str, str]]] = {}
        for module, name, row in self.types:
            places.setdefault(row, []).append((module, name))

        def resolve(row: int) -> Any:
            types = (registry.module(module).types[name].python_class for module, name in places[row])
            found = next(each for each in types if each is not None)  # a typedef has none, and shares the row
            return found._value2member_map_ if issubclass(found, IntEnum) else found

        return resolve

    @property
    def file(self) -> bytes:
        """The contents of a file with the plan: sizes and names as a line of JSON, words, text."""
        head = _Head(FORMAT, self.release, len(self.words), len(self.text), self.types, self.fault_names)
        return json.encode(head) + b"\n" + self.words + self.text


class _Head(msgspec.Struct):
    """The first line of a file with a plan."""

    format: int
    release: str | None
    words: int
    text: int
    types: list[tuple[str, str, int]]
    fault_names: int


def has_file(registry: Registry) -> bool:
    """Return whether a registry is the bundled set of the newest release, whose plan is in a file."""
    return registry is default()


def read(registry: Registry) -> NativePlan | None:
    """Read the plan of the newest release from its file. Return None for any other registry, and for a file
    that is missing, cut, or of another release or format: build these."""
    if not has_file(registry):
        return None
    try:
        with open(_FILE, "rb") as file:
            line, rest = file.readline(), file.read()
        head = json.decode(line, type=_Head)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
    expected = FORMAT, registry.release, len(rest)
    if (head.format, head.release, head.words + head.text) != expected or head.words < 0:
        return None
    return NativePlan(head.release, rest[: head.words], rest[head.words :], head.types, head.fault_names)
