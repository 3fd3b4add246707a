"""Entries of structured logs (JSON, and the journal's own formats): their texts, and the other fields."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from .log.journal import text_of

#: Marks of quotations, and those that need a blank after them: lists, numbers, additions.
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


def objects(text: str) -> list[Entry]:
    """Return the texts in the JSON objects and arrays of a line that mention a probe."""
    return [entry for value in _values(text) for entry in _entries(value, {}, named=False, depth=_MAX_DEPTH)]


def texts_with_fields(text: str) -> list[Entry]:
    """Return all texts of entries in the JSON objects and arrays of a line, with their fields."""
    return [
        entry
        for value in _values(text)
        for entry in _entries(value, {}, named=False, depth=_MAX_DEPTH, every=True)
        if entry.named
    ]


def texts(text: str) -> list[str]:
    """Return the texts of the entries in the JSON objects and arrays of a line."""
    return [each for value in _values(text) for each in _texts(value, named=False, depth=_MAX_DEPTH)]


def _values(text: str) -> Iterator[object]:
    """Yield the JSON objects and arrays in a line."""
    at, failures = 0, 0
    while failures < _MAX_FAILURES and (match := _START.search(text, at)):
        try:
            value, at = _DECODER.raw_decode(text, match.start())
        except (ValueError, RecursionError):
            failures += 1
            at = match.end()
        else:
            yield value


def _texts(value: object, *, named: bool, depth: int) -> Iterator[str]:
    value = text_of(value)
    if isinstance(value, str):
        inner = texts(value) if depth and value.lstrip().startswith("{") else []
        if inner or named:
            yield from inner or [value]
    elif depth and isinstance(value, dict):
        for key, each in value.items():
            yield from _texts(each, named=key in TEXTS, depth=depth - 1)
    elif depth and isinstance(value, list):
        pair = len(value) == 2 and isinstance(value[0], str) and value[0].isdecimal()  # Loki: [time, line]
        for each in value[1:] if pair else value:
            yield from _texts(each, named=pair or named, depth=depth - 1)


def _entries(
    value: object, fields: Mapping[str, object], *, named: bool, depth: int, every: bool = False
) -> Iterator[Entry]:
    """Yield the texts that mention a probe, or `every` text."""
    value = text_of(value)
    if isinstance(value, str):
        if every or any(token in value for token in _TOKENS):
            find = texts_with_fields if every else objects
            inner = find(value) if depth and value.lstrip().startswith("{") else []
            yield from inner or [Entry(value, fields, named)]
    elif depth and isinstance(value, dict):
        inside = {**fields, **value}
        for key, each in value.items():
            yield from _entries(each, inside, named=key in TEXTS, depth=depth - 1, every=every)
    elif depth and isinstance(value, list):
        # Loki: [time, line].
        pair = len(value) == 2 and isinstance(value[0], str) and value[0].isdecimal()
        around = {**fields, "timestamp": value[0]} if pair else fields
        for each in value:
            yield from _entries(each, around, named=pair or named, depth=depth - 1, every=every)


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
