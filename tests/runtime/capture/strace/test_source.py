"""strace output: which descriptors are libvirt connections, which side is the client, and the data."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from libvirt_proto.capture.sources import read_source
from libvirt_proto.capture.strace import calls as strace_calls
from libvirt_proto.capture.strace import source as strace
from libvirt_proto.capture.strace.source import strace_chunks
from libvirt_proto.capture.stream import messages
from libvirt_proto.events import Captured, Chunk, Item, Notice
from libvirt_proto.rpc.message import decode_message
from tests.support.frames import REMOTE, frame
from tests.support.straces import quote

CALL, REPLY, EVENT = (frame(b"pay\0", type_=number) for number in (0, 1, 2))
PING = frame(prog=0x6B656570, proc=1, type_=2)
SIZE = len(CALL)
CONNECT = '{pid} connect(4, {{sa_family=AF_UNIX, sun_path="/run/libvirt/libvirt-sock"}}, 110) = 0'
UNIX = "unix:pid 7-/run/libvirt/libvirt-sock"


def text(lines: tuple[str, ...]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def read(*lines: str, ports: frozenset[int] = strace.LIBVIRT_PORTS) -> list[Item]:
    return list(strace_chunks(io.BytesIO(text(lines)).read, ports))


def notices(items: list[Item]) -> list[tuple[str, str]]:
    return [(item.code, item.text) for item in items if isinstance(item, Notice)]


def moved(items: list[Item]) -> list[tuple[str, str | None, bytes]]:
    """Connection, direction and bytes, in order, without ends."""
    return [
        (str(item.connection), item.direction, item.data)
        for item in items
        if isinstance(item, Chunk) and not item.end
    ]


def ends(items: list[Item]) -> list[tuple[int, str | None]]:
    return sorted(
        (item.connection.id, item.direction or "") for item in items if isinstance(item, Chunk) and item.end
    )


def connect(pid: int = 7) -> str:
    return CONNECT.format(pid=pid)


def write(data: bytes = CALL, fd: str = "4", pid: int = 7) -> str:
    return f"{pid} write({fd}, {quote(data)}, {len(data)}) = {len(data)}"


def read_(data: bytes = REPLY, fd: str = "4", pid: int = 7) -> str:
    return f"{pid} read({fd}, {quote(data)}, 9999) = {len(data)}"


# Real traces


@pytest.mark.parametrize(
    ("name", "connection", "count", "first_ns"),
    [
        ("plain-unix-list", "unix:pid 25234-/var/run/libvirt/libvirt-sock", 20, 1795384881937323000),
        ("yy-unix-dominfo", "unix:pid 19806-/var/run/libvirt/libvirt-sock", 18, 78324488309000),
        ("yy-virt-admin", "unix:pid 19819-/run/libvirt/libvirt-admin-sock", 8, 1795383924633480000),
    ],
)
def test_reads_real_traces(captures: Path, name: str, connection: str, count: int, first_ns: int) -> None:
    with (captures / f"strace-{name}.txt").open("rb") as file:
        items = list(read_source(file, name))
    assert not notices(items)
    seen = list(messages(items, decode_message, programs=frozenset((REMOTE, 0x06900690))))
    captured = [item for item in seen if isinstance(item, Captured)]
    assert len(captured) == count
    assert {str(item.connection) for item in captured} == {connection}
    assert {item.connection.transport for item in captured} == {"unix"}
    assert [item.direction for item in captured] == ["c2s", "s2c"] * (count // 2)
    assert [item.message.header.serial for item in captured] == [n // 2 for n in range(count)]
    assert captured[0].time_ns == first_ns
    assert not any(item.message.error or item.message.spare for item in captured)


# Clients and servers


def test_client_and_server_in_one_trace_are_two_connections() -> None:
    items = read(
        '8 bind(3, {sa_family=AF_UNIX, sun_path="/run/libvirt/libvirt-sock"}, 27) = 0',
        connect(),
        "8 accept4(3, {sa_family=AF_UNIX}, [110 => 2], SOCK_CLOEXEC) = 9",
        write(),
        read_(CALL, "9", 8),
        write(REPLY, "9", 8),
        read_(),
        "7 +++ exited with 0 +++",
        '8 read(9, "", 4) = 0',
    )
    server = "unix-/run/libvirt/libvirt-sock"
    assert moved(items) == [
        (UNIX, "c2s", CALL),
        (server, "c2s", CALL),
        (server, "s2c", REPLY),
        (UNIX, "s2c", REPLY),
    ]


def test_clients_of_one_socket_are_separate() -> None:
    """A daemon does not see its clients' identities; two connections of one client have equal ends."""
    items = read(
        '8 bind(3, {sa_family=AF_UNIX, sun_path="/run/libvirt/libvirt-sock"}, 27) = 0',
        "8 accept4(3, {sa_family=AF_UNIX}, [110 => 2], SOCK_CLOEXEC) = 9",
        "8 accept4(3, {sa_family=AF_UNIX}, [110 => 2], SOCK_CLOEXEC) = 10",
        read_(CALL, "9", 8),
        read_(CALL, "10", 8),
        write(REPLY, "10", 8),
    )
    server = "unix-/run/libvirt/libvirt-sock"
    assert moved(items) == [
        (server, "c2s", CALL),
        (f"{server}#2", "c2s", CALL),
        (f"{server}#2", "s2c", REPLY),
    ]


