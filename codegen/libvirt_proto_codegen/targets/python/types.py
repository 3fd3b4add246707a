"""Type definitions as the template wants them."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby
from textwrap import indent

from ... import naming
from ...schema import Arm, Enumeration, Named, Node, Structure, TypeDef, UnionType, Void
from .scope import Scope
from .steps import Slot, Step, Steps


@dataclass(slots=True)
class TypeView:
    """A type as the template wants it; `kind` is enum, struct, union or typedef."""

    kind: str
    name: str
    cls: str
    function: str
    definition: TypeDef
    returns: str = ""
    hint: str = ""
    fields: list[FieldView] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    members: list[tuple[str, int]] = field(default_factory=list)
    rename: dict[str, str] = field(default_factory=dict)
    made: str = ""
    after: str = "pos"
    arms: list[ArmView] = field(default_factory=list)
    default: ArmView | None = None
    value_hint: str = ""
    value_name: str = ""
    late_arms: bool = False
    #: When it and its fields came and changed, a line each.
    history: list[str] = field(default_factory=list)

    @property
    def doc(self) -> str:
        """The definition in XDR and, behind an empty line, its history, indented as a docstring."""
        text = "\n".join([self.definition.xdr.strip(), *(["", *self.history] if self.history else [])])
        return indent(text, "    ").lstrip()

    @property
    def recursive(self) -> bool:
        """Whether values may contain values of the same type."""
        return self.definition.recursive


@dataclass(frozen=True, slots=True)
class FieldView:
    """A field's attribute and its annotation."""

    attribute: str
    hint: str


@dataclass(frozen=True, slots=True)
class ArmView:
    """An arm; `name` and `step` are None for void, `labels` is empty for the default arm."""

    labels: tuple[int, ...]
    comment: str
    name: str | None
    hint: str
    step: Step | None


class Types:
    """TypeDef → TypeView, in the scope of one module."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._steps = Steps(scope)

    def of(self, definition: TypeDef, late: bool) -> TypeView:
        """The view of a definition; `late` puts a union's arms behind all definitions."""
        reference = Named(self._scope.module.name, definition.name)
        view = TypeView(
            "typedef",
            definition.name,
            self._scope.class_of(reference),
            self._scope.names.functions[reference],
            definition,
        )
        match definition.node:
            case Enumeration(members):
                self._enum(view, [(member.name, member.value) for member in members])
            case Structure():
                self._struct(view, definition.node)
            case UnionType():
                self._union(view, definition.node, late)
            case _:
                self._typedef(view, definition.node)
        return view

    def _enum(self, view: TypeView, members: list[tuple[str, int]]) -> None:
        view.kind = "enum"
        taken: set[str] = set()
        for name, value in members:
            python = naming.member_name(name, taken)
            taken.add(python)
            view.members.append((python, value))
        slot = Slot("i", 4, "number", f"as_{view.function}(number, number)", "value")
        view.steps = [self._steps.run([slot])]
        view.made, view.after, view.returns = slot.made, f"pos + {slot.size}", f"{view.cls} | int"
        view.hint = self._scope.annotated(f"{view.cls} | int", "EnumOf", view.cls)

    def _struct(self, view: TypeView, node: Structure) -> None:
        self._scope.use("XdrStruct")
        view.kind, view.hint, view.returns = "struct", view.cls, view.cls
        attributes: set[str] = set()
        locals_ = set(naming.LOCALS) | self._scope.globals
        parts: list[tuple[str, str, Node]] = []
        for item in node.fields:
            attribute = naming.field_name(item.name, attributes)
            attributes.add(attribute)
            if attribute != item.name:
                view.rename[attribute] = item.name
            local = naming.identifier(attribute, locals_)
            locals_.add(local)
            view.fields.append(FieldView(attribute, self._scope.hint(item.node)))
            parts.append((local, f"value.{attribute}", item.node))
        made = []
        for scalar, group in groupby(parts, key=lambda part: self._steps.slot(*part) is not None):
            if scalar:
                slots = [slot for part in group if (slot := self._steps.slot(*part))]
                view.steps.append(self._steps.run(slots))
                made += [slot.made for slot in slots]
            else:
                for local, source, child in group:
                    view.steps.append(self._steps.step(local, source, child, view.recursive))
                    made.append(local)
        view.made = f"{view.cls}({', '.join(made)})"
        self._fold_end(view)
        if view.recursive:
            self._scope.use("deeper")

    def _fold_end(self, view: TypeView) -> None:
        """A run at the end needs no `pos +=`; a struct that is one plain run needs no locals."""
        last = view.steps[-1] if view.steps else None
        if last is None or last.kind != "run":
            return
        view.after = f"pos + {last.size}"
        if len(view.steps) == 1 and all(slot.made == slot.target for slot in last.slots):
            view.made = f"{view.cls}(*{last.layout}_from(buffer, pos))"

    def _union(self, view: TypeView, node: UnionType, late: bool) -> None:
        self._scope.use("XdrUnion", "ClassVar", "Mapping", "Any", "no_arm")
        view.kind, view.hint, view.returns = "union", view.cls, view.cls
        attribute = naming.field_name(node.discriminant.name)
        view.value_name = naming.identifier("value", {attribute})
        local = naming.identifier(attribute, naming.LOCALS | self._scope.globals)
        if attribute != node.discriminant.name:
            view.rename[attribute] = node.discriminant.name
        view.fields = [FieldView(attribute, self._scope.hint(node.discriminant.node))]
        slot = self._steps.slot(local, f"value.{attribute}", node.discriminant.node)
        if slot is None:
            raise AssertionError("a discriminant is an integer, a boolean or an enumeration")
        view.steps = [self._steps.run([slot])]
        view.made = f"{view.cls}({slot.made}, result)"
        view.late_arms = late
        view.arms = [self._arm(arm, view) for arm in node.arms]
        view.default = self._arm(node.default, view) if node.default else None
        arms = (*node.arms, *((node.default,) if node.default else ()))
        plain = set().union(*(self._scope.plain(arm.node) for arm in arms))
        view.value_hint = " | ".join(sorted(plain, key=lambda name: (name == "None", name)))
        if view.recursive:
            self._scope.use("deeper")

    def _arm(self, arm: Arm, view: TypeView) -> ArmView:
        comment = ", ".join(label.name or str(label.value) for label in arm.labels) or "default"
        labels = tuple(label.value for label in arm.labels)
        if isinstance(arm.node, Void):
            self._scope.use("no_value")
            return ArmView(labels, comment, None, "None", None)
        step = self._steps.of("result", "result", arm.node, view.recursive)
        return ArmView(labels, comment, arm.name, self._scope.hint(arm.node), step)

    def _typedef(self, view: TypeView, node: Node) -> None:
        self._scope.use("Typedef")
        view.returns = view.cls
        text = self._scope.hint(node)
        mark = f'Typedef("{view.name}")'
        view.hint = view.cls
        if text.endswith("]") and text.startswith("Annotated["):
            view.value_hint = f"{text[:-1]}, {mark}]"
        else:
            self._scope.use("Annotated")
            view.value_hint = f"Annotated[{text}, {mark}]"
        view.steps = [self._steps.of("result", "value", node, view.recursive)]
        view.made = view.steps[0].slots[0].made if view.steps[0].slots else "result"
