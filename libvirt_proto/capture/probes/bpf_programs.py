"""The BPF programs of a trace, and the layouts of their records.

A program runs when a thread reaches a probe. It reserves room for a record in the ring buffer, fills it, and
submits it; without room it counts a lost event. Room has a constant size, so that the kernel can check each
access, and so there is one for each power of 2. A record begins with

    id, of 16 bits · 16 bits of zeros · bytes in use, of 32 bits · nanoseconds since boot · thread · process
    · name of the thread, 16 bytes · a number of 64 bits for each argument

and then has the text of each text argument, or the bytes of the message or line: as many as it has, and none
of the memory after it. All supported processors are little-endian. Sources: the kernel's bpf_helpers, and the
`pt_regs` of its processors.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import Final

from ...rpc.wire import MAX_FRAME
from ..objects import MESSAGES
from .bpf_instructions import R0, R1, R2, R3, R6, R7, R8, R9, R10, Assembler, Helper, Jump
from .formats import FormatError, Value, Values
from .operands import Operand
from .plan import LINE_LIMIT, Probe, UprobeEvent
from .provider import Argument

_X86_MIDDLE: Final = ("bp", "bx", "r11", "r10", "r9", "r8", "ax", "cx", "dx", "si", "di")
#: Offsets of registers in the kernel's `pt_regs`, by machine.
_REGISTERS: Final = {
    "x86_64": {
        **{f"r{number}": 8 * (15 - number) for number in (15, 14, 13, 12)},
        **dict(zip(_X86_MIDDLE, range(32, 120, 8), strict=True)),
        "sp": 152,
    },
    "aarch64": {**{f"x{number}": 8 * number for number in range(30)}, "lr": 240, "sp": 248},
}

_HEAD: Final = Struct("<HHIQII16s")
_SIZE_AT, _TIME_AT, _TASK_AT, _COMM_AT = 4, 8, 16, 24
_COMM: Final = 16
#: Bytes for a text argument, with its end. Longer text is truncated.
TEXT: Final = 4096
#: Data of the smallest reservation.
_LEAST: Final = 128
#: No program that waits for records needs to be woken: they are read at intervals.
_NO_WAKEUP: Final = 1
#: Places on the stack: an argument that is read from memory, and the process and thread.
_SCRATCH, _TASK = -8, -16


class RecordLayout:
    """The layout of the records of an event. Its records begin with `id`."""

    def __init__(self, number: int, arguments: tuple[tuple[str, str], ...], data: str | None = None) -> None:
        """`arguments` are names and forms: `text`, or a code of `struct`. `data` is the field of the bytes
        after them."""
        self.id: Final = number
        self._names = [name for name, _ in arguments]
        self._texts = [name for name, form in arguments if form == "text"]
        self._data = data
        self._numbers = Struct("<" + "".join("q" if form == "text" else form for _, form in arguments))

    def values(self, record: bytes) -> Values:
        """Return the fields of a record, by the names of the kernel's format files. Raises FormatError if it
        is too short."""
        if len(record) < _HEAD.size + self._numbers.size:
            raise FormatError("it is truncated")
        *_, thread, process, comm = _HEAD.unpack_from(record)
        values: dict[str, Value] = {"common_pid": thread, "process": process, "comm": comm}
        values |= zip(self._names, self._numbers.unpack_from(record, _HEAD.size), strict=True)
        at = _HEAD.size + self._numbers.size
        for name in self._texts:
            size = values[name]
            assert isinstance(size, int)
            values[name] = record[at : at + max(size - 1, 0)]  # an error is negative
            at += TEXT
        if self._data is not None:
            values[self._data] = record[at:]
        return Values(values)


def record_time(record: bytes) -> int:
    """Return the nanoseconds since boot."""
    return int.from_bytes(record[_TIME_AT : _TIME_AT + 8], "little")


def record_size(head: bytes) -> int:
    """Return the bytes in use of a record, from its first 8 bytes."""
    return int.from_bytes(head[_SIZE_AT:], "little")


class ProgramWriter:
    """Writes the programs of a trace. `ring` and `counter` are descriptors of maps; with `pids`, events of
    other processes are left out."""

    def __init__(self, machine: str, ring: int, counter: int, pids: tuple[int, ...]) -> None:
        self._registers = _REGISTERS[machine]
        self._ring = ring
        self._counter = counter
        self._pids = pids

    def probe(self, number: int, probe: Probe, event: UprobeEvent) -> tuple[bytes, RecordLayout]:
        """Return the program of an event, and the layout of its records, which begin with `number`."""
        known = probe.known
        forms = tuple((argument.name, _form(argument, operand)) for argument, operand in known)
        data = "p0" if event.arrays else None
        layout = RecordLayout(number, forms, data)
        program = self._begin()
        if data is None:
            size = _HEAD.size + 8 * len(known) + TEXT * sum(form == "text" for _, form in forms)
            if event.kind in MESSAGES:
                self._length(program, probe)
            self._reserve(program, size)
            self._head(program, number, size)
            self._arguments(program, known)
            self._end(program)
        elif probe.line is not None:
            self._line(program, number, probe.line, known)
        else:
            self._message(program, number, probe, known, event.limit)
        return program.code(), layout

    def task(self, number: int, *, group_dead: bool = False) -> tuple[bytes, RecordLayout]:
        """Return the program of a kernel's event of the current thread, and the layout of its records.
        `group_dead` stores the event's second argument under this name."""
        fields = (("group_dead", "Q"),) if group_dead else ()
        size = _HEAD.size + 8 * len(fields)
        program = self._begin()
        self._reserve(program, size)
        self._head(program, number, size)
        if group_dead:
            program.load(R1, R6, 8)
            program.store(R7, _HEAD.size, R1)
        self._end(program)
        return program.code(), RecordLayout(number, fields)

    def _begin(self) -> Assembler:
        """Keep the context in R6, and process and thread on the stack; leave out other processes."""
        program = Assembler()
        program.move(R6, R1)
        program.call(Helper.GET_CURRENT_PID_TGID)
        program.store(R10, _TASK, R0)
        if self._pids:
            program.right(R0, 32)
            for pid in self._pids:
                program.jump_if(R0, Jump.EQUAL, pid, "selected")
            program.jump("end")
            program.label("selected")
        return program

    def _end(self, program: Assembler) -> None:
        """Submit the record in R7; count a lost event at `lost`, and return 0 at `end`."""
        program.move(R1, R7)
        program.set(R2, _NO_WAKEUP)
        program.call(Helper.RINGBUF_SUBMIT)
        program.jump("end")
        program.label("lost")
        program.value(R1, self._counter)
        program.set(R2, 1)
        program.add_atomically(R1, R2)
        program.label("end")
        program.set(R0, 0)
        program.exit()

    def _reserve(self, program: Assembler, size: int) -> None:
        """Reserve `size` bytes, in R7."""
        program.map(R1, self._ring)
        program.set(R2, size)
        program.set(R3, 0)
        program.call(Helper.RINGBUF_RESERVE)
        program.jump_if(R0, Jump.EQUAL, 0, "lost")
        program.move(R7, R0)

    def _head(self, program: Assembler, number: int, size: int | None) -> None:
        """Write the beginning of a record of `size` bytes; None leaves the size to the caller."""
        program.store_number(R7, 0, number, 4)
        if size is not None:
            program.store_number(R7, _SIZE_AT, size, 4)
        program.call(Helper.KTIME_GET_BOOT_NS)
        program.store(R7, _TIME_AT, R0)
        program.load(R1, R10, _TASK)
        program.store(R7, _TASK_AT, R1)
        program.move(R1, R7)
        program.add(R1, _COMM_AT)
        program.set(R2, _COMM)
        program.call(Helper.GET_CURRENT_COMM)

    def _arguments(
        self, program: Assembler, known: list[tuple[Argument, Operand]], ready: Operand | None = None
    ) -> None:
        """Write the arguments, and their text; the value of the operand `ready` is in R8."""
        text_at = _HEAD.size + 8 * len(known)
        for at, (argument, operand) in enumerate(known):
            if _form(argument, operand) == "text":
                self._value(program, R3, operand)
                program.move(R1, R7)
                program.add(R1, text_at)
                program.set(R2, TEXT)
                program.call(Helper.PROBE_READ_USER_STR)
                program.store(R7, _HEAD.size + 8 * at, R0)
                text_at += TEXT
            elif operand is ready:
                program.store(R7, _HEAD.size + 8 * at, R8)
            else:
                self._value(program, R1, operand)
                program.store(R7, _HEAD.size + 8 * at, R1)

    def _value(self, program: Assembler, target: int, operand: Operand) -> None:
        """Set a register to the value of an operand; 0 if its memory cannot be read."""
        if operand.register is None:
            program.set(target, operand.constant)
        elif operand.displacement is None:
            program.load(target, R6, self._registers[operand.register])
        else:
            self._memory(program, operand, operand.displacement, abs(operand.size))
            program.load(target, R10, _SCRATCH)
        program.extend(target, abs(operand.size), signed=operand.size < 0)

    def _memory(self, program: Assembler, operand: Operand, displacement: int, size: int) -> None:
        """Read bytes of the process, at a displacement from an operand's register, into the stack."""
        assert operand.register is not None
        program.load(R3, R6, self._registers[operand.register])
        program.set(R1, displacement)
        program.add_register(R3, R1)
        program.store_number(R10, _SCRATCH, 0)
        program.move(R1, R10)
        program.add(R1, _SCRATCH)
        program.set(R2, size)
        program.call(Helper.PROBE_READ_USER)

    def _length(self, program: Assembler, probe: Probe) -> None:
        """Set R8 to the length of a message, and leave out libvirt's placeholders, which are never sent."""
        self._value(program, R8, probe.operands[1])
        program.jump_if(R8, Jump.EQUAL, 0, "end")

    def _message(
        self, program: Assembler, number: int, probe: Probe, known: list[tuple[Argument, Operand]], limit: int
    ) -> None:
        """Write a message: as many bytes as it has, at most `limit`, and none for an impossible length."""
        data_at = _HEAD.size + 8 * len(known)
        self._length(program, probe)
        program.move(R9, R8)
        program.jump_if(R9, Jump.NOT_GREATER, limit, "size")
        program.set(R9, 0)
        program.jump_if(R8, Jump.GREATER, MAX_FRAME, "size")
        program.set(R9, limit)
        program.label("size")
        for size in _rooms(limit):
            program.jump_if(R9, Jump.GREATER, size, f"more than {size}")
            self._reserve(program, data_at + size)
            program.jump("reserved")
            program.label(f"more than {size}")
        program.jump("end")
        program.label("reserved")
        self._head(program, number, None)
        operand = probe.operands[1]
        assert operand.displacement is not None
        self._arguments(program, known, operand)
        self._memory(program, operand, operand.displacement - 8, 8)
        program.move(R1, R7)
        program.add(R1, data_at)
        program.move(R2, R9)
        program.load(R3, R10, _SCRATCH)
        program.call(Helper.PROBE_READ_USER)
        program.jump_if(R0, Jump.EQUAL, 0, "read")
        program.set(R9, 0)
        program.label("read")
        program.add(R9, data_at)
        program.store(R7, _SIZE_AT, R9, 4)
        self._end(program)

    def _line(
        self, program: Assembler, number: int, line: Operand, known: list[tuple[Argument, Operand]]
    ) -> None:
        """Write a line. Its length is unknown, so room is reserved until it fits."""
        data_at = _HEAD.size + 8 * len(known)
        self._value(program, R8, line)
        for size in _rooms(LINE_LIMIT):
            self._reserve(program, data_at + size)
            program.move(R1, R7)
            program.add(R1, data_at)
            program.set(R2, size)
            program.move(R3, R8)
            program.call(Helper.PROBE_READ_USER_STR)
            program.move(R9, R0)
            if size == LINE_LIMIT:
                # The kernel ends a truncated line with a zero byte, which is not stored.
                program.jump_if(R9, Jump.NOT_EQUAL, size, "whole")
                program.set(R9, size - 1)
                program.jump("whole")
                break
            program.jump_if(R9, Jump.NOT_EQUAL, size, "whole")
            program.move(R1, R7)
            program.set(R2, _NO_WAKEUP)
            program.call(Helper.RINGBUF_DISCARD)
        program.label("whole")
        program.jump_if(R9, Jump.NOT_GREATER, LINE_LIMIT, "read")
        program.set(R9, 0)  # an error is negative
        program.label("read")
        program.add(R9, data_at)
        program.store(R7, _SIZE_AT, R9, 4)
        self._head(program, number, None)
        self._arguments(program, known, line)
        self._end(program)


def _form(argument: Argument, operand: Operand) -> str:
    """Return the form of an argument in a record. A constant has no text, and a line is not among them."""
    if argument.meaning == "text" and operand.register is not None:
        return "text"
    return "q" if operand.size < 0 else "Q"


def _rooms(limit: int) -> Iterator[int]:
    """Yield the sizes of room for up to `limit` bytes."""
    size = _LEAST
    while size < limit:
        yield size
        size *= 2
    yield limit
