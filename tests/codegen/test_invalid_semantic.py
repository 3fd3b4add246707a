"""Definitions that parse but are invalid; each file states the expected diagnostic in its head comment."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from libvirt_proto_codegen.definitions import load_schema
from libvirt_proto_codegen.errors import DefinitionError
from libvirt_proto_codegen.rules import Rule

FOLDER = Path(__file__).resolve().parent.parent / "invalid" / "semantic"
#: A file, or a folder of files that are invalid together; then the first file has the comment.
CASES = sorted(path.name for path in FOLDER.iterdir())


def problems(case: str) -> DefinitionError:
    with pytest.raises(DefinitionError) as caught:
        load_schema([Path(case)])
    return caught.value


@pytest.mark.parametrize("case", CASES)
def test_diagnostic_matches_head_comment(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FOLDER)
    path = FOLDER / case
    first = min(path.iterdir()) if path.is_dir() else path
    expected = re.match(r"/\*\n(.*?)\n\*/\n", first.read_text(encoding="utf-8"), re.DOTALL)
    assert expected is not None
    assert str(problems(case)) == expected[1]


def test_every_rule_has_a_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FOLDER)
    seen = {problem.rule for case in CASES for problem in problems(case).problems}
    assert seen == set(Rule)
