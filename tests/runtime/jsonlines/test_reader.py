"""JSON lines to messages: editable keys, keys that must agree, and errors."""

from __future__ import annotations

import io
import json
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from libvirt_proto import ProtocolError, decode_message, registry
from libvirt_proto.capture.sources import open_source
from libvirt_proto.capture.stream import messages
from libvirt_proto.events import Captured, Chunk, Connection, Notice
from libvirt_proto.jsonlines.presenter import JsonLinesPresenter
from libvirt_proto.jsonlines.reader import Parsed, Parser, parse_lines
from libvirt_proto.rpc.frame import FrameDecoder
from tests.support.frames import captured, error_payload, frame, hand_made, text, word

#: domain_lookup_by_name of "test".
LOOKUP = frame(text(b"test"), proc=23, serial=7)
NOTHING = {"payload": None, "payload_type": None}


def line(data: bytes, **more: Any) -> dict[str, Any]:
    """The object of a frame's line."""
    fields: dict[str, Any] = json.loads(JsonLinesPresenter(registry.default())(captured(data, **more)))
    return fields


def parse(fields: dict[str, Any]) -> Parsed:
    parsed = Parser(registry.default())(json.dumps(fields).encode())
    assert parsed is not None
    return parsed


def encoded(fields: dict[str, Any]) -> bytes:
    return parse(fields).frame


def error(fields: dict[str, Any]) -> str:
    with pytest.raises(ProtocolError) as caught:
        parse(fields)
    assert caught.value.offset is None
    return str(caught.value)


# Byte for byte


def frames(capture: Path) -> dict[tuple[int, str | None], list[bytes]]:
    """The frames of each direction of a capture's connections, from its Chunks only."""
    decoders: dict[tuple[int, str | None], FrameDecoder] = {}
    found: dict[tuple[int, str | None], list[bytes]] = {}
    for item in open_source(str(capture)):
        if isinstance(item, Chunk):
            key = item.connection.id, item.direction
            decoder = decoders.setdefault(key, FrameDecoder())
            found.setdefault(key, []).extend(each.data for each in decoder.feed(item.data))
    assert not any(decoder.error or decoder.pending for decoder in decoders.values())
    return found


@pytest.mark.parametrize("name", ["tour.pcap", "stream-events-keepalive.pcap", "virsh-domname.pcap"])
def test_captures_byte_for_byte(captures: Path, name: str) -> None:
    present, parser = JsonLinesPresenter(registry.default()), Parser(registry.default())
    items = messages(open_source(str(captures / name)), decode_message, programs=registry.default().numbers)
    found: dict[tuple[int, str | None], list[bytes]] = {}
    for item in items:
        if isinstance(item, Captured):
            parsed = parser(present(item))
            assert parsed is not None
            again = parsed.captured
            assert (again.time_ns, str(again.connection), again.direction) == (
                item.time_ns, str(item.connection), item.direction
            )  # fmt: skip
            found.setdefault((item.connection.id, item.direction), []).append(parsed.frame)
    assert sum(map(len, found.values())) > 17
    assert found == {key: data for key, data in frames(captures / name).items() if data}


def test_hand_made_messages_round_trip(captures: Path) -> None:
    """They include descriptors, spare bytes and padding that is not zero."""
    texts = (captures / "hand-made-messages.hex").read_text().splitlines()
    data = [bytes.fromhex(each) for each in texts if each and not each.startswith("#")][:-1]
    present, parser = JsonLinesPresenter(registry.default()), Parser(registry.default())
    parsed = [parser(present(item)) for item in hand_made(captures)]
    assert [each.frame for each in parsed if each] == data


@pytest.mark.parametrize(
    ("data", "direction"),
    [
        (frame(word(99) + text(b"x"), proc=23), "c2s"),
        (frame(word(2) + b"vmXY", proc=23), "c2s"),
        (frame(text(b"test") + b"\xde\xad", proc=23), "c2s"),
        (frame(b"\xde\xad"), "c2s"),
        (frame(b"\x00\xff", prog=5), None),
        (frame(b"abc", type_=3, status=2, proc=209), "s2c"),
        (frame(b"", type_=3, status=2, proc=209), "s2c"),
        (frame(b"", type_=3, status=0, proc=209), "s2c"),
        (frame(b"", type_=3, status=1, proc=209), "c2s"),
        (frame(b"", type_=3, status=1, proc=209), "s2c"),
        (frame(error_payload(42, 12, b"\xff"), type_=3, status=1, proc=209), "s2c"),
        (frame(error_payload(42, 12, b"no"), type_=1, status=1, proc=23), "s2c"),
        (frame(word(2) + text(b"x"), type_=4, proc=250), "c2s"),
        (frame(b"\x01", type_=4, proc=250), "c2s"),
        (frame(word(99), type_=5, proc=250), "s2c"),
        (frame(word(1) + bytes(8), type_=6, status=2, proc=209), None),
        (frame(b"whatever", type_=9, status=-1, proc=-5), None),
    ],
)
def test_unusual_messages_round_trip(data: bytes, direction: Any) -> None:
    assert encoded(line(data, direction=direction)) == data


