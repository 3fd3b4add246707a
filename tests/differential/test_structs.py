"""Layout files, compared with a C compiler's and pdwtags' output for rpcgen's code, as in libvirt's build."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from libvirt_proto_codegen.definitions import load_schema
from libvirt_proto_codegen.structs_files import squeezed
from libvirt_proto_codegen.targets.structs import HEAD, generate

pytestmark = pytest.mark.system("rpcgen", "gcc", "pdwtags")

#: Definitions from libvirt's headers.
OUTSIDE = """\
#pragma once
#define VIR_UUID_BUFLEN 16
#define VIR_SECURITY_MODEL_BUFLEN 257
#define VIR_SECURITY_LABEL_BUFLEN 4097
#define VIR_SECURITY_DOI_BUFLEN 257
enum { VIR_TYPED_PARAM_INT = 1, VIR_TYPED_PARAM_UINT, VIR_TYPED_PARAM_LLONG, VIR_TYPED_PARAM_ULLONG,
       VIR_TYPED_PARAM_DOUBLE, VIR_TYPED_PARAM_BOOLEAN, VIR_TYPED_PARAM_STRING };
"""

#: Constructs that rpcgen accepts and libvirt does not use.
SHAPES = """
const N = 4;
enum my_color { RED = 0, GREEN = 1, BLUE = -3 };
typedef string my_text<>;
typedef int my_five[5];
struct my_node { int v; my_node *next; };
struct my_scalars {
    bool b; float f; double d; hyper h; unsigned hyper uh; char c; unsigned char uc; short s;
    unsigned short us; unsigned u; unsigned int ui; my_five five; enum my_color shade; struct my_node node;
};
struct my_arrays {
    opaque fixed[16]; opaque variable<>; string text<12>; int numbers[N]; int some<N>; my_text texts<>;
    my_text *perhaps; my_node nodes[3]; my_color colors<>; my_five *five; bool flags<3>; unsigned hyper big<>;
    int a_name_that_is_longer_than_any_column_of_a_layout_file;
};
union my_union switch (my_color kind) {
    case RED: int number; case GREEN: opaque bytes<8>; case BLUE: void; default: my_node *rest;
};
union my_nothing switch (int kind) { case 0: void; };
union my_truth switch (bool there) { case TRUE: my_union unions<2>; case FALSE: my_node pair[2]; };
"""


def make_headers(folder: Path) -> None:
    """rpcgen's headers, with 64-bit types as in libvirt's build."""
    for path in folder.glob("*.x"):
        header = path.with_suffix(".h")
        subprocess.run(["rpcgen", "-h", "-o", header.name, path.name], cwd=folder, check=True)
        header.write_text(
            re.sub(r"\bu_quad_t\b", "uint64_t", header.read_text()).replace("quad_t", "int64_t")
        )


def compiled(folder: Path, name: str, prefix: str) -> str:
    """The layout file of `name.x` by the upstream script, for types whose names begin with a prefix."""
    subprocess.run(["rpcgen", "-c", "-o", f"{name}.c", f"{name}.x"], cwd=folder, check=True)
    command = ["gcc", "-g", "-w", "-I/usr/include/tirpc", "-I.", "-c", f"{name}.c"]
    subprocess.run(command, cwd=folder, check=True)
    tags = subprocess.run(
        ["pdwtags", "--verbose", f"{name}.o"], cwd=folder, check=True, capture_output=True, text=True
    ).stdout
    parts = re.split(r"\n*/\* (?:\d+|<[0-9a-f]+> \S+) \*/\n", tags)
    kept = [part.rstrip() for part in parts if re.match(rf"(?:struct|enum)\s+(?:{prefix})", part)]
    return "\n".join([HEAD, *(re.sub(r"/\*.*?\*/", "", part) for part in kept)])


def lines(text: str) -> list[str]:
    """The lines, without empty ones left by comments. Newer versions of pdwtags align enums."""
    found = [line.expandtabs().rstrip() for line in text.split("\n") if line.strip()]
    return [squeezed(line) if " = " in line else line for line in found]


def test_every_shape_matches_pdwtags(tmp_path: Path) -> None:
    (tmp_path / "my.x").write_text(SHAPES)
    make_headers(tmp_path)
    (ours,) = generate(load_schema([tmp_path / "my.x"]))
    assert lines(compiled(tmp_path, "my", "my_")) == lines(ours.text)


def test_newest_release_matches_pdwtags(tmp_path: Path, root: Path) -> None:
    """For the types that upstream prints."""
    source = root / "protocol-defs" / "12.9.0"
    for path in source.glob("*.x"):
        needs_remote = '%#include "remote_protocol.h"' in path.read_text()
        header = "remote_protocol.h" if needs_remote else "outside.h"
        text = re.sub(r"^%.*", "", path.read_text(), flags=re.MULTILINE)
        (tmp_path / path.name).write_text(f'%#include "{header}"\n{text}')
    (tmp_path / "outside.h").write_text(OUTSIDE)
    make_headers(tmp_path)
    prefix = "remote_|qemu_|lxc_|admin_|keepalive|vir(?:Net|LockSpace|LXCMonitor)"
    made = generate(load_schema([source]))
    assert len(made) == 8
    for artefact in made:
        theirs = compiled(tmp_path, artefact.path.removesuffix("-structs"), prefix)
        assert lines(theirs) == lines(artefact.text), artefact.path
