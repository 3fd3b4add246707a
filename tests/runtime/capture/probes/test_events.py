"""Event records to Items, with layouts as in the kernel's format files."""

from __future__ import annotations

import os
import struct
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libvirt_proto.capture.probes.formats import Format, FormatError
from libvirt_proto.capture.probes.live import Selection
from libvirt_proto.capture.probes.other_events import ProbeEventReader
from libvirt_proto.capture.probes.plan import Sides, UprobeEvent
from libvirt_proto.capture.probes.ring import Record
from libvirt_proto.capture.probes.rpc_events import RpcReader
from libvirt_proto.capture.probes.tasks import Tasks
from libvirt_proto.events import Chunk, ConnectionEvent, Item, Notice, ProbeEvent
from tests.support.frames import frame, text

COMMON = """\
name: {name}
ID: {id}
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;
\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

"""
SCALARS = ["client", "len", "prog", "vers", "proc", "type", "status", "serial"]


def message_format(number: int) -> Format:
    """`number` arrays of 256 bytes."""
    lines = [
        f"\tfield:u64 {name};\toffset:{8 + 8 * i};\tsize:8;\tsigned:0;\n" for i, name in enumerate(SCALARS)
    ]
    lines += [
        f"\tfield:u64 p{index}[32];\toffset:{72 + 256 * index};\tsize:256;\tsigned:0;\n"
        for index in range(number)
    ]
    return Format(COMMON.format(name="message", id=7) + "".join(lines) + '\nprint fmt: "x"\n')


SOCKET = Format(
    COMMON.format(name="socket", id=8)
    + "".join(
        f"\tfield:u64 {name};\toffset:{8 + 8 * i};\tsize:8;\tsigned:0;\n"
        for i, name in enumerate(["sock", "fd", "errfd", "pid"])
    )
    + "\tfield:__data_loc char[] localAddr;\toffset:40;\tsize:4;\tsigned:0;\n"
    + "\tfield:__data_loc char[] remoteAddr;\toffset:44;\tsize:4;\tsigned:0;\n"
)
#: Of tls_session_new and tls_context_session_deny, their numbers.
TLS_NEW, TLS_DENY = (
    Format(
        COMMON.format(name=name, id=number)
        + "".join(
            f"\tfield:u64 {field};\toffset:{8 + 8 * i};\tsize:8;\tsigned:0;\n"
            for i, field in enumerate(fields)
        )
    )
    for name, number, fields in (
        ("new", 11, ("sess", "ctxt", "hostname", "isServer")),
        ("deny", 12, ("ctxt", "sess", "dname")),
    )
)
TASK = Format(
    COMMON.format(name="task_newtask", id=9)
    + "\tfield:pid_t pid;\toffset:8;\tsize:4;\tsigned:1;\n"
    + "\tfield:char comm[16];\toffset:12;\tsize:16;\tsigned:0;\n"
    + "\tfield:u64 clone_flags;\toffset:32;\tsize:8;\tsigned:0;\n"
)
EXIT = Format(
    COMMON.format(name="sched_process_exit", id=10)
    + "\tfield:char comm[16];\toffset:8;\tsize:16;\tsigned:0;\n"
    + "\tfield:pid_t pid;\toffset:24;\tsize:4;\tsigned:1;\n"
)
#: No thread has these numbers.
PID, THREAD = (1 << 30) + 1, (1 << 30) + 2


def common(number: int, thread: int = PID) -> bytes:
    return struct.pack("<HBBi", number, 0, 0, thread)


def message(
    data: bytes, arguments: dict[str, int] | None = None, *, size: int = 512, thread: int = PID
) -> Record:
    """The kernel's record of a message probe: arguments, and the first `size` bytes of memory."""
    length, prog, vers, proc, type_, serial, status = struct.unpack(">IIIiiIi", data[:28])
    values = dict(zip(SCALARS, (0x55D0, length, prog, vers, proc, type_, status, serial), strict=True))
    values |= arguments or {}
    words = struct.pack("<8Q", *(values[name] & 0xFFFFFFFFFFFFFFFF for name in SCALARS))
    return Record(1000, common(7, thread) + words + data.ljust(size, b"\xee")[:size])


