"""The Schema: what every target is generated from, with all names and numbers resolved.

A Schema is a graph of plain frozen values. Types refer to each other by `Named(module, name)`,
which is certain to exist; only optional-data may close a circle. It holds no word of any target.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from .model import Annotations
from .source import Span

if TYPE_CHECKING:
    from .releases.facts import History


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
    span: Span | None = field(default=None, compare=False, repr=False)


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
    span: Span | None = field(default=None, compare=False, repr=False)


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
    span: Span | None = field(default=None, compare=False, repr=False)


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
class TypeDef:
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
    span: Span | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Constant:
    """`text` is the right-hand side as written (`0x20008086`, `VIR_SECURITY_MODEL_BUFLEN`)."""

    name: str
    value: int
    text: str
    span: Span | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class External:
    """A constant that the definitions take from elsewhere; `header` is where, when known."""

    name: str
    value: int
    header: str | None = None


@dataclass(frozen=True, slots=True)
class Procedure:
    """`name` is the .x's (`REMOTE_PROC_AUTH_LIST`), `short` the tapset's (`auth_list`). Types are
    None for void. RFC 5531 procedures have `args` and `ret` only."""

    number: int
    name: str
    short: str
    args: Named | None = None
    ret: Named | None = None
    msg: Named | None = None
    annotations: Annotations = Annotations()
    span: Span | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Program:
    """A program in one version. `name` is that of its constant in the .x (`REMOTE_PROGRAM`), `short` the
    tapset's (`remote`). Procedures are in ascending order of their numbers."""

    name: str
    short: str
    number: int
    version: int
    procedures: tuple[Procedure, ...]
    span: Span | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Module:
    """What one .x file defines. `types` are in an order in which each comes after all it needs
    (but for the back edge of a recursive type). `externals` are the external constants this file
    uses. `imports` are the other modules whose types it uses."""

    name: str
    file: str
    constants: tuple[Constant, ...]
    types: tuple[TypeDef, ...]
    programs: tuple[Program, ...]
    externals: tuple[External, ...] = ()
    imports: tuple[str, ...] = ()

    @cached_property
    def by_name(self) -> dict[str, TypeDef]:
        return {definition.name: definition for definition in self.types}


@dataclass(frozen=True, slots=True)
class Input:
    """A file that was read: its base name and the SHA-256 of its bytes, in hex."""

    file: str
    sha256: str


@dataclass(frozen=True)
class Schema:
    """All modules of one set of definitions. `release` is libvirt's, None for a user's own; `history` is
    known of libvirt's alone."""

    modules: tuple[Module, ...]
    release: str | None = None
    inputs: tuple[Input, ...] = ()
    history: History | None = field(default=None, compare=False, repr=False)

    @cached_property
    def by_name(self) -> dict[str, Module]:
        return {module.name: module for module in self.modules}

    def definition(self, reference: Named) -> TypeDef:
        """The definition that a reference names; total, since references are checked."""
        return self.by_name[reference.module].by_name[reference.name]

    def smallest(self, element: Node) -> int:
        """The bytes that an element of an array takes at least."""
        match element:
            case Named():
                return self.definition(element).min_size
            case Integer(bits) | Floating(bits):
                return bits // 8
            case _:
                return 4

    def resolved(self, node: Node) -> Node:
        """The node behind a chain of names: never Named."""
        while isinstance(node, Named):
            node = self.definition(node).node
        return node
