"""`libvirt-proto decode`: filters, outputs, exit statuses."""

from __future__ import annotations

import json
import re
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from libvirt_proto import registry
from libvirt_proto.cli import main as cli
from libvirt_proto.errors import UnknownName
from libvirt_proto.events import Connection
from libvirt_proto.filters import Filter, type_numbers
from libvirt_proto.similar import did_you_mean
from libvirt_proto.text import number
from tests.differential import ours
from tests.support import packets
from tests.support.frames import REMOTE, captured, error_payload, frame, text, word
from tests.support.terminal import on_terminal

ADMIN, QEMU = 0x06900690, 0x20008087


def decode(*words: str, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(cli.main, ["decode", *words], input=stdin)


def lines(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def passes(data: bytes, connection: Connection | None = None, **filters: Any) -> bool:
    item = captured(data) if connection is None else captured(data, connection=connection)
    return Filter(registry.default(), **filters)(item)


@pytest.mark.parametrize("word_", ["remote", "REMOTE_PROGRAM", "0x20008086", "536903814", "rem*", "*"])
def test_filters_programs_by_name_symbol_number_and_pattern(word_: str) -> None:
    assert passes(frame(), programs=[word_])
    assert passes(frame(prog=ADMIN), programs=[word_]) == (word_ == "*")


@pytest.mark.parametrize(
    ("word_", "remote", "qemu", "other"),
    [
        ("auth_list", True, False, False),
        ("REMOTE_PROC_AUTH_LIST", True, False, False),
        ("auth_*", True, False, False),
        ("REMOTE_PROC_AUTH_*", True, False, False),
        ("66", True, True, True),
        ("0x42", True, True, True),
        ("remote.66", True, False, False),
        ("0x20008086.66", True, False, False),
        ("remote.auth_list", True, False, False),
        ("*.auth_list", True, False, False),
        ("remote.auth_*", True, False, False),
        ("REMOTE_PROGRAM.66", True, False, False),
    ],
)
def test_filters_procedures(word_: str, remote: bool, qemu: bool, other: bool) -> None:
    assert passes(frame(proc=66), procedures=[word_]) == remote
    assert passes(frame(proc=66, prog=QEMU), procedures=[word_]) == qemu
    assert passes(frame(proc=66, prog=77), procedures=[word_]) == other
    assert not passes(frame(proc=67), procedures=[word_]) or word_.endswith("*")


def test_filters_unknown_procedure_number() -> None:
    assert passes(frame(prog=77), programs=["77"])
    assert passes(frame(proc=-5), procedures=["-5"])
    assert passes(frame(type_=9), types=["9"])


def test_filters_message_types() -> None:
    assert passes(frame(type_=4), types=["call*"])
    assert not passes(frame(type_=4), types=["call"])
    assert type_numbers("reply*") == {1, 5}
    assert type_numbers("stream_hole") == {6}


def test_filters_errors() -> None:
    assert passes(frame(error_payload(1, 1, b""), type_=1, status=1), errors_only=True)
    assert passes(frame(b"\0", proc=22), errors_only=True), "a malformed payload"
    assert not passes(frame(), errors_only=True)


def test_filters_connections() -> None:
    other = Connection(12, "192.0.2.7:40508", "192.0.2.1:16509")
    assert passes(frame(), other, connections=["12"])
    assert not passes(frame(), other, connections=["1"])
    assert passes(frame(), other, connections=["192.0.2.7"])
    assert passes(frame(), other, connections=[":40508"])
    assert not passes(frame(), other, connections=[":40509"])
    assert passes(frame(), other, connections=["1", "0.2.1:"])


def test_filters_of_different_kinds_combine() -> None:
    filters: dict[str, Any] = {"programs": ["remote", "qemu"], "types": ["call", "reply"]}
    assert passes(frame(type_=1), **filters)
    assert passes(frame(prog=QEMU), **filters)
    assert not passes(frame(type_=2), **filters)
    assert not passes(frame(prog=ADMIN), **filters)


@pytest.mark.parametrize(
    ("filters", "said"),
    [
        ({"programs": ["remot"]}, "unknown program 'remot'. Did you mean 'remote'?"),
        ({"procedures": ["auth_lst"]}, "unknown procedure 'auth_lst'. Did you mean 'auth_list'"),
        ({"procedures": ["qemu.auth_list"]}, "unknown procedure 'qemu.auth_list'."),
        ({"procedures": ["nothing.66"]}, "unknown program 'nothing'."),
        ({"types": ["replay"]}, "unknown message type 'replay'. Did you mean 'reply'?"),
        ({"procedures": ["zz*"]}, "unknown procedure 'zz*'."),
    ],
)
def test_rejects_filter_without_match(filters: dict[str, list[str]], said: str) -> None:
    with pytest.raises(UnknownName) as caught:
        Filter(registry.default(), **filters)  # type: ignore[arg-type]
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize(
    ("word_", "value"),
    [
        ("66", 66),
        ("0x42", 66),
        ("-1", -1),
        ("017", 15),
        ("0", 0),
        ("08", None),
        ("x", None),
        ("", None),
        ("1.5", None),
    ],
)
def test_filters_message_numbers(word_: str, value: int | None) -> None:
    assert number(word_) == value


def test_unknown_names_get_suggestions() -> None:
    assert did_you_mean("reply", ["reply"]) == " Did you mean 'reply'?"
    assert did_you_mean("VIR_NET_REPLAY", ["VIR_NET_REPLY"]) == " Did you mean 'VIR_NET_REPLY'?"
    assert did_you_mean("q", ["reply"]) == ""
    assert did_you_mean("reply" * 1000, ["reply"] * 1000) == ""
    assert did_you_mean("abcd", ["abce", "abcf", "abcg"]).count(" or ") == 1


# The command


def test_prints_capture_as_json(captures: Path) -> None:
    result = decode("--format", "jsonl", str(captures / "virsh-domname.pcap"))
    assert result.exit_code == 0
    shown = lines(result)
    assert [line["n"] for line in shown] == list(range(1, 19))
    assert [line["procedure"] for line in shown[::2]] == [
        "auth_list", "connect_supports_feature", "connect_open", "connect_supports_feature",
        "connect_supports_feature", "connect_register_close_callback", "domain_lookup_by_id",
        "connect_unregister_close_callback", "connect_close",
    ]  # fmt: skip
    assert shown[13]["payload"] == {
        "dom": {"name": "test", "uuid": "6695eb01-f6a4-8304-79aa-97f2502e193f", "id": 1}
    }
    assert {line["dir"] for line in shown[::2]} == {"c2s"}
    assert {line["dir"] for line in shown[1::2]} == {"s2c"}


def test_json_is_the_default_without_terminal(captures: Path, tmp_path: Path) -> None:
    file = str(captures / "virsh-domname.pcap")
    assert decode(file).stdout == decode("--format", "jsonl", file).stdout
    output = tmp_path / "out"
    assert decode("-o", str(output), file).stdout == ""
    assert output.read_text() == decode(file).stdout


def test_filters_narrow_the_output_and_keep_the_numbers(captures: Path) -> None:
    file = str(captures / "virsh-domname.pcap")
    shown = lines(decode("--procedure", "domain_*", "--type", "reply", file))
    assert [(line["n"], line["procedure"]) for line in shown] == [(14, "domain_lookup_by_id")]
    assert decode("--program", "qemu", file).stdout == ""


def test_reads_several_files_in_order(captures: Path) -> None:
    file = str(captures / "virsh-domname.pcap")
    assert decode(file, file).stdout == decode(file).stdout * 2
    pretty = decode("--format", "pretty", file, file).stdout
    assert pretty.count(f"== {file}\n── connection 1: ") == 2


def test_reads_standard_input(captures: Path) -> None:
    file = captures / "virsh-domname.pcap"
    assert decode("-", stdin=file.read_bytes()).stdout == decode(str(file)).stdout
    shown = lines(decode("-", stdin=frame(proc=2).hex(" ").encode()))
    assert [(line["procedure"], line["dir"], line["time_ns"]) for line in shown] == [
        ("connect_close", None, None)
    ]


def test_exit_status_1_for_malformed_input(captures: Path, tmp_path: Path) -> None:
    whole = (captures / "virsh-domname.pcap").read_bytes()
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(whole[:-7])
    result = decode(str(cut))
    assert result.exit_code == 1
    assert len(lines(result)) == 18
    assert result.stderr.startswith(f"{cut}: error: ")

    malformed = decode("-", stdin=frame(word(99) + text(b"x"), proc=23))
    assert malformed.exit_code == 1
    assert lines(malformed)[0]["error"]["path"] == "name"

    other = decode("-", stdin=b"#!/bin/sh\necho this is no capture at all\n")
    assert (other.exit_code, other.stdout) == (1, "")
    assert re.match(r"standard input: error: .* \[unreadable\]\n$", other.stderr)


def test_continues_after_unreadable_file(captures: Path, tmp_path: Path) -> None:
    text_file = tmp_path / "notes.txt"
    text_file.write_text("These are notes, and no capture.\n")
    result = decode(str(text_file), str(captures / "virsh-domname.pcap"))
    assert result.exit_code == 1
    assert len(lines(result)) == 18


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "missing argument 'FILE...'"),
        (["/nonexistent"], "/nonexistent: no such file"),
        (["."], ".: expected a file, got a folder"),
        (["--program", "remot", "-"], "Did you mean 'remote'?"),
        (["--type", "replay", "-"], "Did you mean 'reply'?"),
        (["--port", "0", "-"], "--port"),
        (["--format", "xml", "-"], "--format"),
        (["--release", "1", "--defs", ".", "-"], "exclude each other"),
        (["--release", "1.2.3.4", "-"], "libvirt 1.2.3.4 is not bundled"),
        (["--define", "X=1", "-"], "--define requires --defs"),
        (["--define", "X", "-"], "expected NAME=VALUE with an integer value, got 'X'"),
        (["-o", "/nonexistent/x", "-"], "cannot write /nonexistent/x"),
    ],
)
def test_exit_status_2_for_wrong_usage(words: list[str], said: str) -> None:
    result = decode(*words)
    assert result.exit_code == 2
    assert said in result.output
    assert result.stdout == ""


