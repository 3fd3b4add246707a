"""C integer constant expressions (C11 §6.6), as in `#if` and in `#define LIMIT (4 * 1024)`.

Values are 64 bits wide and signed, like the preprocessor's; a number of more than 63 bits stays positive.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from .scan import Lexeme
from .syntax_errors import quoted

#: Maximum length of an expression, in tokens, and maximum nesting of parentheses and conditionals.
MAX_TOKENS: Final = 1000
MAX_NESTING: Final = 24

_NUMBER = re.compile(r"(?P<digits>0[xX][0-9a-fA-F]{1,16}|0[bB][01]{1,64}|[0-9]{1,22})[uUlL]{0,3}")
_ESCAPES: Final = {
    "n": 10,
    "t": 9,
    "r": 13,
    "0": 0,
    "a": 7,
    "b": 8,
    "f": 12,
    "v": 11,
    "\\": 92,
    "'": 39,
    '"': 34,
}

_Operation = Callable[[int, int], int]
#: Binary operators by precedence, from the loosest.
_BINARY: Final[Mapping[str, int]] = {
    sign: level
    for level, signs in enumerate(
        ("||", "&&", "|", "^", "&", "== !=", "< > <= >=", "<< >>", "+ -", "* / %"), start=1
    )
    for sign in signs.split()
}
_OPERATIONS: Final[Mapping[str, _Operation]] = {
    "|": operator.or_,
    "^": operator.xor,
    "&": operator.and_,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
}


class ExpressionError(Exception):
    """An invalid expression; `at` is the token that is wrong, None for the end."""

    def __init__(self, message: str, at: Lexeme | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.at = at


def evaluate(tokens: Sequence[Lexeme], value_of: Callable[[str], int | None]) -> int:
    """Return the value of an expression; `value_of` gives the values of identifiers, None for unknown ones.

    Raises ExpressionError.
    """
    if len(tokens) > MAX_TOKENS:
        raise ExpressionError(f"expected an expression of at most {MAX_TOKENS:,} tokens", tokens[0])
    parser = _Parser(tokens, value_of)
    value = parser.conditional()
    if parser.at < len(tokens):
        raise ExpressionError(
            f"expected an operator, got {quoted(tokens[parser.at].text)}", tokens[parser.at]
        )
    if value is None:
        raise ExpressionError("division by zero, or a shift by less than 0 or more than 63 bits", tokens[0])
    return value


class _Parser:
    """A precedence parser. A value is None if it has none, which matters only where it is used."""

    def __init__(self, tokens: Sequence[Lexeme], value_of: Callable[[str], int | None]) -> None:
        self._tokens = tokens
        self._value_of = value_of
        self._depth = 0
        self.at = 0

    def conditional(self) -> int | None:
        """Parse `a ? b : c`, or any expression without it."""
        self._depth += 1
        if self._depth > MAX_NESTING:
            raise ExpressionError(f"more than {MAX_NESTING} nested expressions", self._next())
        value = self._binary(1)
        if self._sign() == "?":
            self.at += 1
            first = self.conditional()
            self._expect(":")
            second = self.conditional()
            value = None if value is None else first if value else second
        self._depth -= 1
        return value

    def _binary(self, lowest: int) -> int | None:
        left = self._unary()
        while (level := _BINARY.get(sign := self._sign(), 0)) >= lowest:
            self.at += 1
            left = _applied(sign, left, self._binary(level + 1))
        return left

    def _unary(self) -> int | None:
        signs = []
        while (sign := self._sign()) in ("-", "+", "!", "~"):
            signs.append(sign)
            self.at += 1
        value = self._primary()
        for sign in reversed(signs):
            if value is not None:
                value = {"-": -value, "+": value, "!": int(not value), "~": ~value}[sign]
        return value

    def _primary(self) -> int | None:
        token = self._next()
        if token is None:
            raise ExpressionError("expected a number, got the end of the line")
        self.at += 1
        if token.text == "(":
            value = self.conditional()
            self._expect(")")
            return value
        if token.kind == "NUMBER":
            return _number(token)
        known = {"CHARACTER": character, "NAME": self._value_of}.get(token.kind)
        if known and (found := known(token.text)) is not None:
            return found
        raise ExpressionError(f"expected a number, got {quoted(token.text)}", token)

    def _next(self) -> Lexeme | None:
        return self._tokens[self.at] if self.at < len(self._tokens) else None

    def _sign(self) -> str:
        token = self._next()
        return token.text if token and token.kind == "SIGN" else ""

    def _expect(self, sign: str) -> None:
        if self._sign() != sign:
            token = self._next()
            got = quoted(token.text) if token else "the end of the line"
            raise ExpressionError(f"expected '{sign}', got {got}", token)
        self.at += 1


def character(text: str) -> int | None:
    """Return the number of a C character constant of one ASCII character, None for any other."""
    inside = text[1:-1]
    if len(inside) == 1 and inside.isascii():
        return ord(inside)
    return _ESCAPES.get(inside[1:]) if inside.startswith("\\") else None


def _number(token: Lexeme) -> int:
    if not (match := _NUMBER.fullmatch(token.text)):
        raise ExpressionError(f"expected an integer, got {quoted(token.text)}", token)
    digits = match["digits"]
    is_octal = len(digits) > 1 and digits.isdigit() and digits.startswith("0")
    try:
        value = int(digits, 8 if is_octal else 0)
    except ValueError:
        raise ExpressionError(f"expected an octal number, got {quoted(token.text)}", token) from None
    if value >= 2**64:
        raise ExpressionError(f"{quoted(token.text)} has more than 64 bits", token)
    return value


def _applied(sign: str, left: int | None, right: int | None) -> int | None:
    if sign == "&&":
        return 0 if left == 0 else None if left is None else None if right is None else int(right != 0)
    if sign == "||":
        return 1 if left else None if left is None else None if right is None else int(right != 0)
    if left is None or right is None:
        return None
    if operation := _OPERATIONS.get(sign):
        return _in_64_bits(int(operation(left, right)))
    if sign in ("<<", ">>"):
        if not 0 <= right < 64:
            return None
        return _in_64_bits(left << right) if sign == "<<" else left >> right
    if right == 0:
        return None
    quotient = abs(left) // abs(right) * (1 if (left < 0) == (right < 0) else -1)
    return quotient if sign == "/" else left - quotient * right


def _in_64_bits(value: int) -> int:
    """Return a value as C's 64 bits hold it."""
    if -(2**63) <= value < 2**64:
        return value
    value &= 2**64 - 1
    return value - 2**64 if value >> 63 else value
