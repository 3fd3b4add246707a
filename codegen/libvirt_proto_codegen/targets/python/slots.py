"""Values of fixed size, which `struct` reads and writes several at a time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from libvirt_proto.codec.types import Boolean, Bound, Enumeration, FixedOpaque, Floating, Integer, Named, Node

from .scope import Scope

#: Longest fixed-length opaque that takes part in a struct call.
_LONGEST_IN_RUN = 256
_CODES = {(32, True): "i", (32, False): "I", (64, True): "q", (64, False): "Q"}


@dataclass(frozen=True, slots=True)
class Slot:
    """The place of a value in a struct call: its code and bytes, and the local that it is read into, or the
    expression that is written. `made` and `given` are what becomes of that in Python and for `struct`."""

    code: str
    size: int
    name: str
    made: str = ""
    given: str = ""

    @property
    def is_number(self) -> bool:
        """True if `struct` can repeat it."""
        return not self.code.endswith("s")


def slot_of(scope: Scope, node: Node, name: str) -> Slot | None:
    """The slot of a node; None for what is not of one fixed size."""
    match scope.schema.resolved(node):
        case Integer(bits, signed):
            return Slot(_CODES[bits, signed], bits // 8, name, name, name)
        case Floating(128):
            scope.use("exact")
            return Slot("16s", 16, name, name, f"exact({name}, 16)")
        case Floating(bits):
            return Slot("f" if bits == 32 else "d", bits // 8, name, name, name)
        case Boolean():
            scope.use("bit", "boolean")
            return Slot("I", 4, name, f"boolean({name})", f"bit({name})")
        case Enumeration():
            named = scope.function_of("as", _enum_behind(scope, node))
            return Slot("i", 4, name, f"{named}({name}, {name})", name)
        case FixedOpaque(Bound(size)) if size % 4 == 0 and 0 < size <= _LONGEST_IN_RUN:
            scope.use("exact")
            return Slot(f"{size}s", size, name, name, f"exact({name}, {size})")
        case _:
            return None


def _enum_behind(scope: Scope, node: Node) -> Named:
    while isinstance(node, Named):
        target = scope.schema.definition(node).node
        if isinstance(target, Enumeration):
            return node
        node = target
    raise AssertionError("not an enumeration")


def code_of(slots: Iterable[Slot]) -> str:
    """The format of adjacent slots: `ii` becomes `2i`, but `16s16s` is not `32s`."""
    runs = [(code, len(list(group))) for code, group in groupby(slot.code for slot in slots)]
    return "".join(
        code * count if count == 1 or code.endswith("s") else f"{count}{code}" for code, count in runs
    )
