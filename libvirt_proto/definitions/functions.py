"""Functions of libvirt's public API, and the procedures that they call.

The data is generated (generated/functions.py) from the description of the API and the names of the
procedures. It is loaded when it is first needed.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any, NamedTuple


class Function(NamedTuple):
    """A function. `procedures` are pairs of the numbers of a program and its procedure, in the order of the
    calls; `streams` is True if it sends or receives messages of a stream that another call opened."""

    name: str
    since: str
    procedures: tuple[tuple[int, int], ...]
    streams: bool


def find(name: str) -> Function | None:
    """Return the function of a name, or None; case counts only if that leaves anything."""
    rows = _rows()
    if name not in rows:
        name = _folded().get(name.lower(), "")
    row = rows.get(name)
    if row is None:
        return None
    since, *calls = row
    return Function(name, since, tuple(call for call in calls if call != "stream"), "stream" in calls)


def names() -> Iterable[str]:
    """Return the names of all functions."""
    return _rows()


@cache
def _folded() -> dict[str, str]:
    return {name.lower(): name for name in _rows()}


def _rows() -> dict[str, tuple[Any, ...]]:
    from ..generated.functions import FUNCTIONS

    return FUNCTIONS
