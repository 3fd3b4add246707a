"""tshark with the generated dissector, and `libvirt-proto decode`, on the same captures: equal messages.

Of values, tshark's own texts are compared (`show` in its PDML) and the bytes that it has for them.
"""

from __future__ import annotations

import json
import math
import re
import struct
from base64 import b64decode
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

import pytest

from libvirt_proto import Message, encode_message, registry
from libvirt_proto.capture.pcap.recorder import Recorder, recorded
from libvirt_proto.events import Chunk, Connection, Direction, Item
from libvirt_proto.rpc.message import Header
from libvirt_proto_codegen.quoting import lua_string
from tests.conftest import NO_SHARED
from tests.differential import ours, wireshark
from tests.differential.installation import MACHINE, Installation
from tests.differential.wireshark import Found, Tshark
from tests.support.frames import error_payload, frame, text, word
from tests.support.other_protocols import FIRST_BYTES
from tests.support.values import random_value

pytestmark = [pytest.mark.system("tshark"), pytest.mark.releases]

Line = dict[str, Any]

DEMO = """
const DEMO_PROGRAM = 77;
const DEMO_PROTOCOL_VERSION = 1;
enum demo_procedure { DEMO_PROC_GET_ALL = 1, DEMO_PROC_GET_CHAIN = 2 };
struct demo_get_all_args { int numbers<200000>; };
struct demo_link { int number; demo_link *next; };
struct demo_get_chain_args { demo_link first; demo_link second; };
"""
#: Wireshark cuts longer labels.
MAX_LABEL = MAX_EXPERT = 230
WAYS: tuple[Direction, ...] = ("c2s", "s2c")
CAPTURES = {"tour.pcap": 5012, "stream-events-keepalive.pcap": 215, "virsh-domname.pcap": 18}
#: Inputs that are compared as `-w` records them.
RECORDED = {
    "tour.pcap": 5012,
    "strace-yy-unix-dominfo.txt": 18,
    "strace-yy-virt-admin.txt": 8,
    "strace-plain-unix-list.txt": 20,
    "libvirtd-rpc-info.log": 40,
}


@pytest.fixture(scope="module")
def tshark(installation: Installation) -> Iterator[Tshark]:
    """tshark with the dissector, in a folder that its user can enter."""
    if installation != MACHINE and not (installation.root / "usr/bin/tshark").exists():
        pytest.skip("this release was installed without tshark")
    with TemporaryDirectory() as name:
        yield wireshark.tshark(installation, Path(name))


@pytest.mark.parametrize("name", CAPTURES)
def test_capture(tshark: Tshark, captures: Path, name: str) -> None:
    lines = ours.decode(captures / name)
    found = tshark.messages(captures / name)
    assert len(found) == CAPTURES[name]
    compare(lines, found)
    assert [line["frame"] for line in lines] == [message.frame for message in found]


def test_capture_of_newer_release(tshark: Tshark, shared: Path) -> None:
    capture = shared / "captures" / "tour-12.9.0.pcap"
    if not capture.exists():
        pytest.skip(NO_SHARED)
    lines = ours.decode(capture)
    assert len(lines) > 100
    compare(lines, tshark.messages(capture))


@pytest.mark.parametrize("name", RECORDED)
def test_recording(tshark: Tshark, captures: Path, tmp_path: Path, name: str) -> None:
    """Messages of unix sockets, cut strings of strace, and a log's headers."""
    target = tmp_path / "record.pcapng"
    ours.run("decode", "-w", target, captures / name)
    lines = decoded(target)
    assert len(lines) >= RECORDED[name]
    compare(lines, tshark.messages(target))


def test_hand_made_messages(tshark: Tshark, root: Path, tmp_path: Path) -> None:
    """libvirt's dissector gets three of them wrong. The last one is HTTP."""
    made = json.loads((root / "tests" / "wire" / "hand-made.json").read_text())["messages"]
    frames = [bytes.fromhex(message["hex"]) for message in made]
    assert frames[-1].startswith(b"GET / HTTP")
    target = record(tmp_path / "x.pcapng", frames)
    compare([message["json"] for message in made if message["json"]], tshark.messages(target))


