"""Numbers on the command line."""

from __future__ import annotations


def number(text: str) -> int | None:
    """A decimal, 0x or 0 number as C writes them, or None."""
    try:
        digits = text.lower().removeprefix("-")
        octal = digits.startswith("0") and digits.isdigit()
        return int(text, 8 if octal else 0) if text.isascii() else None
    except ValueError:
        return None
