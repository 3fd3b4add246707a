"""A log decodes to the same messages, however it is written, quoted, encoded or wrapped."""

from __future__ import annotations

import io
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from libvirt_proto.capture.sources import read_source
from libvirt_proto.events import Chunk, ConnectionEvent, Notice
from tests.support.dresses import ALL, ENCODINGS, FORMS, PREFIXES, QUOTES, WRAPS, Dress
from tests.support.examples import examples

#: Quoted-printable text is wrapped; a whole log on a line has no ends of records.
ONE_LINE = {
    name: dress for name, dress in ENCODINGS.items() if name not in ("quoted-printable", "line ends as text")
}
#: A record without a head has no end that a value could not contain.
ONE_A_LINE = {name: dress for name, dress in QUOTES.items() if name not in ("two a line", "italic")}
#: Fields of an entry follow each other; wrapped lines have no numbers of their own.
FIELDS = {name: dress for name, dress in ONE_A_LINE.items() if name != "blank lines"}
PLAIN = {name: dress for name, dress in ONE_LINE.items() if name not in ("spans", "cells")}
#: What a program writes stays one line; a long line cannot be joined again once it is wrapped.
SHORT = {name: PREFIXES[name] for name in ("program", "docker compose", "grep -n", "nl", "ts -s")}


@pytest.fixture(scope="module")
def log(captures: Path) -> str:
    """Lines about RPC, and some others between them."""
    lines = (captures / "libvirtd-rpc-info.log").read_text().splitlines(keepends=True)
    return "".join(lines[40:70])


def seen(text: str) -> tuple[list[tuple[object, ...]], list[str], set[str]]:
    """The messages with their times, the kinds of events, and the codes of errors."""
    chunks: list[tuple[object, ...]] = []
    events: list[str] = []
    problems: set[str] = set()
    for item in read_source(io.BytesIO(text.encode()), "log"):
        if isinstance(item, Chunk) and item.data:
            chunks.append((item.direction, item.data, item.connection.side, item.time_ns))
        elif isinstance(item, ConnectionEvent):
            events.append(item.kind)
        elif isinstance(item, Notice) and item.severity == "error":
            problems.add(item.code)
    return chunks, events, problems


def same(dressed: str, log: str) -> None:
    expected = seen(log)
    assert len(expected[0]) > 8
    assert len(expected[1]) > 4
    assert seen(dressed) == expected


PAIRS = [
    (dress, again)
    for inner, outer in (
        (PREFIXES, QUOTES),
        (PREFIXES, ONE_LINE),
        (FORMS, FIELDS),
        (FORMS, ONE_LINE),
        (QUOTES, ONE_LINE),
        (ONE_A_LINE, ENCODINGS),
        (SHORT, WRAPS),
        (SHORT, ENCODINGS),
        (WRAPS, PLAIN),
    )
    for dress, again in product(inner.items(), outer.items())
]


@pytest.mark.parametrize("name", ALL)
def test_dress(name: str, log: str) -> None:
    same(ALL[name](log), log)


@given(st.sampled_from(PAIRS))
@settings(max_examples=examples(200))
def test_dress_of_a_dress(log: str, pair: tuple[tuple[str, Dress], tuple[str, Dress]]) -> None:
    (first, dress), (second, again) = pair
    note(f"{first}, {second}")
    same(again(dress(log)), log)
