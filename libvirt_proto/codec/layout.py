"""How a type lies on the wire, as the generated modules say it in their annotations.

A generated class reads

    class RemoteNonnullDomain(XdrStruct):
        name: RemoteNonnullString  # Annotated[str | bytes, String(4194304), Typedef(…)]
        uuid: RemoteUuid           # Annotated[bytes, FixedOpaque(16), Typedef("remote_uuid")]
        id: Int

and `layout_of` turns such an annotation into a node: the careful decoder, the presenters and the
tests walk nodes; the fast decoders never see them.
"""

from __future__ import annotations

import enum
import sys
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Annotated, Any, ClassVar

import msgspec


# Marks: what stands in Annotated[...] beside the Python type.
@dataclass(frozen=True, slots=True)
class Integer:
    """RFC 4506 §4.1, §4.2, §4.5; `spelling` is the .x's word."""

    bits: int
    signed: bool
    spelling: str


@dataclass(frozen=True, slots=True)
class Floating:
    """§4.6, §4.7, §4.8; a quadruple is its 16 bytes, for Python has no such number."""

    bits: int


@dataclass(frozen=True, slots=True)
class Boolean:
    """§4.4."""


@dataclass(frozen=True, slots=True)
class FixedOpaque:
    """§4.9."""

    size: int


@dataclass(frozen=True, slots=True)
class Opaque:
    """§4.10; None: no bound."""

    limit: int | None


@dataclass(frozen=True, slots=True)
class String:
    """§4.11; a value is str, or bytes where it is not UTF-8."""

    limit: int | None


@dataclass(frozen=True, slots=True)
class FixedArrayOf:
    """§4.12, on `list[element]`."""

    size: int


@dataclass(frozen=True, slots=True)
class ArrayOf:
    """§4.13, on `list[element]`."""

    limit: int | None


@dataclass(frozen=True, slots=True)
class OptionalOf:
    """§4.19, on `element | None`."""


@dataclass(frozen=True, slots=True)
class EnumOf:
    """§4.3, on `SomeEnum | int`: a number without a name stays a number."""

    type: type[enum.IntEnum]


@dataclass(frozen=True, slots=True)
class Typedef:
    """The .x's name of a typedef; the outermost comes last."""

    name: str


Char = Annotated[int, Integer(32, True, "char")]
UnsignedChar = Annotated[int, Integer(32, False, "unsigned char")]
Short = Annotated[int, Integer(32, True, "short")]
UnsignedShort = Annotated[int, Integer(32, False, "unsigned short")]
Int = Annotated[int, Integer(32, True, "int")]
UnsignedInt = Annotated[int, Integer(32, False, "unsigned int")]
Hyper = Annotated[int, Integer(64, True, "hyper")]
UnsignedHyper = Annotated[int, Integer(64, False, "unsigned hyper")]
Float = Annotated[float, Floating(32)]
Double = Annotated[float, Floating(64)]
Quadruple = Annotated[bytes, Floating(128)]
Bool = Annotated[bool, Boolean()]


class XdrStruct(msgspec.Struct, frozen=True, gc=False):
    """Base of generated structs: fields in wire order; `xdr_name` is the .x's name,
    `xdr_recursive` marks types that may contain themselves."""

    xdr_name: ClassVar[str] = ""
    xdr_recursive: ClassVar[bool] = False


class XdrUnion(msgspec.Struct, frozen=True, gc=False):
    """Base of generated unions: two fields, the discriminant (by its own name) and `value`, which
    is None for a void arm. `xdr_arms` maps each label to (arm's name or None, annotation or None);
    `xdr_default` is the same for the default arm, None where there is none."""

    xdr_name: ClassVar[str] = ""
    xdr_recursive: ClassVar[bool] = False
    xdr_arms: ClassVar[Mapping[int, tuple[str | None, Any]]] = {}
    xdr_default: ClassVar[tuple[str | None, Any] | None] = None


# Nodes: annotations, taken apart.
@dataclass(frozen=True, slots=True)
class Leaf:
    """A node without parts: Integer, Floating, Boolean, FixedOpaque, Opaque, String or EnumOf.
    `typedefs` are the names it was reached by, innermost first."""

    mark: Integer | Floating | Boolean | FixedOpaque | Opaque | String | EnumOf
    typedefs: tuple[str, ...] = ()

    @property
    def is_uuid(self) -> bool:
        """libvirt's uuids are `opaque …uuid[16]`."""
        return self.mark == FixedOpaque(16) and any(name.lower().endswith("uuid") for name in self.typedefs)


@dataclass(frozen=True, slots=True)
class Sequence:
    """A fixed-length (`fixed`) or variable-length array; `size` is its length or its bound."""

    element: Node
    size: int | None
    fixed: bool
    typedefs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Optional:
    """Optional-data: its element, or nothing."""

    element: Node
    typedefs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class VoidNode:
    """No data: a void arm."""


