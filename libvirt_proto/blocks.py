"""Files read in blocks, and the lines of text in them, however long a file is and however slowly it comes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

#: Returns up to that many bytes, as soon as there are any; b"" at the end.
Read = Callable[[int], bytes]

BLOCK_SIZE: Final = 1 << 18


class LineTooLongError(ValueError):
    """A line that is longer than any that makes sense; what follows is not read."""


def text_lines(read: Read, limit: int) -> Iterator[bytes]:
    """The lines of a text, without their newlines; each as soon as its newline is there.

    Raises LineTooLongError behind the last line before one of more than `limit` bytes.
    """
    rest: list[bytes] = []
    size = 0
    while block := read(BLOCK_SIZE):
        *whole, last = block.split(b"\n")
        for line in whole:
            yield b"".join([*rest, line]) if rest else line
            rest, size = [], 0
        if last:
            rest.append(last)
            size += len(last)
        if size > limit:
            raise LineTooLongError(f"the line is longer than {limit} bytes")
    if rest:
        yield b"".join(rest)
