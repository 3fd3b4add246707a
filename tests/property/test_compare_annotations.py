"""`compare` on random permissions: its rules agree with the callers who pass the checks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from libvirt_proto_codegen.compare import compare
from libvirt_proto_codegen.findings import Finding
from libvirt_proto_codegen.reader import read_specification
from libvirt_proto_codegen.resolve import resolve
from libvirt_proto_codegen.schema import Schema
from libvirt_proto_codegen.source import Source
from tests.support.examples import examples

PERMISSIONS = ("domain:read", "domain:write", "connect:search_domains")
CONDITIONS = (":FORCE", ":!CONFIG|LIVE", "::source:AGENT")
#: An @acl line: a permission, and the condition under which it is checked ("" for always).
Line = tuple[str, str]
Rules = Sequence[Line]
RULES = st.lists(st.tuples(st.sampled_from(PERMISSIONS), st.sampled_from(["", *CONDITIONS])), max_size=4)


def schema(acl: Rules | None, filters: Sequence[str] = ()) -> Schema:
    lines = [] if acl is None else [f"@acl: {permission}{condition}" for permission, condition in acl]
    lines += ["@acl: none"] if acl == [] else []
    lines += [f"@aclfilter: {permission}" for permission in filters]
    text = "const A_PROGRAM = 7; const A_PROTOCOL_VERSION = 1;\nenum a_procedure {\n/**\n"
    text += "\n".join(f" * {line}" for line in lines) + "\n */\nA_PROC_ONE = 1 };\n"
    return resolve([read_specification(Source("a_protocol.x", text))], externals={}, release=None, inputs=())


def subsets(items: Sequence[str]) -> list[frozenset[str]]:
    return [
        frozenset(each)
        for each in chain.from_iterable(combinations(items, size) for size in range(len(items) + 1))
    ]


def passing(rules: Rules) -> set[tuple[frozenset[str], frozenset[str]]]:
    """The pairs of a caller's permissions and a call's conditions that pass every line that applies."""
    return {
        (held, true)
        for held in subsets(PERMISSIONS)
        for true in subsets(CONDITIONS)
        if all(permission in held for permission, condition in rules if not condition or condition in true)
    }


def expected(old: set[object], new: set[object], prefix: str) -> list[str]:
    if old == new:
        return []
    return [f"{prefix}_{'TIGHTENED' if new < old else 'LOOSENED' if old < new else 'CHANGED'}"]


def rules(findings: Sequence[Finding]) -> list[str]:
    assert all(finding.category == "ACCESS" and finding.reaches == ("a.one",) for finding in findings)
    return [finding.rule for finding in findings]


@settings(max_examples=examples(200))
@given(RULES, RULES)
def test_rule_states_who_passes(old: Rules, new: Rules) -> None:
    found = rules(compare(schema(old), schema(new)))
    if passing(old) == passing(new):
        assert found == ([] if set(old) == set(new) else ["ACL_REWRITTEN"])
    else:
        assert found == expected(set(passing(old)), set(passing(new)), "ACL")


@settings(max_examples=examples(60))
@given(RULES)
def test_annotation_appears_and_disappears(acl: Rules) -> None:
    assert rules(compare(schema(None), schema(acl))) == ["ACL_ADDED"]
    assert rules(compare(schema(acl), schema(None))) == ["ACL_REMOVED"]


FILTERS = st.lists(st.sampled_from(PERMISSIONS), max_size=3)


@settings(max_examples=examples(60))
@given(FILTERS, FILTERS)
def test_rule_states_which_objects_are_left_out(old: Sequence[str], new: Sequence[str]) -> None:
    shown = [set(passing([(permission, "") for permission in each])) for each in (old, new)]
    assert rules(compare(schema([], old), schema([], new))) == expected(*shown, "ACL_FILTER")
