"""Operands of a probe's arguments, as the assembler wrote them into the note.

`8@%rbx` is a value of 8 bytes in a register, `-4@128(%rbx)` a signed value of 4 bytes in memory, `8@$1` a
constant; AArch64 has `8@x0`, `8@[sp, 16]` and `8@1`. Parsing takes time linear in the length of the text.

Sources: <sys/sdt.h>; GNU assembler, "Machine Dependent Features"; for the names of registers, the kernel's
regs_query_register_offset() of both processors.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Final, NamedTuple

#: Characters of all arguments of a probe, of which <sys/sdt.h> allows 12. The longest text seen has 129 (in
#: PostgreSQL), libvirt's longest 60.
MAX_ARGUMENTS: Final = 1024

#: The beginning of an operand: its size, negative if signed, `f` for a floating-point number.
_SIZE: Final = re.compile(r"(?<!\S)-?[0-9]{1,2}f?@")
_OPERAND: Final = re.compile(r"(?:(-?[1248])@)?([^@\s].*)")

_NUMBER: Final = r"-?(?:0x[0-9a-f]{1,16}|[0-9]{1,20})"
_X86_CONSTANT: Final = re.compile(rf"\$({_NUMBER})")
_X86_REGISTER: Final = re.compile(r"%([a-z][a-z0-9]{1,4})")
_X86_MEMORY: Final = re.compile(
    rf"(?P<displacement>{_NUMBER})?\(%(?P<base>[a-z][a-z0-9]{{1,2}})"
    r"(?:,%(?P<index>[a-z][a-z0-9]{1,2})(?:,(?P<scale>[1248]))?)?\)"
)
_ARM_CONSTANT: Final = re.compile(rf"#?({_NUMBER})")
_ARM_REGISTER: Final = re.compile(r"([a-z][a-z0-9]{1,2})")
_ARM_MEMORY: Final = re.compile(rf"\[(?P<base>[a-z][a-z0-9]{{1,2}})(?:, ?#?(?P<displacement>{_NUMBER}))?\]")


class OperandError(ValueError):
    """An operand of an unsupported form."""


class Operand(NamedTuple):
    """A value of `size` bytes, negative if signed: in `register`; or in memory at `displacement` from what
    the register holds, plus `scale` times what `scaled` holds; or, without a register, `constant`.

    Registers have the kernel's names (`bx`, `r8`, `x0`).
    """

    size: int
    register: str | None = None
    displacement: int | None = None
    constant: int = 0
    scaled: str | None = None
    scale: int = 1


def split_operands(arguments: str) -> tuple[str, ...]:
    """Split the arguments of a probe. An operand reaches to the size of the next one, so it may hold blanks;
    arguments without any sizes are separated by blanks."""
    starts = [match.start() for match in _SIZE.finditer(arguments)]
    if not starts:
        return tuple(arguments.split())
    edges = [0, *starts, len(arguments)] if starts[0] else [*starts, len(arguments)]
    pieces = (arguments[start:end].strip() for start, end in pairwise(edges))
    return tuple(piece for piece in pieces if piece)


def parse_operand(text: str, machine: str) -> Operand:
    """Parse an operand for `x86_64` or `aarch64`; 8 bytes if it has no size. Raises OperandError."""
    match = _OPERAND.fullmatch(text) if len(text) <= MAX_ARGUMENTS else None
    if match is None:
        raise OperandError(f"unsupported operand {text[:60]!r}")
    constant_form, register_form, memory_form, registers = _FORMS[machine]
    size, place = int(match[1] or 8), match[2]
    if match := constant_form.fullmatch(place):
        return Operand(size, constant=_number(match[1]))
    if (match := register_form.fullmatch(place)) and match[1] in registers:
        name, width = registers[match[1]]
        if abs(size) <= width:
            return Operand(size, name) if name else Operand(size)
    if match := memory_form.fullmatch(place):
        parts = match.groupdict()
        base, index = (_address(registers, parts.get(part)) for part in ("base", "index"))
        if base and (index or not parts.get("index")):
            displacement = _number(parts["displacement"] or "0")
            return Operand(size, base, displacement, scaled=index, scale=int(parts.get("scale") or 1))
    raise OperandError(f"unsupported operand {text[:60]!r}")


def _address(registers: Mapping[str, tuple[str, int]], name: str | None) -> str | None:
    """The kernel's name of a register that can hold an address."""
    known, width = registers.get(name or "", ("", 0))
    return known if known and width == 8 else None


def _number(text: str) -> int:
    number = int(text, 0) if "0x" in text else int(text)
    if not -(1 << 63) <= number < 1 << 64:
        raise OperandError(f"expected a number of 64 bits in an operand, got {text}")
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


#: By machine: the forms of a constant, a register and memory; and by the assembler's name of a register, the
#: kernel's (empty: always zero) and its bytes.
_FORMS: Final[
    Mapping[str, tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str], Mapping[str, tuple[str, int]]]]
] = {
    "x86_64": (_X86_CONSTANT, _X86_REGISTER, _X86_MEMORY, _x86_registers()),
    "aarch64": (_ARM_CONSTANT, _ARM_REGISTER, _ARM_MEMORY, _arm_registers()),
}