def reader(arrays: int = 2, wanted: Selection | None = None, kind: str = "client_msg_tx_queue") -> RpcReader:
    events = {
        "message": UprobeEvent(kind, "message", "", "", "libvirt.so.0", arrays, limit=256 * arrays),
        "socket": UprobeEvent("socket_new", "socket", "", "", "libvirt.so.0"),
        "new": UprobeEvent("tls_session_new", "new", "", "", "libvirt.so.0"),
        "deny": UprobeEvent("tls_context_session_deny", "deny", "", "", "libvirt.so.0"),
    }
    formats = {
        "message": message_format(arrays),
        "socket": SOCKET,
        "new": TLS_NEW,
        "deny": TLS_DENY,
        "task_newtask": TASK,
        "sched_process_exit": EXIT,
    }
    return RpcReader(events, formats, Tasks(), wanted or Selection((), (), "both"), 500)


def read(record: Record, **options: Any) -> list[Item]:
    one = reader(**options)
    return [*one.items(record), *one.settled(1 << 64)]


CALL = frame(proc=66, serial=3)
LONG = frame(text(b"x" * 1000), proc=14, type_=1)


def test_message_event() -> None:
    (chunk,) = read(message(CALL))
    assert isinstance(chunk, Chunk)
    assert (chunk.data, chunk.cut, chunk.time_ns, chunk.direction) == (CALL, 0, 1500, "c2s")
    assert str(chunk.connection) == f"client@[{PID}]:0x55d0-server"
    assert chunk.connection.transport == "probe"


def test_long_message_is_truncated() -> None:
    (chunk,) = read(message(LONG))
    assert isinstance(chunk, Chunk)
    assert (chunk.data, chunk.cut) == (LONG[:512], len(LONG) - 512)


def test_headers_only() -> None:
    (chunk,) = read(message(LONG, size=0), arrays=0)
    assert isinstance(chunk, Chunk)
    assert (chunk.data, chunk.cut) == (LONG[:28], len(LONG) - 28)


def test_sign_extended_numbers() -> None:
    call = frame(prog=0x87539319, proc=-1, status=-2)
    (chunk,) = read(message(call, {"prog": 0xFFFFFFFF87539319, "proc": 0xFFFFFFFF}))
    assert isinstance(chunk, Chunk)
    assert chunk.data == call


def test_bytes_that_contradict_the_arguments() -> None:
    """The problem is reported once."""
    one = reader()
    first, chunk = one.items(message(CALL + b"secret", {"serial": 4}))
    assert isinstance(first, Notice)
    assert first.code == "no-payloads"
    assert isinstance(chunk, Chunk)
    assert chunk.data == frame(proc=66, serial=4)
    (chunk,) = one.items(message(CALL + b"secret", {"len": 32}))
    assert isinstance(chunk, Chunk)
    assert (chunk.data, chunk.cut) == (b"\0\0\0\x20" + CALL[4:], 4)


@given(
    st.binary(min_size=28, max_size=700), st.dictionaries(st.sampled_from(SCALARS), st.integers(0, 2**64 - 1))
)
def test_reads_no_byte_after_a_message(memory: bytes, arguments: dict[str, int]) -> None:
    """Whatever is in memory and in registers, a Chunk is the header from the arguments, or the memory up to
    the length that both have."""
    for item in read(message(memory, arguments)):
        if isinstance(item, Chunk):
            length = int.from_bytes(item.data[:4])
            assert len(item.data) + item.cut == length
            assert len(item.data) == 28 or memory.ljust(512, b"\xee")[:512].startswith(item.data)
        else:
            assert isinstance(item, Notice)


@given(st.sampled_from([7, 8, 9, 10]), st.binary(max_size=700))
def test_any_record_is_read(number: int, content: bytes) -> None:
    for item in read(Record(0, struct.pack("<H", number) + content)):
        assert isinstance(item, Chunk | ConnectionEvent | Notice)


