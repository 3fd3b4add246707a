"""`libvirt-proto relay`: start, output and exit."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from click.testing import CliRunner

from libvirt_proto.capture.address import listen, parse
from libvirt_proto.cli import main as cli
from tests.support.frames import frame, text, word
from tests.support.relays import COMMAND, PATIENCE, connect, relay
from tests.support.trace_events import read

#: Two calls whose replies have no payload, as answered by the daemon below.
CLOSES = [frame(serial=serial, proc=2) for serial in range(2)]


@contextmanager
def daemon(path: Path) -> Iterator[str]:
    """Answer every call with a reply without a payload; return the address."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def answer(one: socket.socket) -> None:
            with one, one.makefile("rb") as calls, suppress(ConnectionError):
                while head := calls.read(28):
                    calls.read(int.from_bytes(head[:4]) - 28)
                    one.sendall(word(28) + head[4:16] + word(1) + head[20:28])

        def serve() -> None:
            while True:
                try:
                    one, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=answer, args=(one,), daemon=True).start()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"unix:{path}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(PATIENCE)


def converse(address: str, *calls: bytes) -> None:
    with connect(address) as one:
        for call in calls:
            one.sendall(call)
            assert len(one.recv(28, socket.MSG_WAITALL)) == 28


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("listen", ["unix:{}/front", "tcp:127.0.0.1:0", "tcp:[::1]:0", "unix:@{}"])
def test_shows_messages_until_a_signal(tmp_path: Path, listen: str, number: signal.Signals) -> None:
    """A background job has SIGINT ignored from the start, and ends on it nevertheless."""
    with (
        daemon(tmp_path / "back") as server,
        relay(listen.format(tmp_path), server, "--format", "jsonl") as running,
    ):
        assert running.address.startswith(listen.format(tmp_path).removesuffix(":0"))
        assert not running.address.endswith(":0")
        address = running.address.replace("unix:@", "unix:\0")
        converse(address, *CLOSES)
        stays = connect(address)
        status, out, err = running.end(number)
        with stays:
            assert stays.recv(1) == b""
    lines = [json.loads(line) for line in out.splitlines()]
    assert [(one["dir"], one["serial"]) for one in lines] == [("c2s", 0), ("s2c", 0), ("c2s", 1), ("s2c", 1)]
    assert {one["procedure"] for one in lines} == {"connect_close"}
    times = [one["time_ns"] for one in lines]
    assert times == sorted(times)
    assert (status, err) == (0, "── 4 messages, 1 connection, no problems\n")
    assert not (tmp_path / "front").exists()


def test_applies_filters_to_output_and_recording(tmp_path: Path) -> None:
    output, record = tmp_path / "out", tmp_path / "record.pcapng"
    options = ["--type", "call", "--format", "monitor", "-o", output, "-w", record]
    with (
        daemon(tmp_path / "back") as server,
        relay(f"unix:{tmp_path}/front", server, *options) as running,
    ):
        converse(running.address, *CLOSES)
        assert running.end() == (0, "", "── 2 of 4 messages, 1 connection, no problems\n")
    shown = output.read_text().splitlines()
    assert [" > " in line for line in shown] == [True, True]
    assert f"unix:pid {os.getpid()}-{tmp_path}/back" in shown[0]
    again = CliRunner().invoke(cli.main, ["decode", "--format", "jsonl", str(record)])
    assert [json.loads(line)["serial"] for line in again.stdout.splitlines()] == [0, 0, 1, 1]


