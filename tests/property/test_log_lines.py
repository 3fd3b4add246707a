"""Lines in libvirt's format give back their numbers; any text gives items."""

from __future__ import annotations

import io
from struct import unpack

from hypothesis import given
from hypothesis import strategies as st

from libvirt_proto.capture.log.source import log_chunks
from libvirt_proto.capture.stream import messages
from libvirt_proto.events import Captured, Chunk, Closed, ConnectionEvent, Notice
from libvirt_proto.rpc.message import decode_message
from libvirt_proto.rpc.wire import MAX_FRAME

PROGRAMS = frozenset((0x20008086, 0x6B656570))
UNSIGNED, SIGNED = st.integers(0, 2**32 - 1), st.integers(-(2**31), 2**31 - 1)
NAMES = st.sampled_from(
    (
        "CLIENT_MSG_TX_QUEUE",
        "CLIENT_MSG_RX",
        "SERVER_CLIENT_MSG_RX",
        "SERVER_CLIENT_MSG_TX_QUEUE",
        "CLIENT_NEW",
        "CLIENT_DISPOSE",
        "SERVER_CLIENT_NEW",
        "SERVER_CLIENT_DISPOSE",
        "SOCKET_NEW",
        "SOCKET_DISPOSE",
        "SOCKET_SEND_FD",
        "KEEPALIVE_NEW",
        "KEEPALIVE_DISPOSE",
        "TLS_SESSION_NEW",
    )
)
WORDS = st.builds(
    "{}={}".format,
    st.sampled_from(("client", "sock", "ka", "len", "prog", "vers", "proc", "type", "status", "serial", "x")),
    st.sampled_from(("0x1", "0x2", "0", "1", "28", "32", "-1", "536903814", "(nil)", "", "127.0.0.1;7,")),
)
MESSAGE = "client=0x1 len=28 prog=536903814 vers=1 proc=1 type=0 status=0 serial=0"
STARTS = st.sampled_from(
    (
        "2026-11-22 21:45:08.121+0000: 1: info : ",
        "2026-11-22 21:45:08.121+0000: 1: info : f:1 : ",
        "Nov 22 21:45:08 host libvirtd[1]: ",
        "",
    )
)
LINES = st.builds(
    "{}RPC_{}: {}".format,
    STARTS,
    NAMES,
    st.one_of(st.lists(WORDS, max_size=9).map(" ".join), st.just(MESSAGE), st.text(max_size=30)),
)


@st.composite
def extended(draw: st.DrawFn, number: int) -> int:
    """The number as a 64-bit printf may write it: unchanged, zero-extended or sign-extended."""
    low = number & 0xFFFFFFFF
    return draw(st.sampled_from((number, low, low | 0xFFFFFFFF00000000, low - 2**32)))


@given(st.data(), st.integers(28, MAX_FRAME), st.tuples(UNSIGNED, UNSIGNED, SIGNED, SIGNED, UNSIGNED, SIGNED))
def test_headers_round_trip(data: st.DataObject, length: int, header: tuple[int, ...]) -> None:
    prog, vers, proc, type_, serial, status = (data.draw(extended(number)) for number in header)
    line = (
        "2026-11-22 21:45:08.121+0000: 1: info : f:1 : RPC_CLIENT_MSG_RX: client=0x1"
        f" len={length} prog={prog} vers={vers} proc={proc} type={type_} status={status} serial={serial}"
    )
    (chunk,) = log_chunks(io.BytesIO(line.encode()).read)
    assert isinstance(chunk, Chunk)
    assert unpack(">IIIiiIi", chunk.data) == (length, *header)
    assert len(chunk.data) + chunk.cut == length


def check(text: bytes) -> None:
    """Check that no Chunk follows an end, and that every item has valid types."""
    ended = set()

    def counted():  # type: ignore[no-untyped-def]
        for item in log_chunks(io.BytesIO(text).read):
            if isinstance(item, Chunk):
                assert (item.connection, item.direction) not in ended
                if item.end:
                    ended.add((item.connection, item.direction))
            yield item

    for item in messages(counted(), decode_message, programs=PROGRAMS):
        assert isinstance(item, Captured | Closed | ConnectionEvent | Notice)


@given(st.binary(max_size=300))
def test_any_bytes_are_read(text: bytes) -> None:
    check(text)


@given(st.lists(LINES, max_size=20))
def test_any_lines_are_read(lines: list[str]) -> None:
    check("\n".join(lines).encode("utf-8", "surrogatepass"))
