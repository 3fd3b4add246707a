"""docs/compare.md has the rules as the code has them."""

from __future__ import annotations

import re
from pathlib import Path

from libvirt_proto_codegen.compare import CATEGORIES, RULES


def table() -> str:
    """The table of the rules as it should stand in the docs."""
    lines = ["| category | rule | what it finds |", "|---|---|---|"]
    for category in CATEGORIES.values():
        lines.append(f"| **{category.id}** | | {category.summary} |")
        lines += [f"| | `{r.id}` | {r.summary} |" for r in RULES.values() if r.category == category.id]
    return "\n".join(lines) + "\n"


def test_the_table_of_rules(root: Path) -> None:
    assert table() in (root / "docs" / "compare.md").read_text(encoding="utf-8")


def test_a_rule_says_in_one_sentence_what_it_finds() -> None:
    for id_, rule in RULES.items():
        assert rule.id == id_
        assert re.fullmatch(r"[A-Z][^.]+\.", rule.summary)
