"""Read files in blocks and lines, with bounded memory and without waiting for more than is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

#: Returns up to that many bytes as soon as there are any, and b"" at the end.
Read = Callable[[int], bytes]

BLOCK_SIZE: Final = 1 << 18


class LineTooLongError(ValueError):
    """A line over the limit; the rest of the input is not read."""


def text_lines(read: Read, limit: int) -> Iterator[bytes]:
    """Yield the lines of a text without their newlines, each as soon as its newline was read.

    Raises LineTooLongError after the last line before one of more than `limit` bytes.
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


def line_blocks(read: Read, limit: int) -> Iterator[bytes]:
    """Yield a text in blocks of whole lines, as soon as they were read; only the last one may lack a newline.

    Raises LineTooLongError as `text_lines` does.
    """
    rest: list[bytes] = []
    size = 0
    while block := read(BLOCK_SIZE):
        end = block.rfind(b"\n") + 1
        if end:
            yield b"".join([*rest, block[:end]])
            rest, size = [], 0
        if end < len(block):
            rest.append(block[end:])
            size += len(block) - end
        if size > limit:
            raise LineTooLongError(f"the line is longer than {limit} bytes")
    if rest:
        yield b"".join(rest)