# Edits


def test_edit_changes_length_and_padding() -> None:
    fields = line(LOOKUP)
    fields["payload"]["name"] = "longer"
    assert encoded(fields) == frame(text(b"longer"), proc=23, serial=7)
    assert encoded(fields | {"length": 9, "n": "x", "error": 5, "remarks": 1}) == encoded(fields)


@pytest.mark.parametrize(
    ("edit", "data"),
    [
        ({"serial": 4294967295}, frame(text(b"test"), proc=23, serial=4294967295)),
        ({"proc": 66, "procedure": "auth_list", **NOTHING}, frame(serial=7)),
        ({"proc": 66, "procedure": None, **NOTHING}, frame(serial=7)),
        ({"type": 0, "status": 0}, LOOKUP),
        ({"type": "reply", "payload": None, "payload_type": None, "raw": ""},
         frame(proc=23, serial=7, type_=1)),
        ({"program": None, "prog": 5, "procedure": None, **NOTHING, "data": "AA=="},
         frame(b"\0", prog=5, proc=23, serial=7)),
        ({"spare": "dead"}, frame(text(b"test") + b"\xde\xad", proc=23, serial=7)),
        ({"payload": {"name": {"base64": "/w=="}}}, frame(text(b"\xff"), proc=23, serial=7)),
        ({"payload": None, "raw": "0000000141ffffff"}, frame(word(1) + b"A\xff\xff\xff", proc=23, serial=7)),
        ({"vers": 2, "procedure": None, **NOTHING, "data": "AA=="},
         frame(b"\0", vers=2, proc=23, serial=7)),
    ],
)  # fmt: skip
def test_editable_keys(edit: dict[str, Any], data: bytes) -> None:
    assert encoded(line(LOOKUP) | edit) == data


@pytest.mark.parametrize(
    "deleted",
    [
        ["prog"], ["program"], ["proc"], ["procedure"], ["prog", "vers", "proc"], ["program", "procedure"],
        ["payload_type"], ["n", "time_ns", "conn", "dir", "length", "fds", "data", "spare", "error"],
    ],
)  # fmt: skip
def test_derived_keys_are_optional(deleted: list[str]) -> None:
    assert encoded({key: value for key, value in line(LOOKUP).items() if key not in deleted}) == LOOKUP


def test_names_of_numbers_are_ignored() -> None:
    data = frame(error_payload(42, 12, b"no"), type_=1, status=1, proc=23)
    fields = line(data)
    assert fields["payload"]["code_name"] == "VIR_ERR_NO_DOMAIN"
    fields["payload"]["code"] = 1
    assert encoded(fields) == frame(error_payload(1, 12, b"no"), type_=1, status=1, proc=23)


def test_accepts_symbols_of_programs_and_procedures() -> None:
    symbols = {"program": "REMOTE_PROGRAM", "procedure": "REMOTE_PROC_DOMAIN_LOOKUP_BY_NAME"}
    assert encoded(line(LOOKUP) | symbols) == LOOKUP


def test_repaired_payload() -> None:
    """It was truncated; without raw and with the missing fields added it is a whole message."""
    fields = line(frame(word(9) + text(b"test"), proc=23, serial=7))
    assert (fields["payload"], fields["error"]["path"]) == ({"name": {"cut": "\0\0\0\4test"}}, "name")
    fields["payload"] = {"name": "test"}
    del fields["raw"]
    assert encoded(fields) == LOOKUP


