"""Definitions that rpcgen and other compilers accept: types of C's headers, arguments, strings, dialects."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from libvirt_proto import registry
from libvirt_proto.codec.types import Bound, Integer, Named, Opaque, String, Structure
from libvirt_proto.jsonlines.decode import from_plain
from libvirt_proto.jsonlines.encode import to_plain
from libvirt_proto_codegen.definitions import load_schema
from libvirt_proto_codegen.errors import DefinitionError
from libvirt_proto_codegen.pipeline import generate
from libvirt_proto_codegen.schema import Module


def module(folder: Path, text: str, **others: str) -> Module:
    for name, other in others.items():
        (folder / f"{name}.x").write_text(other)
    path = folder / "demo.x"
    path.write_text(text)
    return load_schema([path]).by_name["demo"]


def problem(folder: Path, text: str) -> str:
    with pytest.raises(DefinitionError) as caught:
        module(folder, text)
    return str(caught.value)


@pytest.mark.parametrize(
    ("names", "bits", "signed"),
    [
        ("int8_t int16_t int32_t long short char", 32, True),
        ("uint8_t u_int8_t uint16_t u_int16_t uint32_t u_int32_t", 32, False),
        ("u_char u_short u_int u_long unsigned", 32, False),
        ("int64_t quad_t longlong_t hyper", 64, True),
        ("uint64_t u_int64_t u_quad_t u_longlong_t", 64, False),
    ],
)
def test_integer_of_c(tmp_path: Path, names: str, bits: int, signed: bool) -> None:
    for name in names.split():
        (type_,) = (t for t in module(tmp_path, f"struct s {{ {name} a; }};").types if t.name == "s")
        assert type_.max_size == bits // 8
        loaded = registry.load(tmp_path / "demo.x").modules()[0].types["s"]
        node = loaded.node
        assert isinstance(node, Structure)
        field = node.fields[0].node
        while isinstance(field, Named):
            field = loaded.types.definition(field).node
        assert isinstance(field, Integer)
        assert (field.bits, field.signed) == (bits, signed)
        data = b"\xff" * (bits // 8)
        value = -1 if signed else 2**bits - 1
        assert loaded.from_bytes(data).a == value
        assert loaded.to_bytes(loaded.from_bytes(data)) == data


@pytest.mark.parametrize(
    "written",
    ["long int", "short int", "hyper int", "unsigned long int", "unsigned short int", "unsigned hyper int"],
)
def test_int_after_an_integer_changes_nothing(tmp_path: Path, written: str) -> None:
    (type_,) = module(tmp_path, f"struct s {{ {written} a; }};").types
    (same,) = module(tmp_path, f"struct s {{ {written.removesuffix(' int')} a; }};").types
    assert type_ == same


def test_objects_of_c(tmp_path: Path) -> None:
    found = module(tmp_path, "struct s { netobj a; des_block b; bool_t c; struct opaque_auth d; netbuf e; };")
    types = found.by_name
    assert types["netobj"].node == Opaque(Bound(1024))
    assert types["opaque_auth"].max_size == 4 + 4 + 400
    assert types["s"].min_size == 4 + 8 + 4 + 8 + 8
    assert found.types[-1].name == "s"


def test_definition_takes_precedence_over_header(tmp_path: Path) -> None:
    text = "typedef unsigned hyper u_int; struct s { u_int a; uint32_t b; };"
    assert module(tmp_path, text).by_name["s"].max_size == 8 + 4
    text = '%#include "other.h"\nstruct s { u_int a; };'
    found = module(tmp_path, text, other="typedef unsigned hyper u_int;")
    assert found.by_name["s"].max_size == 8
    assert found.imports == ("other",)


def test_constants_of_headers(tmp_path: Path) -> None:
    text = (
        "union u switch (int f) { case AUTH_NONE: void; case AUTH_SYS: int x; };"
        "const AUTH_DH = 9; const A = AUTH_DH;"
    )
    found = module(tmp_path, text)
    assert [(each.name, each.value, each.header) for each in found.externals] == [
        ("AUTH_NONE", 0, "rpc/auth.h"),
        ("AUTH_SYS", 1, "rpc/auth.h"),
    ]
    assert {each.name: each.value for each in found.constants}["A"] == 9


@pytest.mark.parametrize(
    ("type_", "hint"),
    [
        ("size_t", "add 'typedef unsigned hyper size_t;' if that is what the peer sends"),
        ("uint32", "add 'typedef unsigned int uint32;' if that is what the peer sends"),
        ("time_t", "add 'typedef hyper time_t;' if that is what the peer sends"),
        (
            "uint32_tt",
            "did you mean uint32_t? Otherwise, add its definition, such as 'typedef opaque uint32_tt<>;', "
            "or the file that has it",
        ),
        ("fattr3", "add its definition, such as 'typedef opaque fattr3<>;', or the file that has it"),
    ],
)
def test_unknown_type_gets_a_typedef(tmp_path: Path, type_: str, hint: str) -> None:
    found = problem(tmp_path, f"struct s {{ {type_} a; }};")
    assert f"demo.x:1:12: error: unknown type {type_}\n" in found
    assert found.endswith(f"hint: {hint}")
    for typedef in re.findall("'(typedef .*?;)'", hint):
        assert module(tmp_path, f"{typedef} struct s {{ {type_} a; }};").by_name["s"]


def test_unknown_type_names_absent_files(tmp_path: Path) -> None:
    found = problem(tmp_path, '%#include "xdr-nfs3.h"\n%#include <a.h>\nstruct s { fattr3 a; };')
    assert found.endswith("demo.x includes xdr-nfs3.h, a.h, but xdr-nfs3.x, a.x are not in the folder")


def test_string_constant_is_a_string_in_python(tmp_path: Path) -> None:
    text = 'const GREETING = "it\'s \\"x\\" \\n"; const N = 1; struct s { int a; };'
    found = module(tmp_path, text)
    assert [(each.name, each.text) for each in found.texts] == [("GREETING", 'it\'s \\"x\\" \\n')]
    code = {each.path: each.text for each in generate(load_schema([tmp_path / "demo.x"]), "python")}[
        "demo.py"
    ]
    (line,) = (line for line in code.splitlines() if line.startswith("GREETING"))
    assert line == "GREETING: Final = " + repr('it\'s \\"x\\" \\n')
    assert registry.load(tmp_path / "demo.x").modules()[0].constants == {"N": 1}


def test_string_constant_is_not_a_number(tmp_path: Path) -> None:
    found = problem(tmp_path, 'const S = "abc";\nstruct s { int a[S]; };')
    assert "demo.x:2:18: error: expected a number, got the string S" in found
    assert "S is defined twice" in problem(tmp_path, 'const S = "abc";\nconst S = 1;')


def test_character_is_a_number(tmp_path: Path) -> None:
    text = "union u switch (char c) { case 'a': int x; case '\\n': void; }; const Z = 'Z';"
    found = module(tmp_path, text)
    assert [(each.name, each.value, each.text) for each in found.constants] == [("Z", 90, "'Z'")]
    type_ = registry.load(tmp_path / "demo.x").modules()[0].types["u"]
    assert type_.from_bytes(bytes.fromhex("00000061 00000007")).value == 7
    assert "expected one ASCII character, got ''ab''" in problem(tmp_path, "const A = 'ab';")


def test_discriminant_of_eight_bytes(tmp_path: Path) -> None:
    text = "union u switch (unsigned hyper k) { case 0xFFFFFFFFFFFFFFFF: int a; case 3: void; };"
    assert [(each.min_size, each.max_size) for each in module(tmp_path, text).types] == [(8, 12)]
    type_ = registry.load(tmp_path / "demo.x").modules()[0].types["u"]
    data = b"\xff" * 8 + bytes.fromhex("00000007")
    value = type_.from_bytes(data)
    assert (value.k, value.value) == (2**64 - 1, 7)
    assert type_.to_bytes(value) == data
    plain = to_plain(type_, value)
    assert plain["a"] == 7
    assert from_plain(type_, plain) == value


PROGRAM = """
struct foo { int a; };
program DEMO_PROG {
    version ONE {
        void NONE(void) = 0;
        void EMPTY() = 1;
        string TEXT(string) = 2;
        u_int LIMITED(string name<10>) = 3;
        foo MANY(int, string key<4>, foo *, struct foo other, unsigned) = 4;
        foo POINTER(foo *) = 5;
        foo NAMED(foo x) = 6;
    } = 1;
    version TWO {
        long NONE(long) = 0;
    } = 2;
} = 0x20000001;
"""


def test_arguments(tmp_path: Path) -> None:
    found = module(tmp_path, PROGRAM)
    one, two = found.programs
    assert [(program.short, program.number, program.version) for program in found.programs] == [
        ("demo", 0x20000001, 1),
        ("demo", 0x20000001, 2),
    ]
    parts: Mapping[str, tuple[Named | None, Named | None]] = {
        each.name: (each.args, each.ret) for each in one.procedures
    }
    nodes = {
        name: tuple(part and found.by_name[part.name].node for part in both) for name, both in parts.items()
    }
    assert parts["NONE"] == parts["EMPTY"] == (None, None)
    assert nodes["TEXT"] == (String(None), String(None))
    assert nodes["LIMITED"][0] == String(Bound(10))
    assert parts["NAMED"] == (Named("demo", "foo"), Named("demo", "foo"))
    many = nodes["MANY"][0]
    assert isinstance(many, Structure)
    assert [each.name for each in many.fields] == ["arg1", "key", "arg3", "other", "arg5"]
    types = registry.load(tmp_path / "demo.x").modules()[0].types
    many_type = types["DEMO_PROG.ONE.MANY.args"]
    data = bytes.fromhex("00000001 00000002 61620000 00000001 00000005 00000006 00000007")
    value = many_type.from_bytes(data)
    assert (value.arg1, value.key, value.arg3.a, value.other.a, value.arg5) == (1, "ab", 5, 6, 7)
    assert many_type.to_bytes(value) == data
    assert types["DEMO_PROG.ONE.POINTER.args"].from_bytes(bytes(4)) is None
    assert two.procedures[0].args == Named("demo", "DEMO_PROG.TWO.NONE.args")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("void, int", "1:31: error: void must be the only member"),
        ("int, void", "1:36: error: void must be the only member"),
        ("opaque", "error: expected the name of a type, a number or a string, got opaque"),
        ("int x<4>", "error: only a string can have a limit here"),
        ("string *", "error: string cannot be optional"),
        ("foo a *b", "error: expected one name of the argument, got two"),
        ("int,", "error: expected a type, got ')'"),
        ("int a, int a", "error: a is defined twice"),
    ],
)
def test_rejects_arguments(tmp_path: Path, arguments: str, message: str) -> None:
    text = f"program P {{ version V {{ int F({arguments}) = 1; }} = 1; }} = 1; struct foo {{ int a; }};"
    assert message in problem(tmp_path, text)


def test_numbers_of_a_program_are_constants(tmp_path: Path) -> None:
    text = (
        "const HIGHEST = LAST; const P2 = PROG; program PROG { version V { void LAST(void) = 7; } = 3; } = 9;"
        "struct s { opaque x[V]; };"
    )
    found = module(tmp_path, text)
    assert {each.name: each.value for each in found.constants} == {"HIGHEST": 7, "P2": 9}
    assert found.by_name["s"].max_size == 4


def test_namespace_and_pragma(tmp_path: Path) -> None:
    text = (
        "pragma header nfs4;\nnamespace outer {\n  namespace inner { typedef int namespace; }\n"
        "  struct s { namespace pragma; };\n}\npragma big_endian s;\n"
    )
    assert [each.name for each in module(tmp_path, text).types] == ["namespace", "s"]


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ('syntax = "proto3";', "Protocol Buffers"),
        ("message A { int32 a = 1; }", "Protocol Buffers"),
        ("exception E { 1: i32 a }", "Thrift"),
        ("module M { interface I { void f(); }; };", "CORBA IDL or MIDL"),
        ("extern int a;", "C or C++"),
        ("int main(void) { return 0; }", "C or C++"),
        ("class X {};", "C or C++"),
    ],
)
def test_names_other_languages(tmp_path: Path, text: str, language: str) -> None:
    assert f"hint: this looks like {language}, not XDR" in problem(tmp_path, text)


@pytest.mark.parametrize(
    "text", ["struct s { int a[2][3]; };", "struct s { int *a<>; };", "typedef int a<1>[2];"]
)
def test_one_shape_per_declaration(tmp_path: Path, text: str) -> None:
    assert "hint: a declaration has one '*', '[…]' or '<…>'" in problem(tmp_path, text)


def test_defines_decide_conditions(tmp_path: Path) -> None:
    path = tmp_path / "demo.x"
    path.write_text("#if SIZE > 4 && defined(WIDE)\ntypedef hyper t;\n#else\ntypedef int t;\n#endif\n")
    assert load_schema([path]).modules[0].types[0].max_size == 4
    assert load_schema([path], defines={"SIZE": 8, "WIDE": 0}).modules[0].types[0].max_size == 8
