"""The generated tapset, parsed and run by the real SystemTap.

Expected values are read from the text of the definitions with regular expressions, without the project's own
code.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from libvirt_proto_codegen.definitions import load_schema
from libvirt_proto_codegen.targets.systemtap import generate
from tests.differential.systemtap import SystemTap

pytestmark = pytest.mark.system("stap", "stapbpf", "gcc")

RELEASES = ("0.9.7", "10.0.0", "12.9.0")
DEBIAN = Path("/usr/share/systemtap/tapset/libvirt_functions.stp")
LOG_MANAGER = 0x87539319
BESIDE = 4  # numbers without a name, tried before the first and after the last
FUNCTIONS = {
    "auth": r"\bREMOTE_AUTH_(NONE|SASL|POLKIT) *= *(\d+)",
    "type": r"\bVIR_NET_(CALL|REPLY|MESSAGE|STREAM|CALL_WITH_FDS|REPLY_WITH_FDS|STREAM_HOLE) *= *(\d+)",
    "status": r"\bVIR_NET_(OK|ERROR|CONTINUE) *= *(\d+)",
}

EXIT = "probe begin { exit() }\n"

Table = dict[int, tuple[str, dict[int, str]]]


def read(folder: Path, pattern: str) -> dict[int, str]:
    """Numbers and lower-case names of all `NAME = number` that match a pattern, in all definitions."""
    text = "".join(path.read_text() for path in folder.glob("*.x"))
    return {int(number, 0): name.lower() for name, number in re.findall(pattern, text)}


def programs(folder: Path) -> Table:
    """Program number → (name, procedure number → name)."""
    table: Table = {}
    for path in folder.glob("*.x"):
        text = path.read_text()
        for name, number in re.findall(r"\bconst (?:VIR_)?(\w+?)(?:_PROTOCOL)?_PROGRAM *= *(\w+)", text):
            procedures = {
                int(n): p.lower()
                for p, n in re.findall(r"^ *[A-Z_]+?_PROC_(\w+) *= *(\d+)", text, re.MULTILINE)
            }
            table[int(number, 0)] = name.lower(), procedures
    return table


def ask(function: str, first: int, last: int, *before: int) -> str:
    """A probe that prints each number with its name, plain and verbose."""
    call = f"libvirt_rpc_{function}_name({''.join(f'{n}, ' for n in before)}n"
    return (
        f"probe begin {{ for (n = {first}; n <= {last}; n++)"
        f' printf("%d %s %s\\n", n, {call}, 0), {call}, 1)) }}\n'
    )


def answers(output: str) -> list[tuple[int, str, str]]:
    lines = [line.split(" ") for line in output.splitlines()]
    return [(int(number), plain, verbose) for number, plain, verbose in lines]


def expected(names: dict[int, str], first: int, last: int) -> list[tuple[int, str, str]]:
    return [
        (n, names[n], f"{names[n]}:{n}") if n in names else (n, f"unknown:{n}", f"unknown:{n}")
        for n in range(first, last + 1)
    ]


def signed(number: int) -> int:
    return number - 2**32 if number >= 2**31 else number


def say(*calls: str) -> str:
    """A probe per call, which prints its result; stapbpf has room for about three long strings."""
    return "".join(f'probe begin {{ printf("%s\\n", {call}) }}\n' for call in calls) + EXIT


@pytest.fixture(scope="module", params=RELEASES)
def release(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def definitions(root: Path, release: str) -> Path:
    return root / "protocol-defs" / release


@pytest.fixture(scope="module")
def tapset(definitions: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the generated tapset."""
    folder = tmp_path_factory.mktemp("tapset")
    (artefact,) = generate(load_schema([definitions]))
    (folder / artefact.path).write_text(artefact.text)
    return folder


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tapset installed with libvirt."""
    if not DEBIAN.exists():
        pytest.skip(f"no {DEBIAN}")
    folder = tmp_path_factory.mktemp("debian")
    shutil.copy(DEBIAN, folder)
    return folder


def test_stap_accepts_tapset(systemtap: SystemTap, tapset: Path) -> None:
    """Up to the translation to C for the kernel-module runtime."""
    systemtap.until(1, (tapset / "libvirt_functions.stp").read_text(), tapset)
    script = (
        ask("procedure", 1, 1, 1, 1) + ask("program", 1, 1) + "".join(ask(name, 1, 1) for name in FUNCTIONS)
    )
    names = systemtap.until(2, script, tapset)
    for function in ("procedure", "program", *FUNCTIONS):
        assert f"libvirt_rpc_{function}_name:string" in names
    assert "libvirt_rpc_procedure_name" in systemtap.until(3, script, tapset)


def test_procedure_names(systemtap: SystemTap, tapset: Path, definitions: Path) -> None:
    """Every number of every program, with the program number zero-extended and sign-extended from 32 bits."""
    table = programs(definitions)
    assert len(table) >= 2
    for number, (_, names) in table.items():
        first, last = min(names) - BESIDE, max(names) + BESIDE
        for given in {number, signed(number)}:
            output = systemtap.run(ask("procedure", first, last, given, 1) + EXIT, tapset)
            assert answers(output) == expected(names, first, last)


def test_unknown_versions_and_programs(systemtap: SystemTap, tapset: Path, definitions: Path) -> None:
    for number, version in [*((number, 2) for number in programs(definitions)), (1, 1), (0, 0), (-1, 1)]:
        output = systemtap.run(ask("procedure", -1, 3, number, version) + EXIT, tapset)
        assert answers(output) == expected({}, -1, 3)


@pytest.mark.parametrize("number", [-1, -2, -(2**31), 66])
def test_ignores_upper_bits_of_procedure_number(
    systemtap: SystemTap, tapset: Path, definitions: Path, number: int
) -> None:
    name = programs(definitions)[0x20008086][1].get(number, f"unknown:{number}")
    for given in (number, number + 2**32):
        assert (
            systemtap.run(say(f"libvirt_rpc_procedure_name(0x20008086, 1, {given}, 0)"), tapset)
            == name + "\n"
        )


def test_program_names(systemtap: SystemTap, tapset: Path, definitions: Path) -> None:
    """A number is always printed unsigned."""
    names = {number: name for number, (name, _) in programs(definitions).items()}
    for number in [n + d for n in (*names, 0, 2**31, 2**32 - 2) for d in (-1, 0, 1) if 0 <= n + d < 2**32]:
        plain, verbose = names.get(number, f"unknown:{number}"), f"{names.get(number, 'unknown')}:{number}"
        calls = [f"libvirt_rpc_program_name({n}, {v})" for n in (number, signed(number)) for v in (0, 1)]
        assert systemtap.run(say(*calls), tapset).split() == [plain, verbose] * 2


@pytest.mark.parametrize("function", FUNCTIONS)
def test_enum_names(systemtap: SystemTap, tapset: Path, definitions: Path, function: str) -> None:
    names = read(definitions, FUNCTIONS[function])
    assert len(names) >= 3
    assert answers(systemtap.run(ask(function, -5, 20) + EXIT, tapset)) == expected(names, -5, 20)


def test_gaps(systemtap: SystemTap, root: Path) -> None:
    """The complete expected output of the generator's own test, with a program number above 2^31."""
    folder = root / "tests" / "golden" / "systemtap"
    names = {-1: "before", 1: "open", 2: "close", 10: "read", 2**31 - 1: "last"}
    for program in (0xFFFFFFF0, -16):
        output = systemtap.run(ask("procedure", -4, 14, program, 3) + EXIT, folder)
        assert answers(output) == expected(names, -4, 14)
    for number, name in [
        (2**31 - 2, "unknown:2147483646"),
        (2**31 - 1, "last"),
        (-(2**31), "unknown:-2147483648"),
    ]:
        script = say(f"libvirt_rpc_procedure_name(-16, 3, {number}, 0)")
        assert systemtap.run(script, folder) == name + "\n"


