"""Suggestions for unknown names: `Did you mean …?`."""

from __future__ import annotations

from collections.abc import Iterable

#: Names are shorter than this; comparing takes quadratic time.
_LONGEST = 200


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ` Did you mean 'a', 'b' or 'c'?`, or nothing without a close match."""
    if len(word) > _LONGEST:
        return ""
    from difflib import get_close_matches

    by_folded: dict[str, str] = {}
    for name in known:
        by_folded.setdefault(_fold(name), name)
    close = [repr(by_folded[name]) for name in get_close_matches(_fold(word), by_folded, n=3, cutoff=0.65)]
    if not close:
        return ""
    return f" Did you mean {' or '.join(filter(None, [', '.join(close[:-1]), close[-1]]))}?"


def _fold(name: str) -> str:
    return name.lower().replace("-", "_")
