"""The server of recorded answers over real sockets, with well-behaved and hostile clients."""

from __future__ import annotations

import array
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import libvirt_proto
from libvirt_proto import LibvirtError, connect_sync, decode_message
from libvirt_proto.server.replay import MAX_CONNECTIONS, MAX_FRAME
from libvirt_proto.testing import ReplayServer, replay_server
from tests.support.conversations import procedure
from tests.support.frames import frame, text, word
from tests.support.relays import client as connect
from tests.support.replays import Said, ask, client, pcapng, receive, server

HOSTNAME = procedure("connect_get_hostname")
TYPE = procedure("connect_get_type")
AUTH_LIST = procedure("auth_list")
OPEN = procedure("connect_open")
FEATURE = procedure("connect_supports_feature")
SCREENSHOT = procedure("domain_screenshot")
UPLOAD = procedure("storage_vol_upload")
EVENT = procedure("connect_event_connection_closed")
PING = frame(prog=0x6B656570, proc=1, type_=2)
PONG = frame(prog=0x6B656570, proc=2, type_=2)


def exchange(proc: int, args: bytes, ret: bytes, serial: int, connection: int = 1) -> list[Said]:
    return [
        client(frame(args, proc=proc, serial=serial), connection=connection),
        server(frame(ret, proc=proc, type_=1, serial=serial), connection=connection),
    ]


TWO_NAMES = pcapng(
    [
        *exchange(HOSTNAME, b"", text(b"one"), 5),
        *exchange(TYPE, b"", text(b"TEST"), 6),
        *exchange(HOSTNAME, b"", text(b"two"), 7),
        *exchange(HOSTNAME, b"", text(b"other"), 0, connection=2),
    ]
)


def error(data: bytes) -> str:
    message = decode_message(data, "s2c")
    assert (message.header.status, message.payload.code) == (1, 39)
    return str(message.payload.message)


def test_equal_calls_get_their_answers_in_order_then_the_last_again() -> None:
    with replay_server(TWO_NAMES) as running, connect(running.address) as one:
        found = [ask(one, frame(proc=HOSTNAME, serial=serial)) for serial in range(40, 44)]
    names = [text(b"one"), text(b"two"), text(b"other"), text(b"other")]
    assert found == [
        frame(name, proc=HOSTNAME, type_=1, serial=serial) for serial, name in enumerate(names, 40)
    ]


@pytest.mark.parametrize("name", ["tour.pcap", "stream-events-keepalive.pcap", "virsh-domname.pcap"])
@pytest.mark.parametrize("order", ["any", "recorded"])
def test_every_recorded_call_gets_its_reply(captures: Path, name: str, order: str) -> None:
    """Descriptors excepted. Streams and events come between the replies."""
    with libvirt_proto.open(captures / name) as capture:
        exchanges = [each for each in capture.exchanges() if each.outcome in ("ok", "error")]
    connections = {each.connection.id for each in exchanges}
    with replay_server(captures / name, order=order) as running, ExitStack() as stack:
        clients = {each: stack.enter_context(connect(running.address)) for each in sorted(connections)}
        for each in sorted(exchanges, key=lambda each: each.call.n if each.call else 0):
            assert each.call is not None
            assert each.reply is not None
            one = clients[each.connection.id]
            one.sendall(libvirt_proto.encode_message(each.call.message))
            while (got := decode_message(receive(one), "s2c")).header.type != 1:
                pass
            assert got == each.reply.message
        assert running.unrecorded == {}


def test_unrecorded_call_gets_an_error_that_names_it_and_is_counted() -> None:
    with replay_server(TWO_NAMES) as running:
        with connect_sync(running.uri()) as connection:
            with pytest.raises(LibvirtError, match=r"VIR_ERR_RPC: domain_lookup_by_name: .* not recorded"):
                connection.remote.domain_lookup_by_name(name="x")
            assert connection.remote.connect_get_hostname().hostname == "one"
        with connect(running.address) as one:
            assert error(ask(one, frame(b"args", proc=HOSTNAME))).startswith("connect_get_hostname: ")
            assert error(ask(one, frame(prog=7))) == (
                "program 0x7, version 1, procedure 66: this call was not recorded"
            )
        assert running.unrecorded == {
            "domain_lookup_by_name": 1,
            "connect_get_hostname": 1,
            "program 0x7, version 1, procedure 66": 1,
        }


def test_setup_needs_no_recording() -> None:
    with replay_server(TWO_NAMES) as running, connect(running.address) as one:
        assert ask(one, frame(proc=AUTH_LIST)) == frame(word(1) + word(0), proc=AUTH_LIST, type_=1)
        assert ask(one, frame(b"any uri", proc=OPEN, serial=1)) == frame(proc=OPEN, type_=1, serial=1)
        assert ask(one, frame(word(15), proc=FEATURE)) == frame(word(0), proc=FEATURE, type_=1)
        assert ask(one, PING) == PONG
        assert running.unrecorded == {}


