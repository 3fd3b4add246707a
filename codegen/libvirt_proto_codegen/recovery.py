"""Going on behind a syntax error, so that all of a file's are reported at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from . import syntax_errors
from .errors import DefinitionError, Problem
from .source import Source

Parsed = TypeVar("Parsed")


class SyntaxProblem(Exception):
    """A syntax error, and the offset at which parsing may go on (None: nowhere)."""

    def __init__(self, problem: Problem, resume: int | None) -> None:
        super().__init__()
        self.problem = problem
        self.resume = resume


def parsed(source: Source, parse_from: Callable[[Source, int], Parsed], most: int) -> Parsed:
    """What `parse_from(source, 0)` gives.

    Where that raises SyntaxProblem it is tried again from where it may go on; then raises DefinitionError
    with the problems of all tries, at most `most`.
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
