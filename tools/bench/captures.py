"""The captures of the benchmarks: recorded from a real libvirtd, or extended from an existing one."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import count as count_from
from itertools import islice, product
from pathlib import Path
from random import Random
from typing import Any

from libvirt_proto.capture import stream
from libvirt_proto.capture.sources import open_source
from libvirt_proto.events import Captured
from libvirt_proto.registry import default
from libvirt_proto.rpc.message import Message, Type, decode_message
from tests.differential import libvirtd
from tests.support.packets import Talk, pcap

TOUR = Path("tests/captures/tour.pcap")
PORT = 16509
#: Connections of the varied capture.
_VARIED = 300
_CLIENT = Path(__file__).with_name("client.py")
_PYTHONS = ("/usr/bin/python3", "python3")
_TOOLS = ("libvirtd", "tcpdump")


@dataclass(frozen=True)
class Capture:
    """A capture; `origin` describes where it is from."""

    path: Path
    messages: int
    origin: str

    @property
    def megabytes(self) -> float:
        return self.path.stat().st_size / 1e6


def large(folder: Path, wanted: int) -> Capture:
    """Return a capture of at least `wanted` messages between a daemon and a client: `large.pcap` in a
    folder."""
    path = folder / "large.pcap"
    python = _python_with_binding()
    if os.geteuid() == 0 and python and all(map(shutil.which, _TOOLS)):
        recorded = folder / "recorded.pcap"
        _record(recorded, python, wanted)
        _write(path, [(recorded, 0)])
        recorded.unlink()
        return Capture(path, count(path), "recorded from a libvirtd with the test driver")
    copies = -(-wanted // count(TOUR))
    _write(path, [(TOUR, copy) for copy in range(copies)])
    return Capture(path, count(path), f"{TOUR}, {copies} times")


def varied(path: Path, wanted: int) -> Capture:
    """Write a capture of many connections, in which sizes, names and UUIDs vary."""
    rng = Random(16)
    frames = _varied_frames(rng)
    talking = [Talk(client=(f"10.9.{n >> 8}.{n & 255}", 40000 + n)) for n in range(_VARIED)]

    def packets() -> Iterator[bytes]:
        for talk in talking:
            yield from talk.handshake()
        for _ in range(wanted // 2):
            talk = rng.choice(talking)
            for direction, frame in zip(("c2s", "s2c"), next(frames), strict=True):
                for piece in _pieces(frame, lambda: rng.choice((1448, 1448, 14480, 60000))):
                    yield talk.packet(direction, piece)

    path.write_bytes(pcap(packets()))
    return Capture(path, count(path), f"{_VARIED} connections, sizes, names and UUIDs vary")


def segmented(capture: Capture, path: Path, wanted: int) -> Capture:
    """Write the first messages of a capture in packets of 1 to 1,448 bytes."""
    rng = Random(16)
    talk = Talk()

    def packets() -> Iterator[bytes]:
        yield from talk.handshake()
        for frame, message in islice(messages(capture.path), wanted):
            direction = "c2s" if message.header.type in (Type.VIR_NET_CALL,) else "s2c"
            for piece in _pieces(frame, lambda: int(1448 ** rng.random())):
                yield talk.packet(direction, piece)

    path.write_bytes(pcap(packets()))
    return Capture(path, count(path), f"{capture.path.name} in packets of 1 to 1,448 bytes")


def _pieces(frame: bytes, size: Callable[[], int]) -> Iterator[bytes]:
    at = 0
    while at < len(frame):
        step = size()
        yield frame[at : at + step]
        at += step


def _varied_frames(rng: Random) -> Iterator[tuple[bytes, bytes]]:
    """Yield calls with their replies."""
    remote = default().program("remote")
    types = default().module("remote").code

    def framed(name: str, serial: int, kind: str, value: Any) -> bytes:
        procedure = remote.by_name[name]
        type_ = getattr(procedure, kind)
        head = (remote.number, remote.version, procedure.number, kind == "ret", serial, 0)
        body = b"" if type_ is None else type_.to_bytes(value)
        return struct.pack(">IIIiiIi", 28 + len(body), *head) + body

    def domain() -> Any:
        return types.RemoteNonnullDomain(
            f"vm-{rng.randbytes(6).hex()}", rng.randbytes(16), rng.randrange(9999)
        )

    def xml(one: Any) -> str:
        size = int(400 * 250 ** rng.random() ** 3)
        disk = "<disk type='file' device='disk'>\n  <source file='/srv/{}.qcow2'/>\n</disk>\n"
        disks = "".join(disk.format(rng.randbytes(8).hex()) for _ in range(size // 84))
        return f"<domain type='kvm'>\n<name>{one.name}</name>\n{disks}</domain>\n"

    for serial in count_from(1):
        one = domain()
        match rng.randrange(4):
            case 0:
                name, args = "domain_lookup_by_name", types.RemoteDomainLookupByNameArgs(one.name)
                ret = types.RemoteDomainLookupByNameRet(one)
            case 1:
                name, args = "domain_get_xml_desc", types.RemoteDomainGetXmlDescArgs(one, 0)
                ret = types.RemoteDomainGetXmlDescRet(xml(one))
            case 2:
                name, args = "connect_list_all_domains", types.RemoteConnectListAllDomainsArgs(1, 0)
                found = [domain() for _ in range(rng.choice((0, 1, 5, 20, 150)))]
                ret = types.RemoteConnectListAllDomainsRet(found, len(found))
            case _:
                name, args = "domain_get_info", types.RemoteDomainGetInfoArgs(one)
                memory = rng.getrandbits(22)
                ret = types.RemoteDomainGetInfoRet(rng.randrange(8), memory, memory, 4, rng.getrandbits(44))
        yield framed(name, serial, "args", args), framed(name, serial, "ret", ret)


def small(capture: Capture, path: Path, wanted: int) -> Path:
    """Write the first messages of a capture, on one connection."""
    talks(path, (frame for frame, _ in messages(capture.path)), 1, wanted, at_once=False)
    return path


def rare(capture: Capture, share: float) -> str:
    """Return the procedure whose share of the messages is closest."""
    numbers = Counter((m.header.prog, m.header.proc) for _, m in messages(capture.path))
    found = min(numbers, key=lambda each: abs(numbers[each] / capture.messages - share))
    program = next(each for each in default().programs() if each.number == found[0])
    return f"{program.name}.{program.by_number[found[1]].name}"


def repeated(capture: Capture, copies: int, path: Path) -> Capture:
    """Return a capture repeated several times in sequence, each copy on other connections."""
    _write(path, [(capture.path, copy) for copy in range(copies)])
    return Capture(path, capture.messages * copies, f"{capture.path.name}, {copies} times")


def count(path: Path) -> int:
    """Return the number of messages."""
    return sum(1 for _ in messages(path))


def messages(path: Path) -> Iterator[tuple[bytes, Message]]:
    """Yield the messages of a capture, as bytes and decoded."""
    last = b""

    def decode(data: bytes, *rest: Any) -> Message:
        nonlocal last
        last = data
        return decode_message(data, *rest)

    for item in stream.messages(open_source(str(path)), decode, programs=default().numbers):
        if isinstance(item, Captured):
            yield last, item.message


def talks(path: Path, frames: Iterable[bytes], connections: int, each: int, *, at_once: bool) -> None:
    """Write a capture with a number of connections and of messages each, one after the other or all open at
    once.

    Calls and replies alternate, whatever the messages are.
    """
    source = iter(frames)
    talking = [
        Talk(client=(f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}", 40000 + n % 20000))
        for n in range(connections)
    ]

    def said(talk: Talk, number: int) -> Iterator[bytes]:
        if not number:
            yield from talk.handshake()
        yield talk.packet("s2c" if number % 2 else "c2s", next(source))
        if number == each - 1:
            yield from talk.close()

    def packets() -> Iterator[bytes]:
        turns = product(range(each), talking) if at_once else ((n, t) for t in talking for n in range(each))
        for number, talk in turns:
            yield from said(talk, number)

    path.write_bytes(pcap(packets()))


def endless(path: Path, size: int) -> Iterator[bytes]:
    """Repeat the messages of a capture with at most `size` bytes, in pairs of call and reply."""
    some = [frame for frame, _ in islice(messages(path), 20_000) if len(frame) <= size]
    while True:
        yield from some


def _python_with_binding() -> str | None:
    """Return a Python that can import libvirt."""
    for python in filter(shutil.which, _PYTHONS):
        if not subprocess.run([python, "-c", "import libvirt"], capture_output=True).returncode:
            return python
    return None


def _record(path: Path, python: str, wanted: int) -> None:
    """Record the traffic of a client with a new daemon."""
    with libvirtd.started() as daemon, daemon.recorded(path):
        uri = f"test+tcp://127.0.0.1:{daemon.port}/default"
        subprocess.run([python, str(_CLIENT), uri, str(wanted)], check=True, timeout=300)


def _write(path: Path, parts: Iterable[tuple[Path, int]]) -> None:
    """Write the packets of captures (pcap, Ethernet, IPv4), one capture after the other. The server's port is
    changed to libvirt's, where peers look for it; the client ports of copy N are increased by N."""
    with path.open("wb") as out:
        offset = latest = 0
        for number, (source, copy) in enumerate(parts):
            data = source.read_bytes()
            order = "<" if data[:4] == b"\xd4\xc3\xb2\xa1" else ">"
            record = struct.Struct(order + "IIII")
            if not number:
                out.write(data[:24])
            at, first, server = 24, None, None
            while at < len(data):
                seconds, fraction, kept, original = record.unpack_from(data, at)
                packet = bytearray(data[at + 16 : at + 16 + kept])
                at += 16 + kept
                if first is None:
                    first = seconds
                    offset = latest + 1 - first if number else 0
                    server = packet[36:38]  # the first packet is from the client
                to_server = packet[36:38] == server
                client = slice(34, 36) if to_server else slice(36, 38)
                packet[36:38] = packet[36:38]
                packet[slice(36, 38) if to_server else slice(34, 36)] = PORT.to_bytes(2)
                packet[client] = ((int.from_bytes(packet[client]) + copy) % 65536).to_bytes(2)
                latest = seconds + offset
                out.write(record.pack(latest, fraction, kept, original) + packet)
