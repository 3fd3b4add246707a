"""Numbers of one to eight bytes to bytes, in the notation and byte order with which they are a message.

Notations are tried on the first numbers of a text (`SAMPLE`), and one is kept for the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Final, Literal, NamedTuple

from .errors import ByteTextError, quoted
from .framing import CERTAIN, evidence

#: Number of units that decide.
SAMPLE: Final = 2048

Base = Literal["digits", "c", "octal", "decimal", "binary"]
Order = Literal["big", "little"]


class Repeat(NamedTuple):
    """A number as written, and how often it occurs."""

    text: str
    times: int


#: A number as written, perhaps repeated, or the bytes of a string among numbers.
Unit = str | bytes | Repeat


class Notation(NamedTuple):
    """The reading of units. Bases: `digits` are hexadecimal, two for each byte; `c` is C's notation."""

    base: Base
    size: int
    order: Order = "big"


def notations(bases: Sequence[Base], sizes: Sequence[int], *, first: Order = "little") -> list[Notation]:
    """Return the notations of these bases and sizes, with `first` before the other byte order."""
    both: tuple[Order, ...] = ("little", "big") if first == "little" else ("big", "little")
    single: tuple[Order, ...] = ("big",)
    return [
        Notation(base, size, order)
        for base, size in product(bases, sizes)
        for order in (both if size > 1 else single)
    ]


def convert(units: Sequence[Unit], notation: Notation) -> bytes:
    """Return the bytes of units. Raises ByteTextError for one that does not fit."""
    base, size, order = notation
    if base == "digits":
        return _digits(units, order if size > 1 else "big")
    out = bytearray()
    for unit in units:
        if isinstance(unit, bytes):
            if size > 1:
                raise ByteTextError(f"expected numbers of {size} bytes, got text")
            out += unit
        elif isinstance(unit, Repeat):
            out += _value(unit.text, notation) * unit.times
        else:
            out += _value(unit, notation)
    return bytes(out)


def _digits(units: Sequence[Unit], order: Order) -> bytes:
    try:
        if order == "big":
            return bytes.fromhex("".join(map(str, units)))
        return b"".join(bytes.fromhex(str(unit))[::-1] for unit in units)
    except ValueError:
        raise ByteTextError(f"{quoted(' '.join(map(str, units)))} is not hex") from None


def _value(text: str, notation: Notation) -> bytes:
    base, size, order = notation
    limit = 1 << 8 * size
    try:
        if base == "c":
            sign, digits = (-1, text[1:]) if text[:1] == "-" else (1, text)
            octal = len(digits) > 1 and digits[0] == "0" and digits.isdigit()
            value = sign * int(digits, 8 if octal else 0)
        else:
            value = int(text, {"octal": 8, "decimal": 10, "binary": 2}[base])
    except ValueError:
        raise ByteTextError(f"{quoted(text)} is not a number") from None
    if not -limit // 2 <= value < limit:
        raise ByteTextError(f"{quoted(text)} does not fit into {size} byte{'s' if size > 1 else ''}")
    return (value % limit).to_bytes(size, order)


class Units:
    """Converts units as they arrive. The first ones wait for the decision for a notation: the one with which
    they are most like a message; of several, the first with which they can be converted.

    `allowed` returns the possible notations of these units, in order of preference.
    """

    def __init__(self, allowed: Callable[[Sequence[Unit]], list[Notation]]) -> None:
        self._allowed = allowed
        self._waiting: list[Unit] = []
        self.notation: Notation | None = None
        self._framed = False

    def feed(self, units: Sequence[Unit]) -> bytes:
        """Add units; return the bytes that are certain. Raises ByteTextError."""
        if self.notation is not None:
            return convert(units, self.notation)
        self._waiting += units
        return self.decide() if len(self._waiting) >= SAMPLE else b""

    def decide(self) -> bytes:
        """Decide, and return the bytes of the units that wait. Raises ByteTextError."""
        if not self._waiting:
            return b""
        waiting, self._waiting = self._waiting, []
        if self.notation is not None:
            return convert(waiting, self.notation)
        best, error = None, None
        sample = waiting[:SAMPLE]
        allowed = self._allowed(sample)
        for notation in allowed:
            try:
                strength = evidence(convert(sample, notation))
            except ByteTextError as raised:
                error = error or raised
                continue
            if best is None or strength > best[0]:
                best = strength, notation
            if strength == CERTAIN:
                break
        if best is None:
            raise error or ByteTextError("expected numbers of one notation")
        self._framed, self.notation = best[0] > 0, best[1]
        return convert(waiting, self.notation)

    def note(self, *, stated: bool) -> str | None:
        """Return a sentence about the byte order of words. None for bytes, and for big-endian words, unless
        it is to be `stated`."""
        if self.notation is None or self.notation.size == 1:
            return None
        _, size, order = self.notation
        if order == "big" and not stated:
            return None
        why = "so they are a message" if self._framed else "assumed: it is the order of most machines"
        return f"words of {size} bytes are read as {order}-endian ({why})"
