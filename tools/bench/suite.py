"""The benchmarks: functions from a capture to rows."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final

from libvirt_proto.native import PURE

from . import captures
from .captures import Capture
from .rows import Row, at_most, faster, seconds, verdict
from .timing import Run, in_child, in_turn, one_core, run, say

OURS: Final = str(Path(sys.executable).with_name("libvirt-proto"))
#: tshark in its fastest setting: without name resolution and analysis of TCP.
_TSHARK: Final = (
    *("tshark", "-n", "-o", "tcp.analyze_sequence_numbers:FALSE"),
    *("-o", "tcp.calculate_timestamps:FALSE", "-r"),
)
_JSON: Final = ("-T", "json", "-J", "libvirt")
_LINE: Final = ("-T", "fields", "-e", "libvirt.procedure")
_PURE: Final = {PURE: "1"}
_MOST_MEMORY: Final = 40e6
#: Columns of JSON lines for DuckDB, whose types it would else infer.
_TYPES: Final = {
    "BIGINT": "n time_ns length prog vers proc serial fds frame missing",
    "VARCHAR": "conn dir program procedure type status payload_type data",
    "JSON": "payload error",
}
_COLUMNS: Final = {name: type_ for type_, names in _TYPES.items() for name in names.split()}
#: Messages of the captures that vary, as a share of those of the large one.
_FEWER: Final = 4


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
    """Decode whole captures, with libvirt-proto and with tshark."""
    if not shutil.which("tshark"):
        say("  left out: tshark is not installed")
        return
    yield from _against_tshark(settings.capture, (25, 20), settings.rounds, pure=True)
    wanted = settings.capture.messages // _FEWER
    made: tuple[tuple[str, Callable[[Path], Capture]], ...] = (
        ("varied", lambda path: in_child(captures.varied, path, wanted)),
        ("segmented", lambda path: in_child(captures.segmented, settings.capture, path, wanted)),
    )
    for name, make in made:
        path = settings.folder / f"{name}.pcap"
        yield from _against_tshark(make(path), (12.5, 10), settings.rounds)
        path.unlink()


def many(settings: Settings) -> Iterator[Row]:
    """Decode ten times as many messages."""
    if not shutil.which("tshark"):
        say("  left out: tshark is not installed")
        return
    path = settings.folder / "ten-times.pcap"
    capture = in_child(captures.repeated, settings.capture, settings.copies, path)
    yield from _against_tshark(capture, (40, 40), max(1, settings.rounds // 3))
    path.unlink()


def _against_tshark(
    capture: Capture, goals: tuple[float, float], rounds: int, *, pure: bool = False
) -> Iterator[Row]:
    path = str(capture.path)
    cases = (("full JSON", "jsonl", _JSON, goals[0]), ("one line per message", "monitor", _LINE, goals[1]))
    for what, format_, options, goal in cases:
        work = f"{capture.path.stem}, {capture.messages:,} messages → {what}"
        command = (OURS, "decode", "--format", format_, path)
        contenders = _on_one_core({"ours": command, "theirs": (*_TSHARK, path, *options)})
        if pure:
            contenders["pure"] = lambda command=command: run(  # type: ignore[misc]
                command, cores=one_core(), environment=_PURE
            )
        if format_ == "jsonl":
            contenders["lines"] = lambda: run(("sh", "-c", f"cat {path} | wc -l"), cores=one_core())
        taken = in_turn(contenders, rounds, work)
        tshark = f"`tshark {' '.join(options)}`"
        yield faster(work, tshark, goal, taken["ours"], taken["theirs"])
        if pure:
            only = 4 if format_ == "jsonl" else None
            yield faster("the same, pure Python", tshark, only, taken["pure"], taken["theirs"])
        if format_ == "jsonl":
            yield at_most(work, "`cat FILE \\| wc -l`", None, taken["ours"], taken["lines"])


def commands(settings: Settings) -> Iterator[Row]:
    """Compare commands, and messages in Python, with `decode --format monitor`."""
    path = str(settings.capture.path)
    procedure = in_child(captures.rare, settings.capture, 0.01)
    monitor = (OURS, "decode", "--format", "monitor", path)
    loop = f"import libvirt_proto\nwith libvirt_proto.open({path!r}) as capture:\n    for _ in capture: pass"
    taken = in_turn(
        {
            **_on_one_core(
                {
                    "monitor": monitor,
                    "filter": (*monitor, "--procedure", procedure),
                    "stats": (OURS, "stats", path),
                    "exchanges": (*monitor, "--exchanges"),
                    "messages": (sys.executable, "-c", loop),
                }
            ),
            "pure": lambda: run((sys.executable, "-c", loop), cores=one_core(), environment=_PURE),
        },
        settings.rounds,
        "commands",
    )
    for work, name, goal in (
        (f"`decode --format monitor --procedure {procedure}`", "filter", 0.6),
        ("`stats`", "stats", 1.5),
        ("`decode --format monitor --exchanges`", "exchanges", 2.5),
    ):
        yield at_most(work, "`decode --format monitor`", goal, taken[name], taken["monitor"])
    yield faster("`for message in capture`", "pure Python", 3, taken["messages"], taken["pure"])


def tables(settings: Settings) -> Iterator[Row]:
    """Write messages to Parquet, all columns: with `decode`, and with DuckDB from JSON lines."""
    if not (find_spec("pyarrow") and find_spec("duckdb")):
        say("  left out: pyarrow and duckdb are not installed")
        return
    yield from _to_parquet(settings.capture, settings.folder, 2.2, settings.rounds)
    path = settings.folder / "ten-times.pcap"
    capture = in_child(captures.repeated, settings.capture, settings.copies, path)
    yield from _to_parquet(capture, settings.folder, 1.5, max(1, settings.rounds // 3))
    path.unlink()


def _to_parquet(capture: Capture, folder: Path, goal: float, rounds: int) -> Iterator[Row]:
    lines, parquet = folder / "messages.jsonl", folder / "messages.parquet"
    decode = (OURS, "decode", "--format")
    query = (
        f"import duckdb; duckdb.sql(\"SET threads = 1; COPY (FROM read_json('{lines}', columns = {_COLUMNS}))"
        f" TO '{parquet}' (COMPRESSION zstd)\")"
    )
    both = f'"$0" decode --format jsonl -o {lines} {capture.path} && {sys.executable} -c "$1"'
    work = f"{capture.path.stem}, {capture.messages:,} messages → Parquet, all columns"
    commands = {
        "ours": (*decode, "parquet", "-o", str(parquet), str(capture.path)),
        "lines": (*decode, "jsonl", str(capture.path)),
        "duckdb": ("sh", "-c", both, OURS, query),
    }
    taken = in_turn(_on_one_core(commands), rounds, work)
    yield at_most(work, "`decode --format jsonl`", goal, taken["ours"], taken["lines"])
    yield at_most(work, "`decode --format jsonl`, then DuckDB", 0.7, taken["ours"], taken["duckdb"])
    lines.unlink()
    parquet.unlink()


def jobs(settings: Settings) -> Iterator[Row]:
    """Decode two large captures, in sequence and in parallel: the start of processes must not count."""
    first, second = settings.folder / "first.pcap", settings.folder / "second.pcap"
    in_child(captures.repeated, settings.capture, settings.copies, first)
    os.link(first, second)
    base = (OURS, "decode", "--format", "jsonl", str(first), str(second))
    contenders: dict[str, Callable[[], Run]] = {
        "two": lambda: run((*base, "--jobs", "2")),
        "one": lambda: run((*base, "--jobs", "1")),
    }
    work = f"two captures of {settings.copies * settings.capture.messages:,} messages, `--jobs 2`"
    if (os.cpu_count() or 1) > 1:
        taken = in_turn(contenders, max(1, settings.rounds // 2), work)
        yield faster(work, "`--jobs 1`, by elapsed time", 1.7, taken["two"], taken["one"], by_cpu=False)
    else:
        say("  left out: only one core")
    first.unlink()
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
    ready = "the same objects from ready values"
    if "decode native" in took:
        least = 1.9 if sys.version_info >= (3, 12) else 2.2
        yield at_most(f"payload → objects ({mix})", ready, least, took["decode native"], took["objects"])
        for name, work, goal in (
            ("encode", "objects → payload", 3.5),
            ("json", "payload → JSON text", 10),
        ):
            yield faster(work, "pure Python", goal, took[f"{name} native"], took[name])
        yield at_most("payload → check, nothing built", ready, None, took["check native"], took["objects"])
    only = None if "decode native" in took else 6
    yield at_most("payload → objects, pure Python", ready, only, took["decode"], took["objects"])
    for name, peer, goal in (("decode", "xdrlib", 2), ("decode", "construct", 15), ("encode", "xdrlib", 2)):
        work = "payload → objects" if name == "decode" else "objects → payload"
        ours = took.get(f"{name} native", took[name])
        yield faster(work, peer, goal, ours, took[f"{name} {peer}"])
    if "C" in took:
        for name, work in (("decode", "payload → objects"), ("check", "payload → check")):
            if f"{name} native" in took:
                yield at_most(work, "rpcgen's C decoders", None, took[f"{name} native"], took["C"])


def memory(settings: Settings) -> Iterator[Row]:
    """Measure the peak memory of a capture and of one ten times as large."""
    work = "peak memory of `decode`"
    large = settings.folder / "ten-times.pcap"
    try:
        both = (settings.capture, in_child(captures.repeated, settings.capture, settings.copies, large))
        peaks = []
        for capture in both:
            say(f"  {work}: {capture.megabytes:,.0f} MB")
            peaks.append(run((OURS, "decode", "--format", "jsonl", str(capture.path))).peak)
        sizes = [f"{capture.megabytes:,.0f} MB" for capture in both]
    finally:
        large.unlink(missing_ok=True)
    grown = peaks[1] / peaks[0] - 1
    yield Row(
        f"{work}, a capture of {sizes[1]}",
        f"of {sizes[0]}",
        "± 10 %, ≤ 40 MB",
        f"{grown * 100:+.1f} %",
        verdict(max(abs(grown) - 0.1, max(peaks) / _MOST_MEMORY - 1)),
        *(f"{peak / 1e6:.1f} MB" for peak in reversed(peaks)),
    )


def startup(settings: Settings) -> Iterator[Row]:
    """Measure the start-up of the shortest commands, and of Python doing nothing."""
    small = in_child(captures.small, settings.capture, settings.folder / "small.pcap", 20)
    commands = {
        "lookup": (OURS, "lookup", "66"),
        "small": (OURS, "decode", "--format", "monitor", str(small)),
        "json": (OURS, "decode", "--format", "jsonl", str(small)),
        "theirs": (sys.executable, "-c", "pass"),
    }
    taken = in_turn(_on_one_core(commands), settings.rounds * 5, "startup")
    for work, name, goal in (
        ("`libvirt-proto lookup 66`", "lookup", 4),
        ("`decode --format monitor`, 20 messages", "small", 8),
        ("`decode --format jsonl`, 20 messages", "json", 8),
    ):
        yield at_most(work, "`python3 -c pass`", goal, taken[name], taken["theirs"])


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
    return Row(work, "", f"≤ {limit:g} s", seconds(cpu), verdict(cpu / limit - 1), elapsed=seconds(wall))


def _on_one_core(commands: dict[str, tuple[str, ...]]) -> dict[str, Callable[[], Run]]:
    return {
        name: (lambda command=command: run(command, cores=one_core())) for name, command in commands.items()
    }


SUITE: Final = {
    "messages": messages,
    "many": many,
    "commands": commands,
    "tables": tables,
    "jobs": jobs,
    "payloads": payloads,
    "memory": memory,
    "startup": startup,
    "generator": generator,
}
