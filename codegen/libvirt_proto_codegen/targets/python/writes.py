"""The steps that write each node; the template turns them into statements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from libvirt_proto.codec.types import Array, FixedArray, FixedOpaque, Named, Node, Opaque, Optional, String

from .scope import Scope
from .slots import Slot, code_of, slot_of


@dataclass(frozen=True, slots=True)
class Write:
    """One statement group of an encoder. `kind` selects the template's form, `source` is the expression
    to write; the other fields depend on the kind."""

    kind: str
    source: str = ""
    limit: str = ""
    code: str = ""
    call: str = ""
    convert: str = ""
    inner: Write | None = None
    slots: tuple[Slot, ...] = ()
    layout: str = ""


class Writes:
    """Node → Write, in the scope of one module. `recursive` is for code of a type that contains itself."""

    def __init__(self, scope: Scope, recursive: bool) -> None:
        self._scope = scope
        self._schema = scope.schema
        self._recursive = recursive

    def fields(self, parts: Sequence[tuple[str, Node]]) -> list[Write]:
        """The steps for (expression, node) of a struct's fields; neighbours of fixed size take one struct
        call."""
        steps: list[Write] = []
        slots = [(source, node, slot_of(self._scope, node, source)) for source, node in parts]
        for scalar, group in groupby(slots, key=lambda part: part[2] is not None):
            if scalar:
                steps.append(self._run([slot for _, _, slot in group if slot]))
            else:
                steps += [self._step(source, node) for source, node, _ in group]
        return steps

    def of(self, source: str, node: Node) -> Write:
        """The step for any node."""
        (step,) = self.fields([(source, node)])
        return step

    def _run(self, slots: list[Slot]) -> Write:
        return Write("run", slots=tuple(slots), layout=self._scope.packer(code_of(slots)))

    def _step(self, source: str, node: Node) -> Write:
        """The step for a node outside a run of slots."""
        match node:
            case Named() if (
                isinstance(resolved := self._schema.definition(node).node, String | Opaque | FixedOpaque)
                and node.module == self._scope.module.name
            ):
                return self._step(source, resolved)
            case Named():
                self._scope.function_of("encode", node)
                call = self._scope.names.functions[node]
                deeper = self._recursive and self._schema.definition(node).recursive
                return Write("call", source, call=call, convert=", depth" if deeper else "")
            case String(limit) | Opaque(limit):
                kind = "string" if isinstance(node, String) else "opaque"
                self._scope.use(f"write_{kind}")
                return Write(kind, source, limit=self._scope.bound(limit))
            case FixedOpaque(size):
                self._scope.use("write_fixed_opaque")
                return Write("fixed_opaque", source, limit=self._scope.bound(size))
            case Optional(element):
                self._scope.use("TRUE", "FALSE")
                return Write("optional", source, inner=self.of(source, element))
            case FixedArray(element, size):
                self._scope.use("check_length")
                return self._array("fixed_array", source, element, self._scope.bound(size))
            case Array(element, limit):
                self._scope.use("write_count")
                return self._array("array", source, element, self._scope.bound(limit))
            case _:
                raise AssertionError(f"expected the type of a declaration, got {node!r}")

    def _array(self, kind: str, source: str, element: Node, limit: str) -> Write:
        slot = slot_of(self._scope, element, "item")
        if slot and slot.is_number:
            self._scope.use("write_numbers")
            convert = slot.given if slot.given != "item" else ""
            return Write(f"{kind}_of_numbers", source, limit, slot.code, convert=convert)
        return Write(kind, source, limit, inner=self.of("item", element))
