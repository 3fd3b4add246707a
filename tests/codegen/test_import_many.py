"""`libvirt-proto import` of many releases and of one more: the archive and the history."""

from __future__ import annotations

import difflib
import io
import re
import shutil
import tarfile
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner, Result

from libvirt_proto.cli.main import main
from libvirt_proto.codec.history import Event, Span
from libvirt_proto_codegen import importer
from libvirt_proto_codegen.errors import DefinitionError
from libvirt_proto_codegen.import_many import import_releases
from libvirt_proto_codegen.importer import import_release
from libvirt_proto_codegen.releases import archive_of, collection, fold, update, weave
from libvirt_proto_codegen.releases.archive import make_archive, write_archive
from libvirt_proto_codegen.releases.facts import read_history, write_history
from libvirt_proto_codegen.releases.fold import difference
from libvirt_proto_codegen.releases.provenance import OriginRules
from libvirt_proto_codegen.releases.unfold import unfold
from libvirt_proto_codegen.source_tree import read_tree

X = """
/* The one of upstream. */
const X_MAX = {limit};
struct x_open_args {{ string {field}<X_MAX>; }};
const X_PROGRAM = 0x20000001;
const X_PROTOCOL_VERSION = 1;
enum x_procedure {{ X_PROC_OPEN = 1{more} }};
"""
RELEASES = {
    "1.0.0": X.format(limit=16, field="name", more=""),
    "1.0.1": X.format(limit=32, field="name", more=""),
    "1.0.2": X.format(limit=32, field="name", more=", X_PROC_CLOSE = 2"),
}


def tree(at: Path, releases: Mapping[str, str]) -> Path:
    for release, text in releases.items():
        (at / release).mkdir(parents=True, exist_ok=True)
        (at / release / "x_protocol.x").write_text(text)
    return at


def tarball(at: Path, releases: Mapping[str, str]) -> Path:
    with tarfile.open(at, "w:xz") as archive:
        for release, text in releases.items():
            member = tarfile.TarInfo(f"releases/{release}/x_protocol.x")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return at


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["import", *map(str, arguments)])


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def changed(before: bytes, after: bytes) -> tuple[list[str], list[str]]:
    """The removed and the added lines."""
    lines = list(difflib.ndiff(before.decode().splitlines(), after.decode().splitlines()))
    return [line[2:] for line in lines if line[0] == "-"], [line[2:] for line in lines if line[0] == "+"]


