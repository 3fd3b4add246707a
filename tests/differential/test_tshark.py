"""`libvirt-proto decode` and tshark on the same captures: equal messages, headers and payloads."""

from __future__ import annotations

import json
import re
import struct
from base64 import b64decode
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.differential import ours, tshark
from tests.differential.tshark import Field, Found

CAPTURES = {"tour.pcap": 5012, "stream-events-keepalive.pcap": 215, "virsh-domname.pcap": 18}
PORT = 16509
#: tshark 4.0 reads their string `type` as a number, and so continues at the wrong byte.
MISREAD = {
    "remote_connect_get_max_vcpus_args",
    "remote_connect_get_type_ret",
    "remote_domain_get_os_type_ret",
    "remote_domain_get_scheduler_type_ret",
}

needs_tshark = pytest.mark.system("tshark")
every_capture = pytest.mark.parametrize("name", CAPTURES)


@pytest.fixture(scope="module")
def both(captures: Path) -> Any:
    """Our and tshark's messages of a capture, read once."""
    if not tshark.has_dissector():
        pytest.skip("system test: tshark has no libvirt dissector (libvirt-wireshark)")
    known: dict[str, tuple[list[dict[str, Any]], list[Found]]] = {}

    def read(name: str) -> tuple[list[dict[str, Any]], list[Found]]:
        if name not in known:
            known[name] = ours.decode(captures / name), tshark.messages(captures / name)
        return known[name]

    return read


@needs_tshark
@every_capture
def test_message_count_and_header_fields(both: Any, name: str) -> None:
    lines, found = both(name)
    assert len(lines) == len(found) == CAPTURES[name]
    for line, message in zip(lines, found, strict=True):
        header = message.header
        assert line["length"] == header["length"][0]
        assert (line["prog"], line["program"]) == header["program"]
        assert line["vers"] == header["version"][0]
        assert (line["proc"], line["procedure"]) == header["procedure"]
        assert line["type"] == header["type"][1]
        assert line["serial"] == header["serial"][0]
        assert line["status"] == header["status"][1]


@needs_tshark
@every_capture
def test_time_direction_and_connection(both: Any, name: str) -> None:
    lines, found = both(name)
    assert [line["n"] for line in lines] == list(range(1, len(lines) + 1))
    assert [line["time_ns"] for line in lines] == [message.time_ns for message in found]
    assert [line["dir"] for line in lines] == ["c2s" if m.to_port == PORT else "s2c" for m in found]
    pairs = {(line["conn"], message.stream) for line, message in zip(lines, found, strict=True)}
    assert len(pairs) == len({conn for conn, _ in pairs}) == len({stream for _, stream in pairs})


@needs_tshark
@every_capture
def test_every_payload_matches(both: Any, name: str) -> None:
    """Each field's name and value match the dissector's tree, by names and bytes. Exceptions: stream data, of
    which Wireshark drops 28 bytes per chunk, and some types that it misreads."""
    lines, found = both(name)
    compared = set()
    for line, message in zip(lines, found, strict=True):
        assert line["error"] is None
        assert line["spare"] is None
        if line["type"] == "stream" and line["status"] == "continue":
            assert len(b64decode(line["data"])) == line["length"] - 28
        elif message.payload is None:
            assert (line["payload"], line["payload_type"], line["data"]) == (None, None, None)
        elif message.payload.name in MISREAD:
            assert message.payload.size != line["length"] - 28
        else:
            assert message.payload.size == line["length"] - 28
            error = message.payload.name == "remote_error"
            assert line["payload_type"] == ("virNetMessageError" if error else message.payload.name)
            check(message.payload, without_names(line["payload"]))
            compared.add((line["procedure"], line["type"], line["status"]))
    assert len(compared) > {"tour.pcap": 150}.get(name, 3)


@needs_tshark
@every_capture
def test_every_message_round_trips(both: Any, captures: Path, name: str) -> None:
    """On the bytes that tshark reassembles."""
    lines, found = both(name)
    frames = [
        frame
        for number in {message.stream for message in found}
        for stream in tshark.stream(captures / name, number)
        for frame in ours.split(stream)
    ]
    assert len(frames) == len(lines)
    for frame in frames:
        ours.check_round_trip(frame)


def check(field: Field, value: Any) -> None:
    """Compare our value with a field of the dissector's tree."""
    match value:
        case dict():
            for child, (key, inner) in zip(field.fields, value.items(), strict=True):
                if child.name == key:
                    check(child, inner)
                else:  # a union, of which tshark shows only the arm
                    *_, (arm, inner) = inner.items()
                    assert child.name == arm
                    check(child, inner)
        case list():
            assert len(field.fields) == len(value)
            for child, inner in zip(field.fields, value, strict=True):
                check(child, inner)
        case None:
            assert "(null)" in field.label
        case bool() | int():
            assert int.from_bytes(field.value, signed=value < 0) == value
        case float():
            assert struct.unpack(">d" if len(field.value) == 8 else ">f", field.value) == (value,)
        case str():
            # An enum member, which tshark names as well, or bytes.
            assert field.label.startswith(f"{field.name}: {value}(") or field.value in spellings(value)
        case _:
            raise AssertionError(value)


def spellings(text: str) -> list[bytes]:
    """The possible XDR of a JSON string: a string, a uuid, opaque data of either kind."""
    found = [xdr_opaque(text.encode())]
    if re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", text):
        found.append(UUID(text).bytes)
    elif re.fullmatch(r"([0-9a-f]{2})*", text):
        found += [bytes.fromhex(text), xdr_opaque(bytes.fromhex(text))]
    return found


def xdr_opaque(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data + bytes(-len(data) % 4)


def without_names(value: Any) -> Any:
    """The payload without the names after its numbers, which no dissector has."""
    if isinstance(value, list):
        return [without_names(item) for item in value]
    if not isinstance(value, dict):
        return value
    names = {f"{key}_name" for key, number in value.items() if isinstance(number, int)}
    return {key: without_names(part) for key, part in value.items() if key not in names}


@pytest.fixture(scope="module")
def hand_made(root: Path) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = json.loads((root / "tests" / "wire" / "hand-made.json").read_text())[
        "messages"
    ]
    return messages


def test_hand_made_messages_match(hand_made: list[dict[str, Any]], captures: Path) -> None:
    """Wireshark gets three of them wrong. The last is not libvirt and is reported as such."""
    done = ours.run("decode", "--format", "jsonl", captures / "hand-made-messages.hex", status=1)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    wanted = [message["json"] for message in hand_made if message["json"]]
    assert [{key: line[key] for key in want} for line, want in zip(lines, wanted, strict=True)] == wanted
    assert "HTTP" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_hand_made_messages_round_trip(hand_made: list[dict[str, Any]]) -> None:
    for message in hand_made:
        if message["json"]:
            ours.check_round_trip(bytes.fromhex(message["hex"]))


def test_hand_made_messages_match_capture(hand_made: list[dict[str, Any]], captures: Path) -> None:
    lines = (captures / "hand-made-messages.hex").read_text().splitlines()
    frames = [bytes.fromhex(line) for line in lines if line and not line.startswith("#")]
    assert [bytes.fromhex(message["hex"]) for message in hand_made] == frames