def test_random_and_damaged_payloads(tshark: Tshark, tmp_path: Path) -> None:
    """A message of every payload type; the same with some bytes changed, cut and appended."""
    rng = Random(1)
    frames = [each for data in payloads(rng) for each in (data, *damaged(data, rng))]
    # A frame per connection and direction: one that is not read to its end must not affect another.
    target = record(tmp_path / "x.pcapng", frames)
    lines = decoded(target)
    assert len(lines) == len(frames) > 3000
    assert sum(line["error"] is not None for line in lines) > 300
    assert sum("remarks" in line for line in lines) > 10
    compare(lines, tshark.messages(target))


def test_definitions_of_any_kind(tshark: Tshark, root: Path, tmp_path: Path) -> None:
    """Every kind of type, unions with default arms and types in themselves, unrelated to libvirt."""
    definitions = root / "tests" / "definitions" / "everything.x"
    other = registry.load(definitions)
    rng = Random(2)
    frames = []
    for program in other.programs():
        for procedure in program.procedures:
            for type_, role in ((0, procedure.args), (1, procedure.ret)):
                if role is not None:
                    payload = role.to_bytes(random_value(role, rng))
                    header = {"prog": program.number, "vers": program.version, "proc": procedure.number}
                    for data in [frame(payload, type_=type_, **header)] * 20:
                        frames += [data, *damaged(data, rng)]
    target = record(tmp_path / "x.pcapng", frames)
    assert frames
    script = tshark.with_definitions(definitions)
    compare(decoded(target, "--defs", str(definitions)), script.messages(target))


def test_depth_of_types_in_themselves(tshark: Tshark, tmp_path: Path) -> None:
    """100 levels are read, twice; 101 are an error."""
    definitions = tmp_path / "demo.x"
    definitions.write_text(DEMO)
    chains = {depth: (word(7) + word(1)) * (depth - 1) + word(7) + word(0) for depth in (1, 100, 101)}
    payloads = [chains[a] + chains[b] for a, b in ((100, 100), (1, 101), (101, 1))]
    target = record(tmp_path / "x.pcapng", [frame(payload, prog=77, proc=2) for payload in payloads])
    lines = decoded(target, "--defs", str(definitions))
    assert [bool(line["error"]) for line in lines] == [False, True, True]
    compare(lines, tshark.with_definitions(definitions).messages(target))


def test_every_type_and_status(tshark: Tshark, tmp_path: Path) -> None:
    """Also unknown ones, with payloads of all kinds and counts of descriptors."""
    payloads = [
        b"",
        b"1234",
        error_payload(42, 10, b"no domain"),
        word(1),
        word(33),
        word(0) + b"12",
        b"\0\0",
    ]
    # The call shows that the connection is libvirt's, and who the client is.
    messages = [
        (frame(proc=proc, serial=2), way, frame(payload, proc=proc, type_=type_, status=status, serial=2))
        for type_ in range(-1, 8)
        for status in range(-1, 4)
        for proc in (66, 22, 209, 999)
        for payload in payloads
        for way in WAYS
    ]
    items: list[Item] = []
    for n, (call, way, data) in enumerate(messages):
        connection = Connection(n, f"192.0.2.{n >> 14}:{20000 + n % 16384}", "198.51.100.1:16509")
        items += [Chunk(connection, "c2s", n, call), Chunk(connection, way, n, data)]
    target = record_items(tmp_path / "x.pcapng", items)
    lines = decoded(target)
    assert len(lines) == 2 * len(messages)
    compare(lines, tshark.messages(target))


def test_captured_in_part(tshark: Tshark, tmp_path: Path) -> None:
    """Messages of all kinds, of which the header or more was captured."""
    whole = [
        frame(bytes(range(40)), proc=209, type_=3, status=2),
        frame(error_payload(42, 10, b"no domain"), type_=1, status=1),
        frame(text(b"test") + bytes(20), proc=22, type_=1),
        frame(word(1) + bytes(20), proc=249, type_=4),
        frame(bytes(20), proc=999),
    ]
    items: list[Item] = [
        Chunk(
            Connection(n, f"192.0.2.1:{2000 + n}", "198.51.100.1:16509"),
            "c2s",
            n,
            data[:size],
            cut=len(data) - size,
        )
        for n, (data, size) in enumerate((data, size) for data in whole for size in range(28, len(data), 2))
    ]
    target = record_items(tmp_path / "x.pcapng", items)
    lines = decoded(target)
    assert len(lines) == len(items)
    compare(lines, tshark.messages(target))


