"""Constants from C headers: `#define NAME (256 + 1)` and `NAME = 3,` in an enum."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Final

from .externals import known
from .schema import External

#: Maximum length of a chain of constants defined by constants; ends cycles.
_MAX_STEPS: Final = 20
#: Maximum length of a value, in characters; a longer one is not a simple number.
_MAX_LENGTH: Final = 200
_EXPRESSION = re.compile(r"[\w\s()+*|<-]+", re.ASCII)
_SUFFIX = re.compile(r"\b(0[xX][0-9a-fA-F]+|[0-9]+)[uUlL]+\b")


class HeaderConstants(Mapping[str, External]):
    """Constants of a tree's headers and, failing that, the known constants of libvirt.

    `defines` take precedence over both. Names are searched for on demand.
    """

    def __init__(
        self,
        headers: Mapping[PurePosixPath, bytes],
        defines: Mapping[str, int],
        release: tuple[int, ...],
    ) -> None:
        self._defines = defines
        self._release = release
        self._found: dict[str, External | None] = {}
        # Public headers first: the definitions were written against their values.
        order = sorted(headers, key=lambda path: ("include" not in path.parts, path))
        self._texts = {path: headers[path] for path in order}

    def __getitem__(self, name: str) -> External:
        if name not in self._found:
            self._found[name] = self._look_for(name)
        external = self._found[name]
        if external is None:
            raise KeyError(name)
        return external

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names that were looked up and found."""
        return (name for name, external in self._found.items() if external)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _look_for(self, name: str) -> External | None:
        if name in self._defines:
            return External(name, self._defines[name])
        for path, value in self._written(name):
            if (number := self._number(value, _MAX_STEPS)) is not None:
                return External(name, number, str(path))
        return known(name, self._release)

    def _written(self, name: str) -> Iterator[tuple[PurePosixPath, str]]:
        written = name.encode()
        pattern = re.compile(
            rb"^[ \t]*(?:#[ \t]*define[ \t]+%b[ \t]+(.+?)|%b[ \t]*=[ \t]*([^,}\n/]+?))"
            rb"[ \t]*(?:[,}].*|/\*.*|//.*)?$" % (written, written),
            re.MULTILINE,
        )
        for path, text in self._texts.items():
            if written in text:
                for match in pattern.finditer(text):
                    yield path, (match[1] or match[2]).decode("utf-8", errors="replace")

    def _number(self, value: str, steps: int) -> int | None:
        """Return the value of a C constant expression; None for anything beyond sums and shifts."""
        if len(value) > _MAX_LENGTH or not _EXPRESSION.fullmatch(value):
            return None
        try:
            tree = ast.parse(_SUFFIX.sub(r"\1", value.strip()), mode="eval")
            return self._evaluate(tree.body, steps)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None

    def _evaluate(self, node: ast.expr, steps: int) -> int | None:
        match node:
            case ast.Constant(value=int(value)):
                return value
            case ast.Name(id=name) if steps:
                values = (self._number(value, steps - 1) for _, value in self._written(name))
                return next((value for value in values if value is not None), None)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                number = self._evaluate(operand, steps)
                return None if number is None else -number
            case ast.BinOp(left=left, op=op, right=right):
                return _combined(op, self._evaluate(left, steps), self._evaluate(right, steps))
            case _:
                return None


def _combined(op: ast.operator, left: int | None, right: int | None) -> int | None:
    if left is None or right is None:
        return None
    match op:
        case ast.Add():
            return left + right
        case ast.Sub():
            return left - right
        case ast.Mult():
            return left * right
        case ast.BitOr():
            return left | right
        case ast.LShift() if 0 <= right < 64:
            return left << right
        case _:
            return None
