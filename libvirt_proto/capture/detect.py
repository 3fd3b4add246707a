"""Recognise the format of a file and the protocol of a stream."""

from __future__ import annotations

import re
from typing import Final, Literal

from ..codec.limits import MIN_FRAME
from ..rpc.plausible import plausible_header
from .bytetext.reader import looks_like_byte_text
from .pcap.file import PCAP_MAGIC, PCAPNG_MAGIC
from .strace.line import PREFIX as STRACE_PREFIX

FileFormat = Literal["pcap", "pcapng", "hex", "raw", "log", "strace"]
Compression = Literal["gzip", "bzip2", "xz"]
#: Recognised only by name: Python before 3.14 cannot unpack it.
ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"

#: Unsupported capture formats; editcap converts them to pcapng.
_OTHER_CAPTURES: Final = (
    (b"snoop\0\0\0", "snoop"),
    (b"RTSS", "Microsoft Network Monitor"),
    (b"GMBU", "Microsoft Network Monitor"),
    (b"TRSNIFF data    \x1a", "Sniffer"),
    (b"XCP\0", "Sniffer"),
    (b"ObserverPktBuffer", "Observer"),
    (b"\xaa\xaa\xaa\xaa", "5Views"),
    (b"\x34\xcd\xb2\xa1", "modified pcap"),
    (b"\xa1\xb2\xcd\x34", "modified pcap"),
)

#: A line of a libvirt log: its time is sufficient. In the journal, a line of a libvirt program.
_LOG_LINE: Final = re.compile(
    rb"^(?:\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}\+\d{4}(?:: |$)"
    rb'|[^\n"(]{10,200}? (?:libvirt|virt|virsh)[a-z-]{0,32}\[\d{1,10}\]: )',
    re.MULTILINE,
)
#: A call with its result, an unfinished call, one that is longer than the data; or other lines of strace.
_STRACE_LINE: Final = re.compile(
    rb"^(?:" + STRACE_PREFIX + rb"(?:[a-z_]\w{0,40}\((?:[^\n]*(?:\) += (?:-?\d|\?)| <unfinished \.\.\.>$)"
    rb'|\d+(?:<(?:->|[^<>\n]){0,400}>)?, ["\[{][^\n]*\Z)'
    rb"|<\.\.\. \w{1,40} resumed>|\+\+\+ exited with \d|--- SIG[A-Z0-9]+ \{)"
    rb"|strace: Process \d+ attached)",
    re.MULTILINE,
)
#: Enough of a file to recognise its format.
SNIFF_SIZE: Final = 65_536

_COMPRESSION: Final[tuple[tuple[bytes, Compression], ...]] = (
    (b"\x1f\x8b\x08", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
)


def compression(head: bytes) -> Compression | None:
    """Return the compression of a file, by its first bytes."""
    return next((name for magic, name in _COMPRESSION if head.startswith(magic)), None)


def other_capture(head: bytes) -> str | None:
    """Return the name of an unsupported capture format, by the first bytes of a file."""
    return next((name for magic, name in _OTHER_CAPTURES if head.startswith(magic)), None)


def file_format(head: bytes) -> FileFormat | None:
    """Return the format of a file, by its first bytes (up to SNIFF_SIZE of them); None if unrecognised.

    A raw stream is recognised by a plausible header anywhere in these bytes: it may begin in the middle of a
    message, or end before its first header does.
    """
    if head[:4] in PCAP_MAGIC:
        return "pcap"
    if head.startswith(PCAPNG_MAGIC):
        return "pcapng"
    if other_capture(head):
        return None
    if _holds_messages(head):
        return "raw"
    if _STRACE_LINE.search(head):
        return "strace"
    if looks_like_byte_text(head):
        return "hex"
    return "log" if _LOG_LINE.search(head) else None


def _holds_messages(head: bytes) -> bool:
    if len(head) < MIN_FRAME:
        # Too short for a header: compare the part that is there, which includes at least the version.
        if len(head) < 12:
            return False
        rest = b"\x00\x00\x00\x01" if len(head) < 16 else b""
        return plausible_header((head[: len(head) // 4 * 4] + rest).ljust(MIN_FRAME, b"\x00"))
    at = head.find(b"\x00\x00\x00\x01", 8)
    while at >= 0:
        if plausible_header(head, at - 8):
            return True
        at = head.find(b"\x00\x00\x00\x01", at + 1)
    return False


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
