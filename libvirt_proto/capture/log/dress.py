"""Lines as tools write, quote and mail them, to plain text.

Colours, HTML, entities, special blanks, quoted-printable (RFC 2045 §6.7) and escapes of markdown are removed.
Entries of structured logs (JSON, the journal's own formats) give their text and the other fields.
"""

from __future__ import annotations

import html
import json
import quopri
import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from .journal import text_of

_PLAIN: Final = re.compile(rb"[ -~]*+")
#: ECMA-48 control sequences and operating system commands, also as cat -v shows them.
_CONTROLS: Final = re.compile(
    r"(?:\x1b|\^\[)(?:\[[0-9;:?]*[ -/]*[@-~]|\][^\x07\x1b]{0,200}(?:\x07|\x1b\\)|[()][0-9A-Za-z])"
)
_TAGS: Final = re.compile(
    r"</?(?:(?P<block>blockquote|body|br|div|h[1-6]|hr|html|img|li|ol|p|pre|table|tbody|td|th|tr|ul)"
    r"|a|b|code|em|font|i|mark|samp|small|span|strong|tt|u|wbr)(?:\s[^<>]{0,400})?/?>",
    re.IGNORECASE,
)
_BLANKS: Final = re.compile("[\t\u00a0\u2000-\u200a\u202f\u205f\u3000]")
_INVISIBLE: Final = re.compile("[\u00ad\u200b-\u200f\u2060\ufeff]")
_ESCAPED: Final = re.compile(r"\\([_*\[\]<>#.!`|~-])")
#: Marks of a quotation at the beginning of a line.
MARKS: Final = re.compile(r"[>|*#\s]*")
#: The same in quoted-printable text, whose lines keep their blanks.
ENCODED_MARKS: Final = re.compile(r"(?:[>|] ?)*")

#: The same, and marks that need a blank after them: lists, numbers, additions.
_QUOTED: Final = re.compile(r"(?:[>|*+`\s]|[-+] |\d{1,6}[.:)]?\s)*")
#: A field of journalctl -o verbose or export.
_FIELD: Final = re.compile(r"\s{0,8}([_A-Z][A-Z0-9_]{0,63})=(.*)", re.DOTALL)
#: A member of an object that is written on several lines.
_MEMBER: Final = re.compile(r'\s{0,40}("(?:[^"\\]|\\.){1,64}")\s{0,8}:\s{0,8}(.*?),?\s*', re.DOTALL)
#: Names of the text of an entry.
TEXTS: Final = frozenset(
    (
        *("MESSAGE", "message", "msg", "log", "line", "text", "body", "textPayload", "event", "original"),
        *("short_message", "full_message", "@message", "content", "_raw"),
    )
)
#: A part of every line that the log reader looks for.
_TOKENS: Final = ("RPC_", "QEMU_MONITOR_", "EVENT_", "prog=", "program=", "Incoming message prog ")
#: Nested objects and objects in strings that are followed.
_MAX_DEPTH: Final = 8
#: Places in a line where an object could begin, and does not.
_MAX_FAILURES: Final = 4
_START: Final = re.compile(r'[{\[](?=\s*["{\[])')
_DECODER: Final = json.JSONDecoder()


class Entry(NamedTuple):
    """A text of a structured log, with the fields next to it. `named` means that it is the text of the
    entry, rather than another field."""

    text: str
    fields: Mapping[str, object]
    named: bool


def undress(line: bytes, *, encoded: bool = False) -> str:
    """Return the text of a line. `encoded` means that other lines show that it is quoted-printable."""
    line = line.rstrip(b"\r")
    if encoded or b"=3D" in line:  # quoted-printable text has no other equals sign
        line = quopri.decodestring(line)
    text = line.decode("utf-8", "backslashreplace" if b"\xa0" not in line else "replace")
    if b"\x1b" in line or b"^[" in line:
        text = _CONTROLS.sub("", text)
    if not _PLAIN.fullmatch(line):
        text = _INVISIBLE.sub("", _BLANKS.sub(" ", text.replace("\ufffd", " ")))
    if "<" in text or "&" in text:
        text = _TAGS.sub(lambda tag: " " if tag["block"] else "", text)
        text = html.unescape(text).replace("\xa0", " ")
    return unescape(text)


def unescape(text: str) -> str:
    """Remove the escapes of markdown."""
    return _ESCAPED.sub(r"\1", text) if "\\_" in text else text


def objects(text: str) -> list[Entry]:
    """Return the texts in the JSON objects and arrays of a line that mention a probe."""
    found: list[Entry] = []
    at, failures = 0, 0
    while failures < _MAX_FAILURES and (match := _START.search(text, at)):
        try:
            value, at = _DECODER.raw_decode(text, match.start())
        except (ValueError, RecursionError):
            failures += 1
            at = match.end()
        else:
            found += _entries(value, {}, named=False, depth=_MAX_DEPTH)
    return found


def _entries(value: object, fields: Mapping[str, object], *, named: bool, depth: int) -> Iterator[Entry]:
    value = text_of(value)
    if isinstance(value, str):
        if any(token in value for token in _TOKENS):
            inner = objects(value) if depth and value.lstrip().startswith("{") else []
            yield from inner or [Entry(value, fields, named)]
    elif depth and isinstance(value, dict):
        inside = {**fields, **value}
        for key, each in value.items():
            yield from _entries(each, inside, named=key in TEXTS, depth=depth - 1)
    elif depth and isinstance(value, list):
        # Loki: [time, line].
        pair = len(value) == 2 and isinstance(value[0], str) and value[0].isdecimal()
        around = {**fields, "timestamp": value[0]} if pair else fields
        for each in value:
            yield from _entries(each, around, named=pair or named, depth=depth - 1)


def field(text: str) -> tuple[str, object] | None:
    """Return the name and the value of a field on a line of its own; None for any other line."""
    text = _QUOTED.sub("", text, count=1).rstrip("*`| ")
    if match := _FIELD.fullmatch(text):
        return match[1], match[2]
    if match := _MEMBER.fullmatch(text):
        try:
            return _DECODER.decode(match[1]), text_of(_DECODER.decode(match[2]))
        except (ValueError, RecursionError):
            return None
    return None
