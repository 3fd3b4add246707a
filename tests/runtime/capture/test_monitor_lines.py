"""Recordings of rpc-monitor, and of `decode --format monitor`, as an input."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from pathlib import Path
from struct import unpack

import pytest

from libvirt_proto import registry
from libvirt_proto.capture import monitor_lines
from libvirt_proto.capture.detect import file_format
from libvirt_proto.capture.monitor_lines import monitor_chunks
from libvirt_proto.capture.sources import open_source, read_source
from libvirt_proto.capture.stream import messages
from libvirt_proto.events import Captured, Chunk, Closed, ConnectionEvent, Item, Notice
from libvirt_proto.presenters.clock import TimeStyle
from libvirt_proto.presenters.monitor import MonitorPresenter
from libvirt_proto.presenters.style import COLOUR, PLAIN, Palette
from libvirt_proto.rpc.message import MessageDecoder
from tests.support.dresses import ENCODINGS, PREFIXES, QUOTES, WRAPS, named

#: As libvirt's script writes it.
SCRIPT = """\
  0.000 begin
  2.632 C + 0x7f1ea57dc010   local=127.0.0.1;43890 remote=127.0.0.1;16509
  2.632 C > 0x7f1ea57dc010   msg=remote.1.auth_list(call, ok, 0) len=28
  2.632 + S 0x1c1f710        local=127.0.0.1;0 remote=127.0.0.1;0
  2.632 > S 0x1c1f710        msg=remote.1.auth_list(call, ok, 0) len=28
  2.633 < S 0x1c1f710        msg=remote.1.auth_list(reply, ok, 0) len=36
  2.640 =   0x1c1f710        send fd=5
  2.641 C - 0x7f1ea57dc010   local= remote=
"""
#: A record of a libvirt log.
CALL = (
    "2026-11-22 21:45:10.120+0000: 19725: info : f:1 : RPC_CLIENT_MSG_TX_QUEUE: client=0x1 len=32"
    " prog=536903814 vers=1 proc=60 type=0 status=0 serial=1"
)


def read(text: str) -> list[Item]:
    return list(monitor_chunks(io.BytesIO(text.encode()).read))


def test_recording_of_the_script() -> None:
    items = read(SCRIPT)
    sent = [item for item in items if isinstance(item, Chunk) and item.data]
    assert [(unpack(">7I", item.data), item.direction, item.cut, item.time_ns) for item in sent] == [
        ((28, 0x20008086, 1, 66, 0, 0, 0), "c2s", 0, 2_632_000_000),
        ((28, 0x20008086, 1, 66, 0, 0, 0), "c2s", 0, 2_632_000_000),
        ((36, 0x20008086, 1, 66, 1, 0, 0), "s2c", 8, 2_633_000_000),
    ]
    assert [(str(item.connection), item.connection.side) for item in sent[:2]] == [
        ("127.0.0.1:43890@0x7f1ea57dc010-127.0.0.1:16509", "client"),
        ("client-server@0x1c1f710", "server"),
    ]
    events = [item for item in items if isinstance(item, ConnectionEvent)]
    assert [(event.kind, event.side) for event in events] == [
        ("client_new", None),
        ("server_client_new", None),
        ("socket_send_fd", None),
        ("client_dispose", None),
    ]
    assert [item.connection.side for item in items if isinstance(item, Chunk) and item.end] == ["client"] * 2


@pytest.mark.parametrize(
    ("message", "numbers"),
    [
        ("remote.1.open(call, ok, 1) len=40", (40, 0x20008086, 1, 1, 0, 1, 0)),  # its name before 1.0.5
        ("unknown:7.2.unknown:9(unknown:8, error, 3) len=28", (28, 7, 2, 9, 8, 3, 1)),
        ("remote:536903814.1.auth_list:66(call:0, ok:0, 0) len=28", (28, 0x20008086, 1, 66, 0, 0, 0)),
        ("keepalive.1.ping(message, ok, 0) len=28", (28, 0x6B656570, 1, 1, 2, 0, 0)),
    ],
)
def test_names_and_numbers(message: str, numbers: tuple[int, ...]) -> None:
    (chunk,) = read(f"  0.001 C > 0x1   msg={message}\n")
    assert isinstance(chunk, Chunk)
    assert unpack(">7I", chunk.data) == numbers


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("nothing.1.auth_list(call, ok, 0) len=28", "expected the name of a program, got 'nothing'"),
        ("remote.1.nothing(call, ok, 0) len=28", "expected the name of a procedure, got 'nothing'"),
        ("remote.1.auth_list(call, ok, 0) len=27", "expected len= from 28 to 33554436, got 27"),
        ("remote.1.auth_list(call, ok", "is not a message of rpc-monitor"),
    ],
)
def test_counts_lines_that_cannot_be_parsed(message: str, reason: str) -> None:
    line = f"  0.001 C > 0x1   msg={message}\n"
    *rest, notice = read(SCRIPT + line + line)
    assert isinstance(notice, Notice)
    assert (notice.code, notice.text) == ("bad-line", f"line 9: {reason}; 2 lines cannot be parsed")
    assert rest == read(SCRIPT)


@pytest.mark.parametrize(
    ("marks", "directions", "closed"),
    [
        (["C >"], ["c2s", "s2c"], [1]),
        (["C >", "C <"], ["c2s", "s2c"], [1]),
        (["C ?"], [None], []),
        (["C ?", "C <"], ["c2s", "s2c", None], []),
    ],
)
def test_number_of_named_connections_is_limited(
    marks: list[str], directions: list[str | None], closed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest connection is evicted and ended; one with only events has nothing to end."""
    monkeypatch.setattr(monitor_lines, "_MAX_CONNECTIONS", 2)
    call = "msg=remote.1.auth_list(call, ok, 0) len=28"
    items = read(
        "".join(f"  0.001 {mark} a:1-b:2 {call}\n" for mark in marks)
        + "  0.002 C . c:3-d:4 keepalive_start ka=0x1\n"
        + "".join(f"  0.003 C > {name} {call}\n" for name in ("e:5-f:6", "g:7-h:8"))
    )
    ends = [item for item in items if isinstance(item, Chunk) and item.end]
    assert [(end.connection.id, end.direction) for end in ends] == [
        (1, direction) for direction in directions
    ]
    programs = registry.default().numbers
    seen = list(messages(items, MessageDecoder(registry.default()).decode, programs=programs))
    assert sum(isinstance(item, Captured) for item in seen) == len(marks) + 2
    assert [item.connection.id for item in seen if isinstance(item, Closed)] == closed
    assert [item for item in seen if isinstance(item, Notice)] == []


