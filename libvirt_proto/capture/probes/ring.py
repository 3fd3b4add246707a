"""The buffers of traces; and that of tracefs: pages of `trace_pipe_raw` to records with their times.

A page has the time of its first record, the number of bytes in use, and records. A record begins with a
32-bit word: the low 5 bits are its kind or its length in words, the others the time since the previous
record. Sources: ring_buffer.h, events/header_event. All supported processors are little-endian.
"""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from struct import Struct
from typing import Final, NamedTuple

#: The size of the largest page; each read returns one page.
_READ_SIZE: Final = 1 << 16
#: Pages of one CPU that are read before those of the others.
_PAGES: Final = 1024
_HEAD = Struct("<QQ")
_WORD = Struct("<I")
#: The bits above the number of bytes are flags (events are missing before the page).
_SIZE: Final = (1 << 20) - 1
_PADDING, _TIME_EXTEND, _TIME_STAMP = 29, 30, 31
_DELTA_BITS: Final = 27
#: A time stamp has this many bits; the higher ones are those of the previous time.
_STAMP_BITS: Final = 59


class Record(NamedTuple):
    """The bytes of an event, and its time on the trace's clock in nanoseconds."""

    time: int
    data: bytes


def records(page: bytes) -> Iterator[Record]:
    """Yield the complete records of a page."""
    if len(page) < _HEAD.size:
        return
    time, size = _HEAD.unpack_from(page)
    at, end = _HEAD.size, min(_HEAD.size + (size & _SIZE), len(page))
    while at + 4 <= end:
        (word,) = _WORD.unpack_from(page, at)
        kind, delta = word & 31, word >> 5
        at += 4
        if 1 <= kind < _PADDING:
            length = 4 * kind
        elif at + 4 > end or (kind == _PADDING and not delta):
            return  # the rest of the page is empty
        else:
            (second,) = _WORD.unpack_from(page, at)
            if kind == _TIME_EXTEND:
                delta += second << _DELTA_BITS
                length = 4
            elif kind == _TIME_STAMP:
                stamp = delta + (second << _DELTA_BITS) & ((1 << _STAMP_BITS) - 1)
                time, delta, length = (time >> _STAMP_BITS << _STAMP_BITS) + stamp, 0, 4
            elif kind == _PADDING:
                length = second
            else:
                at, length = at + 4, second - 4
        time += delta
        if length < 0 or at + length > end:
            return
        if kind < _PADDING:
            yield Record(time, page[at : at + length])
        at += (length + 3) & ~3


class Buffer(ABC):
    """The kernel's buffers of a trace, read without waiting."""

    def __init__(self) -> None:
        self._pending: list[Record] = []

    def take(self, until: int) -> list[Record]:
        """Return, in order, the records before a time by which all CPUs have written theirs."""
        pending = self._pending
        until = self._fetch(pending, until)
        pending.sort(key=lambda record: record.time)
        ready = next((i for i, record in enumerate(pending) if record.time >= until), len(pending))
        self._pending = pending[ready:]
        return pending[:ready]

    def rest(self) -> list[Record]:
        """Return the remaining records, after writing has stopped."""
        taken: list[Record] = []
        while more := self.take(1 << 64):
            taken += more
        taken += self._pending
        self._pending = []
        return taken

    @abstractmethod
    def _fetch(self, found: list[Record], until: int) -> int:
        """Append the available records; return `until`, or an earlier time up to which they are complete."""

    @abstractmethod
    def lost(self) -> int:
        """Return the total number of events that were lost."""

    @abstractmethod
    def close(self) -> None:
        """Close the buffers."""


class TracefsRing(Buffer):
    """The buffers of an instance of tracefs, one per CPU."""

    def __init__(self, instance: Path) -> None:
        super().__init__()
        self._folders = sorted(
            folder for folder in (instance / "per_cpu").iterdir() if re.fullmatch(r"cpu\d+", folder.name)
        )
        self._files: list[int] = []
        try:
            for folder in self._folders:
                self._files.append(os.open(folder / "trace_pipe_raw", os.O_RDONLY | os.O_NONBLOCK))
        except OSError:
            self.close()
            raise

    def _fetch(self, found: list[Record], until: int) -> int:
        for file in self._files:
            for _ in range(_PAGES):
                try:
                    page = os.read(file, _READ_SIZE)
                except BlockingIOError:
                    break
                if not page:
                    break
                found += records(page)
            else:  # more pages remain: records of other CPUs may be later
                until = min(until, found[-1].time if found else until)
        return until

    def lost(self) -> int:
        """Return the number that the kernel counts, of all CPUs."""
        count = 0
        for folder in self._folders:
            stats = (folder / "stats").read_text()
            count += sum(map(int, re.findall(r"(?:overrun|dropped events): (\d+)", stats)))
        return count

    def close(self) -> None:
        """Close the files."""
        while self._files:
            os.close(self._files.pop())
