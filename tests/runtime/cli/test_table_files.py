"""`--format arrow` and `--format parquet`: one table in a file, of every command that shows messages."""

from __future__ import annotations

import json
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from libvirt_proto.cli import main as cli
from tests.differential.ours import COMMAND
from tests.support import packets

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

PATIENCE = 60


def run(*words: str | Path) -> Any:
    return CliRunner().invoke(cli.main, [*map(str, words)])


def read(path: Path) -> Any:
    """The table in a file."""
    if path.suffix == ".parquet":
        return parquet.read_table(path)
    with pa.OSFile(str(path)) as file:
        return pa.ipc.open_stream(file).read_all()


@pytest.fixture(params=["arrow", "parquet"])
def out(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A file in each of the formats, which is its suffix."""
    return tmp_path / f"out.{request.param}"


def test_writes_every_message(captures: Path, out: Path) -> None:
    """As many as `stats` counts, in a file that only its user can read."""
    capture = captures / "tour.pcap"
    result = run("decode", "--format", out.suffix[1:], "-o", out, capture)
    assert (result.exit_code, result.stdout) == (0, "")
    totals = json.loads(run("stats", "--format", "json", capture).stdout)["totals"]
    table = read(out)
    assert table.num_rows == totals["messages"] == 5012
    assert table["status"].to_pylist().count("error") == totals["errors"]
    assert sum(table["length"].to_pylist()) == totals["bytes"]
    assert set(table["file"].to_pylist()) == {str(capture)}
    assert stat.S_IMODE(out.stat().st_mode) == 0o600


def test_writes_every_exchange(captures: Path, out: Path) -> None:
    capture = captures / "stream-events-keepalive.pcap"
    run("decode", "--exchanges", "--format", out.suffix[1:], "-o", out, capture)
    rows = read(out).to_pylist()
    lines = [json.loads(line) for line in run("decode", "--exchanges", capture).stdout.splitlines()]
    assert [row["outcome"] for row in rows] == [line["outcome"] for line in lines]
    assert [row["latency_ns"] for row in rows] == [line["latency_ns"] for line in lines]
    assert {row["object_name"] for row in rows} >= {"test", "default-pool"}
    assert any(row["stream_end"] == "finished" and row["stream_bytes_s2c"] for row in rows)


def test_files_are_one_table(captures: Path, out: Path, tmp_path: Path) -> None:
    """Each row names its file; a file without messages has no rows."""
    names = ["virsh-domname.pcap", "hand-made-messages.hex", "missing", "strace-yy-virt-admin.txt"]
    files = [captures / name for name in names]
    result = run("decode", "--format", out.suffix[1:], "-o", out, *files)
    assert result.exit_code == 2
    files[2] = tmp_path / "empty"
    files[2].touch()
    run("decode", "--format", out.suffix[1:], "-o", out, *files)
    table = read(out)
    expected = [
        (str(file), line["n"])
        for file in files
        for line in map(json.loads, run("decode", file).stdout.splitlines())
    ]
    assert [*zip(table["file"].to_pylist(), table["n"].to_pylist(), strict=True)] == expected


def test_no_messages_give_an_empty_table(out: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.pcap").write_bytes(packets.pcap([]))
    run("decode", "--format", out.suffix[1:], "-o", out, tmp_path / "empty.pcap")
    table = read(out)
    assert (table.num_rows, table.num_columns) == (0, 24)


def test_redacts(captures: Path, out: Path) -> None:
    """The same as in JSON lines; the file's metadata states it."""
    capture = captures / "tour.pcap"
    for option in ("--redact", "--redact=all"):
        run("decode", option, "--format", out.suffix[1:], "-o", out, capture)
        table = read(out)
        lines = [json.loads(line) for line in run("decode", option, capture).stdout.splitlines()]
        assert [text and json.loads(text) for text in table["payload"].to_pylist()] == [
            line["payload"] for line in lines
        ]
        what = option.partition("=")[2] or "secrets"
        assert table.schema.metadata[b"libvirt_proto.redacted"] == what.encode()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("decode", "--format", "parquet"), "--format parquet requires -o FILE"),
        (
            ("decode", "--format", "arrow", "--acl", "-o", "{out}"),
            "--acl and --format arrow exclude each other",
        ),
        (("decode", "--format", "parquet", "-o", "{out}", "--jobs", "2", "{file}"), "requires --jobs 1"),
    ],
)
def test_rejects_options(captures: Path, tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    file, out = captures / "tour.pcap", tmp_path / "out"
    result = run(*(word.format(file=file, out=out) for word in words), file)
    assert result.exit_code == 2
    assert said in result.stderr


@pytest.mark.parametrize("option", ["--stats", "--diagnose"])
def test_figures_are_no_table(tmp_path: Path, option: str) -> None:
    address = ["--listen", f"unix:{tmp_path}/a", "--connect", f"unix:{tmp_path}/b"]
    result = run("relay", *address, option, "--format", "parquet", "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert f"{option} and --format parquet exclude each other" in result.stderr
    assert not (tmp_path / "out").exists()


def test_names_the_extra(captures: Path, tmp_path: Path) -> None:
    """Without pyarrow, nothing is written."""
    program = "import sys; sys.modules['pyarrow'] = None\nfrom libvirt_proto.cli.main import main; main()"
    out = tmp_path / "out"
    words = ["decode", "--format", "parquet", "-o", out, captures / "tour.pcap"]
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True)
    assert done.returncode == 2
    assert "pip install 'libvirt-proto[arrow]'" in done.stderr
    assert not out.exists()


def test_arrow_goes_through_a_pipe(captures: Path) -> None:
    command = [COMMAND, "decode", "--format", "arrow", captures / "tour.pcap"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert pa.ipc.open_stream(process.stdout).read_all().num_rows == 5012
        assert process.wait(PATIENCE) == 0


def test_full_disk_is_named(captures: Path) -> None:
    words = [COMMAND, "decode", "--format", "parquet", "-o", "/dev/full", captures / "tour.pcap"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "libvirt-proto: error: /dev/full: no space left on device\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_files_are_valid(out: Path, captures: Path, number: signal.Signals) -> None:
    """Of a pipe that stays open: what was read is in the file."""
    command = [COMMAND, "decode", "--format", out.suffix[1:], "-o", out, "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write((captures / "tour.pcap").read_bytes())
        process.stdin.flush()
        _wait_until_it_waits(process.pid)
        process.send_signal(number)
        assert process.wait(PATIENCE) in (128 + number, -number)
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert read(out)["n"].to_pylist() == list(range(1, 5013))


def test_interrupted_at_any_moment(out: Path, tmp_path: Path) -> None:
    """The rows are the first ones, without gaps, whatever was being done."""
    talk = packets.Talk()
    start = talk.handshake()
    call, reply = packets.message(proc=59), packets.message(b"\0\0\0\4host", proc=59, type=1)
    pairs = [talk.packet(*each) for _ in range(100_000) for each in (("c2s", call), ("s2c", reply))]
    capture = tmp_path / "many.pcap"
    capture.write_bytes(packets.pcap([*start, *pairs]))
    found = []
    for part in range(8):
        out.unlink(missing_ok=True)
        with subprocess.Popen(
            [COMMAND, "decode", "--format", out.suffix[1:], "-o", out, capture, capture]
        ) as process:
            while not out.exists():
                time.sleep(0.001)
            time.sleep(part * 0.05)
            process.send_signal(signal.SIGINT)
            status = process.wait(PATIENCE)
        assert status in (0, 130, -signal.SIGINT)
        if out.stat().st_size:
            rows = read(out)["n"].to_pylist()
            assert rows == [at % 200_000 + 1 for at in range(len(rows))]
            found.append(len(rows))
    assert any(0 < rows < 400_000 for rows in found), found


#: Runs a command in one process for each line of ours that is executed from the creation of the table on, and
#: sends a signal there. Prints the lines after which the file is not valid, and the number of lines.
AT_EVERY_LINE = """
import os, signal, sys
import pyarrow.ipc
from libvirt_proto.cli.main import main

path, capture = sys.argv[1:]
words = ["decode", "--format", "arrow", "-o", path, capture]
FILES = ("cli/output_options.py", "cli/views.py", "cli/signals.py", "tables/files.py")

def run(at):
    count = begun = 0
    def trace(frame, event, arg):
        nonlocal count, begun
        name = frame.f_code.co_filename
        begun = begun or (frame.f_code.co_name == "_table" and name.endswith("output_options.py"))
        count += bool(begun) and name.endswith(FILES) and event == "line"
        if count == at:
            os.write(where, f"{name}:{frame.f_lineno}".encode())
            sys.settrace(None)
            os.kill(os.getpid(), signal.SIGINT)
        return trace
    sys.settrace(trace)
    main(words)

main(words, standalone_mode=False)
print("places: ", flush=True)
for at in range(1, 10_000):
    (where_read, where) = os.pipe()
    if (child := os.fork()) == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        run(at)
    os.close(where)
    place = open(where_read, "rb").read().decode()
    os.waitpid(child, 0)
    if not place:
        break
    data = open(path, "rb").read()
    try:
        if data:
            pyarrow.ipc.open_stream(data).read_all()
    except Exception as error:
        print(place, len(data), error)
print(at)
"""


def test_interrupted_at_every_line(tmp_path: Path, captures: Path) -> None:
    """A file that was begun is valid. (Parquet has threads, which a child process would lack.)"""
    words = [
        sys.executable,
        "-c",
        AT_EVERY_LINE,
        str(tmp_path / "out"),
        str(captures / "hand-made-messages.hex"),
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    *problems, count = done.stdout.partition("places: \n")[2].splitlines()
    assert problems == []
    assert int(count) > 100


def test_followed_file(out: Path, captures: Path, tmp_path: Path) -> None:
    """Until a signal, with exit status 0."""
    growing = tmp_path / "growing.pcap"
    growing.write_bytes((captures / "virsh-domname.pcap").read_bytes())
    command = [COMMAND, "decode", "--follow", "--format", out.suffix[1:], "-o", out, growing]
    with subprocess.Popen(command) as process:
        _wait_until_it_waits(process.pid)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 0
    assert read(out).num_rows == 18


def _wait_until_it_waits(process: int) -> None:
    """Wait until a process has used no processor for a while."""

    def used() -> int:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    end = time.monotonic() + PATIENCE
    before, quiet = used(), 0
    while quiet < 10 or not before:
        assert time.monotonic() < end
        time.sleep(0.05)
        now = used()
        quiet = quiet + 1 if now == before else 0
        before = now
