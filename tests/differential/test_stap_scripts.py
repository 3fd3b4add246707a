"""The SystemTap scripts, resolved by the real stap in the real libvirt, and in a library with the probes of
the first release."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from libvirt_proto.cli.main import main
from tests.differential.installation import MACHINE, Installation
from tests.differential.systemtap import SystemTap

pytestmark = pytest.mark.system("stap", "stapbpf", "gcc", "libvirtd")

SCRIPTS = (
    *("rpc-monitor", "events", "qemu-monitor", "lock", "stacks"),
    *("client-messages", "client-messages-raw", "server-messages", "server-messages-raw"),
)
#: Minimum number of probes that a script resolves to in the current libvirt.
MARKS = {"rpc-monitor": 12, "events": 8, "qemu-monitor": 3, "lock": 2, "stacks": 4}


def generate(*arguments: str) -> None:
    result = CliRunner().invoke(main, ["generate", *arguments])
    assert result.exit_code == 0, result.output


def resolve(systemtap: SystemTap, text: str, tapset: Path, library: str) -> list[str]:
    """The probes of a script after stap's second pass; `library` replaces its argument."""
    output = systemtap.until(2, text.replace("process(@1)", f'process("{library}")'), tapset)
    return re.findall(r'^process\("([^"]*)"\)', output.partition("# probes\n")[2], re.MULTILINE)


@pytest.mark.releases
@pytest.mark.parametrize("release", ["10.0.0", "12.9.0"])
@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script_resolves(
    systemtap: SystemTap, installation: Installation, tmp_path: Path, release: str, name: str
) -> None:
    library, tapset = installation.library, str(tmp_path / "tapset")
    generate("systemtap", "--release", release, "-o", tapset)
    generate("probes", "--release", release, "-o", tapset, *installation.library_options)
    generate("scripts", "--release", release, "-o", str(tmp_path / "scripts"))
    assert {path.stem for path in (tmp_path / "scripts").iterdir()} == set(SCRIPTS)
    text = (tmp_path / "scripts" / f"{name}.stp").read_text()
    found = resolve(systemtap, text, tmp_path / "tapset", library)
    # A probe may have several sites.
    assert len(found) >= MARKS.get(name, 2)
    if name == "qemu-monitor":
        assert all("libvirt_driver_qemu" in path for path in found)
    else:
        assert {Path(path).name for path in found} == {Path(library).resolve().name}


@pytest.mark.parametrize("name", SCRIPTS)
def test_stap_translates_every_script(systemtap: SystemTap, tmp_path: Path, name: str) -> None:
    """To C for the kernel-module runtime."""
    for target in ("systemtap", "probes"):
        generate(target, "-o", str(tmp_path / "tapset"))
    generate("scripts", "-o", str(tmp_path / "scripts"))
    text = (tmp_path / "scripts" / f"{name}.stp").read_text()
    systemtap.until(3, text.replace("process(@1)", f'process("{MACHINE.library}")'), tmp_path / "tapset")


@pytest.fixture(scope="module")
def first(root: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A library with all probes of 0.9.7, and the functions that lock.stp needs."""
    folder = tmp_path_factory.mktemp("first")
    provider = (root / "protocol-defs" / "0.9.7" / "probes.d").read_text()
    probes = []
    for name, arguments in re.findall(r"probe (\w+)\(([^)]*)\)", provider):
        numbers = range(1, arguments.count(",") + 2)
        probes.append(f"STAP_PROBE{len(numbers)}(libvirt, {name}, {', '.join(f'c + {n}' for n in numbers)});")
    functions = "void virMutexLock(void *m) {} void virMutexUnlock(void *m) {}"
    source = folder / "libvirt.c"
    source.write_text(
        f"#include <sys/sdt.h>\n{functions}\nvoid fire(long c) {{\n{chr(10).join(probes)}\n}}\n"
    )
    library = folder / "libvirt.so.0"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    return str(library)


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_resolve_with_probes_of_first_release(
    systemtap: SystemTap, first: str, tmp_path: Path, name: str
) -> None:
    generate("systemtap", "--release", "0.9.7", "-o", str(tmp_path / "tapset"))
    generate("probes", "--release", "0.9.7", "-o", str(tmp_path / "tapset"), "--library", first)
    generate("scripts", "--release", "0.9.7", "-o", str(tmp_path / "scripts"))
    text = (tmp_path / "scripts" / f"{name}.stp").read_text()
    found = resolve(systemtap, text, tmp_path / "tapset", first)
    assert set(found) == {first}
    # The event loop is purged and iterates; connections end with their last reference.
    assert len(found) == {**MARKS, "events": 11, "rpc-monitor": 12}.get(name, 2)


def test_rejects_tapset_without_probes(systemtap: SystemTap, tmp_path: Path) -> None:
    """Optional probes exist for other releases, not for a wrong tapset."""
    generate("systemtap", "-o", str(tmp_path / "tapset"))
    generate("scripts", "-o", str(tmp_path / "scripts"))
    for name in ("rpc-monitor", "events", "qemu-monitor", "stacks", "client-messages"):
        text = (tmp_path / "scripts" / f"{name}.stp").read_text()
        with pytest.raises(AssertionError, match="while resolving probe point"):
            systemtap.until(2, text, tmp_path / "tapset")
