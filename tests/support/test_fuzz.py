"""The fuzz targets check the committed inputs, each of which covers something or failed once; and the
fuzzer's command, with atheris if it is installed."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.fuzz import wire
from tests.fuzz.__main__ import main
from tests.fuzz.libfuzzer import Figures
from tests.fuzz.targets import CORPUS, TARGETS

needs_atheris = pytest.mark.skipif(
    find_spec("atheris") is None, reason="atheris is not installed (make fuzz)"
)


#: `make sanitize` runs those of the native core.
EACH = [
    pytest.param(each, marks=[pytest.mark.native] if each in ("plan", "scanner") else []) for each in TARGETS
]


@pytest.mark.parametrize("name", EACH)
def test_replays_committed_inputs(name: str) -> None:
    inputs = sorted((CORPUS / name).iterdir())
    assert inputs
    for path in inputs:
        try:
            TARGETS[name].check(path.read_bytes())
        except Exception as error:
            error.add_note(f"python -m tests.fuzz {name} --replay {path.relative_to(Path.cwd())}")
            raise


def test_corpus_is_small() -> None:
    files = [path for path in CORPUS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 200_000
    assert {path.parent.name for path in files} == set(TARGETS)


def test_reads_libfuzzer_output() -> None:
    figures = Figures()
    for line in (
        "INFO: Running with entropic power schedule (0xFF, 100).",
        "#2\tINITED cov: 3 ft: 4 corp: 1/1b exec/s: 0 rss: 40Mb",
        "#65536\tpulse  cov: 512 ft: 900 corp: 40/3Kb lim: 80 exec/s: 13107 rss: 90Mb",
        " === Uncaught Python exception: ===",
        "KeyError: b'x'",
        "Traceback (most recent call last):",
        "==7== ERROR: libFuzzer: fuzz target exited",
        "artifact_prefix='.fuzz/pcap/'; Test unit written to .fuzz/pcap/crash-0a1b",
        "Done 70000 runs in 7 second(s)",
    ):
        figures.line(line)
    assert figures.numbers == (70_000, 10_000, 512, 900, 40, 3072)
    assert (figures.reason, figures.crash) == ("KeyError: b'x'", Path(".fuzz/pcap/crash-0a1b"))


def test_replays_one_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "input"
    path.write_bytes(b"\0")
    done = CliRunner().invoke(main, ["frame", "--replay", str(path)])
    assert (done.exit_code, done.output) == (0, f"{path}: nothing is wrong with it\n")
    # A decoder that forgets a byte is detected.
    monkeypatch.setattr(wire.FrameDecoder, "pending", b"")
    path.write_bytes(b"\0\0\0\0\0")
    done = CliRunner().invoke(main, ["frame", "--replay", str(path)])
    assert done.exit_code == 1
    assert "AssertionError" in done.output


def test_replay_requires_one_target(tmp_path: Path) -> None:
    (tmp_path / "input").touch()
    done = CliRunner().invoke(main, ["--replay", str(tmp_path / "input")])
    assert done.exit_code == 2
    assert "the one target" in done.output


@needs_atheris
@pytest.mark.parametrize("broken", [False, True])
def test_short_run(root: Path, tmp_path: Path, broken: bool) -> None:
    """Also with a deliberately broken decoder: the failing input is stored in a file, and the output explains
    how to continue."""
    program = "from tests.fuzz.__main__ import main; main()"
    environment = {"PYTHONPATH": str(root), "PATH": "/usr/bin:/bin"}
    if broken:
        (tmp_path / "sitecustomize.py").write_text(
            "from libvirt_proto.rpc.frame import FrameDecoder\n"
            "FrameDecoder.offset = property(lambda self: 0)\n"
        )
        environment["PYTHONPATH"] += f":{tmp_path}"
    run = subprocess.run(
        [sys.executable, "-c", program, "--time", "1", "frame"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == broken, run.stdout + run.stderr
    heads, figures = (line.split() for line in run.stdout.splitlines())
    assert heads[:2] == ["target", "executions"]
    assert (figures[0], figures[-1]) == ("frame", str(int(broken)))
    assert broken or int(figures[1].replace(",", "")) > 1000
    crashes = list((tmp_path / ".fuzz" / "frame").glob("crash-*"))
    assert len(crashes) == broken
    if broken:
        assert f"--replay .fuzz/frame/{crashes[0].name}" in run.stderr
        assert "frame: AssertionError" in run.stderr
