"""Output of the Python target for a few lines of XDR each: its own code, not that of the interpreter."""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from libvirt_proto import registry
from libvirt_proto.codec.history import Event, Span
from libvirt_proto.errors import BadValue, NotCanonical, OverLimit, Truncated
from libvirt_proto_codegen import pipeline
from libvirt_proto_codegen.definitions import load_schema
from libvirt_proto_codegen.reader import read_specification
from libvirt_proto_codegen.releases.facts import Facts, History
from libvirt_proto_codegen.resolve import resolve
from libvirt_proto_codegen.source import Source
from libvirt_proto_codegen.targets.python.history import type_lines
from tests.support.frames import text, word
from tests.support.packages import drop_package, import_package
from tests.support.work import NOISE, grown

Compile = Callable[..., ModuleType]


@pytest.fixture
def compiled(tmp_path: Path) -> Iterator[Compile]:
    """Definitions → the module; `index` is its package's."""

    def compile_(definitions: str, externals: str = "") -> ModuleType:
        (tmp_path / "mine.x").write_text(definitions)
        (tmp_path / "externals.toml").write_text(externals)
        drop_package("_mine")
        index = import_package("_mine", pipeline.compile_python([tmp_path / "mine.x"]))
        module: ModuleType = index.mine
        module.index = index  # type: ignore[attr-defined]
        return module

    yield compile_
    drop_package("_mine")


def encoded(type_: Any, value: Any) -> bytes:
    parts: list[bytes] = []
    type_.encode(value, parts.append)
    return b"".join(parts)


def test_booleans_in_lists_are_booleans(compiled: Compile) -> None:
    module = compiled("struct s { bool some<4>; bool two[2]; bool *one; };")
    type_, data = module.TYPES["s"], word(2) + word(1) + word(0) + word(1) + word(1) + word(1) + word(0)
    value = module.S([True, False], [True, True], False)
    assert type_.decode(data, 0) == (value, len(data))
    assert type(type_.decode(data, 0)[0].some[0]) is type(type_.decode(data, 0)[0].two[0]) is bool
    assert encoded(type_, value) == data
    for wrong in (
        module.S([2], [True, True], None),
        module.S([], [True, 2], None),
        module.S([], [True] * 2, 2),
    ):
        with pytest.raises(BadValue, match="expected True or False, got 2"):
            type_.encode(wrong, lambda piece: None)
    with pytest.raises(NotCanonical, match="boolean 2 is neither 0 nor 1"):
        type_.decode(word(1) + word(2) + word(1) * 2 + word(0), 0)


def test_enumerations_in_lists_are_members(compiled: Compile) -> None:
    module = compiled("enum e { A = 1, B = -2 }; typedef e f; struct s { e some<4>; f two[2]; f *one; };")
    type_ = module.TYPES["s"]
    data = word(2) + word(1) + word(7) + word(-2) + word(1) + word(1) + word(-2)
    value, after = type_.decode(data, 0)
    assert after == len(data)
    assert value == module.S([module.E.A, 7], [module.E.B, module.E.A], module.E.B)
    assert [type(item) for item in (*value.some, *value.two, value.one)] == [
        *(module.E, int, module.E, module.E, module.E),
    ]
    assert encoded(type_, value) == data


@pytest.mark.parametrize(
    ("definitions", "name", "link", "end"),
    [
        ("struct s { s kids<>; };", "s", word(1), word(0)),
        ("struct s { s *next; };", "s", word(1), word(0)),
        ("typedef s *p; struct s { p next; };", "s", word(1), word(0)),
        ("typedef s many<2>; struct s { many kids; };", "s", word(1), word(0)),
        ("union u switch (int k) { case 1: u *next; default: void; };", "u", word(1) * 2, word(0)),
        ("union u switch (int k) { case 1: void; default: u some<>; };", "u", word(2) + word(1), word(1)),
    ],
)
def test_types_within_themselves_end(
    compiled: Compile, definitions: str, name: str, link: bytes, end: bytes
) -> None:
    """At 100 levels, and before Python does."""
    type_ = compiled(definitions).TYPES[name]
    data = link * 99 + end
    value, after = type_.decode(data, 0)
    assert after == len(data)
    assert encoded(type_, value) == data
    with pytest.raises(OverLimit, match="depth 101 is over the limit of 100"):
        type_.decode(link * 5000 + end, 0)
    deeper = value
    for _ in range(2):
        deeper = around(type(value), deeper, data)
    with pytest.raises(OverLimit, match="depth 101 is over the limit of 100"):
        type_.encode(deeper, lambda piece: None)


