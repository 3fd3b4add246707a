"""The exceptions of the package: data first, a sentence second. All are subclasses of Error."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from .similar import question, similar_names

if TYPE_CHECKING:
    from pathlib import Path


class Error(Exception):
    """The base class of every exception that the package raises for its input or its arguments."""


def reason(error: OSError) -> str:
    """Return the system's words for an OSError, in lower case: `no such file or directory`."""
    text = error.strerror or str(error) or type(error).__name__
    return text[:1].lower() + text[1:]


class ProtocolError(Error, ValueError):
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

    def __repr__(self) -> str:
        figures = {**vars(self), "offset": self.offset, "path": self.path or None}
        shown = ", ".join(
            f"{name}={value!r}"
            for name, value in figures.items()
            if value is not None and name not in _NOT_IN_REPR and not name.startswith("__")
        )
        return f"{type(self).__name__}({shown})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (type(self), vars(self))

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


#: Attributes of ProtocolErrors that may be as large as their input.
_NOT_IN_REPR = frozenset(("partial", "value", "next"))


def _restored(kind: type[ProtocolError], attributes: dict[str, Any]) -> ProtocolError:
    """Return the error that was pickled or copied."""
    error = kind.__new__(kind)
    vars(error).update(attributes)
    return error


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


class SourceError(Error):
    """An input that cannot be opened, or whose format is not recognised; the text names the input."""


class CaptureError(Error):
    """A Capture that is used out of order: read twice although its input cannot be read again, or read
    after it was closed."""


class UnknownName(Error, KeyError):
    """A name or number that the definitions do not have.

    `kind` is what it was looked up as (`program`, `procedure`, `type`, …), `name` what was looked up.
    """

    def __init__(self, kind: str, name: str | int, known: Iterable[str] = ()) -> None:
        super().__init__(name)
        self.kind = kind
        self.name = name
        self._known = known

    @cached_property
    def suggestions(self) -> tuple[str, ...]:
        """Known names that are similar, the best first: at most three, often none."""
        return similar_names(self.name, self._known) if isinstance(self.name, str) else ()

    def __str__(self) -> str:
        if isinstance(self.name, int):
            return f"no {self.kind} has the number {self.name}"
        return f"unknown {self.kind} {self.name!r}.{question(self.suggestions)}"

    def __repr__(self) -> str:
        return f"UnknownName({self.kind!r}, {self.name!r}, suggestions={self.suggestions!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.kind, self.name, self.suggestions)


class MissingGenerator(Error, LookupError):
    """Definitions cannot be compiled, because libvirt_proto_codegen is not installed."""


class NotDefinitions(Error, ValueError):
    """Expected definitions, got a folder (`path`) that holds a Python package and no .x file."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"expected definitions, got a Python package without .x files: {path}")
        self.path = path