def test_recorded_setup_is_replayed_but_never_authentication() -> None:
    sasl = exchange(AUTH_LIST, b"", word(1) + word(1), 0)
    capture = pcapng([*sasl, *exchange(FEATURE, word(15), word(1), 1), *exchange(TYPE, b"", text(b"x"), 2)])
    with replay_server(capture) as running, connect(running.address) as one:
        assert ask(one, frame(word(15), proc=FEATURE)) == frame(word(1), proc=FEATURE, type_=1)
        assert ask(one, frame(proc=AUTH_LIST)) == frame(word(1) + word(0), proc=AUTH_LIST, type_=1)


def test_recorded_order_is_that_of_each_connection() -> None:
    with replay_server(TWO_NAMES, order="recorded") as running:
        with connect(running.address) as one, connect(running.address) as two:
            ask(one, frame(proc=OPEN))
            assert error(ask(one, frame(proc=TYPE))) == (
                "connect_get_type: the next recorded call is connect_get_hostname"
            )
            assert "other arguments" in error(ask(one, frame(b"args", proc=HOSTNAME)))
            assert ask(two, frame(proc=HOSTNAME)) == frame(text(b"other"), proc=HOSTNAME, type_=1)
            for proc, ret in ((HOSTNAME, b"one"), (TYPE, b"TEST"), (HOSTNAME, b"two")):
                assert ask(one, frame(proc=proc)) == frame(text(ret), proc=proc, type_=1)
            assert "no further call" in error(ask(one, frame(proc=HOSTNAME)))
        assert running.unrecorded == {"connect_get_type": 1, "connect_get_hostname": 2}


def test_pipelined_calls_are_answered_in_order_at_once() -> None:
    with replay_server(TWO_NAMES) as running, connect(running.address) as one:
        one.sendall(b"".join(frame(proc=TYPE, serial=serial) for serial in range(3000)))
        serials = [int.from_bytes(receive(one)[20:24]) for _ in range(3000)]
    assert serials == list(range(3000))


def test_timing_keeps_overtaken_replies() -> None:
    """The call with the long latency is answered last, although it was sent first."""
    capture = pcapng(
        [
            client(frame(proc=HOSTNAME, serial=0), 0.0),
            client(frame(proc=TYPE, serial=1), 0.0),
            server(frame(text(b"TEST"), proc=TYPE, type_=1, serial=1), 0.1),
            server(frame(text(b"slow"), proc=HOSTNAME, type_=1, serial=0), 0.4),
        ]
    )
    calls = frame(proc=HOSTNAME, serial=8) + frame(proc=TYPE, serial=9)
    for timing, order in ((True, [9, 8]), (False, [8, 9])):
        with replay_server(capture, timing=timing) as running, connect(running.address) as one:
            one.sendall(calls)
            assert [int.from_bytes(receive(one)[20:24]) for _ in range(2)] == order


def test_events_follow_once_per_connection() -> None:
    event = frame(word(0), proc=EVENT, type_=2, serial=1)
    capture = pcapng([*exchange(HOSTNAME, b"", text(b"a"), 0), server(event)])
    with replay_server(capture) as running:
        for _ in range(2):
            with connect(running.address) as one:
                assert ask(one, frame(proc=HOSTNAME, serial=3))[12:16] == word(HOSTNAME)
                assert receive(one) == event
                assert ask(one, frame(proc=HOSTNAME, serial=4))[12:16] == word(HOSTNAME)
                assert ask(one, PING) == PONG


def stream(proc: int, data: bytes = b"", status: int = 2, serial: int = 0) -> bytes:
    return frame(data, proc=proc, type_=3, status=status, serial=serial)


def test_upload_is_confirmed_when_the_client_has_sent_it() -> None:
    capture = pcapng(
        [
            *exchange(UPLOAD, b"args", b"", 0),
            client(stream(UPLOAD, b"12345678")),
            client(stream(UPLOAD, status=0)),
            server(stream(UPLOAD, status=0)),
        ]
    )
    with replay_server(capture) as running, connect(running.address) as one:
        assert ask(one, frame(b"args", proc=UPLOAD, serial=7)) == frame(proc=UPLOAD, type_=1, serial=7)
        # In other pieces than recorded, and nothing is confirmed before the end.
        for piece in (b"123", b"45678"):
            one.sendall(stream(UPLOAD, piece, serial=7))
        assert ask(one, PING) == PONG
        assert ask(one, stream(UPLOAD, status=0, serial=7)) == stream(UPLOAD, status=0, serial=7)


def test_aborted_stream_is_confirmed_and_the_connection_usable() -> None:
    download = [
        server(stream(SCREENSHOT, b"x" * 100)),
        server(stream(SCREENSHOT)),
        client(stream(SCREENSHOT, status=0)),
    ]
    capture = pcapng(
        [*exchange(SCREENSHOT, b"args", word(0), 0), *download, server(stream(SCREENSHOT, status=0))]
    )
    with replay_server(capture) as running, connect(running.address) as one:
        ask(one, frame(b"args", proc=SCREENSHOT, serial=7))
        assert [receive(one) for _ in range(2)] == [
            stream(SCREENSHOT, b"x" * 100, serial=7),
            stream(SCREENSHOT, serial=7),
        ]
        assert error(ask(one, stream(SCREENSHOT, status=1, serial=7))) == "stream aborted at client request"
        assert ask(one, PING) == PONG


