"""libvirt's conventions: a program is a constant and an enum, and names tie types to procedures.

    const REMOTE_PROGRAM = 0x20008086;
    const REMOTE_PROTOCOL_VERSION = 1;
    enum remote_procedure { REMOTE_PROC_CONNECT_OPEN = 1, … };
    struct remote_connect_open_args { … };

Names of procedures and types are compared without case and underscores, since the lock, log and monitor
protocols write `virLockSpaceProtocolRegisterArgs`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

from libvirt_proto.codec.annotations import Annotations
from libvirt_proto.codec.types import Named

from .constants import Numbers
from .errors import Problem
from .model import ConstDef, EnumBody, EnumMember
from .names import FileNames, TypeEntry
from .programs import repeated_numbers
from .rules import Rule
from .schema import Procedure, Program
from .source import Span

Dialect = Literal["auto", "libvirt", "rfc"]

_PROGRAM = "_PROGRAM"
_VERSIONS = ("_PROTOCOL_VERSION", "_PROGRAM_VERSION")
_PART = re.compile(r"(?:_(args|ret|msg)|(Args|Ret|Msg))\Z")
_PROC = "PROC_"
_HIGHEST = 2**32 - 1


def libvirt_programs(
    file: FileNames, numbers: Numbers, dialect: Dialect
) -> tuple[list[tuple[Program, Span]], list[Problem]]:
    """Return the programs that a file defines by libvirt's conventions, each with the place of its constant.

    `auto` considers only files with both a program constant and a procedure enum; `libvirt` also reports
    a file with only one of the two.
    """
    constants = [constant for constant in file.constants if constant.name.endswith(_PROGRAM)]
    enums = [entry for entry in file.types.values() if _is_procedure_enum(entry)]
    if dialect == "rfc" or not (constants or enums) or (dialect == "auto" and not (constants and enums)):
        return [], []
    reader = _Reader(file, numbers)
    programs = [
        (program, constant.span)
        for constant, enum in reader.pairs(constants, enums)
        if (program := reader.program(constant, enum)) is not None
    ]
    reader.report_unclaimed()
    return programs, reader.problems


def short_program(name: str) -> str:
    """Return the tapset's name of a program: `log_manager` for VIR_LOG_MANAGER_PROTOCOL_PROGRAM."""
    name = name.removesuffix(_PROGRAM).removesuffix("_PROTOCOL")
    return name.removeprefix("VIR_").lower()


def short_procedure(name: str) -> str:
    """Return the tapset's name of a procedure: `auth_list` for REMOTE_PROC_AUTH_LIST."""
    return name.partition(_PROC)[2].lower() or name.lower()


def version_names(program: str) -> tuple[str, ...]:
    """Return the possible names of the constant that holds a program's version."""
    return tuple(program.removesuffix(_PROGRAM) + ending for ending in _VERSIONS)


def type_key(name: str) -> str:
    """Return the key by which names of procedures and types are compared."""
    return name.replace("_", "").lower()


def _is_procedure_enum(entry: TypeEntry) -> bool:
    return entry.kind == "enum" and entry.name.lower().endswith("procedure") and not entry.anonymous


