"""Tapsets: the names of numbers in their functions, and the arguments of their probes.

Supported are the tapsets that libvirt ships (written by its gensystemtap.pl and dtrace2systemtap.pl) and
those that `generate systemtap` and `generate probes` write. A function is a tree of comparisons, which is
followed to each assignment of a string:

    if (program == 536903814 && version == 1) { if (proc == 1) { procstr = "connect_open" } … }
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, NamedTuple

from libvirt_proto.codec.identification import Identification
from libvirt_proto.codec.tapset import parse_tapset

from ..errors import DefinitionError, Problem
from . import facts
from .known import Facts, Known, compare, conclude
from .providers import compare_probes, of_file

#: The two kinds of evidence.
NAMES: Final = "names of numbers"
ARGUMENTS: Final = "arguments of probes"

_WORD: Final = re.compile(
    r'#[^\n]*|//[^\n]*|/\*.*?(?:\*/|\Z)|"(?:[^"\\\n]|\\.)*"|\w+|==|<=|>=|&&|\|\||<<|>>|[^\s\w]', re.DOTALL
)
#: A function of the tapset libvirt_functions.stp.
_FUNCTION: Final = re.compile(r"^function\s+libvirt_rpc_(\w+)_name\b", re.MULTILINE)
_COMPARISON: Final = re.compile(r"\b([A-Za-z_]\w*) (==|<) (-?(?:0x[0-9a-fA-F]{1,16}|[0-9]{1,20}))\b")
#: The variables that decide about a name; others would only add to the work.
_VARIABLES: Final = frozenset({"program", "proc", "type", "status"})
#: Maximum depth of blocks; the generated binary search has 12.
_MAX_DEPTH: Final = 40
_LOWEST, _HIGHEST = -(2**63), 2**64


def identify(text: str, name: str) -> Identification:
    """Identify a tapset by the names of numbers in its functions and by its probes.

    Raises DefinitionError if it has neither.
    """
    found = []
    own_names = names(text)
    if own_names:
        groups = {each.group for each in own_names}

        def names_of(each: Known) -> Facts:
            found = {name for text in each.texts(".x") for name in facts.names(text)}
            return frozenset(name for name in found if name.group in groups)

        found.append(compare(NAMES, own_names, names_of))
    own_probes = probes(text)
    if own_probes:
        # A tapset has the probes of one provider file, perhaps without those that no binary has.
        every = compare_probes(ARGUMENTS, own_probes, partial(of_file, own=own_probes))
        some = compare_probes(ARGUMENTS, own_probes, partial(of_file, own=own_probes), partial=True)
        found.append(every if every.fitting else some)
    if not found:
        message = f"{name}: expected a tapset with functions libvirt_rpc_…_name or probes of libvirt"
        raise DefinitionError([Problem("no-definitions", None, message)])
    return conclude("tapset", found)


def probes(text: str) -> frozenset[facts.Probe]:
    """Return the probes of a tapset."""
    return frozenset(
        facts.Probe(mark, tuple(facts.plain(f"{'*' * each.is_text}{each.name}") for each in arguments))
        for (_, mark), arguments in parse_tapset(text).probes.items()
    )


def names(text: str) -> frozenset[facts.Name]:
    """Return the names of numbers in a tapset's functions."""
    known = {function for _, function in facts.ENUMS.values()}
    found: set[facts.Name] = set()
    functions = list(_FUNCTION.finditer(text))
    ends = [*(match.start() for match in functions[1:]), len(text)]
    for match, end in zip(functions, ends[: len(functions)], strict=True):
        if match[1] != "procedure" and match[1] not in known:
            continue
        for bounds, name in _Function(text, match.end(), end).assignments():
            if match[1] == "procedure":
                program, number = bounds.only("program"), bounds.only("proc")
                if program is not None and number is not None:
                    found.add(facts.Name(program % 2**32, number, name))
            elif (number := bounds.only("type" if match[1] in ("auth", "type") else "status")) is not None:
                found.add(facts.Name(match[1], number, name))
    return frozenset(found)


@dataclass(frozen=True, slots=True)
class _Bounds:
    """Lowest and highest values of _VARIABLES at a place in a function."""

    values: dict[str, tuple[int, int]] = field(default_factory=dict)

    def only(self, variable: str) -> int | None:
        """Return the only value that a variable can have; None if there are several."""
        low, high = self.values.get(variable, (_LOWEST, _HIGHEST))
        return low if low == high else None

    def narrowed(self, variable: str, low: int, high: int) -> _Bounds:
        if variable not in _VARIABLES:
            return self
        before = self.values.get(variable, (_LOWEST, _HIGHEST))
        return _Bounds({**self.values, variable: (max(before[0], low), min(before[1], high))})


@dataclass(frozen=True, slots=True)
class _Comparison:
    """`variable == number`, or `variable < number`."""

    variable: str
    number: int
    less: bool

    def true(self, bounds: _Bounds) -> _Bounds:
        return bounds.narrowed(self.variable, _LOWEST if self.less else self.number, self.number - self.less)

    def false(self, bounds: _Bounds) -> _Bounds:
        return bounds.narrowed(self.variable, self.number, _HIGHEST) if self.less else bounds


class _Block(NamedTuple):
    """The bounds in a block, and in its `else`."""

    inside: _Bounds
    otherwise: _Bounds


class _Function:
    """A function of a tapset, read block by block."""

    def __init__(self, text: str, start: int, end: int) -> None:
        self._words = _WORD.finditer(text, start, end)
        self._word = ""
        self._advance()

    def _advance(self) -> None:
        for match in self._words:
            if not match[0].startswith(("#", "//", "/*")):
                self._word = match[0]
                return
        self._word = ""

    def assignments(self) -> Iterator[tuple[_Bounds, str]]:
        """Yield the strings that are assigned to a variable, with the bounds at each."""
        while self._word not in ("{", ""):
            self._advance()
        blocks = [_Block(_Bounds(), _Bounds())]
        self._advance()
        while blocks and len(blocks) < _MAX_DEPTH and self._word:
            inside = blocks[-1].inside
            if self._word == "}":
                otherwise = blocks.pop().otherwise
                self._advance()
                if blocks and self._word == "else":
                    self._advance()
                    blocks += self._block(otherwise)
            elif self._word in ("if", "{"):
                blocks += self._block(inside)
            elif self._word == "=":
                self._advance()
                if self._word.startswith('"'):
                    yield inside, self._word[1:-1]
            else:
                self._advance()

    def _block(self, bounds: _Bounds) -> list[_Block]:
        """Read the beginning of a block and its condition, if any; none for a statement without braces."""
        block = _Block(bounds, bounds)
        if self._word == "if":
            self._advance()
            comparisons = list(_comparisons(self._parentheses()))
            inside = bounds
            for comparison in comparisons:
                inside = comparison.true(inside)
            block = _Block(inside, comparisons[0].false(bounds) if len(comparisons) == 1 else bounds)
        if self._word != "{":
            return []
        self._advance()
        return [block]

    def _parentheses(self) -> list[str]:
        """Read what is in parentheses."""
        words: list[str] = []
        depth = 0
        while self._word:
            depth += (self._word == "(") - (self._word == ")")
            words.append(self._word)
            self._advance()
            if depth <= 0:
                break
        return words


def _comparisons(words: Sequence[str]) -> Iterator[_Comparison]:
    """Yield the comparisons with numbers in a condition without `||`."""
    if "||" in words:
        return
    joined = " ".join(words).replace("- ", "-")
    for variable, sign, number in _COMPARISON.findall(joined):
        yield _Comparison(variable, int(number, 16 if "x" in number else 10), sign == "<")
