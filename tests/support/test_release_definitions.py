"""tools/release_definitions: what Debian packages and an installed system prove about a release."""

from __future__ import annotations

import hashlib
import io
import os
import re
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from libvirt_proto_codegen.identify import facts
from libvirt_proto_codegen.releases import find, newest, texts
from tests.support.release_files import API, deb, library, probes, release_files, tapset
from tools.release_definitions import packages
from tools.release_definitions.__main__ import main
from tools.release_definitions.evidence import Unproven, _add_notes, prove, report
from tools.release_definitions.packages import PackageError, files_of, is_system, upstream_tarball
from tools.release_definitions.upstream import next_release


def test_release_with_known_definitions() -> None:
    proof = prove(release_files(), "99.1.0")
    assert proof.base == find(newest())
    expected = {name: data.decode() for name, data in texts(proof.base).items()}
    assert proof.texts == expected
    assert proof.doubtful == ["libvirt_qemu_probes.d"], "its tapset is missing"
    said = report(proof, ["a.deb"])
    assert f"libvirt 99.1.0, from a.deb: the definitions of {newest()}\n" in said
    proven, unproven = said.split("Not proven:")
    for words in (
        "types are those of",
        "names of numbers are those of",
        "arguments of 45 probes",
        "virDomainAnnounceInterface",
    ):
        assert words in proven
    for words in ("limits of fields", "@acl", "libvirt_qemu_probes.stp is missing", "log manager"):
        assert words in unproven


def test_changed_probes_give_a_new_provider() -> None:
    """An argument that was text, and a new probe."""
    text = probes()
    changed = re.sub(r"dname = user_string\((\$arg3)\)", r"dname = \1", text)
    changed += 'probe libvirt.rpc.new = process("a").mark("rpc_new") {\n'
    changed += "  one = $arg1;\n  two = user_string($arg2);\n}\n"
    assert changed != text
    proof = prove(release_files() | {"libvirt_probes.stp": changed.encode()}, "99.1.0")
    own = {each.name: each.arguments for each in facts.probes(proof.texts["libvirt_probes.d"])}
    assert own["rpc_new"] == ("one", "*two")
    assert own["rpc_tls_context_session_allow"] == ("ctxt", "sess", "dname")
    before = {
        each.name: each.arguments for each in facts.probes(texts(proof.base)["libvirt_probes.d"].decode())
    }
    differ = {name for name in own.keys() | before.keys() if own.get(name) != before.get(name)}
    assert differ == {"rpc_new", "rpc_tls_context_session_allow", "rpc_tls_context_session_deny"}
    assert any("written as void *" in each for each in proof.unproven)
    assert "void *dname" in proof.texts["libvirt_probes.d"]
    assert "# prefix: rpc\n    probe rpc_new(void *one, const char *two);" in proof.texts["libvirt_probes.d"]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (
            {"libvirt.so.0.99001.0": library("99.1.0", ("xdr_remote_domain_sing_args",))},
            "the .x files are needed",
        ),
        ({"libvirt.so.0.99001.0": library("99.2.0")}, "is of libvirt 99.2.0, not of 99.1.0"),
        ({"libvirt_functions.stp": None}, "libvirt_functions.stp (package libvirt-common) is missing"),
        ({"libvirt.so.0.99001.0": None}, "libvirt.so.0 (package libvirt0) is missing"),
    ],
)
def test_other_definitions_are_not_assumed(files: dict[str, bytes | None], said: str) -> None:
    given = {name: data for name, data in (release_files() | files).items() if data is not None}
    with pytest.raises(Unproven, match=re.escape(said)):
        prove(given, "99.1.0")


def test_names_new_procedures() -> None:
    new = tapset().replace(b'"domain_announce_interface"', b'"domain_sing"')
    with pytest.raises(Unproven, match=r"not in \S+: domain_sing = 456 \(0x20008086\)"):
        prove(release_files() | {"libvirt_functions.stp": new}, "99.1.0")


def test_names_in_another_tapset() -> None:
    new = tapset().replace(b'"domain_announce_interface"', b'"domain_sing"')
    files = release_files() | {"libvirt_probes.stp": new}
    del files["libvirt_functions.stp"]
    with pytest.raises(Unproven, match=r"not in .*: domain_sing = 456"):
        prove(files, "99.1.0")


