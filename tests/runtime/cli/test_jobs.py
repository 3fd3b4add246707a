"""`libvirt-proto decode --jobs`: the output equals that of one job, byte for byte."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import BinaryIO

import pytest

from libvirt_proto.cli import jobs
from libvirt_proto.cli.status import Status
from libvirt_proto.presenters.style import PLAIN
from tests.differential.ours import COMMAND
from tests.support.terminal import on_terminal


@pytest.fixture(scope="module")
def files(captures: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Files of every kind, good and damaged, the largest first, so that others finish before it."""
    folder = tmp_path_factory.mktemp("jobs")
    cut, empty = folder / "cut.pcap", folder / "empty"
    cut.write_bytes((captures / "virsh-domname.pcap").read_bytes()[:2000])
    empty.touch()
    names = ("tour.pcap", "virsh-domname.pcap", "strace-yy-virt-admin.txt", "libvirtd-rpc-info.log")
    return [*(str(captures / name) for name in names), str(cut), str(empty)]


def run(*words: str) -> tuple[bytes, bytes, int]:
    done = subprocess.run([COMMAND, "decode", *words], capture_output=True, timeout=60)
    return done.stdout, done.stderr, done.returncode


@pytest.mark.parametrize(
    ("jobs", "options"),
    [
        ("9", ("--format", "jsonl")),
        ("2", ("--format", "monitor", "--color", "always")),
        ("2", ("--format", "pretty", "--errors-only", "--as-of", "0.9.7")),
        ("2", ("--exchanges", "--format", "jsonl", "--acl")),
        ("2", ("--format", "monitor", "--procedure", "domain_get_*", "--type", "reply", "--conn", ":16509")),
    ],
)
def test_output_equals_that_of_one_job(files: list[str], jobs: str, options: tuple[str, ...]) -> None:
    one = run(*options, *files)
    assert one[0]
    assert b"is truncated" in one[1]
    assert b"empty" in one[1]
    assert one[2] == 1
    assert run("--jobs", jobs, *options, *files) == one


def test_writes_output_to_file(files: list[str], tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    run("-o", str(first), *files)
    assert run("--jobs", "2", "-o", str(second), *files)[0] == b""
    assert second.read_bytes() == first.read_bytes()


def test_exit_status_0_without_problems(captures: Path) -> None:
    file = str(captures / "virsh-domname.pcap")
    assert run("--jobs", "2", file, file)[1:] == (b"", 0)


def test_terminal_shows_the_totals(captures: Path) -> None:
    file = str(captures / "virsh-domname.pcap")
    plain = {"TERM": "dumb"}
    shown = on_terminal("decode", "--jobs", "2", "--format", "monitor", file, file, env=plain)
    assert shown == on_terminal("decode", "--format", "monitor", file, file, env=plain)
    assert shown.endswith("── 36 messages, 2 connections, no problems\n")


def test_one_file_starts_no_worker(captures: Path) -> None:
    with (captures / "virsh-domname.pcap").open("rb") as file:
        done = subprocess.run(
            [COMMAND, "decode", "--jobs", "2", "-"], stdin=file, capture_output=True, timeout=60
        )
    assert done.stdout.count(b"\n") == 18
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--merge",), "--merge"),
        (("-w", "out.pcapng"), "-w"),
        (("--follow",), "--follow"),
        (("-",), "standard input"),
        (("--jobs", "0"), "0"),
    ],
)
def test_rejects_options_that_need_one_process(captures: Path, words: tuple[str, ...], said: str) -> None:
    file = str(captures / "virsh-domname.pcap")
    shown, error, status = run("--jobs", "2", file, file, *words)
    assert (shown, status) == (b"", 2)
    assert said in error.decode()
    assert "Traceback" not in error.decode()


def test_rejects_pipe(captures: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert b"not a regular file" in run("--jobs", "2", str(pipe), str(captures / "tour.pcap"))[1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("to", ["process", "group"])
def test_signal_leaves_no_workers_and_no_files(
    captures: Path, tmp_path: Path, number: signal.Signals, to: str
) -> None:
    """Ctrl-C, timeout(1) and closing a terminal signal the whole group."""
    files = [str(captures / "tour.pcap")] * 100
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [COMMAND, "decode", "--jobs", "2", *files],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(1)
        assert len(list(tmp_path.iterdir())) == 1
        (os.kill if to == "process" else os.killpg)(process.pid, number)
        process.stdout.close()
        assert process.wait(timeout=60) == 128 + number
        assert process.stderr.read() == b""
    assert list(tmp_path.iterdir()) == []
    end = time.monotonic() + 20
    while _group_is_there(process.pid):
        assert time.monotonic() < end
        time.sleep(0.05)


def test_killed_worker_is_reported(captures: Path) -> None:
    files = [str(captures / "tour.pcap")] * 100
    with subprocess.Popen(
        [COMMAND, "decode", "--jobs", "2", *files], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.read(1)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        assert len(children) == 2
        os.kill(int(children[0]), signal.SIGKILL)
        _, said = process.communicate(timeout=60)
    assert said.startswith(b"libvirt-proto: error: a process that decoded one of the files was killed")
    assert process.returncode == 1


def test_closed_reader_ends_all_workers(captures: Path) -> None:
    file = str(captures / "tour.pcap")
    line = f"{COMMAND} decode --jobs 2 --format monitor {file} {file} {file}; echo $? >&2"
    done = subprocess.run(["bash", "-c", f"({line}) | head -n 1"], capture_output=True, text=True, timeout=60)
    assert done.stdout.count("\n") == 1
    assert done.stderr == "141\n"


def _group_is_there(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_output_is_passed_on_immediately(tmp_path: Path) -> None:
    """Workers continue when their lines are in the output; the second one when the first has finished."""
    shown = tmp_path / "shown"
    before = {"first": b"", "second": b"first is seen "}

    def work(file: str, out: BinaryIO, status: Status) -> None:
        name = Path(file).name
        out.write(f"{name} ".encode())
        out.flush()
        end = time.monotonic() + 20
        while shown.read_bytes() != before[name] + f"{name} ".encode() and time.monotonic() < end:
            time.sleep(0.01)
        out.write(b"is seen " if time.monotonic() < end else b"is kept back ")
        status.messages += 1

    files = [tmp_path / name for name in before]
    for path in files:
        path.touch()
    status = Status(PLAIN, bar=False, summary=False)
    with shown.open("wb") as out:
        jobs.run([str(path) for path in files], 2, work, out, status)
    assert shown.read_bytes() == b"first is seen second is seen "
    assert status.messages == 2