@pytest.mark.parametrize(
    ("first", "connection", "direction"),
    [
        (write(CALL), "pid 7 fd 4-?", "c2s"),
        (write(frame(type_=4, status=0, proc=208)), "pid 7 fd 4-?", "c2s"),
        (write(REPLY), "?-pid 7 fd 4", "s2c"),
        (write(EVENT), "?-pid 7 fd 4", "s2c"),
        (read_(CALL), "?-pid 7 fd 4", "c2s"),
        (read_(REPLY), "pid 7 fd 4-?", "s2c"),
        (read_(EVENT), "pid 7 fd 4-?", "s2c"),
        (read_(frame(b"data", type_=3, status=2)), "pid 7 fd 4-?", "s2c"),
    ],
)
def test_first_message_identifies_the_client(first: str, connection: str, direction: str) -> None:
    assert [found[:2] for found in moved(read(first))] == [(connection, direction)]


def test_keepalive_comes_from_both_sides() -> None:
    items = read(read_(PING), write(PING), read_(CALL))
    assert moved(items) == [
        ("?-pid 7 fd 4", "c2s", PING),
        ("?-pid 7 fd 4", "s2c", PING),
        ("?-pid 7 fd 4", "c2s", CALL),
    ]
    assert [found[1] for found in moved(read(read_(PING), write(PING)))] == ["s2c", "c2s"]
    assert len(moved(read(*[read_(PING)] * 500))) == 500


@pytest.mark.parametrize(
    ("label", "connection", "transport"),
    [
        ("TCP:[127.0.0.1:40508->127.0.0.1:16509]", "127.0.0.1:40508-127.0.0.1:16509", "tcp"),
        ("TCP:[127.0.0.1:40508->127.0.0.1:7777]", "127.0.0.1:40508-127.0.0.1:7777", "tcp"),
        ("TCPv6:[[::1]:4->[::1]:16514]", "[::1]:4-[::1]:16514", "tcp"),
        ("UNIX-STREAM:[41180->42012]", "unix:pid 7-unix", "unix"),
        ("socket:[41180]", "pid 7 fd 4-?", "unix"),
    ],
)
def test_labels_name_connections(label: str, connection: str, transport: str) -> None:
    items = read(write(fd=f"4<{label}>"))
    assert moved(items) == [(connection, "c2s", CALL)]
    assert next(item.connection.transport for item in items if isinstance(item, Chunk)) == transport


def test_labels_of_a_server() -> None:
    tcp = "9<TCP:[127.0.0.1:16509->127.0.0.1:40508]>"
    unix = '9<UNIX-STREAM:[41->40,"/run/libvirt/virtqemud-sock-ro"]>'
    # Its first bytes do not identify libvirt.
    assert moved(read(write(b"\x16\x03\x01", tcp)))[0][:2] == ("127.0.0.1:40508-127.0.0.1:16509", "s2c")
    assert moved(read(read_(b"abc", unix)))[0][:2] == ("unix-/run/libvirt/virtqemud-sock-ro", "c2s")


