"""docs/compare.md lists the rules of the code."""

from __future__ import annotations

import re
from pathlib import Path

from libvirt_proto_codegen.compare import CATEGORIES, RULES


def table() -> str:
    """The table of rules, in the form expected in the docs."""
    lines = ["| category | rule | what it finds |", "|---|---|---|"]
    for category in CATEGORIES.values():
        lines.append(f"| **{category.id}** | | {category.summary} |")
        lines += [f"| | `{r.id}` | {r.summary} |" for r in RULES.values() if r.category == category.id]
    return "\n".join(lines) + "\n"


def test_docs_list_every_rule(root: Path) -> None:
    assert table() in (root / "docs" / "compare.md").read_text(encoding="utf-8")


def test_rule_descriptions_are_one_sentence() -> None:
    for id_, rule in RULES.items():
        assert rule.id == id_
        assert re.fullmatch(r"[A-Z][^.]+\.", rule.summary)
