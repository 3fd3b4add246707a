"""Protocols other than libvirt's, recognised by the first bytes of a stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

#: The first bytes of a stream, and its protocol.
_PROTOCOLS: Final[tuple[tuple[bytes, str], ...]] = (
    (b"HTTP/", "HTTP (a response)"),
    (b"PRI * HTTP/2", "HTTP/2"),
    (b"SSH-", "SSH"),
    (b"RFB ", "VNC (RFB)"),
    (b"REDQ", "SPICE"),
    (b'{"QMP"', "QMP"),
    (b'{"execute"', "QMP"),
    (b'{"return"', "QMP"),
    (b"NBDMAGIC", "NBD"),
    (b"QEVM", "a QEMU migration stream"),
    (b"PROXY ", "a PROXY protocol header"),
    (b"\r\n\r\n\x00\r\nQUIT\n", "a PROXY protocol header"),
)
_METHODS: Final = (
    b"GET ",
    b"HEAD ",
    b"POST ",
    b"PUT ",
    b"DELETE ",
    b"OPTIONS ",
    b"CONNECT ",
    b"TRACE ",
    b"PATCH ",
)


#: The first four bytes of these protocols → the protocol.
STARTS: Final[Mapping[bytes, str]] = {
    **{start[:4]: name for start, name in _PROTOCOLS},
    **{method[:4]: f"an HTTP request ({method.decode().rstrip()})" for method in _METHODS},
}


def identify(data: bytes) -> str | None:
    """Return the name of the protocol of a stream with these first bytes, None if unknown.

    HTTP includes the request line, TLS the server name, where available.
    """
    for start, name in _PROTOCOLS:
        if data.startswith(start):
            return name
    if data.startswith(_METHODS):
        line = data[:200].split(b"\n")[0].rstrip(b"\r").decode("ascii", "backslashreplace")
        return "HTTP (" + "".join(c if c.isprintable() else "?" for c in line) + ")"
    # A record: content type, version 3.x, length (RFC 8446 §5.1).
    if len(data) >= 3 and 0x14 <= data[0] <= 0x17 and data[1] == 3 and data[2] <= 4:
        name_ = _server_name(data)
        return f"TLS (server name {name_})" if name_ else "TLS"
    return None


def first_bytes(data: bytes) -> str:
    """Return the first bytes in hex, for an unknown protocol."""
    return data[:12].hex(" ") + (" …" if len(data) > 12 else "")


class _Vectors:
    """Reads TLS vectors (RFC 8446 §3.4); bytes after the end read as empty."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.pos = 0

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def take(self, size: int) -> bytes:
        piece = self.data[self.pos : self.pos + size]
        self.pos += size
        return piece

    def vector(self, size: int) -> bytes:
        return self.take(self.number(size))


def _server_name(record: bytes) -> str | None:
    """Return the host name of a ClientHello (RFC 8446 §4.1.2, RFC 6066 §3) in the first record of a
    stream."""
    if record[0] != 0x16 or record[5:6] != b"\x01":
        return None
    hello = _Vectors(record[9:])
    hello.take(34)  # version and random
    hello.vector(1)  # session
    hello.vector(2)  # cipher suites
    hello.vector(1)  # compression methods
    extensions = _Vectors(hello.vector(2))
    while extensions.pos < len(extensions.data):
        kind, body = extensions.number(2), _Vectors(extensions.vector(2))
        if kind == 0:
            body.take(3)  # length of the list, type of the first name
            name = body.vector(2).decode("ascii", "replace")
            return name if name.isprintable() else None
    return None
