"""Comparison of layout files: the verdict, the differences as text, and their effect on the wire."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libvirt_proto_codegen.structs_files import Change, Comparison, compare_layouts

FILE = """\
/* -*- c -*- */
enum auth {
        NONE = 0,
        SASL = 1,
};
struct value {
        int                        type;
        union {
                int                i;
                u_int              ui;
        } value_u;
};
struct list {
        struct {
                u_int              params_len;
                value *            params_val;
        } params;
        u_int                      flags;
        char                       model[32];
        name                       who;
};
"""


def changes(*replacements: tuple[str, str]) -> tuple[Change, ...]:
    """The differences between the file and definitions whose text, without indentation, has the
    replacements."""
    ours = "\n".join(" ".join(line.split()) for line in FILE.splitlines())
    for old, new in replacements:
        assert ours.count(old) == 1, old
        ours = ours.replace(old, new)
    found = compare_layouts(FILE, ours)
    assert found.verdict == "differs"
    return found.changes


def test_equal_files() -> None:
    assert compare_layouts(FILE, FILE) == Comparison("equal")


def test_ignores_white_space_like_diff_b() -> None:
    there = FILE.replace("SASL = 1", "SASL       = 1").replace(
        "        u_int                      f", "  u_int f"
    )
    assert compare_layouts(there, FILE) == Comparison("white space", (4, 18))
    everywhere = FILE.count("\n")
    assert compare_layouts(FILE.replace("\n", "\r\n"), FILE) == Comparison("white space", crlf=everywhere)
    mixed = there.replace("\n", "\r\n", 5)
    assert compare_layouts(mixed, FILE) == Comparison("white space", (4, 18), crlf=5)
    assert compare_layouts(FILE.replace("};\nstruct list", "} ;\nstruct list"), FILE).verdict == "spelling"
    assert compare_layouts(FILE.replace("\n        u_int   ", "\nu_int   "), FILE).verdict == "spelling"


@pytest.mark.parametrize(
    "there",
    [
        FILE.replace("\n", "\r\n"),
        FILE.replace("\n", " \t\n"),
        FILE.replace("        ", "\t"),
        FILE.replace(" = ", "="),
        FILE.replace("        int  ", "int  "),
        FILE.replace("\nstruct list", "\n\nstruct list"),
        FILE.replace(" 1,", "\N{NO-BREAK SPACE}1,"),
        FILE.removesuffix("\n"),
        FILE + "\n",
        FILE + "  ",
    ],
)
def test_agrees_with_diff_b(tmp_path: Path, there: str) -> None:
    """White space is judged as by the tool that libvirt's build calls."""
    (tmp_path / "there").write_text(there, newline="")
    (tmp_path / "ours").write_text(FILE)
    diff = subprocess.run(["diff", "-b", tmp_path / "there", tmp_path / "ours"], capture_output=True)
    assert diff.returncode in (0, 1)
    assert (compare_layouts(there, FILE).verdict == "white space") is (diff.returncode == 0)


def test_accepts_equal_layout_in_other_spelling() -> None:
    assert compare_layouts("/* ours */\n" + FILE, FILE) == Comparison("spelling")
    assert compare_layouts(FILE.replace("int     ", "int /* of what */"), FILE) == Comparison("spelling")


@pytest.mark.parametrize(
    ("old", "new", "title", "place", "what", "wire"),
    [
        (
            "u_int flags",
            "uint64_t flags",
            "struct list",
            "list.flags",
            "u_int in the file, uint64_t in the definitions",
            "changes",
        ),
        (
            "model[32]",
            "model[64]",
            "struct list",
            "list.model",
            "char [32] in the file, char [64] in the definitions",
            "changes",
        ),
        (
            "value * params_val",
            "other * params_val",
            "struct list",
            "list.params",
            "value<> in the file, other<> in the definitions",
            "unclear",
        ),
        (
            "name who",
            "name * who",
            "struct list",
            "list.who",
            "name in the file, name * in the definitions",
            "unclear",
        ),
        ("name who", "name whom", "struct list", "list.whom", "named who in the file", "same"),
        (
            "name who;\n",
            "name who;\nint more;\n",
            "struct list",
            "list.more",
            "only in the definitions (int)",
            "changes",
        ),
        ("name who;\n", "", "struct list", "list.who", "only in the file (name)", "changes"),
        (
            "u_int ui;\n",
            "u_int ui;\ndouble d;\n",
            "struct value",
            "value.value_u.d",
            "only in the definitions (double)",
            "same",
        ),
        ("u_int ui;\n", "", "struct value", "value.value_u.ui", "only in the file (u_int)", "changes"),
        ("SASL = 1", "SASL = 2", "enum auth", "SASL", "1 in the file, 2 in the definitions", "changes"),
        ("SASL = 1", "TLS = 1", "enum auth", "TLS", "1 is named SASL in the file", "same"),
        (
            "SASL = 1,\n",
            "SASL = 1,\nPOLKIT = 2,\n",
            "enum auth",
            "POLKIT",
            "only in the definitions (2)",
            "same",
        ),
        ("SASL = 1,\n", "", "enum auth", "SASL", "only in the file (1)", "changes"),
        (
            "NONE = 0,\nSASL = 1,\n",
            "SASL = 1,\nNONE = 0,\n",
            "enum auth",
            "auth",
            "the order of its members differs",
            "same",
        ),
        (
            "int i;\nu_int ui;\n",
            "u_int ui;\nint i;\n",
            "struct value",
            "value",
            "the order of its arms differs",
            "same",
        ),
        (
            "struct value {",
            "struct more {\nint x;\n};\nstruct value {",
            "struct more",
            "struct more",
            "only in the definitions",
            "same",
        ),
    ],
)
def test_one_difference(old: str, new: str, title: str, place: str, what: str, wire: str) -> None:
    assert changes((old, new)) == (Change(title, place, what, wire),)


