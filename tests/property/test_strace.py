"""With any strace options, a conversation round-trips; any text gives items."""

from __future__ import annotations

import io
import string
from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from libvirt_proto.capture.detect import file_format
from libvirt_proto.capture.strace.line import BadCallError, Clock, quoted
from libvirt_proto.capture.strace.source import strace_chunks
from libvirt_proto.capture.stream import messages
from libvirt_proto.events import Captured, Chunk, Item, Notice
from libvirt_proto.rpc.message import decode_message
from tests.support.examples import examples
from tests.support.frames import REMOTE, frame
from tests.support.straces import Strace, quote

PROGRAMS = frozenset((REMOTE,))
PREFIXES = (
    "",
    "{pid} ",
    "{pid}     ",
    "[pid {pid:>5}] ",
    "{pid}<virsh> ",
    "{pid} {s}.{us} ",
    "{s}.{us}000 ",
    "{pid} {s} ",
    "{pid} 21:45:08.{us} ",
    "21:45:08 ",
    "[pid {pid}]      0.{us} [   1] [00007f4f82e64350] ",
    "{pid} 21:45:08.{us} (+     0.000123) ",
    "     0.{us} ",
)
NAMES = ({}, {4: "<UNIX-STREAM:[41180->42012]>"}, {4: "<socket:[41180]>", 3: "<anon_inode:[eventfd]>"})
SENDING, RECEIVING = ("write", "sendto", "writev", "sendmsg"), ("read", "recvfrom", "readv", "recvmsg")

#: Payloads of calls (sent) and of replies and events (received).
turns = st.lists(
    st.tuples(
        st.sampled_from(((0, True), (1, False), (2, False))),
        st.one_of(st.binary(max_size=200), st.text(string.printable, max_size=80).map(str.encode)),
    ),
    min_size=1,
    max_size=12,
)
straces = st.builds(
    Strace,
    style=st.sampled_from(("c", "x", "xx")),
    names=st.sampled_from(NAMES),
    prefix=st.sampled_from(PREFIXES),
    suffix=st.sampled_from(("", " <0.000012>")),
)


def read(text: bytes) -> list[Item]:
    return list(strace_chunks(io.BytesIO(text).read))


def both(items: list[Item]) -> tuple[bytes, bytes]:
    """The data of each direction, with zeros for hidden bytes."""
    chunks = [item for item in items if isinstance(item, Chunk)]
    assert len({chunk.connection for chunk in chunks}) <= 1
    c2s, s2c = (
        b"".join(chunk.data + bytes(chunk.cut) for chunk in chunks if chunk.direction == way)
        for way in ("c2s", "s2c")
    )
    return c2s, s2c


@st.composite
def pieces(draw: st.DrawFn, data: bytes) -> list[bytes]:
    cuts = sorted(draw(st.sets(st.integers(1, len(data) - 1), max_size=4)))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def noise(draw: st.DrawFn, strace: Strace) -> None:
    kind = draw(st.integers(0, 5))
    if kind == 0:
        strace.move("write", 3, b"\x01" + bytes(7))
    elif kind == 1:
        strace.call(f"poll([{{fd={strace.fd(4)}, events=POLLIN}}], 1, -1)", "1 ([{fd=4, revents=POLLIN}])")
    elif kind == 2:
        strace.call(f"read({strace.fd(4)}, 0x7ffd0, 4)", "-1 EAGAIN (Resource temporarily unavailable)")
    elif kind == 3:
        strace.lines.append(" > /usr/lib/libc.so.6(__read+0x4) [0xf87e4]")
    elif kind == 4:
        strace.call('openat(AT_FDCWD, "/etc/passwd", O_RDONLY)', "9")
        strace.move("read", 9, b"root:x:0:0:root:/root:/bin/sh\n" * 3, room=4096)