@pytest.mark.parametrize("release", RELEASES[1:], indirect=True)
def test_agrees_with_libvirt_tapset(
    systemtap: SystemTap, tapset: Path, debian: Path, definitions: Path
) -> None:
    """Wherever the installed tapset, of another release, has an answer. Its verbose answers are requested one
    by one: stapbpf keeps bytes of the previous round where a loop joins strings with `.`."""
    numbers = [0, 1, *programs(definitions)]
    scripts = [ask("procedure", -BESIDE, 600, number, 1) for number in numbers]
    scripts += [ask("program", number, number) for number in numbers if number < 2**31]
    scripts += [ask(function, -5, 20) for function in FUNCTIONS]
    compared = 0
    for script in scripts:
        ours, theirs = (answers(systemtap.run(script + EXIT, folder)) for folder in (tapset, debian))
        for our, their in zip(ours, theirs, strict=True):
            if not their[1].startswith("unknown"):
                assert our[:2] == their[:2]
                compared += 1
    assert compared > 450
    calls = [f"procedure_name(0x20008086, 1, {n}, 1)" for n in (0, 66, 443, 1000)]
    calls += [f"procedure_name({n}, 1, 1, 1)" for n in numbers if n != LOG_MANAGER]
    calls += [f"program_name({n}, 1)" for n in numbers if n != LOG_MANAGER]
    calls += [f"{function}_name({n}, 1)" for function in FUNCTIONS for n in (-1, 0, 2, 9)]
    for call in calls:
        script = say(f"libvirt_rpc_{call}")
        assert systemtap.run(script, tapset) == systemtap.run(script, debian)
