"""One line of strace: process, time, call and result. The texts are in strace 6.1's format."""

from __future__ import annotations

import pytest

from libvirt_proto.capture.strace.line import (
    BadCallError,
    Clock,
    Label,
    Line,
    address,
    attached,
    descriptor,
    label,
    parse,
    quoted,
    result,
)
from libvirt_proto.capture.strace.transfers import CALLS, transfers


@pytest.mark.parametrize(
    ("start", "pid", "time"),
    [
        (b"", None, None),
        (b"25234 ", 25234, None),
        (b"313   ", 313, None),
        (b"25234<virsh> ", 25234, None),
        (b"[pid   312] ", 312, None),
        (b"[pid 312<vi rsh>] ", 312, None),
        (b"25234 1795384881.935913 ", 25234, b"1795384881.935913"),
        (b"1795567315.661118374 ", None, b"1795567315.661118374"),
        (b"1795567315 ", None, b"1795567315"),
        (b"[pid   309] 00:42:22.971658 ", 309, b"00:42:22.971658"),
        (b"00:42:22 ", None, b"00:42:22"),
        (b"00:41:54.226684 (+     0.000231) ", None, b"00:41:54.226684"),
        (b"     0.000324 [  53] [00007f4f82e76dfa] ", None, b"0.000324"),
        (b"[pid 32722]      0.000408 [ 231] [????????????????] ", 32722, b"0.000408"),
        (b"24126      0.000016 ", 24126, b"0.000016"),
    ],
)
def test_process_and_time(start: bytes, pid: int | None, time: bytes | None) -> None:
    assert parse(start + b"close(4) = 0") == Line("call", pid, time, b"close", b"4) = 0")
    assert parse(start + b"read(4,  <unfinished ...>") == Line("begun", pid, time, b"read", b"4, ")
    assert parse(start + b"read(4,  <detached ...>") == Line("begun", pid, time, b"read", b"4, ")
    resumed = Line("resumed", pid, time, b"read", b'"", 4) = 0')
    assert parse(start + b'<... read resumed>"", 4) = 0') == resumed
    assert parse(start + b"+++ exited with 0 +++") == Line("exit", pid, time, b"", b"")
    assert parse(start + b"+++ killed by SIGKILL +++") == Line("exit", pid, time, b"", b"")


@pytest.mark.parametrize(
    "text",
    [
        b"--- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_EXITED} ---",
        b" > /usr/lib/libc.so.6(send+0x64) [0x10aba4]",
        b"strace: Process 309 attached with 4 threads",
        b" Id   Name   State",
        b"",
        b"\xff\x00(",
    ],
)
def test_other_lines(text: bytes) -> None:
    assert parse(text) is None
    assert attached(text) is None


def test_process_announcement() -> None:
    text = b"[pid 7] clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|SIGCHLDstrace: Process 32723 attached"
    assert attached(text) == 32723


@pytest.mark.parametrize(
    ("text", "arguments", "value", "rest"),
    [
        (b"4)                   = 0", b"4", 0, b""),
        (b'4, "a = b) = 7", 10) = 10 <0.000012>', b'4, "a = b) = 7", 10', 10, b" <0.000012>"),
        (b'4, "", 5) = -1 EAGAIN (Resource = busy)', b'4, "", 5', -1, b" EAGAIN (Resource = busy)"),
        (b"4, 5) = ? ERESTARTSYS (To be restarted)", b"4, 5", None, b" ERESTARTSYS (To be restarted)"),
        (b"NULL) = 0x7f8bbb655000", b"NULL", None, b""),
        (b'"/x") = 3</tmp/a) = 5>', b'"/x"', 3, b"</tmp/a) = 5>"),
    ],
)
def test_results(text: bytes, arguments: bytes, value: int | None, rest: bytes) -> None:
    found, returned = result(text)
    assert (found, returned.value, returned.text) == (arguments, value, rest)


def test_durations() -> None:
    assert result(b"4) = 0 <0.000012>")[1].duration_ns == 12_000
    assert result(b"4) = -1 EINTR (x) <1.5>")[1].duration_ns == 1_500_000_000
    assert result(b"4) = 0")[1].duration_ns == 0


@pytest.mark.parametrize("text", [b"", b'4, "abc', b'4, "abc", 3)', b"4) = x", b"= = = = = = = = = = ="])
def test_rejects_missing_result(text: bytes) -> None:
    with pytest.raises(BadCallError):
        result(text)


