"""`-w`: recording a capture, and the files that it must not overwrite."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from libvirt_proto.cli import main as cli
from tests.support.frames import frame

COMMAND = [sys.executable, "-c", "from libvirt_proto.cli.main import main; main()", "decode"]


def decode(*words: str | Path, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(cli.main, ["decode", *map(str, words)], input=stdin)


PACKET = re.compile(r',"frame":[0-9]+')


@pytest.mark.parametrize("name", ["tour.pcap", "stream-events-keepalive.pcap", "virsh-domname.pcap"])
def test_recording_keeps_messages_and_times(captures: Path, tmp_path: Path, name: str) -> None:
    record = tmp_path / "record.pcapng"
    first = decode("-w", record, captures / name)
    assert (first.exit_code, first.stdout) == (0, decode(captures / name).stdout)
    again = decode(record)
    assert (again.exit_code, again.stderr) == (0, "")
    # The recording has other packets than the capture.
    shown, shown_again = (PACKET.sub("", output) for output in (first.stdout, again.stdout))
    assert shown_again == shown
    third = tmp_path / "again.pcapng"
    decode("-w", third, record)
    assert third.read_bytes() == record.read_bytes()


def test_filters_do_not_narrow_the_recording(captures: Path, tmp_path: Path) -> None:
    file, all_, some = captures / "virsh-domname.pcap", tmp_path / "all", tmp_path / "some"
    decode("-w", all_, file)
    decode("-w", some, "--procedure", "auth_list", file)
    assert some.read_bytes() == all_.read_bytes()


def test_records_several_files_into_one(captures: Path, tmp_path: Path) -> None:
    record, file = tmp_path / "record.pcapng", captures / "virsh-domname.pcap"
    decode("-w", record, file, file)
    assert decode("--format", "monitor", record).stdout.count("auth_list") == 4
    assert decode("--conn", "2", record).stdout.count("\n") == 18


def test_packets_from_hex_name_their_source(tmp_path: Path) -> None:
    record = tmp_path / "record.pcapng"
    calls = [frame(serial=n) for n in range(2)]
    decode("-w", record, "-", stdin="\n\n".join(call.hex() for call in calls).encode())
    shown = decode("--format", "pretty", record).stdout
    assert "connection 1: 127.0.0.1:49152 → 127.0.0.1:16509 (tcp)" in shown
    assert "connection 2: 127.0.0.1:49153 → 127.0.0.1:16509 (tcp)" in shown
    assert shown.count("remote.auth_list") == 2
    assert "? → ? (raw)".encode() in record.read_bytes()


def test_recording_of_live_input_is_always_complete(tmp_path: Path) -> None:
    record = tmp_path / "record.pcapng"
    command = [*COMMAND, "-w", str(record), "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for serial in range(3):
            process.stdin.write(frame(serial=serial))
            process.stdin.flush()
            process.stdout.readline()
            assert decode(record).stdout.count("\n") == serial + 1
        process.stdin.close()
        assert process.wait(30) == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-w", "{file}", "{file}"], "is also an input; choose another output"),
        (["-w", "{link}", "{file}"], "is also an input; choose another output"),
        (["-w", "{new}", "-o", "{new}", "{file}"], "is also the output; choose another file"),
        (["-w", "{new}", "-o", "{folder}/./new", "{file}"], "is also the output; choose another file"),
        (["-w", "{text}", "-o", "{hard}", "{file}"], "is also the output; choose another file"),
        (["-w", "{folder}/none/x", "{file}"], "cannot write"),
        (["-w", "{folder}", "{file}"], "is a directory"),
    ],
)
def test_rejects_unusable_outputs(captures: Path, tmp_path: Path, words: list[str], said: str) -> None:
    file, link, text, hard = (tmp_path / name for name in ("file", "link", "text", "hard"))
    before = (captures / "virsh-domname.pcap").read_bytes()
    file.write_bytes(before)
    link.symlink_to(file)
    text.write_text("kept")
    hard.hardlink_to(text)
    places = {"file": file, "link": link, "text": text, "hard": hard, "new": tmp_path / "new"}
    result = decode(*(word.format(folder=tmp_path, **places) for word in words))
    assert (result.exit_code, file.read_bytes(), text.read_text()) == (2, before, "kept")
    assert said in result.output


def test_records_to_standard_output(captures: Path, tmp_path: Path) -> None:
    """Messages are shown only with -o."""
    file, record, shown = captures / "virsh-domname.pcap", tmp_path / "record.pcapng", tmp_path / "shown"
    lines = decode("-w", record, file).stdout
    assert decode("-w", "-", file).stdout_bytes == record.read_bytes()
    assert decode("-w", "-", "-o", shown, file).stdout_bytes == record.read_bytes()
    assert shown.read_text() == lines


def test_recording_on_standard_output_is_always_complete(tmp_path: Path) -> None:
    record = tmp_path / "record.pcapng"
    with subprocess.Popen(
        [*COMMAND, "-w", "-", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for serial in range(3):
            process.stdin.write(frame(serial=serial))
            process.stdin.flush()
            with record.open("ab") as file:
                while decode(record).stdout.count("\n") <= serial:
                    piece = os.read(process.stdout.fileno(), 1 << 16)
                    assert piece
                    file.write(piece)
                    file.flush()
        process.stdin.close()
        assert process.wait(30) == 0


def test_rejects_terminal_as_recording(captures: Path) -> None:
    command = [*COMMAND, "-w", "-", str(captures / "virsh-domname.pcap")]
    controller, terminal = os.openpty()
    done = subprocess.run(command, stdout=terminal, stderr=subprocess.PIPE, text=True)
    os.close(terminal)
    os.close(controller)
    assert (done.returncode, "| wireshark -k -i -" in done.stderr) == (2, True)


@pytest.mark.parametrize("option", ["--stats", "--diagnose"])
def test_figures_next_to_a_recording_on_standard_output_need_a_file(option: str) -> None:
    words = ["relay", "--listen", "tcp::0", "--connect", "tcp:127.0.0.1:1", option, "-w", "-"]
    result = CliRunner().invoke(cli.main, words)
    assert (result.exit_code, "give the figures a file with -o" in result.output) == (2, True)


def test_rejects_standard_streams_as_recording(captures: Path, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes((captures / "virsh-domname.pcap").read_bytes())
    with file.open("rb") as stdin:
        done = subprocess.run([*COMMAND, "-w", str(file), "-"], stdin=stdin, capture_output=True, text=True)
    assert (done.returncode, "is also an input; choose another output" in done.stderr) == (2, True)
    with file.open("ab") as stdout:
        command = [*COMMAND, "-w", str(file), str(captures / "tour.pcap")]
        done = subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, "is also the output; choose another file" in done.stderr) == (2, True)
    assert file.read_bytes() == (captures / "virsh-domname.pcap").read_bytes()
