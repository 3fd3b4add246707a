"""Definition text to syntax tree (RFC 4506 §6.3), without semantics.

There are two steps, and each reports everything that it finds. The scanner splits the text into tokens,
comments and `%` lines, and rejects characters that begin none of these; lark builds the tree from the tokens.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, cast

from lark import Lark, Token, Tree
from lark.exceptions import UnexpectedToken
from lark.lexer import PatternStr

from . import syntax_errors
from .errors import DefinitionError, Problem
from .recovery import SyntaxProblem, parsed
from .source import MAX_SIZE, Source, Span

#: Maximum nesting of brackets (bodies, and discriminants that are bodies). libvirt's definitions nest 2 deep.
MAX_NESTING = 32

#: Maximum number of tokens in a file, and of comments and `%` lines. libvirt's largest file has 11,000
#: tokens; parsing this many takes half a second.
MAX_TOKENS = 100_000

#: A file with more syntax errors is probably not a definition file; the rest is not reported.
MAX_PROBLEMS = 20


@dataclass(frozen=True, slots=True)
class Syntax:
    """A parsed file: its tree, and the comments and `%` lines between the tokens, which may carry meaning."""

    source: Source
    tree: Tree[Token]
    comments: tuple[Span, ...]
    passthrough: tuple[Span, ...]


def parse(source: Source) -> Syntax:
    """Parse a definition file.

    Raises DefinitionError with the syntax errors found, at most MAX_PROBLEMS of them.
    """
    if len(source.text) > MAX_SIZE:
        raise DefinitionError([syntax_errors.too_large(source.name)])
    tokens, comments, passthrough = _scan(source)

    def tree_from(source: Source, start: int) -> Tree[Token]:
        return _tree(source, tokens[bisect_left(tokens, start, key=_start) :])

    return Syntax(source, parsed(source, tree_from, MAX_PROBLEMS), comments, passthrough)


@cache
def _grammar() -> Lark:
    text = resources.files(__package__).joinpath("grammar/xdr.lark").read_text(encoding="utf-8")
    return Lark(text, parser="lalr", lexer="basic", start="specification", maybe_placeholders=False)


@cache
def _scanner() -> re.Pattern[str]:
    """Return the pattern of tokens, comments, `%` lines and characters that begin none of these."""
    names = ("NAME", "COMMENT", "PASSTHROUGH", "NUMBER")
    patterns = {name: _grammar().get_terminal(name).pattern.to_regexp() for name in names}
    return re.compile(
        r"(?P<SIGN>[{}()\[\]<>;:,=*])|"
        + "|".join(f"(?P<{name}>{pattern})" for name, pattern in patterns.items())
        + r"|(?P<unclosed>/\*)|(?P<stray>[^ \t\r\n\v\f][^/\n]*)"
    )


@cache
def _words() -> Mapping[str, str]:
    """Return the grammar's names of keywords and punctuation."""
    return {
        terminal.pattern.value: terminal.name
        for terminal in _grammar().terminals
        if isinstance(terminal.pattern, PatternStr)
    }


@cache
def _resume() -> re.Pattern[str]:
    """Return the pattern of definitions at the start of a line, and of comments, which may contain such
    text."""
    comment = _grammar().get_terminal("COMMENT").pattern.to_regexp()
    return re.compile(
        rf"(?:{comment})|(?P<definition>^(?:typedef|const|enum|struct|union|program)\b)", re.MULTILINE
    )


def _scan(source: Source) -> tuple[list[Token], tuple[Span, ...], tuple[Span, ...]]:
    """Return the tokens of a source (at most MAX_TOKENS + 1), its comments and its `%` lines."""
    tokens: list[Token] = []
    comments: list[Span] = []
    passthrough: list[Span] = []
    problems: list[Problem] = []
    words = _words()
    quiet_until = 0  # one problem per line: stray characters come in groups
    for match in _scanner().finditer(source.text):
        kind = cast(str, match.lastgroup)
        start, end = match.span()
        if kind in ("SIGN", "NAME", "NUMBER"):
            if len(tokens) <= MAX_TOKENS:
                text = match[0]
                tokens.append(Token(words.get(text, kind), text, start, end_pos=end))
        elif kind in ("COMMENT", "PASSTHROUGH"):
            if len(comments) + len(passthrough) > MAX_TOKENS:
                problems = [
                    syntax_errors.too_long(Span(source, start, end), MAX_TOKENS, "comments and % lines")
                ]
                break
            (comments if kind == "COMMENT" else passthrough).append(Span(source, start, end))
        elif kind == "unclosed":
            problems.append(syntax_errors.unclosed_comment(Span(source, start, end)))
            break
        elif start >= quiet_until:
            if len(problems) == MAX_PROBLEMS:
                problems.append(syntax_errors.too_many(source.name, MAX_PROBLEMS))
                break
            problems.append(syntax_errors.stray_character(Span(source, start, start + 1)))
            line_end = source.text.find("\n", start)
            quiet_until = line_end if line_end >= 0 else len(source.text)
    if problems:
        raise DefinitionError(problems)
    return tokens, tuple(comments), tuple(passthrough)


def _tree(source: Source, tokens: Sequence[Token]) -> Tree[Token]:
    """Return the tree of tokens that begin a definition; raises SyntaxProblem."""
    parser: Any = _grammar().parse_interactive()
    last: Token | None = None
    open_brackets: list[Token] = []

    def span(token: Token) -> Span:
        return Span(source, _start(token), cast(int, token.end_pos))

    try:
        for count, token in enumerate(tokens):
            parser.feed_token(token)
            last = token
            if count == MAX_TOKENS:
                raise SyntaxProblem(syntax_errors.too_long(span(token), MAX_TOKENS), None)
            if token.type in ("LBRACE", "LPAR"):
                open_brackets.append(token)
                if len(open_brackets) > MAX_NESTING:
                    raise SyntaxProblem(syntax_errors.nested_too_deeply(span(token), MAX_NESTING), None)
            elif token.type in ("RBRACE", "RPAR"):
                open_brackets.pop()
        return cast("Tree[Token]", parser.feed_eof())
    except UnexpectedToken as error:
        token = error.token
        found = span(token) if token.type != "$END" else None
        problem = syntax_errors.unexpected(
            found,
            token.type,
            expected=parser.accepts(),
            last=span(last) if last else None,
            inside=span(open_brackets[-1]) if open_brackets else None,
        )
        raise SyntaxProblem(problem, _next_definition(source, found.start) if found else None) from None


def _start(token: Token) -> int:
    return cast(int, token.start_pos)


def _next_definition(source: Source, offset: int) -> int | None:
    """Return the offset of the next definition at the start of a line, ignoring comments."""
    for match in _resume().finditer(source.text, offset):
        if match.lastgroup == "definition":
            return match.start()
    return None
