"""libvirt's log: from lines to messages, connections and events."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path
from struct import unpack

import pytest

import libvirt_proto
from libvirt_proto.capture import objects
from libvirt_proto.capture.log import source
from libvirt_proto.capture.log.source import log_chunks
from libvirt_proto.capture.sources import read_source
from libvirt_proto.events import Chunk, ConnectionEvent, Item, Notice, ProbeEvent

START = "2026-11-22 21:45:10.120+0000: 19725: info : "
NS = 1_795_383_910_120_000_000
CALL = "RPC_SERVER_CLIENT_MSG_RX: client=0x1 len=32 prog=536903814 vers=1 proc=60 type=0 status=0 serial=1"


def read(*lines: str, start: str = START) -> list[Item]:
    return list(log_chunks(io.BytesIO("".join(f"{start}{line}\n" for line in lines).encode()).read))


def read_text(text: str) -> list[Item]:
    return list(log_chunks(io.BytesIO(text.encode()).read))


def chunks(items: list[Item]) -> list[Chunk]:
    return [item for item in items if isinstance(item, Chunk)]


def notices(items: list[Item]) -> list[tuple[str, str]]:
    return [(item.code, item.text) for item in items if isinstance(item, Notice)]


def names(items: list[Item]) -> list[str]:
    return list(dict.fromkeys(str(chunk.connection) for chunk in chunks(items)))


def test_log_of_both_sides(captures: Path) -> None:
    """Five virsh sessions: the daemon receives what a client queues, and vice versa."""
    with (captures / "libvirtd-rpc-info.log").open("rb") as file:
        items = list(read_source(file, "log"))
    seen: dict[str, Counter[tuple[str | None, bytes]]] = {"client": Counter(), "server": Counter()}
    for chunk in chunks(items):
        assert len(chunk.data) == (0 if chunk.end else 28)
        if chunk.data:
            side = "client" if "@" in chunk.connection.client else "server"
            seen[side][chunk.direction, chunk.data] += 1
            assert unpack(">I", chunk.data[:4])[0] == 28 + chunk.cut
    assert seen["client"] == seen["server"]
    assert seen["client"].total() == 96
    assert {chunk.connection.id for chunk in chunks(items)} == set(range(1, 11))
    assert "client-server@0x55bef0a18050" in names(items)
    # virsh ends before it disposes of its client.
    assert Counter(chunk.direction for chunk in chunks(items) if chunk.end) == {"c2s": 5, "s2c": 5}
    kinds = Counter(item.kind for item in items if isinstance(item, ConnectionEvent))
    assert kinds == {
        "socket_new": 12,
        "socket_dispose": 7,
        "client_new": 5,
        "server_client_new": 5,
        "server_client_dispose": 5,
        "keepalive_new": 10,
        "keepalive_start": 10,
        "keepalive_stop": 10,
        "keepalive_dispose": 5,
    }
    assert notices(items) == []


def test_message_line() -> None:
    (chunk,) = read(CALL)
    assert isinstance(chunk, Chunk)
    header = (0x20008086, 1, 60, 0, 1, 0)
    assert unpack(">7I", chunk.data) == (32, *header)
    assert (chunk.cut, chunk.time_ns, chunk.direction) == (4, NS, "c2s")


@pytest.mark.parametrize(
    ("name", "direction", "connection"),
    [
        ("RPC_CLIENT_MSG_TX_QUEUE", "c2s", "client@0x1-server"),
        ("RPC_CLIENT_MSG_RX", "s2c", "client@0x1-server"),
        ("RPC_SERVER_CLIENT_MSG_RX", "c2s", "client-server@0x1"),
        ("RPC_SERVER_CLIENT_MSG_TX_QUEUE", "s2c", "client-server@0x1"),
    ],
)
def test_directions(name: str, direction: str, connection: str) -> None:
    (chunk,) = read(CALL.replace("RPC_SERVER_CLIENT_MSG_RX", name))
    assert isinstance(chunk, Chunk)
    assert (chunk.direction, str(chunk.connection), chunk.connection.transport) == (
        direction,
        connection,
        "log",
    )


def test_sign_extended_numbers() -> None:
    (chunk,) = read(
        "RPC_CLIENT_MSG_RX: client=0x1 len=28 prog=18446744071684985625 vers=1 proc=-1"
        " type=18446744073709551615 status=-2 serial=4294967295"
    )
    assert isinstance(chunk, Chunk)
    assert unpack(">IIIiiIi", chunk.data) == (28, 0x87539319, 1, -1, -1, 0xFFFFFFFF, -2)


def test_skips_dummy_messages() -> None:
    assert (
        read("RPC_CLIENT_MSG_TX_QUEUE: client=0x1 len=0 prog=0 vers=0 proc=0 type=0 status=0 serial=0") == []
    )


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (CALL.replace("len=32", "len=27"), "expected len= from 28 to 33554436, got 27"),
        (CALL.replace("len=32", "len=33554437"), "expected len= from 28 to 33554436, got 33554437"),
        (CALL.replace("len=32", "len=-1"), "expected len= from 28 to 33554436, got -1"),
        (CALL.replace("proc=60", "proc=0x3c"), "expected an integer, got proc='0x3c'"),
        (CALL.replace("serial=1", "serial=" + "1" * 90), f"expected an integer, got serial='{'1' * 40}…'"),
        (CALL.partition(" status")[0], "incomplete: status= is missing"),
        (CALL.replace("0x1", "(nil)"), "expected the address of an object, got '(nil)'"),
        ("RPC_CLIENT_NEW: sock=0x1", "expected the address of an object, got ''"),
        ("RPC_SOCKET_NEW: fd=1", "expected the address of an object, got ''"),
    ],
)
def test_reports_malformed_lines(line: str, words: str) -> None:
    items = read(CALL, line, CALL)
    assert notices(items) == [("bad-log-line", f"line 2: {line.partition(':')[0]}: {words}")]
    assert len(chunks(items)) == 2


def session(client: str, sock: str, port: int) -> list[str]:
    return [
        f"virNetSocketNew:294 : RPC_SOCKET_NEW: sock={sock} fd=9 errfd=-1 pid=0"
        f" localAddr=127.0.0.1;16509, remoteAddr=127.0.0.1;{port}",
        f"virNetServerClientNewInternal:409 : RPC_SERVER_CLIENT_NEW: client={client} sock={sock}",
        CALL.replace("0x1", client),
        f"RPC_SOCKET_DISPOSE: sock={sock}",
        f"RPC_SERVER_CLIENT_DISPOSE: client={client}",
    ]


def test_reused_address_is_another_connection() -> None:
    items = read(*session("0xa", "0xb", 5001), *session("0xa", "0xb", 5002))
    assert names(items) == ["127.0.0.1:5001-127.0.0.1:16509@0xa", "127.0.0.1:5002-127.0.0.1:16509@0xa"]
    assert [(chunk.connection.id, chunk.end) for chunk in chunks(items)] == [
        (1, False),
        (1, True),
        (1, True),
        (2, False),
        (2, True),
        (2, True),
    ]
    # The socket's end belongs to its connection.
    (first, _) = (
        item for item in items if isinstance(item, ConnectionEvent) and item.kind == "socket_dispose"
    )
    assert first.connection is not None
    assert first.connection.id == 1


def test_new_client_replaces_one_without_end() -> None:
    items = read(*session("0xa", "0xb", 5001)[:3], *session("0xa", "0xb", 5002))
    assert [chunk.connection.id for chunk in chunks(items) if chunk.end] == [1, 1, 2, 2]


def test_connection_without_messages_has_only_events() -> None:
    items = read("RPC_SERVER_CLIENT_NEW: client=0xa sock=0xb", "RPC_SERVER_CLIENT_DISPOSE: client=0xa")
    assert [item.kind for item in items if isinstance(item, ConnectionEvent)] == [
        "server_client_new",
        "server_client_dispose",
    ]
    assert len(items) == 2


def test_client_and_server_objects_set_the_side() -> None:
    new = "localAddr=::1;40508, remoteAddr=::1;16514"
    items = read(
        f"RPC_SOCKET_NEW: sock=0x1 fd=1 errfd=-1 pid=0 {new}",
        "RPC_CLIENT_NEW: client=0x2 sock=0x1",
        CALL.replace("RPC_SERVER_CLIENT_MSG_RX: client=0x1", "RPC_CLIENT_MSG_TX_QUEUE: client=0x2"),
    )
    assert names(items) == ["[::1]:40508@0x2-[::1]:16514"]


def test_log_starts_in_mid_connection() -> None:
    items = read(
        "RPC_SOCKET_DISPOSE: sock=0x5",
        "RPC_KEEPALIVE_STOP: ka=0x6 client=0x1",
        "RPC_SERVER_CLIENT_DISPOSE: client=0x1",
        CALL,
        "RPC_SERVER_CLIENT_DISPOSE: client=0x1",
    )
    events = [item for item in items if isinstance(item, ConnectionEvent)]
    assert [event.connection and event.connection.id for event in events] == [None, None, None, 1]
    assert len(chunks(items)) == 3
    assert notices(items) == []


def test_connection_events() -> None:
    """All words, in order and unchanged; a value may contain blanks."""
    _, event = read(
        CALL,
        "dispatch:1 : RPC_SERVER_CLIENT_AUTH_ALLOW: client=0x1 auth=1 identity=CN=a host, O=b c",
    )
    assert event == ConnectionEvent(
        "server_client_auth_allow",
        NS,
        chunks(read(CALL))[0].connection,
        (("thread", "19725"), ("client", "0x1"), ("auth", "1"), ("identity", "CN=a host"), ("O", "b c")),
    )
    (event,) = read("RPC_TLS_CONTEXT_NEW: ctxt=0x7 cacert=/etc/pki/CA/cacert.pem cacrl=<null>")
    assert isinstance(event, ConnectionEvent)
    assert (event.kind, event.connection, event.side) == ("tls_context_new", None, None)


def test_side_of_tls_events() -> None:
    items = read(
        "RPC_TLS_CONTEXT_NEW: ctxt=0x7 cacert=/etc/pki/CA/cacert.pem isServer=0",
        "RPC_TLS_SESSION_NEW: sess=0x8 ctxt=0x9 hostname=<null> isServer=1",
        "RPC_TLS_CONTEXT_SESSION_ALLOW: ctxt=0x9 sess=0x8 dname=CN=host",
        "RPC_TLS_SESSION_DISPOSE: sess=0x8",
        "RPC_TLS_CONTEXT_SESSION_FAIL: ctxt=0x9 sess=0x8",
        "RPC_TLS_CONTEXT_DISPOSE: ctxt=0x7",
    )
    sides = [item.side for item in items if isinstance(item, ConnectionEvent)]
    assert sides == ["client", "server", "server", "server", None, "client"]


@pytest.mark.parametrize("start", [START, ""])
@pytest.mark.parametrize("words", ["cert=/c.pem key=/k.pem", "cert=0x5 key=0x6", "cert=0x5 keys=0x6"])
def test_tls_context_of_each_release(start: str, words: str) -> None:
    """libvirt 12.9.0 logs pointers."""
    text = f"ctxt=0x7 cacert=/ca.pem cacrl=<null> {words} sanityCheckCert=1 requireValidCert=1 isServer=1"
    items = read(f"RPC_TLS_CONTEXT_NEW: {text}", start=start)
    (event,) = (item for item in items if isinstance(item, ConnectionEvent))
    assert event.side == "server"
    details = [each for each in event.details if each[0] != "thread"]
    assert details == [tuple(word.split("=")) for word in text.split()]


def test_peer_text_cannot_name_another_object() -> None:
    items = read(CALL, "RPC_SERVER_CLIENT_AUTH_ALLOW: client=0x2 auth=1 identity=x client=0x1")
    assert isinstance(items[1], ConnectionEvent)
    assert items[1].connection is None


@pytest.mark.parametrize(
    ("start", "time_ns", "thread"),
    [
        ("Nov 22 21:45:08 host libvirtd[123]: " + START, NS, "19725"),
        (START.replace("21:45", "23:45").replace("+0000", "+0200"), NS, "19725"),
        (START + "virNetServerClientDispatchRead:1224 : ", NS, "19725"),
        (START.replace("info", "debug"), NS, "19725"),
        ("2026-11-22T22:45:10+0100 a.host virtqemud[123]: ", NS - 120_000_000, None),
        ("2026-11-22T21:45:10.120000+00:00 host libvirtd[123]: ", NS, None),
        ("1795383910.120000 host libvirtd[123]: ", NS, None),
        ("Nov 22 21:45:10 host libvirtd[123]: 19725: info : ", None, "19725"),
        ("Nov 22 21:45:10 host libvirtd[123]: ", None, None),
        (START.replace("11-22", "02-30"), None, "19725"),
        ("9999999-11-22T21:45:10+0100 host libvirtd[123]: ", None, None),
    ],
)
def test_accepts_line_prefixes(start: str, time_ns: int | None, thread: str | None) -> None:
    items = read(CALL, "RPC_KEEPALIVE_STOP: ka=0x6 client=0x1", start=start)
    chunk, event = (item for item in items if not isinstance(item, Notice))
    assert isinstance(chunk, Chunk)
    assert isinstance(event, ConnectionEvent)
    assert chunk.time_ns == event.time_ns == time_ns
    assert dict(event.details).get("thread") == thread
    assert [code for code, _ in notices(items)] == ([] if time_ns else ["no-times"])


def test_processes_in_the_journal_are_separate() -> None:
    lines = [
        f"2026-11-22T21:45:10+0000 host {daemon}: {CALL}\n" for daemon in ("virtqemud[1]", "virtlogd[2]")
    ]
    items = list(log_chunks(io.BytesIO("".join(lines).encode()).read))
    assert [chunk.connection.id for chunk in chunks(items)] == [1, 2]


@pytest.mark.parametrize(
    "line",
    [
        "error : virGDBusGetSystemBus:99 : internal error: Unable to get system bus connection",
        "virNetFoo:1 : no object RPC_CLIENT_NEW here",
        "",
    ],
)
def test_skips_lines_of_other_modules(line: str) -> None:
    items = read(line)
    (code, words) = notices(items)[0]
    assert (len(items), code) == (1, "no-rpc-lines")
    assert 'log_filters="2:rpc"' in words
    assert "LIBVIRT_LOG_FILTERS=2:rpc" in words


NEW = "RPC_CLIENT_NEW: client=0x1 sock=0x2"


@pytest.mark.parametrize(
    "line",
    [
        f"virNetFoo:1 : 'quoted: {NEW}'",
        f"virDomainDefineXML:1 : xml=<description>{NEW}</description>",
        f"virDomainDefineXML:1 : xml={START.partition(' ')[2].partition(' ')[2]}{NEW}",
        "x" * 500 + f": {NEW}",
        f'virFoo:1 : {{"msg": "{NEW}"}}',
        f'virFoo:1 : MESSAGE="{NEW}"',
        f'virFoo:1 : a,"{NEW}"',
    ],
)
def test_value_of_a_record_cannot_forge_another(line: str) -> None:
    items = read(line)
    assert notices(items) == [("bad-log-line", "line 1: RPC_CLIENT_NEW: is in the text of another record")]
    assert len(items) == 1


def test_name_in_a_certificate_cannot_forge_a_record() -> None:
    (event,) = read(f"f:1 : RPC_TLS_CONTEXT_SESSION_ALLOW: ctxt=0x1 sess=0x2 dname=CN=host {NEW}")
    assert isinstance(event, ConnectionEvent)
    assert event.details[3] == ("dname", "CN=host RPC_CLIENT_NEW:")


@pytest.mark.parametrize("line", [CALL, f"Nov 22 21:45:08 host libvirtd[1]: {CALL}", f'"MESSAGE" : "{CALL}"'])
def test_document_cannot_forge_messages(line: str) -> None:
    """Lines between records are parts of the value before them."""
    items = read_text(f"{START}{CALL}\n{START}virDomainDefineXML:1 : xml=<domain>\n{line}\n</domain>\n")
    assert len(chunks(items)) == 1
    assert [code for code, _ in notices(items)] == ["bad-log-line"]
    items = read_text(f"{START}virDomainDefineXML:1 : xml=<domain>\n{line}\n</domain>\n")
    assert chunks(items) == []
    assert [code for code, _ in notices(items)] == ["bad-log-line"]


@pytest.mark.parametrize(
    "line", [f'name="{CALL}"', f"name='{CALL}'", f'error: "{CALL}', f'{{"other": "{CALL}"}}']
)
def test_quoted_string_cannot_forge_messages(line: str) -> None:
    items = read_text(line + "\n")
    assert chunks(items) == []
    assert notices(items) == [("bad-log-line", "line 1: RPC_SERVER_CLIENT_MSG_RX: is in a quoted string")]


def test_counts_lines_that_cannot_be_parsed() -> None:
    items = read(CALL, *["RPC_CLIENT_MSG_RX: client=0x1 len=x"] * 3, CALL)
    assert len(chunks(items)) == 2
    assert notices(items) == [
        (
            "bad-log-line",
            "line 2: RPC_CLIENT_MSG_RX: expected an integer, got len='x'; 3 lines that name a probe of RPC"
            " cannot be parsed",
        )
    ]


def test_endless_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "_MAX_LINE", 1000)
    items = read(CALL, "x" * 2_000_000, CALL)
    assert len(chunks(items)) == 1
    assert notices(items) == [
        ("bad-log-line", "line 2: the line is longer than 1000 bytes; the rest was not read")
    ]


def test_number_of_objects_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest connection is evicted and ended."""
    monkeypatch.setattr(objects, "_MAX_OBJECTS", 2)
    items = read(*(line for n in range(4) for line in session(f"0xa{n}", f"0xb{n}", 5000 + n)[:3]))
    assert [chunk.connection.id for chunk in chunks(items) if chunk.end] == [1, 1, 2, 2]


