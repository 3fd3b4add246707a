"""Fuzz targets of the native core: plans of any words, and a scanner with any arguments."""

from __future__ import annotations

import struct
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Final

from libvirt_proto import native, registry
from libvirt_proto.events import Captured, Connection
from libvirt_proto.native_plan import NativePlan, read
from libvirt_proto.native_plan_builder import build
from libvirt_proto.registry import Registry
from libvirt_proto.rpc.message import Header, Message

from .taker import Taker

DEFINITIONS: Final = Path(__file__).resolve().parent.parent / "definitions" / "numbers.x"
#: Rows of a plan that are tried.
_ROWS: Final = 40
#: A row that no plan has.
_MANY: Final = 100_000


class Refusal(Exception):
    """Raised by a resolver or a class."""


@cache
def base() -> tuple[NativePlan, Registry]:
    """Return a small plan with every kind of type."""
    loaded = registry.load(DEFINITIONS)
    return build(loaded), loaded


@cache
def newest() -> tuple[NativePlan, dict[str, int], Any]:
    """Return the plan of the newest release, its rows by name, and the plan for the native core."""
    core = native.core()
    assert core is not None
    types = registry.default()
    made = read(types) or build(types)
    return made, made.rows(), core.Plan(made.words, made.text, made.resolver(types))