def test_length_word_out_of_range(tshark: Tshark, tmp_path: Path) -> None:
    """Wireshark goes on at the next message; its own dissector waits for the rest of the wrong one."""
    wrong = word(5) + frame()[4:]
    target = record(tmp_path / "x.pcapng", [frame(serial=1) + wrong + frame(serial=2)])
    first, lost, second = tshark.messages(target)
    assert (first.fields["serial"].show, second.fields["serial"].show) == ("1", "2")
    assert lost.fields["skipped"].data == wrong
    assert lost.experts == (("lost", "28 bytes that belong to no message"),)


@pytest.mark.parametrize("port", [16509, 16599])
def test_summaries_of_messages_across_packets(tshark: Tshark, tmp_path: Path, port: int) -> None:
    """Wireshark calls the dissector twice for the third packet, once for the reassembled message."""
    connection = Connection(1, "192.0.2.1:2000", f"198.51.100.1:{port}")
    first, second, third = frame(serial=1), frame(word(7), proc=22, serial=2), frame(serial=3)
    pieces = [first + second, first + second[:10], second[10:] + third, first[:3], first[3:20], first[20:]]
    items: list[Item] = [Chunk(connection, "c2s", n, piece) for n, piece in enumerate(pieces)]
    target = record_items(tmp_path / "x.pcapng", items)
    summaries = tshark.run(target, "-Y", "virrpc", "-T", "fields", "-e", "_ws.col.Info").stdout.splitlines()
    auth, lookup = "remote.auth_list call, serial", "remote.domain_lookup_by_id call, serial"
    assert summaries == [f"{auth} 1; {lookup} 2", f"{auth} 1", f"{lookup} 2; {auth} 3", f"{auth} 1"]


@pytest.mark.parametrize("others", [(0x06900690, 0x20008086), (0x20008086, 0x06900690)])
def test_continues_at_the_next_message(tshark: Tshark, tmp_path: Path, others: tuple[int, int]) -> None:
    frames = [frame(serial=1), bytes(41), *(frame(prog=prog, proc=1, serial=7) for prog in others)]
    first, lost, *rest = tshark.messages(record(tmp_path / "x.pcapng", [b"".join(frames)]))
    assert first.fields["serial"].show == "1"
    assert lost.fields["skipped"].data == bytes(41)
    assert [int(each.fields["program"].show, 16) for each in rest] == [*others]


def test_first_values_of_huge_payload(tshark: Tshark, tmp_path: Path) -> None:
    """Wireshark gives up at a million items."""
    definitions = tmp_path / "demo.x"
    definitions.write_text(DEMO)
    script = tshark.with_definitions(definitions)
    target = record(tmp_path / "x.pcapng", [frame(word(200_000) + bytes(800_000), prog=77, proc=1)])
    (found,) = script.messages(target)
    assert found.experts == (("cut", "only the first 100000 values are shown"),)
    (numbers,) = found.fields["payload"].items
    assert len(numbers.items) == 99_999


def test_links_and_response_times(tshark: Tshark, captures: Path) -> None:
    """As in the exchanges of `decode --exchanges`."""
    capture = captures / "stream-events-keepalive.pcap"
    found = tshark.messages(capture, "-2")
    replies = {
        int(reply.fields["response_to"].show): (reply.frame, float(reply.fields["time"].show))
        for reply in found
        if "response_to" in reply.fields
    }
    calls = {
        call.frame: int(call.fields["response_in"].show) for call in found if "response_in" in call.fields
    }
    assert {call: frame for call, (frame, _) in replies.items()} == calls
    lines = {line["n"]: line for line in ours.decode(capture)}
    exchanges = [line for line in ours.decode(capture, "--exchanges") if line.get("reply")]
    expected = {lines[e["call"]["n"]]["frame"]: lines[e["reply"]["n"]]["frame"] for e in exchanges}
    assert calls == expected
    streams = [message for message in found if message.fields["type"].label.startswith("Type: stream")]
    assert streams
    assert all(int(each.fields["stream_of"].show) in calls for each in streams)


def mentions(text: str) -> Callable[[Line], bool]:
    return lambda line: text in json.dumps(line["payload"])


