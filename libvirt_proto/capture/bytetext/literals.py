r"""Literals of programming languages and debuggers: lists of numbers, and strings.

var m = []byte{0x00, 0x00, 0x00, 0x38}      byte[] m = {0, 0, 0, 56, 32, 0, -128, -122};
b'\x00\x00\x008 \x00\x80\x86'               $1 = "\000\000\0008", '\000' <repeats 11 times>
<<0, 0, 0, 56, 32, 0, 128, 134>>            $2 = {0x0, 0x0, 0x0, 0x38, 0x0 <repeats 4 times>}
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, Literal

from ...rpc.wire import MAX_FRAME
from .errors import ByteTextError, RoomError, quoted
from .units import Base, Notation, Repeat, Unit, Units, notations

# Python before 3.11.5 matches possessive groups wrongly (gh-106052); atomic ones do the same.
_TOKEN: Final = re.compile(
    r"""
    (?P<space>[\s,;|+]+|\\\s*$)
    | (?P<comment>//|\#(?![<\[{])|/\*)
    | (?P<index>\[\d{1,9}\]\s*=)
    | (?P<cast>\(\s*(?:(?:un)?signed\s+)?(?:s?byte|u?char|u?int8(?:_t)?|U?Int8|Byte)\s*\))
    | (?P<repeats><repeats\ (?P<times>\d{1,9})\ times>)
    | (?P<more>\.{3}|…)
    | (?P<string>(?:\b(?:[bBrR]{1,2}|u8|L)|[$@&])?
        (?P<quote>["'])(?P<body>(?>(?:(?!(?P=quote))[^\\]|\\.)*))(?P=quote))
    | (?P<open_string>(?:\b(?:[bBrR]{1,2}|u8|L)|[$@&])?
        (?P<mark>["'])(?P<begun>(?>(?:(?!(?P=mark))[^\\]|\\.)*))\\$)
    | (?P<number>
        (?:-\s?)?(?:0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO][0-7]+|&[hH][0-9a-fA-F]{1,2}|16\#[0-9a-fA-F]{1,2}\#?|\d[\d_]*)
        (?:_?[uUiI](?:8|32|64)|[uUlL]{1,3}|\.to(?:U)?Byte\(\))?(?![\w.])
      | \$[0-9a-fA-F]{2}\b | [0-9][0-9a-fA-F]{1,2}[hH]\b)
    | (?P<assign>:?=>?|:)
    | (?P<open>[\[({]|<<)
    | (?P<close>[\])}]|>>)
    | (?P<word>[\w.!*&$@<>/%-]++)
    """,
    re.VERBOSE,
)
_ESCAPE: Final = re.compile(
    r"\\(?:x([0-9a-fA-F]{1,2})|([0-7]{1,3})|u([0-9a-fA-F]{4})|u\{([0-9a-fA-F]{1,6})\}|(.))", re.DOTALL
)
_CHARACTERS: Final = {
    "a": "\a", "b": "\b", "t": "\t", "n": "\n", "v": "\v", "f": "\f", "r": "\r", "e": "\x1b", "s": " ",
    '"': '"', "'": "'", "\\": "\\", "?": "?", "/": "/", "#": "#", "$": "$",
}  # fmt: skip
#: Words between the numbers of one list: casts, and directives of assemblers and other languages.
_NOISE: Final = frozenset(
    ("byte", "char", "u8", ".byte", "db", "DB", "dc.b", "Byte", "uint8", "chr", "&", "\\")
)
#: Bytes only: `0x00, 0x38, // comment`, many lines of which are read quickly.
_HEX_LINE: Final = re.compile(r"\s*((?>(?:0[xX][0-9a-fA-F]{2}[,\s]*+)+))(?://.*)?")
_PREFIX: Final = re.compile(r"0[xX]|,")
_BYTES: Final = Notation("c", 1)
#: The longest word in hex; longer numbers are bytes in order.
_LONGEST: Final = len("0x0123456789abcdef")
_SUFFIX: Final = re.compile(r"(?:_?[uUiI](?:8|32|64)|[uUlL]{1,3}|\.toU?Byte\(\))$")
_OPENS: Final = re.compile(r"^[^#/]*(?:[\[({=]|<<)")
_THREE_OCTAL: Final = re.compile("[0-7]{3}")
_BINARY: Final = re.compile("[01]{1,8}")
#: Number of hex numbers in a list, or of zero bytes in strings, that are bytes whatever they contain.
_ENOUGH: Final = 4

State = Literal["start", "declaration", "list", "closed"]


class Literals:
    """A list of numbers, or adjacent strings, over any number of lines.

    Words before the list are its declaration. Numbers are bytes, or words if they are larger. `room` is the
    number of units that `<repeats N times>` may still represent.
    """

    def __init__(self, room: int, *, weak: bool = False) -> None:
        self.closed = False
        self.room = room
        self._weak = weak
        self._state: State = "start"
        self._depth = 0
        self._in_comment = False
        #: The mark and the beginning of a string that continues on the next line.
        self._open: tuple[str, bytes] | None = None
        self._units = Units(_allowed)
        #: Numbers of units, of those in hex, and of zero bytes in strings.
        self._count = self._hex = self._zeros = 0

    @property
    def weak(self) -> bool:
        """True for numbers and text that are bytes only if they are a message: prose contains such, too."""
        return self._weak or (self._hex < max(_ENOUGH, self._count) and self._zeros < _ENOUGH)

    def line(self, text: str) -> bytes:
        """Return the bytes of a line. Raises ByteTextError."""
        if self._units.notation == _BYTES and not self._in_comment and self._open is None:
            match = _HEX_LINE.fullmatch(text)
            if match:
                return bytes.fromhex(_PREFIX.sub(" ", match[1]))
        units: list[Unit] = []
        try:
            self._scan(text, units)
        except RoomError as error:
            raise RoomError(str(error), self._added(units)) from None
        return self._added(units)

    def _added(self, units: list[Unit]) -> bytes:
        self._count += len(units)
        self._hex += sum(1 for unit in units if isinstance(unit, str) and unit[:2] == "0x")
        self._zeros += sum(unit.count(0) for unit in units if isinstance(unit, bytes))
        return self._units.feed(units)

    def end(self) -> bytes:
        """Return the remaining bytes. Raises ByteTextError."""
        return self._units.decide()

    @property
    def note(self) -> str | None:
        """A sentence about the byte order of words."""
        return self._units.note(stated=True)

    def continues(self, _text: str) -> bool:
        """Return whether a line after an empty one continues the list."""
        return not self.closed and (self._depth > 0 or self._open is not None or self._in_comment)

    def _scan(self, text: str, units: list[Unit]) -> None:
        """Add the units of a line."""
        pos = 0
        if self._open is not None:
            mark, _ = self._open
            text = mark + text.lstrip()
        #: A number without a comma after it: gdb repeats it as a character.
        after_number = False
        while pos < len(text):
            if self._in_comment:
                end = text.find("*/", pos)
                if end < 0:
                    return
                self._in_comment, pos = False, end + 2
                continue
            match = _TOKEN.match(text, pos)
            if match is None:
                raise ByteTextError(f"{quoted(text[pos:].strip())} is not a literal")
            pos, word = match.end(), match[0]
            kind = match.lastgroup
            if kind == "space":
                after_number = after_number and not any(mark in word for mark in ",;|+")
                continue
            if kind == "comment":
                if word != "/*":
                    break
                self._in_comment = True
                continue
            if kind == "string" and after_number and match["quote"] == "'":
                continue
            after_number = kind == "number"
            if kind == "close" and self._close(units, text[pos:]):
                break
            self._token(match, units)
        if self._state == "declaration":
            raise ByteTextError(f"{quoted(text.strip())} is not a literal")

    def _token(self, match: re.Match[str], units: list[Unit]) -> None:
        """Process a token other than a bracket that closes."""
        kind, token = match.lastgroup, match[0]
        if kind == "open":
            if self._state == "declaration":
                self._depth = 0
                units.clear()
            self._depth += 1
            self._state = "list"
        elif kind == "assign":
            self._reset(units, token)
            self._state, self._depth = "list", 0
        elif kind == "word":
            if token not in _NOISE:
                self._reset(units, token)
                self._state, self._depth = "declaration", 0
        elif self._state != "declaration":
            self._unit(match, units)

    def _reset(self, units: list[Unit], token: str) -> None:
        """Take what precedes on the line as a part of the declaration."""
        if self._count:
            raise ByteTextError(f"expected a number or a string, got {quoted(token)}")
        units.clear()

    def _close(self, units: list[Unit], rest: str) -> bool:
        """Process a closing bracket; return whether it ends the list."""
        if self._state == "declaration":
            return False
        self._depth -= 1
        if self._depth > 0 or not (units or self._count):
            return False
        if not self._count and _OPENS.search(rest):  # Go's [56]byte{
            units.clear()
            self._state, self._depth = "declaration", 0
            return False
        self.closed = True
        return True

    def _unit(self, match: re.Match[str], units: list[Unit]) -> None:
        kind = match.lastgroup
        if kind == "string":
            data = _unescape(match["body"])
            if self._open is not None:
                data, self._open = self._open[1] + data, None
            units.append(data)
        elif kind == "open_string":
            data = _unescape(match["begun"])
            if self._open is not None:
                data = self._open[1] + data
            if len(data) > MAX_FRAME:
                raise ByteTextError("the string is longer than any message")
            self._open = match["mark"], data
        elif kind == "number":
            units.append(_number(match[0]))
        elif kind == "repeats":
            self._repeat(int(match["times"]), units)
        self._state = "list"

    def _repeat(self, count: int, units: list[Unit]) -> None:
        """Process gdb's `<repeats 11 times>`."""
        last = units.pop() if units else None
        if last is None or isinstance(last, Repeat) or count < 1:
            raise ByteTextError("expected a number or a character before '<repeats'")
        size = count * (len(last) if isinstance(last, bytes) else 1)
        if size > self.room:
            raise RoomError(f"`<repeats>` represents {size:,} bytes: the longest message has {MAX_FRAME:,}")
        self.room -= size
        units.append(last * count if isinstance(last, bytes) else Repeat(last, count))


def _number(text: str) -> Unit:
    """Return a number in C's notation; the bytes of one that is too long for a word."""
    text = _SUFFIX.sub("", text).replace("_", "").replace(" ", "")
    sign, text = ("-", text[1:]) if text[0] == "-" else ("", text)
    for prefix in ("$", "&h", "&H", "16#"):
        if text.startswith(prefix):
            return f"0x{text[len(prefix) :].rstrip('#')}"
    if text[-1] in "hH":
        return f"0x{text[:-1]}"
    if text[:2] in ("0x", "0X"):
        text = f"0x{text[2:]}"
        if len(text) > _LONGEST:
            try:
                return bytes.fromhex(text[2:])
            except ValueError:
                raise ByteTextError(f"{quoted(text)} is an odd number of digits") from None
    return sign + text


def _unescape(text: str) -> bytes:
    """Return the bytes of a string: escapes of C, Python and JSON, and characters as UTF-8."""
    if "\\" not in text:
        return text.encode("utf-8", "surrogateescape")
    plain = text.encode("utf-8", "surrogateescape").decode("latin-1")
    try:
        return _ESCAPE.sub(_escaped, plain).encode("latin-1")
    except ValueError:
        raise ByteTextError(f"{quoted(text)} has an unknown escape") from None


def _escaped(match: re.Match[str]) -> str:
    hexadecimal, octal, four, braces, character = match.groups()
    if octal:
        return chr(int(octal, 8))
    if character is not None:
        if character not in _CHARACTERS:
            raise ByteTextError(f"{quoted(match[0])} is an unknown escape")
        return _CHARACTERS[character]
    return chr(int(hexadecimal or four or braces, 16))


def _allowed(units: Sequence[Unit]) -> list[Notation]:
    """Return the notations that numbers may have: bytes before words."""
    texts = [unit[0] if isinstance(unit, Repeat) else unit for unit in units if not isinstance(unit, bytes)]
    widths = {len(text) for text in texts if text[:2] == "0x"}
    sizes: tuple[int, ...] = (1, 4, 8, 2)
    if len(widths) == 1 and (width := widths.pop()) > 4:
        sizes = (2 if width <= 6 else 4 if width <= 10 else 8,)
    bases: tuple[Base, ...] = ("c", "decimal")
    if all(map(_THREE_OCTAL.fullmatch, texts)):
        bases = ("octal", "c", "decimal")
    elif any(len(text) > 3 for text in texts) and all(map(_BINARY.fullmatch, texts)):
        bases = ("binary", "c")
    return notations(bases, sizes)


class BareEscapes:
    """The inside of a C string, without its quotes."""

    weak = True
    closed = False
    note = None

    def line(self, text: str) -> bytes:
        """Return the bytes of a line. Raises ByteTextError."""
        return _unescape(text.strip())

    def end(self) -> bytes:
        """Return nothing: all bytes were returned."""
        return b""

    def continues(self, _text: str) -> bool:
        """Return whether a line after an empty one continues the string."""
        return False