def plan(data: bytes) -> None:
    """The first byte: a resolver, and whether words of a good plan are changed or all are new. Then (place,
    word), or words; a text; and a payload.

    Words are a plan or a ValueError. Any row reads any bytes, to a value or None; both functions
    give the same end, and values are written again. Only the resolver's errors are raised.
    """
    core = native.core()
    if core is None:
        return
    taker = Taker(data)
    how = taker.number(1)
    good, types = base()
    words, text = bytearray(good.words), good.text
    if how & 4:
        words = bytearray(taker.take(4 * taker.number(1)))
    else:
        for _ in range(taker.below(8)):
            at = taker.number(2) % (len(words) // 4)
            words[4 * at : 4 * at + 4] = taker.take(4)
    if how & 8:
        text = taker.take(taker.number(1))
    made: list[Any] = []
    try:
        made.append(core.Plan(bytes(words), text, _resolver(how & 3, good.resolver(types), made)))
    except ValueError:
        return
    (found,) = made
    rows = struct.unpack_from("<I", words, 4)[0]
    payload = taker.rest()
    for row in range(min(rows, _ROWS)):
        end = found.check(row, payload)
        assert end is None or 0 <= end <= len(payload)
        text_ = found.json(row, payload)
        assert text_ is None or (isinstance(text_, bytes) and end == len(payload))
        try:
            built = found.decode(row, payload)
            if built is not None:
                assert built[1] == end
                written = found.encode(row, built[0])
                assert written is None or len(written) <= len(payload) or how & 3
        except (Refusal, TypeError, AttributeError, RecursionError):
            assert how & 3 or how & 12 or words != good.words


def _resolver(how: int, right: Callable[[int], Any], made: list[Any]) -> Callable[[int], Any]:
    """Return a resolver: a right one, one that raises, one that returns nonsense, one that calls back."""
    nonsense = (Refusal, {0: 1}, 7, None, list, {}, Connection, "text", lambda *fields: fields)

    def resolve(row: int) -> Any:
        if how == 1 and row % 3 == 0:
            raise Refusal
        if how == 2:
            return nonsense[row % len(nonsense)]
        if how == 3 and made and len(made) < 4:
            made.append(row)
            made[0].decode(row, bytes(64))
            made[0].encode(row, [])
        return right(row)

    return resolve


def scanner(data: bytes) -> None:
    """The first byte: lines or objects, classes that call back, and whether there are lanes. Then calls of
    the scanner with any arguments, packets among them.

    Each call returns or raises an ordinary error, and a scan stops within its buffer.
    """
    core = native.core()
    if core is None:
        return
    taker = Taker(data)
    how = taker.number(1)
    made, rows, read = newest()
    scanners: list[Any] = []
    sent: dict[int, int] = {}

    def captured(*fields: Any) -> Any:
        if how & 2:
            _call(scanners[0], Taker(data[::-1]), rows, {}, objects=True)
        if how & 4:
            raise Refusal
        return Captured(*fields)

    classes = (captured, Message, Header) if how & 1 else ()
    scanners.append(core.Scanner(read, made.fault_names, *classes))
    if not how & 8:
        for direction in (0, 1):
            kind = struct.pack(">IIiii", 0x20008086, 1, 0, 0, 0) + bytes([direction])
            parts = (0x20008086, 1, 0, 0, 0, None) if how & 1 else (b"x", 1, 2, 3, 4, 5, 6, 7, 8, b"\n")
            scanners[0].learn(kind, rows["remote_connect_open_args"], direction, parts)
            connection: Any = Connection(1, "a", "b") if how & 1 else b"conn"
            scanners[0].open(_key(direction), 0, direction, connection)
        if how & 17 == 17:  # the replies have no payload
            reply = struct.pack(">IIiii", 0x20008086, 1, 0, 1, 0) + b"\1"
            scanners[0].learn(reply, 0xFFFFFFFF, False, (0x20008086, 1, 0, 1, 0, None))
            scanners[0].learn_routine(kind[:-1] + b"\0")
            scanners[0].learn_routine(reply)
    for _ in range(24):
        if not taker:
            return
        with suppress(ValueError, TypeError, RuntimeError, OverflowError, Refusal):
            _call(scanners[0], taker, rows, sent, objects=bool(how & 1))


def _call(target: Any, taker: Taker, rows: dict[str, int], sent: dict[int, int], *, objects: bool) -> None:
    """One call. `sent` has the next sequence number of each direction, as the scanner should have it."""
    direction = taker.below(3)
    key = _key(direction)
    match taker.below(8):
        case 4 | 5:
            target.pair(key, taker.number(1), taker.take(4), taker.take(12 * taker.below(3)))
        case 6:
            target.unpair(key[: taker.below(14)] if taker.below(2) else key)
        case 7:
            numbers = struct.pack(">IIiii", 0x20008086, 1, taker.below(2), 1, taker.below(2))
            target.learn(numbers + b"\1", rows["remote_auth_list_ret"], 0, (0x20008086, 1, 0, 1, 0, None))
            parts = [
                taker.take(3)
                if taker.below(2)
                else (taker.below(52), rows["remote_domain_get_info_args"], taker.below(2), taker.below(3))
                if taker.below(2)
                else taker.below(52)
                for _ in range(taker.below(9))
            ]
            target.learn_exchange(numbers + b"\1", tuple(parts))
        case 0:
            numbers = struct.pack(">IIiii", 0x20008086, 1, taker.below(2), 0, taker.below(2))
            names = ("remote_connect_open_args", "virNetMessageError", "remote_auth_list_ret")
            row = (*(rows[name] for name in names), 0xFFFFFFFF, _MANY)[taker.below(5)]
            parts: Any = tuple(
                taker.take(9) if taker.below(2) else taker.below(12) for _ in range(taker.below(7))
            )
            if objects and taker.below(4) != 3:
                parts = (0x20008086, 1, 1, 0, 0, None)
            target.learn(numbers + bytes([direction]), row, taker.below(2), parts)
            if taker.below(2):
                target.learn_routine(numbers + bytes([direction]))
        case 1:
            sent[direction] = taker.below(3)
            connection: Any = Connection(1, "a", "b") if objects else taker.take(5)
            pending = _payload(taker) if taker.below(2) else b""
            target.open(key, sent[direction], direction, connection, pending)
        case 2:
            target.take(key[: taker.below(14)] if taker.below(2) else key)
        case _:
            blocks, big = taker.below(2), taker.below(2)
            faces = ((1, (1, 1000, 0, 2**64 - 1, 2**63)[taker.below(5)], taker.number(1) << 55),)
            packets = b""
            for _ in range(taker.below(6) + 1):
                payload = _payload(taker)
                at = sent.get(direction, 0) + (taker.below(8) == 7)
                packets += _packet(key, payload, at, taker.number(4), big=bool(big), blocks=bool(blocks))
                sent[direction] = at + len(payload)
            packets += taker.take(taker.below(40))
            limit = (65535, 0, 2**62)[taker.below(3)]
            first = taker.number(8) - 2**63 if taker.below(4) == 3 else 0
            pos = taker.below(9) if taker.below(4) == 3 else 0
            end, *_ = target.scan(packets, pos, blocks, big, limit, faces, 0, 0, first)
            assert 0 <= end <= len(packets)
            target.paired()
            target.routine()


def _key(direction: int) -> bytes:
    ports = struct.pack(">HH", 40508, 16509)
    return bytes((127, 0, 0, 1)) * 2 + (ports[2:] + ports[:2] if direction else ports)


def _payload(taker: Taker) -> bytes:
    """A whole message, a part of one, or any bytes."""
    body = taker.take(taker.below(60)) if taker.below(2) else bytes(4 * taker.below(6))
    numbers = taker.below(2), taker.below(2), taker.below(4), taker.below(2)
    head = struct.pack(">IIiiIi", 0x20008086, 1, *numbers)
    frame = struct.pack(">I", 28 + len(body) + (taker.below(8) == 7)) + head + body
    return (frame, frame, frame[: len(frame) // 2], frame[len(frame) // 2 :], body)[taker.below(5)]


def _packet(key: bytes, payload: bytes, at: int, time: int, *, big: bool, blocks: bool) -> bytes:
    tcp = key[8:] + struct.pack(">IIHHHH", at, 0, 0x5010, 9, 0, 0)
    ip = struct.pack(">BBHIBBH", 0x45, 0, 40 + len(payload), 0, 64, 6, 0) + key[:8]
    packet = bytes(12) + b"\x08\x00" + ip + tcp + payload
    order = ">" if big else "<"
    size = len(packet)
    if not blocks:
        return struct.pack(order + "IIII", time, time >> 8, size, size) + packet
    packet += bytes(-size % 4)
    length = 32 + len(packet)
    head = struct.pack(order + "IIIIIII", 6, length, 0, time & 0xFFFF, time, size, size)
    return head + packet + struct.pack(order + "I", length)


def plan_seeds() -> list[bytes]:
    """Return inputs with few and with many changes, for each resolver."""
    found = [bytes([how, 0]) + bytes(64) for how in range(4)]
    found += [
        bytes([how, 1, 0, place, 0, 0, 0, 1]) + bytes(40) for how in range(4) for place in range(4, 80, 3)
    ]
    endless = struct.pack("<" + "6I" * 2, 13, 2, 1, 0, 0, 0, 13, 2, 0, 0, 0, 0)  # arrays of each other
    head = struct.pack("<IIII", 1, 2, 0, 0)
    found.append(bytes([4, 16]) + head + endless)
    return found


def scanner_seeds() -> list[bytes]:
    """Return sequences of calls: packets in order, of pcap and pcapng, as lines and as objects, and with
    calls paired."""
    found = []
    for how in (0, 1, 3, 5, 8, 17):
        for blocks in (0, 1):
            # Direction, call, blocks, order, interface (2), packets; then body (2), header (2), and so on.
            scan = bytes((0, 3, blocks, 0, 0, 0, 3)) + bytes((0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 9)) * 4 + bytes(4)
            found.append(bytes([how]) + scan * 3)
            if how & 16:  # a call, and its reply
                head = bytes((3, blocks, 0, 0, 0, 0))
                body, end = bytes((0, 2)), bytes((0, 0, 9)) + bytes(2)
                sent = bytes((0,)) + head + body + bytes((0, 0, 0, 0)) + end
                reply = bytes((1,)) + head + body + bytes((0, 1, 0, 0)) + end
                found.append(bytes([how]) + (sent + reply) * 3)
            if how & 1:
                pair = bytes((0, 4, 1)) + b"conn" + bytes(1)
                learn = bytes((0, 7, 0, 0, 2)) + bytes((0, 1, 0, 2))
                found.append(bytes([how]) + pair + learn + scan + bytes((0, 6)) + scan + pair + scan)
    return found