@pytest.mark.parametrize("format_", ["arrow", "parquet"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_table_ends_with_a_signal(tmp_path: Path, format_: str, number: signal.Signals) -> None:
    dataset = pytest.importorskip("pyarrow.parquet" if format_ == "parquet" else "pyarrow.ipc")
    output = tmp_path / "out"
    with (
        daemon(tmp_path / "back") as server,
        relay(f"unix:{tmp_path}/front", server, "--format", format_, "-o", output) as running,
    ):
        converse(running.address, *CLOSES)
        assert running.end(number) == (0, "", "── 4 messages, 1 connection, no problems\n")
    if format_ == "parquet":
        table = dataset.read_table(output)
    else:
        with output.open("rb") as file:
            table = dataset.open_stream(file).read_all()
    assert table["procedure"].to_pylist() == ["connect_close"] * 4
    assert table["serial"].to_pylist() == [0, 0, 1, 1]
    assert table["file"].to_pylist() == ["relay"] * 4


def test_timeline_ends_with_the_relay(tmp_path: Path) -> None:
    with (
        daemon(tmp_path / "back") as server,
        relay(f"unix:{tmp_path}/front", server, "--exchanges", "--format", "chrome-trace") as running,
    ):
        converse(running.address, *CLOSES)
        status, out, err = running.end()
    assert [event["args"]["serial"] for event in read(out.encode()).of("X")] == [0, 1]
    assert (status, err) == (0, "── 4 messages, 1 connection, no problems\n")


def test_messages_are_shown_immediately(tmp_path: Path) -> None:
    with (
        daemon(tmp_path / "back") as server,
        relay(f"unix:{tmp_path}/front", server, "--format", "jsonl") as running,
        connect(running.address) as one,
    ):
        assert running.process.stdout is not None
        for serial in range(3):
            one.sendall(frame(serial=serial))
            for _ in range(2):
                assert json.loads(running.process.stdout.readline())["serial"] == serial


def test_blocked_output_does_not_delay_connections(tmp_path: Path) -> None:
    """Nor the exit: the remaining messages are omitted, and a line reports it."""
    call = frame(word(1) + text(b"x" * 60_000), type_=3, status=2)
    with daemon(tmp_path / "back") as server, relay(f"unix:{tmp_path}/front", server) as running:
        # The pipe is full after 64 KiB, the queue after 64 MiB.
        converse(running.address, *[call] * 1500)
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(PATIENCE) == 1
        assert running.process.stderr is not None
        assert (
            running.process.stderr.read()
            == "relay: error: the reader of the output has stalled: not everything is shown\n"
        )
        assert not (tmp_path / "front").exists()


def test_reports_dropped_messages(tmp_path: Path) -> None:
    call = frame(word(1) + text(b"x" * 60_000), type_=3, status=2)
    with (
        daemon(tmp_path / "back") as server,
        relay(f"unix:{tmp_path}/front", server, "--format", "jsonl") as running,
    ):
        converse(running.address, *[call] * 1500)
        status, out, err = running.end()
    assert status == 1
    *notices, summary = err.splitlines()
    assert any(
        "bytes were forwarded but are not shown" in line and "[dropped-bytes]" in line for line in notices
    )
    assert "bytes left out" in summary
    assert len(out.splitlines()) < 3000


def test_closed_reader_ends_the_relay(tmp_path: Path) -> None:
    read, write = os.pipe()
    with (
        daemon(tmp_path / "back") as server,
        relay(f"unix:{tmp_path}/front", server, stdout=write) as running,
    ):
        os.close(write)
        os.close(read)
        with connect(running.address) as one:
            one.sendall(frame())  # the relay may end before the reply arrives
            assert running.process.wait(PATIENCE) == 128 + signal.SIGPIPE
        assert not (tmp_path / "front").exists()


def test_reports_missing_daemon(tmp_path: Path) -> None:
    server = f"unix:{tmp_path}/none"
    with relay(f"unix:{tmp_path}/front", server) as running:
        with connect(running.address) as one:
            assert one.recv(1) == b""
        status, out, err = running.end()
    assert (status, out) == (1, "")
    assert err == (
        f"relay: error: no connection to {server}: no such file or directory [not-connected]\n"
        "── 0 messages, 0 connections, 1 problem\n"
    )


def test_replaces_stale_socket(tmp_path: Path) -> None:
    front = tmp_path / "front"
    with daemon(tmp_path / "back") as server:
        with relay(f"unix:{front}", server) as killed:
            killed.process.kill()
            killed.process.wait(PATIENCE)
        assert front.is_socket()
        with relay(f"unix:{front}", server) as running:
            converse(running.address, frame())
            words = ["--listen", f"unix:{front}", "--connect", server]
            second = subprocess.run([*COMMAND, *words], capture_output=True, text=True, timeout=PATIENCE)
            assert second.returncode == 2
            assert "is in use: another process listens there" in second.stderr
            converse(running.address, frame())


@pytest.mark.parametrize(
    ("words", "mode"), [((), 0o600), (("--mode", "666"), 0o666), (("--mode", "0660"), 0o660)]
)
@pytest.mark.parametrize("mask", [0, 0o077])
def test_socket_has_its_mode_whatever_the_umask(
    tmp_path: Path, words: tuple[str, ...], mode: int, mask: int
) -> None:
    before = os.umask(mask)
    try:
        with relay(f"unix:{tmp_path}/front", "unix:/none", *words):
            assert (tmp_path / "front").stat().st_mode & 0o777 == mode
    finally:
        os.umask(before)


def test_socket_is_never_open_to_others(tmp_path: Path) -> None:
    """Not even between bind(2) and chmod(2), as the system calls show."""
    modes: list[int] = []
    real = socket.socket.bind

    class Watched(socket.socket):
        def bind(self, address: object, /) -> None:
            real(self, address)  # type: ignore[arg-type]
            modes.append((tmp_path / "front").stat().st_mode & 0o777)

    before = os.umask(0)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("libvirt_proto.capture.address.socket.socket", Watched)
            (listener,) = listen(parse(f"unix:{tmp_path}/front"))
            listener.close()
        assert os.umask(0) == 0
    finally:
        os.umask(before)
    assert modes == [0o600]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_other_users_cannot_connect(tmp_path: Path) -> None:
    with (
        TemporaryDirectory() as name,
        daemon(tmp_path / "back") as server,
        relay(f"unix:{name}/front", server) as running,
    ):
        os.chmod(name, 0o755)
        # Connecting needs write permission (unix(7)).
        command = ["sh", "-c", f"test -S {name}/front && ! test -w {name}/front"]
        subprocess.run(command, check=True, user=65534, group=65534, extra_groups=[], cwd="/")
        converse(running.address, frame())


def test_symlink_is_not_replaced_by_socket(tmp_path: Path) -> None:
    (tmp_path / "front").symlink_to(tmp_path / "elsewhere")
    words = ["--listen", f"unix:{tmp_path}/front", "--connect", "unix:/y"]
    result = CliRunner().invoke(cli.main, ["relay", *words])
    assert result.exit_code == 2
    assert "exists and is not a socket" in result.output
    assert not (tmp_path / "elsewhere").exists()


def test_hangup_removes_the_socket(tmp_path: Path) -> None:
    with daemon(tmp_path / "back") as server, relay(f"unix:{tmp_path}/front", server) as running:
        converse(running.address, *CLOSES)
        status, out, _ = running.end(signal.SIGHUP)
        assert (status, out.count("\n")) == (0, 4)
    assert not (tmp_path / "front").exists()


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ([], 2, "missing option '--listen'"),
        (["--listen", "tcp:127.0.0.1:0"], 2, "missing option '--connect'"),
        (["--listen", "/x", "--connect", "unix:/y"], 2, "expected tcp:HOST:PORT"),
        (["--listen", "unix:/x", "--connect", "tcp::16509"], 2, "expected a host and a port"),
        (["--listen", "unix:/x", "--connect", "tcp:h:0"], 2, "expected a host and a port"),
        (["--listen", "unix:{folder}/file", "--connect", "unix:/y"], 2, "exists and is not a socket"),
        (["--listen", "unix:{folder}/none/x", "--connect", "unix:/y"], 1, "no such file or directory"),
        (["--listen", "unix:{folder}/" + "x" * 200, "--connect", "unix:/y"], 1, "path too long"),
        (["--listen", "tcp:192.0.2.1:1", "--connect", "unix:/y"], 1, "cannot listen on tcp:192.0.2.1:1: "),
        (["--listen", "unix:/x", "--connect", "unix:/y", "--type", "replay"], 2, "Did you mean 'reply'?"),
        (
            ["--listen", "unix:/x", "--connect", "unix:/y", "--mode", "rw"],
            2,
            "expected an octal mode such as 660",
        ),
        (["--listen", "unix:/x", "--connect", "unix:/y", "--mode", "1777"], 2, "got '1777'"),
        (
            ["--listen", "unix:@x", "--connect", "unix:/y", "--mode", "666"],
            2,
            "--mode requires a unix socket with a file",
        ),
        (
            ["--listen", "tcp::0", "--connect", "unix:/y", "--mode", "666"],
            2,
            "--mode requires a unix socket with a file",
        ),
        (
            ["--listen", "unix:/x", "--connect", "unix:/y", "-w", "f", "-o", "f"],
            2,
            "f is also the output; choose another file",
        ),
    ],
)
def test_wrong_usage(tmp_path: Path, words: list[str], status: int, said: str) -> None:
    (tmp_path / "file").write_text("kept")
    result = CliRunner().invoke(cli.main, ["relay", *(word.format(folder=tmp_path) for word in words)])
    assert (result.exit_code, result.stdout) == (status, "")
    assert said in " ".join(result.output.split())
    assert (tmp_path / "file").read_text() == "kept"
