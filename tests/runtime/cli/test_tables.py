"""Tables of every command: they fit the terminal, and --top and --wide mean the same for all."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from libvirt_proto.cli.main import main
from tests.support.terminal import on_terminals

#: Commands whose tables do not fit 80 columns, and can be --wide.
WIDE = [
    "lookup 5 16777216",
    "lookup virDomainMigrate3 domain_create_xml",
    "list procedures",
    "list types",
    "list procedures --acl domain:read",
    "describe domain_create_xml",
    "describe remote_nonnull_domain",
    "identify tests/captures/tour.pcap",
    "stats tests/captures/tour.pcap",
]
OTHERS = [
    "lookup 'unknown procedure: 350' domain:read 0x20008086",
    "list programs",
    "list enums",
    "stats tests/captures/libvirtd-rpc-info.log",
    "doctor",
    "generate --list-releases",
]
#: The bar of a command that takes long on a busy machine.
PROGRESS = re.compile(r"[^\n]*\x1b\[[^\n]*\n?")


def lines(root: Path, commands: list[str], columns: int) -> dict[str, list[str]]:
    words = {command: shlex.split(command) for command in commands}
    shown = on_terminals(words, root, {"COLUMNS": str(columns), "NO_COLOR": "1"})
    assert {command: status for command, (status, _) in shown.items() if status} == {}
    return {command: PROGRESS.sub("", text).splitlines() for command, (_, text) in shown.items()}


@pytest.mark.parametrize("columns", [80, 120])
def test_tables_fit_the_terminal(root: Path, columns: int) -> None:
    for command, found in lines(root, WIDE + OTHERS, columns).items():
        assert len(found) > 3, command
        assert [line for line in found if len(line) > columns] == [], command


def test_wide_tables_are_complete(root: Path) -> None:
    for command, found in lines(root, [f"{command} --wide" for command in WIDE], 80).items():
        assert max(map(len, found)) > 80, command
        assert "…" not in "".join(line for line in found if not line.lstrip(" *").startswith("… ")), command


@pytest.mark.parametrize("columns", [1, 20, 40, 400])
def test_any_width_shows_the_names(root: Path, columns: int) -> None:
    found = lines(root, ["lookup 5", "describe domain_create_xml"], columns)
    assert "  VIR_DOMAIN_RUNNING_UNPAUSED" in "\n".join(found["lookup 5"])
    assert "const REMOTE_STRING_MAX = 4194304;" in "\n".join(found["describe domain_create_xml"])


def test_wrapped_comments_keep_their_words(root: Path) -> None:
    def words(columns: int) -> list[str]:
        found = lines(root, ["describe domain_create_xml"], columns)["describe domain_create_xml"]
        # Changes of a constant are after it, or before it if they do not fit.
        return sorted(word for line in found for word in line.split() if word not in ("/*", "*", "*/"))

    assert words(80) == words(400)


def test_top_limits_the_rows(root: Path) -> None:
    found = lines(root, ["list procedures --top 3", "lookup 5 --top 2", "list programs --top 0"], 80)
    assert len(found["list procedures --top 3"]) == 5
    assert found["list procedures --top 3"][-1].startswith("… ")
    assert "  VIR_DOMAIN_EVENT_STARTED_RECREATED" in found["lookup 5 --top 2"][-2]
    assert found["lookup 5 --top 2"][-1] == "  … 24 more (--all)"
    assert found["list programs --top 0"] == ["… 8 more"]
    rows = CliRunner().invoke(main, ["list", "types", "--top", "4", "--format", "json"]).stdout
    assert len(json.loads(rows)) == 4
    rows = CliRunner().invoke(main, ["list", "types", "--top", "4"]).stdout
    assert len(rows.splitlines()) == 4
