"""Run the console blocks of README and docs/ and compare their output.

A block is fenced as ```console (```console jq stap names tools without which it is skipped). Lines that begin
with `$ ` are commands, `> ` continues one, the rest is their output, standard error included. `...` matches
anything within a line, and on a separate line any lines. Each block starts in a folder that contains only
tests/captures, tests/diagnose/recordings and protocol-defs.

```pycon blocks are doctests; the blocks of a file share their names.
"""

from __future__ import annotations

import doctest
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
FENCE = re.compile(r"^```(?P<kind>console|pycon)(?P<needs>(?: \w+)*)\n(?P<text>.*?)^```$", re.M | re.S)
FILES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES = [*FILES, *(ROOT / name for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"))]
LINK = re.compile(r"\[[^\]]*\]\((?!https?:)(?P<path>[^)#]*)(?:#(?P<anchor>[^)]*))?\)")


@dataclass(frozen=True)
class Step:
    command: str
    output: str


def blocks(path: Path, kind: str) -> Iterator[tuple[int, str, list[str]]]:
    """(line, text, needed tools) of each block of a kind."""
    text = path.read_text(encoding="utf-8")
    for match in FENCE.finditer(text):
        if match["kind"] == kind:
            yield text.count("\n", 0, match.start()) + 2, match["text"], match["needs"].split()


def steps(text: str) -> list[Step]:
    """The commands of a block, each with its output."""
    commands: list[str] = []
    outputs: list[str] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            commands.append(line[2:])
            outputs.append("")
        elif line.startswith("> ") and not outputs[-1]:
            commands[-1] += "\n" + line[2:]
        else:
            outputs[-1] += line + "\n"
    return [Step(*pair) for pair in zip(commands, outputs, strict=True)]


def pattern(output: str) -> re.Pattern[str]:
    """The pattern for a shown output; trailing blanks are ignored."""
    parts = [
        r"(?:.*\n)*" if line == "..." else ".*".join(map(re.escape, line.split("..."))) + r"[ ]*\n"
        for line in output.splitlines()
    ]
    return re.compile("".join(parts))


def console_cases() -> Iterator[object]:
    for path in FILES:
        for line, text, needs in blocks(path, "console"):
            marks = [pytest.mark.system(*needs)] if needs else []
            yield pytest.param(text, id=f"{path.name}:{line}", marks=marks)


@pytest.mark.parametrize("text", list(console_cases()))
def test_console_blocks_match_output(text: str, tmp_path: Path) -> None:
    for folder in ("tests/captures", "tests/diagnose/recordings", "protocol-defs"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    environment = dict(os.environ, COLUMNS="110", NO_COLOR="1", LC_ALL="C.UTF-8")
    if kernels := sorted(path.parent.name for path in Path("/lib/modules").glob("*/build")):
        # stap's options for kernels without headers, as in virtual machines.
        (tmp_path / "rc").write_text(f"-r {kernels[-1]}\n", encoding="utf-8")
        environment["SYSTEMTAP_DIR"] = str(tmp_path)
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    for step in steps(text):
        done = subprocess.run(
            ["bash", "-c", step.command],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{step.command}\n{done.stdout}"
        same = pattern(step.output).fullmatch(done.stdout) is not None
        assert same, f"{step.command}\nprints\n{done.stdout}\nbut the page shows\n{step.output}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_python_blocks_run(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    parser = doctest.DocTestParser()
    names: dict[str, object] = {}
    said: list[str] = []
    for line, text, _ in blocks(path, "pycon"):
        test = parser.get_doctest(text, names, path.name, str(path), line)
        runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
        runner.run(test, out=said.append, clear_globs=False)
        names = test.globs
    assert not said, "".join(said)


def test_readme_starts_with_make_commands() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert text.index("make demo") < text.index("make test") < 1000


def test_readme_is_short() -> None:
    assert (ROOT / "README.md").read_text(encoding="utf-8").count("\n") <= 250


def test_readme_links_to_every_page() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    linked = {match["path"] for match in LINK.finditer(text)}
    assert {str(path.relative_to(ROOT)) for path in PAGES[1:]} <= linked


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    found = list(LINK.finditer(path.read_text(encoding="utf-8")))
    for match in found:
        target = (path.parent / match["path"]).resolve() if match["path"] else path
        assert target.exists(), match[0]
        assert not match["anchor"] or match["anchor"] in anchors(target), match[0]


def anchors(path: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    }
