"""Every version of libvirt's definitions, against what regular expressions count in their text, and
against upstream's own record of the compiled layout."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from libvirt_proto_codegen.definitions import load_schema
from libvirt_proto_codegen.externals import KNOWN
from libvirt_proto_codegen.releases import archive_of, root
from libvirt_proto_codegen.releases.archive import Release
from libvirt_proto_codegen.releases.facts import read_history
from libvirt_proto_codegen.releases.fold import fold
from libvirt_proto_codegen.schema import (
    Array,
    Enumeration,
    FixedArray,
    Floating,
    Integer,
    Module,
    Named,
    Node,
    Opaque,
    Optional,
    Schema,
    String,
    Structure,
    TypeDef,
    UnionType,
)
from tests.differential.releases import canonical, schema_of

#: Programs' numbers, as the wire has them.
NUMBERS = {
    "remote": 0x20008086,
    "qemu": 0x20008087,
    "lxc": 0x00068000,
    "admin": 0x06900690,
    "lock_space": 0x0EA7BEEF,
    "log_manager": 0x87539319,
    "lxc_monitor": 0x12341234,
    "keepalive": 0x6B656570,
}


#: The monitor's program was VIR_LXC_PROTOCOL_PROGRAM before it was VIR_LXC_MONITOR_PROGRAM; for two releases
#: beside LXC_PROGRAM, from which its short name must differ.
OLD_MONITOR = dict.fromkeys(["0.10.0", "0.10.1", "0.10.2", "1.0.0", "1.0.1"], "lxc")
OLD_MONITOR |= {f"0.10.2.{patch}": "lxc" for patch in range(1, 9)}
OLD_MONITOR |= {"1.0.2": "lxc_monitor", "1.0.3": "lxc_monitor"}


def plain(text: str) -> str:
    """A definition without comments and `%` lines."""
    return re.sub(r"/\*.*?\*/|//[^\n]*|^%[^\n]*", " ", text, flags=re.DOTALL | re.MULTILINE)


def check_counts(module: Module, text: str) -> None:
    """As many of everything as the text has, and each by the name and number that stands there."""
    assert [constant.name for constant in module.constants] == re.findall(r"\bconst\s+(\w+)\s*=", text)
    kinds = {Structure: "struct", UnionType: "union", Enumeration: "enum"}
    for kind, keyword in kinds.items():
        defined = {type_.name for type_ in module.types if isinstance(type_.node, kind)}
        assert defined == set(re.findall(rf"^\s*{keyword}\s+(\w+)\s*(?:\{{|switch)", text, re.MULTILINE))
    assert not any(type_.anonymous or type_.recursive for type_ in module.types)


def check_procedures(module: Module, text: str) -> int:
    """Every procedure with its number, and every args, ret and msg with its procedure."""
    written = {
        name: int(number, 0) for name, number in re.findall(r"\b(\w+_PROC_\w+)\s*=\s*(\w+)\s*[,}\s]", text)
    }
    procedures = [procedure for program in module.programs for procedure in program.procedures]
    assert {procedure.name: procedure.number for procedure in procedures} == written
    claimed = {
        (part, type_.name): procedure
        for procedure in procedures
        for part, type_ in (("args", procedure.args), ("ret", procedure.ret), ("msg", procedure.msg))
        if type_
    }
    endings = re.findall(r"\bstruct\s+(\w*?_?(args|ret|msg|Args|Ret|Msg))\s*\{", text)
    named = {
        (ending.lower(), name)
        for name, ending in endings
        if ending[0].isupper() or name.endswith(f"_{ending}")
    }
    assert set(claimed) == named
    for (part, name), procedure in claimed.items():
        joined = procedure.name.replace("_PROC_", "_", 1).replace("_", "").lower() + part
        assert name.replace("_", "").lower() == joined
    return len(procedures)


@pytest.mark.parametrize("part", range(7))
def test_all_releases(releases: dict[str, dict[str, str]], part: int) -> None:
    """All 133 parse and resolve, and nothing of them is lost. The archive that is shipped has them all, as
    the importer prints them."""
    assert len(releases) == 133
    archive = archive_of(root())
    for release, texts in sorted(releases.items())[part::7]:
        schema = schema_of(texts, release)
        kept = {file: text for file, text in archive.texts(release).items() if file.endswith(".x")}
        assert kept == {file: canonical(file, text) for file, text in texts.items()}
        assert [module.file for module in schema.modules] == sorted(texts)
        programs = [
            (program.name, program.short, program.number)
            for module in schema.modules
            for program in module.programs
        ]
        assert len({short for _, short, _ in programs}) == len(programs)
        for name, short, number in programs:
            if release in OLD_MONITOR and name == "VIR_LXC_PROTOCOL_PROGRAM":
                assert (short, number) == (OLD_MONITOR[release], NUMBERS["lxc_monitor"])
            else:
                assert number == NUMBERS[short]
        assert {"remote", "qemu"} <= {short for _, short, _ in programs}
        total = 0
        for module in schema.modules:
            text = plain(texts[module.file])
            check_counts(module, text)
            total += check_procedures(module, text)
        assert total > 250


def test_the_history_that_is_shipped(releases: dict[str, dict[str, str]]) -> None:
    """It is what folding upstream's own texts gives."""
    schemas: dict[str, Schema] = {}

    def load(release: Release) -> Schema:
        texts = releases[release.name]
        key = repr(sorted(texts.items()))
        if key not in schemas:
            schemas[key] = schema_of(texts, "")
        return schemas[key]

    archive = archive_of(root())
    assert set(archive.names) >= releases.keys()
    known = [release for release in archive.releases if release.name in releases]
    history = fold(known, load)
    shipped = read_history((root() / "history.json").read_text())
    if shipped.last == history.last:  # else a newer release was imported since
        assert history == shipped


