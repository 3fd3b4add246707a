"""Terminal colours: the sixteen that every theme defines, so that they suit light and dark."""

from typing import NamedTuple


class Palette(NamedTuple):
    """Prefixes of coloured text; `off` is the suffix. All are empty without colour."""

    name: str = ""
    field: str = ""
    quiet: str = ""
    text: str = ""
    number: str = ""
    warn: str = ""
    bad: str = ""
    off: str = ""


PLAIN = Palette()
COLOUR = Palette(
    name="\x1b[1m",
    field="\x1b[36m",
    quiet="\x1b[2m",
    text="\x1b[32m",
    number="",
    warn="\x1b[33m",
    bad="\x1b[1;31m",
    off="\x1b[0m",
)


def severity_colour(severity: str, palette: Palette) -> str:
    """Return the colour of an error, a warning or a note."""
    return {"error": palette.bad, "warning": palette.warn}.get(severity, palette.name)