def test_socket_input_suggests_relay(tmp_path: Path) -> None:
    path = tmp_path / "libvirt-sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        result = decode(str(path))
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"relay --listen unix:/tmp/relay.sock --connect unix:{path}\n" in result.stderr


def test_does_not_overwrite_input(captures: Path, tmp_path: Path) -> None:
    file = tmp_path / "x.pcap"
    file.write_bytes((captures / "virsh-domname.pcap").read_bytes())
    result = decode("-o", str(file), str(file))
    assert result.exit_code == 2
    assert file.read_bytes() == (captures / "virsh-domname.pcap").read_bytes()


def test_decodes_with_another_release(captures: Path) -> None:
    """Before 1.0.5, procedure 60 was called supports_feature."""
    file = str(captures / "virsh-domname.pcap")
    shown = lines(decode("--release", "0.9.7", file))
    assert [line["procedure"] for line in shown[2:4]] == ["supports_feature"] * 2


def test_decodes_with_custom_definitions(tmp_path: Path) -> None:
    x = tmp_path / "mine.x"
    x.write_text(
        "const MINE_PROGRAM = 0x77;\nconst MINE_PROTOCOL_VERSION = 1;\n"
        "struct mine_greet_args { string who<10>; };\nenum mine_procedure { MINE_PROC_GREET = 1 };\n"
    )
    result = decode("--defs", str(x), "-", stdin=frame(text(b"you"), prog=0x77, proc=1))
    assert (result.exit_code, result.stderr) == (0, "")
    [line] = lines(result)
    assert (line["program"], line["procedure"], line["payload"]) == ("mine", "greet", {"who": "you"})


