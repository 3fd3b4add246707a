"""Known names that are similar to a wrong one: `Did you mean …?`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

#: Maximum length of a word that is compared; the work grows with the square of it.
_LONGEST: Final = 200


def similar_names(word: str, known: Iterable[str]) -> tuple[str, ...]:
    """Return the names most similar to a word, the best first: at most three, often none."""
    if len(word) > _LONGEST:
        return ()
    from difflib import get_close_matches

    by_folded: dict[str, str] = {}
    for name in known:
        by_folded.setdefault(_fold(name), name)
    close = get_close_matches(_fold(word), by_folded, n=3, cutoff=0.65)
    return tuple(by_folded[name] for name in close)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ` Did you mean 'a', 'b' or 'c'?`, or "" if no name is similar."""
    return question(similar_names(word, known))


def question(names: tuple[str, ...]) -> str:
    """Return ` Did you mean 'a', 'b' or 'c'?`, or "" for no names."""
    if not names:
        return ""
    *others, last = map(repr, names)
    return f" Did you mean {' or '.join(filter(None, [', '.join(others), last]))}?"


def _fold(name: str) -> str:
    return name.lower().replace("-", "_")
