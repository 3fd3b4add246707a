"""TCP segments of captured packets: link layers, IPv4 and IPv6, the TCP header.

Sources: RFC 791, RFC 8200, RFC 9293, and tcpdump.org's list of link-layer header types.
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct
from typing import Final

from .file import NOT_A_PACKET, Packet

#: (packet number from 1, time, key, sequence number, acknowledgement number, flags, payload, missing). The
#: key is the source address, destination address, source port and destination port as in the packet (12 bytes
#: for IPv4, 36 for IPv6); missing is the number of payload bytes that the capture cut off.
Segment = tuple[int, int | None, bytes, int, int, int, bytes, int]

FIN: Final = 0x01
SYN: Final = 0x02
RST: Final = 0x04
ACK: Final = 0x10

_IPV4: Final = 0x0800
_IPV6: Final = 0x86DD
_TCP: Final = 6
#: 802.1Q, 802.1ad, and the former number of QinQ.
_VLAN: Final = frozenset((0x8100, 0x88A8, 0x9100))
_MAX_TAGS: Final = 8
#: Hop-by-hop, routing, destination, mobility, HIP, Shim6: next header, and length in units of eight bytes.
_EXTENSIONS: Final = frozenset((0, 43, 60, 135, 139, 140))
_FRAGMENT: Final = 44
_AUTHENTICATION: Final = 51

#: Link type → positions of its EtherType and its payload.
_ETHERNET: Final = 1
_TYPED_LINKS: Final = {_ETHERNET: (12, 14), 113: (14, 16), 276: (0, 20)}
#: BSD loopback (byte order of the writer) and OpenBSD's (big-endian): four bytes of address family.
_LOOPBACK: Final = frozenset((0, 108))
_RAW: Final = frozenset((12, 14, 101, 228, 229))

#: Version and header length; total length; fragment, time to live and protocol in one word; key;
#: sequence and acknowledgement number; header length and flags in one word.
_IP_TCP = "BxH2xI2x12sIIH"
#: The common packet in one step: a link layer with an EtherType, IPv4 without options, TCP.
_FAST: Final = {
    link: (Struct(f">{type_at}xH{ip_at - type_at - 2}x{_IP_TCP}").unpack_from, ip_at, ip_at + 40)
    for link, (type_at, ip_at) in _TYPED_LINKS.items()
}
_HALF = Struct(">H").unpack_from
_IPV4_HEADER = Struct(">BxH2xHxB2x8s").unpack_from
_IPV6_HEADER = Struct(">4xHBx32s").unpack_from
_TCP_HEADER = Struct(">4sIIBB").unpack_from

#: A segment without its number and time.
_Found = tuple[bytes, int, int, int, bytes, int]


class SegmentDecoder:
    """Converts packets to segments, skipping those without TCP. Packets are numbered over all calls.

    Its counters cover the rest: `not_tcp` packets without TCP, `fragments` of IP (the first fragment of a
    segment is used, the rest is missing), `malformed` headers that are truncated or contradict themselves,
    `unknown_links` with the unsupported link types. `cut` counts segments whose end the capture cut off.
    """

    def __init__(self) -> None:
        self.packets = 0
        self.not_tcp = 0
        self.fragments = 0
        self.malformed = 0
        self.cut = 0
        self.unknown_links: set[int] = set()

    def segments(self, packets: Iterable[Packet]) -> list[Segment]:
        """Return the segments of packets, in order."""
        found: list[Segment] = []
        add = found.append
        number, begin = self.packets, self.packets + 1
        for number, (time_ns, linktype, buffer, start, end, original) in enumerate(packets, begin):
            fast = _FAST.get(linktype)
            if fast is not None:
                unpack, ip, size = fast
                if end - start >= size:
                    kind, version, total, word, key, seq, ack, data = unpack(buffer, start)
                    # Anything unusual, including wrong lengths, takes the slow path.
                    if version == 0x45 and kind == _IPV4 and word & 0x3FFF00FF == _TCP and data >= 0x5000:
                        ip += start
                        stop, first = ip + total, ip + 20 + (data >> 12) * 4
                        if first <= stop <= end:
                            add((number, time_ns, key, seq, ack, data & 0xFF, buffer[first:stop], 0))
                            continue
            segment = self._link(linktype, buffer, start, end, max(original, end - start))
            if segment is not None:
                add((number, time_ns, *segment))
        self.packets = number
        return found

    def _link(self, linktype: int, buffer: bytes, start: int, end: int, original: int) -> _Found | None:
        """Skip the link layer."""
        if linktype == NOT_A_PACKET:
            return None
        wire_end = start + original
        typed = _TYPED_LINKS.get(linktype)
        if typed is not None:
            kind_at, pos = start + typed[0], start + typed[1]
            for _ in range(_MAX_TAGS):
                if end < pos:
                    break
                (kind,) = _HALF(buffer, kind_at)
                if kind not in _VLAN:
                    return self._network(kind, buffer, pos, end, wire_end)
                kind_at, pos = pos + 2, pos + 4
            self.malformed += 1
            return None
        pos = start + 4 if linktype in _LOOPBACK else start
        if linktype not in _LOOPBACK and linktype not in _RAW:
            if len(self.unknown_links) < 64:
                self.unknown_links.add(linktype)
            return None
        if end <= pos:
            self.malformed += 1
            return None
        # Address family numbers differ between systems; the IP version does not.
        kind = {4: _IPV4, 6: _IPV6}.get(buffer[pos] >> 4, 0)
        return self._network(kind, buffer, pos, end, wire_end)

    def _network(self, kind: int, buffer: bytes, pos: int, end: int, wire_end: int) -> _Found | None:
        if kind == _IPV4:
            return self._ipv4(buffer, pos, end, wire_end)
        if kind == _IPV6:
            return self._ipv6(buffer, pos, end, wire_end)
        self.not_tcp += 1
        return None

    def _ipv4(self, buffer: bytes, pos: int, end: int, wire_end: int) -> _Found | None:
        if end - pos < 20:
            self.malformed += 1
            return None
        version, total, fragment, protocol, addresses = _IPV4_HEADER(buffer, pos)
        if protocol != _TCP:
            self.not_tcp += 1
            return None
        header = (version & 15) * 4
        # A length of 0 means "as long as the packet": the card splits it into segments later.
        ip_end = pos + total if total else wire_end
        if version >> 4 != 4 or header < 20 or ip_end < pos + header:
            self.malformed += 1
            return None
        if fragment & 0x3FFF:
            self.fragments += 1
            if fragment & 0x1FFF:
                return None
        return self._tcp(addresses, buffer, pos + header, end, ip_end)

    def _ipv6(self, buffer: bytes, pos: int, end: int, wire_end: int) -> _Found | None:
        if end - pos < 40:
            self.malformed += 1
            return None
        length, protocol, addresses = _IPV6_HEADER(buffer, pos)
        # 0: a jumbogram (RFC 2675), or as for IPv4.
        ip_end = pos + 40 + length if length else wire_end
        pos += 40
        while protocol != _TCP:
            if protocol not in _EXTENSIONS and protocol not in (_FRAGMENT, _AUTHENTICATION):
                self.not_tcp += 1
                return None
            if end - pos < 8:
                self.malformed += 1
                return None
            following = buffer[pos]
            if protocol == _FRAGMENT:
                (fragment,) = _HALF(buffer, pos + 2)
                if fragment & 0xFFF9:  # an offset, or more fragments; an atomic fragment is whole
                    self.fragments += following == _TCP
                    if fragment & 0xFFF8:
                        return None
                pos += 8
            elif protocol == _AUTHENTICATION:
                pos += (buffer[pos + 1] + 2) * 4
            else:
                pos += (buffer[pos + 1] + 1) * 8
            protocol = following
        return self._tcp(addresses, buffer, pos, end, ip_end)

    def _tcp(self, addresses: bytes, buffer: bytes, pos: int, end: int, ip_end: int) -> _Found | None:
        """Return the segment whose TCP header begins at `pos`. The capture ends at `end`, the IP payload at
        `ip_end`."""
        if min(end, ip_end) - pos < 20:
            self.malformed += 1
            return None
        ports, seq, ack, data, flags = _TCP_HEADER(buffer, pos)
        first = pos + (data >> 4) * 4
        if data < 0x50 or first > ip_end:
            self.malformed += 1
            return None
        stop = min(end, ip_end)
        missing = ip_end - max(stop, first)
        self.cut += missing > 0
        return addresses + ports, seq, ack, flags, buffer[first:stop], missing


def endpoints(key: bytes) -> tuple[str, str]:
    """Return `address:port` of a key's source and destination, `[address]:port` for IPv6."""
    size = (len(key) - 4) // 2
    names = []
    for at, port in ((0, key[-4:-2]), (size, key[-2:])):
        names.append(f"{_address(key[at : at + size])}:{_HALF(port)[0]}")
    return names[0], names[1]


def _address(data: bytes) -> str:
    if len(data) != 16:
        return ".".join(map(str, data))
    import ipaddress  # slow to load

    return f"[{ipaddress.IPv6Address(data)}]"


def reverse(key: bytes) -> bytes:
    """Return the key of the other direction."""
    size = (len(key) - 4) // 2
    return key[size : 2 * size] + key[:size] + key[-2:] + key[-4:-2]


def ports(key: bytes) -> tuple[int, int]:
    """Return source and destination port."""
    return _HALF(key, len(key) - 4)[0], _HALF(key, len(key) - 2)[0]
