"""Text: escaping for terminals, times and amounts, numbers as C writes them."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache
from itertools import islice
from typing import Final

#: Numbers with separators, the suffixes of literals, and hex without 0x. Compiled on first use.
_THOUSANDS: Final = r"[-+]?[0-9]{1,3}(?:,[0-9]{3})+"
_SUFFIX: Final = r"(?<=[0-9a-fA-F])(?:[uU]?[lL]{1,2}[uU]?|[uU]|[ui](?:8|16|32|64|128|size))\Z"
_SHORTEST_HEX: Final = 4
_BARE_HEX: Final = r"(?=[a-fA-F]*[0-9])([0-9a-fA-F]{4,16})|([0-9a-fA-F]{1,16})[hH]"

_SHORT = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "\0": "\\0"}


def printable(text: str) -> str:
    """Return the text with everything unprintable escaped: no control character, right-to-left override or
    lone surrogate reaches a terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escape(c) for c in text)


def quoted(text: str) -> str:
    """Return the text in double quotes, escaped so that its end is unambiguous."""
    return '"' + printable(text.replace("\\", "\\\\")).replace('"', '\\"') + '"'


def _escape(character: str) -> str:
    number = ord(character)
    if character in _SHORT:
        return _SHORT[character]
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{{{number:x}}}"


def shorten(text: str, limit: int = 60) -> str:
    """Return the beginning of a long text, with an ellipsis."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def wire_text(text: str | bytes) -> str:
    """Return a decoded string: bytes that are not UTF-8 are escaped."""
    return text.decode("utf-8", "backslashreplace") if isinstance(text, bytes) else str(text)


@lru_cache(1024)  # the same few domains, again and again
def uuid_text(value: bytes) -> str:
    """Return sixteen bytes as 8-4-4-4-12."""
    text = value.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def resolution(*times_ns: int) -> int:
    """Return the coarsest of 1 s, 1 ms, 1 µs and 1 ns that all times are multiples of."""
    return next((unit for unit in (10**9, 10**6, 1000) if not any(ns % unit for ns in times_ns)), 1)


def seconds(time_ns: int | None, start_ns: int | None, decimals: int) -> str:
    """Return the seconds since the start, truncated to some decimals and right-aligned for three digits
    before the point; a dash without a clock."""
    width = decimals + 4
    if time_ns is None or start_ns is None:
        return "-".rjust(width)
    scale = 10**decimals
    return f"{(time_ns - start_ns) // (10**9 // scale) / scale:{width}.{decimals}f}"


def clock(time_ns: int) -> str:
    """Return the time of day in UTC, truncated to milliseconds: `17:23:37.301`."""
    seconds_, ms = divmod(time_ns // 10**6 % (24 * 60 * 60 * 1000), 1000)
    return f"{seconds_ // 3600:02d}:{seconds_ // 60 % 60:02d}:{seconds_ % 60:02d}.{ms:03d}"


def amount(number: int, one: str, many: str | None = None) -> str:
    """`1 byte`, `3,412 bytes`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def listed(names: Collection[str], most: int = 3) -> str:
    """`a`, `a and b`, `a, b and c`, `a, b, c and 12 more`: names, at most `most` of them."""
    shown = [*islice(names, most)]
    rest = len(names) - len(shown)
    last = f"{rest:,} more" if rest else shown.pop() if shown else ""
    return f"{', '.join(shown)} and {last}" if shown else last


def duration(ns: int, resolution_ns: int = 1) -> str:
    """`850 ns`, `131 µs`, `1.24 ms`, `12.3 s`: three significant digits, or all those before the point.

    A duration of 0 that was measured with a clock of this resolution is `< 1 ms`.
    """
    if ns == 0 and resolution_ns > 1:
        return f"< {duration(resolution_ns).replace('.00', '')}"
    for scale, unit in ((10**9, "s"), (10**6, "ms"), (10**3, "µs")):
        if abs(ns) >= scale:
            return f"{_three(ns / scale)} {unit}"
    return f"{ns} ns"


def size(count: float) -> str:
    """`28 B`, `1.24 KiB`, `12.3 MiB`."""
    for scale, unit in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if abs(count) >= scale:
            return f"{_three(count / scale)} {unit}"
    return f"{count:.0f} B"


def file_argument(file: str) -> str:
    """Return a file name as an argument of a command that is no option; `-` stays standard input."""
    return f"./{file}" if file.startswith("-") and file != "-" else file


def number(text: str) -> int | None:
    """Return the value of a decimal, 0x or 0 number as C writes them, or None."""
    try:
        digits = text.lower().removeprefix("-")
        octal = digits.startswith("0") and digits.isdigit()
        return int(text, 8 if octal else 0) if text.isascii() else None
    except ValueError:
        return None


def numbers(text: str) -> tuple[int, ...]:
    """Return the values of a number as people paste it, the likeliest first; none for other text.

    Accepted are numbers as C, Python and Rust write them, in any base and with a suffix (`0x20008086u`,
    `0b101`, `0o17`, `33_554_432`), thousands (`33,554,432`), `20008086h`, a Unicode minus sign, and hex
    without `0x` of at least four digits, one of which is decimal.
    """
    plain = text.strip().replace("\N{MINUS SIGN}", "-")
    value = number(plain)
    if value is not None and (len(plain) < _SHORTEST_HEX or not plain.isalnum()):
        return (value,)
    if re.fullmatch(_THOUSANDS, plain):
        plain = plain.replace(",", "")
    plain = re.sub(_SUFFIX, "", plain)
    values = [value, number(plain)]
    if (bare := re.fullmatch(_BARE_HEX, plain)) is not None:
        values.append(int(bare[1] or bare[2], 16))
    return tuple(dict.fromkeys(each for each in values if each is not None))


def _three(value: float) -> str:
    decimals = 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0
    return f"{value:,.{decimals}f}"
