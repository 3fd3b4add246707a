"""`libvirt-proto import`: trees, archives, folders; what it finds, writes and rejects."""

from __future__ import annotations

import hashlib
import io
import tarfile
import tomllib
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import pytest
from click.testing import CliRunner, Result

from libvirt_proto.cli.main import main
from libvirt_proto_codegen import archives, source_tree
from libvirt_proto_codegen.definitions import load_providers, load_schema
from libvirt_proto_codegen.errors import DefinitionError
from libvirt_proto_codegen.headers import HeaderConstants
from libvirt_proto_codegen.importer import Difference, guess_release, import_release
from libvirt_proto_codegen.schema import External

#: A small libvirt with the paths of 10.0.0, and files that must be skipped.
TREE = {
    "include/libvirt/libvirt-host.h": """
        # define VIR_UUID_BUFLEN (16)
        # define MODEL (BASE + 0x1) /* one */
    """,
    "src/util/base.h": """
        #define BASE 256
        #define MODEL 3
        enum {
            KIND_INT     = 1, /* integer */
            KIND_STR = 2
        };
    """,
    "src/remote/remote_protocol.x": """
        %#include "internal.h"
        /* A comment of upstream's. */
        const REMOTE_MODEL = MODEL;
        typedef opaque remote_uuid[VIR_UUID_BUFLEN];
        union remote_value switch (int type) { case KIND_INT: int i; case KIND_STR: string s<REMOTE_MODEL>; };
        struct remote_open_args { remote_uuid id; remote_value v; }; /* insert@1 */
        const REMOTE_PROGRAM = 0x20008086;
        const REMOTE_PROTOCOL_VERSION = 1;
        enum remote_procedure {
            /**
             * @generate: both
             * @acl: connect:getattr
             */
            REMOTE_PROC_OPEN = 1
        };
    """.replace("        %", "%"),
    "src/remote/qemu_protocol.x": '%#include "remote_protocol.h"\nstruct qemu_thing { remote_uuid id; };\n',
    "src/rpc/virnetprotocol.x": "const VIR_NET_MESSAGE_MAX = 33554432;\n",
    "src/new/future_protocol.x": "const FUTURE = 1;\n",
    "tests/data/remote_protocol.x": "expected a libvirt definition",
    "po/de.po": "nothing",
}
FILES = ["future_protocol.x", "qemu_protocol.x", "remote_protocol.x", "virnetprotocol.x"]


def folder(at: Path, files: Mapping[str, str] = TREE) -> Path:
    for name, text in files.items():
        path = at / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return at


def tarball(at: Path, mode: str, files: Mapping[str, str] = TREE, top: str = "libvirt-12.7.0/") -> Path:
    with tarfile.open(at, f"w{mode}") as archive:  # type: ignore[call-overload]
        for name, text in files.items():
            member = tarfile.TarInfo(top + name)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return at


def zipped(at: Path) -> Path:
    with zipfile.ZipFile(at, "w") as archive:
        for name, text in TREE.items():
            archive.writestr(f"libvirt-v12.7.0/{name}", text)
    return at


def sources(tmp_path: Path) -> dict[str, Path]:
    return {
        "tree": folder(tmp_path / "libvirt-12.7.0"),
        "tar": tarball(tmp_path / "libvirt-12.7.0.tar", ":"),
        "gz": tarball(tmp_path / "libvirt-12.7.0.tar.gz", ":gz"),
        "bz2": tarball(tmp_path / "libvirt-12.7.0.tar.bz2", ":bz2"),
        "xz": tarball(tmp_path / "libvirt_12.7.0.orig.tar.xz", ":xz"),
        "zip": zipped(tmp_path / "libvirt-v12.7.0.zip"),
    }


def contents(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.iterdir()}


def rules(source: Path, out: Path, **options: object) -> list[str]:
    with pytest.raises(DefinitionError) as caught:
        import_release(source, "12.7.0", out, **options)  # type: ignore[arg-type]
    return [problem.rule for problem in caught.value.problems]


