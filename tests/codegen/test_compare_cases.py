"""Ambiguous cases of `compare`."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from libvirt_proto_codegen.compare import compare
from libvirt_proto_codegen.findings import Finding
from libvirt_proto_codegen.reader import read_specification
from libvirt_proto_codegen.resolve import resolve
from libvirt_proto_codegen.schema import Schema
from libvirt_proto_codegen.source import Source
from tests.support.work import assert_linear, grown

HEAD = "const A_PROGRAM = 7; const A_PROTOCOL_VERSION = 1;\n"
ONE = HEAD + "enum a_procedure { A_PROC_ONE = 1 };\n"


def schema(*texts: str, **externals: int) -> Schema:
    names = ["a_protocol.x", "b_protocol.x"]
    files = [
        read_specification(Source(name, text)) for name, text in zip(names[: len(texts)], texts, strict=True)
    ]
    return resolve(files, externals=externals, release=None, inputs=())


def put(text: str, *words: object) -> str:
    """Replace @1, @2, … in the text."""
    for number, word in enumerate(words, 1):
        text = text.replace(f"@{number}", str(word))
    return text


def found(old: str, new: str) -> tuple[Finding, ...]:
    return compare(schema(old), schema(new))


def assert_comparison_is_linear(texts: Callable[[int], tuple[str, str]]) -> None:
    """Compare definitions of a size and of four times the size; `texts` gives the old and the new ones."""

    def act(size: int) -> Callable[[], object]:
        old, new = map(schema, texts(size))
        return lambda: compare(old, new)

    assert_linear(*grown(act, 100))


def brief(findings: tuple[Finding, ...]) -> list[tuple[str, str]]:
    return [(finding.rule, finding.name) for finding in findings]


def test_procedures_swap_names() -> None:
    """A name on both sides is the same procedure, whatever its number."""
    both = HEAD + "enum a_procedure { A_PROC_ONE = @1, A_PROC_TWO = @2 }; struct a_one_args { int i; };"
    findings = found(put(both, 1, 2), put(both, 2, 1))
    assert brief(findings) == [("PROCEDURE_RENUMBERED", "a.one"), ("PROCEDURE_RENUMBERED", "a.two")]


def test_existing_procedure_takes_number_of_removed_one() -> None:
    old = HEAD + "enum a_procedure { A_PROC_ONE = 1, A_PROC_TWO = 2 };"
    new = HEAD + "enum a_procedure { A_PROC_TWO = 1 };"
    removed, renumbered = found(old, new)
    assert (removed.rule, renumbered.rule) == ("PROCEDURE_REMOVED", "PROCEDURE_RENUMBERED")
    assert removed.message == "A_PROC_ONE was removed, and 1 is now A_PROC_TWO"
    assert removed.effect == "old and new peers use number 1 for different procedures"


def test_two_versions_of_one_program() -> None:
    """Versions of a program are identified by number; procedures are compared within each version."""
    old = "program P { version V1 { void A(int) = 1; } = 1; version V2 { void B(int) = 1; } = 2; } = 9;"
    new = "program P { version V2 { void B(hyper) = 1; } = 2; version V3 { void C(int) = 1; } = 3; } = 9;"
    findings = found(old, new)
    assert {finding.rule for finding in findings} == {
        "PROGRAM_VERSION_CHANGED",
        "PROCEDURE_RENAMED",
        "TYPE_CHANGED",
    }


def test_fields_swap_types() -> None:
    """Both names remain: the types of the fields changed, not the types themselves."""
    text = ONE + "struct x { int i; }; struct y { hyper h; }; struct a_one_args { @1 };"
    findings = found(put(text, "x f; y g;"), put(text, "y f; x g;"))
    assert brief(findings) == [
        ("FIELD_TYPE_CHANGED", "a_one_args.f"),
        ("FIELD_TYPE_CHANGED", "a_one_args.g"),
    ]


def test_renamed_type_with_equal_encoding() -> None:
    text = ONE + "struct x { int i<3>; }; struct y { int j<3>; }; struct a_one_args { @1 f; };"
    [finding] = found(put(text, "x"), put(text, "y"))
    assert (finding.rule, finding.before, finding.after) == ("DECLARATION_CHANGED", "x f", "y f")
    text = ONE + "struct x { int i<3>; }; struct y { int j<4>; }; struct a_one_args { @1 f; };"
    assert brief(found(put(text, "x"), put(text, "y"))) == [("FIELD_TYPE_CHANGED", "a_one_args.f")]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("enum @ { A@ = 1, B@ = 2 };", "enum @ { A@ = 2, B@ = 1 };", True),
        ("enum @ { A@ = 1, B@ = 2 };", "enum @ { A@ = 1, B@ = 3 };", False),
        ("union @ switch (int t) { case 1: int i; };", "union @ switch (int k) { case 1: int j; };", True),
        ("union @ switch (int t) { case 1: int i; };", "union @ switch (int k) { case 2: int j; };", False),
        ("union @ switch (int t) { case 1: int i; };", "union @ switch (int k) { case 1: hyper j; };", False),
        ("struct @ { int i[3]; string s<4>; };", "struct @ { int j[3]; string t<4>; };", True),
        ("struct @ { int i[3]; };", "struct @ { int j[4]; };", False),
        ("struct @ { string s<4>; };", "struct @ { string t<>; };", False),
        ("struct @ { opaque s[4]; };", "struct @ { opaque t[4]; };", True),
        ("struct @ { opaque s[4]; };", "struct @ { opaque t<4>; };", False),
        ("struct @ { int i; };", "struct @ { int i; int j; };", False),
        ("struct @ { double d; bool b; };", "struct @ { double e; bool c; };", True),
        ("struct @ { double d; };", "struct @ { float e; };", False),
        ("struct @ { int i; };", "enum @ { A@ = 1 };", False),
    ],
)
def test_equality_of_encodings(one: str, other: str, same: bool) -> None:
    """A field is declared with another type that both sides have."""
    text = ONE + one.replace("@", "x") + other.replace("@", "y") + "struct a_one_args { @1 f; };"
    [finding] = found(put(text, "x"), put(text, "y"))
    assert finding.rule == ("DECLARATION_CHANGED" if same else "FIELD_TYPE_CHANGED")


def test_type_changes_kind() -> None:
    text = ONE + "@1 struct a_one_args { x f; };"
    [finding] = found(put(text, "struct x { int i; };"), put(text, "enum x { A = 1 };"))
    assert (finding.rule, finding.name, finding.reaches) == ("TYPE_CHANGED", "x", ("a.one",))


def test_recursive_type() -> None:
    """A recursive type is compared once, and a copy under another name has the same encoding."""
    text = ONE + "struct x { @1 i; x *next; }; struct y { @1 i; y *next; }; struct a_one_args { @2 *f; };"
    assert brief(found(put(text, "int", "x"), put(text, "int", "y"))) == [
        ("DECLARATION_CHANGED", "a_one_args.f")
    ]
    findings = found(put(text, "int", "x"), put(text, "hyper", "x"))
    assert brief(findings) == [("FIELD_TYPE_CHANGED", "x.i"), ("FIELD_TYPE_CHANGED", "y.i")]
    assert [finding.reaches for finding in findings] == [("a.one",), ()]


def test_expanded_typedef() -> None:
    """Encodings are compared; a different limit of the typedef is a finding, too."""
    text = ONE + "typedef opaque x<@1>; struct a_one_args { @2 };"
    findings = found(put(text, 8, "x f;"), put(text, 8, "opaque f<9>;"))
    assert brief(findings) == [("LIMIT_RAISED", "a_one_args.f"), ("DECLARATION_CHANGED", "a_one_args.f")]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        # A separate arm for a value that the default arm covered.
        ("case 1: int i; default: void;", "case 1: int i; case 2: void; default: void;", []),
        ("case 1: int i; default: int o;", "case 1: int i; case 2: int p; default: int o;", ["ARM_RENAMED"]),
        (
            "case 1: int i; default: void;",
            "case 1: int i; case 2: int j; default: void;",
            ["ARM_TYPE_CHANGED"],
        ),
        ("case 1: int i;", "case 1: int i; default: void;", ["ARM_ADDED"]),
        # Labels move between arms.
        ("case 1: case 2: int i;", "case 1: int i; case 2: int i2;", ["ARM_RENAMED"]),
        ("case 1: case 2: int i;", "case 1: int i;", ["ARM_REMOVED"]),
        ("case 1: int i; case 2: hyper j;", "case 2: int i; case 1: hyper j;", ["ARM_TYPE_CHANGED"] * 2),
        ("case 1: int i; case 2: int j;", "case 2: int j; case 1: int i;", []),
    ],
)
def test_changed_arms(old: str, new: str, expected: list[str]) -> None:
    text = ONE + "union u switch (int type) { @1 }; struct a_one_args { u f; };"
    assert [finding.rule for finding in found(put(text, old), put(text, new))] == expected


def test_changed_discriminant() -> None:
    text = ONE + "union u switch (@1) { case 1: int i; }; struct a_one_args { u f; };"
    assert brief(found(put(text, "int type"), put(text, "int kind"))) == [("FIELD_RENAMED", "u.kind")]
    assert brief(found(put(text, "int type"), put(text, "unsigned int type"))) == [
        ("FIELD_TYPE_CHANGED", "u.type")
    ]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        # Two names for one number, either of which may be removed.
        ("X = 1, Y = 1", "X = 1", ["MEMBER_RENAMED"]),
        ("X = 1", "X = 1, Y = 1", ["MEMBER_ADDED"]),
        ("X = 1, Y = 2", "X = 2, Y = 1", ["MEMBER_RENUMBERED"] * 2),
        ("X = 1, Y = 2", "Z = 1, X = 2", ["MEMBER_RENUMBERED", "MEMBER_RENAMED", "MEMBER_ADDED"]),
    ],
)
def test_changed_members(old: str, new: str, expected: list[str]) -> None:
    text = ONE + "enum e { @1 }; struct a_one_args { e f; };"
    assert sorted(f.rule for f in found(put(text, old), put(text, new))) == sorted(expected)


def test_changed_header_constant() -> None:
    """The finding is about the constant; its place is where the constant is used."""
    text = ONE + "typedef opaque uuid[LENGTH];\nstruct a_one_args { uuid u; };"
    [finding] = compare(schema(text, LENGTH=16), schema(text, LENGTH=20))
    assert (finding.rule, finding.name, finding.before, finding.after) == (
        "FIXED_SIZE_CHANGED",
        "LENGTH",
        16,
        20,
    )
    assert finding.symbol
    assert finding.symbol.file is None
    assert finding.new
    assert finding.new.line == 3


def test_equally_named_constants_of_two_files() -> None:
    """Each constant limits the types of its own file."""
    a = ONE + "const MAX = @1; struct a_one_args { opaque o<MAX>; };"
    b = (
        (ONE + "const MAX = @1; struct a_one_args { opaque o<MAX>; };")
        .replace("A_", "B_")
        .replace("a_", "b_")
    )
    b = b.replace("= 7", "= 8")
    findings = compare(schema(put(a, 1), put(b, 1)), schema(put(a, 1), put(b, 2)))
    assert [(f.rule, f.program, f.reaches, f.symbol and f.symbol.file) for f in findings] == [
        ("LIMIT_RAISED", "b", ("b.one",), "b_protocol.x")
    ]


def test_limit_set_by_another_constant() -> None:
    """Neither constant changed: the finding is at the declaration with the limit."""
    text = ONE + "const X = 1; const Y = 2; struct a_one_args { opaque o<@1>; opaque p<X>; opaque q<Y>; };"
    [finding] = found(put(text, "X"), put(text, "Y"))
    assert finding.message == "a_one_args.o has the limit 2 (Y), had 1 (X)"


def test_constant_defined_as_another() -> None:
    """One finding, at the constant that sets the limit."""
    text = ONE + "const X = @1; const Y = X; struct a_one_args { opaque o<Y>; };"
    assert brief(found(put(text, 1), put(text, 2))) == [("LIMIT_RAISED", "Y")]


def test_constant_used_only_as_label() -> None:
    text = ONE + "const X = @1; union u switch (int t) { case X: int i; }; struct a_one_args { u f; };"
    findings = found(put(text, 1), put(text, 2))
    assert [finding.rule for finding in findings] == ["ARM_ADDED", "ARM_REMOVED"]


def test_nested_bodies() -> None:
    """Anonymous types are compared in place."""
    text = ONE + "struct @1_args { struct { @2 inner; } outer; };"
    [finding] = found(put(text, "a_one", "int"), put(text, "a_one", "hyper"))
    assert (finding.rule, finding.name) == ("FIELD_TYPE_CHANGED", "a_one_args.outer.inner")
    assert finding.reaches == ("a.one",)
    renamed = put(text, "a_two", "int").replace("A_PROC_ONE", "A_PROC_TWO")
    assert brief(found(put(text, "a_one", "int"), renamed)) == [
        ("PROCEDURE_RENAMED", "a.two"),
        ("TYPE_RENAMED", "a_two_args"),
    ]


def test_arguments_of_rpc_programs() -> None:
    """Types made for the arguments have no name, so their name cannot change."""
    text = "program P { version V { void @1(int, @2) = 1; } = 1; } = 9;"
    assert [f.rule for f in found(put(text, "A", "int"), put(text, "B", "int"))] == ["PROCEDURE_RENAMED"]
    [finding] = found(put(text, "A", "int"), put(text, "A", "hyper"))
    assert finding.rule == "FIELD_TYPE_CHANGED"


def test_empty_struct_has_no_data() -> None:
    [finding] = found(ONE, ONE + "struct a_one_args { void; };")
    assert finding.rule == "DECLARATION_CHANGED"
    assert finding.message == "A_PROC_ONE takes `a_one_args`, took nothing"


def test_renamed_and_added_fields() -> None:
    text = ONE + "struct a_one_args { @1 };"
    findings = found(
        put(text, "int a; int b; string s<9>;"), put(text, "int x; int b; string t<9>; hyper h;")
    )
    assert brief(findings) == [
        ("FIELD_ADDED", "a_one_args.h"),
        ("FIELD_RENAMED", "a_one_args.x"),
        ("FIELD_RENAMED", "a_one_args.t"),
    ]
    findings = found(put(text, "int a; hyper b;"), put(text, "hyper b; int a; int c;"))
    assert brief(findings) == [("FIELD_ADDED", "a_one_args.c"), ("FIELD_ORDER_CHANGED", "a_one_args")]


@pytest.mark.parametrize(
    "text",
    [
        "struct x@2 { opaque o<@1>; };",
        "const X@2 = @1;",
        "const X@2 = @1; struct y@2 { opaque o<X@2>; };",
        "struct x@1 { int i; };",
    ],
)
def test_large_definitions_take_linear_work(text: str) -> None:
    """Everything changed."""

    def texts(size: int) -> tuple[str, str]:
        old, new = (
            ONE + "\n".join(put(text, at + offset, at) for at in range(size)) for offset in (1, size + 1)
        )
        return old, new

    assert_comparison_is_linear(texts)


def test_many_fields_of_one_type_take_linear_work() -> None:
    def texts(size: int) -> tuple[str, str]:
        fields = "{ " + " ".join(f"int i{at};" for at in range(size)) + " };"
        text = ONE + f"struct x {fields} struct y {fields} struct a_one_args {{ "
        text += " ".join(f"@1 f{at};" for at in range(size)) + " };"
        return put(text, "x"), put(text, "y")

    assert_comparison_is_linear(texts)
    assert {finding.rule for finding in found(*texts(400))} == {"DECLARATION_CHANGED"}


def test_many_users_of_one_type_take_linear_work() -> None:
    def texts(size: int) -> tuple[str, str]:
        text = ONE + "struct x { @1 i; };\n" + "".join(f"struct u{at} {{ x f; }};" for at in range(size))
        text += "struct a_one_args { " + " ".join(f"u{at} f{at};" for at in range(size)) + " };"
        return put(text, "int"), put(text, "hyper")

    assert_comparison_is_linear(texts)
    assert brief(found(*texts(400))) == [("FIELD_TYPE_CHANGED", "x.i")]


def test_limit_by_another_name() -> None:
    """The number is equal, and nothing was replaced."""
    text = ONE + "const X = 3; struct a_one_args { opaque o<@1>; };"
    assert found(put(text, "3"), put(text, "X")) == ()


def test_procedure_findings_include_types_and_limits() -> None:
    """The finding covers the procedure's types and their limits, when it is added and when it is removed."""
    two = HEAD + "enum a_procedure { A_PROC_ONE = 1, A_PROC_TWO = 2 }; const X = 3; typedef opaque o<X>;"
    two += "struct a_two_args { o data; };"
    assert brief(found(two, ONE)) == [("PROCEDURE_REMOVED", "a.two")]
    assert brief(found(ONE, two)) == [("PROCEDURE_ADDED", "a.two")]


