"""TCP reassembly: segments in, Chunks out, no IO.

Source: RFC 9293. Sequence numbers are compared by their distance modulo 2^32 (§3.4). Where segments
overlap, the bytes that were captured first stand. Lost bytes are counted, never filled.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from typing import Final

from ...events import Chunk, Connection, Connections, Direction
from .packet import ACK, FIN, RST, SYN, Segment, endpoints, ports, reverse

#: libvirt's registered ports: plain and TLS.
LIBVIRT_PORTS: Final = frozenset((16509, 16514))

#: Out-of-order data that one direction may hold before its first hole is given up.
MAX_HELD_BYTES: Final = 4 << 20
MAX_HELD_SEGMENTS: Final = 1024
#: The same over all connections, with an estimate of what keeping a segment costs.
MAX_HELD_TOTAL: Final = 64 << 20
_SEGMENT_COST: Final = 128
#: Acknowledgements of bytes behind a hole that may come before the bytes in it: where packets were
#: captured in several queues or places, one can stand before the data that it acknowledges.
MAX_EARLY_ACKS: Final = 16
#: Connections that are remembered: without any data yet, with data, and done with.
MAX_SILENT: Final = 4096
MAX_OPEN: Final = 16_384
MAX_DONE: Final = 4096
#: What an undecided connection on an unknown port may keep until its first bytes are there.
MAX_UNDECIDED_BYTES: Final = 65_536
MAX_UNDECIDED_PIECES: Final = 256
#: How many first bytes of a direction `admit` is asked about.
ADMIT_BYTES: Final = 28

_MASK: Final = 0xFFFFFFFF
_SYN_FIN_RST: Final = SYN | FIN | RST
#: The largest window (RFC 7323 §2.3): nothing farther away belongs to the same stretch of a stream.
_MAX_WINDOW: Final = 1 << 30
#: How far behind the end of a closed connection a segment may be a retransmission.
_MAX_LATE: Final = 16 << 20


class _Half:
    """One direction of a connection. `next` is the sequence number of the next byte to give, or -1
    where none is taken (before the start, after the end, in a connection that is passed over).
    `waiting` says that something is held, lost or announced; `plain` that nothing is, in neither
    direction of a connection that is given, so that data in order needs no second look."""

    __slots__ = (
        "acks",
        "connection",
        "direction",
        "ended",
        "fin",
        "first",
        "flow",
        "held",
        "held_bytes",
        "isn",
        "lost",
        "next",
        "peer",
        "plain",
        "start",
        "waiting",
    )

    def __init__(self, flow: _Flow, direction: Direction) -> None:
        self.flow = flow
        self.direction = direction
        self.peer: _Half = self
        self.connection: Connection | None = None
        self.next = -1
        self.isn: int | None = None
        self.start: int | None = None
        self.fin: int | None = None
        self.ended = False
        self.lost = 0
        self.waiting = False
        self.plain = False
        #: Out-of-order data: (sequence number, bytes), in order and without overlap.
        self.held: list[tuple[int, bytes]] = []
        self.held_bytes = 0
        #: The first bytes, up to ADMIT_BYTES, while nobody knows whether the connection is wanted.
        self.first = b""
        #: How often bytes behind the first hole have been acknowledged.
        self.acks = 0

    def distance(self, seq: int) -> int:
        """How far `seq` is ahead of the next byte, modulo 2^32."""
        return (seq - self.next) & _MASK

    def settle(self) -> None:
        """Work out what a change means for the next segments of both directions."""
        for half in (self, self.peer):
            half.waiting = bool(half.held or half.lost) or (half.fin is not None and not half.ended)
        self.plain = self.connection is not None and not (self.waiting or self.peer.waiting)
        self.peer.plain = self.plain


class _Flow:
    """A connection as the network shows it; it becomes a Connection with its first Chunk."""

    __slots__ = (
        "c2s",
        "client",
        "group",
        "keys",
        "known",
        "rejected",
        "s2c",
        "server",
        "undecided",
        "undecided_bytes",
    )

    def __init__(self, key: bytes, known: bool) -> None:
        self.keys = (key, reverse(key))
        self.client, self.server = endpoints(key)
        self.group: dict[_Flow, None] = {}
        self.known = known
        self.rejected = False
        #: (direction, time, data, lost, end, cut) that wait for the decision whether this is wanted.
        self.undecided: list[tuple[_Half, int | None, bytes, int, bool, int]] = []
        self.undecided_bytes = 0
        self.c2s = _Half(self, "c2s")
        self.s2c = _Half(self, "s2c")
        self.c2s.peer, self.s2c.peer = self.s2c, self.c2s


class TcpReassembler:
    """Puts the segments of many connections together.

    `feed` takes segments and appends Chunks to `out`; `finish` gives what is still held. `server_ports`
    says who is the server where no SYN does, else the lower port is. Of connections on other ports only
    those are given whose first bytes, in one direction or the other, `admit` agrees to; without `admit`
    all are given.

    A hole is declared lost when the peer acknowledges the FIN, or again and again bytes behind the
    hole, when a direction holds more than MAX_HELD_BYTES or MAX_HELD_SEGMENTS, when the connection is
    reset, and at the end of the input.
    """

    def __init__(
        self,
        *,
        server_ports: frozenset[int] = LIBVIRT_PORTS,
        admit: Callable[[bytes], bool] | None = None,
    ) -> None:
        self.out: list[Chunk] = []
        self._ports = server_ports
        self._admit = admit
        self._halves: dict[bytes, _Half] = {}
        self._silent: dict[_Flow, None] = {}
        self._open: dict[_Flow, None] = {}
        self._done: dict[_Flow, None] = {}
        self._connections = Connections()
        self._held_total = 0

    def feed(self, segments: Iterable[Segment]) -> None:
        """Take segments, in the order in which they were captured."""
        halves, give = self._halves, self.out.append
        for segment in segments:
            time_ns, key, seq, _, flags, data, missing = segment
            half = halves.get(key)
            if (
                half is not None
                and seq == half.next
                and half.plain
                and not flags & _SYN_FIN_RST
                and not missing
                and half.connection is not None
            ):
                if data:
                    half.next = (seq + len(data)) & _MASK
                    give(Chunk(half.connection, half.direction, time_ns, data))
            else:
                self._slow(segment, half)

    def finish(self, time_ns: int | None) -> None:
        """The input has ended: declare every hole lost and give what lies behind. Connections that were
        not seen to end get no end."""
        for flow in [*self._silent, *self._open]:
            for half in (flow.c2s, flow.s2c):
                self._abandon_holes(half, time_ns)

    def _slow(self, segment: Segment, half: _Half | None) -> None:
        """Everything but a segment without flags, in order, of a connection without holes."""
        time_ns, key, seq, ack, flags, data, missing = segment
        if flags & SYN and not flags & RST:
            half = self._syn(time_ns, key, seq, ack, flags, half)
            seq = (seq + 1) & _MASK
        elif half is None or (data and self._is_reused(half, seq)):
            if not (data or missing):
                return
            half = self._start(time_ns, self._client_first(key), key)
        if half.flow.rejected:
            return
        if flags & ACK and half.peer.waiting:
            self._acknowledge(half.peer, ack, time_ns)
        if flags & RST:
            self._reset(half, seq, time_ns)
        elif not half.ended and (data or missing or flags & FIN):
            self._data(half, time_ns, seq, data, missing, flags)
        half.settle()

    # Connections

    def _client_first(self, key: bytes) -> bytes:
        """The key from client to server, for a connection whose SYN was not captured."""
        source, destination = ports(key)
        from_server, to_server = source in self._ports, destination in self._ports
        if from_server == to_server:
            from_server = source < destination
        return reverse(key) if from_server else key

    def _start(self, time_ns: int | None, client_key: bytes, key: bytes) -> _Half:
        """A new connection; gives the direction of `key`. What had its addresses before has ended."""
        before = self._halves.get(client_key)
        if before is not None:
            self._forget(before.flow, time_ns)
        known = self._admit is None or not self._ports.isdisjoint(ports(client_key))
        flow = _Flow(client_key, known)
        self._halves[flow.keys[0]], self._halves[flow.keys[1]] = flow.c2s, flow.s2c
        self._move(flow, self._silent, MAX_SILENT, time_ns)
        return self._halves[key]

    def _move(self, flow: _Flow, group: dict[_Flow, None], limit: int, time_ns: int | None) -> None:
        """Put a connection into a group; the group's oldest is forgotten to keep to the limit."""
        flow.group.pop(flow, None)
        flow.group = group
        group[flow] = None
        if len(group) > limit:
            self._forget(next(iter(group)), time_ns)

    def _syn(
        self, time_ns: int | None, key: bytes, seq: int, ack: int, flags: int, half: _Half | None
    ) -> _Half:
        """A SYN: of the connection that is known by these addresses, or of a new one."""
        first = (seq + 1) & _MASK
        if half is not None:
            closed = half.ended and half.peer.ended
            if not closed and (half.isn == seq or (half.isn is None and half.start == first)):
                half.isn = seq
                return half
            opened = half.peer.isn
            if flags & ACK:
                # The acknowledgement covers the SYN, and data with it (RFC 7413).
                ours = opened is not None and (ack - opened - 1) & _MASK <= 0xFFFF
            else:
                # Both sides open at once (RFC 9293 §3.5), as long as nothing else was seen.
                ours = opened is not None and half.peer.start == half.peer.next
            ours = ours and half.isn is None and half.start is None and not half.ended
        else:
            ours = False
        if not ours or half is None:
            half = self._start(time_ns, reverse(key) if flags & ACK else key, key)
        half.isn = seq
        if not half.flow.rejected:
            half.start = half.next = first
        return half

    @staticmethod
    def _is_reused(half: _Half, seq: int) -> bool:
        """Whether data behind the end of a connection cannot be its own."""
        if not (half.ended and half.peer.ended) or half.flow.rejected:
            return False
        return half.fin is None or (half.fin - seq) & _MASK > _MAX_LATE

    def _forget(self, flow: _Flow, time_ns: int | None) -> None:
        """The connection is not known any more; it ends if it has not."""
        if flow.group is not self._silent or flow.c2s.waiting or flow.s2c.waiting:
            self._close(flow, time_ns)
        flow.group.pop(flow, None)
        for key in flow.keys:
            self._halves.pop(key, None)

    def _close(self, flow: _Flow, time_ns: int | None) -> None:
        """Both directions end; late segments are told by what is remembered for a while."""
        for half in (flow.c2s, flow.s2c):
            self._abandon_holes(half, time_ns)
            self._end(half, time_ns)
        if flow.group is not self._done:
            self._move(flow, self._done, MAX_DONE, time_ns)

    def _reset(self, half: _Half, seq: int, time_ns: int | None) -> None:
        """A RST counts if it is in the window, or if the direction has not begun (a refused SYN)."""
        if half.next < 0 or half.distance(seq) < _MAX_WINDOW:
            self._close(half.flow, time_ns)

    # Data

    def _data(
        self, half: _Half, time_ns: int | None, seq: int, data: bytes, missing: int, flags: int
    ) -> None:
        if half.next < 0:
            half.start = half.next = seq
            half.lost = -1
        ahead = half.distance(seq)
        if _MAX_WINDOW <= ahead <= _MASK + 1 - _MAX_WINDOW:
            # Nothing that is under way can be so far off: the capture was interrupted.
            self._abandon_holes(half, time_ns)
            if half.ended or half.flow.rejected:
                return
            half.next, half.lost, half.fin, ahead = seq, -1, None, 0
        size = len(data) + missing
        if flags & FIN and half.fin is None:
            half.fin = (seq + size) & _MASK
        behind = (_MASK + 1 - ahead) & _MASK
        if 0 < behind < _MAX_WINDOW:  # a retransmission, of all or of the first bytes
            missing = min(missing, max(size - behind, 0))
            data, ahead = data[behind:], 0
        if ahead == 0 and not half.held:
            half.next = (half.next + len(data) + missing) & _MASK
            if data:
                self._give(half, time_ns, data, missing)
            else:
                self._lose(half, missing)
        elif data:
            self._hold(half, (half.next + ahead) & _MASK, data)
            self._drain(half, time_ns)
            while half.held and self._too_much(half):
                self._skip_hole(half, time_ns)
        if half.fin == half.next and not half.held:
            self._finished(half, time_ns)

    def _too_much(self, half: _Half) -> bool:
        return (
            len(half.held) > MAX_HELD_SEGMENTS
            or half.held_bytes > MAX_HELD_BYTES
            or self._held_total > MAX_HELD_TOTAL
        )

    def _hold(self, half: _Half, seq: int, data: bytes) -> None:
        """Keep the parts of out-of-order data that are not held yet."""
        held, distance = half.held, half.distance
        start = distance(seq)
        at = bisect_left(held, start, key=lambda piece: distance(piece[0]))
        pieces: list[tuple[int, bytes]] = []
        if at:
            before, content = held[at - 1]
            overlap = distance(before) + len(content) - start
            if overlap > 0:
                data, start = data[overlap:], start + overlap
        upto = at
        while data:
            gap = distance(held[upto][0]) - start if upto < len(held) else len(data)
            if gap > 0:
                pieces.append(((half.next + start) & _MASK, data[:gap]))
            if gap >= len(data):
                break
            taken = gap + len(held[upto][1])
            pieces.append(held[upto])
            data, start, upto = data[taken:], start + taken, upto + 1
        before_bytes = sum(len(content) for _, content in held[at:upto])
        before_count = upto - at
        held[at:upto] = pieces
        added = sum(len(content) for _, content in pieces) - before_bytes
        half.held_bytes += added
        self._held_total += added + (len(pieces) - before_count) * _SEGMENT_COST

    def _drain(self, half: _Half, time_ns: int | None) -> None:
        """Give the held data that is now in order."""
        count, seq, held = 0, half.next, half.held
        while count < len(held) and held[count][0] == seq:
            seq = (seq + len(held[count][1])) & _MASK
            count += 1
        if count:
            data = b"".join(content for _, content in held[:count])
            del held[:count]
            half.acks = 0
            half.held_bytes -= len(data)
            self._held_total -= len(data) + count * _SEGMENT_COST
            half.next = seq
            self._give(half, time_ns, data)

    def _skip_hole(self, half: _Half, time_ns: int | None) -> None:
        """Declare the first hole lost and give what is held behind it."""
        seq = half.held[0][0]
        self._lose(half, half.distance(seq))
        half.next = seq
        self._drain(half, time_ns)

    def _acknowledge(self, half: _Half, ack: int, time_ns: int | None) -> None:
        """The peer has all bytes before `ack`: those that are not captured soon never will be."""
        if half.next < 0 or half.ended:
            return
        upto = half.distance(ack)
        if upto >= _MAX_WINDOW:
            return
        if half.fin is not None and half.distance(half.fin) < upto:
            self._abandon_holes(half, time_ns)
        elif half.held and half.distance(half.held[0][0]) <= upto:
            half.acks += 1
            if half.acks > MAX_EARLY_ACKS:
                self._skip_hole(half, time_ns)

    def _abandon_holes(self, half: _Half, time_ns: int | None) -> None:
        """Declare every hole lost, the one before a FIN included."""
        if half.next < 0 or half.ended:
            return
        while half.held:
            self._skip_hole(half, time_ns)
        if half.fin is not None and half.distance(half.fin) < _MAX_WINDOW:
            if half.fin != half.next:
                self._lose(half, half.distance(half.fin))
                half.next = half.fin
            self._finished(half, time_ns)
        elif half.lost > 0:
            self._give(half, time_ns, b"")

    @staticmethod
    def _lose(half: _Half, count: int) -> None:
        if half.lost >= 0:
            half.lost += count

    # Chunks

    def _finished(self, half: _Half, time_ns: int | None) -> None:
        """A direction has come to its FIN."""
        self._end(half, time_ns)
        if half.peer.ended:
            self._close(half.flow, time_ns)

    def _end(self, half: _Half, time_ns: int | None) -> None:
        if half.ended or half.flow.rejected:
            return
        half.ended = True
        if half.fin is None and half.next >= 0:
            half.fin = half.next
        half.next = -1
        self._give(half, time_ns, b"", end=True)

    def _give(
        self, half: _Half, time_ns: int | None, data: bytes, cut: int = 0, *, end: bool = False
    ) -> None:
        """A Chunk of a connection that is wanted; what is not decided yet waits. What the capture has `cut`
        off behind the data nothing will bring."""
        lost, half.lost = half.lost, 0
        flow = half.flow
        if half.connection is None:
            if data and flow.group is self._silent:
                self._move(flow, self._open, MAX_OPEN, time_ns)
            if not flow.known:
                flow.undecided.append((half, time_ns, data, lost, end, cut))
                flow.undecided_bytes += len(data)
                half.first += data[: ADMIT_BYTES - len(half.first)]
                self._decide(flow, time_ns)
                return
            self._name(flow)
        assert half.connection is not None
        self.out.append(Chunk(half.connection, half.direction, time_ns, data, lost, end, cut))

    def _name(self, flow: _Flow) -> None:
        connection = self._connections.new(flow.client, flow.server)
        flow.c2s.connection = flow.s2c.connection = connection

    def _decide(self, flow: _Flow, time_ns: int | None) -> None:
        """Ask about an unknown port's connection as soon as a direction's first bytes are there."""
        assert self._admit is not None
        refused = 0
        for half in (flow.c2s, flow.s2c):
            if self._admit(half.first):
                self._name(flow)
                self._give_undecided(flow)
                return
            refused += half.ended or len(half.first) == ADMIT_BYTES
        too_much = flow.undecided_bytes > MAX_UNDECIDED_BYTES or len(flow.undecided) > MAX_UNDECIDED_PIECES
        if refused == 2 or too_much:
            self._reject(flow, time_ns)

    def _give_undecided(self, flow: _Flow) -> None:
        for half, time_ns, data, lost, end, cut in flow.undecided:
            assert half.connection is not None
            self.out.append(Chunk(half.connection, half.direction, time_ns, data, lost, end, cut))
        flow.undecided = []

    def _reject(self, flow: _Flow, time_ns: int | None) -> None:
        """Pass over all that the connection still brings."""
        flow.rejected = True
        flow.undecided = []
        for half in (flow.c2s, flow.s2c):
            self._held_total -= half.held_bytes + len(half.held) * _SEGMENT_COST
            half.held, half.held_bytes, half.next = [], 0, -1
        if flow.group is not self._done:
            self._move(flow, self._done, MAX_DONE, time_ns)
