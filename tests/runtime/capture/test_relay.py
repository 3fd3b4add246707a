"""The relay with real sockets: nothing is lost, changed or delayed."""

from __future__ import annotations

import array
import hashlib
import os
import random
import resource
import socket
import struct
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from libvirt_proto.capture.address import Address
from libvirt_proto.capture.feed import Feed
from libvirt_proto.events import Chunk, Direction, Notice
from tests.support.relays import PATIENCE, answer_at_end, client, echo, read_all, relayed, served, through

PAIRS = ["unix-unix", "unix-tcp", "tcp-unix", "tcp-tcp", "six-six"]


def seen(feed: Feed) -> tuple[dict[tuple[int, Direction | None], bytes], list[Notice], list[Chunk]]:
    """The bytes of each direction, the Notices, and the ends, of a closed feed."""
    found: dict[tuple[int, Direction | None], bytes] = {}
    notices: list[Notice] = []
    ends: list[Chunk] = []
    for item in feed.items():
        if isinstance(item, Notice):
            notices.append(item)
        elif isinstance(item, Chunk):
            key = item.connection.id, item.direction
            found[key] = found.get(key, b"") + item.data
            ends += [item] * item.end
    return found, notices, ends


@pytest.mark.parametrize("kinds", PAIRS)
def test_relays_bytes_both_ways(tmp_path: Path, kinds: str) -> None:
    feed = Feed()
    with through(kinds, tmp_path, echo, feed) as address, client(address) as one:
        one.sendall(b"there")
        assert one.recv(5, socket.MSG_WAITALL) == b"there"
        one.sendall(b" and back")
        one.shutdown(socket.SHUT_WR)
        assert read_all(one) == b" and back"
        local = one.getsockname()[1:2]
    found, notices, ends = seen(feed)
    assert found == {(1, "c2s"): b"there and back", (1, "s2c"): b"there and back"}
    assert [end.direction for end in ends] == ["c2s", "s2c"]
    assert notices == []
    connection = ends[0].connection
    front, back = kinds.split("-")
    if front == "unix":
        assert connection.client == f"unix:pid {os.getpid()}"
    else:
        assert connection.client == f"{'127.0.0.1' if front == 'tcp' else '[::1]'}:{local[0]}"
    assert connection.transport == ("unix" if front == "unix" else "tcp")
    assert connection.server.startswith({"unix": str(tmp_path), "tcp": "127.0.0.1:", "six": "[::1]:"}[back])


@pytest.mark.parametrize("kinds", PAIRS)
def test_half_closed_connection_stays_open(tmp_path: Path, kinds: str) -> None:
    with through(kinds, tmp_path, answer_at_end) as address, client(address) as one:
        body = random.Random(1).randbytes(3_000_000)
        one.sendall(body)
        one.shutdown(socket.SHUT_WR)
        assert read_all(one) == hashlib.sha256(body).digest()


def test_the_server_may_end_first(tmp_path: Path) -> None:
    got: list[bytes] = []
    done = threading.Event()

    def speak(connection: socket.socket) -> None:
        connection.sendall(b"no more from me")
        connection.shutdown(socket.SHUT_WR)
        got.append(read_all(connection))
        done.set()

    with through("unix-tcp", tmp_path, speak) as address, client(address) as one:
        assert read_all(one) == b"no more from me"
        one.sendall(b"but from me")
        one.shutdown(socket.SHUT_WR)
        assert done.wait(PATIENCE)
    assert got == [b"but from me"]


@pytest.mark.parametrize("kinds", PAIRS)
def test_blocked_reader_blocks_the_sender(tmp_path: Path, kinds: str) -> None:
    """The relay's buffers are bounded: the sender has to wait, and finally everything arrives."""
    go = threading.Event()
    got: list[bytes] = []

    def lazy(connection: socket.socket) -> None:
        assert go.wait(PATIENCE)
        got.append(read_all(connection))
        connection.sendall(b"done")

    body = random.Random(2).randbytes(64_000_000)
    with through(kinds, tmp_path, lazy) as address, client(address) as one:
        one.settimeout(1)
        sent = 0
        with suppress(TimeoutError):  # the condition to wait for
            while sent < len(body):
                sent += one.send(body[sent : sent + 65536])
        assert sent < 40_000_000
        one.settimeout(PATIENCE)
        go.set()
        one.sendall(body[sent:])
        one.shutdown(socket.SHUT_WR)
        assert read_all(one) == b"done"
    assert hashlib.sha256(got[0]).digest() == hashlib.sha256(body).digest()


# Descriptors


def send_with(one: socket.socket, data: bytes, descriptors: list[int]) -> None:
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))
    assert one.sendmsg([data], [rights] if descriptors else []) == len(data)


def receive_with(one: socket.socket, size: int) -> tuple[bytes, list[int]]:
    data, ancillary, _, _ = one.recvmsg(size, socket.CMSG_SPACE(1024))
    descriptors = array.array("i")
    for _, _, content in ancillary:
        descriptors.frombytes(content)
    return data, list(descriptors)


