"""The benchmarks: functions from a capture to rows."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final

from .captures import Capture, repeated
from .rows import Row, at_most, faster, seconds, verdict
from .timing import Run, in_child, in_turn, one_core, run, say

OURS: Final = str(Path(sys.executable).with_name("libvirt-proto"))
#: tshark without name resolution, which would ask a server.
_TSHARK: Final = ("tshark", "-n", "-r")
_MOST_MEMORY: Final = 120e6


@dataclass(frozen=True)
class Settings:
    """`folder` is for temporary files; `shared` has the definitions of many releases, if available."""

    capture: Capture
    folder: Path
    rounds: int
    payloads: int
    copies: int
    shared: Path | None


def messages(settings: Settings) -> Iterator[Row]:
    """Decode a whole capture, with libvirt-proto and with tshark."""
    if not shutil.which("tshark"):
        say("  left out: tshark is not installed")
        return
    path = str(settings.capture.path)
    cases = (
        ("capture → JSON of every message", "jsonl", ("-T", "json", "-J", "libvirt"), 6),
        ("capture → a line per message", "monitor", ("-T", "fields", "-e", "libvirt.procedure"), 7),
    )
    for work, format_, options, goal in cases:
        commands = {
            "ours": (OURS, "decode", "--format", format_, path),
            "theirs": (*_TSHARK, path, *options),
        }
        taken = in_turn(_on_one_core(commands), settings.rounds, work)
        yield faster(work, f"`tshark {' '.join(options)}`", goal, taken["ours"], taken["theirs"])


def jobs(settings: Settings) -> Iterator[Row]:
    """Decode two captures, in sequence and in parallel."""
    second = settings.folder / "second.pcap"
    shutil.copyfile(settings.capture.path, second)
    base = (OURS, "decode", "--format", "jsonl", str(settings.capture.path), str(second))
    contenders: dict[str, Callable[[], Run]] = {
        "two": lambda: run((*base, "--jobs", "2")),
        "one": lambda: run((*base, "--jobs", "1")),
    }
    work = "two captures, `--jobs 2`"
    if (os.cpu_count() or 1) > 1:
        taken = in_turn(contenders, settings.rounds, work)
        yield faster(work, "`--jobs 1`", 1.7, taken["two"], taken["one"])
    else:
        say("  left out: only one core")
    second.unlink()


def payloads(settings: Settings) -> Iterator[Row]:
    """Decode and encode payloads; CPU seconds per payload."""
    command = (sys.executable, "-m", "tools.bench.payloads", str(settings.capture.path))
    rounds = settings.rounds + 2
    done = subprocess.run(
        (*command, str(settings.payloads), str(rounds)), check=True, stdout=subprocess.PIPE, text=True
    )
    found = json.loads(done.stdout)
    took = {
        name: [Run(each / found["payloads"], each / found["payloads"], 0) for each in taken]
        for name, taken in found["seconds"].items()
    }
    mix = f"{found['payloads']:,} payloads of {found['types']} types"
    decode, objects = took["decode"], took["objects"]
    yield at_most(f"payload → objects ({mix})", "the same objects from ready values", 6, decode, objects)
    for name, peer, goal in (("decode", "xdrlib", 2), ("decode", "construct", 15), ("encode", "xdrlib", 2)):
        work = "payload → objects" if name == "decode" else "objects → payload"
        yield faster(work, peer, goal, took[name], took[f"{name} {peer}"])


def memory(settings: Settings) -> Iterator[Row]:
    """Measure the peak memory of a capture and of one ten times as large."""
    work = "peak memory of `decode`"
    large = settings.folder / "ten-times.pcap"
    try:
        captures = (settings.capture, in_child(repeated, settings.capture, settings.copies, large))
        peaks = []
        for capture in captures:
            say(f"  {work}: {capture.megabytes:,.0f} MB")
            peaks.append(run((OURS, "decode", "--format", "jsonl", str(capture.path))).peak)
        sizes = [f"{capture.megabytes:,.0f} MB" for capture in captures]
    finally:
        large.unlink(missing_ok=True)
    grown = peaks[1] / peaks[0] - 1
    yield Row(
        f"{work}, a capture of {sizes[1]}",
        f"of {sizes[0]}",
        "± 10 %, ≤ 120 MB",
        f"{grown * 100:+.1f} %",
        verdict(max(abs(grown) - 0.1, max(peaks) / _MOST_MEMORY - 1)),
        *(f"{peak / 1e6:.1f} MB" for peak in reversed(peaks)),
    )


def startup(settings: Settings) -> Iterator[Row]:
    """Measure the start-up of the shortest command, and of Python doing nothing."""
    commands = {"ours": (OURS, "lookup", "66"), "theirs": (sys.executable, "-c", "pass")}
    taken = in_turn(_on_one_core(commands), settings.rounds * 5, "startup")
    yield at_most("`libvirt-proto lookup 66`", "`python3 -c pass`", 6, taken["ours"], taken["theirs"])


def generator(settings: Settings) -> Iterator[Row]:
    """Generate everything, and read all releases."""
    runs = []
    for number in range(settings.rounds):
        say(f"  generate: round {number + 1} of {settings.rounds}")
        with TemporaryDirectory(dir=settings.folder) as folder:
            command = (OURS, "generate", "--release", "12.9.0", "--output", f"{folder}/out", "--quiet")
            runs.append(run(command, cores=one_core(), environment={"XDG_CACHE_HOME": folder}))
    yield _limit("`libvirt-proto generate --release 12.9.0`, all targets, nothing cached", 4, runs)
    if settings.shared is None:
        say("  left out: the definitions of all releases are not available")
        return
    say("  all releases")
    command = (sys.executable, "-m", "tools.bench.releases", str(settings.shared))
    yield _limit("133 releases parsed and resolved", 60, [run(command, cores=one_core())])


def _limit(work: str, limit: float, runs: list[Run]) -> Row:
    wall = median(each.wall for each in runs)
    cpu = median(each.cpu for each in runs)
    return Row(work, "", f"≤ {limit:g} s", seconds(wall), verdict(wall / limit - 1), cpu=seconds(cpu))


def _on_one_core(commands: dict[str, tuple[str, ...]]) -> dict[str, Callable[[], Run]]:
    return {
        name: (lambda command=command: run(command, cores=one_core())) for name, command in commands.items()
    }


SUITE: Final = {
    "messages": messages,
    "jobs": jobs,
    "payloads": payloads,
    "memory": memory,
    "startup": startup,
    "generator": generator,
}
