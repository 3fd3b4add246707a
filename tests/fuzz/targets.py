"""The fuzz targets by name: the function that checks an input, the seeds, and a dictionary."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from random import Random

from libvirt_proto import registry
from libvirt_proto.capture.pcap.recorder import Recorder
from libvirt_proto.capture.stream import messages
from libvirt_proto.events import Captured, Chunk, Connection, Side
from libvirt_proto.jsonlines.presenter import JsonLinesPresenter
from libvirt_proto.presenters.monitor import MonitorPresenter
from libvirt_proto.rpc.message import decode_message, encode_message
from tests.support import frames
from tests.support.bytewriters import WRITERS
from tests.support.dresses import ENCODINGS, FORMS, PREFIXES, QUOTES, WRAPS
from tests.support.elf import NAMES, NOTES, ZERO, claim, elf, note
from tests.support.oracles import PROGRAMS, items
from tests.support.packets import Talk, enhanced, interface, obsolete, option, pcap, section, simple

from . import captures, definitions, natives, probes, texts, wire

TESTS = Path(__file__).resolve().parent.parent
#: The committed inputs, one folder per target.
CORPUS = TESTS / "fuzz" / "corpus"
#: Longer seeds add nothing to shorter ones, and slow down every run.
LONGEST = 2000


@dataclass(frozen=True)
class Target:
    """`check` raises for an input that violates a property. `seeds` are inputs made from the captures and
    definitions of this repository; `words` appear in inputs; `longest` is the maximum length."""

    check: Callable[[bytes], None]
    seeds: Callable[[], Iterable[bytes]]
    words: tuple[bytes, ...] = ()
    longest: int = 1024


def _read(name: str) -> bytes:
    return (TESTS / "captures" / name).read_bytes()


def _captured() -> Iterator[tuple[Captured, bytes]]:
    """A message of each kind from the captures, and its frame."""
    seen = set()
    for name in ("virsh-domname.pcap", "stream-events-keepalive.pcap", "tour.pcap", "hand-made-messages.hex"):
        for one in messages(items(_read(name)) or [], decode_message, programs=PROGRAMS):
            if isinstance(one, Captured) and one.message.length <= 300 and not one.message.missing:
                header = one.message.header
                key = header.prog, header.proc, header.type, header.status
                if key not in seen:
                    seen.add(key)
                    yield one, encode_message(one.message)


def _messages() -> Iterator[bytes]:
    for one, frame in _captured():
        direction = (None, "c2s", "s2c").index(one.direction)
        yield bytes([direction]) + frame[4:]
        yield bytes([direction | 64]) + frame
        yield bytes([direction | 128 | 20]) + frame[4:]


def _frames() -> Iterator[bytes]:
    stream = b""
    for _, frame in _captured():
        stream += frame
        if len(stream) > 600:
            yield bytes([0x33, 4, 3, 17, 40]) + stream
            yield bytes([0x07, 0]) + stream
            yield bytes([0x12, 5, 9]) + stream[:200] + b"\xff" + stream[200:]
            stream = b""


def _lines() -> Iterator[bytes]:
    present = JsonLinesPresenter(registry.default())
    for number, (one, _) in enumerate(_captured()):
        if number % 8 == 0:
            yield present(one)


def _packets() -> list[bytes]:
    talk = Talk()
    packets = talk.handshake()
    for number, (_, frame) in enumerate(_captured()):
        if number < 6:
            packets.append(talk.packet("c2s" if number % 2 else "s2c", frame))
    return packets + talk.close()


def _pcaps() -> Iterator[bytes]:
    yield b"\xff" + _read("virsh-domname.pcap")[:LONGEST]
    packets = _packets()
    for order, nanoseconds, linktype in (
        ("<", False, 1),
        (">", True, 1),
        ("<", False, 101),
        ("<", False, 276),
    ):
        yield b"\x0f" + pcap(packets[:6], order=order, nanoseconds=nanoseconds, linktype=linktype)
    for linktype in (0, 12, 108, 113):
        yield b"\x0f" + pcap([packet[14:] for packet in packets[:4]], linktype=linktype)


def _pcapngs() -> Iterator[bytes]:
    packets = _packets()[:5]
    for order in ("<", ">"):
        head = section(order) + interface(order, options=option(9, b"\x09", order) + option(0, b"", order))
        yield b"\x0f" + head + b"".join(enhanced(packet, n << 30, order) for n, packet in enumerate(packets))
        yield b"\x0f" + head + b"".join(simple(packet, order) for packet in packets)
        yield b"\x0f" + head + b"".join(obsolete(packet, n << 30, order) for n, packet in enumerate(packets))
    file = io.BytesIO()
    recorder = Recorder(file)
    sides: tuple[Side | None, ...] = (None, "client", "server")
    for number, side in enumerate(sides):
        connection = Connection(number, f"client@virsh[{number}]", "server", "probe", side=side)
        recorder.add(Chunk(connection, "c2s", 1 << number, frames.frame(serial=number)))
    yield b"\x0f" + file.getvalue()


def _texts(*names: str, lines: int = 8) -> Iterator[bytes]:
    """Files in pieces of a few lines each."""
    for name in names:
        whole = _read(name).splitlines(keepends=True)
        for start in range(0, min(len(whole), 200), lines):
            yield b"\x3f" + b"".join(whole[start : start + lines])[:LONGEST]


def _hex() -> Iterator[bytes]:
    yield from _texts("hand-made-messages.hex")
    yield b"\x05" + b"\n".join(b"%08x: %s" % (at, b"2000 8086 0000 0001") for at in range(0, 64, 8))
    message = bytes.fromhex("0000001c 20008086 00000001 00000042 00000000 00000000 00000000")
    for write in WRITERS.values():
        yield b"\x05" + write(message).encode()
    yield b"\x05" + b"00000000  00 00 00 1c 20 00 80 86  00 00 00 01 00 00 00 42  |.... ...|\n"


def _any_file() -> Iterator[bytes]:
    for make in (_pcaps, _pcapngs, _hex, _strace, _log):
        yield next(make())
    for _, frame in _captured():
        yield b"\x0f" + frame
        return


def _strace() -> Iterator[bytes]:
    return _texts("strace-plain-unix-list.txt", "strace-yy-unix-dominfo.txt", "strace-yy-virt-admin.txt")


def _log() -> Iterator[bytes]:
    yield from _texts("libvirtd-rpc-info.log", lines=5)
    lines = b"".join(_read("libvirtd-rpc-info.log").splitlines(keepends=True)[40:44]).decode()
    for dresses in (PREFIXES, FORMS, QUOTES, ENCODINGS, WRAPS):
        for dress in dresses.values():
            yield b"\x3f" + dress(lines).encode()[:LONGEST]


def _monitor() -> Iterator[bytes]:
    present = MonitorPresenter(registry.default())
    yield b"\x3f" + b"".join(present(one) for one, _ in islice(_captured(), 12))[:LONGEST]
    pointer = b"  0.0 C + 0x55   local=127.0.0.1;1 remote=127.0.0.1;2\n"
    for line in (
        b"C > 0x55   msg=remote.1.auth_list(call, ok, 0) len=28",
        b"> S 0x55 fd=5",
        b"C - 0x55 local= remote=",
    ):
        yield b"\x3f" + pointer + b"  0.071 " + line + b"\n"


def _words() -> Iterator[bytes]:
    yield from (b"66", b"-1", b"0x20008086", b"16384", b"33,554,432", b"virDomainGetState", b"domain:read")
    yield from (b"virDomainState.5", b"REMOTE_PROC_OPEN", b"remote.auth_list", b"remote_typed_param")
    yield b"packet -2147483612 bytes received from server too large, want 33554432"
    yield b"error: unknown procedure: 350"
    yield b"prog=536903814 vers=1 proc=183 type=0 status=0 virDomainGetName org.libvirt.api.domain.read"


def _layouts() -> Iterator[bytes]:
    for text in _lines():
        yield text.replace(b",", b",\n")[:LONGEST]
        yield b"[" + text.rstrip() + b",\n" + text.rstrip() + b"]"
        return


def _random(count: int, size: int) -> Iterator[bytes]:
    """Scripts, in which every byte matters."""
    random = Random(1)
    for _ in range(count):
        yield bytes([random.randrange(0, 90, 2)]) + random.randbytes(random.randrange(8, size))


def _definition_texts(longest: int) -> Iterator[bytes]:
    folders = ("invalid/syntax", "invalid/semantic", "definitions")
    for path in sorted(path for folder in folders for path in (TESTS / folder).rglob("*.x")):
        text = re.sub(rb"\A(?://.*\n|/\*\n(?s:.*?)\*/\n)+", b"", path.read_bytes())
        if len(text) <= longest:
            yield text
    for path in sorted((TESTS.parent / "protocol-defs").glob("*/*.x")):
        yield path.read_bytes()[:600].rpartition(b"\n\n")[0]


def _preprocessor() -> Iterator[bytes]:
    part = (TESTS / "definitions" / "rpcgen_part.x").read_bytes()
    text = (TESTS / "definitions" / "rpcgen.x").read_bytes()
    for start in range(0, len(text), 400):
        piece = text[start : start + 400].replace(b"rpcgen_part.x", b"b.x")
        yield len(part).to_bytes(2, "big") + part + piece
    use = b'#include "b.x"\n#if N > 3 && defined A\nF(A, N)\n#endif\n'
    for macros in (b"#define F(x, y) x##y x\n", b"#define N (1 << 4)\n", b"#define A B\n#define B A\n"):
        yield len(macros).to_bytes(2, "big") + macros + use


def _generator() -> Iterator[bytes]:
    for seed in _random(60, 120):
        yield seed[:1] + b"\0" + seed[2:]
    for text in _definition_texts(800):
        yield b"\x08\x01" + bytes(range(8)) + text


def _providers() -> Iterator[bytes]:
    for path in sorted((TESTS / "invalid" / "provider").glob("*.d")):
        yield path.read_bytes().rpartition(b"\n\n")[2][:LONGEST]
    yield (TESTS / "golden" / "probes" / "demo_probes.d").read_bytes()
    for path in sorted((TESTS.parent / "protocol-defs").glob("*/*.d")):
        yield path.read_bytes()[:700].rpartition(b"\n")[0] + b"\n};\n"


_SITES = [
    ("libvirt", "rpc_client_new", "8@%rbx 8@64(%rbx)"),
    ("libvirt", "none", ""),
    ("a", "b", "-4@[sp, 16]"),
]


def _elf() -> Iterator[bytes]:
    for bits in (32, 64):
        for big in (False, True):
            yield b"\0" + elf(_SITES, bits=bits, big=big, base=0x2010)
    good = elf(_SITES)
    for size in (b"\0", b"\xa8"):
        yield size + good
        yield size + claim(claim(good, ZERO, sh_size=3, sh_link=2, sh_info=1), e_shnum=0, e_shstrndx=0xFFFF)
        yield size + claim(good, NOTES, sh_size=1 << 30)
        yield size + claim(good, NAMES, sh_size=1 << 20)
        yield size + claim(good, e_shnum=0x3FFF)
        yield size + claim(good, e_phnum=0x4000)
        yield size + elf([], notes=note(_SITES[1], "<", 8) + bytes(36) + note(_SITES[0], "<", 8, kind=4))


def _arguments() -> Iterator[bytes]:
    for text in (
        b"8@%rbx 8@128(%rbx) -4@$1 2@%r15w 1@%sil 4@8(%rax,%rcx,4) 8@-0x10(%rsp)",
        b"8@%xmm0 8f@%xmm1 8@errors(%rip) 16@(%eax) %rcx",
        b"8@x0 -4@w3 8@[sp, 16] 8@[x19,#24] 8@[x0, x1, lsl 3] 8@1 4@wzr 8@x30",
    ):
        yield b"\0" + text
        yield b"\1" + text


_XDR_WORDS = tuple(
    (
        b"typedef const enum struct union program version switch case default void int unsigned hyper char"
        b" short opaque string bool float double quadruple TRUE FALSE <> [4] <4> 0x7fffffff -1 017 /** */ //"
        b" %#include @generate: @acl: @priority: @readstream: @aclfilter: domain:read insert@1 autogen"
        b" long u_int netobj u_quad_t namespace pragma \"text\" 'a' #define #if #endif"
    ).split()
)
_STRACE_WORDS = (
    *(b"read write readv writev sendmsg recvmsg sendto recvfrom socket connect accept4 close dup2").split(),
    *(b"clone fork fcntl pipe2 socketpair execve", b" <unfinished ...>", b"<... read resumed>", b") = "),
    *(b"<UNIX-STREAM:[1->2]>", b"<TCP:[127.0.0.1:1->127.0.0.1:16509]>", b"SCM_RIGHTS", b"iov_base=", b'"...'),
    *(b"libvirt-sock", b"+++ exited with 0 +++", b"\\0\\0\\0\\34 \\0\\200\\206", b" (Inappropriate ioctl)"),
)
_LOG_WORDS = (
    *(b"RPC_SERVER_CLIENT_MSG_RX: ", b"RPC_CLIENT_MSG_TX_QUEUE: ", b"RPC_SOCKET_NEW: ", b"client=0x55"),
    *(b" len=28 prog=536903814 vers=1 proc=66 type=0 status=0 serial=0", b"2026-11-22 21:45:10.120+0000: "),
    *(b"RPC_SERVER_CLIENT_DISPOSE: ", b"libvirtd[1]: ", b" : virNetSocketNew:1 : ", b"fd=-1", b"localAddr="),
)
_PREPROCESSOR_WORDS = (
    *(b"\n#if ", b"\n#ifdef ", b"\n#ifndef ", b"\n#elif ", b"\n#else\n", b"\n#endif\n", b"\n#undef "),
    *(
        b"\n#define A ",
        b"\n#define F(x,y) ",
        b"F(A,1)",
        b'\n#include "b.x"\n',
        b'\n# 12 "c.x"\n',
        b"\n%#define ",
    ),
    *(
        b"##",
        b"\\\n",
        b"defined(",
        b"GIVEN",
        b"RPC_HDR",
        b"/*",
        b"*/",
        b"//",
        b" << ",
        b" && ",
        b" ? ",
        b" : ",
    ),
)

_DRESS_WORDS = (
    *(
        b"\x1b[32m",
        b"<p>",
        b"<br/>",
        b"&lt;",
        b"&nbsp;",
        b"=3D",
        b"=\n",
        b"\n> ",
        b"\xc2\xa0",
        b"\xef\xbb\xbf",
    ),
    *(b'{"MESSAGE":"', b'", "msg": "', b"MESSAGE=", b'"MESSAGE" : "', b"__REALTIME_TIMESTAMP=", b"RPC\\_"),
    *(b"message repeated 3 times: [ ", b"QEMU_MONITOR_SEND_MSG: mon=0x1 msg={}", b" fd=-1", b"\r\n"),
    *(
        b"EVENT_POLL_RUN: nfds=1 timeout=-1",
        b"<30>1 2026-11-22T21:45:10Z host libvirtd 1 - - ",
        b": 1: info : ",
    ),
)
_MONITOR_WORDS = (
    *(b"  0.071 C > 0x55 ", b"msg=remote.1.auth_list(call, ok, 0) len=28", b" > S ", b" < S ", b" + S "),
    *(b"local=127.0.0.1;1 remote=127.0.0.1;2", b"fd=5", b"unknown:7", b"a-b#2 ", b"client_new client=0x1"),
)

_ELF_WORDS = (
    *(b".note.stapsdt\0", b".stapsdt.base\0", b"stapsdt\0", b"\x7fELF\x02\x01", b"\x7fELF\x01\x02"),
    *(b"\xff\xff", b"\0\0\x10\0\0\0\0\0", b"\xff" * 8, b"\0\x08\0\0", b"\x08\0\0\0"),
)
_OPERAND_WORDS = (
    *(b"8@ -4@ 2@ 1@ 8f@ %rax %ebx %r15w %sil $1 $-1 0x (%rbp) (%rax,%rcx,8) %rip".split()),
    *(b"[sp,  16] x0 w1 x30 xzr #8".split()),
)

TARGETS: dict[str, Target] = {
    "message": Target(wire.message, _messages, longest=512),
    "frame": Target(wire.frames, _frames),
    "lookup": Target(texts.lookup, _words, longest=200),
    "objects": Target(texts.objects, _layouts, (b"{", b"}", b'"', b"},{", b'"serial":', b"\n", b"\\")),
    "jsonl": Target(wire.line, _lines),
    "pcap": Target(captures.Reader("pcap"), _pcaps, longest=LONGEST),
    "pcapng": Target(captures.Reader("pcapng"), _pcapngs, longest=LONGEST),
    "tcp": Target(captures.segments, partial(_random, 60, 200), longest=600),
    "strace": Target(captures.Reader("strace"), _strace, _STRACE_WORDS),
    "log": Target(captures.Reader("log"), _log, _LOG_WORDS + _DRESS_WORDS, longest=LONGEST),
    "monitor": Target(captures.Reader("monitor"), _monitor, _MONITOR_WORDS),
    "hex": Target(captures.Reader("hex"), _hex),
    "file": Target(captures.Reader(None), _any_file, longest=LONGEST),
    "xdr": Target(definitions.xdr, partial(_definition_texts, LONGEST), _XDR_WORDS),
    "preprocessor": Target(definitions.preprocessor, _preprocessor, _PREPROCESSOR_WORDS, longest=600),
    "provider": Target(definitions.provider, _providers, _XDR_WORDS[:4]),
    "plan": Target(natives.plan, natives.plan_seeds, longest=400),
    "scanner": Target(natives.scanner, natives.scanner_seeds, longest=1000),
    "elf": Target(probes.notes, _elf, _ELF_WORDS, longest=1500),
    "operands": Target(probes.arguments, _arguments, _OPERAND_WORDS, longest=1100),
    "generator": Target(definitions.generator, _generator, _XDR_WORDS, longest=300),
}
