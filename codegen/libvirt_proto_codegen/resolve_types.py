"""Third pass: each type definition becomes a node, whose references are certain to exist."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Final

from libvirt_proto.codec.types import (
    Arm,
    Array,
    Boolean,
    Bound,
    Enumeration,
    Field,
    FixedArray,
    FixedOpaque,
    Floating,
    Integer,
    Label,
    Member,
    Named,
    Node,
    Opaque,
    Optional,
    String,
    Structure,
    UnionType,
    Void,
)

from . import rpc_headers
from .constants import Numbers
from .errors import Problem
from .model import (
    Builtin,
    Case,
    Declaration,
    EnumBody,
    EnumMember,
    Reference,
    Shape,
    StructBody,
    TypeName,
    UnionBody,
    Value,
)
from .names import Names, TypeEntry, with_article
from .printer import print_declaration, print_definition
from .rules import MAX_DEPTH, Rule
from .source import Span

#: RFC 4506 §4.11 and others: a length is an unsigned int.
MAX_BOUND: Final = 2**32 - 1

_SCALARS: Final[dict[Builtin, Node]] = {
    Builtin.INT: Integer(32, True, "int"),
    Builtin.UNSIGNED_INT: Integer(32, False, "unsigned int"),
    Builtin.HYPER: Integer(64, True, "hyper"),
    Builtin.UNSIGNED_HYPER: Integer(64, False, "unsigned hyper"),
    Builtin.CHAR: Integer(32, True, "char"),
    Builtin.UNSIGNED_CHAR: Integer(32, False, "unsigned char"),
    Builtin.SHORT: Integer(32, True, "short"),
    Builtin.UNSIGNED_SHORT: Integer(32, False, "unsigned short"),
    Builtin.LONG: Integer(32, True, "long"),
    Builtin.UNSIGNED_LONG: Integer(32, False, "unsigned long"),
    Builtin.FLOAT: Floating(32),
    Builtin.DOUBLE: Floating(64),
    Builtin.QUADRUPLE: Floating(128),
    Builtin.BOOL: Boolean(),
}
#: Scalars that a discriminant may be; rpcgen accepts all integers, not only those of §4.15.
_DISCRIMINANTS: Final = tuple(
    scalar for scalar in _SCALARS.values() if scalar == Boolean() or isinstance(scalar, Integer)
)


@dataclass(frozen=True, slots=True)
class TypeNode:
    """A type definition whose names are resolved, but not yet measured."""

    module: str
    name: str
    node: Node
    xdr: str
    span: Span
    anonymous: bool

    @property
    def key(self) -> Named:
        """The reference to this type."""
        return Named(self.module, self.name)


def resolve_types(names: Names, numbers: Numbers, finder: TypeFinder) -> tuple[list[TypeNode], list[Problem]]:
    """Return all types of all files, in file order, and the problems. A node with a reported problem
    serves only to find more problems."""
    resolver = _Resolver(names, numbers, finder)
    nodes = [
        TypeNode(file.module, entry.name, resolver.node(entry), _text(entry), entry.span, entry.anonymous)
        for file in names.files.values()
        for entry in file.types.values()
    ]
    for file in names.files.values():
        for restated in file.restated:
            resolver.named(file.module, restated)
    unions = _Unions(names, numbers, nodes, resolver.problems)
    for node in nodes:
        if isinstance(node.node, UnionType):
            unions.check(node, node.node)
    return nodes, resolver.problems


class TypeFinder:
    """Finds the definition that a type's name means in a module. A name that does not mean exactly one
    is reported once per module."""

    def __init__(self, names: Names) -> None:
        self.problems: list[Problem] = []
        self._names = names
        self._reported: set[tuple[str, str]] = set()

    def find(self, module: str, type_: TypeName) -> TypeEntry | None:
        """The definition, or None where there is a problem."""
        found = self._names.types_named(module, type_.name)
        if len(found) == 1:
            return found[0]
        if (module, type_.name) not in self._reported:
            self._reported.add((module, type_.name))
            self.problems.append(self._problem(module, type_, found))
        return None

    def _problem(self, module: str, type_: TypeName, found: Sequence[TypeEntry]) -> Problem:
        name = type_.name
        if found:
            message = f"{name} is defined by several included files"
            related = tuple((entry.span, "defined here") for entry in found)
            return Problem(Rule.AMBIGUOUS_NAME, type_.span, message, related=related)
        if numbers := self._names.numbers_named(module, name):
            related = ((numbers[0][1].span, "defined here"),)
            return Problem(Rule.WRONG_KIND, type_.span, f"{name} is a constant, not a type", related=related)
        hint = self._names.elsewhere(name, types=True) or rpc_headers.suggestion(name)
        if hint is None:
            similar = self._names.similar(module, name, types=True)
            hint = f"add its definition, such as 'typedef opaque {name}<>;', or the file that has it"
            hint = (f"{similar} Otherwise, {hint}" if similar else hint) + self._names.absent(module)
        return Problem(Rule.UNKNOWN_NAME, type_.span, f"unknown type {name}", hint)


class _Resolver:
    def __init__(self, names: Names, numbers: Numbers, finder: TypeFinder) -> None:
        self.problems: list[Problem] = []
        self._names = names
        self._numbers = numbers
        self._finder = finder

    def node(self, entry: TypeEntry) -> Node:
        match entry.body:
            case EnumBody(members):
                return Enumeration(tuple(self._member(entry.module, member) for member in members))
            case StructBody(fields):
                return Structure(tuple(self._field(entry, field) for field in fields), entry.insert)
            case UnionBody() as body:
                return self._union(entry, body)
            case Declaration() as declaration:
                return self._declared(entry.module, declaration, f"{entry.name}.element")

    def named(self, module: str, type_: TypeName) -> Node:
        entry = self._finder.find(module, type_)
        if entry is None:
            return Void()
        if type_.keyword and entry.kind not in ("typedef", type_.keyword):
            message = f"{type_.name} is {with_article(entry.kind)}, not {with_article(type_.keyword)}"
            related = ((entry.span, "defined here"),)
            self.problems.append(Problem(Rule.WRONG_KIND, type_.span, message, related=related))
        return Named(entry.module, entry.name)

    def _member(self, module: str, member: EnumMember) -> Member:
        return Member(member.name, self._numbers.defined(module, member.name) or 0, member.span)

    def _field(self, entry: TypeEntry, field: Declaration) -> Field:
        node = self._declared(entry.module, field, f"{entry.name}.{field.name}")
        return Field(field.name, node, print_declaration(field), field.insert, field.span)

    def _union(self, entry: TypeEntry, body: UnionBody) -> UnionType:
        return UnionType(
            self._field(entry, body.discriminant),
            tuple(self._arm(entry, case) for case in body.cases),
            self._arm(entry, body.default) if body.default else None,
        )

    def _arm(self, entry: TypeEntry, case: Case) -> Arm:
        labels = tuple(
            Label(value, label.name if isinstance(label, Reference) else None)
            for label in case.labels
            if (value := self._numbers.value(entry.module, label)) is not None
        )
        if case.arm is None:
            return Arm(labels, None, Void(), "void;", case.span)
        field = self._field(entry, case.arm)
        return Arm(labels, field.name, field.node, field.xdr, case.span)

    def _declared(self, module: str, declaration: Declaration, nested: str) -> Node:
        """The node of a declaration; `nested` is what its type is called if it is a body."""
        type_, shape = declaration.type, declaration.shape
        if type_ is Builtin.OPAQUE or type_ is Builtin.STRING:
            return self._bytes(module, declaration, type_)
        element: Node
        if isinstance(type_, Builtin):
            element = _SCALARS[type_]
        elif isinstance(type_, TypeName):
            element = self.named(module, type_)
        elif nested in self._names.files[module].types:
            element = Named(module, nested)
        else:  # a field of this name is there already, or bodies nest too deep
            element = Void()
        match shape:
            case Shape.PLAIN:
                return element
            case Shape.OPTIONAL:
                return Optional(element)
            case Shape.FIXED:
                return FixedArray(element, self._size(module, declaration))
            case Shape.VARIABLE:
                return Array(element, self._limit(module, declaration))

    def _bytes(self, module: str, declaration: Declaration, type_: Builtin) -> Node:
        """§4.9 to §4.11: `opaque x[n]`, `opaque x<n>`, `string x<n>`, and no others."""
        if declaration.shape is Shape.VARIABLE:
            limit = self._limit(module, declaration)
            return Opaque(limit) if type_ is Builtin.OPAQUE else String(limit)
        assert declaration.shape is Shape.FIXED, "the syntax has no other"
        return FixedOpaque(self._size(module, declaration))

    def _size(self, module: str, declaration: Declaration) -> Bound:
        assert declaration.size is not None, "the grammar asks for a length"
        return self._bound(module, declaration.size)

    def _limit(self, module: str, declaration: Declaration) -> Bound | None:
        return None if declaration.size is None else self._bound(module, declaration.size)

    def _bound(self, module: str, value: Value) -> Bound:
        number = self._numbers.value(module, value)
        name = value.name if isinstance(value, Reference) else None
        if number is None:
            return Bound(0, name)
        if 0 <= number <= MAX_BOUND:
            return Bound(number, name)
        what = f"{name} is" if name else "is"
        text = f"the bound {what} negative" if number < 0 else f"the bound {what} larger than {MAX_BOUND}"
        self.problems.append(Problem(Rule.BAD_BOUND, value.span, text))
        return Bound(0, name)


class _Unions:
    """§4.15: what the discriminant may be, and which labels it allows."""

    def __init__(
        self, names: Names, numbers: Numbers, nodes: list[TypeNode], problems: list[Problem]
    ) -> None:
        self._names = names
        self._numbers = numbers
        self._nodes = {node.key: node for node in nodes}
        self._problems = problems

    def check(self, type_: TypeNode, union: UnionType) -> None:
        body = self._names.files[type_.module].types[type_.name].body
        assert isinstance(body, UnionBody)
        node = self._behind(union.discriminant.node)
        if node is None:
            return
        if not isinstance(node, Enumeration) and node not in _DISCRIMINANTS:
            expected = "expected an integer, a bool or an enum"
            message = f"{expected} as the discriminant {body.discriminant.name}"
            self._problems.append(Problem(Rule.BAD_DISCRIMINANT, body.discriminant.span, message))
            return
        legal = _legal_labels(node)
        seen: dict[int, Span] = {}
        for case in body.cases:
            for label in case.labels:
                value = self._numbers.value(type_.module, label)
                if value is None:
                    continue
                if value in seen:
                    message = f"duplicate case {_spelled(label, value)} in this union"
                    related = ((seen[value], "first here"),)
                    self._problems.append(Problem(Rule.DUPLICATE_CASE, label.span, message, related=related))
                elif value not in legal:
                    message = f"expected {_expected(node, body.discriminant)}, got {_spelled(label, value)}"
                    self._problems.append(Problem(Rule.BAD_LABEL, label.span, message))
                seen.setdefault(value, label.span)

    def _behind(self, node: Node) -> Node | None:
        """Follow typedefs to a node. Return None if a problem is reported elsewhere: an unknown name, or
        typedefs that are circular or too deep."""
        for _ in range(MAX_DEPTH + 1):
            if not isinstance(node, Named):
                return None if isinstance(node, Void) else node
            node = self._nodes[node].node
        return None


def _legal_labels(node: Node) -> Container[int]:
    """The values of a discriminant (RFC 4506 §6.4 note 5)."""
    match node:
        case Enumeration(members):
            return {member.value for member in members}
        case Integer(bits, signed):
            return range(-(2 ** (bits - 1)), 2 ** (bits - 1)) if signed else range(2**bits)
        case _:
            return range(2)


def _expected(node: Node, discriminant: Declaration) -> str:
    """Describe the legal values of a discriminant."""
    match node:
        case Enumeration():
            enum = discriminant.type
            return f"a member of {enum.name if isinstance(enum, TypeName) else 'its enum'}"
        case Integer(spelling=spelling):
            return with_article(spelling)
        case _:
            return "TRUE or FALSE"


def _spelled(label: Value, value: int) -> str:
    return f"{label.name} ({value})" if isinstance(label, Reference) else label.text


def _text(entry: TypeEntry) -> str:
    """A definition in canonical XDR, without annotations."""
    written = entry.written
    if isinstance(written, Declaration):
        return print_declaration(written)
    return print_definition(written, annotations=False)
