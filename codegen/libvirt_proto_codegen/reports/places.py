"""Places and sentences of findings, common to all formats."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ..findings import Finding
from ..source import Span

#: Maximum number of procedures in a sentence; JSON lists all.
_REACHES: Final = 5


def file_of(span: Span) -> str:
    """Return a file's name, relative if it is below the current folder, so that editors and CI find it."""
    path = Path(span.source.name)
    try:
        return str(path.relative_to(Path.cwd()))
    except (ValueError, OSError):
        return span.source.name


def place(span: Span) -> str:
    """`remote_protocol.x:12:5`."""
    return f"{file_of(span)}:{span.line}:{span.column}"


def main_span(finding: Finding) -> Span | None:
    """Return the place of a finding: in the new definitions, or in the old ones if it was removed."""
    return finding.new or finding.old


def sentences(finding: Finding) -> tuple[str, ...]:
    """Return the sentences after the message."""
    said = [] if finding.effect is None else [finding.effect]
    if finding.old and finding.new:
        said.append(f"before: {place(finding.old)}")
    if finding.reaches:
        more = len(finding.reaches) - _REACHES
        said.append(f"reaches {', '.join(finding.reaches[:_REACHES])}" + (f" and {more} more" * (more > 0)))
    return tuple(said)
