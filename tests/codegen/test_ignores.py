"""The ignore file."""

from __future__ import annotations

import pytest

from libvirt_proto_codegen.reports.ignores import Ignore, IgnoresError, first_match, parse_ignores
from tests.support.findings import ADDED, LOWERED, REMOVED, RULES, TYPE_CHANGED

ENTRY = '[[ignore]]\nname = "b"\nreason = "so"\n\n'


def parse(text: str) -> tuple[Ignore, ...]:
    return parse_ignores(text.encode("utf-8", "surrogateescape"), "known.toml", RULES)


def test_entries_have_their_lines() -> None:
    rest = 'rule = "FIELD_REMOVED"\nprogram = "de*"\nreason = "so"\n'
    assert parse(ENTRY + "# a comment\n[[ignore]]\n" + rest) == (
        Ignore("so", name="b", file="known.toml", line=1),
        Ignore("so", rule="FIELD_REMOVED", program="de*", file="known.toml", line=6),
    )


def test_an_empty_file_ignores_nothing() -> None:
    assert parse("# nothing is known yet\n") == ()


def test_entries_in_inline_spelling_have_no_line() -> None:
    assert parse('ignore = [{name = "b", reason = "so"}]') == (Ignore("so", name="b", file="known.toml"),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            ENTRY + '[[ignore]]\nname = "c"\n',
            'known.toml:5: missing reason: state why the finding is acceptable (reason = "…")',
        ),
        (
            ENTRY + '[[ignore]]\nname = "c"\nreason = " "\n',
            "known.toml:5: expected some text in quotes for reason",
        ),
        (ENTRY + "[[ignore]]\nname = 3\n", "known.toml:5: expected some text in quotes for name"),
        (
            '[[ignore]]\nreason = "so"\n',
            "known.toml:1: this would ignore everything: give a rule, a program or a name",
        ),
        (
            '[[ignore]]\nrules = "b"\n',
            "known.toml:1: expected rule, program, name, reason, got 'rules'",
        ),
        (
            '[[ignore]]\nrule = "FIELD"\nreason = "so"\n',
            "known.toml:1: unknown rule 'FIELD' (--list-rules prints them)",
        ),
        ('[[ignored]]\nname = "b"\n', "known.toml: expected only [[ignore]], got 'ignored'"),
        ('[ignore]\nname = "b"\n', "known.toml: expected entries that begin with a line [[ignore]]"),
        ("ignore = 3\n", "known.toml: expected entries that begin with a line [[ignore]]"),
        ('ignore = [{name = "b"}]', "known.toml: entry 1: missing reason: state why"),
        ("[[ignore\n", "known.toml: not TOML: "),
        ("\udcff", "known.toml: not TOML: "),
        ("a = " + "[" * 100_000, "known.toml: not TOML: "),
    ],
)
def test_rejects_invalid_entries(text: str, message: str) -> None:
    with pytest.raises(IgnoresError) as caught:
        parse(text)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("ignore", "matched"),
    [
        (Ignore("so", rule="FIELD_REMOVED"), [REMOVED]),
        (Ignore("so", program="d*"), [TYPE_CHANGED, LOWERED, ADDED]),
        (Ignore("so", name="b.?"), [TYPE_CHANGED, REMOVED]),
        (Ignore("so", rule="FIELD_REMOVED", name="b.c"), []),
        (Ignore("so", name="demo_proc_new"), []),
    ],
)
def test_entry_selects_findings(ignore: Ignore, matched: list[object]) -> None:
    found = [each for each in (TYPE_CHANGED, LOWERED, ADDED, REMOVED) if first_match([ignore], each)]
    assert found == matched