def test_fields_in_another_order() -> None:
    flags, model = "u_int flags;\n", "char model[32];\n"
    what = "the order of its fields differs"
    assert changes((flags + model, model + flags)) == (Change("struct list", "list", what, "changes"),)


def test_removed_and_renamed_types() -> None:
    gone = changes(("enum auth {\nNONE = 0,\nSASL = 1,\n};\n", ""))
    assert gone == (Change("enum auth", "enum auth", "only in the file", "changes"),)
    renamed = changes(("enum auth", "enum way"))
    assert renamed == (
        Change("enum way", "enum way", "only in the definitions", "same"),
        Change("enum auth", "enum auth", "only in the file; renamed to enum way?", "unclear"),
    )


def test_anonymous_enum_does_not_affect_the_wire() -> None:
    head = "enum {\n        VIR_TYPED_PARAM_INT = 1,\n};\n"
    old = FILE.replace("enum auth", f"{head}enum auth")
    found = compare_layouts(old, FILE)
    what = "this anonymous enum is only in the file, not in the .x"
    assert (found.changes, found.wire) == ((Change("enum", "enum", what, "same"),), "same")


def test_definitions_in_another_order() -> None:
    first, rest = FILE.split("struct value {")[0], "struct value {" + FILE.split("struct value {")[1]
    found = compare_layouts(FILE, rest + first)
    assert found.changes == (Change("", "definitions", "their order differs", "same"),)


def test_overall_wire_verdict() -> None:
    """The worst of the changes."""
    same, unclear, changed = ("SASL = 1", "TLS = 1"), ("name   ", "noun   "), ("model[32]", "model[1]")
    for replacements, wire in (
        ([same], "same"),
        ([same, unclear], "unclear"),
        ([unclear, changed, same], "changes"),
    ):
        ours = FILE
        for old, new in replacements:
            ours = ours.replace(old, new)
        assert compare_layouts(FILE, ours).wire == wire


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("hello\n", "line 1: the file ends within a definition"),
        ("struct a {\n  int x;\n", "line 2: the file ends within a definition"),
        ("struct a {\n  int;\n};\n", "line 2: an entry has no name"),
        ("/* fine */\nprintf(1);\n", "line 2: unexpected '('"),
        ("};\n", "line 1: unmatched brace, or an entry without ';'"),
        ("struct a {\n int x }\n;", "line 2: unmatched brace, or an entry without ';'"),
        ("a {\n", "line 1: expected struct, union or enum before a brace"),
        ("struct a {" * 500, "line 1: more than 400 nested braces"),
    ],
)
def test_rejects_files_without_layout(text: str, why: str) -> None:
    found = compare_layouts(text, FILE)
    assert (found.verdict, found.changes) == ("unreadable", ())
    assert found.why == why


TOKENS = [
    "struct",
    "union",
    "enum",
    "a",
    "b",
    "{",
    "}",
    ";",
    ",",
    "=",
    "1",
    "-2",
    "[",
    "]",
    "*",
    "/*c*/",
    "\n",
    "(",
]


@given(st.lists(st.sampled_from(TOKENS)))
def test_any_text_parses_or_raises(words: list[str]) -> None:
    text = " ".join(words)
    found = compare_layouts(text, FILE)
    assert found.verdict in ("differs", "unreadable")
    assert found.why.startswith("line ") is (found.verdict == "unreadable")
    assert compare_layouts(text, text).verdict == "equal"
