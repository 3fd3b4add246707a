"""Numbers on the command line, as commands import them."""

from ..text import number as number
