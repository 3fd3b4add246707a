"""The steps that read each node; the template turns them into statements.

In Python, a call takes as long as all other work for a value, so the generated code makes few calls.
Adjacent slots of fixed size share one `struct` call, which begins with the string or opaque data before
them and ends with the length, count or flag of the next value. Small types are read in place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from libvirt_proto.codec.sizes import minimum_size
from libvirt_proto.codec.types import (
    Arm,
    Array,
    FixedArray,
    FixedOpaque,
    Named,
    Node,
    Opaque,
    Optional,
    String,
    Structure,
    UnionType,
    Void,
)

from ... import naming
from .inlined import Inlined
from .scope import Scope
from .slots import Slot, code_of, slot_of


@dataclass(frozen=True, slots=True)
class Read:
    """One statement group of a decoder. `kind` selects the template's form, `target` is the local that
    receives the value, `size` is the expression for the number of bytes to step over; the other fields
    depend on the kind."""

    kind: str
    target: str = ""
    targets: tuple[str, ...] = ()
    layout: str = ""
    size: str = ""
    limit: str = ""
    smallest: int = 0
    call: str = ""
    inner: tuple[Read, ...] = ()
    made: str = ""
    arms: tuple[ArmRead, ...] = ()
    default: ArmRead | None = None


@dataclass(frozen=True, slots=True)
class ArmRead:
    """An arm: its steps, and the expression for its value. `labels` is empty for the default arm."""

    labels: tuple[int, ...]
    comment: str
    inner: tuple[Read, ...]
    made: str


#: The prefixes of strings, arrays and optional-data.
_LENGTH, _COUNT, _FLAG = (Slot("I", 4, name) for name in ("size", "count", "flag"))


class Reads:
    """Collects the steps of a function, or of a block within one, whose locals (`taken`) are the same.
    `recursive` is for code of a type that contains itself."""

    def __init__(
        self, scope: Scope, inlined: Inlined, recursive: bool, taken: set[str] | None = None
    ) -> None:
        self._scope = scope
        self._inlined = inlined
        self._recursive = recursive
        self._taken: set[str] = set() if taken is None else taken
        self._steps: list[Read] = []
        # The open struct call: string or opaque data, and the slots after them.
        self._text: tuple[str, String | Opaque] | None = None
        self._slots: list[Slot] = []

    def steps(self) -> tuple[Read, ...]:
        """All steps."""
        self._close()
        return tuple(self._steps)

    def local(self, name: str) -> str:
        """A local of this name, given out once."""
        name = naming.identifier(name, naming.LOCALS, self._scope.globals, self._taken)
        self._taken.add(name)
        return name

    def struct(self, reference: Named, parts: Sequence[tuple[str, Node]]) -> str:
        """Read a struct by the locals and nodes of its fields, small unions, too; gives the expression for
        it."""
        made = []
        for local, node in parts:
            union = self._inlined.union(node)
            if union and isinstance(node, Named):
                discriminant = self.local(f"{local}_{union.discriminant.name}")
                made.append(self.union(node, union, discriminant, local))
            else:
                made.append(self.value(local, node))
        return f"{self._scope.class_of(reference)}({', '.join(made)})"

    def union(self, reference: Named, node: UnionType, discriminant: str, target: str) -> str:
        """Read a union by two locals, the discriminant's and the arm's; gives the expression for it."""
        slot = slot_of(self._scope, node.discriminant.node, discriminant)
        if slot is None:
            raise AssertionError("a discriminant is an integer, a boolean or an enumeration")
        self._slots.append(slot)
        arms = tuple(self._arm(target, arm) for arm in node.arms)
        default = self._arm(target, node.default) if node.default else None
        self._step(Read("union", discriminant, made=target, arms=arms, default=default))
        return f"{self._scope.class_of(reference)}({slot.made}, {target})"

    def _arm(self, target: str, arm: Arm) -> ArmRead:
        inner, made = ((), "None") if isinstance(arm.node, Void) else self._block(target, arm.node)
        return ArmRead(tuple(label.value for label in arm.labels), comment_of(arm), inner, made)

    def value(self, target: str, node: Node) -> str:
        """Read a value into a local; gives the expression for it."""
        slot = slot_of(self._scope, node, target)
        if slot:
            self._slots.append(slot)
            return slot.made
        match node:
            case Named() if node in self._inlined:
                definition = self._scope.schema.definition(node).node
                if not isinstance(definition, Structure):
                    return self.value(target, definition)
                parts = [(self.local(f"{target}_{field.name}"), field.node) for field in definition.fields]
                return self.struct(node, parts)
            case Named():
                deeper = self._recursive and self._scope.schema.definition(node).recursive
                call = f"{self._scope.function_of('decode', node)}(buffer, pos{', depth' if deeper else ''})"
                self._step(Read("call", target, call=call))
            case String() | Opaque():
                self._close(ahead=True)
                self._text = target, node
            case FixedOpaque(size):
                self._scope.use("read_fixed_opaque")
                call = f"read_fixed_opaque(buffer, pos, {self._scope.bound(size)})"
                self._step(Read("call", target, call=call))
            case Optional(element):
                self._scope.use("no_boolean")
                self._slots.append(_FLAG)
                inner, made = self._block(target, element)
                self._step(Read("optional", target, inner=inner, made=made))
            case FixedArray(element, size):
                self._elements(target, element, self._scope.bound(size))
            case Array(element, limit):
                self._scope.use("too_many")
                self._slots.append(_COUNT)
                smallest = minimum_size(element, self._scope.schema)
                self._step(Read("check", limit=self._scope.bound(limit), smallest=smallest))
                self._elements(target, element, _COUNT.name)
            case _:
                raise AssertionError(f"expected the type of a declaration, got {node!r}")
        return target

    def _elements(self, target: str, element: Node, count: str) -> None:
        slot = slot_of(self._scope, element, "item")
        if slot and slot.is_number:
            self._scope.use("read_numbers")
            self._step(Read("call", target, call=f'read_numbers(buffer, pos, {count}, "{slot.code}")'))
            if slot.made != slot.name:
                self._step(Read("each", target, made=slot.made))
            return
        if count != _COUNT.name:  # of a variable-length array it has been held against what is left
            self._scope.use("need_elements")
            count = f"need_elements(buffer, pos, {count}, {minimum_size(element, self._scope.schema)})"
        if isinstance(element, Named) and self._inlined.lists(element):
            call = f"{self._scope.function_of('list', element)}(buffer, pos, {count})"
            self._step(Read("call", target, call=call))
        else:
            inner, made = self._block("item", element)
            self._step(Read("loop", target, call=count, inner=inner, made=made))

    def _block(self, target: str, node: Node) -> tuple[tuple[Read, ...], str]:
        block = Reads(self._scope, self._inlined, self._recursive, self._taken)
        made = block.value(target, node)
        return block.steps(), made

    def _step(self, step: Read) -> None:
        self._close()
        self._steps.append(step)

    def _close(self, *, ahead: bool = False) -> None:
        """End the open struct call; with `ahead`, it reads the length of the next value without stepping
        over it."""
        slots = [*self._slots, _LENGTH] if ahead else self._slots
        code, targets = code_of(slots), tuple(slot.name for slot in slots)
        if self._text is not None:
            target, node = self._text
            convert = "unpadded_text" if isinstance(node, String) else "unpadded"
            self._scope.use(convert)
            layout = self._scope.texts(code, self._scope.bound(node.limit), ahead=ahead)
            self._steps.append(Read("text", target, targets, layout, "length", call=convert))
        elif slots:
            size = str(sum(slot.size for slot in self._slots) or "")
            self._steps.append(Read("run", targets=targets, layout=self._scope.unpacker(code), size=size))
        self._text, self._slots = None, []


def comment_of(arm: Arm) -> str:
    """The labels of an arm as the .x has them."""
    return ", ".join(label.name or str(label.value) for label in arm.labels)