def receive_bytewise(one: socket.socket, size: int) -> list[tuple[bytes, int]]:
    """Each byte, and the number of accompanying descriptors (they are closed)."""
    found = []
    while len(found) < size:
        data, descriptors = receive_with(one, 1)
        assert data
        for each in descriptors:
            os.close(each)
        found.append((data, len(descriptors)))
    return found


def test_relays_descriptor_with_its_byte(tmp_path: Path) -> None:
    """As libvirt sends them: a message, then each descriptor with a separate byte."""
    feed = Feed()

    def use(connection: socket.socket) -> None:
        data, descriptors = b"", list[int]()
        while len(data) < 9:
            more, with_it = receive_with(connection, 65536)
            assert not with_it or data + more in (b"message\0", b"message\0\0")
            data, descriptors = data + more, descriptors + with_it
        for number, each in enumerate(descriptors):
            with os.fdopen(each, "wb") as file:
                file.write(b"written from afar %d" % number)
        connection.sendall(b"done")

    with through("unix-unix", tmp_path, use, feed) as address, client(address) as one:
        pipes = [os.pipe() for _ in range(2)]
        one.sendall(b"message")
        for _, write in pipes:
            send_with(one, b"\0", [write])
            os.close(write)
        assert one.recv(4, socket.MSG_WAITALL) == b"done"
        one.shutdown(socket.SHUT_WR)
        for number, (read, _) in enumerate(pipes):
            with os.fdopen(read, "rb") as file:  # at its end: no copy of the writing end is left open
                assert file.read() == b"written from afar %d" % number
    found, notices, _ = seen(feed)
    assert (found[1, "c2s"], notices) == (b"message", [])


@pytest.mark.parametrize("seed", range(4))
def test_relays_descriptors_and_bytes_in_any_order(tmp_path: Path, seed: int) -> None:
    """Every byte has as many descriptors as without a relay, also for a server that reads nothing until all
    buffers are full; and none stays open here."""
    chance = random.Random(seed)
    pieces = [(chance.randbytes(chance.randint(1, 40)), 0) for _ in range(600)]
    pieces += [(b"%c" % chance.randrange(256), count) for count in [1] * 400 + [2, 30, 253]]
    chance.shuffle(pieces)
    expected = [(bytes([byte]), count) for data, count in pieces for byte in data]
    found: list[tuple[bytes, int]] = []
    go, done = threading.Event(), threading.Event()

    def take(connection: socket.socket) -> None:
        assert go.wait(PATIENCE)
        found.extend(receive_bytewise(connection, len(expected)))
        assert connection.recv(1) == b""
        done.set()

    before = set(os.listdir("/proc/self/fd"))
    with through("unix-unix", tmp_path, take) as address, client(address) as one, open(os.devnull) as null:
        one.settimeout(0.3)
        while pieces:
            data, count = pieces[0]
            try:
                send_with(one, data, [null.fileno()] * count)
            except TimeoutError:
                assert not go.is_set()
                go.set()
                one.settimeout(PATIENCE)
            else:
                del pieces[0]
        assert go.is_set(), "nothing was ever full"
        one.shutdown(socket.SHUT_WR)
        assert done.wait(PATIENCE)
    assert found == expected
    assert set(os.listdir("/proc/self/fd")) <= before


@pytest.mark.parametrize("kinds", ["unix-tcp", "tcp-unix"])
def test_closes_and_reports_descriptors_on_tcp(tmp_path: Path, kinds: str) -> None:
    feed = Feed()
    read, write = os.pipe()

    def give(connection: socket.socket) -> None:
        send_all(connection)
        connection.recv(1)

    def send_all(one: socket.socket) -> None:
        for _ in range(3):
            send_with(one, b"\0", [write])
        os.close(write)
        one.sendall(b"end")

    handle = echo if kinds == "unix-tcp" else give
    with through(kinds, tmp_path, handle, feed) as address, client(address) as one:
        if kinds == "unix-tcp":
            send_all(one)
        data, descriptors = b"", list[int]()
        while len(data) < 6:
            more, with_it = receive_with(one, 100)
            data, descriptors = data + more, descriptors + with_it
        assert (data, descriptors) == (b"\0\0\0end", [])
        with os.fdopen(read, "rb") as file:
            assert file.read() == b"", "a copy of the writing end is open"
    _, notices, _ = seen(feed)
    assert [notice.code for notice in notices] == ["descriptors-lost"]


def test_closes_undelivered_descriptors(tmp_path: Path) -> None:
    read, write = os.pipe()
    gone = threading.Event()

    def leave(connection: socket.socket) -> None:
        gone.wait(PATIENCE)

    with through("unix-unix", tmp_path, leave) as address:
        with client(address) as one:
            one.setblocking(False)
            with suppress(BlockingIOError):
                while True:
                    one.send(bytes(65536))
            one.setblocking(True)
            one.settimeout(0.2)
            with suppress(TimeoutError):
                send_with(one, b"\0", [write])
        os.close(write)
        gone.set()
        with os.fdopen(read, "rb") as file:
            assert file.read() == b""


