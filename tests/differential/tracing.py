"""`libvirt-proto trace` as a user runs it, and the contents of tracefs meanwhile."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from libvirt_proto.capture.probes import tracefs
from tests.differential import ours

PATIENCE = 60.0
#: Both ways of setting probes. BPF is the default where the kernel allows it.
METHODS = ("bpf", "tracefs")


class Tracer:
    """A running trace; `said` is its standard error before the first event."""

    def __init__(self, process: subprocess.Popen[str], said: str) -> None:
        self.process = process
        self.said = said

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Its exit status, and its standard error since `begin`."""
        self.process.send_signal(number)
        _, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, err

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=PATIENCE)

    @property
    def left(self) -> list[str]:
        """Its remains in tracefs."""
        return [name for name in ours_in_tracefs() if f"_{self.process.pid}_" in name]


@contextmanager
def trace(*options: str | Path) -> Iterator[Tracer]:
    """Start a trace with standard output discarded: give it -o."""
    with subprocess.Popen(
        [ours.COMMAND, "trace", *options], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stderr is not None
            said = ""
            while not said.endswith("begin\n"):
                line = process.stderr.readline()
                assert line, said
                said += line
            tracer = Tracer(process, said)
            yield tracer
        finally:
            if process.poll() is None:
                process.terminate()
                process.communicate(timeout=PATIENCE)
        if process.returncode != -signal.SIGKILL:
            assert tracer.left == []


def ours_in_tracefs() -> list[str]:
    """The event groups and instances of all traces."""
    root = tracefs.find()
    assert root is not None
    groups = re.findall(r"^p:(libvirt_proto\w*)/", (root / "uprobe_events").read_text(), re.MULTILINE)
    return sorted({*groups, *(path.name for path in (root / "instances").iterdir())})
