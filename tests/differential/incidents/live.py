"""Checks that an incident, run live, is recognised. Its tests are in several files, which run in parallel."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType

import pytest

from tests.differential.incidents.scene import Incident, record
from tests.support.diagnoses import file_findings
from tests.support.incidents import expected, expected_rules, recorded, rules

#: Attempts for an incident, which is over in seconds.
ATTEMPTS = 3
TOOLS = ("libvirtd", "virsh", "virt-admin", "tcpdump")


def system_test(incident: Incident) -> pytest.MarkDecorator:
    """Return the mark for the tools that an incident needs."""
    return pytest.mark.system(*TOOLS, *(["gcc"] if incident.delays else []), *incident.tools)


def incidents_of(*modules: ModuleType) -> list[object]:
    """Return parameters for the incidents of modules, except those that need installations of other
    releases."""
    incidents = [incident for module in modules for incident in module.INCIDENTS if not incident.roots]
    return [pytest.param(each, id=each.name, marks=system_test(each)) for each in incidents]


def check(incident: Incident, folder: Path, request: pytest.FixtureRequest) -> None:
    """Run an incident, and check that its rules are found in the recordings that must have them, and nothing
    in normal traffic. Figures and rules about speed depend on the machine, so others may be found, too; and
    a machine with other work may disturb an incident, so it may be tried again."""
    if os.geteuid() != 0:
        pytest.skip("tcpdump needs root")
    if incident.probes:
        request.getfixturevalue("tracing")
    for attempt in range(ATTEMPTS):
        problem = _problem(incident, folder / str(attempt) / incident.name)
        if problem is None:
            return
    pytest.fail(problem)


def _problem(incident: Incident, folder: Path) -> str | None:
    """Run an incident, and return what was found if that is not what must be found."""
    folder.parent.mkdir()
    ports = record(incident, folder)
    wanted = expected_rules(incident.name)
    files = {file: recorded(folder, file) for file in wanted}
    given = ports if "ports" in expected(incident.name) else ()
    found = {file: rules(file_findings(path, ports=given)) for file, path in files.items()}
    found["all"] = rules(file_findings(*files.values(), ports=given))
    if not incident.rules:
        return f"expected no finding, got {found}" if any(found.values()) else None
    wanted["all"] = sorted(incident.rules)
    missing = {file: incident.rules.intersection(wanted[file]).difference(found[file]) for file in found}
    return f"expected {wanted}, got {found}" if any(missing.values()) else None
