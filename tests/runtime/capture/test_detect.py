"""Detection of files and streams by their first bytes."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from libvirt_proto.capture.detect import compression, file_format
from libvirt_proto.rpc.plausible import plausible_header
from tests.support import packets
from tests.support.packets import message

REMOTE = frozenset((0x20008086,))


@pytest.mark.parametrize(
    ("changes", "plausible"),
    [
        ({}, True),
        ({"type": 6, "status": 2, "proc": 9999, "serial": 0xFFFFFFFF}, True),
        ({"type": 7}, False),
        ({"type": -1}, False),
        ({"status": 3}, False),
        ({"status": -1}, False),
        ({"proc": 0}, False),
        ({"proc": -4}, False),
        ({"proc": 10_000}, False),
        ({"vers": 2}, False),
        ({"prog": 0x20008087}, False),
    ],
)
def test_plausible_headers(changes: dict[str, int], plausible: bool) -> None:
    data = message(b"payload", **changes)  # type: ignore[arg-type]
    assert plausible_header(data, 0, REMOTE) is plausible
    assert plausible_header(b"abc" + data, 3, REMOTE) is plausible
    assert plausible_header(data) is (plausible or "prog" in changes)
    assert not plausible_header(data[:27], 0, REMOTE)
    assert not plausible_header(data, 8, REMOTE)


@pytest.mark.parametrize(("length", "plausible"), [(27, 0), (28, 1), (33554436, 1), (33554437, 0), (0, 0)])
def test_plausible_lengths(length: int, plausible: int) -> None:
    data = struct.pack(">I", length) + message()[4:]
    assert plausible_header(data, 0, REMOTE) == bool(plausible)


@pytest.mark.parametrize(
    ("head", "form"),
    [
        (packets.pcap([])[:4], "pcap"),
        (packets.pcap([], order=">"), "pcap"),
        (packets.pcap([], nanoseconds=True), "pcap"),
        (packets.section(), "pcapng"),
        (packets.section(">"), "pcapng"),
        (message(), "raw"),
        (message(bytes(100_000))[:65536], "raw"),
        (message(b"abc")[:12], "raw"),
        (message(b"abc")[:19], "raw"),
        (b"the end of a message" + message(), "raw"),
        (b"00 00 00 1c 20", "hex"),
        (b"\n# a comment \xc3\xa4\r\n\n0000001c\r\n", "hex"),
        (b"0x00, 0x00, 0x00, 0x1c", "hex"),
        (b"\\x00\\x00\\x00\\x1c", "hex"),
        (b"00:00:00:1c", "hex"),
        (b"00000000: 0000 001c 2000 8086  .... ...", "hex"),
        (b"\t0x0000:  4500 003c d66e 4000 4006 664b 7f00 0001  E..<.n@.@.fK....", "hex"),
        (b"00000000  00 00 00 1c 20 00 80 86  00 00 00 01 00 00 00 42  |.... ..........B|", "hex"),
        (b"2026-11-22 21:45:08.121+0000: 19725: info : libvirt version: 9.0.0\n", "text"),
        (b"2026-11-22 21:45:08.121+0000: 19725: info : libvirt version: 9.0.0\n\0\0\0", "text"),
        (b'123 21:45:08.1 write(2, "2026-11-22 21:45:08.121+0000: 1: info : a", 41) = 41\n', "strace"),
        (b'9 sendto(3, "<6>Nov 22 21:45:08 host libvirtd[123]: hello", 44, 0, NULL, 0) = 44\n', "strace"),
        (message(b"2026-11-22 21:45:08.121+0000: 1: info : a\n"), "raw"),
        (b"", None),
        (b"# only a comment\n", "text"),
        (b"hello, world\n", "text"),
        (b"hello, world\n\0", None),
        (b"\x7fELF" + bytes(500), None),
        (message(b"abc")[:11], None),
        (bytes(100), None),
        (b"0", "text"),
    ],
)
def test_detects_file_formats(head: bytes, form: str | None) -> None:
    assert file_format(head) == form


def test_detects_formats_of_real_files(captures: Path) -> None:
    forms = {path.name: file_format(path.read_bytes()[:65536]) for path in captures.iterdir()}
    expected = {
        name: name.rsplit(".", 1)[1].replace("txt", "strace").replace("log", "text") for name in forms
    }
    assert forms == expected


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"\x1f\x8b\x08\x00", "gzip"),
        (b"BZh91AY", "bzip2"),
        (b"\xfd7zXZ\x00", "xz"),
        (b"\x1f\x8b", None),
        (b"", None),
    ],
)
def test_detects_compressed_files(head: bytes, name: str | None) -> None:
    assert compression(head) == name


STRACE = (
    b'execve("/usr/bin/virsh", ["virsh"], 0x7ffd0 /* 35 vars */) = 0\n',
    b'25234 1795384881.935913 connect(4, {sa_family=AF_UNIX, sun_path="/x"}, 110) = 0\n',
    b"[pid   312] 00:42:22.961884 recvfrom(4,  <unfinished ...>\n",
    b"7 <... clock_nanosleep resumed>NULL) = 0\n",
    b"     0.000324 [  53] [00007f4f82e76dfa] close(3)     = 0 <0.000012>\n",
    b"strace: Process 309 attached with 4 threads\n",
    b"32704 1795567341.606211 exit_group(0)    = ?\n",
    b"--- SIGCHLD {si_signo=SIGCHLD, si_pid=1} ---\n",
    b"7 +++ exited with 0 +++\n",
    b'read(4<UNIX-STREAM:[41180->42012]>, "\\0\\0\\0\\34',  # a line longer than the available data
)


@pytest.mark.parametrize("line", STRACE)
def test_detects_strace(line: bytes) -> None:
    assert file_format(line) == "strace"
    assert file_format(b" Id   Name   State\n\n 1    test   running\n" + line) == "strace"


@pytest.mark.parametrize(
    ("text", "format"),
    [
        (b"int main(void)\n{\n    return read(4, buffer, 4);\n}\n", "text"),
        (b"read(4, buffer, 4);\n", "text"),
        (b"See read(2) and write(2).\n", "text"),
        (b"2026-11-22 21:45:10.120+0000: 19725: info : f:1 : RPC_CLIENT_MSG_RX: len=28 (x) = 0\n", "text"),
        (
            b"$1 = foo(bar) = 3\nfoo(bar) = 3\n2026-11-22 21:45:10.120+0000: 1: info : RPC_CLIENT_NEW: a\n",
            "text",
        ),
        (b"deadbeef00\n", "hex"),
        (message(b"\nread(4, 0x7ffd, 4) = 4\n"), "raw"),
    ],
)
def test_rejects_text_that_is_not_strace(text: bytes, format: str | None) -> None:
    assert file_format(text) == format
