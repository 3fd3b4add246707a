"""The real bpftrace as a judge."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PATIENCE = 120.0  # seconds; names of 500 procedures take it a few
QUIET = 10.0


class Trace:
    """A running script; `output` has what it printed when it ended."""

    output = ""


@contextmanager
def running(script: Path, folder: Path, *options: str) -> Iterator[Trace]:
    """Runs a script during the block, from when it has begun until what happened in the block is there."""
    trace, said = Trace(), folder / f"{script.name}.out"
    with (
        said.open("wb") as file,
        subprocess.Popen(
            ["bpftrace", str(script), *options], stdout=file, stderr=subprocess.STDOUT
        ) as process,
    ):
        try:
            end = time.monotonic() + PATIENCE
            while "begin\n" not in said.read_text():
                assert process.poll() is None, said.read_text()
                assert time.monotonic() < end, said.read_text()
                time.sleep(0.1)
            yield trace
            _wait_until_quiet(said)
        finally:
            _end(process)
    trace.output = said.read_text()
    assert "Lost" not in trace.output


def _wait_until_quiet(said: Path) -> None:
    """What bpftrace has not read from the kernel when it is ended is lost. Others may go on and on."""
    size, end = -1, time.monotonic() + QUIET
    while size != said.stat().st_size and time.monotonic() < end:
        size = said.stat().st_size
        time.sleep(0.5)


def _end(process: subprocess.Popen[bytes]) -> None:
    """bpftrace 0.17 does not notice a signal that comes while it prints."""
    end = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < end:
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(2)
    process.kill()
