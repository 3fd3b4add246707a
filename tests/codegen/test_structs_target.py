"""Layout files of definitions. Expected texts are written by hand, following pdwtags."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from libvirt_proto.codec.types import Structure
from libvirt_proto_codegen.definitions import load_schema
from libvirt_proto_codegen.externals import KNOWN
from libvirt_proto_codegen.reader import read_specification
from libvirt_proto_codegen.resolve import resolve
from libvirt_proto_codegen.schema import Schema
from libvirt_proto_codegen.source import Source
from libvirt_proto_codegen.targets.structs import generate


def schema(**files: str) -> Schema:
    """The Schema of files by name, without the `.x`."""
    specifications = [read_specification(Source(f"{name}.x", text)) for name, text in files.items()]
    return resolve(specifications, externals=KNOWN, release=None, inputs=())


def layouts(**files: str) -> dict[str, str]:
    """The texts of the layout files, without the common first line."""
    found = {}
    for artefact in generate(schema(**files)):
        first, _, found[artefact.path] = artefact.text.partition("\n")
        assert first == "/* -*- c -*- */"
    return found


def layout(text: str) -> str:
    return layouts(a=text)["a-structs"]


def test_every_kind_of_field() -> None:
    text = """
        const N = 4;
        enum color { RED = 0, GREEN = 1, BLUE = -3 };
        typedef string word<>;
        struct pair { int a; unsigned int b; };
        struct all {
            int i; unsigned int ui; unsigned u; hyper h; unsigned hyper uh; char c; unsigned char uc;
            short s; unsigned short us; bool b; float f; double d;
            opaque fixed[16]; opaque variable<>; string text<12>; word name;
            int numbers[N]; pair pairs<N>; color *perhaps; color colors<>;
            struct pair written; enum color shade;
        };
    """
    assert (
        layout(text)
        == """\
enum color {
        RED = 0,
        GREEN = 1,
        BLUE = -3,
};
struct pair {
        int                        a;
        u_int                      b;
};
struct all {
        int                        i;
        u_int                      ui;
        u_int                      u;
        int64_t                    h;
        uint64_t                   uh;
        char                       c;
        u_char                     uc;
        short int                  s;
        u_short                    us;
        bool_t                     b;
        float                      f;
        double                     d;
        char                       fixed[16];
        struct {
                u_int              variable_len;
                char *             variable_val;
        } variable;
        char *                     text;
        word                       name;
        int                        numbers[4];
        struct {
                u_int              pairs_len;
                pair *             pairs_val;
        } pairs;
        color *                    perhaps;
        struct {
                u_int              colors_len;
                color *            colors_val;
        } colors;
        struct pair                written;
        enum color                 shade;
};
"""
    )


def test_long_names_exceed_the_column() -> None:
    text = """
        typedef int exactly_twenty_six_letters;
        typedef int twenty_seven_letters_it_has;
        struct s { exactly_twenty_six_letters a; twenty_seven_letters_it_has b; exactly_twenty_six_letters *c;
                   exactly_twenty_six_letters d<>; };
    """
    assert (
        layout(text)
        == """\
struct s {
        exactly_twenty_six_letters a;
        twenty_seven_letters_it_has b;
        exactly_twenty_six_letters * c;
        struct {
                u_int              d_len;
                exactly_twenty_six_letters * d_val;
        } d;
};
"""
    )


def test_unions() -> None:
    text = """
        struct node { int v; node *next; };
        union u switch (int kind) {
            case 1: int number; case 2: case 3: void; case 4: opaque bytes<8>; default: node *rest;
        };
        union nothing switch (bool there) { case TRUE: void; case FALSE: void; };
    """
    assert (
        layout(text)
        == """\
struct node {
        int                        v;
        struct node *              next;
};
struct u {
        int                        kind;
        union {
                int                number;
                struct {
                        u_int      bytes_len;
                        char *     bytes_val;
                } bytes;
                node *             rest;
        } u_u;
};
struct nothing {
        bool_t                     there;
        union {
        } nothing_u;
};
"""
    )


def test_nested_bodies() -> None:
    text = """
        struct outer { struct { int a; } in[2]; enum { P = 1 } kind;
            union switch (int k) { case 1: int n; default: void; } u; struct { int q; } *perhaps; };
        typedef struct { int x; } named;
        typedef struct { int y; } list<4>;
    """
    assert (
        layout(text)
        == """\
