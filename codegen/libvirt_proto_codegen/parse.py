"""Definition text to syntax tree (RFC 4506 §6.3), without semantics.

There are two steps, and each reports everything that it finds. The preprocessor splits the text into tokens,
comments and `%` lines, and rejects characters that begin none of these; lark builds the tree from the tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, cast

from lark import Lark, Token, Tree
from lark.exceptions import UnexpectedToken
from lark.lexer import PatternStr

from . import syntax_errors
from .errors import DefinitionError
from .preprocess import MAX_PROBLEMS, MAX_TOKENS, Include, MacroNumbers, no_files, preprocess
from .recovery import SyntaxProblem, parsed
from .scan import Lexeme
from .source import MAX_SIZE, Source, Span

#: Maximum nesting of brackets (bodies, and discriminants that are bodies). libvirt's definitions nest 2 deep.
MAX_NESTING = 32

#: The words that begin a definition.
_DEFINITIONS = frozenset({"typedef", "const", "enum", "struct", "union", "program", "namespace"})


class SourceToken(Token):
    """A token of the tree with its source, which may be an included file."""

    __slots__ = ("source",)

    source: Source


@dataclass(frozen=True, slots=True)
class Syntax:
    """A parsed file: its tree, the comments and `%` lines between the tokens, which may carry meaning, and
    the numbers that macros define."""

    source: Source
    tree: Tree[Token]
    comments: tuple[Span, ...]
    passthrough: tuple[Span, ...]
    macros: MacroNumbers


def parse(source: Source, include: Include = no_files, defines: Mapping[str, int] | None = None) -> Syntax:
    """Parse a definition file; `include` finds the files that it includes, `defines` are numbers for `#if`.

    Raises DefinitionError with the syntax errors found, at most MAX_PROBLEMS of them.
    """
    if len(source.text) > MAX_SIZE:
        raise DefinitionError([syntax_errors.too_large(source.name)])
    found = preprocess(source, include, defines)
    words = _words()
    tokens = [_token(lexeme, words) for lexeme in found.tokens]

    def tree_from(source: Source, start: int) -> Tree[Token]:
        return _tree(tokens, start)

    tree = parsed(source, tree_from, MAX_PROBLEMS)
    return Syntax(source, tree, found.comments, found.passthrough, found.macros)


@cache
def _grammar() -> Lark:
    text = resources.files(__package__).joinpath("grammar/xdr.lark").read_text(encoding="utf-8")
    return Lark(text, parser="lalr", lexer="basic", start="specification", maybe_placeholders=False)


@cache
def _words() -> Mapping[str, str]:
    """Return the grammar's names of keywords and punctuation."""
    return {
        terminal.pattern.value: terminal.name
        for terminal in _grammar().terminals
        if isinstance(terminal.pattern, PatternStr)
    }


def _token(lexeme: Lexeme, words: Mapping[str, str]) -> SourceToken:
    text = lexeme.text
    token = SourceToken(words.get(text, lexeme.kind), text, lexeme.start, end_pos=lexeme.end)
    token.source = lexeme.source
    return token


def span_of(token: Token) -> Span:
    """Return the place of a token."""
    return Span(cast(SourceToken, token).source, cast(int, token.start_pos), cast(int, token.end_pos))


def _tree(tokens: Sequence[SourceToken], start: int) -> Tree[Token]:
    """Return the tree of the tokens from `start`, which begins a definition; raises SyntaxProblem."""
    parser: Any = _grammar().parse_interactive()
    last: Token | None = None
    open_brackets: list[Token] = []
    at = start
    try:
        for at in range(start, len(tokens)):
            token = tokens[at]
            parser.feed_token(token)
            last = token
            if at - start == MAX_TOKENS:
                raise SyntaxProblem(syntax_errors.too_long(span_of(token), MAX_TOKENS), None)
            if token.type in ("LBRACE", "LPAR"):
                open_brackets.append(token)
                if len(open_brackets) > MAX_NESTING:
                    raise SyntaxProblem(syntax_errors.nested_too_deeply(span_of(token), MAX_NESTING), None)
            elif token.type in ("RBRACE", "RPAR"):
                open_brackets.pop()
        return cast("Tree[Token]", parser.feed_eof())
    except UnexpectedToken as error:
        token = cast(SourceToken, error.token)
        is_end = token.type == "$END"
        problem = syntax_errors.unexpected(
            None if is_end else span_of(token),
            token.type,
            expected=parser.accepts(),
            last=span_of(last) if last else None,
            inside=span_of(open_brackets[-1]) if open_brackets else None,
        )
        raise SyntaxProblem(problem, None if is_end else _next_definition(tokens, at)) from None


def _next_definition(tokens: Sequence[SourceToken], at: int) -> int | None:
    """Return the number of the first token, from `at`, that begins a definition at the start of a line."""
    for number in range(at, len(tokens)):
        token = tokens[number]
        start = cast(int, token.start_pos)
        if str(token) in _DEFINITIONS and (start == 0 or token.source.text[start - 1] == "\n"):
            return number
    return None
