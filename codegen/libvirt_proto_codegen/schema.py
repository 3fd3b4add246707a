"""The Schema: what every target is generated from, with all names and numbers resolved.

A Schema is a graph of plain frozen values. A reference (`Named`, see libvirt_proto.codec.types) always has a
definition. A Schema holds no word of any target.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from libvirt_proto.codec.annotations import Annotations
from libvirt_proto.codec.types import Named, Node, TypeDefinition
from libvirt_proto.codec.types import resolved as resolved_type

from .source import Span

if TYPE_CHECKING:
    from .releases.facts import History
    from .releases.functions import Functions


@dataclass(frozen=True, slots=True)
class Constant:
    """`text` is the right-hand side as written (`0x20008086`, `VIR_SECURITY_MODEL_BUFLEN`)."""

    name: str
    value: int
    text: str
    span: Span | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class TextConstant:
    """A string constant; `text` has no quotes, and escapes as written."""

    name: str
    text: str


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
    """The definitions of one .x file. `types` are ordered so that each type follows all types it needs
    (except for the back edge of a recursive type). `externals` are the external constants this file
    uses. `imports` are the other modules whose types it uses. `texts` are its string constants."""

    name: str
    file: str
    constants: tuple[Constant, ...]
    types: tuple[TypeDefinition, ...]
    programs: tuple[Program, ...]
    externals: tuple[External, ...] = ()
    imports: tuple[str, ...] = ()
    texts: tuple[TextConstant, ...] = ()

    @cached_property
    def by_name(self) -> dict[str, TypeDefinition]:
        return {definition.name: definition for definition in self.types}


@dataclass(frozen=True, slots=True)
class Input:
    """A file that was read: its base name and the SHA-256 of its bytes, in hex."""

    file: str
    sha256: str


@dataclass(frozen=True)
class Schema:
    """All modules of one set of definitions. `release` is the libvirt release, None for custom
    definitions; `history` and `functions` (of the public API) are known only for libvirt's definitions."""

    modules: tuple[Module, ...]
    release: str | None = None
    inputs: tuple[Input, ...] = ()
    history: History | None = field(default=None, compare=False, repr=False)
    functions: Functions | None = field(default=None, compare=False, repr=False)

    @cached_property
    def by_name(self) -> dict[str, Module]:
        return {module.name: module for module in self.modules}

    def definition(self, reference: Named) -> TypeDefinition:
        """The definition that a reference names; total, since references are checked."""
        return self.by_name[reference.module].by_name[reference.name]

    def resolved(self, node: Node) -> Node:
        """Return the node at the end of a chain of references."""
        return resolved_type(node, self)
