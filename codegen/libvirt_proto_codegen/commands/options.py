"""Options that several commands of the generator have."""

from __future__ import annotations

import re

import click

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_RANGE = re.compile(r"([A-Za-z0-9._+-]+):([A-Za-z0-9._+-]+)", re.ASCII)
_NUMBER = re.compile(r"(-?)(?:0[xX]([0-9a-fA-F]{1,16})|0([0-7]{1,22})|(0|[1-9][0-9]{0,19}))", re.ASCII)


class Define(click.ParamType):  # type: ignore[type-arg] # generic in newer versions only
    """NAME=VALUE, the value decimal, 0x… or octal with a leading 0, as in a .x file."""

    name = "NAME=VALUE"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        """The name and the number; a usage error for anything else."""
        name, equals, text = str(value).partition("=")
        if not equals or not _NAME.fullmatch(name):
            self.fail(f"{value!r} is not NAME=VALUE", param, ctx)
        digits = _NUMBER.fullmatch(text)
        if not digits:
            self.fail(f"{text!r} is no number: 16, 0x10 or 020", param, ctx)
        sign, hexadecimal, octal, decimal = digits.groups()
        number = int(hexadecimal, 16) if hexadecimal else int(octal, 8) if octal else int(decimal)
        number = -number if sign else number
        if not -(2**63) <= number < 2**64:
            self.fail(f"{text} is more than 64 bits hold", param, ctx)
        return name, number


class Range(click.ParamType):  # type: ignore[type-arg] # generic in newer versions only
    """A:B, two names of releases."""

    name = "A:B"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """The two names; a usage error for anything else."""
        match = _RANGE.fullmatch(str(value))
        if not match:
            self.fail(f"{value!r} is not A:B, such as 12.5.0:12.6.0", param, ctx)
        return match[1], match[2]
