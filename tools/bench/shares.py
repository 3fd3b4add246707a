"""Shares of a command's CPU time by module: a sample per millisecond of CPU time.

    python -m tools.bench.shares CAPTURE FORMAT

decodes a capture and prints the number of samples per module as JSON. Time in C counts for the Python
function that called it.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Final

from libvirt_proto.cli.main import main as command

FORMATS: Final = ("jsonl", "monitor")
_INTERVAL: Final = 0.001
#: Modules with a smaller share are summed up.
_LEAST: Final = 0.02


def measure(capture: Path) -> dict[str, dict[str, float]]:
    """Return format → module → its share."""
    shares = {}
    for format_ in FORMATS:
        words = (sys.executable, "-m", "tools.bench.shares", str(capture), format_)
        done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
        samples = json.loads(done.stdout)
        total = sum(samples.values())
        shares[format_] = {module: count / total for module, count in samples.items()}
    return shares


def table(shares: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    """Yield the table in Markdown, the largest share first."""
    formats = list(shares)
    modules = {module for found in shares.values() for module in found}
    ranked = sorted(modules, key=lambda module: -max(shares[each].get(module, 0) for each in formats))
    shown = [each for each in ranked if max(shares[form].get(each, 0) for form in formats) >= _LEAST]
    yield f"| module | {' | '.join(formats)} |"
    yield f"|---|{'---|' * len(formats)}"
    for module in shown:
        yield f"| {module} | {' | '.join(f'{shares[each].get(module, 0):.0%}' for each in formats)} |"
    rest = (sum(part for module, part in shares[each].items() if module not in shown) for each in formats)
    yield f"| the rest | {' | '.join(f'{each:.0%}' for each in rest)} |"


def _module(frame: FrameType | None) -> str:
    name = frame.f_globals.get("__name__") if frame else None
    if name is None:
        return "(written while it runs)"
    return "(importing)" if str(name).startswith("importlib.") else str(name)


def main(path: str, format_: str) -> None:
    samples: Counter[str] = Counter()

    def look(_number: int, frame: FrameType | None) -> None:
        samples[_module(frame)] += 1

    words = ["decode", "--format", format_, "--output", "/dev/null", path]
    signal.signal(signal.SIGPROF, look)
    signal.setitimer(signal.ITIMER_PROF, _INTERVAL, _INTERVAL)
    command(words, standalone_mode=False)
    signal.setitimer(signal.ITIMER_PROF, 0)
    print(json.dumps(samples))


if __name__ == "__main__":
    main(*sys.argv[1:])
