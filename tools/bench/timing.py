"""Running commands in turn, and measuring their time and memory."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
#: Timeout of a measurement, in seconds.
PATIENCE = 600


@dataclass(frozen=True)
class Run:
    """One run of a command: elapsed seconds, CPU seconds (user and system, including children), and the peak
    memory of a single process in bytes."""

    wall: float
    cpu: float
    peak: int


def run(
    command: Sequence[str], *, cores: set[int] | None = None, environment: Mapping[str, str] | None = None
) -> Run:
    """Run a command and discard its output, on some cores if given. Raises RuntimeError with the end of its
    standard error if it fails."""
    started = time.perf_counter()
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**_usual(), **(environment or {})},
        preexec_fn=(lambda: os.sched_setaffinity(0, cores)) if cores else None,
    )
    assert process.stderr is not None
    with process.stderr:
        said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)}: {said[-500:].decode(errors='replace')}")
    return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def _usual() -> dict[str, str]:
    """Return the environment without variables that change Python's behaviour (such as not caching
    bytecode)."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def in_child(work: Callable[P, T], /, *arguments: P.args, **rest: P.kwargs) -> T:
    """Return the result of memory-intensive work, done in another process: a new process inherits the peak of
    the one that started it, so this one has to stay small."""
    with ProcessPoolExecutor(1) as pool:
        return pool.submit(work, *arguments, **rest).result()


def one_core() -> set[int]:
    """Return the last of the available cores."""
    return {max(os.sched_getaffinity(0))}


def in_turn(contenders: Mapping[str, Callable[[], T]], rounds: int, title: str) -> dict[str, list[T]]:
    """Call each of them once per round, one after the other, in reverse order every other round."""
    taken: dict[str, list[T]] = {name: [] for name in contenders}
    for number in range(rounds):
        say(f"  {title}: round {number + 1} of {rounds}")
        names = list(contenders)
        for name in names if number % 2 == 0 else reversed(names):
            taken[name].append(contenders[name]())
    return taken


def say(text: str) -> None:
    """Print progress to standard error."""
    print(text, file=sys.stderr, flush=True)