def test_fixed_arrays_within_themselves_end(compiled: Compile) -> None:
    type_ = compiled("typedef s *p; struct s { p kids[2]; };").TYPES["s"]
    for levels, ends in ((100, True), (101, False)):
        data = word(1) * (levels - 1) + word(0) * 2 + word(0) * (levels - 1)
        if ends:
            value, after = type_.decode(data, 0)
            assert (after, encoded(type_, value)) == (len(data), data)
            with pytest.raises(OverLimit, match="depth 101 is over the limit of 100"):
                type_.encode(type(value)([value, None]), lambda piece: None)
        else:
            with pytest.raises(OverLimit, match="depth 101 is over the limit of 100"):
                type_.decode(data, 0)


def test_opaque_data_side_by_side(compiled: Compile) -> None:
    module = compiled("struct s { opaque a[16]; opaque b[16]; int c; int d; opaque e[4]; };")
    data = bytes(range(44))
    value, after = module.TYPES["s"].decode(data, 0)
    assert (value.a, value.b, value.e) == (data[:16], data[16:32], data[40:])
    assert (after, encoded(module.TYPES["s"], value)) == (44, data)


def test_an_index_without_a_history_has_no_word_of_it(compiled: Compile, tmp_path: Path) -> None:
    compiled("program P { version V { int F(int) = 7; } = 1; } = 0x20000001;")
    text = pipeline.compile_python([tmp_path / "mine.x"])["__init__.py"]
    (row,) = (line.strip() for line in text.splitlines() if line.strip().startswith("(7, "))
    assert row.endswith("),")


def test_the_history_of_a_type_is_in_its_docstring() -> None:
    source = Source("mine.x", "union u switch (int k) { case 1: int one; default: int other; };")
    (definition,) = (
        resolve([read_specification(source)], externals={}, release=None, inputs=()).modules[0].types
    )
    facts = {
        ("type", "u"): Facts(Span("1.0.2")),
        ("field", "u", "one"): Facts(Span(after="4.5.0", by="9.8.0")),
        ("field", "u", "other"): Facts(Span("1.0.3"), (Event("renamed", Span("1.0.5"), before='o"ld\\\n'),)),
    }
    assert type_lines(History("0.9.7", "1.0.5", facts), definition) == [
        "Since: 1.0.2.",
        "one: since after 4.5.0, by 9.8.0.",
        "other: since 1.0.3.",
        "other: Renamed in 1.0.5, was o?ld??.",
    ]


def around(class_: type, inner: Any, data: bytes) -> Any:
    """One level more."""
    *first, last = class_.__struct_fields__  # type: ignore[attr-defined]
    outer = [1 if data[:8] == word(1) * 2 else 2] if first else []
    held = [inner] if isinstance(getattr(inner, last), list) else inner
    return class_(*outer, held)


def test_names_that_fall_together_in_python_stay_apart(compiled: Compile) -> None:
    module = compiled(
        "struct s { int class; int class_; int _a; int x_a; int pos; int pos_; int S; string s<>; };"
        " enum e { class = 1, class_ = 2, _b = 3, x_b = 4, name = 5, name_ = 6 };"
        " union u switch (int value) { case 1: int class; default: void; };"
    )
    fields = module.S.__struct_fields__
    assert fields == ("class_", "class__", "x_a", "x_a_", "pos", "pos_", "S", "s")
    assert module.S.__struct_encode_fields__ == ("class", "class_", "_a", "x_a", "pos", "pos_", "S", "s")
    data = b"".join(map(word, range(7))) + text(b"x")
    value = module.TYPES["s"].decode(data, 0)[0]
    assert [getattr(value, name) for name in fields] == [*range(7), "x"]
    assert encoded(module.TYPES["s"], value) == data
    assert [(member.name, int(member)) for member in module.E] == [
        *(("class_", 1), ("class__", 2), ("x_b", 3), ("x_b_", 4), ("name_", 5), ("name__", 6)),
    ]
    union = module.TYPES["u"].decode(word(1) + word(9), 0)[0]
    assert (union.value, union.value_) == (1, 9)
    assert encoded(module.TYPES["u"], union) == word(1) + word(9)


