"""Pages of the ring buffer, written here as the kernel's header describes them."""

from __future__ import annotations

from struct import pack

from hypothesis import given
from hypothesis import strategies as st

from libvirt_proto.capture.probes.ring import Record, records

PAGE = 4096
RECORDS = st.lists(st.tuples(st.integers(0, 1 << 40), st.binary(min_size=4, max_size=200)), max_size=15)


def word(kind: int, delta: int) -> bytes:
    return pack("<I", delta << 5 | kind)


def event(delta: int, data: bytes) -> bytes:
    """A record: its length is in the first word where that has room for it."""
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


def test_what_is_no_event() -> None:
    """Discarded records, time stamps, and the rest of a page, which is empty."""
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
def test_any_page(content: bytes, size: int) -> None:
    for data in (content, pack("<QQ", 1, size & (1 << 63) - 1) + content):
        for record in records(data):
            assert len(record.data) <= len(content)