def test_getsockname_and_getpeername_name_connections() -> None:
    where = 'sin_port=htons({}), sin_addr=inet_addr("127.0.0.1")}}, [16]) = 0'
    items = read(
        "7 socket(AF_INET, SOCK_STREAM, IPPROTO_TCP) = 4",
        "7 connect(4, {sa_family=AF_INET, " + where.format(16509).replace("[16]", "16"),
        "7 getsockname(4, {sa_family=AF_INET, " + where.format(40508),
        write(),
    )
    assert moved(items) == [("127.0.0.1:40508-127.0.0.1:16509", "c2s", CALL)]
    items = read(
        "8 accept(3, {sa_family=AF_INET, " + where.format(40508).replace("= 0", "= 9"),
        "8 getsockname(9, {sa_family=AF_INET, " + where.format(7777),
        read_(CALL, "9", 8),
    )
    assert moved(items) == [("127.0.0.1:40508-127.0.0.1:7777", "c2s", CALL)]


# Detecting libvirt


def test_skips_other_protocols() -> None:
    items = read(
        write(b"\x01" + bytes(7), "3"),
        read_(b"\x7fELF\2\1\1" + bytes(800), "5"),
        *[write(bytes(range(40)), "5")] * 500,
        write(b"a" * 40, "6<UNIX-STREAM:[1->2]>"),
        write(CALL, "7</tmp/file>"),
        write(CALL, "8<UDP:[127.0.0.1:1->127.0.0.1:16509]>"),
        '7 connect(9, {sa_family=AF_UNIX, sun_path="/var/lib/libvirt/qemu/1/monitor.sock"}, 110) = 0',
        read_(b'{"QMP": {}}', "9"),
        "7 close(9) = 0",
        "7 close(5) = 0",
    )
    assert not moved(items)
    ((code, said),) = notices(items)
    assert code == "no-libvirt"
    assert "-s 33554436" in said


def test_host_lookup_is_not_a_connection() -> None:
    """The C library connects datagram sockets to look up routes."""
    where = '{sa_family=AF_INET, sin_port=htons(16509), sin_addr=inet_addr("127.0.0.1")}, 16) = 0'
    items = read("7 socket(AF_INET, SOCK_DGRAM, IPPROTO_IP) = 4", f"7 connect(4, {where}", "7 close(4) = 0")
    assert not [item for item in items if isinstance(item, Chunk)]


def test_finds_libvirt_after_other_bytes() -> None:
    """The descriptor belonged to another file before, and its close was not traced."""
    items = read(read_(b"\x7fELF" + bytes(30)), read_(b"\0\0\0\x20"), read_(b"x" * 30), write(), read_())
    assert moved(items) == [("pid 7 fd 4-?", "c2s", CALL), ("pid 7 fd 4-?", "s2c", REPLY)]


def test_accepts_windows_line_ends() -> None:
    lines = (
        connect(),
        f"7 write(4, {quote(CALL)}, {SIZE} <unfinished ...>",
        f"7 <... write resumed>) = {SIZE}",
    )
    assert moved(read(*(f"{line}\r" for line in lines))) == [(UNIX, "c2s", CALL)]


def test_other_ports() -> None:
    tls = write(b"\x16\x03\x01", "4<TCP:[127.0.0.1:40508->127.0.0.1:7777]>")
    assert not moved(read(tls))
    assert moved(read(tls, ports=frozenset((7777,))))[0][0] == "127.0.0.1:40508-127.0.0.1:7777"


def test_trace_starts_in_mid_connection() -> None:
    """A direction may start inside a message; the other one is unaffected."""
    label = "4<TCP:[127.0.0.1:40508->127.0.0.1:16509]>"
    items = read(read_(b"rest of a message" * 2, label), write(fd=label))
    assert [(item.direction, item.lost) for item in items if isinstance(item, Chunk)] == [
        ("s2c", -1),
        ("c2s", 0),
    ]
    items = read(read_(b"\0\0\0\x20", label), read_(REPLY[4:], label))
    assert [item.lost for item in items if isinstance(item, Chunk)] == [0, 0]


# Descriptors


def test_copies_of_a_descriptor_share_a_connection() -> None:
    items = read(
        connect(),
        "7 dup(4) = 5",
        "7 dup2(5, 6) = 6",
        "7 fcntl(6, F_DUPFD_CLOEXEC, 10) = 10",
        *(line for fd in ("4", "5", "6", "10") for line in (write(fd=fd), f"7 close({fd}) = 0")),
        write(fd="4"),
    )
    assert moved(items) == [(UNIX, "c2s", CALL)] * 4 + [("pid 7 fd 4-?", "c2s", CALL)]
    assert ends(items) == [(1, "c2s"), (1, "s2c")]
    assert [item.end for item in items if isinstance(item, Chunk)] == [False] * 4 + [True] * 2 + [False]


