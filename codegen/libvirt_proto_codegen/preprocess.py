"""The C preprocessor, as rpcgen uses it: `#if` and `#ifdef`, `#define`, `#include`, line markers.

The input is a Source, the output its tokens. Each keeps its place in its file, which a separate program or a
pass from text to text would lose. Nothing is executed, files come only from the caller, and all work is
bounded: definitions are hostile.

`RPC_HDR` is 1, as in `rpcgen -h`: the header has all definitions. Differences from C: `#` does not make
strings of arguments, macros are not variadic, and a macro whose value is an integer stays a name, which
becomes a constant of the file. `%#define` lines are C's; their integers are found by name, too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, cast

from . import syntax_errors
from .errors import DefinitionError, Problem
from .expressions import MAX_TOKENS as MAX_EXPRESSION
from .expressions import ExpressionError, evaluate
from .scan import DIRECTIVE_LEXEMES, LEXEMES, SKIPPED, Lexeme
from .source import MAX_SIZE, Source, Span
from .syntax_errors import quoted

#: Maximum number of tokens in a file, and of comments and `%` lines. libvirt's largest file has 11,000
#: tokens; parsing this many takes half a second.
MAX_TOKENS: Final = 100_000
#: A file with more syntax errors is probably not a definition file; the rest is not reported.
MAX_PROBLEMS: Final = 20
#: Maximum nesting of `#include`, and maximum number of them in a set of files that include each other.
MAX_INCLUDE_DEPTH: Final = 16
MAX_INCLUDES: Final = 1000
#: Maximum size of a file together with those that it includes, each counted as often as it is included.
MAX_INCLUDED_SIZE: Final = 4 * MAX_SIZE
#: Maximum nesting of macros that use macros, and of calls in arguments of calls.
MAX_MACRO_DEPTH: Final = 100
MAX_CALL_DEPTH: Final = 16
#: Maximum number of tokens that all macros of a file expand to.
MAX_EXPANDED: Final = 500_000
#: Maximum number of tokens in a preprocessor line.
MAX_DIRECTIVE: Final = 10_000

#: rpcgen -h defines it.
PREDEFINED: Final = "RPC_HDR"
_NUMBERS: Final = range(-(2**63), 2**64)

_FILE = re.compile(r'[ \t]*#[ \t]*include[ \t]*(?:"([^"\n]+)"|<([^>\n]+)>)')
_C_DEFINE = re.compile(r"%[ \t]*#[ \t]*define[ \t]+([A-Za-z_][A-Za-z0-9_]*)[ \t]+")
_WORD = re.compile(r"(?P<NAME>[A-Za-z_][A-Za-z0-9_]*)|(?P<NUMBER>[0-9][A-Za-z0-9_]*)")
_TOKENS: Final = frozenset({"NAME", "SIGN", "NUMBER", "TEXT", "CHARACTER"})
_CONDITIONS: Final = ("if", "ifdef", "ifndef")
_BRANCHES: Final = ("elif", "elifdef", "elifndef", "else")
_IGNORED: Final = ("line", "pragma", "ident", "sccs", "warning")
_DIRECTIVES_HINT: Final = "expected define, undef, include, if, ifdef, ifndef, elif, else, endif, or error"


class IncludeError(Exception):
    """A file that cannot be included: the reason, and what to do."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


#: Returns the file that a name in `#include` means in a source, None if there is none; raises IncludeError.
Include = Callable[[str, Source], "Source | None"]


def no_files(name: str, source: Source) -> Source | None:
    """Refuse an `#include` where only one file is known."""
    raise IncludeError("#include needs a folder", f"name the folder that has {name}")


@dataclass(frozen=True, slots=True)
class MacroNumber:
    """The number of a macro, and the place where it is defined."""

    value: int
    text: str
    span: Span


@dataclass(frozen=True, slots=True)
class Preprocessed:
    """The tokens of a file with its included files; its comments and `%` lines; the numbers of macros."""

    tokens: Sequence[Lexeme]
    comments: tuple[Span, ...]
    passthrough: tuple[Span, ...]
    macros: MacroNumbers