QEMU = [
    'f:1 : QEMU_MONITOR_SEND_MSG: mon=0x7f01 msg={"execute":"getfd","id":"libvirt-1"}\r\n fd=34',
    'f:1 : QEMU_MONITOR_RECV_REPLY: mon=0x7f01 reply={"return": {}, "id": "libvirt-1"}',
    'f:1 : QEMU_MONITOR_RECV_EVENT: mon=0x7f01 event={"event": "STOP", "data": "a b=c"}',
]


def test_lines_of_the_monitor_and_the_event_loop() -> None:
    items = read(
        CALL,
        *QEMU,
        "f:1 : QEMU_MONITOR_IO_WRITE: mon=0x7f01 buf={} len=93 ret=93 errno=0",
        "f:1 : EVENT_POLL_UPDATE_HANDLE: watch=9 events=-1",
        "f:1 : EVENT_GLIB_ADD_TIMEOUT: timer=3 frequency=-1 cb=0x7f opaque=(nil) ff=(nil)",
    )
    assert [
        (item.kind, item.arguments, item.time_ns, item.thread, item.pid, item.cut)
        for item in items[1:]
        if isinstance(item, ProbeEvent)
    ] == [
        (kind, arguments, NS, 19725, None, False)
        for kind, arguments in (
            (
                "qemu_monitor_send_msg",
                {"mon": "0x7f01", "msg": '{"execute":"getfd","id":"libvirt-1"}', "fd": 34},
            ),
            ("qemu_monitor_recv_reply", {"mon": "0x7f01", "reply": '{"return": {}, "id": "libvirt-1"}'}),
            ("qemu_monitor_recv_event", {"mon": "0x7f01", "event": '{"event": "STOP", "data": "a b=c"}'}),
            ("event_poll_update_handle", {"watch": 9, "events": -1}),
            (
                "event_glib_add_timeout",
                {"timer": 3, "frequency": -1, "cb": "0x7f", "opaque": "(nil)", "ff": "(nil)"},
            ),
        )
    ]
    assert len(items) == 6


