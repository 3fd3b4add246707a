"""`libvirt-proto encode`: formats, filters, errors, exit statuses."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from libvirt_proto.cli import main as cli
from tests.support.frames import frame, text, word
from tests.support.straces import quote
from tests.support.terminal import on_terminal

CAPTURES = ["tour.pcap", "stream-events-keepalive.pcap", "virsh-domname.pcap"]
FRAME = re.compile(rb',"frame":[0-9]+')


def run(*words: str, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(cli.main, words, input=stdin)


def decoded(file: Path, *options: str) -> bytes:
    result = run("decode", "--format", "jsonl", *options, str(file))
    assert result.exit_code == 0
    return result.stdout_bytes


def objects(lines: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines.splitlines()]


@pytest.mark.parametrize("name", CAPTURES)
def test_copy_of_capture_gives_equal_lines(captures: Path, tmp_path: Path, name: str) -> None:
    lines = decoded(captures / name)
    copy = tmp_path / "copy.pcapng"
    result = run("encode", "--format", "pcapng", "-o", str(copy), "-", stdin=lines)
    assert (result.exit_code, result.output) == (0, "")
    # The copy has other packets.
    assert FRAME.sub(b"", decoded(copy)) == FRAME.sub(b"", lines)


def test_accepts_json_in_other_layouts(captures: Path) -> None:
    lines = decoded(captures / "virsh-domname.pcap")
    expected = run("encode", "--format", "hex", stdin=lines).stdout
    assert expected.count("\n") == 18
    each = objects(lines)
    for other in (
        "\n".join(json.dumps(one, indent=2) for one in each),
        "".join(map(json.dumps, each)),
        json.dumps(each, indent=2),
        json.dumps(each),
    ):
        result = run("encode", "--format", "hex", stdin=other.encode())
        assert (result.exit_code, result.stderr, result.stdout) == (0, "", expected)


def test_error_in_pretty_printed_json_has_the_line_of_its_object(captures: Path) -> None:
    first, second, *_ = objects(decoded(captures / "virsh-domname.pcap"))
    text = "\n".join(json.dumps(one, indent=1) for one in (first, second | {"type": "cal"}, first))
    result = run("encode", "--format", "hex", stdin=text.encode())
    assert result.exit_code == 1
    assert f"line {len(first) + 3}, type: expected a number or one of call, reply" in result.stderr
    assert result.stdout.count("\n") == 2


def test_connections_with_equal_addresses_stay_separate(tmp_path: Path) -> None:
    """Two clients of a daemon's unix socket with equal serial numbers."""
    call = quote(VM)
    trace = tmp_path / "trace"
    trace.write_text(
        '8 bind(3, {sa_family=AF_UNIX, sun_path="/run/libvirt/libvirt-sock"}, 27) = 0\n'
        + "".join(f"8 accept4(3, {{sa_family=AF_UNIX}}, [110 => 2], 0) = {fd}\n" for fd in (9, 10))
        + "".join(f"8 read({fd}, {call}, 9999) = {len(VM)}\n" for fd in (9, 10))
    )
    lines = decoded(trace)
    assert [each["conn"].partition("#")[2] for each in objects(lines)] == ["", "2"]
    copy = tmp_path / "copy.pcapng"
    assert run("encode", "--format", "pcapng", "-o", str(copy), "-", stdin=lines).exit_code == 0
    assert len({each["conn"] for each in objects(decoded(copy))}) == 2
    exchanges = objects(run("decode", "--exchanges", str(copy)).stdout_bytes)
    assert [each["outcome"] for each in exchanges] == ["pending"] * 2


@pytest.mark.parametrize("name", CAPTURES)
def test_raw_and_hex_follow_line_order(captures: Path, name: str) -> None:
    lines = FRAME.sub(b"", decoded(captures / name))
    raw = run("encode", stdin=lines)
    assert (raw.exit_code, raw.stderr) == (0, "")
    kept = [
        each | {"conn": "1", "dir": None, "time_ns": None}
        for each in objects(run("decode", "-", stdin=raw.stdout_bytes).stdout_bytes)
    ]
    assert kept == [each | {"conn": "1", "dir": None, "time_ns": None} for each in objects(lines)]
    as_hex = run("encode", "--format", "hex", stdin=lines)
    assert as_hex.stdout.count("\n") == len(kept)
    assert bytes.fromhex(as_hex.stdout) == raw.stdout_bytes