def test_every_kind_of_source_gives_equal_definitions(tmp_path: Path) -> None:
    expected = None
    for kind, source in sources(tmp_path).items():
        assert guess_release(source) == "12.7.0"
        report = import_release(source, "12.7.0", tmp_path / "out" / kind)
        assert [file.name for file in report.files] == FILES
        assert [file.path for file in report.files][2] == "src/remote/remote_protocol.x"
        assert report.missing == (
            "admin_protocol.x",
            "lock_protocol.x",
            "log_protocol.x",
            "lxc_monitor_protocol.x",
            "lxc_protocol.x",
            "virkeepaliveprotocol.x",
        )
        written = contents(report.folder)
        assert sorted(written) == sorted([*FILES, "MANIFEST.toml", "externals.toml"])
        assert expected is None or written == expected, kind
        expected = written
        assert list(report.folder.parent.iterdir()) == [report.folder], "nothing else is left"


def test_writes_canonical_files(tmp_path: Path) -> None:
    report = import_release(folder(tmp_path / "tree"), "12.7.0", tmp_path)
    text = (report.folder / "remote_protocol.x").read_text()
    assert "upstream" not in text
    assert "@acl: connect:getattr" in text
    schema = load_schema([report.folder])
    assert schema.release == "12.7.0"
    assert schema.modules == report.schema.modules
    assert tomllib.loads((report.folder / "externals.toml").read_text()) == {
        "KIND_INT": {"value": 1, "header": "src/util/base.h"},
        "KIND_STR": {"value": 2, "header": "src/util/base.h"},
        "MODEL": {"value": 257, "header": "include/libvirt/libvirt-host.h"},
        "VIR_UUID_BUFLEN": {"value": 16, "header": "include/libvirt/libvirt-host.h"},
    }


PROVIDERS = {
    "src/libvirt_probes.d": """
        provider libvirt {
            # Upstream's comment
            # file: src/rpc/virnetsocket.c
            # prefix: rpc
            probe rpc_socket_new(void *sock, const char *localAddr,
                                 const char  * remoteAddr);
        };
    """,
    "src/qemu/libvirt_qemu_probes.d": "provider libvirt { probe qemu_monitor_new(void *mon, int fd); };",
    "build/src/libvirt_probes.d": "a copy",
    "src/probes.dtd": "nothing",
}


def test_imports_probe_providers(tmp_path: Path) -> None:
    source = tarball(tmp_path / "libvirt-12.7.0.tar.gz", ":gz", TREE | PROVIDERS)
    result = run(source, "-o", tmp_path)
    assert result.exit_code == 0, result.output
    assert "libvirt_qemu_probes.d     1 probes" in result.output
    assert "from src/qemu/libvirt_qemu_probes.d" in result.output
    folder = tmp_path / "12.7.0"
    assert (folder / "libvirt_probes.d").read_text() == (
        "provider libvirt {\n"
        "    # file: src/rpc/virnetsocket.c\n"
        "    # prefix: rpc\n"
        "    probe rpc_socket_new(void *sock, const char *localAddr, const char *remoteAddr);\n"
        "};\n"
    )
    manifest = tomllib.loads((folder / "MANIFEST.toml").read_text())
    for file in manifest["file"]:
        read = {Path(name).name: text for name, text in (TREE | PROVIDERS).items() if "src" in name[:4]}
        assert file["read-sha256"] == hashlib.sha256(read[file["name"]].encode()).hexdigest()
        assert file["sha256"] == hashlib.sha256((folder / file["name"]).read_bytes()).hexdigest()
    assert {file["name"] for file in manifest["file"]} == {
        *FILES,
        "libvirt_probes.d",
        "libvirt_qemu_probes.d",
    }
    assert load_schema([folder]).modules
    assert len(load_providers([folder]).providers) == 2
    assert run(source, "-o", tmp_path, "--check").exit_code == 0


def test_reports_missing_definitions_with_provider_errors(
    tmp_path: Path,
) -> None:
    assert rules(folder(tmp_path / "a", {"libvirt_probes.d": "provider p { probe a(); };"}), tmp_path) == [
        "no-definitions"
    ]
    files = {"a_protocol.x": "struct a {", "libvirt_probes.d": "provider p { probe a(int);\n"}
    assert rules(folder(tmp_path / "b", files), tmp_path) == ["syntax", "syntax"]


