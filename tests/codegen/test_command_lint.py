"""`libvirt-proto lint`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from libvirt_proto.cli.main import main
from tests.support.terminal import on_terminal

FIXTURES = Path(__file__).resolve().parent.parent / "lint"
BAD = str(FIXTURES / "UNBOUNDED_STRING" / "bad.x")


def run(*words: str) -> Result:
    return CliRunner().invoke(main, ["lint", *words])


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ([], 0),
        (["12.9.0", "10.0.0"], 0),
        (["0.9.7"], 1),
        (["--fail-on", "access"], 1),
        (["--fail-on", "ORDER", BAD], 0),
        ([BAD], 1),
        (["13.0.0"], 2),
        (["no-such-folder"], 2),
        (["no-such.x"], 1),
    ],
)
def test_exit_status(words: list[str], status: int) -> None:
    assert run(*words).exit_code == status


def test_newest_release_is_the_default() -> None:
    assert run().stdout == run("12.9.0").stdout
    assert run().stdout.endswith("\n16 findings: 1 CONVENTION, 7 ACCESS, 8 UNUSED\n")


def test_checks_each_release_separately() -> None:
    one, other, both = (
        json.loads(run("--format", "json", *releases).stdout)["counts"]
        for releases in (["0.9.7"], ["10.0.0"], ["0.9.7", "10.0.0"])
    )
    assert both == {category: one[category] + other[category] for category in both}


def test_files_are_read_together(tmp_path: Path) -> None:
    (tmp_path / "types.x").write_text('%#include "base.h"\nstruct pair { number one; number two; };\n')
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "base.x").write_text("typedef string number<>;\n")
    done = run(str(tmp_path / "types.x"), str(tmp_path / "other" / "base.x"))
    assert "other/base.x:1:16: UNBOUNDED_STRING: number is a string without a limit\n" in done.stdout


def test_reports_unreadable_input(tmp_path: Path) -> None:
    path = tmp_path / "file.x"
    path.write_text("struct a { b c; };\n")
    done = run(str(path))
    assert done.exit_code == 1
    assert done.stdout == ""
    assert f"{path}:1:12: error: unknown type b" in done.stderr
    assert done.stderr.endswith("libvirt-proto: error: 1 problem in the definitions, nothing was checked\n")


def test_reports_unknown_source() -> None:
    said = "no file or folder '13.0.0', and libvirt 13.0.0 is not bundled"
    assert said in run("13.0.0").stderr


def too_high(*words: str) -> list[str]:
    found = json.loads(run("--format", "json", *words).stdout)["findings"]
    return [finding["message"] for finding in found if finding["rule"] == "LIMIT_TOO_HIGH"]


def test_knows_constants_of_libvirt_headers(tmp_path: Path) -> None:
    """Other constants come from --define, then from an externals.toml."""
    path = tmp_path / "file.x"
    path.write_text("struct id { opaque uuid<VIR_UUID_BUFLEN>; };\n")
    assert too_high(str(path)) == []
    (tmp_path / "externals.toml").write_text("VIR_UUID_BUFLEN = 40000000\n")
    assert "VIR_UUID_BUFLEN (40,000,000)" in too_high(str(path))[0]
    given = too_high(str(path), "--define", "VIR_UUID_BUFLEN=50000000")
    assert "VIR_UUID_BUFLEN (50,000,000)" in given[0]


def test_colours_only_terminals() -> None:
    shown = on_terminal("lint", BAD, status=1)
    assert "\x1b[1;31mUNBOUNDED_STRING\x1b[0m: demo_string is a string without a limit" in shown
    plain = run(BAD).stdout
    assert "\x1b" not in plain
    for environment in ({"NO_COLOR": "1", "TERM": "xterm"}, {"TERM": "dumb"}):
        assert on_terminal("lint", BAD, status=1, env=environment) == plain


def test_file_in_revision_has_no_path_in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`git:HEAD:file.x` looks like a path."""
    monkeypatch.chdir(tmp_path)
    done = run("git:HEAD:file.x")
    assert done.exit_code == 2
    assert "cannot read" not in done.stderr