def test_equally_named_types_of_two_files() -> None:
    """Types that no procedure uses are compared with those of the same file."""
    both = schema("struct x { int i; };", "struct x { hyper h; };")
    assert compare(both, both) == ()
    moved = schema("struct y { int i; };", "struct x { hyper h; };")
    assert brief(compare(both, moved)) == [("TYPE_ADDED", "y")]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("@acl: o:a\n@acl: o:b", "@acl: o:b\n@acl: o:a", []),
        ("@acl: o:a", "@acl: o:a\n@acl: o:a", []),
        ("@acl: o:a", "@acl: o:a\n@acl: o:a:FLAG", ["ACL_REWRITTEN"]),
        ("@acl: o:a:FLAG", "@acl: o:a", ["ACL_TIGHTENED"]),
        ("@acl: o:a:FLAG", "@acl: o:a:!FLAG", ["ACL_CHANGED"]),
        ("@acl: o:a", "@acl: p:a", ["ACL_CHANGED"]),
        ("@acl: none", "@acl: o:a", ["ACL_TIGHTENED"]),
        ("@acl: o:a", "@acl: none", ["ACL_LOOSENED"]),
        ("", "@acl: none", ["ACL_ADDED"]),
        ("@generate: both", "@generate: both\n@priority: low", []),
        ("@priority: high", "@generate: both", ["PRIORITY_CHANGED", "GENERATE_CHANGED"]),
        ("", "@generate: none", ["GENERATE_CHANGED"]),
        ("@readstream: 1", "@writestream: 1", ["STREAM_CHANGED"]),
        ("@readstream: 1", "@readstream: 2", ["STREAM_CHANGED"]),
        ("@readstream: 0", "", ["STREAM_CHANGED"]),
        ("@sparseflag: A", "@sparseflag: B", ["SPARSE_FLAG_CHANGED"]),
    ],
)
def test_changed_annotations(old: str, new: str, expected: list[str]) -> None:
    text = HEAD + "enum a_procedure {\n/**\n@1\n*/\nA_PROC_ONE = 1 };\n"
    findings = found(put(text, old), put(text, new))
    assert [finding.rule for finding in findings] == expected
    assert {finding.category for finding in findings} <= {"ACCESS"}


