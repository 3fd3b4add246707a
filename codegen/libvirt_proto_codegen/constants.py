"""Second pass: the numbers of constants and enum members."""

from __future__ import annotations

from collections.abc import Mapping

from .errors import Problem
from .externals import KNOWN
from .model import Literal, Reference, Value
from .names import Names, Number, with_article
from .rpc_headers import CONSTANTS
from .rules import Rule
from .schema import External
from .source import Span

#: RFC 4506 §4.4: bool is `enum { FALSE = 0, TRUE = 1 }`.
_BOOLEAN = {"FALSE": 0, "TRUE": 1}
_Key = tuple[str, str]


class Numbers:
    """Evaluates values. Every problem is reported once; a value with a problem is None.

    `used` holds, per module, the external constants that it needs, in order of first use.
    """

    def __init__(self, names: Names, externals: Mapping[str, External | int]) -> None:
        self.problems: list[Problem] = []
        self.used: dict[str, dict[str, External]] = {module: {} for module in names.files}
        self._names = names
        self._externals = externals
        self._values: dict[_Key, int | None] = {}
        self._unknown: set[_Key] = set()
        for module, file in names.files.items():
            for name in file.numbers:
                self._evaluate((module, name))

    def defined(self, module: str, name: str) -> int | None:
        """Return the value of a constant or enum member that the module itself defines; None also for a
        member with the name of a type, which has been reported."""
        return self._values.get((module, name))

    def value(self, module: str, value: Value) -> int | None:
        """Return the number of a value written in a module."""
        if isinstance(value, Literal):
            return value.value
        found = self._find(module, value)
        return self._values[found] if isinstance(found, tuple) else found

    def _evaluate(self, start: _Key) -> None:
        """Evaluate a value by following the chain of values that it depends on; each depends on at most
        one."""
        chain: list[tuple[_Key, Number, int]] = []
        seen: set[_Key] = set()
        at: _Key | int | None = start
        while isinstance(at, tuple) and at not in self._values:
            if at in seen:
                self._report_cycle(chain, at)
                at = None
                break
            seen.add(at)
            number = self._names.files[at[0]].numbers[at[1]]
            chain.append((at, number, 1 if number.value is None and number.after else 0))
            at = self._next(at[0], number)
        result = self._values[at] if isinstance(at, tuple) else at
        for key, number, step in reversed(chain):
            result = self._checked(number, None if result is None else result + step)
            self._values[key] = result

    def _next(self, module: str, number: Number) -> _Key | int | None:
        """Return a number's value, or the key that it depends on."""
        match number.value:
            case Literal(value):
                return value
            case Reference() as reference:
                return self._find(module, reference)
            case _:
                return (module, number.after) if number.after else 0

    def _find(self, module: str, reference: Reference) -> _Key | int | None:
        name = reference.name
        found = self._names.numbers_named(module, name)
        if len(found) == 1:
            return found[0][0], name
        if found:
            self._report_ambiguous(reference, [(m, number.span) for m, number in found])
            return None
        if name in self._externals:
            external = self._externals[name]
            if isinstance(external, int):
                external = External(name, external)
            self.used[module][name] = external
            return external.value
        if name in _BOOLEAN:
            return _BOOLEAN[name]
        if name in CONSTANTS:
            self.used[module][name] = CONSTANTS[name]
            return CONSTANTS[name].value
        self._report_unknown(module, reference)
        return None

    def _checked(self, number: Number, value: int | None) -> int | None:
        """Return the value, or None with a problem if it is out of range."""
        bits, what = (32, "an enum member") if number.member else (64, "a constant")
        highest = 2**31 - 1 if number.member else 2**64 - 1
        if value is None or -(2 ** (bits - 1)) <= value <= highest:
            return value
        message = (
            f"{number.name} is {_shown(value)}: expected {what} between {-(2 ** (bits - 1))} and {highest}"
        )
        is_unsigned = number.member and highest < value < 2**32
        hint = f"write {value - 2**32}, which has the same 32 bits" if is_unsigned else None
        self.problems.append(Problem(Rule.OUT_OF_RANGE, number.span, message, hint))
        return None

    def _report_cycle(self, chain: list[tuple[_Key, Number, int]], at: _Key) -> None:
        keys = [key for key, _, _ in chain]
        circle = [name for _, name in keys[keys.index(at) :]]
        path = " = ".join([*circle[:5], *(["…"] if len(circle) > 5 else []), at[1]])
        span = chain[keys.index(at)][1].span
        self.problems.append(
            Problem(Rule.CONSTANT_CYCLE, span, f"{at[1]} is defined in terms of itself: {path}")
        )

    def _report_ambiguous(self, reference: Reference, found: list[tuple[str, Span]]) -> None:
        self.problems.append(
            Problem(
                Rule.AMBIGUOUS_NAME,
                reference.span,
                f"{reference.name} is ambiguous: several included files define it",
                related=tuple((span, "defined here") for _, span in found),
            )
        )

    def _report_unknown(self, module: str, reference: Reference) -> None:
        """Report a name once per module: libvirt's C constants appear in many places."""
        name = reference.name
        if (module, name) in self._unknown:
            return
        self._unknown.add((module, name))
        if types := self._names.types_named(module, name):
            message = f"expected a constant, got {with_article(types[0].kind)}: {name}"
            related = ((types[0].span, "defined here"),)
            self.problems.append(Problem(Rule.WRONG_KIND, reference.span, message, related=related))
            return
        if texts := [text for text in self._names.files[module].texts if text.name == name]:
            message, related = f"expected a number, got the string {name}", ((texts[0].span, "defined here"),)
            self.problems.append(Problem(Rule.WRONG_KIND, reference.span, message, related=related))
            return
        if hint := self._names.elsewhere(name, types=False):
            self.problems.append(Problem(Rule.UNKNOWN_NAME, reference.span, f"unknown constant {name}", hint))
            return
        value = KNOWN[name].value if name in KNOWN else "VALUE"
        pass_on = f"pass --define {name}={value}, or add `{name} = {value}` to externals.toml"
        if name in KNOWN:
            pass_on += f" (libvirt's {KNOWN[name].header})"
        similar = self._names.similar(module, name, types=False)
        hint = f"{similar} Otherwise, {pass_on}" if similar else pass_on
        message = f"no file defines the constant {name}"
        self.problems.append(Problem(Rule.MISSING_EXTERNAL, reference.span, message, hint))


def _shown(value: int) -> str:
    """Return a number as text; Python refuses to print the thousands of digits of hostile numbers."""
    return str(value) if abs(value) < 10**40 else "a number of more than 40 digits"
