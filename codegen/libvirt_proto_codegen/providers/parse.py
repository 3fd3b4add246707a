"""Provider files: text to Provider."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from itertools import groupby
from pathlib import PurePosixPath
from typing import Any, Final, cast

from lark import Lark, Token, Tree
from lark.exceptions import UnexpectedCharacters, UnexpectedToken

from .. import syntax_errors
from ..errors import DefinitionError, Problem
from ..preprocess import MAX_PROBLEMS, MAX_TOKENS
from ..recovery import SyntaxProblem, parsed
from ..source import MAX_SIZE, Source, Span
from ..syntax_errors import quoted
from .model import Argument, Probe, Provider, Section

_UNNAMED = "write a type and a name, which becomes the tapset's variable"
#: (the previous token, the token found, an expected terminal) → the hint; None matches any.
_HINTS: Final = (
    (",", ")", "C_TYPE", "remove the ',' after the last argument"),
    (None, ",", "STAR", _UNNAMED),
    (None, ")", "STAR", _UNNAMED),
    (";", ";", "PROBE", "one ';' is enough"),
    (None, "provider", "PROBE", "a file has one provider; or is a '}' missing above?"),
    (None, "provider", "$END", "a file has one provider"),
)
_STRAY_HINTS: Final = {
    "\0": "is this a binary file?",
    "/": "write comments as '# …' or '/* … */'",
    "[": "pass an array as a pointer: 'char *name'",
    ":": "translated arguments are not supported by SystemTap",
}

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_PATH = re.compile(r"[A-Za-z0-9_+-][A-Za-z0-9_.+-]*(?:/[A-Za-z0-9_+-][A-Za-z0-9_.+-]*)*", re.ASCII)
_ANNOTATION = re.compile(r"#[ \t]*(?P<word>\w+):[ \t]*(?P<value>.*?)[ \t\r\v\f]*")


def read_provider(source: Source) -> Provider:
    """Parse a provider file; raises DefinitionError with every problem found, at most MAX_PROBLEMS.

    Semantic problems are reported only for files without syntax errors.
    """
    if len(source.text) > MAX_SIZE:
        raise DefinitionError([syntax_errors.too_large(source.name)])
    return _Builder(source).provider(parsed(source, _tree_from, MAX_PROBLEMS))


class _Builder:
    """Builds the Provider from a tree, and collects problems."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._problems: list[Problem] = []
        self._names: dict[str, Span] = {}

    def provider(self, tree: Tree[Token]) -> Provider:
        name, *elements = tree.children
        found = list(self._elements(elements))
        if not found and not self._problems:
            self._problem(
                "no-probes", self._span(cast(Token, name)), "expected at least one probe in the provider"
            )
        if self._problems:
            rest = self._problems[MAX_PROBLEMS:] and [syntax_errors.too_many(self._source.name, MAX_PROBLEMS)]
            raise DefinitionError([*self._problems[:MAX_PROBLEMS], *rest])
        sections = tuple(
            Section(tuple(probe for _, probe in probes), **dict(said))
            for said, probes in groupby(found, lambda each: each[0])
        )
        return Provider(PurePosixPath(self._source.name).name, str(name), sections)

    def _elements(self, elements: list[Any]) -> Iterator[tuple[Mapping[str, str], Probe]]:
        """Yield the probes with the annotations before them. `file` starts a new section, the others extend
        it."""
        said: dict[str, str] = {}
        for element in elements:
            if isinstance(element, Tree):
                yield said, self._probe(element, said.get("prefix"))
            elif (annotation := self._annotation(element)) is not None:
                said = {**({} if annotation[0] == "file" else said), annotation[0]: annotation[1]}

    def _annotation(self, token: Token) -> tuple[str, str] | None:
        match = _ANNOTATION.fullmatch(token)
        assert match is not None, "the grammar's ANNOTATION"
        word, value = match["word"], match["value"]
        if (_NAME if word == "prefix" else _PATH).fullmatch(value):
            return word, value
        start = cast(int, token.start_pos) + match.start("value")
        wanted = "an identifier" if word == "prefix" else "a path below the source or library folder"
        message = f"expected {wanted} after '{word}:', got {quoted(value)}"
        hint = f"begin a comment about anything else with a word other than '{word}:'"
        self._problem("bad-annotation", Span(self._source, start, start + len(value)), message, hint)
        return None

    def _probe(self, tree: Tree[Token], prefix: str | None) -> Probe:
        name, *parameters = cast("list[Any]", tree.children)
        span = self._span(name)
        if (first := self._names.setdefault(str(name), span)) is not span:
            message = f"duplicate probe {quoted(str(name))}"
            self._problem("duplicate-name", span, message, related=((first, "first defined here"),))
        if prefix is not None and not name.startswith(f"{prefix}_"):
            message = f"{quoted(str(name))} does not begin with the prefix of its section, '{prefix}_'"
            self._problem(
                "bad-prefix", span, message, "change the prefix with '# prefix: …' before the probe"
            )
        return Probe(str(name), tuple(self._arguments(parameters)), span=span)

    def _arguments(self, parameters: list[Any]) -> Iterator[Argument]:
        names: dict[str, Span] = {}
        for parameter in parameters:
            if isinstance(parameter, Token):  # (void)
                continue
            kind, name = parameter.children
            words, span = " ".join(kind.children), self._span(name)
            if (first := names.setdefault(str(name), span)) is not span:
                message = f"duplicate argument {quoted(str(name))}"
                self._problem("duplicate-name", span, message, related=((first, "first defined here"),))
            if "void" in words.split() and "*" not in words:
                self._problem(
                    "void-argument", span, f"expected a type with a value for {quoted(str(name))}, got void"
                )
            yield Argument(words.replace("* *", "**").replace("* *", "**"), str(name))

    def _span(self, token: Token) -> Span:
        start = cast(int, token.start_pos)
        return Span(self._source, start, start + len(token))

    def _problem(self, rule: str, span: Span, message: str, hint: str | None = None, **more: Any) -> None:
        self._problems.append(Problem(rule, span, message, hint, **more))


