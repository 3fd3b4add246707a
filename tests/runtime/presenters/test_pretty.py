"""Messages as text for people."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libvirt_proto import registry
from libvirt_proto.events import Connection, ConnectionEvent, Notice
from libvirt_proto.presenters import notices, pretty
from libvirt_proto.presenters.style import COLOUR
from tests.runtime.presenters.test_tree import HOSTILE, harmless
from tests.support.frames import CONNECTION, captured, error_payload, frame, hand_made, text, word


def show(data: bytes, *, full: bool = False, **where: Any) -> list[str]:
    """The lines of a message, without the introduction of its connection."""
    lines = list(pretty.PrettyPresenter(registry.default(), full=full).lines(captured(data, **where)))
    assert lines[0] == "── connection 1: 127.0.0.1:40508 → 127.0.0.1:16509 (tcp)"
    return lines[1:]


def test_head_line() -> None:
    assert show(frame(serial=3)) == ["  0.000000  1 → #3    call ok     remote.auth_list  28 bytes"]


def test_head_lines_are_aligned() -> None:
    """No name moves a column, and most heads fit a terminal of 80 columns."""
    procedures = registry.program("remote").procedures
    heads = [show(frame(proc=procedure.number, serial=321))[0] for procedure in procedures]
    assert {head.index("remote.") for head in heads} == {34}
    assert sum(len(head) <= 80 for head in heads) > 0.75 * len(heads)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"prog": 5}, " 0x00000005.66 "),
        ({"proc": 4711}, " remote.4711 "),
        ({"vers": 3}, "  version 3"),
        ({"type_": 9}, " type 9 ok "),
        ({"type_": 3, "status": 9}, " stream status 9"),
        ({"type_": 3, "status": 2}, " stream continue "),
    ],
)
def test_unusual_heads(changes: dict[str, int], part: str) -> None:
    assert part in show(frame(**changes))[0]


def test_descriptors_are_counted() -> None:
    assert show(frame(word(1) + word(0), type_=4, proc=1))[0].endswith("  1 descriptor")
    assert show(frame(word(2) + word(0), type_=4, proc=1))[0].endswith("  2 descriptors")


def test_error_reply() -> None:
    shown = show(frame(error_payload(42, 12, b"no domain"), type_=1, status=1, proc=23), direction="s2c")
    assert shown[0].startswith("  0.000000  1 ← #0    reply error remote.domain_lookup_by_name  ")
    assert [line.strip() for line in shown[1:]] == ["VIR_ERR_NO_DOMAIN (VIR_FROM_TEST): no domain"]


def test_full_error_reply() -> None:
    data = frame(error_payload(42, 12, b"no domain"), type_=1, status=1, proc=23)
    shown = show(data, direction="s2c", full=True)
    assert [line.strip() for line in shown[1:5]] == [
        "code:    42 VIR_ERR_NO_DOMAIN",
        "domain:  12 VIR_FROM_TEST",
        'message: "no domain"',
        "level:   2 VIR_ERR_ERROR",
    ]


def test_error_of_a_hostile_server() -> None:
    """Unknown numbers, no text, and a long one that would control a terminal."""
    nothing = word(-7) + word(999) + word(0) + word(2) + word(0) * 4 + word(-1) * 2 + word(0)
    assert show(frame(nothing, type_=1, status=1, proc=23), direction="s2c")[1].strip() == "error -7"
    long = frame(error_payload(1, 7, b"\x1b]0;owned\x07" + b"x" * 600), type_=1, status=1, proc=23)
    line = show(long, direction="s2c")[1].strip()
    assert line.startswith("VIR_ERR_INTERNAL_ERROR (VIR_FROM_RPC): \\x1b]0;owned\\x07x")
    assert line.endswith("x… 98 more")


def test_only_errors_annotate_numbers() -> None:
    """A field of another payload named `level` or `code` stays a number."""
    shown = show(frame(word(2), prog=0x06900690, proc=15))
    assert not any("VIR_" in line for line in shown)


def test_truncated_payload() -> None:
    shown = show(frame(text(b"test") + b"\x01\x02\x03", type_=1, proc=24))
    assert [line.strip() for line in shown[1:]] == [
        "dom:",
        'name: "test"',
        "✗ at byte 36, dom.uuid: needs 16 bytes, 3 left",
    ]


def test_incomplete_message() -> None:
    data = frame(text(b"test") + bytes(16) + word(7), type_=1, proc=24)
    item = captured(data[:39], missing=len(data) - 39)
    shown = list(pretty.PrettyPresenter(registry.default()).lines(item))
    assert shown[1].endswith("remote.domain_lookup_by_uuid  56 bytes, only 39 seen")
    assert [line.strip() for line in shown[2:]] == [
        "dom:",
        'name: "test"',
        "… not seen: at byte 36, dom.uuid: needs 16 bytes, 3 left",
    ]
    data = frame(text(b"<capabilities/>" * 9), type_=1, proc=7)
    shown = list(
        pretty.PrettyPresenter(registry.default()).lines(captured(data[:60], missing=len(data) - 60))
    )
    assert [line.strip() for line in shown[2:]] == [
        'capabilities: "<capabilities/><capabilities" … 107 bytes missing',
        "… not seen: at byte 32, capabilities: needs 136 bytes, 28 left",
    ]


def test_events() -> None:
    present = pretty.PrettyPresenter(registry.default())
    details = (("thread", "7"), ("sock", "0x1\x1b"))
    assert present.event(ConnectionEvent("client_new", 5_000, CONNECTION, details)).split("\n") == [
        "── connection 1: 127.0.0.1:40508 → 127.0.0.1:16509 (tcp)",
        "  0.000000  1 · client_new  thread 7  sock 0x1\\x1b",
    ]
    assert present.event(ConnectionEvent("socket_new", 1_005_000)) == "  0.001000    · socket_new"


def test_spare_bytes_and_remarks() -> None:
    shown = show(frame(word(2) + b"vmXY" + b"\xff\x00", proc=23))
    assert shown[1].strip() == 'name: "vm"'
    assert shown[2].strip().startswith("! ")
    assert shown[3].strip() == "! spare: 2 bytes"
    assert shown[4].split() == ["0000", "ff", "00", ".."]


def test_long_values_are_truncated_unless_full() -> None:
    data = frame(text(b"x" * 4000), proc=23)
    assert show(data)[1].strip() == 'name: "' + "x" * 512 + '" … 3,488 more bytes'
    assert show(data, full=True)[1].strip() == 'name: "' + "x" * 4000 + '"'
    stream = frame(bytes(1000), type_=3, status=2, proc=209)
    assert len(show(stream)) == 1 + 1 + 8 + 1
    assert show(stream)[-1].strip() == "… 872 more bytes"
    assert len(show(stream, full=True)) == 1 + 1 + 63


def test_a_connection_is_introduced_once() -> None:
    present = pretty.PrettyPresenter(registry.default())
    first, second = Connection(1, "a:1", "b:2"), Connection(2, "", "/run/libvirt-sock", "unix")
    lines = [present(captured(frame(), connection=c)).split("\n") for c in (first, second, first, second)]
    assert [len(block) for block in lines] == [2, 2, 1, 1]
    assert lines[1][0] == "── connection 2: ? → /run/libvirt-sock (unix)"
    nameless = pretty.PrettyPresenter(registry.default())
    assert len(list(nameless.lines(captured(frame(), connection=Connection(1, "", ""))))) == 1


@given(HOSTILE, st.binary(max_size=40))
def test_escapes_text_from_the_wire(name: str, data: bytes) -> None:
    evil = Connection(1, name, name)
    present = pretty.PrettyPresenter(registry.default())
    for payload in (text(name.encode()), text(data), data):
        for changes in ({"proc": 23}, {"type_": 3, "status": 2}, {"type_": 1, "status": 1}, {"prog": 1}):
            shown = present(captured(frame(payload, **changes), connection=evil))
            assert all(harmless(line) for line in shown.split("\n"))
    notice = Notice("code", name, evil, "c2s")
    assert harmless(notices.line(notice, name))


def test_colour_changes_no_text(captures: Path) -> None:
    plain, coloured = (
        pretty.PrettyPresenter(registry.default()),
        pretty.PrettyPresenter(registry.default(), COLOUR),
    )
    for item in hand_made(captures):
        assert re.sub(r"\x1b\[[0-9;]*m", "", coloured(item)) == plain(item)


def test_the_hand_made_messages(captures: Path, root: Path) -> None:
    present = pretty.PrettyPresenter(registry.default())
    shown = "".join(present(item) + "\n" for item in hand_made(captures))
    assert shown == (root / "tests/golden/present/hand-made.pretty").read_text()


def test_notices() -> None:
    where = Connection(1, "a:1", "b:2")
    assert (
        notices.line(Notice("lost-bytes", "12 bytes are missing", where, "s2c"), "x.pcap")
        == "x.pcap: error: 12 bytes are missing [lost-bytes] (a:1-b:2, from the server)"
    )
    assert notices.line(Notice("tls", "TLS", severity="note"), "-") == "-: note: TLS [tls]"
