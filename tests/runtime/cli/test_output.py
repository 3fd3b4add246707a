"""Standard output of commands that end on request."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

#: Writes more than a pipe holds to `destination`, with the stop requested before or not.
PROGRAM = """
import sys
from libvirt_proto.capture.stop import Stop
from libvirt_proto.cli.output import destination
stop = Stop()
if sys.argv[1] == "stop":
    stop.set()
try:
    with destination(None, stop) as out:
        for number in range(50_000):
            out.write(b"%06d\\n" % number)
except BrokenPipeError:
    sys.exit(141)
"""
WHOLE = b"".join(b"%06d\n" % number for number in range(50_000))


def started(word: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", PROGRAM, word], stdout=subprocess.PIPE)


def test_reader_receives_everything() -> None:
    for word in ("go", "stop"):
        with started(word) as process:
            out, _ = process.communicate(timeout=60)
        assert (out == WHOLE, process.returncode) == (True, 0)


def test_blocked_reader_does_not_delay_the_exit() -> None:
    with started("stop") as process:
        assert process.wait(timeout=60) == 141
        assert process.stdout is not None
        seen = process.stdout.read()
    assert seen
    assert WHOLE.startswith(seen)


def test_file_receives_everything(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as out:
        subprocess.run([sys.executable, "-c", PROGRAM, "stop"], stdout=out, check=True, timeout=60)
    assert (tmp_path / "out").read_bytes() == WHOLE
