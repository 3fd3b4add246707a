"""Benchmark of this tree against another revision, on one capture: `make bench-compare BASE=REV`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final

import click

from . import captures
from .rows import seconds
from .timing import Run, in_child, in_turn, one_core, run, say

#: Name → the words of a command, in which CAPTURE and OUT are placeholders for files.
WORKS: Final = {
    "decode jsonl": ("decode", "--format", "jsonl", "CAPTURE"),
    "decode monitor": ("decode", "--format", "monitor", "CAPTURE"),
    "decode pretty": ("decode", "--format", "pretty", "CAPTURE"),
    "decode --exchanges": ("decode", "--exchanges", "--format", "jsonl", "CAPTURE"),
    "stats": ("stats", "CAPTURE"),
    "lookup": ("lookup", "66"),
    "describe": ("describe", "remote.domain_get_state"),
    "generate": ("generate", "python", "systemtap", "--force", "--quiet", "--output", "OUT"),
}
#: Older revisions have the command line in one module.
_MAIN: Final = """
import sys
try:
    from libvirt_proto.cli.main import main
except ModuleNotFoundError:
    from libvirt_proto.cli import main
main(prog_name='libvirt-proto')
"""


@click.command()
@click.argument("base")
@click.option(
    "--rounds", type=click.IntRange(1), default=7, show_default=True, help="Pairs of runs per work."
)
@click.option("--messages", type=click.IntRange(1), default=50_000, show_default=True)
@click.option("--only", type=click.Choice(list(WORKS)), multiple=True, help="Run only this.")
def main(base: str, rounds: int, messages: int, only: tuple[str, ...]) -> None:
    """Run the code of revision BASE and that of the working tree in turn, and print the change in CPU time:
    the median of the pairs' ratios, and their minimum and maximum.

    Both use the libraries of .venv.

    \b
    Examples:
      make bench-compare BASE=main
      make bench-compare BASE=HEAD~3 ARGS='--only "decode jsonl" --rounds 15'
    """
    with TemporaryDirectory(prefix="libvirt-proto-bench-") as name, _tree(base, Path(name) / "base") as tree:
        folder = Path(name)
        say("capture")
        capture = in_child(captures.large, folder, messages)
        trees = {"base": tree, "here": Path.cwd()}
        print(f"{'':20} {'base':>8} {'here':>8}   here/base (min to max)")
        for work in only or WORKS:
            words = [
                {"CAPTURE": str(capture.path), "OUT": str(folder / "out")}.get(word, word)
                for word in WORKS[work]
            ]
            contenders = {which: _command(path, words, folder) for which, path in trees.items()}
            try:
                for contender in contenders.values():
                    contender()  # warm up: compile modules that are not compiled yet
                taken = in_turn(contenders, rounds, work)
            except RuntimeError as error:
                say(f"  left out: {error}")
                continue
            print(_line(work, taken["base"], taken["here"]), flush=True)


def _command(tree: Path, words: list[str], folder: Path) -> Callable[[], Run]:
    """Return the command that runs a tree's code: PYTHONPATH takes precedence over installed packages, and -P
    ignores the current folder."""
    environment = {
        "PYTHONPATH": os.pathsep.join((str(tree), str(tree / "codegen"))),
        "XDG_CACHE_HOME": str(folder / "cache"),
    }
    return lambda: run((sys.executable, "-P", "-c", _MAIN, *words), cores=one_core(), environment=environment)


def _line(work: str, base: list[Run], here: list[Run]) -> str:
    ratios = sorted(b.cpu / a.cpu for a, b in zip(base, here, strict=True))
    times = (f"{seconds(median(each.cpu for each in runs)):>8}" for runs in (base, here))
    return f"{work:20} {' '.join(times)}   {median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"


@contextmanager
def _tree(revision: str, path: Path) -> Iterator[Path]:
    """Check out the files of a revision."""
    added = subprocess.run(
        ("git", "worktree", "add", "--detach", str(path), revision), capture_output=True, text=True
    )
    if added.returncode:
        raise click.BadParameter(f"unknown to git: {added.stderr.strip()}", param_hint="BASE")
    try:
        yield path
    finally:
        subprocess.run(("git", "worktree", "remove", "--force", str(path)), check=True)


if __name__ == "__main__":
    main()