@pytest.mark.parametrize(
    ("text", "data", "cut"),
    [
        (rb'"hello \"q\" \0\1\0331\n\\ \377?", 19', b'hello "q" \x00\x01\x1b1\n\\ \xff?', False),
        (rb'"\x68\x65\xff\x3f"', b"he\xff?", False),
        (b'""', b"", False),
        (rb'"\247\r\r\n\0\0"..., 11568', b"\xa7\r\r\n\0\0", True),
        (rb'"\\"...', b"\\", True),
        (rb'"\\\"\t\v\f\a\b"', b'\\"\t\v\f\a\b', False),
        (rb'"\x41b"', b"Ab", False),
    ],
)
def test_strings(text: bytes, data: bytes, cut: bool) -> None:
    found, was_cut, end = quoted(text, 0)
    assert (found, was_cut) == (data, cut)
    assert text[:end].endswith(b'"...' if cut else b'"')
    assert text[end:] in (b"", b", 19", b", 11568")


@pytest.mark.parametrize(
    "text", [rb'"abc', rb'"abc\"', rb'"\8"', rb'"\400"', rb'"\q"', rb'"\x4"', rb'"\u1234"']
)
def test_rejects_invalid_strings(text: bytes) -> None:
    with pytest.raises(BadCallError):
        quoted(text, 0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"UNIX-STREAM:[41180]", Label(b"inode 41180", "unix", None, None)),
        (b"UNIX-STREAM:[41180->42012]", Label(b"inode 41180", "unix", None, None)),
        (rb'UNIX-STREAM:[9->7,"\x2f\x73"]', Label(b"inode 9", "unix", "/s", None)),
        (b'UNIX:[9,@"name"]', Label(b"inode 9", "unix", "@name", None)),
        (b"TCP:[57300]", Label(b"inode 57300", "tcp", None, None)),
        (b"TCP:[127.0.0.1:50491]", Label(b"127.0.0.1:50491", "tcp", "127.0.0.1:50491", None)),
        (
            b"TCP:[127.0.0.1:40508->127.0.0.1:16509]",
            Label(b"127.0.0.1:40508->127.0.0.1:16509", "tcp", "127.0.0.1:40508", "127.0.0.1:16509"),
        ),
        (b"TCPv6:[[::1]:4->[::1]:5]", Label(b"[::1]:4->[::1]:5", "tcp", "[::1]:4", "[::1]:5")),
        (b"socket:[57284]", Label(b"inode 57284", None, None, None)),
        (rb"\x73\x6f\x63\x6b\x65\x74\x3a\x5b\x31\x5d", Label(b"inode 1", None, None, None)),
        (b"UDP:[127.0.0.1:1->127.0.0.1:16509]", None),
        (b"NETLINK:[ROUTE:1]", None),
        (b"anon_inode:[eventfd]", None),
        (b"/dev/null<char 1:3>", None),
        (rb"\x7", None),
    ],
)
def test_labels(text: bytes, expected: Label | None) -> None:
    assert descriptor(b"4<" + text + b">, 5") == (4, text, len(text) + 3)
    assert label(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (rb'4, {sa_family=AF_UNIX, sun_path="\x2f\x73"}, 110', ("unix", "/s")),
        (b'4, {sa_family=AF_UNIX, sun_path=@"abstract"}, 11', ("unix", "@abstract")),
        (b"4, {sa_family=AF_UNIX}, [110 => 2], SOCK_CLOEXEC", ("unix", "")),
        (
            b'4, {sa_family=AF_INET, sin_port=htons(16509), sin_addr=inet_addr("127.0.0.1")}, 16',
            ("tcp", "127.0.0.1:16509"),
        ),
        (
            rb'4, {sa_family=AF_INET, sin_port=htons(1), sin_addr=inet_addr("\x31\x2e\x32")}, 16',
            ("tcp", "1.2:1"),
        ),
        (
            b"4, {sa_family=AF_INET6, sin6_port=htons(7), sin6_flowinfo=htonl(0),"
            b' inet_pton(AF_INET6, "::1", &sin6_addr), sin6_scope_id=0}, 28',
            ("tcp", "[::1]:7"),
        ),
        (
            rb'4, {sa_family=0x2, sin_port="\x40\x7d", sin_addr="\x7f\x00\x00\x01"}, 16',
            ("tcp", "127.0.0.1:16509"),
        ),
        (b"4, {sa_family=AF_NETLINK, nl_pid=0}, 12", None),
        (rb'4, {sin_port="\x40\x7d", sin_addr="\x7f"}, 16', None),
        (b'4, {sun_path="', None),
        (b"4, NULL, NULL", None),
    ],
)
def test_addresses(text: bytes, expected: tuple[str, str] | None) -> None:
    assert address(text) == expected


def shown(name: str, text: bytes, count: int) -> list[list[tuple[bytes, int]]]:
    found = transfers(CALLS[name.encode()].form, text, 1)
    return [one.shown(count if one.length is None else one.length) for one in found]


