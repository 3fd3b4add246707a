"""`libvirt-proto replay`: start, output and exit."""

from __future__ import annotations

import signal
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from click.testing import CliRunner

from libvirt_proto.cli import main as cli
from tests.support.frames import frame
from tests.support.relays import Running, connect, listening
from tests.support.replays import ask

CAPTURE = Path(__file__).parents[2] / "captures" / "virsh-domname.pcap"


def replay(listen: str) -> AbstractContextManager[Running]:
    return listening("replay", CAPTURE, "--listen", listen)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("listen", ["unix:{}/s", "tcp::0", "tcp:127.0.0.1:0"])
def test_ends_cleanly_on_signals(tmp_path: Path, listen: str, number: signal.Signals) -> None:
    with replay(listen.format(tmp_path)) as running:
        assert running.what == f"replaying 8 calls of {CAPTURE}\n"
        with connect(running.address.replace("tcp::", "tcp:localhost:")) as one:
            assert ask(one, frame(proc=66))
            assert running.end(number) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


def test_unrecorded_calls_are_listed_and_the_status_is_1() -> None:
    with replay("tcp:127.0.0.1:0") as running:
        with connect(running.address) as one:
            for proc in (157, 157, 59, 0x7FFFFFFF):
                ask(one, frame(proc=proc))
        status, _, err = running.end()
    assert status == 1
    assert err == (
        "replay: error: 4 calls without a recorded answer: connect_get_hostname (1),"
        " connect_get_lib_version (2), program 0x20008086, version 1, procedure 2147483647 (1)\n"
    )


def test_hostile_clients_are_reported_a_limited_number_of_times() -> None:
    with replay("tcp:127.0.0.1:0") as running:
        for _ in range(30):
            with connect(running.address) as one:
                assert ask(one, b"GET / HTTP/1.0\r\n\r\n") == b""
        status, _, err = running.end()
    assert status == 0
    assert err.count("replay: warning: a connection was closed: ") == err.count("\n") == 20


@pytest.mark.parametrize(
    ("words", "status", "error"),
    [
        (["{log}", "--listen", "tcp:127.0.0.1:0"], 1, "no call to replay"),
        (["{capture}", "--listen", "nonsense"], 2, "expected tcp:HOST:PORT"),
        (["{capture}", "--listen", "tcp:127.0.0.1:0", "--mode", "660"], 2, "--mode requires a unix socket"),
        (["{capture}", "--listen", "unix:{capture}"], 2, "exists and is not a socket"),
        (["{capture}", "--listen", "unix:/nonexistent/s"], 1, "cannot listen on unix:/nonexistent/s"),
        (["{capture}"], 2, "missing option '--listen'"),
        (["/nonexistent", "--listen", "tcp:127.0.0.1:0"], 2, "/nonexistent: no such file"),
    ],
)
def test_errors(tmp_path: Path, words: list[str], status: int, error: str) -> None:
    (tmp_path / "empty").write_bytes(CAPTURE.read_bytes()[:24])
    words = [word.format(log=tmp_path / "empty", capture=CAPTURE) for word in words]
    result = CliRunner().invoke(cli.main, ["replay", *words])
    assert (result.exit_code, error in result.output) == (status, True), result.output