def test_log_about_the_monitor_only() -> None:
    *events, notice = read(*QEMU)
    assert len(events) == 3
    assert isinstance(notice, Notice)
    assert (notice.code, notice.severity) == ("no-rpc-lines", "note")


@pytest.mark.parametrize(
    ("text", "count"),
    [
        (f"Nov 22 21:45:08 host libvirtd[1]: message repeated 3 times: [ {CALL}]\n", 3),
        (
            f"Nov 22 21:45:08 host libvirtd[1]: {CALL}\nNov 22 21:45:09 host last message repeated 2 times\n",
            3,
        ),
        (f"Nov 22 21:45:08 host libvirtd[1]: {CALL}\nhello\nNov 22 host last message repeated 2 times\n", 1),
    ],
)
def test_repeated_messages_count(text: str, count: int) -> None:
    assert len(chunks(read_text(text))) == count


def test_number_of_repetitions_is_limited() -> None:
    items = read_text(f"Nov 22 21:45:08 host libvirtd[1]: message repeated 4000000000 times: [ {CALL}]\n")
    assert len(chunks(items)) == 100
    assert notices(items)[-1] == (
        "bad-log-line",
        "line 1: RPC_SERVER_CLIENT_MSG_RX: was repeated 4000000000 times, 100 are shown",
    )


