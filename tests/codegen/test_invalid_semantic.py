"""Definitions that parse and are wrong: every file says in its head comment what is said of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from libvirt_proto_codegen.definitions import load_schema
from libvirt_proto_codegen.errors import DefinitionError
from libvirt_proto_codegen.rules import Rule

FOLDER = Path(__file__).resolve().parent.parent / "invalid" / "semantic"
#: A file, or a folder of files that are wrong together: then the first has the comment.
CASES = sorted(path.name for path in FOLDER.iterdir())


def problems(case: str) -> DefinitionError:
    with pytest.raises(DefinitionError) as caught:
        load_schema([Path(case)])
    return caught.value


@pytest.mark.parametrize("case", CASES)
def test_says_what_its_head_comment_says(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
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
