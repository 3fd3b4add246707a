"""Addresses: how they are written, and what can listen there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from libvirt_proto.capture.address import Address, AddressError, listen, parse
from tests.relays import client


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
def test_addresses(text: str, address: Address) -> None:
    assert parse(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    "text",
    ["", "x", "unix:", "unix:@", "unix:a\0b", "tcp:", "tcp:host", "tcp:host:", "tcp:host:x", "tcp:host:65536",
     "tcp:::1:16509", "tcp:[::1]", "tcp:[]:1", "tcp:a b:1", "/run/libvirt/libvirt-sock", "udp:a:1"],
)  # fmt: skip
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(AddressError, match="tcp:HOST:PORT"):
        parse(text)


def test_a_path_that_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    address = Address("unix", str(path))
    (first,) = listen(address)
    with first, pytest.raises(AddressError, match="something listens there"):
        listen(address)
    assert path.is_socket(), "a socket that nobody listens on any more"
    (second,) = listen(address)
    second.close()
    path.unlink()
    path.write_text("a file")
    with pytest.raises(AddressError, match="is no socket"):
        listen(address)
    assert path.read_text() == "a file"


def test_an_abstract_socket_and_all_addresses() -> None:
    name = f"@libvirt-proto-test-{os.getpid()}"
    (one,) = listen(parse(f"unix:{name}"))
    with one:
        assert one.getsockname() == b"\0" + name[1:].encode()
        with client(Address("unix", name)):
            pass
    sockets = listen(parse("tcp::0"))
    assert len({one.getsockname()[1] for one in sockets}) == 1
    for one in sockets:
        one.close()
