"""Bytes as text: notices, groups, and parts of messages."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from libvirt_proto.capture.bytetext.reader import byte_chunks, looks_like_byte_text, message_bytes
from libvirt_proto.cli.main import main
from libvirt_proto.events import Chunk, Item, Notice
from tests.support.packets import message

REPLY = message(b"\0\0\0\4test" + bytes(20), proc=23, type=1)
LOOKUP = "remote.1.domain_lookup_by_name(reply, ok, 0) len=56"


def run(*arguments: str, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(main, arguments, input=stdin)


def read(text: str, *, forced: bool = False) -> list[Item]:
    return list(byte_chunks(io.BytesIO(text.encode()).read, forced=forced))


def data(items: list[Item]) -> bytes:
    return b"".join(item.data for item in items if isinstance(item, Chunk))


def notices(items: list[Item]) -> list[tuple[str, str]]:
    return [(item.code, item.text) for item in items if isinstance(item, Notice)]


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("size", [4, 8])
def test_states_byte_order_of_words(size: int, order: str) -> None:
    units = [REPLY[at : at + size] for at in range(0, len(REPLY), size)]
    words = [unit if order == "big" else unit[::-1] for unit in units]
    items = read("0x7ffe0000:\t" + "\t".join(f"0x{word.hex()}" for word in words))
    assert data(items) == REPLY
    assert notices(items) == [
        ("byte-order", f"words of {size} bytes are read as {order}-endian (so they are a message)")
    ]


def test_assumes_little_endian_words_without_message() -> None:
    items = read("0000000 0201 0403\n0000004\n")
    assert data(items) == b"\1\2\3\4"
    assert notices(items) == [
        (
            "byte-order",
            "words of 2 bytes are read as little-endian (assumed: it is the order of most machines)",
        )
    ]


def test_reports_text_before_bytes() -> None:
    items = read(f"Hello\n(gdb) x/56xb buffer\n{REPLY.hex()}\n")
    assert data(items) == REPLY
    assert notices(items) == [("other-text", "2 lines before the bytes are other text, from 'Hello' on")]


def test_labels_separate_messages() -> None:
    items = read(f"call:\n{message().hex()}\nreply:\n{REPLY.hex()}\n")
    assert [item.data for item in items if isinstance(item, Chunk)] == [message(), REPLY]
    assert not notices(items)


@pytest.mark.parametrize(
    ("text", "forced"),
    [
        ("[0, 0, 0, 1, 116]", b"\0\0\0\1t"),
        ("AAAAAWFiY2RlZmdoaWprbG1ub3A=", b"\0\0\0\1abcdefghijklmnop"),
        ("dGVzdA==", b"test"),
    ],
)
def test_weak_forms_need_to_be_forced(text: str, forced: bytes) -> None:
    assert not looks_like_byte_text(text.encode())
    assert not data(read(text))
    assert data(read(text, forced=True)) == forced


def test_rejects_od_with_names() -> None:
    items = read("0000000 nul nul nul   8  sp nul nul ack\n0000010\n", forced=True)
    assert notices(items) == [("bad-hex", "line 1: od -a leaves out a bit of each byte; use od -t x1")]
    assert not data(items)


def test_rejects_star_without_offsets() -> None:
    items = read(f"{REPLY.hex()}\n*\n")
    assert notices(items) == [
        ("bad-hex", "line 2: `*` represents an unknown number of lines; use od -v, or keep the offsets")
    ]


def test_limits_repeats() -> None:
    items = read("{0x00 <repeats 999999999 times>, 0x1, 0x2, 0x3}", forced=True)
    assert not data(items)
    assert notices(items) == [
        ("bad-hex", "line 1: `<repeats>` represents 999,999,999 bytes: the longest message has 33,554,436")
    ]


def test_repeats_may_exceed_the_sample() -> None:
    head = message(bytes(200_000), proc=209, type=3)[:28]
    items = read(f"$1 = {{{', '.join(map(hex, head))}, 0x0 <repeats 200000 times>}}")
    assert data(items) == head + bytes(200_000)
    assert not notices(items)


def test_message_bytes_of_words() -> None:
    assert message_bytes(REPLY.hex(" ", 4)) == REPLY
    assert message_bytes(str(list(REPLY))) == REPLY
    assert message_bytes("66 182") is None
    assert message_bytes("remote_domain_lookup_by_name_ret remote_nonnull_domain REMOTE_STRING_MAX") is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "20008086 00000001 00000042 00000000 00000000 00000000",
            "remote.auth_list call ok, serial 0, a header",
        ),
        (
            "00000001 00000004 74657374 dc229f87d4de47198cfd2e21c6105b01 0000000e",
            "a payload without its header",
        ),
        (
            "00000037 0000000a 00000001 00000007 72656675736564 00 00000002",
            "the payload of an error without its header and its end: code 55",
        ),
    ],
)
def test_decode_names_parts_of_messages(text: str, words: str) -> None:
    result = run("decode", "-", stdin=text.encode())
    assert result.exit_code == 1
    assert f"not a message but {words}" in result.stderr


def test_field_samples(shared: Path) -> None:
    """The same message in 38 forms."""
    outputs = {
        path.name: run("decode", "--format", "monitor", str(path)).stdout.split("msg=")[1:]
        for path in (shared / "field" / "hex").glob("[a-j]*")
    }
    assert outputs == {name: [LOOKUP + "\n"] for name in outputs}
