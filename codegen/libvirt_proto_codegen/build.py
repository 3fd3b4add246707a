"""Tree to Specification: every name and number as written, nothing resolved.

Text that the grammar accepts for the sake of a better error is rejected here: invalid numbers, declarations
that RFC 4506 §6.3 does not have, invalid annotations.
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

#: Maximum length of an identifier, which becomes part of file names and of other languages' identifiers.
MAX_NAME = 255

#: Maximum number of problems reported; more usually have one cause, which the first show.
MAX_PROBLEMS = 100

#: Every number that XDR can carry: from the smallest hyper to the largest unsigned hyper.
NUMBERS = range(-(2**63), 2**64)

#: Spellings of numbers, and their bases; -0x10 is an extension of the RFC's, and unambiguous.
_SPELLINGS = (
    (re.compile(r"-?(?:0|[1-9][0-9]*)"), 10),
    (re.compile(r"-?0[0-7]+"), 8),
    (re.compile(r"-?0[xX][0-9A-Fa-f]+"), 16),
)
_NUMBER_HINT = "write a decimal (10), hexadecimal (0xa) or octal number, with a leading 0 (012)"

#: Maximum number of digits of a number in NUMBERS, in any base.
_MAX_DIGITS = 22

_IDENTIFIERS = frozenset({"NAME", "PROGRAM", "VERSION"})

_INCLUDE = re.compile(r'%[ \t]*#[ \t]*include[ \t]*[<"](?:[^>"]*/)?([A-Za-z0-9_.+-]+)[>"]')

_BUILTINS = {builtin.value: builtin for builtin in Builtin} | {"unsigned": Builtin.UNSIGNED_INT}


def build(syntax: Syntax) -> Specification:
    """Build the Specification of a parsed file; raises DefinitionError with every problem found."""
    builder = _Builder(syntax)
    specification = builder.specification(syntax)
    if builder.problems:
        problems = sorted(builder.problems, key=lambda problem: problem.span.start if problem.span else 0)
        if len(problems) > MAX_PROBLEMS:
            problems[MAX_PROBLEMS:] = [too_many(syntax.source.name, MAX_PROBLEMS)]
        raise DefinitionError(problems)
    return specification


class _Builder:
    """Builds the Specification of one file: a method per grammar rule, and the problems found."""

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
            declaration = self.no_void(node, "expected a type in a typedef, got void")
        return TypedefDef(declaration, span=declaration.span)

    def declaration(self, node: Node) -> Declaration | None:
        """Return a declaration, or None for void."""
        if isinstance(node, Token):
            return None
        specifier, name, *size = node.children
        span = self.span(name)
        shape = Shape(node.data)
        kind = self.type_specifier(specifier)
        if kind is Builtin.OPAQUE and shape not in (Shape.FIXED, Shape.VARIABLE):
            self.problem(
                "bad-declaration",
                "opaque needs a length",
                span,
                f"write 'opaque {name}[N];' or 'opaque {name}<N>;'",
            )
        if kind is Builtin.STRING and shape is not Shape.VARIABLE:
            self.problem(
                "bad-declaration",
                "string needs a limit, or '<>'",
                span,
                f"write 'string {name}<N>;' or 'string {name}<>;'",
            )
        return Declaration(self.name(name), kind, shape, self.value(size[0]) if size else None, span=span)

    def no_void(self, node: Node, message: str) -> Declaration:
        """Report a void where a declaration needs a name; return a substitute, so that building continues."""
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
            discriminant = self.no_void(declared, "expected an integer or enum as the discriminant, got void")
        elif discriminant.shape is not Shape.PLAIN:
            self.problem("bad-declaration", "expected a single number as the discriminant", discriminant.span)
        cases = list(map(self.case_spec, _trees(specs)))
        defaults = [case for case in cases if not case.labels]
        for case in defaults[1:]:
            self.problem(
                "bad-default",
                "duplicate default case",
                case.span,
                related=((defaults[0].span, "the first default case"),),
            )
        if defaults and cases[-1].labels:
            self.problem("bad-default", "the default case must come last", defaults[0].span)
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
            self.problem("bad-declaration", "void must be the only member", self.span(arguments[0]))
        return ProcedureDef(
            self.name(name),
            self.procedure_type(result),
            tuple(kind for kind in types if kind is not None),
            self.value(number),
            span=span,
        )

    def procedure_type(self, node: Node) -> TypeSpecifier | None:
        """Return the type of a procedure's argument or result, or None for void."""
        if isinstance(node, Token) and node.type == "VOID":
            return None
        kind = self.type_specifier(node)
        if kind in (Builtin.OPAQUE, Builtin.STRING):
            message = f"expected the name of a type or a number, got {kind.value}"
            self.problem("bad-declaration", message, self.span(node), "name it with a typedef")
        return kind

    def value(self, node: Node) -> Value:
        span = self.span(node)
        if cast(Token, node).type in _IDENTIFIERS:
            return Reference(self.name(node), span=span)
        return Literal(self.number(str(node), span), str(node), span=span)

    def number(self, text: str, span: Span) -> int:
        """Return the value of a number. The length is checked first: int() is slow for long ones."""
        base = next((base for spelling, base in _SPELLINGS if spelling.fullmatch(text)), None)
        if base is None:
            self.problem("bad-number", f"invalid number {quoted_token(span)}", span, _NUMBER_HINT)
            return 0
        if len(text.lstrip("-0xX")) > _MAX_DIGITS or (number := int(text, base)) not in NUMBERS:
            self.problem(
                "bad-number",
                f"{quoted_token(span)} does not fit any XDR type",
                span,
                "expected a number between -2^63 and 2^64-1",
            )
            return 0
        return number

    def name(self, node: Node) -> str:
        if len(cast(Token, node)) > MAX_NAME:
            self.problem("bad-name", f"expected a name of at most {MAX_NAME} characters", self.span(node))
        return str(node)

    def insert(self, last: Node) -> int | None:
        """Return N of an `insert@N` after a declaration's last token."""
        number, problems = read_insert(self.comments.after(self.span(last).end))
        self.problems += problems
        return number

    def span(self, node: Node) -> Span:
        """Return the place of a token."""
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
