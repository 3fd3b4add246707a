"""`libvirt-proto trace`: the words behind it, and the options of each."""

from __future__ import annotations

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from libvirt_proto import cli

WRONG = [
    (["--comm", "virsh", "events"], "--comm stands before events"),
    (["--format", "jsonl", "qemu-monitor"], "--format stands before qemu-monitor"),
    (["event"], "No such command 'event'"),
    (["events", "--server-only"], "No such option '--server-only'"),
    (["events", "-w", "x"], "No such option '-w'"),
    (["events", "--format", "pretty"], "'pretty' is not one of 'monitor', 'jsonl'"),
    (["events", "--pretty-json"], "No such option '--pretty-json'"),
    (["qemu-monitor", "--pretty-json", "--format", "jsonl"], "--pretty-json is for --format monitor"),
]


@pytest.mark.parametrize(("arguments", "words"), WRONG)
def test_wrong_usage(arguments: list[str], words: str) -> None:
    result = CliRunner().invoke(cli.main, ["trace", *arguments])
    assert result.exit_code == 2
    assert words in result.stderr


def test_a_file_without_probes() -> None:
    for word, what in (("events", "event loop"), ("qemu-monitor", "QEMU monitor")):
        result = CliRunner().invoke(cli.main, ["trace", word, "--library", "/bin/sh", "--probes"])
        assert result.exit_code == 1
        assert f"/bin/sh: no probe of libvirt's {what} is in there" in result.stderr


def test_completion() -> None:
    complete = ShellComplete(cli.main, {}, "libvirt-proto", "_X")
    assert {item.value for item in complete.get_completions(["trace"], "")} == {"events", "qemu-monitor"}
    found = {item.value for item in complete.get_completions(["trace", "qemu-monitor"], "--")}
    assert {"--pretty-json", "--pid", "--probes"} <= found
    assert "--server-only" not in found
