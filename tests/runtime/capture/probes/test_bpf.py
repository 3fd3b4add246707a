"""Instructions as clang assembles them, and the ring buffer as the kernel's document describes it."""

from __future__ import annotations

import mmap
import os
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from libvirt_proto.capture.probes import bpf_calls
from libvirt_proto.capture.probes.bpf_instructions import R0, R1, R2, R6, R7, R9, R10, Assembler, Helper, Jump
from libvirt_proto.capture.probes.bpf_programs import RecordLayout
from libvirt_proto.capture.probes.bpf_ring import BpfRing
from libvirt_proto.capture.probes.formats import FormatError

#: Clang's syntax of the program of `assembled`. Clang 14 has none for constants that are stored.
TEXT = """
    r6 = r1
    r1 = -7
    r2 = 0x123456789abcdef ll
    r2 = 0xffffffff80000000 ll
    r1 += 104
    r1 += r2
    r0 >>= 32
    r0 <<= 32
    r0 s>>= 32
    r1 <<= 48
    r1 >>= 48
    r1 = *(u64 *)(r6 + 104)
    *(u64 *)(r10 - 16) = r0
    *(u32 *)(r7 + 4) = r9
    if r0 == 5 goto END
    if r9 > 65536 goto END
    if r9 != -1 goto AGAIN
AGAIN:
    if r9 <= 128 goto AGAIN
    goto END
    call 112
    lock *(u64 *)(r1 + 0) += r2
END:
    r0 = 0
    exit
"""


def assembled() -> bytes:
    program = Assembler()
    program.move(R6, R1)
    program.set(R1, -7)
    program.set(R2, 0x123456789ABCDEF)
    program.set(R2, -(1 << 31) & (1 << 64) - 1)
    program.add(R1, 104)
    program.add_register(R1, R2)
    program.right(R0, 32)
    program.extend(R0, 4, signed=True)
    program.extend(R1, 2, signed=False)
    program.extend(R1, 8, signed=True)
    program.load(R1, R6, 104)
    program.store(R10, -16, R0)
    program.store(R7, 4, R9, 4)
    program.jump_if(R0, Jump.EQUAL, 5, "end")
    program.jump_if(R9, Jump.GREATER, 65536, "end")
    program.jump_if(R9, Jump.NOT_EQUAL, -1, "again")
    program.label("again")
    program.jump_if(R9, Jump.NOT_GREATER, 128, "again")
    program.jump("end")
    program.call(Helper.PROBE_READ_USER)
    program.add_atomically(R1, R2)
    program.label("end")
    program.set(R0, 0)
    program.exit()
    return program.code()


@pytest.mark.system("clang")
def test_instructions_match_clang(tmp_path: Path) -> None:
    source, target = tmp_path / "program.s", tmp_path / "program.o"
    source.write_text(TEXT)
    subprocess.run(["clang", "-target", "bpf", "-c", source, "-o", target], check=True)
    with target.open("rb") as file:
        expected = ELFFile(file).get_section_by_name(".text").data()
    assert assembled() == expected


def test_stored_constants_and_maps() -> None:
    """BPF_ST | BPF_MEM | BPF_W; BPF_LD | BPF_IMM | BPF_DW with the kind in the source register (RFC 9669)."""
    program = Assembler()
    program.store_number(R7, 4, 9, 4)
    program.map(R1, 5)
    program.value(R1, 6)
    assert program.code() == bytes.fromhex(
        "62070400090000001811000005000000000000000000000018210000060000000000000000000000"
    )


PAGE, SIZE = mmap.PAGESIZE, mmap.PAGESIZE
BUSY, DISCARDED = 1 << 31, 1 << 30


@pytest.fixture
def shared() -> Iterator[int]:
    file = os.memfd_create("ring")
    os.truncate(file, 2 * PAGE + 2 * SIZE)
    yield file
    os.close(file)


def record(time: int, data: bytes, flags: int = 0, room: int = 0) -> bytes:
    """A record of the kernel: length and flags, a word, and what a program wrote."""
    size = 40 + len(data)
    body = struct.pack("<HHIQII16s", 3, 0, size, time, 11, 10, b"name") + data
    body = body.ljust(max(size, room), b"\xee")
    return (struct.pack("<II", len(body) | flags, 0) + body).ljust(8 + (len(body) + 7 & ~7), b"\xee")


def put(file: int, at: int, content: bytes) -> int:
    """Write records at a position, into both mappings of the buffer; return the next position."""
    for place in range(at, at + len(content)):
        for copy in (0, SIZE):
            os.pwrite(file, content[place - at : place - at + 1], 2 * PAGE + copy + place % SIZE)
    os.pwrite(file, struct.pack("<Q", at + len(content)), PAGE)
    return at + len(content)


def consumed(file: int) -> int:
    return int.from_bytes(os.pread(file, 8, 0), "little")


def test_ring_reads_records_in_order_of_time(shared: int) -> None:
    ring = BpfRing(shared, SIZE, -1)
    assert ring.take(1 << 64) == []
    end = put(shared, 0, record(7, b"two", room=200) + record(5, b"") + record(6, b"x", DISCARDED))
    found = ring.take(7)
    assert [(each.time, each.data[40:]) for each in found] == [(5, b"")]
    assert consumed(shared) == end
    assert [(each.time, each.data[40:]) for each in ring.take(8)] == [(7, b"two")]
    ring.close()


def test_ring_waits_for_a_busy_record(shared: int) -> None:
    """A reserved record that another thread still writes, and those after it."""
    ring = BpfRing(shared, SIZE, -1)
    first = put(shared, 0, record(1, b"a"))
    put(shared, first, record(2, b"b", BUSY) + record(3, b"c"))
    assert [each.time for each in ring.take(1 << 64)] == [1]
    assert consumed(shared) == first
    put(shared, first, record(2, b"b") + record(3, b"c"))
    assert [each.time for each in ring.rest()] == [2, 3]
    ring.close()


def test_ring_wraps(shared: int) -> None:
    """A record whose bytes are at the end and at the beginning of the buffer."""
    ring = BpfRing(shared, SIZE, -1)
    at, seen = 0, []
    for number in range(50):
        at = put(shared, at, record(number, bytes([number]) * 300))
        seen += ring.take(1 << 64)
    assert at > 4 * SIZE
    assert [each.data[40:] for each in seen] == [bytes([number]) * 300 for number in range(50)]
    ring.close()


def test_fields_of_records() -> None:
    layout = RecordLayout(3, (("client", "Q"), ("fd", "q"), ("text", "text"), ("none", "text")))
    numbers = struct.pack("<Qqqq", 1 << 63, -1, 3, -14)
    data = record(5, numbers + b"ab\0".ljust(4096, b"\xee") + bytes(4096))[8:]
    values = layout.values(data)
    assert (values["common_pid"], values["process"], values["comm"]) == (11, 10, b"name".ljust(16, b"\0"))
    assert (values["client"], values["fd"], values["text"], values["none"]) == (1 << 63, -1, b"ab", b"")
    with pytest.raises(FormatError, match="truncated"):
        layout.values(data[:71])


def test_structures_have_the_kernel_s_sizes() -> None:
    """perf_event_attr is 112 bytes (PERF_ATTR_SIZE_VER5); config1 is at 56."""
    assert bpf_calls._PERF.size == 112
    assert bpf_calls._PERF.pack(8, 112, 0, 1, 1, 0x1122334455667788, 9)[56:72] == struct.pack(
        "<QQ", 0x1122334455667788, 9
    )
