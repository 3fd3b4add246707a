"""Errors of the runtime. Each has its facts as attributes, and a sentence as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from pathlib import Path


class ProtocolError(ValueError):
    """Bytes that violate the protocol, or a value that cannot be encoded.

    `offset` counts bytes from the start of the decoded data (for messages: from the length word), and is None
    when encoding. `path` leads to the field (`dom.uuid`, `params[3].value`) and is empty at the top.
    `partial` is the value decoded before the error, or None.
    """

    code = "protocol"

    def __init__(self, *, offset: int | None = None, path: str = "", partial: object = None) -> None:
        super().__init__()
        self.offset = offset
        self.path = path
        self.partial = partial

    @property
    def reason(self) -> str:
        """The problem without its place."""
        return "malformed"

    def __str__(self) -> str:
        where = "" if self.offset is None else f"at byte {self.offset}"
        if self.path:
            where += (", " if where else "") + self.path
        return f"{where}: {self.reason}" if where else self.reason

    def kept(self) -> Self:
        """Return the error itself as part of a value, without its traceback. The traceback's frames would
        keep everything in them alive, and the garbage collector could not free it, since values are not
        tracked."""
        self.__traceback__ = self.__context__ = None
        return self

    def as_dict(self) -> dict[str, Any]:
        """Return `message`, `code`, `offset`, `path`, and the figures of the kind of error."""
        data: dict[str, Any] = {"message": str(self), "code": self.code}
        data |= {"offset": self.offset, "path": self.path}
        data.update((k, v) for k, v in vars(self).items() if k not in ("offset", "path", "partial"))
        return data


class Truncated(ProtocolError):
    """A read of more bytes than are left."""

    code = "truncated"

    def __init__(self, needed: int, available: int, **where: Any) -> None:
        super().__init__(**where)
        self.needed = needed
        self.available = available

    @property
    def reason(self) -> str:
        """`needs 16 bytes, 3 left`."""
        unit = "byte" if self.needed == 1 else "bytes"
        return f"needs {self.needed} {unit}, {self.available} left"


class OverLimit(ProtocolError):
    """A length, count or depth above the limit of the definitions or of `codec.limits`."""

    code = "over-limit"

    def __init__(self, limit: int, actual: int, what: str = "length", **where: Any) -> None:
        super().__init__(**where)
        self.limit = limit
        self.actual = actual
        self.what = what

    @property
    def reason(self) -> str:
        """`count 70000 is over the limit of 16384`."""
        return f"{self.what} {self.actual} is over the limit of {self.limit}"


class BadValue(ProtocolError):
    """A value without a meaning here: a union discriminant without an arm, a wrong Python type."""

    code = "bad-value"

    def __init__(self, problem: str, **where: Any) -> None:
        super().__init__(**where)
        self.problem = problem

    @property
    def reason(self) -> str:
        """The problem as a sentence."""
        return self.problem


class NotCanonical(ProtocolError):
    """Bytes that a peer would accept, but no encoder writes: padding that is not zero, a boolean other than 0
    and 1. `value` is the decoded value, `next` the position after it."""

    code = "not-canonical"

    def __init__(self, problem: str, value: object, next: int, **where: Any) -> None:
        super().__init__(**where)
        self.problem = problem
        self.value = value
        self.next = next

    @property
    def reason(self) -> str:
        """The problem as a sentence."""
        return self.problem


class FrameError(ProtocolError):
    """An invalid length word; the stream cannot continue after it."""

    code = "frame"

    def __init__(self, length: int, limit: int, **where: Any) -> None:
        super().__init__(**where)
        self.length = length
        self.limit = limit

    @property
    def reason(self) -> str:
        """`length word 5 is not between 28 and 33554436`."""
        return f"expected a length word between 28 and {self.limit}, got {self.length}"


class NotDefinitions(ValueError):
    """Expected definitions, got a folder (`path`) that holds a Python package and no .x file."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"expected definitions, got a Python package without .x files: {path}")
        self.path = path
