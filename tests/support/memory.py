"""The memory that a command needs, measured in a separate process."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

#: Bytes that an import may use.
LIMIT = 200 * 10**6

_SCRIPT = """
import sys
from libvirt_proto.cli.main import main
try:
    main(sys.argv[1:])
finally:
    sys.stdout.write(open("/proc/self/status").read())
"""


class Run(NamedTuple):
    """Exit status, errors, and the peak resident memory in bytes."""

    code: int
    errors: str
    peak: int


def run(*words: str | Path) -> Run:
    """Run `libvirt-proto`. VmHWM counts from the start of the program (proc_pid_status(5)); getrusage
    includes the parent's memory."""
    if not Path("/proc/self/status").exists():
        pytest.skip("no /proc/self/status")
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, *map(str, words)], capture_output=True, text=True, check=False
    )
    found = re.search(r"^VmHWM:\s+(\d+) kB$", done.stdout, re.MULTILINE)
    assert found, done.stderr
    return Run(done.returncode, done.stderr, int(found[1]) * 1024)