class MacroNumbers:
    """Numbers that macros define: those of `#define` that tokens use, and those of `%#define`."""

    def __init__(self) -> None:
        self.used: dict[str, MacroNumber] = {}
        self._bodies: dict[str, list[Lexeme]] = {}
        self._found: dict[str, int | None] = {}

    def add(self, line: Span) -> None:
        """Add the macro of a `%#define` line; the first of a name counts."""
        if match := _C_DEFINE.match(line.source.text, line.start, line.end):
            body = list(islice(_lexemes(line.source, match.end(), line.end), MAX_EXPRESSION + 1))
            if body and match[1] not in self._bodies:
                self._bodies[match[1]] = body

    def find(self, name: str, constants: Mapping[str, int]) -> MacroNumber | None:
        """Return the definition of a name; `constants` are the file's own, which `%#define` may use."""
        if name in self.used:
            return self.used[name]
        body = self._bodies.get(name)
        if body is None or (value := self._value(name, constants, 0)) is None:
            return None
        span = Span(body[0].source, body[0].start, body[-1].end)
        return MacroNumber(value, _spelling(body, value), span)

    def _value(self, name: str, constants: Mapping[str, int], depth: int) -> int | None:
        if name in constants:
            return constants[name]
        if name not in self._found:
            self._found[name] = None  # ends cycles
            if (body := self._bodies.get(name)) and depth < MAX_CALL_DEPTH:
                self._found[name] = _number_of(body, lambda other: self._value(other, constants, depth + 1))
        return self._found[name]


def preprocess(
    source: Source, include: Include = no_files, defines: Mapping[str, int] | None = None
) -> Preprocessed:
    """Return the tokens of a file; `defines` are numbers that `#if` and `#ifdef` see.

    Raises DefinitionError with the problems found, at most MAX_PROBLEMS of them.
    """
    preprocessor = _Preprocessor(include, defines or {})
    preprocessor.run(source)
    if preprocessor.problems:
        raise DefinitionError(preprocessor.problems)
    return Preprocessed(
        preprocessor.tokens,
        tuple(preprocessor.comments),
        tuple(preprocessor.passthrough),
        preprocessor.macros,
    )


@dataclass(frozen=True, slots=True)
class _Macro:
    name: str
    parameters: tuple[str, ...] | None
    body: tuple[Lexeme, ...]
    span: Span


@dataclass(slots=True)
class _Condition:
    """An open `#if`. `taking` is True in the group whose tokens count; `done` after or in that group."""

    span: Span
    outer: bool
    taking: bool
    done: bool
    last: bool = field(default=False)


class _Stopped(Exception):
    """The rest of the input is not read."""


