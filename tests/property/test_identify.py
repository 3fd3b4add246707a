"""`identify` on any bytes: a result or a DefinitionError."""

from __future__ import annotations

import io
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from libvirt_proto.codec.identification import Identification
from libvirt_proto_codegen.errors import DefinitionError
from libvirt_proto_codegen.identify import binaries, definitions, tapsets
from tests.support.elf import with_symbols
from tests.support.examples import examples
from tests.support.release_files import probes

BINARY = with_symbols(["xdr_a", "xdr_a_clear", "x"], ["LIBVIRT_PRIVATE_9.0.0", "LIBVIRT_1.2.3"])
TAPSET = """\
function libvirt_rpc_procedure_name(program, version, proc, verbose) {
  if (program == 536903814 && version == 1) {
    if (proc < 2) { name = "connect_open" } else { name = "x" }
  }
}
"""
DEFINITIONS = "const A = 3;\nenum e { X = 1 };\nstruct s { int i; opaque o<A>; };\n"


@st.composite
def edited(draw: st.DrawFn, whole: bytes) -> bytes:
    """Some bytes with pieces replaced, removed or repeated."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 16)))
        data[start:end] = draw(st.binary(max_size=16) | st.just(bytes(data[start:end]) * 2))
    return bytes(data)


def outcome(identify: Callable[[], Identification]) -> str:
    """The message of a rejection; "" for a result, which has evidence."""
    try:
        identified = identify()
    except DefinitionError as error:
        return str(error)
    assert identified.evidence
    for each in identified.evidence:
        assert not (each.ranges and each.closest)
        assert bool(each.differences) == bool(each.closest)
    return ""


@settings(max_examples=examples(300))
@given(st.binary(max_size=200) | edited(BINARY))
def test_binary_is_identified_or_rejected(data: bytes) -> None:
    said = outcome(lambda: binaries.identify(io.BytesIO(data), "lib.so"))
    assert said == "" or "lib.so: " in said


@settings(max_examples=examples(150))
@given(edited((TAPSET + probes()[:600]).encode()))
def test_tapset_is_identified_or_rejected(data: bytes) -> None:
    said = outcome(lambda: tapsets.identify(data.decode("utf-8", "replace"), "a.stp"))
    assert said == "" or "a.stp: expected a tapset" in said


@given(edited(DEFINITIONS.encode()))
def test_definitions_are_identified_or_rejected(data: bytes) -> None:
    said = outcome(lambda: definitions.identify_file("a.x", data))
    assert said == "" or "a.x" in said
