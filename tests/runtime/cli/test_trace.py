"""`libvirt-proto trace`: errors, lists and printed commands."""

from __future__ import annotations

import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from libvirt_proto.capture.probes.loaded import named
from libvirt_proto.capture.probes.plan import Plan, UprobeEvent
from libvirt_proto.cli import main as cli
from tests.support.probes import program
from tests.support.terminal import on_terminal

pytestmark = pytest.mark.system("gcc")
COMMAND = [sys.executable, "-c", "from libvirt_proto.cli.main import main; main()", "trace"]


@pytest.fixture(scope="module")
def binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return program(tmp_path_factory.mktemp("trace"))


def run(*arguments: str | Path, status: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == status, done.stdout + done.stderr
    return done


def test_lists_probes_of_file(binary: Path) -> None:
    rows = [line.split("\t") for line in run("--probes", "--library", binary).stdout.splitlines()]
    assert {len(row) for row in rows} == {6}
    assert [row[0] for row in rows].count("rpc_client_msg_tx_queue") == 2
    assert all(re.fullmatch("0x[0-9a-f]+", row[1]) and re.fullmatch("0x[0-9a-f]+", row[2]) for row in rows)
    (new,) = [row for row in rows if row[0] == "rpc_socket_new"]
    assert new[3] == "-"
    assert [word.partition("=")[0] for word in new[4].split()] == [
        *("sock", "fd", "errfd", "pid", "localAddr", "remoteAddr")
    ]
    assert new[5] == str(binary)


def test_printed_commands_match_the_plan(binary: Path) -> None:
    """They are words of a shell, each of which is one line for tracefs."""
    out = run("--print-commands", "--library", binary, "--pid", str(os.getpid())).stdout
    lines = [shlex.split(line, comments=True) for line in out.splitlines()]
    defined = {words[2].split()[0] for words in lines if words[:1] == ["printf"] and words[2][:2] == "p:"}
    removed = {words[1] for words in lines if words[:1] == ["echo"]}
    assert len(defined) > 8
    assert {name.replace("p:", "-:") for name in defined} == removed
    assert any(words[-1] == "instances/libvirt_proto/set_event_pid" for words in lines if words)
    sides = {
        option: run("--print-commands", "--library", binary, option).stdout
        for option in ("--client-only", "--server-only")
    }
    assert "/server_client_" not in sides["--client-only"]
    assert "/client_" not in sides["--server-only"]
    assert all("/socket_new_" in side for side in sides.values())


def test_reports_steps(binary: Path) -> None:
    """The instance first, every event before its filter, and enabling them last."""
    with ExitStack() as files:
        (file,) = named(files, (str(binary),))
        event = UprobeEvent("client_new", "e", "0x1 a=%ax:u64", "len > 0", "x")
        plan = Plan("g", ((file, (event,)),), 64)
        assert next(plan.preparations())[:2] == ("instances/g", None)
        define, condition = plan.definition(event, file.kernel_path)
        assert define.text == f"p:g/e /proc/self/fd/{file.file.fileno()}:0x1 a=%ax:u64"
        assert (define.path, define.append) == ("uprobe_events", True)
        assert condition[:2] == ("instances/g/events/g/e/filter", "len > 0")
        assert list(plan.enabling())[-1].path == "instances/g/events/g/enable"


def test_reports_file_without_probes(tmp_path: Path) -> None:
    source = tmp_path / "none.c"
    source.write_text("int main(void) { return 0; }")
    subprocess.run(["gcc", "-o", str(tmp_path / "none"), str(source)], check=True)
    done = run("--library", tmp_path / "none", "--probes", status=1)
    assert done.stderr.startswith(f"libvirt-proto: error: {tmp_path}/none: no RPC probes found")


def test_rejects_files_that_are_not_programs(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("text")
    assert "expected an ELF file" in run("--library", tmp_path / "text", "--probes", status=1).stderr
    assert "does not exist" in run("--library", tmp_path / "nothing", status=2).stderr


def test_reports_process_without_libvirt() -> None:
    err = run("--pid", str(os.getpid()), "--probes", status=1).stderr
    assert f"no libvirt.so.0 with probes is loaded by process {os.getpid()}" in err
    assert "--library PATH" in err
    err = run("--comm", "no such\x1bname", "--pid", str(os.getpid()), "--probes", status=1).stderr
    assert "a process called 'no such\\x1bname'" in err


def test_rejects_other_processor(binary: Path, tmp_path: Path) -> None:
    data = bytearray(binary.read_bytes())
    for machine, words in ((8, "got mips"), (183, "unsupported operand")):
        data[18:20] = machine.to_bytes(2, "little")
        (tmp_path / "other").write_bytes(data)
        assert words in run("--library", tmp_path / "other", "--probes", status=1).stderr
    assert "no usable RPC probes" in run("--library", tmp_path / "other", "--probes", status=1).stderr


def test_reports_missing_root(binary: Path) -> None:
    if os.geteuid() != 0:
        assert "only root may set probes" in run("--library", binary, status=1).stderr
        return
    # Everything is imported before: perhaps only root can read Python's files.
    script = (
        "import os; from libvirt_proto.cli.main import main;"
        "from libvirt_proto.capture.probes import tracefs, rpc_events;"
        "main(['trace', '--probes', '--library', os.sys.argv[-1]], standalone_mode=False);"
        "os.setgid(65534); os.setuid(65534); main()"
    )
    # Nor can it write coverage data.
    uncounted = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    # Every pytest run keeps its folders private.
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        words = [sys.executable, "-c", script, "trace", "--library", shutil.copy(binary, folder)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, env=uncounted)
    assert (done.returncode, done.stderr) == (
        1,
        "libvirt-proto: error: setting probes requires root: run this command with sudo\n",
    )


def test_wrong_usage(tmp_path: Path) -> None:
    for options in (
        ("--pid", "0"),
        ("--buffer", "1"),
        ("-w", "-", "--stats"),
        ("--format", "xml"),
        ("FILE",),
    ):
        run(*options, status=2)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--comm", "virsh", "events"], "--comm is before events"),
        (["--format", "jsonl", "qemu-monitor"], "--format is before qemu-monitor"),
        (["event"], "no such command 'event'"),
        (["events", "--server-only"], "no such option '--server-only'"),
        (["events", "-w", "x"], "no such option '-w'"),
        (["--client-only", "--server-only"], "--client-only and --server-only exclude each other"),
        (["--stats", "--exchanges"], "--stats and --exchanges exclude each other"),
        (["events", "--format", "pretty"], "'pretty' is not one of 'monitor', 'jsonl'"),
        (["events", "--pretty-json"], "no such option '--pretty-json'"),
        (["qemu-monitor", "--pretty-json", "--format", "jsonl"], "--pretty-json requires --format monitor"),
    ],
)
def test_options_differ_by_kind_of_trace(arguments: list[str], words: str) -> None:
    assert words in run(*arguments, status=2).stderr