def test_reports_invalid_definitions(tmp_path: Path) -> None:
    x = tmp_path / "bad.x"
    x.write_text("struct a { nothing b; };\nstruct c { nought d; };\n")
    result = decode("--defs", str(x), "-", stdin=frame())
    assert result.exit_code == 1
    assert f"{x}:1:12: error: " in result.stderr
    assert f"{x}:2:12: error: " in result.stderr
    assert "2 problems" in result.stderr


def test_output_on_terminal(captures: Path) -> None:
    file = str(captures / "virsh-domname.pcap")
    shown = on_terminal("decode", file)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    assert plain.startswith(
        "── connection 1: 127.0.0.1:47834 → 127.0.0.1:16509 (tcp)\n"
        "  0.000000  1 → #0    call ok     remote.auth_list "
    )
    assert plain.endswith("── 18 messages, 1 connection, no problems\n")
    assert "\x1b[" in shown
    for environment in ({"NO_COLOR": "1", "TERM": "xterm"}, {"TERM": "dumb"}):
        assert on_terminal("decode", file, env=environment) == plain
    assert on_terminal("decode", "--color", "never", file) == plain
    filtered = on_terminal("decode", "--color", "never", "--procedure", "auth_list", file)
    assert filtered.endswith("── 2 of 18 messages, 1 connection, no problems\n")


