"""`libvirt-proto identify`: every kind of input, as a file, a pipe and standard input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from libvirt_proto.cli import main as cli
from tests.support.frames import frame, word

COMMAND = Path(sys.executable).with_name("libvirt-proto")


def run(*words: str | Path, data: bytes | None = None) -> Result:
    return CliRunner().invoke(cli.main, ["identify", *map(str, words)], input=data)


def facts(*words: str | Path, data: bytes | None = None) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(*words, "--format", "json", data=data).stdout)
    return found


@pytest.fixture
def definitions(root: Path) -> Path:
    return root / "protocol-defs" / "10.0.0"


def test_folder(definitions: Path) -> None:
    result = run(definitions)
    assert result.exit_code == 0
    assert result.stdout.startswith(f"{definitions}: libvirt 9.8.0 to 10.0.0\n")
    assert "\n  remote_protocol.x " in result.stdout


@pytest.mark.parametrize("compression", ["", ".gz", ".xz"])
def test_archive(definitions: Path, tmp_path: Path, compression: str) -> None:
    path = tmp_path / f"source.tar{compression}"
    with tarfile.open(path, f"w:{compression[1:]}") as archive:
        archive.add(definitions, "src")
    assert facts(path)["kind"] == "definitions"
    assert run(path).stdout.startswith(f"{path}: libvirt 9.8.0 to 10.0.0\n")


def test_json(definitions: Path) -> None:
    found = facts(definitions / "remote_protocol.x")
    range_ = {"first": "9.8.0", "last": "10.0.0", "before": None}
    assert found == {
        "input": str(definitions / "remote_protocol.x"),
        "kind": "definitions",
        "releases": [range_],
        "evidence": [
            {"what": "remote_protocol.x", "releases": [range_], "why": None, "closest": [], "differences": 0}
        ],
    }


def test_no_release_fits(definitions: Path, tmp_path: Path) -> None:
    path = tmp_path / "remote_protocol.x"
    path.write_text((definitions / path.name).read_text() + "const MORE = 1;\n")
    result = run(path)
    assert result.exit_code == 1
    assert f"{path}: no known release of libvirt\n" in result.stdout
    assert "none; closest: 9.8.0 to 10.0.0 (1 difference)" in result.stdout


def test_content_decides_without_a_suffix(definitions: Path) -> None:
    for name in ("qemu_protocol.x", "libvirt_probes.d"):
        assert facts("-", data=(definitions / name).read_bytes())["kind"] == "definitions"
    tapset = b'probe libvirt.rpc.socket_send_fd = process("a").mark("rpc_socket_send_fd") {\n'
    tapset += b"  sock = $arg1;\n  fd = $arg2;\n}\n"
    assert facts("-", data=tapset)["kind"] == "tapset"
    assert facts("-", data=frame(proc=421))["kind"] == "capture"


def test_capture(captures: Path) -> None:
    path = captures / "tour.pcap"
    result = run(path)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == f"{path}: libvirt 5.7.0 or later"
    assert lines[1].split()[:2] == ["server", "9.0.0"]
    assert lines[2].split()[:3] == ["client", "5.7.0", "or"]
    assert lines[-1].endswith("more (--all)")
    everything = run(path, "--all").stdout.splitlines()
    assert len(everything) > len(lines)
    assert len(everything) == 1 + len(facts(path)["evidence"])


def test_log_states_its_release(captures: Path) -> None:
    found = facts(captures / "libvirtd-rpc-info.log")
    assert found["releases"] == [{"first": "9.0.0", "last": "9.0.0", "before": None}]
    assert found["evidence"][0]["what"] == "writer of the log"


def test_damaged_capture_fails(captures: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.pcap"
    path.write_bytes((captures / "tour.pcap").read_bytes()[:20_001])
    result = run(path)
    assert result.exit_code == 1
    assert "[truncated-file]" in result.stderr
    assert "libvirt " in result.stdout


def test_input_without_messages(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("nothing\n")
    result = run(path)
    assert (result.exit_code, result.stdout) == (1, f"{path}: no known release of libvirt\n")


@pytest.mark.parametrize("name", ["tour.pcap", "strace-yy-virt-admin.txt"])
def test_pipe_gives_what_the_file_gives(captures: Path, name: str) -> None:
    """The first bytes, which decide, are not lost."""
    expected = facts(captures / name)
    piped = subprocess.run(
        ["bash", "-c", f"'{COMMAND}' identify --format json <(cat '{captures / name}')"],
        capture_output=True, check=True,
    )  # fmt: skip
    found = json.loads(piped.stdout)
    assert found | {"input": expected["input"]} == expected
    assert facts("-", data=(captures / name).read_bytes())["evidence"] == expected["evidence"]


def test_raw_messages_in_hex(tmp_path: Path) -> None:
    path = tmp_path / "message.hex"
    path.write_text(frame(word(0) + word(1), proc=273).hex())
    assert facts(path)["releases"] == [{"first": "0.9.13", "last": None, "before": None}]


@pytest.mark.parametrize("content", [b"struct {", b"const A = \n"])
def test_reports_invalid_definitions(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.x"
    path.write_bytes(content)
    result = run(path)
    assert result.exit_code == 1
    assert "a.x:1:" in result.stderr
    assert f"invalid definitions in {path}: 1 problem" in result.stderr


def test_wrong_usage(tmp_path: Path) -> None:
    assert run(tmp_path / "nothing").exit_code == 2
    assert "expected a capture, got a folder" in run(tmp_path, "--input-format", "pcap").stderr
    assert "no *protocol.x file" in run(tmp_path).stderr
    os.mkfifo(tmp_path / "a.tar")
    assert run().exit_code == 2


def test_names_cannot_control_a_terminal(tmp_path: Path) -> None:
    path = tmp_path / "a\x1b[31m.txt"
    path.write_bytes(frame(proc=66))
    assert "\x1b[31m" not in run(path).stdout
