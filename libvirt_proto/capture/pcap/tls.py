"""TLS connections of a capture, decrypted by tshark with a key log.

GnuTLS writes the keys of its connections to the file named by SSLKEYLOGFILE, in any program. tshark returns
the contents of the TLS records of each connection. The rest of the capture is read as usual, and both are
merged by time.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from heapq import merge
from tempfile import TemporaryFile
from typing import BinaryIO, Final, NamedTuple

import msgspec

from ...blocks import LineTooLongError, text_lines
from ...events import Chunk, Connection, Connections, Direction, Item, Notice, NoticeCode

#: tshark writes one line per packet: all records that end in it, in hex.
_MAX_LINE: Final = 64 << 20
_FIELDS: Final = (
    "frame.number",
    "frame.time_epoch",
    "tcp.stream",
    "ip.src",
    "ipv6.src",
    "tcp.srcport",
    "ip.dst",
    "ipv6.dst",
    "tcp.dstport",
    "tcp.flags.fin",
    "tcp.flags.reset",
    "tls.handshake.type",
    "tls.record.length",
    "tls.record.content_type",
    "data.data",
    "tls.handshake.extensions_server_name",
)
#: Preferences for reassembling records, overriding the user's own.
_PREFERENCES: Final = (
    "tcp.desegment_tcp_streams:TRUE",
    "tcp.reassemble_out_of_order:TRUE",
    "tls.desegment_ssl_records:TRUE",
)
_CLIENT_HELLO, _APPLICATION_DATA = "1", "23"
#: The daemon's first byte accepts the client's certificate; messages follow it.
_ACCEPTED: Final = b"\x01"
_NUMBER: Final = re.compile(r"\d{1,12}", re.ASCII)
_TIME: Final = re.compile(r"(\d{1,12})\.(\d{1,9})")

NO_TSHARK: Final = (
    "a key log (--keylog) requires tshark, which is not installed (Debian: apt install tshark; Fedora: dnf"
    " install wireshark-cli)"
)


def has_tshark() -> bool:
    """Return whether tshark is installed."""
    return shutil.which("tshark") is not None


def decrypting(items: Iterator[Item], capture: int, keylog: str, ports: frozenset[int]) -> Iterator[Item]:
    """Yield the items of a capture, with the decrypted contents of TLS connections in their place. `capture`
    is the descriptor of a pcap or pcapng file, which tshark opens again.

    Only decrypted connections are included, with transport `tls`. Each other one has a Notice `encrypted`,
    and one that became undecryptable a Notice `lost-bytes` (an error). `tshark-failed` is an error, too.
    """
    with TemporaryFile() as errors:
        command = _command(capture, keylog, ports)
        tshark = subprocess.Popen(  # noqa: S603 - no shell
            command, stdout=subprocess.PIPE, stderr=errors, pass_fds=[capture]
        )
        assert tshark.stdout is not None
        with tshark, tshark.stdout as lines:
            try:
                decrypted = _Decrypted().read(lines)  # type: ignore[arg-type]
                both = merge(_timed(_without_tls(items)), _timed(decrypted), key=lambda timed: timed[0])
                yield from _numbered(item for _, item in both)
            except BaseException:  # the consumer stopped early
                tshark.kill()
                raise
        errors.seek(0)
        report = errors.read(65_536).decode("utf-8", "backslashreplace").splitlines()
        if tshark.returncode > 0:
            words = next((line for line in reversed(report) if not line.startswith("Running as user")), "")
            yield Notice(NoticeCode.TSHARK_FAILED, f"tshark could not decrypt all of it: {words}")


def _command(capture: int, keylog: str, ports: frozenset[int]) -> list[str]:
    on_ports = " || ".join(f"tcp.port == {port}" for port in sorted(ports))
    filter_ = f"(tls || tcp.flags.fin == 1 || tcp.flags.reset == 1) && ({on_ports})"
    command = ["tshark", "-n", "-l", "-r", f"/dev/fd/{capture}", "-Y", filter_]
    command += ["-T", "fields", "-E", "occurrence=a"]
    for preference in (f"tls.keylog_file:{keylog}", *_PREFERENCES):
        command += ["-o", preference]
    for port in sorted(ports):  # TLS on these ports, with contents that tshark shows as plain data
        command += ["-d", f"tcp.port=={port},tls", "-d", f"tls.port=={port},data"]
    for field in _FIELDS:
        command += ["-e", field]
    return command


class _Packet(NamedTuple):
    """The fields of a line of tshark."""

    number: int | None
    time_ns: int | None
    stream: str
    source: str
    destination: str
    ends: bool
    resets: bool
    begins: bool
    #: Number of records that could not be decrypted.
    sealed: int
    data: bytes
    server_name: str


def _packet(line: bytes) -> _Packet | None:
    """Parse a line; None if it has another form."""
    fields = line.decode("utf-8", "backslashreplace").split("\t")
    if len(fields) != len(_FIELDS):
        return None
    (
        number,
        time,
        stream,
        ip,
        ipv6,
        port,
        to_ip,
        to_ipv6,
        to_port,
        fin,
        reset,
        handshake,
        lengths,
        types,
        data,
        name,
    ) = fields
    records, known, applications = (_many(field) for field in (lengths, types, data))
    # A TLS 1.3 record has a content type only if it was decrypted, a TLS 1.2 record always.
    sealed = len(records) - len(known) + max(0, known.count(_APPLICATION_DATA) - len(applications))
    match = _TIME.fullmatch(time)
    try:
        content = bytes.fromhex("".join(applications))
    except ValueError:
        return None
    return _Packet(
        int(number) if _NUMBER.fullmatch(number) else None,
        int(match[1]) * 10**9 + int(match[2].ljust(9, "0")) if match else None,
        stream,
        _end(ip, ipv6, port),
        _end(to_ip, to_ipv6, to_port),
        fin in _TRUE,
        reset in _TRUE,
        _CLIENT_HELLO in _many(handshake),
        sealed,
        content,
        name,
    )


#: A flag as written by tshark up to 4.0, and from 4.2 on.
_TRUE: Final = frozenset(("1", "True"))


def _many(field: str) -> list[str]:
    return field.split(",") if field else []


def _end(ip: str, ipv6: str, port: str) -> str:
    """Format an address and a port: the innermost, if there are several headers (a tunnel)."""
    if ip:
        return f"{_many(ip)[-1]}:{port}"
    return f"[{_many(ipv6)[-1]}]:{port}" if ipv6 else ""


class _Session:
    """A TLS connection. Its directions are named by the sender."""

    def __init__(self, connection: Connection, server_name: str) -> None:
        self.connection = connection
        self.name = f"TLS (server name {server_name})" if server_name else "TLS"
        #: Whether tshark has its keys, and whether the daemon's first byte was seen.
        self.opened = False
        self.accepted = False
        #: Directions that are no longer decrypted, and directions that have ended.
        self.closed: set[Direction] = set()
        self.ended: set[Direction] = set()


class _Decrypted:
    """Lines of tshark to Chunks."""

    def __init__(self) -> None:
        self._sessions: dict[str, _Session] = {}
        self._connections = Connections(-1)  # distinct from those that are not decrypted

    def read(self, lines: BinaryIO) -> Iterator[Item]:
        try:
            for line in text_lines(lines.read1, _MAX_LINE):  # type: ignore[attr-defined]
                packet = _packet(line)
                if packet is not None:
                    yield from self._items(packet)
        except LineTooLongError as error:
            yield Notice(NoticeCode.TSHARK_FAILED, f"in tshark's output, {error}")

    def _items(self, packet: _Packet) -> Iterator[Item]:
        session = self._sessions.get(packet.stream)
        if session is None:
            if not packet.begins:
                return
            connection = self._connections.new(packet.source, packet.destination, "tls")
            session = self._sessions[packet.stream] = _Session(connection, packet.server_name)
        direction: Direction = "c2s" if packet.source == session.connection.client else "s2c"
        data = packet.data
        if data:
            session.opened = True
            if direction == "s2c" and not session.accepted:
                session.accepted = True
                data = data.removeprefix(_ACCEPTED)
        if data and direction not in session.closed:
            yield Chunk(session.connection, direction, packet.time_ns, data, packet=packet.number)
        if packet.sealed and direction not in session.closed:
            yield from self._sealed(session, direction, packet.time_ns)
        if packet.ends or packet.resets:
            yield from self._ended(session, packet, direction)

    def _ended(self, session: _Session, packet: _Packet, direction: Direction) -> Iterator[Chunk]:
        """Yield the ends that a packet brings."""
        peer: Direction = "s2c" if direction == "c2s" else "c2s"
        for each in (direction, peer) if packet.resets else (direction,):
            if session.opened and each not in session.ended:
                reset = packet.resets and each == direction and not session.ended
                yield Chunk(session.connection, each, packet.time_ns, b"", end=True, reset=reset)
            session.ended.add(each)
        if len(session.ended) > 1:
            del self._sessions[packet.stream]

    @staticmethod
    def _sealed(session: _Session, direction: Direction, time_ns: int | None) -> Iterator[Notice]:
        connection = session.connection
        if session.opened:
            session.closed.add(direction)
            text = "from here on nothing can be decrypted: bytes are lost, or the keys were changed"
            yield Notice(NoticeCode.LOST_BYTES, text, connection, direction, time_ns)
        else:
            session.closed |= {"c2s", "s2c"}
            text = f"{session.name}: encrypted; tshark cannot decrypt it with this key log"
            yield Notice(NoticeCode.ENCRYPTED, text, connection, None, time_ns, "note")


def _without_tls(items: Iterable[Item]) -> Iterator[Item]:
    """Leave out connections whose client begins with TLS, except for reports of their lost bytes."""
    seen: dict[int, bool] = {}
    for item in items:
        connection = item.connection
        if connection is None or not isinstance(item, Chunk):
            yield item
            continue
        begins = connection.id not in seen
        if begins:
            hello = item.data[:1] == b"\x16" and item.data[5:6] in (b"\x01", b"")
            seen[connection.id] = hello and item.direction == "c2s"
        if not seen[connection.id]:
            yield item
        elif item.cut or (item.lost and not begins):  # tshark waits for lost bytes without reporting it
            text = f"TLS ({connection}): bytes are lost; what follows cannot be decrypted"
            yield Notice(NoticeCode.LOST_BYTES, text, None, item.direction, item.time_ns)


def _timed(items: Iterable[Item]) -> Iterator[tuple[int, Item]]:
    """Pair each item with the time that it is sorted by."""
    now = 0
    for item in items:
        now = now if item.time_ns is None else item.time_ns
        yield now, item


def _numbered(items: Iterable[Item]) -> Iterator[Item]:
    """Renumber connections in order of appearance."""
    connections: dict[int, Connection] = {}
    for item in items:
        old = item.connection
        if old is None:
            yield item
            continue
        if old.id not in connections:
            connections[old.id] = msgspec.structs.replace(old, id=len(connections) + 1)
        yield msgspec.structs.replace(item, connection=connections[old.id])
