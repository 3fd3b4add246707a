r"""Dumps: an offset or address on each line, then bytes or words, and perhaps the characters.

    00000000: 0000 0038 2000 8086  ...8 ...                    xxd
    0000000 0000 3800 0020 8680                                hexdump, od -x
    0000000  \0  \0  \0   8      \0 200 206                    od -c
    0x7ffe0 <buf+8>:    0x00    0x00    0x00    0x38           gdb x/xb

Written by xxd, hexdump, od, tcpdump, Wireshark, gdb, lldb, WinDbg, and printers of the same shape.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from .errors import ByteTextError, quoted
from .units import Base, Units, convert, notations

#: An offset or an address, perhaps in two halves (WinDbg), gdb's symbol, and a colon.
_OFFSET: Final = re.compile(
    r"\s*(?P<prefix>0[xX])?(?P<offset>[0-9a-fA-F]{4,16}(?:`[0-9a-fA-F]{8})?)"
    r"(?: <[^<>]{1,200}>)?(?P<colon>:?)(?=\s|$)"
)
_FINAL: Final = re.compile(r"\s*[0-9a-fA-F]{6,16}\s*$")
#: The characters at the end of a line of hexdump -C, and of od -t x1z.
_CHARACTERS: Final = re.compile(r"\s(?:\|[^\n]*|>[^\n]*<)$")
_WORD: Final = re.compile(r"\S+")
#: Names of control characters in od -a.
_NAMES: Final = re.compile(r"(?:^|\s)(?:nul|soh|stx|etx|eot|ack|bel|dle|etb|esc|del)(?=\s|$)")
#: A unit of gdb's x/c: `56 '8'`.
_GDB_CHARACTER: Final = re.compile(r"(-?\d{1,3}) '(?:\\[^']{1,3}|\\'|[^\\])'")
_MINUS: Final = re.compile(r"(?<=[0-9a-fA-F]{2})-(?=[0-9a-fA-F]{2}(?:\s|$))")
_BACKQUOTE: Final = re.compile(r"(?<=\b[0-9a-fA-F]{8})`(?=[0-9a-fA-F]{8}\b)")
#: A cell of od -c and hexdump -c: an escape of C, three octal digits, or a character.
_CELL: Final = re.compile(r"  \\[0abtnvfr]| [0-7]{3}|   [ -~]")
_ESCAPES: Final = {"0": 0, "a": 7, "b": 8, "t": 9, "n": 10, "v": 11, "f": 12, "r": 13}
#: The length of a line that most tools write, and the longest one that a line after an empty one continues.
_USUAL: Final = 16
_LONGEST: Final = 256


class _Kind(NamedTuple):
    """A notation of units of `size` bytes, as `width` characters; 0: any number, and the offsets give the
    size."""

    base: Base
    size: int
    width: int
    unit: re.Pattern[str]


def _hex(size: int) -> _Kind:
    return _Kind("digits", size, 2 * size, re.compile(f"[0-9a-fA-F]{{{2 * size}}}"))


def _octal(size: int, digits: int) -> _Kind:
    return _Kind("octal", size, digits, re.compile(f"[0-7]{{{digits}}}"))


_CELLS: Final = _Kind("octal", 1, 0, _CELL)
#: In order of preference.
_KINDS: Final = (
    _hex(1),
    _octal(1, 3),
    _octal(2, 6),
    _octal(4, 11),
    _octal(8, 22),
    _hex(2),
    _hex(4),
    _hex(8),
    _Kind("binary", 1, 8, re.compile("[01]{8}")),
    *(_Kind("c", size, 2 + 2 * size, re.compile(f"0[xX][0-9a-fA-F]{{{2 * size}}}")) for size in (1, 2, 4, 8)),
    _Kind("decimal", 0, 0, re.compile(r"-?(?:0|[1-9]\d{0,19})|0\d{4}")),
    _Kind("c", 0, 0, re.compile(r"-?(?:0[0-7]{0,22}(?<!00)|[1-9]\d{0,19})|0[xX][0-9a-fA-F]{1,16}")),
    _CELLS,
)


class _Unit(NamedTuple):
    """A unit as written, its number of bytes, and its place in the line."""

    text: str
    size: int
    start: int
    end: int


class _Row:
    """A line: its offset as written, and the rest of it."""

    def __init__(self, text: str) -> None:
        match = _OFFSET.match(text)
        if match is None:
            raise ByteTextError(f"expected an offset, as in the lines before, got {quoted(text.strip())}")
        self.text = text
        #: Where the offset and the rest begin.
        self.offset_at, self.rest_at = match.start("offset"), match.end()
        self._offset = match["offset"].replace("`", "")
        self._is_hex = bool(match["prefix"]) or "`" in match["offset"]
        self.colon = bool(match["colon"])
        rest = text[match.end() :]
        self._whole = rest
        cut = _CHARACTERS.search(rest)
        if cut:
            rest = rest[: cut.start()]
        if "'" in rest:
            rest = _GDB_CHARACTER.sub(r"\1", rest)
        if "-" in rest:
            rest = _MINUS.sub(" ", rest)
        if "`" in rest:
            rest = _BACKQUOTE.sub("", rest)
        self.rest = rest
        #: True for an offset only: the end of od's and hexdump's output.
        self.empty = not rest.strip()

    @property
    def digits(self) -> int:
        """Return the number of digits of the offset."""
        return len(self._offset)

    @property
    def bases(self) -> tuple[int, ...]:
        """The possible bases of the offset, in order of preference. od writes seven digits."""
        if self._is_hex:
            return (16,)
        return (8, 16, 10) if len(self._offset) == 7 and not self.colon else (16, 10)

    def number(self, base: int) -> int:
        """Return the offset. Raises ByteTextError."""
        try:
            return int(self._offset, base)
        except ValueError:
            raise ByteTextError(f"expected an offset in base {base}, got {quoted(self._offset)}") from None

    def gap(self, base: int, following: _Row) -> int | None:
        """Return the difference to the offset of another line; None if one is not of this base."""
        try:
            return following.number(base) - self.number(base)
        except ByteTextError:
            return None

    @property
    def width(self) -> int:
        """Return the number of characters of the first unit."""
        first = _WORD.search(self.rest)
        return len(first[0]) if first else 0

    def first_kind(self) -> _Kind:
        """Return the first kind of units that may be in the line. Raises ByteTextError."""
        width = self.width
        for kind in _KINDS:
            if kind.width in (0, width) and self.units(kind):
                return kind
        raise ByteTextError(f"expected bytes after the offset, got {quoted(self.rest.strip())}")

    def units(self, kind: _Kind, *, part: bool = False) -> list[_Unit]:
        """Return the units at the beginning of the line; `part`: the first may be incomplete."""
        if kind is _CELLS:
            return self._cells()
        found: list[_Unit] = []
        size = kind.size or 1
        for match in _WORD.finditer(self.rest):
            text, start, end = match[0], match.start(), match.end()
            whole = kind.unit.fullmatch(text) is not None
            gap = start - found[-1].end if found else 1
            is_part = (found or part) and kind.base == "digits" and _is_part(text, gap, size)
            if whole or is_part:
                found.append(_Unit(text, size if whole else len(text) // 2, start, end))
            if not whole:
                break
        return found

    def _cells(self) -> list[_Unit]:
        found: list[_Unit] = []
        pos = 0
        while match := _CELL.match(self._whole, pos):
            text = match[0].lstrip() or " "
            if text[0] == "\\" and len(text) == 2:
                text = f"{_ESCAPES[text[1]]:o}"
            elif len(text) == 1:
                text = f"{ord(text):o}"
            found.append(_Unit(text, 1, pos, match.end()))
            pos = match.end()
        return found if pos >= len(self._whole.rstrip()) else []


def _is_part(text: str, gap: int, size: int) -> bool:
    """Return whether this is a last word that is incomplete, in xxd's place for it."""
    missing = 2 * size - len(text)
    return missing > 0 and missing % 2 == 0 and gap in (1, 1 + missing) and _is_hex(text)


