"""Recordings of real daemons, each with what `diagnose` must find in it, and nothing else."""

from __future__ import annotations

import pytest

from libvirt_proto.diagnose.rules import RULES
from tests.differential.incidents.catalog import INCIDENTS
from tests.support.diagnoses import file_findings
from tests.support.incidents import RECORDINGS, expected, expected_rules, recorded, rules, with_ports

NAMES = sorted(path.parent.name for path in RECORDINGS.glob("*/expected.toml"))


@pytest.mark.parametrize(("name", "file"), [(name, file) for name in NAMES for file in expected_rules(name)])
def test_finds_exactly_the_expected_rules(name: str, file: str) -> None:
    ports = expected(name).get("ports", ())
    found = file_findings(recorded(RECORDINGS / name, file), ports=ports)
    assert rules(found) == sorted(expected_rules(name)[file])


@pytest.mark.parametrize("name", NAMES)
def test_all_files_give_one_diagnosis(name: str) -> None:
    wanted = expected(name)
    files = (recorded(RECORDINGS / name, file) for file in expected_rules(name))
    found = file_findings(*files, ports=wanted.get("ports", ()))
    assert rules(found) == sorted(wanted["all"])
    if found:
        assert wanted["first"] in found[0].summary


def test_every_recording_has_its_expectation() -> None:
    folders = {path.name for path in RECORDINGS.iterdir() if path.is_dir()}
    assert folders == set(NAMES)


def test_every_incident_is_recorded() -> None:
    assert sorted(INCIDENTS) == NAMES


@pytest.mark.parametrize("name", INCIDENTS)
def test_recordings_have_the_rules_of_their_incident(name: str) -> None:
    """The rules that the incident is about are in all recordings together, and each of them in one."""
    about = INCIDENTS[name].rules
    wanted = expected_rules(name)
    assert about <= set(expected(name)["all"])
    assert about <= {rule for each in wanted.values() for rule in each}
    assert about or not any(wanted.values())


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_has_an_example(rule: str) -> None:
    """A recording in which a rule finds something, and one in which it finds nothing."""
    found = [rule in expected(name).get("all", ()) for name in NAMES]
    assert True in found
    assert False in found


def test_new_recording_has_its_own_ports() -> None:
    text = 'first = "the TLS port 127.0.0.1:16514, not 4001"\nports = [4001, 16514]\n'
    assert with_ports(text, (5002, 16515)) == (
        'first = "the TLS port 127.0.0.1:16515, not 5002"\nports = [5002, 16515]\n'
    )
