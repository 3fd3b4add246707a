"""The preprocessor: conditions, macros, included files and line markers, each checked by what is defined."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from libvirt_proto_codegen.definitions import load_schema
from libvirt_proto_codegen.errors import DefinitionError
from libvirt_proto_codegen.model import ConstDef, Literal
from libvirt_proto_codegen.preprocess import preprocess
from libvirt_proto_codegen.printer import print_specification
from libvirt_proto_codegen.reader import read_specification
from libvirt_proto_codegen.resolve import resolve
from libvirt_proto_codegen.source import Source
from tests.support.work import assert_linear, grown


def tokens(text: str, defines: Mapping[str, int] | None = None) -> str:
    """The tokens of a text, with a space between them."""
    return " ".join(token.text for token in preprocess(Source("a.x", text), defines=defines).tokens)


def constants(text: str) -> dict[str, int]:
    found = read_specification(Source("a.x", text)).definitions
    return {
        each.name: each.value.value
        for each in found
        if isinstance(each, ConstDef) and isinstance(each.value, Literal)
    }


def errors(text: str) -> str:
    with pytest.raises(DefinitionError) as caught:
        read_specification(Source("a.x", text))
    return str(caught.value)


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("#ifdef RPC_HDR", True),
        ("#ifndef RPC_HDR", False),
        ("#if RPC_HDR", True),
        ("#ifdef RPC_XDR", False),
        ("#if defined(RPC_SVC) || defined RPC_CLNT", False),
        ("#if defined RPC_HDR && !defined (RPC_XDR)", True),
        ("  #  if  1  /* a comment */", True),
        ("#if 0 // a comment", False),
        ("#if 2 + 3 * 4 == 14 && (1 << 4) == 0x10 && 010 == 8 && 7 / -2 == -3 && -7 % 3 == -1", True),
        ("#if 1 \\\n && 0", False),
        ("#if UNKNOWN_NAME", False),
        ("#if 1 ? 0 : 1", False),
        ("#if 'A' == 65 && '\\n' == 10", True),
        ("#if defined UNKNOWN && 1 / UNKNOWN", False),
        ("#if 1 || 1 / 0", True),
        ("#if ~0 == -1 && !0 && 5UL > 4 && 1L", True),
        ("#if 0xffffffffffffffff > 0", True),
        ("#if GIVEN == 3", True),
        ("#ifndef GIVEN", False),
    ],
)
def test_condition(condition: str, holds: bool) -> None:
    text = f"{condition}\nA\n#else\nB\n#endif\nC"
    assert tokens(text, {"GIVEN": 3}) == ("A C" if holds else "B C")


def test_first_true_branch_counts() -> None:
    text = "#if 0\nA\n#elif 1\nB\n#elif 1\nC\n#else\nD\n#endif E"
    assert tokens(text) == "B"
    assert tokens("#ifdef X\nA\n#elifndef X\nB\n#endif") == "B"


def test_branch_after_a_true_one_is_not_evaluated() -> None:
    assert tokens("#if 1\nA\n#elif 1 / 0\nB\n#endif") == "A"


def test_conditions_nest() -> None:
    text = "#if 1\nA\n#if 0\nB\n#if 1\nC\n#endif\n#else\nD\n#endif\nE\n#endif\nF"
    assert tokens(text) == "A D E F"


def test_skipped_text_may_be_anything() -> None:
    text = "#if 0\n don't \"quote $ @ \\ #\n/* #endif */\n#nonsense\n// #endif\n% x\n#endif\nA"
    assert tokens(text) == "A"


def test_directive_in_comment_or_string_is_text() -> None:
    text = '/*\n#if 0\n*/ const A = "x"; // #if 0\n#ifdef B /* more\n lines */\nC\n#endif\nD'
    assert tokens(text) == 'const A = "x" ; D'


@pytest.mark.parametrize(
    ("macros", "text", "expected"),
    [
        ("#define A B", "A", "B"),
        ("#define A", "x A y", "x y"),
        ("#define A B\n#define B C", "A B", "C C"),
        ("#define A B\n#define B A", "A B", "A B"),
        ("#define A A b", "A", "A b"),
        ("#define A B\n#undef A", "A", "A"),
        ("#define A one\n#define A two", "A", "two"),
        ("#define T unsigned \\\n hyper", "T x;", "unsigned hyper x ;"),
        ("#define F(x) x<x>", "F(a) F (b) F", "a < a > b < b > F"),
        ("#define F(x, y) y x", "F(F(1, 2), (3, 4))", "( 3 , 4 ) 2 1"),
        ("#define F() a", "F() F( )", "a a"),
        ("#define P(n) struct n##_args { int a; };", "P(get)", "struct get_args { int a ; } ;"),
        ("#define F (x)", "F", "( x )"),
        ("#define N -5\n#define C const A = N;", "C", "const A = N ;"),
        ("#define C const A = -5;", "C", "const A = -5 ;"),
        ("#define E(x)", "a E(b) c", "a c"),
        ('#define Q "it\'s"', "Q", '"it\'s"'),
    ],
)
def test_macro(macros: str, text: str, expected: str) -> None:
    assert tokens(f"{macros}\n{text}") == expected


def test_integer_macro_becomes_constant() -> None:
    text = "#define N (4 * 4)\n#define M 0x10\n#define UNUSED 7\nstruct s { opaque a[N]; int b<M>; };"
    assert constants(text) == {"N": 16, "M": 16}
    specification = read_specification(Source("a.x", text))
    printed = print_specification(specification)
    assert printed.startswith("const N = 16;\nconst M = 0x10;\n")
    assert read_specification(Source("a.x", printed)) == specification


def test_macro_with_a_second_value_is_its_number() -> None:
    text = "#define N 1\nconst A = N;\n#undef N\n#define N 2\nconst B = N;\n#define M N\nconst C = M;"
    assert load(text) == {"N": 1, "A": 1, "B": 2, "M": 2, "C": 2}


def load(text: str) -> dict[str, int]:
    """The constants of a text, with their numbers."""
    source = Source("a.x", text)
    schema = resolve([read_specification(source)], externals={}, release=None, inputs=())
    return {constant.name: constant.value for constant in schema.modules[0].constants}


def test_percent_define_supplies_a_constant() -> None:
    text = (
        "#ifdef RPC_HDR\n%#define MAXNAME\tLENGTH+1 /* for C */\n%#define LENGTH 1024\n"
        "%#define F(x) 3\n#endif\n"
        "struct s { string a<MAXNAME>; };\n%#define MAXNAME 7\n"
    )
    assert constants(text) == {"MAXNAME": 1025}


def test_percent_define_gives_way_to_a_definition() -> None:
    assert constants("%#define N 1\nconst N = 2;\nconst M = N;") == {"N": 2}
    assert constants("%#define A B\n%#define B A\n%#define C 1.5\nstruct s { int x<A>; int y<C>; };") == {}


def test_percent_line_continues_after_backslash() -> None:
    assert tokens("%#define A (B + \\\n  C)\nconst") == "const"


def test_unknown_places_are_of_the_original_line() -> None:
    text = "#if 0\nbad\n#endif\n#define T nothing\nstruct a {\n    int x;\n    $T y;\n};\n"
    assert errors(text).startswith("a.x:7:5: error: unexpected '$'")
    found = errors("#define N 08\n\nconst A =\n   N;")
    assert found.startswith("a.x:4:4: error: invalid number 'N'")


def test_line_markers_name_the_original_place() -> None:
    text = '# 1 "first.x"\n# 12 "dir/other.x" 2\nconst A = ;\n#line 40 "third.x"\n\nconst B = $;\n'
    assert [line for line in errors(text).splitlines() if ": error:" in line] == [
        "third.x:41:11: error: unexpected '$': it has no meaning in XDR"
    ]
    assert errors(text.replace("$", "4")).startswith("dir/other.x:12:11: error: expected a number")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("#if 1\nconst A = 1;", "a.x:1:2: error: unclosed #if"),
        ("#endif", "a.x:1:2: error: #endif without #if"),
        ("#else", "a.x:1:2: error: #else without #if"),
        ("#if 1\n#else\n#else\n#endif", "a.x:3:2: error: #else after #else"),
        ("#if 1\n#else\n#elif 1\n#endif", "a.x:3:2: error: #elif after #else"),
        ("#if\n#endif", "a.x:1:4: error: expected a number, got the end of the line in #if"),
        ("#if 1 +\n#endif", "expected a number, got the end of the line in #if"),
        ("#if (1\n#endif", "expected ')', got the end of the line in #if"),
        ("#if 1 2\n#endif", "a.x:1:7: error: expected an operator, got '2' in #if"),
        ("#if 08\n#endif", "a.x:1:5: error: expected an octal number, got '08' in #if"),
        ("#if 1.5\n#endif", "expected an integer, got '1.5' in #if"),
        ('#if "a"\n#endif', "expected a number, got '\"a\"' in #if"),
        ("#if 1 / 0\n#endif", "division by zero"),
        ("#if 1 << 64\n#endif", "a shift by less than 0 or more than 63 bits"),
        ("#if defined 1\n#endif", "expected a name after 'defined' in #if"),
        ("#ifdef\n#endif", "a.x:1:2: error: expected a name after #ifdef, got the end of the line"),
        ("#ifdef 1\n#endif", "a.x:1:8: error: expected a name after #ifdef, got '1'"),
        ("#define", "expected a name after #define"),
        ("#define 1 2", "expected a name after #define, got '1'"),
        ("#define F(x y) x", "a.x:1:10: error: expected names of parameters"),
        ("#define F(x,) x", "expected names of parameters"),
        ("#define F(x, ...) x", "expected names of parameters"),
        ("#define F(x) #x", "'#' in a macro is not supported"),
        ("#define F(x, y) x\nF(1)", "a.x:2:1: error: F: expected 2 arguments, got 1"),
        ("#define F(x) x\nF(1", "a.x:2:1: error: F: unclosed arguments"),
        ("#define F(x) x##;\nF(1)", "## makes '1;', which is neither a name nor a number"),
        ("#error not  here", "a.x:1:2: error: #error 'not here'"),
        ("# a comment of a shell", "a.x:1:3: error: unknown preprocessor line '#a'"),
        ("#include x", "expected a file after #include"),
        ('#include "b.x"', "#include needs a folder"),
        ("#if 0\n/* \n#endif", "a.x:2:1: error: unclosed comment"),
        ("x #define A", "a.x:1:3: error: unexpected '#'"),
    ],
)
def test_error(text: str, message: str) -> None:
    assert message in errors(text)


def test_ignores_lines_for_compilers() -> None:
    text = '#\n#pragma pack(1)\n#ident "x"\n#warning don\'t\n#line 3\nA'
    assert tokens(text) == "A"


def test_reports_several_problems_at_once() -> None:
    found = errors("#if 1 +\n#endif\n#nothing\nconst A = $;\n")
    assert [line[:9] for line in found.splitlines() if ": error:" in line] == [
        "a.x:1:8: ",
        "a.x:3:2: ",
        "a.x:4:11:",
    ]


# Included files.


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / f"{name}.x").write_text(text)


def problem(*paths: Path) -> str:
    with pytest.raises(DefinitionError) as caught:
        load_schema(paths)
    return str(caught.value)


def test_includes_text_with_its_macros(tmp_path: Path) -> None:
    write(
        tmp_path,
        main='#include "part.x"\n#include <part.x>\nstruct s { T a<N>; };',
        part="#ifndef PART\n#define PART\n#define N 4\n#define T hyper\nstruct p { int a; };\n#endif\n",
    )
    (module,) = load_schema([tmp_path / "main.x"]).modules
    assert [type_.name for type_ in module.types] == ["p", "s"]
    assert module.by_name["s"].max_size == 4 + 4 * 8
    assert [(each.name, each.value) for each in module.constants] == [("N", 4)]


def test_included_file_of_a_folder_is_a_part(tmp_path: Path) -> None:
    write(tmp_path, main='#include "part.x"\nstruct s { p a; };', part="struct p { int a; };")
    assert [module.name for module in load_schema([tmp_path]).modules] == ["main"]
    both = load_schema([tmp_path / "main.x", tmp_path / "part.x"])
    assert [module.name for module in both.modules] == ["main", "part"]
    assert [one.file for one in both.inputs] == ["main.x", "part.x"]


def test_error_in_included_file_has_its_place(tmp_path: Path) -> None:
    write(tmp_path, main='#include "part.x"\n', part="\nstruct p { nothing a; };\nconst A = 08;")
    assert f"{tmp_path}/part.x:3:11: error: invalid number '08'" in problem(tmp_path / "main.x")
    write(tmp_path, part="\nstruct p { nothing a; };")
    assert f"{tmp_path}/part.x:2:12: error: unknown type nothing" in problem(tmp_path / "main.x")


def test_missing_header_is_a_name_of_a_definition_file(tmp_path: Path) -> None:
    write(
        tmp_path, main='#include "other.h"\n#include <rpc/rpc.h>\nstruct s { t a; };', other="typedef int t;"
    )
    assert [module.name for module in load_schema([tmp_path / "main.x"]).modules] == ["main", "other"]


def test_missing_file_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, main='\n#include "other.x"\n')
    assert "main.x:2:1: error: no file 'other.x' to include" in problem(tmp_path / "main.x")


@pytest.mark.parametrize("name", ["../secret.x", "/etc/passwd", "link.x", "sub/../../secret.x"])
def test_includes_no_file_outside_the_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "defs"
    (folder / "sub").mkdir(parents=True)
    (tmp_path / "secret.x").write_text("const SECRET = 1;")
    (folder / "link.x").symlink_to("../secret.x")
    write(folder, main=f'#include "{name}"\n')
    assert f"'{name}' is outside the folder of" in problem(folder / "main.x")


def test_includes_named_file_outside_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "defs"
    folder.mkdir()
    write(tmp_path, common="const N = 4;")
    write(folder, main='#include "../common.x"\nstruct s { int a[N]; };')
    schema = load_schema([folder / "main.x", tmp_path / "common.x"])
    assert schema.by_name["main"].by_name["s"].max_size == 16


def test_standard_input_includes_nothing(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match="#include needs a folder"):
        read_specification(Source("/dev/stdin", '#include "null"'))


@pytest.mark.parametrize(
    "files",
    [
        {"a": '#include "a.x"\n'},
        {"a": '#include "b.x"\n', "b": '#include "a.x"\n'},
        {"a": '#include "b.x"\n' * 1100, "b": ""},
        {"a": '#include "b.x"\n' * 600, "b": "/* " + " " * 10_000 + " */"},
        {chr(97 + at): f'#include "{chr(98 + at)}.x"\n' * 2 for at in range(15)} | {"p": ""},
    ],
)
def test_include_cycles_and_floods_end(tmp_path: Path, files: dict[str, str]) -> None:
    write(tmp_path, **files)
    assert re.search("too many files include each other|MiB of included text", problem(tmp_path / "a.x"))


def test_guarded_self_include_is_possible(tmp_path: Path) -> None:
    write(
        tmp_path,
        a='#ifndef A\n#define A\n#include "a.x"\nconst N = 1;\n#endif\n',
        b="#pragma once\nconst M = 1;",
    )
    assert len(load_schema([tmp_path / "a.x"]).modules[0].constants) == 1
    write(tmp_path, a='#include "b.x"\n#include "b.x"\n')
    assert len(load_schema([tmp_path / "a.x"]).modules[0].constants) == 1


# Bounds.


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "".join(f"#define A{n} A{n - 1} A{n - 1}\n" for n in range(1, 40)) + "A39",
            "macros expand to more than",
        ),
        (
            "#define A0\n" + "".join(f"#define A{n} A{n - 1} A{n - 1}\n" for n in range(1, 40)) + "A39",
            "expand to",
        ),
        (
            "".join(f"#define A{n} (A{n - 1}+A{n - 1})\n" for n in range(1, 40)) + "#if A39\n#endif",
            "expand to more",
        ),
        ("".join(f"#define A{n} A{n - 1}\n" for n in range(1, 500)) + "A499", "macros that use each other"),
        ("#define F(x) x x\n" + "F(" * 60 + "a" + ")" * 60, "nested uses of macros with arguments"),
        ("#if " + "(" * 500 + "1\n#endif", "nested expressions"),
        ("#if " + "1 + " * 600 + "1\n#endif", "an expression of at most 1,000 tokens"),
        ("#if " + "1 ? " * 60 + "1\n#endif", "nested expressions"),
        ("#if " + "9" * 5000 + "\n#endif", "expected an integer, got '9999"),
        ("#if 1 " + "+ 1" * 20_000 + "\n#endif", "more than 10,000 tokens in a line"),
    ],
    ids=[
        "doubling",
        "doubling of nothing",
        "doubling in #if",
        "chain",
        "calls",
        "parentheses",
        "long",
        "?",
        "9",
        "1",
    ],
)
def test_expansion_is_bounded(text: str, message: str) -> None:
    assert message in errors(text)


@pytest.mark.parametrize(
    ("head", "unit", "tail"),
    [
        ("#", '"\\', ""),
        ("#", "/*", ""),
        ("#if 0\n", '"\\', ""),
        ("#if 0\n", "/ * '", "\n#endif"),
        ("#if 0\n", "#if 1\n", ""),
        ("", "#define A B\n", ""),
        ("#define A B\n", "A ", ""),
        ("#define F(x) x\n", "F(y) ", ""),
        ("#define A B\n", "#undef C\nA\n", ""),
        ("#define N 1+1\n", "#define M\nN\n", ""),
        ("", '# 1 "a"\n', ""),
        ("", "%#define A B\n", ""),
        ('"', '\\"', ""),
        ("% ", "\\\n", ""),
    ],
)
def test_hostile_lines_take_linear_work(head: str, unit: str, tail: str) -> None:
    def outcome(text: str) -> None:
        with suppress(DefinitionError):
            read_specification(Source("a.x", text))

    assert_linear(*grown(lambda size: lambda: outcome(head + unit * size + tail), 150))
    outcome(head + unit * (100_000 // len(unit)) + tail)  # a quadratic expression would not finish
