"""Wrong length words: the four bytes that a peer of libvirt read where a message should begin.

They are usually the first bytes of another protocol (a port scan, a browser, TLS on the plain port), or of a
libvirt message whose length word was lost.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from ..text import quoted
from .foreign import STARTS, identify
from .wire import MAX_FRAME, MIN_FRAME, WORD_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..definitions.program import Program

#: The errors of virNetMessageDecodeLength (virnetmessage.c): the length without its word of a packet that is
#: too large, with it of one that is too small.
_PACKET: Final = re.compile(
    r"packet (?P<size>-?[0-9]{1,10}) bytes received from \w{1,20} too (?P<fault>large|small)"
)
#: VIR_NET_MESSAGE_MAX in the same error.
LIMIT: Final = re.compile(r"too large, want ([0-9]{1,10})")
#: Fragments of ONC RPC calls are shorter than this.
_FRAGMENT: Final = 1 << 20
#: Fewer bytes that are not zero prove nothing.
_EVIDENCE: Final = 2
#: A length word in little-endian order is credible up to this length.
_CREDIBLE: Final = 1 << 20

#: First bytes of clients that greet, and of the probes of scanners.
_GREETINGS: Final[dict[bytes, str]] = {
    b"\r\n\r\n": "two line ends",
    b"HELP": "a text command",
    b"QUIT": "a text command",
    b"EHLO": "SMTP",
    b"HELO": "SMTP",
    b"USER": "FTP or POP3",
    b"INFO": "Redis",
    b"PING": "Redis",
    b"*1\r\n": "Redis",
    b"stat": "memcached",
    b"AMQP": "AMQP",
    b"GIOP": "CORBA (GIOP)",
    b"JRMI": "Java RMI",
    b"TNMP": "LANDesk",
    b"DmdT": "NetWare (NCP)",
    b"\x01def": "LPD",
    b"l\x00\x0b\x00": "X11",
    b"B\x00\x00\x0b": "X11",
    b"OPTI": "an HTTP, RTSP or SIP request (OPTIONS)",
    b"DESC": "an RTSP request (DESCRIBE)",
}
#: Greetings that only scanners send to an unknown port.
_SCANS: Final = frozenset((b"\r\n\r\n", b"HELP", b"TNMP", b"DmdT", b"\x01def"))

#: The name of a protocol in the description of its bytes.
_FAMILY: Final = re.compile(
    r"HTTP|TLS|SSL|ONC RPC|SSH|VNC|SPICE|QMP|NBD|SMTP|FTP|Redis|memcached|AMQP|CORBA|Java RMI|LDAP|RDP"
    r"|Telnet|X11|RTSP|PROXY|LANDesk|NetWare|LPD|QEMU migration"
)

Kind = Literal["message", "foreign", "text", "step", "unknown"]


class WrongLength(NamedTuple):
    """An explanation. `word` is the number that was read (0 to 2³² - 1); `text` describes its bytes.

    `kind` is `foreign` for another protocol, `text` for text of an unknown one, `step` for bytes of a libvirt
    message (the stream is out of step), `message` for a length that libvirt allows today, else `unknown`.
    """

    word: int
    kind: Kind
    text: str

    @property
    def data(self) -> bytes:
        """The four bytes."""
        return self.word.to_bytes(4)

    @property
    def label(self) -> str:
        """`"GET " (0x47455420)`."""
        number = f"{self.word:#010x}"
        return f"{quoted(self.data.decode())} ({number})" if _is_text(self.data) else number

    @property
    def protocol(self) -> str | None:
        """The name of another protocol (`HTTP`, `TLS`, `ONC RPC`), `text` for text of an unknown one; None if
        these are not another protocol's bytes."""
        if self.kind == "foreign":
            known = _FAMILY.search(self.text)
            return known[0].replace("SSL", "TLS") if known else "text" if _is_text(self.data) else "unknown"
        return "text" if self.kind == "text" else None

    def __str__(self) -> str:
        """`"GET " (0x47455420): an HTTP request, not libvirt`."""
        return f"{self.label}: {self.text}"


