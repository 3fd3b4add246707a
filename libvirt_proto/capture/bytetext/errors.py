"""The error of all forms."""

from __future__ import annotations


class ByteTextError(ValueError):
    """A line that is not bytes, or that does not follow the previous line."""


class RoomError(ByteTextError):
    """An abbreviation that represents more bytes than a form may give; `data` are those before it on the
    line."""

    def __init__(self, message: str, data: bytes = b"") -> None:
        super().__init__(message)
        self.data = data


def quoted(text: str) -> str:
    """Return the beginning of a text in quotes, for an error."""
    return repr(text if len(text) <= 40 else text[:40] + "…")