def test_descriptor_is_reused() -> None:
    items = read(connect(), write(), "7 close(4) = 0", connect(), write())
    assert [item.connection.id for item in items if isinstance(item, Chunk) and item.data] == [1, 2]
    # The same where close is not traced.
    items = read(connect(), write(), connect(), write())
    assert [item.connection.id for item in items if isinstance(item, Chunk) and item.data] == [1, 2]
    items = read(connect(), write(), "7 socket(AF_UNIX, SOCK_STREAM, 0) = 4", connect(), write())
    assert [item.connection.id for item in items if isinstance(item, Chunk) and item.data] == [1, 2]
    assert ends(items) == [(1, "c2s"), (1, "s2c")]
    items = read(connect(), write(), '7 openat(AT_FDCWD, "/x", O_RDONLY) = 4')
    assert ends(items) == [(1, "c2s"), (1, "s2c")]


def test_close_takes_effect_immediately() -> None:
    """Another thread can get the same descriptor before the line of close ends."""
    items = read(
        connect(),
        "7 clone(child_stack=NULL, flags=CLONE_VM|CLONE_FILES|CLONE_THREAD) = 8",
        "7 close(4 <unfinished ...>",
        "8 socket(AF_UNIX, SOCK_STREAM, 0) = 4",
        "7 <... close resumed>) = 0",
        connect(8),
        write(pid=8),
    )
    assert moved(items) == [("unix:pid 8-/run/libvirt/libvirt-sock", "c2s", CALL)]


def test_close_of_unknown_descriptor() -> None:
    assert len(moved(read(connect(), "7 close(4) = -1 EBADF (Bad file descriptor)", write()))) == 1


def test_threads_share_and_children_copy_descriptors() -> None:
    items = read(
        connect(),
        "7 clone3({flags=CLONE_VM|CLONE_FILES|CLONE_THREAD} => {parent_tid=[8]}, 88) = 8",
        write(pid=8),
        "7 clone(child_stack=NULL, flags=CLONE_CHILD_SETTID|SIGCHLD, child_tidptr=0x7) = 9",
        "8 +++ exited with 0 +++",
        "9 close(4) = 0",
        write(),
        "7 vfork() = 10",
        "7 close(4) = 0",
        write(pid=10),
        "10 +++ exited with 0 +++",
    )
    assert moved(items) == [(UNIX, "c2s", CALL)] * 3
    assert [item.end for item in items if isinstance(item, Chunk)] == [False] * 3 + [True] * 2


def test_child_appears_before_its_clone_returns() -> None:
    items = read(
        connect(),
        "7 clone(child_stack=NULL, flags=CLONE_CHILD_SETTID|SIGCHLD <unfinished ...>",
        "8 close(4) = 0",
        "7 <... clone resumed>, child_tidptr=0x7) = 8",
        write(),
    )
    assert moved(items) == [(UNIX, "c2s", CALL)]


def test_lines_have_process_ids_only_after_fork() -> None:
    """In terminal output, the child's id is printed in the middle of a line."""
    plain = connect().removeprefix("7 ")
    items = read(
        plain,
        "clone(child_stack=NULL, flags=CLONE_CHILD_SETTID|SIGCHLDstrace: Process 8 attached",
        " <unfinished ...>",
        "[pid     8] close(4)                    = 0",
        "[pid     7] <... clone resumed>, child_tidptr=0x7) = 8",
        f"[pid     7] write(4, {quote(CALL)}, {SIZE} <unfinished ...>",
        "[pid     8] +++ exited with 0 +++",
        f"<... write resumed>) = {SIZE}",
        f"read(4, {quote(REPLY)}, {SIZE}) = {SIZE}",
        "+++ exited with 0 +++",
    )
    assert moved(items) == [
        ("unix-/run/libvirt/libvirt-sock", "c2s", CALL),
        ("unix-/run/libvirt/libvirt-sock", "s2c", REPLY),
    ]
    assert ends(items) == [(1, "c2s"), (1, "s2c")]
    # Without -f the child is not traced and keeps nothing open.
    items = read(plain, "clone(child_stack=NULL, flags=SIGCHLD) = 8", "close(4) = 0")
    assert ends(items) == [(1, "c2s"), (1, "s2c")]


