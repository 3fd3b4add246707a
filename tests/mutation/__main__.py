"""Mutation tests: `make mutate`, or `python -m tests.mutation`.

mutmut changes one thing at a time in the modules below and runs the tests that execute it. A change that no
test detects is a survivor. survivors.toml lists the understood ones, each with its reason; any other gives
exit status 1. Survivors are identified by function and change, so moved lines do not matter.

Not mutated: the templates (not Python; a test compares the generated modules), decorated functions except
static methods, and code outside of functions, which mutmut skips.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent.parent
#: mutmut expects both packages in src/: a copy with that layout, and its results.
STAGE = ROOT / ".mutate"
SURVIVORS = Path(__file__).with_name("survivors.toml")

MUTATED = (
    *(f"src/libvirt_proto/{name}.py" for name in ("codec/primitives", "rpc/frame", "rpc/message")),
    "src/libvirt_proto_codegen/targets/python/*.py",
)
#: Fast tests of these modules.
TESTS = (
    *(f"tests/runtime/codec/test_{name}.py" for name in ("primitives", "interpreter")),
    *(f"tests/runtime/rpc/test_{name}.py" for name in ("frame", "message")),
    "tests/codegen/test_python_output.py",
    "tests/support/test_fuzz.py::test_replays_committed_inputs[message]",
    "tests/support/test_fuzz.py::test_replays_committed_inputs[frame]",
    "tests/mutation/quick.py",
)
#: mutmut's words for a change that a test failed for, or never finished with.
_NOTICED = ("killed", "timeout")

_CONFIGURATION = """
[tool.mutmut]
source_paths = ["src"]
only_mutate = {mutated}
also_copy = ["tests", "protocol-defs", "libvirt_proto"]
pytest_add_cli_args = ["-p", "no:cacheprovider", "--hypothesis-profile", "full"]
pytest_add_cli_args_test_selection = {tests}
process_isolation = "forkserver"
# Impossible cases, which no test can detect.
do_not_mutate_patterns = ["raise AssertionError"]