def test_defines_override_headers_and_known_constants(tmp_path: Path) -> None:
    files = {"a_protocol.x": "typedef opaque a[VIR_UUID_BUFLEN]; typedef opaque b[OURS];"}
    source = folder(tmp_path / "flat", files)
    assert rules(source, tmp_path) == ["missing-external"]
    report = import_release(source, "12.7.0", tmp_path, defines={"OURS": 5})
    assert report.externals == (
        External("OURS", 5),
        External("VIR_UUID_BUFLEN", 16, "include/libvirt/libvirt-host.h"),
    )
    report = import_release(source, "1.2.9", tmp_path, defines={"OURS": 5, "VIR_UUID_BUFLEN": 8})
    assert report.externals == (External("OURS", 5), External("VIR_UUID_BUFLEN", 8))
    report = import_release(source, "1.2.9", tmp_path, defines={"OURS": 5})
    assert report.externals[1] == External("VIR_UUID_BUFLEN", 16, "include/libvirt/libvirt.h.in")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("#define N 7", 7),
        ("#  define N\t(4096 + 1)", 4097),
        ("#define N 0x10UL /* sixteen */", 16),
        ("#define N (1 << 20) // a lot", 1 << 20),
        ("#define N (OTHER * 2)\n#define OTHER (3 | 8)", 22),
        ("#define N -1", -1),
        ("enum x {\n  N = 5,\n};", 5),
        ("enum x {\n  N = (1 << 3), /* Since: 1.0 */\n};", 8),
        ("enum x { \n  N = 1 };", 1),
        ("#define N N", None),
        ("#define N M\n#define M N", None),
        ("#define N sizeof(int)", None),
        ("#define N 1 << 99999999999", None),
        ("#define N " + "(" * 150 + "1" + ")" * 150, None),
        ('#define N "seven"', None),
        ("#define NN 7", None),
        ("#define N", None),
    ],
)
def test_reads_constants_of_headers(text: str, value: int | None) -> None:
    found = HeaderConstants({PurePosixPath("include/x.h"): text.encode()}, {}, (12, 7, 0)).get("N")
    assert found == (None if value is None else External("N", value, "include/x.h"))


def test_rejects_two_files_of_one_name(tmp_path: Path) -> None:
    same = {"a/x_protocol.x": "const A = 1;", "daemon/src/x_protocol.x": "const A = 1;"}
    report = import_release(folder(tmp_path / "same", same), "12.7.0", tmp_path)
    assert [file.path for file in report.files] == ["a/x_protocol.x"]
    other = {**same, "daemon/src/x_protocol.x": "const A = 2;"}
    assert rules(folder(tmp_path / "other", other), tmp_path) == ["ambiguous-file"]
    built = {"a/x_protocol.x": "const A = 1;", "_build/x_protocol.x": "const A = 2;"}
    report = import_release(folder(tmp_path / "built", built), "12.7.0", tmp_path)
    assert [file.path for file in report.files] == ["a/x_protocol.x"]


def test_failed_import_writes_nothing(tmp_path: Path) -> None:
    files = {"a_protocol.x": "struct a { b c; };", "d_protocol.x": "struct e { f g; };"}
    assert rules(folder(tmp_path / "tree", files), tmp_path / "out") == ["unknown-name", "unknown-name"]
    files = {"a_protocol.x": "struct a {", "d_protocol.x": "struct e {"}
    assert rules(folder(tmp_path / "tree", files), tmp_path / "out") == ["syntax", "syntax"]
    assert not (tmp_path / "out").exists()


def test_replaces_whole_folder(tmp_path: Path) -> None:
    source = folder(tmp_path / "tree")
    out = tmp_path / "out"
    first = import_release(source, "12.7.0", out)
    (first.folder / "stale_protocol.x").write_text("const STALE = 1;")
    (first.folder / "qemu_protocol.x").write_text("const CHANGED = 1;")
    (first.folder / "virnetprotocol.x").unlink()
    checked = import_release(source, "12.7.0", out, check=True)
    assert checked.differences == (
        Difference(first.folder / "qemu_protocol.x", "differs"),
        Difference(first.folder / "virnetprotocol.x", "missing"),
        Difference(first.folder / "stale_protocol.x", "extra"),
    )
    assert (first.folder / "stale_protocol.x").exists()
    import_release(source, "12.7.0", out)
    assert import_release(source, "12.7.0", out, check=True).differences == ()
    assert [path.name for path in out.iterdir()] == ["12.7.0"]


def test_keeps_folders_it_did_not_write(tmp_path: Path) -> None:
    source = folder(tmp_path / "tree")
    theirs = tmp_path / "out" / "12.7.0"
    theirs.mkdir(parents=True)
    (theirs / "letter.txt").write_text("dear")
    assert rules(source, tmp_path / "out") == ["not-ours"]
    assert contents(theirs) == {"letter.txt": b"dear"}
    (tmp_path / "file").write_text("")
    assert rules(source, tmp_path / "file") == ["unwritable"]


