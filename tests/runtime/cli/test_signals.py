"""Signals that request the exit, at many moments, with commands as a user runs them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.differential.ours import COMMAND

PATIENCE = 60.0  # seconds
ENDING = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


def started(words: Sequence[str | Path], **options: object) -> subprocess.Popen[bytes]:
    """A command with the signal handlers of a foreground job."""

    def reset() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)

    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "preexec_fn": reset, **options}
    return subprocess.Popen([COMMAND, *words], **pipes)  # type: ignore[call-overload,no-any-return]


def until(condition: Callable[[], object], process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition() and process.poll() is None:
        assert time.monotonic() < end
        time.sleep(0.001)


@pytest.mark.parametrize("number", ENDING)
def test_exit_status_follows_shell_convention(number: signal.Signals) -> None:
    with started(["decode", "-"], stdin=subprocess.PIPE) as process:
        time.sleep(1)  # before that the signal may kill it
        process.send_signal(number)
        assert process.wait(PATIENCE) in (128 + number, -number)
        assert process.stderr is not None
        assert process.stderr.read() == b""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_ignored_signals_stay_ignored(captures: Path, number: signal.Signals) -> None:
    """As by nohup(1), and as a shell starts background jobs."""
    ignore = {"preexec_fn": lambda: signal.signal(number, signal.SIG_IGN)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with started(["decode", "--format", "jsonl", "-"], **pipes, **ignore) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write((captures / "virsh-domname.pcap").read_bytes())
        process.stdin.flush()
        assert process.stdout.readline()
        process.send_signal(number)
        process.stdin.close()
        assert process.stdout.read().count(b"\n") == 17
        assert process.wait(PATIENCE) == 0


def test_interrupt_during_start_up_prints_no_traceback() -> None:
    """Ours: Python's own messages during its start are beyond our control."""
    for milliseconds in range(10, 130, 3):
        with started(["lookup", "66"]) as process:
            time.sleep(milliseconds / 1000)
            process.send_signal(signal.SIGINT)
            assert process.stderr is not None
            said = process.stderr.read().decode()
            assert "/libvirt_proto/" not in said, (milliseconds, said)
            assert process.wait(PATIENCE) in (0, 1, 130, -signal.SIGINT)


def test_entry_point_restores_the_ignored_interrupt() -> None:
    program = (
        "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); import libvirt_proto.__main__;"
        "print(signal.getsignal(signal.SIGINT) == signal.SIG_IGN)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "True\n"


def test_package_can_be_run_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "libvirt_proto", "--help"], capture_output=True, text=True)
    assert done.stdout.startswith("Usage: libvirt-proto [OPTIONS] COMMAND")


def test_handlers_are_restored() -> None:
    """Those of a program that runs a command in its own process."""
    from click.testing import CliRunner

    from libvirt_proto.cli import main as cli

    before = [signal.getsignal(number) for number in ENDING]
    assert CliRunner().invoke(cli.main, ["lookup", "66"]).exit_code == 0
    assert [signal.getsignal(number) for number in ENDING] == before


def test_second_signal_does_not_interrupt_cleanup(tmp_path: Path) -> None:
    """timeout(1) sends two."""
    program = """
import os, signal, sys
from pathlib import Path
from libvirt_proto.cli.signals import Terminated, interrupting
with interrupting():
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    except Terminated as error:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGINT)
        print(error.status)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "143\n", "")


#: Runs a command in one process for each line of ours, contextlib and signal that is executed after the
#: command, and sends the signal there. Prints the lines at which the end was not silent, or had another
#: status.
AT_EVERY_LINE = """
import os, signal, sys
from libvirt_proto.__main__ import main

number = int(sys.argv[1])

def run(at):
    count = ended = 0
    def trace(frame, event, arg):
        nonlocal count, ended
        ended = ended or (event == "return" and frame.f_code.co_name == "completion")
        file = frame.f_code.co_filename
        ours = "/libvirt_proto/cli/" in file or file.endswith(("/contextlib.py", "/signal.py"))
        count += ended and ours and event == "line"
        if count == at:
            os.write(where, f"{file}:{frame.f_lineno}".encode())
            sys.settrace(None)
            os.kill(os.getpid(), number)
        return trace
    sys.settrace(trace)
    main(["completion", "bash"])

