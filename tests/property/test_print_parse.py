"""Printing and parsing change nothing; any text parses or raises an error with a message."""

from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from libvirt_proto_codegen.errors import DefinitionError
from libvirt_proto_codegen.model import ConstDef, Declaration, Definition, Specification, TypedefDef
from libvirt_proto_codegen.printer import print_declaration, print_definition, print_specification
from libvirt_proto_codegen.reader import read_specification, source_of
from libvirt_proto_codegen.source import Source
from tests.support.oracles import understood_or_refused

from .specifications import AT, declarations, definitions, specifications, types

SLOW = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])

#: XDR tokens, and other text.
SOUP = (
    "typedef const enum struct union program version switch case default void int unsigned hyper char "
    "opaque string bool { } ( ) [ ] < > ; : , = * - a B 0 1 017 08 0xff -5 /*x*/ // \n \n%y\n % $ # é \0 "
    "/**@generate:both*/ /*autogen /*insert@1*/ */"
)
TOKENS = st.sampled_from(SOUP.split(" "))

#: A file with one of everything, to damage.
WHOLE = """%#include "a.h"
const A = 0x10; // sixteen
typedef opaque uuid[A];
typedef string text<>;
enum e { /** @generate: both
 * @acl: domain:read */ X = 1, Y /* autogen skipgen priority:low | readstream@1 */ };
struct s { /* insert@1 */ uuid id; struct { int x<2>; unsigned *y; } in; /* insert@2 */ };
union u switch (e kind) { case X: case 5: void; default: s *next; };
program P { version V { void F(void) = 1; s G(int, u) = 2; } = 1; } = 0x20000000;
"""


@SLOW
@given(specifications, st.none() | st.text())
def test_printing_and_parsing_round_trips(specification: Specification, head: str | None) -> None:
    text = print_specification(specification, head)
    again = read_specification(Source(f"some/where/{specification.file}", text))
    assert again == specification
    assert print_specification(again, head) == text


@SLOW
@given(definitions)
def test_output_without_annotations_is_equivalent(definition: Definition) -> None:
    text = print_definition(definition, annotations=False)
    assert "/*" not in text
    (again,) = read_specification(Source("a.x", text)).definitions
    assert print_definition(again, annotations=True) == text
    assert (again.name, type(again)) == (definition.name, type(definition))


@SLOW
@given(declarations(types))
def test_declarations_print_as_typedefs_without_keyword(declaration: Declaration) -> None:
    text = print_declaration(declaration)
    typedef = TypedefDef(declaration, span=AT)
    assert print_definition(typedef, annotations=False) == f"typedef {text}"
    assert text.endswith(";")


@SLOW
@given(specifications)
def test_spaces_and_comments_between_tokens_change_nothing(specification: Specification) -> None:
    text = print_specification(specification)
    # A line that begins with % has no tokens, and comments must stay on their lines.
    passthrough, rest = re.match(r"((?:%.*\n)*)((?:.|\n)*)", text).groups()  # type: ignore[union-attr]
    squeezed = passthrough + re.sub(r"(?<=[;{:])\n +(?!/\*)", " ", rest)
    assert read_specification(Source(specification.file, squeezed)).definitions == specification.definitions
    assert read_specification(Source(specification.file, text.replace("\n", "\r\n"))) == specification


@given(st.text())
@example("")
@example("/*/")
@example("//")
@example("%\n%")
@example("\ufeff")
@example("\ud800")
def test_any_text_parses_or_raises(text: str) -> None:
    understood_or_refused(text)


@given(st.lists(TOKENS, max_size=40))
def test_any_tokens_parse_or_raise(tokens: list[str]) -> None:
    understood_or_refused(" ".join(tokens))


@given(st.binary())
def test_any_bytes_parse_or_raise(data: bytes) -> None:
    """UTF-8, or Latin-1 without control characters, is text."""
    is_text = not any((byte < 32 and chr(byte) not in "\t\n\v\f\r\x1a") or byte == 127 for byte in data)
    try:
        data.decode()
    except UnicodeDecodeError as reason:
        if not is_text:
            with pytest.raises(
                DefinitionError, match=f"invalid UTF-8: byte 0x.. at offset {reason.start}\\b"
            ):
                source_of("a.x", data)
            return
    understood_or_refused(source_of("a.x", data).text)


def test_undamaged_text_parses() -> None:
    definitions = read_specification(Source("a.x", WHOLE)).definitions
    assert len(definitions) == 7
    assert isinstance(definitions[0], ConstDef)


@SLOW
@given(st.data())
def test_damaged_text_parses_or_raises(data: st.DataObject) -> None:
    text = WHOLE
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 30)))
        text = text[:start] + data.draw(st.just("") | TOKENS | st.text(max_size=3)) + text[end:]
    understood_or_refused(text)
