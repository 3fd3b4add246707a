"""Operands of probe arguments: their ends, their meaning, and linear parsing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

import pytest

from libvirt_proto.capture.probes.operands import operands as fetched
from libvirt_proto.codec import operands
from libvirt_proto.codec.operands import MAX_ARGUMENTS, Operand, OperandError, parse_operand, split_operands


@pytest.mark.parametrize(
    ("arguments", "pieces"),
    [
        ("", ()),
        ("  ", ()),
        ("8@%rbx", ("8@%rbx",)),
        (" 8@%rbx  -4@$1 ", ("8@%rbx", "-4@$1")),
        ("8@x0 -4@[sp, 16] 8@[x19, 96] 4f@v0", ("8@x0", "-4@[sp, 16]", "8@[x19, 96]", "4f@v0")),
        ("8@QWORD PTR [rbp-8] 4@eax", ("8@QWORD PTR [rbp-8]", "4@eax")),
        ("16@%xmm0 8f@%xmm1", ("16@%xmm0", "8f@%xmm1")),
        ("%rax (%rbx)", ("%rax", "(%rbx)")),
        ("%rax 8@%rbx", ("%rax", "8@%rbx")),
        ("8@foo@GOTPCREL(%rip) 8@%rbx", ("8@foo@GOTPCREL(%rip)", "8@%rbx")),
    ],
)
def test_splits_arguments(arguments: str, pieces: tuple[str, ...]) -> None:
    assert split_operands(arguments) == pieces


def test_scaled_register() -> None:
    operand = parse_operand("-4@8(%rax,%r9,4)", "x86_64")
    assert operand == Operand(-4, "ax", 8, scaled="r9", scale=4)
    assert parse_operand("4@(%rax,%rcx)", "x86_64") == Operand(4, "ax", 0, scaled="cx", scale=1)
    with pytest.raises(OperandError, match="unsupported operand"):
        fetched("-4@8(%rax,%r9,4)", "x86_64")


@pytest.mark.parametrize(
    "text", ["", "8@", "@", "8@ ", "8@8(%rax,%ecx)", "8@8(%rax,%rcx,3)", "\n", "8@%rax\n"]
)
def test_unsupported_operands(text: str) -> None:
    for machine in ("x86_64", "aarch64"):
        with pytest.raises(OperandError, match="unsupported operand"):
            parse_operand(text, machine)


def test_length_is_limited() -> None:
    whole = "8@%rax " * (MAX_ARGUMENTS // 7)
    assert len(fetched(whole, "x86_64")) == MAX_ARGUMENTS // 7
    with pytest.raises(OperandError, match="at most 1,024 characters of arguments, got 1,029"):
        fetched(whole + "8@%rax ", "x86_64")
    with pytest.raises(OperandError, match="unsupported operand"):
        parse_operand("8@" + "9" * MAX_ARGUMENTS, "x86_64")


def repeats(parsed: Any) -> Iterator[int]:
    """For each repeat without a small maximum in a parsed expression, the number of enclosing ones."""
    for name, argument in parsed:
        inner = [part for part in _parts(argument) if isinstance(part, parser.SubPattern)]
        unbounded = name in (parser.MAX_REPEAT, parser.MIN_REPEAT) and argument[1] > 20
        if unbounded:
            yield 0
        for part in inner:
            yield from (depth + unbounded for depth in repeats(part))


def _parts(argument: Any) -> Iterator[Any]:
    if isinstance(argument, tuple | list) and not isinstance(argument, parser.SubPattern):
        for part in argument:
            yield from _parts(part)
    else:
        yield argument


def test_no_expression_backtracks() -> None:
    """One repeat without a small maximum, not nested in another, cannot backtrack."""
    patterns = [each for each in vars(operands).values() if isinstance(each, re.Pattern)]
    assert len(patterns) == 8
    for pattern in patterns:
        assert list(repeats(parser.parse(pattern.pattern))) in ([], [0]), pattern.pattern
    quadratic = r"\[[^\]\s]+(?:,\s*[^\],\s]+)*\]"
    assert list(repeats(parser.parse(quadratic))) == [0, 0, 1, 1]