@pytest.mark.parametrize(
    "rest",
    [
        [f") = {SIZE}"],
        ["strace: Process 9 attached", f") = {SIZE}"],
        [" <unfinished ...>", f"[pid     7] <... write resumed>) = {SIZE}"],
    ],
)
def test_thread_announcement_inside_another_line(rest: list[str]) -> None:
    """As strace 6.1 wrote it while virsh sent its second message."""
    items = read(
        connect().removeprefix("7 "),
        f"write(4, {quote(CALL)}, {SIZE}strace: Process 8 attached",
        *rest,
        f"[pid     7] read(4, {quote(REPLY)}, {SIZE}) = {SIZE}",
    )
    assert moved(items) == [
        ("unix-/run/libvirt/libvirt-sock", "c2s", CALL),
        ("unix-/run/libvirt/libvirt-sock", "s2c", REPLY),
    ]


def test_exec_keeps_inheritable_descriptors() -> None:
    items = read(
        "7 socket(AF_UNIX, SOCK_STREAM, 0) = 4",
        connect(),
        "7 dup3(4, 5, O_CLOEXEC) = 5",
        "7 fcntl(4, F_DUPFD, 6) = 6",
        "7 fcntl(6, F_SETFD, FD_CLOEXEC) = 0",
        '7 execve("/bin/x", ["x"], 0x7 /* 38 vars */) = 0',
        write(),
        write(fd="5"),
        write(fd="6"),
    )
    assert [found[0] for found in moved(items)] == [UNIX, "pid 7 fd 5-?", "pid 7 fd 6-?"]


def test_exec_in_a_child() -> None:
    items = read(
        "7 socket(AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC, 0) = 4",
        connect(),
        "7 clone(child_stack=NULL, flags=CLONE_VM|CLONE_FILES|SIGCHLD) = 8",
        '8 execve("/bin/x", ["x"], 0x7 /* 38 vars */) = 0',
        write(pid=8),
        write(),
    )
    assert [found[0] for found in moved(items)] == ["pid 8 fd 4-?", UNIX]


def test_ranges_of_descriptors() -> None:
    items = read(connect(), "7 close_range(3, 4294967295, CLOSE_RANGE_UNSHARE) = 0")
    assert ends(items) == [(1, "c2s"), (1, "s2c")]
    assert not ends(read(connect(), "7 close_range(5, 4294967295, 0) = 0"))


def test_two_attached_processes() -> None:
    """Both have a descriptor 4; their labels distinguish them."""
    one, other = "4<UNIX-STREAM:[1->2]>", "4<UNIX-STREAM:[3->4]>"
    items = read(write(fd=one), write(fd=other, pid=8), read_(fd=one), read_(fd=other, pid=8))
    assert moved(items) == [
        ("unix:pid 7-unix", "c2s", CALL),
        ("unix:pid 8-unix", "c2s", CALL),
        ("unix:pid 7-unix", "s2c", REPLY),
        ("unix:pid 8-unix", "s2c", REPLY),
    ]


def test_socket_pair() -> None:
    """As for a client with ssh, which it starts."""
    items = read(
        "7 socketpair(AF_UNIX, SOCK_STREAM, 0, [3<UNIX-STREAM:[1->2]>, 4<UNIX-STREAM:[2->1]>]) = 0",
        write(fd="3<UNIX-STREAM:[1->2]>"),
        read_(CALL, fd="4<UNIX-STREAM:[2->1]>"),
    )
    assert moved(items) == [("unix:pid 7-unix", "c2s", CALL), ("unix-unix:pid 7", "c2s", CALL)]


def test_numbers_instead_of_names() -> None:
    """strace -X raw."""
    where = r'{sa_family=0x2, sin_port="\x40\x7d", sin_addr="\x7f\x00\x00\x01"}, 16) = 0'
    items = read(
        "7 socket(0x2, 0x80801, 0x6) = 4",
        f"7 connect(4, {where}",
        "7 clone3({flags=0x3d0f00, exit_signal=0} => {parent_tid=[8]}, 88) = 8",
        "7 clone(child_stack=NULL, flags=0x1200000|17, child_tidptr=0x7) = 9",
        "9 close(4) = 0",
        write(pid=8),
        '7 sendmsg(4, {msg_iov=[{iov_base="\\0", iov_len=1}], cmsg_type=0x1, cmsg_data=[5]}, 0) = 1',
    )
    assert moved(items) == [("?-127.0.0.1:16509", "c2s", CALL)]


