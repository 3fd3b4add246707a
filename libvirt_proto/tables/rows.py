"""Rows of messages, in batches: in memory that a large capture does not grow.

The native core writes the rows of what it reads (`_native.Columns`); other messages are appended by Python.
Without it, Rows has them all.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ..codec.values import Partial
from ..jsonlines.presenter import JsonLinesPresenter, MessageLine
from ..rpc.message import Status
from ..rpc.names import STATUSES, TYPES
from ..rpc.reported import reported_text

if TYPE_CHECKING:
    from ..events import Captured
    from ..registry import Registry

#: The values of a row, in the order of `_native.c`: integers of eight and of four bytes (in the last nine
#: and in `conn` some are codes of texts), then texts.
ROW: Final = (
    *("n", "time_ns", "frame", "missing"),
    *("conn", "length", "serial", "fds", "error_code"),
    *("dir", "prog", "program", "vers", "proc", "procedure", "type", "status", "payload_type"),
    *("payload", "data", "problem", "error"),
)
_TEXTS: Final = ROW.index("payload")
_CONN: Final = ROW.index("conn")
#: A batch is full with this many rows or bytes of texts.
MAX_ROWS: Final = 65_536
MAX_BYTES: Final = 16 << 20
_ERROR: Final = int(Status.VIR_NET_ERROR)
_MAX_INT64: Final = (1 << 63) - 1

#: Number of rows; for each column its values, or its bits, ends and bytes; names of connections → codes.
Batch = tuple[int, tuple[Any, ...], dict[str, int]]


class Rows:
    """The rows of a batch: the same in Python as `_native.Columns`."""

    def __init__(self) -> None:
        self._rows: list[tuple[Any, ...]] = []
        self._size = 0

    def __len__(self) -> int:
        return len(self._rows)

    def append(self, row: tuple[Any, ...]) -> None:
        """Add a row."""
        self._rows.append(row)
        self._size += sum(len(text) for text in row[_TEXTS:] if text)

    def is_full(self) -> bool:
        """Return whether the batch should be taken."""
        return len(self._rows) >= MAX_ROWS or self._size >= MAX_BYTES

    def take(self) -> Batch:
        """Return the rows, and begin a new batch."""
        rows, self._rows, self._size = self._rows, [], 0
        columns = [*map(list, zip(*rows, strict=True))] if rows else [[] for _ in ROW]
        conns = {name: code for code, name in enumerate(dict.fromkeys(columns[_CONN]))}
        columns[_CONN] = [conns[name] for name in columns[_CONN]]
        return len(rows), tuple(columns), conns


class Codes:
    """Numbers of texts that repeat. Some have theirs from the beginning; `forget` drops the others."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._codes = {text: code for code, text in enumerate(texts)}
        self._first = len(self._codes)

    def of(self, text: str | None) -> int | None:
        """Return the number of a text, None for None."""
        return None if text is None else self._codes.setdefault(text, len(self._codes))

    @property
    def texts(self) -> list[str]:
        """The texts in the order of their numbers."""
        return [*self._codes]

    def forget(self) -> None:
        """Drop all texts but those of the beginning."""
        if len(self._codes) > self._first:
            self._codes = dict(list(self._codes.items())[: self._first])


class Inputs:
    """The inputs of the rows of a batch."""

    def __init__(self) -> None:
        #: Names, and the number of rows before each.
        self._first: list[tuple[str, int]] = []

    def begin(self, name: str, rows: int) -> None:
        """Begin with an input after a number of rows."""
        if self._first and self._first[-1][1] == rows:  # the last one had none
            self._first.pop()
        self._first.append((name, rows))

    def take(self, rows: int) -> list[tuple[str, int]]:
        """Return the inputs with their numbers of rows, and begin a new batch after these rows."""
        ends = [*(first for _, first in self._first[1:]), rows]
        found = [(name, end - first) for (name, first), end in zip(self._first, ends, strict=True)]
        self._first = [(self._first[-1][0], 0)]
        return found


class RowMaker:
    """Makes the rows of messages."""

    def __init__(self, registry: Registry) -> None:
        self.presenter: Final = JsonLinesPresenter(registry)
        #: Texts by column. A hostile peer has any number of types and statuses without a name.
        self.codes: Final = {
            "dir": Codes(("c2s", "s2c")),
            "program": Codes(),
            "procedure": Codes(),
            "type": Codes(TYPES.values()),
            "status": Codes(STATUSES.values()),
            "payload_type": Codes(),
        }

    def row(self, captured: Captured) -> tuple[Any, ...]:
        """Return the row of a message."""
        line = self.presenter.line(captured)
        code, error = reported(captured)
        missing = captured.message.missing
        return (
            line.n,
            int64(line.time_ns),
            captured.packet,
            missing if missing >= 0 else None,
            line.conn,
            line.length,
            line.serial,
            line.fds,
            code,
            *self._kind(line),
            None if line.payload is None else msgspec.json.encode(line.payload),
            line.data,
            None if line.error is None else line.error.message,
            error,
        )

    def kind(self, captured: Captured) -> tuple[int | None, ...] | None:
        """Return the values that messages of a kind have in common; None for an unusual message."""
        if captured.packet is None or not self.presenter.is_plain(captured, data=True):
            return None
        return self._kind(self.presenter.line(captured))

    def _kind(self, line: MessageLine) -> tuple[int | None, ...]:
        codes = self.codes
        return (
            codes["dir"].of(line.dir),
            line.prog,
            codes["program"].of(line.program),
            line.vers,
            line.proc,
            codes["procedure"].of(line.procedure),
            codes["type"].of(str(line.type)),
            codes["status"].of(str(line.status)),
            codes["payload_type"].of(line.payload_type),
        )

    def forget(self) -> None:
        """Drop the texts of numbers without a name, at the end of a batch."""
        for column in ("type", "status"):
            self.codes[column].forget()


def reported(captured: Captured) -> tuple[int | None, str | None]:
    """Return the code and the message of the error that a message reports, as far as it was decoded."""
    payload = captured.message.payload
    if captured.message.header.status != _ERROR or payload is None:
        return None, None
    found = payload.fields.get if isinstance(payload, Partial) else partial(getattr, payload)
    code, text = found("code", None), found("message", None)
    return code, reported_text(text) if isinstance(text, str | bytes) else None


def int64(value: int | None) -> int | None:
    """Return an integer of 64 bits; None for others, such as the times of damaged files."""
    return value if value is not None and -_MAX_INT64 <= value <= _MAX_INT64 else None
