"""Properties of any input, checked by hypothesis and by the fuzzer (atheris)."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterator

from libvirt_proto import ProtocolError, encode_message, registry
from libvirt_proto.capture.sources import FileFormat, read_source
from libvirt_proto.capture.stream import messages
from libvirt_proto.codec import interpreter
from libvirt_proto.codec.xdrtype import XdrType
from libvirt_proto.errors import SourceError
from libvirt_proto.events import Captured, Chunk, Closed, ConnectionEvent, Item, LogLine, Notice, ProbeEvent
from libvirt_proto.jsonlines.reader import Parser
from libvirt_proto.rpc.message import decode_message
from libvirt_proto.rpc.wire import MIN_FRAME
from libvirt_proto_codegen.errors import DefinitionError
from libvirt_proto_codegen.model import Specification
from libvirt_proto_codegen.printer import print_specification
from libvirt_proto_codegen.reader import read_specification
from libvirt_proto_codegen.source import Source

PROGRAMS = frozenset((0x20008086, 0x20008087, 0x06900690, 0x6B656570))


def value_or_error(type_: XdrType, data: bytes) -> None:
    """from_bytes gives a value that encodes again, or an error that names a place in the data; the
    fast way and the careful one agree."""
    reading = interpreter.read(type_.types, type_.reference, data)
    try:
        value, after = type_.decode(data, 0)
    except (struct.error, ProtocolError):
        assert reading.error is not None or reading.remarks
    else:
        assert reading.error is None
        assert not reading.remarks
        assert (repr(value), after) == (repr(reading.value), reading.next)
        assert type_.to_bytes(value) == data[:after]
    if reading.error:
        assert reading.error.offset is not None
        assert 0 <= reading.error.offset <= len(data)
        assert str(reading.error)
        try:
            type_.from_bytes(data)
        except ProtocolError:
            return
        raise AssertionError("the careful way has an error, from_bytes has none")


def line_or_error(line: bytes) -> None:
    """A JSON line is a message that encodes to the accompanying frame, or an error with a message."""
    try:
        parsed = Parser(registry.default())(line)
    except ProtocolError as error:
        assert error.reason
        assert error.offset is None
    else:
        assert parsed is None or parsed.frame == encode_message(parsed.captured.message)


def items(data: bytes, format: FileFormat | None = None) -> list[Item] | None:
    """The items that a source gives for some bytes; None if it rejects them with an error."""
    try:
        return list(read_source(io.BytesIO(data), "bytes", format=format))
    except SourceError as error:
        assert str(error).startswith("bytes: ")
        return None


def readable(data: bytes, format: FileFormat | None = None) -> None:
    """The data and its messages are read to the end; every value has its declared type."""
    found = items(data, format)
    if found is None:
        return
    count = message_bytes = 0
    for item in messages(_right(found), decode_message, programs=PROGRAMS):
        if isinstance(item, Captured):
            count += 1
            assert item.n == count
            unknown = item.message.missing < 0  # a debug line has only the header
            message_bytes += MIN_FRAME if unknown else item.message.length - item.message.missing
        elif isinstance(item, Notice):
            assert item.text
        else:
            assert isinstance(item, ConnectionEvent | Closed | LogLine | ProbeEvent)
    assert message_bytes <= sum(len(item.data) for item in found if isinstance(item, Chunk))


def _right(found: list[Item]) -> Iterator[Item]:
    for item in found:
        assert not isinstance(item, Chunk) or (item.lost >= -1 and item.cut >= -1)
        yield item


def understood_or_refused(text: str) -> Specification | None:
    """A Specification that prints and parses to itself, or None if the text has problems with places."""
    try:
        specification = read_specification(Source("a.x", text))
    except DefinitionError as error:
        placed_in_words(error, len(text))
        assert re.match(r"a\.x:\d+:\d+: error: \S|error: a\.x: ", str(error))
        return None
    assert read_specification(Source("a.x", print_specification(specification))) == specification
    return specification


def placed_in_words(error: DefinitionError, size: int) -> None:
    """There are problems, each with a message and a place within the text."""
    assert error.problems
    for problem in error.problems:
        assert problem.message
        if problem.span:
            assert 0 <= problem.span.start <= problem.span.end <= size