@pytest.mark.parametrize("length", [1, 27, 33554437, 2**64 - 1])
def test_invalid_message_lengths(length: int) -> None:
    (notice,) = read(message(CALL, {"len": length}))
    assert isinstance(notice, Notice)
    assert (notice.code, notice.severity) == ("bad-event", "error")
    assert notice.text.endswith(f"expected len from 28 to 33554436, got {length}")


def test_skips_dummy_messages() -> None:
    assert read(message(CALL, {"len": 0})) == []


def test_unknown_and_truncated_records() -> None:
    assert read(Record(0, common(99) + bytes(500))) == []
    (notice,) = read(Record(0, common(7) + bytes(20)))
    assert isinstance(notice, Notice)
    assert "is truncated" in notice.text


def test_texts_are_read_at_their_offsets() -> None:
    texts = b"127.0.0.1;0\0::1;16509\0"
    words = struct.pack("<4QII", 0x77, 5, 2**64 - 1, 0, 12 << 16 | 48, 10 << 16 | 60)
    (event,) = read(Record(0, common(8) + words + texts))
    assert isinstance(event, ConnectionEvent)
    assert dict(event.details) == {
        "process": f"[{PID}]",
        "thread": str(PID),
        "sock": "0x77",
        "fd": "5",
        "errfd": "-1",
        "pid": "0",
        "localAddr": "127.0.0.1;0",
        "remoteAddr": "::1;16509",
    }
    words = struct.pack("<4QII", 0x77, 5, 0, 0, 0xFFFF << 16 | 0xFFFF, 0)
    (event,) = read(Record(0, common(8) + words + texts))
    assert isinstance(event, ConnectionEvent)
    assert dict(event.details)["localAddr"] == ""


def new_task(pid: int, flags: int, parent: int, name: bytes = b"virsh") -> Record:
    return Record(0, common(9, parent) + struct.pack("<i16s4xQ", pid, name, flags))


def test_threads_belong_to_processes() -> None:
    """Two threads of a process are one source; when it exits, its connections end."""
    one = reader()
    for record in (new_task(PID, 0, os.getpid()), new_task(THREAD, 0x10000, PID, b"worker")):
        assert list(one.items(record)) == []
    chunks = [chunk for thread in (PID, THREAD) for chunk in one.items(message(CALL, thread=thread))]
    assert {str(chunk.connection) for chunk in chunks if isinstance(chunk, Chunk)} == {
        f"client@virsh[{PID}]:0x55d0-server"
    }
    exits = [Record(0, common(10, pid) + struct.pack("<16si", b"virsh", pid)) for pid in (THREAD, PID)]
    assert list(one.items(exits[0])) == []
    ends = list(one.items(exits[1]))
    assert [(item.direction, item.end) for item in ends if isinstance(item, Chunk)] == [
        ("c2s", True),
        ("s2c", True),
    ]


EXEC = Format(
    COMMON.format(name="sched_process_exec", id=13)
    + "\tfield:__data_loc char[] filename;\toffset:8;\tsize:4;\tsigned:0;\n"
    + "\tfield:pid_t pid;\toffset:12;\tsize:4;\tsigned:1;\n"
    + "\tfield:pid_t old_pid;\toffset:16;\tsize:4;\tsigned:1;\n"
)
LAST = Format(
    COMMON.format(name="sched_process_exit", id=10)
    + "\tfield:pid_t pid;\toffset:8;\tsize:4;\tsigned:1;\n"
    + "\tfield:bool group_dead;\toffset:12;\tsize:1;\tsigned:0;\n"
)
RENAME = Format(
    COMMON.format(name="task_rename", id=14)
    + "\tfield:pid_t pid;\toffset:8;\tsize:4;\tsigned:1;\n"
    + "\tfield:char newcomm[16];\toffset:12;\tsize:16;\tsigned:0;\n"
)


