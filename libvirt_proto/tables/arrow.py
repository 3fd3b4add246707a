"""Batches of rows as Arrow record batches: the only module that knows pyarrow, with `files`.

Buffers of the native core are wrapped, not copied.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from .rows import ROW

if TYPE_CHECKING:
    from .rows import Batch

_DICTIONARY: Final = pa.dictionary(pa.int32(), pa.string())
_TIME: Final = pa.timestamp("ns", "UTC")
#: Columns of both tables that are never null.
_ALWAYS: Final = frozenset(
    (
        "file",
        "n",
        "conn",
        "prog",
        "vers",
        "proc",
        "serial",
        "type",
        "status",
        "outcome",
        "overtaken",
        "messages",
    )
)


def _schema(columns: Mapping[str, pa.DataType]) -> pa.Schema:
    return pa.schema([pa.field(name, type_, name not in _ALWAYS) for name, type_ in columns.items()])


#: The columns of messages (docs/tables.md).
MESSAGES: Final = _schema(
    {
        "file": _DICTIONARY,
        "n": pa.int64(),
        "time": _TIME,
        "time_ns": pa.int64(),
        "frame": pa.int64(),
        "conn": _DICTIONARY,
        "dir": _DICTIONARY,
        "length": pa.uint32(),
        "prog": pa.uint32(),
        "program": _DICTIONARY,
        "vers": pa.uint32(),
        "proc": pa.int32(),
        "procedure": _DICTIONARY,
        "type": _DICTIONARY,
        "status": _DICTIONARY,
        "serial": pa.uint32(),
        "fds": pa.uint32(),
        "payload_type": _DICTIONARY,
        "payload": pa.string(),
        "data": pa.binary(),
        "problem": pa.string(),
        "error": pa.string(),
        "error_code": pa.int32(),
        "missing": pa.int64(),
    }
)
#: The columns of exchanges.
EXCHANGES: Final = _schema(
    {
        "file": _DICTIONARY,
        "n": pa.int64(),
        "time": _TIME,
        "time_ns": pa.int64(),
        "conn": _DICTIONARY,
        "outcome": _DICTIONARY,
        "prog": pa.uint32(),
        "program": _DICTIONARY,
        "vers": pa.uint32(),
        "proc": pa.int32(),
        "procedure": _DICTIONARY,
        "serial": pa.uint32(),
        "latency_ns": pa.int64(),
        "overtaken": pa.int64(),
        "messages": pa.int64(),
        "bytes_c2s": pa.int64(),
        "bytes_s2c": pa.int64(),
        "call_n": pa.int64(),
        "call_frame": pa.int64(),
        "reply_n": pa.int64(),
        "reply_frame": pa.int64(),
        "object_kind": _DICTIONARY,
        "object_name": pa.string(),
        "object_uuid": pa.string(),
        "stream_bytes_c2s": pa.int64(),
        "stream_bytes_s2c": pa.int64(),
        "stream_end": _DICTIONARY,
        "error": pa.string(),
        "error_code": pa.int32(),
    }
)


def message_batch(
    batch: Batch, texts: Mapping[str, Sequence[str]], inputs: Sequence[tuple[str, int]]
) -> pa.RecordBatch:
    """Return the rows of messages. `texts` are those of the codes, by column; `inputs` are the inputs
    with their numbers of rows."""
    rows, values, conns = batch
    texts = {**texts, "conn": [*conns]}
    found = {}
    for name, column in zip(ROW, values, strict=True):
        type_ = MESSAGES.field(name).type
        is_coded = type_ is _DICTIONARY or type_ == _DICTIONARY
        made = _array(type_.index_type if is_coded else type_, rows, column)
        found[name] = _coded(made, texts[name]) if is_coded else made
    found["time"] = found["time_ns"].view(_TIME)
    found["file"] = _inputs(inputs)
    return pa.RecordBatch.from_arrays([found[name] for name in MESSAGES.names], schema=MESSAGES)


def exchange_batch(lines: bytes, inputs: Sequence[tuple[str, int]]) -> pa.RecordBatch:
    """Return the rows of exchanges, from lines of JSON with the names of their columns."""
    from pyarrow import json  # slow to load

    plain = pa.schema(
        (field.name, pa.string() if pa.types.is_dictionary(field.type) else field.type)
        for field in EXCHANGES
        if field.name not in ("file", "time")
    )
    rows = json.read_json(
        pa.BufferReader(lines),
        json.ReadOptions(use_threads=False, block_size=len(lines)),
        json.ParseOptions(explicit_schema=plain, unexpected_field_behavior="error"),
    ).combine_chunks()
    found = {"file": _inputs(inputs), "time": rows["time_ns"].combine_chunks().view(_TIME)}
    for field in EXCHANGES:
        if field.name not in found:
            column = rows[field.name].combine_chunks()
            found[field.name] = column.dictionary_encode() if pa.types.is_dictionary(field.type) else column
    return pa.RecordBatch.from_arrays([found[name] for name in EXCHANGES.names], schema=EXCHANGES)


def stream(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> pa.RecordBatchReader:
    """Return a stream of batches, which are made as they are read."""
    return pa.RecordBatchReader.from_batches(schema, batches)


def _array(type_: pa.DataType, rows: int, column: Any) -> pa.Array:
    """Return a column of the native core, or of Python."""
    if isinstance(column, list):
        return pa.array(column, type_)
    return pa.Array.from_buffers(
        type_, rows, [None if each is None else pa.py_buffer(each) for each in column]
    )


def _coded(codes: pa.Array, texts: Sequence[str]) -> pa.DictionaryArray:
    """Return texts by their codes. (`pa.array` of a list would import pandas if that is installed.)"""
    data = [text.encode() for text in texts]
    ends = array("i", accumulate(map(len, data), initial=0))
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(b"".join(data))]
    return pa.DictionaryArray.from_arrays(
        codes, pa.Array.from_buffers(pa.string(), len(data), buffers), safe=False
    )


def _inputs(inputs: Sequence[tuple[str, int]]) -> pa.DictionaryArray:
    """Return the column of the inputs."""
    names = {name: code for code, name in enumerate(dict.fromkeys(name for name, _ in inputs))}
    codes = array("i")
    for name, rows in inputs:
        codes.extend(array("i", (names[name],)) * rows)
    return _coded(pa.Array.from_buffers(pa.int32(), len(codes), [None, pa.py_buffer(codes)]), [*names])
