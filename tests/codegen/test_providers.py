"""Probe providers: text → Provider → text."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libvirt_proto_codegen.definitions import load_providers
from libvirt_proto_codegen.errors import DefinitionError
from libvirt_proto_codegen.providers.model import Argument, Probe, Provider, Section
from libvirt_proto_codegen.providers.parse import read_provider
from libvirt_proto_codegen.providers.printer import print_provider
from libvirt_proto_codegen.source import Source, Span
from tests.support.diagnostics import head_comment

FILES = sorted((Path(__file__).parent.parent / "invalid" / "provider").glob("*.d"))
NOWHERE = Span(Source("", ""), 0, 0)


def read(text: str) -> Provider:
    return read_provider(Source("some_probes.d", text))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_diagnostic_matches_head_comment(path: Path) -> None:
    """Every file of tests/invalid/provider gives exactly the diagnostic in its head comment."""
    text = path.read_text(encoding="utf-8")
    with pytest.raises(DefinitionError) as caught:
        read_provider(Source(path.name, text))
    assert str(caught.value).splitlines() == head_comment(text, "#")


def test_reads_provider(root: Path) -> None:
    path = root / "tests" / "golden" / "probes" / "demo_probes.d"
    provider = read_provider(Source(str(path), path.read_text()))
    assert (provider.file, provider.name, provider.tapset) == (
        "demo_probes.d",
        "demo",
        "libvirt_demo_probes.stp",
    )
    bare, io, elsewhere = provider.sections
    assert (bare.file, bare.prefix, [probe.name for probe in bare.probes]) == (None, None, ["start", "stop"])
    assert [probe.arguments for probe in bare.probes] == [(), ()]
    assert (io.file, io.prefix, io.binary, io.module) == ("src/io.c", "io", None, None)
    assert [(argument.type, argument.name, argument.is_string) for argument in io.probes[0].arguments] == [
        ("int", "fd", False),
        ("const char *", "path", True),
        ("char const *", "mode", True),
        ("char *", "buffer", True),
        ("char **", "lines", False),
        ("unsigned char *", "bytes", False),
        ("const void * const", "data", False),
    ]
    assert [argument.type for argument in io.probes[1].arguments] == [
        "unsigned long long int",
        "struct stat *",
        "int",
        "int",
        "size_t",
    ]
    assert (elsewhere.file, elsewhere.prefix, elsewhere.binary) == ("src/elsewhere.c", None, "demod")
    assert provider.alias(io, io.probes[0]) == "demo.io.read"
    assert provider.alias(bare, bare.probes[0]) == "demo.start"


def test_keywords_are_valid_names() -> None:
    provider = read("provider probe { probe provider(probe probe, provider *provider); };")
    ((_, probe),) = provider.probes
    assert (provider.name, probe.name) == ("probe", "provider")
    assert probe.arguments == (Argument("probe", "probe"), Argument("provider *", "provider"))


def test_reproduces_tapset_of_old_releases() -> None:
    assert read_provider(Source("a/probes.d", "provider p { probe a(); };")).tapset == "libvirt_probes.stp"
    text = "provider p { probe a(); };"
    assert read_provider(Source("libvirt_qemu_probes.d", text)).tapset == "libvirt_qemu_probes.stp"


def test_reports_duplicate_files_and_probes(tmp_path: Path) -> None:
    (tmp_path / "probes.d").write_text("provider p { probe a(); };")
    (tmp_path / "libvirt_probes.d").write_text("provider p { probe a(); };\n")
    with pytest.raises(DefinitionError) as caught:
        load_providers([tmp_path])
    assert [problem.rule for problem in caught.value.problems] == ["ambiguous-file", "duplicate-name"]
    assert "probes.d:1:20: error: duplicate probe 'a'" in str(caught.value)
    assert "libvirt_probes.d:1:20: note: first defined here" in str(caught.value)


def test_reports_missing_provider(tmp_path: Path) -> None:
    (tmp_path / "a.x").write_text("const A = 1;")
    for path in (tmp_path, tmp_path / "a.x"):
        with pytest.raises(DefinitionError, match=r"no probe provider \(\.d file\)"):
            load_providers([path])


def test_number_of_errors_is_limited() -> None:
    with pytest.raises(DefinitionError) as caught:
        read("provider p {\n" + "probe a(int 5);\n" * 50 + "};")
    assert len(caught.value.problems) == 21
    with pytest.raises(DefinitionError, match="more than 100,000 tokens"):
        read("provider p { probe a(" + "const " * 150_000)
    with pytest.raises(DefinitionError, match="larger than 1 MiB"):
        read("#" * (2**20 + 1))


WORDS = ("provider", "probe", "const", "void", "int", "char", "struct", "pid_t", "a", "a_b", "b", "rpc")
TOKENS = st.sampled_from(
    [*WORDS, *"{}();,*", "\n", "# x\n", "# file: a/b.c\n", "# prefix: a\n", "# module: ..\n", "/*", "*/", "é"]
)


@given(st.text() | st.lists(TOKENS).map(" ".join))
def test_any_text_parses_or_has_problems(text: str) -> None:
    for given_text in (text, f"provider p {{ {text} }};"):
        try:
            provider = read(given_text)
        except DefinitionError:
            continue
        else:
            assert read(print_provider(provider)) == provider


names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True).filter(
    lambda name: (
        name not in {"const", "void", "unsigned", "signed", "short", "long", "int", "char"}
        and name not in {"float", "double", "bool", "struct", "union", "enum"}
    )
)
paths = st.lists(st.from_regex(r"[a-z0-9_+-][a-z0-9_.+-]{0,5}", fullmatch=True), min_size=1, max_size=3).map(
    "/".join
)
types = st.sampled_from(
    ["int", "unsigned int", "const char *", "char **", "struct stat *", "const pid_t", "const void * const *"]
)


@st.composite
def providers(draw: st.DrawFn) -> Provider:
    """Any provider: sections that begin with `file`, no two equal neighbours."""
    sections: list[Section] = []
    taken: set[str] = set()
    for index in range(draw(st.integers(1, 3))):
        prefix = draw(st.none() | names)
        stems = draw(st.lists(names, min_size=1, max_size=4, unique=True))
        full = [f"{prefix}_{stem}" if prefix else stem for stem in stems]
        probes = tuple(
            Probe(
                name,
                tuple(
                    Argument(draw(types), argument)
                    for argument in draw(st.lists(names, max_size=4, unique=True))
                ),
                span=NOWHERE,
            )
            for name in full
            if name not in taken
        )
        taken |= set(full)
        if probes:
            section = Section(
                probes, f"src/{index}.c", prefix, draw(st.none() | paths), draw(st.none() | paths)
            )
            sections.append(section)
    return Provider("some_probes.d", draw(names), tuple(sections))


@given(providers())
def test_printing_and_parsing_round_trips(provider: Provider) -> None:
    assert read(print_provider(provider)) == provider
