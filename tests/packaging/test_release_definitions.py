"""`make release-definitions`, in a copy of the repository, with a hand-made release."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.release_files import deb, release_files

pytestmark = pytest.mark.system("make")

COMMAND = str(Path(sys.executable).with_name("libvirt-proto"))
ENTRY = """\
### Definitions

- libvirt 99.1.0, compared with {newest}:
  - LIMIT: REMOTE_DOMAIN_LIST_MAX is 32,768, was 16,384; it limits
    remote_connect_list_defined_domains_ret.names and 4 more
  - ADDED: REMOTE_PROC_DOMAIN_SING = 999 is new
- libvirt {newest}, compared with """
CHANGELOG = """\
# Changelog

## [Unreleased]

### Definitions

- libvirt {newest}, compared with the one before: nothing changed.

## [0.1.0]
"""


class Copy:
    """A copy of the files that the target needs; its commands use them instead of the repository's."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.folder = folder
        ignored = shutil.ignore_patterns("__pycache__")
        for name in ("libvirt_proto", "codegen", "protocol-defs", "tools"):
            shutil.copytree(root / name, folder / name, ignore=ignored)
        for name in ("Makefile", "CHANGELOG.md", "pyproject.toml"):
            shutil.copy(root / name, folder)

    def run(self, *command: str, status: int = 0) -> str:
        # The copy's lines must not count as uncovered.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
        environment["PYTHONPATH"] = os.pathsep.join([str(self.folder), str(self.folder / "codegen")])
        done = subprocess.run(
            command, cwd=self.folder, env=environment,
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    def make(self, *words: str, status: int = 0) -> str:
        """Run make. `-o`: the environment exists already, and nothing is installed into it."""
        venv = sys.prefix
        return self.run("make", "-o", f"{venv}/run.stamp", f"VENV={venv}", *words, status=status)

    def files(self) -> dict[str, bytes]:
        found = (path for path in self.folder.rglob("*") if path.is_file() and path.suffix != ".pyc")
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in found}


@pytest.fixture
def copy(root: Path, tmp_path: Path) -> Copy:
    (tmp_path / "copy").mkdir()
    return Copy(root, tmp_path / "copy")


def newest(copy: Copy) -> str:
    program = "from libvirt_proto_codegen.releases import newest; print(newest())"
    return copy.run(sys.executable, "-c", program).strip()


def test_imports_next_release(copy: Copy, tmp_path: Path) -> None:
    before = newest(copy)
    (copy.folder / "CHANGELOG.md").write_text(CHANGELOG.format(newest=before))
    source = tmp_path / "source"
    shutil.copytree(copy.folder / "protocol-defs" / before, source)
    text = (source / "remote_protocol.x").read_text()
    for old, new in (
        ("const REMOTE_DOMAIN_LIST_MAX = 16384;", "const REMOTE_DOMAIN_LIST_MAX = 32768;"),
        (
            "enum remote_procedure {",
            "struct remote_domain_sing_args {\n    int song;\n};\n\nenum remote_procedure {",
        ),
    ):
        assert old in text
        text = text.replace(old, new, 1)
    head, tail = text.rstrip().rsplit("\n}", 1)
    text = f"{head},\n\n    /** @acl: domain:write */\n    REMOTE_PROC_DOMAIN_SING = 999\n}}{tail}\n"
    (source / "remote_protocol.x").write_text(text)

    words = ("release-definitions", f"SOURCE={source}", "RELEASE=99.1.0")
    assert "CHANGELOG.md lists the changes." in copy.make(*words)
    assert newest(copy) == "99.1.0"
    assert ENTRY.format(newest=before) in (copy.folder / "CHANGELOG.md").read_text()
    assert f"  since   after {before}, by 99.1.0\n" in copy.run(COMMAND, "lookup", "domain_sing")
    copy.run(COMMAND, "generate", "python", "-o", "libvirt_proto/generated", "--check")
    after = copy.files()
    copy.make(*words)
    assert copy.files() == after, "the same again changes nothing"


@pytest.mark.system("dpkg-deb")
def test_imports_release_from_packages(copy: Copy, tmp_path: Path) -> None:
    """Without .x files: the packages prove that the definitions are those of the newest bundled release."""
    before = newest(copy)
    (copy.folder / "CHANGELOG.md").write_text(CHANGELOG.format(newest=before))
    files = release_files("99.1.0")
    library = deb(tmp_path, "libvirt0", {"usr/lib/libvirt.so.0.99001.0": files.pop("libvirt.so.0.99001.0")})
    others = deb(tmp_path, "libvirt-common", {f"usr/share/{name}": data for name, data in files.items()})
    words = ("release-definitions", f"SOURCE={library} {others}", "RELEASE=99.1.0")
    said = copy.make(*words)
    assert f"libvirt 99.1.0, from libvirt0.deb, libvirt-common.deb: the definitions of {before}" in said
    assert newest(copy) == "99.1.0"
    assert (
        f"- libvirt 99.1.0, compared with {before}: nothing changed.\n"
        in (copy.folder / "CHANGELOG.md").read_text()
    )
    listed = copy.run(COMMAND, "generate", "--list-releases").splitlines()[-1]
    assert listed.split()[:2] == ["99.1.0", "rebuilt"]
    assert "libvirt_qemu_probes.d unproven" in listed
    after = copy.files()
    copy.make(*words)
    assert copy.files() == after, "the same again changes nothing"


@pytest.mark.system("dpkg-deb")
def test_packages_of_another_release_change_nothing(copy: Copy, tmp_path: Path) -> None:
    files = release_files("99.1.0")
    library = deb(tmp_path, "libvirt0", {"usr/lib/libvirt.so.0.99001.0": files.pop("libvirt.so.0.99001.0")})
    before = copy.files()
    said = copy.make("release-definitions", f"SOURCE={library}", "RELEASE=99.1.0", status=2)
    assert "error: libvirt_functions.stp (package libvirt-common) is missing" in said
    assert copy.files() == before


def test_reports_missing_arguments(copy: Copy) -> None:
    said = copy.make("release-definitions", status=2)
    assert "usage: make release-definitions SOURCE=libvirt-12.10.0.tar.xz RELEASE=12.10.0" in said
    said = copy.make("release-definitions", "SOURCE=not-there.tar.xz", "RELEASE=99.1.0", status=2)
    assert "'not-there.tar.xz' does not exist" in said