def test_encodes_one_direction_of_one_connection(captures: Path, tmp_path: Path) -> None:
    lines = decoded(captures / "stream-events-keepalive.pcap")
    file = tmp_path / "lines"
    file.write_bytes(lines)
    every = objects(lines)
    names = list(dict.fromkeys(each["conn"] for each in every))
    assert len(names) > 1
    for number, name in enumerate(names, 1):
        wanted = [each["length"] for each in every if (each["conn"], each["dir"]) == (name, "s2c")]
        for word_ in (str(number), name.partition("-")[0]):
            result = run("encode", "--format", "hex", "--conn", word_, "--dir", "s2c", str(file))
            assert [len(line) // 2 for line in result.stdout.splitlines()] == wanted


def line(**more: Any) -> bytes:
    fields = {"program": "remote", "procedure": "domain_lookup_by_name", "type": "call", "status": "ok"}
    return json.dumps({**fields, "serial": 1, "payload": {"name": "vm"}, **more}).encode() + b"\n"


VM = frame(text(b"vm"), proc=23, serial=1)


def test_bad_lines_are_skipped_and_reported(tmp_path: Path) -> None:
    file = tmp_path / "lines.jsonl"
    file.write_bytes(line() + line(payload={"name": 5}) + b"\n{\n" + line(serial="\x1b[31m") + line())
    result = run("encode", "--format", "hex", str(file))
    assert result.exit_code == 1
    assert result.stdout == f"{VM.hex()}\n" * 2
    assert result.stderr.splitlines() == [
        f'{file}: error: line 2, payload.name: expected a string or {{"base64": "…"}}, got 5 [bad-line]',
        f"{file}: error: line 4: is not JSON: Input data was truncated [bad-line]",
        f'{file}: error: line 5, serial: expected an integer, got "\\u001b[31m" [bad-line]',
    ]


def test_standard_input_is_the_default() -> None:
    assert run("encode", stdin=line()).stdout_bytes == VM
    assert run("encode", stdin=b"").stdout_bytes == b""


def test_output_follows_input_immediately() -> None:
    command = [sys.executable, "-c", "from libvirt_proto.cli.main import main; main()", "encode"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(3):
            process.stdin.write(line())
            process.stdin.flush()
            assert os.read(process.stdout.fileno(), 1000) == VM
        process.stdin.close()
        assert process.wait(30) == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["/nonexistent"], "/nonexistent: no such file"),
        (["."], ".: expected a file, got a folder"),
        (["--format", "xml"], "--format"),
        (["--dir", "up"], "--dir"),
        (["--release", "1.2.3.4"], "libvirt 1.2.3.4 is not bundled"),
        (["-o", "/nonexistent/x"], "cannot write /nonexistent/x"),
    ],
)
def test_exit_status_2_for_wrong_usage(words: list[str], said: str) -> None:
    result = run("encode", *words, stdin=b"")
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr


def test_does_not_overwrite_input(tmp_path: Path) -> None:
    file = tmp_path / "lines"
    file.write_bytes(line())
    assert run("encode", str(file), "-o", str(file)).exit_code == 2
    assert file.read_bytes() == line()


def test_rejects_binary_output_on_terminal(tmp_path: Path) -> None:
    file = tmp_path / "lines"
    file.write_bytes(line())
    shown = on_terminal("encode", "--color", "never", str(file))
    assert shown == f"{VM.hex()}\n── 1 message, 1 connection, no problems\n"
    refused = on_terminal("encode", "--format", "raw", str(file), status=2)
    assert "expected a file or a pipe for raw, got a terminal: use -o FILE" in refused
    assert "standard input is a terminal" in on_terminal("encode", status=2)


def test_encodes_with_another_release() -> None:
    """Before 1.0.5, procedure 60 was called supports_feature."""
    fields = line(procedure="supports_feature", payload={"feature": 3})
    assert run("encode", "--release", "0.9.7", stdin=fields).stdout_bytes == frame(word(3), proc=60, serial=1)
    result = run("encode", stdin=fields)
    assert result.exit_code == 1
    assert 'line 1, procedure: unknown procedure "supports_feature" of remote' in result.stderr
