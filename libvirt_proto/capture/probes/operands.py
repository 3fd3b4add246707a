"""Operands of probe arguments as tracefs fetch arguments. Source: the kernel's uprobetracer document."""

from __future__ import annotations

from ...codec.operands import MAX_ARGUMENTS, OperandError, parse_operand, split_operands
from ...codec.operands import Operand as ParsedOperand

__all__ = ["MAX_ARGUMENTS", "Operand", "OperandError", "operands"]


class Operand(ParsedOperand):
    """An operand that has a fetch argument."""

    __slots__ = ()

    @property
    def place(self) -> str:
        """The tracefs notation: `%bx`, `+128(%bx)`, `\\1`."""
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
        """Return the fetch argument of `count` 64-bit words, from `at` bytes after the target of the pointer
        in the 8 bytes before the operand. The operand must be in memory."""
        assert self.displacement is not None
        return f"+{at}({self.displacement - 8:+d}(%{self.register})):x64[{count}]"

    def words(self, at: int, count: int) -> str:
        """Return the fetch argument of `count` 64-bit words, from `at` bytes after the target of the operand.
        The operand must not be a constant."""
        assert self.register is not None
        return f"+{at}({self.place}):x64[{count}]"


def operands(arguments: str, machine: str) -> tuple[Operand, ...]:
    """Parse the operands of a note. Raises OperandError for one that cannot be translated."""
    if len(arguments) > MAX_ARGUMENTS:
        raise OperandError(
            f"expected at most {MAX_ARGUMENTS:,} characters of arguments, got {len(arguments):,}"
        )
    found = []
    for text in split_operands(arguments):
        operand = Operand._make(parse_operand(text, machine))
        if operand.scaled is not None:
            raise OperandError(f"unsupported operand {text[:60]!r}")
        found.append(operand)
    return tuple(found)