@dataclass(frozen=True)
class StructNode:
    """A struct; `fields` are (name in the .x, attribute, node), worked out when first asked for,
    so that a type may contain itself through optional-data."""

    type: type[XdrStruct]

    @property
    def name(self) -> str:
        """The .x's name."""
        return self.type.xdr_name

    @cached_property
    def fields(self) -> tuple[tuple[str, str, Node], ...]:
        """(name in the .x, attribute, node) of each field, in wire order."""
        hints = _hints(self.type)
        pairs = zip(self.type.__struct_encode_fields__, self.type.__struct_fields__, strict=True)
        return tuple((name, attribute, layout_of(hints[attribute])) for name, attribute in pairs)


@dataclass(frozen=True)
class UnionNode:
    """A union; `discriminant` is (name in the .x, attribute, node), an arm is (name, node)."""

    type: type[XdrUnion]

    @property
    def name(self) -> str:
        """The .x's name."""
        return self.type.xdr_name

    @cached_property
    def discriminant(self) -> tuple[str, str, Node]:
        """(name in the .x, attribute, node)."""
        hints = _hints(self.type)
        attribute = self.type.__struct_fields__[0]
        return self.type.__struct_encode_fields__[0], attribute, layout_of(hints[attribute])

    @cached_property
    def arms(self) -> dict[int, tuple[str | None, Node]]:
        """Label → (name or None, node)."""
        return {label: self._arm(arm) for label, arm in self.type.xdr_arms.items()}

    @cached_property
    def default(self) -> tuple[str | None, Node] | None:
        """The default arm, None where there is none."""
        arm = self.type.xdr_default
        return None if arm is None else self._arm(arm)

    def arm(self, discriminant: int) -> tuple[str | None, Node] | None:
        """The arm that a discriminant selects, None where the union has none for it."""
        return self.arms.get(discriminant, self.default)

    @staticmethod
    def _arm(arm: tuple[str | None, Any]) -> tuple[str | None, Node]:
        name, hint = arm
        return name, VoidNode() if hint is None else layout_of(hint)


Node = Leaf | Sequence | Optional | VoidNode | StructNode | UnionNode


def parts_of(node: Node) -> tuple[str, ...]:
    """The names of a struct's fields, or of a union's discriminant and arms; none of anything else."""
    if isinstance(node, StructNode):
        return tuple(name for name, _, _ in node.fields)
    if isinstance(node, UnionNode):
        arms = [*node.arms.values(), *([node.default] if node.default else [])]
        return (node.discriminant[0], *(name for name, _ in arms if name is not None))
    return ()


@cache
def _class_node(type_: Any) -> Node:
    if isinstance(type_, type) and issubclass(type_, XdrStruct):
        return StructNode(type_)
    if isinstance(type_, type) and issubclass(type_, XdrUnion):
        return UnionNode(type_)
    raise TypeError(f"{type_!r} is no XDR type")


def layout_of(hint: Any) -> Node:
    """The node of a generated class or of an annotation in one.

    Raises TypeError for a hint that no generated module contains.
    """
    if typing.get_origin(hint) is not Annotated:
        return _class_node(hint)
    base, *marks = typing.get_args(hint)
    typedefs = tuple(mark.name for mark in marks if isinstance(mark, Typedef))
    mark = next((mark for mark in marks if not isinstance(mark, Typedef)), None)
    match mark:
        case None:  # a typedef of a class
            return layout_of(base)
        case FixedArrayOf(size):
            return Sequence(layout_of(typing.get_args(base)[0]), size, True, typedefs)
        case ArrayOf(limit):
            return Sequence(layout_of(typing.get_args(base)[0]), limit, False, typedefs)
        case OptionalOf():
            return Optional(layout_of(_not_none(base)), typedefs)
        case _:
            return Leaf(mark, typedefs)


def _hints(type_: type[Any]) -> dict[str, Any]:
    """The annotations of a generated class, read as its module would: without the names of the
    class itself, for a field may be called `list`."""
    module = vars(sys.modules[type_.__module__])
    texts = {name: type_.__annotations__[name] for name in type_.__struct_fields__}
    return {name: eval(text, module) for name, text in texts.items()}  # noqa: S307 - generated code


def _not_none(hint: Any) -> Any:
    """`element` of `element | None`; `str | bytes | None` cannot occur, for an element is always a
    class or Annotated."""
    return next(arg for arg in typing.get_args(hint) if arg is not type(None))


@dataclass(frozen=True, slots=True)
class Partial:
    """A struct or union that broke off: what was decoded of it, by the .x's names."""

    name: str
    fields: dict[str, Any] = field(default_factory=dict)
