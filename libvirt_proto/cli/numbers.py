"""Numbers on the command line."""

from __future__ import annotations


def number(text: str) -> int | None:
    """Parse a decimal, 0x or octal number as in C; None for anything else."""
    try:
        digits = text.lower().removeprefix("-")
        octal = digits.startswith("0") and digits.isdigit()
        return int(text, 8 if octal else 0) if text.isascii() else None
    except ValueError:
        return None
