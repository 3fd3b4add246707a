"""Recovery from syntax errors, so that all errors of a file are reported at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from . import syntax_errors
from .errors import DefinitionError, Problem
from .source import Source

Parsed = TypeVar("Parsed")


class SyntaxProblem(Exception):
    """A syntax error, and the offset at which parsing may resume (None: nowhere)."""

    def __init__(self, problem: Problem, resume: int | None) -> None:
        super().__init__()
        self.problem = problem
        self.resume = resume


def parsed(source: Source, parse_from: Callable[[Source, int], Parsed], most: int) -> Parsed:
    """Return the result of `parse_from(source, 0)`.

    After a SyntaxProblem, parsing resumes where the problem allows; then DefinitionError is raised with the
    problems of all attempts, at most `most`.
    """
    problems: list[Problem] = []
    start: int | None = 0
    while start is not None:
        try:
            result = parse_from(source, start)
            break
        except SyntaxProblem as error:
            problems.append(error.problem)
            start = error.resume
            if len(problems) == most and start is not None:
                problems.append(syntax_errors.too_many(source.name, most))
                break
    if problems:
        raise DefinitionError(problems)
    return result