def test_annotations_without_effect_say_so() -> None:
    text = HEAD + "enum a_procedure {\n/**\n@1\n*/\nA_PROC_ONE = 1 };\n"
    for old, new in (("", "@acl: none"), ("@acl: none", "")):
        [finding] = found(put(text, old), put(text, new))
        assert finding.effect == "no check on either side: @acl: none needs no permission"
    [finding] = found(put(text, "@readstream: 1"), put(text, "@readstream: 2"))
    assert finding.effect == "the same stream; it is another parameter of the C function"


def test_renamed_procedure_keeps_its_permissions() -> None:
    """A renamed procedure is compared; a new one in its place is not."""
    text = HEAD + "enum a_procedure {\n/** @acl: @1 */\nA_PROC_@2 = @3 };\n"
    renamed = found(put(text, "o:a", "ONE", 1), put(text, "o:b", "TWO", 1))
    assert brief(renamed) == [("ACL_CHANGED", "a.two"), ("PROCEDURE_RENAMED", "a.two")]
    replaced = found(put(text, "o:a", "ONE", 1), put(text, "o:b", "TWO", 2))
    assert brief(replaced) == [("PROCEDURE_REMOVED", "a.one"), ("PROCEDURE_ADDED", "a.two")]


def test_many_annotations_take_linear_work() -> None:
    def texts(size: int) -> tuple[str, str]:
        old, new = (
            HEAD + "enum a_procedure {\n/**\n" + "\n".join(f"@acl: o:p{at + offset}" for at in range(size))
            + "\n*/\nA_PROC_ONE = 1 };\n"
            for offset in (0, size)
        )  # fmt: skip
        return old, new

    assert_comparison_is_linear(texts)


