"""The tables of the dissector, written by hand, and its filter names."""

from __future__ import annotations

import re

import pytest

from libvirt_proto_codegen.definitions import load_release
from libvirt_proto_codegen.externals import KNOWN
from libvirt_proto_codegen.quoting import lua_string
from libvirt_proto_codegen.reader import read_specification
from libvirt_proto_codegen.resolve import resolve
from libvirt_proto_codegen.schema import Schema
from libvirt_proto_codegen.source import Source
from libvirt_proto_codegen.targets.wireshark import generate

HEAD = """
const DEMO_PROGRAM = 0x20000001;
const DEMO_PROTOCOL_VERSION = 1;
enum demo_procedure { DEMO_PROC_GET = 1, DEMO_PROC_LIST_ALL = 3 };
"""
SMALL = """
enum demo_kind { DEMO_KIND_FILE = 0, DEMO_KIND_NET = -1 };
typedef opaque demo_uuid[16];
typedef string demo_name<32>;
struct demo_nonnull_thing { demo_name name; demo_uuid uuid; };
union demo_value switch (int type) {
case 1:
case 2:
    unsigned hyper size;
case 3:
    void;
default:
    demo_name *text;
};
struct demo_get_args { demo_nonnull_thing thing; demo_kind kind; };
struct demo_get_ret { demo_value values<8>; };
struct demo_list_all_ret { demo_nonnull_thing things<16>; int kind; };
struct demo_unused { int number; };
"""
#: Types have the numbers of the plan's rows.
TABLES = """\
local NAMES = {
  {[-1] = "DEMO_KIND_NET", [0] = "DEMO_KIND_FILE"},
}
local FIELDS = {
  {"args.kind", "kind", "int32", 1},
  {"args.thing", "thing", "none"},
  {"ret.kind", "kind", "int32"},
  {"ret.things", "things", "none"},
  {"ret.values", "values", "none"},
  {"thing.name", "name", "string"},
  {"thing.uuid", "uuid", "guid"},
  {"value.size", "size", "uint64"},
  {"value.text", "text", "string"},
  {"value.type", "type", "int32"},
}
local MEANINGS = {
}
local TYPES = {
  [0] = {kind = "uuid"},
  [2] = {kind = "enum", names = 1},
  [4] = {kind = "opaque[]", limit = 16},
  [6] = {kind = "string<>", limit = 32},
  [7] = {kind = "struct", name = "demo_nonnull_thing", parts = {{"name", 6, 6}, {"uuid", 0, 7}}},
  [8] = {kind = "union", name = "demo_value", \
parts = {{"type", 9, 10}, {"size", 10, 8}, false, {"text", 12, 9}}, \
arms = {[1] = 2, [2] = 2, [3] = 3, default = 4}},
  [9] = {kind = "int"},
  [10] = {kind = "unsigned hyper"},
  [11] = {kind = "void"},
  [12] = {kind = "*", of = 6},
  [13] = {kind = "struct", name = "demo_get_args", parts = {{"thing", 7, 2}, {"kind", 2, 1}}},
  [14] = {kind = "struct", name = "demo_get_ret", parts = {{"values", 15, 5}}},
  [15] = {kind = "<>", limit = 8, size = 4, of = 8},
  [16] = {kind = "struct", name = "demo_list_all_ret", parts = {{"things", 17, 4}, {"kind", 9, 3}}},
  [17] = {kind = "<>", limit = 16, size = 20, of = 7},
}
local PROGRAMS = {
  {name = "demo", number = 536870913, version = 1, procedures = {
    [1] = {"get", {"demo_get_args", 13}, {"demo_get_ret", 14}},
    [3] = {"list_all", nil, {"demo_list_all_ret", 16}}
  }},
}
local ERROR = nil
local STREAM_HOLE = nil
"""


def schema(text: str) -> Schema:
    return resolve(
        [read_specification(Source("demo.x", HEAD + text))], externals=KNOWN, release=None, inputs=()
    )


