"""Many versions of a text as one: each line once, with the versions that have it.

This is the weave of SCCS: the lines of all versions in one order, so that a version is what is left when
the lines of the others are passed over. It is a function of the texts alone: a version that is taken out
and put back gives the same weave.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import groupby
from typing import Final

#: Lines of all versions together; libvirt's largest file has 7,000.
MAX_LINES: Final = 100_000


class WeaveError(ValueError):
    """Versions that have too little in common to be kept in one text."""


@dataclass(frozen=True, slots=True)
class Run:
    """Lines (without line ends) that the same versions have: `versions` has a bit for each index."""

    versions: int
    lines: tuple[str, ...]


def weave(texts: Iterable[str | None]) -> tuple[Run, ...]:
    """The weave of a text's versions; None stands for a version that does not have the text.

    Raises WeaveError for more than MAX_LINES lines.
    """
    woven: list[_Line] = []
    current: list[_Line] = []
    previous: str | None = None
    for version, text in enumerate(texts):
        if text != previous:
            woven, current = _with_version(woven, current, [] if text is None else text.split("\n"))
            previous = text
            if len(woven) > MAX_LINES:
                raise WeaveError(f"the versions of a file have more than {MAX_LINES:,} different lines")
        for line in current:
            line.versions |= 1 << version
    runs = groupby(woven, lambda line: line.versions)
    return tuple(Run(versions, tuple(line.text for line in lines)) for versions, lines in runs)


def unweave(runs: Iterable[Run], version: int) -> str | None:
    """The text of one version, None where it has none."""
    lines = [line for run in runs if run.versions >> version & 1 for line in run.lines]
    return "\n".join(lines) if lines else None


@dataclass(slots=True, eq=False)
class _Line:
    text: str
    versions: int = 0


def _with_version(
    woven: list[_Line], current: list[_Line], wanted: list[str]
) -> tuple[list[_Line], list[_Line]]:
    """The weave with a version's lines in it, and those lines; `current` are those of the version before."""
    lines: list[_Line] = []
    #: New lines stand right behind what they replace, or behind the last line that is kept.
    following: dict[_Line | None, list[_Line]] = {}
    kept = 0
    for edit in _edits([line.text for line in current], wanted):
        new = [_Line(text) for text in wanted[edit.new.start : edit.new.stop]]
        following[current[edit.old.stop - 1] if edit.old.stop else None] = new
        lines += current[kept : edit.old.start] + new
        kept = edit.old.stop
    result = following.get(None, [])
    for line in woven:
        result += [line, *following.get(line, ())]
    return result, lines + current[kept:]


@dataclass(frozen=True, slots=True)
class _Edit:
    """A stretch of the old sequence that gives way to one of the new; both can be empty, not both at once."""

    old: range
    new: range


def _edits(old: Sequence[str], new: Sequence[str]) -> Iterator[_Edit]:
    """What makes `new` of `old`: paragraphs are compared first, and then the lines of those that differ.

    Lines alone would match across definitions, which have many in common; and they are too many.
    """
    before, after = _paragraphs(old), _paragraphs(new)
    for edit in _differences(before, after):
        old_start, new_start = _length(before[: edit.old.start]), _length(after[: edit.new.start])
        old_lines = [line for paragraph in before[edit.old.start : edit.old.stop] for line in paragraph]
        new_lines = [line for paragraph in after[edit.new.start : edit.new.stop] for line in paragraph]
        for inner in _differences(old_lines, new_lines):
            yield _Edit(
                range(old_start + inner.old.start, old_start + inner.old.stop),
                range(new_start + inner.new.start, new_start + inner.new.stop),
            )


def _differences(old: Sequence[object], new: Sequence[object]) -> Iterator[_Edit]:
    for tag, i, j, k, m in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag != "equal":
            yield _Edit(range(i, j), range(k, m))


def _paragraphs(lines: Sequence[str]) -> list[tuple[str, ...]]:
    """Lines up to and with each empty one."""
    found: list[tuple[str, ...]] = []
    start = 0
    for index, line in enumerate(lines):
        if not line:
            found.append(tuple(lines[start : index + 1]))
            start = index + 1
    rest = tuple(lines[start:])
    return [*found, rest] if rest else found


def _length(paragraphs: Sequence[Sequence[str]]) -> int:
    return sum(map(len, paragraphs))
