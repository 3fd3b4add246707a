"""Our decoding of bytes, compared with that of C.

We *accept* bytes if decoding gives no error: decode_message then shows them as the payload, perhaps with
remarks. The comparison covers acceptance, the number of bytes read, and the encoding of the value. Both
ignore bytes after a complete value. docs/disagreements.md explains the permitted differences.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from libvirt_proto.codec.interpreter import Reading
from libvirt_proto.codec.type_table import TypeTable
from libvirt_proto.codec.types import (
    Array,
    FixedArray,
    FixedOpaque,
    Integer,
    Named,
    Node,
    Opaque,
    Optional,
    String,
    Structure,
    UnionType,
)
from libvirt_proto.codec.visitor import Visitor, parts
from libvirt_proto.codec.xdrtype import XdrType
from libvirt_proto.errors import OverLimit
from tests.support.values import NARROW

from .judge import ACCEPTED, REFUSED, Answer

#: The kinds of explained disagreement, as docs/disagreements.md calls them.
NUL, NARROWED, QUIET, DEEP, INLINE_BOOL = "nul", "narrow", "quiet-nan", "depth", "inline-bool"
KINDS = (NUL, NARROWED, QUIET, INLINE_BOOL, DEEP)


class Origin(Enum):
    """The origin of the bytes of a case, which may determine the required outcome."""

    VALUE = "our encoding of a value"
    MUTATED = "a mutated encoding"
    AT_LIMIT = "a length at its limit"
    OVER_LIMIT = "a length above its limit"


@dataclass(frozen=True, slots=True)
class Case:
    """Bytes to be read as a type."""

    type: XdrType
    data: bytes
    origin: Origin


@dataclass
class Tally:
    """Counts of cases; `unexplained` are sentences."""

    types: set[str] = field(default_factory=set)
    origins: Counter[Origin] = field(default_factory=Counter)
    accepted: int = 0
    refused: int = 0
    remarked: int = 0
    explained: Counter[str] = field(default_factory=Counter)
    unexplained: list[str] = field(default_factory=list)

    def count(self, case: Case, answer: Answer) -> None:
        """Take in one case."""
        type_, data, origin = case.type, case.data, case.origin
        ours, again = judged(type_, data)
        self.types.add(type_.name)
        self.origins[origin] += 1
        kinds, problem = compared(type_, ours, again, answer)
        problem = problem or _demanded(case, ours)
        self.explained.update(kinds)
        if problem:
            self.unexplained.append(f"{type_.name} ({origin.value}) {data.hex()[:1000]}: {problem[:1000]}")
        elif not kinds:
            self.accepted += answer.verdict == ACCEPTED
            self.refused += answer.verdict == REFUSED
            self.remarked += bool(ours.remarks)


def _demanded(case: Case, ours: Reading) -> str:
    """Return the problem with an outcome that both agree on, for bytes of this origin."""
    whole = not ours.error and not ours.remarks and ours.next == len(case.data)
    match case.origin:
        case Origin.VALUE | Origin.AT_LIMIT if not whole:
            return f"refused, or not taken as a whole: {ours.error or ours.next}"
        case Origin.OVER_LIMIT if not isinstance(ours.error, OverLimit):
            return f"not refused for its limit: {ours.error}"
    return ""


def judged(type_: XdrType, data: bytes) -> tuple[Reading, bytes]:
    """Return our reading of bytes, and its encoding."""
    ours = type_.read(data)
    return ours, b"" if ours.error else type_.to_bytes(ours.value)


def compared(type_: XdrType, ours: Reading, again: bytes, answer: Answer) -> tuple[set[str], str]:
    """The kinds of explained disagreement; and a sentence on one that nothing explains."""
    if ours.error:
        if answer.verdict == REFUSED:
            return set(), ""
        if isinstance(ours.error, OverLimit) and ours.error.what == "depth":
            return {DEEP}, ""
        return set(), f"C takes {answer.taken} bytes, we say {ours.error}"
    if answer.verdict != ACCEPTED:
        return set(), f"C refuses (verdict {answer.verdict}), we read {ours.value!r}"
    if answer.taken != ours.next:
        return set(), f"C takes {answer.taken} bytes, we take {ours.next}"
    if again == answer.again:
        return set(), ""
    kinds: set[str] = set()
    expected = type_.to_bytes(as_c_holds(type_, ours.value, kinds))
    for kind, permits in ((QUIET, _quieted), (INLINE_BOOL, _in_line)):
        if expected != answer.again and permits(expected, answer.again):
            kinds.add(kind)
            expected = answer.again
    if kinds and expected == answer.again:
        return kinds, ""
    return set(), f"C encodes {answer.again.hex()}, we {again.hex()}"


def as_c_holds(type_: XdrType, value: Any, kinds: set[str]) -> Any:
    """Return a value as C's memory has it: strings end at their first NUL, and numbers of fewer than four
    bytes are cut to their size. `kinds` gets the kinds of changes."""
    return _InC(type_.types, kinds).visit(type_.reference, value)


class _InC(Visitor[Any, Any]):
    """Converts a value."""

    def __init__(self, types: TypeTable, kinds: set[str]) -> None:
        super().__init__(types)
        self._kinds = kinds

    def scalar(self, node: Node, value: Any) -> Any:
        return value

    def binary(self, node: FixedOpaque | Opaque, value: Any) -> Any:
        return value

    def string(self, node: String, value: Any) -> Any:
        return self._noted(NUL, value, value.split("\0" if isinstance(value, str) else b"\0", 1)[0])

    def integer(self, node: Integer, value: Any) -> Any:
        if node.spelling not in NARROW:
            return value
        bits, signed = NARROW[node.spelling]
        number = value & ((1 << bits) - 1)
        narrow = number - (1 << bits) if signed and number >> (bits - 1) else number
        return self._noted(NARROWED, value, narrow)

    def _noted(self, kind: str, before: Any, after: Any) -> Any:
        if before != after:
            self._kinds.add(kind)
        return after

    def sequence(self, node: FixedArray | Array, value: Any) -> Any:
        return [self.visit(node.element, item) for item in value]

    def optional(self, node: Optional, value: Any) -> Any:
        return None if value is None else self.visit(node.element, value)

    def structure(self, reference: Named, node: Structure, value: Any) -> Any:
        held = [self.visit(part, each) for _, part, each in parts(node, value)]
        return self.types.python_class(reference)(*held)

    def union(self, reference: Named, node: UnionType, value: Any) -> Any:
        label = getattr(value, value.__struct_fields__[0])
        arm = node.arm(label)
        assert arm is not None
        return self.types.python_class(reference)(label, self.visit(arm.node, value.value))


def _quieted(ours: bytes, theirs: bytes) -> bool:
    """Return True if the only difference is the quiet bit of 32-bit NaNs, which theirs lack."""
    return _words_differ_by(ours, theirs, lambda a, b: a == b | 0x400000 and b & 0x7FC00000 == 0x7F800000)


def _in_line(ours: bytes, theirs: bytes) -> bool:
    """Return True if the only difference is that theirs have numbers other than 1 for true."""
    return _words_differ_by(ours, theirs, lambda a, b: a == 1 < b)


def _words_differ_by(ours: bytes, theirs: bytes, permits: Callable[[int, int], bool]) -> bool:
    if len(ours) != len(theirs):
        return False
    words = zip(struct.iter_unpack(">I", ours), struct.iter_unpack(">I", theirs), strict=True)
    return all(a == b or permits(a, b) for (a,), (b,) in words)
