"""Locating and reading definitions."""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libvirt_proto import registry
from libvirt_proto.codec.types import Bound, FixedOpaque
from libvirt_proto_codegen import releases, source_tree
from libvirt_proto_codegen.definitions import load_providers, load_release, load_schema
from libvirt_proto_codegen.errors import DefinitionError
from libvirt_proto_codegen.externals import ExternalsError, read_externals, write_externals
from libvirt_proto_codegen.releases import UnknownRelease
from libvirt_proto_codegen.releases.version import version_key
from libvirt_proto_codegen.schema import External, Input
from tests.support.work import work


def problem(path: Path) -> tuple[str, str]:
    with pytest.raises(DefinitionError) as caught:
        load_schema([path])
    (only,) = caught.value.problems
    return only.rule, only.message


def test_releases_are_sorted_by_version() -> None:
    assert releases.folders() == ("0.9.7", "10.0.0", "12.9.0")
    assert releases.newest() == "12.9.0"
    names = ["0.10.2.8", "0.9.11", "9.0.0", "10.0.0", "0.9.11.10", "0.9.11.9", "10.0.0-rc1"]
    assert sorted(names, key=version_key) == [
        "0.9.11",
        "0.9.11.9",
        "0.9.11.10",
        "0.10.2.8",
        "9.0.0",
        "10.0.0-rc1",
        "10.0.0",
    ]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("1.2.9.4", "libvirt 1.2.9.4 is not bundled (closest: 1.2.9.3, 1.2.10"),
        ("0.9.6", "oldest: 0.9.7"),
        ("12.10.0", "newest: 12.9.0"),
        ("11", "libvirt 11 is not bundled (11.x: 11.2.0, 11.3.0, 11.6.0)"),
        ("10", "libvirt 10 is not bundled (10.x: 10.0.0, 10.1.0, 10.2.0)"),
        ("1.2", "libvirt 1.2 is not bundled (1.2.x: 1.2.0, …, 1.2.21)"),
        ("1.2.9.", "libvirt 1.2.9. is not bundled"),
        ("v10", "10.x: 10.0.0"),
        ("../protocol-defs/12.9.0", "is not bundled"),
    ],
)
def test_unknown_release_names_closest_ones(name: str, words: str) -> None:
    with pytest.raises(UnknownRelease, match=re.escape(words)):
        load_release(name)


@pytest.mark.parametrize(
    ("name", "release"), [("latest", "12.9.0"), ("v12.9.0", "12.9.0"), ("v1.0.4", "1.0.4")]
)
def test_other_names_of_releases(name: str, release: str) -> None:
    assert load_release(name).release == release
    assert registry.release(name).release == release


def test_newest_release() -> None:
    schema = load_release()
    assert schema.release == "12.9.0"
    programs = {
        program.short: (program.number, program.version, len(program.procedures))
        for module in schema.modules
        for program in module.programs
    }
    assert programs == {
        "remote": (0x20008086, 1, 456),
        "qemu": (0x20008087, 1, 7),
        "lxc": (0x00068000, 1, 1),
        "admin": (0x06900690, 1, 20),
        "lock_space": (0x0EA7BEEF, 1, 8),
        "log_manager": (0x87539319, 1, 4),
        "lxc_monitor": (0x12341234, 1, 2),
        "keepalive": (0x6B656570, 1, 2),
    }
    assert [module.imports for module in schema.modules if module.name in ("qemu", "lxc")] == [
        ("remote",),
        ("remote",),
    ]


def test_reads_folder(tmp_path: Path) -> None:
    first, second = b"typedef opaque id[LENGTH];\r\n", b'%#include "b.h"\nstruct s { id x; };\n'
    (tmp_path / "b.x").write_bytes(first)
    (tmp_path / "a.x").write_bytes(b"\xef\xbb\xbf" + second)
    (tmp_path / "notes.txt").write_text("nothing")
    (tmp_path / "externals.toml").write_text('[LENGTH]\nvalue = 8\nheader = "ids.h"\n')
    (tmp_path / "MANIFEST.toml").write_text('release = "1.2.3"\n')
    schema = load_schema([tmp_path])
    assert schema.release == "1.2.3"
    assert schema.inputs == (
        Input("a.x", hashlib.sha256(b"\xef\xbb\xbf" + second).hexdigest()),
        Input("b.x", hashlib.sha256(first).hexdigest()),
    )
    assert [module.name for module in schema.modules] == ["a", "b"]
    assert schema.modules[1].externals == (External("LENGTH", 8, "ids.h"),)


