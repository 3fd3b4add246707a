"""Where an argument of a probe is on x86-64, as an expression of bpftrace."""

from __future__ import annotations

import re
from typing import Final

#: `8@%rbx`, `-4@$1`, `8@128(%rbx)`, `4@8(%rax,%rcx,4)`; a negative size is a signed number's.
_OPERAND: Final = re.compile(
    r"(?P<sign>-?)(?P<size>[1248])@"
    r"(?:\$(?P<constant>-?\d+)"
    r"|%(?P<register>\w+)"
    r"|(?P<offset>-?\d*)\(%(?P<base>\w+)(?:,%(?P<index>\w+)(?:,(?P<scale>[1248]))?)?\))"
)
#: Names of registers and of their lower parts → bpftrace's name.
_REGISTERS: Final = {
    f"{prefix}{name}": name
    for name in ("ax", "bx", "cx", "dx", "si", "di", "bp", "sp")
    for prefix in ("", "e", "r")
} | {f"r{number}{part}": f"r{number}" for number in range(8, 16) for part in ("", "d", "w", "b")}
_BYTES: Final = {
    "al": "ax",
    "bl": "bx",
    "cl": "cx",
    "dl": "dx",
    "sil": "si",
    "dil": "di",
    "bpl": "bp",
    "spl": "sp",
}


def expression(operand: str) -> str | None:
    """What bpftrace reads the operand with; None for one that it cannot read (a variable's address)."""
    match = _OPERAND.fullmatch(operand)
    if match is None:
        return None
    if match["constant"]:
        return match["constant"]
    type_ = f"{'' if match['sign'] else 'u'}int{int(match['size']) * 8}"
    if match["register"]:
        register = _register(match["register"])
        return register if register is None or type_ == "uint64" else f"({type_}){register}"
    terms = [_register(match["base"])]
    if match["index"]:
        index = _register(match["index"])
        terms.append(index and f"{index} * {match['scale'] or 1}")
    if None in terms:
        return None
    offset = match["offset"] or "0"
    sign = "-" if offset.startswith("-") else "+"
    address = " + ".join(term for term in terms if term)
    return f"*({type_} *)uptr({address} {sign} {offset.lstrip('-')})"


def _register(name: str) -> str | None:
    known = _REGISTERS.get(name) or _BYTES.get(name)
    return known and f'reg("{known}")'
