"""The providers of a libvirt by its version, and the tapsets that follow."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from libvirt_proto.cli.main import main
from libvirt_proto.codec.providers import Argument
from libvirt_proto_codegen.pipeline import generate_probes
from libvirt_proto_codegen.providers.binaries import read_binary
from libvirt_proto_codegen.providers.known import known_providers, merged
from libvirt_proto_codegen.providers.selection import select
from tests.support.elf import Site, elf

CONTEXT = "rpc_context_new(void *ctxt, const char *cacert, const char *cacrl, {}, int isServer)"
OLD_CONTEXT = CONTEXT.format("const char *cert, const char *key")
NEW_CONTEXT = CONTEXT.format("void *cert, void *keys")


def provider(*probes: str) -> dict[str, bytes]:
    lines = "".join(f"    probe {probe};\n" for probe in probes)
    text = f"provider libvirt {{\n    # file: src/rpc/x.c\n    # prefix: rpc\n{lines}}};\n"
    return {"libvirt_probes.d": text.encode()}


#: Real changes of 6.1.0, 11.10.0 and before 12.8.0, in small.
STATES: list[tuple[str, dict[str, bytes]]] = [
    ("4.5.0", provider(OLD_CONTEXT, "rpc_ref(void *obj)", "rpc_poll(int fd)")),
    ("7.0.0", provider(OLD_CONTEXT, "rpc_ref(void *obj)", "rpc_glib(int fd)")),
    ("11.3.0", provider(OLD_CONTEXT, "rpc_ref(void *obj)", "rpc_glib(int fd)")),
    ("12.9.0", provider(NEW_CONTEXT, "rpc_ref(void *obj, const char *klass, int refs)", "rpc_glib(int fd)")),
]
KNOWN = merged(STATES)

SIX = "8@%rbx 8@%rax 8@%rcx 8@%rdx 8@%rsi 4@%edi"


def sites(ref: int = 1) -> list[Site]:
    return [
        ("libvirt", "rpc_context_new", SIX),
        ("libvirt", "rpc_ref", " ".join(["8@%rbx"] * ref)),
        ("libvirt", "rpc_glib", "4@%ebx"),
    ]


def tapset(path: Path, release: str | None = None) -> tuple[dict[str, list[str]], str, tuple[str, ...]]:
    """Alias → `NAME` or `NAME*` (text) with its number; the head; and the warnings."""
    binary = read_binary(str(path))
    (artefact,), warnings = generate_probes(select([binary], release, KNOWN), [binary])
    aliases = {}
    pattern = r"^probe libvirt\.rpc\.(\S+) =\n[^{]*\{\n([^}]*)\}"
    for alias, body in re.findall(pattern, artefact.text, re.MULTILINE):
        variables = re.findall(r"(\w+) = ((?:user_string\()?\$arg(\d)\)?)\n", body)
        aliases[alias] = [f"{number} {name}{'*' * ('(' in value)}" for name, value, number in variables]
    return aliases, artefact.text.partition("\nprobe ")[0], warnings


BOTH = ["1 ctxt", "2 cacert*", "3 cacrl*", "6 isServer"]
OLD = [*BOTH[:3], "4 cert*", "5 key*", *BOTH[3:]]
NEW = [*BOTH[:3], "4 cert", "5 keys", *BOTH[3:]]


def test_consecutive_releases_with_the_same_probes_are_one() -> None:
    assert [str(each.declaration) for each in KNOWN] == ["4.5.0", "7.0.0 to 11.3.0", "12.9.0"]


@pytest.mark.parametrize(
    ("version", "ref", "context", "refs"),
    [
        ("9.0.0", 1, OLD, ["1 obj"]),
        ("11.3.0", 1, OLD, ["1 obj"]),
        ("11.4.0", 1, BOTH, ["1 obj"]),
        ("11.11.0", 3, BOTH, ["1 obj"]),
        ("12.9.0", 3, NEW, ["1 obj", "2 klass*", "3 refs"]),
        ("12.9.0", 4, NEW, ["1 obj"]),
        ("9.0.0", 4, OLD, ["1 obj"]),
        ("13.0.0", 3, NEW, ["1 obj", "2 klass*", "3 refs"]),
        ("13.0.0", 4, ["1 ctxt", "4 cert", "5 keys", "6 isServer"], ["1 obj"]),
        (None, 1, OLD, ["1 obj"]),
        (None, 3, NEW, ["1 obj", "2 klass*", "3 refs"]),
        (None, 4, BOTH, ["1 obj"]),
    ],
)
def test_version_decides(
    tmp_path: Path, version: str | None, ref: int, context: list[str], refs: list[str]
) -> None:
    symbols = b"" if version is None else b"\0LIBVIRT_PRIVATE_" + version.encode() + b"\0"
    path = tmp_path / "libvirt.so.0"
    path.write_bytes(elf(sites(ref), symbols=symbols))
    aliases, head, warnings = tapset(path)
    assert aliases == {"context_new": context, "ref": refs, "glib": ["1 fd"]}
    assert f"libvirt {version}" in head or version is None
    counts = {"rpc_context_new": (context, 6), "rpc_ref": (refs, ref)}
    incomplete = [name for name, (found, count) in counts.items() if len(found) < count]
    assert [name in head for name in incomplete] == [True] * len(incomplete)
    assert len(warnings) == len(incomplete)


def test_probes_of_both_neighbours_have_aliases(tmp_path: Path) -> None:
    """The event loop changed between 4.5.0 and 7.0.0."""
    path = tmp_path / "libvirt.so.0.5010.0"
    path.write_bytes(elf([*sites(), ("libvirt", "rpc_poll", "4@%ebx")]))
    aliases, _, warnings = tapset(path)
    assert aliases == {"context_new": OLD, "ref": ["1 obj"], "glib": ["1 fd"], "poll": ["1 fd"]}
    assert warnings == ()
    path.write_bytes(elf(sites()[:1]))
    assert tapset(path)[2] == ("libvirt_probes.d: left out 1 probe missing from all binaries: rpc_ref",)


@pytest.mark.parametrize(
    ("version", "release", "context", "ref"),
    [
        ("9.0.0", "12.9.0", OLD, 1),
        ("12.9.0", "9.0.0", NEW, 3),
        ("13.0.0", "9.0.0", BOTH, 3),
        (None, "9.0.0", OLD, 1),
    ],
)
def test_selected_release_counts_where_the_version_proves_nothing(
    tmp_path: Path, version: str | None, release: str, context: list[str], ref: int
) -> None:
    path = tmp_path / "libvirt.so.0"
    symbols = b"" if version is None else b"\0LIBVIRT_PRIVATE_" + version.encode() + b"\0"
    path.write_bytes(elf(sites(ref), symbols=symbols))
    aliases, head, _ = tapset(path, release)
    assert aliases["context_new"] == context
    assert f"# libvirt {version or release}: " in head
    assert f"--release {release}" in head


def test_binaries_of_several_versions_share_what_is_known_in_all(tmp_path: Path) -> None:
    paths = [tmp_path / "libvirt.so.0.9000.0", tmp_path / "libvirt.so.0.12009.0"]
    for path in paths:
        path.write_bytes(elf(sites()[:1]))
    binaries = [read_binary(str(path)) for path in paths]
    (artefact,), _ = generate_probes(select(binaries, None, KNOWN), binaries)
    assert re.findall(r"  (\w+) = ", artefact.text) == ["ctxt", "cacert", "cacrl", "isServer"]
    assert artefact.text.count("process(") == 2


def test_daemon_has_the_version_of_the_library(tmp_path: Path) -> None:
    library, daemon = tmp_path / "libvirt.so.0.12009.0", tmp_path / "libvirtd"
    library.write_bytes(elf(sites(3)[1:]))
    daemon.write_bytes(elf(sites(3)[:1]))
    providers = select([read_binary(str(library)), read_binary(str(daemon))], None, KNOWN)
    assert providers.choice(str(daemon)).arguments(("libvirt", "rpc_context_new"), 6)[4] == Argument("keys")


def test_unproven_files_of_the_archive_do_not_count() -> None:
    """11.6.0, 12.4.0 and 12.6.0 have the file of 10.0.0."""
    ends = {end for each in known_providers() for end in each.declaration[:2]}
    assert ends.isdisjoint({"11.6.0", "12.4.0", "12.6.0"})


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(main, ["generate", *arguments])

    return run


def test_reports_the_choice(run: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "libvirt.so.0.9000.0").write_bytes(elf([("libvirt", "rpc_client_new", "8@%rbx 8@%rax")]))
    library = "--library=libvirt.so.0.9000.0"
    result = run("probes", library, "-o", "out")
    assert result.exit_code == 0
    assert re.search(r"^libvirt-proto: libvirt 9\.0\.0: .*", result.stderr, re.MULTILINE)
    quiet = run("probes", library, "-o", "out", "-q")
    assert (quiet.exit_code, "libvirt 9.0.0" in quiet.stderr) == (0, False)
    assert "# libvirt 9.0.0: " in (tmp_path / "out" / "libvirt_probes.stp").read_text()


def test_merged_states_keep_the_last_files() -> None:
    first, last = provider("rpc_a(int pid)"), provider("rpc_a(pid_t pid)")
    (state,) = merged([("1.0.0", first), ("1.0.1", last)])
    assert str(state.declaration) == "1.0.0 to 1.0.1"
    ((probe,),) = [section.probes for each in state.providers for section in each.sections]
    assert probe.arguments[0].type == "pid_t"
