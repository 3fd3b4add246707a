"""`libvirt-proto diagnose`: formats, exit status, selection of rules."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import libvirt_proto
from libvirt_proto.cli import main as cli
from libvirt_proto.diagnose.rules import RULES

LOG = (
    "2026-11-22 21:45:10.120+0000: 19725: warning : virKeepAliveTimerInternal:130 : No response from client"
    " 0x55bef0a18050 after 5 keepalive messages in 30 seconds\n"
    "2026-11-22 21:45:10.121+0000: 19725: error : virKeepAliveTimerInternal:137 : internal error: connection"
    " closed due to keepalive timeout\n"
)


def run(*words: str | Path, stdin: str | bytes | None = None) -> Result:
    return CliRunner().invoke(cli.main, ["diagnose", *map(str, words)], input=stdin)


def test_json_is_the_default_without_terminal() -> None:
    result = run("-", stdin=LOG)
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert [(each["rule"], each["severity"], each["certainty"]) for each in found["findings"]] == [
        ("KEEPALIVE_TIMEOUT", "error", "certain")
    ]
    assert found["findings"][0]["evidence"][0]["lines"] == [1, 2]
    assert [each["rule"] for each in found["checked"]] == list(RULES)
    assert (found["messages"], found["lines"]) == (0, 2)


def test_text(tmp_path: Path) -> None:
    log = tmp_path / "daemon.log"
    log.write_text(LOG)
    result = run("--format", "text", log)
    assert result.exit_code == 1
    assert result.stdout.startswith("error KEEPALIVE_TIMEOUT (certain)\n  ")
    assert "5 pings in 30 s" in result.stdout
    assert f"sed -n 1,2p {log}" in result.stdout


def test_github(tmp_path: Path) -> None:
    log = tmp_path / "100%,daemon.log"
    log.write_text(LOG)
    first = run("--format", "github", log).stdout.splitlines()[0]
    place = str(log).replace("%", "%25").replace(",", "%2C")
    assert first.startswith(f"::error file={place},line=1,title=KEEPALIVE_TIMEOUT::")


def test_nothing_unusual(captures: Path) -> None:
    result = run("--format", "text", captures / "tour.pcap")
    assert result.exit_code == 0
    assert result.stdout.startswith("nothing unusual in 5,")
    assert "UNFINISHED_JOB: needs a log of the daemon" in result.stdout


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["--fail-on", "none"], 0),
        (["--fail-on", "note"], 1),
        (["--ignore", "KEEPALIVE_TIMEOUT"], 0),
        (["--rule", "keepalive_timeout"], 1),
        (["--rule", "POLLING"], 0),
    ],
)
def test_exit_status(words: list[str], status: int) -> None:
    assert run(*words, "-", stdin=LOG).exit_code == status


def test_input_with_errors_fails(captures: Path) -> None:
    cut = (captures / "virsh-domname.pcap").read_bytes()[:-10]
    result = run("-", stdin=cut)
    assert result.exit_code == 1
    assert "[truncated-file]" in result.stderr


def test_unknown_rule() -> None:
    result = run("--rule", "KEEPALIVE_TIMEOT", "-", stdin=LOG)
    assert result.exit_code == 2
    assert "KEEPALIVE_TIMEOUT" in result.stderr


def test_lists_rules() -> None:
    lines = run("--list-rules").stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(RULES)


def test_output_file(tmp_path: Path) -> None:
    output = tmp_path / "found.json"
    assert run("-o", output, "-", stdin=LOG).stdout == ""
    assert json.loads(output.read_text())["findings"]
    assert output.stat().st_mode & 0o077 == 0


def test_redaction_leaves_out_free_text() -> None:
    log = "2026-11-22 21:45:10.120+0000: 1: error : f:1 : Cannot recv data: password=hunter2 in here\n"
    for what in ("--redact", "--redact=all"):
        assert "hunter2" not in run(what, "-", stdin=log).output


def test_api_gives_the_same_objects(tmp_path: Path) -> None:
    log = tmp_path / "daemon.log"
    log.write_text(LOG)
    with libvirt_proto.open(log) as capture:
        (finding,) = capture.diagnose().findings
    assert finding.rule == "KEEPALIVE_TIMEOUT"


def test_docs_describe_every_rule(root: Path) -> None:
    page = (root / "docs" / "diagnose.md").read_text("utf-8")
    for rule in RULES.values():
        assert f"| `{rule.id}` | {rule.severity} | {rule.summary} |" in page
        assert f"\n### {rule.id}\n" in page
