"""JSON lines."""

from __future__ import annotations

import json
from base64 import b64decode
from pathlib import Path
from typing import Any

import msgspec
import pytest

from libvirt_proto import registry
from libvirt_proto.events import Captured, Connection, ConnectionEvent
from libvirt_proto.jsonlines import presenter as jsonl
from libvirt_proto.rpc.message import Message, decode_message
from tests.support.frames import captured, error_payload, frame, hand_made, text, word

KEYS = [
    "n", "time_ns", "conn", "dir", "length", "prog", "program", "vers", "proc", "procedure", "type", "status",
    "serial", "fds", "payload_type", "payload", "data", "spare", "error",
]  # fmt: skip


def line(item: Captured) -> dict[str, Any]:
    shown = jsonl.JsonLinesPresenter(registry.default())(item)
    assert shown.endswith(b"}\n")
    assert shown.count(b"\n") == 1
    value: dict[str, Any] = json.loads(shown)
    return value


def test_keys_and_their_order() -> None:
    assert line(captured(frame())) == {
        "n": 1,
        "time_ns": 0,
        "conn": "127.0.0.1:40508-127.0.0.1:16509",
        "dir": "c2s",
        "length": 28,
        "prog": 536903814,
        "program": "remote",
        "vers": 1,
        "proc": 66,
        "procedure": "auth_list",
        "type": "call",
        "status": "ok",
        "serial": 0,
        "fds": None,
        "payload_type": None,
        "payload": None,
        "data": None,
        "spare": None,
        "error": None,
    }
    assert list(line(captured(frame()))) == KEYS


def test_a_line_is_the_same_whatever_was_written_before(captures: Path) -> None:
    """Lines of one kind are filled into a form, which the first of them leaves."""
    used = jsonl.JsonLinesPresenter(registry.default())
    items = [*hand_made(captures), *hand_made(captures)]
    others = [
        msgspec.structs.replace(
            item, connection=Connection(2, "a %d %b", "%s"), direction=direction, time_ns=time
        )
        for item in items
        for direction in ("c2s", "s2c", None)
        for time in (None, -1, 2**63)
    ]
    for item in [*items, *others, *items]:
        assert used(item) == jsonl.JsonLinesPresenter(registry.default())(item)
        assert used(item) == msgspec.json.encode(used.line(item)) + b"\n"


@pytest.mark.parametrize(
    ("number", "name"),
    [(0, "call"), (1, "reply"), (2, "message"), (3, "stream"), (6, "stream_hole"), (7, 7), (-1, -1)],
)
def test_types_by_name_or_number(number: int, name: str | int) -> None:
    assert line(captured(frame(type_=number, status=2)))["type"] == name


@pytest.mark.parametrize(("number", "name"), [(0, "ok"), (1, "error"), (2, "continue"), (3, 3), (-7, -7)])
def test_statuses_by_name_or_number(number: int, name: str | int) -> None:
    assert line(captured(frame(type_=3, status=number)))["status"] == name


def test_counts_descriptors() -> None:
    for number, name in ((4, "call_with_fds"), (5, "reply_with_fds")):
        shown = line(captured(frame(word(2) + word(7), type_=number, proc=250)))
        assert (shown["type"], shown["fds"]) == (name, 2)


@pytest.mark.parametrize(
    ("changes", "program", "procedure"),
    [
        ({"prog": 5}, None, None),
        ({"proc": 99999}, "remote", None),
        ({"proc": -1}, "remote", None),
        ({"vers": 2}, "remote", None),
        ({"prog": 0x87539319, "proc": 1}, "log_manager", "domain_open_log_file"),
    ],
)
def test_unknown_names_are_null(changes: dict[str, int], program: str | None, procedure: str | None) -> None:
    shown = line(captured(frame(**changes)))
    assert (shown["program"], shown["procedure"]) == (program, procedure)
    assert [shown[key] for key in changes] == list(changes.values())


def test_bytes_without_definition_are_data() -> None:
    shown = line(captured(frame(b"\x00\xff\x10", prog=5)))
    assert b64decode(shown["data"]) == b"\x00\xff\x10"
    assert (shown["payload_type"], shown["payload"], shown["error"]) == (None, None, None)


def test_end_of_stream_is_empty_data() -> None:
    assert line(captured(frame(type_=3, status=2, proc=209)))["data"] == ""
    assert line(captured(frame(type_=3, status=0, proc=209)))["data"] is None


def test_error_replies_name_their_numbers() -> None:
    shown = line(captured(frame(error_payload(42, 12, b"Domain not found"), type_=1, status=1, proc=23)))
    assert shown["payload_type"] == "virNetMessageError"
    assert shown["payload"] == {
        "code": 42,
        "domain": 12,
        "message": "Domain not found",
        "level": 2,
        "dom": None,
        "str1": "Domain not found",
        "str2": None,
        "str3": None,
        "int1": -1,
        "int2": -1,
        "net": None,
        "code_name": "VIR_ERR_NO_DOMAIN",
        "domain_name": "VIR_FROM_TEST",
        "level_name": "VIR_ERR_ERROR",
    }
    # Each name follows its number.
    assert list(shown["payload"])[:5] == ["code", "code_name", "domain", "domain_name", "message"]


def payload(data: bytes) -> Any:
    return line(captured(data))["payload"]


