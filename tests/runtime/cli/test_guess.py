"""`libvirt-proto guess`: inputs, outputs, exit statuses."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from libvirt_proto.cli import main as cli
from tests.support.frames import frame, text, word
from tests.support.handmade import UUID
from tests.support.terminal import on_terminal

DOMAIN = text(b"test") + UUID + word(1)
LOOKUP = frame(text(b"test"), proc=23, serial=7)
GDB = b"".join(b"\t0x%02x" % byte for byte in LOOKUP)
REPLY = frame(DOMAIN, proc=23, serial=7, type_=1)


def guess(*words: str, stdin: bytes = b"") -> Result:
    return CliRunner().invoke(cli.main, ["guess", *words], input=stdin)


def as_json(*words: str, stdin: bytes = b"") -> dict[str, Any]:
    result = guess("--format", "json", *words, stdin=stdin)
    assert result.stderr == ""
    value: dict[str, Any] = json.loads(result.stdout)
    return value


def test_guesses_messages() -> None:
    result = guess(stdin=b"junk" + LOOKUP + REPLY)
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[:3] == ["standard input: 96 bytes", "", "Messages"]
    assert re.fullmatch(r" +1\d\d bits, strong: +2 consecutive messages", lines[3])
    assert [line.strip() for line in lines[4:6]] == [
        "byte 4 (0x4): remote.domain_lookup_by_name call ok, serial 7, 36 bytes, complete, with"
        " remote_domain_lookup_by_name_args",
        "byte 40 (0x28): remote.domain_lookup_by_name reply ok, serial 7, 56 bytes, complete, with"
        " remote_domain_lookup_by_name_ret",
    ]
    assert lines[-1] == "Payloads: none"
    assert guess(stdin=LOOKUP).stdout.endswith("\nPayloads: not tried (they are messages)\n")


@pytest.mark.parametrize(
    ("data", "protocol"),
    [
        (b"GET / HTTP/1.0\r\n\r\n", "HTTP (GET / HTTP/1.0), not libvirt"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "SSH, not libvirt"),
        (
            bytes.fromhex("80000028 72fe1d13 00000000"),
            "0x80000028: an ONC RPC record mark of 40 bytes (RFC 5531), not libvirt",
        ),
        (b"\r\n\r\n", '"\\r\\n\\r\\n" (0x0d0a0d0a): two line ends, not libvirt (a port scan)'),
    ],
)
def test_names_other_protocols(data: bytes, protocol: str) -> None:
    result = guess(stdin=data)
    assert (result.exit_code, result.stderr) == (0, "")
    assert f"\n\nProtocol: {protocol}\n\nMessages: none\n" in result.stdout
    assert as_json(stdin=data)["protocol"] == protocol


@pytest.mark.parametrize("data", [LOOKUP, DOMAIN, b"", b"\x80", bytes(8), b"plain text of a user"])
def test_other_bytes_have_no_protocol(data: bytes) -> None:
    assert as_json(stdin=data)["protocol"] is None


def test_guesses_payloads() -> None:
    result = guess("--top", "1", stdin=DOMAIN)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[:5] == ["standard input: 28 bytes", "", "Messages: none", "", "Payloads"]
    assert re.fullmatch(
        r" +2\d bits, fair: +remote_domain_abort_job_args, (\w+, ){2}\w+ and 45 more with the same layout",
        lines[5],
    )
    assert lines[6].strip() == (
        'all 28 bytes used; text "test"; uuid 6695eb01-f6a4-8304-79aa-97f2502e193f; 1 valid length'
        " or count; 1 arbitrary integer"
    )
    assert lines[7].strip() == "… 3 more guesses (--all)"
    assert lines[-1] == "Note: the bytes cannot distinguish 49 types, of one layout."
    everything = guess("--all", stdin=DOMAIN).stdout
    assert "more" not in everything
    assert "remote_domain_lookup_by_name_ret" in everything


def test_prints_json() -> None:
    found = as_json(stdin=DOMAIN)
    assert (found["bytes"], found["messages"]) == (28, [])
    first = found["payloads"][0]
    assert "remote_domain_lookup_by_name_ret" in first["types"]
    assert (first["used"], first["left"], first["strength"]) == (28, 0, "fair")
    assert first["why"][1] == 'text "test"'
    assert first["value"] == {
        "dom": {"name": "test", "uuid": "6695eb01-f6a4-8304-79aa-97f2502e193f", "id": 1}
    }
    assert found["note"] == "the bytes cannot distinguish 49 types, of one layout"
    [run] = as_json(stdin=b"\xff" * 5 + REPLY[:50])["messages"]
    assert (run["offset"], run["size"], run["count"]) == (5, 50, 1)
    [shown] = run["messages"]
    del shown["bits"]
    assert shown == {
        "offset": 5, "size": 50, "length_word": True, "prog": 0x20008086, "program": "remote", "proc": 23,
        "procedure": "domain_lookup_by_name", "type": 1, "status": 0, "serial": 7,
        "payload_type": "remote_domain_lookup_by_name_ret", "missing": 6, "spare": 0,
        "error": "at byte 36, dom.uuid: needs 16 bytes, 14 left",
    }  # fmt: skip


def test_random_bytes_have_no_guess() -> None:
    result = guess(stdin=bytes.fromhex("9fd0b6e1a7c35d42886e1f90ab73d5c4f00d"))
    assert result.exit_code == 1
    assert result.stdout == "standard input: 18 bytes\n\nMessages: none\n\nPayloads: none\n"
    assert guess(stdin=b"").exit_code == 1


def test_plain_numbers_have_no_guess() -> None:
    result = guess(stdin=word(7) + word(1))
    assert result.exit_code == 1
    assert "remote_connect_list_all_domains_args" in result.stdout
    assert result.stdout.endswith(
        "\nNote: these bytes are weak evidence: many other bytes could look like this.\n"
    )


@pytest.mark.parametrize(
    "dump",
    [
        LOOKUP.hex().encode(),
        b"\n\n".join(part.hex(" ").encode() for part in (LOOKUP[:10], LOOKUP[10:])),
        b"00000000: " + LOOKUP[:16].hex(" ", 2).encode() + b"  ................\n00000010: "
        + LOOKUP[16:].hex(" ", 2).encode() + b"  x\n",
        b"".join(b"0x7fe3%02x <b+%d>:" % (at, at) + GDB[5 * at :][:40] + b"\n" for at in range(0, 36, 8)),
        LOOKUP,
    ],
    ids=["plain", "two groups", "xxd", "gdb", "binary"],
)  # fmt: skip
def test_reads_hex_dumps(dump: bytes, tmp_path: Path) -> None:
    file = tmp_path / "dump"
    file.write_bytes(dump)
    for found in (as_json(str(file)), as_json(stdin=dump)):
        assert found["bytes"] == 36
        assert [run["count"] for run in found["messages"]] == [1]


def test_reports_damaged_hex() -> None:
    result = guess(stdin=DOMAIN.hex().encode() + b"\n0x\nzz\n")
    assert result.exit_code == 1
    assert "standard input: error: line 3: 'zz' is not hex [bad-hex]" in result.stderr
    assert "uuid 6695eb01" in result.stdout


def test_guesses_part_of_core_file(tmp_path: Path) -> None:
    file = tmp_path / "core"
    file.write_bytes(b"\x7fELF" + bytes(200_000) + DOMAIN + bytes(1000) + REPLY + bytes(200_000))
    found = as_json(str(file))
    assert found["bytes"] == 401_088
    assert [run["offset"] for run in found["messages"]] == [201_032]
    assert guess(str(file)).stdout.endswith("\nPayloads: not tried (more than 65,536 bytes)\n")
    piece = as_json(str(file), "--offset", "0x30d44", "--length", "28")
    assert "remote_domain_lookup_by_name_ret" in piece["payloads"][0]["types"]
    assert "byte 201,032 (0x31148)" in guess(str(file), "--offset", "201000").stdout
    assert as_json(str(file), "--offset", "999999")["bytes"] == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["/nonexistent"], "/nonexistent: no such file"),
        (["."], ".: expected a file, got a folder"),
        (["--offset", "x"], "expected a number of bytes, got 'x'"),
        (["--length", "-1"], "expected a number of bytes, got '-1'"),
        (["--top", "0"], "--top"),
        (["--format", "xml"], "--format"),
    ],
)
def test_exit_status_2_for_wrong_usage(words: list[str], said: str) -> None:
    result = guess(*words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr


def test_output_on_terminal(tmp_path: Path) -> None:
    file = tmp_path / "bytes"
    file.write_bytes(text(b"\x1b]0;evil\x07") + UUID)
    shown = on_terminal("guess", str(file))
    assert "\x1b[" in shown
    assert "\x1b]" not in shown
    assert "\x1b[" not in on_terminal("guess", "--color", "never", str(file))
    assert "standard input is a terminal" in on_terminal("guess", status=2)


def test_guesses_with_another_release() -> None:
    found = as_json("--release", "0.9.7", "--all", stdin=bytes(8))
    assert any("remote_get_lib_version_ret" in each["types"] for each in found["payloads"])
