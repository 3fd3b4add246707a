"""Definition text to lexemes: tokens, comments, `%` lines and preprocessor lines, each with its place."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from .source import Source, Span

#: From `/*` to `*/`, or from `//` to the end of the line.
COMMENT: Final = r"/\*(?s:.*?)\*/|//[^\n]*"
#: A line continued on the next one: white space for the C preprocessor.
_SPLICE: Final = r"\\[ \t]*\r?\n"
_STRING: Final = r'"(?:\\.|[^"\\\n])*"'
_CHARACTER: Final = r"'(?:\\.|[^'\\\n])+'"
#: The same in text where a quote may be unclosed. The end is optional, so that no text is searched twice.
_QUOTED: Final = r'"(?:\\.|[^"\\\n])*"?'
_NAME: Final = r"[A-Za-z_][A-Za-z0-9_]*"
#: Every word that begins like a number; build.py rejects 08 and 0xg.
_NUMBER: Final = r"-?[0-9][A-Za-z0-9_]*"
#: A preprocessor line with its continuations. A comment in it may extend over several lines.
_DIRECTIVE: Final = rf"(?m:^)[ \t]*\#(?>(?:{_SPLICE}|/\*(?s:.*?)(?:\*/|\Z)|//[^\n]*|{_QUOTED}|[^\n])*)"

#: Groups: kinds of lexemes, and `unclosed` (a comment) and `stray` (a character that begins no lexeme).
LEXEMES: Final = re.compile(
    r"(?P<SIGN>[{}()\[\]<>;:,=*])"
    rf"|(?P<NAME>{_NAME})"
    rf"|(?P<COMMENT>{COMMENT})"
    rf"|(?P<PASSTHROUGH>(?m:^)%(?>(?:{_SPLICE}|[^\n])*))"
    rf"|(?P<NUMBER>{_NUMBER})"
    rf"|(?P<DIRECTIVE>{_DIRECTIVE})"
    rf"|(?P<TEXT>{_STRING})"
    rf"|(?P<CHARACTER>{_CHARACTER})"
    rf"|(?P<SPLICE>{_SPLICE})"
    r"|(?P<unclosed>/\*)"
    r"|(?P<stray>[^ \t\r\n\v\f][^/\n]*)"
)
#: Groups of text that the preprocessor skips: only its own lines matter there, outside comments.
SKIPPED: Final = re.compile(
    rf"(?P<COMMENT>{COMMENT})|(?P<DIRECTIVE>{_DIRECTIVE})|(?P<TEXT>{_QUOTED})|(?P<unclosed>/\*)"
)
#: Groups of a preprocessor line: C's tokens.
DIRECTIVE_LEXEMES: Final = re.compile(
    rf"(?P<COMMENT>{COMMENT}|/\*(?s:.*))|(?P<SPLICE>{_SPLICE})|(?P<NAME>{_NAME})"
    rf"|(?P<NUMBER>\.?[0-9][A-Za-z0-9_.]*)|(?P<TEXT>{_QUOTED})|(?P<CHARACTER>'(?:\\.|[^'\\\n])*'?)"
    r"|(?P<SIGN><<|>>|<=|>=|==|!=|&&|\|\||\#\#|\.\.\.|[^\s])"
)


class Lexeme(NamedTuple):
    """A token: its kind (a group of LEXEMES), its text, and its place.

    A token of a macro has the text of the macro and the place where the macro is used. `expanded` are the
    macros that it comes from, which do not expand in it again (C11 §6.10.3.4).
    """

    kind: str
    text: str
    source: Source
    start: int
    end: int
    expanded: frozenset[str] = frozenset()

    @property
    def span(self) -> Span:
        """The place of the token."""
        return Span(self.source, self.start, self.end)