def test_what_the_head_imports_is_what_is_used(compiled: Compile) -> None:
    """Each of these uses one thing of the runtime, and nothing else that would bring it along."""
    for definitions, name, data in (
        ("struct s { int a; }; typedef s t;", "t", word(5)),
        ("typedef int t;", "t", word(5)),
        ("typedef opaque t[3];", "t", b"abc\0"),
        ("typedef string t<>;", "t", text(b"abc")),
        ("typedef opaque t<3>;", "t", text(b"abc")),
        ("typedef quadruple t;", "t", bytes(range(16))),
        ("typedef bool t;", "t", word(1)),
        ("enum t { A };", "t", word(0)),
        ("typedef double t<2>;", "t", word(1) + bytes(8)),
        ("typedef string t<9>; typedef t u[1];", "u", text(b"abc")),
        ("union t switch (bool b) { case TRUE: void; case FALSE: quadruple q; };", "t", word(1)),
        ("struct t { void; };", "t", b""),
    ):
        module = compiled(definitions)
        type_ = module.TYPES[name]
        for annotated in filter(None, (type_.decode, type_.encode, type_.python_class)):
            typing.get_type_hints(annotated)  # every annotation can be read
        value, after = type_.decode(data, 0)
        assert after == len(data)
        assert encoded(type_, value) == data
        assert type_.read(data).value == value


def test_what_a_union_may_hold_is_in_its_annotation(compiled: Compile) -> None:
    module = compiled(
        "struct s { int a; }; enum e { A }; typedef opaque id[4]; typedef s many<>;"
        "union u switch (int k) { case 0: void; case 1: quadruple q; case 2: float f; case 3: bool b;"
        " case 4: string t<>; case 5: s *p; case 6: id i; case 7: many m; case 8: e n; case 9: hyper h; };"
    )
    hint = module.U.__annotations__["value"]
    assert hint == "bytes | float | bool | str | S | Id | Many | E | int | None"
    assert typing.get_type_hints(module.U)["value"] == (
        bytes | float | bool | str | module.S | list[module.S] | module.E | int | None
    )
    for held, annotation, hint in (
        ("quadruple q;", "bytes", bytes),
        ("opaque o[4];", "bytes", bytes),
        ("opaque o<>;", "bytes", bytes),
        ("string s<>;", "str | bytes", bytes | str),
        ("text t<>;", "list[Text]", list[bytes | str]),
    ):
        types = "typedef string text<>; enum e { A };"
        exact = compiled(f"{types} union u switch (int k) {{ case 1: {held} }};")
        assert exact.U.__annotations__["value"] == annotation
        assert typing.get_type_hints(exact.U)["value"] == hint


def test_constants_keep_their_spelling_and_their_origin(compiled: Compile) -> None:
    module = compiled(
        "const HEX = 0x1F; const OCTAL = 017; const TWICE = HEX; const OWN = OTHER; typedef opaque t[N];",
        '[N]\nvalue = 3\nheader = "a \\"b\\" \\\\ é.h"\n[OTHER]\nvalue = -4\n',
    )
    assert module.index.CONSTANTS["mine"] == {"HEX": 31, "OCTAL": 15, "TWICE": 31, "OWN": -4}
    assert module.index.EXTERNALS["mine"] == {"N": (3, 'a "b" \\ é.h'), "OTHER": (-4, None)}
    assert (module.HEX, module.N) == (31, 3)
    assert module.TYPES["t"].decode(b"abc\0", 0) == (b"abc", 4)


def test_sizes_of_types(compiled: Compile) -> None:
    module = compiled("struct s { opaque a[5]; string b<6>; int *c; hyper d<2>; }; typedef string t<>;")
    assert (module.TYPES["s"].min_size, module.TYPES["s"].max_size) == (8 + 4 + 4 + 4, 8 + 12 + 8 + 20)
    assert (module.TYPES["t"].min_size, module.TYPES["t"].max_size) == (4, None)