def tasks_after(*events: tuple[str, bytes]) -> tuple[Tasks, list[str | None]]:
    """After events about threads: each thread's process, and the process that each event ended."""
    formats = {
        "task_newtask": TASK,
        "task_rename": RENAME,
        "sched_process_exec": EXEC,
        "sched_process_exit": LAST,
    }
    tasks = Tasks()
    ended = [tasks.event(name, formats[name].values(content)) for name, content in events]
    return tasks, [process and str(process) for process in ended]


def test_exec_in_any_thread_keeps_the_process() -> None:
    """The kernel ends the other threads, including the first one, whose number the remaining thread gets."""
    tasks, ended = tasks_after(
        ("task_newtask", new_task(PID, 0, os.getpid()).data),
        ("task_newtask", new_task(THREAD, 0x10000, PID).data),
        ("sched_process_exit", common(10, PID) + struct.pack("<iB", PID, 0)),
        ("task_rename", common(14, PID) + struct.pack("<i16s", PID, b"other")),
        ("sched_process_exec", common(13, PID) + struct.pack("<Iii", 0, PID, THREAD)),
    )
    assert ended == [None, None, None, None, f"other[{PID}]"]
    assert str(tasks.of(PID)) == f"other[{PID}]"
    assert str(tasks.of(THREAD)) == f"[{THREAD}]"  # no more


def test_first_thread_may_end_before_the_last() -> None:
    tasks, ended = tasks_after(
        ("task_newtask", new_task(PID, 0, os.getpid()).data),
        ("task_newtask", new_task(THREAD, 0x10000, PID).data),
        ("sched_process_exit", common(10, PID) + struct.pack("<iB", PID, 0)),
        ("sched_process_exit", common(10, THREAD) + struct.pack("<iB", THREAD, 1)),
    )
    assert ended == [None, None, None, f"virsh[{PID}]"]
    assert str(tasks.of(PID)) == f"[{PID}]"


def test_missing_field_is_reported() -> None:
    """An event with other arguments than requested."""
    one = RpcReader(
        {"socket": UprobeEvent("socket_new", "socket", "", "", "libvirt.so.0")},
        {"socket": Format(COMMON.format(name="socket", id=8))},
        Tasks(),
        Selection((), (), "both"),
        0,
    )
    (notice,) = one.items(Record(0, common(8)))
    assert isinstance(notice, Notice)
    assert (notice.code, notice.text) == ("bad-event", "event socket: it has no field sock")


def test_selection() -> None:
    wanted = [
        ((PID,), (), True),
        ((THREAD,), (), False),
        ((), ("virsh",), True),
        ((), ("virs",), False),
        ((PID,), ("other",), False),
    ]
    for pids, comms, shown in wanted:
        one = reader(wanted=Selection(pids, comms, "both"))
        assert list(one.items(new_task(PID, 0, 1))) == []
        assert bool(list(one.items(message(CALL)))) == shown


def test_omits_probes_of_the_other_side() -> None:
    words = struct.pack("<4QII", 0x77, 5, 0, 0, 0, 0)
    assert read(Record(0, common(8) + words), wanted=Selection((), (), "client")) == []


def test_tls_belongs_to_the_side_where_it_started() -> None:
    """A session of a daemon, one of a client, and one older than the trace."""
    records = [
        *(Record(0, common(11) + struct.pack("<4Q", 0x51 + i, 0x70 + i, 0, 1 - i)) for i in (0, 1)),
        *(Record(0, common(12) + struct.pack("<3Q", 0x70 + i, 0x51 + i, 0)) for i in (0, 1, 2)),
    ]
    for sides, sessions in (("server", ["0x51"]), ("client", ["0x52"]), ("both", ["0x51", "0x52", "0x53"])):
        one = reader(wanted=Selection((), (), sides))
        items = [item for record in records for item in one.items(record)]
        denied = [item for item in items if isinstance(item, ConnectionEvent) and "deny" in item.kind]
        assert [dict(item.details)["sess"] for item in denied] == sessions


