"""The generated tapset gives every number the name that the tapset of the same libvirt gives it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from libvirt_proto.cli.main import main
from tests.differential.installation import Installation
from tests.differential.systemtap import SystemTap
from tests.differential.test_stap import BESIDE, EXIT, FUNCTIONS, LOG_MANAGER, say, signed

pytestmark = [pytest.mark.releases, pytest.mark.system("stap", "stapbpf", "gcc", "libvirtd")]

NAME = "libvirt_functions.stp"


@pytest.fixture(scope="module")
def tapsets(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Folders with the generated tapset and with the shipped one."""
    folder = tmp_path_factory.mktemp("tapsets")
    arguments = [
        "generate",
        "systemtap",
        "--release",
        installation.version,
        "-o",
        str(folder / "ours"),
    ]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    (folder / "theirs").mkdir()
    shutil.copy(installation.tapset / NAME, folder / "theirs")
    return folder / "ours", folder / "theirs"


def numbers(tapset: Path, name: str) -> set[int]:
    """The numbers that a tapset compares an argument with."""
    found = re.findall(rf"\b{name} == (-?\d+)", (tapset / NAME).read_text())
    return {int(number) % 2**32 for number in found}


def table(call: str, programs: Sequence[int], versions: int, first: int, last: int) -> str:
    """A script that prints a name for each program, version and number; stapbpf has room for few strings, so
    there is one call in it."""
    chosen = "".join(f"i == {at} ? {number} : " for at, number in enumerate(programs))
    return (
        f"probe begin {{ for (i = 0; i < {len(programs)}; i++) {{ program = {chosen}0\n"
        f"for (version = 0; version < {versions}; version++) for (n = {first}; n <= {last}; n++)"
        f' printf("%d %d %d %s\\n", program, version, n, libvirt_rpc_{call}) }} }}\n{EXIT}'
    )


def test_every_number_has_the_name_of_libvirt_tapset(
    systemtap: SystemTap, tapsets: tuple[Path, Path]
) -> None:
    """Also numbers without a name, other programs and versions. libvirt leaves out virtlogd's program."""
    programs, theirs = (numbers(tapset, "program") for tapset in tapsets)
    assert programs == theirs | {LOG_MANAGER}
    last = max(numbers(tapsets[0], "proc") | numbers(tapsets[1], "proc")) + BESIDE
    asked = [signed(number + near) for number in sorted(theirs) for near in (-1, 0, 1)]
    scripts = [table("procedure_name(program, version, n, 0)", asked, 3, -BESIDE, last)]
    scripts += [table("program_name(program, 0)", asked, 1, 0, 0)]
    scripts += [table(f"{function}_name(n, 0)", [0], 1, -5, 20) for function in FUNCTIONS]
    for script in scripts:
        named, expected = (systemtap.run(script, tapset).splitlines() for tapset in tapsets)
        assert named == expected
        assert sum("unknown" not in line for line in named) >= 3


def test_verbose_names_match_libvirt_tapset(systemtap: SystemTap, tapsets: tuple[Path, Path]) -> None:
    """One by one: stapbpf keeps bytes of the previous round where a loop joins strings with `.`."""
    calls = [f"procedure_name(0x20008086, 1, {number}, 1)" for number in (66, 1000)]
    calls += [f"program_name({number}, 1)" for number in sorted(numbers(tapsets[1], "program"))]
    calls += [f"{function}_name({number}, 1)" for function in FUNCTIONS for number in (-1, 2)]
    for call in calls:
        script = say(f"libvirt_rpc_{call}")
        assert systemtap.run(script, tapsets[0]) == systemtap.run(script, tapsets[1])
