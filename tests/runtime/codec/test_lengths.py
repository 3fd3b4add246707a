"""Lengths of values and their limits."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from libvirt_proto.codec.lengths import MAX_PARTS, LengthWalks
from libvirt_proto.codec.types import Bound
from libvirt_proto.codec.xdrtype import XdrType
from tests.support.doubling import LEVELS, NAMES, counted_visits, doubling_types
from tests.support.frames import text, word
from tests.support.packages import imported, python_texts

#: A place with its limit and a length; or a part that is absent.
Report = tuple[str, int, int] | str


@dataclass
class Place:
    name: str
    limit: int
    reports: list[Report]
    threshold: int = -1

    def report(self, length: int) -> None:
        self.reports.append((self.name, self.limit, length))


class Walks(LengthWalks):
    """Keeps all places, and reports every length."""

    def __init__(self, new: XdrType, old: XdrType) -> None:
        super().__init__(new.types, old.types)
        self.reports: list[Report] = []
        self.paths: list[str] = []

    def place(self, what: str, path: str, limit: Bound) -> Place:
        self.paths.append(path)
        return Place(f"{what} {path}", limit.value, self.reports)

    def absent(self, type_: str, part: str) -> None:
        self.reports.append(f"{type_}.{part}")


def reports(new: str, old: str, data: bytes) -> list[Report]:
    """Reports on a value of the type `top` by other definitions of it."""
    with (
        imported("_new", python_texts("new", new)) as newer,
        imported("_old", python_texts("old", old)) as older,
    ):
        type_, limits = newer.new.TYPES["top"], older.old.TYPES["top"]
        walks = Walks(type_, limits)
        walk = walks.visit(type_.reference, limits.reference, "top")
        if walk is not None:
            walk(type_.from_bytes(data))
        return walks.reports


@pytest.mark.parametrize(
    ("new", "old", "data", "expected"),
    [
        ("typedef string top<9>;", "typedef string top<5>;", text(b"a"), [("string top", 5, 1)]),
        ("typedef string top<9>;", "typedef string top<5>;", text("é".encode()), [("string top", 5, 2)]),
        ("typedef string top<9>;", "typedef string top<5>;", text(b"\xff\xfe"), [("string top", 5, 2)]),
        ("typedef string top<9>;", "typedef string top<>;", text(b"a"), []),
        ("typedef string top<>;", "typedef opaque top<5>;", text(b"a"), [("string top", 5, 1)]),
        ("typedef opaque top<>;", "typedef string top<5>;", text(b"a"), [("opaque top", 5, 1)]),
        ("typedef opaque top[4];", "typedef opaque top[3];", b"abcd", []),
        ("typedef int top;", "typedef string top<5>;", word(7), []),
        ("typedef string top<>;", "typedef int top;", text(b"a"), []),
        ("typedef int top<>;", "typedef int top<3>;", word(2) + word(5) * 2, [("list top", 3, 2)]),
        ("typedef int top<>;", "typedef int top;", word(2) + word(5) * 2, []),
        ("typedef int top<>;", "typedef int top[2];", word(1) + word(5), [("list top", 2, 1)]),
        ("typedef int top[2];", "typedef int top<3>;", word(5) * 2, []),
        ("typedef int top[2];", "typedef int top<1>;", word(5) * 2, [("list top", 1, 2)]),
        ("typedef int top[2];", "typedef int top[1];", word(5) * 2, [("list top", 1, 2)]),
    ],
)
def test_lengths_by_the_limits_of_other_definitions(
    new: str, old: str, data: bytes, expected: list[Report]
) -> None:
    assert reports(new, old, data) == expected


S = "typedef string s<5>;"


@pytest.mark.parametrize(
    ("new", "old", "data", "expected"),
    [
        (
            "struct top { s list<9>; };",
            "struct top { s list<8>; };",
            word(2) + text(b"a") + text(b"bb"),
            [("list top.list", 8, 2), ("string top.list[]", 5, 1), ("string top.list[]", 5, 2)],
        ),
        (
            "struct top { s fixed[1]; s *maybe; s *none; };",
            "struct top { s fixed[1]; s *maybe; s *none; };",
            text(b"a") + word(1) + text(b"bb") + word(0),
            [("string top.fixed[]", 5, 1), ("string top.maybe", 5, 2)],
        ),
        ("struct top { s *a; };", "struct top { s a; };", word(1) + text(b"a"), []),
        (
            "struct top { s a; s b; s c; };",
            "struct top { s c; };",
            text(b"a") + text(b"bb") + text(b"ccc"),
            ["top.a", "top.b", ("string top.c", 5, 3)],
        ),
        (
            "struct top { s a; s b; };",
            "struct top { s a; s old; };",
            text(b"a") + text(b"bb"),
            [("string top.a", 5, 1), ("string top.b", 5, 2)],
        ),
        ("struct top { s a; };", "typedef s top;", text(b"a"), []),
        ("struct top { int a; hyper b; };", "struct top { int a; hyper b; };", bytes(12), []),
    ],
)
def test_fields_match_by_name_or_position(new: str, old: str, data: bytes, expected: list[Report]) -> None:
    assert reports(S + new, S + old, data) == expected


UNION = S + "union top switch (int k) { case 1: s a; case 2: void; %s };"


@pytest.mark.parametrize(
    ("new", "old", "number", "expected"),
    [
        ("case 3: s b;", "case 3: s b;", 1, [("string top.a", 5, 1)]),
        ("case 3: s b;", "case 3: s b;", 2, []),
        ("case 3: s b;", "case 3: s b;", 3, [("string top.b", 5, 1)]),
        ("case 3: s b;", "", 3, ["top.b"]),
        ("case 4: void;", "", 4, ["top.case 4"]),
        ("case 3: s b;", "default: s other;", 3, [("string top.b", 5, 1)]),
        ("default: s b;", "default: s b;", 9, [("string top.b", 5, 1)]),
        ("default: s b;", "", 9, ["top.b"]),
        ("default: s b;", "", 1, [("string top.a", 5, 1)]),
        ("default: void;", "", 9, ["top.case 9"]),
        ("default: void;", "", 2, []),
        ("default: s b;", "case 3: s b;", 3, [("string top.b", 5, 1)]),
        ("default: s b;", "case 3: s b;", 9, ["top.b"]),
    ],
)
def test_arms_match_by_number(new: str, old: str, number: int, expected: list[Report]) -> None:
    with imported("_u", python_texts("u", UNION % new)) as package:
        top = package.u.TYPES["top"].node
        has_text = top.arm(number).name is not None
    data = word(number) + (text(b"x") if has_text else b"")
    assert reports(UNION % new, UNION % old, data) == expected


def test_a_union_is_not_compared_with_another_type() -> None:
    assert reports(UNION % "", "typedef int top;", word(1) + text(b"x")) == []


def test_paths_of_a_type_within_itself_begin_with_its_name() -> None:
    link = S + "struct link { s name; link *next; }; struct top { link first; };"
    data = text(b"a") + word(1) + text(b"bb") + word(0)
    assert reports(link, link, data) == [("string link.name", 5, 1), ("string link.name", 5, 2)]


@pytest.mark.parametrize("name", NAMES)
def test_types_within_types_are_visited_a_limited_number_of_times(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    type_ = doubling_types()[f"{name}{LEVELS - 1}"]
    visits = counted_visits(monkeypatch)
    walks = Walks(type_, type_)
    assert walks.visit(type_.reference, type_.reference, "top") is not None
    assert visits() < 3 * MAX_PARTS * LEVELS
    assert len(walks.paths) == len(set(walks.paths)) < MAX_PARTS * LEVELS
    assert max(path.count(".") for path in walks.paths) < 12
