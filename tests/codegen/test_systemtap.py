"""The generated tapset's logic. Its statements equal Python's except for braces and `&&`, so each line is
rewritten and run as Python, with SystemTap's 64-bit integers that count comparisons."""

from __future__ import annotations

import re
from collections.abc import Callable
from math import ceil, log2
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libvirt_proto.codec.types import Boolean, Enumeration, Member, TypeDefinition
from libvirt_proto_codegen.definitions import load_release, load_schema
from libvirt_proto_codegen.schema import Input, Module, Procedure, Program, Schema
from libvirt_proto_codegen.targets.systemtap import generate


class Long(int):
    """SystemTap's only number type."""

    comparisons = 0

    def __new__(cls, value: int) -> Long:
        return super().__new__(cls, (value + 2**63) % 2**64 - 2**63)

    def __lshift__(self, bits: int) -> Long:
        return Long(int(self) << bits)

    def __rshift__(self, bits: int) -> Long:
        return Long(int(self) >> bits)

    def __sub__(self, other: int) -> Long:
        return Long(int(self) - other)

    def __eq__(self, other: object) -> bool:
        Long.comparisons += 1
        return int(self) == other

    def __lt__(self, other: int) -> bool:
        Long.comparisons += 1
        return int(self) < other

    __hash__ = int.__hash__


def sprintf(form: str, name: str, number: int) -> str:
    shown = {"%s:%d": int(number), "%s:%u": int(number) % 2**64}
    return f"{name}:{shown[form]}"


REWRITE: list[tuple[str, str | Callable[[re.Match[str]], str]]] = [
    (r"function (\w+):string \((.*)\)", lambda m: f"def {m[1]}({m[2].replace(':long', '')}):"),
    (r"if \((.*)\) \{(?: #.*)?", lambda m: f"if {m[1].replace('&&', 'and')}:"),
    (r"\} else if \((.*)\) \{(?: #.*)?", lambda m: f"elif {m[1].replace('&&', 'and')}:"),
    (r"\} else \{", lambda m: "else:"),
    (r"if \(verbose\)", lambda m: "if verbose:"),
    (r"return sprintf\(.*\)", r"\g<0>"),
    (r'name = "\w+"|verbose = 1|return name|(\w+) = \(\1 << 32\) >> 32', r"\g<0>"),
    (r"(#.*|[{}])?", ""),
]


def functions(text: str) -> dict[str, Callable[..., str]]:
    """The functions of a tapset. An unknown statement fails the test."""
    lines = []
    for line in text.splitlines():
        indent, statement = re.match(r"( *)(.*)", line).groups()  # type: ignore[union-attr]
        for pattern, new in REWRITE:
            match = re.fullmatch(pattern, statement)
            if match:
                lines.append(indent + (match.expand(new) if isinstance(new, str) else new(match)))
                break
        else:
            raise AssertionError(f"not understood: {line}")
    namespace: dict[str, Any] = {"sprintf": sprintf}
    exec("\n".join(lines), namespace)
    return {name: value for name, value in namespace.items() if name.startswith("libvirt_")}


def tapset(schema: Schema) -> dict[str, Callable[..., str]]:
    (artefact,) = generate(schema)
    assert artefact.path == "libvirt_functions.stp"
    return functions(artefact.text)


def enumeration(name: str, **members: int) -> TypeDefinition:
    return TypeDefinition(name, Enumeration(tuple(Member(*item) for item in members.items())), "", 4, 4, 0)


def program(short: str, number: int, version: int, *numbers: int) -> Program:
    procedures = tuple(
        Procedure(n, f"{short}_PROC_P{n}", f"p_{n}".replace("-", "m")) for n in sorted(numbers)
    )
    return Program(f"{short}_PROGRAM", short, number, version, procedures)


def schema(*programs: Program, types: tuple[TypeDefinition, ...] = ()) -> Schema:
    return Schema((Module("m", "m.x", (), types, programs),), inputs=(Input("m.x", "0" * 64),))


def signed(number: int) -> int:
    return int.from_bytes((number % 2**32).to_bytes(4), signed=True)


def widened(number: int) -> tuple[Long, Long]:
    """The 64-bit forms of a 32-bit argument: zero-extended and sign-extended."""
    return Long(number % 2**32), Long(signed(number))


