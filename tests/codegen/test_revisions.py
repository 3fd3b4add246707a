"""Definitions in hostile repositories, and in repositories that lack objects."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from libvirt_proto_codegen import revisions
from libvirt_proto_codegen.errors import DefinitionError
from libvirt_proto_codegen.revisions import RevisionError, load_revision
from libvirt_proto_codegen.source import MAX_SIZE

pytestmark = pytest.mark.system("git")

#: Repository settings that name a program.
PROGRAMS = {
    "alias.cat-file": "!{}",
    "core.alternateRefsCommand": "{}",
    "core.askPass": "{}",
    "core.editor": "{}",
    "core.fsmonitor": "{}",
    "core.gitProxy": "{}",
    "core.pager": "{}",
    "core.sshCommand": "{}",
    "credential.helper": "!{}",
    "diff.external": "{}",
    "diff.x.command": "{}",
    "diff.x.textconv": "{}",
    "filter.x.process": "{}",
    "filter.x.smudge": "{}",
    "pager.cat-file": "{}",
    "pager.ls-tree": "{}",
    "pager.rev-parse": "{}",
    "remote.origin.uploadpack": "{}",
    "sequence.editor": "{}",
    "uploadpack.packObjectsHook": "{}",
}


def git(*words: str | Path, at: Path) -> None:
    names = ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL")
    environment = {**os.environ, **dict.fromkeys(names, "test"), "GIT_CONFIG_GLOBAL": os.devnull}
    subprocess.run(["git", *words], check=True, capture_output=True, cwd=at, env=environment)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in list(os.environ):
        if name.startswith("GIT_"):
            monkeypatch.delenv(name)
    source = tmp_path / "source"
    (source / "src").mkdir(parents=True)
    (source / "src" / "a.x").write_text("const A = 1;\n")
    (source / "src" / ".gitattributes").write_text("*.x diff=x filter=x\n")
    git("init", "-q", ".", at=source)
    git("config", "uploadpack.allowFilter", "true", at=source)
    git("add", "-A", at=source)
    git("commit", "-q", "-m", "first", at=source)
    monkeypatch.chdir(source)
    return source


@pytest.fixture(params=["blob:none", "tree:0"])
def partial_clone(
    request: pytest.FixtureRequest, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    clone = tmp_path / "clone"
    url = f"file://{repository}"
    git("clone", "-q", "--no-checkout", f"--filter={request.param}", url, clone, at=tmp_path)
    monkeypatch.chdir(clone)
    return clone


def leave_marks(repository: Path, marks: Path) -> None:
    """Make the repository's settings and hooks name programs that leave a mark."""
    marks.mkdir()
    for setting, value in PROGRAMS.items():
        program = marks.parent / f"{setting}.sh"
        program.write_text(f"#!/bin/sh\ntouch '{marks}/{setting}'\nexit 1\n")
        program.chmod(0o755)
        git("config", setting, value.format(program), at=repository)
    hooks = repository / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    for hook in ("post-checkout", "post-index-change", "reference-transaction"):
        (hooks / hook).write_text(f"#!/bin/sh\ntouch '{marks}/{hook}'\n")
        (hooks / hook).chmod(0o755)


@pytest.mark.parametrize("url", [None, "ext::{} %S", "ssh://localhost/x", "git://localhost/x", "mark::x"])
@pytest.mark.parametrize("old", [False, True])
def test_missing_objects_start_no_program(
    partial_clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str | None, old: bool
) -> None:
    """`old`: versions of git without GIT_NO_LAZY_FETCH try to fetch."""
    marks = tmp_path / "marks"
    leave_marks(partial_clone, marks)
    git("config", "protocol.allow", "always", at=partial_clone)
    for protocol in ("ext", "file", "git", "mark", "ssh"):
        git("config", f"protocol.{protocol}.allow", "always", at=partial_clone)
    helper = tmp_path / "bin" / "git-remote-mark"
    helper.parent.mkdir()
    helper.write_text(f"#!/bin/sh\ntouch '{marks}/remote'\n")
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{helper.parent}:{os.environ['PATH']}")
    if url is not None:
        git("config", "remote.origin.url", url.format(helper), at=partial_clone)
    if old:
        monkeypatch.delitem(revisions._SETTINGS, "GIT_NO_LAZY_FETCH")
    with pytest.raises(RevisionError, match=r"git lacks .*HEAD.* \(a partial clone\?\): run git show"):
        load_revision("git:HEAD:src")
    assert list(marks.iterdir()) == []


