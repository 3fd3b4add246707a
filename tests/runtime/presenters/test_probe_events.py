"""The lines of the event loop and of the QEMU monitor."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libvirt_proto.capture.probes.provider import KINDS, PROBES
from libvirt_proto.events import ProbeEvent
from libvirt_proto.presenters.probe_events import ProbeEventPresenter, json_line
from libvirt_proto.presenters.style import COLOUR

MONITOR = {
    "qemu_monitor_send_msg": "msg",
    "qemu_monitor_recv_reply": "reply",
    "qemu_monitor_recv_event": "event",
}
LOOP = sorted(kind for subject, kind in KINDS.values() if subject == "events")


def fired(
    kind: str, time_ns: int = 0, *, cut: bool = False, pid: int = 10178, **some: int | str
) -> ProbeEvent:
    arguments = {
        argument.name: some.get(argument.name, "0x77" if argument.meaning == "object" else 1)
        for argument in PROBES[kind]
    }
    return ProbeEvent(kind, time_ns, pid, "virsh", pid, arguments, cut)


def said(kind: str, text: str, fd: int = -1, *, cut: bool = False) -> ProbeEvent:
    return fired(kind, mon="0x7f5dc4004a90", fd=fd, cut=cut, **{MONITOR[kind]: text})


def example(root: Path, script: str) -> list[str]:
    """The example in a script's head, without its first line."""
    text = (root / f"codegen/libvirt_proto_codegen/templates/scripts/{script}.j2").read_text()
    lines = re.findall(r"^#   (  [ \d]+\.\d{3} .*)$", text, re.MULTILINE)
    assert lines[0] == "  0.000 begin"
    return lines[1:]


def test_the_event_loops_lines_are_the_scripts(root: Path) -> None:
    present = ProbeEventPresenter()
    present(fired("event_glib_remove_handle"))
    first, second = 86_000_000, 87_000_000
    lines = [
        fired("event_glib_add_timeout", first, timer=1, frequency=-1),
        fired("event_glib_dispatch_handle", first, pid=10153, watch=4, events=1),
        fired("event_glib_add_timeout", first, pid=10153, timer=5, frequency=-1),
        fired("event_glib_add_handle", first, pid=10153, watch=9, fd=21, events=1),
        fired("event_glib_add_handle", second, watch=1, fd=4, events=1),
        fired("event_glib_dispatch_handle", second, pid=10153, watch=9, events=1),
        fired("event_glib_update_handle", second, pid=10153, watch=9, events=3),
        fired("event_glib_dispatch_handle", second, pid=10153, watch=9, events=2),
    ]
    assert [present(line) for line in lines] == example(root, "events.stp")


def test_monitor_lines_match_libvirt_script(root: Path) -> None:
    wanted = example(root, "qemu-monitor.stp")
    kinds = {">": "qemu_monitor_send_msg", "!": "qemu_monitor_recv_event", "<": "qemu_monitor_recv_reply"}
    present = ProbeEventPresenter()
    for line in wanted:
        _, mark, _, text = line.split(maxsplit=3)
        assert present(said(kinds[mark], f"{text}\r\n"))[8:] == line[8:]


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("event_glib_remove_handle", "- handle 1"),
        ("event_glib_update_timeout", "* timeout 1 1"),
        ("event_glib_dispatch_timeout", "> timeout 1"),
        ("event_glib_remove_timeout", "- timeout 1"),
        ("event_poll_add_handle", "+ handle 1 1 1"),
        ("event_poll_purge_handle", "! handle 1"),
        ("event_poll_purge_timeout", "! timeout 1"),
        ("event_poll_dispatch_handle", "> handle 1 1"),
        ("event_poll_run", "~ 1 1"),
    ],
)
def test_marks(kind: str, line: str) -> None:
    assert ProbeEventPresenter()(fired(kind)) == f"  0.000 10178 {line}"


def test_every_probe_has_a_line() -> None:
    for kind in LOOP:
        assert re.fullmatch(
            r"  0\.000 10178 [-+*>!~]( handle| timeout)?( 1){1,3}", ProbeEventPresenter()(fired(kind))
        )