TWO_PAYLOADS = (
    "raw: does not agree with payload, and would be written unchanged: delete raw to write payload, or"
    " payload to write raw"
)


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        ({"prog": None, "program": None}, "prog: is missing, and program, too"),
        ({"proc": None, "procedure": None}, "proc: is missing, and procedure, too"),
        ({"prog": 0x20008087}, 'program: "remote" is 536903814, but prog is 536903815: change both, or delete'
                               " one of the two"),
        ({"proc": 66}, 'procedure: "domain_lookup_by_name" is 23, but proc is 66: change both, or delete one'
                       " of the two"),
        ({"program": "remot"}, 'program: unknown program "remot"'),
        ({"procedure": "nothing"}, 'procedure: unknown procedure "nothing" of remote'),
        ({"vers": 2}, "procedure: unknown program 536903814 version 2"),
        ({"prog": 5, "program": None, "vers": None}, "vers: is missing"),
        ({"prog": "remote"}, 'prog: expected an integer, got "remote"'),
        ({"program": 5}, "program: expected a string, got 5"),
        ({"serial": None}, "serial: is missing"),
        ({"serial": -1}, "serial: expected an integer from 0 to 4294967295, got -1"),
        ({"proc": 2**31, "procedure": None},
         "proc: expected an integer from -2147483648 to 2147483647, got 2147483648"),
        ({"type": "kall"}, "type: expected a number or one of call, reply, message, stream, call_with_fds,"
                           ' reply_with_fds, stream_hole, got "kall"'),
        ({"status": None}, "status: is missing"),
        ({"status": 2**31}, "status: expected an integer from -2147483648 to 2147483647, got 2147483648"),
        ({"dir": "up"}, 'dir: expected c2s, s2c or null, got "up"'),
        ({"conn": 1}, "conn: expected a string, got 1"),
        ({"time_ns": 0.5}, "time_ns: expected an integer, got 0.5"),
        ({"fds": 1}, "fds: only call_with_fds and reply_with_fds have descriptors"),
        ({"type": "call_with_fds"},
         "fds: is missing: call_with_fds and reply_with_fds carry a descriptor count"),
        ({"type": "call_with_fds", "fds": 33}, "descriptor count 33 is over the limit of 32"),
        ({"spare": "x"}, 'spare: expected hex (a string with two digits per byte), got "x"'),
        ({"data": "x"}, 'data: expected base64 (a string), got "x"'),
        ({"data": "AA=="},
         "data: expected payload of type remote_domain_lookup_by_name_args instead of data"),
        ({"payload": None}, "payload: is missing (remote_domain_lookup_by_name_args)"),
        ({"payload": 5}, "payload: expected an object (remote_domain_lookup_by_name_args), got 5"),
        ({"payload": {"name": 5}}, 'payload.name: expected a string or {"base64": "…"}, got 5'),
        ({"payload": {"name": "x" * 4194305}}, "payload.name: length 4194305 is over the limit of 4194304"),
        ({"payload": {"name": "\ud800"}},
         "is not JSON: JSON is malformed: unexpected end of escaped utf-16 surrogate pair (byte 333)"),
        ({"payload_type": "remote_domain_create_args"},
         "payload_type: expected remote_domain_lookup_by_name_args for this header,"
         ' got "remote_domain_create_args"'),
        ({"proc": 66, "procedure": None}, "payload_type: expected no type for this header,"
         ' got "remote_domain_lookup_by_name_args"'),
        ({"proc": 66, "procedure": None, "payload_type": None},
         "payload: a message with this header has no payload"),
        ({"proc": 9999, "procedure": None, "payload_type": None},
         "payload: a message with this header has no payload of a known type: use data"),
        ({"proc": 66, "procedure": None, **NOTHING, "data": "AA=="},
         "data: a message with this header has no data"),
        ({"raw": "00000000"}, TWO_PAYLOADS),
        ({"raw": "00", "payload": {"name": "x"}}, TWO_PAYLOADS),
        ({"raw": "", "data": "", "payload": None},
         "raw: a message has either data or payload: delete one of the two"),
        ({"missing": 12}, "cannot be encoded: 12 bytes of the message are missing"),
        ({"serail": 1}, "serail: unknown key (docs/json.md lists the keys of a message)"),
    ],
)  # fmt: skip
def test_rejects_invalid_lines(edit: dict[str, Any], said: str) -> None:
    assert error(line(LOOKUP) | edit) == said