class _Preprocessor:
    def __init__(self, include: Include, defines: Mapping[str, int]) -> None:
        self.tokens: list[Lexeme] = []
        self.comments: list[Span] = []
        self.passthrough: list[Span] = []
        self.problems: list[Problem] = []
        self.macros = MacroNumbers()
        self._include = include
        self._defines = defines
        self._macros: dict[str, _Macro] = {}
        self._values: dict[str, int | None] = {}
        self._conditions: list[_Condition] = []
        self._run: list[Lexeme] = []
        self._once: set[Source] = set()
        self._expanded = 0
        self._size = 0
        self._includes = 0

    def run(self, source: Source) -> None:
        one = Source("<predefined>", "1")
        span = Span(one, 0, 1)
        self._macros[PREDEFINED] = _Macro(PREDEFINED, None, (Lexeme("NUMBER", "1", one, 0, 1),), span)
        with suppress(_Stopped):
            self._file(source, 0)

    # Text to lexemes and preprocessor lines.

    def _file(self, source: Source, depth: int) -> None:
        self._size += len(source.text)
        opened = len(self._conditions)
        at: int | None = 0
        while at is not None:
            read = self._read if self._taking else self._skip
            at = read(source, at, depth)
        self._flush()
        for condition in self._conditions[opened:]:
            self._problem(condition.span, "unclosed #if", "close it with '#endif'")
        del self._conditions[opened:]

    @property
    def _taking(self) -> bool:
        return not self._conditions or self._conditions[-1].taking

    def _read(self, source: Source, start: int, depth: int) -> int | None:
        """Read tokens; return the offset after a preprocessor line that ends the group, None at the end."""
        text = source.text
        quiet_until = 0  # one problem per line: stray characters come in groups
        for match in LEXEMES.finditer(text, start):
            kind = cast(str, match.lastgroup)
            begin, end = match.span()
            if kind in _TOKENS:
                if len(self._run) <= MAX_TOKENS:
                    self._run.append(Lexeme(kind, match[0], source, begin, end))
            elif kind in ("COMMENT", "PASSTHROUGH"):
                self._aside(kind, Span(source, begin, end))
            elif kind == "DIRECTIVE":
                self._flush()
                self._directive(source, begin, end, depth)
                if not self._taking:
                    return end
            elif kind == "unclosed":
                self._stop(syntax_errors.unclosed_comment(Span(source, begin, end)))
            elif kind == "stray" and begin >= quiet_until:
                self._report(syntax_errors.stray_character(Span(source, begin, begin + 1)))
                line_end = text.find("\n", begin)
                quiet_until = line_end if line_end >= 0 else len(text)
        return None

    def _skip(self, source: Source, start: int, depth: int) -> int | None:
        """Skip text up to the preprocessor line that begins the next group with tokens that count."""
        for match in SKIPPED.finditer(source.text, start):
            begin, end = match.span()
            if match.lastgroup == "unclosed":
                self._stop(syntax_errors.unclosed_comment(Span(source, begin, end)))
            elif match.lastgroup == "DIRECTIVE":
                self._directive(source, begin, end, depth)
                if self._taking:
                    return end
        return None

    def _aside(self, kind: str, span: Span) -> None:
        if len(self.comments) + len(self.passthrough) > MAX_TOKENS:
            self.problems.clear()
            self._stop(syntax_errors.too_long(span, MAX_TOKENS, "comments and % lines"))
        if kind == "COMMENT":
            self.comments.append(span)
        else:
            self.passthrough.append(span)
            self.macros.add(span)

    # Preprocessor lines.

    def _directive(self, source: Source, start: int, end: int, depth: int) -> None:
        lexemes = list(islice(_lexemes(source, start, end), MAX_DIRECTIVE + 1))
        if len(lexemes) > MAX_DIRECTIVE:
            self._stop(syntax_errors.too_long(lexemes[0].span, MAX_DIRECTIVE, "tokens in a line"))
        if len(lexemes) < 2:
            return
        name, rest = lexemes[1], lexemes[2:]
        word = name.text
        if word in _CONDITIONS:
            outer = self._taking
            taking = outer and self._holds(word, name, rest)
            self._conditions.append(_Condition(name.span, outer, taking, taking))
        elif word in _BRANCHES or word == "endif":
            self._branch(word, name, rest)
        elif not self._taking or name.kind == "NUMBER" or word in _IGNORED:
            if self._taking and word == "pragma" and [each.text for each in rest] == ["once"]:
                self._once.add(source)
        elif word == "define":
            self._define(name, rest)
        elif word == "undef":
            if macro := self._named(name, rest):
                self._macros.pop(macro.text, None)
                self._values.clear()
        elif word == "include":
            self._include_file(source, start, end, depth)
        elif word == "error":
            text = " ".join(source.text[name.end : end].split())
            self._problem(name.span, f"#error {quoted(text)}", "the definitions do not support this case")
        else:
            hint = f"{_DIRECTIVES_HINT}; write comments as '/* … */'"
            self._problem(name.span, f"unknown preprocessor line {quoted('#' + word)}", hint)

    def _branch(self, word: str, name: Lexeme, rest: list[Lexeme]) -> None:
        if not self._conditions:
            self._problem(name.span, f"#{word} without #if", "is an '#if' missing above?")
            return
        condition = self._conditions[-1]
        if word == "endif":
            self._conditions.pop()
            return
        if condition.last:
            related = ((condition.span, "the #if"),)
            self._problem(name.span, f"#{word} after #else", "a second #else is not possible", related)
            return
        condition.last = word == "else"
        may = condition.outer and not condition.done
        condition.taking = may and (word == "else" or self._holds(word.removeprefix("el"), name, rest))
        condition.done = condition.done or condition.taking

    def _holds(self, word: str, name: Lexeme, rest: list[Lexeme]) -> bool:
        """Return the value of a condition; False with a problem if it has none."""
        if word != "if":
            macro = self._named(name, rest)
            return macro is not None and self._is_defined(macro.text) == (word == "ifdef")
        try:
            return bool(self._value(rest))
        except ExpressionError as error:
            end = (rest or [name])[-1].end
            place = error.at.span if error.at else Span(name.source, end, end)
            self._problem(place, f"{error.message} in #{name.text}")
            return False

    def _named(self, name: Lexeme, rest: list[Lexeme]) -> Lexeme | None:
        if rest and rest[0].kind == "NAME":
            return rest[0]
        got = quoted(rest[0].text) if rest else "the end of the line"
        self._problem(rest[0].span if rest else name.span, f"expected a name after #{name.text}, got {got}")
        return None

    def _is_defined(self, name: str) -> bool:
        return name in self._macros or name in self._defines

    def _value(self, tokens: list[Lexeme]) -> int:
        """Return the value of the expression of an `#if`; raises ExpressionError."""
        plain: list[Lexeme] = []
        at = 0
        while at < len(tokens):
            token = tokens[at]
            if token.text == "defined":
                is_bracketed = [each.text for each in tokens[at + 1 : at + 4 : 2]] == ["(", ")"]
                at += 1 + is_bracketed
                if at >= len(tokens) or tokens[at].kind != "NAME":
                    raise ExpressionError("expected a name after 'defined'", token)
                token = token._replace(kind="NUMBER", text=str(int(self._is_defined(tokens[at].text))))
                at += is_bracketed
            plain.append(token)
            at += 1
        return evaluate(self._expand(plain), lambda name: self._defines.get(name, 0))

    def _define(self, name: Lexeme, rest: list[Lexeme]) -> None:
        if (macro := self._named(name, rest)) is None:
            return
        parameters: tuple[str, ...] | None = None
        body = rest[1:]
        if body and body[0].text == "(" and body[0].start == macro.end:
            end = next((at for at, each in enumerate(body) if each.text == ")"), 0)
            inside = body[1:end]
            names, commas = inside[::2], inside[1::2]
            is_list = all(each.kind == "NAME" for each in names) and all(each.text == "," for each in commas)
            if not end or not is_list or (inside and len(names) == len(commas)):
                hint = "write '#define NAME(A, B) …', or a space before the parenthesis"
                self._problem(body[0].span, "expected names of parameters", hint)
                return
            parameters = tuple(each.text for each in names)
            body = body[end + 1 :]
        stringized = [] if parameters is None else [each for each in body if each.text == "#"]
        if stringized:
            self._problem(stringized[0].span, "'#' in a macro is not supported", "write the string itself")
            return
        self._macros[macro.text] = _Macro(macro.text, parameters, tuple(body), macro.span)
        self._values.clear()

    def _include_file(self, source: Source, start: int, end: int, depth: int) -> None:
        span = Span(source, start, end)
        match = _FILE.match(source.text, start, end)
        if match is None:
            self._problem(span, "expected a file after #include", "write '#include \"file.x\"'")
            return
        name = match[1] or match[2]
        self._includes += 1
        if depth == MAX_INCLUDE_DEPTH or self._includes > MAX_INCLUDES:
            message = "too many files include each other"
            self._stop(Problem("too-large", span, message, f"does {quoted(name)} include itself?"))
        try:
            included = self._include(name, source)
        except IncludeError as error:
            self._problem(span, error.message, error.hint)
            return
        if included is None and name.endswith(".h"):  # C's, or the header of a .x file
            self._aside("PASSTHROUGH", span)
        elif included is None:
            self._problem(span, f"no file {quoted(name)} to include", "its folder has no such file")
        elif included not in self._once:
            if self._size + len(included.text) > MAX_INCLUDED_SIZE:
                message = f"more than {MAX_INCLUDED_SIZE // 2**20} MiB of included text"
                self._stop(Problem("too-large", span, message, f"does {quoted(name)} include itself?"))
            self._file(included, depth + 1)

    # Macros.

    def _flush(self) -> None:
        """Expand the tokens since the last preprocessor line."""
        run, self._run = self._run, []
        if len(self.tokens) <= MAX_TOKENS:
            self.tokens += _with_signs(self._expand(run, keep_numbers=True))

    def _expand(
        self, tokens: Sequence[Lexeme], *, keep_numbers: bool = False, depth: int = 0
    ) -> list[Lexeme]:
        """Return tokens with their macros expanded; with `keep_numbers`, those with a number stay names."""
        macros = self._macros
        if not any(token.text in macros for token in tokens):
            return list(tokens)
        todo = list(reversed(tokens))
        done: list[Lexeme] = []
        while todo:
            token = todo.pop()
            macro = macros.get(token.text) if token.kind == "NAME" else None
            if macro is None or macro.name in token.expanded:
                done.append(token)
                continue
            if keep_numbers and macro.parameters is None and (number := self._number(token, macro)):
                done.append(number)
                continue
            arguments = self._arguments(todo, token, macro, depth)
            if arguments is None:
                done.append(token)
                continue
            if len(token.expanded) == MAX_MACRO_DEPTH:
                message = f"more than {MAX_MACRO_DEPTH} macros that use each other"
                self._stop(Problem("too-large", token.span, message, f"see the definition of {macro.name}"))
            body = self._body(token, macro, arguments, depth)
            self._expanded += len(body) + 1
            if self._expanded > MAX_EXPANDED:
                message = f"macros expand to more than {MAX_EXPANDED:,} tokens"
                self._stop(Problem("too-large", token.span, message, f"see the definition of {macro.name}"))
            todo += reversed(body)
        return done

    def _number(self, token: Lexeme, macro: _Macro) -> Lexeme | None:
        """Return the token of a macro whose value is an integer: its name, or the number if the name has
        another one already."""
        name = macro.name
        if name not in self._values:
            self._values[name] = None  # of a macro that uses itself
            if 0 < len(macro.body) <= MAX_EXPRESSION:
                self._expanded += len(macro.body)
                own = frozenset((name,))
                body = [each._replace(expanded=own) for each in macro.body]
                self._values[name] = _number_of(self._expand(body), lambda _: None)
        value = self._values[name]
        if value is None:
            return None
        first = self.macros.used.setdefault(
            name, MacroNumber(value, _spelling(macro.body, value), macro.span)
        )
        if first.value != value:
            return token._replace(kind="NUMBER", text=str(value))
        return token

    def _arguments(
        self, todo: list[Lexeme], token: Lexeme, macro: _Macro, depth: int
    ) -> list[list[Lexeme]] | None:
        """Take the arguments of a call from the tokens to come; None if a name with parameters has none."""
        if macro.parameters is None:
            return []
        if not todo or todo[-1].text != "(":
            return None
        if depth == MAX_CALL_DEPTH:
            message = f"more than {MAX_CALL_DEPTH} nested uses of macros with arguments"
            self._stop(Problem("too-large", token.span, message, f"see the definition of {macro.name}"))
        todo.pop()
        arguments: list[list[Lexeme]] = [[]]
        open_brackets = 0
        while todo:
            each = todo.pop()
            if each.text == ")" and not open_brackets:
                if arguments == [[]] and not macro.parameters:
                    arguments = []
                if len(arguments) != len(macro.parameters):
                    wanted = len(macro.parameters)
                    self._problem(
                        token.span, f"{macro.name}: expected {wanted} arguments, got {len(arguments)}"
                    )
                    arguments = [[]] * wanted
                return arguments
            open_brackets += {"(": 1, ")": -1}.get(each.text, 0)
            if each.text == "," and not open_brackets:
                arguments.append([])
            else:
                arguments[-1].append(each)
        self._problem(token.span, f"{macro.name}: unclosed arguments", "close them with ')'")
        return [[]] * len(macro.parameters)

    def _body(self, token: Lexeme, macro: _Macro, arguments: list[list[Lexeme]], depth: int) -> list[Lexeme]:
        """Return a macro's tokens with its arguments in place of its parameters, and `##` applied."""
        hidden = token.expanded | {macro.name}
        given = dict(zip(macro.parameters or (), arguments, strict=True))
        expanded: dict[str, list[Lexeme]] = {}

        def part(at: int) -> list[Lexeme]:
            lexeme = macro.body[at]
            name = lexeme.text
            if name not in given:
                kept = lexeme.expanded | hidden
                return [Lexeme(lexeme.kind, name, token.source, token.start, token.end, kept)]
            pasted = "##" in (
                macro.body[at - 1].text if at else "",
                "".join(_texts(macro.body[at + 1 : at + 2])),
            )
            if not pasted and name not in expanded:
                expanded[name] = self._expand(given[name], depth=depth + 1)
            found = given[name] if pasted else expanded[name]
            return [each._replace(expanded=each.expanded | hidden) for each in found]

        body: list[Lexeme] = []
        at = 0
        while at < len(macro.body):
            if macro.body[at].text == "##" and 0 < at < len(macro.body) - 1:
                at += 1
                right = part(at)
                if body and right:
                    right[0] = self._pasted(body.pop(), right[0])
                body += right
            else:
                body += part(at)
            at += 1
            if len(body) > MAX_EXPANDED:
                break
        return body

    def _pasted(self, left: Lexeme, right: Lexeme) -> Lexeme:
        text = left.text + right.text
        match = _WORD.fullmatch(text)
        if match is None:
            self._problem(left.span, f"## makes {quoted(text)}, which is neither a name nor a number")
        return left._replace(text=text, kind=cast(str, match.lastgroup) if match else left.kind)

    # Problems.

    def _problem(
        self, span: Span, message: str, hint: str | None = None, related: tuple[tuple[Span, str], ...] = ()
    ) -> None:
        self._report(Problem("preprocessor", span, message, hint, related))

    def _report(self, problem: Problem) -> None:
        if len(self.problems) == MAX_PROBLEMS:
            name = problem.span.source.name if problem.span else ""
            self._stop(syntax_errors.too_many(name, MAX_PROBLEMS))
        self.problems.append(problem)

    def _stop(self, problem: Problem) -> None:
        self.problems.append(problem)
        raise _Stopped


