"""The repository: its top level, the size of its files, and forbidden text."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
TOP = {
    ".ci",
    ".editorconfig",
    ".gitattributes",
    ".github",
    ".gitignore",
    ".pre-commit-config.yaml",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "Makefile",
    "README.md",
    "SECURITY.md",
    "codegen",
    "docs",
    "hatch_build.py",
    "libvirt_proto",
    "protocol-defs",
    "pyproject.toml",
    "tests",
    "tools",
}
# Bracketed letters keep the patterns from finding themselves.
UNFINISHED = re.compile(r"[T]ODO|[F]IXME|(?<!X)[X]XX(?!X)|raise [N]otImplementedError|mark\.[x]fail")
MACHINE = re.compile(r"(?<![\w.:~-])/(?:work|home|Users|root)/\w")
REGISTRY = re.compile(r"[p]ypi\.org|[p]ythonhosted|registry\.npm[j]s|[d]eb\.debian\.org|extra-[i]ndex-url")


@cache
def files() -> tuple[Path, ...]:
    """Every file that git tracks or would add, relative to the repository."""
    try:
        done = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return tuple(Path(name) for name in done.stdout.split("\0") if name and (ROOT / name).is_file())


def text_of(path: Path) -> str:
    """The text of a file; empty for a capture or another binary file."""
    data = (ROOT / path).read_bytes()
    return "" if b"\0" in data[:8192] else data.decode(errors="replace")


def test_top_level() -> None:
    assert {path.parts[0] for path in files()} == TOP


@pytest.mark.parametrize("what", [UNFINISHED, MACHINE, REGISTRY], ids=["unfinished", "machine", "registry"])
def test_no_file_contains(what: re.Pattern[str]) -> None:
    found = [
        f"{path}:{number}: {line.strip()}"
        for path in files()
        if path.parts[0] != "protocol-defs"
        for number, line in enumerate(text_of(path).splitlines(), 1)
        if what.search(line)
    ]
    assert found == []


def test_no_expression_has_possessive_groups() -> None:
    """Python before 3.11.5 may match `(…)*+` wrongly (gh-106052). `(?>(…)*)` does the same, but takes memory
    for each repetition: strace's strings have up to 32 MiB."""
    possessive = re.compile(r"\)(?:[*+?]|\{[0-9,]+\})\+")
    allowed = Path("libvirt_proto/capture/strace/line.py")
    found = [
        f"{path}:{number}"
        for path in files()
        if path.suffix == ".py" and path.parts[0] in ("libvirt_proto", "codegen") and path != allowed
        for number, line in enumerate(text_of(path).splitlines(), 1)
        if possessive.search(line)
    ]
    assert found == []


def test_programs_are_executable() -> None:
    started = [path for path in files() if text_of(path).startswith("#!")]
    assert Path(".ci/run") in started
    assert [str(path) for path in started if not (ROOT / path).stat().st_mode & 0o111] == []


def test_pre_commit_runs_the_static_checks() -> None:
    """The hooks and `make static` run the same programs with the same subcommands."""
    recipe = re.search(r"^static:.*\n((?:\t.*\n)+)", text_of(Path("Makefile")), re.MULTILINE)
    assert recipe is not None
    hooks = re.findall(r"^ +entry: \.venv/bin/(.+)$", text_of(Path(".pre-commit-config.yaml")), re.MULTILINE)
    generate = re.search(r"^GENERATE := (.*)$", text_of(Path("Makefile")), re.MULTILINE)
    assert generate is not None
    expected = re.findall(r"^\t\$\(BIN\)/(.+)$", recipe[1].replace("$(GENERATE)", generate[1]), re.MULTILINE)
    assert [hook.removesuffix(" --force-exclude") for hook in hooks] == expected