def test_a_discriminant_whose_name_python_hides(compiled: Compile) -> None:
    module = compiled("union u switch (int _k) { case 1: int a; default: void; };")
    assert module.U.__struct_fields__ == ("x_k", "value")
    assert module.U.__struct_encode_fields__ == ("_k", "value")
    value = module.TYPES["u"].decode(word(1) + word(2), 0)[0]
    assert (value.x_k, value.value) == (1, 2)


def test_a_procedure_with_a_type_of_another_file(tmp_path: Path) -> None:
    (tmp_path / "base.x").write_text("struct s { int a; };\n")
    (tmp_path / "calls.x").write_text(
        '%#include "base.h"\n'
        "struct own { s inner; };\n"
        "program P { version V { s F(s) = 1; own G(void) = 2; void H(own) = 3; } = 1; } = 0x20000001;\n"
    )
    loaded = registry.load(tmp_path)
    f, g, h = loaded.program("P").procedures
    assert f.args is f.ret is loaded.module("base").types["s"]
    assert (g.args, g.ret, h.ret) == (None, h.args, None)
    assert h.args is loaded.module("calls").types["own"]
    assert h.args.from_bytes(word(5)).inner == loaded.module("base").code.S(5)


def test_cases_are_named_beside_their_numbers(tmp_path: Path) -> None:
    (tmp_path / "mine.x").write_text(
        "enum e { A = 3, B = 4, C = 5 };"
        "union u switch (e k) { case A: case B: int one; case C: void; };"
        "union v switch (int k) { case 7: case -1: int one; case 8: void; default: int other; };"
    )
    made = pipeline.compile_python([tmp_path / "mine.x"])["mine.py"]
    lines = [line.strip() for line in made.splitlines()]
    found = [line for line in lines if line.startswith("match ") or ("case " in line and "  #" in line)]
    assert found == [
        *("match k:", "case 3 | 4:  # A, B", "case 5:  # C"),
        *("match value.k:", "case 3 | 4:  # A, B", "case 5:  # C"),
        *("match k:", "case 7 | -1:  # 7, -1", "case 8:  # 8", "case _:  # default"),
        *("match value.k:", "case 7 | -1:  # 7, -1", "case 8:  # 8", "case _:  # default"),
    ]


def test_functions_whose_names_fall_together_stay_apart(compiled: Compile) -> None:
    """`a.b` is the struct without a name in `a`."""
    module = compiled(
        "struct a { struct { int i; } b; }; struct a_b { hyper h; }; enum as { AS };"
        "const decode_a = 1; const encode_a_b = 2; const encode_as = 3; const encode_a_b_ = 4;"
        "const decode_as = 5;"
        "struct c { opaque d<decode_a>; opaque e[encode_a_b]; a f<encode_as>; a_b g[encode_a_b_];"
        " as h<decode_as>; };"
    )
    assert list(module.index.CONSTANTS["mine"].values()) == [1, 2, 3, 4, 5]
    assert {"decode_a_b", "decode_a_b_", "encode_a_b_", "decode_a_", "encode_as_", "encode_a_b__"} <= vars(
        module
    ).keys()
    inner, hyper = module.TYPES["a"].decode(word(7), 0)[0], module.TYPES["a_b"].decode(bytes(8), 0)[0]
    assert (inner.b.i, hyper.h) == (7, 0)
    value = module.C(b"x", b"yz", [inner], [hyper] * 4, [module.As.AS])
    data = encoded(module.TYPES["c"], value)
    assert module.TYPES["c"].decode(data, 0) == (value, len(data))


