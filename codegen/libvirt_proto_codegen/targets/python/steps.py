"""How each node is read and written: the steps that the template turns into statements."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

from ...schema import (
    Array,
    Boolean,
    Bound,
    Enumeration,
    FixedArray,
    FixedOpaque,
    Floating,
    Integer,
    Named,
    Node,
    Opaque,
    Optional,
    String,
)
from .scope import Scope

#: Longest fixed-length opaque that takes part in a struct call.
_LONGEST_IN_RUN = 256
_CODES = {(32, True): "i", (32, False): "I", (64, True): "q", (64, False): "Q"}
_SIZES = {"i": 4, "I": 4, "q": 8, "Q": 8, "f": 4, "d": 8}


@dataclass(frozen=True, slots=True)
class Step:
    """One statement group of a decoder and its counterpart in the encoder.

    `kind` says which of the template's macros writes it, `target` is the local (reading) and
    `source` the expression (writing); the others are what that macro needs.
    """

    kind: str
    target: str = ""
    source: str = ""
    limit: str = ""
    smallest: int = 0
    code: str = ""
    call: str = ""
    convert: str = ""
    inner: Step | None = None
    slots: tuple[Slot, ...] = ()
    layout: str = ""
    size: int = 0


@dataclass(frozen=True, slots=True)
class Slot:
    """One value of a struct call: its code, local, how it is made from and turned into a number."""

    code: str
    size: int
    target: str
    made: str
    given: str


class Steps:
    """Node → Step, in the scope of one module."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._schema = scope.schema

    def of(self, target: str, source: str, node: Node, recursive: bool) -> Step:
        """The step for any node; `recursive` is for code of a type that contains itself."""
        slot = self.slot(target, source, node)
        return self.run([slot]) if slot else self.step(target, source, node, recursive)

    def slot(self, target: str, source: str, node: Node) -> Slot | None:
        """The place of a scalar in a struct call; None for what is not of one fixed size."""
        resolved = self._schema.resolved(node)
        match resolved:
            case Integer(bits, signed):
                return Slot(_CODES[bits, signed], bits // 8, target, target, source)
            case Floating(128):
                self._scope.use("exact")
                return Slot("16s", 16, target, target, f"exact({source}, 16)")
            case Floating(bits):
                return Slot("f" if bits == 32 else "d", bits // 8, target, target, source)
            case Boolean():
                self._scope.use("bit", "boolean")
                return Slot("I", 4, target, f"boolean({target})", f"bit({source})")
            case Enumeration():
                named = self._scope.function_of("as", self._enum_behind(node))
                return Slot("i", 4, target, f"{named}({target}, {target})", source)
            case FixedOpaque(Bound(size)) if size % 4 == 0 and 0 < size <= _LONGEST_IN_RUN:
                self._scope.use("exact")
                return Slot(f"{size}s", size, target, target, f"exact({source}, {size})")
            case _:
                return None

    def _enum_behind(self, node: Node) -> Named:
        while isinstance(node, Named):
            target = self._schema.definition(node).node
            if isinstance(target, Enumeration):
                return node
            node = target
        raise AssertionError("not an enumeration")

    def run(self, slots: list[Slot]) -> Step:
        """One struct call for neighbours of fixed size."""
        runs = [(letter, len(list(group))) for letter, group in groupby(slot.code for slot in slots)]
        # `2i` is `ii`, but `16s16s` is no `32s`.
        code = "".join(
            letter * count if count == 1 or letter.endswith("s") else f"{count}{letter}"
            for letter, count in runs
        )
        return Step(
            "run", slots=tuple(slots), layout=self._scope.layout(code), size=sum(slot.size for slot in slots)
        )

    def step(self, target: str, source: str, node: Node, recursive: bool) -> Step:
        """The step for a node that is no slot of a run."""
        match node:
            case Named() if (
                isinstance(resolved := self._schema.definition(node).node, String | Opaque | FixedOpaque)
                and node.module == self._scope.module.name
            ):
                return self.step(target, source, resolved, recursive)
            case Named():
                self._scope.function_of("decode", node)
                self._scope.function_of("encode", node)
                call = self._scope.names.functions[node]
                deeper = recursive and self._schema.definition(node).recursive
                return Step("call", target, source, call=call, convert=", depth" if deeper else "")
            case String(limit) | Opaque(limit):
                kind = "string" if isinstance(node, String) else "opaque"
                self._scope.use(f"read_{kind}", f"write_{kind}")
                return Step(kind, target, source, limit=self._scope.bound(limit))
            case FixedOpaque(size):
                self._scope.use("read_fixed_opaque", "write_fixed_opaque")
                return Step("fixed_opaque", target, source, limit=self._scope.bound(size))
            case Optional(element):
                self._scope.use("TRUE", "FALSE", "no_boolean")
                return Step("optional", target, source, inner=self.of(target, source, element, recursive))
            case FixedArray(element, size):
                return self._array("fixed_array", target, source, element, self._scope.bound(size), recursive)
            case Array(element, limit):
                self._scope.use("read_count", "write_count")
                return self._array("array", target, source, element, self._scope.bound(limit), recursive)
            case _:
                raise AssertionError(f"{node!r} is no declaration's type")

    def _array(self, kind: str, target: str, source: str, element: Node, limit: str, recursive: bool) -> Step:
        slot = self.slot("item", "item", element)
        smallest = self._schema.smallest(element)
        if slot and slot.code in _SIZES:
            self._scope.use("read_numbers", "write_numbers")
            convert = slot.made if slot.made != "item" else ""
            given = slot.given if slot.given != "item" else ""
            if kind == "fixed_array":
                self._scope.use("check_length")
            return Step(f"{kind}_of_numbers", target, source, limit, smallest, slot.code, given, convert)
        if kind == "fixed_array":
            self._scope.use("check_length", "need_elements")
        inner = self.of("item", "item", element, recursive)
        return Step(kind, target, source, limit, smallest, inner=inner)