Palettes = {"plain": PLAIN, "coloured": COLOUR}


def monitored(items: Iterable[Item], times: TimeStyle = "relative", palette: Palette = PLAIN) -> list[str]:
    present = MonitorPresenter(registry.default(), palette, times=times)
    out = []
    for item in messages(
        items, MessageDecoder(registry.default()).decode, programs=registry.default().numbers
    ):
        if isinstance(item, Captured):
            out.append(present(item).decode())
        elif isinstance(item, ConnectionEvent):
            out.append(present.event(item).decode())
    return out


def without_missing(lines: list[str]) -> list[str]:
    return [re.sub(r" (missing|error)=.*", "", line).strip() for line in lines]


@pytest.mark.parametrize("palette", Palettes)
@pytest.mark.parametrize("times", ["relative", "absolute", "none"])
@pytest.mark.parametrize(
    "name", ["virsh-domname.pcap", "stream-events-keepalive.pcap", "libvirtd-rpc-info.log"]
)
def test_output_of_decode(captures: Path, name: str, times: TimeStyle, palette: str) -> None:
    """The same messages and events: all that a line has."""
    items = list(open_source(str(captures / name)))
    text = "".join(monitored(items, times, Palettes[palette]))
    again = list(read_source(io.BytesIO(text.encode()), "recording"))
    assert [item for item in again if isinstance(item, Notice)] == []
    assert without_missing(monitored(again, times)) == without_missing(monitored(items, times))


@pytest.mark.parametrize("prose", ["", "some line of prose\n" * 8000, CALL + "\n"], ids=["", "far", "log"])
@pytest.mark.parametrize("name", ["virsh-domname.pcap", "stream-events-keepalive.pcap"])
def test_recording_anywhere_in_a_text(captures: Path, name: str, prose: str) -> None:
    written = monitored(open_source(str(captures / name)))
    again = list(read_source(io.BytesIO((prose + "".join(written)).encode()), "recording"))
    lines = without_missing(monitored(again, "none"))
    assert lines[prose.count("RPC_") :] == without_missing([line.lstrip(" 0123456789.") for line in written])


MESSAGE = (
    unpack(">7I", bytes.fromhex("00000028 20008086 00000001 00000017 00000000 00000007 00000000")),
    "c2s",
)
ENDS = "127.0.0.1:40508-127.0.0.1:16509"
LINE = f"  0.001 C > {ENDS} msg=remote.1.domain_lookup_by_name(call, ok, 7) len=40 missing=12\n"
# The reader looks for an equals sign, and for lines.
DRESSES = {
    name: dress
    for name, dress in named(prefix=PREFIXES, quote=QUOTES, encoding=ENCODINGS, wrap=WRAPS).items()
    if name not in ("encoding, entities", "encoding, line ends as text")
}


@pytest.mark.parametrize("dress", DRESSES)
def test_dresses(dress: str) -> None:
    text = DRESSES[dress](LINE * 2)
    items = list(read_source(io.BytesIO(text.encode()), "recording"))
    found = [(unpack(">7I", item.data), item.direction) for item in items if isinstance(item, Chunk)]
    assert found == [MESSAGE] * 2


def test_prose_about_messages_is_not_a_recording() -> None:
    assert file_format(b"the line has msg=remote.1.auth_list(call, ok, 0) len=28\n") == "text"