def test_a_decoder_has_one_statement_per_field(tmp_path: Path) -> None:
    """The functions read like the definition above them."""
    (tmp_path / "mine.x").write_text(
        "const MAX = 9; typedef string name<MAX>; typedef opaque uuid[16]; enum color { RED = 1 };"
        "struct part { hyper size; };"
        "struct whole { name n; uuid id; unsigned int flags; color c; part one; part *maybe; part some<MAX>;"
        " int two[2]; opaque rest<>; double d; whole *next; };"
    )
    made = pipeline.compile_python([tmp_path / "mine.x"])["mine.py"]
    assert _function(made, "decode_whole") == [
        "depth = deeper(depth, pos)",
        "n, pos = decode_name(buffer, pos)",
        "id, pos = decode_uuid(buffer, pos)",
        "flags, pos = read_unsigned_int(buffer, pos)",
        "c, pos = decode_color(buffer, pos)",
        "one, pos = decode_part(buffer, pos)",
        "maybe, pos = read_optional(buffer, pos, decode_part)",
        "some, pos = read_array(buffer, pos, MAX, decode_part, min_size=8)",
        "two, pos = read_fixed_array(buffer, pos, 2, read_int, min_size=4)",
        "rest, pos = read_opaque(buffer, pos, UNBOUNDED)",
        "d, pos = read_double(buffer, pos)",
        "next, pos = read_optional(buffer, pos, partial(decode_whole, depth=depth))",
        "return Whole(n, id, flags, c, one, maybe, some, two, rest, d, next), pos",
    ]
    assert _function(made, "encode_whole") == [
        "depth = deeper(depth)",
        "encode_name(value.n, put)",
        "encode_uuid(value.id, put)",
        "write_unsigned_int(value.flags, put)",
        "encode_color(value.c, put)",
        "encode_part(value.one, put)",
        "write_optional(value.maybe, put, encode_part)",
        "write_array(value.some, put, MAX, encode_part)",
        "write_fixed_array(value.two, put, 2, write_int)",
        "write_opaque(value.rest, put, UNBOUNDED)",
        "write_double(value.d, put)",
        "write_optional(value.next, put, partial(encode_whole, depth=depth))",
    ]


def _function(module: str, name: str) -> list[str]:
    """The statements of a generated function."""
    _, _, body = module.partition(f"def {name}(")
    return [line.strip() for line in body.split("\n\n\n")[0].splitlines()[1:]]


def test_a_field_may_have_the_name_of_a_function(compiled: Compile) -> None:
    module = compiled(
        "struct partial { int read_int; int decode_partial; int arm; int partial; partial *depth; };"
        "union put switch (int read_int) { case 1: int value; case 2: int arm; };"
    )
    inner = module.Partial(1, 2, 3, 4, None)
    value, union = module.Partial(5, 6, 7, 8, inner), module.Put_(2, 9)
    for name, each in (("partial", value), ("put", union)):
        data = encoded(module.TYPES[name], each)
        assert module.TYPES[name].decode(data, 0) == (each, len(data))


def test_fixed_arrays_have_room_for_their_elements(compiled: Compile) -> None:
    type_ = compiled("struct t { int a; hyper b; }; struct s { t some[3]; };").TYPES["s"]
    assert len(type_.decode(bytes(36), 0)[0].some) == 3
    with pytest.raises(Truncated, match="needs 36 bytes, 35 left"):
        type_.decode(bytes(35), 0)


def test_arrays_of_what_another_file_defines(tmp_path: Path) -> None:
    (tmp_path / "a.x").write_text("struct far { int a<3>; string b<3>; }; struct near { int a; };\n")
    (tmp_path / "b.x").write_text('%#include "a.h"\nstruct s { far one<3>; far two[1]; near three<2>; };\n')
    type_ = registry.load(tmp_path).type("s")
    data = word(1) + (word(1) + word(7) + text(b"ab")) * 2 + word(2) + word(3) + word(4)
    assert type_.decode(data, 0)[1] == len(data)
    assert type_.to_bytes(type_.from_bytes(data)) == data


def test_fields_with_joined_names_stay_apart(compiled: Compile) -> None:
    module = compiled(
        "struct t { int a; string b<>; }; union u switch (int b) { case 3: t c; };"
        "struct s { int d_a; string d_b<>; t *d; t some<2>; int item_a; u e; int e_b; int e_a; };"
    )
    inner = module.T(7, "x")
    value = module.S(1, "y", inner, [inner] * 2, 2, module.U(3, inner), 5, 6)
    data = encoded(module.TYPES["s"], value)
    assert module.TYPES["s"].decode(data, 0) == (value, len(data))


