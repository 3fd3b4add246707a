"""`libvirt-proto diff`: the inputs it accepts, and its exit statuses."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from libvirt_proto.cli import main as cli

PAIRS = Path(__file__).resolve().parent.parent / "compare"
RAISED = PAIRS / "LIMIT_RAISED"
BROKEN = PAIRS / "FIELD_ADDED"


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(cli.main, ["diff", *map(str, words)])


def rules(result: Result) -> list[str]:
    return [finding["rule"] for finding in json.loads(result.stdout)["findings"]]


def git(*words: str) -> None:
    names = ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL")
    environment = {**os.environ, **dict.fromkeys(names, "test"), "GIT_CONFIG_GLOBAL": os.devnull}
    subprocess.run(["git", *words], check=True, capture_output=True, env=environment)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository as the current directory: definitions of two programs are committed, and those of the
    first are modified since."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("GIT_"):
            monkeypatch.delenv(name)
    git("init", "-q", ".")
    for folder, source in (("src/a", RAISED), ("src/b", PAIRS / "PAYLOAD_TYPE_CHANGED")):
        Path(folder).mkdir(parents=True)
        text = (source / "previous.x").read_text()
        Path(folder, f"{Path(folder).name}.x").write_text(
            text.replace("0x20001000", f"0x2000{ord(folder[-1])}")
        )
    git("add", "-A")
    git("commit", "-q", "-m", "first")
    Path("src/a/a.x").write_text((RAISED / "current.x").read_text().replace("0x20001000", "0x200097"))
    return tmp_path


def test_two_files() -> None:
    result = run(RAISED / "previous.x", RAISED / "current.x")
    assert result.exit_code == 0
    assert "DEMO_LIST_MAX is 8, was 4; it limits demo_name" in result.stdout
    assert (
        "old servers refuse calls, and old clients events, with a string of more than 4 bytes"
        in result.stdout
    )
    assert "reaches demo.lookup, demo.event_gone" in result.stdout
    assert "previous.x:9:7" in result.stdout
    assert result.stdout.endswith("2 findings: 2 LIMIT\n")


def test_changed_permission_fails_only_if_wanted() -> None:
    pair = PAIRS / "ACL_LOOSENED"
    sides = pair / "previous.x", pair / "current.x"
    result = run(*sides)
    assert result.exit_code == 0
    assert "new servers accept callers that lack domain:save\n" in result.stdout
    assert result.stdout.endswith("\n1 finding: 1 ACCESS\n")
    assert run(*sides, "--fail-on", "WIRE", "--fail-on", "ACCESS").exit_code == 1


def test_derived_release_may_have_other_annotations() -> None:
    """The @acl of 353 changed between 4.5.0 and 7.0.0; the states between were cut back from 7.0.0."""
    result = run("4.5.0", "4.10.0")
    assert result.stderr == (
        "libvirt-proto: note: libvirt 4.10.0 is derived from a later release, and may have its annotations\n"
    )
    [effect] = [line for line in result.stdout.splitlines() if "callers that lack" in line]
    assert effect.endswith("; in which release is unknown: after 4.5.0, by 7.0.0")
    result = run("4.5.0", "7.0.0")
    assert result.stderr == ""
    assert "unknown" not in result.stdout
    assert "in which release is unknown: after 7.0.0, by 9.0.0" in run("7.1.0", "7.0.0").stdout


def test_finds_permissions_of_7_0_0() -> None:
    found = json.loads(run("4.5.0", "7.0.0", "--format", "json").stdout)["findings"]
    changed = {f["symbol"]["number"]: f["rule"] for f in found if f["rule"].startswith("ACL")}
    assert changed == {353: "ACL_TIGHTENED"} | dict.fromkeys((186, 235, 277, 337, 388), "ACL_CHANGED")
    [added] = [
        f
        for f in json.loads(run("10.0.0", "10.1.0", "--format", "json").stdout)["findings"]
        if f["rule"].startswith("ACL")
    ]
    assert (added["symbol"]["number"], added["after"]) == (428, "node_device:write, node_device:save")


def test_file_is_compared_with_the_same_file_of_a_release(root: Path, tmp_path: Path) -> None:
    """The eight other programs of the release are not removed. The types that qemu's payloads take from
    remote_protocol.x count, and no others."""
    source = root / "protocol-defs" / "10.0.0"
    for name in ("qemu_protocol.x", "remote_protocol.x", "virnetprotocol.x", "externals.toml"):
        (tmp_path / name).write_bytes((source / name).read_bytes())
    for name in ("qemu_protocol.x", "remote_protocol.x", "virnetprotocol.x"):
        assert run("10.0.0", tmp_path / name).stdout == "no findings\n"
        assert run(tmp_path / name, "10.0.0").stdout == "no findings\n"
    remote = (source / "remote_protocol.x").read_text()
    remote = remote.replace("opaque remote_uuid[VIR_UUID_BUFLEN]", "opaque remote_uuid[17]")
    remote = remote.replace("const REMOTE_CPUMAP_MAX = 2048;", "const REMOTE_CPUMAP_MAX = 1024;")
    (tmp_path / "remote_protocol.x").write_text(remote)
    found = json.loads(run("10.0.0", tmp_path / "qemu_protocol.x", "--format", "json").stdout)["findings"]
    assert [(finding["rule"], finding["name"]) for finding in found] == [
        ("FIXED_SIZE_CHANGED", "remote_uuid")
    ]
    assert all(each.startswith("qemu.") for each in found[0]["reaches"])
    found = json.loads(run("10.0.0", tmp_path / "remote_protocol.x", "--format", "json").stdout)["findings"]
    assert [(finding["rule"], finding["name"]) for finding in found] == [
        ("FIXED_SIZE_CHANGED", "remote_uuid"),
        ("LIMIT_LOWERED", "REMOTE_CPUMAP_MAX"),
    ]
    assert all(each.startswith("remote.") for finding in found for each in finding["reaches"])


def test_wire_finding_fails() -> None:
    assert run(BROKEN / "previous.x", BROKEN / "current.x").exit_code == 1
    assert run(BROKEN / "previous.x", BROKEN / "current.x", "--fail-on", "LIMIT").exit_code == 0
    assert run(RAISED / "previous.x", RAISED / "current.x", "--fail-on", "LIMIT").exit_code == 1
    assert run(BROKEN / "previous.x", BROKEN / "previous.x").exit_code == 0


def test_ignored_finding_does_not_fail(tmp_path: Path) -> None:
    ignores = tmp_path / "ignores.toml"
    ignores.write_text('[[ignore]]\nrule = "FIELD_ADDED"\nname = "demo_*"\nreason = "no peer is older"\n')
    result = run(BROKEN / "previous.x", BROKEN / "current.x", "--ignore", ignores)
    assert (result.exit_code, result.stdout) == (0, "no findings; 1 ignored\n")
    result = run(BROKEN / "previous.x", BROKEN / "current.x", "--ignore", ignores, "--format", "json")
    assert '"no peer is older"' in result.stdout


@pytest.mark.parametrize("format_", ["json", "github", "junit"])
def test_formats(format_: str) -> None:
    result = run(BROKEN / "previous.x", BROKEN / "current.x", "--format", format_)
    assert "FIELD_ADDED" in result.stdout
    assert "demo_lookup_args.flags" in result.stdout
    assert result.exit_code == 1


def test_json_has_every_field() -> None:
    [finding] = json.loads(run(BROKEN / "previous.x", BROKEN / "current.x", "--format", "json").stdout)[
        "findings"
    ]
    assert finding["category"] == "WIRE"
    assert finding["program"] == "demo"
    assert finding["reaches"] == ["demo.lookup"]
    assert finding["symbol"]["owner"] == "demo_lookup_args"
    assert (finding["old"], finding["new"]["line"]) == (None, 10)


def test_two_releases() -> None:
    """remote 447 to 456 and admin 20 were added, and one field was renamed in eight structs."""
    result = run("10.0.0", "12.9.0", "--format", "json")
    found = rules(result)
    assert {rule: found.count(rule) for rule in found} == {
        "ACL_TIGHTENED": 1,
        "FIELD_RENAMED": 8,
        "PROCEDURE_ADDED": 11,
    }
    numbers = [
        f["symbol"]["number"] for f in json.loads(result.stdout)["findings"] if f["rule"] == "PROCEDURE_ADDED"
    ]
    assert sorted(numbers) == [20, *range(447, 457)]


def test_finds_renames_of_1_0_5() -> None:
    """42 procedures (41 of remote, 1 of qemu) and 60 payload types were renamed; one procedure was added."""
    result = run("1.0.4", "1.0.5", "--format", "json")
    found = [(finding["rule"], finding["program"]) for finding in json.loads(result.stdout)["findings"]]
    assert {each: found.count(each) for each in found} == {
        ("PROCEDURE_RENAMED", "remote"): 41,
        ("PROCEDURE_RENAMED", "qemu"): 1,
        ("TYPE_RENAMED", "remote"): 58,
        ("TYPE_RENAMED", "qemu"): 2,
        ("PROCEDURE_ADDED", "remote"): 1,
    }


def test_finds_rename_of_11_6_0() -> None:
    result = run("11.2.0", "11.6.0")
    assert result.stdout.count(".bandwidth was renamed from resource\n") == 8
    assert result.stdout.endswith("\n8 findings: 8 SOURCE\n")


def test_finds_limits_of_1_1_2() -> None:
    result = run("1.1.1", "1.1.2")
    assert result.exit_code == 1
    assert result.stdout.endswith("\n28 findings: 17 WIRE, 11 SOURCE\n")


@pytest.mark.system("git")
def test_compares_source_tree(repository: Path) -> None:
    """For a folder without .x files, the folders below it are searched, as in a revision."""
    assert rules(run("git:HEAD:src", "src", "--format", "json")) == ["LIMIT_RAISED", "LIMIT_RAISED"]
    Path("empty").mkdir()
    result = run("src", "empty")
    assert result.exit_code == 1
    assert "no .x file in empty" in result.stderr


def test_path_is_not_a_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("10.0.0").mkdir()
    Path("10.0.0/demo_protocol.x").write_text((RAISED / "previous.x").read_text())
    assert rules(run("10.0.0", RAISED / "previous.x", "--format", "json")) == []
    assert run("./12.9.0", "10.0.0").exit_code == 1  # a path that does not exist


def test_well_known_constants_are_optional(tmp_path: Path) -> None:
    file = tmp_path / "a.x"
    file.write_text("typedef opaque uuid[VIR_UUID_BUFLEN];\n")
    other = tmp_path / "b.x"
    other.write_text("typedef opaque uuid[LENGTH];\n")
    result = run(file, other, "--define", "LENGTH=20", "--format", "json")
    assert rules(result) == ["FIXED_SIZE_CHANGED"]


@pytest.mark.system("git")
def test_compares_revision_with_files(repository: Path) -> None:
    result = run("git:HEAD:src/a", "src/a", "--format", "json")
    assert rules(result) == ["LIMIT_RAISED", "LIMIT_RAISED"]
    first = json.loads(result.stdout)["findings"][0]
    assert (first["old"]["file"], first["new"]["file"]) == ("HEAD:src/a/a.x", "src/a/a.x")
    assert first["old"]["line"] == first["new"]["line"] == 9


@pytest.mark.system("git")
def test_compares_paths_in_revision(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All folders below a folder; a file; relative to the root or to the current directory."""
    whole, below = "git:HEAD:", "git:HEAD:src"
    assert rules(run(whole, below, "--format", "json")) == []
    assert rules(run(whole, "git:HEAD:src/b", "--format", "json")).count("PROGRAM_REMOVED") == 1
    assert rules(run(whole, "git:HEAD:src/b/b.x", "--format", "json")) == []
    assert rules(run("git:HEAD:src/b/b.x", whole, "--format", "json")) == []
    monkeypatch.chdir(repository / "src" / "a")
    assert rules(run("git:HEAD:./a.x", "a.x", "--format", "json")) == ["LIMIT_RAISED", "LIMIT_RAISED"]
    assert rules(run("git:HEAD:../b", "git:HEAD:src/b/", "--format", "json")) == []


