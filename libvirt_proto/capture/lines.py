"""Lines of text from a file that is read in blocks, however long it is and however slowly it comes."""

from __future__ import annotations

from collections.abc import Iterator

from .pcap import BLOCK_SIZE, Read


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
