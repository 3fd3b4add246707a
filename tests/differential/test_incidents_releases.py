"""Incidents between different releases of libvirt, run live by `make test-releases`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.differential.incidents import versions
from tests.differential.incidents.live import check
from tests.differential.incidents.scene import Incident
from tests.differential.installation import MACHINE, ROOTS, newest


# Not newer-state-change-lock: the installations have no QEMU.
@pytest.mark.releases
@pytest.mark.parametrize(
    "incident", [pytest.param(each, id=each.name) for each in versions.INCIDENTS if each.roots]
)
def test_finds_the_rules_of_an_incident(
    incident: Incident, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if not os.environ.get(ROOTS) or newest() == MACHINE:
        pytest.skip("no installation of a newer release")
    check(incident, tmp_path, request)
