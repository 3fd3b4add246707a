"""`--redact`: for a capture with every listed secret, no output and no recording contains one."""

from __future__ import annotations

import io
import json
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from libvirt_proto import registry
from libvirt_proto.capture.address import parse
from libvirt_proto.capture.pcap.recorder import Recorder
from libvirt_proto.capture.sources import open_source
from libvirt_proto.capture.stream import messages
from libvirt_proto.cli.main import main
from libvirt_proto.events import Captured, Chunk, Connection, Direction, Item, Notice
from libvirt_proto.redact.redactor import Redactor, redacted_messages
from libvirt_proto.rpc.message import MessageDecoder, encode_message
from tests.support.frames import error_payload, frame, text, word
from tests.support.markers import MARKER, few_frames, found
from tests.support.relays import relay, served
from tests.support.straces import SOCK, Strace

CAPTURES = Path(__file__).resolve().parent.parent.parent / "captures"
SECRET = MARKER.encode()
REMOTE = registry.program("remote")
PASSWORD_PROC = REMOTE.procedure("domain_set_user_password").number
OPEN = frame(word(0) + word(0), proc=1)
PASSWORD = frame(
    text(b"vm") + bytes(16) + word(1) + word(1) + text(b"root") + word(1) + text(SECRET * 4) + word(0),
    proc=PASSWORD_PROC,
    serial=7,
)
#: Each direction's part of a conversation: data, lost before it, cut after it.
Talk = list[tuple[Direction, bytes, int, int]]


def undecodable() -> Iterator[Talk]:
    """Conversations with bytes that do not form whole, valid messages."""
    stream = frame(SECRET * 50, type_=3, status=2, proc=209)
    yield [("c2s", OPEN, 0, 0), ("c2s", stream, 0, 0), ("s2c", stream, 0, 0)]
    yield [("c2s", OPEN + SECRET * 30 + OPEN + OPEN, 0, 0), ("c2s", OPEN, 0, 0)]
    yield [("c2s", OPEN + PASSWORD[:80], 0, 0), ("c2s", PASSWORD[90:] + OPEN, 10, 0)]
    yield [("c2s", OPEN + PASSWORD[:80], 0, 0), ("c2s", SECRET + OPEN + OPEN, -1, 0)]
    yield [("c2s", OPEN + PASSWORD[:100], 0, len(PASSWORD) - 100), ("c2s", OPEN, 0, 0)]
    yield [("c2s", OPEN + PASSWORD[:20], 0, len(PASSWORD) - 20), ("c2s", OPEN, 0, 0)]
    yield [("c2s", OPEN + SECRET + OPEN, 0, 0), ("c2s", SECRET * 2, 0, 30), ("c2s", OPEN, 0, 0)]
    yield [("c2s", SECRET * 3 + OPEN + OPEN, -1, 0)]
    yield [("c2s", OPEN + PASSWORD[:-3], 0, 0)]
    yield [("c2s", OPEN + PASSWORD[:25], 0, 0)]
    yield [("c2s", OPEN + word(0x53336372) + SECRET * 9, 0, 0)]
    yield [("c2s", b"GET /?token=" + SECRET + b" HTTP/1.1\r\n\r\n", 0, 0), ("s2c", SECRET * 9, 0, 0)]
    yield [("c2s", SECRET * 900, 0, 0), ("s2c", SECRET, 0, 5)]
    yield [("c2s", b"\x16\x03\x01\x02\x00\x01" + SECRET * 9, 0, 0), ("s2c", SECRET * 9, 3, 0)]
    sasl = frame(word(1) + word(0) + word(0), proc=69, type_=1, serial=1)
    yield [("s2c", sasl, 0, 0), ("c2s", word(40) + SECRET * 4, 0, 0), ("s2c", SECRET * 9, 0, 7)]
    yield [("c2s", frame(SECRET * 9, prog=0x12345678), 0, 0), ("c2s", frame(SECRET * 9, proc=9999), 0, 0)]
    yield [("c2s", frame(SECRET * 9, proc=PASSWORD_PROC), 0, 0), ("c2s", frame(SECRET, proc=66), 0, 0)]
    quoting = (
        error_payload(1, 10, b"passwd='" + SECRET + b"' is too long"),
        error_payload(35, 20, b"at line 1:\n" + SECRET),
    )
    yield [("s2c", frame(one, proc=11, type_=1, status=1, serial=n), 0, 0) for n, one in enumerate(quoting)]
    yield [("s2c", frame(quoting[0], proc=209, type_=3, status=1, serial=1), 0, 0)]
    yield [("c2s", opened(), 0, 0)]


def opened() -> bytes:
    """connect_open of a URI with a password."""
    return frame(word(1) + text(b"esx://me:" + SECRET + b"@192.0.2.1/") + word(0), proc=1)


