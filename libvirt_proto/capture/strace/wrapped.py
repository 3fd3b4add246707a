"""Lines of strace that a mail program wrapped, to one.

A break replaced a blank or nothing. Where both are possible, the string whose size the call gives decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise, product
from typing import Final

from ..dressing import without_quote
from .dressing import StraceLines
from .line import BadCallError, Line, descriptor, result
from .transfers import CALLS, transfers

#: The longest line that may continue in the next one, the size of what is joined, and the number of tries.
_MAX_FIRST: Final = 250
_MAX_SIZE: Final = 1 << 20
_MAX_TRIES: Final = 32
#: Number of breaks whose combinations are tried; more are all blanks, or all nothing.
_MAX_BREAKS: Final = 4
#: The result of a call, or a part of it.
_ENDING: Final = re.compile(rb"=\s*(?:-?\d|\?)|^\s*(?:-?\d|\?)")
#: The result at the end of most lines, and the size of that end.
_RESULT: Final = re.compile(rb"\) += (?:-?\d|\?|0x)")
_END: Final = 60
#: strace's default for the length of strings (-s).
_USUAL: Final = 32


class Unwrapper:
    """Joins the lines of one trace."""

    def __init__(self, lines: StraceLines) -> None:
        self._lines = lines
        self._parts: list[bytes] = []
        #: The first line, with as many of the others as make a call.
        self._first: Line | None = None
        self._size = self._tries = 0

    def parse(self, data: bytes) -> list[Line]:
        """Parse a line; return the ones that are complete with it."""
        line = self._lines.parse(data)
        if not self._parts:
            return self._begin(data, line)
        self._size += len(data)
        if not _begins_call(line) and self._size <= _MAX_SIZE and self._tries < _MAX_TRIES:
            self._parts.append(without_quote(data))
            if _ENDING.search(self._parts[-1]) is None:
                return []
            self._tries += 1
            whole, score = self._joined()
            self._first = whole or self._first
            return self.end() if score >= _SUFFICIENT else []
        return [*self.end(), *self._begin(data, line)]

    def end(self) -> list[Line]:
        """Return the line that nothing continues, with as many of the others as belong to it."""
        first, self._first = self._first, None
        self._parts.clear()
        return [] if first is None else [first]

    def _begin(self, data: bytes, line: Line | None) -> list[Line]:
        if line is None:
            return []
        if line.kind == "call" and len(data) <= _MAX_FIRST and not _has_result(line.text):
            self._parts, self._first = [without_quote(data)], line
            self._size, self._tries = len(data), 0
            return []
        return [line]

    def _joined(self) -> tuple[Line | None, int]:
        """Return the call in the parts, if it is complete, and how well it agrees with its sizes."""
        best, best_score = None, 0
        for text in _variants(self._parts):
            line = self._lines.parse(text)
            if line is not None and line.kind == "call" and (score := _score(line)) > best_score:
                best, best_score = line, score
                if score == _CERTAIN:
                    break
        return best, best_score


_CERTAIN: Final = 3
_SUFFICIENT: Final = 2
#: Number of lines that are tried to recognise a trace.
_MAX_TRIED: Final = 512


def looks_wrapped(head: bytes) -> bool:
    """Return whether a text that begins so is a trace with wrapped lines."""
    lines = Unwrapper(StraceLines())
    for data in head.split(b"\n")[:_MAX_TRIED]:
        for line in lines.parse(data.removesuffix(b"\r")):
            if line.name in CALLS and _score(line) == _CERTAIN:
                return True
    return False


def _begins_call(line: Line | None) -> bool:
    return line is not None and (line.kind != "call" or line.name in CALLS or _has_result(line.text))


def _has_result(text: bytes) -> bool:
    if _RESULT.search(text, max(0, len(text) - _END)):
        return True
    try:
        result(text)
    except BadCallError:
        return False
    return True


def _variants(parts: list[bytes]) -> Iterator[bytes]:
    """Yield the ways to join the parts of a line."""
    breaks: list[tuple[bytes, ...]] = []
    inside = False
    for part, following in pairwise(parts):
        inside ^= _quotes(part) % 2 == 1
        if part.endswith(b" ") or following.startswith(b" "):
            breaks.append((b"",))
        elif not inside and (part.endswith(b",") or (part.endswith(b")") and following.startswith(b"="))):
            breaks.append((b" ",))
        else:
            breaks.append((b"", b" "))
    if sum(len(each) > 1 for each in breaks) > _MAX_BREAKS:
        breaks_of_all = [[each[0] for each in breaks], [each[-1] for each in breaks]]
    else:
        breaks_of_all = [list(each) for each in product(*breaks)]
    for chosen in breaks_of_all:
        yield b"".join(part + between for part, between in zip(parts, [*chosen, b""], strict=True))


def _quotes(part: bytes) -> int:
    """Return the number of quotes that are not escaped."""
    return len(re.findall(rb'(?<!\\)(?:\\\\)*"', part))


def _score(line: Line) -> int:
    """Return how well the strings of a call agree with its sizes: 0 if not, or without a result."""
    try:
        arguments, returned = result(line.text)
        if line.name not in CALLS:
            return 1
        call, found = CALLS[line.name], descriptor(arguments)
        if found is None:
            return 0
        pieces = [piece for each in transfers(call.form, arguments, found[2]) for piece in each.pieces]
    except BadCallError:
        return 0
    size = sum(size for _, size in pieces)
    count = size if call.sends or returned.value is None else max(0, returned.value)
    if size < count:
        return 0
    score = _CERTAIN if count == returned.value or not call.sends else 1  # a result may be cut, too
    for data, room in pieces:
        wanted = min(room, count)
        count -= wanted
        if len(data) != wanted:
            if len(data) > wanted or b'"...' not in arguments:
                return 0
            score = min(score, 2 if len(data) == _USUAL else 1)
    return score
