"""Syntax errors in words, for someone who has not read RFC 4506."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence, Set

from .errors import Problem
from .source import MAX_SIZE, Span

#: A token is quoted up to this length.
_QUOTED = 40

_TYPES = frozenset(
    {"INT", "HYPER", "CHAR", "SHORT", "UNSIGNED", "FLOAT", "DOUBLE", "QUADRUPLE", "BOOL", "OPAQUE", "STRING"}
)
_IDENTIFIERS = frozenset({"NAME", "PROGRAM", "VERSION"})
_DEFINITIONS = frozenset({"CONST", "TYPEDEF", "ENUM", "STRUCT", "UNION", "PROGRAM"})
_KEYWORDS = (_TYPES | _DEFINITIONS | {"CASE", "DEFAULT", "SWITCH", "VOID"}) - _IDENTIFIERS

_PUNCTUATION = {
    "SEMICOLON": ";",
    "COMMA": ",",
    "EQUAL": "=",
    "COLON": ":",
    "STAR": "*",
    "LBRACE": "{",
    "RBRACE": "}",
    "LPAR": "(",
    "RPAR": ")",
    "LSQB": "[",
    "RSQB": "]",
    "LESSTHAN": "<",
    "MORETHAN": ">",
}

_NAMED_BODY = "a type with a name is defined by itself, not inside something else; or is a '}' missing above?"
_NAMELESS_BODY = "a body in the place of a type needs a name behind it; or is a '}' missing above?"
_OPEN_BODY = "is a '}' missing above?"
_BRACE_HINTS = frozenset({_NAMED_BODY, _NAMELESS_BODY, _OPEN_BODY})

#: (the token before, the token found, a terminal that was expected): what to do about it; None is any.
Hints = Sequence[tuple[str | None, str | None, str, str]]

_HINTS: Hints = (
    (",", "}", "NAME", "the last member has no ',' behind it"),
    ("{", "}", "OPAQUE", "a body is never empty: a struct without fields is written '{ void; }'"),
    ("{", "}", "NAME", "an enum has at least one member"),
    ("{", "}", "CASE", "a union has at least one case"),
    ("}", ";", "NAME", _NAMELESS_BODY),
    (None, "{", "STAR", _NAMED_BODY),
    (None, "switch", "STAR", _NAMED_BODY),
    (None, "typedef", "RBRACE", _OPEN_BODY),
    (None, "const", "RBRACE", _OPEN_BODY),
    (None, "{", "SWITCH", "a union is written 'union NAME switch (int NAME) { case 1: … };'"),
    ("struct", "{", "NAME", "a definition has a name: 'struct NAME { … };'"),
    ("enum", "{", "NAME", "a definition has a name: 'enum NAME { … };'"),
    ("[", "]", "NUMBER", "an array without a fixed length is written with '<>'"),
    (";", ";", "CONST", "one ';' is enough"),
    (";", ";", "OPAQUE", "one ';' is enough"),
    (None, "}", "CONST", "there is no '{' that this '}' could close"),
    ("long", None, "SEMICOLON", "XDR has no long: an int has 32 bits, a hyper 64"),
    (None, ",", "SEMICOLON", "each declaration has one name and ends with ';'"),
    (None, "=", "SEMICOLON", "a field or type has no value; constants are written 'const NAME = VALUE;'"),
)


_STRAY_HINTS = {
    "\0": "is this a binary file?",
    "%": "a line that is passed through has its '%' in the first column",
    "#": "preprocessor lines have no meaning here; a header is named by '%#include \"header.h\"'",
    "/": "a comment is written '/* … */' or '// …'",
    '"': "XDR has no strings in quotes",
    "-": "a minus sign belongs to the number behind it: '-1'",
}


def too_large(name: str) -> Problem:
    """A file longer than any definition file is."""
    message = f"{name}: larger than {MAX_SIZE // 2**20} MiB: is this a definition file?"
    return Problem("too-large", None, message)


def too_long(span: Span, limit: int, what: str = "tokens") -> Problem:
    """The token after the last one that is read."""
    return Problem("too-large", span, f"more than {limit:,} {what}: is this a definition file?")


def not_utf8(name: str, data: bytes, offset: int) -> Problem:
    """A file with a byte that UTF-8 does not have there."""
    line = data.count(b"\n", 0, offset) + 1
    message = f"{name}:{line}: not UTF-8: byte 0x{data[offset]:02x} at offset {offset}"
    return Problem("not-utf-8", None, message, "is this a binary file?" if b"\0" in data else None)


def unclosed_comment(span: Span) -> Problem:
    """A `/*` without its `*/`: everything behind it belongs to it."""
    return Problem("syntax", span, "this comment is never closed", "close it with '*/'")


def too_many(name: str, limit: int) -> Problem:
    """Stands for all problems behind the first `limit` ones."""
    return Problem("too-many", None, f"{name}: more than {limit} problems: the rest is not shown")


def stray_character(span: Span, language: str = "XDR", hints: Mapping[str, str] = _STRAY_HINTS) -> Problem:
    """A character that begins no token of a language; `hints` says what may be done about some."""
    character = span.source.text[span.start]
    name = unicodedata.name(character, "")
    shown = f"'{character}'" if character.isprintable() else f"U+{ord(character):04X}"
    if name and not character.isascii():
        shown += f" ({name})"
    return Problem("syntax", span, f"{shown} has no meaning in {language}", hints.get(character))


def nested_too_deeply(span: Span, limit: int) -> Problem:
    """A body within more bodies than can be meant."""
    message = f"more than {limit} bodies inside one another"
    return Problem(
        "nested-too-deeply", span, message, "define the inner types by themselves, and use their names"
    )


def unexpected(
    found: Span | None,
    terminal: str,
    expected: Set[str],
    last: Span | None,
    inside: Span | None,
    hints: Hints = _HINTS,
) -> Problem:
    """A token that cannot stand where it does.

    `found` is its place, None for the end of the file; `terminal` is the grammar's name for it, `expected`
    holds the names that would do. `last` is the token before it, `inside` the last bracket still open.
    """
    hint = _hint(hints, _text(last) if last else "", _text(found) if found else "", expected)
    if found is None:
        wanted = "';'" if "SEMICOLON" in expected else _wanted(expected)
        message = f"expected {wanted}, but the file ends here"
        related = ((inside, f"this {quoted_token(inside)} is still open"),) if inside else ()
        return Problem("syntax", last and _just_after(last), message, None, related)
    if "NAME" in expected and "OPAQUE" not in expected and terminal in _KEYWORDS:
        return Problem("syntax", found, f"{quoted_token(found)} is a keyword and cannot be a name", hint)
    on_later_line = last is not None and found.line > last.line
    if "SEMICOLON" in expected and (on_later_line or terminal not in _PUNCTUATION):
        expected = {"SEMICOLON"}
    wanted = _wanted(expected)
    if last and on_later_line and expected <= _PUNCTUATION.keys():
        return Problem("syntax", _just_after(last), f"expected {wanted} behind {quoted_token(last)}", hint)
    related = ((inside, "inside this body"),) if inside and hint in _BRACE_HINTS else ()
    return Problem("syntax", found, f"expected {wanted}, found {quoted_token(found)}", hint, related)


def quoted(text: str) -> str:
    """What a file says, in quotes: the first part of it when it is long, and fit for a terminal."""
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[:_QUOTED])
    return f"'{shown}'" if len(text) <= _QUOTED else f"'{shown}…'"


def quoted_token(span: Span) -> str:
    """A token in quotes."""
    return quoted(_text(span))


def _text(span: Span) -> str:
    return span.source.text[span.start : span.end]


def _just_after(span: Span) -> Span:
    return Span(span.source, span.end, span.end)


def _hint(hints: Hints, before: str, text: str, expected: Set[str]) -> str | None:
    for last, found, terminal, hint in hints:
        if last in (None, before) and found in (None, text) and terminal in expected:
            return hint
    return None


def _wanted(expected: Set[str]) -> str:
    """The expected terminals in words: `an identifier, '{' or ';'`."""
    *words, last = list(_words(set(expected) - {"$END"})) or ["the end of the file"]
    return f"{', '.join(words)} or {last}" if words else last


def _words(expected: set[str]) -> Iterator[str]:
    if "TYPEDEF" in expected:
        yield "a definition (const, typedef, enum, struct, union or program)"
        expected -= _DEFINITIONS
    if "OPAQUE" in expected:
        yield "a type"
        expected -= _TYPES | _IDENTIFIERS | {"ENUM", "STRUCT", "UNION", "VOID"}
    if "C_TYPE" in expected:
        yield "a type"
        expected -= {"C_TYPE", "CONST", "TAG", "VOID", "NAME"}
    if "NUMBER" in expected:
        yield "a number" if "NAME" not in expected else "a number or the name of a constant"
        expected -= _IDENTIFIERS | {"NUMBER"}
    if "NAME" in expected:
        yield "an identifier"
        expected -= _IDENTIFIERS | {"STAR"}
    yield from (f"'{sign}'" for terminal, sign in _PUNCTUATION.items() if terminal in expected)
    yield from sorted(f"'{terminal.lower()}'" for terminal in expected - _PUNCTUATION.keys() - {"ANNOTATION"})