@pytest.mark.parametrize(
    ("start", "text"),
    [
        (
            "2011-11-09 10:11:12.123: 4711: debug : ",
            "these times have no zone, or only its name, and are read as UTC",
        ),
        ("Sun 2026-11-22 22:45:08 CET host libvirtd[1]: ", "these times have no zone, or only its name,"),
        ("Nov 22 21:45:08 host libvirtd[1]: ", "these times have no year"),
        ("[ 1234.567890] host libvirtd[1]: ", "these times count from the start of the machine"),
        ("libvirtd[1]: ", "these lines have no time"),
    ],
)
def test_notes_state_what_times_lack(start: str, text: str) -> None:
    items = read(CALL, CALL, start=start)
    assert [words for _, words in notices(items)] == [notices(items)[0][1]]
    assert notices(items)[0][1].startswith(text)


@pytest.mark.parametrize(
    "start",
    [
        START,
        START.replace(" ", "T", 1).replace("+0000", "Z"),
        START.replace("21:45", "18:15").replace("+0000", "-03:30"),
    ],
)
def test_times_with_a_zone_have_no_note(start: str) -> None:
    (chunk,) = read(CALL, start=start)
    assert isinstance(chunk, Chunk)
    assert chunk.time_ns == NS


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_text_in_utf_16(encoding: str) -> None:
    text = "" if encoding == "utf-16" else "\ufeff"
    items = list(read_source(io.BytesIO(f"{text}{START}{CALL}\r\n".encode(encoding)), "log"))
    assert items == read(CALL)


def test_joins_at_most_four_lines() -> None:
    words = CALL.split(" ")
    wrapped = f"{START}\n" + "\n".join(" ".join(words[at : at + 2]) for at in range(0, 9, 2)) + "\n"
    items = read_text(wrapped)
    assert chunks(items) == []
    assert [code for code, _ in notices(items)] == ["bad-log-line"]


def test_redacts_the_monitor() -> None:
    text = f'{START}f:1 : QEMU_MONITOR_SEND_MSG: mon=0x1 msg={{"password": "S3cret"}} fd=-1\n'
    with libvirt_proto.open(text.encode(), redact="secrets") as capture:
        (event,) = capture.timeline()
    assert isinstance(event, ProbeEvent)
    assert event.arguments == {"mon": "0x1", "msg": '{"password": "xxxxxx"}', "fd": -1}