# Many clients, and failures


@pytest.mark.parametrize("kinds", ["unix-unix", "tcp-tcp"])
def test_200_concurrent_clients_lose_no_byte(tmp_path: Path, kinds: str) -> None:
    feed = Feed()
    count, size = 200, 40_000
    bodies = [random.Random(number).randbytes(size + number) for number in range(count)]
    with through(kinds, tmp_path, echo, feed) as address, ExitStack() as stack:
        clients = [stack.enter_context(client(address)) for _ in range(count)]
        for start in range(0, size + count, 10_000):  # in turn: each connection is half finished
            for one, body in zip(clients, bodies, strict=True):
                one.sendall(body[start : start + 10_000])
            for one, body in zip(clients, bodies, strict=True):
                piece = body[start : start + 10_000]
                assert one.recv(len(piece), socket.MSG_WAITALL) == piece
        for one in clients:
            one.shutdown(socket.SHUT_WR)
            assert one.recv(1) == b""
    found, notices, ends = seen(feed)
    assert notices == []
    for way in ("c2s", "s2c"):
        assert sorted(data for (_, one), data in found.items() if one == way) == sorted(bodies)
    assert len(ends) == 2 * count


def test_relays_reset(tmp_path: Path) -> None:
    def refuse(connection: socket.socket) -> None:
        connection.recv(1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with through("tcp-tcp", tmp_path, refuse) as address, client(address) as one:
        one.sendall(b"x")
        with pytest.raises(ConnectionResetError):
            one.recv(1)


@pytest.mark.parametrize("kinds", PAIRS)
def test_vanished_server_closes_its_client(tmp_path: Path, kinds: str) -> None:
    def brief(connection: socket.socket) -> None:
        connection.sendall(b"bye")

    with through(kinds, tmp_path, brief) as address, client(address) as one:
        assert read_all(one) == b"bye"
        with suppress(BrokenPipeError, ConnectionResetError):  # TimeoutError if it keeps waiting
            while True:
                one.sendall(bytes(65536))


def test_server_that_stops_reading_may_still_write(tmp_path: Path) -> None:
    speak = threading.Event()

    def half(connection: socket.socket) -> None:
        connection.shutdown(socket.SHUT_RD)
        connection.sendall(b"now")
        assert speak.wait(PATIENCE)
        connection.sendall(b"still here")

    with through("unix-unix", tmp_path, half) as address, client(address) as one:
        assert one.recv(3, socket.MSG_WAITALL) == b"now"
        end = time.monotonic() + PATIENCE
        with suppress(BrokenPipeError):
            while one.send(b"x"):
                assert time.monotonic() < end, "the client is not told"
                time.sleep(0.01)
        speak.set()
        assert read_all(one) == b"still here"


def test_missing_server(tmp_path: Path) -> None:
    feed = Feed()
    front, back = (Address("unix", str(tmp_path / name)) for name in ("front", "back"))
    with relayed(front, back, feed):
        with client(front) as one:
            assert one.recv(1) == b""
        with served(back, echo), client(front) as one:
            one.sendall(b"now it is")
            assert one.recv(9, socket.MSG_WAITALL) == b"now it is"
    _, notices, _ = seen(feed)
    assert [(one.code, one.text) for one in notices] == [
        ("not-connected", f"no connection to {back}: no such file or directory")
    ]


def test_close_ends_connections_and_removes_path(tmp_path: Path) -> None:
    with ExitStack() as stack:
        with through("unix-unix", tmp_path, echo) as address:
            one = stack.enter_context(client(address))
            one.sendall(b"x")
            assert one.recv(1) == b"x"
            assert Path(address.name).is_socket()
        assert one.recv(1) == b""
        assert not Path(address.name).exists()


def test_keeps_path_that_was_replaced(tmp_path: Path) -> None:
    with through("unix-unix", tmp_path, echo) as address:
        Path(address.name).unlink()
        Path(address.name).write_text("mine")
    assert Path(address.name).read_text() == "mine"


def test_clients_wait_when_descriptors_run_out(tmp_path: Path) -> None:
    """The limit on open files: existing connections continue, others wait until there is room."""
    feed = Feed()
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with through("unix-unix", tmp_path, echo, feed) as address, client(address) as one:
        one.sendall(b"first")
        assert one.recv(5, socket.MSG_WAITALL) == b"first"
        waiting = socket.socket(socket.AF_UNIX)
        with waiting:
            waiting.settimeout(PATIENCE)
            # However many are open, and whatever another thread closes.
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
            try:
                waiting.connect(address.path)
                one.sendall(b"again")
                assert one.recv(5, socket.MSG_WAITALL) == b"again"
                time.sleep(0.2)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, before)
            waiting.sendall(b"later")
            assert waiting.recv(5, socket.MSG_WAITALL) == b"later"
    _, notices, _ = seen(feed)
    assert "not-accepted" in {notice.code for notice in notices}
    assert "connections have to wait: " in notices[0].text
