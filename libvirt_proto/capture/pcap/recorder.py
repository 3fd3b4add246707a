"""Write Chunks to a pcapng file that Wireshark and this package can open.

Sources: draft-ietf-opsawg-pcapng; RFC 791, RFC 8200 and RFC 9293 for the headers, RFC 1071 for checksums. The
file depends only on the Chunks: little-endian, interfaces of raw IP, nanoseconds. Messages seen in clients,
in daemons and in between are packets of three interfaces, which `origin` names; each is described before its
first packet.

Every connection is a TCP connection, from its handshake (at the time of its first Chunk) to a FIN for each
`end`, or a RST. Addresses and ports are kept if both ends have them; a decrypted TLS connection gets port
16509, where Wireshark expects plain libvirt. Everything else (unix sockets, raw streams, a second
simultaneous connection with the same addresses) goes from a separate port on loopback to port 16509 there.
Its comment (`origin`) is that of its first packet. Each name of an end has its own loopback address, and a
Name Resolution Block that states it; 127.0.0.1 has no name. An unknown direction counts as from the client.

Missing bytes (`lost` and `cut`) are packets of which the capture holds only the first part, so that their
number and the times of later packets remain exact. If their number is unknown, or above MAX_MISSING, the
sequence number skips more than any window: readers treat the capture as interrupted.

A Chunk without a time gets that of the previous packet, or the epoch. ConnectionEvents and Notices are not
recorded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from struct import Struct
from typing import BinaryIO, Final

from ...bounded import BoundedDict
from ...events import Chunk, Connection, Item, Side
from .origin import INTERFACES, MAX_COMMENT, comment
from .packet import ACK, FIN, RST, SYN

#: Maximum payload of one packet; with its headers it fits IP's 16-bit length.
MAX_SEGMENT: Final = 65_000
#: Maximum number of missing bytes at one place that are written as packets.
MAX_MISSING: Final = 64 << 20
#: Maximum number of known connections; one that continues after it was forgotten looks like a new one.
MAX_OPEN: Final = 16_384

_PSH: Final = 0x08
#: A distance that TCP treats as another part of the sequence space, whatever the window (RFC 7323 §2.3).
_LEAP: Final = 1 << 30
_LIBVIRT_PORT: Final = 16509
_LINKTYPE_RAW: Final = 101
#: Dynamic ports (RFC 6335 §6), 16,384 of them on each address.
_FIRST_PORT: Final = 49_152
_PORTS: Final = 65_536 - _FIRST_PORT
#: Loopback addresses, without the last one, which is a broadcast address.
_FIRST_ADDRESS: Final = int(IPv4Address("127.0.0.1"))
_ADDRESSES: Final = (1 << 24) - 2
#: The segment size, and window scale 14, the largest, with padding: no window is ever full.
_SYN_OPTIONS: Final = bytes((2, 4, *MAX_SEGMENT.to_bytes(2), 3, 3, 14, 1))

_BLOCK = Struct("<II").pack
_LENGTH = Struct("<I").pack
_OPTION = Struct("<HH").pack
_ENHANCED = Struct("<IIIIIII").pack
_IPV4 = Struct(">BBHHHBBH").pack
_IPV6 = Struct(">IHBB").pack
_TCP = Struct(">HHIIBBHHH").pack

#: An address as bytes, and a port.
Address = tuple[bytes, int]


class Recorder:
    """Writes Chunks to a binary `file`: `add` writes, `flush` flushes. `comment` is that of the section."""

    def __init__(self, file: BinaryIO, comment: str = "") -> None:
        self.file = file
        self.flush = file.flush
        self._flows: BoundedDict[int, _Flow] = BoundedDict(MAX_OPEN)
        #: The pairs of addresses of these flows.
        self._taken: set[frozenset[Address]] = set()
        #: Loopback addresses by the name of an end of connections.
        self._hosts: BoundedDict[str, bytes] = BoundedDict(MAX_OPEN)
        self._interfaces: dict[Side | None, int] = {}
        self._hosts.put("", IPv4Address(_FIRST_ADDRESS).packed)
        self._named = 1
        self._count = self._synthetic = 0
        self._time_ns = 0
        about = _option(1, _utf8(comment)) if comment else b""
        section = (
            Struct("<IHHq").pack(0x1A2B3C4D, 1, 0, -1) + about + _option(4, b"libvirt-proto") + _option(0)
        )
        file.write(_block(0x0A0D0D0A, section))

    def restart(self) -> None:
        """Begin another source: its connections are numbered anew, and none of them is one of those
        before."""
        self._flows.clear()
        self._taken.clear()

    def add(self, item: Item) -> None:
        """Write an item."""
        if not isinstance(item, Chunk):
            return
        if item.time_ns is not None:
            self._time_ns = min(max(item.time_ns, 0), (1 << 64) - 1)
        flow = self._flows.get(item.connection.id)
        if flow is not None and flow.side(item).ended:
            self._close(item.connection.id, flow)
            flow = None
        if flow is None:
            flow = self._open(item.connection)
        side = flow.side(item)
        if item.lost < 0:
            side.seq += _LEAP
        elif item.lost:
            self._send(side, b"", item.lost)
        if item.cut < 0:  # a header without its length: no packet can have it
            side.seq += _LEAP
        elif item.data or item.cut:
            self._send(side, item.data, item.cut)
        if item.end:
            self._end(flow, side, reset=item.reset)
            if side.peer.ended or item.direction is None:
                self._close(item.connection.id, flow)

    # Connections

    def _open(self, connection: Connection) -> _Flow:
        """Add a new connection, with its handshake."""
        self._count += 1
        ends, note = self._addresses(connection)
        # Different for every connection, so that ports can be reused.
        isn = self._count * 0x9E3779B1
        flow = _Flow(*ends, isn, self._interface(connection.side))
        self._taken.add(flow.ends)
        if evicted := self._flows.put(connection.id, flow):
            self._taken.discard(evicted[1].ends)
        client, server = flow.client, flow.server
        self._packet(client, SYN, options=_SYN_OPTIONS, note=note)
        client.seq += 1
        self._packet(server, SYN | ACK, options=_SYN_OPTIONS)
        server.seq += 1
        self._packet(client, ACK)
        return flow

    def _addresses(self, connection: Connection) -> tuple[tuple[Address, Address], str]:
        """Return the addresses of client and server, and a comment if the connection has others."""
        client, server = _address(connection.client), _address(connection.server)
        if client and server and len(client[0]) == len(server[0]) and client != server:
            note = ""
            if connection.transport == "tls":
                server, note = (server[0], _LIBVIRT_PORT), comment(connection)
            if frozenset((client, server)) not in self._taken and client != server:
                return (client, server), note
        while True:
            port = _FIRST_PORT + self._synthetic % _PORTS
            self._synthetic += 1
            client = self._host(connection.client), port
            server = self._host(connection.server), _LIBVIRT_PORT
            if frozenset((client, server)) not in self._taken:
                return (client, server), comment(connection)
            self._hosts.pop(connection.client)  # all of its ports were used; the next address has others

    def _host(self, name: str) -> bytes:
        """Return the loopback address of an end of connections; a new one is written with its name."""
        address = self._hosts.get(name)
        if address is None:
            address = IPv4Address(_FIRST_ADDRESS + self._named % _ADDRESSES).packed
            self._named += 1
            self._hosts.put(name, address)
            if name:
                record = address + _utf8(name, 255).replace(b"\0", b"?") + b"\0"
                self.file.write(_block(4, _option(1, record) + _option(0)))
        return address

    def _interface(self, side: Side | None) -> int:
        """Return the number of an interface; a new one is described first."""
        if side not in self._interfaces:
            self._interfaces[side] = len(self._interfaces)
            name, description = map(str.encode, INTERFACES[side])
            options = _option(2, name) + _option(3, description) + _option(9, b"\x09") + _option(0)
            self.file.write(_block(1, Struct("<HHI").pack(_LINKTYPE_RAW, 0, 0) + options))
        return self._interfaces[side]

    def _close(self, number: int, flow: _Flow) -> None:
        """Close a connection whose directions have both ended, or that is forgotten."""
        first = flow.client if flow.client.ended else flow.server
        for side in (flow.client, flow.server):
            if not side.ended:
                self._end(flow, side)
        if not flow.reset:
            self._packet(first, ACK)
        self._taken.discard(self._flows.pop(number).ends)

    # Packets

    def _send(self, side: _Side, data: bytes, missing: int) -> None:
        """Write `data`, followed by that many missing bytes."""
        leap = missing > MAX_MISSING
        size = len(data) + (0 if leap else missing)
        for at in range(0, size, MAX_SEGMENT):
            length = min(MAX_SEGMENT, size - at)
            piece = data[at : at + length]
            self._packet(side, _PSH | ACK, piece, length - len(piece))
            side.seq += length
        if leap:
            side.seq += _LEAP

    def _end(self, flow: _Flow, side: _Side, *, reset: bool = False) -> None:
        """Write a FIN, or a RST; nothing follows a RST, from either side."""
        side.ended = True
        if reset:
            flow.reset = True
            self._packet(side, RST | ACK)
        elif not flow.reset:
            self._packet(side, FIN | ACK)
            side.seq += 1

    def _packet(
        self,
        side: _Side,
        flags: int,
        data: bytes = b"",
        missing: int = 0,
        options: bytes = b"",
        note: str = "",
    ) -> None:
        """Write a packet from one side to the other, without its last `missing` bytes; the checksum treats
        them as zeros."""
        peer = side.peer
        header = 20 + len(options)
        length = header + len(data) + missing
        ack = peer.seq & 0xFFFFFFFF if flags & ACK else 0
        words = side.port, peer.port, side.seq & 0xFFFFFFFF, ack, header << 2, flags, 0xFFFF
        addresses = side.address + peer.address
        pseudo = addresses + length.to_bytes(4) + b"\x00\x00\x00\x06"  # RFC 9293 §3.1, RFC 8200 §8.1
        tcp = _TCP(*words, _checksum(pseudo + _TCP(*words, 0, 0) + options + data), 0) + options
        if len(side.address) == 16:
            network = _IPV6(6 << 28, length, 6, 64) + addresses
        else:
            start = 0x45, 0, 20 + length, 0, 0x4000, 64, 6
            network = _IPV4(*start, _checksum(_IPV4(*start, 0) + addresses)) + addresses
        self._write(side.interface, network + tcp + data, missing, note)

    def _write(self, interface: int, packet: bytes, missing: int, note: str) -> None:
        """Write an Enhanced Packet Block."""
        captured = len(packet)
        time = divmod(self._time_ns, 1 << 32)
        notes = _option(1, _utf8(note)) + _option(0) if note else b""
        padding = bytes(-captured % 4)
        length = 32 + captured + len(padding) + len(notes)
        head = _ENHANCED(6, length, interface, *time, captured, captured + missing)
        self.file.write(b"".join((head, packet, padding, notes, _LENGTH(length))))


def recorded(items: Iterable[Item], recorder: Recorder, *, live: bool = False) -> Iterator[Item]:
    """Yield the items of a source, each after it was written. With `live`, flush each one."""
    recorder.restart()
    for item in items:
        recorder.add(item)
        if live:
            recorder.flush()
        yield item


class _Side:
    """One end of a connection: source address and interface of its packets, and the sequence number of the
    next one."""

    __slots__ = ("address", "ended", "interface", "peer", "port", "seq")

    def __init__(self, address: Address, seq: int, interface: int) -> None:
        self.address, self.port = address
        self.interface = interface
        self.seq = seq
        self.ended = False
        self.peer = self


class _Flow:
    __slots__ = ("client", "ends", "reset", "server")

    def __init__(self, client: Address, server: Address, isn: int, interface: int) -> None:
        self.ends = frozenset((client, server))
        self.client = _Side(client, isn, interface)
        self.server = _Side(server, isn ^ 0xFFFFFFFF, interface)
        self.client.peer, self.server.peer = self.server, self.client
        #: A RST was written.
        self.reset = False

    def side(self, chunk: Chunk) -> _Side:
        """Return the side that a Chunk comes from."""
        return self.server if chunk.direction == "s2c" else self.client


def _address(name: str) -> Address | None:
    """Parse the address and port of `192.0.2.7:40508` or `[::1]:40508`; None for anything else."""
    host, _, port = name.rpartition(":")
    try:
        address = ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None
    if (host[:1] == "[") != isinstance(address, IPv6Address) or not re.fullmatch("[0-9]{1,5}", port):
        return None
    return (address.packed, int(port)) if 0 < int(port) < 1 << 16 else None


def _checksum(data: bytes) -> int:
    """Return the checksum of RFC 1071: the one's complement sum of 16-bit words is the remainder modulo
    65535, in its non-zero form, since no header is all zeros."""
    number = int.from_bytes(data) << (8 if len(data) % 2 else 0)
    return 0xFFFF - (number % 0xFFFF or 0xFFFF)


def _utf8(text: str, limit: int = MAX_COMMENT) -> bytes:
    """Encode text for an option, truncated to a number of bytes."""
    return text.encode("utf-8", "backslashreplace")[:limit].decode("utf-8", "ignore").encode()


def _option(code: int, value: bytes = b"") -> bytes:
    return _OPTION(code, len(value)) + value + bytes(-len(value) % 4)


def _block(kind: int, body: bytes) -> bytes:
    length = 12 + len(body)
    return _BLOCK(kind, length) + body + _LENGTH(length)