main(["completion", "bash"], standalone_mode=False)
print("places: ", flush=True)
for at in range(1, 1000):
    (where_read, where), (error_read, error) = os.pipe(), os.pipe()
    if (child := os.fork()) == 0:
        os.dup2(error, 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        run(at)
    os.close(where), os.close(error)
    place, said = (open(fd, "rb").read().decode() for fd in (where_read, error_read))
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if not place:
        break
    if said or status not in (0, 128 + number, -number):
        print(place, status, said)
print(at)
"""


@pytest.mark.parametrize("number", ENDING)
def test_signal_at_the_end_of_a_command_is_silent(number: signal.Signals) -> None:
    """The command has ended, and the handlers are still there, or some of them."""
    done = subprocess.run(
        [sys.executable, "-c", AT_EVERY_LINE, str(int(number))], capture_output=True, text=True, check=True
    )
    *problems, count = done.stdout.partition("places: \n")[2].splitlines()
    assert problems == []
    assert int(count) > 20


@pytest.mark.parametrize(
    ("number", "count"), [(signal.SIGTERM, 1), (signal.SIGHUP, 2), (signal.SIGTERM, 5), (signal.SIGHUP, 8)]
)
def test_generate_leaves_no_partial_files(tmp_path: Path, number: signal.Signals, count: int) -> None:
    """From the first file on, the command is always writing some file."""
    with started(["generate", "-q", "python", "-o", tmp_path]) as process:
        until(lambda: len(os.listdir(tmp_path)) >= count, process)
        process.send_signal(number)
        assert process.wait(PATIENCE) in (0, 128 + number, -number)
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert [name for name in os.listdir(tmp_path) if name.startswith(".")] == []
    assert all(path.read_text().endswith("\n") for path in tmp_path.iterdir())


def test_import_leaves_the_old_folder_or_the_new_one(root: Path, tmp_path: Path) -> None:
    source, out = root / "protocol-defs" / "12.9.0", tmp_path / "out"
    words = ["import", source, "--release", "12.9.0", "-o", out]
    subprocess.run([COMMAND, *words], check=True, stdout=subprocess.DEVNULL)
    whole = sorted(os.listdir(out / "12.9.0"))
    for number, delay in (
        (signal.SIGTERM, 0.0),
        (signal.SIGHUP, 0.002),
        (signal.SIGTERM, 0.004),
        (signal.SIGHUP, 0.01),
    ):
        with started(words) as process:
            until(lambda: len(os.listdir(out)) > 1, process)
            time.sleep(delay)
            process.send_signal(number)
            # Killed by the signal itself if it has ended already, except for Python's shutdown.
            assert process.wait(PATIENCE) in (0, 128 + number, -number)
        assert os.listdir(out) == ["12.9.0"]
        assert sorted(os.listdir(out / "12.9.0")) == whole


@pytest.mark.system("tshark")
@pytest.mark.parametrize("number", ENDING)
def test_decrypting_leaves_no_files_and_no_tshark(
    captures: Path, tmp_path: Path, number: signal.Signals
) -> None:
    """While a capture from standard input is stored in a file, and while tshark reads it."""
    keys = tmp_path / "keys"
    keys.touch()
    folder = tmp_path / "tmp"
    folder.mkdir()
    data = (captures / "virsh-domname.pcap").read_bytes()
    environment = os.environ | {"TMPDIR": str(folder)}
    for wait in (1.0, 1.5):
        words = ["decode", "--keylog", keys, "-"]
        with started(words, stdin=subprocess.PIPE, env=environment, start_new_session=True) as process:
            assert process.stdin is not None
            process.stdin.write(data[:1000] if wait == 1.0 else data + data[24:] * 20_000)
            process.stdin.flush()
            if wait != 1.0:
                process.stdin.close()
            time.sleep(wait)
            assert os.listdir(folder) == []  # it has no name
            process.send_signal(number)
            assert process.wait(PATIENCE) in (0, 128 + number, -number)
        until(lambda: not group_exists(process.pid), process)
        assert not group_exists(process.pid)
        assert os.listdir(folder) == []


def group_exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
