"""Messages of syntax errors, for readers who do not know RFC 4506."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence, Set

from .errors import Problem
from .source import MAX_SIZE, Span

#: Maximum length of a quoted token.
_QUOTED = 40

_TYPES = frozenset(
    {
        "INT",
        "HYPER",
        "CHAR",
        "SHORT",
        "LONG",
        "UNSIGNED",
        "FLOAT",
        "DOUBLE",
        "QUADRUPLE",
        "BOOL",
        "OPAQUE",
        "STRING",
    }
)
_IDENTIFIERS = frozenset({"NAME", "PROGRAM", "VERSION", "NAMESPACE", "PRAGMA"})
_DEFINITIONS = frozenset({"CONST", "TYPEDEF", "ENUM", "STRUCT", "UNION", "PROGRAM", "NAMESPACE", "PRAGMA"})
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

_NAMED_BODY = "define a named type separately, not inside another definition; or is a '}' missing above?"
_NAMELESS_BODY = "a nested body needs a name after it; or is a '}' missing above?"
_OPEN_BODY = "is a '}' missing above?"
_ONE_SHAPE = "a declaration has one '*', '[…]' or '<…>': name the inner type with a typedef"
#: Other languages that files of the same kind are written in: words that begin a definition.
_OTHER_LANGUAGES = {
    "Protocol Buffers": "syntax message package option service",
    "Thrift": "exception include senum",
    "CORBA IDL or MIDL": "module interface import valuetype abstract",
    "C or C++": "class extern static inline using template int char unsigned void bool",
}
_BRACE_HINTS = frozenset({_NAMED_BODY, _NAMELESS_BODY, _OPEN_BODY})

#: (the previous token, the token found, an expected terminal) → the hint; None matches any.
Hints = Sequence[tuple[str | None, str | None, str, str]]

_HINTS: Hints = (
    (",", "}", "NAME", "remove the ',' after the last member"),
    ("{", "}", "OPAQUE", "a body cannot be empty: write a struct without fields as '{ void; }'"),
    ("{", "}", "NAME", "an enum has at least one member"),
    ("{", "}", "CASE", "a union has at least one case"),
    ("}", ";", "NAME", _NAMELESS_BODY),
    (None, "{", "STAR", _NAMED_BODY),
    (None, "switch", "STAR", _NAMED_BODY),
    (None, "typedef", "RBRACE", _OPEN_BODY),
    (None, "const", "RBRACE", _OPEN_BODY),
    (None, "{", "SWITCH", "write 'union NAME switch (int NAME) { case 1: … };'"),
    ("struct", "{", "NAME", "a definition needs a name: 'struct NAME { … };'"),
    ("enum", "{", "NAME", "a definition needs a name: 'enum NAME { … };'"),
    ("[", "]", "NUMBER", "write an array without a fixed length with '<>'"),
    (";", ";", "CONST", "one ';' is enough"),
    (";", ";", "OPAQUE", "one ';' is enough"),
    (None, "}", "CONST", "no '{' matches this '}'"),
    ("long", "long", "NAME", "write 'hyper', which has 64 bits; long has 32 bits on the wire"),
    ("long", "double", "NAME", "write 'quadruple', which has 128 bits"),
    (None, "[", "SEMICOLON", _ONE_SHAPE),
    (None, "<", "SEMICOLON", _ONE_SHAPE),
    (None, ",", "SEMICOLON", "each declaration has one name and ends with ';'"),
    (None, "=", "SEMICOLON", "a field or type has no value; write constants as 'const NAME = VALUE;'"),
    *(
        (None, word, "CONST", f"this looks like {language}, not XDR")
        for language, words in _OTHER_LANGUAGES.items()
        for word in words.split()
    ),
)


_STRAY_HINTS = {
    "\0": "is this a binary file?",
    "%": "put the '%' of a passed-through line in the first column",
    "#": "put the '#' of a preprocessor line first on its line",
    "/": "write comments as '/* … */' or '// …'",
    '"': "close the string with '\"' on the same line",
    "'": 'close the character with "\'" on the same line',
    "+": "XDR has no expressions: write the number, or '#define NAME (A + B)'",
    "-": "write the minus sign next to its number: '-1'",
}


def too_large(name: str) -> Problem:
    """Return the problem of a file longer than any definition file."""
    message = f"{name}: larger than {MAX_SIZE // 2**20} MiB: is this a definition file?"
    return Problem("too-large", None, message)


def too_long(span: Span, limit: int, what: str = "tokens") -> Problem:
    """Return the problem of a file with too many tokens, at the first one that is not read."""
    return Problem("too-large", span, f"more than {limit:,} {what}: is this a definition file?")


def not_utf8(name: str, data: bytes, offset: int) -> Problem:
    """Return the problem of a byte that is invalid in UTF-8, in a file that is not text."""
    line = data.count(b"\n", 0, offset) + 1
    message = f"{name}:{line}: invalid UTF-8: byte 0x{data[offset]:02x} at offset {offset}"
    is_utf16 = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    hint = "save it as UTF-8; it looks like UTF-16" if is_utf16 else "is this a binary file?"
    return Problem("not-utf-8", None, message, hint)


def unclosed_comment(span: Span) -> Problem:
    """Return the problem of a `/*` without its `*/`, which makes the rest of the file a comment."""
    return Problem("syntax", span, "unclosed comment", "close it with '*/'")


def too_many(name: str, limit: int) -> Problem:
    """Return the problem that replaces all problems after the first `limit`."""
    return Problem("too-many", None, f"{name}: more than {limit} problems: the rest are not shown")


def stray_character(span: Span, language: str = "XDR", hints: Mapping[str, str] = _STRAY_HINTS) -> Problem:
    """Return the problem of a character that begins no token of a language; `hints` has advice for some."""
    character = span.source.text[span.start]
    name = unicodedata.name(character, "")
    shown = f"'{character}'" if character.isprintable() else f"U+{ord(character):04X}"
    if name and not character.isascii():
        shown += f" ({name})"
    return Problem(
        "syntax", span, f"unexpected {shown}: it has no meaning in {language}", hints.get(character)
    )


def nested_too_deeply(span: Span, limit: int) -> Problem:
    """Return the problem of a body nested too deeply."""
    message = f"more than {limit} nested bodies"
    return Problem(
        "nested-too-deeply", span, message, "define the inner types separately, and use their names"
    )


def unexpected(
    found: Span | None,
    terminal: str,
    expected: Set[str],
    last: Span | None,
    inside: Span | None,
    hints: Hints = _HINTS,
) -> Problem:
    """Return the problem of an unexpected token.

    `found` is its place, None for the end of the file; `terminal` is the grammar's name for it, `expected`
    has the names of acceptable ones. `last` is the token before it, `inside` the innermost open bracket.
    """
    hint = _hint(hints, _text(last) if last else "", _text(found) if found else "", expected)
    if found is None:
        wanted = "';'" if "SEMICOLON" in expected else _wanted(expected)
        message = f"expected {wanted}, got the end of the file"
        related = ((inside, f"unclosed {quoted_token(inside)}"),) if inside else ()
        return Problem("syntax", last and _just_after(last), message, None, related)
    if "NAME" in expected and "OPAQUE" not in expected and terminal in _KEYWORDS:
        return Problem("syntax", found, f"{quoted_token(found)} is a keyword, not a name", hint)
    on_later_line = last is not None and found.line > last.line
    if "SEMICOLON" in expected and (on_later_line or terminal not in _PUNCTUATION):
        expected = {"SEMICOLON"}
    wanted = _wanted(expected)
    if last and on_later_line and expected <= _PUNCTUATION.keys():
        return Problem("syntax", _just_after(last), f"expected {wanted} after {quoted_token(last)}", hint)
    related = ((inside, "inside this body"),) if inside and hint in _BRACE_HINTS else ()
    return Problem("syntax", found, f"expected {wanted}, got {quoted_token(found)}", hint, related)


def quoted(text: str) -> str:
    """Return text of a file in quotes, shortened and safe on a terminal."""
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[:_QUOTED])
    return f"'{shown}'" if len(text) <= _QUOTED else f"'{shown}…'"


def quoted_token(span: Span) -> str:
    """Return a token in quotes."""
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
    """Describe the expected terminals: `an identifier, '{' or ';'`."""
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
        expected -= _IDENTIFIERS | {"NUMBER", "CHARACTER", "TEXT"}
    if "NAME" in expected:
        yield "an identifier"
        expected -= _IDENTIFIERS | {"STAR"}
    yield from (f"'{sign}'" for terminal, sign in _PUNCTUATION.items() if terminal in expected)
    yield from sorted(f"'{terminal.lower()}'" for terminal in expected - _PUNCTUATION.keys() - {"ANNOTATION"})