PROGRAM = "const @1_PROGRAM = @2; const @1_PROTOCOL_VERSION = 1; enum @1_procedure { @1_PROC_ONE = 1 };\n"


def test_one_file_is_compared_with_the_file_of_its_name() -> None:
    """Of the other side's files, one program was not given, so it is not removed."""
    a, b = put(PROGRAM, "A", 7), put(PROGRAM, "B", 8)
    more = a + "const X = 1; typedef opaque o<9>; struct A_ONE_args { int i; };"
    assert brief(compare(schema(a, b), schema(more), new_file="a_protocol.x")) == [
        ("PAYLOAD_ADDED", "a.one"),
        ("TYPE_ADDED", "o"),
        ("CONSTANT_ADDED", "X"),
    ]
    assert brief(compare(schema(more), schema(a, b), old_file="a_protocol.x")) == [
        ("PAYLOAD_REMOVED", "a.one"),
        ("TYPE_REMOVED", "o"),
        ("CONSTANT_REMOVED", "X"),
    ]
    assert "PROGRAM_REMOVED" in {rule for rule, _ in brief(compare(schema(a, b), schema(a)))}


def test_one_file_is_compared_with_the_file_of_its_program() -> None:
    """The name of the file does not matter."""
    a, b = put(PROGRAM, "A", 7), put(PROGRAM, "B", 8)
    draft = "c_protocol.x"
    file = read_specification(Source(draft, b.replace("VERSION = 1", "VERSION = 2")))
    new = resolve([file], externals={}, release=None, inputs=())
    assert brief(compare(schema(a, b), new, new_file=draft)) == [("PROGRAM_VERSION_CHANGED", "b")]
    assert brief(compare(new, schema(a, b), old_file=draft)) == [("PROGRAM_VERSION_CHANGED", "b")]


