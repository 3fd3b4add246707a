"""A feed that receives Chunks faster than they are read drops and counts them without blocking."""

from __future__ import annotations

import hashlib
import random
import socket
from collections.abc import Iterator
from pathlib import Path

from libvirt_proto.capture.feed import Feed
from libvirt_proto.events import Chunk, Item, Notice
from tests.support.relays import answer_at_end, client, echo, read_all, through


def test_drops_and_counts_chunks_without_blocking(tmp_path: Path) -> None:
    feed = Feed(limit=100_000)
    body = random.Random(3).randbytes(1_000_000)
    # Nothing is read from the feed meanwhile.
    with through("unix-unix", tmp_path, answer_at_end, feed) as address, client(address) as one:
        one.sendall(body)
        one.shutdown(socket.SHUT_WR)
        assert read_all(one) == hashlib.sha256(body).digest()
    items = list(feed.items())
    chunks = [item for item in items if isinstance(item, Chunk)]
    assert feed.dropped > 500_000
    there = [chunk for chunk in chunks if chunk.direction == "c2s"]
    assert sum(chunk.lost + len(chunk.data) for chunk in there) == len(body)
    place = 0
    for chunk in there:
        place += chunk.lost
        assert chunk.data == body[place : place + len(chunk.data)]
        place += len(chunk.data)
    assert [chunk.direction for chunk in chunks if chunk.end] == ["c2s", "s2c"]
    total = sum(chunk.lost for chunk in chunks)
    assert total == feed.dropped
    (notice,) = [item for item in items if isinstance(item, Notice)]
    assert notice.code == "dropped-bytes"
    assert notice.text.startswith(f"{feed.dropped:,} bytes")


def test_connections_dropped_completely_use_no_memory(tmp_path: Path) -> None:
    feed = Feed(limit=1)
    with through("unix-unix", tmp_path, echo, feed) as address:
        for _ in range(50):
            with client(address) as one:
                one.sendall(b"hello")
                one.shutdown(socket.SHUT_WR)
                assert read_all(one) == b"hello"
    ids = {item.connection.id for item in feed.items() if isinstance(item, Chunk)}
    assert ids == {1}


def test_resumes_after_a_drop(tmp_path: Path) -> None:
    """The Notice precedes the items after the drop."""
    feed = Feed(limit=1)
    with through("unix-unix", tmp_path, echo, feed) as address, client(address) as one:
        items: Iterator[Item] = feed.items()
        one.sendall(b"first")
        assert one.recv(5, socket.MSG_WAITALL) == b"first"
        one.sendall(b"dropped")
        assert one.recv(7, socket.MSG_WAITALL) == b"dropped"
        assert one.send(b"") == 0
        first = next(items)
        assert isinstance(first, Chunk)
        assert (first.direction, first.data) == ("c2s", b"first")
        one.sendall(b"third")
        assert one.recv(5, socket.MSG_WAITALL) == b"third"
        notice, third = next(items), next(items)
        assert isinstance(notice, Notice)
        assert notice.text.startswith("19 bytes")  # first and dropped from the server, dropped to it
        assert isinstance(third, Chunk)
        assert (third.direction, third.data, third.lost) == ("c2s", b"third", 7)
