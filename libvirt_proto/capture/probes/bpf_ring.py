"""The ring buffer of BPF programs, which the kernel shares as memory.

Two pages have the positions of consumer and producer, which only grow; then the buffer follows twice, so that
no record is in two pieces. A record has a length word, with two flags, another word, and its bytes, aligned
to 8. Source: the kernel's document on the BPF ring buffer.
"""

from __future__ import annotations

import mmap
import threading
from typing import Final

from . import bpf_calls
from .bpf_programs import record_size, record_time
from .ring import Buffer, Record

_BUSY, _DISCARDED = 1 << 31, 1 << 30
_HEAD: Final = 8
#: The bytes at the beginning of a record that have its size.
_SIZE: Final = 8


class BpfRing(Buffer):
    """The ring buffer of `size` bytes with this descriptor, and the counter of events without room."""

    def __init__(self, ring: int, size: int, counter: int) -> None:
        super().__init__()
        self._size = size
        self._counter = counter
        page = mmap.PAGESIZE
        self._own = mmap.mmap(ring, page)
        self._shared = mmap.mmap(ring, page + 2 * size, prot=mmap.PROT_READ, offset=page)
        self._consumed = memoryview(self._own)[:8].cast("Q")
        self._produced = memoryview(self._shared)[:8].cast("Q")
        self._words = memoryview(self._shared)[page:].cast("I")
        self._fence = threading.Lock()

    def _fetch(self, found: list[Record], until: int) -> int:
        at, end = self._consumed[0], self._produced[0]
        ready: list[tuple[int, int]] = []
        while at < end:
            start = at % self._size
            word = self._words[start // 4]
            if word & _BUSY:
                break
            length = word & ~_DISCARDED
            if not word & _DISCARDED:
                ready.append((mmap.PAGESIZE + start + _HEAD, length))
            at += (_HEAD + length + 7) & ~7
        self._order()
        for start, length in ready:
            size = min(record_size(self._shared[start : start + _SIZE]), length)
            data = self._shared[start : start + size]
            found.append(Record(record_time(data), data))
        self._order()
        self._consumed[0] = at
        return until

    def _order(self) -> None:
        """Complete the reads of memory before those and the writes after it, as locks do (POSIX.1, 4.12:
        memory synchronization); not all processors do so on their own."""
        with self._fence:
            pass

    def lost(self) -> int:
        """Return the number of records without room."""
        return bpf_calls.count(self._counter)

    def close(self) -> None:
        """Unmap the memory."""
        for view in (self._consumed, self._produced, self._words):
            view.release()
        self._own.close()
        self._shared.close()