def test_encrypted_connections_are_counted(tmp_path: Path) -> None:
    file = tmp_path / "tls.pcap"
    talk = packets.Talk(server=("192.0.2.1", 16514))
    hello = b"\x16\x03\x01\x00\x06\x01\x00\x00\x02\x03\x03" + bytes(40)
    file.write_bytes(packets.pcap([*talk.handshake(), talk.packet("c2s", hello), *talk.close()]))
    shown = on_terminal("decode", "--color", "never", str(file))
    assert "note: TLS: encrypted; with a key log (--keylog FILE) tshark can decrypt it" in shown
    assert shown.endswith("── 0 messages, 0 connections, 1 encrypted connection\n")
    assert decode(str(file)).exit_code == 0


def test_key_log_requires_capture_file(captures: Path, tmp_path: Path) -> None:
    result = decode("--keylog", str(tmp_path), str(captures / "virsh-domname.pcap"))
    assert result.exit_code == 2
    (tmp_path / "keys").write_text("")
    result = decode("--follow", "--keylog", str(tmp_path / "keys"), str(captures / "virsh-domname.pcap"))
    assert result.exit_code == 2
    assert "--keylog requires a complete capture" in result.stderr


def test_colour_can_be_forced(captures: Path) -> None:
    file = str(captures / "virsh-domname.pcap")
    assert "\x1b[" in decode("--format", "monitor", "--color", "always", file).stdout
    assert "\x1b[" not in decode("--format", "monitor", file).stdout


