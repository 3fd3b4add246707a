"""Recognition of other protocols by the first bytes of a stream."""

from __future__ import annotations

import struct

import pytest

from libvirt_proto.rpc.foreign import first_bytes, identify
from tests.support.packets import message


def client_hello(name: bytes | None) -> bytes:
    """A ClientHello of TLS 1.2 (RFC 5246 §7.4.1.2), with a session, and a server name (RFC 6066 §3)."""
    extensions = struct.pack(">HH", 23, 0)
    if name is not None:
        entry = struct.pack(">BH", 0, len(name)) + name
        listed = struct.pack(">H", len(entry)) + entry
        extensions += struct.pack(">HH", 0, len(listed)) + listed
    body = b"\x03\x03" + bytes(range(32)) + b"\x20" + bytes(32) + struct.pack(">H4s", 4, b"\x13\x01\x13\x02")
    body += b"\x01\x00" + struct.pack(">H", len(extensions)) + extensions
    handshake = b"\x01" + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x01" + struct.pack(">H", len(handshake)) + handshake


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"GET / HTTP/1.0\r\n\r\n", "HTTP (GET / HTTP/1.0)"),
        (b"OPTIONS * HTTP/1.1", "HTTP (OPTIONS * HTTP/1.1)"),
        (b"GET /\xff\x1b[31m HTTP/1.1\r\n", "HTTP (GET /\\xff?[31m HTTP/1.1)"),
        (b"HTTP/1.1 400 Bad Request\r\n", "HTTP (a response)"),
        (b"PRI * HTTP/2.0\r\n\r\nSM", "HTTP/2"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "SSH"),
        (b"RFB 003.008\n", "VNC (RFB)"),
        (b"REDQ\x02\x00\x00\x00", "SPICE"),
        (b'{"QMP": {"version": {}}}', "QMP"),
        (b"NBDMAGICIHAVEOPT", "NBD"),
        (client_hello(b"host.example"), "TLS (server name host.example)"),
        (client_hello(None), "TLS"),
        (client_hello(b"host.example")[:20], "TLS"),
        (b"\x15\x03\x03\x00\x02\x02\x28", "TLS"),
        (b"\x17\x03\x03\x40\x11" + bytes(40), "TLS"),
        (b"\x17\x04\x03\x40\x11", None),
        (b"\x00\x01\x02\x03", None),
        (b"", None),
        (message(), None),
    ],
)
def test_detects_protocols_by_first_bytes(data: bytes, name: str | None) -> None:
    assert identify(data) == name


@pytest.mark.parametrize("size", range(0, 120, 7))
def test_detects_any_part_of_client_hello(size: int) -> None:
    name = identify(client_hello(b"h")[:size])
    assert name is None if size < 3 else name.startswith("TLS")


def test_first_bytes() -> None:
    assert first_bytes(b"\x01\x02") == "01 02"
    assert first_bytes(bytes(13)) == " ".join(["00"] * 12) + " …"
