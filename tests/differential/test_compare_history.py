"""`compare` on libvirt's own history: known changes are found, and nothing else broke."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from libvirt_proto_codegen.compare import compare
from libvirt_proto_codegen.findings import Finding
from libvirt_proto_codegen.releases.version import version_key
from tests.differential.releases import schema_of

Texts = dict[str, dict[str, str]]
Between = Callable[[str, str], tuple[Finding, ...]]


@pytest.fixture(scope="module")
def between(releases: Texts) -> Between:
    schema = cache(lambda release: schema_of(releases[release], release))
    return cache(lambda old, new: compare(schema(old), schema(new)))


def pairs(releases: Texts) -> list[tuple[str, str]]:
    """Consecutive releases: of all releases, and of all except maintenance releases (which are published
    between a release and the next, and may lack parts of the former)."""
    ordered = sorted(releases, key=version_key)
    main = [release for release in ordered if release.count(".") == 2]
    rows = dict.fromkeys([*pairwise(ordered), *pairwise(main)])
    return [(old, new) for old, new in rows if releases[old] != releases[new]]


def counts(findings: tuple[Finding, ...]) -> Counter[tuple[str, str | None]]:
    return Counter((finding.rule, finding.program) for finding in findings)


def test_finds_renames_of_1_0_5(between: Between) -> None:
    """The object's name became the prefix: 42 procedures with 60 payload types."""
    found = between("1.0.4", "1.0.5")
    assert counts(found) == {
        ("PROCEDURE_RENAMED", "remote"): 41,
        ("PROCEDURE_RENAMED", "qemu"): 1,
        ("TYPE_RENAMED", "remote"): 58,
        ("TYPE_RENAMED", "qemu"): 2,
        ("PROCEDURE_ADDED", "remote"): 1,
    }
    for finding in found:
        if finding.rule == "TYPE_RENAMED":
            assert finding.payloads == (finding.name,)
            assert len(finding.reaches) == 1
    renamed = {f.old_symbol.name: f.symbol.name for f in found if f.old_symbol and f.symbol}
    assert renamed["REMOTE_PROC_OPEN"] == "REMOTE_PROC_CONNECT_OPEN"
    assert renamed["remote_supports_feature_args"] == "remote_connect_supports_feature_args"
    assert renamed["QEMU_PROC_MONITOR_COMMAND"] == "QEMU_PROC_DOMAIN_MONITOR_COMMAND"


def test_finds_rename_of_11_6_0(between: Between) -> None:
    found = between("11.2.0", "11.6.0")
    assert counts(found) == {("FIELD_RENAMED", "remote"): 8}
    fields = {(f.old_symbol.name, f.symbol.name) for f in found if f.old_symbol and f.symbol}
    assert fields == {("resource", "bandwidth")}
    assert len({finding.symbol.owner for finding in found if finding.symbol}) == 8


def test_finds_additions_since_10_0_0(between: Between) -> None:
    found = between("10.0.0", "12.9.0")
    added = {(f.program, f.symbol.number) for f in found if f.category == "ADDED" and f.symbol}
    assert added == {("admin", 20), *(("remote", number) for number in range(447, 457))}
    assert counts(found) == {
        ("FIELD_RENAMED", "remote"): 8,
        ("PROCEDURE_ADDED", "remote"): 10,
        ("PROCEDURE_ADDED", "admin"): 1,
        ("ACL_TIGHTENED", "remote"): 1,
    }


def test_finds_permissions_of_7_0_0(between: Between) -> None:
    """Five procedures ask for other permissions, and one for one more."""
    changed = {
        (f.rule, f.symbol.number) for f in between("4.5.0", "7.0.0") if f.category == "ACCESS" and f.symbol
    }
    assert changed == {
        ("GENERATE_CHANGED", 378),
        ("ACL_TIGHTENED", 353),
        *(("ACL_CHANGED", number) for number in (186, 235, 277, 337, 388)),
    }


def test_finds_permission_of_10_1_0(between: Between) -> None:
    [changed] = [finding for finding in between("10.0.0", "10.1.0") if finding.category == "ACCESS"]
    assert (changed.rule, changed.name) == ("ACL_TIGHTENED", "remote.node_device_define_xml")
    assert changed.after == f"{changed.before}, node_device:save"


def annotations(texts: dict[str, str]) -> dict[tuple[str, int], set[str]]:
    """(file, number) → the lines of its annotations, found by a regular expression."""
    found = {}
    for file, text in texts.items():
        for comment, number in re.findall(r"/\*\*((?:(?!\*/).)*)\*/\s*\w+_PROC_\w+ = (\d+)", text, re.DOTALL):
            found[file, int(number)] = set(re.findall(r"@(acl|aclfilter|priority): *(\S+)", comment))
    return found


def test_finds_every_changed_permission(releases: Texts, between: Between) -> None:
    """Compared with the annotations in the text, since 1.0.5, whose comments have their form."""
    total = 0
    for old, new in pairs(releases):
        if version_key(old) < version_key("1.1.0"):
            continue
        before, after = annotations(releases[old]), annotations(releases[new])
        expected = {key for key, said in after.items() if key in before and before[key] != said}
        found = {
            (finding.symbol.file, finding.symbol.number)
            for finding in between(old, new)
            if finding.symbol and finding.rule.startswith(("ACL", "PRIORITY"))
        }
        assert found == expected, (old, new)
        total += len(found)
    assert total > 10


