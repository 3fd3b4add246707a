"""Run libFuzzer on one target in a separate process, and parse its output."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

#: Seconds per input, and megabytes for the process; an input that needs more has failed.
TIMEOUT, MEMORY = 25, 2048

#: `#4096 pulse cov: 512 ft: 900 corp: 40/3210b lim: 80 exec/s: 1365 rss: 90Mb`
_LINE = re.compile(
    r"#(?P<runs>\d+)\s+\w+\s+(?:cov: (?P<cov>\d+) )?(?:ft: (?P<ft>\d+) )?"
    r"(?:corp: (?P<corp>\d+)/(?P<size>\d+)(?P<unit>\w+) )?"
)
_UNITS = {"b": 1, "Kb": 1024, "Mb": 1024**2}
_ARTIFACT = re.compile(r"Test unit written to (\S+)")
_DONE = re.compile(r"Done (\d+) runs in (\d+) second")
_ERROR = re.compile(r"^(?:\w+(?:\.\w+)*(?:Error|Exception|Interrupt)\b.*|==\d+== ?ERROR: .*|SUMMARY: .*)")


@dataclass
class Figures:
    """The result of a run: libFuzzer's final figures; `crash` is the file of the failing input."""

    runs: int = 0
    seconds: int = 0
    edges: int = 0
    features: int = 0
    inputs: int = 0
    size: int = 0
    failed: bool = False
    reason: str = ""
    crash: Path | None = None

    @property
    def numbers(self) -> tuple[int, ...]:
        """Executions, executions per second, edges, features, inputs and bytes of the corpus."""
        return (
            self.runs,
            self.runs // max(self.seconds, 1),
            self.edges,
            self.features,
            self.inputs,
            self.size,
        )

    def __str__(self) -> str:
        words = f"{self.runs:,} executions, {self.edges:,} edges, {self.inputs:,} inputs"
        return f"{words}, failed" if self.failed else words

    def line(self, text: str) -> None:
        """Process a line of libFuzzer's output."""
        if match := _LINE.match(text):
            self.runs = int(match["runs"])
            self.edges = int(match["cov"] or self.edges)
            self.features = int(match["ft"] or self.features)
            if match["corp"]:
                self.inputs = int(match["corp"])
                self.size = int(match["size"]) * _UNITS.get(match["unit"], 1)
        elif match := _DONE.search(text):
            self.runs, self.seconds = int(match[1]), int(match[2])
        elif match := _ARTIFACT.search(text):
            self.crash = Path(match[1])
        elif not self.reason and (match := _ERROR.match(text.strip())):
            self.reason = match[0]


def fuzz(
    name: str,
    corpora: Sequence[Path],
    work: Path,
    seconds: int,
    longest: int,
    dictionary: str,
    progress: Callable[[str], object],
) -> Figures:
    """Fuzz a target. New inputs go to the first of the corpora, the log and a crash's input to `work`."""
    work.mkdir(parents=True, exist_ok=True)
    figures = Figures()
    with tempfile.NamedTemporaryFile("w", suffix=".dict") as words, (work / "log").open("w") as log:
        words.write(dictionary)
        words.flush()
        arguments = [f"-max_total_time={seconds}", f"-max_len={longest}", f"-artifact_prefix={work}/"]
        arguments += [f"-dict={words.name}"] if dictionary else []
        with _worker(name, [*arguments, *map(str, corpora)]) as process:
            assert process.stdout is not None
            for text in process.stdout:
                log.write(text)
                figures.line(text)
                if text.startswith("#"):
                    progress(str(figures))
    figures.failed = process.returncode != 0
    if figures.failed and not figures.reason:
        figures.reason = f"the fuzzer ended with status {process.returncode}; see {work / 'log'}"
    return figures


def merge(name: str, into: Path, corpora: Sequence[Path], longest: int) -> None:
    """Copy the smallest set of inputs with the coverage of all; raises CalledProcessError."""
    arguments = ["-merge=1", f"-max_len={longest}", str(into), *map(str, corpora)]
    with _worker(name, arguments) as process:
        assert process.stdout is not None
        said = process.stdout.read()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args, said)


def _worker(name: str, arguments: Sequence[str]) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-m",
        "tests.fuzz.worker",
        name,
        f"-timeout={TIMEOUT}",
        f"-rss_limit_mb={MEMORY}",
    ]
    return subprocess.Popen(
        [*command, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
