"""SystemTap: names for the numbers in messages, like the tapset that libvirt ships.

`libvirt_functions.stp` defines, with libvirt's signatures,

    libvirt_rpc_auth_name(type, verbose)        from the enumeration remote_auth_type
    libvirt_rpc_type_name(type, verbose)        from virNetMessageType
    libvirt_rpc_status_name(status, verbose)    from virNetMessageStatus
    libvirt_rpc_program_name(program, verbose)
    libvirt_rpc_procedure_name(program, version, proc, verbose)

The file and its functions have these names for definitions unrelated to libvirt as well; functions without
matching definitions are omitted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from libvirt_proto.codec.types import Enumeration

from ..quoting import systemtap_string
from ..render import Artefact, banner, render
from ..schema import Program, Schema


@dataclass(frozen=True, slots=True)
class _Name:
    """A leaf of a search: the quoted name, None for numbers without one."""

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
    """A program in one version, and the search for its procedures. `comment` has its name, and its number as
    written in the .x."""

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

#: Enumeration, the prefix of its members, the function's name and parameter, the translated quantity.
_ENUMERATIONS = (
    ("remote_auth_type", "REMOTE_AUTH_", "auth", "type", "an authentication method"),
    ("virNetMessageType", "VIR_NET_", "type", "type", "a message's type"),
    ("virNetMessageStatus", "VIR_NET_", "status", "status", "a message's status"),
)


def generate(schema: Schema) -> tuple[Artefact, ...]:
    """Return the tapset of all programs of a Schema: one file, `libvirt_functions.stp`."""
    view = _Tapset(
        banner=banner(schema, "systemtap"),
        enumerations=tuple(_enumerations(schema)),
        programs={_signed(program.number): systemtap_string(program.short) for program in _programs(schema)},
        versions=tuple(_version(program) for program in _programs(schema)),
    )
    return (Artefact("libvirt_functions.stp", render("systemtap", "libvirt_functions.stp.j2", view)),)


def _enumerations(schema: Schema) -> Iterable[_NumberNames]:
    """Yield the functions for libvirt's enumerations that the Schema has."""
    definitions = {
        definition.name: definition.node for module in schema.modules for definition in module.types
    }
    for enumeration, prefix, function, parameter, what in _ENUMERATIONS:
        node = definitions.get(enumeration)
        if isinstance(node, Enumeration):
            names = {m.value: systemtap_string(m.name.removeprefix(prefix).lower()) for m in node.members}
            yield _NumberNames(function, parameter, what, names)


def _programs(schema: Schema) -> list[Program]:
    """Return all programs, those with most procedures first: they are compared in turn, so the cost of a
    lookup is a program's position plus the depth of its search."""
    programs = [program for module in schema.modules for program in module.programs]
    return sorted(programs, key=lambda program: (-len(program.procedures), program.number, program.version))


def _version(program: Program) -> _ProgramProcedures:
    names = {_signed(procedure.number): systemtap_string(procedure.short) for procedure in program.procedures}
    comment = f"{systemtap_string(program.short)}, {program.number:#010x}"
    return _ProgramProcedures(
        _signed(program.number), _signed(program.version), comment, _search(_ranges(names))
    )


def _ranges(names: Mapping[int, str]) -> list[tuple[int, str | None]]:
    """Return all 32-bit numbers as ranges in ascending order: the first number of each, and its name, None
    for numbers without one. A number with a name is a range of its own."""
    gaps = {number + 1: None for number in names if number < _LARGEST}
    return [(_SMALLEST, None), *sorted((gaps | dict(names)).items())]


def _search(ranges: Sequence[tuple[int, str | None]]) -> _Search:
    """Return a balanced tree that finds the range of a number in ⌈log₂ n⌉ comparisons for n ranges. No final
    test for equality is needed, since gaps are ranges as well."""
    if len(ranges) == 1:
        return _Name(ranges[0][1])
    middle = len(ranges) // 2
    return _Branch(ranges[middle][0], _search(ranges[:middle]), _search(ranges[middle:]))


def _signed(number: int) -> int:
    """Return the signed 32-bit integer with the bits of `number`. SystemTap counts in 64 bits, and only some
    of its probes sign-extend; the generated functions convert both to this form, because the BPF runtime of
    stap 4.8 crashes on literals of 2³¹ and more."""
    return (number & 0xFFFFFFFF ^ 0x80000000) - 0x80000000