def script(text: str) -> str:
    (artefact,) = generate(schema(text))
    assert artefact.path == "libvirt_rpc.lua"
    return artefact.text


def tables(text: str) -> str:
    """The tables, without comments and empty lines."""
    start, stop = text.index("local NAMES"), text.index("-- Limits and layout")
    lines = text[start:stop].splitlines(keepends=True)
    return "".join(line for line in lines if line.strip() and not line.startswith("--"))


def names(text: str) -> dict[str, str]:
    """Filter name → kind."""
    return dict(re.findall(r'^  \{"([\w.]+)", "\w+", "(\w+)"', tables(script(text)), re.MULTILINE))


def test_tables_of_small_definitions() -> None:
    assert tables(script(SMALL)) == TABLES


def test_meanings_of_numbers() -> None:
    """Flags, an enum, and one that another field decides."""
    newest = tables(generate(load_release(None))[0].text)
    (number,) = re.findall(
        r'^  \{bits = \{\{"VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN", 1\}.*\n', newest, re.MULTILINE
    )
    assert '{"VIR_DOMAIN_SHUTDOWN_PARAVIRT", 16}}' in number
    assert re.search(r'^  \{by = "state", names = \{\[0\] = \d+, \[1\] = \d+', newest, re.MULTILINE)
    assert '{"error.code", "code", "int32", ' in newest


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Signed and unsigned numbers share a name and a type that has both.
        (
            "struct demo_get_args { int n; }; struct demo_list_all_args { unsigned int n; };",
            {"args.n": "int64"},
        ),
        (
            "struct demo_get_args { unsigned n; }; struct demo_list_all_args { unsigned hyper n; };",
            {"args.n": "uint64"},
        ),
        # No type has these.
        (
            "struct demo_get_args { int n; }; struct demo_list_all_args { unsigned hyper n; };",
            {"args.n": "int32", "args.n_unsigned": "uint64"},
        ),
        (
            "struct demo_get_ret { string n<>; }; struct demo_list_all_ret { opaque n<>; };",
            {"ret.n": "string", "ret.n_bytes": "bytes"},
        ),
        # Names of structs, without the prefix of the program.
        (
            "struct demo_nonnull_ThingOfMine { int n; };"
            "struct demo_get_args { demo_nonnull_ThingOfMine thing; };",
            {"args.thing": "none", "thing_of_mine.n": "int32"},
        ),
        (
            "struct demo { int procedure; }; struct demo_get_args { demo d; };",
            {"args.d": "none", "demo.procedure_": "int32"},
        ),
        # A field of elements, and of optional-data.
        ("struct demo_get_args { bool n<3>; double *d; };", {"args.n": "bool", "args.d": "double"}),
    ],
)
def test_filter_names(text: str, expected: dict[str, str]) -> None:
    assert names(text) == expected


@pytest.mark.parametrize("release", ["0.9.7", "1.2.9", "10.0.0", "12.9.0"])
def test_filter_names_are_distinct_in_every_release(release: str) -> None:
    """Wireshark rejects a second field of a name with another type."""
    text = generate(load_release(release))[0].text
    found = re.findall(r'^  \{"([\w.]+)", "\w+", "\w+"', tables(text), re.MULTILINE)
    assert len(found) == len({*found}) > 200
    assert {"domain.name", "domain.uuid", "error.code", "network.name", "args.flags"} <= {*found}


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("plain_name", r'"plain_name"'),
        ("a]]b --[[ c", r'"a]]b --[[ c"'),
        ('back\\slash "quoted"', r'"back\\slash \"quoted\""'),
        ("line\nend\r\x001", r'"line\010end\013\0001"'),
        ("é", r'"\195\169"'),
    ],
)
def test_quoting(text: str, quoted: str) -> None:
    assert lua_string(text) == quoted


def test_names_of_files_stay_in_comments() -> None:
    definitions = schema(SMALL)
    head = generate(definitions)[0].text.split("\n\n")[0]
    assert all(line.startswith("-- ") for line in head.splitlines())