def write(draw: st.DrawFn, strace: Strace, conversation: list[tuple[bool, bytes]]) -> None:
    for sent, data in conversation:
        for piece in draw(pieces(data)):
            noise(draw, strace)
            name = draw(st.sampled_from(SENDING if sent else RECEIVING))
            room = None if sent else len(piece) + draw(st.integers(0, 5))
            head, rest = strace.arguments(name, 4, piece, room)
            whole = not strace.prefix.startswith(("{pid}", "[pid"))
            if whole or draw(st.booleans()):
                strace.call(head + rest + ")", str(len(piece)))
            else:  # another thread writes a line in between
                strace.begin(head + rest if sent else head)
                strace.move("write", 3, b"\x02" + bytes(7), pid=8)
                strace.resume(name, "" if sent else rest, str(len(piece)))


@given(st.data(), straces, turns)
def test_conversation_round_trips(
    data: st.DataObject, strace: Strace, turns: list[tuple[tuple[int, bool], bytes]]
) -> None:
    draw = data.draw
    conversation = [
        (sent, frame(payload, type_=kind, serial=number))
        for number, ((kind, sent), payload) in enumerate(turns)
    ]
    strace.connect()
    write(draw, strace, conversation)  # type: ignore[arg-type]
    strace.call(f"close({strace.fd(4)})")
    assert file_format(strace.text()) == "strace"
    items = read(strace.text())
    assert both(items) == tuple(
        b"".join(data for sent, data in conversation if sent is way) for way in (True, False)
    )
    assert [item.direction for item in items if isinstance(item, Chunk) and item.end] in (
        ["c2s", "s2c"],
        ["s2c", "c2s"],
    )
    assert not [item for item in items if isinstance(item, Notice)]
    seen = list(messages(items, decode_message, programs=PROGRAMS))
    captured = [item for item in seen if isinstance(item, Captured)]
    assert [(item.direction == "c2s", item.message.header.serial) for item in captured] == [
        (sent, number) for number, (sent, _) in enumerate(conversation)
    ]


@given(st.data(), straces, turns)
def test_connection_of_unknown_name(
    data: st.DataObject, strace: Strace, turns: list[tuple[tuple[int, bool], bytes]]
) -> None:
    """strace was attached later: only the messages identify descriptor 4."""
    conversation = [(sent, frame(payload, type_=kind)) for (kind, sent), payload in turns]
    write(data.draw, strace, conversation)  # type: ignore[arg-type]
    assert both(read(strace.text())) == tuple(
        b"".join(data for sent, data in conversation if sent is way) for way in (True, False)
    )


@given(straces, turns, st.integers(28, 60), st.sampled_from(tuple(zip(SENDING, RECEIVING, strict=True))))
def test_truncated_strings(
    strace: Strace, turns: list[tuple[tuple[int, bool], bytes]], limit: int, names: tuple[str, str]
) -> None:
    strace.limit = limit
    strace.connect()
    expected: dict[bool, bytes] = {True: b"", False: b""}
    hidden = 0
    for (kind, sent), payload in turns:
        data = frame(payload, type_=kind)
        name = names[0] if sent else names[1]
        strace.move(name, 4, data)
        half = len(data) // 2 if name in ("readv", "writev", "recvmsg", "sendmsg") else 0
        for part in (data[:half], data[half:]):
            shown = part[:limit]
            expected[sent] += shown + bytes(len(part) - len(shown))
            hidden += len(part) - len(shown)
    items = read(strace.text())
    assert both(items) == (expected[True], expected[False])
    notices = [item for item in items if isinstance(item, Notice)]
    assert [notice.code for notice in notices] == ["cut-strings"] * bool(hidden)
    if hidden:
        assert f"{hidden:,} bytes" in notices[0].text


@given(st.binary(max_size=300), st.sampled_from(("c", "x", "xx")))
def test_strings_round_trip(data: bytes, style: str) -> None:
    text = quote(data, style).encode()
    assert quoted(text, 0) == (data, False, len(text))


@given(st.text(r'\x0123456789abcdefnrtv"\ ', max_size=40))
def test_any_string_reads_or_raises(text: str) -> None:
    with suppress(BadCallError):
        quoted(f'"{text}"'.encode(), 0)


