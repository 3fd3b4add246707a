"""Tree to Specification: every name and number as written, nothing resolved.

Text that the grammar accepts for the sake of a better error is rejected here: invalid numbers, declarations
that RFC 4506 §6.3 does not have, invalid annotations.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import PurePath
from typing import cast

from lark import Token, Tree

from .annotations import Comments, read_annotations, read_insert
from .errors import DefinitionError, Problem
from .expressions import character
from .model import (
    Argument,
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
    Text,
    TypedefDef,
    TypeName,
    TypeSpecifier,
    UnionBody,
    UnionDef,
    Value,
    VersionDef,
)
from .parse import Syntax, span_of
from .preprocess import MacroNumbers
from .source import Source, Span
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

_IDENTIFIERS = frozenset({"NAME", "PROGRAM", "VERSION", "NAMESPACE", "PRAGMA"})

_INCLUDE = re.compile(r'%?[ \t]*#[ \t]*include[ \t]*[<"](?:[^>"]*/)?([A-Za-z0-9_.+-]+)[>"]')

_NAME_IT = "name it with a typedef"

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
        spans: dict[Source, list[Span]] = {}
        for span in syntax.comments:
            spans.setdefault(span.source, []).append(span)
        self.comments = {source: Comments(source, found) for source, found in spans.items()}
        self.problems: list[Problem] = []
        self.references: dict[str, None] = {}

    def specification(self, syntax: Syntax) -> Specification:
        source = syntax.source
        includes = (_INCLUDE.match(line.source.text, line.start, line.end) for line in syntax.passthrough)
        definitions = [
            self.definition(tree) for tree in _definitions(syntax.tree) if tree.data != "pragma_def"
        ]
        return Specification(
            PurePath(source.name).name,
            (*self.macro_constants(definitions, syntax.macros), *definitions),
            tuple(match[1] for match in includes if match),
            span=Span(source, 0, len(source.text)),
        )

    def macro_constants(self, definitions: Sequence[Definition], macros: MacroNumbers) -> Iterator[ConstDef]:
        """Yield constants for the macros that the definitions use by name."""
        own: set[str] = set()
        constants: dict[str, int] = {}
        for definition in definitions:
            own.add(definition.name)
            body = definition.declaration.type if isinstance(definition, TypedefDef) else None
            own.update(_members(definition.body if isinstance(definition, EnumDef) else body))
            if isinstance(definition, ConstDef) and isinstance(definition.value, Literal):
                constants[definition.name] = definition.value.value
        for name in self.references:
            if name not in own and (macro := macros.find(name, constants)):
                yield ConstDef(name, Literal(macro.value, macro.text, span=macro.span), span=macro.span)

    def definition(self, tree: Tree[Token]) -> Definition:
        first, *rest = tree.children
        if tree.data == "typedef_def":
            return self.typedef_def(first)
        name, span = self.name(first), self.span(first)
        match tree.data:
            case "constant_def":
                return ConstDef(name, self.constant(rest[0]), span=span)
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
        last = self.span(tree.children[-1])
        comments = self.comments.get(span.source)
        before = comments and comments.before(span.start)
        after = self.comments_after(last)
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
        result, name, *given, number = tree.children
        arguments = [self.argument(each) for each in _trees(given)]
        if None in arguments and len(arguments) > 1:
            void = next(each.children[0] for each in _trees(given) if _is_void(each.children[0]))
            self.problem("bad-declaration", "void must be the only member", self.span(void))
        return ProcedureDef(
            self.name(name),
            None if _is_void(result) else self.procedure_type(result).type,
            tuple(argument for argument in arguments if argument is not None),
            self.value(number),
            span=self.span(name),
        )

    def argument(self, tree: Tree[Token]) -> Argument | None:
        """Return an argument, or None for void."""
        first, *rest = tree.children
        if _is_void(first):
            return None
        argument = self.procedure_type(first)
        names = [each for each in rest if isinstance(each, Token) and each.type != "STAR"]
        if len(names) > 1:
            self.problem("bad-declaration", "expected one name of the argument, got two", self.span(names[1]))
        name = self.name(names[-1]) if names else None
        limits = [each for each in rest if isinstance(each, Tree)]
        if len(names) + len(limits) < len(rest):
            if argument.type is Builtin.STRING:
                self.problem("bad-declaration", "string cannot be optional", argument.span, _NAME_IT)
            return replace(argument, name=name, shape=Shape.OPTIONAL)
        if limits and argument.type is not Builtin.STRING:
            self.problem("bad-declaration", "only a string can have a limit here", argument.span, _NAME_IT)
        size = limits[0].children if limits else ()
        return replace(argument, name=name, size=self.value(size[0]) if size else None)

    def procedure_type(self, node: Node) -> Argument:
        """Return an argument or a result without a name; a string is unbounded, as rpcgen has it."""
        kind = self.type_specifier(node)
        span = self.span(next(node.scan_values(lambda _: True)) if isinstance(node, Tree) else node)
        if kind is Builtin.OPAQUE:
            message = "expected the name of a type, a number or a string, got opaque"
            self.problem("bad-declaration", message, span, _NAME_IT)
        return Argument(kind, shape=Shape.VARIABLE if kind is Builtin.STRING else Shape.PLAIN, span=span)

    def constant(self, node: Node) -> Value | Text:
        if isinstance(node, Token) and node.type == "TEXT":
            return Text(str(node), span=self.span(node))
        return self.value(node)

    def value(self, node: Node) -> Value:
        span = self.span(node)
        token = cast(Token, node)
        if token.type in _IDENTIFIERS:
            self.references[str(node)] = None
            return Reference(self.name(node), span=span)
        if token.type == "CHARACTER":
            return Literal(self.character(str(node), span), str(node), span=span)
        return Literal(self.number(str(node), span), str(node), span=span)

    def character(self, text: str, span: Span) -> int:
        """Return the number of a character."""
        number = character(text)
        if number is None:
            self.problem("bad-number", f"expected one ASCII character, got {quoted_token(span)}", span)
        return number or 0

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
        number, problems = read_insert(self.comments_after(self.span(last)))
        self.problems += problems
        return number

    def comments_after(self, last: Span) -> Iterable[Span]:
        """Return the comments after a declaration's last token, on its line."""
        comments = self.comments.get(last.source)
        return comments.after(last.end) if comments else ()

    def span(self, node: Node) -> Span:
        """Return the place of a token."""
        return span_of(cast(Token, node))

    def problem(
        self,
        rule: str,
        message: str,
        span: Span,
        hint: str | None = None,
        related: tuple[tuple[Span, str], ...] = (),
    ) -> None:
        self.problems.append(Problem(rule, span, message, hint, related))


def _definitions(tree: Tree[Token]) -> Iterator[Tree[Token]]:
    """Yield the definitions of a tree, including those in namespaces."""
    for each in _trees(tree.children):
        if each.data == "namespace_def":
            _, _, *inside = each.children
            yield from _definitions(Tree("namespace", inside))
        else:
            yield each


def _members(body: object) -> Iterator[str]:
    if isinstance(body, EnumBody):
        yield from (member.name for member in body.members)


def _is_void(node: Node) -> bool:
    return isinstance(node, Token) and node.type == "VOID"


def _tree(node: Node) -> Tree[Token]:
    return cast("Tree[Token]", node)


def _trees(nodes: Sequence[Node]) -> list[Tree[Token]]:
    return cast("list[Tree[Token]]", nodes)
