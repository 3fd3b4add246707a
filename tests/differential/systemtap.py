"""The real SystemTap as a reference."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

#: Replaces the C library's function: some kernels refuse the limit that stapbpf insists on raising.
PRELOAD = """\
int setrlimit(int resource, const void *limit) { (void)resource; (void)limit; return 0; }
int setrlimit64(int resource, const void *limit) { (void)resource; (void)limit; return 0; }
"""


class SystemTap:
    """stap and stapbpf, with a tapset folder that is the system's without libvirt's files."""

    def __init__(self, folder: Path, kernel: str, tapsets: Path, preload: Path) -> None:
        self._folder = folder
        self._stap = ["stap", "-r", kernel]
        self._environment = os.environ | {
            "SYSTEMTAP_TAPSET": str(tapsets),
            "SYSTEMTAP_DIR": str(folder / "home"),
        }
        self._preload = {"LD_PRELOAD": str(preload)}
        self._runs = 0

    def until(self, last_pass: int, script: str, tapset: Path) -> str:
        """stap's output of passes 1 (parse), 2 (semantics) or 3 (translation to C)."""
        return self._output(
            [*self._stap, "-I", str(tapset), f"-p{last_pass}", str(self._write(script))], self._environment
        )

    def run(self, script: str, tapset: Path) -> str:
        """The output of a script run by the BPF runtime."""
        path = self._write(script)
        self._output(
            [*self._stap, "-I", str(tapset), "--bpf", "-p4", "-m", path.stem, str(path)], self._environment
        )
        return self._output(
            ["stapbpf", str(path.with_suffix(".bo"))], self._environment | self._preload, timeout=30
        )

    def _write(self, script: str) -> Path:
        self._runs += 1
        path = self._folder / f"run{self._runs}.stp"
        path.write_text(script)
        return path

    def _output(self, command: Sequence[str], environment: dict[str, str], timeout: float = 120) -> str:
        done = subprocess.run(
            command, cwd=self._folder, env=environment, capture_output=True, text=True, timeout=timeout
        )
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
        return done.stdout
