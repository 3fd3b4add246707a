"""Every file of tests/invalid/syntax gives exactly the diagnostic in its head comment."""

from __future__ import annotations

from pathlib import Path

import pytest

from libvirt_proto_codegen.errors import DefinitionError
from libvirt_proto_codegen.reader import read_specification
from libvirt_proto_codegen.source import Source
from tests.support.diagnostics import head_comment

FILES = sorted((Path(__file__).parent.parent / "invalid" / "syntax").glob("*.x"))


def test_there_are_invalid_files() -> None:
    assert len(FILES) > 50


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_diagnostic_matches_head_comment(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    with pytest.raises(DefinitionError) as caught:
        read_specification(Source(path.name, text))
    assert str(caught.value).splitlines() == head_comment(text, "//")
