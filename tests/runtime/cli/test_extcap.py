"""`libvirt-proto extcap`: calls by Wireshark, and the launcher. tests/differential has tests with tshark."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from libvirt_proto.cli import wireshark
from libvirt_proto.cli.commands.extcap import extcap
from libvirt_proto.cli.main import main

CAPTURE = ("--capture", "--extcap-interface", "libvirt")
NOBODY = 65534
only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def run(*words: str | Path, status: int = 0) -> Result:
    result = CliRunner().invoke(main, ["extcap", *map(str, words)])
    assert result.exit_code == status, result.output
    return result


def sentences(*words: str) -> list[tuple[str, dict[str, str]]]:
    """The sentences of a call: their words, and their parts. No part has braces."""
    found = []
    for line in run(*words).stdout.splitlines():
        match = re.fullmatch(r"(\w+) ((?:\{\w+=[^{}]*\})+)", line)
        assert match is not None, line
        found.append((match[1], dict(re.findall(r"\{(\w+)=([^{}]*)\}", match[2]))))
    return found


def test_answers_wiresharks_questions() -> None:
    (_, about), (word, interface) = sentences("--extcap-interfaces", "--extcap-version=4.0")
    assert about["version"]
    assert (word, interface) == ("interface", {"value": "libvirt", "display": "libvirt RPC (live)"})
    assert sentences("--extcap-interface", "libvirt", "--extcap-dlts") == [
        ("dlt", {"number": "101", "name": "RAW", "display": "Raw IP"})
    ]


def test_options_are_those_of_the_command() -> None:
    """Their values, too: what Wireshark offers is accepted, and the defaults are the same."""
    parameters = {name: each for each in extcap.params for name in each.opts}
    found = sentences("--extcap-config", "--extcap-interface", "libvirt")
    arguments = {int(parts["number"]): parts for word, parts in found if word == "arg"}
    assert [parts["call"] for parts in arguments.values()] == [
        "--side",
        "--pid",
        "--comm",
        "--max-message",
        "--redact",
    ]
    for number, parts in arguments.items():
        option = parameters[parts["call"]]
        values = [each["value"] for word, each in found if word == "value" and each["arg"] == str(number)]
        assert values == list(option.type.choices if isinstance(option.type, click.Choice) else [])
        if "default" in parts:
            assert parts["default"] == str(option.default)
        if isinstance(option.type, click.IntRange):
            assert parts["range"] == f"{option.type.min},{option.type.max}"


@pytest.fixture
def fifo(tmp_path: Path) -> Iterator[Path]:
    """A private FIFO with a reader."""
    path = tmp_path / "fifo"
    os.mkfifo(path, 0o600)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    yield path
    os.close(reader)


@pytest.mark.parametrize("text", ["", "1", "12,34", "1 , 2,4194304"])
def test_valid_process_numbers(text: str, fifo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For Wireshark and for the command, which fails later."""
    (validation,) = (
        parts["validation"]
        for _, parts in sentences("--extcap-config", "--extcap-interface", "libvirt")
        if "validation" in parts
    )
    assert re.fullmatch(validation, text)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "requires root" in run(*CAPTURE, "--fifo", fifo, "--pid", text, status=1).stderr


@pytest.mark.parametrize(
    "words",
    [
        (*CAPTURE, "--fifo", "none", "--pid", "0"),
        (*CAPTURE, "--fifo", "none", "--pid", "4194305"),
        (*CAPTURE, "--fifo", "none", "--pid", "9" * 5000),
        (*CAPTURE, "--fifo", "none", "--pid", "1,"),
        (*CAPTURE, "--fifo", "none", "--pid", "1\n"),
        (*CAPTURE, "--fifo", "none", "--pid", "\u0661"),
        (*CAPTURE, "--fifo", "none", "--pid", ",".join(["1"] * 65)),
        (*CAPTURE, "--fifo", "none", "--max-message", "27"),
        (*CAPTURE, "--fifo", "none", "--side", "server"),
        (*CAPTURE, "--fifo", "none", "--redact", "some"),
        ("--capture", "--extcap-interface", "other", "--fifo", "none"),
        ("--capture", "--fifo", "none"),
        CAPTURE,
        ("--install", "--uninstall"),
        (),
    ],
)
def test_rejects_wrong_options(words: tuple[str, ...]) -> None:
    run(*words, status=2)


def test_capture_filters_are_invalid(fifo: Path) -> None:
    """Wireshark takes any output of its question as a problem of the filter."""
    call = ("--extcap-interface", "libvirt", "--extcap-capture-filter")
    assert run(*call, "").output == ""
    assert "not supported" in run(*call, "tcp").stdout
    assert "not supported" in run("--capture", *call, "tcp", "--fifo", fifo, status=2).stderr


