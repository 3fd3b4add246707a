"""As test_bounds.py, for the contents of files: hostile packets, dumps, logs and traces."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable

import pytest

from libvirt_proto import decode_message
from libvirt_proto import events as chunk
from libvirt_proto.blocks import BLOCK_SIZE
from libvirt_proto.capture import monitor_lines, objects
from libvirt_proto.capture.detect import SNIFF_SIZE, file_format
from libvirt_proto.capture.pcap import tcp
from libvirt_proto.capture.sources import FileFormat, read_source
from libvirt_proto.capture.strace import calls as strace_calls
from libvirt_proto.capture.strace import descriptors
from libvirt_proto.capture.stream import messages
from libvirt_proto.events import Notice
from libvirt_proto.rpc.wire import KEEPALIVE_PROGRAM, MAX_FRAME
from tests.support import packets
from tests.support.frames import REMOTE, frame
from tests.support.straces import Strace
from tests.support.work import MORE, assert_linear, assert_within, grown, work

GOOD = frame(serial=1)
#: Memory of readers in addition to a multiple of the input: the blocks that they read.
BLOCKS = 4 * BLOCK_SIZE + MORE


def segments(pieces: Iterable[tuple[int, bytes]], port: int = 16509) -> bytes:
    """A connection whose client sends these bytes at these offsets."""
    talk = packets.Talk(server=(packets.SERVER[0], port))
    begin = talk.handshake()
    first = talk.seqs["c2s"]
    sent = [talk.packet("c2s", data, seq=first + at) for at, data in pieces]
    return packets.pcap([*begin, *sent, talk.packet("s2c", GOOD)])


def ports(count: int, data: bytes) -> bytes:
    """As many connections, of one packet each."""
    talks = (
        packets.Talk(client=(packets.CLIENT[0], 1024 + n), server=("192.0.2.1", 99)) for n in range(count)
    )
    return packets.pcap(talk.packet("c2s", data) for talk in talks)


def acknowledged(count: int) -> bytes:
    """Holes, and the acknowledgements of the data after them."""
    talk = packets.Talk()
    sent = talk.handshake()
    first = talk.seqs["c2s"]
    for n in range(count):
        sent.append(talk.packet("c2s", b"x", seq=first + 2 * n + 1))
        sent.append(talk.packet("s2c", ack=first + 2 * n + 2))
    return packets.pcap(sent)


def pcapng(blocks: Iterable[bytes]) -> bytes:
    return b"".join([packets.section(), packets.interface(), *blocks])


def rpc_log(words: Iterable[str]) -> bytes:
    head = "2026-11-22 21:45:10.120+0000: 19725: info : virNetServerClientDispatchRead:1224 : "
    return "".join(f"{head}{line}\n" for line in words).encode()


HEAD = b"2026-11-22 21:45:10.120+0000: 19725: info : f:1 : "
RECEIVED = (
    "RPC_SERVER_CLIENT_MSG_RX: client=0x{:x} len=28 prog=536903814 vers=1 proc=66 type=0 status=0 serial=0"
)


def calls(write: Callable[[Strace, int], object], count: int) -> bytes:
    trace = Strace()
    trace.connect(4)
    for number in range(count):
        write(trace, number)
    return trace.text()


FILES: dict[tuple[FileFormat, str], Callable[[int], bytes]] = {
    ("pcap", "empty packets"): lambda n: packets.pcap([b""] * n),
    ("pcap", "one byte each"): lambda n: segments((i, GOOD[i % 28 :][:1]) for i in range(n)),
    ("pcap", "one byte each, unknown port"): lambda n: segments(((i, b"\0") for i in range(n)), 99),
    ("pcap", "backwards"): lambda n: segments((n - i, b"x") for i in range(n)),
    ("pcap", "every second byte"): lambda n: segments((2 * i + 1, b"x") for i in range(n)),
    ("pcap", "every second byte, then all"): lambda n: segments(
        piece
        for start in range(0, n, 100)
        for piece in (
            *((10_000 * start + 2 * i + 2, b"x") for i in range(100)),
            (10_000 * start + 1, b"y" * 1400),
        )
    ),
    ("pcap", "again and again"): lambda n: segments((0, GOOD * 20) for _ in range(n)),
    ("pcap", "acknowledged holes"): acknowledged,
    ("pcap", "many connections"): lambda n: ports(n, GOOD),
    ("pcap", "many connections of a byte"): lambda n: ports(n, b"\0"),
    ("pcapng", "sections"): lambda n: pcapng([packets.section(), packets.interface()] * n),
    ("pcapng", "interfaces"): lambda n: pcapng([packets.interface()] * n),
    ("pcapng", "options"): lambda n: pcapng([packets.interface(options=packets.option(9, b"\6") * n)]),
    ("pcapng", "unknown blocks"): lambda n: pcapng([packets.block(0x77, b"")] * n),
    ("pcapng", "empty packets"): lambda n: pcapng([packets.simple(b"")] * n),
    ("hex", "messages"): lambda n: (GOOD.hex() + "\n\n").encode() * n,
    ("hex", "one line"): lambda n: GOOD.hex(" ").encode() + b" 00" * n,
    ("hex", "a digit a line"): lambda n: b"00\n" * n,
    ("hex", "no hex"): lambda n: b"00\nzz\n\n" * (n // 4),
    ("hex", "a dump of stars"): lambda n: b"".join(b"%08x  00\n*\n" % (i * 4096) for i in range(n)),
    ("log", "clients"): lambda n: rpc_log(RECEIVED.format(i) for i in range(n)),
    ("log", "one client"): lambda n: rpc_log(RECEIVED.format(1) for _ in range(n)),
    ("log", "many words"): lambda n: rpc_log([RECEIVED.format(1) + " a=b, c" * n]),
    ("log", "new objects"): lambda n: rpc_log(f"RPC_SOCKET_NEW: sock=0x{i:x} fd=1" for i in range(n)),
    ("log", "other lines"): lambda n: b"RPC_" * n + b"\n" + b"RPC_: \n" * n,
    ("log", "wrapped"): lambda n: rpc_log([RECEIVED.format(1).replace(" ", "\n")] * n),
    ("log", "unfinished"): lambda n: b"RPC_CLIENT_MSG_RX: client=0x1 len=\n" * n,
    ("log", "unfinished, and short lines"): lambda n: b"RPC_CLIENT_MSG_RX: client=0x1\nx\nx\nRP\n" * n,
    ("log", "heads on a line"): lambda n: HEAD * n + RECEIVED.format(1).encode(),
    ("log", "names on a line"): lambda n: b"RPC_CLIENT_NEW: " * n,
    ("log", "records on a line"): lambda n: RECEIVED.format(1).encode() * n,
    ("log", "strings"): lambda n: b"\"' RPC_CLIENT_NEW: " * n + b"\\",
    ("log", "objects"): lambda n: b'{"a":["RPC_",' * n + b"RPC_CLIENT_NEW: ",
    ("log", "objects on a line"): lambda n: b'{"msg":"RPC_CLIENT_NEW: client=0x1 sock=0x2"}' * n,
    ("log", "nested objects"): lambda n: b'{"msg":' * n + b'"RPC_CLIENT_NEW: "' + b"}" * n,
    ("log", "members"): lambda n: b'{"msg":{' + b",".join(b'"%d":"RPC_"' % i for i in range(n)) + b"}}",
    ("log", "fields"): lambda n: b"MESSAGE=RPC_CLIENT_NEW: \nA=1\nB=1\n" * n,
    ("log", "fields without a text"): lambda n: b"A=1\nRPC\n" * n,
    ("log", "tags"): lambda n: b"<p <b <i &a RPC_ \x1b[ \x1b] ^[[1 =3D \\_" * n,
    ("log", "debug lines that wait"): lambda n: b"".join(
        b"prog=1 ver=1 proc=2 type=1 serial=%d msg=0x1 rerr=0x2\n" % i for i in range(n)
    ),
    ("log", "processes"): lambda n: b"".join(
        b"a[%d]: " % i + RECEIVED.format(1).encode() + b"\n" for i in range(n)
    ),
    ("log", "repetitions"): lambda n: (
        b"message repeated 9999999999 times: [ RPC_CLIENT_NEW: client=0x1 sock=0x2\n" * (n // 10)
    ),
    ("monitor", "messages"): lambda n: b" 0.1 C > 0x1 msg=remote.1.auth_list(call, ok, 0) len=28\n" * n,
    ("monitor", "connections"): lambda n: b"".join(
        b" 0.1 C + 0x%x local=a;1 remote=b;2\n" % i for i in range(n)
    ),
    ("monitor", "names"): lambda n: b"".join(
        b" 0.1 C > %d-1 msg=remote.1.a%d(call, ok, 0) len=28\n" % (i, i) for i in range(n // 4)
    ),
    ("monitor", "one line"): lambda n: b" 0.1 C + a b=c" * n,
    ("strace", "calls"): lambda n: calls(lambda trace, _: trace.move("write", 4, GOOD), n),
    ("strace", "descriptors"): lambda n: calls(lambda trace, i: trace.connect(i), n),
    ("strace", "unfinished"): lambda n: calls(lambda trace, i: trace.begin('read(4, "\\0', pid=i), n),
    ("strace", "processes"): lambda n: calls(
        lambda trace, i: trace.call("clone(a)", str(9 + i), pid=8 + i), n
    ),
    ("strace", "a vector"): lambda n: calls(
        lambda trace, _: trace.call(
            "writev(4, [" + ", ".join(['{iov_base="\\0", iov_len=1}'] * n) + f"], {n})", str(n)
        ),
        1,
    ),
    ("strace", "a long string"): lambda n: calls(lambda trace, _: trace.move("write", 4, bytes(28 * n)), 1),
    ("strace", "brackets"): lambda n: calls(
        lambda trace, _: trace.call("write(4" + "<[{(" * n + ")", "1"), 1
    ),
}


def act_on(kind: FileFormat, data: bytes) -> Callable[[], object]:
    def act() -> int:
        items = read_source(io.BytesIO(data), "bytes", format=kind)
        return sum(1 for _ in messages(items, decode_message, programs=frozenset({REMOTE})))

    return act


@pytest.mark.parametrize(("kind", "name"), FILES)
def test_files_take_linear_work(kind: FileFormat, name: str) -> None:
    make = FILES[kind, name]
    small, large = grown(lambda count: act_on(kind, make(count)), 64)
    assert_linear(small, large)
    assert_within(large, len(make(400)), more=BLOCKS)


#: Limits of tables that evict their oldest entry.
TABLES = {
    "MAX_DESCRIPTORS",
    "MAX_DONE",
    "MAX_OPEN",
    "MAX_PER_TABLE",
    "MAX_PROCESSES",
    "MAX_SILENT",
    "MAX_UNDECIDED",
    "_MAX_CONNECTIONS",
    "_MAX_NAMES",
    "_MAX_OBJECTS",
}

#: Input that makes a full table evict an entry per line or packet.
EVICTIONS: dict[tuple[FileFormat, str], Callable[[int], bytes]] = {
    ("pcap", "silent connections"): lambda n: packets.pcap(
        packet
        for number in range(n)
        for packet in packets.Talk(client=(packets.CLIENT[0], 1024 + number)).handshake()
    ),
    ("pcap", "connections with data"): lambda n: ports(n, GOOD),
    ("log", "clients"): lambda n: rpc_log(RECEIVED.format(i) for i in range(n)),
    ("log", "sockets"): lambda n: rpc_log(
        f"RPC_SOCKET_NEW: sock=0x{i:x} localAddr=127.0.0.1;1 remoteAddr=127.0.0.1;2" for i in range(n)
    ),
    ("monitor", "names"): lambda n: b"".join(
        b" 0.1 C > a:%d-b:1 msg=remote.1.auth_list(call, ok, 0) len=28\n" % i for i in range(n)
    ),
    ("strace", "processes"): lambda n: calls(lambda trace, i: trace.call("getpid()", "1", pid=8 + i), n),
    ("strace", "descriptors"): lambda n: calls(
        lambda trace, i: trace.call("socket(AF_UNIX, SOCK_STREAM, 0)", str(3 + i)), n
    ),
    ("strace", "labels"): lambda n: calls(
        lambda trace, i: trace.call(f'write({3 + i}<UNIX-STREAM:[{i}]>, "\\0", 1)', "1"), n
    ),
    ("strace", "undecided sockets"): lambda n: calls(
        lambda trace, i: trace.move("read", 5 + i, frame(prog=KEEPALIVE_PROGRAM, proc=1, type_=2)), n
    ),
}


@pytest.mark.parametrize(("kind", "name"), EVICTIONS)
def test_evictions_take_linear_work(kind: FileFormat, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (chunk, descriptors, monitor_lines, objects, strace_calls, tcp):
        for limit in vars(module).keys() & TABLES:
            monkeypatch.setattr(module, limit, 8)
    make = EVICTIONS[kind, name]
    small, large = grown(lambda count: act_on(kind, make(count)), 32)
    assert_linear(small, large)


def test_repeated_dump_lines_expand_to_at_most_one_message() -> None:
    dump = b"00000000  00 00\n*\n01000000\n\n"  # 16 MiB in 27 bytes
    few, many = (work(act_on("hex", dump * count)) for count in (3, 300))
    assert many.allocated <= few.allocated + MAX_FRAME
    assert many.peak <= 4 * MAX_FRAME
    (notice,) = [
        item for item in read_source(io.BytesIO(dump * 3), "bytes", format="hex") if isinstance(item, Notice)
    ]
    assert notice.text == "line 11: `*` represents 16777214 bytes, over the limit of 8"


@pytest.mark.parametrize(
    "line",
    [
        b"\0" * 28,
        b"\0\0\0\1",
        b"00 ",
        b"7 write(4, ",
        b"7 ",
        b"RPC_: ",
        b"virt[1]: ",
        b") = ",
        b"[pid 7] ",
        b"\n",
        b"# ",
    ],
)
def test_format_detection_takes_bounded_work(line: bytes) -> None:
    """A fixed number of bytes is examined, mostly by searches in C."""
    head = (line * SNIFF_SIZE)[:SNIFF_SIZE]
    done = work(lambda: file_format(head))
    assert done.calls <= 3 * SNIFF_SIZE
    assert_within(done, SNIFF_SIZE)
