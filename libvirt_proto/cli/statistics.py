"""Statistics as bytes for standard output or a file: tables or JSON."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from .options import width

if TYPE_CHECKING:
    from ..figures.results import Statistics
    from ..presenters.style import Palette


def rendered(
    statistics: Statistics, *, as_json: bool, top: int, palette: Palette, fit: bool
) -> Iterator[bytes]:
    """Yield the lines, with their newlines. With `fit`, tables fit the width of the terminal, if there is
    one. `top` is the number of rows of each table."""
    if as_json:
        from msgspec import json

        yield json.format(json.encode(statistics), indent=2) + b"\n"
        return
    from ..presenters.tables import StatisticsTables

    encoding = sys.stdout.encoding or "utf-8"
    for line in StatisticsTables(width(fit=fit), top, palette)(statistics):
        yield f"{line}\n".encode(encoding, "backslashreplace")
