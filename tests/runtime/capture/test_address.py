"""Addresses: their notation, and listening on them."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from libvirt_proto.capture import address as module
from libvirt_proto.capture.address import Address, AddressError, connect, listen, parse
from tests.support.relays import client


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("tcp:127.0.0.1:16509", Address("tcp", "127.0.0.1", 16509)),
        ("tcp:[::1]:16509", Address("tcp", "::1", 16509)),
        ("tcp:host.example:0", Address("tcp", "host.example", 0)),
        ("tcp::16510", Address("tcp", "", 16510)),
        ("unix:/run/libvirt/libvirt-sock", Address("unix", "/run/libvirt/libvirt-sock")),
        ("unix:a:b", Address("unix", "a:b")),
        ("unix:@name", Address("unix", "@name")),
    ],
)
def test_parses_addresses(text: str, address: Address) -> None:
    assert parse(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    "text",
    ["", "x", "unix:", "unix:@", "unix:a\0b", "tcp:", "tcp:host", "tcp:host:", "tcp:host:x", "tcp:host:65536",
     "tcp:::1:16509", "tcp:[::1]", "tcp:[]:1", "tcp:a b:1", "/run/libvirt/libvirt-sock", "udp:a:1"],
)  # fmt: skip
def test_rejects_invalid_addresses(text: str) -> None:
    with pytest.raises(AddressError, match="tcp:HOST:PORT"):
        parse(text)


def test_rejects_path_in_use(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    address = Address("unix", str(path))
    (first,) = listen(address)
    with first, pytest.raises(AddressError, match="another process listens there"):
        listen(address)
    assert path.is_socket(), "a socket that nobody listens on any more"
    (second,) = listen(address)
    second.close()
    path.unlink()
    path.write_text("a file")
    with pytest.raises(AddressError, match="is not a socket"):
        listen(address)
    assert path.read_text() == "a file"


def test_abstract_socket() -> None:
    name = f"@libvirt-proto-test-{os.getpid()}"
    (one,) = listen(parse(f"unix:{name}"))
    with one:
        assert one.getsockname() == b"\0" + name[1:].encode()
        with client(Address("unix", name)):
            pass


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("tcp::0", {"127.0.0.1", "::1"}),
        ("tcp:0.0.0.0:0", {"0.0.0.0"}),
        ("tcp:[::]:0", {"::"}),
    ],
)
def test_host_without_a_name_is_loopback(text: str, hosts: set[str]) -> None:
    sockets = listen(parse(text))
    assert {one.getsockname()[0] for one in sockets} <= hosts
    assert len({one.getsockname()[1] for one in sockets}) == 1
    for one in sockets:
        one.close()


def test_reports_host_without_answer() -> None:
    """The first address that answers is used; if none does, the last error is reported."""
    (one,) = listen(parse("tcp:127.0.0.1:0"))
    port = one.getsockname()[1]
    one.close()
    with pytest.raises(ConnectionRefusedError):
        asyncio.run(connect(Address("tcp", "127.0.0.1", port)))


def test_reports_server_that_does_not_accept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its backlog is full: connecting is retried for a while, and listening there fails."""
    monkeypatch.setattr(module, "_PATIENCE", 0.1)
    path = str(tmp_path / "socket")
    with ExitStack() as opened:
        server = opened.enter_context(socket.socket(socket.AF_UNIX))
        server.bind(path)
        server.listen(0)
        with suppress(BlockingIOError):
            while True:
                waiting = opened.enter_context(socket.socket(socket.AF_UNIX))
                waiting.setblocking(False)
                waiting.connect(path)
        with pytest.raises(TimeoutError, match="does not accept connections"):
            asyncio.run(connect(Address("unix", path)))
        with pytest.raises(AddressError, match="another process listens there"):
            listen(Address("unix", path))
