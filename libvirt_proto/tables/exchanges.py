"""The table of exchanges: Exchanges in, batches of Arrow columns out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..jsonlines.presenter import connection_name
from ..rpc.names import Names
from ..rpc.objects import ObjectFinder
from .arrow import exchange_batch
from .rows import MAX_BYTES, MAX_ROWS, int64, reported

if TYPE_CHECKING:
    import pyarrow as pa

    from ..events import Captured
    from ..registry import Registry
    from ..session import Exchange


class ExchangeTable:
    """Exchanges of several inputs, in one table."""

    def __init__(self, registry: Registry) -> None:
        self._names = Names(registry)
        self._objects = ObjectFinder(registry)
        self._input = ""
        self._rows: list[tuple[Any, ...]] = []
        self._size = 0

    def begin(self, name: str) -> None:
        """Begin with the input of a name."""
        self._input = name

    def add(self, exchange: Exchange) -> None:
        """Add an exchange."""
        call, reply, stream, header = exchange.call, exchange.reply, exchange.stream, exchange.header
        object_ = self._objects.subject(call.message if call else None, reply.message if reply else None)
        kind, name, uuid = (
            (None, None, None) if object_ is None else (object_.kind, object_.name, object_.uuid)
        )
        errors = [reported(failure) for failure in exchange.failures]
        code, error = next((each for each in errors if each[0] is not None), (None, None))
        program, procedure = self._names.of(header)
        self._rows.append(
            (
                self._input,
                exchange.n,
                int64(exchange.first_ns),
                int64(exchange.first_ns),
                connection_name(exchange.connection),
                exchange.outcome,
                header.prog,
                program,
                header.vers,
                header.proc,
                procedure,
                header.serial,
                int64(exchange.latency_ns),
                exchange.overtaken,
                exchange.messages,
                exchange.bytes_c2s,
                exchange.bytes_s2c,
                *_place(call),
                *_place(reply),
                kind,
                name,
                uuid,
                None if stream is None else stream.bytes_c2s,
                None if stream is None else stream.bytes_s2c,
                None if stream is None else stream.end,
                error,
                code,
            )
        )
        self._size += len(name or "") + len(error or "")

    def is_full(self) -> bool:
        """Return whether there should be a batch now."""
        return len(self._rows) >= MAX_ROWS or self._size >= MAX_BYTES

    def __len__(self) -> int:
        """Number of rows since the last batch."""
        return len(self._rows)

    def take(self) -> pa.RecordBatch:
        """Return the rows since the last batch."""
        rows, self._rows, self._size = self._rows, [], 0
        return exchange_batch(rows)


def _place(captured: Captured | None) -> tuple[int | None, int | None]:
    """Return the number of a message, and of the packet that completes it."""
    return (None, None) if captured is None else (captured.n, captured.packet)
