"""Specifications to Schema: scopes, values, sizes, order, and hostile definitions."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from libvirt_proto.codec.types import (
    Arm,
    Array,
    Boolean,
    Bound,
    Enumeration,
    Field,
    FixedArray,
    FixedOpaque,
    Floating,
    Integer,
    Label,
    Member,
    Named,
    Opaque,
    Optional,
    String,
    Structure,
    TypeDefinition,
    UnionType,
    Void,
)
from libvirt_proto_codegen.errors import DefinitionError
from libvirt_proto_codegen.model import Builtin, Declaration, Specification, TypedefDef, TypeName
from libvirt_proto_codegen.reader import read_specification
from libvirt_proto_codegen.resolve import resolve
from libvirt_proto_codegen.rules import MAX_PROBLEMS
from libvirt_proto_codegen.schema import External, Schema
from libvirt_proto_codegen.source import Source, Span
from tests.support.rfc import RFC_4506_SECTION_7
from tests.support.work import assert_linear, grown

INT = Integer(32, True, "int")
UINT = Integer(32, False, "unsigned int")


def schema(
    *texts: str, externals: Mapping[str, External | int] | None = None, files: tuple[str, ...] = ()
) -> Schema:
    """The Schema of files named a.x, b.x, … or as given."""
    names = files or tuple(f"{letter}.x" for letter in "abcdefgh")
    specifications = [
        read_specification(Source(name, text)) for name, text in zip(names, texts, strict=False)
    ]
    return resolve(specifications, externals=externals or {}, release=None, inputs=())


def rules(*texts: str) -> list[str]:
    with pytest.raises(DefinitionError) as caught:
        schema(*texts)
    return [problem.rule for problem in caught.value.problems]


def the_type(text: str, name: str) -> TypeDefinition:
    return schema(text).modules[0].by_name[name]


def test_resolves_rfc_example() -> None:
    """RFC 4506 §7."""
    module = schema(RFC_4506_SECTION_7).modules[0]
    name = String(Bound(255, "MAXNAMELEN"))
    kind = Named("a", "filekind")
    assert [type_.name for type_ in module.types] == ["filekind", "filetype", "file"]
    enum, union, file = module.types
    assert enum.node == Enumeration((Member("TEXT", 0), Member("DATA", 1), Member("EXEC", 2)))
    assert union.node == UnionType(
        Field("kind", kind, "filekind kind;"),
        (
            Arm((Label(0, "TEXT"),), None, Void(), "void;"),
            Arm((Label(1, "DATA"),), "creator", name, "string creator<MAXNAMELEN>;"),
            Arm((Label(2, "EXEC"),), "interpretor", name, "string interpretor<MAXNAMELEN>;"),
        ),
        None,
    )
    assert file.node == Structure(
        (
            Field("filename", name, "string filename<MAXNAMELEN>;"),
            Field("type", Named("a", "filetype"), "filetype type;"),
            Field("owner", String(Bound(32, "MAXUSERNAME")), "string owner<MAXUSERNAME>;"),
            Field("data", Opaque(Bound(65535, "MAXFILELEN")), "opaque data<MAXFILELEN>;"),
        )
    )
    # At most 4 + 256, 4 + (4 + 256), 4 + 32 and 4 + 65536 bytes.
    assert (union.min_size, union.max_size) == (4, 264)
    assert (file.min_size, file.max_size) == (16, 260 + 264 + 36 + 65540)
    assert (enum.depth, union.depth, file.depth) == (0, 1, 2)
    assert not any(type_.recursive or type_.anonymous for type_ in module.types)
    assert [(constant.name, constant.value, constant.text) for constant in module.constants] == [
        ("MAXUSERNAME", 32, "32"),
        ("MAXFILELEN", 65535, "65535"),
        ("MAXNAMELEN", 255, "255"),
    ]


@pytest.mark.parametrize(
    ("declaration", "node", "smallest", "largest"),
    [
        ("int x", INT, 4, 4),
        ("unsigned x", UINT, 4, 4),
        ("char x", Integer(32, True, "char"), 4, 4),
        ("unsigned short x", Integer(32, False, "unsigned short"), 4, 4),
        ("hyper x", Integer(64, True, "hyper"), 8, 8),
        ("unsigned hyper x", Integer(64, False, "unsigned hyper"), 8, 8),
        ("float x", Floating(32), 4, 4),
        ("double x", Floating(64), 8, 8),
        ("quadruple x", Floating(128), 16, 16),
        ("bool x", Boolean(), 4, 4),
        ("char x[32]", FixedArray(Integer(32, True, "char"), Bound(32)), 128, 128),
        ("opaque x[0]", FixedOpaque(Bound(0)), 0, 0),
        ("opaque x[5]", FixedOpaque(Bound(5)), 8, 8),
        ("opaque x<5>", Opaque(Bound(5)), 4, 12),
        ("opaque x<>", Opaque(None), 4, None),
        ("string x<0>", String(Bound(0)), 4, 4),
        ("string x<0x10>", String(Bound(16)), 4, 20),
        ("hyper x<3>", Array(Integer(64, True, "hyper"), Bound(3)), 4, 28),
        ("hyper x<>", Array(Integer(64, True, "hyper"), None), 4, None),
        ("hyper *x", Optional(Integer(64, True, "hyper")), 4, 12),
    ],
)
def test_declarations(declaration: str, node: object, smallest: int, largest: int | None) -> None:
    type_ = the_type(f"typedef {declaration};", "x")
    assert (type_.node, type_.min_size, type_.max_size) == (node, smallest, largest)
    assert type_.xdr == f"typedef {declaration.replace('unsigned x', 'unsigned int x')};"
    field = the_type(f"struct s {{ {declaration}; }};", "s")
    assert isinstance(field.node, Structure)
    assert field.node.fields[0].node == node
    assert (field.min_size, field.max_size) == (smallest, largest)


def test_values_by_name() -> None:
    """Constants of constants, consecutive enum members, octal and negative numbers, forward references."""
    module = schema(
        """
        enum more { LATER = FIRST, LATER_STILL };
        enum numbers { FIRST = -3, SECOND, THIRD = SEVENTEEN, FOURTH, OCTAL = 017 };
        const SEVENTEEN = BASE;
        const BASE = 17;
        const OF_ENUM = FOURTH;
        typedef opaque data<OCTAL>;
        """
    ).modules[0]
    assert module.by_name["numbers"].node == Enumeration(
        (
            Member("FIRST", -3),
            Member("SECOND", -2),
            Member("THIRD", 17),
            Member("FOURTH", 18),
            Member("OCTAL", 15),
        )
    )
    assert module.by_name["more"].node == Enumeration((Member("LATER", -3), Member("LATER_STILL", -2)))
    assert [(constant.value, constant.text) for constant in module.constants] == [
        (17, "BASE"),
        (17, "17"),
        (18, "FOURTH"),
    ]
    assert module.by_name["data"].node == Opaque(Bound(15, "OCTAL"))


def test_enum_without_values_counts_from_zero() -> None:
    node = the_type("enum e { A, B, C };", "e").node
    assert node == Enumeration((Member("A", 0), Member("B", 1), Member("C", 2)))


def test_externals_belong_to_the_file_that_uses_them() -> None:
    texts = (
        '%#include "b.h"\ntypedef opaque a[LENGTH];\ntypedef opaque a2[LENGTH];\n',
        "const LENGTH = OUTSIDE;\nconst UNUSED = 1;\n",
    )
    result = schema(*texts, externals={"OUTSIDE": External("OUTSIDE", 9, "x.h"), "OTHER": 3})
    first, second = result.modules
    assert first.externals == ()
    assert second.externals == (External("OUTSIDE", 9, "x.h"),)
    assert first.by_name["a"].node == FixedOpaque(Bound(9, "LENGTH"))


def test_definitions_override_externals() -> None:
    result = schema("const N = 4; typedef opaque a[N];", externals={"N": 8})
    assert result.modules[0].by_name["a"].min_size == 4
    assert result.modules[0].externals == ()


def test_each_file_has_its_own_names() -> None:
    """The admin and remote definitions of libvirt 1.2.17 both define REMOTE_STRING_MAX."""
    result = schema(
        "const MAX = 4; typedef string name<MAX>;",
        "const MAX = 8; typedef string name<MAX>;",
        '%#include "b.h"\nstruct s { name x; };',
        '%#include "c.h"\nstruct t { name x; };',
    )
    a, b, c, d = result.modules
    assert a.by_name["name"].node == String(Bound(4, "MAX"))
    assert b.by_name["name"].node == String(Bound(8, "MAX"))
    named = Structure((Field("x", Named("b", "name"), "name x;"),))
    assert c.by_name["s"].node == named
    assert d.by_name["t"].node == named, "what an included file includes is seen, too"
    assert (a.imports, b.imports, c.imports, d.imports) == ((), (), ("b",), ("b",))
    assert result.definition(Named("b", "name")) is b.by_name["name"]


def test_types_follow_their_dependencies() -> None:
    module = schema(
        """
        struct last { middle m; first *f; };
        struct middle { first many<4>; };
        typedef int first;
        struct next { int x; };
        """
    ).modules[0]
    assert [type_.name for type_ in module.types] == ["first", "middle", "last", "next"]


def test_nested_bodies_are_separate_types() -> None:
    module = schema(
        """
        struct outer {
            struct {
                int x;
                union switch (enum { A = 1, B = 2 } kind) { case A: int a; case B: void; } u;
            } inner;
            enum { RED, GREEN } colours<GREEN>;
        };
        typedef struct { int y; } plain;
        typedef struct { int z; } many[3];
        """
    ).modules[0]
    types = {type_.name: type_ for type_ in module.types}
    assert set(types) == {
        "outer",
        "outer.inner",
        "outer.inner.u",
        "outer.inner.u.kind",
        "outer.colours",
        "plain",
        "many",
        "many.element",
    }
    assert {name for name, type_ in types.items() if type_.anonymous} == {
        name for name in types if "." in name
    }
    outer = types["outer"].node
    assert isinstance(outer, Structure)
    assert outer.fields[0].node == Named("a", "outer.inner")
    assert outer.fields[1].node == Array(Named("a", "outer.colours"), Bound(1, "GREEN"))
    union = types["outer.inner.u"].node
    assert isinstance(union, UnionType)
    assert union.discriminant.node == Named("a", "outer.inner.u.kind")
    assert types["plain"].node == Structure((Field("y", INT, "int y;"),))
    assert types["many"].node == FixedArray(Named("a", "many.element"), Bound(3))
    assert types["outer"].max_size == (4 + 4 + 4) + (4 + 4)


def test_recursion_through_pointers_and_arrays() -> None:
    """The list of RFC 4506 §4.19, and a tree that ends at an empty array."""
    module = schema(
        """
        struct entry { string name<8>; entry *next; };
        struct tree { int value; children below; };
        typedef tree children<>;
        struct leaf { int x; };
        """
    ).modules[0]
    assert [(type_.name, type_.recursive) for type_ in module.types] == [
        ("entry", True),
        ("children", True),
        ("tree", True),
        ("leaf", False),
    ]
    entry, children, tree, _ = module.types
    assert (entry.min_size, entry.max_size) == (8, None)
    assert (children.min_size, children.max_size) == (4, None)
    assert (tree.min_size, tree.max_size) == (8, None)
    assert entry.depth < 5


def test_typedef_struct_x_x_is_redundant() -> None:
    module = schema(
        "typedef struct X X; struct X { int a; }; struct Y { struct X x; enum E e; }; enum E { A };"
    )
    assert [type_.name for type_ in module.modules[0].types] == ["X", "E", "Y"]


def test_default_arms_stacked_cases_and_booleans() -> None:
    node = the_type(
        "union u switch (bool b) { case TRUE: case FALSE: int a; };"
        "union v switch (int n) { case -1: case 2: int a; default: void; };",
        "v",
    ).node
    assert node == UnionType(
        Field("n", INT, "int n;"),
        (Arm((Label(-1), Label(2)), "a", INT, "int a;"),),
        Arm((), None, Void(), "void;"),
    )


def test_discriminant_types_resolve_through_typedefs() -> None:
    text = "typedef alias number; typedef unsigned int alias;"
    text += "union u switch (number n) { case 4294967295: void; };"
    node = the_type(text, "u").node
    assert isinstance(node, UnionType)
    assert node.discriminant.node == Named("a", "number")


def test_program_blocks() -> None:
    """RFC 5531 §12.2, and procedures with several or unnamed arguments."""
    result = schema(
        """
        struct pair { int a; int b; };
        program PING_PROG {
            version PING_VERS_PINGBACK {
                void PINGPROC_NULL(void) = 0;
                int PINGPROC_PINGBACK(void) = 1;
            } = 2;
            version PING_VERS_ORIG {
                void PINGPROC_NULL(void) = 0;
                pair PINGPROC_ADD(pair, unsigned hyper) = 7;
                void PINGPROC_TAKE(pair) = 3;
            } = 1;
        } = 0x20000000;
        const PING_VERS = 2;
        """
    )
    module = result.modules[0]
    newer, older = module.programs
    assert (newer.name, newer.short, newer.number, newer.version) == ("PING_PROG", "ping", 0x20000000, 2)
    assert (older.short, older.number, older.version) == ("ping", 0x20000000, 1)
    null, back = newer.procedures
    assert (null.number, null.name, null.short, null.args, null.ret) == (
        0,
        "PINGPROC_NULL",
        "pingproc_null",
        None,
        None,
    )
    assert back.ret is not None
    assert result.definition(back.ret).node == INT
    assert [procedure.number for procedure in older.procedures] == [0, 3, 7]
    _, take, add = older.procedures
    assert take.args == Named("a", "pair") == add.ret
    assert add.args is not None
    arguments = result.definition(add.args).node
    assert isinstance(arguments, Structure)
    assert [field.node for field in arguments.fields] == [
        Named("a", "pair"),
        Integer(64, False, "unsigned hyper"),
    ]


def test_problems_of_all_files_in_file_order() -> None:
    first = "struct a { nothing x; opaque y[-1]; };\nconst A = B;\nconst A = 2;"
    second = "const C = C;\nstruct b { int x; int x; };"
    assert rules(first, second) == [
        "unknown-name",
        "bad-bound",
        "missing-external",
        "duplicate-name",
        "constant-cycle",
        "duplicate-name",
    ]


def test_hostile_sizes_stay_small_numbers() -> None:
    text = "struct s0 { opaque x[4294967295]; };\n"
    text += "".join(f"struct s{n} {{ s{n - 1} x[4294967295]; s{n - 1} y<>; }};\n" for n in range(1, 40))
    module = schema(text).modules[0]
    assert module.types[-1].max_size is None
    assert all(type_.min_size <= 2**64 for type_ in module.types)
    assert module.types[0].max_size == 2**32


@pytest.mark.parametrize(
    "text",
    [
        lambda size: "typedef int t0;" + "".join(f"typedef t{n} t{n + 1};" for n in range(size)),
        lambda size: "".join(f"typedef t{n + 1} t{n};" for n in range(size)) + f"typedef int t{size};",
        lambda size: "".join(f"const A{n} = A{n + 1};" for n in range(size)),
        lambda size: f"const A0 = A{size};" + "".join(f"const A{n + 1} = A{n};" for n in range(size)),
        lambda size: "".join(f"struct s{n} {{ s{(n + 1) % size} x; }};" for n in range(size)),
        lambda size: "struct s { " + "".join(f"t{n} a{n};" for n in range(size)) + "};",
        lambda size: (
            "enum e { "
            + ",".join(f"A{n}" for n in range(size))
            + "}; union u switch (e k) {"
            + "".join(f"case {n}:" for n in range(size + size // 2))
            + "void; };"
        ),
        lambda size: "enum e { BIG = 2147483647, " + ",".join(f"A{n}" for n in range(size)) + "};",
    ],
    ids=["up", "down", "unknown", "circle", "types-in-a-circle", "unknown-types", "labels", "overflow"],
)
def test_hostile_definitions_take_linear_work(text: Callable[[int], str]) -> None:
    def act(size: int) -> Callable[[], object]:
        specification = read_specification(Source("hostile.x", text(size)))
        return lambda: problems(specification)

    assert_linear(*grown(act, 100))
    # More than Python's limit of recursion.
    found = problems(read_specification(Source("hostile.x", text(sys.getrecursionlimit() + 500))))
    assert found is not None
    assert 1 <= len(found.problems) <= MAX_PROBLEMS + 1
    assert len(str(found)) < 10**6


def problems(specification: Specification) -> DefinitionError | None:
    try:
        resolve([specification], externals={}, release=None, inputs=())
    except DefinitionError as error:
        return error
    return None


def test_chain_longer_than_the_parser_accepts_is_too_deep() -> None:
    """More types than the parser accepts: the passes themselves are bounded."""
    text = "typedef int t0;"
    span = Span(Source("chain.x", text), 0, len(text))
    chain = [
        TypedefDef(Declaration(f"t{n + 1}", TypeName(f"t{n}", span=span), span=span), span=span)
        for n in reversed(range(30_000))
    ]
    end = TypedefDef(Declaration("t0", Builtin.INT, span=span), span=span)
    with pytest.raises(DefinitionError) as caught:
        resolve([Specification("chain.x", (*chain, end), span=span)], externals={}, release=None, inputs=())
    assert [problem.rule for problem in caught.value.problems] == ["too-deep"]


IDENTIFIERS = st.integers(0, 30).map("T{}".format)


@st.composite
def definitions(draw: st.DrawFn) -> str:
    """Structs and typedefs in any order with random references, some to undefined names."""
    lines = []
    for name in draw(st.lists(IDENTIFIERS, unique=True, max_size=12)):
        fields = [
            draw(st.sampled_from(["{} f{};", "{} *f{};", "{} f{}<>;", "{} f{}[2];", "{} f{}<3>;"])).format(
                draw(st.one_of(IDENTIFIERS, st.sampled_from(["int", "hyper", "bool"]))), number
            )
            for number in range(draw(st.integers(1, 4)))
        ]
        lines.append(f"struct {name} {{ {' '.join(fields)} }};")
    return "\n".join(lines)


@given(definitions())
def test_any_graph_of_types_resolves_or_has_problems(text: str) -> None:
    try:
        module = schema(text).modules[0]
    except DefinitionError as error:
        event(str(sorted({problem.rule for problem in error.problems})))
        if not {problem.rule for problem in error.problems} <= {"unknown-name", "recursive-type"}:
            raise
        return
    position = {type_.name: at for at, type_ in enumerate(module.types)}
    for type_ in module.types:
        assert isinstance(type_.node, Structure)
        least = 0
        for field in type_.node.fields:
            node = field.node
            if isinstance(node, FixedArray):
                node, times = node.element, node.size.value
            else:
                times = 1
            if isinstance(node, Named):
                assert position[node.name] < position[type_.name], "what is held by value comes first"
                least += times * module.by_name[node.name].min_size
            else:
                least += times * (node.bits // 8 if isinstance(node, Integer) else 4)
        assert type_.min_size == least
        assert type_.max_size is None or type_.max_size >= least


def test_missing_include_has_its_rule(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match=r'add %#include "remote_protocol.h"'):
        schema(
            "struct a { remote b; };", "typedef int remote;", files=("qemu_protocol.x", "remote_protocol.x")
        )