def test_names_cannot_control_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A package is hostile, and the names in its tapset are part of the message."""
    new = tapset().replace(b'"domain_announce_interface"', b'"\x1b]0;sing\x07"')
    (tmp_path / "usr/lib").mkdir(parents=True)
    (tmp_path / "usr/share/systemtap/tapset").mkdir(parents=True)
    (tmp_path / "usr/lib/libvirt.so.0.99001.0").write_bytes(library("99.1.0"))
    (tmp_path / "usr/share/systemtap/tapset/libvirt_functions.stp").write_bytes(new)
    monkeypatch.setattr(sys, "argv", ["release_definitions", str(tmp_path), "--release", "99.1.0"])
    assert main() == 1
    error = capsys.readouterr().err
    assert r"\x1b]0;sing\x07 = 456" in error
    assert "\x1b" not in error


def test_unreadable_source_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.dsc").mkdir()
    monkeypatch.setattr(sys, "argv", ["release_definitions", str(tmp_path / "a.dsc"), "--release", "99.1.0"])
    assert main() == 1
    assert "Is a directory" in capsys.readouterr().err


def test_newer_functions_are_reported() -> None:
    newer = API + b"<function name='virDomainSing' module='m' version='99.1.0'>"
    proof = prove(release_files() | {"libvirt-api.xml": newer}, "99.1.0")
    assert any("virDomainSing (99.1.0)" in each for each in proof.unproven)


def test_installed_system() -> None:
    """The libvirt of this machine, whose release is bundled."""
    root = Path("/")
    if not is_system(root):
        pytest.skip("libvirt is not installed")
    files = files_of([root])
    (name,) = [each for each in files if each.startswith("libvirt.so.0.")]
    number, micro = map(int, name.removeprefix("libvirt.so.0.").split("."))
    release = f"{number // 1000}.{number % 1000}.{micro}"
    if "libvirt_functions.stp" not in files:
        pytest.skip("its tapset is not installed")
    proof = prove(files, release)
    assert proof.base.covers(release)
    assert proof.texts.keys() == texts(proof.base).keys()
    assert any(
        re.fullmatch(rf"the numbers of arguments of \d+ probes agree \({name}\)", each)
        for each in proof.proven
    )
    other = proof.texts["libvirt_probes.d"].replace("object_new(void *obj, ", "object_new(")
    _add_notes(changed := replace(proof, texts={"libvirt_probes.d": other}, unproven=[]), {name: files[name]})
    assert "object_new" in changed.unproven[0]


# Packages


@pytest.mark.system("dpkg-deb")
def test_packages(tmp_path: Path) -> None:
    one = deb(
        tmp_path, "libvirt0", {"usr/lib/x86_64-linux-gnu/libvirt.so.0.9000.0": b"so", "usr/lib/other": b"x"}
    )
    two = deb(tmp_path, "libvirt-common", {"usr/share/systemtap/tapset/libvirt_functions.stp": b"stp"})
    assert files_of([one, two]) == {"libvirt.so.0.9000.0": b"so", "libvirt_functions.stp": b"stp"}
    other = deb(tmp_path, "libvirt-more", {"usr/share/systemtap/tapset/libvirt_functions.stp": b"other"})
    with pytest.raises(PackageError, match="than before: expected packages of one release"):
        files_of([two, other])
    empty = deb(tmp_path, "empty", {"usr/share/doc/a": b"a"})
    with pytest.raises(PackageError, match="expected the packages libvirt0"):
        files_of([empty])


@pytest.mark.system("dpkg-deb")
def test_hostile_packages(tmp_path: Path) -> None:
    whole = deb(tmp_path, "libvirt0", {"usr/lib/libvirt.so.0.9000.0": bytes(100_000)})
    data = whole.read_bytes()
    for size in (0, 7, 8, 100, len(data) // 2, len(data) - 1):
        cut = tmp_path / "cut.deb"
        cut.write_bytes(data[:size])
        with pytest.raises(PackageError):
            files_of([cut])
    for path in (tmp_path / "nothing.deb", tmp_path / "--help"):
        with pytest.raises(PackageError):
            files_of([path])


def test_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "usr/lib").mkdir(parents=True)
    (tmp_path / "usr/lib/libvirt.so.0.9000.0").symlink_to("/etc/passwd")
    with pytest.raises(PackageError, match="no tapset"):
        files_of([tmp_path])


def test_links_to_folders_stay_below_the_root(tmp_path: Path) -> None:
    """`usr/lib64` of another system may be an absolute link, which leads to this machine's libvirt."""
    root, machine = tmp_path / "root", tmp_path / "machine"
    for folder in (root / "usr/lib", machine):
        folder.mkdir(parents=True)
    (root / "usr/lib/libvirt.so.0.9000.0").write_bytes(b"own")
    (machine / "libvirt.so.0.12009.0").write_bytes(b"the machine's")
    (root / "usr/lib64").symlink_to(machine)
    (root / "usr/lib32").symlink_to("lib")
    assert files_of([root]) == {"libvirt.so.0.9000.0": b"own"}