@pytest.mark.parametrize(
    ("name", "text", "count", "parts"),
    [
        ("read", b'4, "abc", 8', 3, [(b"abc", 0)]),
        ("read", b'4, "abc"..., 8', 8, [(b"abc", 5)]),
        ("write", b'4, "abc", 3', 2, [(b"ab", 0)]),
        ("write", b'4, "abc"..., 9', 2, [(b"ab", 0)]),
        ("sendto", b'4, "six", 3, 0, {sun_path="x"}, 16', 3, [(b"six", 0)]),
        ("read", b"4, 0x7ffd, 8", 3, [(b"", 3)]),
        ("writev", b'4, [{iov_base="one", iov_len=3}, {iov_base="two", iov_len=3}], 2', 6, [(b"onetwo", 0)]),
        ("writev", b'4, [{iov_base="one", iov_len=3}, {iov_base="two", iov_len=3}], 2', 4, [(b"onet", 0)]),
        ("readv", b'4, [{iov_base="on", iov_len=2}, {iov_base="etwo", iov_len=100}], 2', 6, [(b"onetwo", 0)]),
        (
            "writev",
            b'4, [{iov_base="o"..., iov_len=3}, {iov_base="tw", iov_len=2}, {iov_base="t"..., iov_len=9}], 3',
            14,
            [(b"o", 2), (b"twt", 8)],
        ),
        ("writev", b'4, [{iov_base="o", iov_len=1}, ...], 9', 14, [(b"o", 13)]),
        ("readv", b"4, [{iov_base=0x1, iov_len=3}], 1", 3, [(b"", 3)]),
        (
            "recvmsg",
            b'4, {msg_name={sa_family=AF_UNIX, sun_path="iov_base="}, msg_namelen=110 => 0,'
            b' msg_iov=[{iov_base="iov_base=\\"", iov_len=30}], msg_iovlen=1, msg_controllen=0}, 0',
            10,
            [(b'iov_base="', 0)],
        ),
        (
            "sendmsg",
            b'4, {msg_iov=[{iov_base="m\\0", iov_len=2}], msg_control=[{cmsg_level=SOL_SOCKET,'
            b" cmsg_type=SCM_RIGHTS, cmsg_data=[5]}]}, 0",
            2,
            [(b"m", 0)],
        ),
        ("sendmsg", b'4, {msg_iov=[{iov_base="\\0", iov_len=1}], cmsg_type=SCM_RIGHTS}, 0', 1, []),
    ],
)
def test_call_data(name: str, text: bytes, count: int, parts: list[tuple[bytes, int]]) -> None:
    assert shown(name, text, count) == [parts]


def test_several_messages() -> None:
    text = (
        b'4, [{msg_hdr={msg_iov=[{iov_base="one", iov_len=3}], msg_iovlen=1}, msg_len=3},'
        b' {msg_hdr={msg_iov=[{iov_base="two", iov_len=9}], msg_iovlen=1}, msg_len=2}], 2, 0, NULL'
    )
    assert shown("recvmmsg", text, 2) == [[(b"one", 0)], [(b"tw", 0)]]


@pytest.mark.parametrize(
    ("name", "text"),
    [("read", b'4, "abc", x'), ("read", b"4"), ("writev", b'4, [{iov_base="a", 3}]'), ("sendmsg", b'4, {"')],
)
def test_unreadable_calls(name: str, text: bytes) -> None:
    with pytest.raises(BadCallError):
        shown(name, text, 3)


def at(*texts: str) -> list[float]:
    """The times, in whole and half seconds."""
    clock = Clock()
    return [clock.ns(text.encode()) // 500_000_000 / 2 for text in texts]


def test_times() -> None:
    assert at("1795384881.5", "1795384880.5", "1795384881") == [1795384881.5, 1795384880.5, 1795384881]
    assert at("1.5", "0.000000", "0.5") == [1.5, 1.5, 2]
    assert at("00:00:01.5", "01:00:00", "23:00:00") == [1.5, 3600, 82800]
    assert Clock().ns(b"1795384881.935913") == 1_795_384_881_935_913_000
    assert Clock().ns(b"0.000000001") == 1


def test_midnight() -> None:
    day, hour = 86400, 3600
    assert at("23:59:59", "00:00:01", "23:59:59.5", "00:00:02") == [day - 1, day + 1, day - 0.5, day + 2]
    assert at("23:00:00", "01:00:00", "23:00:00") == [23 * hour, day + hour, day + 23 * hour]
    assert at("23:00:00", "12:30:00") == [23 * hour, 12.5 * hour]
    assert at("00:00:01", "23:59:59") == [1, day - 1]
