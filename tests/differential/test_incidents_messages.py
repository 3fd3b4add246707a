"""Incidents of sizes, streams, versions and frequent calls, and normal traffic, run live."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.differential.incidents.catalog import MESSAGES
from tests.differential.incidents.live import check, incidents_of
from tests.differential.incidents.scene import Incident


@pytest.mark.parametrize("incident", incidents_of(*MESSAGES))
def test_finds_the_rules_of_an_incident(
    incident: Incident, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    check(incident, tmp_path, request)
