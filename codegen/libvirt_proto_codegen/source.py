"""Definition text, and places in it."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field

#: Maximum size of a definition file, in bytes. libvirt's largest is a fifth of it.
MAX_SIZE = 2**20

#: `# 12 "file.x"`, as the C preprocessor writes it, and `#line 12 "file.x"`.
_LINE_MARKER = re.compile(r'^#[ \t]*(?:line[ \t]+)?([0-9]{1,9})[ \t]+"([^"\n]{1,1000})"', re.MULTILINE)


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """One definition file: its name as given by the user, and its text."""

    name: str
    text: str
    _starts: tuple[int, ...] = field(init=False, repr=False)
    _markers: tuple[tuple[int, int, str], ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        starts = [0]
        find = self.text.find
        at = find("\n")
        while at >= 0:
            starts.append(at + 1)
            at = find("\n", at + 1)
        object.__setattr__(self, "_starts", tuple(starts))
        found = _LINE_MARKER.finditer(self.text) if "#" in self.text else ()
        markers = [(self.position(match.start())[0], int(match[1]), match[2]) for match in found]
        object.__setattr__(self, "_markers", tuple(markers))

    def position(self, offset: int) -> tuple[int, int]:
        """Return the line and column of a character offset, both counted from 1."""
        line = bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1

    def place(self, offset: int) -> str:
        """Return `file:line:column` of a character offset: of the original file, if line markers name it."""
        line, column = self.position(offset)
        before = bisect_right(self._markers, line, key=lambda marker: marker[0])
        if not before:
            return f"{self.name}:{line}:{column}"
        marked, number, name = self._markers[before - 1]
        return f"{name}:{number + line - marked - 1}:{column}"

    def bounds(self, number: int) -> tuple[int, int]:
        """Return the start and end of a line (counted from 1), without its line end."""
        start = self._starts[number - 1]
        end = self._starts[number] - 1 if number < len(self._starts) else len(self.text)
        return start, end - self.text.endswith("\r", start, end)

    def line(self, number: int) -> str:
        """Return the text of a line (counted from 1), without its line end."""
        start, end = self.bounds(number)
        return self.text[start:end]


@dataclass(frozen=True, slots=True)
class Span:
    """A range of a source, in character offsets; `end` is exclusive."""

    source: Source
    start: int
    end: int

    @property
    def line(self) -> int:
        """The line of the first character, counted from 1."""
        return self.source.position(self.start)[0]

    @property
    def column(self) -> int:
        """The column of the first character, counted from 1."""
        return self.source.position(self.start)[1]

    def __str__(self) -> str:
        return self.source.place(self.start)
