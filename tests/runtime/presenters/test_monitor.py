"""The line format of the rpc-monitor script in libvirt."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from libvirt_proto import registry
from libvirt_proto.events import Captured, Connection, ConnectionEvent, Sighting
from libvirt_proto.presenters import monitor
from libvirt_proto.presenters.style import COLOUR
from tests.support.frames import captured, error_payload, frame, hand_made, text, word

POINTER = Connection(1, "", "")


def lines(*options: Any) -> Callable[[Captured], str]:
    """The lines of a new presenter, without their newlines."""
    present = monitor.MonitorPresenter(registry.default(), *options)

    def line(item: Captured) -> str:
        text = present(item).decode()
        assert text.endswith("\n")
        return text.removesuffix("\n")

    return line


def test_line_matches_rpc_monitor_script(shared: Path) -> None:
    """The article's own lines, with our connection in place of the script's pointer."""
    article = next((shared / "seed").glob("*.txt")).read_text()
    wanted = re.search(
        r"^(  2\.632 C > )0x\w+ +(msg=remote\.1\.auth_list\(call, ok, 0\) len=28)$", article, re.M
    )
    assert wanted
    present = lines()
    present(captured(frame(), time_ns=0))
    line = present(captured(frame(), time_ns=2_632_000_000))
    assert line == f"{wanted[1]}127.0.0.1:40508-127.0.0.1:16509 {wanted[2]}"


def test_short_connection_fits_pointer_column() -> None:
    line = lines()(captured(frame(), connection=POINTER))
    assert line == "  0.000 C > 1                msg=remote.1.auth_list(call, ok, 0) len=28"


def test_line_ends_with_payload_error() -> None:
    """The .x allows 16 key codes."""
    codes = b"".join(word(n) for n in (17, *range(17)))
    call = frame(text(b"vm") + bytes(16) + word(1) * 3 + codes + word(0), proc=226)
    line = lines()(captured(call, connection=POINTER))
    assert line.endswith(
        f"(call, ok, 0) len={len(call)} malformed: at byte 64, keycodes: count 17 is over the limit of 16"
    )


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
def test_names_match_tapset(changes: dict[str, int], message: str) -> None:
    line = lines()(captured(frame(**changes), connection=POINTER))
    assert line == f"  0.000 C > 1                msg={message} len=28"


def test_directions_and_times() -> None:
    present = lines()
    start = 1_700_000_000_123_456_789
    shown = [
        present(captured(frame(), time_ns=time, direction=direction, connection=POINTER))[:12]
        for time, direction in (
            (start, "c2s"),
            (start + 1_999_999, "s2c"),
            (start + 10**12, None),
            (None, "c2s"),
        )
    ]
    assert shown == ["  0.000 C > ", "  0.001 C < ", "1000.000 C ?", "      - C > "]


def test_colour_marks_errors_and_changes_no_text() -> None:
    data = captured(frame(error_payload(1, 1, b"x"), type_=1, status=1))
    plain = lines()(data)
    coloured = lines(COLOUR)(data)
    assert f"{COLOUR.bad}error{COLOUR.off}" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain


def test_escapes_socket_path() -> None:
    evil = Connection(1, "", "/run/\x1b]0;x\x07\n")
    assert "/run/\\x1b]0;x\\x07\\n" in lines()(captured(frame(), connection=evil))


def test_hand_made_messages(captures: Path, root: Path) -> None:
    present = lines()
    shown = "".join(present(item) + "\n" for item in hand_made(captures))
    assert shown == (root / "tests/golden/present/hand-made.monitor").read_text()


def test_incomplete_message() -> None:
    data = frame(bytes(12), type_=3, status=2)
    line = lines()(captured(data[:30], missing=10, connection=POINTER))
    assert line.endswith("msg=remote.1.auth_list(stream, continue, 0) len=40 missing=10")


@pytest.mark.parametrize(
    ("kind", "mark"),
    [("client_new", "+"), ("socket_dispose", "-"), ("keepalive_stop", "-"), ("auth_deny", ".")],
)
def test_events(kind: str, mark: str) -> None:
    event = ConnectionEvent(kind, 5_000_000, POINTER, (("client", "0x55\n"),))
    shown = monitor.MonitorPresenter(registry.default()).event(event)
    assert shown == f"  0.000 C {mark} 1                {kind} client=0x55\\n\n".encode()


def test_line_does_not_depend_on_earlier_lines(captures: Path) -> None:
    """Lines of one kind are filled into a template made from the first of them. Its connection, serial and
    errors must not appear in the next."""
    items = hand_made(captures)
    others = [
        msgspec.structs.replace(item, connection=Connection(2, "a %d %b", "%s"), time_ns=time, **more)
        for item in items
        for more in ({"direction": "c2s"}, {"direction": None}, {"sightings": (Sighting("a.pcap", 1),)})
        for time in (0, 5_000_000, 5_999_999, 3, None)
    ]
    used = lines()
    used(msgspec.structs.replace(items[0], time_ns=0))
    for item in [*items, *others, *items]:
        alone = lines()
        alone(msgspec.structs.replace(items[0], time_ns=0))  # the origin of times
        assert used(item) == alone(item)


def test_kinds_without_end_take_no_memory_without_end() -> None:
    present = monitor.MonitorPresenter(registry.default())
    for proc in range(10_000):
        present(captured(frame(proc=proc)))
    assert len(present._forms) <= 8192
    assert b"unknown:9999(call" in present(captured(frame(proc=9999)))


def test_what_an_encoding_lacks_is_escaped() -> None:
    present = monitor.MonitorPresenter(registry.default(), encoding="ascii")
    assert b" -/run/\\xe9 " in present(captured(frame(), connection=Connection(1, "", "/run/é")))


def test_server_side_matches_rpc_monitor_script() -> None:
    """`> S` and `< S` of the article, if the capture is known to be the server's."""
    seen = Connection(1, "", "", "probe", side="server")
    present = monitor.MonitorPresenter(registry.default())
    shown = [
        present(captured(frame(), direction=direction, connection=seen))[:12] for direction in ("c2s", "s2c")
    ]
    shown += [
        present.event(ConnectionEvent("server_client_dispose", 0, seen))[:12],
        present.event(ConnectionEvent("tls_session_new", 0, None, (), "server"))[:12],
        present.event(ConnectionEvent("tls_session_new", 0, None, (), "client"))[:12],
    ]
    assert shown == [b"  0.000 > S ", b"  0.000 < S ", b"  0.000 - S ", b"  0.000 + S ", b"  0.000 C + "]


def test_descriptors_follow_direction_of_their_message() -> None:
    shown = [
        monitor.MonitorPresenter(registry.default()).event(
            ConnectionEvent(kind, 0, Connection(1, "", "", "probe", side=side))
        )
        for side in ("client", "server", None)
        for kind in ("socket_send_fd", "socket_recv_fd")
    ]
    assert [line[8:11].decode() for line in shown] == ["C >", "C <", "< S", "> S", "C .", "C ."]
