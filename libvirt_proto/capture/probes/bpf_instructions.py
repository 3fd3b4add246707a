"""An assembler for the kernel's BPF machine: instructions by name, and jumps to labels.

R0 holds results, R1 to R5 arguments of calls, which end with any call; R6 to R9 stay, and R10 is the end of
the stack of 512 bytes. Source: RFC 9669 (BPF instruction set), the kernel's linux/bpf.h.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import Final

_INSTRUCTION: Final = Struct("<BBhi")

R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10 = range(11)

#: Instruction classes, and the bit that selects a register as the second operand (RFC 9669, section 3).
_LD, _LDX, _ST, _STX, _JMP, _ALU64 = 0x00, 0x01, 0x02, 0x03, 0x05, 0x07
_REGISTER: Final = 0x08
#: Mode and size of loads and stores.
_IMM, _MEM, _ATOMIC = 0x00, 0x60, 0xC0
_SIZES: Final = {1: 0x10, 2: 0x08, 4: 0x00, 8: 0x18}
#: Arithmetic.
_ADD, _LSH, _RSH, _MOV, _ARSH = 0x00, 0x60, 0x70, 0xB0, 0xC0
#: Jumps.
_JA, _CALL, _EXIT = 0x00, 0x80, 0x90
#: Kinds of 64-bit constants: the descriptor of a map, and the address of the first value of an array.
_MAP, _VALUE = 1, 2


class Jump(IntEnum):
    """Conditions of jumps, of unsigned numbers."""

    EQUAL = 0x10
    GREATER = 0x20
    NOT_EQUAL = 0x50
    NOT_GREATER = 0xB0


class Helper(IntEnum):
    """Functions of the kernel that a program may call, by number."""

    GET_CURRENT_PID_TGID = 14
    GET_CURRENT_COMM = 16
    PROBE_READ_USER = 112
    PROBE_READ_USER_STR = 114
    KTIME_GET_BOOT_NS = 125
    RINGBUF_RESERVE = 131
    RINGBUF_SUBMIT = 132
    RINGBUF_DISCARD = 133


class Assembler:
    """Collects the instructions of one program."""

    def __init__(self) -> None:
        self._instructions: list[tuple[int, int, int, int, int]] = []
        self._labels: dict[str, int] = {}
        self._jumps: list[tuple[int, str]] = []

    def code(self) -> bytes:
        """Return the program, with the distances of its jumps."""
        distances = {at: self._labels[label] - at - 1 for at, label in self._jumps}
        return b"".join(
            _INSTRUCTION.pack(code, source << 4 | target, distances.get(at, offset), number)
            for at, (code, target, source, offset, number) in enumerate(self._instructions)
        )

    def label(self, name: str) -> None:
        """Name the place of the next instruction."""
        assert name not in self._labels, name
        self._labels[name] = len(self._instructions)

    def move(self, target: int, source: int) -> None:
        """Copy a register."""
        self._add(_ALU64 | _MOV | _REGISTER, target, source)

    def set(self, target: int, number: int) -> None:
        """Set a register to a constant of 64 bits, signed or unsigned."""
        if -(1 << 31) <= number < 1 << 31:
            self._add(_ALU64 | _MOV, target, number=number)
        else:
            self._constant(target, 0, number & 0xFFFFFFFF, number >> 32 & 0xFFFFFFFF)

    def map(self, target: int, descriptor: int) -> None:
        """Set a register to a map."""
        self._constant(target, _MAP, descriptor, 0)

    def value(self, target: int, descriptor: int) -> None:
        """Set a register to the address of the first value of an array map."""
        self._constant(target, _VALUE, descriptor, 0)

    def add(self, target: int, number: int) -> None:
        """Add a constant of 32 bits, signed."""
        self._add(_ALU64 | _ADD, target, number=number)

    def add_register(self, target: int, source: int) -> None:
        """Add a register."""
        self._add(_ALU64 | _ADD | _REGISTER, target, source)

    def right(self, target: int, bits: int) -> None:
        """Shift right, filling with zeros."""
        self._add(_ALU64 | _RSH, target, number=bits)

    def extend(self, target: int, size: int, *, signed: bool) -> None:
        """Extend the number of `size` bytes in a register to 64 bits."""
        if size < 8:
            self._add(_ALU64 | _LSH, target, number=64 - 8 * size)
            self._add(_ALU64 | (_ARSH if signed else _RSH), target, number=64 - 8 * size)

    def load(self, target: int, base: int, offset: int) -> None:
        """Load 8 bytes at `base` + `offset`."""
        self._add(_LDX | _MEM | _SIZES[8], target, base, offset)

    def store(self, base: int, offset: int, source: int, size: int = 8) -> None:
        """Store the low `size` bytes of a register at `base` + `offset`."""
        self._add(_STX | _MEM | _SIZES[size], base, source, offset)

    def store_number(self, base: int, offset: int, number: int, size: int = 8) -> None:
        """Store a constant at `base` + `offset`."""
        self._add(_ST | _MEM | _SIZES[size], base, 0, offset, number)

    def add_atomically(self, base: int, source: int) -> None:
        """Add a register to the 8 bytes at `base`."""
        self._add(_STX | _ATOMIC | _SIZES[8], base, source)

    def jump(self, label: str) -> None:
        """Continue at a label."""
        self._jump(_JMP | _JA, label)

    def jump_if(self, register: int, condition: Jump, number: int, label: str) -> None:
        """Continue at a label if a register compares so with a constant of 31 bits."""
        self._jump(_JMP | condition, label, register, number=number)

    def call(self, helper: Helper) -> None:
        """Call a function of the kernel."""
        self._add(_JMP | _CALL, number=helper)

    def exit(self) -> None:
        """Return R0."""
        self._add(_JMP | _EXIT)

    def _constant(self, target: int, kind: int, low: int, high: int) -> None:
        for code, register, source, word in ((_LD | _IMM | _SIZES[8], target, kind, low), (0, 0, 0, high)):
            self._add(code, register, source, number=word - (word >> 31 << 32))

    def _jump(self, code: int, label: str, target: int = 0, source: int = 0, number: int = 0) -> None:
        self._jumps.append((len(self._instructions), label))
        self._add(code, target, source, number=number)

    def _add(self, code: int, target: int = 0, source: int = 0, offset: int = 0, number: int = 0) -> None:
        self._instructions.append((code, target, source, offset, number))
