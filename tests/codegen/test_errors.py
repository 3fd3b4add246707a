"""Places in sources, and their display in problems."""

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


def test_lines_exclude_line_ends() -> None:
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


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("\t::error::forged", " \N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}error::forged"),
        ("a ##[error]forged", "a \N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}[error]forged"),
        ("a :: b # [", "a :: b # ["),
    ],
)
def test_quoted_line_is_not_a_workflow_command(line: str, shown: str) -> None:
    assert str(Problem("syntax", Span(Source("a.x", line), 0, 1), "stray")).splitlines()[1] == f"  {shown}"


@pytest.mark.parametrize("name", ["a\x1b[31m.x", "a\n::error::.x", "a\u202e.x", "a\udc9b.x"])
def test_problem_escapes_names(name: str) -> None:
    span = Span(Source(name, "const A"), 0, 5)
    problem = Problem("syntax", span, f"{name} is stray", f"rename {name}", ((span, f"as {name}"),))
    lines = str(problem).split("\n")
    assert len(lines) == 7
    assert all(map(str.isprintable, lines))


def test_span_has_line_and_column() -> None:
    span = Span(SOURCE, 22, 23)
    assert (str(span), span.line, span.column) == ("a.x:3:8", 3, 8)


def test_problem_shows_line_and_caret() -> None:
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


def test_problem_without_span_is_one_line() -> None:
    problem = Problem("unreadable", None, "a.x: Is a directory", hint="name a file")
    assert str(problem) == "a.x: Is a directory\n  hint: name a file"
    assert problem.diagnostic() == "libvirt-proto: error: a.x: Is a directory\n  hint: name a file"


def test_control_characters_are_escaped() -> None:
    source = Source("a.x", "a\x1b[31m\x00b")
    assert str(Problem("syntax", Span(source, 1, 2), "stray")) == (
        "a.x:1:2: error: stray\n  a\N{REPLACEMENT CHARACTER}[31m\N{REPLACEMENT CHARACTER}b\n   ^"
    )


def test_multi_line_span_is_marked_on_its_first_line() -> None:
    assert str(Problem("syntax", Span(SOURCE, 6, 20), "too long")).splitlines()[2] == "        ^~~~~~"


@given(st.integers(0, 3000), st.integers(0, 3000), st.integers(0, 3000))
def test_long_lines_are_cut_around_the_caret(before: int, width: int, after: int) -> None:
    source = Source("a.x", "-" * before + "x" * width + "-" * after)
    _, text, caret = str(Problem("syntax", Span(source, before, before + width), "here")).split("\n")
    assert len(text) <= LINE_WIDTH + 2
    assert len(caret) <= LINE_WIDTH + 3
    start = caret.index("^")
    assert set(text[start : start + caret.count("~") + 1]) <= ({"x"} if width else {"-"})


def test_error_shows_all_its_problems() -> None:
    problems = [Problem("a", None, "first"), Problem("b", None, "second")]
    error = DefinitionError(iter(problems))
    assert error.problems == tuple(problems)
    assert str(error) == "first\nsecond"
