"""bpftrace expressions for the arguments of a probe on x86-64."""

from __future__ import annotations

from libvirt_proto.codec.operands import OperandError, parse_operand


def expression(operand: str) -> str | None:
    """Return the expression that reads an operand, None if there is none (for a variable's address)."""
    try:
        found = parse_operand(operand, "x86_64")
    except OperandError:
        return None
    if found.register is None:
        return str(found.constant)
    type_ = f"{'' if found.size < 0 else 'u'}int{abs(found.size) * 8}"
    register = f'reg("{found.register}")'
    if found.displacement is None:
        return register if type_ == "uint64" else f"({type_}){register}"
    address = f'{register} + reg("{found.scaled}") * {found.scale}' if found.scaled else register
    sign = "-" if found.displacement < 0 else "+"
    return f"*({type_} *)uptr({address} {sign} {abs(found.displacement)})"
