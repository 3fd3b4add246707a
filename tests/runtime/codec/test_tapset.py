"""Tapsets that are installed with a library."""

from __future__ import annotations

from pathlib import Path

import pytest

from libvirt_proto.codec.providers import Argument, Declaration
from libvirt_proto.codec.tapset import ProbeFile, choices, parse_tapset

CONTEXT, REF = ("libvirt", "rpc_tls_context_new"), ("libvirt", "object_ref")
#: As libvirt's generator writes it.
TAPSET = """\
# src/rpc/virnettlscontext.c

probe libvirt.rpc.tls_context_new = process("/usr/lib64/libvirt.so").mark("rpc_tls_context_new") {
  ctxt = $arg1;
  cacert = user_string($arg2);
  cert = $arg3;
}

# src/util/virobject.c

probe libvirt.object.ref = process("/usr/lib64/libvirt.so").mark("object_ref") {
  obj = $arg1;
  klassname = user_string($arg2);
}
"""
KNOWN = (
    Declaration(
        "9.0.0",
        "9.0.0",
        {
            CONTEXT: (Argument("ctxt"), Argument("cacert", True), Argument("cert", True)),
            REF: (Argument("obj"),),
        },
    ),
)
COUNTS = {CONTEXT: frozenset({3}), REF: frozenset({2})}


def test_parses_both_forms() -> None:
    ours = """\
probe libvirt.rpc.tls_context_new =
  process("a").mark("rpc_tls_context_new"),
  process("b").mark("rpc_tls_context_new")
{
  ctxt = $arg1
  cacert = user_string($arg2)
  cert = $arg3
}
"""
    theirs = parse_tapset(TAPSET)
    assert theirs.paths == {"/usr/lib64/libvirt.so"}
    assert theirs.probes == {
        CONTEXT: (Argument("ctxt"), Argument("cacert", True), Argument("cert")),
        REF: (Argument("obj"), Argument("klassname", True)),
    }
    aliases = {CONTEXT: "rpc.tls_context_new"}
    assert parse_tapset(ours) == (frozenset("ab"), {CONTEXT: theirs.probes[CONTEXT]}, aliases)


@pytest.mark.parametrize(
    "body", ["ctxt = $arg2;", "a = $arg1;\n  b = $arg3;", "a = $arg1;\n  b = $arg1;", "{ a = $arg1; }"]
)
def test_leaves_out_aliases_with_other_bodies(body: str) -> None:
    assert parse_tapset(f'probe libvirt.x = process("a").mark("x") {{\n  {body}\n}}\n').probes == {}


@pytest.mark.parametrize("text", ["probe a.b = " + ' process("a")' * 50_000, "probe a.b =\n" * 50_000])
def test_reads_any_text(text: str) -> None:
    assert parse_tapset(text) == (frozenset(), {}, {})


def install(root: Path, tapset: str = TAPSET) -> Path:
    """Return the path of a library below a root, with a tapset."""
    library = root / "usr" / "lib64" / "libvirt.so.0.13000.0"
    for path, text in ((library, ""), (root / "usr/share/systemtap/tapset/libvirt_probes.stp", tapset)):
        path.parent.mkdir(parents=True)
        path.write_text(text)
    return library


@pytest.mark.parametrize("version", ["13.0.0", None])
def test_tapset_decides_where_the_version_proves_nothing(tmp_path: Path, version: str | None) -> None:
    library = install(tmp_path)
    (choice,) = choices(KNOWN, [ProbeFile(library, version, COUNTS)], Path.read_bytes)
    assert (choice.basis, choice.version) == ("tapset", version)
    assert choice.arguments(CONTEXT, 3) == (Argument("ctxt"), Argument("cacert", True), Argument("cert"))
    assert choice.arguments(REF, 2) == (Argument("obj"), Argument("klassname", True))
    assert str(tmp_path / "usr/share/systemtap/tapset") in str(choice)


def test_tapset_applies_to_all_files_of_a_version(tmp_path: Path) -> None:
    library, daemon = install(tmp_path), tmp_path / "elsewhere" / "libvirtd"
    files = [ProbeFile(daemon, "13.0.0", {}), ProbeFile(library, "13.0.0", COUNTS)]
    found = choices(KNOWN, [*files, ProbeFile(daemon, None, {})], Path.read_bytes)
    assert [each.basis for each in found] == ["tapset", "tapset", "fitting"]


def test_proven_version_needs_no_tapset(tmp_path: Path) -> None:
    file = ProbeFile(install(tmp_path), "9.0.0", COUNTS)
    assert choices(KNOWN, [file], Path.read_bytes)[0].basis == "proven"
    assert choices(KNOWN, [file._replace(version="13.0.0")], Path.read_bytes, "9.0.0")[0].basis == "outside"


@pytest.mark.parametrize(
    "tapset",
    [
        TAPSET.replace("/usr/lib64/", "/usr/lib/"),
        TAPSET.replace("libvirt.so", "libvirt_driver_qemu.so"),
        TAPSET.replace("/usr/lib64/", "lib64/"),
        TAPSET.replace("/usr/lib64/", "/usr/share/../lib64/"),
        TAPSET.replace("  klassname = user_string($arg2);\n", ""),
    ],
)
def test_ignores_tapset_of_another_library(tmp_path: Path, tapset: str) -> None:
    file = ProbeFile(install(tmp_path, tapset), "13.0.0", COUNTS)
    (choice,) = choices(KNOWN, [file], Path.read_bytes)
    assert choice.basis == "outside"
    assert choice.arguments(CONTEXT, 3) == (Argument("ctxt"), None, None)


def test_unreadable_tapset_is_ignored(tmp_path: Path) -> None:
    def read(path: Path) -> bytes:
        raise PermissionError

    assert choices(KNOWN, [ProbeFile(install(tmp_path), "13.0.0", COUNTS)], read)[0].basis == "outside"