# Ends


@pytest.mark.parametrize(
    ("line", "ended"),
    [
        ('7 read(4, "", 4) = 0', ["s2c"]),
        ("7 shutdown(4, SHUT_WR) = 0", ["c2s"]),
        ("7 shutdown(4, SHUT_RD) = 0", ["s2c"]),
        ("7 shutdown(4, SHUT_RDWR) = 0", ["c2s", "s2c"]),
        ("7 close(4) = 0", ["c2s", "s2c"]),
        ("7 +++ exited with 0 +++", ["c2s", "s2c"]),
        ("7 +++ killed by SIGKILL +++", ["c2s", "s2c"]),
        ("7 shutdown(4, SHUT_WR) = -1 ENOTCONN (x)", []),
        ('7 read(4, "", 0) = 0', []),
        ('7 write(4, "", 0) = 0', []),
        ("7 read(4, 0x7ff, 4) = -1 ECONNRESET (Connection reset by peer)", []),
        ('7 recvfrom(4, "", 4, MSG_PEEK, NULL, NULL) = 0', []),
    ],
)
def test_end_of_connections(line: str, ended: list[str]) -> None:
    assert [direction for _, direction in ends(read(connect(), write(), line))] == ended


def test_connection_without_data() -> None:
    """As when strace shows only the calls of its class `network`: libvirt reads with read."""
    items = read(connect(), "7 close(4) = 0")
    assert ends(items) == [(1, "c2s"), (1, "s2c")]
    assert [code for code, _ in notices(items)] == ["no-libvirt"]
    failed = connect().replace("= 0", "= -1 ECONNREFUSED (Connection refused)")
    assert not ends(read(failed, "7 close(4) = 0"))
    later = connect().replace("= 0", "= -1 EINPROGRESS (Operation now in progress)")
    assert moved(read(later, write())) == [(UNIX, "c2s", CALL)]


# Calls


def test_unfinished_calls() -> None:
    """A reply may be read before its call has returned; a read counts from its end."""
    items = read(
        connect().replace("7 ", "7 100.000001 ", 1),
        "7 100.000002 clone(child_stack=NULL, flags=CLONE_FILES) = 8",
        "8 100.000003 read(4,  <unfinished ...>",
        f"7 100.000004 write(4, {quote(CALL)}, {SIZE} <unfinished ...>",
        f"8 100.000005 <... read resumed>{quote(REPLY)}, {SIZE}) = {SIZE}",
        f"7 100.000006 <... write resumed>) = {SIZE}",
    )
    assert moved(items) == [(UNIX, "c2s", CALL), (UNIX, "s2c", REPLY)]
    assert not notices(items)


@pytest.mark.parametrize(
    ("end", "sent"),
    [
        (f"= {SIZE}", CALL),
        ("= 9", CALL[:9]),
        ("= -1 EAGAIN (Resource temporarily unavailable)", b""),
        ("= ? ERESTARTSYS (To be restarted if SA_RESTART is set)", b""),
    ],
)
def test_end_of_unfinished_call(end: str, sent: bytes) -> None:
    begun = f"7 write(4, {quote(CALL)}, {SIZE} <unfinished ...>"
    items = read(connect(), begun, read_(pid=8), f"7 <... write resumed>) {end}")
    expected = [(UNIX, "c2s", sent)] if sent else []
    assert moved(items) == [*expected, (UNIX, "s2c", REPLY)]


def test_unfinished_calls_without_end() -> None:
    """Somebody filtered the trace: sent data is complete, received data is lost."""
    begun = f"7 write(4, {quote(CALL)}, {SIZE} <unfinished ...>"
    assert moved(read(connect(), begun, read_())) == [(UNIX, "c2s", CALL), (UNIX, "s2c", REPLY)]
    assert moved(read(connect(), begun)) == [(UNIX, "c2s", CALL)]
    items = read(connect(), write(), "7 read(4,  <unfinished ...>", write(), read_())
    assert [item.lost for item in items if isinstance(item, Chunk)] == [0, 0, -1]
    items = read(connect(), write(), "7 read(4,  <unfinished ...>", "7 +++ killed by SIGKILL +++")
    assert not any(item.lost for item in items if isinstance(item, Chunk))