def test_name_depends_on_another_field() -> None:
    """1 is a reason of each state, with a different name."""
    assert payload(frame(word(1) + word(1), type_=1, proc=212)) == {
        "state": 1,
        "state_name": "VIR_DOMAIN_RUNNING",
        "reason": 1,
        "reason_name": "VIR_DOMAIN_RUNNING_BOOTED",
    }
    assert (
        payload(frame(word(5) + word(1), type_=1, proc=212))["reason_name"] == "VIR_DOMAIN_SHUTOFF_SHUTDOWN"
    )
    assert payload(frame(word(99) + word(1), type_=1, proc=212))["state_name"] is None
    assert payload(frame(word(99) + word(1), type_=1, proc=212))["reason_name"] is None


@pytest.mark.parametrize(
    ("flags", "shown"),
    [
        (0, []),
        (3, ["VIR_CONNECT_LIST_DOMAINS_ACTIVE", "VIR_CONNECT_LIST_DOMAINS_INACTIVE"]),
        (0x40000001, ["VIR_CONNECT_LIST_DOMAINS_ACTIVE", 0x40000000]),
        (0x80000000, [0x80000000]),
    ],
)
def test_flags_are_an_array_of_names(flags: int, shown: list[str | int]) -> None:
    data = frame(word(1) + word(flags), proc=273)
    assert payload(data) == {"need_results": 1, "flags": flags, "flags_name": shown}


def test_type_of_typed_parameter() -> None:
    data = frame(word(1) + text(b"weight") + word(2) + word(50) + word(0), type_=1, proc=57)
    [parameter] = payload(data)["params"]
    assert parameter["value"] == {"type": 2, "type_name": "VIR_TYPED_PARAM_UINT", "ui": 50}
    assert list(parameter["value"]) == ["type", "type_name", "ui"]


def test_error_numbers_without_names() -> None:
    payload = line(captured(frame(error_payload(9999, -3, b"", 77), type_=1, status=1)))["payload"]
    assert (payload["code"], payload["domain"], payload["level"]) == (9999, -3, 77)
    assert (payload["code_name"], payload["domain_name"], payload["level_name"]) == (None, None, None)


def test_truncated_error_reply() -> None:
    shown = line(captured(frame(word(42) + word(12), type_=1, status=1)))
    assert shown["payload"]["code_name"] == "VIR_ERR_NO_DOMAIN"
    assert "level_name" not in shown["payload"]
    assert shown["error"] == {
        "message": "at byte 36, message: needs 4 bytes, 0 left",
        "offset": 36,
        "path": "message",
    }


def test_spare_bytes() -> None:
    assert line(captured(frame(b"\xde\xad")))["spare"] == "dead"


def test_truncated_payload() -> None:
    """domain_lookup_by_uuid's reply: nonnull_domain dom; its uuid has three of sixteen bytes."""
    shown = line(captured(frame(text(b"test") + b"\x01\x02\x03", type_=1, proc=24)))
    assert shown["payload_type"] == "remote_domain_lookup_by_uuid_ret"
    assert shown["payload"] == {"dom": {"name": "test"}}
    assert (shown["error"]["offset"], shown["error"]["path"]) == (36, "dom.uuid")
    assert shown["raw"] == "0000000474657374010203"


def test_incomplete_message() -> None:
    data = frame(text(b"test") + bytes(16) + word(7), type_=1, proc=24)
    shown = line(captured(data[:39], missing=len(data) - 39))
    assert (shown["length"], shown["missing"]) == (56, 17)
    assert shown["payload"] == {"dom": {"name": "test"}}
    assert list(shown)[-2:] == ["raw", "missing"]
    shown = line(captured(data[:28], missing=len(data) - 28))
    assert (shown["payload"], shown["payload_type"]) == (None, "remote_domain_lookup_by_uuid_ret")
    assert (shown["error"], shown["missing"]) == (None, 28)
    assert "raw" not in shown


def test_events() -> None:
    event = ConnectionEvent("client_new", 5, None, (("fd", "7"), ("path", "\udcff")))
    assert json.loads(jsonl.JsonLinesPresenter(registry.default()).event(event)) == {
        "event": "client_new",
        "time_ns": 5,
        "conn": None,
        "details": {"fd": "7", "path": "\\udcff"},
    }


def test_keeps_bytes_that_are_not_canonical() -> None:
    """domain_lookup_by_name's argument with padding that is not zero."""
    payload = word(2) + b"vmXY"
    shown = line(captured(frame(payload, proc=23)))
    assert shown["payload"] == {"name": "vm"}
    assert shown["error"] is None
    assert shown["raw"] == payload.hex()
    assert list(shown) == [*KEYS, "remarks", "raw"]
    assert len(shown["remarks"]) == 1
    assert "name" in shown["remarks"][0]


def test_unusual_sources() -> None:
    shown = line(captured(frame(), time_ns=None, direction=None, connection=Connection(7, "", "")))
    assert (shown["time_ns"], shown["dir"], shown["conn"]) == (None, None, "7")
    assert line(captured(frame(), connection=Connection(1, "", "/run/\udcff")))["conn"] == "-/run/\\udcff"


def test_a_connection_is_not_mixed_up_with_the_one_before() -> None:
    present = jsonl.JsonLinesPresenter(registry.default())
    ids = [Connection(1, "", ""), Connection(2, "", ""), Connection(1, "", "")]
    assert [json.loads(present(captured(frame(), connection=c)))["conn"] for c in ids] == ["1", "2", "1"]


def test_the_hand_made_messages(captures: Path, root: Path) -> None:
    present = jsonl.JsonLinesPresenter(registry.default())
    shown = b"".join(present(item) for item in hand_made(captures)).decode()
    assert shown == (root / "tests/golden/present/hand-made.jsonl").read_text()


def test_does_not_modify_messages() -> None:
    message: Message = decode_message(frame())
    assert line(captured(message)) == line(captured(frame()))
