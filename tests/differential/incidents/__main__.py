"""Record incidents into tests/diagnose/recordings: `python -m tests.differential.incidents [NAME…]`.

What must be found in a recording (expected.toml) is kept, except for the daemon's ports.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from ctypes import CDLL
from pathlib import Path
from socket import sethostname
from tempfile import TemporaryDirectory
from typing import Final

from tests.differential.incidents.catalog import INCIDENTS
from tests.differential.incidents.scene import record
from tests.differential.installation import ROOTS
from tests.support.incidents import EXPECTED, RECORDINGS, with_ports

_CLONE_NEWNS, _CLONE_NEWUTS = 0x00020000, 0x04000000  # sched.h
#: Gives a root the kernel's file systems and the machine's temporary folder.
_MOUNT: Final = """\
set -eu
mount --make-rprivate /
mount -t proc proc "$0/proc"
mount -t sysfs -o ro sysfs "$0/sys"
mount --rbind /dev "$0/dev"
mount --bind /tmp "$0/tmp"
"""


def main(names: list[str]) -> None:
    """Record the named incidents again, or all."""
    unknown = sorted(set(names).difference(INCIDENTS))
    if unknown:
        sys.exit(f"unknown incident {unknown[0]!r}. Incidents: {', '.join(INCIDENTS)}")
    _leave_host()
    for name in names or INCIDENTS:
        if INCIDENTS[name].roots and not os.environ.get(ROOTS):
            print(f"{name}: skipped, because {ROOTS} is not set")
            continue
        with TemporaryDirectory() as folder:
            new, old = Path(folder) / name, RECORDINGS / name
            ports = record(INCIDENTS[name], new)
            if (old / EXPECTED).exists():
                (new / EXPECTED).write_text(with_ports((old / EXPECTED).read_text("utf-8"), ports), "utf-8")
            shutil.rmtree(old, ignore_errors=True)
            shutil.copytree(new, old)
        sizes = (f"{file.name} {file.stat().st_size:,}" for file in sorted((RECORDINGS / name).iterdir()))
        print(f"{name}: {', '.join(sizes)}", flush=True)


def _leave_host() -> None:
    """Give this process and its children another host name, which recordings contain, and prepare roots."""
    if CDLL(None, use_errno=True).unshare(_CLONE_NEWNS | _CLONE_NEWUTS) != 0:
        sys.exit("recording requires root")
    sethostname("host")
    for root in filter(None, os.environ.get(ROOTS, "").split(os.pathsep)):
        subprocess.run(["sh", "-c", _MOUNT, root], check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