def _lexemes(source: Source, start: int, end: int) -> Iterator[Lexeme]:
    """Yield C's tokens of a line."""
    for match in DIRECTIVE_LEXEMES.finditer(source.text, start, end):
        kind = cast(str, match.lastgroup)
        if kind not in ("COMMENT", "SPLICE"):
            yield Lexeme(kind, match[0], source, *match.span())


def _texts(lexemes: Sequence[Lexeme]) -> Iterator[str]:
    return (lexeme.text for lexeme in lexemes)


def _number_of(tokens: Sequence[Lexeme], value_of: Callable[[str], int | None]) -> int | None:
    """Return the value of an expression that any XDR type can carry, None for other text."""
    try:
        value = evaluate(tokens, value_of)
    except ExpressionError:
        return None
    return value if value in _NUMBERS else None


def _spelling(body: Sequence[Lexeme], value: int) -> str:
    """Return the number of a macro as written, if that is a number of XDR, too."""
    text = "".join(_texts(body))
    return text if len(body) == 1 and re.fullmatch(r"0[xX][0-9A-Fa-f]+|0[0-7]+", text) else str(value)


def _with_signs(tokens: Sequence[Lexeme]) -> list[Lexeme]:
    """Join each minus with the number after it: one token in XDR, two in C."""
    joined: list[Lexeme] = []
    for token in tokens:
        if token.kind == "NUMBER" and joined and joined[-1].text == "-" and token.expanded:
            token = token._replace(text="-" + token.text)
            joined.pop()
        joined.append(token)
    return joined
