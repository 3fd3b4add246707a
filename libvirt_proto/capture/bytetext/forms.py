"""The forms in which bytes are written, and those to which a line may belong."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final, Protocol

from .dump import Dump, begins_dump
from .literals import BareEscapes, Literals
from .plain import Base64, PlainHex, ShortHex, is_base64, may_be_base64

#: The end of a line that may be hex, with a label before it.
_HEX: Final = "0123456789abcdefABCDEF \t,:xX\\-"
_SEPARATOR: Final = re.compile(r"[:=>]\s+|=")
#: Hex or base64 in quotes, perhaps in brackets: `"hex": "0000"`, `b64decode('AAAA')`.
_QUOTED: Final = re.compile(r"""(.{0,200}?)(["'])([^"'\n]+)\2[\s,;)\]}]*""")
#: A string with quotes in it that lost their backslashes.
_INSIDE: Final = re.compile(r"""([^"'\\]{0,200})(["'])(\\.*)\2[\s,;)\]}]*""")
_BASE64: Final = re.compile(r"([^\n]{0,120}?[:=,(]\s*)([A-Za-z0-9+/_-]{16,}={0,2})[\s,;)]*")
#: The prefix of a dump in a log: `[  12.345678] rx: 00000000: 00 00 …`.
_DUMP: Final = re.compile(r"([^\n]{1,120}?[\s:\]])((?:0[xX])?[0-9a-fA-F]{4,16}:\s+[0-9a-fA-F]{2}.*)")
#: Line numbers: `12:`, `12-` (grep -n), `12` and a tab or spaces (nl, cat -n).
_NUMBERED: Final = re.compile(r"(\s*)\d{1,7}(?:[:-]|\t|\s{2})(.*)")
#: Numbers of which a line must have some of, so that it is worth a look after prose.
_TRAILER: Final = re.compile(r"[\s\])}>;,]*|[\w\s]{0,100}len\w{0,20}\s*=\s*\d{1,10};\s*", re.IGNORECASE)


class Form(Protocol):
    """The reader of one form, line by line. `weak` forms are bytes only if they are a message. A form is
    `closed` at the end of a list."""

    @property
    def weak(self) -> bool: ...  # noqa: D102 (documented by the class)
    @property
    def closed(self) -> bool: ...  # noqa: D102
    @property
    def note(self) -> str | None:
        """A sentence about the byte order of words."""

    def line(self, text: str) -> bytes:
        """Return bytes of lines up to this one. Raises ByteTextError."""

    def end(self) -> bytes:
        """Return the remaining bytes. Raises ByteTextError."""

    def continues(self, text: str) -> bool:
        """Return whether a line after an empty one continues the bytes."""


#: Makes the reader of a form; of the number of bytes that abbreviations may represent.
Maker = Callable[[int], Form]
#: Splits a line into a label and the bytes after it; None if it has no label.
Split = Callable[[str], tuple[str, str] | None]


class Labelled:
    """Lines with a label, and lines without one after them."""

    def __init__(self, split: Split, form: Form) -> None:
        self._split = split
        self.form = form
        self._label: str | None = None

    @property
    def weak(self) -> bool:
        """True: prose has labels, too."""
        return True

    @property
    def closed(self) -> bool:
        """True at the end of a list."""
        return self.form.closed

    @property
    def note(self) -> str | None:
        """A sentence about the byte order of words."""
        return self.form.note

    def line(self, text: str) -> bytes:
        """Return bytes of lines up to this one. Raises ByteTextError."""
        found = self._split(text)
        if found is None:
            return self.form.line(text)
        self._label, rest = found
        return self.form.line(rest)

    def end(self) -> bytes:
        """Return the remaining bytes. Raises ByteTextError."""
        return self.form.end()

    def continues(self, text: str) -> bool:
        """Return whether a line after an empty one continues the bytes."""
        found = self._split(text)
        return self.form.continues(text if found is None else found[1])

    def begins(self, text: str) -> bool:
        """Return whether a line has another label than the lines before."""
        found = self._split(text)
        return found is not None and self._label is not None and _word(found[0]) != _word(self._label)


def _word(label: str) -> str:
    """Return a label without the numbers in it."""
    return re.sub(r"\d+", "", label)


def _hex_label(text: str) -> tuple[str, str] | None:
    head = text.rstrip(_HEX)
    rest = text[len(head) :]
    separators = list(_SEPARATOR.finditer(rest[:200]))
    at = separators[-1].end() if separators else 0
    if not (separators or head.endswith("=")) or at == len(rest):
        return None
    return head + rest[:at], rest[at:]


def _quoted(text: str) -> tuple[str, str] | None:
    match = _QUOTED.fullmatch(text)
    return (match[1], match[3]) if match else None


def _inside(text: str) -> tuple[str, str] | None:
    match = _INSIDE.fullmatch(text)
    return (match[1], match[3]) if match else None


def _base64_label(text: str) -> tuple[str, str] | None:
    match = _BASE64.fullmatch(text)
    return (match[1], match[2]) if match else None


def _dump_label(text: str) -> tuple[str, str] | None:
    match = _DUMP.fullmatch(text)
    return (match[1], match[2]) if match else None


def _number(text: str) -> tuple[str, str] | None:
    match = _NUMBERED.fullmatch(text)
    return ("", match[2]) if match else None


def dump(room: int) -> Form:
    """Make the reader of a dump."""
    return Dump(room)


def _plain(_room: int) -> Form:
    return PlainHex()


def _short(_room: int) -> Form:
    return ShortHex()


def _literals(room: int) -> Form:
    return Literals(room)


def _escapes(_room: int) -> Form:
    return BareEscapes()


def _base64(_room: int) -> Form:
    return Base64()


#: The forms of lines, in order of preference, and whether a line may be the first one.
_FORMS: Final[tuple[tuple[Maker, Callable[[str], bool]], ...]] = (
    (dump, begins_dump),
    (_plain, lambda text: text.lstrip()[:1] in "0123456789abcdefABCDEFx\\"),
    (_literals, lambda text: True),
    (_short, lambda text: True),
    (_escapes, lambda text: text.lstrip()[:1] == "\\"),
    (_base64, may_be_base64),
)
#: Labels, with the forms that follow them.
_LABELS: Final[tuple[tuple[Split, tuple[Maker, ...]], ...]] = (
    (_hex_label, (_plain,)),
    (_quoted, (_plain, _base64)),
    (_inside, (_escapes,)),
    (_base64_label, (_base64,)),
    (_dump_label, (dump,)),
    (_number, (dump, _plain, _literals, _base64)),
)


def makers(text: str, *, forced: bool = False) -> Iterator[Maker]:
    """Yield the forms of which a line may be the first one, in order of preference. With `forced`, base64
    need not be a message."""
    checks = dict(_FORMS)
    if forced:
        checks[_base64] = is_base64
    for make, check in checks.items():
        if check(text):
            yield make
    for split, forms in _LABELS:
        found = split(text)
        if found is None:
            continue
        for make in forms:
            if checks[make](found[1]):
                yield partial(_labelled, split, make)


def _labelled(split: Split, make: Maker, room: int) -> Form:
    return Labelled(split, make(room))


def begins_base64(text: str) -> bool:
    """Return whether a line may be the first one of base64, with or without a label."""
    return is_base64(text) or _base64_label(text) is not None


def is_trailer(text: str) -> bool:
    """Return whether a line after the end of a list belongs to it: brackets, and xxd's length."""
    return _TRAILER.fullmatch(text) is not None
