"""Files of tables: Parquet, and streams in Arrow's format for interprocess communication."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final

import pyarrow as pa

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

#: Columns whose values mostly grow: their differences are smaller, and only their ranges help a query.
_GROWING: Final = frozenset(
    ("n", "time", "time_ns", "frame", "serial", "call_n", "call_frame", "reply_n", "reply_frame")
)


class _Written(io.RawIOBase):
    """Bytes that a writer has written."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer, /) -> int:
        self._parts.append(bytes(data))
        return len(self._parts[-1])

    def take(self) -> bytes:
        """Return what was written since the last call."""
        parts, self._parts = self._parts, []
        return b"".join(parts)


class TableFile:
    """A file of record batches, as bytes in the order in which they are to be written. Each batch is a row
    group of Parquet, or a batch of the stream; it is written at once, so that memory does not grow."""

    def __init__(self, format_: str, schema: pa.Schema, redacted: str | None = None) -> None:
        if redacted is not None:
            schema = schema.with_metadata({"libvirt_proto.redacted": redacted})
        self._written = _Written()
        self._schema = schema
        if format_ == "arrow":
            self._writer = pa.ipc.new_stream(self._written, schema)
            return
        from pyarrow import parquet  # slow to load

        coded = [field.name for field in schema if pa.types.is_dictionary(field.type)]
        growing = {name: "DELTA_BINARY_PACKED" for name in schema.names if name in _GROWING}
        self._writer = parquet.ParquetWriter(
            pa.PythonFile(self._written, "w"),
            schema,
            compression="zstd",
            use_dictionary=coded,
            write_statistics=[*growing],
            column_encoding=growing,
        )

    def write(self, batch: pa.RecordBatch) -> bytes:
        """Return the bytes that a batch adds."""
        self._writer.write_batch(batch.replace_schema_metadata(self._schema.metadata))
        return self._written.take()

    def end(self) -> bytes:
        """Return the end of the file."""
        self._writer.close()
        return self._written.take()