@pytest.mark.system("git")
def test_file_in_revision_includes_its_neighbours(repository: Path) -> None:
    Path("src/a/user.x").write_text('%#include "a.h"\nstruct user {\n    demo_name name;\n};\n')
    git("add", "-A")
    git("commit", "-q", "-m", "second")
    assert rules(run("git:HEAD:src/a/user.x", "src/a", "--format", "json")) == []


@pytest.mark.system("git")
def test_reads_constants_in_revision(repository: Path) -> None:
    """An externals.toml applies as it does in a folder."""
    Path("src/c").mkdir()
    Path("src/c/c.x").write_text("typedef opaque label[LENGTH];\n")
    assert "no file defines the constant LENGTH" in commit_and_run("git:HEAD:src/c", "src/c").stderr
    Path("src/c/externals.toml").write_text("LENGTH = 3\n")
    assert commit_and_run("git:HEAD:src/c", "src/c").stdout == "no findings\n"
    Path("src/c/externals.toml").write_text("LENGTH = true\n")
    assert (
        "HEAD:src/c/externals.toml: LENGTH: expected an integer"
        in commit_and_run("git:HEAD:src/c", "src/c").stderr
    )


def commit_and_run(*sides: str) -> Result:
    git("add", "-A")
    git("commit", "-q", "-m", "again")
    return run(*sides)