def test_lists_probes_of_other_kinds(binary: Path) -> None:
    """A list has only probes of its kind, and a file without them is an error."""
    for word, what in (("events", "event loop"), ("qemu-monitor", "QEMU monitor")):
        err = run(word, "--library", binary, "--probes", status=1).stderr
        assert f"{binary}: no {what} probes found" in err


def test_completes_words() -> None:
    complete = ShellComplete(cli.main, {}, "libvirt-proto", "_X")
    assert {item.value for item in complete.get_completions(["trace"], "")} == {"events", "qemu-monitor"}
    found = {item.value for item in complete.get_completions(["trace", "qemu-monitor"], "--")}
    assert {"--pretty-json", "--pid", "--probes"} <= found
    assert "--server-only" not in found


def test_lists_probes_as_table_on_terminal(binary: Path) -> None:
    words = ("trace", "--probes", "--color", "never", "--library", str(binary))
    assert all(len(line) <= 80 for line in on_terminal(*words).splitlines())
    lines = on_terminal(*words, "--wide").splitlines()
    assert lines[0].split() == ["probe", "site", "semaphore", "payload", "arguments", "file"]
    (new,) = [line for line in lines if line.startswith("rpc_socket_new ")]
    assert new.index("0x") == lines[0].index("site")
    assert new.endswith(str(binary))


def test_reports_library_that_is_not_loaded() -> None:
    """The error names the processes that were examined, and suggests a fix."""
    words = run("--pid", str(1 << 22), "--comm", "nosuch", "--probes", status=1).stderr
    assert "no libvirt.so.0 with probes is loaded by process 4194304 or a process called 'nosuch'" in words
    assert "name the file with --library PATH" in words
    words = run("qemu-monitor", "--pid", str(1 << 22), "--probes", status=1).stderr
    assert "no libvirt_driver_qemu.so with probes is loaded by process 4194304" in words
    assert "start libvirtd or virtqemud first" in words


def test_setting_probes_requires_root(binary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    for arguments in (["--library", str(binary)], ["--pid", str(1 << 22)], ["events"]):
        done = CliRunner().invoke(cli.main, ["trace", *arguments])
        assert (done.exit_code, done.output) == (
            1,
            "libvirt-proto: error: setting probes requires root: run this command with sudo\n",
        )


def test_rejects_library_for_other_processor(
    binary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    done = CliRunner().invoke(cli.main, ["trace", "--library", str(binary), "-o", str(tmp_path / "out")])
    assert done.exit_code == 1
    assert f"{binary} is for " in done.output
    assert "but this machine is riscv64" in done.output
