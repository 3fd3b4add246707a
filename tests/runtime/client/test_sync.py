"""The client without asyncio, with a server in a thread."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from libvirt_proto import ConnectionLost, FrameDecoder, LibvirtError, connect_sync, decode_message, registry
from libvirt_proto.generated import remote
from tests.support.frames import error_payload, frame, word

REMOTE = registry.program("remote")
NUMBERS = {name: REMOTE.procedure(name).number for name in ("auth_list", "connect_open", "connect_close")}
VERSION = REMOTE.procedure("connect_get_lib_version").number
LOOKUP = REMOTE.procedure("domain_lookup_by_name").number
SCREENSHOT = REMOTE.procedure("domain_screenshot").number
CLOSED = REMOTE.procedure("connect_event_connection_closed").number
DOMAIN = remote.RemoteNonnullDomain("vm1", bytes(16), 1)


def answers(call: bytes) -> Iterator[bytes]:
    """The frames that answer a call."""
    header = decode_message(call).header
    reply = {"proc": header.proc, "type_": 1, "serial": header.serial}
    stream = {"proc": header.proc, "type_": 3, "serial": header.serial}
    if header.type == 3:
        yield frame(**stream)
    elif header.proc == LOOKUP:
        yield frame(error_payload(42, 12, b"none"), status=1, **reply)
    elif header.proc == VERSION:
        yield frame(word(2), proc=CLOSED, type_=2, serial=1)
        yield frame(word(0) + word(9000000), **reply)
    elif header.proc == SCREENSHOT:
        yield frame(word(0), **reply)
        yield from (frame(data, status=2, **stream) for data in (b"ab", b"c", b""))
    else:
        yield frame(word(0) if header.proc == NUMBERS["auth_list"] else b"", **reply)


@pytest.fixture
def uri(tmp_path: Path) -> Iterator[str]:
    """The URI of a server."""
    path = tmp_path / "socket"
    calls: list[int] = []

    def serve() -> None:
        with listener.accept()[0] as connected:
            frames = FrameDecoder()
            while data := connected.recv(1 << 16):
                for each in frames.feed(data):
                    calls.append(decode_message(each.data).header.proc)
                    connected.sendall(b"".join(answers(each.data)))

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"test+unix:///default?socket={path}"
        thread.join()
    assert calls[:2] == [NUMBERS["auth_list"], NUMBERS["connect_open"]]


def test_calls_events_and_streams(uri: str) -> None:
    with connect_sync(uri) as connection:
        with connection.events("connect_event_connection_closed") as events:
            assert connection.remote.connect_get_lib_version().lib_ver == 9000000
            assert next(events).value.reason == 2
        with pytest.raises(LibvirtError, match="VIR_ERR_NO_DOMAIN"):
            connection.remote.domain_lookup_by_name(name="x")
        with connection.stream("domain_screenshot", dom=DOMAIN, screen=0, flags=0) as stream:
            assert list(stream) == [b"ab", b"c"]
        assert connection.call("connect_get_lib_version", timeout=5).serial == 5
        assert connection.is_open
        assert "domain_lookup_by_name" in dir(connection.remote)
        with pytest.raises(AttributeError, match="unknown program"):
            _ = connection.remot
    assert not connection.is_open
    with pytest.raises(AttributeError):
        _ = connection._none


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt, SystemExit])
def test_any_exception_closes_the_connection(uri: str, error: type[BaseException]) -> None:
    def act() -> None:
        with connect_sync(uri) as opened:
            connection.append(opened)
            raise error

    connection: list[object] = []
    with pytest.raises(error):
        act()
    assert connection
    assert not getattr(connection[0], "is_open", True)
    assert "libvirt_proto" not in [thread.name for thread in threading.enumerate()]


def test_failed_connection_leaves_no_thread() -> None:
    with pytest.raises(ConnectionLost), connect_sync("test+ext:///default?command=true"):
        pass
    assert "libvirt_proto" not in [thread.name for thread in threading.enumerate()]