@given(st.lists(st.from_regex(rb"\A(\d{9,12}(\.\d{1,9})?|\d\d:\d\d:\d\d(\.\d{1,9})?|\d{1,8}\.\d{1,9})\Z")))
def test_any_times_are_read(texts: list[bytes]) -> None:
    clock = Clock()
    assert all(clock.ns(text) >= 0 for text in texts)


FRAME = frame(b"payload", type_=0)
ATOMS = st.sampled_from(
    (
        "7 ", "8 ", "[pid 8] ", "21:45:08 ", "1795384881.935913 ", "read(", "write(", "sendmsg(",
        "recvmmsg(", "connect(", "accept(", "socket(", "socketpair(", "clone(", "vfork(", "execve(",
        "close(", "dup2(", "fcntl(", "close_range(", "shutdown(", "bind(", "getsockname(", "4", "5",
        "3, ", "4, ", "4<UNIX-STREAM:[1->2]>, ", "4<TCP:[127.0.0.1:1->127.0.0.1:16509]>, ",
        "<socket:[9]>", "AF_UNIX, SOCK_STREAM, 0", "[3, 4]", "CLONE_FILES", "F_DUPFD_CLOEXEC, 5",
        "FD_CLOEXEC", "SHUT_RDWR", f"sun_path={quote(b'/libvirt-sock')}",
        'sin_port=htons(16509), sin_addr=inet_addr("127.0.0.1")', quote(FRAME), quote(FRAME, "xx"),
        quote(FRAME, "xx", 28), quote(FRAME[:4]), quote(FRAME[4:]), ", 35", ", 4", ", 31", "{iov_base=",
        "iov_len=35}", "cmsg_type=SCM_RIGHTS, cmsg_data=[4]", "msg_len=35", "MSG_PEEK", ") = ", "35",
        "0", "-1 EAGAIN", "?", "7", "8", "<unfinished ...>", " <unfinished ...>", "<... read resumed>",
        "<... write resumed>", "<... clone resumed>", "+++ exited with 0 +++",
        "strace: Process 8 attached", "\n", "\n", "\n", "\n", " ",
    )
)  # fmt: skip
CALLS = st.one_of(
    st.sampled_from(
        (
            "7 socket(AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC, 0) = 4\n",
            '7 connect(4, {sa_family=AF_UNIX, sun_path="/run/libvirt/libvirt-sock"}, 110) = 0\n',
            f"7 write(4, {quote(FRAME)}, 35) = 35\n",
            f"8 read(4, {quote(FRAME)}, 35) = 35\n",
            f"7 write(4, {quote(FRAME)}, 35 <unfinished ...>\n",
            "7 <... write resumed>) = 35\n",
            "7 read(4,  <unfinished ...>\n",
            f"7 <... read resumed>{quote(FRAME)}, 35) = 35\n",
            "7 clone(child_stack=NULL, flags=CLONE_FILES) = 8\n",
            "7 clone(child_stack=NULL, flags=SIGCHLD <unfinished ...>\n",
            "7 <... clone resumed>) = 8\n",
            "7 fork() = 8\n",
            "8 close(4) = 0\n",
            "7 close(4) = 0\n",
            "7 dup2(4, 5) = 5\n",
            "8 execve(NULL, NULL, NULL) = 0\n",
            "8 +++ exited with 0 +++\n",
            f"7 write(5, {quote(FRAME, 'c', 28)}, 35) = 35\n",
        )
    ),
    st.lists(ATOMS, max_size=12).map("".join),
)


@settings(max_examples=examples(300))
@given(
    st.one_of(st.lists(CALLS, max_size=30).map("".join), st.lists(ATOMS, max_size=60).map("".join), st.text())
)
def test_any_text_is_read(text: str) -> None:
    items = read(text.encode())
    ended = set()
    for item in items:
        assert isinstance(item, Chunk | Notice)
        if isinstance(item, Chunk):
            assert item.direction in ("c2s", "s2c")
            assert item.cut >= 0
            assert item.lost in (0, -1)
            if item.end:
                assert (item.connection.id, item.direction) not in ended
                ended.add((item.connection.id, item.direction))
    for seen in messages(items, decode_message, programs=PROGRAMS):
        assert seen is not None
