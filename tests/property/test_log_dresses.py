"""A log decodes to the same messages, however it is written, quoted, encoded or wrapped."""

from __future__ import annotations

import io
from collections.abc import Mapping
from itertools import product
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from libvirt_proto.capture.sources import read_source
from libvirt_proto.events import Chunk, ConnectionEvent, Notice
from tests.support.dresses import ENCODINGS, FORMS, PREFIXES, QUOTES, WRAPS, Dress

#: Quoted-printable text is wrapped.
ONE_LINE = {name: dress for name, dress in ENCODINGS.items() if name != "quoted-printable"}
#: A record without a head has no end that a value could not contain.
ONE_A_LINE = {name: dress for name, dress in QUOTES.items() if name not in ("two a line", "italic")}
#: What a program writes stays one line; a long line cannot be joined again once it is wrapped.
SHORT = {name: PREFIXES[name] for name in ("program", "docker compose", "grep -n", "nl", "ts -s")}


def pairs(*kinds: tuple[Mapping[str, Dress], Mapping[str, Dress]]) -> list[ParameterSet]:
    return [
        pytest.param(dress, again, id=f"{first}, {second}")
        for inner, outer in kinds
        for (first, dress), (second, again) in product(inner.items(), outer.items())
    ]


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


@pytest.mark.parametrize(
    ("dress", "again"), pairs((PREFIXES, {"": str}), (FORMS, {"": str}), (WRAPS, {"": str}))
)
def test_dress(dress: Dress, again: Dress, log: str) -> None:
    same(dress(log), log)


@pytest.mark.parametrize(
    ("dress", "again"),
    pairs(
        (PREFIXES, QUOTES),
        (PREFIXES, ONE_LINE),
        (FORMS, ONE_A_LINE),
        (FORMS, ONE_LINE),
        (QUOTES, ENCODINGS),
        (SHORT, WRAPS),
        (SHORT, ENCODINGS),
        (WRAPS, ONE_LINE),
    ),
)
def test_dress_of_a_dress(dress: Dress, again: Dress, log: str) -> None:
    same(again(dress(log)), log)
