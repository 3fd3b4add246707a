"""rpcgen's C and our code agree on definitions that are not libvirt's."""

from __future__ import annotations

import re
import secrets
import shutil
from pathlib import Path

import pytest

from libvirt_proto import registry
from libvirt_proto_codegen.definitions import load_schema
from libvirt_proto_codegen.errors import DefinitionError
from tests.differential import definition_files

pytestmark = pytest.mark.system("rpcgen", "gcc")

DIALECT = Path(__file__).parent.parent / "definitions" / "rpcgen.x"
RPCSVC = sorted(Path("/usr/include/rpcsvc").glob("*.x"))
#: What ../shared/field/README.md and docs/definitions.md say: rpcgen refuses them.
NOT_RPCGEN = {
    *("inline_enum", "inline_union", "slashslash", "void_field", "ns", "pragma"),
    *("ptr_arr", "struct_ref", "trail_comma"),
}
REFUSED = {"ptr_arr", "struct_ref", "trail_comma"}
#: glibc has no quadruple.
NOT_COMPILED = {"double"}


def test_agrees_on_dialect() -> None:
    seed = secrets.token_hex(4)
    tally, others = definition_files.compare(DIALECT, 20, seed)
    assert not tally.unexplained, f"--seed {seed}\n" + "\n".join(tally.unexplained[:5])
    assert {
        "c_types",
        "fixed_types",
        "objects",
        "by_character",
        "RPCGEN_PROG.RPCGEN_VERS.GET.args",
    } <= tally.types
    assert {"RPCGEN_PROG.RPCGEN_VERS.NAME.args", "u_int"} <= set(others)
    assert tally.accepted > 300
    assert tally.refused > 30


@pytest.mark.parametrize("path", RPCSVC, ids=lambda path: path.stem)
def test_agrees_on_installed_file(path: Path) -> None:
    seed = secrets.token_hex(4)
    tally, _ = definition_files.compare(path, 6, seed)
    assert not tally.unexplained, f"--seed {seed}\n" + "\n".join(tally.unexplained[:5])
    assert tally.accepted >= 6 * len(tally.types)


def test_field_files(shared: Path, tmp_path: Path) -> None:
    """The forms of ../shared/field: rpcgen accepts all but nine, and we refuse three of those."""
    refused = set()
    for path in sorted((shared / "field" / "definitions").glob("*.x")):
        (folder := tmp_path / path.stem).mkdir()
        file = folder / f"field_{path.name}"
        shutil.copyfile(path, file)
        try:
            load_schema([file])
        except DefinitionError:
            refused.add(path.stem)
            continue
        if path.stem in NOT_RPCGEN | NOT_COMPILED:
            assert registry.load(file).modules()
        else:
            tally, _ = definition_files.compare(file, 4, path.stem)
            assert not tally.unexplained, tally.unexplained
    assert refused == REFUSED


def test_command_reports_figures(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    bad = tmp_path / "bad.x"
    bad.write_text("struct s { nothing a; };")
    good = tmp_path / "good.x"
    good.write_text("struct s { u_int a; bool_t b; };")
    assert definition_files.main([str(bad), str(good), "--values", "3", "--seed", "1"]) == 1
    output = capsys.readouterr().out
    assert "bad.x: refused" in output
    assert re.search(r"good\.x: 1 types, \d+ accepted by both, .* not explained: 0; 2 not in C", output)
