"""The sans-IO core of the server: what clients may send, and what they must not."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libvirt_proto import decode_message
from libvirt_proto.client.core import ClientCore, Failed
from libvirt_proto.errors import BadValue, FrameError
from libvirt_proto.generated import remote
from libvirt_proto.registry import program
from libvirt_proto.rpc.message import Header
from libvirt_proto.server.core import Call, ServerCore, StreamMessage, error_frame
from tests.support.frames import frame, text, word

KEEPALIVE = {"prog": 0x6B656570, "type_": 2}
LIMIT = 1 << 16


def core(*, unix: bool = False) -> ServerCore:
    return ServerCore(unix=unix, max_frame=LIMIT)


def test_returns_calls_and_stream_messages_of_any_pieces() -> None:
    data = frame(text(b"vm1"), proc=23, serial=7) + frame(b"data", proc=209, type_=3, serial=7, status=2)
    server = core()
    received = [each for i in range(len(data)) for each in server.receive(data[i : i + 1])]
    call = Header(0x20008086, 1, 23, 0, 7, 0)
    assert received == [
        Call(call, text(b"vm1")),
        StreamMessage(Header(0x20008086, 1, 209, 3, 7, 2), 4),
    ]
    assert server.error is None


def test_answers_pings() -> None:
    server = core()
    assert server.receive(frame(proc=1, **KEEPALIVE)) == []
    assert server.receive(frame(proc=2, **KEEPALIVE)) == []
    assert server.take_output() == [frame(proc=2, **KEEPALIVE)]


def test_replaces_only_the_serial() -> None:
    server = core()
    server.send(frame(b"\1\2\3\4", type_=1, serial=9), 0xFFFFFFFE)
    server.send(frame(b"\1\2\3\4", type_=2, serial=9))
    assert server.take_output() == [
        frame(b"\1\2\3\4", type_=1, serial=0xFFFFFFFE),
        frame(b"\1\2\3\4", type_=2, serial=9),
    ]


@pytest.mark.parametrize("header", [{"type_": 1}, {"type_": 2}, {"type_": 9}, {"status": 1}, {"type_": -1}])
def test_rejects_what_no_client_sends(header: dict[str, int]) -> None:
    server = core()
    assert server.receive(frame(**header) + frame()) == []
    assert isinstance(server.error, BadValue)
    assert server.receive(frame()) == []


@pytest.mark.parametrize("length", [0, 27, LIMIT + 1, 0xFFFFFFFF])
def test_rejects_length_words(length: int) -> None:
    server = core()
    assert server.receive(word(length)) == []
    assert isinstance(server.error, FrameError)


def test_returns_descriptors_with_their_call_and_stray_ones() -> None:
    server = core(unix=True)
    fds = [os.open("/dev/null", os.O_RDONLY) for _ in range(3)]
    try:
        assert server.receive(frame(word(1), type_=4)) == []
        assert server.take_stray() == []
        [call] = server.receive(b"\0", fds[:1])
        assert isinstance(call, Call)
        assert call.fds == (fds[0],)
        assert server.receive(b"", fds[1:]) == []
        assert server.take_stray() == fds[1:]
    finally:
        for fd in fds:
            os.close(fd)


def test_keepalive_with_descriptors_is_a_call_and_returns_them() -> None:
    """As a message without an answer it would lose them."""
    [call] = core(unix=True).receive(frame(word(1), prog=0x6B656570, proc=1, type_=4) + b"\0", [99])
    assert isinstance(call, Call)
    assert call.fds == (99,)


def test_client_understands_the_error() -> None:
    client = ClientCore()
    remote_program = program("remote")
    lookup = remote_program.procedure("domain_lookup_by_name")
    serial = client.call(remote_program, lookup, remote.RemoteDomainLookupByNameArgs("x"))
    server = core()
    [call] = server.receive(client.take_output()[0].data)
    assert isinstance(call, Call)
    server.send(error_frame(call.header, "not here"), call.header.serial)
    [failed] = client.receive(server.take_output()[0])
    assert isinstance(failed, Failed)
    assert (failed.serial, str(failed.error)) == (serial, "VIR_ERR_RPC: not here")
    assert (failed.error.domain_name, failed.error.level_name) == ("VIR_FROM_RPC", "VIR_ERR_ERROR")


def test_error_of_a_stream_is_a_message_of_the_stream() -> None:
    message = decode_message(error_frame(Header(0x20008086, 1, 209, 3, 4, 2), "no", stream=True), "s2c")
    assert (message.header.type, message.header.status, message.header.serial) == (3, 1, 4)
    assert message.payload.message == "no"


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_give_a_value_or_an_error(data: bytes, unix: bool) -> None:
    server = core(unix=unix)
    for each in server.receive(word(28 + len(data) % 40) + data):
        assert isinstance(each, Call | StreamMessage)
