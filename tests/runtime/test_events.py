"""The values that inputs give."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import msgspec

from libvirt_proto.events import NoticeCode


def test_documentation_lists_every_notice_code(root: Path) -> None:
    text = (root / "docs" / "notices.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z-]+)` \| (.+) \|$", text, re.MULTILINE)
    assert rows == [(code.value, code.meaning) for code in NoticeCode]


def test_notice_codes_are_strings_wherever_they_go() -> None:
    code = NoticeCode.LOST_BYTES
    assert (str(code), f"{code}", code) == ("lost-bytes",) * 3
    assert NoticeCode("lost-bytes") is code
    assert pickle.loads(pickle.dumps(code)) is code
    assert msgspec.json.encode({code: [code]}) == b'{"lost-bytes":["lost-bytes"]}'


def test_runtime_gives_no_notice_without_a_listed_code(root: Path) -> None:
    calls = re.compile(r'(?:\bNotice|\.notice|\b_notice)\(\s*"|_pass\(stream, "')
    for path in (root / "libvirt_proto").rglob("*.py"):
        assert not calls.search(path.read_text(encoding="utf-8")), path
