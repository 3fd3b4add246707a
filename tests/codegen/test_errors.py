"""Places in sources, and how problems show them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libvirt_proto_codegen.errors import LINE_WIDTH, DefinitionError, Problem
from libvirt_proto_codegen.source import Source, Span

SOURCE = Source("a.x", "const A = 1;\r\n\n\tconst B = A;")


@pytest.mark.parametrize(
    ("offset", "position"),
    [(0, (1, 1)), (6, (1, 7)), (13, (1, 14)), (14, (2, 1)), (15, (3, 1)), (16, (3, 2)), (28, (3, 14))],
)
def test_position_counts_from_one(offset: int, position: tuple[int, int]) -> None:
    assert SOURCE.position(offset) == position


def test_lines_come_without_their_ends() -> None:
    assert [SOURCE.line(number) for number in (1, 2, 3)] == ["const A = 1;", "", "\tconst B = A;"]


@given(st.text(alphabet="ab\n\r", max_size=60), st.data())
def test_position_and_line_agree_with_split(text: str, data: st.DataObject) -> None:
    source = Source("a.x", text)
    offset = data.draw(st.integers(0, len(text)))
    line, column = source.position(offset)
    before = text[:offset]
    assert line == before.count("\n") + 1
    assert column == len(before) - (before.rfind("\n") + 1) + 1
    assert source.line(line) == text.split("\n")[line - 1].removesuffix("\r")


def test_span_says_where_it_is() -> None:
    span = Span(SOURCE, 22, 23)
    assert (str(span), span.line, span.column) == ("a.x:3:8", 3, 8)


def test_problem_shows_the_line_and_a_caret() -> None:
    problem = Problem(
        "unknown-name",
        Span(SOURCE, 26, 27),
        "unknown name A",
        hint="define it",
        related=((Span(SOURCE, 0, 5), "perhaps here"),),
    )
    assert str(problem) == (
        "a.x:3:12: error: unknown name A\n"
        "   const B = A;\n"
        "             ^\n"
        "a.x:1:1: note: perhaps here\n"
        "  const A = 1;\n"
        "  ^~~~~\n"
        "  hint: define it"
    )


def test_problem_without_a_place_is_one_line() -> None:
    assert str(Problem("unreadable", None, "a.x: Is a directory")) == "error: a.x: Is a directory"


def test_control_characters_are_not_shown() -> None:
    source = Source("a.x", "a\x1b[31m\x00b")
    assert str(Problem("syntax", Span(source, 1, 2), "stray")) == (
        "a.x:1:2: error: stray\n  a\N{REPLACEMENT CHARACTER}[31m\N{REPLACEMENT CHARACTER}b\n   ^"
    )


def test_a_span_of_several_lines_is_marked_on_its_first() -> None:
    assert str(Problem("syntax", Span(SOURCE, 6, 20), "too long")).splitlines()[2] == "        ^~~~~~"


@given(st.integers(0, 3000), st.integers(0, 3000), st.integers(0, 3000))
def test_long_lines_are_cut_around_the_caret(before: int, width: int, behind: int) -> None:
    source = Source("a.x", "-" * before + "x" * width + "-" * behind)
    _, text, caret = str(Problem("syntax", Span(source, before, before + width), "here")).split("\n")
    assert len(text) <= LINE_WIDTH + 2
    assert len(caret) <= LINE_WIDTH + 3
    start = caret.index("^")
    assert set(text[start : start + caret.count("~") + 1]) <= ({"x"} if width else {"-"})


def test_error_keeps_its_problems_and_shows_them_all() -> None:
    problems = [Problem("a", None, "first"), Problem("b", None, "second")]
    error = DefinitionError(iter(problems))
    assert error.problems == tuple(problems)
    assert str(error) == "error: first\nerror: second"
