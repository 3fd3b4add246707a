"""`libvirt-proto doctor`: what works on this machine."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from libvirt_proto.capture.probes import tracefs
from libvirt_proto.cli import checks
from libvirt_proto.cli.main import main

NAMES = [
    *("definitions", "generator", "root", "tracefs", "BPF", "probes", "socket"),
    *("tshark", "stap", "bpftrace", "strace", "git"),
    *(("dissector", "interface") if shutil.which("tshark") else ()),
    "native core",
]


def doctor(*words: str) -> str:
    result = CliRunner().invoke(main, ["doctor", *words])
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


def found() -> dict[str, checks.Check]:
    return {check.name: check for check in checks.checks()}


def test_reports_every_check_as_text_and_json(tmp_path: Path) -> None:
    data = json.loads(doctor("--format", "json"))
    assert [check["name"] for check in data["checks"]] == NAMES
    for check in data["checks"]:
        assert (check["fix"] is not None) == (check["status"] == "missing"), check
    text = doctor()
    assert [line[9:20].rstrip() for line in text.splitlines() if line[:1] in "oma"] == NAMES
    assert max(map(len, text.splitlines())) <= 100
    doctor("--format", "json", "-o", str(tmp_path / "x.json"))
    assert json.loads((tmp_path / "x.json").read_text()) == data


def test_missing_programs_have_the_command_that_installs_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert found()["tshark"].fix == "install tshark"
    (tmp_path / "dnf").touch(mode=0o700)
    assert found()["tshark"].fix == "dnf install wireshark-cli"
    assert found()["stap"].fix == "dnf install systemtap"
    (tmp_path / "apt").touch(mode=0o700)
    assert found()["stap"].fix == "apt install systemtap"
    assert found()["socket"].fix in (None, "libvirtd --daemon")
    (tmp_path / "tshark").touch(mode=0o700)
    assert (found()["tshark"].status, found()["tshark"].found) == ("ok", str(tmp_path / "tshark"))


@pytest.mark.parametrize(
    ("name", "listed", "file", "fix"),
    [
        (
            "dissector",
            "Personal Lua Plugins",
            "libvirt_rpc.lua",
            "libvirt-proto generate wireshark --install",
        ),
        ("interface", "Personal Extcap path", "libvirt-proto", "libvirt-proto extcap --install"),
    ],
)
def test_parts_for_wireshark(
    name: str, listed: str, file: str, fix: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With a program that lists folders as tshark does: missing, and installed by the fix."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not found().keys() & {"dissector", "interface"}
    folder = tmp_path / "folder"
    (tmp_path / "tshark").write_text(f"#!/bin/sh\necho '{listed}:\t{folder}'\n")
    (tmp_path / "tshark").chmod(0o700)
    check = found()[name]
    assert (check.status, check.found, check.fix) == ("missing", f"no {file} in {folder}", fix)
    assert CliRunner().invoke(main, fix.split()[1:]).exit_code == 0
    assert (found()[name].status, found()[name].found) == ("ok", f"{folder}/{file}")


def test_user_needs_root_for_a_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert (found()["root"].status, found()["root"].fix) == ("missing", "sudo libvirt-proto trace")


def test_states_of_tracefs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tracefs, "check_pid_namespace", lambda: None)
    monkeypatch.setattr(tracefs, "find", lambda: None)
    assert found()["tracefs"].fix == "mount -t tracefs tracefs /sys/kernel/tracing"
    monkeypatch.setattr(tracefs, "find", lambda: tmp_path)
    assert found()["tracefs"].fix == "boot a kernel with CONFIG_UPROBE_EVENTS"
    (tmp_path / "uprobe_events").touch()
    assert found()["tracefs"].status == "ok"


def test_a_library_without_probes_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("libvirt_proto.capture.probes.loaded.processes", list)
    monkeypatch.setattr(checks, "_PLACES", (str(tmp_path),))
    assert found()["probes"].found == "no libvirt.so.0"
    shutil.copy("/bin/true", tmp_path / "libvirt.so.0")
    check = found()["probes"]
    assert (check.status, check.found) == ("missing", f"{tmp_path}/libvirt.so.0 has none that can be used")
    (tmp_path / "libvirt.so.0").write_text("not an ELF file")
    assert found()["probes"].fix == "reinstall libvirt"


def test_a_generator_without_its_libraries_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "find_spec", lambda name: None if name == "lark" else object())
    assert found()["generator"].found == "lark not installed"
