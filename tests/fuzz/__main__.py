"""Fuzzes the readers, decoders, parsers and the generator: `make fuzz`, or `python -m tests.fuzz --help`."""

from __future__ import annotations

import hashlib
import shutil
import sys
import tempfile
import traceback
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from .libfuzzer import Figures, fuzz, merge
from .targets import CORPUS, TARGETS, Target

#: The corpora that grow while fuzzing, and the inputs that crashed; not committed.
WORK = Path(".fuzz")

_GO_ON = """\
  the input:     {path}
  again:         python -m tests.fuzz {name} --replay {path}
  once fixed:    copy it to tests/fuzz/corpus/{name}/WHAT-WAS-WRONG: tests/support/test_fuzz.py
                 judges it from then on. What a person can write better becomes a case in
                 tests/wire or tests/invalid, too."""


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.argument("targets", nargs=-1, type=click.Choice(list(TARGETS)), metavar="[TARGET]...")
@click.option(
    "--time", "seconds", default=30, show_default=True, type=click.IntRange(1), help="Seconds for each."
)
@click.option(
    "--replay",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Instead: judge one input of the one TARGET; needs no atheris.",
)
@click.option(
    "--minimise", is_flag=True, help="Instead: write tests/fuzz/corpus anew from captures and finds."
)
def main(targets: tuple[str, ...], seconds: int, replay: Path | None, minimise: bool) -> None:
    """Fuzz each TARGET for some time (all of them without one), and say what came of it.

    \b
    Targets:
      message   a frame: a Message or a ProtocolError, the same bytes again
      frame     a stream in pieces: the frames of a plain walk over it
      jsonl     a JSON line: a message and its frame, or an error
      pcap, pcapng, strace, log, monitor, hex   a file, whole and in pieces: the same
      file      any file, told by its content
      tcp       segments in any order: every byte in its place
      xdr, provider   definitions: refused in words, or printed and parsed to the same
      elf       an ELF file: the probes that pyelftools finds, and bounded reads of any file
      operands  a probe's arguments: one operand each, and the same written and parsed again
      generator definitions: Python that imports, and values that come back

    Exit status: 0, or 1 if an input broke a promise (its file and how to go on are named).

    \b
    Examples:
      python -m tests.fuzz --time 300 message frame
      python -m tests.fuzz generator --replay .fuzz/generator/crash-0a1b2c
    """
    chosen = targets or tuple(TARGETS)
    if replay is not None:
        if len(targets) != 1:
            raise click.UsageError("--replay wants the one target that the input is for")
        _replay(targets[0], replay)
        return
    if find_spec("atheris") is None:
        raise click.UsageError("atheris is missing: pip install --group fuzz (make fuzz does it)")
    if minimise:
        for name in chosen:
            _minimise(name)
        return
    console = Console(stderr=True)
    results: dict[str, Figures] = {}
    for name in chosen:
        with console.status(f"{name}: starting") as status:
            found = _seeded(name)
            results[name] = fuzz(
                name,
                found,
                WORK / name,
                seconds,
                TARGETS[name].longest,
                _dictionary(TARGETS[name].words),
                lambda text, name=name: status.update(f"{name}: {text}"),  # type: ignore[misc]
            )
        if not console.is_terminal:
            console.print(f"{name}: {results[name]}", highlight=False)
    _show(results)
    if any(figures.failed for figures in results.values()):
        sys.exit(1)


def _replay(name: str, path: Path) -> None:
    try:
        TARGETS[name].check(path.read_bytes())
    except Exception:
        traceback.print_exc()
        sys.exit(1)
    click.echo(f"{path}: nothing is wrong with it")


def _seeded(name: str) -> list[Path]:
    """The folder that grows, and the committed one."""
    grown = WORK / name / "corpus"
    grown.mkdir(parents=True, exist_ok=True)
    return [path for path in (grown, CORPUS / name) if path.is_dir()]


def _dictionary(words: Sequence[bytes]) -> str:
    """libFuzzer's form of the words."""
    return "".join('"' + "".join(f"\\x{byte:02x}" for byte in word) + '"\n' for word in words)


def _minimise(name: str) -> None:
    """The fewest and smallest inputs that reach all that the seeds and the finds reach."""
    target: Target = TARGETS[name]
    with tempfile.TemporaryDirectory(prefix="libvirt-proto-fuzz-") as folder:
        seeds, kept = Path(folder) / "seeds", Path(folder) / "kept"
        seeds.mkdir()
        kept.mkdir()
        for data in target.seeds():
            (seeds / hashlib.sha1(data, usedforsecurity=False).hexdigest()).write_bytes(data)
        merge(name, kept, [*_seeded(name), seeds], target.longest)
        shutil.rmtree(CORPUS / name, ignore_errors=True)
        (CORPUS / name).mkdir(parents=True)
        for path in sorted(kept.iterdir()):
            shutil.copy(path, CORPUS / name / path.name[:12])
    inputs = list((CORPUS / name).iterdir())
    click.echo(f"{name}: {len(inputs)} inputs, {sum(path.stat().st_size for path in inputs):,} bytes")


def _show(results: dict[str, Figures]) -> None:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("target")
    for title in ("executions", "per second", "edges", "features", "corpus", "bytes", "crashes"):
        table.add_column(title, justify="right")
    for name, figures in results.items():
        table.add_row(
            name,
            *(f"{number:,}" for number in figures.numbers),
            "[red]1[/red]" if figures.failed else "0",
        )
    Console().print(table)
    for name, figures in results.items():
        if figures.failed:
            click.echo(f"\n{name}: {figures.reason}", err=True)
            if figures.crash is not None:
                click.echo(_GO_ON.format(name=name, path=figures.crash), err=True)


if __name__ == "__main__":
    main(prog_name="python -m tests.fuzz")
