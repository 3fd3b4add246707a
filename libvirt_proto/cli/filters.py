"""Filters and look-ups by pattern, as commands import them."""

from ..errors import UnknownName as FilterError
from ..filters import procedure_numbers as procedure_numbers
from ..filters import program_numbers as program_numbers

__all__ = ["FilterError", "procedure_numbers", "program_numbers"]