def test_folder_and_archive_of_many_releases_are_equal(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    result = run(tree(tmp_path / "all", RELEASES), "-o", one)
    assert result.exit_code == 0, result.output
    assert result.output.startswith(f"3 releases read, 1.0.0 to 1.0.2, and written to {one}\n")
    assert run(tarball(tmp_path / "all.tar.xz", RELEASES), "-o", two).exit_code == 0
    assert files(one) == files(two)
    assert files(one).keys() == {"releases.weave", "history.json"}
    archive = archive_of(one)
    assert archive.names == ("1.0.0", "1.0.1", "1.0.2")
    assert "const X_MAX = 32;\n" in archive.texts("1.0.1")["x_protocol.x"]
    assert "upstream" not in (one / "releases.weave").read_text()
    assert (one / "history.json").read_text() == (
        '{"first": "1.0.0", "last": "1.0.2", "facts": {\n'
        ' "constant X_MAX": {"events": [{"kind": "changed", "in": "1.0.1", "what": "number",'
        ' "before": 16, "after": 32}]},\n'
        ' "procedure 0x20000001 2": {"since": "1.0.2"}\n'
        "}}\n"
    )


def test_check_covers_the_archive_and_the_history(tmp_path: Path) -> None:
    source, out = tree(tmp_path / "all", RELEASES), tmp_path / "defs"
    assert run(source, "-o", out, "--check").exit_code == 1
    assert not out.exists()
    run(source, "-o", out)
    assert run(source, "-o", out, "--check").exit_code == 0
    for name in ("releases.weave", "history.json"):
        good = (out / name).read_bytes()
        (out / name).write_bytes(good.replace(b"1.0.2", b"1.0.3"))
        result = run(source, "-o", out, "--check")
        assert result.exit_code == 1
        assert f"differs  {out / name}" in result.stderr
        (out / name).write_bytes(good)


@pytest.mark.parametrize("last", ["1.0.2", "1.0.1", "1.0.0"])
def test_release_removed_and_imported_again(tmp_path: Path, last: str) -> None:
    """In any order: the newest release extends the history, an older one rebuilds it."""
    run(tree(tmp_path / "all", RELEASES), "-o", tmp_path / "whole")
    others = {release: text for release, text in RELEASES.items() if release != last}
    out = tmp_path / "defs"
    run(tree(tmp_path / "others", others), "-o", out)
    result = run(tree(tmp_path / "last", {last: RELEASES[last]}) / last, "--release", last, "-o", out)
    assert result.exit_code == 0, result.output
    assert f"Also in releases.weave and history.json of {out}" in result.output
    assert {name: files(out)[name] for name in files(tmp_path / "whole")} == files(tmp_path / "whole")
    assert run(tmp_path / "last" / last, "--release", last, "-o", out, "--check").exit_code == 0


def test_release_after_maintenance_release_with_same_change(tmp_path: Path) -> None:
    """Imported later or at once, the release gives the same history."""
    texts = {
        **RELEASES,
        "1.0.1.1": RELEASES["1.0.1"].replace("32", "64"),
        "1.0.3": RELEASES["1.0.2"].replace("32", "64"),
    }
    run(tree(tmp_path / "all", texts), "-o", tmp_path / "whole")
    newest = texts.pop("1.0.3")
    out = tmp_path / "defs"
    run(tree(tmp_path / "others", texts), "-o", out)
    run(tree(tmp_path / "newest", {"1.0.3": newest}) / "1.0.3", "-o", out)
    assert (out / "history.json").read_bytes() == (tmp_path / "whole" / "history.json").read_bytes()
    assert (
        '"in": "1.0.3", "what": "number", "before": 32, "after": 64, "also": ["1.0.1.1"]'
        in (out / "history.json").read_text()
    )


def test_imports_one_release_of_many(tmp_path: Path) -> None:
    result = run(tarball(tmp_path / "all.tar.xz", RELEASES), "--release", "1.0.1", "-o", tmp_path / "defs")
    assert result.exit_code == 0, result.output
    assert {name.split("/")[0] for name in files(tmp_path / "defs")} == {"1.0.1"}
    assert b"X_MAX = 32" in files(tmp_path / "defs")["1.0.1/x_protocol.x"]


def test_rejects_repeated_ranges(tmp_path: Path) -> None:
    source, out = tree(tmp_path / "all", {**RELEASES, "1.1.0": RELEASES["1.0.0"]}), tmp_path / "defs"
    result = run(source, "-o", out, "--same", "1.0.2:1.0.6")
    assert result.exit_code == 0, result.output
    assert "1.0.2    covers 1.0.2 to 1.0.6" in result.output
    assert archive_of(out).find("1.0.5").name == "1.0.2"
    before = files(out)
    assert run(source, "-o", out).exit_code == 0
    assert files(out) == before
    for same, words in [
        ("1.0.3:1.0.4", "got none"),
        (
            "1.0.1:1.0.2",
            "libvirt 1.0.2 differs from 1.0.1, but both are in the range 1.0.1:1.0.2, in which no declaration"
            " changed: X_PROC_CLOSE",
        ),
        ("1.0.6:1.0.2", "pass the older release first: --same 1.0.2:1.0.6"),
        ("1.0.6:1.1.0", "the ranges of 1.0.2 (1.0.2:1.0.6) and 1.1.0 (1.0.6:1.1.0) overlap"),
    ]:
        result = run(source, "-o", out, "--same", same)
        assert result.exit_code == 1
        assert words in result.stderr
    assert run(source, "-o", out, "--same", "1.0.2").exit_code == 2
    alone = run(source / "1.0.2", "-o", tmp_path / "other", "--same", "1.0.2:1.0.6")
    assert (alone.exit_code, "which is missing" in alone.stderr) == (2, True)
    assert files(out) == before


def test_rejects_different_release_inside_existing_range(tmp_path: Path) -> None:
    out = tmp_path / "defs"
    run(tree(tmp_path / "all", RELEASES), "-o", out, "--same", "1.0.2:1.0.6")
    result = run(tree(tmp_path / "one", {"1.0.4": RELEASES["1.0.0"]}) / "1.0.4", "-o", out)
    assert result.exit_code == 1
    words = "libvirt-proto: error: libvirt 1.0.4 differs from 1.0.2, but both are in the range 1.0.2:1.0.6"
    assert result.stderr.startswith(words)
    assert not (out / "1.0.4").exists()
    assert run(tmp_path / "one" / "1.0.4", "-o", out, *hint(result)).exit_code == 0
    assert [(each.first, each.last) for each in archive_of(out).releases[-2:]] == [
        ("1.0.2", "1.0.2"),
        ("1.0.4", "1.0.4"),
    ]


@pytest.mark.parametrize("release", ["1.0.3", "1.0.4", "1.0.5"])
def test_hint_splits_range_of_several_releases(tmp_path: Path, release: str) -> None:
    """Before, between and after the releases of a range, and with the options of a first attempt."""
    out = tmp_path / "defs"
    texts = {**RELEASES, "1.0.4": RELEASES["1.0.2"], "1.0.6": RELEASES["1.0.2"]}
    run(tree(tmp_path / "all", texts), "-o", out, "--same", "1.0.2:1.0.6")
    source = tree(tmp_path / "one", {release: RELEASES["1.0.0"]}) / release
    for options in ([], ["--same", "1.0.2:1.0.6"], ["--same", f"1.0.2:{release}"]):
        result = run(source, "-o", out, *options)
        assert result.exit_code == 1
        for _ in range(3):
            options = [*options, *hint(result)] if "add --same" in result.stderr else hint(result)
            if (result := run(source, "-o", out, *options, "--check")).exit_code == 0 or result.stdout:
                break
        assert f"libvirt {release}: 1 files checked against" in result.stdout, result.stderr
    assert run(source, "-o", out, *options).exit_code == 0
    assert archive_of(out).texts(release) == archive_of(out).texts("1.0.0")


def hint(result: Result) -> list[str]:
    """The options that an error recommends."""
    hints = re.findall(r"hint: (.*)", result.stderr)
    return re.findall(r"--same|\S+:\S+", " ".join(hints))


def test_ranges_are_checked_before_anything_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, source = tmp_path / "defs", tree(tmp_path / "all", RELEASES)
    run(source, "-o", out)
    monkeypatch.setattr(importer.Parser, "parse", None)
    monkeypatch.setattr(update, "fold", None)
    for words in ([source], [source / "1.0.2"]):
        result = run(*words, "-o", out, "--same", "1.0.6:1.0.9")
        assert (result.exit_code, result.exception.__class__) == (1, SystemExit)
        assert "expected a release with known definitions in the range 1.0.6:1.0.9, got none" in result.stderr
        assert "the closest known ones are 1.0.2" in result.stderr


def test_provenance_of_options_archive_and_manifest(tmp_path: Path) -> None:
    """The options decide, else what the archive states, else the manifest of the source."""
    out = tmp_path / "defs"
    run(tree(tmp_path / "all", RELEASES), "-o", out, "--provenance", "derived")
    source = tmp_path / "all" / "1.0.2"
    (source / "x_probes.d").write_text("provider x { probe y(int z); };")

    def origins(at: Path, release: str = "1.0.2") -> tuple[str, str, str]:
        manifest = tomllib.loads((at / release / "MANIFEST.toml").read_text())
        files = {file["name"]: file["provenance"] for file in manifest["file"]}
        if (at / "releases.weave").exists():
            found = archive_of(at).find(release).origins
            assert (found.release, found.of("x_probes.d")) == (manifest["provenance"], files["x_probes.d"])
        return manifest["provenance"], files["x_protocol.x"], files["x_probes.d"]

    run(source, "-o", out)
    assert origins(out) == ("derived", "derived", "derived")
    run(source, "-o", out, "--provenance", "rebuilt", "--provenance", "*.d=unproven")
    assert origins(out) == ("rebuilt", "rebuilt", "unproven")
    assert "release 1.0.2 rebuilt x_probes.d:unproven\n" in (out / "releases.weave").read_text()
    run(source, "-o", out)
    assert origins(out) == ("rebuilt", "rebuilt", "unproven")
    again = tmp_path / "again"
    run(tree(tmp_path / "first", {"1.0.0": RELEASES["1.0.0"], "1.0.1": RELEASES["1.0.1"]}), "-o", again)
    assert run(out / "1.0.2", "-o", again).exit_code == 0
    assert origins(again) == ("rebuilt", "rebuilt", "unproven")
    run(source, "-o", tmp_path / "alone", "--provenance", "*.d=derived")
    assert origins(tmp_path / "alone") == ("genuine", "genuine", "derived")
    result = run(source, "-o", out, "--provenance", "*.d=guessed")
    assert (
        result.exit_code,
        "expected genuine, rebuilt, derived or unproven, got 'guessed'" in result.stderr,
    ) == (
        2,
        True,
    )
    (source / "MANIFEST.toml").write_text('provenance = "x"\nfile = []\n')
    assert "MANIFEST.toml: expected genuine," in run(source, "-o", tmp_path / "other").stderr


def test_maintenance_release_is_in_no_range(tmp_path: Path) -> None:
    out = tmp_path / "defs"
    run(tree(tmp_path / "all", RELEASES), "-o", out, "--same", "1.0.2:1.0.6")
    result = run(tree(tmp_path / "one", {"1.0.2.1": RELEASES["1.0.0"]}) / "1.0.2.1", "-o", out)
    assert result.exit_code == 0, result.output
    assert archive_of(out).find("1.0.2.1").name == "1.0.2.1"
    assert run(tmp_path / "one" / "1.0.2.1", "-o", out, "--same", "1.0.2:1.0.5").exit_code == 0


def test_compares_only_neighbours_and_reports_progress(tmp_path: Path) -> None:
    out, steps = tmp_path / "defs", []
    texts = {f"1.0.{number}": X.format(limit=number, field="name", more="") for number in range(1, 9)}
    source = tree(tmp_path / "all", texts)

    def progress(*step: object) -> None:
        steps.append(step)

    trees = dict(collection.by_release(read_tree(source)))
    del trees["1.0.4"]
    import_releases(trees, source, out, progress=progress)
    assert steps[:2] == [("Reading", "1.0.1", 1, 7), ("Reading", "1.0.2", 2, 7)]
    assert steps[-1] == ("Comparing", "1.0.8", 6, 6)
    steps.clear()
    import_release(source / "1.0.4", "1.0.4", out, progress=progress)
    assert steps == [("Comparing", "1.0.4", 1, 2), ("Comparing", "1.0.5", 2, 2)]
    steps.clear()
    import_release(source / "1.0.4", "1.0.4", out, progress=progress)
    assert steps == []


@pytest.mark.parametrize("release", ["1.0.3", "1.0.4", "1.0.6"])
def test_release_equal_to_range_joins_it(tmp_path: Path, release: str) -> None:
    out = tmp_path / "defs"
    run(tree(tmp_path / "all", RELEASES), "-o", out, "--same", "1.0.2:1.0.6")
    before = (out / "history.json").read_bytes()
    result = run(tree(tmp_path / "one", {release: RELEASES["1.0.2"]}) / release, "-o", out)
    assert result.exit_code == 0, result.output
    archive = archive_of(out)
    assert [(each.first, each.last) for each in archive.releases[-2:]] == [("1.0.2", "1.0.6")] * 2
    assert archive.find(release).name == release
    assert archive.texts(release) == archive.texts("1.0.2")
    assert (out / "history.json").read_bytes().replace(release.encode(), b"1.0.2") == before


def test_reports_gaps(tmp_path: Path) -> None:
    texts = {"4.5.0": RELEASES["1.0.0"], "10.0.0": RELEASES["1.0.1"]}
    result = run(tree(tmp_path / "all", texts), "-o", tmp_path / "defs", "--same", "9.8.0:10.0.0")
    assert "releases are missing between 4.5.0 and 9.8.0: facts have spans there" in result.output
    assert '"in": ["4.5.0", "9.8.0"]' in (tmp_path / "defs" / "history.json").read_text()


def test_damaged_archive_leaves_everything_unchanged(tmp_path: Path) -> None:
    out = tmp_path / "defs"
    run(tree(tmp_path / "all", RELEASES), "-o", out)
    (out / "releases.weave").write_text("<<<<<<< ours\n")
    with pytest.raises(DefinitionError, match=r"releases\.weave: line 1: expected"):
        import_release(tmp_path / "all" / "1.0.2", "1.0.3", out)
    assert files(out).keys() == {"releases.weave", "history.json"}


@pytest.mark.parametrize("damage", ["{", "", None])
def test_rebuilds_damaged_history(tmp_path: Path, damage: str | None) -> None:
    out = tmp_path / "defs"
    run(tree(tmp_path / "all", RELEASES), "-o", out)
    good = files(out)
    if damage is None:
        (out / "history.json").unlink()
    else:
        (out / "history.json").write_text(damage)
    assert run(tmp_path / "all" / "1.0.2", "-o", out).exit_code == 0
    assert (out / "history.json").read_bytes() == good["history.json"]


@pytest.mark.parametrize("release", ["6.2.0", "12.9.0"])
def test_bundled_release_removed_and_imported_again(tmp_path: Path, root: Path, release: str) -> None:
    """In the middle and at the end, nothing differs, and only the neighbours are compared."""
    whole = archive_of(root / "protocol-defs")
    texts = {name: whole.texts(name) for name in whole.names}
    changes = unfold(read_history((root / "protocol-defs" / "history.json").read_text()), whole.releases)
    # For the newest release from all texts: the whole archive depends on nothing else.
    old = whole if release == "6.2.0" else None
    rest = make_archive([each for each in whole.releases if each.name != release], texts, old)
    compare = difference(update.Schemas(rest))
    history = fold.fold(
        rest.releases, lambda old, new: changes.get((old.name, new.name)) or compare(old, new)
    )
    (tmp_path / "releases.weave").write_text(write_archive(rest))
    (tmp_path / "history.json").write_text(write_history(history))

    source = tmp_path / "source"
    source.mkdir()
    for file, text in texts[release].items():
        (source / file).write_text(text)
    known = whole.find(release)
    steps: list[tuple[object, ...]] = []
    import_release(
        source,
        release,
        tmp_path,
        # 12.9.0 is in the range of 12.6.0, which stays.
        same=[(known.first, known.last)] if release == "6.2.0" else [],
        rules=OriginRules(known.origins.release, known.origins.files),
        progress=lambda *step: steps.append(step),
    )
    assert len(steps) == {"6.2.0": 2, "12.9.0": 1}[release]
    for name in ("releases.weave", "history.json"):
        assert (tmp_path / name).read_bytes() == (root / "protocol-defs" / name).read_bytes()


def test_imports_next_release(tmp_path: Path, root: Path) -> None:
    """A hand-made 12.10.0 is imported by one command; unrelated files stay unchanged."""
    defs = root / "protocol-defs"
    out = tmp_path / "defs"
    out.mkdir()
    for name in ("releases.weave", "history.json"):
        shutil.copy(defs / name, out / name)
    before = files(out)
    assert run(defs / "12.9.0", "-o", out).exit_code == 0, "the newest again"
    assert {name: files(out)[name] for name in before} == before

    source = tmp_path / "libvirt-12.10.0"
    shutil.copytree(defs / "12.9.0", source)
    text = (source / "remote_protocol.x").read_text()
    for old, new in [
        ("const REMOTE_STRING_MAX = 4194304;", "const REMOTE_STRING_MAX = 8388608;"),
        ("    unsigned hyper bandwidth;\n}", "    unsigned hyper speed;\n}"),
        (
            "const REMOTE_PROGRAM = ",
            "struct remote_domain_sing_args {\n    int song;\n};\n\nconst REMOTE_PROGRAM = ",
        ),
        (
            " = 456\n}",
            " = 456,\n\n    /**\n     * @acl: domain:write\n     */\n    REMOTE_PROC_DOMAIN_SING = 457\n}",
        ),
    ]:
        assert old in text
        text = text.replace(old, new, 1)
    (source / "remote_protocol.x").write_text(text)
    result = run(source, "-o", out)
    assert result.exit_code == 0, result.output
    after = files(out)
    assert run(source, "-o", out).exit_code == 0
    assert files(out) == after, "the same again changes nothing"
    assert run(source, "-o", out, "--check").exit_code == 0
    assert archive_of(out).texts("12.10.0")["remote_protocol.x"] == text
    assert archive_of(out).texts("12.9.0") == archive_of(defs).texts("12.9.0")

    # The archive has new lines, and ranges that end now. No line of a definition was removed.
    left, came = changed(before["releases.weave"], after["releases.weave"])
    assert len(came) < 60
    assert all(line.startswith("@ ") and line.endswith(":") for line in left)
    for line in left:
        assert line in came or line + "12.9.0" in came

    old, new = (read_history(each["history.json"].decode()) for each in (before, after))
    assert (old.last, new.last) == ("12.9.0", "12.10.0")
    field, sing = "remote_domain_migrate_prepare_args", "remote_domain_sing_args"
    moved = {("field", field, "bandwidth"): ("field", field, "speed")}
    different = {key for key in old.facts if new.facts.get(moved.get(key, key)) != old.facts[key]}
    assert different == {("constant", "REMOTE_STRING_MAX"), *moved}
    assert new.facts.keys() - old.facts.keys() == {
        ("procedure", "0x20008086", "457"),
        ("type", sing),
        ("field", field, "speed"),
    }
    limit = new.facts["constant", "REMOTE_STRING_MAX"]
    assert limit.events[:-1] == old.facts["constant", "REMOTE_STRING_MAX"].events
    assert limit.events[-1] == Event("changed", Span("12.10.0"), "number", 4194304, 8388608)
    renamed = new.facts["field", field, "speed"]
    assert renamed.events == (
        Event("renamed", Span("11.6.0"), before="resource"),
        Event("renamed", Span("12.10.0"), before="bandwidth"),
    )
    assert new.since(("procedure", "0x20008086", "457")) == new.since(("type", sing)) == Span("12.10.0")


@pytest.mark.parametrize(
    ("module", "limit", "words"),
    [
        (collection, "MAX_RELEASES", "expected at most 2 releases"),
        (weave, "MAX_LINES", "the versions of a file have more than 2 different lines"),
        (fold, "MAX_EVENTS", "the history has more than 2 changes"),
        (importer, "MAX_WORDS", "the definitions of a release have more than 2 words"),
    ],
)
def test_rejects_implausibly_large_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: ModuleType, limit: str, words: str
) -> None:
    monkeypatch.setattr(module, limit, 2)
    releases = {**RELEASES, "1.0.3": X.format(limit=7, field="name", more=", X_PROC_SHUT = 3")}
    result = run(tree(tmp_path / "all", releases), "-o", tmp_path / "defs")
    assert result.exit_code == 1
    assert words in result.stderr
    assert not (tmp_path / "defs").exists()