struct outer {
        struct {
                int                a;
        } in[2];
        enum {
                P = 1,
        } kind;
        struct {
                int                k;
                union {
                        int        n;
                } u_u;
        } u;
        struct {
                int                q;
        } * perhaps;
};
struct named {
        int                        x;
};
typedef struct {
        u_int                      list_len;
        struct {
                int                y;
        } * list_val;
} list;
"""
    )


def test_types_of_other_files_precede() -> None:
    """Types used directly, through a typedef, or by another used type, in the order of their file."""
    base = """
        struct deep { int d; };
        struct unused { int u; };
        struct used { deep inside; };
        typedef used *maybe;
        struct last { int l; };
    """
    found = layouts(b=base, a='%#include "b.h"\nstruct own { last z; maybe m<>; };')
    assert (
        found["a-structs"]
        == """\
struct deep {
        int                        d;
};
struct used {
        deep                       inside;
};
struct last {
        int                        l;
};
struct own {
        last                       z;
        struct {
                u_int              m_len;
                maybe *            m_val;
        } m;
};
"""
    )
    assert found["b-structs"].startswith("struct deep {")
    assert "own" not in found["b-structs"]


OLD = """
    struct remote_nonnull_domain { int id; };
    union remote_typed_param_value switch (int type) {
        case VIR_TYPED_PARAM_UINT: unsigned int ui;
        case VIR_TYPED_PARAM_INT: int i;
    };
"""
HEAD = """\
enum {
        VIR_TYPED_PARAM_INT = 1,
        VIR_TYPED_PARAM_UINT = 2,
};
"""


def test_header_enum_precedes_old_definitions() -> None:
    """Its members are the case labels of the file, in numeric order."""
    admin = "union admin_value switch (int type) { case VIR_TYPED_PARAM_STRING: int s; };"
    found = layouts(remote_protocol=OLD, admin_protocol=admin, lock_protocol="struct vir { int a; };")
    assert found["remote_protocol-structs"].startswith(f"{HEAD}struct remote_nonnull_domain {{\n")
    head = "enum {\n        VIR_TYPED_PARAM_STRING = 7,\n};\nstruct admin_value {\n"
    assert found["admin_protocol-structs"].startswith(head)
    assert found["lock_protocol-structs"].startswith("struct vir {")


def test_header_enum_is_absent_from_newer_definitions() -> None:
    newer = OLD + "struct remote_nonnull_network_port { int id; };"
    assert layouts(remote_protocol=newer)["remote_protocol-structs"].startswith(
        "struct remote_nonnull_domain"
    )
    other = OLD.replace("remote_nonnull_domain", "my_domain")
    assert layout(other).startswith("struct my_domain")


def test_log_manager_has_a_file_only_by_itself() -> None:
    log = "struct virLogManagerProtocolDomain { int id; };"
    assert sorted(layouts(log_protocol=log, lock_protocol="struct l { int x; };")) == [
        "lock_protocol-structs"
    ]
    assert sorted(layouts(log_protocol=log)) == ["log_protocol-structs"]


def test_definitions_without_any_type() -> None:
    assert layout("const N = 1; typedef int number;") == ""


@pytest.mark.parametrize("release", ["0.9.7", "10.0.0", "12.9.0"])
def test_releases(root: Path, release: str) -> None:
    """One file for each .x except the log manager's, with every type of the .x in order."""
    folder = root / "protocol-defs" / release
    found = {artefact.path: artefact.text for artefact in generate(load_schema([folder]))}
    files = {f"{path.stem}-structs": path.read_text() for path in folder.glob("*.x")}
    files.pop("log_protocol-structs", None)
    assert found.keys() == files.keys()
    for path, text in files.items():
        defined = re.findall(r"^(?:struct|union|enum) (\w+)", text, re.MULTILINE)
        assert defined
        printed = re.findall(r"^(?:struct|enum) (\w+) \{$", found[path], re.MULTILINE)
        assert printed[len(printed) - len(defined) :] == defined


@pytest.mark.parametrize("file", ["everything.x", "file.x", "names.x"])
def test_output_has_every_type(root: Path, file: str) -> None:
    """For any definitions, each struct's fields follow its name, once each, in order."""
    loaded = load_schema([root / "tests" / "definitions" / file])
    texts = {artefact.path: artefact.text for artefact in generate(loaded)}
    structs = 0
    for module in loaded.modules:
        text = texts[f"{module.name}-structs"]
        for type_ in module.types:
            if isinstance(type_.node, Structure) and not type_.anonymous:
                (body,) = re.findall(rf"^struct {type_.name} \{{\n(.*?)^\}};", text, re.DOTALL | re.MULTILINE)
                found = re.findall(r"^ {8}\S.*?(\w+)(?:\[\d+\])?;$", body, re.MULTILINE)
                assert found == [field.name for field in type_.node.fields]
                structs += 1
    assert structs
