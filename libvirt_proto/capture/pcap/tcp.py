"""TCP reassembly: segments in, Chunks out, without I/O.

Source: RFC 9293. Sequence numbers are compared by their distance modulo 2^32 (§3.4). Where segments overlap,
the bytes captured first are kept. Lost bytes are counted, never filled in.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Final

from ...bounded import BoundedDict
from ...events import Chunk, Connection, Connections, Direction
from ...rpc.wire import MIN_FRAME
from .origin import Origin
from .packet import ACK, FIN, RST, SYN, Segment, endpoints, ports, reverse

#: libvirt's registered ports: plain and TLS.
LIBVIRT_PORTS: Final = frozenset((16509, 16514))

#: Out-of-order data that one direction may hold before its first hole is given up.
MAX_HELD_BYTES: Final = 4 << 20
MAX_HELD_SEGMENTS: Final = 1024
#: The same over all connections, with an estimate of the memory per segment.
MAX_HELD_TOTAL: Final = 64 << 20
_SEGMENT_COST: Final = 128
#: Acknowledgements of bytes after a hole that may precede the bytes in it: in a capture from several queues
#: or places, one can appear before the data that it acknowledges.
MAX_EARLY_ACKS: Final = 16
#: Maximum number of remembered connections: without data, with data, and ended.
MAX_SILENT: Final = 4096
MAX_OPEN: Final = 16_384
MAX_DONE: Final = 4096
#: Data that an undecided connection on an unknown port may hold until its first bytes are there.
MAX_UNDECIDED_BYTES: Final = 65_536
MAX_UNDECIDED_PIECES: Final = 256
#: Number of first bytes of a direction that `admit` decides about.
ADMIT_BYTES: Final = MIN_FRAME

_MASK: Final = 0xFFFFFFFF
_SYN_FIN_RST: Final = SYN | FIN | RST
#: The largest window (RFC 7323 §2.3): nothing farther away belongs to the same part of a stream.
_MAX_WINDOW: Final = 1 << 30
#: Maximum distance before the end of a closed connection at which a segment may be a retransmission.
_MAX_LATE: Final = 16 << 20


class _Half:
    """One direction of a connection.

    `next` is the sequence number of the next byte to emit, or -1 if none is accepted (before the start, after
    the end, in a connection that is ignored). `waiting` means that data is held, lost or announced; `plain`
    that none is in either direction of an admitted connection, so that data in order needs no further checks.
    """

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
        #: The first bytes, up to ADMIT_BYTES, until the connection is admitted or rejected.
        self.first = b""
        #: Number of times that bytes after the first hole were acknowledged.
        self.acks = 0

    def distance(self, seq: int) -> int:
        """Return the distance from the next byte to `seq`, modulo 2^32."""
        return (seq - self.next) & _MASK

    def settle(self) -> None:
        """Update `waiting` and `plain` of both directions after a change."""
        for half in (self, self.peer):
            half.waiting = bool(half.held or half.lost) or (half.fin is not None and not half.ended)
        self.plain = self.connection is not None and not (self.waiting or self.peer.waiting)
        self.peer.plain = self.plain


class _Flow:
    """A connection on the network; it becomes a Connection with its first Chunk."""

    __slots__ = (
        "c2s",
        "client",
        "group",
        "keys",
        "known",
        "origin",
        "rejected",
        "s2c",
        "server",
        "undecided",
        "undecided_bytes",
    )

    def __init__(self, key: bytes, known: bool, origin: Origin | None) -> None:
        self.keys = (key, reverse(key))
        self.client, self.server = endpoints(key)
        self.origin = origin
        self.group: dict[_Flow, None] = {}
        self.known = known
        self.rejected = False
        #: (direction, time, data, lost, end, cut, packet, reset) that wait until the connection is admitted.
        self.undecided: list[tuple[_Half, int | None, bytes, int, bool, int, int | None, bool]] = []
        self.undecided_bytes = 0
        self.c2s = _Half(self, "c2s")
        self.s2c = _Half(self, "s2c")
        self.c2s.peer, self.s2c.peer = self.s2c, self.c2s


class TcpReassembler:
    """Reassembles the segments of many connections.

    `feed` adds segments and appends Chunks to `out`; `finish` emits held data. `server_ports` identify the
    server if no SYN does; otherwise the lower port does. Connections on other ports are emitted only if
    `admit` accepts the first bytes of one direction; without `admit`, all are emitted.

    A hole is declared lost when the peer acknowledges the FIN, or repeatedly acknowledges bytes after the
    hole; when a direction holds more than MAX_HELD_BYTES or MAX_HELD_SEGMENTS; when the connection is reset;
    and at the end of the input.
    """

    def __init__(
        self,
        *,
        server_ports: frozenset[int] = LIBVIRT_PORTS,
        admit: Callable[[bytes], bool] | None = None,
    ) -> None:
        self.out: list[Chunk] = []
        #: What a recording states about the connection that begins with the first segment of `feed`.
        self.origin: Origin | None = None
        self._ports = server_ports
        self._admit = admit
        self._halves: dict[bytes, _Half] = {}
        self._silent: BoundedDict[_Flow, None] = BoundedDict(MAX_SILENT)
        self._open: BoundedDict[_Flow, None] = BoundedDict(MAX_OPEN)
        self._done: BoundedDict[_Flow, None] = BoundedDict(MAX_DONE)
        self._connections = Connections()
        self._held_total = 0
        #: Number of the packet that is being processed.
        self._packet: int | None = None

    def feed(self, segments: Iterable[Segment]) -> None:
        """Add segments, in capture order."""
        halves, give = self._halves, self.out.append
        for segment in segments:
            number, time_ns, key, seq, _, flags, data, missing = segment
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
                    give(Chunk(half.connection, half.direction, time_ns, data, 0, False, 0, number))
            else:
                self._slow(segment, half)
                self.origin = None

    def half(self, key: bytes) -> _Half | None:
        """Return the direction with a key; None for an unknown one."""
        return self._halves.get(key)

    def replaceable(self, count: int) -> Iterator[bytes]:
        """Yield the keys of the connections that `count` segments may replace by new ones."""
        for group in (self._silent, self._open):
            for flow in islice(group, max(len(group) + count - group.limit, 0)):
                yield from flow.keys

    def finish(self, time_ns: int | None) -> None:
        """End the input: declare every hole lost, and emit the data after it. Connections whose end was not
        seen get none."""
        for flow in [*self._silent, *self._open]:
            for half in (flow.c2s, flow.s2c):
                self._abandon_holes(half, time_ns)

    def _slow(self, segment: Segment, half: _Half | None) -> None:
        """Process everything but a segment without flags, in order, of a connection without holes."""
        self._packet, time_ns, key, seq, ack, flags, data, missing = segment
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
        """Return the key from client to server, for a connection whose SYN was not captured."""
        source, destination = ports(key)
        from_server, to_server = source in self._ports, destination in self._ports
        if from_server == to_server:
            from_server = source < destination
        return reverse(key) if from_server else key

    def _start(self, time_ns: int | None, client_key: bytes, key: bytes) -> _Half:
        """Start a connection, and return the direction of `key`. An earlier one with the same addresses has
        ended."""
        before = self._halves.get(client_key)
        if before is not None:
            self._forget(before.flow, time_ns)
        known = self._admit is None or not self._ports.isdisjoint(ports(client_key))
        flow = _Flow(client_key, known, self.origin)
        self._halves[flow.keys[0]], self._halves[flow.keys[1]] = flow.c2s, flow.s2c
        self._move(flow, self._silent, time_ns)
        return self._halves[key]

    def _move(self, flow: _Flow, group: BoundedDict[_Flow, None], time_ns: int | None) -> None:
        """Move a connection into a group, and forget the oldest of a full group."""
        flow.group.pop(flow, None)
        flow.group = group
        if evicted := group.put(flow, None):
            self._forget(evicted[0], time_ns)

    def _syn(
        self, time_ns: int | None, key: bytes, seq: int, ack: int, flags: int, half: _Half | None
    ) -> _Half:
        """Process a SYN, of the known connection with these addresses or of a new one."""
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
                # Simultaneous open (RFC 9293 §3.5), if nothing else was seen.
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
        """Return whether data after the end of a connection must belong to a new one."""
        if not (half.ended and half.peer.ended) or half.flow.rejected:
            return False
        return half.fin is None or (half.fin - seq) & _MASK > _MAX_LATE

    def _forget(self, flow: _Flow, time_ns: int | None) -> None:
        """Forget a connection; it ends if it has not."""
        if flow.group is not self._silent or flow.c2s.waiting or flow.s2c.waiting:
            self._close(flow, time_ns)
        flow.group.pop(flow, None)
        for key in flow.keys:
            self._halves.pop(key, None)

    def _close(self, flow: _Flow, time_ns: int | None, reset: _Half | None = None) -> None:
        """End both directions, the one that was `reset` first, and remember the connection for a while to
        recognise late segments."""
        for half in (flow.c2s, flow.s2c) if reset is None else (reset, reset.peer):
            self._abandon_holes(half, time_ns)
            self._end(half, time_ns, reset=half is reset)
        if flow.group is not self._done:
            self._move(flow, self._done, time_ns)

    def _reset(self, half: _Half, seq: int, time_ns: int | None) -> None:
        """A RST counts if it is in the window, or if the direction has not begun (a refused SYN)."""
        if half.next < 0 or half.distance(seq) < _MAX_WINDOW:
            self._close(half.flow, time_ns, half)

    # Data

    def _data(
        self, half: _Half, time_ns: int | None, seq: int, data: bytes, missing: int, flags: int
    ) -> None:
        if half.next < 0:
            half.start = half.next = seq
            half.lost = -1
        ahead = half.distance(seq)
        if _MAX_WINDOW <= ahead <= _MASK + 1 - _MAX_WINDOW:
            # No data in transit can be so far away: the capture was interrupted.
            self._abandon_holes(half, time_ns)
            if half.ended or half.flow.rejected:
                return
            half.next, half.lost, half.fin, ahead = seq, -1, None, 0
        size = len(data) + missing
        if flags & FIN and half.fin is None:
            half.fin = (seq + size) & _MASK
        behind = (_MASK + 1 - ahead) & _MASK
        if 0 < behind < _MAX_WINDOW:  # a retransmission of the whole segment or its first bytes
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
        """Emit the held data that is now in order."""
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
        """Declare the first hole lost, and emit the data held after it."""
        seq = half.held[0][0]
        self._lose(half, half.distance(seq))
        half.next = seq
        self._drain(half, time_ns)

    def _acknowledge(self, half: _Half, ack: int, time_ns: int | None) -> None:
        """Process an acknowledgement: the peer has all bytes before `ack`, so those not captured soon never
        will be."""
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
        """End a direction at its FIN."""
        self._end(half, time_ns)
        if half.peer.ended:
            self._close(half.flow, time_ns)

    def _end(self, half: _Half, time_ns: int | None, *, reset: bool = False) -> None:
        if half.ended or half.flow.rejected:
            return
        half.ended = True
        if half.fin is None and half.next >= 0:
            half.fin = half.next
        half.next = -1
        self._give(half, time_ns, b"", end=True, reset=reset)

    def _give(
        self,
        half: _Half,
        time_ns: int | None,
        data: bytes,
        cut: int = 0,
        *,
        end: bool = False,
        reset: bool = False,
    ) -> None:
        """Emit a Chunk of an admitted connection, or hold it if undecided. `cut` bytes after the data are
        missing from the capture for good."""
        lost, half.lost = half.lost, 0
        flow = half.flow
        if half.connection is None:
            if data and flow.group is self._silent:
                self._move(flow, self._open, time_ns)
            if not flow.known:
                flow.undecided.append((half, time_ns, data, lost, end, cut, self._packet, reset))
                flow.undecided_bytes += len(data)
                half.first += data[: ADMIT_BYTES - len(half.first)]
                self._decide(flow, time_ns)
                return
            self._name(flow)
        assert half.connection is not None
        chunk = Chunk(half.connection, half.direction, time_ns, data, lost, end, cut, self._packet, reset)
        self.out.append(chunk)

    def _name(self, flow: _Flow) -> None:
        names = flow.origin or (flow.client, flow.server)
        connection = self._connections.new(*names)
        flow.c2s.connection = flow.s2c.connection = connection

    def _decide(self, flow: _Flow, time_ns: int | None) -> None:
        """Decide about a connection on an unknown port, as soon as the first bytes of a direction are
        there."""
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
        for half, time_ns, data, lost, end, cut, packet, reset in flow.undecided:
            assert half.connection is not None
            chunk = Chunk(half.connection, half.direction, time_ns, data, lost, end, cut, packet, reset)
            self.out.append(chunk)
        flow.undecided = []

    def _reject(self, flow: _Flow, time_ns: int | None) -> None:
        """Ignore the rest of the connection."""
        flow.rejected = True
        flow.undecided = []
        for half in (flow.c2s, flow.s2c):
            self._held_total -= half.held_bytes + len(half.held) * _SEGMENT_COST
            half.held, half.held_bytes, half.next = [], 0, -1
        if flow.group is not self._done:
            self._move(flow, self._done, time_ns)
