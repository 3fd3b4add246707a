"""From Chunks to messages, with resynchronisation."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest

from libvirt_proto.capture.stream import messages
from libvirt_proto.events import Captured, Chunk, Closed, Connection, Direction, Item, Notice
from libvirt_proto.rpc.message import decode_message
from tests.support.packets import message

PROGRAMS = frozenset((0x20008086, 0x06900690, 0x6B656570))
ONE = Connection(1, "192.0.2.7:40000", "192.0.2.1:16509")
RAW = Connection(1, "", "", "raw")


def chunk(
    data: bytes,
    direction: Direction | None = "c2s",
    *,
    lost: int = 0,
    end: bool = False,
    cut: int = 0,
    connection: Connection = ONE,
    time_ns: int = 1,
) -> Chunk:
    return Chunk(connection, direction, time_ns, data, lost, end, cut)


def captured(items: Iterable[Item]) -> list[Captured]:
    """The messages, which are counted from 1."""
    found = [
        item for item in messages(items, decode_message, programs=PROGRAMS) if isinstance(item, Captured)
    ]
    assert [item.n for item in found] == list(range(1, len(found) + 1))
    return found


def read(items: Iterable[Item]) -> tuple[list[int], list[Notice]]:
    """The serials of complete messages, and the Notices."""
    items = list(items)
    found = list(messages(items, decode_message, programs=PROGRAMS))
    serials = [item.message.header.serial for item in captured(items) if not item.message.missing]
    return serials, [item for item in found if isinstance(item, Notice)]


def codes(notices: list[Notice]) -> list[str]:
    return [notice.code for notice in notices]


CALLS = [message(b"payload" * number, serial=number, proc=number + 1) for number in range(6)]


@pytest.mark.parametrize("step", [1, 3, 27, 28, 29, 1000])
def test_messages_in_pieces(step: int) -> None:
    stream = b"".join(CALLS)
    items = [chunk(stream[at : at + step], time_ns=at) for at in range(0, len(stream), step)]
    found = list(messages(items, decode_message, programs=PROGRAMS))
    ends = [sum(map(len, CALLS[: number + 1])) for number in range(6)]
    times = [(end - 1) // step * step for end in ends]
    assert [
        (item.n, item.time_ns, item.message.header.serial, item.message.data)
        for item in found
        if isinstance(item, Captured)
    ] == [(number + 1, times[number], number, found[number].message.data) for number in range(6)]  # type: ignore[union-attr]
    assert [item.message.length for item in found if isinstance(item, Captured)] == [
        len(call) for call in CALLS
    ]


def test_directions_and_connections_are_separate() -> None:
    two = Connection(2, "a", "b")
    items = [
        chunk(CALLS[1][:10]),
        chunk(CALLS[2][:20], "s2c"),
        chunk(CALLS[3][:30], connection=two),
        chunk(CALLS[1][10:]),
        chunk(CALLS[3][30:], connection=two),
        chunk(CALLS[2][20:], "s2c"),
    ]
    found = [
        (item.connection.id, item.direction, item.message.header.serial)
        for item in messages(items, decode_message, programs=PROGRAMS)
        if isinstance(item, Captured)
    ]
    assert found == [(1, "c2s", 1), (2, "c2s", 3), (1, "s2c", 2)]


def test_notices_of_the_source_pass_through() -> None:
    notice = Notice("truncated-file", "words")
    assert read([chunk(CALLS[1]), notice, chunk(CALLS[2])]) == ([1, 2], [notice])


@pytest.mark.parametrize("at", [1, 4, 27, 28, 40])
@pytest.mark.parametrize("end", [False, True])
def test_truncated_message(at: int, end: bool) -> None:
    serials, (notice,) = read([chunk(CALLS[1] + CALLS[5][:at]), chunk(b"", end=end)])
    assert serials == [1]
    assert notice.code == "incomplete-message"
    assert (
        notice.text
        == f"the last message is incomplete: it needs {63 if at >= 4 else 28} bytes, {at} available"
    )
    assert (notice.connection, notice.direction, notice.severity) == (ONE, "c2s", "error")


def test_unknown_programs_types_and_procedures_are_messages() -> None:
    items = [
        message(serial=1, prog=0x12345678),
        message(serial=2, type=9),
        message(b"x" * 99, serial=3, prog=0x12345678, vers=7, proc=-5, type=6, status=2),
        message(serial=4),
    ]
    assert read([chunk(b"".join(items))]) == ([1, 2, 3, 4], [])
    # But something must be known.
    serials, notices = read([chunk(items[3]), chunk(message(prog=1, type=77)), chunk(items[3])])
    assert (serials, codes(notices)) == ([4, 4], ["bad-frame", "resynchronised"])


@pytest.mark.parametrize("step", [1, 5, 64, 10_000])
@pytest.mark.parametrize(
    "garbage", [b"\xff" * 50, b"\x00" * 50, message(type=99, prog=5)[:28] + b"spare", b"\0\0\0\x1c" * 9]
)
def test_garbage_between_messages(step: int, garbage: bytes) -> None:
    stream = CALLS[1] + garbage + CALLS[2] + CALLS[3]
    items = [chunk(stream[at : at + step]) for at in range(0, len(stream), step)]
    serials, notices = read(items)
    assert serials == [1, 2, 3]
    assert codes(notices) == ["bad-frame", "resynchronised"]
    assert notices[1].text == f"{len(garbage)} bytes are skipped before the next message"


def test_garbage_up_to_the_end() -> None:
    serials, notices = read([chunk(CALLS[1]), chunk(b"\xff" * 70_000), chunk(b"\xee" * 1000, end=True)])
    assert serials == [1]
    assert codes(notices) == ["bad-frame", "no-message"]
    assert "71,000 bytes" in notices[1].text


def test_message_inside_a_payload_is_ignored() -> None:
    """When searching for the next message, a hit counts only if another message follows."""
    inner = message(b"inner", serial=77)[:-2] + b"more that does not follow a message"
    serials, notices = read([chunk(CALLS[1]), chunk(b"\xff\xff\xff\xff" + inner + CALLS[2] + CALLS[3])])
    assert serials == [1, 2, 3]
    assert codes(notices) == ["bad-frame", "resynchronised"]


def test_wrong_length_does_not_block() -> None:
    """A length word of 32 MiB before bytes that are not a header."""
    serials, notices = read([chunk(CALLS[1]), chunk(b"\x01\xff\xff\xff" + b"\xaa" * 40), chunk(CALLS[2])])
    assert serials == [1, 2]
    assert codes(notices) == ["bad-frame", "resynchronised"]


BIG = message(bytes(range(256)) * 20, serial=50, type=3, status=2)


@pytest.mark.parametrize(
    ("start", "lost"), [(28, 1), (100, 1000), (4, 5144), (100, 5048), (3000, 2148), (5147, 1)]
)
def test_lost_inside_a_message_of_known_length(start: int, lost: int) -> None:
    """The rest of the message is skipped exactly, whatever it contains."""
    rest = BIG[start + lost :]
    assert len(BIG) == 5148
    serials, notices = read(
        [chunk(CALLS[1] + BIG[:start]), chunk(rest + CALLS[2], lost=lost), chunk(CALLS[3])]
    )
    assert serials == [1, 2, 3]
    assert codes(notices) == ["lost-bytes"]
    assert notices[0].text == (
        f"{lost:,} byte{'s are' if lost > 1 else ' is'} lost; a message of 5148 bytes remains incomplete"
    )


def test_lost_twice_inside_a_message() -> None:
    items = [
        chunk(CALLS[1] + BIG[:100]),
        chunk(BIG[200:300], lost=100),
        chunk(BIG[1000:] + CALLS[2], lost=700),
    ]
    serials, notices = read(items)
    assert serials == [1, 2]
    assert codes(notices) == ["lost-bytes", "lost-bytes"]


@pytest.mark.parametrize("known", [0, 3, 50])
def test_lost_beyond_a_message(known: int) -> None:
    tail = b"the tail of another message"
    serials, notices = read([chunk(CALLS[1] + BIG[:known]), chunk(tail + CALLS[2] + CALLS[3], lost=9000)])
    assert serials == [1, 2, 3]
    assert codes(notices) == ["lost-bytes", "resynchronised"]
    assert notices[1].text.startswith("27 bytes are")


def test_lost_between_messages() -> None:
    serials, notices = read([chunk(CALLS[1]), chunk(CALLS[3], lost=len(CALLS[2]))])
    assert serials == [1, 3]
    assert codes(notices) == ["lost-bytes"]


def test_start_in_mid_connection_at_a_message() -> None:
    serials, notices = read([chunk(CALLS[1], lost=-1), chunk(CALLS[2], "s2c", lost=-1), chunk(CALLS[3])])
    assert serials == [1, 2, 3]
    assert [(notice.code, notice.severity) for notice in notices] == [("mid-connection", "note")]


@pytest.mark.parametrize("step", [1, 9, 5000])
def test_start_in_mid_message(step: int) -> None:
    stream = BIG[1000:] + CALLS[1] + CALLS[2]
    items = [chunk(stream[at : at + step], lost=-1 if at == 0 else 0) for at in range(0, len(stream), step)]
    serials, notices = read(items)
    assert serials == [1, 2]
    assert [(notice.code, notice.severity) for notice in notices] == [
        ("mid-connection", "note"),
        ("resynchronised", "note"),
    ]
    assert notices[1].text.startswith("4,148 bytes are")


@pytest.mark.parametrize("lost", [-1, 1, 3000, 9000])
@pytest.mark.parametrize("seen", [28, 29, 4000])
def test_partial_message_is_decoded(seen: int, lost: int) -> None:
    items = [chunk(CALLS[1]), chunk(BIG[:seen]), chunk(BIG[seen + lost :] if lost > 0 else b"", lost=lost)]
    (_, part, *_) = captured(items)
    header = part.message.header
    assert (header.prog, header.proc, header.serial, header.status) == (0x20008086, 1, 50, 2)
    assert (part.message.length, part.message.missing) == (5148, 5148 - seen)
    assert (part.message.data or b"") + (part.message.raw or b"") == BIG[28:seen]


@pytest.mark.parametrize("end", [False, True])
def test_partial_last_message_is_decoded(end: bool) -> None:
    _, part = captured([chunk(CALLS[1] + BIG[:40], end=end)])
    assert (part.message.header.serial, part.message.missing) == (50, 5108)
    assert captured([chunk(CALLS[1] + BIG[:27], end=end)])[1:] == []


@pytest.mark.parametrize("seen", [28, 40, 5147])
def test_cut_inside_one_message(seen: int) -> None:
    """The source announced that it omits them: nothing is lost."""
    items = [chunk(CALLS[1]), chunk(BIG[:seen], cut=len(BIG) - seen), chunk(CALLS[2])]
    assert read(items) == ([1, 2], [])
    assert [item.message.missing for item in captured(items)] == [0, len(BIG) - seen, 0]


def test_cut_in_two_pieces() -> None:
    """As when a message is read by several calls, each shown in part."""
    items = [
        chunk(BIG[:4]),
        chunk(BIG[4:36], cut=964),
        chunk(BIG[1000:1032], cut=len(BIG) - 1032),
        chunk(CALLS[2]),
    ]
    assert read(items) == ([2], [])
    assert [item.message.missing for item in captured(items)] == [len(BIG) - 36, 0]


def test_cut_spans_several_messages() -> None:
    items = [chunk(BIG[:40], cut=len(BIG) - 40 + len(CALLS[1])), chunk(CALLS[2]), chunk(CALLS[3])]
    serials, notices = read(items)
    assert serials == [2, 3]
    assert [notice.text for notice in notices] == ["35 bytes are not shown by the source"]
    serials, notices = read([chunk(CALLS[1], cut=28), chunk(CALLS[2])])
    assert (serials, codes(notices)) == ([1, 2], ["lost-bytes"])


def test_cut_inside_a_header() -> None:
    items = [chunk(CALLS[1] + BIG[:20], cut=len(BIG) - 20), chunk(CALLS[2])]
    serials, notices = read(items)
    assert serials == [1, 2]
    assert [notice.text for notice in notices] == [
        "the header of a message of 5148 bytes is not shown by the source"
    ]


def test_interrupted_stream() -> None:
    serials, notices = read([chunk(CALLS[1] + BIG[:90]), chunk(BIG[200:] + CALLS[2], lost=-1)])
    assert serials == [1, 2]
    assert codes(notices) == ["lost-bytes", "resynchronised"]


@pytest.mark.parametrize("step", [4, 11, 1000])
@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"GET / HTTP/1.0\r\nHost: x\r\n\r\n" + bytes(80), "HTTP"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(80), "TLS"),
        (b"SSH-2.0-OpenSSH_9.6\r\n" + bytes(80), "SSH"),
        (b"\xde\xad\xbe\xef" * 30, "nor another known protocol (it begins with de ad be ef"),
        (b"\x00\x00\x00\x54\x00\x03\x00\x00user\x00somebody\x00database\x00x" + bytes(60), "nor another"),
    ],
)
def test_other_protocols_are_named_once(data: bytes, words: str, step: int) -> None:
    items = [chunk(data[at : at + step]) for at in range(0, len(data), step)]
    items += [chunk(data, "s2c"), chunk(CALLS[1], "s2c"), chunk(b"", end=True), chunk(b"", "s2c", end=True)]
    serials, (notice,) = read(items)
    assert serials == []
    assert (notice.code, notice.severity) == ("encrypted" if words == "TLS" else "not-libvirt", "note")
    assert words in notice.text


def test_port_scan() -> None:
    _, (notice,) = read([chunk(b"", end=True), chunk(b"", "s2c", end=True)])
    assert (notice.code, notice.text) == (
        "not-libvirt",
        "the connection was opened and closed without data",
    )
    assert read([chunk(CALLS[1]), chunk(b"", end=True), chunk(b"", "s2c", end=True)]) == ([1], [])


def test_raw_stream_with_leading_garbage() -> None:
    serials, notices = read([chunk(b"some other bytes" + CALLS[1] + CALLS[2], None, connection=RAW)])
    assert serials == [1, 2]
    assert codes(notices) == ["resynchronised"]


def test_groups_of_hex_are_examined_separately() -> None:
    parts = [CALLS[1], b"GET / HTTP/1.0\r\n", CALLS[2] + CALLS[3][:30], CALLS[4], b"GET /"]
    serials, notices = read([chunk(part, None, connection=RAW, end=True) for part in parts])
    assert serials == [1, 2, 4]
    assert [(notice.code, notice.severity) for notice in notices] == [
        ("not-libvirt", "error"),
        ("incomplete-message", "error"),
        ("not-libvirt", "error"),
    ]


@pytest.mark.parametrize("procedure", [68, 69])
def test_security_layer_after_sasl(procedure: int) -> None:
    """After it, only the two ends can read the data: a length and bytes (RFC 4422 §3.7)."""
    cipher = random.Random(5)
    wrapped = [(200).to_bytes(4, "big") + cipher.randbytes(200) for _ in range(5)]
    items = [
        chunk(message(serial=1, proc=67)),
        chunk(message(serial=1, proc=67, type=1), "s2c"),
        chunk(message(b"x" * 8, serial=2, proc=procedure)),
        chunk(message(b"y" * 12, serial=2, proc=procedure, type=1), "s2c"),
        *(chunk(data, "s2c" if number % 2 else "c2s") for number, data in enumerate(wrapped)),
    ]
    serials, (notice,) = read(items)
    assert serials == [1, 1, 2, 2]
    assert (notice.code, notice.severity) == ("encrypted", "note")


def test_no_security_layer_after_sasl() -> None:
    items = [
        chunk(message(serial=1, proc=68)),
        chunk(message(serial=1, proc=68, type=1), "s2c"),
        chunk(CALLS[2]),
    ]
    assert read(items) == ([1, 1, 2], [])


def test_ended_connections_are_forgotten() -> None:
    """A reader of many connections keeps none of them."""
    from libvirt_proto.capture.stream import _Programs, _Reader

    reader = _Reader(decode_message, _Programs(PROGRAMS))
    items = []
    for number in range(1, 50):
        connection = Connection(number, "a", "b")
        items += [chunk(CALLS[1], connection=connection), chunk(b"", connection=connection, end=True)]
        items += [chunk(b"", "s2c", connection=connection, end=True)]
    found = list(reader.read(items))
    assert [item.connection.id for item in found if isinstance(item, Captured)] == list(range(1, 50))
    assert [item.connection.id for item in found if isinstance(item, Closed)] == list(range(1, 50))
    assert len(found) == 98
    assert not reader._streams
    assert not reader._conversations


def test_large_message_in_small_pieces_takes_linear_work() -> None:
    big = message(bytes(8 << 20), serial=3)
    items = (chunk(big[at : at + 1448]) for at in range(0, len(big), 1448))
    assert read(items) == ([3], [])


def test_hostile_garbage_takes_linear_work() -> None:
    """Two messages, then garbage, repeatedly."""
    ping = message(prog=0x6B656570, type=2)
    stream = (ping * 2 + b"\xff" * 5) * 20_000
    serials, notices = read([chunk(stream[:100_000]), chunk(stream[100_000:])])
    assert len(serials) == 40_000
    assert codes(notices) == ["bad-frame", "resynchronised"] * 19_999 + ["bad-frame", "no-message"]


SERVER_SIDE = Connection(1, "192.0.2.7:40000", "192.0.2.1:16509@0x5605eed4b160", "log", side="server")


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ([("s2c", 5, False), ("c2s", 6, False)], ("s2c", False)),
        ([("c2s", 5, False), ("s2c", 6, False)], ("c2s", False)),
        ([("s2c", 5, True), ("c2s", 5, False)], ("s2c", True)),
        ([("c2s", 5, False), ("s2c", 5, False)], (None, False)),
        ([("c2s", None, False), ("s2c", None, False)], ("c2s", False)),
    ],
    ids=["daemon", "client", "reset by the daemon", "at once", "without times"],
)
def test_closed_connection_names_the_direction_that_ended_first(
    ends: list[tuple[Direction, int | None, bool]], expected: tuple[Direction | None, bool]
) -> None:
    items = [chunk(CALLS[1], time_ns=1)]
    items += [Chunk(ONE, way, time, b"", 0, True, 0, None, reset) for way, time, reset in ends]
    (closed,) = (
        item for item in messages(items, decode_message, programs=PROGRAMS) if isinstance(item, Closed)
    )
    assert (closed.first, closed.reset) == expected


def test_end_in_a_log_does_not_name_who_closed() -> None:
    items = [
        chunk(CALLS[1], connection=SERVER_SIDE),
        chunk(b"", connection=SERVER_SIDE, end=True, time_ns=5),
        chunk(b"", "s2c", connection=SERVER_SIDE, end=True, time_ns=6),
    ]
    (closed,) = (
        item for item in messages(items, decode_message, programs=PROGRAMS) if isinstance(item, Closed)
    )
    assert closed.first is None


@pytest.mark.parametrize(
    ("data", "protocol"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" + bytes(30), "HTTP"),
        (b"\x16\x03\x01\x02\x00\x01" + bytes(40), "TLS"),
        (b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n", "SSH"),
        (b"\x80\x00\x00\x28" + bytes(40), "ONC RPC"),
        (b"\x01\x02\x03\x04" * 20, "unknown"),
        (b"", ""),
    ],
    ids=["HTTP", "TLS", "SSH", "ONC RPC", "unknown", "nothing"],
)
def test_notice_names_the_other_protocol(data: bytes, protocol: str) -> None:
    items = [chunk(data), chunk(b"", end=True), chunk(b"", "s2c", end=True)]
    _, (notice,) = read(items)
    assert notice.protocol == protocol


def test_connection_that_one_side_closed_ends_with_the_input() -> None:
    """A stuck daemon never closes its side."""
    items = [
        chunk(CALLS[0], time_ns=1),
        chunk(CALLS[2], "s2c", time_ns=2),
        chunk(CALLS[1], time_ns=3),
        chunk(b"", end=True, time_ns=4),
    ]
    found = list(messages(items, decode_message, programs=PROGRAMS))
    assert [item for item in found if isinstance(item, Closed)] == [Closed(ONE, 4, "c2s")]
    unclosed = list(messages(items[:-1], decode_message, programs=PROGRAMS))
    assert not any(isinstance(item, Closed) for item in unclosed)
