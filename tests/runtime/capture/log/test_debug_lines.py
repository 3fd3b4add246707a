"""Debug lines about messages count only where the record of a message is absent."""

from __future__ import annotations

import io
import itertools
import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from libvirt_proto.capture.log import debug_messages
from libvirt_proto.capture.log.source import log_chunks
from libvirt_proto.capture.sources import open_source, read_source
from libvirt_proto.cli import main as cli
from libvirt_proto.events import Chunk, Notice
from tests.support.dresses import ALL

DISPATCH = "prog=536903814 ver=1 type=0 status=0 serial=8 proc=183"
HEAD = "2013-09-16 20:39:03.273+0000: 14093: debug : "

#: Lines and the header (program, version, procedure, type, serial, status), direction, side and length.
LINES = {
    "server dispatch": (
        f"virNetServerProgramDispatch:276 : {DISPATCH}",
        (536903814, 1, 183, 0, 8, 0),
        ("c2s", "server", None),
    ),
    "libvirt 0.8": (
        "remoteDispatchClientRequest:368 : prog=536903814 ver=1 type=0 status=0 serial=3 proc=22",
        (536903814, 1, 22, 0, 3, 0),
        ("c2s", "server", None),
    ),
    "stream": (
        "virNetServerProgramDispatch:276 : prog=536903814 ver=1 type=3 status=2 serial=8 proc=209",
        (536903814, 1, 209, 3, 8, 2),
        ("c2s", "server", None),
    ),
    "negative program": (
        "virNetServerProgramDispatch:431 : prog=-2024565991 ver=1 type=0 status=0 serial=1 proc=4",
        (2270401305, 1, 4, 0, 1, 0),
        ("c2s", "server", None),
    ),
    "server error": (
        "virNetServerProgramSendError:151 : prog=536903814 ver=1 proc=23 type=1 serial=9"
        " msg=0x7f0fd0 rerr=0x7f1c7801",
        (536903814, 1, 23, 1, 9, 1),
        ("s2c", "server", None),
    ),
    "client event": (
        "virNetClientProgramDispatch:211 : prog=536903814 ver=1 type=2 status=0 serial=0 proc=107",
        (536903814, 1, 107, 2, 0, 0),
        ("s2c", "client", None),
    ),
    "client call": (
        "virNetClientIO:1879 : Outgoing message prog=2270401305 version=1 serial=0 proc=4 type=0"
        " length=176 dispatch=(nil)",
        (2270401305, 1, 4, 0, 0, 0),
        ("c2s", "client", 176),
    ),
    "client call, 0.9": (
        "virNetClientIO:992 : program=536903814 version=1 serial=2 proc=60 type=0 length=28 dispatch=0x1f30",
        (536903814, 1, 60, 0, 2, 0),
        ("c2s", "client", 28),
    ),
    "client reply, 0.9": (
        "virNetClientCallDispatch:712 : Incoming message prog 536903814 vers 1 proc 60 type 1 status 0"
        " serial 2",
        (536903814, 1, 60, 1, 2, 0),
        ("s2c", "client", None),
    ),
}


def header(numbers: tuple[int, ...], length: int | None) -> bytes:
    return b"".join(number.to_bytes(4, "big") for number in (length or 0, *numbers))


def chunks(text: str) -> list[tuple[object, ...]]:
    """The messages: direction, side, bytes, cut bytes."""
    return [
        (item.direction, item.connection.side, item.data, item.cut)
        for item in read_source(io.BytesIO(text.encode()), "log")
        if isinstance(item, Chunk) and item.data
    ]


def message(name: str) -> tuple[object, ...]:
    _, numbers, (direction, side, length) = LINES[name]
    return direction, side, header(numbers, length), -1 if length is None else length - 28


#: A line with only its text has no function, by which lines of clients and daemons differ.
# The reader looks for an equals sign, which "entities" hides.
DRESSES = {name: dress for name, dress in ALL.items() if name != "encoding, entities"}


