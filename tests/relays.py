"""`libvirt-proto relay` as its user has it: a process, started as a background job of a shell is."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

COMMAND = [sys.executable, "-c", "from libvirt_proto.cli import main; main()", "relay"]
PATIENCE = 60.0


class Running:
    """A relay that clients can connect to, at `address` as it says itself."""

    def __init__(self, process: subprocess.Popen[str], address: str) -> None:
        self.process = process
        self.address = address

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str, str]:
        """Its exit status, and what it wrote on standard output and standard error after the first line."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, out, err


@contextmanager
def relay(
    listen: str, connect: str, *options: str | Path, stdout: int = subprocess.PIPE
) -> Iterator[Running]:
    words = ["--listen", listen, "--connect", connect, *map(str, options)]
    with subprocess.Popen(
        [*COMMAND, *words],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        # As in a shell script with `&`.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    ) as process:
        try:
            assert process.stderr is not None
            said = process.stderr.readline()
            assert said.startswith("listening on "), said + process.stderr.read()
            yield Running(process, said.removeprefix("listening on ").partition(", connecting to ")[0])
        finally:
            if process.poll() is None:
                process.kill()
