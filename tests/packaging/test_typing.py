"""The types that the package gives its users (py.typed), as mypy and pyright see them."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("user_program.py")


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """The program in a folder of its own: the package is found where it is installed."""
    return Path(shutil.copy(PROGRAM, tmp_path))


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words], cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )


def needs(module: str) -> None:
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed (make .venv/dev.stamp)")


def test_the_program_runs(program: Path, captures: Path) -> None:
    done = run(program.parent, program.name, str(captures / "tour.pcap"))
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "340",
        "True",
        "test 66 2",
        "('remote',)",
        "bytes: is empty",
        "0000001c",
    ]


@pytest.fixture(scope="module")
def mypy(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """The command. Both tests share its cache: the generated modules take most of the time."""
    needs("mypy")
    cache = tmp_path_factory.mktemp("mypy")
    return ("-m", "mypy", "--strict", "--warn-unreachable", "--cache-dir", str(cache))


def test_mypy_accepts_the_program(program: Path, mypy: tuple[str, ...]) -> None:
    done = run(program.parent, *mypy, program.name)
    assert done.stdout == "Success: no issues found in 1 source file\n", done.stdout + done.stderr


def test_mypy_knows_the_types(program: Path, mypy: tuple[str, ...]) -> None:
    """A wrong use is an error: the types are not Any."""
    text = program.read_text(encoding="utf-8")
    program.write_text(text.replace("error.code_name or str(error.code)", "error.code"), encoding="utf-8")
    done = run(program.parent, *mypy, program.name)
    assert re.search(r'user_program\.py:\d+: error: .* "int".* expected type "str"', done.stdout), done.stdout


def test_mypy_knows_the_arguments_of_calls(program: Path, mypy: tuple[str, ...]) -> None:
    text = program.read_text(encoding="utf-8")
    program.write_text(
        text.replace('name="test"', "nam=1").replace("dom=found.dom", "dom=3"), encoding="utf-8"
    )
    done = run(program.parent, *mypy, program.name)
    assert 'Unexpected keyword argument "nam" for "domain_lookup_by_name"' in done.stdout, done.stdout
    assert 'Argument "dom" to "domain_get_info" of "Remote" has incompatible type "int"' in done.stdout


def test_pyright_accepts_the_program(program: Path) -> None:
    needs("pyright")
    (program.parent / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict"}', encoding="utf-8")
    done = run(program.parent, "-m", "pyright", "--pythonpath", sys.executable, "--outputjson", program.name)
    try:
        report = json.loads(done.stdout)
    except ValueError:
        pytest.skip(f"pyright cannot run: {(done.stderr or done.stdout)[-200:]}")
    found = [
        f"{each['range']['start']['line'] + 1}: {each['severity']}: {each['message']}"
        for each in report["generalDiagnostics"]
    ]
    assert found == []
    assert report["summary"]["filesAnalyzed"] == 1
