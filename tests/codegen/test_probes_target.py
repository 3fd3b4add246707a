"""The tapsets of probe providers, and the command that writes them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from libvirt_proto.cli.main import main
from libvirt_proto_codegen.commands import probes as command
from libvirt_proto_codegen.definitions import load_providers
from libvirt_proto_codegen.pipeline import generate_probes
from libvirt_proto_codegen.providers.binaries import Binary
from tests.support.elf import Site, elf, note

RELEASES = ["0.9.7", "10.0.0", "12.9.0"]
LIBRARY: list[Site] = [
    ("demo", "start", ""),
    ("demo", "start", ""),
    ("demo", "stop", ""),
    ("demo", "io_read", "4@%edi 8@%rsi 8@%rdx 8@%rcx 8@%r8 8@%r9 8@8(%rsp)"),
    ("demo", "changed", "4@%edi"),
    ("demo", "twice", "4@%edi"),
    ("elsewhere", "gone", "4@%edi"),
]
DAEMON: list[Site] = [
    ("demo", "io_probe", "8@%rdi 8@%rsi -4@%edx -4@%ecx 8@%r8"),
    ("demo", "twice", "4@%edi"),
    ("demo", "changed", "4@%edi"),
    ("demo", "changed", "4@%edi 4@%esi"),
]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.chdir(tmp_path)
    for path, sites in {"lib folder/libdemo.so.0": LIBRARY, "bin/demod": DAEMON}.items():
        (tmp_path / path).parent.mkdir()
        (tmp_path / path).write_bytes(elf(sites))

    def run(*arguments: str | Path) -> Result:
        return CliRunner().invoke(main, ["generate", "probes", *map(str, arguments)])

    return run


LIBRARIES = ("--library", "lib folder/libdemo.so.0", "--library", "bin/demod")


def test_output_matches_golden_files(run, tmp_path: Path, root: Path) -> None:  # type: ignore[no-untyped-def]
    golden = root / "tests" / "golden" / "probes"
    arguments = ("--defs", golden / "demo_probes.d", *LIBRARIES, "-o", "out")
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (0, "probes: 1 file in out (1 new)\n")
    assert result.stderr == (
        "libvirt-proto: warning: demo_probes.d: changed has 2 arguments in the definitions, "
        "1 in lib folder/libdemo.so.0: only a is kept\n"
        "libvirt-proto: warning: demo_probes.d: changed has 2 arguments in the definitions, "
        "1 or 2 in bin/demod: only a is kept\n"
        "libvirt-proto: warning: demo_probes.d: left out 1 probe missing from all binaries: gone\n"
    )
    name = "libvirt_demo_probes.stp"
    assert (tmp_path / "out" / name).read_text() == (golden / name).read_text()
    result = run(*arguments, "--check")
    assert (result.exit_code, result.stdout) == (0, "probes: 1 file in out are current\n")
    (tmp_path / "out" / name).unlink()
    result = run(*arguments, "--check")
    assert result.exit_code == 1
    assert result.stderr.endswith(
        f"to fix it: libvirt-proto generate probes --defs={golden / 'demo_probes.d'} "
        "'--library=lib folder/libdemo.so.0' --library=bin/demod --output=out\n"
    )


def test_warns_about_unusable_notes(run, tmp_path: Path, root: Path) -> None:  # type: ignore[no-untyped-def]
    torn = b"".join(note(site, "<", 8) for site in LIBRARY) + b"\x08\0\0"
    (tmp_path / "torn.so").write_bytes(elf([], notes=torn))
    result = run("--defs", root / "tests" / "golden" / "probes", "--library", "torn.so", "-o", "out")
    assert result.exit_code == 0
    assert result.stderr.startswith(
        f"libvirt-proto: warning: torn.so: note at byte {len(torn) - 3} of .note.stapsdt: trunc"
    )


def marks(text: str) -> dict[str, list[str]]:
    """Alias → the paths of its marks."""
    return {
        alias: re.findall(r'process\("([^"]*)"\)', places)
        for alias, places in re.findall(r"^probe (\S+) =\n((?:  .*\n)+)", text, re.MULTILINE)
    }


def test_generates_all_probes(run, tmp_path: Path, root: Path) -> None:  # type: ignore[no-untyped-def]
    """A probe that no binary has is placed where the provider's comments say, else in the first library."""
    golden = root / "tests" / "golden" / "probes"
    result = run("--defs", golden, *LIBRARIES, "--all-probes", "-o", "out")
    assert (result.exit_code, result.output) == (0, "probes: 1 file in out (1 new)\n")
    text = (tmp_path / "out" / "libvirt_demo_probes.stp").read_text()
    assert "Left out" not in text
    assert marks(text) == {
        "demo.start": ["lib folder/libdemo.so.0"],
        "demo.stop": ["lib folder/libdemo.so.0"],
        "demo.io.read": ["lib folder/libdemo.so.0"],
        "demo.io.probe": ["bin/demod"],
        "demo.gone": ["bin/demod"],
        "demo.changed": ["bin/demod"],
        "demo.twice": ["lib folder/libdemo.so.0", "bin/demod"],
    }
    nowhere = run("--defs", golden, "--library", "not/here.so", "--all-probes", "-o", "out")
    assert nowhere.exit_code == 0
    assert set(map(tuple, marks((tmp_path / "out" / "libvirt_demo_probes.stp").read_text()).values())) == {
        ("not/here.so",)
    }