def _is_hex(text: str) -> bool:
    return all(character in "0123456789abcdefABCDEF" for character in text)


def _space(found: list[_Unit], at: int) -> int:
    """Return the number of characters before a unit, after the previous one."""
    return found[at].start - found[at - 1].end


def _cut(found: list[_Unit], size: int) -> list[_Unit]:
    """Return the units of `size` bytes, without characters that look like units; all, if they do not end
    there."""
    at = count = 0
    while count < len(found) and at < size:
        at += found[count].size
        count += 1
    if at != size or not 0 < count < len(found) or _space(found, count) < 2:
        return found
    return found[:count]


def _in_place(found: list[_Unit], at: int, kind: _Kind, columns: list[int]) -> bool:
    """Return whether a unit is where the lines before have one; longer lines continue with single spaces."""
    if at < len(columns):
        return found[at].start == columns[at] or found[at].size < kind.size
    return _space(found, at) == 1


def _bytes(data: bytes, layout: _Layout) -> bytes:
    """Return the bytes of a line of this layout; b"" for another one."""
    if data[layout.end : layout.end + 1] not in (b"", b" ", b"\r"):
        return b""
    try:
        return bytes.fromhex(data[layout.start : layout.end].decode("ascii"))
    except ValueError:
        return b""


def begins_dump(text: str) -> bool:
    """Return whether a line may be the first one of a dump."""
    match = _OFFSET.match(text)
    if match is None:
        return False
    rest = text[match.end() :].strip()
    if not rest:
        return False
    # Plain digits may begin like an offset, too: a dump has a colon, or begins at 0 or at an address.
    return bool(match["colon"] or match["prefix"] or "`" in match["offset"] or not int(match["offset"], 16))


