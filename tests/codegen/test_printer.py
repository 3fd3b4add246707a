"""The canonical form, and rpcgen's output for it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from libvirt_proto_codegen.model import StructDef, TypedefDef, UnionDef
from libvirt_proto_codegen.printer import print_declaration, print_definition, print_specification
from libvirt_proto_codegen.reader import read_source, read_specification
from libvirt_proto_codegen.source import Source

WRITTEN = """/* A licence. */
% /* passed through */
%#include <rpc/remote_protocol.h>
%#include "internal.h"
const A=0x2A;   const B = A ; // the same
typedef unsigned  id;typedef opaque uuid[ 16 ]; typedef string text<>;
typedef struct node node; typedef node*nodes;
const C = 017;
enum kind{X,Y=-1,Z=A};
enum procedure {
    /* - @generate: a word */
    /** @priority: low
      * @generate: both
      * @aclfilter: domain:getattr
      * @acl: domain:read:!A|B
      * @acl: domain:write::flags:C
      * @unknown: dropped */
    P_ONE = 1, P_TWO = 2, /* skipgen autogen | writestream@1 */
    P_THREE = 3
};
struct ret { /* insert@1 */ id a; int b<B>; /* (int *) */ /* insert@2 */ struct { void; } c; };
union value switch (kind k) { case X: case 2: string s<B>; case Y: void; default: enum { OFF, ON } *e; };
program P { version V1 { void NULL(void)=0; text F(id,uuid)=C; }=1; } = 0x20000001;
"""

CANONICAL = """\
/* as libvirt has it */

%#include "remote_protocol.h"
%#include "internal.h"

const A = 0x2A;
const B = A;

typedef unsigned int id;

typedef opaque uuid[16];

typedef string text<>;

typedef struct node node;

typedef node *nodes;

const C = 017;

enum kind {
    X,
    Y = -1,
    Z = A
};

enum procedure {
    /**
     * @generate: both
     * @priority: low
     * @acl: domain:read:!A|B
     * @acl: domain:write::flags:C
     * @aclfilter: domain:getattr
     */
    P_ONE = 1,

    /**
     * @generate: client
     * @writestream: 1
     */
    P_TWO = 2,

    P_THREE = 3
};

struct ret { /* insert@1 */
    id a;
    int b<B>; /* insert@2 */
    struct {
        void;
    } c;
};

union value switch (kind k) {
    case X:
    case 2:
        string s<B>;
    case Y:
        void;
    default:
        enum {
            OFF,
            ON
        } *e;
};

program P {
    version V1 {
        void NULL(void) = 0;
        text F(id, uuid) = C;
    } = 1;
} = 0x20000001;
"""


def test_prints_canonical_form() -> None:
    specification = read_specification(Source("a.x", WRITTEN))
    assert print_specification(specification, "as libvirt has it") == CANONICAL


def test_canonical_form_is_a_fixed_point() -> None:
    specification = read_specification(Source("a.x", CANONICAL))
    assert print_specification(specification, "as libvirt has it") == CANONICAL


def test_head_cannot_end_its_comment() -> None:
    specification = read_specification(Source("a.x", ""))
    assert print_specification(specification, "a */ const A = 1; /*") == "/* a * / const A = 1; /* */\n"


def test_prints_empty_specification_as_empty_text() -> None:
    assert print_specification(read_specification(Source("a.x", "/* empty */"))) == ""


def test_prints_single_definitions_and_declarations() -> None:
    definitions = {each.name: each for each in read_specification(Source("a.x", WRITTEN)).definitions}
    struct, union, typedef = definitions["ret"], definitions["value"], definitions["uuid"]
    assert isinstance(struct, StructDef)
    assert isinstance(union, UnionDef)
    assert isinstance(typedef, TypedefDef)
    plain = "struct ret {\n    id a;\n    int b<B>;\n    struct {\n        void;\n    } c;\n};"
    assert print_definition(struct, annotations=False) == plain
    assert print_definition(struct, annotations=True) in CANONICAL
    assert print_declaration(struct.body.fields[1]) == "int b<B>;"
    assert print_declaration(union.body.discriminant) == "kind k;"
    assert print_declaration(typedef.declaration) == "opaque uuid[16];"
    procedure = print_definition(definitions["procedure"], annotations=False)
    assert procedure == "enum procedure {\n    P_ONE = 1,\n    P_TWO = 2,\n    P_THREE = 3\n};"


def from_rpcgen(path: Path, text: str) -> list[str]:
    """rpcgen's C for a definition file, without blank and preprocessor lines."""
    path.parent.mkdir()
    path.write_text(text, encoding="utf-8")
    lines = []
    for what in ("-h", "-c"):
        made = subprocess.run(
            ["rpcgen", what, path.name], cwd=path.parent, capture_output=True, text=True, check=True
        ).stdout
        lines += [line for line in made.splitlines() if line.strip() and not re.match(r"\s*#", line)]
    return lines


@pytest.mark.system("rpcgen")
@pytest.mark.parametrize("release", ["0.9.7", "1.0.0", "10.0.0", "12.9.0"])
def test_rpcgen_output_is_equal_for_upstream_and_canonical_files(
    shared: Path, release: str, tmp_path: Path
) -> None:
    files = sorted((shared / "libvirt" / release).glob("*.x"))
    assert files
    for path in files:
        source = read_source(path)
        printed = print_specification(read_specification(source), "printed")
        theirs = from_rpcgen(tmp_path / f"{path.stem}-theirs" / path.name, source.text)
        ours = from_rpcgen(tmp_path / f"{path.stem}-ours" / path.name, printed)
        assert ours == theirs
        assert len(ours) > 5
