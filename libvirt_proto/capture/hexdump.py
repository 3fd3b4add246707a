"""Hex text to bytes: plain digits, and dumps of xxd, hexdump -C, od, tcpdump -x and Wireshark."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, Literal

from ..blocks import LineTooLongError, Read, text_lines
from ..rpc.wire import MAX_FRAME

#: `0000:` or `0x0000:`; the bytes end two spaces before the column of characters (xxd, tcpdump).
_COLON: Final = re.compile(r"(?:0[xX])?([0-9a-fA-F]{4,16}):\s")
#: `0000 `, then single bytes up to `|` or three spaces (hexdump -C, od -A x -t x1, Wireshark).
_COLUMN: Final = re.compile(r"([0-9a-fA-F]{4,16})(?:\s+|$)")
#: od's default offsets: seven octal digits.
_OCTAL: Final = re.compile(r"0{7}\s")
_THREE_BLANKS: Final = re.compile(r"\s{3}")
#: Permitted between and before plain digits: spaces, commas, colons, `0x`, `\\x`.
_NOISE: Final = re.compile(r"\b0[xX]|\\x|[\s,:]+")
_TEXT: Final = frozenset(range(0x20, 0x7F)) | {9, 13}
#: A message on one line, with `0x` and a comma for each byte.
_MAX_LINE: Final = 6 * MAX_FRAME

Style = Literal["plain", "colon", "column"]


class HexError(ValueError):
    """A line that is not hex, or that does not follow the previous line."""


def looks_like_hex(head: bytes) -> bool:
    """Return whether the first line of these bytes that is neither empty nor a comment is hex."""
    for line in head.splitlines():
        text = line.strip()
        if text and not text.startswith(b"#"):
            if not _TEXT.issuperset(text):
                return False
            try:
                return len(HexGroup().line(text.decode("ascii"))) > 1
            except HexError:
                return False
    return False


def lines(read: Read) -> Iterator[str]:
    """Yield the lines of a text, stripped. Bytes outside ASCII become characters that are not hex.

    Raises HexError for a line that is too long for any message.
    """
    try:
        for line in text_lines(read, _MAX_LINE):
            yield line.decode("ascii", "replace").strip()
    except LineTooLongError as error:
        raise HexError(str(error)) from None


class HexGroup:
    """The lines of one message or dump.

    The first line determines the style: plain digits, or offsets with a colon or in a separate column.
    Offsets must follow the bytes. `room` is the number of bytes that `*` may still represent: a few
    characters must not expand to any amount.
    """

    def __init__(self, room: int = MAX_FRAME) -> None:
        self.room = room
        self._style: Style | None = None
        self._base = 16
        self._next = 0
        self._last = b""
        self._repeat = False

    def line(self, text: str) -> bytes:
        """Return the bytes of a line, which is stripped and not empty. Raises HexError."""
        if self._style is None:
            self._style, self._next = self._begin(text)
            if self._style == "column" and _OCTAL.match(text):
                self._base = 8
        if self._style == "plain":
            return _digits(_NOISE.sub("", text.split("#")[0]))
        if text == "*":  # identical lines are left out
            self._repeat = True
            return b""
        return self._dump_line(text, _COLON if self._style == "colon" else _COLUMN)

    @staticmethod
    def _begin(text: str) -> tuple[Style, int]:
        """Return the style of a first line, and its offset."""
        if match := _COLON.match(text):
            return "colon", int(match[1], 16)
        # Plain digits may also begin with four zeros; in a dump the bytes are separate.
        if (match := _COLUMN.match(text)) and int(match[1], 16) == 0:
            first = text[match.end() :].split(maxsplit=1)
            if first and len(first[0]) == 2:
                return "column", 0
        return "plain", 0

    def _dump_line(self, text: str, offset: re.Pattern[str]) -> bytes:
        match = offset.match(text + " ")
        if match is None:
            raise HexError(f"expected an offset, as in the lines before, got {_quoted(text)}")
        rest = text[match.end() :].lstrip()
        if self._style == "colon":
            data = _digits(rest.split("  ")[0].replace(" ", ""))
        else:
            tokens = _THREE_BLANKS.split(rest.split("|")[0], maxsplit=1)[0].split()
            if any(len(token) != 2 for token in tokens):
                raise HexError(f"expected bytes after the offset, got {_quoted(text)}")
            data = _digits("".join(tokens))
        return self._left_out(int(match[1], self._base)) + self._take(data)

    def _left_out(self, offset: int) -> bytes:
        """Return the bytes that `*` represents, up to a line with this offset."""
        gap = offset - self._next
        repeat, self._repeat = self._repeat, False
        if not gap:
            return b""
        if not (repeat and self._last and gap > 0 and gap % len(self._last) == 0):
            raise HexError(f"expected offset {self._next:#x}, got {offset:#x}")
        if gap > self.room:
            raise HexError(f"`*` represents {gap} bytes, over the limit of {self.room}")
        self.room -= gap
        self._next = offset
        return self._last * (gap // len(self._last))

    def _take(self, data: bytes) -> bytes:
        self._next += len(data)
        self._last = data
        return data


def _digits(digits: str) -> bytes:
    try:
        return bytes.fromhex(digits)
    except ValueError:
        what = "an odd number of digits" if re.fullmatch("[0-9a-fA-F]+", digits) else "not hex"
        raise HexError(f"{_quoted(digits)} is {what}") from None


def _quoted(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "…")
