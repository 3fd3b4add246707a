"""Operands as both processors' assemblers write them, and their tracefs equivalents."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libvirt_proto.capture.probes.operands import OperandError, operands


@pytest.mark.parametrize(
    ("machine", "operand", "fetch"),
    [
        ("x86_64", "8@%rbx", "%bx:u64"),
        ("x86_64", "-8@%rax", "%ax:s64"),
        ("x86_64", "4@%eax", "%ax:u32"),
        ("x86_64", "-4@%r8d", "%r8:s32"),
        ("x86_64", "2@%si", "%si:u16"),
        ("x86_64", "-2@%r15w", "%r15:s16"),
        ("x86_64", "1@%al", "%ax:u8"),
        ("x86_64", "1@%sil", "%si:u8"),
        ("x86_64", "-1@%r9b", "%r9:s8"),
        ("x86_64", "4@%rdi", "%di:u32"),
        ("x86_64", "8@128(%rbx)", "+128(%bx):u64"),
        ("x86_64", "8@-88(%rbp)", "-88(%bp):u64"),
        ("x86_64", "8@(%rsp)", "+0(%sp):u64"),
        ("x86_64", "-4@0x10(%r12)", "+16(%r12):s32"),
        ("x86_64", "8@$1", "\\1:u64"),
        ("x86_64", "-4@$-1", "\\-1:s32"),
        ("x86_64", "%rcx", "%cx:u64"),
        ("aarch64", "8@x0", "%x0:u64"),
        ("aarch64", "-8@x29", "%x29:s64"),
        ("aarch64", "8@x30", "%lr:u64"),
        ("aarch64", "4@w3", "%x3:u32"),
        ("aarch64", "-4@w19", "%x19:s32"),
        ("aarch64", "8@sp", "%sp:u64"),
        ("aarch64", "8@[sp, 16]", "+16(%sp):u64"),
        ("aarch64", "8@[x19,24]", "+24(%x19):u64"),
        ("aarch64", "-4@[x29, -8]", "-8(%x29):s32"),
        ("aarch64", "8@[x0]", "+0(%x0):u64"),
        ("aarch64", "8@[x0, #8]", "+8(%x0):u64"),
        ("aarch64", "8@1", "\\1:u64"),
        ("aarch64", "-4@-1", "\\-1:s32"),
        ("aarch64", "8@xzr", "\\0:u64"),
        ("aarch64", "4@wzr", "\\0:u32"),
    ],
)
def test_fetch_arguments(machine: str, operand: str, fetch: str) -> None:
    (found,) = operands(operand, machine)
    assert found.fetch == fetch


@pytest.mark.parametrize(
    ("machine", "operand"),
    [
        ("x86_64", "8@%ah"),
        ("x86_64", "8@%eax"),
        ("x86_64", "8@%xmm0"),
        ("x86_64", "8@%zz"),
        ("x86_64", "8@8(%rax,%rbx,4)"),
        ("x86_64", "8@(%eax)"),
        ("x86_64", "8@name(%rip)"),
        ("x86_64", "8@8(%rip)"),
        ("x86_64", "8@%fs:40"),
        ("x86_64", "3@%rax"),
        ("x86_64", "8@x0"),
        ("x86_64", "8@$99999999999999999999"),
        ("aarch64", "8@%rax"),
        ("aarch64", "8@w0"),
        ("aarch64", "8@x31"),
        ("aarch64", "8@d0"),
        ("aarch64", "8@[x0, x1, lsl 3]"),
        ("aarch64", "8@[x0, 8]!"),
        ("aarch64", "8@[w0, 8]"),
        ("aarch64", "8@[x0"),
        ("aarch64", "8f@s0"),
    ],
)
def test_rejects_operands_that_tracefs_cannot_express(machine: str, operand: str) -> None:
    with pytest.raises(OperandError):
        operands(operand, machine)


def test_arguments_of_real_binaries() -> None:
    message = "8@%rbx 8@128(%rbx) 8@%rax 8@%rdx 8@%rcx 8@%rsi 8@%rdi 8@%r8"
    found = operands(message, "x86_64")
    assert [operand.place for operand in found] == [
        "%bx",
        "+128(%bx)",
        "%ax",
        "%dx",
        "%cx",
        "%si",
        "%di",
        "%r8",
    ]
    assert found[1].array(0, 32) == "+0(+120(%bx)):x64[32]"
    assert operands("8@4(%r12)", "x86_64")[0].array(512, 64) == "+512(-4(%r12)):x64[64]"
    found = operands("8@x19 8@[x20, 16] -4@[sp, 8] 8@0", "aarch64")
    assert [operand.place for operand in found] == ["%x19", "+16(%x20)", "+8(%sp)", "\\0"]
    assert found[1].array(0, 64) == "+0(+8(%x20)):x64[64]"
    assert operands("", "x86_64") == ()


def test_text_arguments() -> None:
    register, memory, constant = operands("8@%r12 8@-88(%rbp) 8@$0", "x86_64")
    assert register.string == "+0(%r12):ustring"
    assert memory.string == "+0(-88(%bp)):ustring"
    assert constant.string == "\\0:u64"


@given(
    st.text(max_size=60) | st.text("8@%()[]$,- #xwrax0123", max_size=60),
    st.sampled_from(["x86_64", "aarch64"]),
)
def test_any_text_translates_or_raises(arguments: str, machine: str) -> None:
    """The result has no blank: it is one word for tracefs."""
    try:
        found = operands(arguments, machine)
    except OperandError:
        return
    for operand in found:
        assert operand.fetch.isascii()
        assert not set(" \n\t;") & set(operand.fetch)
