"""The tapsets for libvirt's probes, resolved by the real SystemTap in the real libvirt, and compared with
those that libvirt installs."""

from __future__ import annotations

import re
import subprocess
import tarfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from libvirt_proto.cli.main import main
from libvirt_proto_codegen.errors import DefinitionError
from libvirt_proto_codegen.providers.binaries import read_binary
from libvirt_proto_codegen.providers.parse import read_provider
from libvirt_proto_codegen.source import Source
from tests.differential.installation import Installation
from tests.differential.systemtap import SystemTap

FILES = ("libvirt_probes.stp", "libvirt_qemu_probes.stp")
#: An alias, its probe points and its body, as both generators write them.
ALIAS = re.compile(r"^probe (\S+) *=\s*((?:process\([^)]*\)\.mark\([^)]*\),?\s*)+)\{([^}]*)\}", re.MULTILINE)


def aliases(*paths: Path) -> dict[str, tuple[str, list[tuple[str, str]]]]:
    """Alias → its mark and its (variable, value) pairs, from the text of any tapset."""
    found = {}
    for path in paths:
        text = path.read_text()
        matches = list(ALIAS.finditer(text))
        assert len(matches) == len(re.findall(r"^probe ", text, re.MULTILINE))
        for alias, places, body in (match.groups() for match in matches):
            (mark,) = set(re.findall(r'\.mark\("(\w+)"\)', places))
            found[alias] = mark, re.findall(r"(\w+) *= *([^;\n]+?);?$", body, re.MULTILINE)
    return found


def generate(folder: Path, *arguments: str) -> str:
    """Write the tapsets to a folder; return the warnings."""
    result = CliRunner().invoke(main, ["generate", "probes", "-o", str(folder), *arguments])
    assert result.exit_code == 0, result.output
    return result.stderr


def script(tapset: Path) -> str:
    """A probe for each alias that uses all of its variables."""
    probes = []
    for alias, (_, variables) in aliases(*sorted(tapset.glob("*.stp"))).items():
        forms = " ".join("%s" if "user_string" in value else "%d" for _, value in variables)
        names = "".join(f", {name}" for name, _ in variables)
        probes.append(f'probe {alias} {{ printf("%s {forms}\\n", pn(){names}) }}\n')
    assert probes
    return "".join(probes)


@pytest.fixture(scope="module")
def libvirt(installation: Installation) -> Installation:
    """The real libvirt, with its library, the driver of QEMU, and the daemon."""
    found = installation.binaries
    if not {"libvirt.so.0", "libvirt_driver_qemu.so", "libvirtd"} <= found.keys():
        pytest.skip(f"libvirt.so.0, libvirt_driver_qemu.so and libvirtd are not all installed: {found}")
    return installation


@pytest.mark.releases
@pytest.mark.system("stap", "stapbpf", "gcc", "libvirtd")
@pytest.mark.parametrize("release", ["10.0.0", "12.9.0"])
def test_every_alias_resolves(
    systemtap: SystemTap, libvirt: Installation, tmp_path: Path, release: str
) -> None:
    """With all its variables; omitted aliases do not resolve."""
    warned = generate(tmp_path, "--release", release, *libvirt.library_options)
    made = aliases(*(tmp_path / name for name in FILES))
    resolved = systemtap.until(2, script(tmp_path), tmp_path)
    for path in list(libvirt.binaries.values())[:3]:
        assert Path(path).resolve().name in resolved
    assert len(made) > 45
    whole = tmp_path / "whole"
    generate(whole, "--release", release, "--all-probes", *libvirt.library_options)
    left_out = {
        alias: each for alias, each in aliases(*(whole / name for name in FILES)).items() if alias not in made
    }
    for alias, (mark, _) in left_out.items():
        assert mark in warned
        with pytest.raises(AssertionError, match="no match"):
            systemtap.until(2, f"probe {alias} {{ println(pn()) }}", whole)
    assert len(made) + len(left_out) == 56


@pytest.mark.system("stap", "stapbpf", "gcc")
def test_stap_parses_first_release(systemtap: SystemTap, tmp_path: Path) -> None:
    generate(tmp_path, "--release", "0.9.7", "--all-probes", "--library", "libvirt.so.0")
    assert len(aliases(tmp_path / "libvirt_probes.stp")) == 51
    systemtap.until(1, (tmp_path / "libvirt_probes.stp").read_text(), tmp_path)
    systemtap.until(1, script(tmp_path), tmp_path)


