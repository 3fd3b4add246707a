"""The operands of a probe's arguments, as the assembler was given them, and as tracefs fetches them.

`8@%rbx` is a value of 8 bytes in a register, `-4@128(%rbx)` a signed one of 4 bytes in memory, `8@$1` a
constant; AArch64 writes `8@x0`, `8@[sp, 16]` and `8@1`. Sources: <sys/sdt.h>, the kernel's uprobetracer
document, and regs_query_register_offset() of both processors for the names of registers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

#: An AArch64 operand has blanks within its brackets.
_OPERAND: Final = re.compile(r"(?:(?P<size>-?[1248])@)?(?P<text>\[[^\]\s]+(?:,\s*[^\],\s]+)*\]!?|[^\s\[\]]+)")
_NUMBER: Final = r"-?(?:0x[0-9a-f]{1,16}|[0-9]{1,20})"

_X86_CONSTANT: Final = re.compile(rf"\$({_NUMBER})")
_X86_REGISTER: Final = re.compile(r"%([a-z][a-z0-9]{1,4})")
_X86_MEMORY: Final = re.compile(rf"({_NUMBER})?\(%([a-z][a-z0-9]{{1,2}})\)")
_ARM_CONSTANT: Final = re.compile(rf"#?({_NUMBER})")
_ARM_REGISTER: Final = re.compile(r"([a-z][a-z0-9]{1,2})")
_ARM_MEMORY: Final = re.compile(rf"\[([a-z][a-z0-9]{{1,2}})(?:,\s*#?({_NUMBER}))?\]")


class OperandError(ValueError):
    """An operand that tracefs has no fetch argument for."""


class Operand(NamedTuple):
    """A value of so many bytes (below zero: signed): a constant, or in `register` (the kernel's name of it),
    or in memory at `displacement` from what the register holds."""

    size: int
    register: str | None = None
    displacement: int | None = None
    constant: int = 0

    @property
    def place(self) -> str:
        """As tracefs names it: `%bx`, `+128(%bx)`, `\\1`."""
        if self.register is None:
            return f"\\{self.constant}"
        if self.displacement is None:
            return f"%{self.register}"
        return f"{self.displacement:+d}(%{self.register})"

    @property
    def fetch(self) -> str:
        """The fetch argument of its value: `%bx:u64`."""
        return f"{self.place}:{'s' if self.size < 0 else 'u'}{abs(self.size) * 8}"

    @property
    def string(self) -> str:
        """The fetch argument of the text that it points to."""
        return f"+0({self.place}):ustring" if self.register else self.fetch

    def array(self, at: int, count: int) -> str:
        """The fetch argument of `count` words of 64 bits, from `at` bytes behind what the 8 bytes before
        it in memory point to. The operand must be in memory."""
        assert self.displacement is not None
        return f"+{at}({self.displacement - 8:+d}(%{self.register})):x64[{count}]"

    def words(self, at: int, count: int) -> str:
        """The fetch argument of `count` words of 64 bits, from `at` bytes behind what it points to. The
        operand must be no constant."""
        assert self.register is not None
        return f"+{at}({self.place}):x64[{count}]"


def operands(arguments: str, machine: str) -> tuple[Operand, ...]:
    """The operands of a note. Raises OperandError for one that cannot be translated."""
    found, at = [], 0
    while at < len(arguments):
        match = _OPERAND.match(arguments, at)
        if match is None:
            raise OperandError(f"its arguments end in something unknown, {arguments[at:][:40]!r}")
        found.append(_operand(match["text"], int(match["size"] or 8), machine))
        at = match.end()
        if arguments[at : at + 1] not in ("", " "):
            raise OperandError(f"its arguments end in something unknown, {arguments[at:][:40]!r}")
        at += 1
    return tuple(found)


def _operand(text: str, size: int, machine: str) -> Operand:
    constant, register, memory = (
        (_X86_CONSTANT, _X86_REGISTER, _X86_MEMORY)
        if machine == "x86_64"
        else (_ARM_CONSTANT, _ARM_REGISTER, _ARM_MEMORY)
    )
    registers = _REGISTERS[machine]
    if match := constant.fullmatch(text):
        return Operand(size, constant=_number(match[1]))
    if (match := register.fullmatch(text)) and match[1] in registers:
        name, width = registers[match[1]]
        if abs(size) <= width:
            return Operand(size, name) if name else Operand(size)
    if match := memory.fullmatch(text):
        base, displacement = match[1], match[2]
        if machine == "x86_64":
            base, displacement = displacement, base
        name, width = registers.get(base, ("", 0))
        if name and width == 8:
            return Operand(size, name, _number(displacement or "0"))
    raise OperandError(f"its argument {text[:60]!r} is of a form that tracefs has no word for")


def _number(text: str) -> int:
    number = int(text, 0) if "0x" in text else int(text)
    if not -(1 << 63) <= number < 1 << 64:
        raise OperandError(f"its argument has a number that is too large ({text})")
    return number


def _x86_registers() -> dict[str, tuple[str, int]]:
    found: dict[str, tuple[str, int]] = {}
    for name in ("ax", "bx", "cx", "dx", "si", "di", "bp", "sp"):
        found |= {"r" + name: (name, 8), "e" + name: (name, 4), name: (name, 2)}
        found[(name[0] if name[1] == "x" else name) + "l"] = (name, 1)
    for number in range(8, 16):
        name = f"r{number}"
        found |= {name + suffix: (name, width) for suffix, width in (("", 8), ("d", 4), ("w", 2), ("b", 1))}
    return found


def _arm_registers() -> dict[str, tuple[str, int]]:
    found = {"sp": ("sp", 8), "xzr": ("", 8), "wzr": ("", 4)}
    for number in range(31):
        name = "lr" if number == 30 else f"x{number}"
        found |= {f"x{number}": (name, 8), f"w{number}": (name, 4)}
    return found


#: By the assembler's name: the kernel's (empty: it is always zero), and its width in bytes.
_REGISTERS: Final[Mapping[str, Mapping[str, tuple[str, int]]]] = {
    "x86_64": _x86_registers(),
    "aarch64": _arm_registers(),
}