def test_labels_are_beside_what_they_stand_for(tmp_path: Path) -> None:
    (tmp_path / "mine.x").write_text(
        "const ONE = 1; union u switch (int k) { case ONE: case 2: void; case 3: int a; };"
    )
    module = pipeline.compile_python([tmp_path / "mine.x"])["mine.py"]
    for line in ("match k:", "match value.k:"):
        assert f"    {line}\n        case 1 | 2:  # ONE, 2\n" in module
    assert module.count("        case 3:  # 3\n") == 2


def test_types_within_types_make_no_more_than_a_multiple(tmp_path: Path) -> None:
    """Each type contains the previous one twice, by value or as optional-data."""
    sizes = []
    for count in (20, 40):
        lines = ["struct t0 { string a<>; hyper b; };", "typedef t0 *o0;"]
        for n in range(1, count):
            lines.append(f"struct t{n} {{ t{n - 1} a; t{n - 1} b; o{n - 1} c; t{n - 1} d<>; }};")
            lines.append(f"typedef o{n - 1} *o{n};")
        (tmp_path / "mine.x").write_text("\n".join(lines))
        sizes.append(len(pipeline.compile_python([tmp_path / "mine.x"])["mine.py"]))
    assert sizes[1] < 2.2 * sizes[0]


@pytest.mark.parametrize(
    "definitions",
    [
        lambda count: "".join(f"struct t{n} {{ int a; string b<>; }};\n" for n in range(count)),
        lambda count: f"struct t {{ {' '.join(f'int a{n};' for n in range(count))} }};\n",
        lambda count: f"enum t {{ {', '.join(f'A{n} = {n}' for n in range(count))} }};\n",
    ],
    ids=["types", "fields", "members"],
)
def test_work_grows_with_definitions(tmp_path: Path, definitions: Callable[[int], str]) -> None:
    def act(count: int) -> Callable[[], object]:
        (tmp_path / "mine.x").write_text(definitions(count))
        schema = load_schema([tmp_path / "mine.x"])
        return lambda: pipeline.generate(schema, "python")

    once, four_times = grown(act, 200)
    assert four_times.calls < 4 * NOISE * once.calls
    assert four_times.allocated < 4 * NOISE * once.allocated


def test_no_limit_is_none(compiled: Compile) -> None:
    module = compiled("struct s { string a<>; opaque b<>; int c<>; string d<4>; };")
    limits = [field.node.limit for field in module.TYPES["s"].node.fields]
    assert [limit and limit.value for limit in limits] == [None, None, None, 4]


def test_classes_of_two_files_that_fall_together_stay_apart(tmp_path: Path) -> None:
    (tmp_path / "a.x").write_text("struct foo_bar { int a; };\n")
    (tmp_path / "b.x").write_text('%#include "a.h"\nstruct fooBar { foo_bar one; fooBar *next; };\n')
    (tmp_path / "c.x").write_text("struct FooBar { hyper h; };\n")
    loaded = registry.load(tmp_path)
    assert [module.types.keys() for module in loaded.modules()] == [{"foo_bar"}, {"fooBar"}, {"FooBar"}]
    names = [type_.python_class.__name__ for module in loaded.modules() for type_ in module.types.values()]
    assert names == ["FooBar", "FooBar_", "FooBar"]
    value, after = loaded.type("fooBar").decode(word(5) + word(0), 0)
    assert (value.one.a, value.next, after) == (5, None, 8)


@pytest.mark.parametrize("number", [2, 2**31, 2**32 - 1])
def test_numbers_that_are_no_booleans(compiled: Compile, number: int) -> None:
    """Whatever C's filters would take: the fast way takes 0 and 1."""
    module = compiled(
        "struct s { int a; bool b; }; typedef bool many<>; union u switch (bool b) { default: void; };"
    )
    odd = number.to_bytes(4, "big")
    for name, data in (("s", word(1) + odd), ("many", word(1) + odd), ("u", odd)):
        with pytest.raises(NotCanonical, match=f"boolean {number} is neither 0 nor 1"):
            module.TYPES[name].decode(data, 0)
