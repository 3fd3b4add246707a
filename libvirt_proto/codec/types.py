"""The types of RFC 4506 §4 as plain frozen values: one vocabulary for the generator and the runtime.

Types refer to each other by `Named(module, name)`, so that a type may contain itself through
optional-data or a variable-length array. Definitions (the generator's Schema, the runtime's TypeTable)
resolve a reference. `span` is the place in the definitions; only the generator sets it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, Protocol


@dataclass(frozen=True, slots=True)
class Void:
    """No data (RFC 4506 §4.16): an arm without a declaration, a procedure without arguments."""


@dataclass(frozen=True, slots=True)
class Integer:
    """§4.1, §4.2, §4.5. `bits` (32 or 64) is the size on the wire; `spelling` is the word of the
    .x (`unsigned char` is 32 bits on the wire, too)."""

    bits: int
    signed: bool
    spelling: str


@dataclass(frozen=True, slots=True)
class Floating:
    """§4.6 to §4.8: 32, 64 or 128 bits."""

    bits: int


@dataclass(frozen=True, slots=True)
class Boolean:
    """§4.4."""


@dataclass(frozen=True, slots=True)
class Named:
    """A reference to a type definition: the module that holds it and its name in the .x."""

    module: str
    name: str


@dataclass(frozen=True, slots=True)
class Bound:
    """A length or bound: its number, and the .x's word for it where it was given by name."""

    value: int
    name: str | None = None


@dataclass(frozen=True, slots=True)
class FixedOpaque:
    """§4.9."""

    size: Bound


@dataclass(frozen=True, slots=True)
class Opaque:
    """§4.10; `limit` is None where the .x sets none (`<>`)."""

    limit: Bound | None


@dataclass(frozen=True, slots=True)
class String:
    """§4.11: bytes, usually UTF-8."""

    limit: Bound | None


@dataclass(frozen=True, slots=True)
class FixedArray:
    """§4.12."""

    element: Node
    size: Bound


@dataclass(frozen=True, slots=True)
class Array:
    """§4.13; `limit` as for Opaque."""

    element: Node
    limit: Bound | None


@dataclass(frozen=True, slots=True)
class Optional:
    """§4.19 optional-data."""

    element: Node


@dataclass(frozen=True, slots=True)
class Member:
    """An enum member with its number."""

    name: str
    value: int
    span: Any = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Enumeration:
    """§4.3, members in the order of the .x."""

    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class Field:
    """A struct's field. `xdr` is its declaration in canonical XDR (`unsigned int flags;`); only the
    generator sets it."""

    name: str
    node: Node
    xdr: str = ""
    insert: int | None = None
    span: Any = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Structure:
    """§4.14."""

    fields: tuple[Field, ...]
    insert: int | None = None


@dataclass(frozen=True, slots=True)
class Label:
    """One case label: its number and, where the .x gives it by name, that name."""

    value: int
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Arm:
    """One arm of a union; `labels` is empty for the default arm, `name` is None for void."""

    labels: tuple[Label, ...]
    name: str | None
    node: Node
    xdr: str = ""
    span: Any = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class UnionType:
    """§4.15. The discriminant is an Integer, a Boolean or an Enumeration, possibly through typedefs."""

    discriminant: Field
    arms: tuple[Arm, ...]
    default: Arm | None

    @property
    def every_arm(self) -> tuple[Arm, ...]:
        """The arms and the default arm."""
        return self.arms if self.default is None else (*self.arms, self.default)

    @cached_property
    def by_label(self) -> Mapping[int, Arm]:
        """The arms by the numbers of their labels, without the default arm."""
        return {label.value: arm for arm in self.arms for label in arm.labels}

    @property
    def by_value(self) -> Mapping[int | None, Arm]:
        """The arms by the values of the discriminant; None is for all others, the default arm."""
        found = dict[int | None, Arm](self.by_label.items())
        return found if self.default is None else found | {None: self.default}

    def arm(self, discriminant: int) -> Arm | None:
        """Return the arm that a discriminant selects, None where the union has none for it."""
        return self.by_label.get(discriminant, self.default)


Node = (
    Void
    | Integer
    | Floating
    | Boolean
    | Named
    | FixedOpaque
    | Opaque
    | String
    | FixedArray
    | Array
    | Optional
    | Enumeration
    | Structure
    | UnionType
)


@dataclass(frozen=True, slots=True)
class TypeDefinition:
    """A named type.

    `node` is a Structure, UnionType or Enumeration for those definitions, and the declaration of a
    typedef. A nested body without a name is a definition named `outer.field`. `xdr` is the whole
    definition in canonical XDR, without annotations; the runtime has it for typedefs. Sizes are in bytes
    on the wire; `max_size` is None where nothing bounds it. `recursive` marks types that can contain
    themselves. `depth` counts nested types (a scalar: 0; a recursive type counts itself once); only the
    generator sets it.
    """

    name: str
    node: Node
    xdr: str
    min_size: int
    max_size: int | None
    recursive: bool = False
    depth: int = 0
    span: Any = field(default=None, compare=False, repr=False)

    @property
    def anonymous(self) -> bool:
        """True if the definition is a nested body without a name."""
        return "." in self.name


class Definitions(Protocol):
    """Type definitions by reference."""

    def definition(self, reference: Named) -> TypeDefinition:
        """Return the definition that a reference names."""


def resolved(node: Node, definitions: Definitions) -> Node:
    """Return the node at the end of a chain of references: a body or a declaration, never Named."""
    while isinstance(node, Named):
        node = definitions.definition(node).node
    return node


def declared_parts(node: Node) -> tuple[Field | Arm, ...]:
    """Return a struct's fields, or a union's discriminant and all its arms; nothing for any other type."""
    match node:
        case Structure(fields):
            return fields
        case UnionType(discriminant):
            return (discriminant, *node.every_arm)
        case _:
            return ()


def part_names(node: Node) -> tuple[str, ...]:
    """Return the names of a struct's fields, or of a union's discriminant and arms; else none."""
    return tuple(part.name for part in declared_parts(node) if part.name is not None)


def children(node: Node) -> tuple[Node, ...]:
    """Return the types that a type is made of, by one step: an element, fields, a discriminant and arms."""
    match node:
        case FixedArray(element) | Array(element) | Optional(element):
            return (element,)
        case _:
            return tuple(part.node for part in declared_parts(node))


def keyword_of(node: Node) -> Literal["struct", "union", "enum", "typedef"]:
    """Return the keyword of a definition with this body or declaration."""
    match node:
        case Structure():
            return "struct"
        case UnionType():
            return "union"
        case Enumeration():
            return "enum"
        case _:
            return "typedef"


def limit_of(node: Node) -> Bound | None:
    """Return the limit of variable-length opaque data, a string or a variable-length array; else None."""
    match node:
        case Opaque(limit) | String(limit) | Array(limit=limit):
            return limit
        case _:
            return None


def bound_of(node: Node) -> Bound | None:
    """Return the length or the limit of opaque data, a string or an array; None where there is none."""
    match node:
        case FixedOpaque(size) | FixedArray(size=size):
            return size
        case _:
            return limit_of(node)


def body_of(node: Node, definitions: Definitions) -> tuple[Named, Structure | UnionType | Enumeration] | None:
    """Return the reference and the body of a struct, a union or an enumeration, through typedefs.

    Return None for any other type.
    """
    while isinstance(node, Named):
        below = definitions.definition(node).node
        if isinstance(below, Structure | UnionType | Enumeration):
            return node, below
        node = below
    return None