@pytest.mark.parametrize("release", ["..", "a/b", "", ".hidden", "x" * 65, "1\n2"])
def test_rejects_unsafe_release_names(tmp_path: Path, release: str) -> None:
    with pytest.raises(DefinitionError, match="expected the name of a release"):
        import_release(folder(tmp_path / "tree"), release, tmp_path / "out")


def test_rejects_hostile_archives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is extracted, so paths do no harm; links are skipped, sizes limited."""
    text = b"const A = 1;"
    path = tmp_path / "hostile.tar"
    with tarfile.open(path, "w") as archive:
        for name in ("../../up_protocol.x", "/etc/rooted_protocol.x", "a/\x1b[31m/red_protocol.x"):
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text))
        link = tarfile.TarInfo("a/link_protocol.x")
        link.type = tarfile.SYMTYPE
        link.linkname = "/etc/passwd"
        archive.addfile(link)
    report = import_release(path, "12.7.0", tmp_path / "out")
    assert [file.name for file in report.files] == ["rooted_protocol.x", "up_protocol.x"]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["hostile.tar", "out"]

    large = tarball(tmp_path / "large.tar.xz", ":xz", {"a_protocol.x": " " * (2**20 + 1)})
    assert rules(large, tmp_path / "out") == ["unreadable"]
    monkeypatch.setattr(archives, "MAX_UNPACKED", 10**6)
    bomb = tarball(tmp_path / "bomb.tar.gz", ":gz", {"zeros": "\0" * 10**7, **TREE})
    assert rules(bomb, tmp_path / "out") == ["unreadable"]
    monkeypatch.setattr(source_tree, "MAX_MEMBERS", 3)
    assert rules(folder(tmp_path / "many"), tmp_path / "out") == ["unreadable"]


EMPTY_ZIP = b"PK\x05\x06" + b"\0" * 18


@pytest.mark.parametrize("data", [b"", b"hi", b"\x1f\x8b\x00", b"\xfd7zXZ\x00rest", b"BZh91", EMPTY_ZIP])
def test_rejects_files_that_are_not_archives(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "libvirt-1.0.0.tar.xz"
    path.write_bytes(data)
    assert rules(path, tmp_path / "out") in (["unreadable"], ["no-definitions"])


@pytest.mark.parametrize("kind", [":gz", ":bz2", ":xz"])
@pytest.mark.parametrize("lost", [1, 5, 20, 300, 700])
def test_rejects_truncated_archive(tmp_path: Path, kind: str, lost: int) -> None:
    whole = tarball(tmp_path / "whole", kind).read_bytes()
    path = tmp_path / "cut"
    path.write_bytes(whole[:-lost])
    assert rules(path, tmp_path / "out") == ["unreadable"]


@pytest.mark.parametrize(
    ("name", "release"),
    [
        ("libvirt-12.9.0.tar.xz", "12.9.0"),
        ("libvirt-v10.0.0", "10.0.0"),
        ("libvirt_9.0.0.orig.tar.xz", "9.0.0"),
        ("libvirt-9.0.0-rc1.tar.xz", "9.0.0-rc1"),
        ("v1.2.3.tar.gz", "1.2.3"),
        ("0.9.11.10", "0.9.11.10"),
        ("libvirt", None),
        ("2024.01.02-backup", None),
    ],
)
def test_release_is_read_from_the_name(tmp_path: Path, name: str, release: str | None) -> None:
    assert guess_release(tmp_path / name) == release


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["import", *(str(argument) for argument in arguments)])


def test_command_imports_a_release(tmp_path: Path) -> None:
    source, out = folder(tmp_path / "libvirt-12.7.0"), tmp_path / "defs"
    assert run(source, "-o", out, "--check").exit_code == 1
    assert not out.exists()
    result = run(source, "-o", out)
    assert result.exit_code == 0
    assert "libvirt 12.7.0: 4 files written to" in result.output
    assert "remote 0x20008086 version 1, 1 procedure" in result.output
    assert "from src/remote/remote_protocol.x" in result.output
    assert "Not in this release: admin_protocol.x" in result.output
    assert run(source, "-o", out, "--check").exit_code == 0
    (out / "12.7.0" / "qemu_protocol.x").write_text("")
    result = run(source, "-o", out, "--check")
    assert result.exit_code == 1
    assert "differs" in result.stderr
    assert f"libvirt-proto import {source} --release 12.7.0 -o {out}" in result.stderr


def test_command_reports_errors(tmp_path: Path) -> None:
    source = folder(tmp_path / "flat", {"a_protocol.x": "typedef opaque a[OURS];"})
    assert run(source).exit_code == 2, "no release"
    result = run(source, "--release", "1.0.0", "-o", tmp_path)
    assert result.exit_code == 1
    assert "a_protocol.x:1:18: error: no file defines the constant OURS" in result.stderr
    assert "--define OURS=VALUE" in result.stderr
    assert run(source, "--release", "1.0.0", "-o", tmp_path, "--define", "OURS=0x10").exit_code == 0
    for define in (
        "OURS",
        "OURS=",
        "OURS=x",
        "=1",
        "OURS=08",
        "OURS=99999999999999999999",
        "9=1",
        "OURS=1e3",
    ):
        assert run(source, "--release", "1.0.0", "-o", tmp_path, "--define", define).exit_code == 2, define
    assert run(tmp_path / "nowhere", "--release", "1.0.0").exit_code == 2


def test_bundled_definitions_match_upstream(root: Path, shared: Path) -> None:
    """The committed definitions equal an import of the upstream files."""
    for release in ("0.9.7", "10.0.0", "12.9.0"):
        report = import_release(shared / "libvirt" / release, release, root / "protocol-defs", check=True)
        assert report.differences == ()


def constants(**texts: str) -> HeaderConstants:
    """Headers a.h, b.h, … with these texts."""
    headers = {PurePosixPath(f"{name}.h"): text.encode() for name, text in texts.items()}
    return HeaderConstants(headers, {}, (1,))


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("(BASE - 6)", 250),
        ("BASE * 2 + 1", 513),
        ("1 << 4 | 3", 19),
        ("-1", -1),
        ("BASE - NOWHERE", None),
        ("NOWHERE", None),
        ("1 <<", None),
        ("08", None),
        ("1 << 99", None),
        ("1 / 1", None),
        ("(" * 150 + "1" + ")" * 49, None),
    ],
)
def test_evaluates_c_constant_expressions(value: str, number: int | None) -> None:
    found = constants(a=f"#define BASE 256\n#define SOUGHT {value}\n")
    if number is None:
        with pytest.raises(KeyError):
            found["SOUGHT"]
    else:
        assert found["SOUGHT"] == External("SOUGHT", number, "a.h")
    assert list(found) == ([] if number is None else ["SOUGHT"])
    assert len(found) == (number is not None)


def test_keeps_folder_that_cannot_be_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second rename fails, after the old folder was moved away."""
    source, target = folder(tmp_path / "libvirt"), tmp_path / "out"
    assert run(source, "--release", "9.9.9", "-o", target).exit_code == 0
    before = {path.name: path.read_bytes() for path in (target / "9.9.9").iterdir()}
    rename = Path.rename

    def once(path: Path, to: Path) -> Path:
        if path.name == "new":
            raise OSError(28, "No space left on device")
        return rename(path, to)

    (source / "src/new/future_protocol.x").write_text("const FUTURE = 2;\n")
    monkeypatch.setattr(Path, "rename", once)
    done = run(source, "--release", "9.9.9", "-o", target)
    assert done.exit_code == 1
    assert "cannot write" in done.output
    assert "no space left on device" in done.output
    assert {path.name: path.read_bytes() for path in (target / "9.9.9").iterdir()} == before
    assert [path.name for path in target.iterdir()] == ["9.9.9"]


def test_rejects_implausibly_many_definitions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_tree, "MAX_KEPT", 500)
    with pytest.raises(DefinitionError, match="more than 500 bytes of definitions and headers"):
        source_tree.read_tree(folder(tmp_path / "libvirt"))


def test_skips_special_files(tmp_path: Path) -> None:
    root = folder(tmp_path / "libvirt")
    (root / "src" / "gone_protocol.x").symlink_to("nowhere")
    assert "gone_protocol.x" not in {path.name for path in source_tree.read_tree(root).definitions}


def test_reports_missing_archive(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match=r"cannot read .*missing\.tar: no such file or directory"):
        source_tree.read_tree(tmp_path / "missing.tar")