def test_stream_without_a_recorded_end_fails_instead_of_hanging() -> None:
    capture = pcapng([*exchange(SCREENSHOT, b"args", word(0), 0), server(stream(SCREENSHOT, b"x"))])
    with replay_server(capture) as running, connect(running.address) as one:
        ask(one, frame(b"args", proc=SCREENSHOT))
        assert receive(one) == stream(SCREENSHOT, b"x")
        assert "was not recorded" in error(ask(one, stream(SCREENSHOT, status=0)))


def test_connection_that_was_closed_instead_of_a_reply_is_closed() -> None:
    capture = pcapng([*exchange(TYPE, b"", text(b"TEST"), 0), client(frame(proc=HOSTNAME, serial=1))])
    with replay_server(capture) as running, connect(running.address) as one:
        assert ask(one, frame(proc=TYPE))
        assert ask(one, frame(proc=HOSTNAME)) == b""


# Hostile clients


@pytest.fixture(scope="module", autouse=True)
def no_unhandled_errors() -> Iterator[None]:
    """asyncio logs exceptions that nothing handles."""
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign]
    logging.getLogger("asyncio").addHandler(handler)
    yield
    logging.getLogger("asyncio").removeHandler(handler)
    assert [record.getMessage() for record in records] == []


@pytest.fixture(scope="module")
def running() -> Iterator[ReplayServer]:
    with replay_server(TWO_NAMES) as server:
        yield server


def check(server: ReplayServer) -> None:
    """The server answers others."""
    with connect(server.address) as one:
        assert ask(one, frame(proc=TYPE)) == frame(text(b"TEST"), proc=TYPE, type_=1)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.0\r\n\r\n",
        word(MAX_FRAME + 1),
        word(27),
        frame(type_=1),
        frame(type_=2),
        frame(status=1),
    ],
    ids=["http", "long", "short", "reply", "event", "status"],
)
def test_other_bytes_end_the_connection(running: ReplayServer, data: bytes) -> None:
    with connect(running.address) as one:
        one.sendall(data)
        assert receive(one) == b""
    check(running)
    assert running.problems[-1].startswith("a connection was closed: ")


@settings(max_examples=30)
@given(st.lists(st.binary(max_size=100) | st.integers(28, 200).map(word), max_size=5))
def test_any_bytes_leave_the_server_alive(running: ReplayServer, pieces: list[bytes]) -> None:
    with connect(running.address) as one:
        one.sendall(b"".join(pieces))
    check(running)


def test_longer_messages_are_accepted_if_they_were_recorded() -> None:
    args = bytes(MAX_FRAME)
    capture = pcapng(exchange(HOSTNAME, args, text(b"x"), 0))
    with replay_server(capture) as running, connect(running.address) as one:
        assert ask(one, frame(args, proc=HOSTNAME)) == frame(text(b"x"), proc=HOSTNAME, type_=1)


def test_number_of_connections_is_limited() -> None:
    with replay_server(TWO_NAMES) as running:
        with ExitStack() as stack:
            clients = [stack.enter_context(connect(running.address)) for _ in range(MAX_CONNECTIONS)]
            assert [ask(one, PING) for one in clients] == [PONG] * MAX_CONNECTIONS
            with connect(running.address) as another:
                assert another.recv(1) == b""
        assert running.problems == [f"a connection was refused: there are {MAX_CONNECTIONS} already"]


def test_client_that_does_not_read_is_not_read() -> None:
    """Its calls wait in the sockets' buffers, not in the server."""
    capture = pcapng(exchange(HOSTNAME, b"", text(bytes(1 << 20)), 0))
    calls = frame(proc=HOSTNAME) * 20_000
    with replay_server(capture) as running, connect(running.address) as one:
        one.setblocking(False)
        sent, idle = 0, 0
        while idle < 20 and sent < 50 * len(calls):
            try:
                sent += one.send(calls)
                idle = 0
            except BlockingIOError:
                idle += 1
                check_idle(running)
        assert idle == 20
        check_idle(running)


def check_idle(server: ReplayServer) -> None:
    with connect(server.address) as one:
        assert ask(one, PING) == PONG


def test_descriptors_are_closed_and_refused(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with replay_server(TWO_NAMES, listen=f"unix:{tmp_path}/s") as running:
        assert (tmp_path / "s").stat().st_mode & 0o777 == 0o600
        with connect(running.address) as one, open("/dev/null") as null:
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [null.fileno()]))]
            one.sendall(frame(word(1), proc=HOSTNAME, type_=4))
            one.sendmsg([b"\0"], rights)
            assert "not recorded" in error(receive(one))
            one.sendmsg([PING], rights)
            assert receive(one) == PONG
            one.sendall(frame(word(32), proc=HOSTNAME, type_=4))
            one.sendmsg([b"\0"], rights)
    assert not (tmp_path / "s").exists()
    assert len(os.listdir("/proc/self/fd")) == before
