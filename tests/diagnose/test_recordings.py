"""Recordings of real daemons, each with what `diagnose` must find in it, and nothing else.

`recordings/NAME/expected.toml` has a list of rules for each file of the recording (without `.gz`), and for
all of them together as `all`; `first` is a part of the first sentence of that diagnosis. `ports` are the
daemon's ports, if a capture has connections without libvirt's messages.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from libvirt_proto import open as open_capture
from libvirt_proto import registry
from libvirt_proto.diagnose.diagnoser import Diagnoser
from libvirt_proto.diagnose.findings import Diagnosis
from libvirt_proto.diagnose.rules import RULES

RECORDINGS = Path(__file__).parent / "recordings"
#: Keys of expected.toml that are not files.
OTHER_KEYS = {"all", "first", "ports"}


def expected(name: str) -> dict[str, Any]:
    return tomllib.loads((RECORDINGS / name / "expected.toml").read_text("utf-8"))


NAMES = sorted(path.parent.name for path in RECORDINGS.glob("*/expected.toml"))


def diagnosis(*files: Path, ports: Iterable[int] = ()) -> Diagnosis:
    diagnoser = Diagnoser(registry.default())
    for file in files:
        diagnoser.source(str(file))
        with open_capture(file, ports=ports) as capture:
            capture.examine(diagnoser)
    return diagnoser.finish()


def recorded(name: str, file: str) -> Path:
    """A file of a recording, which may be compressed."""
    path = RECORDINGS / name / file
    return path if path.exists() else path.with_name(f"{file}.gz")


def rules(found: Diagnosis) -> list[str]:
    return sorted({finding.rule for finding in found.findings})


def each_file() -> Iterator[tuple[str, str]]:
    for name in NAMES:
        for file in sorted(expected(name).keys() - OTHER_KEYS):
            yield name, file


@pytest.mark.parametrize(("name", "file"), [*each_file()])
def test_finds_exactly_the_expected_rules(name: str, file: str) -> None:
    wanted = expected(name)
    found = diagnosis(recorded(name, file), ports=wanted.get("ports", ()))
    assert rules(found) == sorted(wanted[file])


@pytest.mark.parametrize("name", [name for name in NAMES if "all" in expected(name)])
def test_all_files_give_one_diagnosis(name: str) -> None:
    wanted = expected(name)
    files = (recorded(name, file) for file in sorted(wanted.keys() - OTHER_KEYS))
    found = diagnosis(*files, ports=wanted.get("ports", ()))
    assert rules(found) == sorted(wanted["all"])
    if found.findings:
        assert wanted["first"] in found.findings[0].summary


def test_every_recording_has_its_expectation() -> None:
    folders = {path.name for path in RECORDINGS.iterdir() if path.is_dir()}
    assert folders == set(NAMES)


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_has_an_example(rule: str) -> None:
    """A recording in which a rule finds something, and one in which it finds nothing."""
    found = [rule in expected(name).get("all", ()) for name in NAMES]
    assert True in found
    assert False in found