def explain(word: int, programs: Iterable[Program]) -> WrongLength:
    """Explain four bytes that were read as a length word. The word may be signed, as in libvirt's messages;
    only its low 32 bits count."""
    word &= 0xFFFFFFFF
    if MIN_FRAME <= word <= MAX_FRAME:
        return WrongLength(word, "message", f"a message of {word:,} bytes")
    data = word.to_bytes(4)
    if (name := _foreign(data)) is not None:
        scan = " (a port scan)" if data in _SCANS else ""
        return WrongLength(word, "foreign", f"{name}, not libvirt{scan}")
    if (what := _part_of_header(data, programs)) is not None:
        return WrongLength(word, "step", f"{what}: the stream is out of step")
    if _is_text(data):
        return WrongLength(word, "text", "text, not libvirt")
    if word < MIN_FRAME:
        return WrongLength(word, "unknown", f"less than the {MIN_FRAME} bytes of length word and header")
    swapped = int.from_bytes(data, "little")
    if MIN_FRAME <= swapped <= _CREDIBLE:
        return WrongLength(word, "unknown", f"{swapped} in little-endian order: a faulty client")
    return WrongLength(word, "unknown", "no known protocol: the stream is encrypted, or out of step")


def explain_error(text: str, programs: Iterable[Program]) -> WrongLength | None:
    """Explain the first `packet N bytes received from server too large` in a text; None without one."""
    found = _PACKET.search(text)
    if found is None:
        return None
    return explain(int(found["size"]) + (WORD_SIZE if found["fault"] == "large" else 0), programs)


def explain_start(data: bytes, programs: Iterable[Program]) -> str | None:
    """Return a description of bytes that begin with another protocol; None for all others."""
    if (name := identify(data)) is not None:
        return f"{name}, not libvirt"
    found = explain(int.from_bytes(data[:WORD_SIZE]), programs)
    return str(found) if found.kind == "foreign" and len(data) >= WORD_SIZE else None


def verdict(found: Iterable[WrongLength]) -> str | None:
    """Return the conclusion from all wrong lengths of one daemon, None without one: a port scan tries several
    protocols."""
    words = {each.word for each in found if each.kind in ("foreign", "text")}
    return "several protocols on one port: a port scan" if len(words) > 1 else None


def _foreign(data: bytes) -> str | None:
    """Return the protocol that begins with four bytes."""
    if (name := _GREETINGS.get(data) or STARTS.get(data)) is not None:
        return name
    first, second, third, fourth = data
    if (name := identify(data)) is not None:
        return f"a {name} record" if name == "TLS" else name
    if first >= 0x80 and third == 1 and fourth in (0, 2, 3):
        return "an SSL 2.0 hello"
    if first == 0xFF and 0xFB <= second <= 0xFE:
        return "Telnet"
    if first == 3 and second == 0:
        return "RDP (TPKT)"
    if first == 0x30 and (second == 0x84 or data[2:] == b"\x02\x01"):
        return "LDAP"
    length = int.from_bytes(data) & 0x7FFFFFFF
    if first >= 0x80 and MIN_FRAME <= length < _FRAGMENT:
        return f"an ONC RPC record mark of {length} bytes (RFC 5531)"
    return None


def _part_of_header(data: bytes, programs: Iterable[Program]) -> str | None:
    """Return a description of four bytes around the program number of a header."""
    whole, parts = [], []
    for program in programs:
        number, version = program.number.to_bytes(4), program.version.to_bytes(4)
        # From the last byte of the length word to the version.
        windows = ((data[1:], number[:3]), (data, number[1:] + version[:1]), (data, number[2:] + version[:2]))
        if data == number:
            whole.append(program.name)
        elif any(part == known and sum(map(bool, known)) >= _EVIDENCE for part, known in windows):
            parts.append(program.name)
    if whole:
        return f"the program number of {' or '.join(whole)}"
    return f"bytes of the program number of {' or '.join(parts)}" if parts else None


def _is_text(data: bytes) -> bool:
    return all(0x20 <= byte < 0x7F or byte in b"\r\n\t" for byte in data)