def test_skips_byte_that_accompanies_descriptors() -> None:
    control = "msg_control=[{cmsg_len=20, cmsg_level=SOL_SOCKET, cmsg_type=SCM_RIGHTS, cmsg_data=[5]}]"
    reply = quote(REPLY + bytes(1))
    items = read(
        connect(),
        write(),
        '7 sendmsg(4, {msg_iov=[{iov_base="\\0", iov_len=1}], msg_iovlen=1, ' + control + "}, 0) = 1",
        '7 connect(5, {sa_family=AF_UNIX, sun_path="/run/libvirt/libvirt-sock"}, 110) = 0',
        write(fd="5"),
        f"7 recvmsg(4, {{msg_iov=[{{iov_base={reply}, iov_len=99}}], {control}}}, 0) = {SIZE + 1}",
        write(fd="5"),
    )
    assert [found[1:] for found in moved(items)] == [
        ("c2s", CALL),
        ("c2s", CALL),
        ("s2c", REPLY),
        ("c2s", CALL),
    ]
    # Number 5 belongs to another file since it was received.
    assert [item.connection.id for item in items if isinstance(item, Chunk) and not item.end] == [1, 2, 1, 3]


def test_msg_peek_consumes_nothing() -> None:
    peek = f"7 recvfrom(4, {quote(REPLY)}, {SIZE}, MSG_PEEK, NULL, NULL) = {SIZE}"
    message = f"7 recvmsg(4, {{msg_iov=[{{iov_base={quote(REPLY)}, iov_len={SIZE}}}]}}, MSG_PEEK) = {SIZE}"
    assert moved(read(connect(), peek, message, read_())) == [(UNIX, "s2c", REPLY)]


def test_several_messages_in_one_call() -> None:
    one = (
        f"{{msg_hdr={{msg_iov=[{{iov_base={quote(CALL)}, iov_len={SIZE}}}], msg_iovlen=1}}, msg_len={SIZE}}}"
    )
    items = read(
        connect(), f"7 sendmmsg(4, [{one}, {one}], 3, 0) = 2", f"7 sendmmsg(4, [{one}, {one}], 2, 0) = 1"
    )
    assert moved(items) == [(UNIX, "c2s", CALL)] * 3
    begun = f"7 sendmmsg(4, [{one}, {one}], 2, 0 <unfinished ...>"
    assert len(moved(read(connect(), begun, "7 <... sendmmsg resumed>) = 1"))) == 1


def test_truncated_strings_are_reported_once() -> None:
    reply = frame(bytes(100), type_=1)
    cut = f"7 read(4, {quote(reply, limit=40)}, 9999) = {len(reply)}"
    items = read(connect(), write(), cut, write(), cut)
    assert [(item.data, item.cut) for item in items if isinstance(item, Chunk) and item.cut] == [
        (reply[:40], len(reply) - 40)
    ] * 2
    ((code, said),) = notices(items)
    assert code == "cut-strings"
    assert f"{2 * (len(reply) - 40)} bytes of 2 calls" in said
    assert "-s 33554436" in said
    seen = messages(items, decode_message, programs=frozenset((REMOTE,)))
    captured = [item for item in seen if isinstance(item, Captured)]
    assert [item.message.missing for item in captured] == [0, len(reply) - 40] * 2


def test_unreadable_calls() -> None:
    items = read(
        write(b"x", "5").replace('"x"', '"\\8"'),
        connect(),
        write(),
        f'7 read(4, "\\8", 9999) = {SIZE}',
        read_(),
        '7 write(4, "abc',
    )
    assert [item.cut for item in items if isinstance(item, Chunk)] == [0, SIZE, 0]
    assert (
        "bad-strace",
        "line 4: read has an unknown escape (and 1 call more)",
    ) in notices(items)


