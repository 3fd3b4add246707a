"""The public API and the output of every command match the snapshots."""

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


def test_every_subcommand_has_its_help_in_a_snapshot() -> None:
    assert {f"{name}-help" for name in SUBCOMMANDS} <= set(snapshots.commands())


def test_every_snapshot_belongs_to_a_command() -> None:
    assert {path.stem for path in snapshots.COMMANDS.glob("*.txt")} == set(snapshots.commands())