LIBVIRT_ENUMERATIONS = (
    enumeration("remote_auth_type", REMOTE_AUTH_NONE=0, REMOTE_AUTH_SASL=1, REMOTE_AUTH_POLKIT=2),
    enumeration("virNetMessageType", VIR_NET_CALL=0, VIR_NET_CALL_WITH_FDS=4),
    enumeration("virNetMessageStatus", VIR_NET_OK=0, VIR_NET_ERROR=1, VIR_NET_CONTINUE=2),
)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (("auth", 2, 0), "polkit"),
        (("auth", 2, 1), "polkit:2"),
        (("auth", 3, 0), "unknown:3"),
        (("type", 0, 0), "call"),
        (("type", 4, 1), "call_with_fds:4"),
        (("type", 1, 0), "unknown:1"),
        (("type", -1, 0), "unknown:-1"),
        (("type", 2**32 - 1, 1), "unknown:-1"),
        (("status", 2, 0), "continue"),
        (("status", 7, 1), "unknown:7"),
        (("program", 0x20008086, 0), "remote"),
        (("program", 0x20008086, 1), "remote:536903814"),
        (("program", 0x87539319, 1), "log_manager:2270401305"),
        (("program", -2024565991, 1), "log_manager:2270401305"),
        (("program", 2**64 - 2024565991, 0), "log_manager"),
        (("program", 5, 0), "unknown:5"),
        (("program", 2**32 - 1, 0), "unknown:4294967295"),
        (("program", -1, 0), "unknown:4294967295"),
        (("procedure", 0x20008086, 1, 66, 0), "p_66"),
        (("procedure", 0x20008086, 1, 66, 1), "p_66:66"),
        (("procedure", 0x20008086, 1, 67, 0), "unknown:67"),
        (("procedure", 0x20008086, 1, 0, 1), "unknown:0"),
        (("procedure", 0x20008086, 1, 2**32 - 1, 0), "unknown:-1"),
        (("procedure", 0x20008086, 2, 66, 0), "unknown:66"),
        (("procedure", -2024565991, 1, 1, 0), "p_1"),
        (("procedure", 4, 1, 66, 0), "unknown:66"),
    ],
)
def test_function_results(call: tuple[str, *tuple[int, ...]], name: str) -> None:
    made = tapset(
        schema(
            program("remote", 0x20008086, 1, 1, 2, 66),
            program("log_manager", 0x87539319, 1, 1, 4),
            types=LIBVIRT_ENUMERATIONS,
        )
    )
    function, *arguments = call
    assert made[f"libvirt_rpc_{function}_name"](*map(Long, arguments)) == name


def test_generates_only_functions_with_data() -> None:
    assert tapset(schema()) == {}
    assert set(tapset(schema(types=LIBVIRT_ENUMERATIONS[2:]))) == {"libvirt_rpc_status_name"}
    assert set(tapset(schema(program("ping", 1, 1, 1)))) == {
        "libvirt_rpc_program_name",
        "libvirt_rpc_procedure_name",
    }


def test_a_type_of_the_same_name_that_is_no_enumeration_is_left_alone() -> None:
    assert tapset(schema(types=(TypeDefinition("virNetMessageType", Boolean(), "", 4, 4, 0),))) == {}


@pytest.mark.parametrize("release", ["0.9.7", "10.0.0", "12.9.0"])
def test_lookup_takes_at_most_a_dozen_comparisons(release: str) -> None:
    definitions = load_release(release)
    made = tapset(definitions)
    sizes = {p.number: p.procedures[-1].number for module in definitions.modules for p in module.programs}
    assert sizes[0x20008086] > 200
    for number, last in (*sizes.items(), (99, 0)):
        for proc in range(-2, last + 3):
            Long.comparisons = 0
            made["libvirt_rpc_procedure_name"](Long(number), Long(1), Long(proc), 0)
            assert Long.comparisons <= 12


def test_output_matches_golden_file(root: Path) -> None:
    """Numbers with gaps, a negative one and the largest, a program number above 2^31."""
    folder = root / "tests" / "golden" / "systemtap"
    (artefact,) = generate(load_schema([folder / "gaps.x"]))
    assert artefact.text == (folder / artefact.path).read_text()


words = (
    st.integers(0, 2**32 - 1)
    | st.integers(0, 5)
    | st.integers(2**31 - 3, 2**31 + 3)
    | st.integers(2**32 - 3, 2**32 - 1)
)
procedures = st.sets(st.integers(-(2**31), 2**31 - 1) | st.integers(0, 40), max_size=30)
programs = st.dictionaries(st.tuples(words, words), procedures, max_size=5)


@given(programs, st.booleans())
def test_looks_up_every_number_and_its_neighbours(
    table: dict[tuple[int, int], set[int]], verbose: bool
) -> None:
    named = {number: f"prog_{number}" for number, _ in table}
    made = tapset(schema(*(program(named[n], n, v, *procs) for (n, v), procs in table.items())))
    for (number, version), procs in table.items():
        shown = f":{number}" if verbose else ""
        for prog in widened(number):
            assert made["libvirt_rpc_program_name"](prog, verbose) == named[number] + shown
        for proc in {p + d for p in procs for d in (-1, 0, 1)} | {0, -(2**31), 2**31 - 1}:
            if signed(proc) in procs:
                name = f"p_{signed(proc)}".replace("-", "m") + (f":{signed(proc)}" if verbose else "")
            else:
                name = f"unknown:{signed(proc)}"
            for prog, vers, asked in zip(*map(widened, (number, version, proc)), strict=True):
                Long.comparisons = 0
                assert made["libvirt_rpc_procedure_name"](prog, vers, asked, verbose) == name
                assert Long.comparisons <= 2 * len(table) + ceil(log2(2 * len(procs) + 1))