def test_number_and_size_of_all_files_are_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "usr/lib").mkdir(parents=True)
    for micro in range(3):
        (tmp_path / f"usr/lib/libvirt.so.0.9000.{micro}").write_bytes(bytes(1000))
    assert len(files_of([tmp_path])) == 3
    monkeypatch.setattr(packages, "MAX_FILE", 2999)
    with pytest.raises(PackageError, match="more than 2,999 bytes together"):
        files_of([tmp_path])
    monkeypatch.setattr(packages, "MAX_FILES", 2)
    with pytest.raises(PackageError, match="got more than 2 files"):
        files_of([tmp_path])


def source_package(folder: Path, **fields: str) -> Path:
    """A .dsc with its tarball."""
    tarball = folder / "libvirt_12.9.0.orig.tar.xz"
    with tarfile.open(tarball, "w:xz") as archive:
        member = tarfile.TarInfo("libvirt-12.9.0/src/remote/remote_protocol.x")
        archive.addfile(member, io.BytesIO(b""))
    digest = hashlib.sha256(tarball.read_bytes()).hexdigest()
    other = "0" * 64
    dsc = folder / "libvirt_12.9.0-1.dsc"
    dsc.write_text(
        "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\nFormat: 3.0 (quilt)\nSource: libvirt\n"
        f"Checksums-Sha1:\n {'0' * 40} 1 {tarball.name}\n"
        f"Checksums-Sha256:\n {fields.get('digest', digest)} 1 {fields.get('name', tarball.name)}\n"
        f" {other} 2 libvirt_12.9.0-1.debian.tar.xz\nFiles:\n {'0' * 32} 1 {tarball.name}\n"
    )
    return dsc


def test_source_package(tmp_path: Path) -> None:
    assert upstream_tarball(source_package(tmp_path)) == tmp_path / "libvirt_12.9.0.orig.tar.xz"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"digest": "1" * 64}, "its SHA-256 differs"),
        ({"name": "libvirt_13.0.0.orig.tar.xz"}, "is missing: download the source package whole"),
        ({"name": "../libvirt_12.9.0.orig.tar.xz"}, "got 0"),
        ({"name": "other_12.9.0.orig.tar.xz"}, "got 0"),
    ],
)
def test_rejects_other_source_packages(tmp_path: Path, fields: dict[str, str], said: str) -> None:
    with pytest.raises(PackageError, match=said):
        upstream_tarball(source_package(tmp_path, **fields))


# The workflow


def test_next_release_is_the_oldest_newer_tag() -> None:
    def lines(*tags: str) -> list[str]:
        return [f"{'0' * 40}\trefs/tags/{tag}\n" for tag in tags]

    known = find(newest()).last
    assert next_release(lines("v1.2.9", f"v{known}", "v10.0.0", "CVE-2011-1146")) is None
    assert (
        next_release(lines("v99.10.0", "v99.9.0", "v99.9.1", "v99.2.0-rc1", "v98.0.0;x", "v9.0.0"))
        == "99.9.0"
    )
    assert next_release(["x", "", f"{'0' * 40}\trefs/tags/v99.1.0^{{}}"]) is None


@pytest.mark.system("git")
def test_workflow_command_finds_a_release(tmp_path: Path, root: Path) -> None:
    """git's own output, through the command of the workflow."""
    workflow = root / ".github" / "workflows" / "release-definitions.yml"
    if not workflow.exists():
        pytest.skip("a source distribution has no workflows")
    text = workflow.read_text()
    command = (
        'git ls-remote --tags --refs "$UPSTREAM" | .venv/bin/python -m tools.release_definitions.upstream'
    )
    assert command in text
    for words in (
        ("init", "-q"),
        ("commit", "-q", "--allow-empty", "-m", "a"),
        ("tag", "v99.1.0"),
        ("tag", "v99.2.0"),
    ):
        identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        subprocess.run(["git", *identity, "-C", tmp_path, *words], check=True)
    done = subprocess.run(
        ["bash", "-c", command.replace(".venv/bin/python", sys.executable)],
        cwd=root, env=os.environ | {"UPSTREAM": str(tmp_path)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "99.1.0\n"
