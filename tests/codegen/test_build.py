"""From text to Specification: every construct of RFC 4506 §6.3, RFC 5531 §12.1 and libvirt's dialect."""

from __future__ import annotations

import pytest

from libvirt_proto_codegen.errors import DefinitionError
from libvirt_proto_codegen.model import (
    Argument,
    Builtin,
    Case,
    ConstDef,
    Declaration,
    Definition,
    EnumBody,
    EnumDef,
    EnumMember,
    Literal,
    ProcedureDef,
    ProgramDef,
    Reference,
    Shape,
    Specification,
    StructBody,
    StructDef,
    TypedefDef,
    TypeName,
    UnionBody,
    UnionDef,
    VersionDef,
)
from libvirt_proto_codegen.reader import read_specification
from libvirt_proto_codegen.source import Source, Span
from tests.support.rfc import RFC_4506_SECTION_7

#: Spans do not affect equality.
AT = Span(Source("", ""), 0, 0)

RFC_5531_SECTION_12 = """
program PING_PROG {
   version PING_VERS_PINGBACK {
      void
      PINGPROC_NULL(void) = 0;
      int
      PINGPROC_PINGBACK(void) = 1;
   } = 2;
   version PING_VERS_ORIG {
      void
      PINGPROC_NULL(void) = 0;
   } = 1;
} = 1;
"""


def definitions(text: str) -> tuple[Definition, ...]:
    return read_specification(Source("a.x", text)).definitions


def definition(text: str) -> Definition:
    (only,) = definitions(text)
    return only


def number(text: str) -> Literal:
    return Literal(int(text, 0), text, span=AT)


def reference(name: str) -> Reference:
    return Reference(name, span=AT)


def named(name: str, keyword: str | None = None) -> TypeName:
    return TypeName(name, keyword, span=AT)


def plain(kind: Builtin | TypeName, name: str) -> Declaration:
    return Declaration(name, kind, span=AT)


def string(name: str, limit: str) -> Declaration:
    return Declaration(name, Builtin.STRING, Shape.VARIABLE, reference(limit), span=AT)


def test_builds_rfc_example() -> None:
    kinds = [
        EnumMember(name, number(value), span=AT)
        for name, value in [("TEXT", "0"), ("DATA", "1"), ("EXEC", "2")]
    ]
    assert definitions(RFC_4506_SECTION_7) == (
        ConstDef("MAXUSERNAME", number("32"), span=AT),
        ConstDef("MAXFILELEN", number("65535"), span=AT),
        ConstDef("MAXNAMELEN", number("255"), span=AT),
        EnumDef("filekind", EnumBody(tuple(kinds), span=AT), span=AT),
        UnionDef(
            "filetype",
            UnionBody(
                plain(named("filekind"), "kind"),
                (
                    Case((reference("TEXT"),), None, span=AT),
                    Case((reference("DATA"),), string("creator", "MAXNAMELEN"), span=AT),
                    Case((reference("EXEC"),), string("interpretor", "MAXNAMELEN"), span=AT),
                ),
                None,
                span=AT,
            ),
            span=AT,
        ),
        StructDef(
            "file",
            StructBody(
                (
                    string("filename", "MAXNAMELEN"),
                    plain(named("filetype"), "type"),
                    string("owner", "MAXUSERNAME"),
                    Declaration("data", Builtin.OPAQUE, Shape.VARIABLE, reference("MAXFILELEN"), span=AT),
                ),
                span=AT,
            ),
            span=AT,
        ),
    )


def test_builds_rfc_program() -> None:
    null = ProcedureDef("PINGPROC_NULL", None, (), number("0"), span=AT)
    ping = ProcedureDef("PINGPROC_PINGBACK", Builtin.INT, (), number("1"), span=AT)
    assert definition(RFC_5531_SECTION_12) == ProgramDef(
        "PING_PROG",
        (
            VersionDef("PING_VERS_PINGBACK", (null, ping), number("2"), span=AT),
            VersionDef("PING_VERS_ORIG", (null,), number("1"), span=AT),
        ),
        number("1"),
        span=AT,
    )


