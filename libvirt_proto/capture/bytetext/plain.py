r"""Plain hex digits, and base64.

00000038 20008086        00:00:00:38        0x00000038        \x00\x00\x00\x38
"""

from __future__ import annotations

import binascii
import re
from typing import Final

from .errors import ByteTextError, quoted
from .framing import frames
from .units import Units, notations

#: Permitted between and before digits: spaces, commas, colons, `0x`, `\x`; hyphens between bytes.
_NOISE: Final = re.compile(r"\b0[xX]|\\x|[\s,:]+|(?<=[0-9a-fA-F]{2})-(?=[0-9a-fA-F]{2})")
_COMMENT: Final = re.compile(r"#|//|/\*|;")
_DIGITS: Final = re.compile(r"[0-9a-fA-F]+")
#: Widths of words, in digits.
_WIDTHS: Final = {4: 2, 8: 4, 16: 8}
_BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]+={0,2}")
_STANDARD: Final = str.maketrans("-_", "+/")
#: Least number of characters of the first line of base64: a header.
_SHORTEST: Final = 16


class PlainHex:
    """Lines of hex digits, in order; or of words of equal width in which the bytes are swapped (od -A n)."""

    closed = False

    weak = False

    def __init__(self) -> None:
        self._units: Units | None = None
        self._begun = False

    def quick(self, data: bytes) -> bytes:
        """Return the bytes of a line of digits only, b"" for others; cheap, and optional."""
        if self._units is not None:
            return b""
        try:
            return bytes.fromhex(data.decode("ascii"))
        except ValueError:
            return b""

    def line(self, text: str) -> bytes:
        """Return the bytes of a line. Raises ByteTextError."""
        first = text.split(maxsplit=1)
        if self._units is None and first and (self._begun or len(first[0]) not in _WIDTHS):
            try:
                data = bytes.fromhex(text)
            except ValueError:
                pass
            else:
                self._begun = True
                return data
        text = _NOISE.sub(" ", _COMMENT.split(text, maxsplit=1)[0])
        if self._begun:
            text = text.rstrip("])}> ")  # of a list whose beginning is missing
        if not self._begun and (first := text.split(maxsplit=1)):
            self._begun = True
            if len(first[0]) in _WIDTHS:
                self._units = self._words(text.split())
        return _fromhex(text) if self._units is None else self._units.feed(text.split())

    def end(self) -> bytes:
        """Return the remaining bytes."""
        return self._units.decide() if self._units else b""

    @property
    def note(self) -> str | None:
        """A sentence about the byte order of words."""
        return self._units.note(stated=False) if self._units else None

    def continues(self, _text: str) -> bool:
        """Return whether a line after an empty one continues the bytes."""
        return False

    @staticmethod
    def _words(tokens: list[str]) -> Units | None:
        """Return the reader of words, if the first line can consist of words."""
        size = _WIDTHS.get(len(tokens[0]))
        if size is None or len(tokens) < 2 or any(len(token) != 2 * size for token in tokens[:-1]):
            return None
        return Units(lambda _: notations(("digits",), (size,), first="big"))


def _fromhex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)  # spaces are only between bytes
    except ValueError:
        tokens = text.split()
        if tokens == ["*"]:
            raise ByteTextError(
                "`*` represents an unknown number of lines; use od -v, or keep the offsets"
            ) from None
        joined = "".join(tokens)
        odd = joined if len(joined) % 2 else next((token for token in tokens if len(token) % 2), joined)
        if _DIGITS.fullmatch(joined):
            raise ByteTextError(f"{quoted(odd)} is an odd number of digits") from None
        raise ByteTextError(f"{quoted(joined)} is not hex") from None


class ShortHex:
    """A list of bytes as one or two hex digits each: Rust's `{:x?}`, Node's `<Buffer 00 38>`."""

    weak = True
    closed = False
    note = None
    _LIST: Final = re.compile(
        r"\s*(?:<Buffer |#?\[|<|\{)?((?>(?:[0-9a-fA-F]{1,2}[,\s]++)*)(?:[0-9a-fA-F]{1,2})?)[,\s]*"
        r"(?:\.\.\.[^\]>]*)?[\]>}]?[;,)]*\s*"
    )

    def line(self, text: str) -> bytes:
        """Return the bytes of a line. Raises ByteTextError."""
        match = self._LIST.fullmatch(text)
        if match is None:
            raise ByteTextError(f"{quoted(text.strip())} is not a list of bytes")
        return bytes(int(token, 16) for token in match[1].replace(",", " ").split())

    def end(self) -> bytes:
        """Return nothing: all bytes were returned."""
        return b""

    def continues(self, _text: str) -> bool:
        """Return whether a line after an empty one continues the bytes."""
        return False


class Base64:
    """Lines of base64, standard or for URLs."""

    weak = True
    closed = False
    note = None

    def __init__(self) -> None:
        self._rest = ""
        self._ended = False

    def line(self, text: str) -> bytes:
        """Return the bytes of a line. Raises ByteTextError."""
        text = text.strip()
        if self._ended or not is_base64(text):
            raise ByteTextError(f"{quoted(text)} is not base64")
        self._ended = text.endswith("=")
        text = self._rest + text.translate(_STANDARD)
        whole = len(text) // 4 * 4
        self._rest = text[whole:]
        return _base64(text[:whole])

    def end(self) -> bytes:
        """Return the bytes of the last characters, whose padding is missing."""
        rest, self._rest = self._rest, ""
        return _base64(rest + "=" * (-len(rest) % 4))

    def continues(self, _text: str) -> bool:
        """Return whether a line after an empty one continues the bytes."""
        return False


def _base64(text: str) -> bytes:
    try:
        return binascii.a2b_base64(text, strict_mode=True) if text else b""
    except binascii.Error:
        raise ByteTextError(f"{quoted(text)} is not base64") from None


def may_be_base64(text: str) -> bool:
    """Return whether a line may be the first one of base64 of a message."""
    text = text.strip()
    if len(text) < _SHORTEST or not is_base64(text):
        return False
    try:
        head = _base64(text[: len(text) // 4 * 4][:48].translate(_STANDARD))
    except ByteTextError:
        return False
    return frames(head)


def is_base64(text: str) -> bool:
    """Return whether a line has the characters of base64."""
    return _BASE64.fullmatch(text.strip()) is not None