def test_second_reply_answers_nothing(tshark: Tshark, tmp_path: Path) -> None:
    """A serial may be used again; a reply answers the last call with it."""
    connection = Connection(1, "192.0.2.1:2000", "198.51.100.1:16509")
    call, reply = frame(serial=1), frame(type_=1, serial=1)
    ways: list[tuple[Direction, bytes]] = [
        ("c2s", call),
        ("s2c", reply),
        ("s2c", reply),
        ("c2s", call),
        ("s2c", reply),
    ]
    items: list[Item] = [Chunk(connection, way, n * 1000, data) for n, (way, data) in enumerate(ways)]
    found = tshark.messages(record_items(tmp_path / "x.pcapng", items))
    calls = [each.fields["response_to"].show if "response_to" in each.fields else None for each in found]
    assert calls == [None, "4", None, None, "7"]
    assert found[-1].fields["time"].show == "0.000001000"


@pytest.mark.parametrize(
    ("expression", "selects"),
    [
        ('virrpc.domain.name == "test"', mentions('"name": "test", "uuid"')),
        ('virrpc.constant == "VIR_DOMAIN_RUNNING"', mentions('"VIR_DOMAIN_RUNNING"')),
        ('virrpc.error.code == "VIR_ERR_NO_SUPPORT"', mentions('"VIR_ERR_NO_SUPPORT"')),
        ('virrpc.remote.procedure == "domain_get_info"', lambda line: line["procedure"] == "domain_get_info"),
        ('virrpc.procedure matches "^domain_g"', lambda line: line["procedure"].startswith("domain_g")),
        ("virrpc.type == 1 && virrpc.status == 1", lambda line: line["status"] == "error"),
        ('virrpc.program == "remote" && virrpc.serial < 10', lambda line: line["serial"] < 10),
    ],
)
def test_display_filter(
    tshark: Tshark, captures: Path, expression: str, selects: Callable[[Line], bool]
) -> None:
    lines = [line for line in ours.decode(captures / "tour.pcap") if selects(line)]
    done = tshark.run(captures / "tour.pcap", "-Y", expression, "-T", "fields", "-e", "frame.number")
    frames = [int(number) for number in done.stdout.split()]
    assert frames == sorted({line["frame"] for line in lines})
    assert frames


def test_any_port(tshark: Tshark, tmp_path: Path) -> None:
    """By content, with the default preferences and with libvirt's dissector, which only knows port 16509."""
    frames = [frame(serial=serial, type_=type_) for serial in range(4) for type_ in (0, 1)]
    target = record(tmp_path / "x.pcapng", frames, port=16599)
    done = tshark.read(target, "-Y", "virrpc", "-T", "fields", "-e", "virrpc.serial")
    assert [*map(int, done.stdout.split())] == [0, 0, 1, 1, 2, 2, 3, 3]


def test_leaves_port_16509_to_another_dissector(tshark: Tshark, captures: Path) -> None:
    """Without the preference, libvirt's dissector keeps its port; without that one, content decides."""
    protocols = tshark.read(captures / "virsh-domname.pcap", "-T", "fields", "-e", "frame.protocols").stdout
    there = any(tshark.installation.root.glob("usr/lib/*/wireshark/plugins/*/epan/libvirt.so"))
    assert len(re.findall(r":libvirt$" if there else r":virrpc$", protocols, re.MULTILINE)) == 18


def test_no_hit_in_other_protocols(tshark: Tshark, tmp_path: Path) -> None:
    target = record(tmp_path / "x.pcapng", [*FIRST_BYTES.values()], port=4000)
    assert len(FIRST_BYTES) >= 20
    assert tshark.read(target, "-Y", "virrpc").stdout == ""
    streams = tshark.read(target, "-T", "fields", "-e", "tcp.stream").stdout.split()
    assert int(streams[-1]) == len(FIRST_BYTES) - 1


def test_no_hit_in_nearly_a_message(tshark: Tshark, tmp_path: Path) -> None:
    nearly = [
        *(frame(prog=5), frame(vers=2), frame(proc=0), frame(proc=10_000), frame(type_=7), frame(type_=-1)),
        *(
            frame(status=3),
            frame(status=-1),
            word(27) + frame()[4:],
            word(33554437) + frame()[4:],
            frame()[:27],
        ),
    ]
    target = record(tmp_path / "x.pcapng", [*nearly, frame(serial=7)], port=4000)
    done = tshark.read(target, "-Y", "virrpc", "-T", "fields", "-e", "tcp.stream", "-e", "virrpc.serial")
    assert done.stdout == f"{len(nearly)}\t7\n"


