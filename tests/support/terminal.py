"""A terminal for tests."""

from __future__ import annotations

import os
import pty
import subprocess
import sys


def on_terminal(*words: str, env: dict[str, str] | None = None, status: int = 0) -> str:
    """What a terminal shows of standard output and error."""
    main, other = pty.openpty()
    command = [sys.executable, "-c", "from libvirt_proto.cli.main import main; main()", *words]
    environment = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "TERM")} | (
        env or {"TERM": "xterm"}
    )
    with subprocess.Popen(command, stdin=other, stdout=other, stderr=other, env=environment) as process:
        os.close(other)
        shown = b""
        while True:
            try:
                block = os.read(main, 65536)
            except OSError:  # the other end is closed
                break
            if not block:
                break
            shown += block
    os.close(main)
    assert process.returncode == status
    return shown.decode().replace("\r\n", "\n")