def test_repository_settings_start_no_program(repository: Path, tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    leave_marks(repository, marks)
    (module,) = load_revision("git:HEAD:src").modules
    assert [constant.name for constant in module.constants] == ["A"]
    load_revision("git:HEAD:./src/a.x")
    assert list(marks.iterdir()) == []


def test_reports_missing_object(repository: Path) -> None:
    name = subprocess.run(["git", "rev-parse", "HEAD:src/a.x"], check=True, capture_output=True, text=True)
    blob = name.stdout.strip()
    (repository / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    with pytest.raises(RevisionError, match=r"git lacks HEAD:src/a\.x \(a partial clone\?\)"):
        load_revision("git:HEAD:src")


def test_git_variables_do_not_select_the_repository(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marks = tmp_path / "marks"
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_OBJECT_DIRECTORY", "GIT_EXEC_PATH", "GIT_TRACE", "GIT_SSH"):
        monkeypatch.setenv(name, str(marks))
    monkeypatch.setenv("GIT_CONFIG_PARAMETERS", "'core.bare'='nonsense'")
    assert load_revision("git:HEAD:src").modules
    assert not marks.exists()


def test_rejects_repository_of_another_user(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can give files away")
    monkeypatch.setenv("HOME", str(repository.parent))
    monkeypatch.delenv("SUDO_UID", raising=False)
    for path in (repository, repository / ".git"):
        os.chown(path, 65534, 65534)
    with pytest.raises(RevisionError, match="dubious ownership"):
        load_revision("git:HEAD:src")


@pytest.mark.parametrize(
    "revision",
    ["-", "--all", "--git-dir", "-h", "HEAD..HEAD", "^HEAD", "\x1b[31m", "\udcff\udcfe", "a b", "@{"],
)
def test_rejects_options_as_revisions(repository: Path, revision: str) -> None:
    with pytest.raises(RevisionError, match="no revision"):
        load_revision(f"git:{revision}:src")


def test_reads_revision_with_odd_name(repository: Path) -> None:
    git("update-ref", "refs/heads/-x", "HEAD", at=repository)
    assert load_revision("git:-x:src").modules


def test_size_of_file_list_is_limited(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revisions, "_MAX_LISTING", 20)
    with pytest.raises(RevisionError, match=r"too many files in \. of HEAD: name a folder below it"):
        load_revision("git:HEAD:")


def test_size_of_files_is_limited(repository: Path) -> None:
    text = "const A = 1;\n"
    file = repository / "src" / "a.x"
    file.write_text(" " * (MAX_SIZE - len(text)) + text)
    git("commit", "-q", "-a", "-m", "largest", at=repository)
    assert load_revision("git:HEAD:src").modules
    file.write_text(" " * (3 * MAX_SIZE) + text)
    git("commit", "-q", "-a", "-m", "too large", at=repository)
    with pytest.raises(RevisionError, match="is larger than 1,048,576 bytes"):
        load_revision("git:HEAD:src")


def test_includes_files_of_the_revision(repository: Path) -> None:
    source = repository / "src"
    (source / "b.x").write_text('#include "part/c.x"\n#include "a.h"\nstruct b { c x[N]; };\n')
    (source / "part").mkdir()
    (source / "part" / "c.x").write_text("#define N 2\nstruct c { hyper y; };\n")
    git("add", "-A", at=repository)
    git("commit", "-q", "-m", "second", at=repository)
    (source / "part" / "c.x").unlink()
    schema = load_revision("git:HEAD:src")
    assert [module.name for module in schema.modules] == ["a", "b"]
    assert schema.by_name["b"].by_name["b"].max_size == 16
    (source / "b.x").write_text('#include "../../outside.x"\n')
    git("commit", "-q", "-a", "-m", "third", at=repository)
    with pytest.raises(
        DefinitionError, match=r"HEAD:src/b\.x:1:1: error: no file '../../outside\.x' to include"
    ):
        load_revision("git:HEAD:src/b.x")