def test_procedures_accept_several_arguments() -> None:
    program = definition("program P { version V { a F(int, struct b, unsigned) = N; } = V1; } = 0x20000001;")
    assert isinstance(program, ProgramDef)
    assert program.versions[0].procedures == (
        ProcedureDef(
            "F",
            named("a"),
            tuple(
                Argument(each, span=AT) for each in (Builtin.INT, named("b", "struct"), Builtin.UNSIGNED_INT)
            ),
            reference("N"),
            span=AT,
        ),
    )
    assert program.versions[0].number == reference("V1")
    assert program.number == Literal(0x20000001, "0x20000001", span=AT)


@pytest.mark.parametrize(
    ("spelling", "kind"),
    [
        ("int", Builtin.INT),
        ("unsigned int", Builtin.UNSIGNED_INT),
        ("unsigned", Builtin.UNSIGNED_INT),
        ("hyper", Builtin.HYPER),
        ("unsigned\n\thyper", Builtin.UNSIGNED_HYPER),
        ("char", Builtin.CHAR),
        ("unsigned char", Builtin.UNSIGNED_CHAR),
        ("short", Builtin.SHORT),
        ("unsigned/**/short", Builtin.UNSIGNED_SHORT),
        ("float", Builtin.FLOAT),
        ("double", Builtin.DOUBLE),
        ("quadruple", Builtin.QUADRUPLE),
        ("bool", Builtin.BOOL),
        ("name", named("name")),
        ("enum name", named("name", "enum")),
        ("struct name", named("name", "struct")),
        ("union name", named("name", "union")),
        ("program", named("program")),
        ("version", named("version")),
        ("integer", named("integer")),
    ],
)
def test_type_specifiers(spelling: str, kind: Builtin | TypeName) -> None:
    assert definition(f"typedef {spelling} x;") == TypedefDef(plain(kind, "x"), span=AT)


@pytest.mark.parametrize(
    ("text", "shape", "size"),
    [
        ("int x", Shape.PLAIN, None),
        ("int x[4]", Shape.FIXED, number("4")),
        ("int x [ N ]", Shape.FIXED, reference("N")),
        ("int x<0x10>", Shape.VARIABLE, number("0x10")),
        ("int x<N>", Shape.VARIABLE, reference("N")),
        ("int x<>", Shape.VARIABLE, None),
        ("int *x", Shape.OPTIONAL, None),
        ("int*x", Shape.OPTIONAL, None),
    ],
)
def test_shapes(text: str, shape: Shape, size: Literal | Reference | None) -> None:
    assert definition(f"typedef {text};") == TypedefDef(
        Declaration("x", Builtin.INT, shape, size, span=AT), span=AT
    )


def test_typedef_of_struct_with_same_name() -> None:
    assert definition("typedef struct X X;") == TypedefDef(plain(named("X", "struct"), "X"), span=AT)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("-0", 0),
        ("10", 10),
        ("-10", -10),
        ("017", 15),
        ("-017", -15),
        ("00", 0),
        ("0x20008086", 0x20008086),
        ("0XeA7bEEF", 0x0EA7BEEF),
        ("-0x10", -16),
        ("18446744073709551615", 2**64 - 1),
        ("0xffffffffffffffff", 2**64 - 1),
        ("01777777777777777777777", 2**64 - 1),
        ("0x" + "0" * 5000 + "1", 1),
        ("-9223372036854775808", -(2**63)),
    ],
)
def test_numbers_keep_their_spelling(text: str, value: int) -> None:
    assert definition(f"const A = {text};") == ConstDef("A", Literal(value, text, span=AT), span=AT)


