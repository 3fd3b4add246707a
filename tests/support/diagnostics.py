"""Diagnostics that the files of tests/invalid expect."""

from __future__ import annotations

from itertools import takewhile


def head_comment(text: str, marker: str) -> list[str]:
    """The lines of the comment at the top of a file, without the marker and one space."""
    head = takewhile(lambda line: line.startswith(marker), text.splitlines())
    return [line.removeprefix(marker).removeprefix(" ") for line in head]
