"""The line of libvirt's rpc-monitor script."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from libvirt_proto import registry
from libvirt_proto.capture.chunk import Connection, ConnectionEvent
from libvirt_proto.present import monitor
from libvirt_proto.present.style import COLOUR
from tests.frames import captured, error_payload, frame, hand_made

POINTER = Connection(1, "", "")


def test_a_line_is_the_scripts(shared: Path) -> None:
    """The article's own lines, with our connection where the script prints a pointer."""
    article = next((shared / "seed").glob("*.txt")).read_text()
    wanted = re.search(
        r"^(  2\.632 C > )0x\w+ +(msg=remote\.1\.auth_list\(call, ok, 0\) len=28)$", article, re.M
    )
    assert wanted
    present = monitor.Presenter(registry.default())
    present(captured(frame(), time_ns=0))
    line = present(captured(frame(), time_ns=2_632_000_000))
    assert line == f"{wanted[1]}127.0.0.1:40508-127.0.0.1:16509 {wanted[2]}"


def test_a_short_connection_takes_the_pointers_column() -> None:
    line = monitor.Presenter(registry.default())(captured(frame(), connection=POINTER))
    assert line == "  0.000 C > 1                msg=remote.1.auth_list(call, ok, 0) len=28"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"proc": 1, "type_": 1, "serial": 4}, "remote.1.connect_open(reply, ok, 4)"),
        ({"prog": 5}, "unknown:5.1.unknown:66(call, ok, 0)"),
        ({"vers": 3}, "remote.3.unknown:66(call, ok, 0)"),
        ({"proc": 4711}, "remote.1.unknown:4711(call, ok, 0)"),
        ({"type_": 9, "status": 8}, "remote.1.auth_list(unknown:9, unknown:8, 0)"),
        ({"type_": 3, "status": 2, "serial": 2**32 - 1}, "remote.1.auth_list(stream, continue, 4294967295)"),
        ({"prog": 0x6B656570, "proc": 2, "type_": 2}, "keepalive.1.pong(message, ok, 0)"),
    ],
)
def test_names_are_the_tapsets(changes: dict[str, int], message: str) -> None:
    line = monitor.Presenter(registry.default())(captured(frame(**changes), connection=POINTER))
    assert line == f"  0.000 C > 1                msg={message} len=28"


def test_directions_and_times() -> None:
    present = monitor.Presenter(registry.default())
    start = 1_700_000_000_123_456_789
    lines = [
        present(captured(frame(), time_ns=time, direction=direction, connection=POINTER))[:12]
        for time, direction in (
            (start, "c2s"),
            (start + 1_999_999, "s2c"),
            (start + 10**12, None),
            (None, "c2s"),
        )
    ]
    assert lines == ["  0.000 C > ", "  0.001 C < ", "1000.000 C ?", "      - C > "]


def test_colour_marks_errors_and_changes_no_text() -> None:
    data = captured(frame(error_payload(1, 1, b"x"), type_=1, status=1))
    plain = monitor.Presenter(registry.default())(data)
    coloured = monitor.Presenter(registry.default(), COLOUR)(data)
    assert f"{COLOUR.bad}error{COLOUR.off}" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain


def test_a_socket_path_is_escaped() -> None:
    evil = Connection(1, "", "/run/\x1b]0;x\x07\n")
    assert "/run/\\x1b]0;x\\x07\\n" in monitor.Presenter(registry.default())(
        captured(frame(), connection=evil)
    )


def test_the_hand_made_messages(captures: Path, root: Path) -> None:
    present = monitor.Presenter(registry.default())
    shown = "".join(present(item) + "\n" for item in hand_made(captures))
    assert shown == (root / "tests/golden/present/hand-made.monitor").read_text()


def test_a_message_that_was_not_seen_whole() -> None:
    data = frame(bytes(12), type_=3, status=2)
    line = monitor.Presenter(registry.default())(captured(data[:30], missing=10, connection=POINTER))
    assert line.endswith("msg=remote.1.auth_list(stream, continue, 0) len=40 missing=10")


@pytest.mark.parametrize(
    ("kind", "mark"),
    [("client_new", "+"), ("socket_dispose", "-"), ("keepalive_stop", "-"), ("auth_deny", ".")],
)
def test_events(kind: str, mark: str) -> None:
    event = ConnectionEvent(kind, 5_000_000, POINTER, (("client", "0x55\n"),))
    shown = monitor.Presenter(registry.default()).event(event)
    assert shown == f"  0.000 C {mark} 1                {kind} client=0x55\\n"


def test_the_servers_side_is_the_scripts() -> None:
    """`> S` and `< S` of the article, where it is known that the server's side is seen."""
    seen = Connection(1, "", "", "probe", "server")
    present = monitor.Presenter(registry.default())
    lines = [
        present(captured(frame(), direction=direction, connection=seen))[:12] for direction in ("c2s", "s2c")
    ]
    lines += [
        present.event(ConnectionEvent("server_client_dispose", 0, seen))[:12],
        present.event(ConnectionEvent("tls_session_new", 0, None, (), "server"))[:12],
        present.event(ConnectionEvent("tls_session_new", 0, None, (), "client"))[:12],
    ]
    assert lines == ["  0.000 > S ", "  0.000 < S ", "  0.000 - S ", "  0.000 + S ", "  0.000 C + "]


def test_descriptors_go_the_way_of_their_message() -> None:
    lines = [
        monitor.Presenter(registry.default()).event(
            ConnectionEvent(kind, 0, Connection(1, "", "", "probe", side))
        )
        for side in ("client", "server", None)
        for kind in ("socket_send_fd", "socket_recv_fd")
    ]
    assert [line[8:11] for line in lines] == ["C >", "C <", "< S", "> S", "C .", "C ."]
