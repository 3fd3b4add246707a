"""The types of RFC 4506 §4 as plain frozen values: one vocabulary for the generator and the runtime.

Types refer to each other by `Named(module, name)`, so that a type may contain itself through
optional-data or a variable-length array. Definitions (the generator's Schema, the runtime's TypeTable)
resolve a reference. `span` is the place in the definitions; only the generator sets it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol


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
    """A struct's field. `xdr` is its declaration in canonical XDR (`unsigned int flags;`)."""

    name: str
    node: Node
    xdr: str
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
    xdr: str
    span: Any = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class UnionType:
    """§4.15. `discriminant` is a Field whose node is Integer, Boolean or a Named enumeration
    (typedefs are seen through when it is checked, but kept in the node)."""

    discriminant: Field
    arms: tuple[Arm, ...]
    default: Arm | None


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

    `node` is Structure, UnionType or Enumeration for those definitions, anything else for a
    typedef. Nested anonymous bodies become TypeDefs named `outer.field`, with `anonymous` True.
    `xdr` is the whole definition in canonical XDR, without annotations. Sizes are in bytes on the
    wire; `max_size` is None where nothing bounds it. `depth` counts nested types (a scalar: 0; a
    recursive type counts itself once). `recursive` marks types that can contain themselves.
    """

    name: str
    node: Node
    xdr: str
    min_size: int
    max_size: int | None
    depth: int
    recursive: bool = False
    anonymous: bool = False
    span: Any = field(default=None, compare=False, repr=False)


class Definitions(Protocol):
    """Type definitions by reference."""

    def definition(self, reference: Named) -> TypeDefinition:
        """Return the definition that a reference names."""


def resolved(node: Node, definitions: Definitions) -> Node:
    """Return the node at the end of a chain of references: a body or a declaration, never Named."""
    while isinstance(node, Named):
        node = definitions.definition(node).node
    return node
