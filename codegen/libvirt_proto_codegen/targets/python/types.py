"""Type definitions as the template wants them."""

from __future__ import annotations

from dataclasses import dataclass, field
from textwrap import indent

from libvirt_proto.codec.types import (
    Arm,
    Enumeration,
    Named,
    Node,
    Structure,
    TypeDefinition,
    UnionType,
    Void,
)

from ... import naming
from .inlined import Inlined
from .reads import Read, Reads, comment_of
from .scope import Scope
from .writes import Write, Writes


@dataclass(slots=True)
class TypeView:
    """A type as the template wants it; `kind` is enum, struct, union or typedef."""

    kind: str
    name: str
    cls: str
    function: str
    definition: TypeDefinition
    returns: str = ""
    fields: list[FieldView] = field(default_factory=list)
    reads: tuple[Read, ...] = ()
    writes: list[Write] = field(default_factory=list)
    members: list[tuple[str, int]] = field(default_factory=list)
    rename: dict[str, str] = field(default_factory=dict)
    made: str = ""
    after: str = "pos"
    #: Whether there is a function for many.
    listed: bool = False
    arms: list[ArmView] = field(default_factory=list)
    default: ArmView | None = None
    value_hint: str = ""
    value_name: str = ""
    #: When it and its fields came and changed, a line each.
    history: list[str] = field(default_factory=list)

    @property
    def doc(self) -> str:
        """The definition in XDR and, after an empty line, its history, indented as a docstring."""
        text = "\n".join([self.definition.xdr.strip(), *(["", *self.history] if self.history else [])])
        return indent(text, "    ").lstrip()

    @property
    def recursive(self) -> bool:
        """True if values may contain values of the same type."""
        return self.definition.recursive


@dataclass(frozen=True, slots=True)
class FieldView:
    """A field's attribute and its annotation."""

    attribute: str
    hint: str


@dataclass(frozen=True, slots=True)
class ArmView:
    """An arm; `write` is None for void, `labels` is empty for the default arm."""

    labels: tuple[int, ...]
    comment: str
    write: Write | None


class Types:
    """TypeDefinition → TypeView, in the scope of one module."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._inlined = Inlined(scope)

    def of(self, definition: TypeDefinition) -> TypeView:
        """The view of a definition."""
        reference = Named(self._scope.module.name, definition.name)
        view = TypeView(
            "typedef",
            definition.name,
            self._scope.class_of(reference),
            self._scope.names.functions[reference],
            definition,
        )
        reads = Reads(self._scope, self._inlined, definition.recursive)
        writes = Writes(self._scope, definition.recursive)
        match definition.node:
            case Enumeration(members):
                self._enum(view, [(member.name, member.value) for member in members])
                view.writes = [writes.of("value", reference)]
                view.made = reads.value("number", reference)
            case Structure():
                parts = self._struct(view, definition.node)
                view.writes = writes.fields([(f"value.{attribute}", node) for attribute, node in parts])
                locals_ = [(reads.local(attribute), node) for attribute, node in parts]
                view.made = reads.struct(reference, locals_)
            case UnionType():
                attribute = self._union(view, definition.node, writes)
                view.made = reads.union(reference, definition.node, reads.local(attribute), "result")
            case _:
                self._typedef(view, definition.node)
                view.writes = [writes.of("value", definition.node)]
                view.made = reads.value("result", definition.node)
        _finish(view, reads.steps())
        if view.recursive:
            self._scope.use("deeper")
        return view

    def is_listed(self, definition: TypeDefinition) -> bool:
        """True if arrays need a function for many of a type; known after all types are done."""
        return Named(self._scope.module.name, definition.name) in self._inlined.listed

    def _enum(self, view: TypeView, members: list[tuple[str, int]]) -> None:
        view.kind = "enum"
        taken: set[str] = set()
        for name, value in members:
            python = naming.member_name(name, taken)
            taken.add(python)
            view.members.append((python, value))
        view.returns = f"{view.cls} | int"

    def _struct(self, view: TypeView, node: Structure) -> list[tuple[str, Node]]:
        """Gives attributes and nodes of the fields."""
        self._scope.use("XdrStruct")
        view.kind, view.returns = "struct", view.cls
        attributes: set[str] = set()
        parts: list[tuple[str, Node]] = []
        for item in node.fields:
            attribute = naming.field_name(item.name, attributes)
            attributes.add(attribute)
            if attribute != item.name:
                view.rename[attribute] = item.name
            view.fields.append(FieldView(attribute, self._scope.hint(item.node)))
            parts.append((attribute, item.node))
        return parts

    def _union(self, view: TypeView, node: UnionType, writes: Writes) -> str:
        """Gives the attribute of the discriminant."""
        self._scope.use("XdrUnion", "Any", "no_arm")
        view.kind, view.returns = "union", view.cls
        attribute = naming.field_name(node.discriminant.name)
        view.value_name = naming.identifier("value", {attribute})
        if attribute != node.discriminant.name:
            view.rename[attribute] = node.discriminant.name
        view.fields = [FieldView(attribute, self._scope.hint(node.discriminant.node))]
        view.writes = [writes.of(f"value.{attribute}", node.discriminant.node)]
        view.arms = [self._arm(arm, writes) for arm in node.arms]
        view.default = self._arm(node.default, writes) if node.default else None
        plain = set().union(*(self._scope.plain(arm.node) for arm in node.every_arm))
        view.value_hint = " | ".join(sorted(plain, key=lambda name: (name == "None", name)))
        return attribute

    def _arm(self, arm: Arm, writes: Writes) -> ArmView:
        labels = tuple(label.value for label in arm.labels)
        if isinstance(arm.node, Void):
            self._scope.use("no_value")
            return ArmView(labels, comment_of(arm), None)
        write = writes.of("result", arm.node)
        return ArmView(labels, comment_of(arm), write)

    def _typedef(self, view: TypeView, node: Node) -> None:
        view.returns = view.cls
        view.value_hint = self._scope.hint(node)


def _finish(view: TypeView, reads: tuple[Read, ...]) -> None:
    """The last step need not go on, and a struct that is one plain run needs no locals."""
    view.reads = reads
    if not reads:
        return
    last = reads[-1]
    view.after = f"pos + {last.size}" if last.size else "pos"
    if len(reads) == 1 and last.kind == "run" and view.made == f"{view.cls}({', '.join(last.targets)})":
        view.made, view.reads = f"{view.cls}(*{last.layout}(buffer, pos))", ()
