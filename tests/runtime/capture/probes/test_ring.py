"""Pages of the ring buffer, written as the kernel's header describes them."""

from __future__ import annotations

import os
from pathlib import Path
from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libvirt_proto.capture.probes import ring as module
from libvirt_proto.capture.probes.ring import Record, TracefsRing, records

PAGE = 4096
RECORDS = st.lists(st.tuples(st.integers(0, 1 << 40), st.binary(min_size=4, max_size=200)), max_size=15)


def word(kind: int, delta: int) -> bytes:
    return pack("<I", delta << 5 | kind)


def event(delta: int, data: bytes) -> bytes:
    """A record; its length is in the first word if that has room for it."""
    data += bytes(-len(data) % 4)
    extend = b""
    if delta >= 1 << 27:
        extend = word(30, delta & ((1 << 27) - 1)) + pack("<I", delta >> 27)
        delta = 0
    if len(data) <= 112:
        return extend + word(len(data) // 4, delta) + data
    return extend + word(0, delta) + pack("<I", len(data) + 4) + data


def page(time: int, content: bytes, flags: int = 0) -> bytes:
    return pack("<QQ", time, len(content) | flags) + content + bytes(max(0, PAGE - 16 - len(content)))


@given(st.integers(0, 1 << 60), RECORDS)
def test_records(time: int, expected: list[tuple[int, bytes]]) -> None:
    found = list(records(page(time, b"".join(event(delta, data) for delta, data in expected))))
    assert len(found) == len(expected)
    for record, (delta, data) in zip(found, expected, strict=True):
        time += delta
        assert record.time == time
        assert record.data == data + bytes(-len(data) % 4)


def test_skips_records_that_are_not_events() -> None:
    """Discarded records, time stamps, and the empty rest of a page."""
    discarded = word(29, 5) + pack("<I", 8) + b"gone"
    stamp = word(31, 7) + pack("<I", 2)
    data = event(1, b"one.") + discarded + event(1, b"two.") + stamp + event(3, b"three...")
    found = list(records(page(1 << 60, data, flags=1 << 31)))
    at = (1 << 60) + 1
    assert found == [
        Record(at, b"one."),
        Record(at + 6, b"two."),
        Record((1 << 60 >> 59 << 59) + (2 << 27) + 7 + 3, b"three..."),
    ]
    assert list(records(page(5, event(1, b"one.") + word(29, 0) + b"rest"))) == [Record(6, b"one.")]
    assert list(records(page(5, b""))) == []


@given(st.binary(max_size=300), st.integers(0, 1 << 64 - 1))
def test_any_page_is_read(content: bytes, size: int) -> None:
    for data in (content, pack("<QQ", 1, size & (1 << 63) - 1) + content):
        for record in records(data):
            assert len(record.data) <= len(content)


def instance(folder: Path, *cpus: bytes) -> Path:
    """An instance whose buffers are plain files, which end where the kernel's would block."""
    for number, content in enumerate(cpus):
        cpu = folder / "per_cpu" / f"cpu{number}"
        cpu.mkdir(parents=True)
        (cpu / "trace_pipe_raw").write_bytes(content)
        (cpu / "stats").write_text(f"entries: 1\noverrun: {number}\ncommit overrun: 7\ndropped events: 10\n")
    return folder


def whole(time: int, content: bytes) -> bytes:
    return page(time, content).ljust(PAGE, b"\0")


def test_buffers_of_several_processors_merge_by_time(tmp_path: Path) -> None:
    first = whole(100, event(1, b"101.") + event(9, b"110."))
    second = whole(100, event(5, b"105.") + event(95, b"200."))
    ring = TracefsRing(instance(tmp_path, first, second))
    assert [record.data for record in ring.take(110)] == [b"101.", b"105."]
    assert [record.data for record in ring.rest()] == [b"110.", b"200."]
    # Overwritten, discarded by a nested interrupt, and dropped: of each processor.
    assert ring.lost() == (0 + 7 + 10) + (1 + 7 + 10)
    ring.close()


def test_merge_waits_for_the_rest_of_a_full_buffer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest of the first buffer may be earlier than the contents of the second."""
    monkeypatch.setattr(module, "_PAGES", 100)
    monkeypatch.setattr(module, "_READ_SIZE", PAGE)  # the kernel returns pages, a file everything
    busy = b"".join(whole(time, event(0, b"busy")) for time in range(1000))
    ring = TracefsRing(instance(tmp_path, busy, whole(500, event(0, b"late"))))
    taken = ring.take(1 << 64)
    assert b"late" not in [record.data for record in taken]
    times = [record.time for record in (*taken, *ring.rest())]
    assert times == sorted(times)
    assert len(times) == 1001
    ring.close()


def test_failed_open_closes_the_other_buffers(tmp_path: Path) -> None:
    (instance(tmp_path, b"", b"") / "per_cpu" / "cpu1" / "trace_pipe_raw").unlink()
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(FileNotFoundError):
        TracefsRing(tmp_path)
    assert len(os.listdir("/proc/self/fd")) == before
