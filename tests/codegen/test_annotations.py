"""Annotations in libvirt's comments, and the declarations they apply to."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from libvirt_proto.codec.annotations import AccessRule, Annotations
from libvirt_proto_codegen.model import EnumDef, Specification, StructDef
from libvirt_proto_codegen.reader import read_source, read_specification
from libvirt_proto_codegen.source import Source


def annotations(members: str) -> dict[str, Annotations | None]:
    (enum,) = read_specification(Source("a.x", f"enum e {{{members}}};")).definitions
    assert isinstance(enum, EnumDef)
    return {member.name: member.annotations for member in enum.body.members}


def inserts(text: str) -> tuple[int | None, list[int | None]]:
    (struct,) = read_specification(Source("a.x", text)).definitions
    assert isinstance(struct, StructDef)
    return struct.insert, [field.insert for field in struct.body.fields]


def test_parses_every_annotation() -> None:
    found = annotations("""
    /**
     * @generate: server
     * @readstream: 1
     * @writestream: 2
     * @sparseflag: VIR_STORAGE_VOL_UPLOAD_SPARSE_STREAM
     * @priority: high
     * @acl: domain:read
     * @acl: domain:save:!VIR_DOMAIN_AFFECT_CONFIG|VIR_DOMAIN_AFFECT_LIVE
     * @acl: domain:write::source:VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT
     * @acl: domain:write:FLAG:source:VALUE
     * @aclfilter: storage_pool:getattr
     * @aclfilter: domain:read
     */
    A = 1
    """)
    assert found["A"] == Annotations(
        generate="server",
        readstream=1,
        writestream=2,
        sparseflag="VIR_STORAGE_VOL_UPLOAD_SPARSE_STREAM",
        priority="high",
        acl=(
            AccessRule("domain", "read"),
            AccessRule("domain", "save", "!VIR_DOMAIN_AFFECT_CONFIG|VIR_DOMAIN_AFFECT_LIVE"),
            AccessRule("domain", "write", None, "source", "VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT"),
            AccessRule("domain", "write", "FLAG", "source", "VALUE"),
        ),
        aclfilter=(AccessRule("storage_pool", "getattr"), AccessRule("domain", "read")),
    )


@pytest.mark.parametrize(
    "comment",
    [
        "/** @generate: both */",
        "/* @generate: both */",
        "/**\n * @generate:both\n */",
        "/**\r\n * @generate:\tboth \r\n */",
        "/**\n @generate : both*/",
        "// @generate: both\n",
        "/* other */ /** @generate: both */",
        "/* @generate: none */\n\n/** @generate: both */",
    ],
)
def test_accepts_every_spelling(comment: str) -> None:
    assert annotations(f"\n{comment} A = 1") == {"A": Annotations(generate="both")}


@pytest.mark.parametrize(
    "comment",
    [
        "",
        "/**/",
        "/***/",
        "/* A plain comment. */",
        "/* - @generate: none|client|server|both */",
        "/** see @generate: both */",
        "/** @Generate: both */",
        "/** @unknown: whatever */",
        "/** @generate both */",
        "/* The autogen words stand behind. */",
    ],
)
def test_ignores_comments_without_annotations(comment: str) -> None:
    assert annotations(f"\n{comment}\nA = 1") == {"A": None}


def test_acl_none_differs_from_missing_acl() -> None:
    assert annotations("/** @acl: none */ A") == {"A": Annotations(acl=())}


@pytest.mark.parametrize(
    ("comment", "expected"),
    [
        ("autogen autogen", Annotations(generate="both")),
        ("autogen skipgen", Annotations(generate="server")),
        ("skipgen autogen", Annotations(generate="client")),
        ("skipgen skipgen", Annotations(generate="none")),
        ("skipgen skipgen priority:high", Annotations(generate="none", priority="high")),
        ("autogen autogen | readstream@2", Annotations(generate="both", readstream=2)),
        (
            "autogen skipgen  priority:low|writestream@1",
            Annotations(generate="server", priority="low", writestream=1),
        ),
    ],
)
def test_accepts_annotations_of_older_releases(comment: str, expected: Annotations) -> None:
    assert annotations(f"A = 1, /* {comment} */\nB = 2 /*{comment}*/\n") == {"A": expected, "B": expected}


def test_comment_applies_to_its_line_or_the_next_member() -> None:
    found = annotations("""
    /* Each function must have comments such as:
     * - @generate: none
     */
    /** @generate: both */
    A = 1, /* an aside */ /* @priority: low */
    /* another */ B = 2, /** @priority: low
    */
    C = 3,
    // autogen autogen
    D = 4,

    /** @generate: client */ E = 5, /* @priority: high */ F = 6
    /* autogen autogen */""")
    assert found == {
        "A": Annotations(generate="both", priority="low"),
        "B": Annotations(priority="low"),
        "C": None,
        "D": Annotations(generate="both"),
        "E": Annotations(generate="client", priority="high"),
        "F": None,
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("struct a {\n  int x; /* insert@1 */\n  int y;\n};", (None, [1, None])),
        ("struct a { /* insert@2 */\n  int x;\n};", (2, [None])),
        ("struct a {/*insert@2*/ int x<5>;/*insert@1*/ };", (2, [1])),
        ("struct a {\n  int x<A>; /* (char *) */ /* insert@3 */\n};", (None, [3])),
        ("struct a {\n  int x<>; // insert@12\n  int y[4] ; /* insert@4 */ };", (None, [12, 4])),
        ("struct a {\n  int x; int y; /* insert@1 */\n};", (None, [None, 1])),
        ("struct a {\n  int x;\n  /* insert@1 */\n  int y;\n};", (None, [None, None])),
        ("struct a\n{ /* insert@1 */ int x; };", (1, [None])),
        ("struct a { /* no insert@1 */ int x; /* see insert@1 */ };", (None, [None])),
        ("struct a { int *x\n; /* insert@1 */ };", (None, [1])),
    ],
)
def test_insert(text: str, expected: tuple[int | None, list[int | None]]) -> None:
    assert inserts(text) == expected


def members(specification: Specification) -> list[Annotations]:
    return [
        member.annotations
        for definition in specification.definitions
        if isinstance(definition, EnumDef)
        for member in definition.body.members
        if member.annotations
    ]


def count(pattern: str, text: str) -> int:
    return len(re.findall(pattern, text, re.MULTILINE))


def test_annotation_counts_match_libvirt_files(shared: Path) -> None:
    """Annotations are counted line by line, without regard to their declarations."""
    files = sorted((shared / "libvirt").glob("*/*.x"))
    assert files
    total = 0
    for path in files:
        source = read_source(path)
        specification = read_specification(source)
        said = members(specification)
        text = source.text
        old = count(r"/\* (?:auto|skip)gen (?:auto|skip)gen\b", text)
        assert sum(each.generate is not None for each in said) == old + count(r"^ +\* @generate:", text), path
        assert sum(each.generate == "client" for each in said) == count(
            r"/\* skipgen autogen\b|\* @generate: ?client$", text
        )
        assert sum(each.generate == "server" for each in said) == count(
            r"/\* autogen skipgen\b|\* @generate: ?server$", text
        )
        assert sum(each.priority == "high" for each in said) == count(r"priority: ?high\b", text), path
        assert sum(each.readstream is not None for each in said) == count(r"readstream(?:: |@)\d", text), path
        assert sum(each.writestream is not None for each in said) == count(r"writestream(?:: |@)\d", text), (
            path
        )
        assert sum(each.sparseflag is not None for each in said) == count(r"^ +\* @sparseflag:", text), path
        assert sum(each.acl == () for each in said) == count(r"\* @acl: none$", text), path
        rules = [str(rule) for each in said for rule in each.acl or ()]
        assert rules == re.findall(r"^ +\* @acl: (?!none$)(.*)$", text, re.MULTILINE), path
        filters = [str(rule) for each in said for rule in each.aclfilter]
        assert filters == re.findall(r"^ +\* @aclfilter: (.*)$", text, re.MULTILINE), path
        structs = [each for each in specification.definitions if isinstance(each, StructDef)]
        numbers = [
            number
            for struct in structs
            for number in (struct.insert, *(field.insert for field in struct.body.fields))
            if number is not None
        ]
        assert numbers == [int(number) for number in re.findall(r"/\* insert@(\d+) \*/", text)], path
        total += len(said) + len(numbers)
    assert total > 1000
