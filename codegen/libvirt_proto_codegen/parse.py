"""Definition text to tree: the syntax of RFC 4506 §6.3, nothing of what it means.

Two steps, each of which reports all that it finds: the text is split into tokens, comments and `%` lines,
which refuses characters that begin none of these; then lark makes the tree of the tokens.
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

#: Brackets within each other: bodies, and discriminants that are bodies. libvirt's nest 2, and nothing
#: that is meant to be read nests this many.
MAX_NESTING = 32

#: Tokens of one file, and comments and `%` lines. libvirt's largest has 11,000; this many take half a second.
MAX_TOKENS = 100_000

#: A file with more syntax errors than this is something else: the rest is not reported.
MAX_PROBLEMS = 20


@dataclass(frozen=True, slots=True)
class Syntax:
    """A parsed file: its tree, and what stands between the tokens and may still say something."""

    source: Source
    tree: Tree[Token]
    comments: tuple[Span, ...]
    passthrough: tuple[Span, ...]


def parse(source: Source) -> Syntax:
    """The syntax of a definition file.

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
    """Finds the tokens, comments and `%` lines of the grammar, and characters that begin none of these."""
    names = ("NAME", "COMMENT", "PASSTHROUGH", "NUMBER")
    patterns = {name: _grammar().get_terminal(name).pattern.to_regexp() for name in names}
    return re.compile(
        r"(?P<SIGN>[{}()\[\]<>;:,=*])|"
        + "|".join(f"(?P<{name}>{pattern})" for name, pattern in patterns.items())
        + r"|(?P<unclosed>/\*)|(?P<stray>[^ \t\r\n\v\f][^/\n]*)"
    )


@cache
def _words() -> Mapping[str, str]:
    """Keywords and signs → the grammar's names for them."""
    return {
        terminal.pattern.value: terminal.name
        for terminal in _grammar().terminals
        if isinstance(terminal.pattern, PatternStr)
    }


@cache
def _resume() -> re.Pattern[str]:
    """Finds definitions that begin a line, and the comments that they are not to be found in."""
    comment = _grammar().get_terminal("COMMENT").pattern.to_regexp()
    return re.compile(
        rf"(?:{comment})|(?P<definition>^(?:typedef|const|enum|struct|union|program)\b)", re.MULTILINE
    )


def _scan(source: Source) -> tuple[list[Token], tuple[Span, ...], tuple[Span, ...]]:
    """The tokens of a source, at most MAX_TOKENS and one, its comments and its `%` lines."""
    tokens: list[Token] = []
    comments: list[Span] = []
    passthrough: list[Span] = []
    problems: list[Problem] = []
    words = _words()
    quiet_until = 0  # one problem for each line is enough: stray characters come in swarms
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
    """The tree of tokens that begin a definition; raises SyntaxProblem."""
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
    """Where the next definition that begins a line begins, comments passed over."""
    for match in _resume().finditer(source.text, offset):
        if match.lastgroup == "definition":
            return match.start()
    return None