def test_defines_override_externals_toml(tmp_path: Path) -> None:
    (tmp_path / "a.x").write_text("typedef opaque id[LENGTH];")
    (tmp_path / "externals.toml").write_text("LENGTH = 8\n")
    assert load_schema([tmp_path / "a.x"]).modules[0].by_name["id"].min_size == 8
    node = load_schema([tmp_path], defines={"LENGTH": 12}).modules[0].by_name["id"].node
    assert isinstance(node, FixedOpaque)
    assert node.size.value == 12


def test_file_brings_its_includes(tmp_path: Path) -> None:
    (tmp_path / "a.x").write_text('%#include "b.h"\n%#include <elsewhere.h>\nstruct s { t x; };')
    (tmp_path / "b.x").write_text('%#include "c.h"\ntypedef u t;')
    (tmp_path / "c.x").write_text('%#include "a.h"\ntypedef int u;')
    (tmp_path / "d.x").write_text("this is not read")
    schema = load_schema([tmp_path / "a.x"])
    assert [module.file for module in schema.modules] == ["a.x", "b.x", "c.x"]
    assert [module.file for module in load_schema([tmp_path / "c.x", tmp_path / "b.x"]).modules] == [
        "c.x",
        "a.x",
        "b.x",
    ]


def test_reports_unreadable_definitions(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert problem(empty)[0] == "no-definitions"
    rule, message = problem(tmp_path / "nothing.x")
    assert rule == "unreadable"
    assert "nothing.x" in message
    binary = tmp_path / "binary.x"
    binary.write_bytes(b"const A = 1;\n\xff\xfe\0")
    assert problem(binary)[0] == "not-utf-8"
    large = tmp_path / "large.x"
    large.write_bytes(b" " * (2**20 + 1))
    assert problem(large)[0] == "too-large"


@pytest.mark.parametrize("text", ["release = 3", "", "release =", "\x00"])
def test_rejects_bad_manifest(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.x").write_text("const A = 1;")
    (tmp_path / "MANIFEST.toml").write_text(text)
    rule, message = problem(tmp_path)
    assert rule == "bad-manifest"
    assert str(tmp_path / "MANIFEST.toml") in message


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("A", "not TOML"),
        ("A = 1\nA = 2", "not TOML"),
        ("A = " + "[" * 5000, "not TOML"),
        ("A = true", "integer"),
        ("A = 1.5", "integer"),
        ('A = "1"', "integer"),
        ("A = 18446744073709551616", "between"),
        ("[A]\nheader = 'x.h'", "integer"),
        ("[A]\nvalue = 1\nheader = 2", "string"),
        ("[A]\nvalue = 1\nfile = 'x.h'", "'file'"),
        ('"A B" = 1', "invalid name of a constant"),
    ],
)
def test_rejects_bad_externals_file(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(ExternalsError, match=why):
        read_externals(text)
    (tmp_path / "a.x").write_text("const A = 1;")
    (tmp_path / "externals.toml").write_text(text)
    rule, message = problem(tmp_path)
    assert rule == "bad-externals"
    assert "\n" not in message.rstrip()


EXTERNALS = st.builds(
    External,
    st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,9}", fullmatch=True),
    st.integers(-(2**63), 2**63 - 1),
    st.none() | st.text(st.characters().filter(str.isprintable)),
)


@given(st.lists(EXTERNALS, unique_by=lambda external: external.name))
def test_externals_round_trip(externals: list[External]) -> None:
    assert read_externals(write_externals(externals)) == {external.name: external for external in externals}


def test_knows_constants_of_libvirt(tmp_path: Path) -> None:
    """A source tree needs no other file. An explicit value of a constant takes precedence."""
    file = tmp_path / "a.x"
    file.write_text("typedef opaque uuid[VIR_UUID_BUFLEN];\n")
    (definition,) = load_schema([file], known=True).modules[0].types
    assert definition.node == FixedOpaque(Bound(16, "VIR_UUID_BUFLEN"))
    (tmp_path / "externals.toml").write_text("VIR_UUID_BUFLEN = 8\n")
    assert load_schema([file], known=True).modules[0].types[0].max_size == 8
    schema = load_schema([file], defines={"VIR_UUID_BUFLEN": 4}, known=True)
    assert schema.modules[0].types[0].max_size == 4


