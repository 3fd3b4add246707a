"""Options and exit statuses of commands that report findings."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from libvirt_proto_codegen.commands.reporting import Reporter, reporting
from libvirt_proto_codegen.findings import Finding
from tests.support.findings import ADDED, CATEGORIES, LOWERED, RULES, TYPE_CHANGED

FINDINGS = {"type": TYPE_CHANGED, "limit": LOWERED, "added": ADDED}


@click.command("demo")
@click.argument("names", nargs=-1)
@reporting(RULES, CATEGORIES)
def demo(names: tuple[str, ...], report: Reporter) -> None:
    """Report the given findings."""
    found: list[Finding] = [FINDINGS[name] for name in names]
    report(found)


def run(*words: str) -> Result:
    return CliRunner().invoke(demo, words)


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ([], 0),
        (["added", "limit"], 0),
        (["type"], 1),
        (["type", "--fail-on", "LIMIT"], 0),
        (["limit", "--fail-on", "limit"], 1),
        (["added", "--fail-on", "LIMIT", "--fail-on", "ADDED"], 1),
        (["type", "--fail-on", "none"], 0),
        (["type", "--fail-on", "none", "--fail-on", "WIRE"], 2),
        (["--fail-on", "WIRED"], 2),
        (["--format", "xml"], 2),
        (["--ignore", "there-is-no-such.toml"], 2),
    ],
)
def test_exit_status(words: list[str], status: int) -> None:
    assert run(*words).exit_code == status


def test_ignored_findings_do_not_fail(tmp_path: Path) -> None:
    known = tmp_path / "known.toml"
    known.write_text('[[ignore]]\nrule = "FIELD_TYPE_CHANGED"\nreason = "both sides read 4 bytes"\n')
    done = run("type", "--ignore", str(known))
    assert done.exit_code == 0
    assert done.output == "no findings; 1 ignored\n"


def test_reports_unused_ignore_entry(tmp_path: Path) -> None:
    known = tmp_path / "known.toml"
    known.write_text('\n[[ignore]]\nname = "b.x"\nprogram = "demo"\nreason = "so"\n')
    done = run("added", "--ignore", str(known))
    assert f"{known}:2: warning: this entry ignores nothing: program demo, name b.x\n" in done.output
    assert json.loads(run("--format", "json", "--ignore", str(known)).output)["unused_ignores"] == [
        {"reason": "so", "rule": None, "program": "demo", "name": "b.x", "file": str(known), "line": 2}
    ]
    line = run("--format", "github", "--ignore", str(known)).output.splitlines()[0]
    assert line == f"::warning file={known},line=2::this entry ignores nothing: program demo, name b.x"


def test_bad_ignore_file_is_a_usage_error(tmp_path: Path) -> None:
    known = tmp_path / "known.toml"
    known.write_text('[[ignore]]\nname = "b"\n')
    done = run("type", "--ignore", str(known))
    assert done.exit_code == 2
    assert f"{known}:1: missing reason" in done.output


@pytest.mark.parametrize("format_", ["text", "json", "github", "junit"])
def test_writes_output_to_file(format_: str, tmp_path: Path) -> None:
    shown = run("type", "added", "--format", format_)
    file = tmp_path / "report"
    done = run("type", "added", "--format", format_, "-o", str(file))
    assert file.read_text(encoding="utf-8") == shown.stdout
    assert done.exit_code == shown.exit_code == 1
    assert (done.stdout, done.stderr) == ("", f"2 findings: 1 WIRE, 1 ADDED (in {file})\n")
    assert run("type", "added", "--format", format_, "-o", "-").stdout == shown.stdout


def test_lists_rules() -> None:
    done = run("--list-rules", "--fail-on", "LIMIT")
    assert done.exit_code == 0
    assert (
        done.output
        == """\
WIRE: peers misunderstand each other
  FIELD_TYPE_CHANGED  A field has another type.
  FIELD_REMOVED       A field is gone.
LIMIT: a peer refuses what the other sends
  LIMIT_LOWERED       A limit is lower.
ADDED: what is new
  PROCEDURE_ADDED     A procedure is new.
"""
    )


def test_help_states_default_failure_level() -> None:
    shown = " ".join(run("--help").output.split())
    assert "Exit with 1 if there is a finding of this category: WIRE, LIMIT, ADDED, or none." in shown
    assert "[default: WIRE]" in shown
