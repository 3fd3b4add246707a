"""The real bpftrace as a judge."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.differential.libvirtd import wait_until_quiet

PATIENCE = 120.0  # seconds; names of 500 procedures take it a few


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
            # What it has not read from the kernel when it is ended may be lost.
            wait_until_quiet(said)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(PATIENCE)
    trace.output = said.read_text()
    assert "Lost" not in trace.output
