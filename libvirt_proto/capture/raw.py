"""Streams without packets: raw bytes, and hex text."""

from __future__ import annotations

from collections.abc import Iterator

from ..blocks import BLOCK_SIZE, Read
from ..events import Chunk, Connection, Item, Notice, NoticeCode
from .hexdump import HexError, HexGroup, lines

#: The one connection of a raw stream, with unknown ends.
CONNECTION = Connection(1, "", "", "raw")


def _chunk(data: bytes, end: bool = False) -> Chunk:
    return Chunk(CONNECTION, None, None, data, 0, end)


def raw_chunks(read: Read) -> Iterator[Item]:
    """Yield Chunks of one stream of bytes, as they arrive."""
    while data := read(BLOCK_SIZE):
        yield _chunk(data)
    yield _chunk(b"", end=True)


def hex_chunks(read: Read) -> Iterator[Item]:
    """Yield Chunks of hex text: `#` begins a comment, an empty line ends a message or a stream of messages.

    A group with a line that is not hex is decoded up to that line; the Notice `bad-hex` gives the reason.
    """
    group, pieces, size, begun, bad, number = HexGroup(), list[bytes](), 0, False, False, 0
    try:
        for number, text in enumerate(lines(read), 1):
            if text.startswith("#"):
                continue
            if not text:
                if begun:
                    yield _chunk(b"".join(pieces), end=True)
                group, pieces, size, begun, bad = HexGroup(group.room), [], 0, False, False
            elif not bad:
                begun = True
                try:
                    data = group.line(text)
                except HexError as error:
                    bad = True
                    yield Notice(NoticeCode.BAD_HEX, f"line {number}: {error}", CONNECTION)
                    continue
                pieces.append(data)
                size += len(data)
                if size >= BLOCK_SIZE:
                    yield _chunk(b"".join(pieces))
                    pieces, size = [], 0
    except HexError as error:
        yield Notice(NoticeCode.BAD_HEX, f"line {number + 1}: {error}", CONNECTION)
    if begun:
        yield _chunk(b"".join(pieces), end=True)
