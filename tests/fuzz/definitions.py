"""Fuzz targets of definitions: the parsers, and the generator with what it writes."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from libvirt_proto.codec import interpreter
from libvirt_proto.codec.xdrtype import XdrType
from libvirt_proto_codegen import pipeline
from libvirt_proto_codegen.definitions import load_schema
from libvirt_proto_codegen.errors import DefinitionError
from libvirt_proto_codegen.preprocess import (
    MAX_EXPANDED,
    MAX_INCLUDED_SIZE,
    MAX_TOKENS,
    Include,
    preprocess,
)
from libvirt_proto_codegen.printer import print_specification
from libvirt_proto_codegen.providers.parse import read_provider
from libvirt_proto_codegen.providers.printer import print_provider
from libvirt_proto_codegen.reader import read_specification, source_of
from libvirt_proto_codegen.schema import Schema
from libvirt_proto_codegen.source import Source
from tests.support.oracles import placed_in_words, understood_or_refused, value_or_error
from tests.support.packages import imported
from tests.support.values import TooLarge, fuzzed_value

from .taker import Taker
from .writer import Writer


def xdr(data: bytes) -> None:
    """A .x file is refused with places and words, or understood; printed it parses to the same."""
    try:
        text = source_of("a.x", data).text
    except DefinitionError as error:
        assert error.problems
        return
    understood_or_refused(text)


def preprocessor(data: bytes) -> None:
    """The first two bytes are the length of a file that the rest, another one, may include as "b.x".

    Text is refused with places and words, or gives tokens. Each has its place in one of the files, and its
    text there unless a macro made it."""
    taker = Taker(data)
    size = taker.number(2)
    included = Source("b.x", taker.take(size).decode("latin-1"))
    source = Source("a.x", taker.rest().decode("latin-1"))
    include: Include = lambda name, _: included if name == "b.x" else None  # noqa: E731
    try:
        found = preprocess(source, include, {"GIVEN": 3})
    except DefinitionError as error:
        placed_in_words(error, MAX_INCLUDED_SIZE)
        return
    assert len(found.tokens) <= MAX_TOKENS + MAX_EXPANDED
    for token in found.tokens:
        assert token.source in (source, included)
        assert 0 <= token.start < token.end <= len(token.source.text)
        assert token.text
        assert token.expanded or token.text in ("1", token.source.text[token.start : token.end])
    for span in (*found.comments, *found.passthrough):
        assert span.source.text[span.start : span.start + 1] in ("/", "%", "#", " ", "\t")
    for name, macro in found.macros.used.items():
        assert name.isidentifier()
        assert -(2**63) <= macro.value < 2**64


def provider(data: bytes) -> None:
    """The same of a provider file."""
    try:
        text = source_of("a_probes.d", data).text
        found = read_provider(Source("a_probes.d", text))
    except DefinitionError as error:
        placed_in_words(error, len(data))
        return
    again = read_provider(Source("a_probes.d", print_provider(found)))
    assert again == found
    assert print_provider(again) == print_provider(found)


def generator(data: bytes) -> None:
    """The first two bytes: how much is for values; whether the rest is a .x file, or what one is made from.

    Definitions are refused with places and words, or all targets can be made of them. Printed definitions
    give the same Python but for the head. It imports; values of every type come back from their bytes, fast
    and careful; and any bytes give a value or a ProtocolError."""
    taker = Taker(data)
    split, written = taker.number(1), taker.below(2)
    values = Taker(taker.take(split))
    text = taker.rest().decode(errors="replace") if written else Writer(taker).text()
    with tempfile.TemporaryDirectory(prefix="libvirt-proto-fuzz-") as folder:
        schema = _schema(Path(folder), text)
        if schema is None:
            return
        python, *_ = (
            {artefact.path: artefact.text for artefact in pipeline.generate(schema, target)}
            for target in ("python", "systemtap")
        )
        printed = print_specification(read_specification(Source("fuzzed.x", text)))
        again = _schema(Path(folder), printed)
        assert again is not None
        same = {artefact.path: artefact.text for artefact in pipeline.generate(again, "python")}
    assert _bodies(same) == _bodies(python)
    with imported("_fuzzed", python) as package:  # and nothing of it afterwards: the fuzzer makes millions
        for type_ in package.fuzzed.TYPES.values():
            understood_or_refused(type_.text)
            _round_trip(type_, values)


def _schema(folder: Path, text: str) -> Schema | None:
    path = folder / "fuzzed.x"
    path.write_bytes(text.encode("utf-8", "replace"))
    try:
        return load_schema([path])
    except DefinitionError as error:
        placed_in_words(error, len(text))
        return None


def _bodies(texts: Mapping[str, str]) -> dict[str, str]:
    """Files without their heads, which have the definitions' SHA-256."""
    return {name: text.partition('"""')[2] for name, text in texts.items()}


def _round_trip(type_: XdrType, taker: Taker) -> None:
    try:
        one = fuzzed_value(type_, taker)
    except TooLarge:
        pass
    else:
        data = type_.to_bytes(one)
        assert type_.from_bytes(data) == one
        assert type_.to_bytes(type_.from_bytes(data)) == data
        assert interpreter.write(type_.types, type_.reference, one) == data
        reading = interpreter.read(type_.types, type_.reference, data)
        assert (reading.value, reading.next, reading.error) == (one, len(data), None)
        assert type_.min_size <= len(data)
        assert type_.max_size is None or len(data) <= type_.max_size
        value_or_error(type_, data[:-1])
    value_or_error(type_, taker.take(40))
