"""States of the native core: compiled, switched off, stale, absent."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from libvirt_proto import native, native_plan
from libvirt_proto.cli import checks
from libvirt_proto.cli import main as cli
from libvirt_proto.registry import default


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    """Each test finds the core anew."""
    native._found.cache_clear()
    native._warn.cache_clear()
    yield
    native._found.cache_clear()
    native._warn.cache_clear()


@pytest.fixture
def stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A source that has changed since the core was compiled."""
    changed = tmp_path / "_native.c"
    changed.write_text("/* changed */")
    monkeypatch.setattr(native, "_SOURCE", changed)
    monkeypatch.delenv(native.PURE, raising=False)


@pytest.mark.parametrize("value", ["1", "true", "yes", "2", "no"])
def test_switched_off(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any value counts: none of them silently leaves the core on."""
    monkeypatch.setenv(native.PURE, value)
    assert native.core() is None
    assert native.is_switched_off()
    assert native.state() == "switched off by LIBVIRT_PROTO_PURE"


@pytest.mark.native
@pytest.mark.parametrize("value", ["", "0"])
def test_not_switched_off(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(native.PURE, value)
    assert not native.is_switched_off()
    assert native.state() == "compiled"


@pytest.mark.native
def test_compiled() -> None:
    assert native.core() is not None
    assert native.is_active()
    assert native.state() == "compiled"


@pytest.mark.native
def test_installed_package_has_no_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "_SOURCE", tmp_path / "_native.c")
    assert native.core() is not None


@pytest.mark.native
@pytest.mark.usefixtures("stale")
def test_stale_core_is_not_used_and_warned_of_once(recwarn: pytest.WarningsRecorder) -> None:
    assert not native.is_active()
    assert not recwarn.list, "nothing wanted to use it yet"
    with pytest.warns(
        RuntimeWarning, match="the native core is not used: it is compiled from another source"
    ):
        assert native.core() is None
    assert native.core() is None
    assert native.state() == "compiled from another source: run `make native`"


@pytest.mark.native
def test_core_that_cannot_be_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("libvirt_proto._native")
    monkeypatch.setitem(sys.modules, "libvirt_proto._native", None)
    assert native.core() is None
    assert native.state().startswith("not loaded: import of libvirt_proto._native halted")


@pytest.mark.native
@pytest.mark.parametrize("missing", ["FORMAT", "SOURCE"])
def test_foreign_module_is_not_used(missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of another version, or by another author: in an installed package, or next to a source."""
    core = native.core()
    native._found.cache_clear()
    source = tmp_path / "_native.c"
    if missing == "SOURCE":
        source.write_text("/* of another core */")
    monkeypatch.setattr(native, "_SOURCE", source)
    monkeypatch.delattr(core, missing)
    with pytest.warns(RuntimeWarning, match="another source"):
        assert native.core() is None


@pytest.mark.native
def test_installed_module_of_another_format_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    core = native.core()
    native._found.cache_clear()
    monkeypatch.setattr(core, "FORMAT", native.FORMAT + 1)
    monkeypatch.setattr(native, "_SOURCE", tmp_path / "_native.c")
    assert native.state() == native.STALE


@pytest.mark.native
def test_python_without_a_gil_does_not_load_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its objects have another layout, but it looks for modules of the same name."""
    monkeypatch.setattr(sys, "abiflags", "t")
    monkeypatch.setitem(sys.modules, "libvirt_proto._native", None)
    assert native.state() == "not used: this Python has no GIL"
    (check,) = (check for check in checks.checks() if check.name == "native core")
    assert (check.status, check.fix) == ("absent", None)


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "longer", "not JSON", "not UTF-8", "other"])
def test_damaged_plan_is_not_read(damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Path(native_plan._FILE).read_bytes()
    assert native_plan.read(default()) is not None
    contents = {
        "empty": b"",
        "cut": whole[:-1],
        "longer": whole + b"\0",
        "not JSON": whole[1:],
        "not UTF-8": whole.replace(b'"', b'"\xff', 1),
        "other": whole.replace(b'"format":1,', b'"format":2,', 1),
    }
    file = tmp_path / "native.plan"
    if damage != "missing":
        file.write_bytes(contents[damage])
        assert contents[damage] != whole
    monkeypatch.setattr(native_plan, "_FILE", file)
    assert native_plan.read(default()) is None


@pytest.mark.native
@pytest.mark.parametrize("form", ["jsonl", "monitor"])
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_debug_reports_the_share_of_the_native_core(
    form: str, jobs: str, captures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(native.PURE, raising=False)
    file = str(captures / "tour.pcap")
    words = ["decode", "--debug", "--format", form, "--jobs", jobs, "-o", str(tmp_path / "out"), file, file]
    done = CliRunner().invoke(cli.main, words)
    found = re.search(
        r"^native core \(compiled\): ([\d,]+) of 10,024 messages \((\d+\.\d\d) %\)$", done.stderr, re.M
    )
    assert found is not None, done.stderr
    count = int(found[1].replace(",", ""))
    assert found[2] == f"{count / 100.24:.2f}"
    assert count > 9000
    assert len((tmp_path / "out").read_bytes().splitlines()) == 10_024


def test_debug_without_the_native_core(captures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(native.PURE, "1")
    done = CliRunner().invoke(cli.main, ["decode", "--debug", str(captures / "tour.pcap"), "-o", os.devnull])
    expected = "native core (switched off by LIBVIRT_PROTO_PURE): 0 of 5,012 messages (0.00 %)\n"
    assert done.stderr == expected


@pytest.mark.native
@pytest.mark.parametrize("command", ["decode", "--version", "doctor"])
def test_commands_with_a_stale_core(command: str, captures: Path, tmp_path: Path) -> None:
    """The warning is one line on standard error, and only of the command that would use the core."""
    (tmp_path / "_native.c").write_text("/* changed */")
    script = (
        "import sys; from pathlib import Path; from libvirt_proto import native\n"
        f"native._SOURCE = Path({str(tmp_path)!r}, '_native.c')\n"
        "from libvirt_proto.__main__ import main; main()"
    )
    words = (
        ["decode", "--format", "monitor", str(captures / "tour.pcap")] if command == "decode" else [command]
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *words],
        capture_output=True,
        text=True,
        env={name: value for name, value in os.environ.items() if name != native.PURE},
        check=False,
        timeout=120,
    )
    assert "Traceback" not in done.stderr
    warned = done.stderr.count("the native core is not used")
    if command == "decode":
        assert (done.returncode, warned) == (0, 1)
        assert len(done.stdout.splitlines()) > 5000
    else:
        assert warned == 0
        assert "compiled from another source" in " ".join(done.stdout.split())
        assert "make native" in " ".join(done.stdout.split())
