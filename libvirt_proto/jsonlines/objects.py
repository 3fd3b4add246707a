"""JSON objects in a text: one per line, pretty-printed over several, concatenated, or in an array."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

#: A string, or a bracket of an object. JSON strings do not span lines.
_TOKEN: Final = re.compile(rb'"(?>(?:[^"\\]++|\\.)*)"?|[{}]')
#: Two objects on a line.
_TWO: Final = re.compile(rb"\}\s*\{")
#: Text around the objects of an array: its brackets (and those of the next array), commas, blanks.
_AROUND: Final = re.compile(rb"\s*+[\[\],]?\s*+[\[\],]?\s*+")
#: Keys of a message or an event: a line with them is not a part of the object before it.
_WHOLE: Final = (b'"serial"', b'"event"')
_BOM: Final = b"\xef\xbb\xbf"


class ObjectSplitter:
    """Splits lines into objects. Everything that is not an object is a piece of its own, so that its parser
    reports it; nothing is dropped but blanks and the commas and brackets of an array.

    `limit` is the maximum size of an object in bytes.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._depth = 0
        self._parts: list[bytes] = []
        self._size = 0
        self._start = 0

    def feed(self, number: int, line: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield the objects that a line completes, each with the number of its first line."""
        if number == 1:
            line = line.removeprefix(_BOM)
        if self._parts:
            if _is_whole(line) and any(key in line for key in _WHOLE):
                yield from self.end()
                yield number, line
                return
        elif _is_whole(line):
            yield number, line
            return
        yield from self._split(number, line)

    def end(self) -> Iterator[tuple[int, bytes]]:
        """Yield an object without its end."""
        if self._parts:
            yield self._start, b"\n".join(self._parts)
            self._parts, self._size, self._depth = [], 0, 0

    def _split(self, number: int, line: bytes) -> Iterator[tuple[int, bytes]]:
        begin = 0
        for match in _TOKEN.finditer(line):
            if match[0] == b"{":
                if not self._depth:
                    yield from _outside(number, line[begin : match.start()])
                    begin, self._start = match.start(), number
                self._depth += 1
            elif match[0] == b"}" and self._depth:
                self._depth -= 1
                if not self._depth:
                    self._parts.append(line[begin : match.end()])
                    yield from self.end()
                    begin = match.end()
        if not self._depth:
            yield from _outside(number, line[begin:])
            return
        self._parts.append(line[begin:])
        self._size += len(line) - begin
        if self._size > self._limit:
            yield from self.end()


def _outside(number: int, text: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield text that is not in an object."""
    if not _AROUND.fullmatch(text):
        yield number, text.strip()


def _is_whole(line: bytes) -> bool:
    """Return whether a line looks like one object; without looking at its strings, which makes it fast."""
    line = line.strip()
    return (
        line.startswith(b"{")
        and line.endswith(b"}")
        and line.count(b"{") == line.count(b"}")
        and not _TWO.search(line)
    )
