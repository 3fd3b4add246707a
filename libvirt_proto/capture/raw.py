"""Streams without packets."""

from __future__ import annotations

from collections.abc import Iterator

from ..blocks import BLOCK_SIZE, Read
from ..events import Chunk, Connection, Item

#: The one connection of a raw stream, with unknown ends.
CONNECTION = Connection(1, "", "", "raw")


def raw_chunks(read: Read) -> Iterator[Item]:
    """Yield Chunks of one stream of bytes, as they arrive."""
    while data := read(BLOCK_SIZE):
        yield Chunk(CONNECTION, None, None, data)
    yield Chunk(CONNECTION, None, None, b"", end=True)