def test_second_copy_explains_what_to_do(tshark: Tshark, captures: Path) -> None:
    second = tshark.folder / "second.lua"
    second.write_text(tshark.script.read_text())
    second.chmod(0o644)
    said = tshark.read(captures / "virsh-domname.pcap", "-X", f"lua_script:{second}").stderr
    assert f"is installed twice. Remove one of these files:\n  {tshark.script}\n  {second}" in said


def test_quoting_in_lua(tshark: Tshark, captures: Path) -> None:
    texts = [
        "name",
        "a]]b --[[ c",
        "]==]",
        'back\\slash "quoted"',
        "\\010",
        "line\nend\r\t\x001",
        "é€🐍",
        "%d %s",
        "",
    ]
    script = tshark.folder / "quoting.lua"
    lines = [
        f'print("quoted", ({lua_string(each)}):gsub(".", function(c) return c:byte() .. " " end))'
        for each in texts
    ]
    script.write_text("\n".join(lines))
    script.chmod(0o644)
    said = tshark.read(captures / "virsh-domname.pcap", "-X", f"lua_script:{script}").stdout
    found = [
        bytes(map(int, line.split("\t")[1].split()))
        for line in said.splitlines()
        if line.startswith("quoted\t")
    ]
    assert found == [each.encode() for each in texts]


def compare(lines: list[Line], found: list[Found]) -> None:
    """Check that tshark's messages have the headers and values of ours."""
    assert len(lines) == len(found)
    for line, message in zip(lines, found, strict=True):
        try:
            check_header(line, message)
            check_body(line, message)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{line}\n{message}") from error


def check_header(line: Line, message: Found) -> None:
    fields = message.fields
    for key in ("length", "serial"):
        assert fields[key].show == str(line[key])
    assert fields["version"].show == str(line["vers"])
    assert int.from_bytes(fields["program"].data) == line["prog"]
    assert fields["program"].label == f"Program: {line['program'] or 'Unknown'} (0x{line['prog']:08x})"
    number = fields.get(f"{line['program']}.procedure") or fields["procedure_number"]
    assert number.show == str(line["proc"])
    named = fields.get("procedure")
    assert (named and named.show) == line["procedure"]
    assert fields["type"].label in (
        f"Type: {line['type']} ({fields['type'].show})",
        f"Type: Unknown ({line['type']})",
    )
    assert fields["status"].label in (
        f"Status: {line['status']} ({fields['status'].show})",
        f"Status: Unknown ({line['status']})",
    )
    assert (int(fields["fds"].show) if "fds" in fields else None) == line["fds"]


def check_body(line: Line, message: Found) -> None:
    fields, experts = message.fields, message.experts
    malformed = [words[:MAX_EXPERT] for name, words in experts if name == "malformed"]
    remarks = [words for name, words in experts if name == "not_canonical"]
    missing = line.get("missing", 0)
    incomplete = bool(missing) and line["error"] is not None and not malformed
    assert malformed == ([line["error"]["message"][:MAX_EXPERT]] if line["error"] and not incomplete else [])
    assert remarks == line.get("remarks", [])
    assert ("cut" in dict(experts)) == bool(missing)
    payload = fields.get("payload")
    if line["payload"] is not None:
        assert payload is not None
        assert payload.show == line["payload_type"]
        complete = line["error"] is None
        if isinstance(line["payload"], dict):
            check_fields(payload.items, line["payload"], complete=complete)
        else:  # RFC 5531 allows payloads other than structs
            (item,) = payload.items
            check_value(item, "value", line["payload"], complete=complete)
    data = "stream_data" if (line["type"], line["status"]) == ("stream", "continue") else "data"
    assert (fields[data].data if data in fields else b"") == b64decode(line["data"] or "")
    assert (fields["spare"].data.hex() if "spare" in fields else None) == line["spare"]


def check_fields(items: tuple[wireshark.Item, ...], value: Line, *, complete: bool) -> None:
    """Compare the items of a struct or a union. If the payload broke off, items may have one more."""
    names = {
        f"{key}_name": value[f"{key}_name"]
        for key, number in value.items()
        if f"{key}_name" in value and isinstance(number, int)
    }
    keys = [key for key in value if key not in names]
    if not complete and len(items) == len(keys) - 1 and is_text(value[keys[-1]]):
        keys.pop()  # decode shows the beginning of a string that broke off
    assert len(items) == len(keys) or (not complete and len(items) == len(keys) + 1)
    for item, key in zip(items, keys, strict=False):
        check_value(item, key, value[key], complete=complete)
        if f"{key}_name" in names:
            check_names(item, names[f"{key}_name"])