# What upstream recorded of the compiled C: rpcgen's types, printed by pdwtags.

C_NAMES = {
    "int": "int",
    "unsigned int": "u_int",
    "hyper": "int64_t",
    "unsigned hyper": "uint64_t",
    "char": "char",
    "unsigned char": "u_char",
    "short": "short",
    "unsigned short": "u_short",
}


def c_type(node: Node) -> str:
    match node:
        case Integer(spelling=spelling):
            return C_NAMES[spelling]
        case Floating(64):
            return "double"
        case Named(name=name):
            return name
        case _:
            raise AssertionError(node)


def c_field(name: str, node: Node) -> str:
    """A field as rpcgen declares it."""
    match node:
        case FixedArray(element, size):
            return f"{c_type(element)} {name} [ {size.value} ] ;"
        case Optional(element):
            return f"{c_type(element)} * {name} ;"
        case String():
            return f"char * {name} ;"
        case Opaque():
            return f"struct {{ u_int {name}_len ; char * {name}_val ; }} {name} ;"
        case Array(element):
            return f"struct {{ u_int {name}_len ; {c_type(element)} * {name}_val ; }} {name} ;"
        case _:
            return f"{c_type(node)} {name} ;"


def c_definition(type_: TypeDef) -> str | None:
    """A definition as pdwtags prints it; None for a typedef, which it does not print."""
    name = type_.name
    match type_.node:
        case Structure(fields):
            inside = " ".join(c_field(field.name, field.node) for field in fields)
            return f"struct {name} {{ {inside} }} ;"
        case UnionType(discriminant, arms):
            inside = " ".join(c_field(arm.name, arm.node) for arm in arms if arm.name)
            tag = c_field(discriminant.name, discriminant.node)
            return f"struct {name} {{ {tag} union {{ {inside} }} {name}_u ; }} ;"
        case Enumeration(members):
            inside = " ".join(f"{member.name} = {member.value} ," for member in members)
            return f"enum {name} {{ {inside} }} ;"
        case _:
            return None


def recorded(text: str) -> Iterator[tuple[str, str]]:
    """(name, definition), its tokens one space apart."""
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.DOTALL)
    for definition in re.findall(r"^(?:struct|enum)\s+\w+\s*\{.*?^\};", text, re.DOTALL | re.MULTILINE):
        tokens = re.findall(r"\w+|[^\w\s]", definition)
        yield tokens[1], " ".join(tokens)


@pytest.mark.parametrize("release", ["0.9.7", "2.0.0", "10.0.0"])
def test_the_compiled_layout(shared: Path, release: str) -> None:
    folder = shared / "libvirt" / release
    schema = load_schema([folder], defines={name: external.value for name, external in KNOWN.items()})
    definitions = [type_ for module in schema.modules for type_ in module.types]
    ours = {type_.name: text for type_ in definitions if (text := c_definition(type_))}
    compared = 0
    for module in schema.modules:
        structs = folder / f"{module.file.removesuffix('.x')}-structs"
        if not structs.is_file():  # upstream keeps none for the log manager
            continue
        theirs = dict(recorded(structs.read_text()))
        assert {name: ours.get(name) for name in theirs} == theirs
        compared += len(theirs)
    assert compared > {"0.9.7": 300, "2.0.0": 500, "10.0.0": 600}[release]