def items() -> list[Item]:
    """A conversation with all of `few_frames` and the conversations above."""
    talks: list[Talk] = [[(way, data, 0, 0) for way, data in few_frames(registry.default())], *undecodable()]
    found_items: list[Item] = []
    for number, talk in enumerate(talks, 1):
        connection = Connection(number, f"192.0.2.7:{40_000 + number}", "192.0.2.1:16509")
        found_items += [
            Chunk(connection, way, 10**18 + n, data, lost, cut=cut)
            for n, (way, data, lost, cut) in enumerate(talk)
        ]
        found_items += [Chunk(connection, way, 2 * 10**18, b"", end=True) for way in ("c2s", "s2c")]  # type: ignore[arg-type]
    return found_items


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("redaction") / "secrets.pcapng"
    with path.open("wb") as file:
        recorder = Recorder(file)
        for item in items():
            recorder.add(item)
    assert found(path.read_bytes())
    return path


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(main, list(map(str, words)))


OUTPUTS = [
    ("decode", "--format", "pretty", "--full"),
    ("decode", "--format", "pretty"),
    ("decode", "--format", "monitor"),
    ("decode", "--format", "jsonl"),
    ("decode", "--format", "jsonl", "--errors-only"),
    ("decode", "--format", "jsonl", "--exchanges"),
    ("decode", "--format", "pretty", "--exchanges", "--full"),
    ("decode", "--format", "monitor", "--exchanges", "--acl"),
    ("decode", "--format", "monitor", "--as-of", "1.2.9"),
    ("stats", "--format", "json", "--top", "500"),
    ("stats", "--format", "table", "--top", "500"),
]


@pytest.mark.parametrize("option", ["--redact", "--redact=all"])
@pytest.mark.parametrize("words", OUTPUTS, ids=" ".join)
def test_no_output_has_a_secret(words: tuple[str, ...], option: str, capture: Path) -> None:
    plain, redacted = run(*words, capture), run(*words, option, capture)
    assert redacted.exit_code == plain.exit_code
    assert not isinstance(redacted.exception, Exception) or isinstance(redacted.exception, SystemExit)
    assert found(redacted.stdout) == []
    assert found(redacted.stderr) == []
    if "pretty" in words or "jsonl" in words or words[0] == "stats":
        assert found(plain.stdout)
        assert "redacted" in redacted.stdout


@pytest.mark.parametrize("option", ["--redact", "--redact=all"])
def test_recording_has_no_secret(option: str, capture: Path, tmp_path: Path) -> None:
    record, again = tmp_path / "record.pcapng", tmp_path / "again.pcapng"
    first = run("decode", option, "--format", "jsonl", "-w", record, capture)
    assert found(record.read_bytes()) == []
    assert b"redacted by libvirt-proto --redact" in record.read_bytes()
    second = run("decode", option, "--format", "jsonl", "-w", again, record)
    assert streams(again) == streams(record)
    shapes = [
        Counter(map(shape, lines(done)))
        for done in (first, second, run("decode", "--format", "jsonl", capture))
    ]
    assert shapes[0] == shapes[1] == shapes[2]
    assert {key: len(data) for key, data in streams(record).items()} == {
        key: len(data) for key, data in streams(capture).items()
    }