def test_one_file_without_programs_is_compared_with_the_file_of_its_types() -> None:
    file = read_specification(Source("c.x", "struct x { hyper i; };"))
    new = resolve([file], externals={}, release=None, inputs=())
    old = schema("struct x { int i; }; struct y { int i; };", put(PROGRAM, "B", 8))
    assert brief(compare(old, new, new_file="c.x")) == [("FIELD_TYPE_CHANGED", "x.i"), ("TYPE_REMOVED", "y")]


def test_included_file_counts_for_payloads_only() -> None:
    """b uses one type of a; other changes of a are not compared."""
    a = put(PROGRAM, "A", 7) + "struct x { @1 i; }; struct y { @1 i; }; struct A_ONE_args { x f; y g; };"
    b = '%#include "a_protocol.h"\n' + put(PROGRAM, "B", 8) + "struct B_ONE_args { x f; };"
    files = {"old_file": "b_protocol.x", "new_file": "b_protocol.x"}
    old, new = schema(put(a, "int"), b), schema(put(a, "hyper") + "const MORE = 1;", b)
    [finding] = compare(old, new, **files)
    assert (finding.rule, finding.name, finding.reaches) == ("FIELD_TYPE_CHANGED", "x.i", ("b.one",))
    assert len(compare(old, new)) == 3
