"""SystemTap: numbers of messages translated to names, as the tapset that libvirt ships does.

`libvirt_functions.stp` defines, with libvirt's signatures,

    libvirt_rpc_auth_name(type, verbose)        from the enumeration remote_auth_type
    libvirt_rpc_type_name(type, verbose)        from virNetMessageType
    libvirt_rpc_status_name(status, verbose)    from virNetMessageStatus
    libvirt_rpc_program_name(program, verbose)
    libvirt_rpc_procedure_name(program, version, proc, verbose)

The file and its functions have these names for definitions that have nothing to do with libvirt,
too; a function that the definitions have nothing for is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..quoting import systemtap_string
from ..render import Artefact, banner, render
from ..schema import Enumeration, Program, Schema


@dataclass(frozen=True, slots=True)
class _Name:
    """A leaf of a search: the quoted name, None for numbers that have none."""

    name: str | None


@dataclass(frozen=True, slots=True)
class _Branch:
    """A comparison: `less` holds the numbers below `limit`, `rest` the others."""

    limit: int
    less: _Search
    rest: _Search


_Search = _Name | _Branch


@dataclass(frozen=True, slots=True)
class _NumberNames:
    """A function that names the members of an enumeration."""

    function: str
    parameter: str
    what: str
    names: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class _ProgramProcedures:
    """A program in one version, and the search for its procedures. `comment` has its name and its
    number as the .x has it."""

    number: int
    version: int
    comment: str
    procedures: _Search


@dataclass(frozen=True, slots=True)
class _Tapset:
    """`programs` are the names of program numbers; `versions` has an entry per program and version."""

    banner: str
    enumerations: tuple[_NumberNames, ...]
    programs: Mapping[int, str]
    versions: tuple[_ProgramProcedures, ...]


_SMALLEST, _LARGEST = -(2**31), 2**31 - 1

#: Enumeration, the prefix of its members, the function's name and parameter, what it translates.
_ENUMERATIONS = (
    ("remote_auth_type", "REMOTE_AUTH_", "auth", "type", "an authentication method"),
    ("virNetMessageType", "VIR_NET_", "type", "type", "a message's type"),
    ("virNetMessageStatus", "VIR_NET_", "status", "status", "a message's status"),
)


def generate(schema: Schema) -> tuple[Artefact, ...]:
    """The tapset of all programs of a Schema: one file, `libvirt_functions.stp`."""
    view = _Tapset(
        banner=banner(schema, "systemtap"),
        enumerations=tuple(_enumerations(schema)),
        programs={_signed(program.number): systemtap_string(program.short) for program in _programs(schema)},
        versions=tuple(_version(program) for program in _programs(schema)),
    )
    return (Artefact("libvirt_functions.stp", render("systemtap", "libvirt_functions.stp.j2", view)),)


def _enumerations(schema: Schema) -> Iterable[_NumberNames]:
    """The functions for those of libvirt's enumerations that the Schema has."""
    definitions = {
        definition.name: definition.node for module in schema.modules for definition in module.types
    }
    for enumeration, prefix, function, parameter, what in _ENUMERATIONS:
        node = definitions.get(enumeration)
        if isinstance(node, Enumeration):
            names = {m.value: systemtap_string(m.name.removeprefix(prefix).lower()) for m in node.members}
            yield _NumberNames(function, parameter, what, names)


def _programs(schema: Schema) -> list[Program]:
    """All programs, those with most procedures first: they are compared one after the other, and a
    program's place in the row and the depth of its search add up."""
    programs = [program for module in schema.modules for program in module.programs]
    return sorted(programs, key=lambda program: (-len(program.procedures), program.number, program.version))


def _version(program: Program) -> _ProgramProcedures:
    names = {_signed(procedure.number): systemtap_string(procedure.short) for procedure in program.procedures}
    comment = f"{systemtap_string(program.short)}, {program.number:#010x}"
    return _ProgramProcedures(
        _signed(program.number), _signed(program.version), comment, _search(_ranges(names))
    )


def _ranges(names: Mapping[int, str]) -> list[tuple[int, str | None]]:
    """All 32-bit numbers as ranges in ascending order: the first number of each, and its name or None
    for numbers that have none. A number with a name is a range of its own."""
    gaps = {number + 1: None for number in names if number < _LARGEST}
    return [(_SMALLEST, None), *sorted((gaps | dict(names)).items())]


def _search(ranges: Sequence[tuple[int, str | None]]) -> _Search:
    """A balanced tree that finds the range of a number: of n ranges in ⌈log₂ n⌉ comparisons, which
    need no test for equality at the end, since gaps are ranges as well."""
    if len(ranges) == 1:
        return _Name(ranges[0][1])
    middle = len(ranges) // 2
    return _Branch(ranges[middle][0], _search(ranges[:middle]), _search(ranges[middle:]))


def _signed(number: int) -> int:
    """The signed 32-bit integer with the bits of `number`. SystemTap counts in 64 bits and its probes
    extend the sign or do not; the generated functions bring both to this form, because the BPF
    runtime of stap 4.8 crashes on literals of 2³¹ and more."""
    return (number & 0xFFFFFFFF ^ 0x80000000) - 0x80000000