def is_text(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, dict) and value.keys() <= {"base64", "cut"})


def check_names(item: wireshark.Item, name: str | list[str | int] | None) -> None:
    known = [name] if isinstance(name, str) else [each for each in name or () if isinstance(each, str)]
    assert [*item.constants] == known
    for each in known:
        assert each in item.label or len(item.label) >= MAX_LABEL


def check_value(item: wireshark.Item, key: str, value: Any, *, complete: bool) -> None:
    assert re.match(rf"(\[\d+\] )?{key}\b", item.label), item.label
    match value:
        case {"base64": data}:
            assert item.data == b64decode(data)
        case dict():
            check_fields(item.items, value, complete=complete)
        case list():
            assert item.name == "list"
            if complete:
                assert item.label.endswith(f"{key}: {len(value)} item{'s' if len(value) != 1 else ''}")
            assert len(item.items) == len(value) or not complete
            for index, (child, inner) in enumerate(zip(item.items, value, strict=False)):
                assert child.label.startswith(f"[{index}] {key}")
                check_value(child, key, inner, complete=complete)
        case None:
            assert item.name == "absent"
            assert item.label.endswith(f"{key}: none")
        case bool():
            assert item.show in (("1", "True") if value else ("0", "False"))
        case int():
            assert item.show == str(value)
        case float():
            assert struct.unpack(">d" if len(item.data) == 8 else ">f", item.data) == (value,)
        case str():
            check_text(item, value)
        case _:
            raise AssertionError(value)


def check_text(item: wireshark.Item, value: str) -> None:
    """Compare a string, an enumeration's member, a UUID, opaque data, or a float that is not a number."""
    if item.constants:
        assert item.constants == (value,)
    elif re.match(r"NaN|-?Infinity", value) and len(item.data) in (4, 8):
        (number,) = struct.unpack(">d" if len(item.data) == 8 else ">f", item.data)
        assert math.isnan(number) if value.startswith("NaN") else number == float(value)
    elif item.data != value.encode():
        assert item.data == (UUID(value).bytes if "-" in value else bytes.fromhex(value))
        assert item.show.replace(":", "") == value
    elif value.isascii() and value.isprintable() and "\\" not in value:
        assert item.show == value


def decoded(capture: Path, *options: str) -> list[Line]:
    """The messages that `decode` reads, which may have problems."""
    done = ours.run("decode", "--format", "jsonl", *options, capture, status=None)
    return [line for line in map(json.loads, done.stdout.splitlines()) if "event" not in line]


def record(path: Path, frames: list[bytes], port: int = 16509) -> Path:
    """Record each of the frames as a connection."""
    items: list[Item] = [
        Chunk(Connection(n, f"192.0.2.{n >> 14}:{20000 + n % 16384}", f"198.51.100.1:{port}"), "c2s", n, data)
        for n, data in enumerate(frames)
    ]
    return record_items(path, items)


def record_items(path: Path, items: list[Item]) -> Path:
    with path.open("wb") as file:
        assert list(recorded(items, Recorder(file))) == items
    return path


def payloads(rng: Random) -> Iterator[bytes]:
    """A message of every procedure and payload, with two random values of each."""
    for program in registry.default().programs():
        for procedure in program.procedures:
            for type_, payload in ((0, procedure.args), (1, procedure.ret), (2, procedure.msg)):
                if payload is not None:
                    header = Header(program.number, program.version, procedure.number, type_, 1, 0)
                    for _ in range(2):
                        message = Message(header, 0, None, payload.name, random_value(payload, rng))
                        yield encode_message(message)


def damaged(data: bytes, rng: Random) -> Iterator[bytes]:
    """The frame with a payload that is changed, cut or longer."""
    payload = bytearray(data[28:])
    if payload:
        at = rng.randrange(len(payload) // 4) * 4
        yield with_payload(data, data[28:][:at] + word(rng.choice((0, 1, 2, 3, -1))) + data[28:][at + 4 :])
        payload[rng.randrange(len(payload))] = rng.choice((0, 1, 0x7F, 0xFF))
        yield with_payload(data, bytes(payload))
        yield with_payload(data, data[28:][: rng.randrange(len(payload))])
    yield with_payload(data, data[28:] + rng.randbytes(rng.randrange(1, 9)))


def with_payload(data: bytes, payload: bytes) -> bytes:
    return word(28 + len(payload)) + data[4:28] + payload