def test_remedy_without_root_has_the_same_options(monkeypatch: pytest.MonkeyPatch, fifo: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    chosen = ("--side", "client", "--pid", "7,8", "--comm", "a b", "--redact", "all")
    said = run(*CAPTURE, "--fifo", fifo, *chosen, status=1).stderr
    trace = (
        "libvirt-proto trace --client-only --pid=7 --pid=8 '--comm=a b' --redact=all -w - | wireshark -k -i -"
    )
    assert f"sudo {trace}" in said
    assert f"ssh root@HOST {trace}" in said


@pytest.mark.parametrize("kind", ["none", "file", "link", "readable", "folder"])
def test_captures_only_into_a_private_fifo(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    path = tmp_path / "place"
    if kind == "file":
        path.write_text("kept")
    elif kind == "link":
        os.mkfifo(tmp_path / "fifo", 0o600)
        path.symlink_to("fifo")
    elif kind == "readable":
        os.mkfifo(path)
        path.chmod(0o640)
    elif kind == "folder":
        path.mkdir()
    said = run(*CAPTURE, "--fifo", path, status=1).stderr
    assert f"--fifo {path}: " in said
    assert kind != "none" or not path.exists()
    assert kind != "file" or path.read_text() == "kept"


# The launcher


def test_installs_and_removes_the_launcher(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "extcap"
    launcher = folder / "libvirt-proto"
    before = os.umask(0o077)
    try:
        assert f"{launcher} installed" in run("--install", "--folder", folder).stdout
    finally:
        os.umask(before)
    assert (launcher.stat().st_mode & 0o777, [*folder.iterdir()]) == (0o755, [launcher])
    assert f"{launcher} is already installed" in run("--install", "--folder", folder).stdout
    launcher.write_bytes(launcher.read_bytes() + b"# of an older version\n")
    assert f"{launcher} installed" in run("--install", "--folder", folder).stdout
    assert "older" not in launcher.read_text()
    assert f"{launcher} removed" in run("--uninstall", "--folder", folder).stdout
    assert [*folder.iterdir()] == []
    assert f"{launcher} is not installed" in run("--uninstall", "--folder", folder).stdout
    assert "is not installed" in run("--uninstall", "--folder", tmp_path / "none").stdout


@pytest.mark.parametrize("kind", ["file", "link", "dangling", "folder", "fifo"])
@pytest.mark.parametrize("option", ["--install", "--uninstall"])
def test_foreign_files_stay(kind: str, option: str, tmp_path: Path) -> None:
    launcher, other = tmp_path / "libvirt-proto", tmp_path / "other"
    other.write_text("kept")
    if kind == "file":
        launcher.write_text("#!/bin/sh\nexec something else\n")
    elif kind in ("link", "dangling"):
        launcher.symlink_to("other" if kind == "link" else "none")
    elif kind == "folder":
        launcher.mkdir()
    else:
        os.mkfifo(launcher)
    before = (launcher.lstat().st_ino, sorted(tmp_path.iterdir()))
    assert "is left alone" in run(option, "--folder", tmp_path, status=1).stderr
    assert (launcher.lstat().st_ino, sorted(tmp_path.iterdir())) == before
    assert other.read_text() == "kept"


def test_folder_that_others_can_write_to(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    for folder in (tmp_path, tmp_path / "new"):
        assert "other users can write to" in run("--install", "--folder", folder, status=1).stderr
    assert [*tmp_path.iterdir()] == []


@only_root
def test_root_installs_nothing_for_another_user(tmp_path: Path) -> None:
    """As with a sudo that keeps HOME."""
    os.chown(tmp_path, NOBODY, NOBODY)
    for folder in (tmp_path, tmp_path / "new"):
        assert "other users can write to" in run("--install", "--folder", folder, status=1).stderr
    assert [*tmp_path.iterdir()] == []


def test_environment_does_not_decide_what_the_launcher_runs(tmp_path: Path) -> None:
    run("--install", "--folder", tmp_path / "extcap")
    evil = tmp_path / "evil"
    for place in (evil / "libvirt_proto", evil):
        place.mkdir(exist_ok=True, parents=True)
        (place / "__init__.py").touch()
        for name in ("__main__.py", "click.py", "signal.py", "sitecustomize.py", "usercustomize.py"):
            (place / name).write_text("print('evil'); raise SystemExit\n")
    for name in ("python", "python3", "libvirt-proto", "env", Path(sys.executable).name):
        (evil / name).write_text("#!/bin/sh\necho evil\n")
        (evil / name).chmod(0o755)
    environment = {
        "PATH": str(evil),
        "PYTHONPATH": f":{evil}",
        "PYTHONHOME": str(evil),
        "PYTHONSTARTUP": str(evil / "click.py"),
        "PYTHONUSERBASE": str(evil),
        "ENV": str(evil / "python"),
        "BASH_ENV": str(evil / "python"),
        "BASH_FUNC_exec%%": "() { echo evil; }",
    }
    done = subprocess.run(
        [tmp_path / "extcap" / "libvirt-proto", "--extcap-interfaces"],
        cwd=evil,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == run("--extcap-interfaces").stdout


def test_package_that_is_not_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The launcher would not find it."""
    monkeypatch.setattr("libvirt_proto.__file__", str(tmp_path / "libvirt_proto" / "__init__.py"))
    assert "install it with pip" in run("--install", "--folder", tmp_path / "new", status=1).stderr
    assert not (tmp_path / "new").exists()


def test_without_wireshark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "Name the folder with --folder" in run("--install", status=1).stderr


def test_is_installed(tmp_path: Path) -> None:
    assert not wireshark.is_installed(tmp_path / "none")
    (tmp_path / "libvirt-proto").write_text("something else")
    assert not wireshark.is_installed(tmp_path)
    (tmp_path / "libvirt-proto").unlink()
    run("--install", "--folder", tmp_path)
    assert wireshark.is_installed(tmp_path)
