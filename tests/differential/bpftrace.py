"""The real bpftrace as a reference."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PATIENCE = 120.0  # seconds; resolving the names of 500 procedures takes bpftrace a few
QUIET = 10.0


class Trace:
    """A running script; `output` is the text that it printed by its end."""

    output = ""


@contextmanager
def running(script: Path, folder: Path, *options: str) -> Iterator[Trace]:
    """Run a script during the block, from its start until the block's events have arrived."""
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
    """bpftrace loses events that it has not read when it ends; other processes may never be quiet."""
    size, end = -1, time.monotonic() + QUIET
    while size != said.stat().st_size and time.monotonic() < end:
        size = said.stat().st_size
        time.sleep(0.5)


def _end(process: subprocess.Popen[bytes]) -> None:
    """bpftrace 0.17 does not notice a signal while it prints."""
    end = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < end:
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(2)
    process.kill()