@pytest.mark.parametrize("dress", DRESSES)
def test_lines_without_records_are_messages(dress: str) -> None:
    names = list(LINES)
    # Two lines, which differ between dresses; then the first one.
    start = list(DRESSES).index(dress) % len(names)
    for shown in (names[start : start + 2], names[:1]):
        found = chunks(DRESSES[dress]("".join(f"{HEAD}{LINES[name][0]}\n" for name in shown)))
        assert sorted(map(str, found)) == sorted(str(message(name)) for name in shown)


RECORDS = {
    "server dispatch": "RPC_SERVER_CLIENT_MSG_RX: client=0x1c63910 len=64",
    "server error": "RPC_SERVER_CLIENT_MSG_TX_QUEUE: client=0x1c63910 len=120",
    "client event": "RPC_CLIENT_MSG_RX: client=0x1c63910 len=64",
    "client call": "RPC_CLIENT_MSG_TX_QUEUE: client=0x1c63910 len=176",
}


def record(name: str) -> str:
    prog, vers, proc, type_, serial, status = LINES[name][1]
    return (
        f"{HEAD}f:1 : {RECORDS[name]} prog={prog} vers={vers} proc={proc} type={type_} status={status}"
        f" serial={serial}\n"
    )


OTHER = f"{HEAD}virEventPollRunOnce:640 : EVENT_POLL_RUN: nhandles=7 timeout=-1\n"


@pytest.mark.parametrize("dress", ["none", "prefix, syslog", "encoding, CRLF", "quote, quote", "form, json"])
@pytest.mark.parametrize("between", [0, 1, 8])
@pytest.mark.parametrize("name", RECORDS)
def test_message_with_a_record_appears_once(name: str, between: int, dress: str) -> None:
    lines = [record(name), f"{HEAD}{LINES[name][0]}\n"]
    if name == "server error":  # the record follows
        lines.reverse()
    text = lines[0] + OTHER * between + lines[1]
    found = chunks(DRESSES.get(dress, lambda text: text)(text))
    assert [each[3] for each in found] == [int(RECORDS[name].split("len=")[1]) - 28]


def test_each_record_stands_for_one_description() -> None:
    name = "server dispatch"
    described = f"{HEAD}{LINES[name][0]}\n"
    for records, descriptions in itertools.product(range(4), range(4)):
        text = record(name) * records + described * descriptions + OTHER
        found = chunks(text)
        assert len(found) == max(records, descriptions)
        assert sum(each[3] == -1 for each in found) == max(0, descriptions - records)


def test_full_table_of_records_loses_only_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debug_messages, "_MAX_RECORDS", 4)
    received = f"{HEAD}f:1 : RPC_SERVER_CLIENT_MSG_RX: client=0x1 len=28 prog=1 vers=1 proc=2"
    calls = [f"{received} type=0 status=0 serial={n}\n" for n in range(20)]
    lines = [
        f"{HEAD}virNetServerProgramDispatch:1 : prog=1 ver=1 type=0 status=0 serial={n} proc=2\n"
        for n in range(20)
    ]
    first = f"{HEAD}{LINES['server dispatch'][0]}\n"
    # Each line after its record, then only records, then the lines of the last records and of older ones.
    text = first + "".join(call + line for call, line in zip(calls, lines, strict=True))
    assert len(chunks(text)) == 21
    text = first + "".join(calls) + "".join(lines[-4:])
    assert len(chunks(text)) == 21
    assert len(chunks(text + "".join(lines[:4]))) == 25


def test_descriptions_keep_their_place() -> None:
    error = f"{HEAD}{LINES['server error'][0]}\n"
    call = f"{HEAD}{LINES['server dispatch'][0]}\n"
    found = chunks(call + error + call + error + call)
    assert [each[0] for each in found] == ["c2s", "s2c", "c2s", "s2c", "c2s"]


def test_description_in_a_value_or_a_document_is_not_a_message() -> None:
    hostile = [
        f"{HEAD}virDomainDefineXML:1 : xml=<description>{DISPATCH}</description>",
        f"{HEAD}f:1 : RPC_TLS_SESSION_NEW: sess=0x1 ctxt=0x2 hostname={DISPATCH} sock=3 isServer=1",
        f"{HEAD}virDomainDefineXML:1 : xml=<domain>\n  <title>{DISPATCH}</title>\n</domain>",
        f'{HEAD}qemuMonitorSend:1 : "{DISPATCH}"',
    ]
    for text in hostile:
        assert chunks(text + "\n" + OTHER) == []