@cache
def _grammar() -> Lark:
    text = resources.files("libvirt_proto_codegen").joinpath("grammar/provider.lark").read_text("utf-8")
    return Lark(text, parser="lalr", lexer="contextual", start=["provider", "rest"], maybe_placeholders=False)


@cache
def _resume() -> re.Pattern[str]:
    """Return the pattern of probes at the start of a line, and of comments, which may contain such text."""
    comment = _grammar().get_terminal("COMMENT").pattern.to_regexp()
    return re.compile(rf"(?:{comment})|^[ \t]*(?P<probe>probe\b)", re.MULTILINE)


def _tree_from(source: Source, start: int) -> Tree[Token]:
    """Return the tree of the text from `start`, with offsets relative to it. Raises SyntaxProblem."""
    rule = "rest" if start else "provider"
    parser: Any = _grammar().parse_interactive(source.text[start:], start=rule)
    last: Token | None = None
    opened: list[Token] = []

    def span(token: Token) -> Span:
        offset = start + cast(int, token.start_pos)
        return Span(source, offset, offset + len(token))

    try:
        for count, token in enumerate(parser.lexer_thread.lex(parser.parser_state)):
            parser.feed_token(token)
            last = token
            if count == MAX_TOKENS:
                raise SyntaxProblem(syntax_errors.too_long(span(token), MAX_TOKENS), None)
            if token.type in ("LBRACE", "LPAR"):
                opened.append(token)
            elif token.type in ("RBRACE", "RPAR") and opened:
                opened.pop()
        return cast("Tree[Token]", parser.feed_eof())
    except UnexpectedCharacters as error:
        at = start + cast(int, error.pos_in_stream)
        if source.text.startswith("/*", at):
            raise SyntaxProblem(syntax_errors.unclosed_comment(Span(source, at, at + 2)), None) from None
        problem = syntax_errors.stray_character(Span(source, at, at + 1), "a provider file", _STRAY_HINTS)
        raise SyntaxProblem(problem, _next_probe(source, at + 1)) from None
    except UnexpectedToken as error:
        token = error.token
        found = span(token) if token.type != "$END" else None
        problem = syntax_errors.unexpected(
            found,
            token.type,
            expected=parser.accepts(),
            last=span(last) if last else Span(source, start, start),
            inside=span(opened[-1]) if opened else None,
            hints=_HINTS,
        )
        if found and last and token.type == "PROBE" and found.line > span(last).line:
            raise SyntaxProblem(problem, found.start) from None
        raise SyntaxProblem(problem, _next_probe(source, found.end) if found else None) from None


def _next_probe(source: Source, offset: int) -> int | None:
    """Return the offset of the next probe at the start of a line, ignoring comments."""
    for match in _resume().finditer(source.text, offset):
        if match.lastgroup == "probe":
            return match.start("probe")
    return None