def windows(length: int, *first: int, thread: int = PID, serial: int = 1) -> list[Record]:
    """Records of windows of 512 bytes of a message, which begin at these bytes."""
    data = frame(text(b"x" * (length - 32)), proc=14, type_=1, serial=serial)
    whole = message(data, size=0, thread=thread).data[8:]
    return [
        Record(1000, common(30 + at // 512, thread) + whole + data[at : at + 512].ljust(512, b"\xee"))
        for at in first
    ]


def window_reader(limit: int = 2048) -> RpcReader:
    """A reader of four windows."""
    events = {
        f"w{at}": UprobeEvent(
            "client_msg_rx", f"w{at}", "", "", "lib", 2, window=512 * at, limit=limit, site=1
        )
        for at in range(4)
    }
    formats = {name: message_format(2) for name in events}
    for at, format_ in enumerate(formats.values()):
        format_.id = 30 + at  # type: ignore[misc]
    return RpcReader(events, formats, Tasks(), Selection((), (), "both"), 0)


def chunks(one: RpcReader, *records: Record) -> list[tuple[int, int]]:
    """The seen and missing bytes of the messages in records, and of those that are unfinished at the end."""
    items = [item for record in records for item in one.items(record)]
    return [(len(item.data), item.cut) for item in [*items, *one.settled(1 << 64)] if isinstance(item, Chunk)]


def test_windows_of_a_message_in_any_order() -> None:
    for order in ((0, 512, 1024), (1024, 512, 0), (512, 0, 1024)):
        assert chunks(window_reader(), *windows(1400, *order)) == [(1400, 0)]
    one, other = windows(1400, 0, 512, 1024), windows(1400, 0, 512, 1024, thread=THREAD)
    mixed = [record for pair in zip(one, other, strict=True) for record in pair]
    assert chunks(window_reader(), *mixed) == [(1400, 0), (1400, 0)]


def test_more_than_all_windows() -> None:
    assert chunks(window_reader(), *windows(5000, 0, 512, 1024, 1536)) == [(2048, 2952)]
    assert chunks(window_reader(1100), *windows(5000, 0, 512, 1024)) == [(1100, 3900)]


def test_lost_windows() -> None:
    """The part before the gap is shown when the thread goes on, or after a second."""
    assert chunks(window_reader(), *windows(1400, 0, 1024)) == [(512, 888)]
    assert chunks(window_reader(), *windows(1400, 512, 1024)) == [(28, 1372)]
    again = [*windows(1400, 0, 512), *windows(1400, 0, 512, 1024)]
    assert chunks(window_reader(), *again) == [(1024, 376), (1400, 0)]
    one = window_reader()
    assert list(one.items(windows(1400, 0)[0])) == []
    assert list(one.settled(500_000_000)) == []
    (chunk,) = one.settled(2_000_000_000)
    assert isinstance(chunk, Chunk)


CLIENT_NEW = Format(
    COMMON.format(name="server_client_new", id=20)
    + "".join(
        f"\tfield:u64 {name};\toffset:{8 + 8 * i};\tsize:8;\tsigned:0;\n"
        for i, name in enumerate(["client", "sock"])
    )
)


def sockets_reader(sides: Sides) -> RpcReader:
    events = {
        "message": UprobeEvent("client_msg_tx_queue", "message", "", "", "lib", 2, limit=512),
        "socket": UprobeEvent("socket_new", "socket", "", "", "lib"),
        "server": UprobeEvent("server_client_new", "server", "", "", "lib"),
    }
    formats = {"message": message_format(2), "socket": SOCKET, "server": CLIENT_NEW}
    return RpcReader(events, formats, Tasks(), Selection((), (), sides), 0)


def socket_new(time: int, sock: int) -> Record:
    return Record(time, common(8) + struct.pack("<4QII", sock, 5, 0, 0, 0, 0))


def server_client_new(time: int, sock: int) -> Record:
    return Record(time, common(20) + struct.pack("<QQ", 0x99, sock))


def test_new_socket_has_the_side_of_its_connection() -> None:
    """It waits for the client object that names it, in order with everything else."""
    one = sockets_reader("both")
    assert list(one.items(socket_new(1, 0x77))) == []
    assert list(one.items(message(CALL))) == []
    items = list(one.items(server_client_new(40_000, 0x77)))
    assert [getattr(item, "kind", "message") for item in items] == [
        "socket_new",
        "message",
        "server_client_new",
    ]
    assert isinstance(items[0], ConnectionEvent)
    assert items[0].side == "server"


@pytest.mark.parametrize(
    ("sides", "kinds"), [("server", ["socket_new", "server_client_new"]), ("client", [])]
)
def test_new_socket_of_one_side(sides: Sides, kinds: list[str]) -> None:
    one = sockets_reader(sides)
    records = [socket_new(1, 0x70), socket_new(2, 0x77), server_client_new(3, 0x77)]
    items = [*(item for record in records for item in one.items(record)), *one.settled(1 << 64)]
    assert [item.kind for item in items if isinstance(item, ConnectionEvent)] == kinds


def test_new_socket_that_nothing_names() -> None:
    """It waits for 10 ms of the trace; of many sockets at once, only the last ones wait."""
    one = sockets_reader("both")
    assert list(one.items(socket_new(0, 0x77))) == []
    assert list(one.settled(9_000_000)) == []
    (event,) = one.settled(11_000_000)
    assert isinstance(event, ConnectionEvent)
    assert event.side is None
    seen = [item for sock in range(1000) for item in one.items(socket_new(20_000_000, sock))]
    assert len(seen) == 1000 - 64


def test_finds_this_process_and_its_threads() -> None:
    ready, done = threading.Event(), threading.Event()
    numbers: list[int] = []

    def thread() -> None:
        numbers.append(threading.get_native_id())
        ready.set()
        done.wait(60)

    worker = threading.Thread(target=thread)
    worker.start()
    try:
        assert ready.wait(60)
        tasks = Tasks()
        assert tasks.of(numbers[0]) is tasks.of(os.getpid())
        assert tasks.of(os.getpid()).pid == os.getpid()
        assert tasks.of(os.getpid()).comm == Path("/proc/self/comm").read_text().strip()
    finally:
        done.set()
        worker.join()


@given(st.text(max_size=200))
def test_any_format_parses_or_raises(content: str) -> None:
    for whole in (content, COMMON.format(name="x", id=1) + content):
        try:
            Format(whole).values(bytes(400))
        except FormatError:
            continue


MONITOR = Format(
    COMMON.format(name="qemu_monitor_recv_reply_1", id=7)
    + "\tfield:u64 mon;\toffset:8;\tsize:8;\tsigned:0;\n"
    + "\tfield:u64 reply;\toffset:16;\tsize:8;\tsigned:0;\n"
    + "\tfield:u64 p0[32];\toffset:24;\tsize:256;\tsigned:0;\n"
    + "\tfield:u64 p1[32];\toffset:280;\tsize:256;\tsigned:0;\n"
)


def monitor(memory: bytes, pointer: int = 0x1234) -> list[ProbeEvent | Notice]:
    event = UprobeEvent("qemu_monitor_recv_reply", "reply", "", "", "driver.so", 2)
    one = ProbeEventReader({"reply": event}, {"reply": MONITOR}, Tasks(), Selection((), (), "both"), 500)
    return list(one.items(Record(1000, common(7) + struct.pack("<2Q", 0x55D0, pointer) + memory)))


@given(st.binary(max_size=700))
def test_reads_no_byte_after_a_line(memory: bytes) -> None:
    (item,) = monitor(memory)
    if len(memory) < 512:
        assert isinstance(item, Notice)
        return
    assert isinstance(item, ProbeEvent)
    assert (item.time_ns, item.pid, item.arguments["mon"]) == (1500, PID, "0x55d0")
    line = memory[:512].split(b"\0")[0]
    assert item.arguments["reply"] == line.decode("utf-8", "backslashreplace")
    assert item.cut == (b"\0" not in memory[:512])


def test_event_without_text() -> None:
    (item,) = monitor(b"secret" + bytes(506), pointer=0)
    assert isinstance(item, ProbeEvent)
    assert (item.arguments["reply"], item.cut) == ("", False)