def special_files(folder: Path, suffix: str) -> None:
    """Create one special file of each kind in a folder."""
    (folder / f"folder{suffix}").mkdir()
    os.mkfifo(folder / f"fifo{suffix}")
    (folder / f"device{suffix}").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / f"socket{suffix}"))


def test_skips_special_files_in_folder(tmp_path: Path) -> None:
    special_files(tmp_path, ".x")
    assert problem(tmp_path)[0] == "no-definitions"
    (tmp_path / "one.x").write_text("const A = 1;\n")
    assert [module.file for module in load_schema([tmp_path]).modules] == ["one.x"]
    special_files(tmp_path, ".d")
    (tmp_path / "p.d").write_text("provider p {\n  probe q(int x);\n};\n")
    assert [provider.file for provider in load_providers([tmp_path]).providers] == ["p.d"]


def test_skips_special_files_below_source_tree(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    special_files(tmp_path / "src", ".x")
    (tmp_path / "src" / "one.x").write_text("const A = 1;\n")
    assert [module.file for module in load_schema([tmp_path]).modules] == ["one.x"]


def test_does_not_open_neighbours_of_a_file(tmp_path: Path) -> None:
    special_files(tmp_path, ".x")
    special_files(tmp_path, ".tests")
    with (tmp_path / "large.tar.xz").open("wb") as sparse:
        sparse.truncate(3 << 30)
    (tmp_path / "one.x").write_text(
        '%#include "fifo.h"\n%#include "two.h"\n%#include "device.h"\nconst A = 1;\n'
    )
    (tmp_path / "two.x").write_text("const B = 2;\n")
    program = (
        "import sys; from pathlib import Path; from libvirt_proto_codegen.definitions import load_schema\n"
        "def hook(event, arguments):\n"
        "    if event == 'open' and str(arguments[0]).startswith(sys.argv[1]): print(arguments[0])\n"
        "sys.addaudithook(hook)\n"
        "load_schema([Path(sys.argv[1], 'one.x')])\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(tmp_path / "one.x"), str(tmp_path / "two.x")]


@pytest.mark.parametrize("name", ["fifo.x", "device.x", "socket.x"])
def test_rejects_special_file_by_name(tmp_path: Path, name: str) -> None:
    special_files(tmp_path, ".x")
    assert problem(tmp_path / name) == ("unreadable", f"cannot read {tmp_path / name}: not a regular file")


@pytest.mark.parametrize("name", ["externals.toml", "MANIFEST.toml"])
def test_rejects_special_file_as_table(tmp_path: Path, name: str) -> None:
    (tmp_path / "one.x").write_text("const A = 1;\n")
    os.mkfifo(tmp_path / name)
    assert problem(tmp_path) == ("unreadable", f"cannot read {tmp_path / name}: not a regular file")


def test_fifo_swapped_for_file_does_not_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, open_ = tmp_path / "one.x", os.open

    def swapped(name: Path, flags: int) -> int:
        name.unlink()
        os.mkfifo(name)
        return open_(name, flags)

    path.write_text("const A = 1;\n")
    monkeypatch.setattr("libvirt_proto_codegen.files.os.open", swapped)
    assert problem(path) == ("unreadable", f"cannot read {path}: not a regular file")


def test_reads_pipe_by_descriptor() -> None:
    reader, writer = os.pipe()
    with open(reader, "rb"), open(writer, "wb") as pipe:
        pipe.write(b"const A = 1;\n")
        pipe.close()
        (module,) = load_schema([Path(f"/dev/fd/{reader}")]).modules
    assert [constant.name for constant in module.constants] == ["A"]


def test_reports_dangling_links(tmp_path: Path) -> None:
    (tmp_path / "one.x").write_text("const A = 1;\n")
    for name, target, reason in (
        ("loop.x", "loop.x", "too many levels of symbolic links"),
        ("lost.x", "nothing", "no such file or directory"),
        ("externals.toml", "nothing", "no such file or directory"),
    ):
        (tmp_path / name).symlink_to(target)
        assert problem(tmp_path) == ("unreadable", f"cannot read {tmp_path / name}: {reason}")
        (tmp_path / name).unlink()


def test_reads_enormous_file_up_to_limit(tmp_path: Path) -> None:
    for name in ("large.x", "externals.toml"):
        with (tmp_path / name).open("wb") as sparse:
            sparse.truncate(3 << 30)
        held = work(lambda: problem(tmp_path)).peak
        assert problem(tmp_path)[0] == "too-large"
        assert held < 4 << 20
        (tmp_path / name).unlink()
        (tmp_path / "one.x").write_text("const A = 1;\n")


def test_total_size_of_definitions_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        (tmp_path / f"a{number}.x").write_text(f"const A{number} = {number};\n")
    assert len(load_schema([tmp_path]).modules) == 5
    monkeypatch.setattr("libvirt_proto_codegen.definitions.MAX_TOTAL", 50)
    rule, message = problem(tmp_path)
    assert rule == "too-large"
    assert message.endswith(f"of definitions, starting at {tmp_path / 'a3.x'}")


def test_reads_source_tree(tmp_path: Path) -> None:
    """All subfolders of a folder without definitions are read, except those of version control."""
    for name in ("src/remote/b.x", "src/a.x", ".git/c.x", "src/probes/p.d"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        text = "provider p {\n  probe q(int x);\n};\n" if name.endswith(".d") else "const N = 1;\n"
        (tmp_path / name).write_text(text)
    assert [module.file for module in load_schema([tmp_path]).modules] == ["a.x", "b.x"]
    assert [module.file for module in load_schema([tmp_path / "src"]).modules] == ["a.x"]
    assert [provider.file for provider in load_providers([tmp_path]).providers] == ["p.d"]


def test_rejects_folder_that_is_not_a_source_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_tree, "MAX_MEMBERS", 3)
    for number in range(4):
        (tmp_path / f"{number}.txt").touch()
    rule, message = problem(tmp_path)
    assert rule == "unreadable"
    assert message.startswith("more than 3 files in ")


def test_reports_all_unreadable_providers(tmp_path: Path) -> None:
    (tmp_path / "a_probes.d").write_text("provider libvirt {\n    probe p(int);\n};\n")
    (tmp_path / "b_probes.d").symlink_to("nowhere")
    (tmp_path / "c_probes.d").write_text("no provider\n")
    with pytest.raises(DefinitionError) as caught:
        load_providers([tmp_path])
    said = str(caught.value)
    assert [name for name in ("a_probes.d", "b_probes.d", "c_probes.d") if name in said] == [
        "a_probes.d",
        "b_probes.d",
        "c_probes.d",
    ]


CODE = 'raise SystemExit("ran")'


@pytest.mark.parametrize(
    "name",
    [f'a"""\n{CODE}\n""".x', f"a\n{CODE}\n.x", f"a\r{CODE}.x", "a\u2028b.x", 'a".x', "a\\.x", "a\udcff.x"],
)
def test_file_name_cannot_become_code(tmp_path: Path, name: str) -> None:
    """Generated files name their sources in a comment and in a docstring."""
    (tmp_path / name).write_text("typedef int t;\n")
    rule, message = problem(tmp_path)
    assert rule == "bad-file-name"
    assert message.endswith("; rename it")
    assert message.isprintable()


def test_accepts_non_english_file_names(tmp_path: Path) -> None:
    (tmp_path / "größe (2).x").write_text("typedef int t;\n")
    assert [module.file for module in load_schema([tmp_path]).modules] == ["größe (2).x"]


@pytest.mark.parametrize("release", [f"1.0\n{CODE}", 'a"', "", "x" * 61, "a b", "é"])
def test_release_name_cannot_become_code(tmp_path: Path, release: str) -> None:
    (tmp_path / "a.x").write_text("typedef int t;\n")
    (tmp_path / "MANIFEST.toml").write_text(f"release = {json.dumps(release)}\n")
    rule, message = problem(tmp_path)
    assert rule == "bad-manifest"
    assert "invalid release" in message


@pytest.mark.parametrize("header", [f"a.h\n{CODE}", f"a.h\r{CODE}", f"a.h\u2028{CODE}", "a\x1b[31m.h"])
def test_header_name_cannot_become_code(tmp_path: Path, header: str) -> None:
    (tmp_path / "a.x").write_text("typedef opaque t[N];\n")
    (tmp_path / "externals.toml").write_text(f"[N]\nvalue = 1\nheader = {json.dumps(header)}\n")
    rule, message = problem(tmp_path)
    assert rule == "bad-externals"
    assert "N: expected a header of one line" in message