@pytest.mark.parametrize(
    "text",
    ["08", "0x", "1e3", "0b1", "1_000", "18446744073709551616", "-9223372036854775809", "0x1" + "0" * 16],
)
def test_rejects_invalid_numbers(text: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        definition(f"const A = {text};")
    assert [problem.rule for problem in caught.value.problems] == ["bad-number"]


def test_enum_member_value_is_optional_or_a_name() -> None:
    assert definition("enum e { A, B = 5, C, D = B, E = -1 };") == EnumDef(
        "e",
        EnumBody(
            (
                EnumMember("A", None, span=AT),
                EnumMember("B", number("5"), span=AT),
                EnumMember("C", None, span=AT),
                EnumMember("D", reference("B"), span=AT),
                EnumMember("E", number("-1"), span=AT),
            ),
            span=AT,
        ),
        span=AT,
    )


def test_stacked_cases_and_default() -> None:
    union = definition(
        "union u switch (unsigned int v) { case 1: case TRUE: case -3: int a; default: hyper *b; };"
    )
    assert union == UnionDef(
        "u",
        UnionBody(
            plain(Builtin.UNSIGNED_INT, "v"),
            (Case((number("1"), reference("TRUE"), number("-3")), plain(Builtin.INT, "a"), span=AT),),
            Case((), Declaration("b", Builtin.HYPER, Shape.OPTIONAL, span=AT), span=AT),
            span=AT,
        ),
        span=AT,
    )


def test_default_may_be_void() -> None:
    union = definition("union u switch (bool v) { case TRUE: void; default: void; };")
    assert isinstance(union, UnionDef)
    assert union.body.cases == (Case((reference("TRUE"),), None, span=AT),)
    assert union.body.default == Case((), None, span=AT)


def test_void_in_struct_is_not_a_field() -> None:
    assert definition("struct x { void; };") == StructDef("x", StructBody((), span=AT), span=AT)


def test_inline_bodies_are_types() -> None:
    inner = EnumBody((EnumMember("A", None, span=AT),), span=AT)
    union = UnionBody(
        Declaration("t", inner, span=AT),
        (
            Case(
                (reference("A"),), Declaration("b", StructBody((), span=AT), Shape.VARIABLE, span=AT), span=AT
            ),
        ),
        None,
        span=AT,
    )
    body = StructBody((Declaration("u", union, Shape.OPTIONAL, span=AT),), span=AT)
    text = "struct { union switch (enum { A } t) { case A: struct { void; } b<>; } *u; }"
    assert definition(f"struct outer {text[7:]};") == StructDef("outer", body, span=AT)
    assert definition(f"typedef {text} x[2];") == TypedefDef(
        Declaration("x", body, Shape.FIXED, number("2"), span=AT), span=AT
    )


def test_file_and_includes_are_base_names() -> None:
    lines = [
        '%#include "remote_protocol.h"',
        "%#include <arpa/inet.h>",
        '%# include "a b.h"',
        "%#ifdef X",
        "%#define include <x.h>",
    ]
    text = "\n".join(lines)
    specification = read_specification(Source("some/where/qemu_protocol.x", text))
    assert specification == Specification("qemu_protocol.x", (), ("remote_protocol.h", "inet.h"), span=AT)


def test_spans_cover_names() -> None:
    text = "const A = 1; struct b { c d[A]; }; union e switch (int f) { case A: void; }; enum g { H = A };"
    constant, struct, union, enum = definitions(text)
    assert isinstance(struct, StructDef)
    assert isinstance(union, UnionDef)
    assert isinstance(enum, EnumDef)
    field = struct.body.fields[0]
    assert isinstance(field.type, TypeName)
    assert isinstance(field.size, Reference)
    member = enum.body.members[0]
    spans = [
        constant.span, struct.span, field.span, field.type.span, field.size.span,
        union.span, union.body.discriminant.span, union.body.cases[0].labels[0].span, enum.span, member.span,
    ]  # fmt: skip
    assert [text[span.start : span.end] for span in spans] == list("AbdcAefAgH")


def test_problems_follow_file_order() -> None:
    text = "typedef void;\nenum e { A = 08, B /* autogen */ };\nstruct s { opaque x; };\nconst C = 1a;\n"
    with pytest.raises(DefinitionError) as caught:
        definitions(text)
    lines = [problem.span and problem.span.line for problem in caught.value.problems]
    assert lines == [1, 2, 2, 3, 4]


def test_number_of_problems_is_limited() -> None:
    with pytest.raises(DefinitionError) as caught:
        definitions("const A = 08;\n" * 101)
    assert len(caught.value.problems) == 101
    assert str(caught.value).endswith("\na.x: more than 100 problems: the rest are not shown")


def test_name_length_is_limited() -> None:
    definitions(f"const {'a' * 255} = 1;")
    with pytest.raises(DefinitionError, match="expected a name of at most 255 characters"):
        definitions(f"const {'a' * 256} = 1;")
