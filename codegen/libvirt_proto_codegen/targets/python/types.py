"""Type definitions as the templates want them: a class for each kind of definition."""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import indent
from typing import ClassVar

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
from .calls import Calls
from .history import annotation_lines, type_lines
from .scope import Scope


@dataclass(frozen=True, slots=True)
class TypeView:
    """A type. `cls` is its class or alias, `function` the end of its functions' names; `history` has a line
    for each change."""

    template: ClassVar[str]

    definition: TypeDefinition
    cls: str
    function: str
    history: tuple[str, ...]

    @property
    def name(self) -> str:
        """The name in the .x."""
        return self.definition.name

    @property
    def python_class(self) -> str:
        """The class that the type is bound to, None for a typedef."""
        return self.cls

    @property
    def doc(self) -> str:
        """The definition in XDR and, after an empty line, its history, indented as a docstring."""
        text = "\n".join([self.definition.xdr.strip(), *(["", *self.history] if self.history else [])])
        return indent(text, "    ").lstrip()

    @property
    def depth(self) -> str:
        """The parameter of a type that can contain itself."""
        return ", depth: int = 0" if self.definition.recursive else ""


@dataclass(frozen=True, slots=True)
class EnumView(TypeView):
    """An enumeration, with the Python names of its members."""

    template: ClassVar[str] = "python/enum.j2"

    members: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class FieldView:
    """A field's attribute and annotation, the decoder's local, and the calls that read and write it."""

    attribute: str
    hint: str
    local: str
    read: str
    write: str


@dataclass(frozen=True, slots=True)
class StructView(TypeView):
    """A struct. `rename` maps attributes to the .x's names where they differ."""

    template: ClassVar[str] = "python/struct.j2"

    fields: tuple[FieldView, ...]
    rename: dict[str, str]

    @property
    def locals(self) -> str:
        """The locals of all fields."""
        return ", ".join(each.local for each in self.fields)


@dataclass(frozen=True, slots=True)
class ArmView:
    """An arm: the pattern of its labels and their names; a void arm reads nothing."""

    pattern: str
    comment: str
    local: str
    read: str | None
    write: str


@dataclass(frozen=True, slots=True)
class UnionView(TypeView):
    """A union: its discriminant, and its arms with the default arm last."""

    template: ClassVar[str] = "python/union.j2"

    discriminant: FieldView
    value_name: str
    value_hint: str
    arms: tuple[ArmView, ...]
    default: bool
    rename: dict[str, str]


@dataclass(frozen=True, slots=True)
class TypedefView(TypeView):
    """A typedef: its annotation, and the calls that read and write it."""

    template: ClassVar[str] = "python/typedef.j2"

    hint: str
    read: str
    write: str

    @property
    def python_class(self) -> str:
        """None: only an alias."""
        return "None"


class Types:
    """TypeDefinition → TypeView, in the scope of one module."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        history = scope.schema.history
        self._annotations = annotation_lines(history, scope.module) if history else {}

    def of(self, definition: TypeDefinition) -> TypeView:
        """Return the view of a definition."""
        scope = self._scope
        reference = Named(scope.module.name, definition.name)
        history = scope.schema.history
        lines = type_lines(history, definition) if history else []
        lines += self._annotations.get(definition.name, [])
        head = (
            definition,
            scope.class_of(reference),
            scope.names.functions[reference],
            tuple(lines),
        )
        calls = Calls(scope, definition.recursive)
        match definition.node:
            case Enumeration() as node:
                scope.use("IntEnum", "read_enum", "write_int")
                return EnumView(*head, _members(node))
            case Structure() as node:
                self._use_class("XdrStruct", definition)
                return StructView(*head, *self._fields(node, calls))
            case UnionType() as node:
                self._use_class("XdrUnion", definition)
                return self._union(head, node, calls)
            case node:
                return TypedefView(*head, scope.hint(node), calls.read(node), calls.write("value", node))

    def _use_class(self, base: str, definition: TypeDefinition) -> None:
        self._scope.use(base, *(["deeper"] if definition.recursive else []))

    def _fields(self, node: Structure, calls: Calls) -> tuple[tuple[FieldView, ...], dict[str, str]]:
        locals_: set[str] = set()
        fields = []
        rename = {}
        for attribute, each in zip(attributes(node), node.fields, strict=True):
            if attribute != each.name:
                rename[attribute] = each.name
            fields.append(self._field(attribute, each.node, calls, locals_))
        return tuple(fields), rename

    def _field(self, attribute: str, node: Node, calls: Calls, locals_: set[str]) -> FieldView:
        local = self._scope.local(attribute, locals_)
        hint = self._scope.hint(node)
        return FieldView(attribute, hint, local, calls.read(node), calls.write(f"value.{attribute}", node))

    def _union(
        self, head: tuple[TypeDefinition, str, str, tuple[str, ...]], node: UnionType, calls: Calls
    ) -> UnionView:
        self._scope.use("Any", *([] if node.default else ["no_arm"]))
        name = node.discriminant.name
        attribute = naming.field_name(name)
        locals_: set[str] = set()
        discriminant = self._field(attribute, node.discriminant.node, calls, locals_)
        hints = dict.fromkeys(hint for arm in node.every_arm for hint in self._scope.hints(arm.node))
        return UnionView(
            *head,
            discriminant,
            naming.identifier("value", {attribute}),
            " | ".join(sorted(hints, key="None".__eq__)) or "None",
            tuple(self._arm(arm, calls, set(locals_)) for arm in node.every_arm),
            node.default is not None,
            {attribute: name} if attribute != name else {},
        )

    def _arm(self, arm: Arm, calls: Calls, locals_: set[str]) -> ArmView:
        pattern = " | ".join(str(label.value) for label in arm.labels) or "_"
        comment = ", ".join(label.name or str(label.value) for label in arm.labels) or "default"
        write = calls.write("arm", arm.node)
        if isinstance(arm.node, Void):
            return ArmView(pattern, comment, "None", None, write)
        local = self._scope.local(naming.field_name(arm.name or "arm"), locals_)
        return ArmView(pattern, comment, local, calls.read(arm.node), write)


def attributes(node: Structure) -> list[str]:
    """Return the attributes of a struct's fields."""
    given: dict[str, None] = {}
    for each in node.fields:
        given[naming.field_name(each.name, given)] = None
    return list(given)


def _members(node: Enumeration) -> tuple[tuple[str, int], ...]:
    taken: set[str] = set()
    members = []
    for member in node.members:
        name = naming.member_name(member.name, taken)
        taken.add(name)
        members.append((name, member.value))
    return tuple(members)