def lines(done: Result) -> list[dict[str, object]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def shape(line: dict[str, object]) -> tuple[object, ...]:
    """The parts of a message that redaction keeps."""
    return tuple(
        line[key] for key in ("conn", "dir", "length", "prog", "vers", "proc", "type", "status", "serial")
    )


def streams(path: Path) -> dict[tuple[str, Direction | None], bytes]:
    """The bytes of each direction of a recording, with `?` for missing ones."""
    total: dict[tuple[str, Direction | None], bytes] = {}
    for item in open_source(str(path)):
        if isinstance(item, Chunk):
            key = str(item.connection), item.direction
            data = b"?" * max(item.lost, 0) + item.data + b"?" * item.cut
            total[key] = total.get(key, b"") + data
    return total


def test_encode_reproduces_the_recording(capture: Path, tmp_path: Path) -> None:
    record, shown = tmp_path / "record.pcapng", tmp_path / "shown.jsonl"
    run("decode", "--redact", "--format", "jsonl", "-o", shown, "-w", record, capture)
    whole = [line for line in shown.read_text().splitlines() if '"missing"' not in line]
    shown.write_text("\n".join(whole))
    encoded = run("encode", "--format", "hex", shown)
    assert encoded.exit_code == 0, encoded.stderr
    decode = MessageDecoder(registry.default()).decode
    recorded = [
        encode_message(item.message).hex()
        for item in messages(open_source(str(record)), decode, programs=registry.default().numbers)
        if isinstance(item, Captured) and not item.message.missing
    ]
    assert len(recorded) == len(whole)
    assert encoded.stdout.splitlines() == recorded


def test_redacts_raw_bytes_hex_and_strace(tmp_path: Path) -> None:
    data = [data for way, data in few_frames(registry.default()) if way == "c2s"]
    strace = Strace()
    strace.call(f'connect(5, {{sa_family=AF_UNIX, sun_path="{SOCK}"}}, 110)')
    for one in data:
        head, tail = strace.arguments("write", 5, one)
        strace.call(f"{head}{tail})" if not head.endswith(")") else head, str(len(one)))
    files = {
        "x.raw": b"".join(data),
        "x.hex": "\n".join(map(bytes.hex, data)).encode(),
        "x.strace": "\n".join(strace.lines).encode(),
    }
    for name, content in files.items():
        path, record = tmp_path / name, tmp_path / f"{name}.pcapng"
        path.write_bytes(content)
        done = run("decode", "--redact", "--format", "jsonl", "-w", record, path)
        assert len(done.stdout.splitlines()) == len(data), name
        assert found(done.stdout + done.stderr) == [], name
        assert found(record.read_bytes()) == [], name


def test_log_lines_are_not_quoted(tmp_path: Path) -> None:
    start = "2026-11-22 21:45:10.120+0000: 19725: info : virObjectUnref:1 : "
    path = tmp_path / "libvirtd.log"
    path.write_text(
        f"{start}RPC_SERVER_CLIENT_NEW: client=0x55bef0a18050 sock=0x55bef0a18051\n"
        f"{start}RPC_TLS_CONTEXT_SESSION_ALLOW: ctxt=0x1 sess=0x2 dname=CN=a,password={MARKER}\n"
        f"{start}RPC_SERVER_CLIENT_MSG_RX: client=password={MARKER} len=28 prog=1 vers=1 proc=1 type=0"
        " status=0 serial=0\n"
    )
    plain, done = run("decode", path), run("decode", "--redact", path)
    assert found(plain.stdout)
    assert found(plain.stderr)
    assert found(done.stdout + done.stderr) == []
    assert done.stdout.count("\n") == plain.stdout.count("\n")


def test_unknown_file_is_not_quoted(tmp_path: Path) -> None:
    path = tmp_path / "request"
    path.write_bytes(b"GET /?password=" + SECRET + b" HTTP/1.1\r\n\r\n")
    assert found(run("decode", path).stderr)
    assert found(run("decode", "--redact", path).stderr) == []


def test_relay_shows_and_records_no_secret(tmp_path: Path) -> None:
    record, sent = tmp_path / "record.pcapng", OPEN + PASSWORD + frame(SECRET, prog=0x12345678)

    def take(connection: socket.socket) -> None:
        left = len(sent)
        while left:
            left -= len(connection.recv(4096))

    with (
        served(parse(f"unix:{tmp_path}/daemon"), take),
        relay(f"unix:{tmp_path}/sock", f"unix:{tmp_path}/daemon", "--redact", "-w", record) as running,
    ):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(tmp_path / "sock"))
            client.sendall(sent)
            client.shutdown(socket.SHUT_WR)
            client.recv(1)
        _, out, err = running.end()
    assert out.count("\n") == 3
    assert found(out + err) == []
    assert found(record.read_bytes()) == []


@pytest.mark.parametrize("words", [["--redact"], ["--redact=secrets"], ["--redact=all"]])
def test_option_does_not_consume_the_file(words: list[str]) -> None:
    for command in ("decode", "stats"):
        done = run(command, *words, CAPTURES / "virsh-domname.pcap")
        assert done.exit_code == 0
        assert done.stdout


def test_rejects_unknown_value() -> None:
    done = run("decode", "--redact=some", CAPTURES / "virsh-domname.pcap")
    assert done.exit_code == 2
    assert "'some' is not one of 'secrets', 'all'" in done.stderr


def test_word_after_two_dashes_is_not_an_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "--redact").write_bytes((CAPTURES / "virsh-domname.pcap").read_bytes())
    assert run("decode", "--format", "monitor", "--", "--redact").stdout.count("\n") == 18


@pytest.mark.parametrize("name", ["virsh-domname.pcap", "tour.pcap", "stream-events-keepalive.pcap"])
def test_capture_without_secrets_is_unchanged(name: str, tmp_path: Path) -> None:
    """Except stream data, and text that looks like a secret."""
    plain, redacted = (lines(run("decode", *words, CAPTURES / name)) for words in ([], ["--redact"]))
    assert [line.pop("redacted") for line in redacted] == ["secrets"] * len(plain)
    changed = [was["procedure"] for was, now in zip(plain, redacted, strict=True) if was != now]
    assert len(changed) <= len(plain) // 20


def test_every_notice_code_is_classified() -> None:
    """Notices with a new code are omitted until their texts have been reviewed."""
    redactor = Redactor(registry.default())
    out = list(redacted_messages([Notice("something-new", SECRET.decode())], redactor, programs=frozenset()))
    assert found(repr(out)) == []


def test_recording_and_messages_agree() -> None:
    """Messages are recorded as they are shown."""
    file = io.BytesIO()
    redactor = Redactor(registry.default())
    numbers = registry.default().numbers
    seen = list(redacted_messages(items(), redactor, programs=numbers, recorder=Recorder(file)))
    shown = [item.message.header for item in seen if isinstance(item, Captured)]
    assert len(shown) > 300
