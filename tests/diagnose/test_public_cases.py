"""Texts of public bug reports give the right first sentence: public_cases.toml."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from libvirt_proto import open as open_capture

CASES = tomllib.loads(Path(__file__).with_name("public_cases.toml").read_text("utf-8"))


@pytest.mark.parametrize("name", CASES)
def test_first_sentence_names_the_cause(name: str) -> None:
    case = CASES[name]
    with open_capture(case["text"].encode()) as capture:
        findings = capture.diagnose().findings
    assert [finding.rule for finding in findings][:1] == [case["rule"]]
    assert re.search(case["sentence"], findings[0].summary), findings[0].summary


@pytest.mark.parametrize("name", CASES)
def test_quoted_in_a_mail(name: str) -> None:
    case = CASES[name]
    quoted = "".join(f"> {line}\n" for line in case["text"].splitlines())
    with open_capture(quoted.encode()) as capture:
        assert [finding.rule for finding in capture.diagnose().findings][:1] == [case["rule"]]