def test_incomplete_descriptions_are_not_messages() -> None:
    line, lines = LINES["server dispatch"][0], []
    for word in ("prog", "ver", "type", "status", "serial", "proc"):
        lines.append(re.sub(rf" ?{word}=\d+", "", line))
        lines.append(re.sub(rf"{word}=\d+", f"{word}=0x12", line))
    lines.append("virNetServerProgramRef:87 : prog=0x1c5e8a0 refs=3")
    lines.append(
        "virNetClientIO:1 : Outgoing message prog=1 version=1 serial=0 proc=4 type=3 length=176"
        " dispatch=(nil)"
    )
    for each in lines:
        assert chunks(f"{HEAD}{each}\n{OTHER}") == []


def notices(text: str) -> dict[str, str]:
    items = log_chunks(io.BytesIO(text.encode()).read)
    return {item.code: item.text for item in items if isinstance(item, Notice)}


def run(tmp_path: Path, *words: str) -> Result:
    log = tmp_path / "debug.log"
    log.write_text("".join(f"{HEAD}{LINES[name][0]}\n" for name in ("server dispatch", "server error")))
    return CliRunner().invoke(cli.main, [words[0], str(log), *words[1:]])


@pytest.mark.parametrize("redact", [[], ["--redact"]])
def test_outputs_of_a_message_without_a_length(tmp_path: Path, redact: list[str]) -> None:
    lines = [json.loads(line) for line in run(tmp_path, "decode", *redact).stdout.splitlines()]
    assert [(line["length"], line["missing"], line["payload"]) for line in lines] == [(None, None, None)] * 2
    monitor = run(tmp_path, "decode", "--format", "monitor", *redact).stdout.splitlines()
    assert [line.rpartition(" ")[2] for line in monitor] == ["len=?", "len=?"]
    pretty = run(tmp_path, "decode", "--format", "pretty", *redact).stdout
    assert pretty.count("length unknown") == 2
    assert json.loads(run(tmp_path, "stats", "--format", "json").stdout)["totals"]["bytes"] == 0


@pytest.mark.parametrize("redact", [[], ["--redact"]])
def test_recording_leaves_out_messages_without_a_length(tmp_path: Path, redact: list[str]) -> None:
    capture = tmp_path / "out.pcapng"
    assert run(tmp_path, "decode", "-w", str(capture), *redact).exit_code == 0
    assert [item for item in open_source(str(capture)) if isinstance(item, Chunk) and item.data] == []


def test_message_without_a_length_cannot_be_encoded(tmp_path: Path) -> None:
    line = run(tmp_path, "decode").stdout.splitlines()[0]
    result = CliRunner().invoke(cli.main, ["encode", "-"], input=line)
    assert result.exit_code == 1
    assert "an unknown number of bytes of the message are missing" in result.stderr


@pytest.mark.parametrize("length", [1, 27, 33_554_437])
def test_debug_line_with_an_impossible_length_is_reported(length: int) -> None:
    text = HEAD + LINES["client call"][0].replace("length=176", f"length={length}") + "\n"
    assert chunks(text) == []
    assert notices(text)["bad-log-line"] == (
        f"line 1: debug line: expected len= from 28 to 33554436, got {length}"
    )


def test_placeholders_are_not_messages() -> None:
    text = HEAD + LINES["client call"][0].replace("length=176", "length=0") + "\n"
    assert chunks(text) == []
    assert "bad-log-line" not in notices(text)


def test_note_counts_messages_without_records() -> None:
    line = f"{HEAD}{LINES['server dispatch'][0]}\n"
    assert notices(record("server dispatch") + line) == {}
    found = notices(line * 2)
    assert list(found) == ["debug-lines"]
    assert found["debug-lines"].startswith("2 messages without a record")


@pytest.mark.parametrize("first", [OTHER.rstrip(), f"{HEAD}{LINES['stream'][0]}"])
def test_record_after_another_one_on_a_line(first: str) -> None:
    alone = len(chunks(first))
    assert len(chunks(f"{first} {record('client call')}")) == alone + 1