def test_finds_added_arm_of_0_9_8(between: Between) -> None:
    [arm] = [finding for finding in between("0.9.7", "0.9.8") if finding.category != "ADDED"]
    assert (arm.rule, arm.name) == ("ARM_ADDED", "remote_typed_param_value.s")
    assert len(arm.payloads) == 9
    assert {"remote_domain_set_scheduler_parameters_args", "remote_domain_get_memory_parameters_ret"} < set(
        arm.payloads
    )


def test_moved_program(between: Between) -> None:
    """0x12341234 stays the same program, while 0x00068000 takes over its file and its short name."""
    moved, *added = between("1.0.1", "1.0.2")
    assert (moved.rule, moved.program) == ("PROGRAM_MOVED", "lxc_monitor")
    assert moved.symbol
    assert moved.old_symbol
    assert (moved.old_symbol.file, moved.symbol.file) == ("lxc_protocol.x", "lxc_monitor_protocol.x")
    assert moved.symbol.program == moved.old_symbol.program == 0x12341234
    assert [(f.rule, f.symbol.program) for f in added if f.symbol and f.program == "lxc"] == [
        ("PROGRAM_ADDED", 0x00068000)
    ]


def constants_and_bounds(texts: dict[str, str]) -> dict[str, int]:
    """The constants of remote_protocol.x that are limits, found by a regular expression."""
    text = re.sub(r"/\*.*?\*/", "", texts["remote_protocol.x"], flags=re.DOTALL)
    constants = {name: int(value) for name, value in re.findall(r"const (\w+) = (\d+);", text)}
    return {name: value for name, value in constants.items() if re.search(rf"[<\[]{name}[>\]]", text)}


def test_finds_every_raised_limit(releases: Texts, between: Between) -> None:
    """Compared with the values of the constants in the text."""
    raised = 0
    for old, new in pairs(releases):
        before, after = constants_and_bounds(releases[old]), constants_and_bounds(releases[new])
        expected = {
            (name, before[name], value)
            for name, value in after.items()
            if name in before and value > before[name]
        }
        found = {
            (finding.name, finding.before, finding.after)
            for finding in between(old, new)
            if finding.rule == "LIMIT_RAISED" and finding.program == "remote"
        }
        assert found == expected, (old, new)
        raised += len(found)
    assert raised > 20


def procedures(texts: dict[str, str]) -> dict[tuple[str, int], str]:
    """(file, number) → name, found by a regular expression."""
    return {
        (file, int(number)): name
        for file, text in texts.items()
        for name, number in re.findall(
            r"(\w+_PROC_\w+) = (\d+)", re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
        )
    }


def test_finds_every_added_procedure(releases: Texts, between: Between) -> None:
    """Compared with the numbers in the text; a new program includes its first procedures."""
    for old, new in pairs(releases):
        before, after = procedures(releases[old]), procedures(releases[new])
        findings = between(old, new)
        with_programs = {
            finding.symbol.file for finding in findings if finding.rule == "PROGRAM_ADDED" and finding.symbol
        } | {f.symbol.file for f in findings if f.rule == "PROGRAM_MOVED" and f.symbol}
        expected = {name for (file, number), name in after.items() if (file, number) not in before} - {
            name for (file, _), name in after.items() if file in with_programs
        }
        found = {
            finding.symbol.name
            for finding in findings
            if finding.rule == "PROCEDURE_ADDED"
            and finding.symbol
            and finding.symbol.file not in with_programs
        }
        assert found == expected, (old, new)


def test_docs_list_matches_history(releases: Texts, between: Between, root: Path) -> None:
    """The docs explain every WIRE finding between consecutive releases since 1.0.5."""
    text = (root / "docs" / "compare.md").read_text(encoding="utf-8")
    listed = re.findall(
        r"^\| (\S+) and (\S+) \| `(\w+)` \| `([\w.]+)` \| ([\d,]+) \| ([^|]+) \|$", text, re.M
    )
    found = [
        (old, new, finding.rule, finding.name, f"{finding.after:,}")
        for old, new in pairs(releases)
        if version_key(old) >= version_key("1.0.5")
        for finding in between(old, new)
        if finding.category == "WIRE"
    ]
    assert sorted(tuple(row[:5]) for row in listed) == sorted(found)
    assert len(found) == 17
    assert all(len(row[5]) > 20 for row in listed)


def test_only_two_releases_broke_the_wire(releases: Texts, between: Between) -> None:
    broke = {
        (old, new) for old, new in pairs(releases) if any(f.category == "WIRE" for f in between(old, new))
    }
    assert broke == {("0.9.7", "0.9.8"), ("1.1.1", "1.1.2")}


#: The reverse of each rule.
MIRRORED = {"LIMIT_RAISED": "LIMIT_LOWERED", "LIMIT_ADDED": "LIMIT_REMOVED"}


def mirrored(rule: str) -> str:
    if rule in MIRRORED:
        return MIRRORED[rule]
    return rule.replace("_ADDED", "_REMOVED")


@pytest.mark.parametrize(
    ("old", "new"), [("0.9.7", "0.9.8"), ("1.1.1", "1.1.2"), ("1.0.4", "1.0.5"), ("3.6.0", "3.7.0")]
)
def test_downgrade_has_reverse_findings(between: Between, old: str, new: str) -> None:
    """Both directions give the same differences."""
    there = Counter(mirrored(f.rule) for f in between(old, new) if not f.rule.startswith("CONSTANT"))
    back = Counter(f.rule for f in between(new, old) if not f.rule.startswith("CONSTANT"))
    assert there == back
