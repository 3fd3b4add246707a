"""The public API, the output of every command and the modules that short ones load match the snapshots."""

from __future__ import annotations

import pytest

from libvirt_proto.cli.main import COMMANDS as SUBCOMMANDS
from tests.snapshots import snapshots


@pytest.mark.parametrize("name", snapshots.commands())
def test_output_matches_snapshot(name: str) -> None:
    kept = (snapshots.COMMANDS / f"{name}.txt").read_text(encoding="utf-8")
    assert snapshots.run(snapshots.commands()[name]) == kept


def test_public_api_matches_snapshot() -> None:
    assert snapshots.api() == snapshots.API.read_text(encoding="utf-8")


@pytest.mark.native
def test_short_commands_load_the_modules_in_the_snapshot() -> None:
    """Start-up is most of their time: whatever this adds should be worth it."""
    assert snapshots.startup() == snapshots.STARTUP.read_text(encoding="utf-8")


#: Modules that take long to load, or load many others.
SLOW = {
    *(
        "asyncio",
        "bz2",
        "dataclasses",
        "gzip",
        "hashlib",
        "importlib.metadata",
        "ipaddress",
        "json",
        "logging",
    ),
    *("lzma", "pathlib", "random", "rich", "shutil", "socket", "subprocess", "tempfile", "tomllib", "urllib"),
}


@pytest.mark.native
@pytest.mark.parametrize("command", snapshots.SHORT_COMMANDS)
def test_short_commands_load_no_slow_module(command: str) -> None:
    loaded = snapshots.modules(command)
    assert "click" in loaded
    assert not loaded & SLOW


def test_every_subcommand_has_its_help_in_a_snapshot() -> None:
    assert {f"{name}-help" for name in SUBCOMMANDS} <= set(snapshots.commands())


def test_every_snapshot_belongs_to_a_command() -> None:
    assert {path.stem for path in snapshots.COMMANDS.glob("*.txt")} == set(snapshots.commands())