def test_times_are_start_of_sends_and_end_of_receives() -> None:
    items = read(
        connect().replace("7 ", "7 1000000000.5 ", 1),
        f"7 1000000001.5 write(4, {quote(CALL)}, {SIZE}) = {SIZE} <0.25>",
        f"7 1000000002.5 read(4, {quote(REPLY)}, {SIZE}) = {SIZE} <0.25>",
        "7 1000000003.5 read(4,  <unfinished ...>",
        f"8 1000000004.5 write(4, {quote(CALL)}, {SIZE} <unfinished ...>",
        f"7 1000000005.5 <... read resumed>{quote(REPLY)}, {SIZE}) = {SIZE} <2>",
        f"8 1000000006.5 <... write resumed>) = {SIZE}",
    )
    times = [item.time_ns for item in items if isinstance(item, Chunk)]
    assert times == [
        10**9 * 10**9 + second for second in (1_500_000_000, 2_750_000_000, 4_500_000_000, 5_500_000_000)
    ]
    assert {item.time_ns for item in read(connect(), write()) if isinstance(item, Chunk)} == {None}


# Limits


def test_long_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strace, "MAX_LINE", 200)
    monkeypatch.setattr("libvirt_proto.capture.pcap.file.BLOCK_SIZE", 64)
    items = read(connect(), write(), "7 write(4, " + "x" * 2_000_000, write())
    assert len(moved(items)) <= 1
    assert notices(items)[0][0] == "bad-strace"
    assert "longer than 200 bytes; the rest was not read" in notices(items)[0][1]


def test_number_of_unfinished_calls_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strace, "MAX_UNFINISHED", 10)
    begun = [f"{pid} write(4, {quote(CALL)}, {SIZE} <unfinished ...>" for pid in range(7, 40)]
    assert len(moved(read(connect(), *begun))) == 33


def test_data_waiting_for_unfinished_call_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strace, "MAX_WAITING", 3000)
    begun = f"7 write(4, {quote(CALL)}, {SIZE} <unfinished ...>"
    chunks = strace_chunks(io.BytesIO(text((connect(), begun, *[read_(pid=8)] * 100))).read)
    assert [item.direction for item in chunks if isinstance(item, Chunk)] == ["c2s", *["s2c"] * 100]


def test_number_of_undecided_sockets_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strace_calls, "MAX_UNDECIDED", 10)
    items = read(*(read_(PING, str(number)) for number in range(30)))
    assert [item.connection.id for item in items if isinstance(item, Chunk)] == list(range(1, 31))


# Failed and incomplete calls


@pytest.mark.parametrize(
    "line",
    [
        "7 socket(AF_UNIX, SOCK_STREAM, 0) = -1 EMFILE (Too many open files)",
        "7 accept4(4, NULL, NULL, 0) = -1 EAGAIN (Resource temporarily unavailable)",
        "7 dup(4) = -1 EBADF (Bad file descriptor)",
        "7 dup2(4, 4) = 4",
        "7 close_range(3, 5, 0) = -1 EINVAL (Invalid argument)",
        "7 close(4) = -1 EBADF (Bad file descriptor)",
        "7 clone(child_stack=NULL, flags=SIGCHLD) = -1 EAGAIN (Resource temporarily unavailable)",
        "7 socketpair(AF_UNIX, SOCK_DGRAM, 0, [4, 5]) = 0",
        "7 fcntl(4, F_SETFD, 0) = 0",
        "7 shutdown(4, SHUT_WR) = -1 ENOTCONN (Transport endpoint is not connected)",
        '7 bind(4, {sa_family=AF_UNIX, sun_path="/x"}, 110) = -1 EADDRINUSE (Address already in use)',
    ],
)
def test_failed_call_changes_nothing(line: str) -> None:
    """The connection continues unchanged."""
    without = read(connect(), write(), read_(), "7 close(4) = 0")
    with_it = read(connect(), write(), line, read_(), "7 close(4) = 0")
    assert moved(with_it) == moved(without) == [(UNIX, "c2s", CALL), (UNIX, "s2c", REPLY)]
    assert ends(with_it) == ends(without)
    assert notices(with_it) == []


def test_exec_closes_close_on_exec_descriptors() -> None:
    lines = (
        connect(),
        write(),
        "7 close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) = 0",
        read_(),
        '7 execve("/bin/true", ["true"], []) = 0',
    )
    assert ends(read(*lines[:4])) == []
    assert ends(read(*lines)) == [(1, "c2s"), (1, "s2c")]
    kept = read(*lines[:3], "7 fcntl(4, F_SETFD, 0) = 0", *lines[3:])
    assert ends(kept) == []
