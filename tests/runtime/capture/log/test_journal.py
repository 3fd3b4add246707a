"""Entries of the journal whose message is not text: an array of bytes, or a field with a length."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable

import pytest

from libvirt_proto.capture.log.journal import JournalFields
from libvirt_proto.capture.sources import read_source
from libvirt_proto.events import Chunk, Notice

MICROS = 1_795_383_910_120_000
RX = (
    b"RPC_SERVER_CLIENT_MSG_RX: client=0x1c63910 len=64 "
    b"prog=536903814 vers=1 proc=183 type=0 status=0 serial=8"
)
TX = (
    b"RPC_SERVER_CLIENT_MSG_TX_QUEUE: client=0x1c63910 len=32 "
    b"prog=536903814 vers=1 proc=183 type=1 status=0 serial=8"
)
#: What makes a message binary, before and after its record.
AFTER = {
    "text": b"",
    "not UTF-8": b" \xff",
    "control": b" \x01",
    "line end": b"\nmore",
    "zeros": b" \0\0\0\0\0",
}

Entry = list[tuple[str, bytes]]


def entry(number: int, message: bytes) -> Entry:
    return [
        ("__CURSOR", b"s=2d96;i=%d" % number),
        ("__REALTIME_TIMESTAMP", b"%d" % (MICROS + number * 1000)),
        ("_PID", b"19725"),
        ("MESSAGE", message),
        ("CODE_FUNC", b"f"),
    ]


def is_text(value: bytes) -> bool:
    return value.isascii() and value.decode().isprintable()


def export(entries: Iterable[Entry]) -> bytes:
    parts = []
    for fields in entries:
        for name, value in fields:
            if is_text(value):
                parts.append(b"%s=%s\n" % (name.encode(), value))
            else:
                parts.append(b"%s\n%s%s\n" % (name.encode(), len(value).to_bytes(8, "little"), value))
        parts.append(b"\n")
    return b"".join(parts)


def values(fields: Entry) -> dict[str, object]:
    return {name: value.decode() if is_text(value) else list(value) for name, value in fields}


def compact(entries: Iterable[Entry]) -> bytes:
    return b"".join(json.dumps(values(each), separators=(",", ":")).encode() + b"\n" for each in entries)


def spaced(entries: Iterable[Entry]) -> bytes:
    return b"".join(json.dumps(values(each)).encode() + b"\n" for each in entries)


def pretty(entries: Iterable[Entry]) -> bytes:
    return b"".join(
        json.dumps(values(each), indent="\t", separators=(",", " : ")).encode() + b"\n" for each in entries
    )


def pretty_old(entries: Iterable[Entry]) -> bytes:
    """As before systemd 236: an array is on one line."""
    out = []
    for each in entries:
        members = ",\n".join(f'\t"{name}" : {json.dumps(value)}' for name, value in values(each).items())
        out.append(f"{{\n{members}\n}}\n".encode())
    return b"".join(out)


FORMATS: dict[str, Callable[[Iterable[Entry]], bytes]] = {
    "export": export,
    "json": compact,
    "spaced": spaced,
    "json-pretty": pretty,
    "json-pretty, old": pretty_old,
}
EXPECTED = [("c2s", 64, MICROS * 1000), ("s2c", 32, (MICROS + 1000) * 1000)]


class Pieces(io.BytesIO):
    """A file that returns a few bytes at a time."""

    def read1(self, size: int | None = -1) -> bytes:
        return self.read(7)


def read(text: bytes, kind: type[io.BytesIO] = io.BytesIO) -> tuple[list[tuple[object, ...]], list[str]]:
    items = list(read_source(kind(text), "journal"))
    return (
        [
            (each.direction, len(each.data) + each.cut, each.time_ns)
            for each in items
            if isinstance(each, Chunk) and each.data
        ],
        [each.text for each in items if isinstance(each, Notice)],
    )


@pytest.mark.parametrize("kind", [io.BytesIO, Pieces])
@pytest.mark.parametrize("after", AFTER)
@pytest.mark.parametrize("name", FORMATS)
def test_messages_that_are_not_text(name: str, after: str, kind: type[io.BytesIO]) -> None:
    text = FORMATS[name]([entry(0, RX + AFTER[after]), entry(1, TX + AFTER[after])])
    assert read(text, kind) == (EXPECTED, [])


@pytest.mark.parametrize("name", FORMATS)
def test_journal_after_other_text(name: str) -> None:
    text = FORMATS[name]([entry(0, RX + b"\xff"), entry(1, TX + b"\xff")])
    prose = b"some line of prose\n" * 8000
    assert read(prose + text) == (EXPECTED, [])


@pytest.mark.parametrize("name", FORMATS)
def test_other_binary_fields_are_passed_over(name: str) -> None:
    fields = [("COREDUMP", RX + b"\xff\n" * 100), *entry(0, RX)]
    text = FORMATS[name]([fields, entry(1, TX + b"\xff")])
    assert read(text)[0] == EXPECTED


@pytest.mark.parametrize("name", FORMATS)
def test_bad_record_in_a_binary_message_is_reported(name: str) -> None:
    text = FORMATS[name]([entry(0, b"RPC_TLS_CONTEXT_NEW: \xff"), entry(1, TX + b"\xff")])
    found, notices = read(text)
    assert found == EXPECTED[1:]
    assert len(notices) == 1
    assert "RPC_TLS_CONTEXT_NEW: incomplete" in notices[0]


@pytest.mark.parametrize("size", [0, 5, 1 << 40, (1 << 63) - 1])
def test_wrong_lengths_lose_nothing_else(size: int) -> None:
    bad = b"__CURSOR=x\nMESSAGE\n" + size.to_bytes(8, "little") + RX + b"\n\n"
    assert read(bad + export([entry(0, RX), entry(1, TX)]))[0][-2:] == EXPECTED


def test_truncated_fields() -> None:
    whole = export([entry(0, RX), entry(1, TX + b"\xff")])
    for end in range(len(export([entry(0, RX)])) + 1, len(whole), 7):
        assert read(whole[:end])[0][0] == EXPECTED[0]


def test_numbers_of_lines_after_an_array_are_kept() -> None:
    text = pretty([entry(0, RX + b"\xff")])
    fields = JournalFields()
    assert (fields.block(text) + fields.end()).count(b"\n") == text.count(b"\n")
