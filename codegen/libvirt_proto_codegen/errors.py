"""Problems in definitions: data, and their rendering as `file:line:col` with the line and a caret."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from libvirt_proto.errors import Error
from libvirt_proto.errors import reason as reason

from .quoting import printable
from .source import Span

#: Workflow commands that GitHub's runner executes from a line of a job's log: `::error::` at the start,
#: `##[error]` anywhere. No valid definition contains them. Source: ActionCommand.cs of actions/runner.
_WORKFLOW_COMMAND = re.compile(r"^\s*::|##\[")
#: A longer source line is shortened around the caret.
LINE_WIDTH = 120


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a definition.

    `rule` is a stable identifier (`unknown-name`, `duplicate-number`, …), `message` states the problem,
    `hint` gives the fix, and `related` names other relevant places ("first defined here").
    """

    rule: str
    span: Span | None
    message: str
    hint: str | None = None
    related: tuple[tuple[Span, str], ...] = ()

    def __str__(self) -> str:
        return self._text("")

    def diagnostic(self) -> str:
        """Return the text as a command reports it: with `libvirt-proto: error:` where there is no place."""
        return self._text("libvirt-proto: error: ")

    def _text(self, without_place: str) -> str:
        message = printable(self.message)
        lines = [f"{_place(self.span)}: error: {message}" if self.span else f"{without_place}{message}"]
        if self.span:
            lines += _excerpt(self.span)
        for span, text in self.related:
            lines.append(f"{_place(span)}: note: {printable(text)}")
            lines += _excerpt(span)
        if self.hint:
            lines.append(f"  hint: {printable(self.hint)}")
        return "\n".join(lines)


class DefinitionError(Error):
    """Definitions that cannot be used; `problems` holds every one that was found, in file order."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


def _place(span: Span) -> str:
    return printable(str(span))


def _excerpt(span: Span) -> list[str]:
    """Return the source line and a caret line below it, with control characters and workflow commands
    replaced."""
    first, last = span.source.bounds(span.line)
    cut = max(first, span.start - LINE_WIDTH // 2) if last - first > LINE_WIDTH else first
    text = span.source.text[cut : min(last, cut + LINE_WIDTH)]
    shown = "".join(c if c.isprintable() else " " if c == "\t" else "\N{REPLACEMENT CHARACTER}" for c in text)
    shown = _WORKFLOW_COMMAND.sub(lambda match: re.sub("[:#]", "\N{REPLACEMENT CHARACTER}", match[0]), shown)
    caret = span.start - cut
    width = max(1, min(span.end, cut + len(text)) - span.start)
    return [f"  {shown}", "  " + " " * caret + "^" + "~" * (width - 1)]
