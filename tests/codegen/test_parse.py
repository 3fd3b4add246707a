"""Accepted and rejected input: files, characters, sizes. tests/invalid has the syntax errors."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from libvirt_proto_codegen.errors import DefinitionError
from libvirt_proto_codegen.parse import MAX_NESTING, MAX_PROBLEMS, MAX_TOKENS, parse
from libvirt_proto_codegen.reader import read_source, read_specification, source_of
from libvirt_proto_codegen.source import MAX_SIZE, Source
from tests.support.work import assert_linear, grown


def messages(text: str) -> list[str]:
    with pytest.raises(DefinitionError) as caught:
        read_specification(Source("a.x", text))
    return [problem.message for problem in caught.value.problems]


def test_keeps_comments_and_passthrough_lines_with_positions() -> None:
    text = '%#include "a.h"\n/* one */ const A = 1; // two\n/* % three\n%four */\n%five'
    syntax = parse(Source("a.x", text))
    assert [text[span.start : span.end] for span in syntax.comments] == [
        "/* one */",
        "// two",
        "/* % three\n%four */",
    ]
    assert [text[span.start : span.end] for span in syntax.passthrough] == ['%#include "a.h"', "%five"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "/**/",
        "//",
        "%",
        "const A=1;const B=-1;",
        "struct a{int b;};typedef a*c;",
        "typedef\fint\va\r\n;",
        "struct program { int version; version program; };",
        "const A = 1; /* const B = */ const C = 2; // const D",
    ],
)
def test_accepts_valid_definitions(text: str) -> None:
    read_specification(Source("a.x", text))


def test_percent_sign_passes_line_through_only_in_first_column() -> None:
    assert messages("const A = 1; %x\n") == ["unexpected '%': it has no meaning in XDR"]


def test_reports_one_stray_character_per_line() -> None:
    assert messages("$ $ $\nconst A = 1;\n? /* ! */ !\n") == [
        "unexpected '$': it has no meaning in XDR",
        "unexpected '?': it has no meaning in XDR",
    ]


def test_nul_byte_suggests_a_binary_file() -> None:
    with pytest.raises(
        DefinitionError, match=r"a\.x:1:6: error: unexpected U\+0000: (.|\n)*hint: is this a binary file\?"
    ):
        read_specification(Source("a.x", "const\0A = 1;"))


def test_number_of_problems_is_limited() -> None:
    found = messages("struct\n" * 100)
    assert len(found) == MAX_PROBLEMS + 1
    assert found[-1] == "a.x: more than 20 problems: the rest are not shown"
    assert len(messages("$\n" * 100)) == MAX_PROBLEMS + 1
    assert len(messages("$\n" * MAX_PROBLEMS)) == MAX_PROBLEMS


def test_parsing_resumes_at_unexpected_definition() -> None:
    assert messages("const A = 1\nconst B;\nstruct c { int d }\n;const E;\n") == [
        "expected ';' after '1'",
        "expected '=', got ';'",
        "expected ';', '[' or '<', got '}'",
    ]


def test_parsing_does_not_resume_inside_a_comment() -> None:
    assert messages("const 1;\n/*\nstruct\n*/\n// x\nconst 2;\n") == [
        "expected an identifier, got '1'",
        "expected an identifier, got '2'",
    ]


def nested(depth: int) -> str:
    return "struct a { " + "struct { " * (depth - 1) + "int x; " + "} y; " * (depth - 1) + "};"


def test_nesting_is_limited() -> None:
    read_specification(Source("a.x", nested(MAX_NESTING)))
    assert messages(nested(MAX_NESTING + 1)) == [f"more than {MAX_NESTING} nested bodies"]


def test_number_of_tokens_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_TOKENS == 100_000
    monkeypatch.setattr("libvirt_proto_codegen.parse.MAX_TOKENS", 10)
    read_specification(Source("a.x", "const A = 1;" * 2))
    assert messages("const A = 1;" * 2 + "const") == ["more than 10 tokens: is this a definition file?"]


MEBIBYTE = 2**20


@pytest.mark.parametrize(
    ("head", "unit", "count", "tail", "message"),
    [
        ("", "{", 5_000_000, "", "a.x: larger than 1 MiB"),
        ("", "/*", 2_500_000, "", "a.x: larger than 1 MiB"),
        ("", "a", 5_000_000, "", "a.x: larger than 1 MiB"),
        ("", "{", MEBIBYTE, "", "expected a definition"),
        ("struct a { ", "struct { ", 100_000, "", "more than 32 nested bodies"),
        ("struct a {\n", "struct {\n", 100_000, "", "more than 32 nested bodies"),
        ("union a switch (int x) { case 1: ", "union switch (int x) { case 1: ", 30_000, "", "more than 32"),
        ("union a switch (", "union switch (", 70_000, "", "more than 32 nested bodies"),
        ("struct a { union switch (", "struct { union switch (", 40_000, "", "more than 32 nested bodies"),
        ("enum a { ", "A,", 500_000, "", "more than 100,000 tokens"),
        ("", "%\n", 500_000, "", "more than 100,000 comments and % lines"),
        ("", "/**/", 250_000, "", "more than 100,000 comments and % lines"),
        ("", "/", MEBIBYTE - 1, "*", None),
        ("/*", "/", MEBIBYTE - 2, "", "unclosed comment"),
        ("/*", "*", MEBIBYTE - 2, "", "unclosed comment"),
        ("", "/ ", MEBIBYTE // 2, "", "unexpected '/'"),
        ("", "$", MEBIBYTE, "", "unexpected '$'"),
        ("", "-", MEBIBYTE, "", "unexpected '-'"),
        ("", "\0", MEBIBYTE, "", "unexpected U+0000"),
        ("", "\ud800", 1, "", "unexpected U+D800"),
        ("", "a", MEBIBYTE, "", "expected a definition"),
        ("const ", "a", 1_000_000, " = 1;", "expected a name of at most 255 characters"),
        ("const a = ", "9", 1_000_000, ";", "'999"),
        ("const a = -0x", "f", 1_000_000, ";", "'-0xfff"),
        ("const a = 0", "7", 1_000_000, ";", "'0777"),
        ("const a = 0", "x", 1_000_000, ";", "invalid number '0xxxxx"),
        ("", "struct a b\n", 90_000, "", "expected '{'"),
        ("enum a { /**\n", "@acl:x\n", 100_000, "*/ A };", "invalid value of @acl: 'x'"),
        ("enum a { /**\n", "@acl:a:b\n", 100_000, "*/ A };", None),
        ("enum a { /**\n@generate:", " ", 1_000_000, "x */ A };", "invalid value of @generate: 'x'"),
        ("enum a { /**\n@acl:a:b:", "A|", 400_000, "*/ A };", "invalid value of @acl: 'a:b:A|A"),
        ("enum a { A", " ", 1_000_000, "/* autogen */ };", "invalid annotation 'autogen'"),
        ("enum a { A", "/**/", 100_000, "/* autogen */ };", "invalid annotation 'autogen'"),
        ("enum a { ", "/**/", 100_000, "/** @generate: x */ A };", "invalid value of @generate: 'x'"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
def test_hostile_input_takes_linear_work(
    head: str, unit: str, count: int, tail: str, message: str | None
) -> None:
    """Calls and memory are counted at small sizes. A quadratic regular expression, which is one call, would
    not finish at the full size."""
    assert_linear(*grown(lambda size: lambda: outcome(head + unit * size + tail), min(count // 400, 1000)))
    found = outcome(head + unit * count + tail)
    if message is None:
        assert found == []
    else:
        assert found[0].startswith(message)


def outcome(text: str) -> list[str]:
    try:
        read_specification(Source("a.x", text))
    except DefinitionError as error:
        return [problem.message for problem in error.problems]
    return []


def test_reads_file_as_utf8(tmp_path: Path) -> None:
    path = tmp_path / "a.x"
    path.write_bytes(b"\xef\xbb\xbf/* \xc3\xa9 */ const A = 1;")
    source = read_source(path)
    assert (source.name, source.text) == (str(path), "/* é */ const A = 1;")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"const A = 1;\n\0const \xe9 = 1;\n", "a.x:2: invalid UTF-8: byte 0xe9 at offset 20"),
        (b"\xff\xfea\0", "a.x:1: invalid UTF-8: byte 0xff at offset 0"),
        (b" " * MAX_SIZE + b"\xff", "a.x: larger than 1 MiB: is this a definition file?"),
    ],
)
def test_rejects_invalid_utf8(data: bytes, message: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        source_of("a.x", data)
    assert [problem.message for problem in caught.value.problems] == [message]


def test_offset_includes_byte_order_mark() -> None:
    with pytest.raises(DefinitionError, match="byte 0xff at offset 4"):
        source_of("a.x", b"\xef\xbb\xbf \xff\0")


def test_latin1_is_text_in_comments_only() -> None:
    (constant,) = read_specification(source_of("a.x", b"/* \xa9 caf\xe9 */ const A = 1; // \xfc")).definitions
    assert constant.name == "A"
    with pytest.raises(DefinitionError, match=r"a\.x:2:7: error: unexpected 'é'"):
        read_specification(source_of("a.x", b"const A = 1;\nconst \xe9 = 1;\n"))


def test_utf16_gets_a_hint() -> None:
    with pytest.raises(DefinitionError, match="hint: save it as UTF-8; it looks like UTF-16"):
        source_of("a.x", "const A = 1;".encode("utf-16"))


def test_rejects_large_file(tmp_path: Path) -> None:
    path = tmp_path / "a.x"
    path.write_bytes(b"\n" * (MAX_SIZE + 1))
    with pytest.raises(DefinitionError, match="larger than 1 MiB"):
        read_source(path)
    path.write_bytes(b"\n" * MAX_SIZE)
    assert read_specification(read_source(path)).definitions == ()


@pytest.mark.parametrize(
    ("name", "reason"), [("none.x", "no such file or directory"), (".", "is a directory"), ("a\0.x", "null")]
)
def test_reports_unreadable_file(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(DefinitionError, match=reason) as caught:
        read_source(tmp_path / name)
    assert caught.value.problems[0].rule == "unreadable"


def test_threads_keep_their_comments_apart() -> None:
    def members(number: int) -> list[int | None]:
        text = "".join(
            f"enum e{i} {{ A{i} /* autogen autogen | readstream@{number} */ }};" for i in range(200)
        )
        specification = read_specification(Source("a.x", text))
        return [d.body.members[0].annotations.readstream for d in specification.definitions]  # type: ignore

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(members, range(12))) == [[number] * 200 for number in range(12)]


def test_definition_counts_match_libvirt_files(shared: Path) -> None:
    files = sorted((shared / "libvirt").glob("*/*.x"))
    assert files
    for path in files:
        source = read_source(path)
        begun = re.findall(r"^(?:const|typedef|enum|struct|union) ", source.text, re.MULTILINE)
        assert len(read_specification(source).definitions) == len(begun), path