@pytest.mark.system("git")
def test_rejects_large_file(repository: Path) -> None:
    Path("src/a/a.x").write_text("/*" + "x" * 2**20 + "*/")
    assert "HEAD:src/a/a.x is larger than 1,048,576 bytes" in commit_and_run("git:HEAD:src", "src").stderr


@pytest.mark.system("git")
def test_rejects_folder_without_definitions(repository: Path) -> None:
    Path("docs").mkdir()
    Path("docs/a.txt").write_text("")
    assert "no .x file in git:HEAD:docs" in commit_and_run("git:HEAD:docs", "src").stderr


@pytest.mark.system("git")
@pytest.mark.parametrize(
    ("side", "said"),
    [
        ("git:nowhere:src", "the repository has no revision 'nowhere'"),
        ("git:--output=x:src", "the repository has no revision '--output=x'"),
        ("git:HEAD:srcs", "no srcs in HEAD"),
        ("git:HEAD:src/a/b.x", "no src/a/b.x in HEAD"),
        ("git:HEAD:*", "no * in HEAD"),
        ("git:HEAD", "expected git:REV:PATH"),
        ("git::src", "expected git:REV:PATH"),
        ("git:HEAD:s\nrc", "contains a line break"),
        (
            "0.0.1",
            "no file or folder '0.0.1', and libvirt 0.0.1 is not bundled (oldest",
        ),
    ],
)
def test_wrong_usage(repository: Path, side: str, said: str) -> None:
    result = run(side, "src")
    assert result.exit_code == 2
    assert said in result.stderr


@pytest.mark.system("git")
def test_reports_missing_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    result = run("git:HEAD:src", "12.9.0")
    assert result.exit_code == 2
    assert "the current directory is not in a git repository" in result.stderr


def test_reports_missing_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "git is not installed" in run("git:HEAD:src", "12.9.0").stderr


@pytest.mark.system("git")
def test_reports_invalid_definitions(repository: Path) -> None:
    Path("src/a/a.x").write_text("struct {")
    git("add", "-A")
    git("commit", "-q", "-m", "broken")
    result = run("git:HEAD~:src", "git:HEAD:src")
    assert result.exit_code == 1
    assert "HEAD:src/a/a.x:1:8: error:" in result.stderr
    assert "nothing was compared" in result.stderr


def test_completes_rule_and_release_names() -> None:
    result = CliRunner().invoke(
        cli.main,
        [],
        env={
            "_LIBVIRT_PROTO_COMPLETE": "bash_complete",
            "COMP_WORDS": "libvirt-proto diff 10",
            "COMP_CWORD": "2",
        },
        prog_name="libvirt-proto",
    )
    assert set(result.stdout.split()) >= {"file,10", "plain,10.0.0"}