def test_descriptors_and_what_is_cut() -> None:
    assert ProbeEventPresenter()(said("qemu_monitor_send_msg", "{}", 0)).endswith(" {} fd=0")
    assert ProbeEventPresenter()(said("qemu_monitor_send_msg", '{"a', cut=True)).endswith(' {"a… (cut)')
    coloured = ProbeEventPresenter(COLOUR)(said("qemu_monitor_send_msg", '{"a', cut=True))
    assert re.sub("\x1b\\[[0-9;]*m", "", coloured) == '  0.000 > 0x7f5dc4004a90 {"a… (cut)'


def test_pretty_json() -> None:
    present = ProbeEventPresenter(pretty_json=True)
    text = '{"execute":"getfd","arguments":{"fdname":"a\u202eb","n":12345678901234567890123.50}}\r\n'
    assert present(said("qemu_monitor_send_msg", text, 7)).split("\n") == [
        "  0.000 > 0x7f5dc4004a90 {",
        '            "execute": "getfd",',
        '            "arguments": {',
        '              "fdname": "a\\u{202e}b",',
        '              "n": 12345678901234567890123.50',
        "            }",
        "          } fd=7",
    ]


@pytest.mark.parametrize("text", ["", "info\x1b[31m", '{"a": ', "[" * 3000, '{"a": "\\xff"}'])
def test_invalid_json_is_unchanged(text: str) -> None:
    one = said("qemu_monitor_recv_reply", text)
    assert ProbeEventPresenter(pretty_json=True)(one) == ProbeEventPresenter()(one)
    line = json.loads(json_line(one))
    assert (line["json"], line["text"]) == (None, text)


def test_json_lines() -> None:
    assert json.loads(json_line(fired("event_glib_add_handle", 5, watch=9, fd=21, events=3))) == {
        "event": "event_glib_add_handle",
        "time_ns": 5,
        "pid": 10178,
        "comm": "virsh",
        "thread": 10178,
        "watch": 9,
        "fd": 21,
        "events": 3,
        "cb": "0x77",
        "opaque": "0x77",
        "ff": "0x77",
    }
    head = {"time_ns": 0, "pid": 10178, "comm": "virsh", "thread": 10178, "mon": "0x7f5dc4004a90"}
    assert json.loads(json_line(said("qemu_monitor_send_msg", '{"a":\n1}\r\n', 7))) == {
        "event": "qemu_monitor_send_msg",
        **head,
        "json": {"a": 1},
        "text": None,
        "cut": False,
        "fd": 7,
    }
    assert json.loads(json_line(said("qemu_monitor_recv_event", '{"a":', cut=True))) == {
        "event": "qemu_monitor_recv_event",
        **head,
        "json": None,
        "text": '{"a":',
        "cut": True,
    }


@given(
    st.sampled_from(sorted(MONITOR)),
    st.text(st.characters()) | st.from_regex(r'[\[{":\x00-\xff]*'),
    st.booleans(),
)
def test_any_text_is_one_line(kind: str, text: str, cut: bool) -> None:
    """The text is one line, without terminal control characters."""
    one = said(kind, text, cut=cut)
    assert ProbeEventPresenter()(one).isprintable()
    assert all(line.isprintable() for line in ProbeEventPresenter(pretty_json=True)(one).split("\n"))
    line = json_line(one)
    assert line.count(b"\n") == 1
    assert json.loads(line)["event"] == kind


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(JSON, st.sampled_from([None, 1]))
def test_any_json_keeps_its_value(value: object, indent: int | None) -> None:
    """The value is unchanged, however it was written."""
    one = said("qemu_monitor_recv_reply", json.dumps(value, indent=indent))
    line = json.loads(json_line(one))
    assert (line["json"], line["text"]) == (value, None)
    shown = ProbeEventPresenter(pretty_json=True)(one).removeprefix("  0.000 < 0x7f5dc4004a90 ")
    assert json.loads(shown) == value
