"""The Specification: the contents of one .x file, as written, before any name is resolved.

The nouns are those of RFC 4506 §6.3 and RFC 5531 §12.2. Everything is frozen; spans take no part in
equality, so that a Specification printed and parsed again equals itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from libvirt_proto.codec.annotations import Annotations

from .source import Span


def _span() -> Span:
    return field(compare=False, repr=False, kw_only=True)  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class Literal:
    """A number; `text` is its spelling (`-1`, `017`, `0x20008086`)."""

    value: int
    text: str
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class Reference:
    """A constant or enum member used by name in place of a number."""

    name: str
    span: Span = _span()


Value = Literal | Reference


@dataclass(frozen=True, slots=True)
class Text:
    """A string constant, as written, with its quotes."""

    text: str
    span: Span = _span()


class Builtin(Enum):
    """Type specifiers that are keywords; the value is the canonical spelling.

    CHAR and SHORT are libvirt's dialect, LONG is rpcgen's (RFC 4506 has none): four bytes on the wire.
    """

    INT = "int"
    UNSIGNED_INT = "unsigned int"
    HYPER = "hyper"
    UNSIGNED_HYPER = "unsigned hyper"
    CHAR = "char"
    UNSIGNED_CHAR = "unsigned char"
    SHORT = "short"
    UNSIGNED_SHORT = "unsigned short"
    LONG = "long"
    UNSIGNED_LONG = "unsigned long"
    FLOAT = "float"
    DOUBLE = "double"
    QUADRUPLE = "quadruple"
    BOOL = "bool"
    OPAQUE = "opaque"
    STRING = "string"


@dataclass(frozen=True, slots=True)
class TypeName:
    """A type used by name; `keyword` is `enum`, `struct` or `union` where the file writes it."""

    name: str
    keyword: str | None = None
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class EnumMember:
    """`NAME = value`; without a value it counts on from the member before it (from 0)."""

    name: str
    value: Value | None
    annotations: Annotations | None = None
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class EnumBody:
    members: tuple[EnumMember, ...]
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class StructBody:
    fields: tuple[Declaration, ...]
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class Case:
    """One arm: its labels (several when cases are stacked) and its declaration; None is void."""

    labels: tuple[Value, ...]
    arm: Declaration | None
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class UnionBody:
    """`default` is the default case, whose labels are empty; None where the union has none."""

    discriminant: Declaration
    cases: tuple[Case, ...]
    default: Case | None
    span: Span = _span()


TypeSpecifier = Builtin | TypeName | EnumBody | StructBody | UnionBody


class Shape(Enum):
    """The arrangement of a declaration's type: `T x`, `T x[n]`, `T x<n>`, `T *x`."""

    PLAIN = "plain"
    FIXED = "fixed"
    VARIABLE = "variable"
    OPTIONAL = "optional"


@dataclass(frozen=True, slots=True)
class Declaration:
    """A named field, arm, discriminant or typedef. `size` is the length of FIXED, the bound of
    VARIABLE (None: unbounded), and None otherwise. `insert` is libvirt's `insert@N`."""

    name: str
    type: TypeSpecifier
    shape: Shape = Shape.PLAIN
    size: Value | None = None
    insert: int | None = None
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class ConstDef:
    name: str
    value: Value | Text
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class TypedefDef:
    declaration: Declaration
    span: Span = _span()

    @property
    def name(self) -> str:
        return self.declaration.name


@dataclass(frozen=True, slots=True)
class EnumDef:
    name: str
    body: EnumBody
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class StructDef:
    name: str
    body: StructBody
    insert: int | None = None
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class UnionDef:
    name: str
    body: UnionBody
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class Argument:
    """An argument of a procedure: a type, and what only rpcgen has: a name, `*` (OPTIONAL), and for a string
    (VARIABLE) a limit."""

    type: TypeSpecifier
    name: str | None = None
    shape: Shape = Shape.PLAIN
    size: Value | None = None
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class ProcedureDef:
    """RFC 5531 §12.1: `result NAME(argument, …) = number;`, None and () standing for void. A result that is a
    string has no limit."""

    name: str
    result: TypeSpecifier | None
    arguments: tuple[Argument, ...]
    number: Value
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class VersionDef:
    name: str
    procedures: tuple[ProcedureDef, ...]
    number: Value
    span: Span = _span()


@dataclass(frozen=True, slots=True)
class ProgramDef:
    name: str
    versions: tuple[VersionDef, ...]
    number: Value
    span: Span = _span()


Definition = ConstDef | TypedefDef | EnumDef | StructDef | UnionDef | ProgramDef


@dataclass(frozen=True, slots=True)
class Specification:
    """One .x file. `file` is its base name (`qemu_protocol.x`); `includes` are the base names of
    the headers in its `%#include` lines, in order (`remote_protocol.h`); other `%` lines are
    dropped."""

    file: str
    definitions: tuple[Definition, ...]
    includes: tuple[str, ...] = ()
    span: Span = _span()