@pytest.mark.releases
@pytest.mark.system("stap", "stapbpf", "gcc", "libvirtd")
@pytest.mark.parametrize("options", [(), ("--release", "10.0.0"), ("--release", "12.9.0")])
def test_scripts_for_libvirt_tapsets_run_unchanged(
    libvirt: Installation, tmp_path: Path, options: tuple[str, ...]
) -> None:
    """All aliases have the same variables and strings, except for those that are reported as omitted. The
    release of the definitions does not matter."""
    shipped = [libvirt.tapset / name for name in FILES]
    if not all(path.exists() for path in shipped):
        pytest.skip(f"no libvirt tapsets in {libvirt.tapset}")
    warned = generate(tmp_path, *options, *libvirt.library_options)
    theirs = aliases(*shipped)
    ours = aliases(*(tmp_path / name for name in FILES))
    assert len(theirs) == 56
    left_out = {mark for alias, (mark, _) in theirs.items() if alias not in ours}
    assert left_out == set(re.findall(r"\b(?:rpc|qemu)_\w+", re.sub(r"libvirt\w*\.d", "", warned)))
    assert len(ours) > 50
    for alias, described in ours.items():
        assert theirs[alias] == described


@pytest.mark.releases
@pytest.mark.system("readelf", "libvirtd")
def test_probes_of_libvirt_match_readelf(libvirt: Installation) -> None:
    for path in libvirt.binaries.values():
        text = subprocess.run(
            ["readelf", "-n", "-W", path], capture_output=True, text=True, check=True
        ).stdout
        expected: dict[tuple[str, str], set[int]] = {}
        for provider, name, operands in re.findall(
            r"Provider: (\S+)\n\s*Name: (\S+)\n.*\n\s*Arguments:(.*)", text
        ):
            expected.setdefault((provider, name), set()).add(operands.count("@"))
        assert read_binary(path).probes == expected


PROGRAM = """
#include <sys/sdt.h>
struct stat;
int main(int count, char **words)
{
    DTRACE_PROBE(demo, start);
    DTRACE_PROBE1(demo, twice, count);
    DTRACE_PROBE1(demo, changed, count);
    DTRACE_PROBE5(demo, io_probe, (unsigned long long)count, (struct stat *)words, 3, count * 2, (long)count);
    DTRACE_PROBE7(demo, io_read, count, words[0], words[0], words[0], words, words[0], (void *)words);
    return 0;
}
"""


@pytest.mark.system("stap", "stapbpf", "gcc", "dtrace")  # dtrace is installed with <sys/sdt.h>
def test_probes_of_custom_program(systemtap: SystemTap, root: Path, tmp_path: Path) -> None:
    """The generator's own test provider, with SystemTap keywords as names, in a compiled program."""
    source = tmp_path / "demo.c"
    source.write_text(PROGRAM)
    subprocess.run(["gcc", "-O2", "-o", str(tmp_path / "demo"), str(source)], check=True)
    golden = root / "tests" / "golden" / "probes"
    tapset = tmp_path / "tapset"
    warned = generate(tapset, "--defs", str(golden), "--library", str(tmp_path / "demo"))
    assert "left out 2 probes missing from all binaries: stop, gone" in warned
    where = f"in the definitions, 1 in {tmp_path / 'demo'}"
    assert f"changed has 2 arguments {where}: only a is kept" in warned
    made = aliases(tapset / "libvirt_demo_probes.stp")
    assert set(made) == {"demo.start", "demo.twice", "demo.changed", "demo.io.probe", "demo.io.read"}
    systemtap.until(2, script(tapset), tapset)
    systemtap.until(1, (golden / "libvirt_demo_probes.stp").read_text(), tapset)


def test_every_provider_of_every_release_resolves(shared: Path) -> None:
    """237 files of 128 versions: their probes, arguments and strings, counted by regular expressions."""
    versions = set()
    with tarfile.open(shared / "libvirt" / "all-releases.tar.xz") as archive:
        for member in archive:
            if not member.name.endswith(".d"):
                continue
            content = archive.extractfile(member)
            assert content is not None
            text = content.read().decode()
            try:
                provider = read_provider(Source(member.name, text))
            except DefinitionError as error:
                raise AssertionError(str(error)) from None
            probes = [probe for _, probe in provider.probes]
            arguments = [argument for probe in probes for argument in probe.arguments]
            assert [probe.name for probe in probes] == re.findall(r"^\s*probe (\w+)\(", text, re.MULTILINE)
            assert len(arguments) == sum(
                list_.count(",") + 1 for list_ in re.findall(r"\bprobe \w+\(([^)]+)\)", text)
            )
            assert sum(argument.is_string for argument in arguments) == text.count("char *")
            assert all(section.file and section.prefix for section in provider.sections)
            versions.add(member.name.split("/")[1])
    assert len(versions) == 128