def test_reports_missing_libvirt(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(command, "installed", lambda: ())
    result = run("-o", "out")
    assert result.exit_code == 1
    assert "libvirt is not installed here" in result.stderr
    assert "--library PATH" in result.stderr
    assert "--all-probes" in result.stderr
    assert not (tmp_path / "out").exists()
    assert run("-o", "out", "--all-probes").exit_code == 0
    library, qemu = (
        set(map(tuple, marks((tmp_path / "out" / name).read_text()).values()))
        for name in ("libvirt_probes.stp", "libvirt_qemu_probes.stp")
    )
    assert (library, qemu) == ({("libvirt.so.0",)}, {("libvirt_driver_qemu.so",)})


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--library", "bin/demod", "--library", "nowhere"], 1, "cannot read nowhere: no such file"),
        (["--library", "bin/demod"], 1, "none of the probes is in bin/demod"),
        (["--library", "bin/*"], 2, "unsupported path for SystemTap"),
        (["--library", 'a"b'], 2, "unsupported path for SystemTap"),
        (["--library", "a\nprobe begin"], 2, "unsupported path for SystemTap"),
        (["--library", "größe"], 2, "unsupported path for SystemTap"),
        (["--release", "1.2.22"], 2, "libvirt 1.2.22 is not bundled"),
        (["--defs", "bin"], 1, "no probe provider (.d file) in bin"),
    ],
)
@pytest.mark.parametrize("here", [True, False])
def test_errors(  # type: ignore[no-untyped-def]
    run, monkeypatch: pytest.MonkeyPatch, arguments: list[str], status: int, words: str, here: bool
) -> None:
    if not here:
        monkeypatch.setattr(command, "installed", lambda: ())
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (status, "")
    assert words in result.stderr


def test_rejects_options_of_other_targets(run) -> None:  # type: ignore[no-untyped-def]
    result = CliRunner().invoke(main, ["generate", "systemtap", "--all-probes"])
    assert result.exit_code == 2
    assert "--library requires the target probes or bpftrace" in result.stderr


def test_generated_with_functions_tapset(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """Two targets in one folder keep each other's files."""
    runner = CliRunner()
    functions = ["generate", "systemtap", "-o", "tapset"]
    assert runner.invoke(main, functions).output == "systemtap: 1 file in tapset (1 new)\n"
    arguments = ("--release", "0.9.7", "--library", "none.so", "--all-probes", "-o", "tapset")
    assert run(*arguments).output == "probes: 1 file in tapset (1 new)\n"
    assert run(*arguments, "--check").exit_code == 0
    assert runner.invoke(main, [*functions, "--check"]).output == "systemtap: 1 file in tapset are current\n"
    assert sorted(path.name for path in (tmp_path / "tapset").iterdir()) == [
        "libvirt_functions.stp",
        "libvirt_probes.stp",
    ]


def test_generates_several_targets(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    result = run("systemtap", "--library", "none.so", "--all-probes", "-o", "out")
    assert (
        result.output == "probes: 2 files in out/probes (2 new)\nsystemtap: 1 file in out/systemtap (1 new)\n"
    )


@pytest.mark.parametrize("release", RELEASES)
def test_reads_providers_of_libvirt(release: str, root: Path) -> None:
    """Every probe that regular expressions find in the canonical text has an alias with its arguments' names
    in order; `char *` arguments are strings."""
    folder = root / "protocol-defs" / release
    artefacts, left_out = generate_probes(load_providers([folder]), [Binary("/lib.so", {})], all_probes=True)
    assert left_out == ()
    made = {}
    for artefact in artefacts:
        for alias, mark, body in re.findall(
            r'^probe (\S+) =\n  process\("/lib\.so"\)\.mark\("(\w+)"\)\n\{\n([^}]*)\}\n',
            artefact.text,
            re.MULTILINE,
        ):
            made[alias] = (mark, re.findall(r"  (\S+) = (\S+)\n", body))
    expected = {}
    for path in folder.glob("*.d"):
        prefix = ""
        for line in path.read_text().splitlines():
            if "# prefix: " in line:
                prefix = line.split(": ")[1]
            if found := re.search(r"probe (\w+)\((.*)\);", line):
                name, arguments = found[1], found[2].split(", ")
                variables = []
                for number, argument in enumerate(arguments, 1):
                    variable = re.findall(r"\w+", argument)[-1]
                    value = f"$arg{number}"
                    variables.append((variable, f"user_string({value})" if "char *" in argument else value))
                expected[f"libvirt.{prefix}.{name[len(prefix) + 1 :]}"] = (name, variables)
    assert made == expected
    assert len(made) > 50
