"""Packets and captures for tests, built from the RFCs and the formats' specifications."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
CLIENT = ("192.0.2.7", 40000)
SERVER = ("192.0.2.1", 16509)


def tcp(
    seq: int,
    data: bytes = b"",
    *,
    flags: int = ACK,
    ack: int = 0,
    source: int = CLIENT[1],
    destination: int = SERVER[1],
    options: bytes = b"",
) -> bytes:
    """A TCP header with its payload."""
    assert len(options) % 4 == 0
    words = 5 + len(options) // 4
    header = struct.pack(
        ">HHIIBBHHH", source, destination, seq & 0xFFFFFFFF, ack & 0xFFFFFFFF, words << 4, flags, 65535, 0, 0
    )
    return header + options + data


def ipv4(
    payload: bytes,
    source: str = CLIENT[0],
    destination: str = SERVER[0],
    *,
    protocol: int = 6,
    options: bytes = b"",
    fragment: int = 0,
    total: int | None = None,
) -> bytes:
    assert len(options) % 4 == 0
    words = 5 + len(options) // 4
    length = words * 4 + len(payload) if total is None else total
    header = struct.pack(">BBHHHBBH", 0x40 | words, 0, length, 1, fragment, 64, protocol, 0)
    addresses = ipaddress.IPv4Address(source).packed + ipaddress.IPv4Address(destination).packed
    return header + addresses + options + payload


def ipv6(
    payload: bytes,
    source: str = "2001:db8::7",
    destination: str = "2001:db8::1",
    *,
    next_header: int = 6,
    length: int | None = None,
) -> bytes:
    size = len(payload) if length is None else length
    addresses = ipaddress.IPv6Address(source).packed + ipaddress.IPv6Address(destination).packed
    return struct.pack(">IHBB", 6 << 28, size, next_header, 64) + addresses + payload


def ethernet(payload: bytes, kind: int = 0x0800, *, tags: tuple[tuple[int, int], ...] = ()) -> bytes:
    """`tags` are (EtherType of the tag, VLAN number), outermost first."""
    vlan = b"".join(struct.pack(">HH", number, vid) for number, vid in tags)
    return bytes(12) + vlan + struct.pack(">H", kind) + payload


def sll(payload: bytes, kind: int = 0x0800) -> bytes:
    return struct.pack(">HHH8sH", 0, 1, 6, b"", kind) + payload


def sll2(payload: bytes, kind: int = 0x0800) -> bytes:
    return struct.pack(">HHIHBB8s", kind, 0, 1, 1, 0, 6, b"") + payload


def loopback(payload: bytes, family: int = 2, order: str = "<") -> bytes:
    return struct.pack(order + "I", family) + payload


@dataclass
class Talk:
    """Two directions of a connection, as Ethernet packets with IPv4; sequence numbers continue."""

    client: tuple[str, int] = CLIENT
    server: tuple[str, int] = SERVER
    seqs: dict[str, int] = field(default_factory=lambda: {"c2s": 1000, "s2c": 900_000})

    def packet(
        self,
        direction: str,
        data: bytes = b"",
        *,
        flags: int = ACK,
        seq: int | None = None,
        ack: int | None = None,
    ) -> bytes:
        """A packet at the direction's sequence number, which then advances (unless `seq` is given)."""
        source, destination = (self.client, self.server) if direction == "c2s" else (self.server, self.client)
        at = self.seqs[direction] if seq is None else seq
        other = self.seqs["s2c" if direction == "c2s" else "c2s"] if ack is None else ack
        if seq is None:
            self.seqs[direction] = (at + len(data) + bool(flags & (SYN | FIN))) & 0xFFFFFFFF
        segment = tcp(at, data, flags=flags, ack=other, source=source[1], destination=destination[1])
        return ethernet(ipv4(segment, source[0], destination[0]))

    def handshake(self) -> list[bytes]:
        return [
            self.packet("c2s", flags=SYN),
            self.packet("s2c", flags=SYN | ACK),
            self.packet("c2s"),
        ]

    def close(self) -> list[bytes]:
        return [self.packet("c2s", flags=FIN | ACK), self.packet("s2c", flags=FIN | ACK), self.packet("c2s")]


def pcap(
    packets: Iterable[bytes],
    *,
    order: str = "<",
    nanoseconds: bool = False,
    linktype: int = 1,
    snaplen: int = 262144,
    start: int = 1_700_000_000,
) -> bytes:
    """One packet each millisecond (and a nanosecond, if the format has them)."""
    magic = 0xA1B23C4D if nanoseconds else 0xA1B2C3D4
    out = [struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, snaplen, linktype)]
    for number, packet in enumerate(packets):
        fraction = number * 1_000_000 + 1 if nanoseconds else number * 1000
        kept = packet[:snaplen]
        out.append(struct.pack(order + "IIII", start, fraction, len(kept), len(packet)) + kept)
    return b"".join(out)


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    """A pcapng block."""
    body += bytes(-len(body) % 4)
    length = struct.pack(order + "I", 12 + len(body))
    return struct.pack(order + "I", kind) + length + body + length


def option(code: int, value: bytes, order: str = "<") -> bytes:
    return struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)


def section(order: str = "<") -> bytes:
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(order: str = "<", linktype: int = 1, snaplen: int = 0, options: bytes = b"") -> bytes:
    return block(1, struct.pack(order + "HHI", linktype, 0, snaplen) + options, order)


def enhanced(
    packet: bytes, ticks: int, order: str = "<", number: int = 0, original: int | None = None
) -> bytes:
    size = len(packet) if original is None else original
    body = struct.pack(order + "IIIII", number, ticks >> 32, ticks & 0xFFFFFFFF, len(packet), size)
    return block(6, body + packet + bytes(-len(packet) % 4), order)


def simple(packet: bytes, order: str = "<", original: int | None = None) -> bytes:
    size = len(packet) if original is None else original
    return block(3, struct.pack(order + "I", size) + packet, order)


def obsolete(packet: bytes, ticks: int, order: str = "<", number: int = 0) -> bytes:
    body = struct.pack(
        order + "HHIIII", number, 0xFFFF, ticks >> 32, ticks & 0xFFFFFFFF, len(packet), len(packet)
    )
    return block(2, body + packet, order)


def message(
    data: bytes = b"",
    *,
    prog: int = 0x20008086,
    vers: int = 1,
    proc: int = 1,
    type: int = 0,
    serial: int = 1,
    status: int = 0,
) -> bytes:
    """A libvirt message with arbitrary bytes as its payload."""
    return struct.pack(">IIIiiIi", 28 + len(data), prog, vers, proc, type, serial, status) + data
