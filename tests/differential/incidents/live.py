"""Checks that an incident, run live, is recognised. Its tests are in several files, which run in parallel."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType

import pytest

from tests.differential.incidents.scene import Incident, record
from tests.support.diagnoses import file_findings
from tests.support.incidents import expected, expected_rules, recorded, rules

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
    in normal traffic. Figures and rules about speed depend on the machine, so others may be found, too."""
    if os.geteuid() != 0:
        pytest.skip("tcpdump needs root")
    if incident.probes:
        request.getfixturevalue("tracing")
    ports = record(incident, folder / incident.name)
    wanted = expected_rules(incident.name)
    files = {file: recorded(folder / incident.name, file) for file in wanted}
    given = ports if "ports" in expected(incident.name) else ()
    found = {file: rules(file_findings(path, ports=given)) for file, path in files.items()}
    found["all"] = rules(file_findings(*files.values(), ports=given))
    if incident.rules:
        wanted["all"] = sorted(incident.rules)
        missing = {file: incident.rules.intersection(wanted[file]).difference(found[file]) for file in found}
        assert not any(missing.values()), found
    else:
        assert not any(found.values()), found