class _Reader:
    def __init__(self, file: FileNames, numbers: Numbers) -> None:
        self.problems: list[Problem] = []
        self._file = file
        self._numbers = numbers
        self._candidates: dict[tuple[str, str], list[TypeEntry]] = defaultdict(list)
        for entry in file.types.values():
            if not entry.anonymous and (match := _PART.search(entry.name)):
                part = (match[1] or match[2]).lower()
                self._candidates[type_key(entry.name[: match.start()]), part].append(entry)
        self._claims: dict[str, EnumMember] = {}

    def pairs(
        self, constants: Sequence[ConstDef], enums: Sequence[TypeEntry]
    ) -> list[tuple[ConstDef, TypeEntry]]:
        """Pair each program constant with its enum: the only one, or the one whose members have the
        constant's prefix."""
        if len(constants) == 1 and len(enums) == 1:
            return [(constants[0], enums[0])]
        pairs = []
        left = dict.fromkeys(entry.name for entry in enums)
        for constant in constants:
            prefix = constant.name.removesuffix(_PROGRAM) + "_" + _PROC
            own = [entry for entry in enums if _members(entry)[0].name.startswith(prefix)]
            if len(own) == 1:
                pairs.append((constant, own[0]))
                left.pop(own[0].name, None)
            else:
                message = f"program {constant.name} has no procedure enum"
                hint = f"name the enum …procedure, and begin its members with {prefix}"
                self.problems.append(Problem(Rule.INCOMPLETE_PROGRAM, constant.span, message, hint))
        for name in left:
            span = self._file.types[name].span
            message = f"procedure enum {name} has no program"
            hint = "define a constant whose name ends in _PROGRAM"
            self.problems.append(Problem(Rule.INCOMPLETE_PROGRAM, span, message, hint))
        return pairs

    def program(self, constant: ConstDef, enum: TypeEntry) -> Program | None:
        number = self._number(constant)
        version = self._version(constant)
        numbered = [
            (value, member)
            for member in _members(enum)
            if (value := self._numbers.defined(self._file.module, member.name)) is not None
        ]
        self.problems += repeated_numbers(
            ((value, member.name, member.span) for value, member in numbered), enum.name
        )
        procedures = [self._procedure(value, member) for value, member in numbered]
        if number is None or version is None:
            return None
        procedures.sort(key=lambda procedure: procedure.number)
        return Program(
            constant.name, short_program(constant.name), number, version, tuple(procedures), constant.span
        )

    def report_unclaimed(self) -> None:
        """Report structs named as arguments, result or event whose procedure does not exist."""
        for entries in self._candidates.values():
            for entry in entries:
                if entry.kind == "struct" and entry.name not in self._claims:
                    message = f"no procedure uses the type {entry.name}"
                    hint = f"expected a procedure named {_wanted(entry.name)} (underscores may differ)"
                    self.problems.append(Problem(Rule.UNCLAIMED_TYPE, entry.span, message, hint))

    def _procedure(self, number: int, member: EnumMember) -> Procedure:
        prefix, _, name = member.name.partition(_PROC)
        key = type_key(prefix + name)
        args, ret, msg = (self._claim(member, key, part) for part in ("args", "ret", "msg"))
        annotations = member.annotations or Annotations()
        return Procedure(
            number, member.name, short_procedure(member.name), args, ret, msg, annotations, member.span
        )

    def _claim(self, member: EnumMember, key: str, part: str) -> Named | None:
        entries = self._candidates.get((key, part))
        if not entries:
            return None
        entry = entries[0]
        first = self._claims.setdefault(entry.name, member)
        if first.name != member.name:
            message = f"{first.name} and {member.name} both claim the type {entry.name}"
            related = (
                (first.span, f"{first.name} is defined here"),
                (entry.span, f"{entry.name} is defined here"),
            )
            self.problems.append(Problem(Rule.TYPE_CLAIMED_TWICE, member.span, message, related=related))
        return Named(entry.module, entry.name)

    def _number(self, constant: ConstDef) -> int | None:
        number = self._numbers.defined(self._file.module, constant.name)
        if number is None or 0 <= number <= _HIGHEST:
            return number
        message = f"expected {constant.name} between 0 and {_HIGHEST}"
        self.problems.append(Problem(Rule.OUT_OF_RANGE, constant.span, message))
        return None

    def _version(self, program: ConstDef) -> int | None:
        names = version_names(program.name)
        for constant in self._file.constants:
            if constant.name in names:
                return self._number(constant)
        message = f"program {program.name} has no version"
        hint = " or ".join(f"const {name} = 1;" for name in names)
        self.problems.append(Problem(Rule.INCOMPLETE_PROGRAM, program.span, message, f"add {hint}"))
        return None


def _members(entry: TypeEntry) -> tuple[EnumMember, ...]:
    assert isinstance(entry.body, EnumBody)
    return entry.body.members


def _wanted(type_: str) -> str:
    """Return the most obvious name of a procedure that would claim a type."""
    words = _PART.sub("", type_)
    if "_" not in words:
        words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", words)
    prefix, _, name = words.upper().partition("_")
    return f"{prefix}_{_PROC}{name}"
