"""Fuzz targets for static probes: ELF files with notes, and operands of probe arguments."""

from __future__ import annotations

import io
import re

from libvirt_proto.capture.probes.operands import operands
from libvirt_proto.codec.elf import MAX_SIZE, ElfError
from libvirt_proto.codec.elfnotes import MAX_NAME, MAX_PROBLEMS, Notes, read_notes
from libvirt_proto.codec.operands import MAX_ARGUMENTS, Operand, OperandError, parse_operand, split_operands
from libvirt_proto_codegen.targets.bpftrace.operands import expression
from tests.support.elf import Counting, judged

#: Bytes of three tables and the notes, and of the file's header.
_MAX_READ = 4 * MAX_SIZE + 256


def notes(data: bytes) -> None:
    """The first byte: above 127, its other bits are the size of the file as a power of two. Then the start of
    the file, followed by zeros.

    Any file gives notes within their limits or an ElfError, and little of it is read. If the input is the
    whole file, pyelftools finds the same probes.
    """
    how, content = data[0] if data else 0, data[1:]
    size = 1 << how % 64 if how & 128 else 0
    file = Counting(content, size)
    try:
        found = read_notes(file)
    except ElfError as error:
        assert str(error).isprintable()
        found = None
    assert file.read_bytes <= _MAX_READ
    assert file.reads <= 8
    if found is not None:
        _within_limits(found, max(size, len(content)))
        if size <= len(content):
            _compare(found, content)


def _within_limits(found: Notes, size: int) -> None:
    assert len(found.problems) <= MAX_PROBLEMS + 1
    assert all(problem.isprintable() for problem in found.problems)
    for site in found.sites:
        assert 0 <= site.offset < size
        assert site.semaphore is None or 0 <= site.semaphore < size
        assert max(len(site.provider), len(site.name)) <= MAX_NAME
        assert len(site.arguments) <= MAX_ARGUMENTS
        assert (site.provider + site.name + site.arguments).isprintable()


def _compare(found: Notes, content: bytes) -> None:
    """Check that pyelftools has the same sites in the same order, and more only if there are problems."""
    try:
        expected = judged(io.BytesIO(content))
    except Exception:  # it raises arbitrary exceptions for damaged files
        return
    if not found.problems:
        assert len(found.sites) == len(expected)
    rest = iter(expected)
    for site in found.sites:
        key = site.provider, site.name, site.arguments, site.address
        each = next((each for each in rest if each[:4] == key), None)
        assert each is not None
        assert site.offset in each.offsets
        assert site.semaphore is None or site.semaphore in each.semaphores


_FETCH = re.compile(r"(?:%[a-z0-9]+|[+-][0-9]+\(%[a-z0-9]+\)|\\-?[0-9]+):[us](?:8|16|32|64)")
_EXPRESSION = re.compile(
    r"-?[0-9]+|(?:\(u?int[0-9]+\))?reg\(\"[a-z0-9]+\"\)"
    r"|\*\(u?int[0-9]+ \*\)uptr\(reg\(\"[a-z0-9]+\"\)(?: \+ reg\(\"[a-z0-9]+\"\) \* [1248])? [+-] [0-9]+\)"
)


def arguments(data: bytes) -> None:
    """The first byte: the machine. Then the arguments of a probe.

    They split as in a simple loop over their words. A parsed operand is unchanged after it is written in
    assembler notation and parsed again; its fetch argument and its expression have known forms.
    """
    machine = "aarch64" if data and data[0] & 1 else "x86_64"
    text = data[1:].decode("latin-1")
    pieces = split_operands(text)
    assert list(pieces) == _walk(text)
    for piece in pieces:
        try:
            found = parse_operand(piece, machine)
        except OperandError as error:
            assert str(error).isprintable()
            assert machine == "aarch64" or expression(piece) is None
            continue
        assert parse_operand(_written(found, machine), machine) == found
        if machine == "x86_64":
            made = expression(piece)
            assert made is not None
            assert _EXPRESSION.fullmatch(made)
    try:
        fetched = operands(text, machine)
    except OperandError:
        return
    assert len(fetched) == len(pieces)
    assert all(_FETCH.fullmatch(each.fetch) for each in fetched)


def _walk(text: str) -> list[str]:
    """The operands, word by word: a word with a size starts an operand, others continue the previous one."""
    found: list[str] = []
    sized = any(map(_begins, text.split()))
    at = 0
    for word in text.split():
        start = text.index(word, at)
        if found and sized and not _begins(word):
            found[-1] += text[at:start] + word
        else:
            found.append(word)
        at = start + len(word)
    return found


def _begins(word: str) -> bool:
    size, at, _ = word.partition("@")
    digits = size.removeprefix("-").removesuffix("f")
    return bool(at) and len(digits) in (1, 2) and digits.isdecimal() and digits.isascii()


def _written(operand: Operand, machine: str) -> str:
    """The operand in assembler notation."""

    def name(register: str) -> str:
        if machine == "aarch64":
            return {"lr": "x30"}.get(register, register)
        return f"%{register}" if register[0] == "r" else f"%r{register}"

    if operand.register is None:
        place = f"{'$' if machine == 'x86_64' else ''}{operand.constant}"
    elif operand.displacement is None:
        place = name(operand.register)
    elif machine == "aarch64":
        place = f"[{name(operand.register)}, {operand.displacement}]"
    else:
        scaled = f",{name(operand.scaled)},{operand.scale}" if operand.scaled else ""
        place = f"{operand.displacement}({name(operand.register)}{scaled})"
    return f"{operand.size}@{place}"