def test_live_input_is_shown_immediately() -> None:
    command = [sys.executable, "-c", "from libvirt_proto.cli.main import main; main()", "decode", "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for serial in range(3):
            process.stdin.write(frame(serial=serial))
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["serial"] == serial
        process.stdin.close()
        assert process.wait(30) == 0


@pytest.mark.parametrize("format_", ["pretty", "monitor", "jsonl"])
@pytest.mark.parametrize("name", ["tour.pcap", "stream-events-keepalive.pcap"])
def test_decodes_whole_captures(captures: Path, name: str, format_: str) -> None:
    result = decode("--format", format_, str(captures / name))
    assert (result.exit_code, result.stderr) == (0, "")
    assert REMOTE
    if format_ == "jsonl":
        assert all(line["error"] is None and line["program"] for line in lines(result))


def test_decodes_log(captures: Path) -> None:
    """Its messages have everything except payloads."""
    result = decode("--conn", "0x55bef0a18270", "--errors-only", str(captures / "libvirtd-rpc-info.log"))
    assert (result.exit_code, result.stderr) == (0, "")
    (line,) = lines(result)
    assert (line["procedure"], line["status"], line["length"], line["missing"], line["payload"]) == (
        "domain_lookup_by_name",
        "error",
        112,
        84,
        None,
    )


def test_rejects_file_on_standard_input_as_output(captures: Path, tmp_path: Path) -> None:
    data = (captures / "virsh-domname.pcap").read_bytes()
    file = tmp_path / "capture.pcap"
    file.write_bytes(data)
    command = [sys.executable, "-c", "from libvirt_proto.cli.main import main; main()", "decode"]
    with file.open("rb") as stdin:
        done = subprocess.run([*command, "-o", str(file), "-"], stdin=stdin, capture_output=True, text=True)
    assert (done.returncode, file.read_bytes()) == (2, data)
    assert "is also an input; choose another output" in done.stderr


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="the system does not count system calls")
def test_output_is_buffered_with_unbuffered_python(captures: Path) -> None:
    """With PYTHONUNBUFFERED, as in many containers, each line would cost a system call."""
    code = (
        "import sys\nfrom libvirt_proto.cli.main import main\ntry: main()\n"
        "finally: print(open('/proc/self/io').read(), file=sys.stderr)"
    )
    command = [sys.executable, "-u", "-c", code, "decode", str(captures / "tour.pcap")]
    done = subprocess.run(command, capture_output=True, text=True)
    calls = int(done.stderr.partition("syscw: ")[2].split()[0])
    assert done.stdout.count("\n") > 5000
    assert calls < 1000


def test_merges_two_files(captures: Path, tmp_path: Path) -> None:
    """A capture and a copy with other times: half an hour ahead, 40 µs later to the server's port and earlier
    from it, as the server would see it."""
    data = (captures / "virsh-domname.pcap").read_bytes()
    out, pos = [data[:24]], 24
    while pos < len(data):
        seconds, micros, size, original = struct.unpack_from("<IIII", data, pos)
        (port,) = struct.unpack_from(">H", data, pos + 16 + 14 + 20 + 2)
        time = (seconds + 1800) * 1_000_000 + micros + (40 if port == 16509 else -40)
        out.append(struct.pack("<IIII", *divmod(time, 1_000_000), size, original))
        out.append(data[pos + 16 : pos + 16 + size])
        pos += 16 + size
    server = tmp_path / "server.pcap"
    server.write_bytes(b"".join(out))
    client = captures / "virsh-domname.pcap"
    done = ours.run("decode", "--merge", "--format", "jsonl", client, server)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["n"] for line in lines] == list(range(1, 19))
    for line in lines:
        first, second = sorted(line["sightings"], key=lambda sighting: sighting["time_ns"])
        assert second["time_ns"] - first["time_ns"] == 40_000
        assert first["recording"] == ("server.pcap" if line["dir"] == "s2c" else "virsh-domname.pcap")
    assert "frame" not in lines[0]
    alone = [json.loads(line) for line in ours.run("decode", client).stdout.splitlines()]
    frames = [line["frame"] for line in alone]
    assert [[each["frame"] for each in line["sightings"]] for line in lines] == [[n, n] for n in frames]
    found = ours.run("decode", "--merge", "--frame", str(frames[3]), client, server).stdout
    assert json.loads(found) == lines[3]
    assert (
        "note: the clock of server.pcap is 1800.000000 s ahead of that of virsh-domname.pcap,"
        " give or take 0.000040 s (from 18 messages) [clock-difference]"
    ) in done.stderr


def test_merge_requires_two_files(captures: Path) -> None:
    done = ours.run("decode", "--merge", captures / "tour.pcap", status=2)
    assert "--merge requires exactly two files" in done.stderr
