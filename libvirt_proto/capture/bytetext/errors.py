"""The error of all forms."""

from __future__ import annotations


class ByteTextError(ValueError):
    """A line that is not bytes, or that does not follow the previous line."""


def quoted(text: str) -> str:
    """Return the beginning of a text in quotes, for an error."""
    return repr(text if len(text) <= 40 else text[:40] + "…")
