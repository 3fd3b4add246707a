"""Options shared by commands of the generator."""

from __future__ import annotations

import re

import click

from ..releases.provenance import Provenance, read_provenance

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_RANGE = re.compile(r"([A-Za-z0-9._+-]+):([A-Za-z0-9._+-]+)", re.ASCII)
_NUMBER = re.compile(r"(-?)(?:0[xX]([0-9a-fA-F]{1,16})|0([0-7]{1,22})|(0|[1-9][0-9]{0,19}))", re.ASCII)


class Define(click.ParamType):  # type: ignore[type-arg] # generic in newer versions only
    """NAME=VALUE, with a decimal, hexadecimal (0x…) or octal (leading 0) value, as in a .x file."""

    name = "NAME=VALUE"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        """Return the name and the number; a usage error for anything else."""
        name, equals, text = str(value).partition("=")
        if not equals or not _NAME.fullmatch(name):
            self.fail(f"expected NAME=VALUE, got {value!r}", param, ctx)
        digits = _NUMBER.fullmatch(text)
        if not digits:
            self.fail(f"expected a number such as 16, 0x10 or 020, got {text!r}", param, ctx)
        sign, hexadecimal, octal, decimal = digits.groups()
        number = int(hexadecimal, 16) if hexadecimal else int(octal, 8) if octal else int(decimal)
        number = -number if sign else number
        if not -(2**63) <= number < 2**64:
            self.fail(f"expected a number of at most 64 bits, got {text}", param, ctx)
        return name, number


class Range(click.ParamType):  # type: ignore[type-arg] # generic in newer versions only
    """A:B, two names of releases."""

    name = "A:B"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """Return the two names; a usage error for anything else."""
        match = _RANGE.fullmatch(str(value))
        if not match:
            self.fail(f"expected A:B, such as 12.5.0:12.9.0, got {value!r}", param, ctx)
        return match[1], match[2]


class ProvenanceOf(click.ParamType):  # type: ignore[type-arg] # as above
    """[FILES=]PROVENANCE: the origin of definitions, or of the files that match a pattern."""

    name = "[FILES=]PROVENANCE"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, Provenance]:
        """Return the pattern, empty for all files, and the provenance; a usage error for anything else."""
        files, _, word = str(value).rpartition("=")
        try:
            return files, read_provenance(word)
        except ValueError as error:
            self.fail(str(error), param, ctx)
