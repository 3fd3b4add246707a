"""Files of tables: Parquet, and streams in Arrow's format for interprocess communication."""

from __future__ import annotations

from typing import BinaryIO, Final

import pyarrow as pa

#: Columns whose values mostly grow: their differences are smaller, and only their ranges help a query.
_GROWING: Final = frozenset(
    ("n", "time", "time_ns", "frame", "serial", "call_n", "call_frame", "reply_n", "reply_frame")
)


class TableFile:
    """A file of record batches. Each batch is a row group of Parquet, or a batch of the stream; it is written
    at once, so that memory does not grow."""

    def __init__(self, out: BinaryIO, format_: str, schema: pa.Schema, redacted: str | None = None) -> None:
        if redacted is not None:
            schema = schema.with_metadata({"libvirt_proto.redacted": redacted})
        self._out = out
        self._schema = schema
        sink = pa.PythonFile(out, "w")
        if format_ == "arrow":
            self._writer = pa.ipc.new_stream(sink, schema)
            return
        from pyarrow import parquet  # slow to load

        growing = {name: "DELTA_BINARY_PACKED" for name in schema.names if name in _GROWING}
        self._writer = parquet.ParquetWriter(
            sink,
            schema,
            compression="zstd",
            use_dictionary=[field.name for field in schema if pa.types.is_dictionary(field.type)],
            write_statistics=[*growing],
            column_encoding=growing,
        )

    def write(self, batch: pa.RecordBatch) -> None:
        """Write a batch."""
        self._writer.write_batch(batch.replace_schema_metadata(self._schema.metadata))
        self._out.flush()

    def end(self) -> None:
        """Write the end of the file, which stays open."""
        self._writer.close()
        self._out.flush()
