"""Every version of the libvirt definitions, compared with counts by regular expressions and with the upstream
layout files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest

from libvirt_proto.codec.types import Enumeration, Structure, UnionType
from libvirt_proto_codegen.definitions import load_schema
from libvirt_proto_codegen.releases import archive_of, root
from libvirt_proto_codegen.releases.facts import read_history
from libvirt_proto_codegen.releases.fold import difference, fold
from libvirt_proto_codegen.releases.version import version_key
from libvirt_proto_codegen.schema import Module
from libvirt_proto_codegen.structs_files import Comparison, compare_layouts
from libvirt_proto_codegen.targets import structs
from tests.differential.releases import canonical, distinct, schema_of

#: Program numbers, as on the wire.
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


#: The monitor's program was VIR_LXC_PROTOCOL_PROGRAM before it was VIR_LXC_MONITOR_PROGRAM. Two releases
#: also have LXC_PROGRAM, so the short names must differ.
OLD_MONITOR = dict.fromkeys(["0.10.0", "0.10.1", "0.10.2", "1.0.0", "1.0.1"], "lxc")
OLD_MONITOR |= {f"0.10.2.{patch}": "lxc" for patch in range(1, 9)}
OLD_MONITOR |= {"1.0.2": "lxc_monitor", "1.0.3": "lxc_monitor"}


def plain(text: str) -> str:
    """A definition without comments and `%` lines."""
    return re.sub(r"/\*.*?\*/|//[^\n]*|^%[^\n]*", " ", text, flags=re.DOTALL | re.MULTILINE)


def check_counts(module: Module, text: str) -> None:
    """Compare the number of definitions with the text, and each name and number."""
    assert [constant.name for constant in module.constants] == re.findall(r"\bconst\s+(\w+)\s*=", text)
    kinds = {Structure: "struct", UnionType: "union", Enumeration: "enum"}
    for kind, keyword in kinds.items():
        defined = {type_.name for type_ in module.types if isinstance(type_.node, kind)}
        assert defined == set(re.findall(rf"^\s*{keyword}\s+(\w+)\s*(?:\{{|switch)", text, re.MULTILINE))
    assert not any(type_.anonymous or type_.recursive for type_ in module.types)


def check_procedures(module: Module, text: str) -> int:
    """Every procedure has its number, and every args, ret and msg type its procedure."""
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


def check_layout(module: Module, text: str, layout: str, release: str) -> None:
    """All types are in the order of the .x, each with all its fields and arms once."""
    read = dict(definitions(layout))
    labels = list(dict.fromkeys(re.findall(r"\bcase\s+(VIR_TYPED_PARAM_\w+)", text)))
    old = version_key(release) < version_key("5.5.0")
    assert read.pop("", []) == (labels if old else [])
    names = re.findall(r"^\s*(?:struct|union|enum)\s+(\w+)\s*(?:\{|switch)", text, re.MULTILINE)
    assert list(read)[len(read) - len(names) :] == names
    assert set(list(read)[: len(read) - len(names)]) <= {"remote_nonnull_domain"}
    for type_ in module.types:
        match type_.node:
            case Structure(fields):
                assert read[type_.name] == [field.name for field in fields]
            case UnionType(discriminant, arms):
                assert read[type_.name] == [discriminant.name, *(arm.name for arm in arms if arm.name)]
            case Enumeration(members):
                assert read[type_.name] == [member.name for member in members]


@cache
def definitions(layout: str) -> Sequence[tuple[str, list[str]]]:
    """The type names in a layout file, each with its fields (for a union: and arms) or members."""
    return [
        (name, re.findall(r"(\w+)(?:\[\d+\])?(?: = -?\d+,|;)", re.sub(r"\w+_(len|val|u);", "", body)))
        for name, body in re.findall(
            r"^(?:struct|enum) ?(\w*) \{\n(.*?)^\};", layout, re.DOTALL | re.MULTILINE
        )
    ]


@pytest.mark.parametrize("part", range(7))
def test_every_release_matches_its_text(releases: dict[str, dict[str, str]], part: int) -> None:
    """All releases parse and resolve without loss, each state once. The bundled archive has them all, in the
    importer's canonical form (printing and parsing it again changes nothing)."""
    assert len(releases) == 162
    archive = archive_of(root())
    for release, same in sorted(distinct(releases).items())[part::7]:
        texts = releases[release]
        schema = schema_of(texts)
        printed = {file: canonical(file, text) for file, text in texts.items()}
        for name in same:
            kept = {file: text for file, text in archive.texts(name).items() if file.endswith(".x")}
            assert kept == printed
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
        layouts = {artefact.path: artefact.text for artefact in structs.generate(schema)}
        total = 0
        for module in schema.modules:
            text = plain(texts[module.file])
            check_counts(module, text)
            total += check_procedures(module, text)
            if module.file != "log_protocol.x":
                check_layout(module, text, layouts[f"{module.file.removesuffix('.x')}-structs"], release)
        assert total > 250


def test_bundled_history_is_current(releases: dict[str, dict[str, str]]) -> None:
    """The bundled history equals the fold of the upstream texts."""
    archive = archive_of(root())
    assert set(archive.names) >= releases.keys()
    known = [release for release in archive.releases if release.name in releases]
    history = fold(known, difference(lambda release: schema_of(releases[release.name])))
    shipped = read_history((root() / "history.json").read_text())
    if shipped.last == history.last:  # otherwise a newer release was imported since
        assert history == shipped


# Layout files, compared with upstream's, which come from compiled C.

#: Hand-written lines of 10.0.0: their white space differs from pdwtags' output.
TYPED = {
    "admin_protocol-structs": [170],
    "qemu_protocol-structs": [65],
    "remote_protocol-structs": [572, 1118, 1131],
}
FILES = {"0.9.7": 3, "2.0.0": 8, "10.0.0": 8}


@pytest.mark.parametrize("release", FILES)
def test_layout_files_match_upstream(shared: Path, release: str) -> None:
    """Equal byte for byte, except for those lines, which differ only in white space."""
    folder = shared / "libvirt" / release
    made = {artefact.path: artefact.text for artefact in structs.generate(load_schema([folder], known=True))}
    theirs = {path.name: path.read_bytes().decode() for path in folder.glob("*-structs")}
    assert len(theirs) == FILES[release]
    assert made.keys() == theirs.keys()
    for name, text in theirs.items():
        lines = list(zip(text.split("\n"), made[name].split("\n"), strict=True))
        different = [number for number, (old, new) in enumerate(lines, 1) if old != new]
        assert different == (TYPED.get(name, []) if release == "10.0.0" else []), name
        assert all(lines[number - 1][0].split() == lines[number - 1][1].split() for number in different)
        verdict = "white space" if different else "equal"
        assert compare_layouts(text, made[name]) == Comparison(verdict, tuple(different))
