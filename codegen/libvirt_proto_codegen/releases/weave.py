"""Many versions of a text as one: each line once, with the versions that have it.

This is the weave of SCCS: the lines of all versions in one order, so that a version is what remains when the
lines of the others are skipped. It depends only on the texts: removing a version and adding it again gives
the same weave.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import groupby
from typing import Final

#: Maximum number of lines of all versions together; libvirt's largest file has 7,000.
MAX_LINES: Final = 100_000


class WeaveError(ValueError):
    """Versions that have too little in common for one weave."""


@dataclass(frozen=True, slots=True)
class Run:
    """Lines (without line ends) shared by the same versions; `versions` has a bit per index."""

    versions: int
    lines: tuple[str, ...]


def weave(texts: Iterable[str | None], runs: Iterable[Run] = (), known: int = 0) -> tuple[Run, ...]:
    """Return the weave of a text's versions; None is a version without the text.

    `runs` is a weave of which the first `known` versions are the same; `texts` has the versions after them.
    Raises WeaveError for more than MAX_LINES lines.
    """
    mask = (1 << known) - 1
    kept = [Run(run.versions & mask, run.lines) for run in runs if run.versions & mask]
    woven = [_Line(text, run.versions) for run in kept for text in run.lines]
    current = [each for each in woven if known and each.versions >> (known - 1)]
    previous = unweave(kept, known - 1) if known else None
    for version, text in enumerate(texts, known):
        if text != previous:
            woven, current = _with_version(woven, current, [] if text is None else text.split("\n"))
            previous = text
            if len(woven) > MAX_LINES:
                raise WeaveError(f"the versions of a file have more than {MAX_LINES:,} different lines")
        for line in current:
            line.versions |= 1 << version
    groups = groupby(woven, lambda line: line.versions)
    return tuple(Run(versions, tuple(line.text for line in lines)) for versions, lines in groups)


def unweave(runs: Iterable[Run], version: int) -> str | None:
    """Return the text of one version, None if it has none."""
    lines = [line for run in runs if run.versions >> version & 1 for line in run.lines]
    return "\n".join(lines) if lines else None


@dataclass(slots=True, eq=False)
class _Line:
    text: str
    versions: int = 0


def _with_version(
    woven: list[_Line], current: list[_Line], wanted: list[str]
) -> tuple[list[_Line], list[_Line]]:
    """Return the weave with a version's lines added, and those lines; `current` are the previous
    version's."""
    lines: list[_Line] = []
    #: New lines come directly after those that they replace, or after the last line that is kept.
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
    """A range of the old sequence that one of the new replaces; at most one of them is empty."""

    old: range
    new: range


def _edits(old: Sequence[str], new: Sequence[str]) -> Iterator[_Edit]:
    """Yield the edits from `old` to `new`: paragraphs are compared first, then the lines of those that
    differ.

    Comparing only lines would match across definitions, which share many lines, and would be slow.
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
    """Split into paragraphs, each ending with its empty line."""
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
