"""Growth of time and memory with the size of the input.

    python -m tools.bench.growth CAPTURE

decodes a capture in this process, after a small one as a warm-up, and prints the time and memory as JSON.
"""

from __future__ import annotations

import json
import math
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import linear_regression
from typing import Final

from libvirt_proto.cli.main import main as command

from .captures import TOUR, endless, talks
from .rows import seconds
from .timing import in_child, say

FACTORS: Final = (1, 10, 100, 1000)
#: Maximum length of a message, so that it fits into a packet; nearly all messages are shorter.
_LONGEST: Final = 1400
_MESSAGES: Final = 200
#: Up to 16,384 connections are followed at once; beyond that, the one idle for longest is dropped.
_CONNECTIONS: Final = 16
_EACH: Final = 10
#: Number of runs, of which the shortest counts; long measurements run once.
_RUNS: Final = 5
_LONG: Final = 0.5


@dataclass(frozen=True)
class Growth:
    """CPU seconds and bytes for 1, 10, 100 and 1,000 times the input."""

    work: str
    seconds: tuple[float, ...]
    peaks: tuple[int, ...]

    @property
    def exponent(self) -> float:
        """The exponent of the best-fitting power law: 1 is proportional. The smallest input is ignored, since
        much of its time does not depend on the size."""
        sizes, taken = FACTORS[1:], self.seconds[1:]
        return linear_regression(list(map(math.log, sizes)), list(map(math.log, taken))).slope


def measure(capture: Path, folder: Path) -> Iterator[Growth]:
    """Measure messages of one connection, connections in sequence, and connections open at once."""
    works = {
        f"{_MESSAGES} messages of one connection": (1, _MESSAGES, False),
        f"{_CONNECTIONS} connections of {_EACH} messages, one after the other": (_CONNECTIONS, _EACH, False),
        f"{_CONNECTIONS} connections of {_EACH} messages, all open at once": (_CONNECTIONS, _EACH, True),
    }
    for work, (connections, each, at_once) in works.items():
        found = []
        for factor in FACTORS:
            say(f"  {work}: {factor:,}×")
            path = folder / "growth.pcap"
            sizes = (1, each * factor) if connections == 1 else (connections * factor, each)
            in_child(write, capture, path, *sizes, at_once=at_once)
            found.append(_run(path))
            path.unlink()
        yield Growth(work, *zip(*found, strict=True))


def write(capture: Path, path: Path, connections: int, each: int, *, at_once: bool) -> None:
    """Write a capture with that many connections and messages, taken from another capture."""
    talks(path, endless(capture, _LONGEST), connections, each, at_once=at_once)


def table(growths: list[Growth]) -> Iterator[str]:
    """Yield the table in Markdown."""
    yield f"| CPU time, peak memory | {' | '.join(f'{factor:,} ×' for factor in FACTORS)} | exponent |"
    yield f"|---|{'---|' * len(FACTORS)}---|"
    for growth in growths:
        cells = (
            f"{seconds(each)}, {peak / 1e6:.0f} MB"
            for each, peak in zip(growth.seconds, growth.peaks, strict=True)
        )
        yield f"| {growth.work} | {' | '.join(cells)} | {growth.exponent:.2f} |"


def _run(path: Path) -> tuple[float, int]:
    done = subprocess.run(
        (sys.executable, "-m", __spec__.name, str(path)), check=True, stdout=subprocess.PIPE, text=True
    )
    took, peak = json.loads(done.stdout)
    return took, peak


def main(path: Path) -> None:
    decode = partial(command, standalone_mode=False)
    options = ("decode", "--format", "jsonl", "--output", "/dev/null")
    decode([*options, str(TOUR)])  # warm up: load what is loaded on demand
    took = []
    while len(took) < _RUNS and (not took or took[0] < _LONG):
        started = time.process_time()
        status = decode([*options, str(path)])
        took.append(time.process_time() - started)
        assert not status, f"{path}: exit status {status}"
    print(json.dumps((min(took), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
