"""`--metrics` and `--metrics-file` of decode and relay: start, scrape, end, and errors."""

from __future__ import annotations

import re
import signal
import socket
import stat
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from libvirt_proto.cli import main as cli
from libvirt_proto.cli.exporting import written
from tests.differential import ours
from tests.runtime.cli.test_relay import CLOSES, converse, daemon
from tests.support.relays import connect

PATIENCE = 60.0


class Running:
    """A command with metrics; `url` is the place that it prints."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.said = ""
        self.url = ""

    def wait_for(self, pattern: str) -> re.Match[str]:
        assert self.process.stderr is not None
        while not (match := re.search(pattern, self.said)):
            line = self.process.stderr.readline()
            assert line, self.said
            self.said += line
        return match

    def scrape(self, pattern: str) -> str:
        """The text, once it has a line like this."""
        while True:
            with urllib.request.urlopen(self.url, timeout=PATIENCE) as answer:  # bounded by the process
                text: str = answer.read().decode()
            if re.search(pattern, text, re.MULTILINE):
                return text
            assert self.process.poll() is None, self.said

    def end(self) -> tuple[int, str, str]:
        self.process.send_signal(signal.SIGTERM)
        out, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, out, err


@contextmanager
def running(*words: str | Path, served: bool = True) -> Iterator[Running]:
    with subprocess.Popen(
        [ours.COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            one = Running(process)
            if served:
                one.url = one.wait_for(r"metrics: (http://127\.0\.0\.1:\d+/metrics)")[1]
            yield one
        finally:
            if process.poll() is None:
                process.kill()


def run(*words: str) -> Result:
    return CliRunner().invoke(cli.main, list(words))


def test_follow_serves_what_it_reads_and_shows_nothing(captures: Path) -> None:
    with running("decode", "-f", captures / "tour.pcap", "--metrics", "127.0.0.1:0") as one:
        text = one.scrape(r'^libvirt_rpc_messages_total\{type="reply"\} 2486\.0$')
        status, out, err = one.end()
    assert 'libvirt_rpc_errors_total{code="VIR_ERR_NO_SUPPORT"}' in text
    assert (status, out, err) == (0, "", "")


def test_messages_are_shown_on_request(captures: Path) -> None:
    with running(
        *("decode", "-f", captures / "virsh-domname.pcap", "--metrics=127.0.0.1:0"),
        *("--format", "monitor", "--type", "call"),
    ) as one:
        one.scrape(r'^libvirt_rpc_messages_total\{type="call"\} 9\.0$')
        status, out, _ = one.end()
    assert status == 0
    assert out.count("\n") == 9


def test_relay(tmp_path: Path) -> None:
    with (
        daemon(tmp_path / "daemon") as server,
        running(
            *("relay", "--listen", f"unix:{tmp_path / 'relay'}", "--connect", server),
            "--metrics=127.0.0.1:0",
        ) as one,
    ):
        address = one.wait_for("listening on (.*), connecting")[1]
        converse(address, *CLOSES)
        waits = connect(address)
        text = one.scrape(r'^libvirt_rpc_calls_total\{outcome="ok".*"connect_close".*\} 2\.0$')
        assert 'libvirt_rpc_connections_total{side="between",transport="unix"} 1.0' in text
        waits.close()
        status, out, _ = one.end()
    assert (status, out) == (0, "")


def test_file(captures: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.prom"
    with running(
        *("decode", "-f", captures / "tour.pcap", "--metrics-file", path),
        *("--metrics", "127.0.0.1:0"),
    ) as one:
        one.scrape(r'^libvirt_rpc_messages_total\{type="reply"\} 2486\.0$')
        # The first text is there before the input is read.
        assert "libvirt_rpc_messages_total{" not in path.read_text()
        assert one.end()[0] == 0
    text = path.read_text()
    assert 'libvirt_rpc_messages_total{type="reply"} 2486.0' in text
    assert "process_" not in text
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert list(tmp_path.iterdir()) == [path]


def test_standard_input_goes_on(captures: Path) -> None:
    with running("decode", "--metrics", "127.0.0.1:0", "-", served=False) as one:
        one.process.kill()
    done = subprocess.run(
        [ours.COMMAND, "decode", "--metrics", "127.0.0.1:0", "-"],
        input=(captures / "tour.pcap").read_bytes(),
        capture_output=True,
    )
    assert (done.returncode, done.stdout) == (0, b"")


def test_warns_beyond_loopback(captures: Path) -> None:
    with running("decode", "-f", captures / "tour.pcap", "--metrics=0.0.0.0:0", served=False) as one:
        one.wait_for("warning: everybody who reaches this address can read the metrics")
    assert "metrics: http://0.0.0.0:" in one.said


def test_loopback_has_both_families_without_a_warning(captures: Path) -> None:
    with running("decode", "-f", captures / "tour.pcap", "--metrics", ":0", served=False) as one:
        one.wait_for("metrics: .*http://127.0.0.1:")
        _, _, err = one.end()
    assert "warning" not in one.said + err


def test_port_that_is_taken(captures: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("decode", "-f", str(captures / "tour.pcap"), f"--metrics=127.0.0.1:{port}")
    assert done.exit_code == 1
    assert f"cannot listen on 127.0.0.1:{port}: address already in use; choose another address" in done.output


@pytest.mark.parametrize(
    "address", ["x", "localhost", "host:port", "::1:80", ":65536", "[x:1", "a b:1", ":-1"]
)
def test_bad_address(captures: Path, address: str) -> None:
    done = run("decode", "-f", str(captures / "tour.pcap"), f"--metrics={address}")
    assert done.exit_code == 2
    assert f"expected HOST:PORT, :PORT or [::1]:PORT, got {address!r}" in done.output


def test_finite_input_has_no_metrics(captures: Path) -> None:
    for words in (
        [str(captures / "tour.pcap")],
        ["--merge", str(captures / "tour.pcap"), str(captures / "tour.pcap")],
    ):
        done = run("decode", "--metrics", *words)
        assert done.exit_code == 2
        assert "metrics require one input that goes on" in done.output


def test_filter_needs_messages(captures: Path) -> None:
    done = run("decode", "-f", "--metrics", "--errors-only", str(captures / "tour.pcap"))
    assert done.exit_code == 2
    assert "filters select messages to show" in done.output


def test_file_that_cannot_be_written(captures: Path, tmp_path: Path) -> None:
    (tmp_path / "link.prom").symlink_to(tmp_path / "elsewhere")
    for name, problem in (("missing/x.prom", "no such file"), ("link.prom", "not a regular file")):
        done = run("decode", "-f", str(captures / "tour.pcap"), "--metrics-file", str(tmp_path / name))
        assert done.exit_code == 2
        assert problem in done.output
    assert not (tmp_path / "elsewhere").exists()


def test_later_failure_is_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, text, said = tmp_path / "folder", b"one", ""
    folder.mkdir()
    path = folder / "x.prom"
    with written(path, lambda: text, interval=0.01):
        assert path.read_bytes() == b"one"
        folder.rename(tmp_path / "gone")
        while not said:
            said = capsys.readouterr().err
        (tmp_path / "gone").rename(folder)
        text = b"two"
        while path.read_bytes() != b"two":
            pass
        text = b"three"
    assert path.read_bytes() == b"three"
    # One warning for any number of failures.
    said += capsys.readouterr().err
    assert said == f"libvirt-proto: warning: cannot write {path}: no such file or directory\n"