def test_raw_that_matches_payload() -> None:
    fields = line(frame(word(2) + b"vmXY", proc=23))
    assert encoded(fields) == frame(word(2) + b"vmXY", proc=23)
    fields["payload"]["name"] = "vn"
    assert error(fields).startswith("raw: does not agree with payload")
    del fields["raw"]
    assert encoded(fields) == frame(text(b"vn"), proc=23)


def test_rejects_large_frame() -> None:
    data = b64encode(bytes(33554432 - 24 + 1)).decode()
    fields = line(frame(type_=3, status=2, proc=209))
    assert error(fields | {"data": data}) == "length word 33554437 is over the limit of 33554436"


# Files of lines


def parsed_lines(*texts: bytes) -> Iterator[Parsed | Notice]:
    read = io.BytesIO(b"\n".join(texts)).read
    return parse_lines(read, registry.default())


def test_bad_lines_are_numbered_and_skipped() -> None:
    good = json.dumps(line(LOOKUP)).encode()
    bad = json.dumps(line(LOOKUP) | {"payload": {"name": []}}).encode()
    event = b'{"event": "client_new", "conn": "1"}'
    first, second, third, fourth, last = parsed_lines(good, b"", bad, b"{", event, b"[1]", good)
    assert isinstance(first, Parsed)
    assert (first.line, first.captured.n, first.frame) == (1, 1, LOOKUP)
    assert second == Notice("bad-line", 'line 3, payload.name: expected a string or {"base64": "…"}, got []')
    assert third == Notice("bad-line", "line 4: is not JSON: Input data was truncated")
    assert fourth == Notice("bad-line", "line 6: expected an object, got [1]")
    assert isinstance(last, Parsed)
    assert (last.line, last.captured.n, last.frame) == (7, 2, LOOKUP)


def test_rejects_line_longer_than_any_message() -> None:
    blocks = iter([json.dumps(line(LOOKUP)).encode() + b"\n", *[b"[" * (1 << 26)] * 5])
    first, second = parse_lines(lambda _: next(blocks, b""), registry.default())
    assert isinstance(first, Parsed)
    assert isinstance(second, Notice)
    assert second.text == "line 2: the line is longer than 268435488 bytes"


@pytest.mark.parametrize(
    ("name", "connection"),
    [
        ("127.0.0.1:40508-127.0.0.1:16509", Connection(1, "127.0.0.1:40508", "127.0.0.1:16509", "tcp")),
        ("[::1]:40508-[fe80::1%eth-0]:16509", Connection(1, "[::1]:40508", "[fe80::1%eth-0]:16509", "tcp")),
        ("-/run/libvirt/libvirt-sock", Connection(1, "", "/run/libvirt/libvirt-sock", "unix")),
        ("unix-/run/libvirt/sock#2", Connection(1, "unix", "/run/libvirt/sock", "unix", 2)),
        ("[::1]:40508-[::1]:16509#31", Connection(1, "[::1]:40508", "[::1]:16509", "tcp", 31)),
        ("unix-/run/#1", Connection(1, "unix", "/run/#1", "unix")),
        ("7", Connection(1, "", "", "raw")),
    ],
)
def test_reads_connections(name: str, connection: Connection) -> None:
    found = parse(line(LOOKUP) | {"conn": name}).captured.connection
    assert found == connection
    assert str(found) == (name if "-" in name else "1")


def test_connections_are_numbered_in_order_of_appearance() -> None:
    lines = (json.dumps(line(LOOKUP) | {"conn": name}).encode() for name in ("a-b", "c-d", "a-b"))
    parsed = parsed_lines(*lines)
    assert [each.captured.connection.id for each in parsed if isinstance(each, Parsed)] == [1, 2, 1]


def test_raw_with_payload_that_has_lists() -> None:
    """Nonzero padding after a list: nothing was edited as long as both agree."""
    keys = word(3) + b"".join(map(word, (1, 2, 3)))
    payload = text(b"abc")[:-1] + b"!" + bytes(16) + word(1) + word(0) * 2 + keys + word(0)
    data = frame(payload, proc=226)
    fields = line(data)
    assert fields["raw"]
    assert encoded(fields) == data
    for edited in ([1, 2], [1, 2, 4], {"0": 1}):
        payload_too = fields["payload"] | {"keycodes": edited}
        assert "does not agree with payload" in error(fields | {"payload": payload_too})


def test_rejects_deeply_nested_line() -> None:
    (notice,) = parsed_lines(b"[" * 100_000)
    assert isinstance(notice, Notice)
    assert notice.text.startswith("line 1: is n")
