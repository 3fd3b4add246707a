"""Tree to Specification: every name and number as written, nothing resolved.

What the grammar lets through for the sake of a better error is refused here: numbers that are none,
declarations that RFC 4506 §6.3 does not have, annotations that cannot be understood.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePath
from typing import cast

from lark import Token, Tree

from .annotations import Comments, read_annotations, read_insert
from .errors import DefinitionError, Problem
from .model import (
    Builtin,
    Case,
    ConstDef,
    Declaration,
    Definition,
    EnumBody,
    EnumDef,
    EnumMember,
    Literal,
    ProcedureDef,
    ProgramDef,
    Reference,
    Shape,
    Specification,
    StructBody,
    StructDef,
    TypedefDef,
    TypeName,
    TypeSpecifier,
    UnionBody,
    UnionDef,
    Value,
    VersionDef,
)
from .parse import Syntax
from .source import Span
from .syntax_errors import quoted_token, too_many

Node = Tree[Token] | Token

#: An identifier becomes part of file names and of other languages' identifiers.
MAX_NAME = 255

#: A file with more problems than this has all of them for one reason, and the first show it.
MAX_PROBLEMS = 100

#: Every number that XDR can carry: from the smallest hyper to the largest unsigned hyper.
NUMBERS = range(-(2**63), 2**64)

#: Spellings of numbers and their bases; -0x10 is not the RFC's, but nobody is in doubt about it.
_SPELLINGS = (
    (re.compile(r"-?(?:0|[1-9][0-9]*)"), 10),
    (re.compile(r"-?0[0-7]+"), 8),
    (re.compile(r"-?0[xX][0-9A-Fa-f]+"), 16),
)
_NUMBER_HINT = "numbers are decimal (10), hexadecimal (0xa) or octal, with a leading 0 (012)"

#: No number in NUMBERS has more digits in any base.
_MAX_DIGITS = 22

_IDENTIFIERS = frozenset({"NAME", "PROGRAM", "VERSION"})

_INCLUDE = re.compile(r'%[ \t]*#[ \t]*include[ \t]*[<"](?:[^>"]*/)?([A-Za-z0-9_.+-]+)[>"]')

_BUILTINS = {builtin.value: builtin for builtin in Builtin} | {"unsigned": Builtin.UNSIGNED_INT}


def build(syntax: Syntax) -> Specification:
    """The Specification of a parsed file; raises DefinitionError with every problem found."""
    builder = _Builder(syntax)
    specification = builder.specification(syntax)
    if builder.problems:
        problems = sorted(builder.problems, key=lambda problem: problem.span.start if problem.span else 0)
        if len(problems) > MAX_PROBLEMS:
            problems[MAX_PROBLEMS:] = [too_many(syntax.source.name, MAX_PROBLEMS)]
        raise DefinitionError(problems)
    return specification


class _Builder:
    """One file's way from tree to Specification: a method for each rule, and the problems met."""

    def __init__(self, syntax: Syntax) -> None:
        self.source = syntax.source
        self.comments = Comments(syntax.source, syntax.comments)
        self.problems: list[Problem] = []

    def specification(self, syntax: Syntax) -> Specification:
        text = self.source.text
        includes = (_INCLUDE.match(text, line.start, line.end) for line in syntax.passthrough)
        return Specification(
            PurePath(self.source.name).name,
            tuple(map(self.definition, _trees(syntax.tree.children))),
            tuple(match[1] for match in includes if match),
            span=Span(self.source, 0, len(text)),
        )

    def definition(self, tree: Tree[Token]) -> Definition:
        first, *rest = tree.children
        if tree.data == "typedef_def":
            return self.typedef_def(first)
        name, span = self.name(first), self.span(first)
        match tree.data:
            case "constant_def":
                return ConstDef(name, self.value(rest[0]), span=span)
            case "enum_def":
                return EnumDef(name, self.enum_body(rest[0]), span=span)
            case "struct_def":
                brace = _tree(rest[0]).children[0]
                return StructDef(name, self.struct_body(rest[0]), self.insert(brace), span=span)
            case "union_def":
                return UnionDef(name, self.union_body(rest[0]), span=span)
            case _:
                *versions, number = rest
                return ProgramDef(
                    name, tuple(map(self.version_def, _trees(versions))), self.value(number), span=span
                )

    def typedef_def(self, node: Node) -> TypedefDef:
        declaration = self.declaration(node)
        if declaration is None:
            declaration = self.no_void(node, "a typedef cannot name void, which is no type")
        return TypedefDef(declaration, span=declaration.span)

    def declaration(self, node: Node) -> Declaration | None:
        """A declaration, or None for void."""
        if isinstance(node, Token):
            return None
        specifier, name, *size = node.children
        span = self.span(name)
        shape = Shape(node.data)
        kind = self.type_specifier(specifier)
        if kind is Builtin.OPAQUE and shape not in (Shape.FIXED, Shape.VARIABLE):
            self.problem(
                "bad-declaration",
                "opaque has no length",
                span,
                f"write 'opaque {name}[N];' or 'opaque {name}<N>;'",
            )
        if kind is Builtin.STRING and shape is not Shape.VARIABLE:
            self.problem(
                "bad-declaration",
                "a string needs a bound, or '<>'",
                span,
                f"write 'string {name}<N>;' or 'string {name}<>;'",
            )
        return Declaration(self.name(name), kind, shape, self.value(size[0]) if size else None, span=span)

    def no_void(self, node: Node, message: str) -> Declaration:
        """Reports a void where a declaration must have a name; gives something to go on with."""
        span = self.span(node)
        self.problem("bad-declaration", message, span)
        return Declaration("void", Builtin.INT, span=span)

    def type_specifier(self, node: Node) -> TypeSpecifier:
        if isinstance(node, Token):
            if node.type in _IDENTIFIERS:
                return TypeName(self.name(node), span=self.span(node))
            return _BUILTINS[node]
        match node.data:
            case "integer":
                return _BUILTINS[" ".join(map(str, node.children))]
            case "type_name":
                keyword, name = node.children
                return TypeName(self.name(name), str(keyword), span=self.span(name))
            case "enum_body":
                return self.enum_body(node)
            case "struct_body":
                return self.struct_body(node)
            case _:
                return self.union_body(node)

    def enum_body(self, node: Node) -> EnumBody:
        brace, *members = _tree(node).children
        return EnumBody(tuple(map(self.enum_member, _trees(members))), span=self.span(brace))

    def enum_member(self, tree: Tree[Token]) -> EnumMember:
        name, *value = tree.children
        span = self.span(name)
        before = self.comments.before(span.start)
        after = self.comments.after(self.span(tree.children[-1]).end)
        said, problems = read_annotations([*([before] if before else []), *after])
        self.problems += problems
        return EnumMember(self.name(name), self.value(value[0]) if value else None, said, span=span)

    def struct_body(self, node: Node) -> StructBody:
        brace, *declarations = _tree(node).children
        fields = []
        for declared in declarations:
            field = self.declaration(declared)
            if field:
                number = self.insert(_tree(declared).children[-1])
                fields.append(field if number is None else replace(field, insert=number))
        return StructBody(tuple(fields), span=self.span(brace))

    def union_body(self, node: Node) -> UnionBody:
        switch, declared, *specs = _tree(node).children
        discriminant = self.declaration(declared)
        if discriminant is None:
            discriminant = self.no_void(declared, "a union cannot be switched by void")
        elif discriminant.shape is not Shape.PLAIN:
            self.problem("bad-declaration", "a union is switched by a single number", discriminant.span)
        cases = list(map(self.case_spec, _trees(specs)))
        defaults = [case for case in cases if not case.labels]
        for case in defaults[1:]:
            self.problem(
                "bad-default",
                "a union has one default case",
                case.span,
                related=((defaults[0].span, "the first"),),
            )
        if defaults and cases[-1].labels:
            self.problem("bad-default", "the default case comes last", defaults[0].span)
        labelled = tuple(case for case in cases if case.labels)
        return UnionBody(discriminant, labelled, defaults[0] if defaults else None, span=self.span(switch))

    def case_spec(self, tree: Tree[Token]) -> Case:
        *labels, declared = tree.children
        first = cast(Token, labels[0])
        values = () if first.type == "DEFAULT" else tuple(map(self.value, labels))
        return Case(values, self.declaration(declared), span=self.span(first))

    def version_def(self, tree: Tree[Token]) -> VersionDef:
        name, *procedures, number = tree.children
        defined = tuple(map(self.procedure_def, _trees(procedures)))
        return VersionDef(self.name(name), defined, self.value(number), span=self.span(name))

    def procedure_def(self, tree: Tree[Token]) -> ProcedureDef:
        result, name, *arguments, number = tree.children
        span = self.span(name)
        types = tuple(map(self.procedure_type, arguments))
        if None in types and len(types) > 1:
            self.problem("bad-declaration", "void stands alone, or not at all", self.span(arguments[0]))
        return ProcedureDef(
            self.name(name),
            self.procedure_type(result),
            tuple(kind for kind in types if kind is not None),
            self.value(number),
            span=span,
        )

    def procedure_type(self, node: Node) -> TypeSpecifier | None:
        """What a procedure takes or gives, or None for void."""
        if isinstance(node, Token) and node.type == "VOID":
            return None
        kind = self.type_specifier(node)
        if kind in (Builtin.OPAQUE, Builtin.STRING):
            message = f"a procedure takes and gives types, and {kind.value} alone is none"
            self.problem("bad-declaration", message, self.span(node), "give it a name with a typedef")
        return kind

    def value(self, node: Node) -> Value:
        span = self.span(node)
        if cast(Token, node).type in _IDENTIFIERS:
            return Reference(self.name(node), span=span)
        return Literal(self.number(str(node), span), str(node), span=span)

    def number(self, text: str, span: Span) -> int:
        """The value of a spelling. Its length is looked at first: int() takes long over long ones."""
        base = next((base for spelling, base in _SPELLINGS if spelling.fullmatch(text)), None)
        if base is None:
            self.problem("bad-number", f"{quoted_token(span)} is no number", span, _NUMBER_HINT)
            return 0
        if len(text.lstrip("-0xX")) > _MAX_DIGITS or (number := int(text, base)) not in NUMBERS:
            self.problem(
                "bad-number",
                f"no XDR type holds {quoted_token(span)}",
                span,
                "the largest is 2^64-1, the smallest -2^63",
            )
            return 0
        return number

    def name(self, node: Node) -> str:
        if len(cast(Token, node)) > MAX_NAME:
            self.problem("bad-name", f"a name of more than {MAX_NAME} characters", self.span(node))
        return str(node)

    def insert(self, last: Node) -> int | None:
        """N of an `insert@N` behind a declaration's last token."""
        number, problems = read_insert(self.comments.after(self.span(last).end))
        self.problems += problems
        return number

    def span(self, node: Node) -> Span:
        """Where a token stands."""
        token = cast(Token, node)
        return Span(self.source, cast(int, token.start_pos), cast(int, token.end_pos))

    def problem(
        self,
        rule: str,
        message: str,
        span: Span,
        hint: str | None = None,
        related: tuple[tuple[Span, str], ...] = (),
    ) -> None:
        self.problems.append(Problem(rule, span, message, hint, related))


def _tree(node: Node) -> Tree[Token]:
    return cast("Tree[Token]", node)


def _trees(nodes: Sequence[Node]) -> list[Tree[Token]]:
    return cast("list[Tree[Token]]", nodes)
