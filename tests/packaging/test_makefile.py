"""make without its prerequisites: clear errors, and no partial results."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")

#: Debian's python3 without python3-venv: it has the module venv, but not ensurepip.
WITHOUT_VENV = "import sys; sys.modules['ensurepip'] = None"
TOO_OLD = "import sys; sys.version_info = (3, 9, 2, 'final', 0)"


@pytest.fixture
def make(root: Path, tmp_path: Path) -> Make:
    return Make(root, tmp_path)


class Make:
    """make in a copy of the repository's Makefile, with private Pythons."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.folder = folder / "copy"
        self.folder.mkdir()
        for name in ("Makefile", "pyproject.toml", "hatch_build.py", "libvirt_proto/_native.c"):
            (self.folder / name).parent.mkdir(exist_ok=True)
            shutil.copy(root / name, self.folder / name)
        self.bin = folder / "bin"
        self.bin.mkdir()

    def python(self, name: str, start: str, version: str = "Python 3.11.2") -> Path:
        """An interpreter that first executes `start`."""
        site = self.bin / f"{name}-site"
        site.mkdir()
        (site / "sitecustomize.py").write_text(start + "\n", encoding="utf-8")
        script = self.bin / name
        script.write_text(
            f'#!/bin/sh\n[ "$1" = --version ] && exec echo "{version}"\n'
            f'PYTHONPATH={site} exec {sys.executable} "$@"\n',
            encoding="utf-8",
        )
        script.chmod(0o755)
        return script

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["make", *arguments],
            cwd=self.folder,
            env={"PATH": f"{self.bin}:/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.mark.parametrize("target", ["demo", "test"])
def test_missing_venv_names_debian_package(make: Make, target: str) -> None:
    make.python("python3", WITHOUT_VENV)
    done = make(target)
    assert done.returncode == 2
    said = done.stderr.splitlines()
    assert said[0] == (
        "python3 cannot make virtual environments. On Debian and Ubuntu: apt-get install python3-venv"
    )
    assert len(said) == 2, "the line, and make's own"
    assert not (make.folder / ".venv").exists()


def test_missing_venv_of_custom_python(make: Make) -> None:
    make.python("python3.12", WITHOUT_VENV, "Python 3.12.1")
    assert "apt-get install python3.12-venv" in make("demo", "PYTHON=python3.12").stderr


def test_old_python_is_an_error(make: Make) -> None:
    for name in ("python3", "python3.13", "python3.12", "python3.11"):
        make.python(name, TOO_OLD, "Python 3.9.2")
    done = make("demo")
    assert done.returncode == 2
    assert "needs Python 3.11 or newer; python3 is Python 3.9.2." in done.stderr
    assert "make PYTHON=" in done.stderr
    assert not (make.folder / ".venv").exists()


def test_missing_python_is_an_error(make: Make) -> None:
    done = make("test", "PYTHON=python-that-is-not-there")
    assert done.returncode == 2
    assert "needs Python 3.11 or newer; python-that-is-not-there is missing." in done.stderr


def test_default_target_lists_targets(make: Make) -> None:
    listed = {line.split()[1] for line in make().stdout.splitlines()}
    assert {"demo", "test", "bare", "check", "generate", "format", "clean", "help"} <= listed