[tool.pytest.ini_options]
addopts = "--strict-markers --import-mode=importlib"
pythonpath = ["src", "."]
markers = ["system(tool): needs a tool of the system"]
"""


@dataclass(frozen=True)
class Mutant:
    """A change that was tried: the function (`libvirt_proto.rpc.frame.FrameDecoder.feed`), and the removed
    and added lines, without indentation."""

    function: str
    was: str
    now: str


@dataclass
class Results:
    """The number of each outcome by module, and the survivors."""

    counts: dict[str, Counter[str]] = field(default_factory=dict)
    survivors: list[Mutant] = field(default_factory=list)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--jobs", default=2, show_default=True, type=click.IntRange(1), help="Processes at a time.")
@click.option("--keep", is_flag=True, help="Go on where the last run ended, if the code is still the same.")
@click.option("--toml", is_flag=True, help="Print survivors that are not listed as survivors.toml has them.")
def main(jobs: int, keep: bool, toml: bool) -> None:
    """Mutate the codec, the framing, messages and the Python target, and list what no test detects.

    Exit status: 0, or 1 for a survivor that tests/mutation/survivors.toml does not list.
    """
    _stage(keep)
    # Its progress display is redrawn thousands of times: only for a terminal.
    run = _mutmut("run", "--max-children", str(jobs), quiet=not sys.stdout.isatty())
    if run.returncode:
        click.echo(f"{run.stdout or ''}{run.stderr or ''}", err=True)
        raise click.ClickException("mutmut could not run; what it said is above")
    results = _results()
    _show(results)
    listed = dict(_listed())
    new = [mutant for mutant in results.survivors if mutant not in listed]
    gone = [mutant for mutant in listed if mutant not in set(results.survivors)]
    for mutant in gone:
        click.echo(
            f"listed, but noticed or gone: {mutant.function}: {mutant.was!r} → {mutant.now!r}", err=True
        )
    for mutant in new:
        click.echo(_as_toml(mutant) if toml else f"\n{mutant.function}\n  - {mutant.was}\n  + {mutant.now}")
    if new:
        click.echo(
            f"\n{len(new)} survivors: write a test that notices each, or list it with the reason why none can"
            f" in {SURVIVORS.relative_to(ROOT)} (--toml prints it)",
            err=True,
        )
        sys.exit(1)


def _stage(keep: bool) -> None:
    if not keep:
        shutil.rmtree(STAGE, ignore_errors=True)
    ignore = shutil.ignore_patterns("__pycache__")
    for source, place in (
        ("libvirt_proto", "src/libvirt_proto"),
        ("codegen/libvirt_proto_codegen", "src/libvirt_proto_codegen"),
        ("libvirt_proto/generated", "libvirt_proto/generated"),
        ("protocol-defs", "protocol-defs"),
        ("tests", "tests"),
    ):
        shutil.copytree(ROOT / source, STAGE / place, ignore=ignore, dirs_exist_ok=True)
    text = _CONFIGURATION.format(mutated=list(MUTATED), tests=list(TESTS))
    (STAGE / "pyproject.toml").write_text(text)


def _mutmut(*arguments: str, quiet: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mutmut", *arguments], cwd=STAGE, capture_output=quiet, text=True, check=False
    )


def _results() -> Results:
    results = Results()
    for line in _mutmut("results", "--all", "true").stdout.splitlines():
        name, _, outcome = line.strip().rpartition(": ")
        function = _function(name)
        module = (
            function.partition(".targets.")[0]
            if ".targets." in function
            else ".".join(function.split(".")[:2])
        )
        results.counts.setdefault(module, Counter())[outcome] += 1
        if outcome in ("not checked", "check was interrupted by user"):
            raise click.ClickException("the run was stopped before its end; --keep goes on from here")
        if outcome not in _NOTICED:
            results.survivors.append(_mutant(name, function))
    return results


def _function(name: str) -> str:
    """`rpc.frame.xǁFrameDecoderǁfeed__mutmut_3` → `rpc.frame.FrameDecoder.feed`."""
    module, _, mangled = name.rpartition("__mutmut_")[0].rpartition(".")
    plain = mangled.removeprefix("xǁ").replace("ǁ", ".") if "ǁ" in mangled else mangled.removeprefix("x_")
    return f"{module}.{plain}"


def _mutant(name: str, function: str) -> Mutant:
    """The mutant from the diff of `mutmut show`."""
    changed: dict[str, list[str]] = {"-": [], "+": []}
    for line in _mutmut("show", name).stdout.splitlines():
        if line[:1] in changed and not line.startswith(("---", "+++")):
            changed[line[0]].append(line[1:].strip())
    if not any(changed.values()):
        raise click.ClickException(f"mutmut does not say what it changed in {name}")
    return Mutant(function, "\n".join(changed["-"]), "\n".join(changed["+"]))


def _listed() -> Iterator[tuple[Mutant, str]]:
    if SURVIVORS.is_file():
        for entry in tomllib.loads(SURVIVORS.read_text())["survivor"]:
            yield Mutant(entry["function"], entry["was"], entry["now"]), entry["reason"]


def _as_toml(mutant: Mutant) -> str:
    lines = [f"{key} = '''{getattr(mutant, key)}'''" for key in ("function", "was", "now")]
    return "\n".join(("", "[[survivor]]", *lines, 'reason = ""'))


def _show(results: Results) -> None:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("module")
    for title in ("mutants", "noticed", "not noticed"):
        table.add_column(title, justify="right")
    for module, counts in results.counts.items():
        noticed = sum(counts[outcome] for outcome in _NOTICED)
        table.add_row(
            module, *(f"{number:,}" for number in (counts.total(), noticed, counts.total() - noticed))
        )
    Console().print(table)


if __name__ == "__main__":
    main(prog_name="python -m tests.mutation")
