"""Many releases in one file: the weave, the archive, and the bundled archive."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from libvirt_proto_codegen import releases
from libvirt_proto_codegen.definitions import load_binary_providers, load_release
from libvirt_proto_codegen.errors import DefinitionError
from libvirt_proto_codegen.releases.archive import (
    ArchiveError,
    Release,
    UnknownRelease,
    make_archive,
    read_archive,
    write_archive,
)
from libvirt_proto_codegen.releases.version import follows, is_maintenance, version_key
from libvirt_proto_codegen.releases.weave import unweave, weave

#: Versions of a text: lines that recur often, in paragraphs, and any text.
LINES = st.lists(st.sampled_from(["", "", "a", "b", "};", "    void;", "    int a;"]), max_size=12)
TEXTS = st.none() | LINES.map("\n".join) | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def plain(name: str) -> Release:
    return Release(name, name, name)


@given(st.lists(TEXTS, max_size=8))
@example(["", None, "\n", "a\r\nb\x0bc\u2028d", ""])
def test_any_texts_round_trip(texts: list[str | None]) -> None:
    woven = weave(texts)
    assert [unweave(woven, version) for version in range(len(texts))] == texts
    assert all(run.lines and run.versions for run in woven)
    assert all(one.versions != two.versions for one, two in itertools.pairwise(woven))


@given(st.lists(LINES.map("\n".join), max_size=6), LINES.map("\n".join))
def test_adding_a_version_keeps_order_of_other_lines(texts: list[str], text: str) -> None:
    """Without the new version, the weave of all equals the weave of the others."""
    more = weave([*texts, text])
    without = [
        (versions, line)
        for run in more
        for line in run.lines
        if (versions := run.versions & ~(1 << len(texts)))
    ]
    assert without == [(run.versions, line) for run in weave(texts) for line in run.lines]


@given(st.lists(TEXTS, max_size=6), st.integers(0, 6), st.lists(TEXTS, max_size=3))
def test_continued_weave_equals_weave_of_all(
    texts: list[str | None], known: int, others: list[str | None]
) -> None:
    """The beginning of any weave continues with other versions."""
    known = min(known, len(texts))
    assert weave(others, weave(texts), known) == weave([*texts[:known], *others])


VERSIONS = st.lists(
    st.tuples(st.integers(0, 12), st.integers(0, 11), st.integers(0, 3)), unique=True, min_size=1, max_size=6
).map(lambda versions: [".".join(map(str, version)) for version in versions])


@given(VERSIONS, st.data())
def test_archive_round_trips(names: list[str], data: st.DataObject) -> None:
    files = st.dictionaries(
        st.sampled_from(["a.x", "b.x", "p.d"]), TEXTS.filter(lambda text: text is not None)
    )
    texts = {name: data.draw(files) for name in names}
    archive = make_archive(map(plain, names), texts)
    assert archive.names == tuple(sorted(names, key=version_key))
    again = read_archive(write_archive(archive))
    assert again == archive
    assert {name: again.texts(name) for name in names} == texts
    assert all(again.find(name).name == name for name in names)


def test_reads_file_of_archive() -> None:
    old, new = "const A = 1;\n\nstruct s {\n    int a;\n};\n", "const A = 2;\n\nstruct s {\n    int a;\n};\n"
    texts = {"1.0.0": {"a.x": old}, "1.0.1": {"a.x": new}, "1.1.0": {"a.x": new}}
    made = [plain("1.0.0"), Release("1.0.1", "1.0.1", "1.0.2"), plain("1.1.0")]
    text = write_archive(make_archive(made, texts))
    assert [line for line in text.splitlines() if not line.startswith("#")] == [
        "release 1.0.0",
        "release 1.0.1 = 1.0.1:1.0.2",
        "release 1.1.0",
        "file a.x",
        "@ 1.0.0",
        " const A = 1;",
        "@ 1.0.1:",
        " const A = 2;",
        "@ 1.0.0:",
        "",
        " struct s {",
        "     int a;",
        " };",
        "",
    ]
    assert [read_archive(text).find(name).name for name in ("1.0.1", "1.0.2", "1.1.0")] == [
        "1.0.1",
        "1.0.1",
        "1.1.0",
    ]
    more = write_archive(make_archive([*made, plain("1.1.1")], {**texts, "1.1.1": {"a.x": old}}))
    assert "\n".join(more.splitlines()[2:]) == "\n".join(text.splitlines()[2:]).replace(
        "release 1.1.0", "release 1.1.0\nrelease 1.1.1"
    ).replace(
        "@ 1.0.0\n const A = 1;\n@ 1.0.1:\n const A = 2;",
        "@ 1.0.0\n const A = 1;\n@ 1.0.1:1.1.0\n const A = 2;\n@ 1.1.1:\n const A = 1;",
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("release ../x", "line 1: expected the name of a release, got '../x'"),
        ("release 1.0 = 1.0", "line 1: expected the name of a release, got ''"),
        ("release 2.0\nrelease 1.0", "line 2: expected releases before files, in version order"),
        ("release 1.0\nrelease 1.0", "line 2: expected releases before files, in version order"),
        ("release 1.0\nfile ../a.x", "line 2: expected the unused name of a file"),
        ("release 1.0\nfile a.x\nfile a.x", "line 3: expected the unused name of a file"),
        ("release 1.0\n x", "line 2: expected `file` and `@` before"),
        ("release 1.0\nfile a.x\n x", "line 3: expected `file` and `@` before"),
        ("release 1.0\n@ 1.0", "line 2: expected `file` before `@`"),
        ("release 1.0\nfile a.x\n@ 1.1", "line 3: expected one of the releases above, got '1.1'"),
        ("release 1.0\nfile a.x\n@ 1.0:1.1", "line 3: expected one of the releases above, got '1.1'"),
        ("release 1.0\nfile a.x\n@ ", "line 3: expected one of the releases above, got ''"),
        ("<<<<<<< HEAD", "line 1: expected `release`"),
    ],
)
def test_damaged_archive_is_an_error(text: str, words: str) -> None:
    with pytest.raises(ArchiveError) as caught:
        read_archive(text)
    assert words in str(caught.value)


@given(
    st.text()
    | st.lists(st.sampled_from(["release 1", "release 2", "file a.x", "@ 1:", "@ 2:1", " x", ""])).map(
        "\n".join
    )
)
def test_any_text_parses_or_raises(text: str) -> None:
    try:
        archive = read_archive(text)
    except ArchiveError:
        return
    assert all(isinstance(archive.texts(name), dict) for name in archive.names)


def test_damaged_file_error_suggests_a_fix(tmp_path: Path) -> None:
    (tmp_path / "releases.weave").write_bytes(b"\xff")
    with pytest.raises(DefinitionError, match=r"releases\.weave: invalid UTF-8\n  hint: remove it"):
        releases.archive_of(tmp_path)


@pytest.mark.parametrize(
    ("before", "release", "expected"),
    [
        ("0.9.13", "0.10.0", True),
        ("0.10.2", "1.0.0", True),
        ("1.2.9", "1.2.10", True),
        ("1.3.5", "2.0.0", True),
        ("3.10.0", "4.0.0", True),
        ("11.10.0", "12.0.0", True),
        ("12.6.0", "12.7.0", True),
        ("12.6.0", "13.0.0", False),
        ("12.6.0", "12.8.0", False),
        ("4.5.0", "9.8.0", False),
        ("2.2.0", "2.2.1", True),
        ("2.2.1", "2.3.0", True),
        ("1.0", "1.1", False),
        ("12.6.0", "12.7.0-rc1", False),
        ("12.6.0", "12.6.0", False),
    ],
)
def test_order_of_releases(before: str, release: str, expected: bool) -> None:
    assert follows(release, before) is expected


# The bundled archive


def test_folders_and_archive_agree() -> None:
    archive = releases.archive_of(releases.root())
    assert len(archive.names) >= 162
    for release in releases.folders():
        folder = {
            path.name: path.read_text()
            for path in (releases.root() / release).iterdir()
            if path.name != releases.MANIFEST
        }
        assert archive.texts(release) == folder


def test_every_release_and_its_equals_are_listed() -> None:
    assert [releases.find(name).name for name in ("0.9.7", "1.0.5.9", "10.0.0", "12.9.0")] == [
        "0.9.7",
        "1.0.5.9",
        "10.0.0",
        "12.9.0",
    ]
    same = {"9.8.0": "10.0.0", "9.10.0": "10.0.0", "11.1.0": "10.2.0", "11.5.0": "11.3.0", "12.3.0": "11.6.0"}
    same |= {"4.8.0": "4.5.0", "5.0.0": "4.10.0", "6.4.0": "6.2.0", "7.10.0": "7.9.0", "12.8.0": "12.9.0"}
    assert {name: releases.find(name).name for name in same} == same
    with pytest.raises(UnknownRelease):
        releases.find("12.10.0")


def test_no_release_is_missing() -> None:
    """From 0.9.7 to the newest, each release is bundled or in a range."""
    main = [release for release in releases.releases() if not is_maintenance(release.name)]
    gaps = [
        (before.last, release.first)
        for before, release in itertools.pairwise(main)
        if (before.first, before.last) != (release.first, release.last)
        and not follows(release.first, before.last)
    ]
    assert gaps == []


@pytest.mark.parametrize(
    ("release", "definitions", "provider"),
    [
        ("4.5.0", "genuine", "genuine"),
        ("6.4.0", "derived", None),
        ("9.0.0", "genuine", "genuine"),
        ("9.7.0", "derived", "derived"),
        ("11.4.0", "genuine", "genuine"),
        ("12.6.0", "rebuilt", "unproven"),
        ("12.9.0", "rebuilt", "rebuilt"),
    ],
)
def test_provenance_of_release(release: str, definitions: str, provider: str | None) -> None:
    found = releases.find(release)
    assert found.origins.of("remote_protocol.x") == definitions
    if provider is None:
        assert not any(file.endswith(".d") for file in releases.texts(found))
    else:
        assert found.origins.of("libvirt_probes.d") == provider


def test_derived_states_are_between_their_neighbours() -> None:
    """Each derived state has all procedures of the release before it, and none that the release after it
    lacks."""
    main = [release for release in releases.releases() if not is_maintenance(release.name)]
    numbers = [
        set(re.findall(r"^    ((?:REMOTE|QEMU|ADMIN)_PROC_\w+ = \d+)", text, re.MULTILINE))
        for release in main
        for text in ["\n".join(map(bytes.decode, releases.texts(release).values()))]
    ]
    derived = [index for index, release in enumerate(main) if release.origins.release == "derived"]
    assert len(derived) == 25
    for index in derived:
        assert numbers[index - 1] < numbers[index] <= numbers[index + 1] or (
            numbers[index - 1] == numbers[index] and main[index].name in ("5.1.0", "5.3.0")
        )


@pytest.mark.parametrize(
    ("release", "procedures"),
    [("0.9.8", 253), ("1.0.4", 300), ("4.5.0", 401), ("11.0.0", 448), ("12.5.0", 456)],
)
def test_schema_of_release_without_folder(release: str, procedures: int) -> None:
    schema = load_release(release)
    assert schema.release == release
    remote = next(program for program in schema.by_name["remote"].programs if program.short == "remote")
    assert len(remote.procedures) == procedures
    assert {each.file for each in schema.inputs} == {module.file for module in schema.modules}


def test_probes_of_release_without_folder() -> None:
    providers = load_binary_providers([], "2.0.0")
    assert (providers.release, [each.file for each in providers.inputs]) == (
        "2.0.0",
        ["libvirt_probes.d", "libvirt_qemu_probes.d"],
    )