class _Layout(NamedTuple):
    """The places of offset and bytes in the full lines of a dump of bytes in order, and their number."""

    offset_at: int
    digits: int
    start: int
    end: int
    size: int


class Dump:
    """The lines of one dump.

    A line is read when the next one is known: the difference of their offsets is the number of its bytes,
    which separates them from the characters after them. Offsets must follow the bytes. `room` is the number
    of bytes that `*` may still represent.
    """

    weak = False
    closed = False

    def __init__(self, room: int) -> None:
        self.room = room
        self._held: _Row | None = None
        self._kind: _Kind | None = None
        self._base = 16
        self._units: Units | None = None
        self._repeat = False
        self._columns: list[int] = []
        #: Number of bytes of the last unit that were not in the input.
        self._padding = 0
        self._is_words = False
        self._layout: _Layout | None = None
        #: The last line, if it was read by `quick`: its offset, its bytes, and itself.
        self._quick: tuple[int, bytes, bytes] | None = None

    def quick(self, data: bytes) -> bytes:
        """Return the bytes of the previous line, if this line and that one have the usual layout; b"" for
        others; cheap, and optional."""
        layout = self._layout
        if layout is None:
            return b""
        if self._quick is None:
            held = self._held
            if held is None:
                return b""
            before = _bytes(held.text.encode("utf-8", "surrogateescape"), layout)
            offset = held.number(16)
        else:
            offset, before, _ = self._quick
        offset += layout.size
        at = layout.offset_at
        if len(before) != layout.size or data[at : at + layout.digits] != b"%0*x" % (layout.digits, offset):
            return b""
        piece = _bytes(data, layout)
        if len(piece) != layout.size:
            return b""
        self._held, self._quick = None, (offset, piece, data)
        return before

    def _settle(self) -> None:
        """Continue after lines that `quick` has read."""
        if self._quick is not None:
            self._held = _Row(self._quick[2].decode("utf-8", "surrogateescape"))
            self._quick = None

    def line(self, text: str) -> bytes:
        """Return the bytes of the previous line. Raises ByteTextError."""
        self._settle()
        held = self._held
        if held is not None and text.strip() == "*":  # identical lines are left out
            self._repeat = True
            return b""
        if held is not None and text[:6].isspace() and _OFFSET.match(text) is None:
            return b""  # the same bytes in od's second format
        row = _Row(text)
        if held is None:
            if _NAMES.search(row.rest):
                raise ByteTextError("od -a leaves out a bit of each byte; use od -t x1")
            self._held = row
            return b""
        data = self._between(held, row)
        self._held = row
        return data

    def end(self) -> bytes:
        """Return the remaining bytes."""
        self._settle()
        held, self._held = self._held, None
        data = b""
        if held is not None and not held.empty:
            data = self._feed(self._last(held))
        if self._units is not None:
            data += self._trimmed(self._units.decide())
        return data

    @property
    def note(self) -> str | None:
        """A sentence about the byte order of words."""
        return self._units.note(stated=self._is_words) if self._units else None

    def continues(self, text: str) -> bool:
        """Return whether a line after an empty one continues the dump."""
        self._settle()
        held = self._held
        try:
            row = _Row(text)
        except ByteTextError:
            return False
        if held is None or held.empty:
            return False
        gaps = (held.gap(base, row) for base in ((self._base,) if self._kind else held.bases))
        return any(gap is not None and 0 < gap <= _LONGEST for gap in gaps)

    def _between(self, held: _Row, row: _Row) -> bytes:
        """Return the bytes of a line before another one."""
        if self._kind is None:
            self._decide(held, row)
        assert self._kind is not None
        here, there = held.number(self._base), row.number(self._base)
        gap = there - here
        found = held.units(self._kind, part=True)
        if self._kind is _CELLS and not self._repeat and len(found) < gap <= _LONGEST:  # spaces at the end
            found += [_Unit("40", 1, 0, 0)] * (gap - len(found))
        found = _cut(found, gap)
        size = sum(unit.size for unit in found)
        padded = row.empty and 0 < size - gap < self._kind.size
        missing = 0 if padded else gap - size
        if missing:
            if not (self._repeat and size and missing > 0 and missing % size == 0):
                raise ByteTextError(f"expected offset {here + size:#x}, got {there:#x}")
            if missing > self.room:
                raise ByteTextError(f"`*` represents {missing} bytes, over the limit of {self.room}")
        if not self._columns:
            self._columns = [unit.start for unit in found]
        self._repeat = False
        self._padding = size - gap if padded else 0
        texts = [unit.text for unit in found]
        data = self._feed(texts)
        if self._layout is None and gap == size and not padded:
            self._layout = self._usual(held, found, gap)
        if missing:
            self.room -= missing
            data += self._again(texts, missing // size)
        return data

    def _usual(self, held: _Row, found: list[_Unit], size: int) -> _Layout | None:
        """Return the layout of lines of bytes in order, once it is certain that they are."""
        notation = self._units.notation if self._units else None
        in_order = notation is not None and (notation.size == 1 or notation.order == "big")
        if notation is None or notation.base != "digits" or not in_order or self._base != 16:
            return None
        start, end = held.rest_at + found[0].start, held.rest_at + found[-1].end
        return _Layout(held.offset_at, held.digits, start, end, size)

    def _again(self, units: list[str], count: int) -> bytes:
        """Return the bytes that `*` represents."""
        assert self._units is not None
        data = self._units.decide()
        assert self._units.notation is not None
        return data + convert(units, self._units.notation) * count

    def _last(self, held: _Row) -> list[str]:
        """Return the units of the last line, which no offset follows."""
        kind = self._kind
        if kind is None:
            kind = held.first_kind()
            self._take(kind, (1, 4, 8, 2) if not kind.size else (kind.size,), held.colon)
        found = held.units(kind, part=True)
        if not found:
            raise ByteTextError(f"expected bytes after the offset, got {quoted(held.rest.strip())}")
        if kind.base != "digits":
            return [unit.text for unit in found]
        if self._columns:
            columns = self._columns
            count = next(
                (at for at in range(len(found)) if not _in_place(found, at, kind, columns)), len(found)
            )
        else:
            widest = max(1 if held.colon else 2, _space(found, 1) if len(found) > 1 else 0)
            beyond = (at for at in range(1, len(found)) if _space(found, at) > widest)
            count = next(beyond, len(found))
        return [unit.text for unit in found[:count]]

    def _decide(self, held: _Row, row: _Row) -> None:
        """Decide for the notation of offsets and units, by the first two lines."""
        best: tuple[tuple[bool, bool, bool, int], _Kind, int] | None = None
        width = held.width
        for rank, kind in enumerate(_KINDS):
            if kind.width not in (0, width):
                continue
            found = held.units(kind)
            for base in held.bases if found else ():
                gap = held.gap(base, row)
                fit = None if gap is None else self._fit(kind, found, gap, last=row.empty)
                if fit is None:
                    continue
                size, exact = fit
                key = (not kind.size, not exact, gap != _USUAL, rank)
                if best is None or key < best[0]:
                    best = key, kind if kind is _CELLS else kind._replace(size=size), base
        if best is None:
            kind = held.first_kind()
            best = (True, True, True, 0), kind._replace(size=kind.size or 1), held.bases[0]
        _, kind, self._base = best
        self._take(kind, (kind.size,), held.colon)

    def _fit(self, kind: _Kind, found: list[_Unit], gap: int, *, last: bool) -> tuple[int, bool] | None:
        """Return the size of units with which a line has `gap` bytes, and whether nothing else is in it."""
        if gap <= 0:
            return None
        if kind is _CELLS:
            usual = gap >= len(found) and (self._repeat or gap <= _LONGEST)
            return (1, gap == len(found)) if usual else None
        if not kind.size:
            sizes = (1, 2, 4, 8)
            for size in sizes:
                total = size * len(found)
                if (
                    total == gap
                    or (last and total - size < gap < total)
                    or (self._repeat and gap % total == 0)
                ):
                    return size, total == gap
            return None
        total = sum(unit.size for unit in found)
        if total == gap:
            return kind.size, True
        if gap < total:
            fits = (last and total - gap < kind.size) or len(_cut(found, gap)) < len(found)
            return (kind.size, False) if fits else None
        return (kind.size, False) if self._repeat and gap % total == 0 else None

    def _take(self, kind: _Kind, sizes: tuple[int, ...], colon: bool) -> None:
        """Read units of this kind. A dump with colons (xxd) shows bytes in order; other words are values."""
        self._kind = kind
        words = kind.base != "digits" or not colon
        self._is_words = words
        allowed = notations((kind.base,), sizes, first="little" if words else "big")
        self._units = Units(lambda _: allowed)

    def _feed(self, units: list[str]) -> bytes:
        assert self._units is not None
        return self._trimmed(self._units.feed(units))

    def _trimmed(self, data: bytes) -> bytes:
        if data and self._padding:
            data, self._padding = data[: -self._padding], 0
        return data
